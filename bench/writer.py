"""`make bench-writer`: the writer at Intuit's limits, compared with simpler posters; then its CPU time and memory without limits.
With `--new-parties N`: N invoices at the limits, each for a new customer.

The last line is one JSON object. Documents are counted in the stand-ins' books, refusals in their counters.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
from bookrelay.messages import Command, InvoiceContent, InvoiceLine, Party, Priority, UpsertInvoice, UpsertInvoiceData
from faults.harness import Company, Lane, Stage, Writer, stage, until
from faults.workload import BEGINNING

from bench.posters import Poster

CEILING = 40 * 30 + 460  # documents a minute that the two rate limits allow together
CUSTOMERS = ("Amy's Bird Sanctuary", "Bill's Windsurf Shop", "Cool Cars", "Diego Rodriguez", "Freeman Sporting Goods")
WARM_UP = 15.0  # seconds from the first document until counting begins, when batches are in flight and no bucket is full
PORTION = 2500  # documents waiting at the same time, without limits
LATENCY: tuple[dict[str, Any], ...] = (
    {"fault": "latency", "distribution": "lognormal", "median": 0.5, "sigma": 0.3,
     "match": {"operation": ["create", "update", "get", "query", "cdc", "void", "delete"]}},
    {"fault": "latency", "distribution": "uniform", "low": 2.0, "high": 5.0, "match": {"operation": "batch"}},
)  # fmt: skip
PRODUCTION = {"DATABASE_POOL_SIZE": "5", "LOG_LEVEL": "INFO"}
UNLIMITED = {
    "PACE_REQUESTS_PER_MINUTE": "1000000", "PACE_REQUESTS_PER_SECOND": "100000", "PACE_MARGIN_SECONDS": "0",
    "PACE_IN_FLIGHT": "10", "LOG_LEVEL": "INFO",
}  # fmt: skip


def commands(realm: str, count: int, *, prefix: str = "W", start: int = 0, new_parties: bool = False) -> Iterator[Command]:
    """A backlog of invoices of two lines for existing customers, or each for a new one."""
    rng = random.Random(f"{realm}:{prefix}:{start}")
    for number in range(start, start + count):
        lines = tuple(
            InvoiceLine(
                item=rng.choice(("procedure", "supply", "facility")), description=f"{prefix}{number:06d}x line {i}",
                amount=Decimal(rng.randint(100, 999_999)) / 100,
            )
            for i in (1, 2)
        )  # fmt: skip
        content = InvoiceContent(
            customer=Party(name=f"P-{number:05d} A.B." if new_parties else rng.choice(CUSTOMERS)),
            txn_date=date(2026, 1, 1) + timedelta(days=rng.randrange(300)),
            lines=lines,
        )
        data = UpsertInvoiceData(
            realm=realm, source="bench", source_key=f"{prefix}{number:06d}", version=1, modified_at=BEGINNING, content=content,
            priority=Priority.BACKFILL,
        )  # fmt: skip
        yield UpsertInvoice.of(data, sender="emr-poller")


async def publish(lane: Lane, stream: Iterator[Command]) -> int:
    """Publish in portions; return how many."""
    count, portion = 0, []
    for command in stream:
        portion.append(command)
        if len(portion) == 500:
            await lane.publish(portion)
            count, portion = count + 500, []
    await lane.publish(portion)
    return count + len(portion)


async def documents(lane: Lane, company: Company) -> int:
    """The number of invoices in the stand-in."""
    for row in await lane.control("GET", "companies"):
        if row["realm_id"] == company.realm:
            return int(row["documents"].get("Invoice", 0))
    return 0


async def entities(lane: Lane, company: Company) -> int:
    """The number of customers and invoices in the stand-in."""
    for row in await lane.control("GET", "companies"):
        if row["realm_id"] == company.realm:
            return int(row["documents"].get("Invoice", 0)) + int(row["documents"].get("Customer", 0))
    return 0


def tell(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


# --------------------------------------------------------------------------------------------------------------- with limits


async def limited_lane(one: Stage) -> Lane:
    """A lane with Intuit's limits, token lifetime and latencies."""
    lane = await one.lane(limits=True)
    lane.base = dict(PRODUCTION)
    await lane.control("POST", "tokens", {"access_seconds": 3600})
    await lane.faults(None, *LATENCY)
    return lane


