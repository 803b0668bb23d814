"""`make bench-outages`: the cost of recovering from an outage: memory, reads, seconds.

`crash`: the writer is killed in the middle of a backlog of 10,000 documents. `feed`: 50,000 changes by others while it was down,
read while it posts. The last line is one JSON object.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import psutil
from faults.harness import Company, Lane, Stage, Writer, stage, until
from prometheus_client.parser import text_string_to_metric_families

from bench.writer import UNLIMITED, commands, documents, publish, tell

# Four batches of thirty are in flight at any time, as with Intuit.
SLOW_BATCHES = {"fault": "latency", "distribution": "uniform", "low": 0.5, "high": 1.0, "match": {"operation": "batch"}}
AT_ONCE = 5000  # changes loaded into the stand-in in one call


class Memory:
    """Samples the resident memory of a process, ten times a second."""

    def __init__(self, writer: Writer) -> None:
        assert writer.process.pid
        self._process, self.most = psutil.Process(writer.process.pid), 0
        self._task = asyncio.create_task(self._sample())

    async def _sample(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            while True:
                self.most = max(self.most, self._process.memory_info().rss)
                await asyncio.sleep(0.1)

    def stop(self) -> float:
        """Return the maximum, in megabytes."""
        self._task.cancel()
        return round(self.most / 1e6, 1)


async def reads(writer: Writer) -> Counter[str]:
    """The writer's metered reads, by operation."""
    async with httpx.AsyncClient() as http:
        text = (await http.get(f"http://127.0.0.1:{writer.port}/metrics", timeout=30)).text
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "qbo_metered_reads_total":
                found[next(v for k, v in sample.labels.items() if k != "realm")] += int(sample.value)
    return found


async def _posted(lane: Lane, company: Company, count: int, writer: Writer, seconds: float) -> None:
    async def so() -> bool:
        assert writer.running, writer.log()[-2000:]
        return await documents(lane, company) >= count

    await until(so, f"{count} documents", seconds, every=0.1)


# ------------------------------------------------------------------------------------------------------------------- crash


