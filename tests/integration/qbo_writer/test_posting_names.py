"""A name that somebody made since we looked (6240): it is the one that was meant; one that cannot be used is for a person."""

import time
from collections import Counter

import httpx
import pytest
from qbo_writer.names import alike
from writer_support import Desk, QboSandbox, desk, invoice

pytestmark = pytest.mark.postgres
NAME = "P-9 C.D."


async def made_meanwhile(d: Desk, token: str, entity: str) -> str:
    """Somebody makes the name in QuickBooks while the writer believes that nobody has it."""
    d.writer.references.names._absent[d.realm, "Customer", alike(NAME)] = time.monotonic() + 30
    async with httpx.AsyncClient() as http:
        response = await http.post(
            f"{d.sandbox.url}/v3/company/{d.realm}/{entity.lower()}", json={"DisplayName": NAME},
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
        )  # fmt: skip
    assert response.status_code == 200, response.text
    return str(response.json()[entity]["Id"])


async def test_a_customer_that_is_there_under_our_kind_is_adopted(database_url: str, sandbox: QboSandbox) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        id_ = await made_meanwhile(d, company["access_token"], "Customer")
        await d.tell(invoice(d.realm, "Q-1", customer=NAME), invoice(d.realm, "Q-2", customer=NAME))
        assert set((await d.until_ended()).values()) == {"posted"}
        assert Counter(b["DisplayName"] for b in sandbox.books(d.realm, "Customer"))[NAME] == 1
        ours = [b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        assert [b["CustomerRef"]["value"] for b in ours] == [id_, id_]
        row = await d.pool.fetchrow(
            "SELECT d.qbo_id, a.outcome, a.intuit_code FROM qbo_writer.documents d JOIN qbo_writer.attempts a "
            "ON a.document_id = d.id WHERE d.kind = 'customer'"
        )
        assert (row["qbo_id"], row["outcome"], row["intuit_code"]) == (id_, "adopted", "6240")


async def test_a_document_waits_for_a_name_that_a_vendor_has(database_url: str, sandbox: QboSandbox) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        await made_meanwhile(d, company["access_token"], "Vendor")
        await d.tell(invoice(d.realm, "Q-1", customer=NAME))
        assert (await d.until_ended())["Q-1", 1] == "waiting"
        assert not [b for b in sandbox.books(d.realm, "Customer") if b["DisplayName"] == NAME]
