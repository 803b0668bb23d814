"""The change feed: a person's work in QuickBooks is seen, our own writes are not called a person's, and the world is told."""

import json
from typing import Any

import pytest
from writer_support import Desk, QboSandbox, desk, invoice

pytestmark = pytest.mark.postgres


async def document(d: Desk) -> dict:  # type: ignore[type-arg]
    return dict(await d.pool.fetchrow("SELECT * FROM qbo_writer.documents WHERE kind = 'invoice'"))


def feed(d: Desk) -> None:
    """As after Intuit's notification."""
    d.writer.feed_soon([d.realm])
    d.writer.wake([d.realm])


async def fed(d: Desk) -> None:
    """The feed was read and what it shows is in the ledger."""
    query = "SELECT feed_position FROM qbo_writer.realms"
    before = await d.pool.fetchval(query)
    feed(d)

    async def moved() -> bool:
        return bool(await d.pool.fetchval(query) != before)

    await d.until(moved)


async def posted(d: Desk) -> str:
    await d.tell(invoice(d.realm, "Q-1"))
    await d.until_ended()
    return str((await document(d))["qbo_id"])


async def test_a_payment_is_seen_and_the_next_version_is_held_without_a_call(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        id_ = await posted(d)
        sandbox.person(d.realm, "pay", "Invoice", id_)
        feed(d)

        async def seen() -> bool:
            return bool((await document(d))["balance"] == 0)

        await d.until(seen)
        assert not (await document(d))["diverged"]
        before = len(sandbox.requests(d.realm, operation="update"))
        await d.tell(invoice(d.realm, "Q-1", 2, amount="140.00"))
        assert (await d.until_ended())["Q-1", 2] == "held"
        assert len(sandbox.requests(d.realm, operation="update")) == before


async def test_an_edit_diverges_once_and_a_deletion_is_seen(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        id_ = await posted(d)
        sandbox.person(d.realm, "edit", "Invoice", id_, TxnDate="2026-11-09")
        await fed(d)
        assert (await document(d))["diverged"]
        await fed(d)
        assert (await d.event_types("Q-1")).count("document.diverged") == 1
        differences = (await document(d))["differences"]
        assert any("2026-11-09" in str(x) for x in differences)


async def test_our_own_write_is_not_a_persons(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await posted(d)
        await d.tell(invoice(d.realm, "Q-1", 2, amount="150.00"))
        await d.until_ended()
        await fed(d)
        assert not (await document(d))["diverged"]
        assert "document.diverged" not in await d.event_types("Q-1")


async def test_what_others_do_in_the_books_is_told(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await posted(d)
        vendor = sandbox.books(d.realm, "Vendor")[0]["Id"]
        made = sandbox.control("POST", "entities", {"realm": d.realm, "entities": {"Bill": [
            {"VendorRef": {"value": vendor}, "Line": [{"Amount": 5, "DetailType": "AccountBasedExpenseLineDetail",
             "AccountBasedExpenseLineDetail": {"AccountRef": {"value": "20"}}}]}]}})  # fmt: skip
        feed(d)

        async def told() -> bool:
            rows = await d.pool.fetch("SELECT value FROM qbo_writer.outbox WHERE topic = 'books.changes.v1'")
            changes = [json.loads(r["value"])["data"] for r in rows]
            return any(c["entity"] == "Bill" and c["entity_id"] == made["created"]["Bill"][0] and not c["ours"] for c in changes)

        await d.until(told)


async def test_the_feed_ends_an_unknown_create_and_waits_for_open_attempts(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, protocol_transit_seconds=60, protocol_staleness_seconds=60) as d:
        sandbox.fault(
            fault="late_delivery", delay=2.5, count=1, match={"realm": d.realm, "entity": "Invoice", "operation": "create"}
        )
        await d.tell(invoice(d.realm, "Q-1"))

        async def unknown() -> bool:
            return bool(await d.pool.fetchval("SELECT state = 'unknown' FROM qbo_writer.attempts WHERE entity = 'Invoice'"))

        await d.until(unknown)

        async def there() -> bool:
            return any("bookrelay:" in b.get("PrivateNote", "") for b in sandbox.books(d.realm, "Invoice"))

        await d.until(there)
        feed(d)
        assert await d.until_ended() == {("Q-1", 1): "posted"}  # long before the wait of two minutes is over
        assert await d.pool.fetchval("SELECT sends FROM qbo_writer.attempts WHERE entity = 'Invoice'") == 1


async def test_requestid_becomes_proven_by_repeating_an_update(database_url: str, sandbox: QboSandbox) -> None:
    more: dict[str, Any] = {
        "protocol_resend_window_proven_seconds": 0.5, "protocol_token_life_seconds": 0.3, "protocol_requestid_memory_seconds": 1,
        "protocol_transit_seconds": 0.2,
    }  # fmt: skip
    async with desk(database_url, sandbox, **more) as d:
        await posted(d)
        await d.tell(invoice(d.realm, "Q-1", 2, amount="150.00"))
        await d.until_ended()

        async def proven() -> bool:
            feed(d)
            return bool(await d.pool.fetchval("SELECT requestid_proven FROM qbo_writer.realms"))

        await d.until(proven)
        assert not await d.pool.fetchval("SELECT batch_proven FROM qbo_writer.realms")
        assert [b["SyncToken"] for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")] == ["1"]