async def writer_at_the_limits(one: Stage, minutes: float) -> dict[str, Any]:
    """Measure the writer's documents a minute, and its 429s."""
    lane = await limited_lane(one)
    company = await lane.company(numbers_checked=True)
    await publish(lane, commands(company.realm, int(CEILING * (minutes + 1.2))))
    writer = await lane.writer([company])

    async def begun() -> bool:
        return await documents(lane, company) > 0

    await until(begun, "the first document", 90)
    await asyncio.sleep(WARM_UP)
    first, began = await documents(lane, company), time.monotonic()
    await asyncio.sleep(minutes * 60)
    last, ended = await documents(lane, company), time.monotonic()
    counters = await lane.control("GET", "counters")
    await writer.stop()
    a_minute = (last - first) / (ended - began) * 60
    return {
        "documents_per_minute": round(a_minute, 1),
        "http_429": counters["throttled"],
        "metered_reads": counters["metered_reads"],
    }


async def new_parties_at_the_limits(one: Stage, count: int) -> dict[str, Any]:
    """A backlog of invoices, each for a new customer: entities (customers and invoices) a minute, and calls by kind.

    Measured from WARM_UP after the first entity to the last one; `ratio_whole` from the first one, including the start.
    """
    lane = await limited_lane(one)
    company = await lane.company(numbers_checked=True)
    start = await entities(lane, company)
    await publish(lane, commands(company.realm, count, new_parties=True))
    writer = await lane.writer([company])

    async def reached(entities_made: int) -> bool:
        assert writer.running, writer.log()[-2000:]
        return await entities(lane, company) - start >= entities_made

    await until(lambda: reached(1), "the first entity", 90)
    whole = time.monotonic()
    await asyncio.sleep(WARM_UP)
    first, began = await entities(lane, company) - start, time.monotonic()
    await until(lambda: reached(2 * count), "the last invoice", 60 * (2 * count / 200 + 2), every=0.5)
    ended = time.monotonic()
    counters, calls = await lane.control("GET", "counters"), Counter[str]()
    for request in await lane.requests(company):
        calls[request["operation"]] += 1
    await writer.stop()
    a_minute = (2 * count - first) / (ended - began) * 60
    return {
        "entities": 2 * count, "ceiling": CEILING, "ratio": round(a_minute / CEILING, 4),
        "ratio_whole": round(2 * count / (ended - whole) * 60 / CEILING, 4), "entities_per_minute": round(a_minute, 1),
        "http_429": counters["throttled"], "calls": dict(calls.most_common()),
    }  # fmt: skip


async def poster_at_the_limits(one: Stage, kind: str, minutes: float) -> Poster:
    """The same for a simpler poster, with its own stand-in."""
    lane = await limited_lane(one)
    await lane.control("POST", "preferences", {"warnings": {"WarnDuplicateInvoiceNumber": False}})
    poster = Poster(lane.qbo)
    await getattr(poster, kind)(minutes * 60)
    await poster.http.aclose()
    return poster


