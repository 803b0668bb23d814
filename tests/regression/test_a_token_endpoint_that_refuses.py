"""The token endpoint refused us in a halt: fourteen requests in ten minutes. It did not answer: asked every 5 s, nobody told."""

import pytest
from qbo_writer.reporting import gathering
from test_a_halt_holds import MINUTES, halted, pass_the_time
from writer_support import Desk, QboSandbox, desk, invoice, running

pytestmark = pytest.mark.postgres


def asked(sandbox: QboSandbox) -> int:
    """How often the token endpoint was asked since it fails."""
    rules = sandbox.control("GET", "faults")["rules"]
    return sum(rule["fired"] for rule in rules if rule["fault"] == "token_server_error")


def one_clock(d: Desk) -> None:
    """Let the pauses before the token endpoint pass as those of the company do."""
    poster = d.writer.posters[d.realm]

    def now() -> float:
        return poster.halts.clock()  # another one as soon as time is made to pass

    d.writer.tokens.endpoint.clock = now


async def test_refused_with_500_documents_due_it_is_asked_twice_in_ten_minutes(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False, pace_requests_per_second=10) as d:
        one_clock(d)
        await d.tell(invoice(d.realm, "Q-0"))
        async with running(d.writer):
            await d.until_ended()
            sandbox.fault(fault="unauthorized", match={"realm": d.realm})
            sandbox.fault(fault="token_server_error", status=401)
            before = len(sandbox.requests(d.realm))
            await d.tell(*(invoice(d.realm, f"Q-{number}") for number in range(1, 501)))
            await d.until(lambda: halted(d))
            await pass_the_time(d, MINUTES)
            calls = len(sandbox.requests(d.realm)) - before
            assert (calls <= 15, asked(sandbox)) == (True, 2), calls
            assert sum(state == "due" for state in (await d.states()).values()) == 500
            sandbox.control("DELETE", "faults")
            await pass_the_time(d, 601)
            assert set((await d.until_ended(120)).values()) == {"posted"}
            told = [e["type"].split(".")[2] for e in await d.events() if ".realm." in e["type"]]
            assert told == ["halted", "resumed"]


async def test_away_it_is_asked_more_and_more_seldom_and_the_status_says_so(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        one_clock(d)
        await d.tell(invoice(d.realm, "Q-0"))
        async with running(d.writer):
            await d.until_ended()
            sandbox.fault(fault="unauthorized", match={"realm": d.realm})
            sandbox.fault(fault="token_server_error", status=503)
            await d.tell(invoice(d.realm, "Q-1"))

            async def failed() -> bool:
                return bool(await d.pool.fetchval("SELECT token_failing_since IS NOT NULL FROM qbo_writer.realms"))

            await d.until(failed)
            assert await gathering.problems(d.pool, d.settings) == [], "a minute may pass"
            await pass_the_time(d, MINUTES)
            assert 10 <= asked(sandbox) <= 17
            await d.pool.execute("UPDATE qbo_writer.realms SET token_failing_since = now() - interval '2 minutes'")
            (problem,) = await gathering.problems(d.pool, d.settings)
            assert problem.what == "token_endpoint"
            assert d.settings.qbo_token_url in problem.fix
            assert (await d.states())["Q-1", 1] == "due"
            sandbox.control("DELETE", "faults")
            await pass_the_time(d, 61)
            assert (await d.until_ended(60))["Q-1", 1] == "posted"
            assert await gathering.problems(d.pool, d.settings) == []


async def test_a_company_at_rest_proves_its_renewed_token_with_one_read(database_url: str, sandbox: QboSandbox) -> None:
    """The feed's read got a 401, the token was renewed, and nothing more was read until it ran out: no document needed a call."""
    async with desk(database_url, sandbox, run=False) as d:
        await d.tell(invoice(d.realm, "Q-0"))
        async with running(d.writer):
            await d.until_ended()
            sandbox.fault(fault="unauthorized", count=1, match={"realm": d.realm, "operation": "cdc"})
            d.writer.posters[d.realm].feeder.soon()
            d.writer.posters[d.realm].wake()

            async def read_again() -> bool:
                return [r["status"] for r in sandbox.requests(d.realm, operation="cdc")][-2:] == [401, 200]

            await d.until(read_again, 40)
            assert not d.writer.tokens.unproven(d.realm)
