"""The token endpoint gave tokens whose life was over: it was asked a hundred times a second, and no status said so."""

import asyncio

import pytest
from qbo_writer.quickbooks import oauth_client
from qbo_writer.reporting import gathering
from test_a_halt_holds import MINUTES, pass_the_time
from test_a_token_endpoint_that_refuses import one_clock
from writer_support import QboSandbox, desk, invoice, running

pytestmark = pytest.mark.postgres


def refreshes(sandbox: QboSandbox) -> int:
    return int(sandbox.control("GET", "counters")["token_refreshes"])


@pytest.mark.parametrize("life", [-5, 0])
async def test_it_is_asked_more_and_more_seldom_and_the_status_says_so(database_url: str, sandbox: QboSandbox, life: int) -> None:
    sandbox.control("POST", "tokens", {"access_seconds": life})
    try:
        async with desk(database_url, sandbox, run=False) as d:
            one_clock(d)
            before = refreshes(sandbox)
            async with running(d.writer):
                await d.tell(invoice(d.realm, "Q-1"))

                async def failed() -> bool:
                    return bool(await d.pool.fetchval("SELECT token_failing_since IS NOT NULL FROM qbo_writer.realms"))

                await d.until(failed)
                await pass_the_time(d, MINUTES)
                assert 10 <= refreshes(sandbox) - before <= 17
                await d.pool.execute("UPDATE qbo_writer.realms SET token_failing_since = now() - interval '2 minutes'")
                (problem,) = await gathering.problems(d.pool, d.settings)
                assert problem.what == "token_endpoint"
                assert f"expires_in {life}" in problem.sentence()
                assert (await d.states())["Q-1", 1] == "due"
                sandbox.control("POST", "tokens", {"access_seconds": 3600})
                await pass_the_time(d, 61)
                assert (await d.until_ended(60))["Q-1", 1] == "posted"
                assert await gathering.problems(d.pool, d.settings) == []
    finally:
        sandbox.control("POST", "tokens", {"access_seconds": 3600})


async def test_tokens_that_live_for_seconds_are_used(database_url: str, sandbox: QboSandbox) -> None:
    sandbox.control("POST", "tokens", {"access_seconds": 2})
    try:
        async with desk(database_url, sandbox) as d:
            for at in range(3):
                await d.tell(invoice(d.realm, f"Q-{at}"))
                assert set((await d.until_ended()).values()) == {"posted"}
                await asyncio.sleep(1.0)
            assert not await d.pool.fetchval("SELECT token_failing_since IS NOT NULL FROM qbo_writer.realms")
    finally:
        sandbox.control("POST", "tokens", {"access_seconds": 3600})


@pytest.mark.parametrize(
    ("told", "life"), [(None, 3600), ("soon", 3600), (float("nan"), 3600), (0, 0), ("60", 60), (float("inf"), 10 * 365 * 86400)]
)
def test_a_life_that_cannot_be_read_costs_no_tokens(told: object, life: float) -> None:
    assert oauth_client._pair({"access_token": "a", "refresh_token": "r", "expires_in": told}).expires_in == life
