"""`make bench-companies`: what many companies cost one writer: idle, at a takeover, and ten of them busy at once.

Idle: companies in the middle of their day (tokens, change feeds and comparisons at every age), nothing to post: statements a
second as Postgres counts them, CPU and memory of the writer's process. Takeover: a standby is there, the holder gets SIGKILL;
seconds until the standby holds every lease. Busy: a backlog for each of ten, Intuit's limits and latencies on; stand-in,
Postgres and broker share the machine with the writer. The last line is one JSON object.
"""

import argparse
import asyncio
import contextlib
import json
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from faults.harness import Company, Lane, Stage, TookTooLong, Writer, stage, until
from qbo_writer.quickbooks.oauth_client import OAuthClient, TokenPair
from qbo_writer.quickbooks.tokens import TokenStore
from qbo_writer.settings import Settings
from sandbox.stack.processes import free_port

from bench.writer import CEILING, WARM_UP, commands, limited_lane, publish, tell

HOUR, FEED, DAY = 3600, 900, 86_400
PRODUCTION = {"DATABASE_POOL_SIZE": "10", "LOG_LEVEL": "INFO"}
COUNTED = ("shared_preload_libraries=pg_stat_statements", "pg_stat_statements.max=10000")  # Postgres counts statements
CALLS = (
    "SELECT sum(s.calls)::bigint FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid "
    "WHERE d.datname = current_database()"
)
HELD_BY = "SELECT count(*) FROM qbo_writer.leases WHERE holder LIKE '%:' || $1 || ':%' AND expires_at > clock_timestamp()"


async def start_writer(lane: Lane, realms: Sequence[str], name: str, more: Mapping[str, str] | None = None) -> Writer:
    """Start the service's own process; return at once."""
    port = free_port()
    environment = {**lane.environment(), "QBO_REALM_IDS": ",".join(realms), "HTTP_PORT": str(port), **(more or {})}
    process = await lane.stack.supervisor.start(
        name, [sys.executable, "-m", "qbo_writer"], env=environment, ready_url=f"http://127.0.0.1:{port}/health/ready",
        restart=False, ready_within=None,
    )  # fmt: skip
    return Writer(lane, process, port)


# --------------------------------------------------------------------------------------------------------------- idle, takeover


async def connected(lane: Lane, count: int) -> list[str]:
    """Make companies in the middle of their day: each with a token, a feed position and a comparison of an age of its own."""
    realms = [f"9700{number:012d}" for number in range(count)]
    settings = Settings.load({**lane.environment(), "QBO_REALM_IDS": realms[0]})
    store, rng = TokenStore(lane.pool, settings, OAuthClient(settings)), random.Random(count)
    for realm in realms:
        made = await lane.control("POST", "companies", {"realm_id": realm})
        pair = TokenPair(made["access_token"], rng.uniform(0.1, 1) * HOUR, made["refresh_token"], 100 * DAY)
        await store.connect(realm, pair)
    await lane.pool.execute(
        "UPDATE qbo_writer.tokens SET refreshed_at = access_expires_at - make_interval(secs => $1)", float(HOUR)
    )
    await lane.pool.execute(
        "INSERT INTO qbo_writer.realms (realm, feed_position, swept_at, company) "
        "SELECT realm, now() - make_interval(secs => random() * $2), now() - make_interval(secs => random() * $3), $4::jsonb "
        "|| jsonb_build_object('read_at', now() - make_interval(secs => random() * $3)) FROM unnest($1::text[]) AS realm "
        "ON CONFLICT (realm) DO UPDATE SET feed_position = excluded.feed_position, swept_at = excluded.swept_at, "
        "company = excluded.company",
        realms, float(FEED), float(DAY), json.dumps({"info": {"NameValue": [], "Country": "US"}, "preferences": {}}),
    )  # fmt: skip
    return realms


async def all_held(lane: Lane, writer: Writer, count: int, seconds: float) -> float | None:
    """Wait until a writer holds the leases of all at the same time; return how long that took, None if it never came to that."""
    began, most = time.monotonic(), 0

    async def held() -> bool:
        nonlocal most
        assert writer.running, writer.log()[-2000:]
        most = max(most, await lane.pool.fetchval(HELD_BY, str(writer.process.pid)))
        return bool(most == count)

    try:
        await until(held, f"the leases of {count} companies", seconds)
    except TookTooLong:
        tell(f"  within {seconds:.0f} s never more than {most} of {count} leases were held at the same time")
        return None
    return round(time.monotonic() - began, 2)


async def idle(lane: Lane, writer: Writer, settle: float, seconds: float) -> dict[str, Any]:
    """What it costs while nothing happens."""
    assert writer.process.pid
    process = psutil.Process(writer.process.pid)
    await asyncio.sleep(settle)
    calls, times, began = await lane.pool.fetchval(CALLS), process.cpu_times(), time.monotonic()
    before = {row["query"]: row["calls"] for row in await lane.pool.fetch("SELECT query, calls FROM pg_stat_statements")}
    most = 0
    while (now := time.monotonic()) < began + seconds:
        most = max(most, process.memory_info().rss)
        await asyncio.sleep(min(1.0, began + seconds - now + 0.01))
    calls, after, took = await lane.pool.fetchval(CALLS) - calls - 2, process.cpu_times(), time.monotonic() - began
    rows = await lane.pool.fetch("SELECT query, calls FROM pg_stat_statements")
    grown = sorted(((row["calls"] - before.get(row["query"], 0)) / took, row["query"]) for row in rows)
    for a_second, query in reversed(grown[-12:]):
        tell(f"  {a_second:>9.2f}/s  {' '.join(query.split())[:110]}")
    return {
        "idle_queries_per_second": round(calls / took, 1),
        "idle_cpu_share": round((after.user + after.system - times.user - times.system) / took, 4),
        "megabytes": round(most / 1e6, 1),
    }


