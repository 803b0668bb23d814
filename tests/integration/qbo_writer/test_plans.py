"""No statement on the way of a document reads the ledger as a whole: the plans of what really ran, over 100,000 commands.

`make bench-ledger` measures what it costs at 1,000,000. With COMMANDS = 1_000_000 this test takes 65 s, and passes as well.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from ledger_load import BATCH, REALM, HotPath, OneConnection, connect, fill
from qbo_writer.domain import LedgerKind
from qbo_writer.ledger.changes import FollowUp, NameWish

pytestmark = [pytest.mark.postgres, pytest.mark.slow]
COMMANDS = 100_000
BACKLOG = 20_000  # of which four in five are due
TURNS = 7  # from the sixth execution on Postgres may keep a plan for all parameters
FULL = {"documents", "commands", "attempts", "attempt_log", "outbox", "references", "feed_told"}  # filled with COMMANDS rows
MOST_ROWS = 50 * BATCH  # that a statement may read for BATCH documents; what depends on the ledger's size reads thousands


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def faults_of(explained: dict[str, Any]) -> list[str]:
    """Return what is wrong with an executed statement: it scans a full table, or reads many more rows than it is about."""
    text, found, read = " ".join(explained["Query Text"].split()), [], 0.0
    for node in _nodes(explained["Plan"]):
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in FULL and node["Actual Loops"]:
            found.append(f"scans {node['Relation Name']}: {text}")
        if "Scan" in node["Node Type"] and ("Relation Name" in node or "Index Name" in node):
            removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
            read += (node["Actual Rows"] + removed) * node["Actual Loops"]
    if read > MOST_ROWS and read > 50 * explained["Plan"]["Actual Rows"]:
        found.append(f"reads many rows: {text}")
    return found


@asynccontextmanager
async def explaining(pool: OneConnection) -> AsyncIterator[list[dict[str, Any]]]:
    """Give the list of the plans of all that is executed in this block, as they were executed."""
    plans: list[dict[str, Any]] = []

    def heard(_: Any, message: Any) -> None:
        _, marked, plan = message.message.partition("plan:\n")
        if marked:
            plans.append(json.loads(plan))

    try:
        await pool.execute("LOAD 'auto_explain'")
    except asyncpg.PostgresError as error:
        pytest.skip(f"this Postgres has no auto_explain for this user: {error}")
    settings = {
        "log_min_duration": "0", "log_analyze": "on", "log_timing": "off", "log_format": "json", "log_level": "notice",
        "log_parameter_max_length": "0",
    }  # fmt: skip
    for name, value in settings.items():
        await pool.execute(f"SET auto_explain.{name} = '{value}'")
    pool.connection.add_log_listener(heard)
    try:
        yield plans
    finally:
        pool.connection.remove_log_listener(heard)


async def test_a_full_ledger_is_read_by_indexes_alone(database_url: str) -> None:
    pool = await connect(database_url)
    try:
        await fill(pool, COMMANDS)
        path = HotPath(pool)
        async with explaining(pool) as plans:
            for _ in range(TURNS):
                await path.turn()
            await path.names()
        own = [plan for plan in plans if "qbo_writer." in plan["Query Text"]]
        assert len({plan["Query Text"] for plan in own}) > 40, "the hot path is longer than that"
        assert sorted({fault for plan in own for fault in faults_of(plan)}) == []
        async with explaining(pool) as plans:  # the rule finds what it looks for
            await pool.fetch("SELECT id FROM qbo_writer.commands WHERE code = 'none'")
            await pool.fetch("SELECT count(*) FROM qbo_writer.commands WHERE realm = '9000000000000001' AND state = 'posted'")
        assert [fault.split(" ")[0] for plan in plans for fault in faults_of(plan)] == ["scans", "reads", "reads"]
    finally:
        await pool.connection.close()


# ------------------------------------------------------------------------------------------------------------------ a backlog


async def _new_vendor(path: HotPath) -> None:
    (candidate,) = await path.ledger.commands.candidates(REALM, 1)
    wanted = FollowUp(REALM, "qbo-writer", "new", LedgerKind.VENDOR, 1, {"name": "New"}, "hash")
    await path.ledger.dependents.need_names(REALM, 1, [NameWish(wanted, [candidate.newest])])


WORK: dict[str, Callable[[HotPath], Awaitable[object]]] = {
    "claim": lambda path: path.ledger.commands.candidates(REALM, BATCH),
    "next due": lambda path: path.ledger.commands.next_due_in(REALM),
    "problems": lambda path: path.problems(),
    "gauges": lambda path: path.ledger.realms.gauges([REALM]),
    "look for all companies": lambda path: path.ledger.work.look(1.0),
    "takeover": lambda path: path.ledger.work.is_unfinished(REALM),
    "new vendor": _new_vendor,
}


@pytest.mark.parametrize("what", WORK)
async def test_a_backlog_is_not_read_as_a_whole(database_url: str, what: str) -> None:
    pool = await connect(database_url)
    try:
        await fill(pool, BACKLOG)
        await pool.execute("UPDATE qbo_writer.commands SET state = 'due' WHERE kind = 'invoice'")
        await pool.execute("VACUUM ANALYZE qbo_writer.commands")
        path = HotPath(pool)
        async with explaining(pool) as plans:
            for _ in range(TURNS if what != "new vendor" else 1):
                await WORK[what](path)
        assert sorted({fault for plan in plans for fault in faults_of(plan)}) == []
    finally:
        await pool.connection.close()
