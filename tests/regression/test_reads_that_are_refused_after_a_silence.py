"""A firewall refused all reads while creates had no answer: after eight looks each was held, and found by nobody later."""

import math
from collections.abc import Awaitable, Callable

import pytest
from writer_support import Desk, QboSandbox, desk, invoice

pytestmark = pytest.mark.postgres


def without_feed(d: Desk) -> None:
    """What is looked for here the change feed and the sweep would find."""
    poster = d.writer.posters[d.realm]
    poster.feeder._next = poster.sweeper._next = math.inf


def hurried(d: Desk, condition: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
    async def so() -> bool:
        await d.hurry()
        return await condition()

    return so


async def test_where_every_read_is_refused_the_company_is_halted(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        without_feed(d)
        await d.tell(invoice(d.realm, "Q-0"))
        await d.until_ended()
        sandbox.fault(fault="commit_then_reset", match={"realm": d.realm, "method": "POST", "entity": "Invoice"})
        sandbox.fault(fault="html", status=403, match={"realm": d.realm, "method": "GET"})
        await d.tell(*(invoice(d.realm, f"Q-{n}") for n in range(1, 6)))

        async def halted() -> bool:
            assert "held" not in (await d.states()).values()
            return bool(await d.pool.fetchval("SELECT halted_code IS NOT NULL FROM qbo_writer.realms"))

        await d.until(hurried(d, halted), 60)
        sandbox.control("DELETE", "faults")
        d.writer.posters[d.realm].halts._halt_try_at = 0.0
        assert set((await d.until_ended(60)).values()) == {"posted"}
        assert len([b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]) == 6


async def test_what_waits_for_a_person_is_found_by_itself_if_it_is_there(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        without_feed(d)
        await d.tell(invoice(d.realm, "Q-0"))
        await d.until_ended()
        sandbox.fault(fault="commit_then_reset", match={"realm": d.realm, "method": "POST", "entity": "Invoice"})
        sandbox.fault(fault="fault", code="4000", match={"realm": d.realm, "operation": "query"})
        await d.tell(invoice(d.realm, "Q-1"))

        async def held() -> bool:
            return (await d.states())["Q-1", 1] == "held"

        await d.until(hurried(d, held), 60)
        sandbox.control("DELETE", "faults")
        assert await d.pool.fetchval("SELECT due_at > now() + interval '50 minutes' FROM qbo_writer.attempts WHERE stuck")
        await d.pool.execute("UPDATE qbo_writer.attempts SET due_at = now() WHERE stuck")

        async def posted() -> bool:
            return (await d.states())["Q-1", 1] == "posted"

        await d.until(posted, 30)
        assert len([b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]) == 2
