"""A ledger that has lost its latest commits: what QuickBooks holds is taken over by its marker, never made a second time."""

from datetime import timedelta
from typing import Any

import pytest
from qbo_writer.ledger import recovery
from qbo_writer.ledger.records import Discrepancy
from qbo_writer.protocol.parts import Tenure
from qbo_writer.protocol.recovering import Recoverer
from qbo_writer.protocol.sweeping import FIX_UNKNOWN
from writer_support import Desk, QboSandbox, bill, desk, invoice, running

pytestmark = pytest.mark.postgres


def ours(d: Desk) -> dict[str, Any]:
    document: dict[str, Any]
    (document,) = [b for b in d.sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
    return document


async def lose_everything(d: Desk) -> None:
    """The restored ledger knows nothing, QuickBooks has forgotten the requestids, and the sweep has found the marker."""
    document = ours(d)
    await d.pool.execute("TRUNCATE qbo_writer.attempts, qbo_writer.batches, qbo_writer.commands, qbo_writer.documents CASCADE")
    d.sandbox.fault(fault="ignore_requestid", match={"realm": d.realm})
    marker = next(word for word in document["PrivateNote"].split() if word.startswith("bookrelay:"))
    token = d.writer.leases.holding(d.realm)
    assert token is not None
    found = Discrepancy("unknown_marker", "Invoice", document["Id"], None, "unknown", FIX_UNKNOWN, marker=marker)
    await recovery.keep(d.pool, d.realm, token, [found])


async def test_a_document_whose_marker_was_unknown_is_adopted_when_its_command_comes(
    database_url: str, sandbox: QboSandbox
) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        before = ours(d)
        await lose_everything(d)
        await d.tell(invoice(d.realm, "Q-1"))
        assert await d.until_ended() == {("Q-1", 1): "posted"}
        assert ours(d) == before
        await d.tell(invoice(d.realm, "Q-1", 2, amount="120.00"))
        assert (await d.until_ended())["Q-1", 2] == "posted"
        assert ours(d)["TotalAmt"] == 120


async def test_an_edit_of_an_adopted_document_is_a_persons(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        sandbox.person(d.realm, "edit", "Invoice", ours(d)["Id"], TxnDate="2026-10-01")
        before = ours(d)
        await lose_everything(d)
        await d.tell(invoice(d.realm, "Q-1"))
        assert await d.until_ended() == {("Q-1", 1): "held"}
        assert ours(d) == before


async def test_an_update_that_the_ledger_has_lost_is_ours_once_its_command_comes(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        backup = await d.pool.fetchrow("SELECT * FROM qbo_writer.documents WHERE kind = 'invoice'")
        await d.tell(invoice(d.realm, "Q-1", 2, amount="120.00"))
        await d.until_ended()
        there = ours(d)
        await d.pool.execute("DELETE FROM qbo_writer.attempts WHERE version = 2")
        await d.pool.execute("DELETE FROM qbo_writer.commands WHERE version = 2")
        await d.pool.execute(
            "UPDATE qbo_writer.documents SET sync_token = $2, fields = $3, content_hash = $4, total = $5, balance = $5, "
            "diverged = true WHERE id = $1",
            backup["id"], there["SyncToken"], backup["fields"], backup["content_hash"], backup["total"],
        )  # fmt: skip
        await d.tell(invoice(d.realm, "Q-1", 2, amount="120.00"))
        assert (await d.until_ended())["Q-1", 2] == "posted"
        assert ours(d) == there
        assert not await d.pool.fetchval("SELECT diverged FROM qbo_writer.documents WHERE id = $1", backup["id"])


async def test_nothing_leaves_while_a_recovery_is_unfinished(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        await d.writer.leases.step()
        token = d.writer.leases.holding(d.realm)
        assert token is not None
        await recovery.halt(d.pool, d.realm, (await d.writer.ledger.commands.now()), token)
        await d.tell(invoice(d.realm, "Q-1"))
        before = len(sandbox.requests(d.realm))
        for _ in range(2):
            await d.writer.posters[d.realm].step()
        assert d.writer.posters[d.realm].idle()
        assert len(sandbox.requests(d.realm)) == before
        assert [e["type"] for e in await d.events()] == ["bookrelay.realm.halted.v1"]
        await recovery.resume(d.pool, d.realm, token)
        assert [e["type"] for e in await d.events()][1:] == ["bookrelay.realm.resumed.v1"]
        await d.writer.close()


async def test_a_bill_that_waited_in_the_backup_is_settled_and_paid(database_url: str, sandbox: QboSandbox) -> None:
    """It was `waiting` in the backup and posted afterwards: nothing followed from finding it, it was never paid."""
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        await d.tell(bill(d.realm, "R-1"))
        assert await d.until_ended() == {("R-1", 1): "posted"}
        since = await d.writer.ledger.commands.now() - timedelta(minutes=10)
        await d.pool.execute("DELETE FROM qbo_writer.attempts WHERE entity = 'Bill'")
        await d.pool.execute(
            "UPDATE qbo_writer.commands SET state = 'waiting', due_at = now() + interval '1 hour' WHERE kind = 'bill'"
        )
        await d.pool.execute(
            "UPDATE qbo_writer.documents SET status = 'nothing', qbo_id = NULL, sync_token = NULL, content_hash = NULL, "
            "fields = NULL, total = NULL, balance = NULL, attempts = 0 WHERE kind = 'bill'"
        )
    async with desk(database_url, sandbox, company=company, keep=True, run=False, qb_auto_mark_bill_paid=True) as d:
        poster = d.writer.posters[d.realm]
        await d.writer.leases.step()
        token = d.writer.leases.holding(d.realm)
        assert token is not None
        await Recoverer(poster, d.pool, Tenure(token)).run(since)
        assert await d.states() == {("R-1", 1): "posted"}
        async with running(d.writer):
            await d.until_ended()
        assert [p["TotalAmt"] for p in sandbox.books(d.realm, "BillPayment")] == [55.0]
