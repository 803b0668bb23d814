"""A company that has nothing to do rests, and one look for all finds what there is to do: documents, words of people, leases."""

import asyncio

import pytest
from bookrelay import metrics
from bookrelay.kafka import Received
from qbo_writer.handlers import new_command
from qbo_writer.ledger import halting
from qbo_writer.ledger.lease import Leases
from writer_support import Desk, QboSandbox, desk, invoice

pytestmark = pytest.mark.postgres


async def resting(d: Desk) -> None:
    """Wait until the company rests."""

    async def rests() -> bool:
        return d.writer.posters[d.realm].rest.resting and d.writer.posters[d.realm].tenure is not None

    await d.until(rests)


async def looks(d: Desk, number: int) -> None:
    """Wait for so many looks of the process."""
    for _ in range(number):
        before = d.writer.turns._looked_at

        async def looked(before: float = before) -> bool:
            return d.writer.turns._looked_at > before

        await d.until(looked)


async def test_a_resting_company_is_woken_by_what_another_process_recorded(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await resting(d)
        rounds = d.writer.posters[d.realm].rounds
        await looks(d, 4)
        assert d.writer.posters[d.realm].rounds == rounds  # nothing of its own was done
        for number in range(2):
            # Recorded, and nobody here is told.
            await d.writer.ledger.commands.record([new_command(Received(invoice(d.realm, f"Q-{number}"), "t", 0, 0))])
            assert set((await d.until_ended()).values()) == {"posted"}
            await resting(d)
        kept = await d.pool.fetchval("SELECT pace FROM qbo_writer.realms WHERE realm = $1", d.realm)
        assert sum(count for _, count in kept["starts"]) >= 2  # whoever takes over knows what has left


async def test_a_resting_company_hears_a_person(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await resting(d)
        halts = d.writer.posters[d.realm].halts
        await halting.halt(d.pool, d.realm, "ann", "audit")

        async def stopped() -> bool:
            return halts.stopped

        await d.until(stopped)
        await resting(d)
        await d.writer.ledger.commands.record([new_command(Received(invoice(d.realm, "Q-1"), "t", 0, 0))])
        await looks(d, 2)
        assert set((await d.states()).values()) == {"due"}
        await halting.resume(d.pool, d.realm, "ann", "done")
        assert set((await d.until_ended()).values()) == {"posted"}


async def test_the_feed_of_a_resting_company_is_seen_to_lag(database_url: str, sandbox: QboSandbox) -> None:
    """Nobody else looks at the clock for a company that makes no rounds."""
    async with desk(database_url, sandbox) as d:
        await resting(d)
        await d.pool.execute("UPDATE qbo_writer.realms SET feed_position = now() - interval '2 hours'")
        d.writer.turns._gauges_at = 0.0

        async def lags() -> bool:
            found = metrics.REGISTRY.get_sample_value("qbo_feed_lag_seconds", {"realm": d.realm})
            return found is not None and 7200 <= found < 7300

        await d.until(lags)


async def test_a_lease_that_was_lost_ends_the_rest_and_its_documents_stay(database_url: str, sandbox: QboSandbox) -> None:
    """The company rests under a token that is no longer its own: nothing that comes then is posted by it."""
    async with desk(database_url, sandbox) as d:
        await resting(d)
        rival = Leases(d.pool, [d.realm], seconds=600, renew_seconds=1)
        await d.pool.execute("UPDATE qbo_writer.leases SET expires_at = now() - interval '1 second'")
        while rival.holding(d.realm) is None:
            await rival.step()
            await asyncio.sleep(0)
            if d.writer.leases.holding(d.realm) is not None and rival.holding(d.realm) is None:
                await d.pool.execute("UPDATE qbo_writer.leases SET expires_at = now() - interval '1 second'")
        await d.writer.ledger.commands.record([new_command(Received(invoice(d.realm, "Q-1"), "t", 0, 0))])
        d.writer.wake([d.realm])

        async def lost() -> bool:
            return d.writer.leases.holding(d.realm) is None and d.writer.posters[d.realm].tenure is None

        await d.until(lost)
        assert set((await d.states()).values()) == {"due"}
        assert not await d.pool.fetchval("SELECT count(*) FROM qbo_writer.attempts")


async def test_a_statement_of_its_own_is_fenced(database_url: str, sandbox: QboSandbox) -> None:
    from qbo_writer.ledger.lease import LeaseLost

    async with desk(database_url, sandbox, run=False) as d:
        await d.writer.leases.step()
        realms = d.writer.ledger.realms
        await realms.read(d.realm)
        await realms.keep_pace(d.realm, 1, {"kept": 1})
        await d.pool.execute("UPDATE qbo_writer.leases SET fencing_token = 2, holder = 'another'")
        with pytest.raises(LeaseLost):
            await realms.keep_pace(d.realm, 1, {"kept": 2})
        with pytest.raises(LeaseLost):
            await d.writer.ledger.feed.keep(d.realm, 1, [], [], (None, {}, {}))
        with pytest.raises(LeaseLost):
            await d.writer.tokens.current(d.realm, 1)
        assert (await realms.read(d.realm)).pace == {"kept": 1}


async def test_what_an_earlier_holder_left_is_taken_over_though_nothing_asks_for_a_look(
    database_url: str, sandbox: QboSandbox
) -> None:
    """The company rests, halted as far as this process knows; another holder has resumed it, sent a request, and died since."""
    async with desk(database_url, sandbox, run=False) as d:
        await d.writer.leases.step()
        poster = d.writer.posters[d.realm]
        await poster.step()
        await d.tell(invoice(d.realm, "Q-1"))
        sandbox.fault(fault="reset", match={"realm": d.realm, "operation": "create"}, count=1)
        for _ in range(20):
            await poster.step()
            if await d.pool.fetchval("SELECT count(*) FROM qbo_writer.attempts WHERE state <> 'resolved'"):
                break
        await poster.drain(5)
        await d.pool.execute(
            "UPDATE qbo_writer.attempts SET state = 'sending', answered = false, ambiguous = false, lost = false"
        )
        await d.pool.execute(
            "UPDATE qbo_writer.leases SET fencing_token = fencing_token + 1, expires_at = now() - interval '1 s'"
        )
        await d.writer.leases.step()  # found to be lost
        await d.writer.leases.step()
        token = d.writer.leases.holding(d.realm)
        assert token is not None
        d.writer.turns.begin()  # as if somebody looked for all companies
        poster.rest.look = False
        poster.rest.nudge()
        await poster.step()
        assert poster.tenure is not None
        assert poster.tenure.fencing_token == token
        lost = await d.pool.fetchrow("SELECT state, lost, ambiguous FROM qbo_writer.attempts ORDER BY id DESC LIMIT 1")
        assert (lost["state"], lost["lost"], lost["ambiguous"]) == ("unknown", True, True)


async def test_a_stop_does_not_wait_for_a_company_that_rests(database_url: str, sandbox: QboSandbox) -> None:
    """Each stop of a service with a company that had nothing to do took all of SHUTDOWN_SECONDS."""
    async with desk(database_url, sandbox) as d:
        await resting(d)
        poster = d.writer.posters[d.realm]
        step = asyncio.create_task(poster.step())
        await asyncio.sleep(0)
        assert not step.done()
        d.writer.stop_resting()
        async with asyncio.timeout(30):
            await step
