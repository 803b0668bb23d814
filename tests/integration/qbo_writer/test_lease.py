"""One writer for a company at any time: leases, fencing tokens, take-over, and what an ex-holder cannot do any more."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from bookrelay.db import TRANSIENT_POSTGRES, open_pool
from qbo_writer.ledger.changes import Commit
from qbo_writer.ledger.lease import LeaseLost, Leases, fenced
from qbo_writer.writer import Writer
from writer_support import QboSandbox, desk, invoice, running

pytestmark = pytest.mark.postgres


async def test_one_holder_at_a_time_and_a_growing_token(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        a = Leases(d.pool, [d.realm], seconds=8, renew_seconds=0.2)
        b = Leases(d.pool, [d.realm], seconds=30, renew_seconds=0.2)
        await a.step()
        await b.step()
        assert (a.holding(d.realm), b.holding(d.realm)) == (1, None)
        ends = await d.pool.fetchval("SELECT expires_at FROM qbo_writer.leases")
        await a.step()  # renewed, it stays
        await b.step()
        assert await d.pool.fetchval("SELECT expires_at FROM qbo_writer.leases") > ends
        assert (a.holding(d.realm), b.holding(d.realm)) == (1, None)

        async def believes_no_more() -> bool:
            return a.holding(d.realm) is None

        await d.until(believes_no_more)  # a pauses, and knows by its own clock that its time is over

        async def taken() -> bool:
            await b.step()
            return b.holding(d.realm) == 2

        await d.until(taken)
        await a.step()
        assert a.holding(d.realm) is None
        await b.release()
        await a.step()
        assert a.holding(d.realm) == 3


async def test_an_ex_holder_can_commit_nothing(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        await d.writer.leases.step()
        assert d.writer.leases.holding(d.realm) == 1
        await d.pool.execute("UPDATE qbo_writer.leases SET fencing_token = 2, holder = 'another'")
        with pytest.raises(LeaseLost):
            await d.writer.ledger.commits.commit(d.realm, 1, [Commit()])
        with pytest.raises(LeaseLost):
            await d.writer.ledger.attempts.journal(d.realm, 1, [])
        with pytest.raises(LeaseLost):
            await d.writer.ledger.attempts.mark_lost(d.realm, 1)
        with pytest.raises(LeaseLost):
            await d.writer.ledger.attempts.resend(d.realm, 1, [], await d.writer.ledger.commands.now(), absent=False)


async def test_a_ledger_transaction_keeps_the_lease_row_until_it_commits(database_url: str, sandbox: QboSandbox) -> None:
    """A rival takes over after the transaction that checked its token before: checked means still true at the commit."""
    async with desk(database_url, sandbox, run=False) as d:
        await d.writer.leases.step()
        await d.pool.execute("UPDATE qbo_writer.leases SET expires_at = now() - interval '1 second'")
        rival = Leases(d.pool, [d.realm, "another"], seconds=60, renew_seconds=1)
        async with fenced(d.pool, d.realm, 1):
            await rival.step()  # it waits for nobody: another company's lease is not late because of this one
            assert (rival.holding(d.realm), rival.holding("another")) == (None, 1)
            with pytest.raises(TimeoutError):
                await d.pool.execute("UPDATE qbo_writer.leases SET fencing_token = 2 WHERE realm = $1", d.realm, timeout=0.5)
        await rival.step()
        assert rival.holding(d.realm) == 2


async def test_a_holder_that_is_paused_inside_a_transaction_keeps_nobody_waiting(database_url: str, sandbox: QboSandbox) -> None:
    """Stopped between two statements it holds the lease row; Postgres ends its session, and the rival takes over."""
    async with desk(database_url, sandbox, run=False) as d:
        await d.writer.leases.step()
        await d.pool.execute("UPDATE qbo_writer.leases SET expires_at = now() - interval '1 second'")
        rival = Leases(d.pool, [d.realm], seconds=60, renew_seconds=1)

        async def taken() -> bool:
            await rival.step()
            return rival.holding(d.realm) == 2

        with pytest.raises(TRANSIENT_POSTGRES):  # noqa: PT012
            async with fenced(d.pool, d.realm, 1) as connection:
                await d.until(taken)
                await connection.execute("UPDATE qbo_writer.leases SET fencing_token = 1")
        assert await d.pool.fetchval("SELECT fencing_token FROM qbo_writer.leases") == 2


async def test_all_leases_are_renewed_though_a_transaction_has_one(database_url: str, sandbox: QboSandbox) -> None:
    """Those that are free at once, the locked one when its transaction ends; a lost one is known as lost, the others stay."""
    async with desk(database_url, sandbox, run=False) as d:
        realms = [f"realm-{number:04d}" for number in range(500)]
        leases = Leases(d.pool, realms, seconds=60, renew_seconds=1)
        changed: list[str] = []
        leases.on_change = changed.append
        await leases.step()
        assert changed == [realm for realm in realms if leases.holding(realm) == 1] == realms
        changed.clear()
        await d.pool.execute("UPDATE qbo_writer.leases SET expires_at = now() + interval '5 seconds'")
        await d.pool.execute("UPDATE qbo_writer.leases SET holder = 'another', fencing_token = 2 WHERE realm = 'realm-0007'")
        late = "SELECT array_agg(realm ORDER BY realm) FROM qbo_writer.leases WHERE expires_at < now() + interval '30 seconds'"
        async with fenced(d.pool, "realm-0003", 1):
            renewing = asyncio.create_task(leases.step())

            async def others_renewed() -> bool:
                return bool(await d.pool.fetchval(late) == ["realm-0003", "realm-0007"])

            await d.until(others_renewed)
            assert not renewing.done()
        await renewing
        assert await d.pool.fetchval(late) == ["realm-0007"]
        assert changed == ["realm-0007"]
        assert [realm for realm in realms if leases.holding(realm) != 1] == ["realm-0007"]


async def test_a_standby_takes_over_and_each_document_is_posted_once(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False, batch_threshold=1000) as d:
        sandbox.fault(fault="latency", seconds=0.3, match={"realm": d.realm})
        standby_pool = await open_pool(d.settings, application_name="standby")
        standby = Writer(d.settings, standby_pool)
        async with AsyncExitStack() as second:
            second.push_async_callback(standby_pool.close)
            async with running(d.writer):
                await d.tell(*(invoice(d.realm, f"Q-{i}", customer="P-1") for i in range(40)))

                async def some() -> bool:
                    return bool(await d.pool.fetchval("SELECT count(*) > 2 FROM qbo_writer.commands WHERE state = 'posted'"))

                await d.until(some)
                await second.enter_async_context(running(standby))
                await d.tell(*(invoice(d.realm, f"Q-{i}", customer="P-1") for i in range(40, 45)))
            # Stopped gracefully: the lease is given up, nothing is open.

            async def taken_over() -> bool:
                return standby.leases.holding(d.realm) == 2

            await d.until(taken_over, 15)  # as promised
            assert set((await d.until_ended()).values()) == {"posted"}
        numbers = [b["DocNumber"] for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        assert len(numbers) == len(set(numbers)) == 45
        assert await d.pool.fetchval("SELECT fencing_token FROM qbo_writer.leases") == 2
        assert not await d.pool.fetchval("SELECT count(*) FROM qbo_writer.attempts WHERE lost")


async def test_after_a_loss_documents_without_an_open_attempt_wait_for_nothing(database_url: str, sandbox: QboSandbox) -> None:
    """The predecessor died with a request in its hands: that document waits for Q', the others are posted at once."""
    async with desk(database_url, sandbox, run=False) as d:
        async with running(d.writer):
            await d.tell(invoice(d.realm, "Q-0"))
            await d.until_ended()
        await d.pool.execute(
            "UPDATE qbo_writer.attempts SET state = 'sending', answered = false, resolved_at = NULL, "
            "token_expires_at = now() + interval '1 hour' WHERE entity = 'Invoice'"
        )
        await d.pool.execute("UPDATE qbo_writer.commands SET state = 'due', occurrence = 0 WHERE kind = 'invoice'")
        await d.pool.execute("UPDATE qbo_writer.documents SET status = 'nothing', qbo_id = NULL WHERE kind = 'invoice'")
        (document,) = [b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        sandbox.person(d.realm, "delete", "Invoice", document["Id"])  # as if the request had never arrived
        await d.tell(invoice(d.realm, "Q-1"))
        successor_pool = await open_pool(d.settings, application_name="successor")
        async with AsyncExitStack() as second:
            second.push_async_callback(successor_pool.close)
            await second.enter_async_context(running(Writer(d.settings, successor_pool)))

            async def other_posted() -> bool:
                return (await d.states()).get(("Q-1", 1)) == "posted"

            await d.until(other_posted)  # an hour before the other may be sent again
            query = "SELECT state, lost, ambiguous, sends FROM qbo_writer.attempts WHERE state <> 'resolved'"
            assert dict(await d.pool.fetchrow(query)) == {"state": "unknown", "lost": True, "ambiguous": True, "sends": 1}
            ends = await d.pool.fetchval(
                "UPDATE qbo_writer.attempts SET token_expires_at = now() + interval '1 second', due_at = now() "
                "WHERE state <> 'resolved' RETURNING token_expires_at"
            )

            async def sent_again() -> bool:
                return bool(await d.pool.fetchval("SELECT max(sends) = 2 FROM qbo_writer.attempts"))

            await d.until(sent_again)
            sent = await d.pool.fetchval("SELECT last_sent_at FROM qbo_writer.attempts WHERE sends = 2")
            assert (sent - ends).total_seconds() > 1.5  # Q' = the token's end + X + S


async def test_each_company_has_one_of_several_writers(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        realms = [f"realm-{i}" for i in range(6)]
        writers = [Leases(d.pool, realms, seconds=120, renew_seconds=1) for _ in range(3)]
        await asyncio.gather(*(leases.step() for leases in writers))
        for realm in realms:
            assert [leases.holding(realm) for leases in writers].count(None) == 2


async def test_postgres_cuts_connections_again_and_again(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(*(invoice(d.realm, f"Q-{i}", customer="P-1") for i in range(60)))
        for _ in range(12):
            await asyncio.sleep(0.1)
            admin = await open_pool(d.settings, application_name="admin", size=1)
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            await admin.close()

        async def ended() -> bool:
            try:
                return set((await d.states()).values()) == {"posted"}
            except Exception:
                return False

        await d.until(ended)
        numbers = [b["DocNumber"] for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        assert len(numbers) == len(set(numbers)) == 60
