"""A payment waits for its invoice: it must see that it is there, whatever else happens at that moment.

Decided again while its invoice was being posted, it went on waiting for half an hour. After a restored database a source sent the
payment again before its invoice: what was there was called a person's edit, and held.
"""

import pytest
from bookrelay.messages import Applied, Kind
from document_kinds import command
from qbo_writer.ledger.changes import Commit, Requeue
from test_a_payment_is_gone_after_a_restore import backup, recover, restore
from test_payments import open_of, payment, state
from writer_support import QboSandbox, desk, running

pytestmark = pytest.mark.postgres


async def test_it_does_not_go_on_waiting_for_what_was_posted_meanwhile(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        await d.tell(payment(d, ("I-1", "100.00")))
        await d.writer.leases.step()
        poster = d.writer.posters[d.realm]
        for _ in range(500):
            await poster.step()
            if (await state(d))[0] == "waiting":
                break
        row = await d.pool.fetchrow("SELECT id FROM qbo_writer.commands WHERE kind = 'payment'")
        await d.pool.execute(
            "UPDATE qbo_writer.commands SET state = 'due', due_at = now() + interval '1 day' WHERE kind = 'payment'"
        )
        await d.tell(command(d.realm, Kind.INVOICE, "I-1"))
        for _ in range(500):
            await poster.step()
            if await d.pool.fetchval("SELECT state = 'posted' FROM qbo_writer.commands WHERE kind = 'invoice'"):
                break
        assert poster.tenure is not None
        waits_on = Commit(requeue=Requeue(row["id"], 1800, waiting=True))
        await d.writer.ledger.commits.commit(d.realm, poster.tenure.fencing_token, [waits_on])
        assert await d.pool.fetchval("SELECT state = 'due' AND due_at <= now() FROM qbo_writer.commands WHERE kind = 'payment'")
        async with running(d.writer):
            await d.until_ended()
        assert (await state(d))[0] == "posted"
        assert open_of(d) == [0]


async def test_after_a_restore_it_is_recognised_when_its_invoice_is(database_url: str, sandbox: QboSandbox) -> None:
    company = sandbox.company()
    invoice = command(str(company["realm_id"]), Kind.INVOICE, "I-1")
    parts = (Applied(source_key="I-1", amount="100.00"),)
    paying = command(str(company["realm_id"]), Kind.PAYMENT, "P-1", applied=parts)
    async with desk(database_url, sandbox, company=company, run=False) as d:
        empty = await backup(d)
        async with running(d.writer):
            await d.tell(invoice, paying)
            await d.until_ended()
        (made,) = sandbox.books(d.realm, "Payment")
    async with desk(database_url, sandbox, company=company, keep=True, run=False) as d:
        await restore(d, empty)
        await recover(d)
        await d.tell(paying)
        async with running(d.writer):

            async def looked_at() -> bool:
                return (await state(d))[0] in ("waiting", "held", "posted")

            await d.until(looked_at)
            assert (await state(d))[0] == "waiting"
            await d.tell(invoice)
            await d.until_ended()
        assert (await state(d))[0] == "posted"
        assert sandbox.books(d.realm, "Payment") == [made]
        assert len(sandbox.books(d.realm, "Invoice")) == 1
        assert "document.held" not in await d.event_types("P-1")
