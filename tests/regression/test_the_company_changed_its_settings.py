"""What the company is was believed for a day: "Turn on discounts" helped nobody, and several currencies held every document."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest
from bookrelay.messages import Discount
from qbo_writer.ledger import operating
from writer_support import Desk, QboSandbox, bill, desk, invoice, qbo_sandbox

pytestmark = pytest.mark.postgres
OFF = {
    "SalesFormsPrefs": {"AllowDiscount": False},
    "AccountingInfoPrefs": {"ClassTrackingPerTxnLine": False, "ClassTrackingPerTxn": False, "TrackDepartments": False},
}
ON = {
    "SalesFormsPrefs": {"AllowDiscount": True},
    "AccountingInfoPrefs": {"ClassTrackingPerTxnLine": True, "TrackDepartments": True},
}
SEVERAL = {"CurrencyPrefs": {"MultiCurrencyEnabled": True, "HomeCurrency": {"value": "USD"}}}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[QboSandbox]:
    with qbo_sandbox("--no-limits") as running:
        yield running


def set_(d: Desk, preferences: dict[str, Any]) -> None:
    d.sandbox.control("POST", "preferences", {"realm": d.realm, **preferences})


def having(d: Desk, key: str, **update: Any) -> Any:
    command = invoice(d.realm, key)
    content = command.data.content.model_copy(update=update)
    return type(command).of(command.data.model_copy(update={"content": content}), sender="emr-poller")


def reads(d: Desk) -> int:
    return sum("/preferences" in r["path"] for r in d.sandbox.requests(d.realm))


def mentioning_all(d: Desk, number: str = "") -> list[Any]:
    return [
        having(d, f"discount{number}", discount=Discount(amount=Decimal("5.00"))),
        having(d, f"class{number}", class_name="Clinic"),
        having(d, f"location{number}", department="North"),
    ]


async def make(d: Desk, company: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {company['access_token']}", "Accept": "application/json"}
    async with httpx.AsyncClient(headers=headers) as http:
        for entity, name in (("class", "Clinic"), ("department", "North")):
            (await http.post(f"{d.sandbox.url}/v3/company/{d.realm}/{entity}", json={"Name": name})).raise_for_status()


@pytest.mark.parametrize("how", ["half an hour", "released"])
async def test_what_waits_for_a_setting_goes_on_when_it_is_turned_on(sandbox: QboSandbox, database_url: str, how: str) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        set_(d, OFF)
        await make(d, company)
        await d.tell(*(command for number in range(10) for command in mentioning_all(d, f"-{number}")))
        assert set((await d.until_ended()).values()) == {"waiting"}
        before = reads(d)
        assert before <= 3, "not for each document"
        set_(d, ON)
        await d.pool.execute("SELECT pg_sleep(1.1)")
        if how == "released":
            for row in await operating.held(d.pool, state="waiting"):
                await operating.release(d.pool, row["document"])
        else:
            await d.pool.execute("UPDATE qbo_writer.commands SET due_at = now() WHERE state = 'waiting'")
            d.writer.posters[d.realm].pace.kept_at = 0.0
        d.writer.wake([d.realm])

        async def posted() -> bool:
            return set((await d.states()).values()) == {"posted"}

        await d.until(posted, 30)
        assert reads(d) - before <= 2


async def test_what_comes_after_a_setting_was_turned_on_does_not_wait(sandbox: QboSandbox, database_url: str) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        set_(d, OFF)
        await make(d, company)
        await d.tell(invoice(d.realm, "first"))
        await d.until_ended()
        set_(d, ON)
        references = d.writer.references
        facts, at = references.companies._facts[d.realm]
        references.companies._facts[d.realm] = (facts, at - 3600)
        await d.pool.execute(
            "UPDATE qbo_writer.realms SET company = company || jsonb_build_object('read_at', now() - interval '1 hour')"
        )
        await d.tell(*mentioning_all(d))
        assert set((await d.until_ended()).values()) == {"posted"}


@pytest.mark.parametrize("threshold", [1000, 2], ids=["singles", "batches"])
async def test_several_currencies_hold_nobody(sandbox: QboSandbox, database_url: str, threshold: int) -> None:
    async with desk(database_url, sandbox, batch_threshold=threshold) as d:
        await d.tell(invoice(d.realm, "first"), bill(d.realm, "first bill"))
        await d.until_ended()
        before = reads(d)
        set_(d, SEVERAL)
        await d.tell(*(invoice(d.realm, f"Q-{n}") for n in range(20)), *(bill(d.realm, f"B-{n}") for n in range(20)))
        assert set((await d.until_ended()).values()) == {"posted"}
        assert reads(d) - before <= 2
        ours = [b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        assert len(ours) == 21
        assert sum(b.get("CurrencyRef", {}).get("value") == "USD" for b in ours) == 20


async def test_a_refusal_that_is_the_documents_own_is_sent_once(sandbox: QboSandbox, database_url: str) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "first"))
        await d.until_ended()
        sandbox.fault(fault="fault", code="6000", match={"realm": d.realm, "method": "POST", "entity": "Invoice"})
        before = reads(d)
        await d.tell(*(invoice(d.realm, f"Q-{n}") for n in range(10)))
        states = await d.until_ended()
        states.pop(("first", 1))
        assert set(states.values()) == {"rejected"}
        assert await d.pool.fetchval("SELECT count(*) FROM qbo_writer.attempts WHERE intuit_code = '6000'") == 10
        assert reads(d) - before == 1
        sandbox.control("DELETE", "faults")
