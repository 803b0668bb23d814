"""What a company's policy holds back: e-mailed documents, closed periods. What is held shows what is there and what is wanted."""

from pathlib import Path

import pytest
from bookrelay.messages import Kind
from qbo_writer.ledger import operating
from writer_support import Desk, QboSandbox, bill, desk, invoice, retract

pytestmark = pytest.mark.postgres


async def held_differences(d: Desk, version: int) -> dict[str, tuple[str | None, str | None]]:
    """The differences that the held event of a version shows: field -> (ours, theirs)."""
    (event,) = [e for e in await d.events() if e["type"] == "bookrelay.document.held.v1" and e["data"]["version"] == version]
    return {x["field"]: (x.get("ours"), x.get("theirs")) for x in event["data"]["differences"]}


async def post_and_let_a_person_mail_it(d: Desk) -> None:
    await d.tell(invoice(d.realm, "Q-1"))
    await d.until_ended()
    (id_,) = [row["qbo_id"] for row in await d.pool.fetch("SELECT qbo_id FROM qbo_writer.documents WHERE kind = 'invoice'")]
    d.sandbox.person(d.realm, "edit", "Invoice", id_, EmailStatus="EmailSent")
    d.writer.feed_soon([d.realm])
    d.writer.wake([d.realm])

    async def seen() -> bool:
        return bool(await d.pool.fetchval("SELECT emailed AND NOT diverged FROM qbo_writer.documents WHERE kind = 'invoice'"))

    await d.until(seen)


async def test_an_emailed_invoice_is_held_by_policy_without_a_call(
    database_url: str, sandbox: QboSandbox, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('update_emailed = "hold"')
    async with desk(database_url, sandbox, company_policy_file=str(policy)) as d:
        await post_and_let_a_person_mail_it(d)
        await d.tell(invoice(d.realm, "Q-1", 2, amount="140.00"))
        assert (await d.until_ended())["Q-1", 2] == "held"
        assert not sandbox.requests(d.realm, operation="update")
        assert (await held_differences(d, 2))["line.1.amount"] == ("140.00", "100.00")


async def test_an_emailed_invoice_is_updated_where_the_policy_is_silent(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await post_and_let_a_person_mail_it(d)
        await d.tell(invoice(d.realm, "Q-1", 2, amount="140.00"))
        assert (await d.until_ended())["Q-1", 2] == "posted"


async def test_a_paid_invoice_shows_what_is_wanted(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        await d.pool.execute("UPDATE qbo_writer.documents SET balance = 0 WHERE kind = 'invoice'")
        await d.tell(invoice(d.realm, "Q-1", 2, amount="140.00"))
        assert (await d.until_ended())["Q-1", 2] == "held"
        shown = await held_differences(d, 2)
        assert shown["balance"] == ("100.00", "0.00")
        assert shown["line.1.amount"] == ("140.00", "100.00")


async def test_a_closed_period_is_held_before_any_call(database_url: str, sandbox: QboSandbox) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        await d.tell(invoice(d.realm, "Q-1"), invoice(d.realm, "Q-3"))
        await d.until_ended()
        sandbox.control("POST", "preferences", {"realm": d.realm, "BookCloseDate": "2026-11-01"})
        await d.pool.execute("UPDATE qbo_writer.realms SET company = '{}'")
        d.writer.references.companies._facts.clear()
        before = len(sandbox.requests(d.realm, entity="Invoice"))
        assert before
        await d.tell(
            invoice(d.realm, "Q-1", 2, amount="140.00"), invoice(d.realm, "Q-2"), retract(d.realm, "Q-3", 2, Kind.INVOICE)
        )
        states = await d.until_ended()
        assert [states["Q-1", 2], states["Q-2", 1], states["Q-3", 2]] == ["held", "held", "held"]
        assert len(sandbox.requests(d.realm, entity="Invoice")) == before
        held = {e["data"]["source_key"]: e["data"] for e in await d.events() if e["type"] == "bookrelay.document.held.v1"}
        assert "closed period" in held["Q-1"]["reason"]
        assert {x["field"] for x in held["Q-1"]["differences"]} >= {"line.1.amount"}

        sandbox.control("POST", "preferences", {"realm": d.realm, "BookCloseDate": "2026-10-31"})
        await d.pool.execute(  # as if its preferences had been read a minute ago
            "UPDATE qbo_writer.realms SET company = company || jsonb_build_object('read_at', now() - interval '1 minute')"
        )
        d.writer.references.companies._facts.clear()
        for row in await operating.held(d.pool):
            await operating.release(d.pool, row["document"])
        d.writer.wake([d.realm])
        states = await d.until_ended()
        assert [states["Q-1", 2], states["Q-2", 1], states["Q-3", 2]] == ["posted", "posted", "retracted"]


async def test_a_closed_period_is_left_to_quickbooks_by_policy(database_url: str, sandbox: QboSandbox, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('closed_period = "update"')
    company = sandbox.company()
    sandbox.control("POST", "preferences", {"realm": company["realm_id"], "BookCloseDate": "2026-11-01"})
    async with desk(database_url, sandbox, company=company, company_policy_file=str(policy)) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        assert sandbox.requests(d.realm, operation="create", entity="Invoice")


async def test_a_company_with_several_currencies_gets_its_own_named(database_url: str, sandbox: QboSandbox) -> None:
    """QuickBooks refuses a document that names no currency there (2020): customer, vendor, invoice, bill and payment name it."""
    company = sandbox.company()
    sandbox.control("POST", "preferences", {"realm": company["realm_id"], "CurrencyPrefs": {"MultiCurrencyEnabled": True}})
    async with desk(database_url, sandbox, company=company, qb_auto_mark_bill_paid=True) as d:
        await d.tell(invoice(d.realm, "Q-1"), bill(d.realm, "R-1"))
        assert set((await d.until_ended()).values()) == {"posted"}
        for entity in ("Invoice", "Bill", "BillPayment"):
            mine = [b for b in sandbox.books(d.realm, entity) if "bookrelay:" in b.get("PrivateNote", "")]
            assert [b["CurrencyRef"]["value"] for b in mine] == ["USD"], entity
        await d.tell(invoice(d.realm, "Q-1", version=2, amount="120.00"))
        assert (await d.until_ended())[("Q-1", 2)] == "posted"