async def many(one: Stage, options: argparse.Namespace) -> dict[str, Any]:
    """Idle companies, and their takeover."""
    lane = await one.lane(limits=True)
    lane.base = dict(PRODUCTION)
    await lane.pool.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    await lane.control("POST", "tokens", {"access_seconds": HOUR})
    realms = await connected(lane, options.companies)
    tell(f"{len(realms)} companies are connected")
    holder = await start_writer(lane, realms, "holder")
    took = await all_held(lane, holder, len(realms), 120)
    tell(f"seconds until all leases were taken: {took}; settling for {options.settle:.0f} s")
    figures = await idle(lane, holder, options.settle, options.seconds)
    for name, value in figures.items():
        tell(f"  {name:<28}{value}")
    standby = await start_writer(lane, realms, "standby")

    async def looks_on() -> bool:
        return await standby.ready()

    with contextlib.suppress(TookTooLong):
        await until(looks_on, "the standby", 60)
    holder.process.kill(signal.SIGKILL)
    figures["takeover_seconds_all"] = await all_held(lane, standby, len(realms), 120)
    tell(f"  takeover of all             {figures['takeover_seconds_all']} s")
    await standby.stop()
    return figures


# ------------------------------------------------------------------------------------------------------------------------- busy


async def made(lane: Lane, companies: Sequence[Company]) -> dict[str, int]:
    """How many invoices the stand-in holds for each."""
    rows = {row["realm_id"]: int(row["documents"].get("Invoice", 0)) for row in await lane.control("GET", "companies")}
    return {company.realm: rows.get(company.realm, 0) for company in companies}


async def busy(one: Stage, count: int, minutes: float) -> dict[str, Any]:
    """Documents a minute of `count` companies with a backlog each, in one process."""
    lane = await limited_lane(one)
    lane.base = dict(PRODUCTION)
    companies = [await lane.company(numbers_checked=True) for _ in range(count)]
    for company in companies:
        await publish(lane, commands(company.realm, int(CEILING * (minutes + 1.2))))
    writer = await start_writer(lane, [company.realm for company in companies], "busy")
    assert writer.process.pid
    process = psutil.Process(writer.process.pid)

    async def begun() -> bool:
        assert writer.running, writer.log()[-2000:]
        return all(n > 0 for n in (await made(lane, companies)).values())

    await until(begun, "the first documents of each", 600)
    await asyncio.sleep(WARM_UP)
    first, times, began = await made(lane, companies), process.cpu_times(), time.monotonic()
    await asyncio.sleep(minutes * 60)
    last, after, took = await made(lane, companies), process.cpu_times(), time.monotonic() - began
    documents = sum(last.values()) - sum(first.values())
    spent = after.user + after.system - times.user - times.system
    counters = await lane.control("GET", "counters")
    await writer.stop()
    slowest = min(last[realm] - first[realm] for realm in last) / took * 60
    tell(f"  writer's CPU: {spent * 1000 / max(1, documents):.2f} ms a document, {spent / took:.0%} of a core")
    tell(f"  the slowest company: {slowest:.0f} a minute")
    return {"documents_per_minute": round(documents / took * 60, 1), "http_429": counters["throttled"]}


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Both parts."""
    figures: dict[str, Any] = {"companies": options.companies, "busy": options.busy}
    async with stage(Path(options.keep) if options.keep else None, postgres_settings=COUNTED) as one:
        if options.companies:
            figures |= await many(one, options)
        if options.busy:
            tell(f"{options.busy} busy companies at Intuit's limits, {options.minutes} minutes")
            figures |= await busy(one, options.busy, options.minutes)
    return figures


ORDER = (
    "companies", "idle_queries_per_second", "idle_cpu_share", "megabytes", "takeover_seconds_all", "busy", "documents_per_minute",
    "http_429",
)  # fmt: skip


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="make bench-companies", description=__doc__)
    parser.add_argument("--companies", type=int, default=2000, help="idle ones; 0 leaves them out")
    parser.add_argument("--settle", type=float, default=60, help="seconds until the idle ones are measured")
    parser.add_argument("--seconds", type=float, default=60, help="for which they are measured")
    parser.add_argument("--busy", type=int, default=10, help="companies with a backlog; 0 leaves them out")
    parser.add_argument("--minutes", type=float, default=2.0, help="for which they are measured")
    parser.add_argument("--keep", help="a directory for the logs of all processes")
    options = parser.parse_args()
    figures = asyncio.run(run(options))
    print(json.dumps({name: figures.get(name) for name in ORDER}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