async def with_limits(one: Stage, minutes: float) -> dict[str, Any]:
    """All four side by side."""
    writer, sequential, pool, paced = await asyncio.gather(
        writer_at_the_limits(one, minutes),
        poster_at_the_limits(one, "sequential", minutes),
        poster_at_the_limits(one, "pool", minutes),
        poster_at_the_limits(one, "paced_batches", minutes),
    )
    return {
        **writer, "ceiling_share": round(writer["documents_per_minute"] / CEILING, 4),
        "sequential_per_minute": round(sequential.documents / minutes, 1), "pool_per_minute": round(pool.documents / minutes, 1),
        "pool_429": pool.refused, "paced_4dqbo_per_minute": round(paced.documents / minutes, 1), "paced_4dqbo_429": paced.refused,
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ without limits


async def cpu_for_each(one: Stage, count: int, environment: Mapping[str, str], *, memory: bool = False) -> dict[str, float]:
    """Measure the writer's CPU milliseconds per document, including recording, and its memory at start and end."""
    lane = await one.lane()
    lane.base = {**UNLIMITED, **environment}
    await lane.control("POST", "tokens", {"access_seconds": 3600})
    company = await lane.company(numbers_checked=True)
    writer = await lane.writer([company])
    assert writer.process.pid
    process = psutil.Process(writer.process.pid)
    # Warm-up: code loaded, references cached, connections open; for the memory also the buffers of a full portion.
    start = PORTION if memory else 500
    await publish(lane, commands(company.realm, start))
    await _posted(lane, company, start, 300, writer)
    begin_memory, times = process.memory_info().rss, process.cpu_times()
    began = time.monotonic()
    done = start
    while done < count + start:
        portion = min(PORTION, count + start - done)
        await publish(lane, commands(company.realm, portion, start=done))
        done += portion
        await _posted(lane, company, done - 500 if done < count + start else done, 300, writer)
    after = process.cpu_times()
    spent = (after.user + after.system) - (times.user + times.system)
    result = {
        "cpu_ms": round(spent * 1000 / count, 3), "documents_per_second": round(count / (time.monotonic() - began), 1),
        "megabytes_start": round(begin_memory / 1e6, 1), "megabytes_end": round(process.memory_info().rss / 1e6, 1),
    }  # fmt: skip
    await writer.stop()
    if memory:
        tell(f"  memory over {count} documents: {result['megabytes_start']} -> {result['megabytes_end']} MB")
    return result


async def _posted(lane: Lane, company: Company, count: int, seconds: float, writer: Writer) -> None:
    async def so() -> bool:
        assert writer.running, writer.log()[-2000:]
        return await documents(lane, company) >= count

    await until(so, f"{count} documents", seconds, every=0.2)


async def without_limits(one: Stage, single: int, batch: int) -> dict[str, Any]:
    """Single calls, then batches; memory over the batches."""
    singles = await cpu_for_each(one, single, {"PACE_BATCHES_PER_MINUTE": "0"})
    tell(f"  single calls: {singles}")
    batches = await cpu_for_each(one, batch, {"PACE_BATCHES_PER_MINUTE": "60000", "PACE_IN_FLIGHT": "2"}, memory=True)
    tell(f"  batches: {batches}")
    return {
        "cpu_ms_per_document_single": singles["cpu_ms"], "cpu_ms_per_document_batch": batches["cpu_ms"],
        "megabytes_start": batches["megabytes_start"], "megabytes_end": batches["megabytes_end"],
    }  # fmt: skip


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Both parts on one stage."""
    figures: dict[str, Any] = {}
    async with stage(Path(options.keep) if options.keep else None) as one:
        if options.new_parties:
            return await new_parties_at_the_limits(one, options.new_parties)
        if options.minutes > 0:
            tell(
                f"with limits, QuickBooks 0.5 s a call and 2 to 5 s a batch, {options.minutes} minutes, four posters side by side"
            )
            figures |= await with_limits(one, options.minutes)
            for name, value in figures.items():
                tell(f"  {name:<28}{value}")
        if options.documents > 0:
            tell("without limits and latency")
            figures |= await without_limits(one, max(500, options.documents // 10), options.documents)
    return figures


ORDER = (
    "documents_per_minute", "http_429", "ceiling_share", "sequential_per_minute", "pool_per_minute", "pool_429",
    "paced_4dqbo_per_minute", "cpu_ms_per_document_single", "cpu_ms_per_document_batch", "megabytes_start", "megabytes_end",
)  # fmt: skip


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="make bench-writer", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0, help="of the part with limits; 0 skips it")
    parser.add_argument("--documents", type=int, default=50_000, help="of the part without limits; 0 skips it")
    parser.add_argument("--new-parties", type=int, default=0, help="only this: so many new customers with one invoice each")
    parser.add_argument("--keep", help="a directory for the logs of all processes")
    options = parser.parse_args()
    figures = asyncio.run(run(options))
    print(json.dumps(figures if options.new_parties else {name: figures.get(name) for name in ORDER}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
