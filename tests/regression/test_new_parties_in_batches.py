"""A backlog of new patients made each customer by a single call; in a batch a taken name (6240) was held without saying whose."""

import time
from collections import Counter
from typing import Any

import httpx
import pytest
from bookrelay.messages import InvoiceLine
from qbo_writer.names import fold
from writer_support import Desk, QboSandbox, bill, desk, invoice, running

pytestmark = pytest.mark.postgres
BATCHES = {"batch_threshold": 3, "pace_batch_items": 10, "pace_batches_per_minute": 60_000}


async def make(d: Desk, token: str, entity: str, name: str) -> str:
    """Make an entry as a person would."""
    async with httpx.AsyncClient() as http:
        response = await http.post(
            f"{d.sandbox.url}/v3/company/{d.realm}/{entity.lower()}", json={"DisplayName": name},
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
        )  # fmt: skip
    assert response.status_code == 200, response.text
    return str(response.json()[entity]["Id"])


def believe_absent(d: Desk, entity: str, name: str) -> None:
    """The writer has looked a moment ago, and nobody had the name."""
    d.writer.references.names._absent[d.realm, entity, fold(name)] = time.monotonic() + 30


def made(d: Desk, entity: str, names: list[str]) -> Counter[str]:
    return Counter(c["DisplayName"] for c in d.sandbox.books(d.realm, entity) if c["DisplayName"] in names)


async def rows(d: Desk, keys: list[str]) -> dict[str, tuple[str, str | None, str | None]]:
    found = await d.pool.fetch(
        "SELECT d.source_key, c.state, c.code, c.reason FROM qbo_writer.commands c JOIN qbo_writer.documents d "
        "ON d.id = c.document_id WHERE d.source_key = ANY($1::text[]) AND d.kind IN ('invoice', 'bill')",
        keys,
    )
    return {row["source_key"]: (row["state"], row["code"], row["reason"]) for row in found}


async def test_new_customers_and_vendors_leave_in_batches(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, **BATCHES) as d:
        people = [f"P-{at:03d} A.B." for at in range(40)]
        firms = [f"Firm {at:03d}" for at in range(10)]
        await d.tell(
            *(invoice(d.realm, f"Q-{at}", customer=name) for at, name in enumerate(people)),
            *(bill(d.realm, f"R-{at}", vendor=name) for at, name in enumerate(firms)),
        )
        assert set((await d.until_ended()).values()) == {"posted"}
        assert made(d, "Customer", people) == Counter(people)
        assert made(d, "Vendor", firms) == Counter(firms)
        singles = await d.pool.fetchval(
            "SELECT count(*) FROM qbo_writer.attempts WHERE entity IN ('Customer', 'Vendor') AND batch_id IS NULL"
        )
        assert singles <= 25, f"{singles} of 50 parties by single calls"


async def test_a_taken_name_in_a_batch_is_found_or_told(database_url: str, sandbox: QboSandbox) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company, run=False, **BATCHES) as d:
        names = [f"P-{at:03d} A.B." for at in range(12)]
        token = company["access_token"]
        there = {name: await make(d, token, "Customer", name) for name in names[:3]}
        vendor = await make(d, token, "Vendor", names[3])
        for name in names:
            believe_absent(d, "Customer", name)
        await d.tell(*(invoice(d.realm, f"Q-{at}", customer=name) for at, name in enumerate(names)))
        async with running(d.writer):
            states = await d.until_ended()
        keys = [f"Q-{at}" for at in range(12)]
        assert [states[key, 1] for key in keys] == ["posted"] * 3 + ["waiting"] + ["posted"] * 8
        assert made(d, "Customer", names) == Counter([*names[:3], *names[4:]])
        mine = [b for b in d.sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        ours = {b["CustomerRef"]["value"] for b in mine}
        assert set(there.values()) <= ours
        state, code, reason = (await rows(d, ["Q-3"]))["Q-3"]
        assert (state, code) == ("waiting", "QB005")
        assert f"belongs to the vendor {vendor}" in str(reason)
        assert await d.pool.fetchval("SELECT count(*) FROM qbo_writer.attempts WHERE intuit_code = '6240' AND batch_id > 0")


async def together(d: Desk, first: Any, second: Any, apart: bool) -> dict[str, tuple[str, str | None, str | None]]:
    if apart:
        await d.tell(first)
        await d.tell(second)
    else:
        await d.tell(first, second)
    await d.until_ended()
    return await rows(d, ["Q-1", "R-1"])


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("bill_first", [False, True])
async def test_a_customer_and_a_vendor_of_one_name(database_url: str, sandbox: QboSandbox, bill_first: bool, apart: bool) -> None:
    async with desk(database_url, sandbox) as d:
        pair = [invoice(d.realm, "Q-1", customer="Twice Ltd"), bill(d.realm, "R-1", vendor="Twice  Ltd")]
        told = await together(d, *(reversed(pair) if bill_first else pair), apart)
        (customer,) = [c["Id"] for c in sandbox.books(d.realm, "Customer") if c["DisplayName"] == "Twice Ltd"]
        assert told["Q-1"][0] == "posted"
        state, code, reason = told["R-1"]
        assert (state, code) == ("waiting", "QB005")
        assert f"belongs to the customer {customer} in QuickBooks, where a vendor is needed" in str(reason)
        assert not [v for v in sandbox.books(d.realm, "Vendor") if fold(v["DisplayName"]) == "twice ltd"]


async def test_a_vendor_waits_only_for_an_invoice_that_can_be_posted(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        asked = invoice(d.realm, "Q-1", customer="Twice Ltd")
        line = InvoiceLine(item="No such thing", description="Gauze", amount=asked.data.content.lines[0].amount)
        content = asked.data.content.model_copy(update={"lines": (line,), "class_name": "No such class"})
        await d.tell(
            bill(d.realm, "R-1", vendor="Twice Ltd"),
            asked.model_copy(update={"data": asked.data.model_copy(update={"content": content})}),
        )
        assert await d.until_ended() == {("Q-1", 1): "waiting", ("R-1", 1): "posted"}