async def crash(one: Stage, count: int) -> dict[str, Any]:
    """Kill the writer when half of a backlog is posted; measure the one that takes over."""
    lane = await one.lane()
    lane.base |= UNLIMITED | {"PACE_BATCHES_PER_MINUTE": "60000"}
    company = await lane.company(numbers_checked=False)
    await lane.faults(company, SLOW_BATCHES)
    first = await lane.writer([company])
    await publish(lane, commands(company.realm, count))
    await _posted(lane, company, count // 2, first, 900)
    first.process.kill()
    await until(_ended(first), "the writer to end", 30)
    open_ = await lane.pool.fetchval("SELECT count(*) FROM qbo_writer.attempts WHERE state <> 'resolved'")
    tell(f"killed at {await documents(lane, company)} of {count} documents, {open_} requests without an answer")
    began = time.monotonic()
    second = await lane.writer([company])
    memory = Memory(second)

    async def settled() -> bool:
        assert second.running, second.log()[-2000:]
        return not await lane.pool.fetchval(
            "SELECT EXISTS (SELECT 1 FROM qbo_writer.commands WHERE state IN ('due', 'received')) "
            "OR EXISTS (SELECT 1 FROM qbo_writer.attempts WHERE state <> 'resolved')"
        )

    await until(settled, "all is posted", 900, every=0.2)
    seconds, cost = round(time.monotonic() - began, 1), await reads(second)
    most = memory.stop()
    await second.stop()
    return {
        "documents": count, "open_attempts": open_, "megabytes_most": most, "reads": sum(cost.values()), "reads_by": dict(cost),
        "seconds": seconds, "doubles": await documents(lane, company) - count,
    }  # fmt: skip


def _ended(writer: Writer) -> Any:
    async def so() -> bool:
        return not writer.running

    return so


# -------------------------------------------------------------------------------------------------------------------- feed


async def feed(one: Stage, changes: int, reads_per_run: int) -> dict[str, Any]:
    """Make many foreign changes while the writer is down; measure how it catches up, and what it posts meanwhile."""
    lane = await one.lane()
    lane.base |= UNLIMITED | {"FEED_READS_PER_RUN": str(reads_per_run), "FEED_SECONDS": "5", "LOG_LEVEL": "INFO"}
    company = await lane.company(numbers_checked=False)
    first = await lane.writer([company])
    await publish(lane, commands(company.realm, 20))
    await _posted(lane, company, 20, first, 120)
    await until(_read_once(lane, company), "the feed was read", 60)
    await first.stop()
    own = await documents(lane, company)
    foreign = await _import(lane, company, changes)
    tell(f"{foreign} changes by others while the writer was down")
    began = time.monotonic()
    writer = await lane.writer([company])
    memory = Memory(writer)
    publishing = asyncio.create_task(_publish_on(lane, company))
    await until(_worked_off(lane, company, foreign), "the feed to catch up", 900, every=0.2)
    seconds, cost = round(time.monotonic() - began, 1), await reads(writer)
    publishing.cancel()
    await asyncio.wait([publishing])
    posted = await documents(lane, company) - own
    runs = writer.log().count('"feed.paging"') + writer.log().count('"feed.paging_on"')
    # All changes are still within the feed's overlap: the next reads must not publish them again.
    before = cost["changes"]
    await until(_read_again(writer, before + 2), "the feed was read twice more", 120)
    told = await lane.pool.fetchrow(
        "SELECT count(*) AS n, count(DISTINCT value::jsonb->'data'->>'entity_id') AS different "
        "FROM qbo_writer.outbox WHERE topic = 'books.changes.v1' AND value::jsonb->'data'->>'ours' = 'false' "
        "AND value::jsonb->'data'->>'entity' = 'Bill'"
    )
    most = memory.stop()
    await writer.stop()
    return {
        "foreign_changes": foreign, "reads": cost["changes"] + cost["updated"], "reads_by": dict(cost), "runs": runs,
        "reads_per_run": reads_per_run, "documents_posted_meanwhile": posted, "seconds": seconds, "told": told["different"],
        "told_twice": told["n"] - told["different"], "megabytes_most": most,
    }  # fmt: skip


async def _import(lane: Lane, company: Company, count: int) -> int:
    vendor = (await lane.control("GET", f"books/Vendor?realm={company.realm}"))[0]["Id"]
    line = {"Amount": 5, "DetailType": "AccountBasedExpenseLineDetail",
            "AccountBasedExpenseLineDetail": {"AccountRef": {"value": "20"}}}  # fmt: skip
    for start in range(0, count, AT_ONCE):
        bills = [{"VendorRef": {"value": vendor}, "Line": [line]}] * min(AT_ONCE, count - start)
        await lane.control("POST", "entities", {"realm": company.realm, "entities": {"Bill": bills}})
    return count


async def _publish_on(lane: Lane, company: Company) -> None:
    """Ten documents a second, as sources bring them."""
    number = 0
    while True:
        await publish(lane, commands(company.realm, 10, prefix="M", start=number))
        number += 10
        await asyncio.sleep(1)


def _read_once(lane: Lane, company: Company) -> Any:
    async def so() -> bool:
        return bool(
            await lane.pool.fetchval("SELECT feed_position IS NOT NULL FROM qbo_writer.realms WHERE realm = $1", company.realm)
        )

    return so


def _worked_off(lane: Lane, company: Company, count: int) -> Any:
    async def so() -> bool:
        row = await lane.pool.fetchrow("SELECT feed_paging FROM qbo_writer.realms WHERE realm = $1", company.realm)
        if row is None or json.loads(row["feed_paging"]):
            return False
        told = await lane.pool.fetchval("SELECT count(*) FROM qbo_writer.outbox WHERE topic = 'books.changes.v1'")
        return bool(told >= count)

    return so


def _read_again(writer: Writer, count: int) -> Any:
    async def so() -> bool:
        return (await reads(writer))["changes"] >= count

    return so


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """One of the two."""
    async with stage(Path(options.keep) if options.keep else None) as one:
        if options.what == "crash":
            return await crash(one, options.documents)
        return await feed(one, options.changes, options.reads_per_run)


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="make bench-outages", description=__doc__)
    parser.add_argument("what", choices=("crash", "feed"))
    parser.add_argument("--documents", type=int, default=10_000, help="of the backlog")
    parser.add_argument("--changes", type=int, default=50_000, help="of others")
    parser.add_argument("--reads-per-run", type=int, default=20, help="FEED_READS_PER_RUN")
    parser.add_argument("--keep", help="a directory for the logs of all processes")
    print(json.dumps(asyncio.run(run(parser.parse_args()))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
