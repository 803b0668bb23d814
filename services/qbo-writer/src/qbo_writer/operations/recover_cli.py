"""`qbo-writer recover --since T`: after a database restore. Halts, resets the offsets, compares with QuickBooks, resumes.

Each step is safe to repeat: after a crash or an error, run it again.
"""

import argparse
import asyncio
import contextlib
import json
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from bookrelay.db import TRANSIENT_POSTGRES, Pool
from bookrelay.errors import BookrelayError
from bookrelay.kafka import Publisher

from qbo_writer import handlers
from qbo_writer.crashpoints import Place, reach
from qbo_writer.domain import LookupFailed
from qbo_writer.ledger import recovery
from qbo_writer.ledger.lease import LeaseLost
from qbo_writer.operations.cli_support import SHOWN, remark, seconds
from qbo_writer.operations.replaying import FIX_MEMBERS, Replayed, replay
from qbo_writer.protocol.parts import Tenure
from qbo_writer.protocol.recovering import Recoverer
from qbo_writer.settings import Settings
from qbo_writer.writer import Writer

MARGIN_SECONDS = 3600.0  # clocks differ, and a backup's contents began before it was taken
CONNECT_SECONDS = 60.0
EARLIEST = datetime(2001, 1, 1, tzinfo=UTC)  # QuickBooks Online is younger


def register(subparsers: Any) -> None:
    """Add `recover` to the command line."""
    parser = subparsers.add_parser("recover", help="after a database restore: compare with QuickBooks, then resume posting")
    parser.add_argument("--since", type=_time, required=True, metavar="TIME",
                        help="when the backup was taken, ISO 8601 with a zone: 2026-11-29T08:00:00Z")  # fmt: skip
    parser.add_argument("--margin", type=seconds, default=MARGIN_SECONDS, metavar="SECONDS",
                        help="look this much further back (default 3600)")  # fmt: skip
    parser.add_argument("--stopped-at", type=_time, default=None, metavar="TIME",
                        help="when the last writer ended (default: now, which means a wait of some minutes)")  # fmt: skip
    parser.set_defaults(action=recover)


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text[:SHOWN]} is not a time like 2026-11-29T08:00:00Z") from None
    if at.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text[:SHOWN]} has no time zone: end it with Z or an offset such as +02:00")
    if at < EARLIEST:
        raise argparse.ArgumentTypeError(f"{text[:SHOWN]} is before {EARLIEST:%Y}")
    if at > datetime.now(UTC):
        raise argparse.ArgumentTypeError(f"{text[:SHOWN]} is in the future")
    return at.astimezone(UTC)


async def recover(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Recover every company that this writer serves; exit status 1 while one of them is still halted."""
    settings.require_companies()
    since = arguments.since - timedelta(seconds=arguments.margin)
    writer, stopped = Writer(settings, pool), arguments.stopped_at or datetime.now(UTC)
    renewing: asyncio.Task[None] | None = None
    try:
        await _take_leases(writer, settings, pool)
        renewing = asyncio.create_task(_renew(writer))
        for realm in writer.posters:
            await recovery.halt(pool, realm, since, _token(writer, realm))
        await _halt_others(settings, pool, since)
        reach(Place.RECOVERY_BEGUN)
        print(json.dumps({"halted": list(writer.posters), "since": since.isoformat()}), flush=True)
        replayed = await _replay(writer, settings, pool, since)
        print(json.dumps({"recorded_again": asdict(replayed)}), flush=True)
        reach(Place.RECOVERY_REPLAYED)
        await _late_copies(writer, stopped)
        results = [await _one(writer, pool, realm, since) for realm in writer.posters]
    finally:
        if renewing:
            renewing.cancel()
        await writer.close()
    return 0 if all(results) else 1


async def _take_leases(writer: Writer, settings: Settings, pool: Pool) -> None:
    """Take every company's lease, with fencing tokens above any given after the backup."""
    until = time.monotonic() + settings.lease_seconds + 5
    while True:
        await recovery.go_beyond_earlier_leases(pool, list(writer.posters))
        await writer.leases.step()
        missing = [realm for realm in writer.posters if writer.leases.holding(realm) is None]
        if not missing:
            return
        if time.monotonic() > until:
            held = await recovery.holders(pool, missing)
            who = ", ".join(f"{realm} by {holder}" for realm, holder in sorted(held.items()))
            raise BookrelayError(f"A writer is running: it holds the lease of company {who}.", FIX_MEMBERS)
        await asyncio.sleep(0.5)


async def _renew(writer: Writer) -> None:
    while True:
        with contextlib.suppress(*TRANSIENT_POSTGRES):
            await asyncio.sleep(await writer.leases.step())
            continue
        await asyncio.sleep(0.5)


def _token(writer: Writer, realm: str) -> int:
    token = writer.leases.holding(realm)
    if token is None:
        raise LeaseLost(realm)
    return token


async def _halt_others(settings: Settings, pool: Pool, since: datetime) -> None:
    """Halt the companies that other writers serve: the same restore lost their commits, too."""
    others = await recovery.others(pool, settings.qbo_realm_ids)
    held = await recovery.holders(pool, others)
    if held:
        raise BookrelayError(f"A writer is running: it holds the lease of company {', '.join(sorted(held))}.", FIX_MEMBERS)
    for realm in others:
        await recovery.halt(pool, realm, since, None)
    if others:
        remark(f"also halted: {', '.join(others)}. Run `qbo-writer recover` for them, too (QBO_REALM_IDS).")


async def _replay(writer: Writer, settings: Settings, pool: Pool, since: datetime) -> Replayed:
    async def record(batch: Any) -> None:
        await handlers.record(batch, writer.ledger.commands, lambda realms: None)

    publisher = Publisher(settings.kafka_bootstrap_servers, "qbo-writer-recover", settings.kafka_security())
    async with asyncio.timeout(CONNECT_SECONDS):
        await publisher.start()
    try:
        reach_kafka = {**settings.kafka_security(), "bootstrap_servers": settings.kafka_bootstrap_servers}
        options = {**reach_kafka, "client_id": "qbo-writer-recover"}
        return await replay(options, publisher, since, lambda ids: recovery.recorded(pool, ids), record)
    finally:
        await publisher.stop()


async def _late_copies(writer: Writer, stopped: datetime) -> None:
    """Wait until the last writer's requests have taken effect and show: "not there" counts only after X + S."""
    wait = (stopped + writer.parts.waits.q - datetime.now(UTC)).total_seconds()
    if wait > 0:
        remark(f"waiting {wait:.0f} s: a request sent by the last writer may still take effect (--stopped-at shortens this).")
        await asyncio.sleep(wait)


async def _one(writer: Writer, pool: Pool, realm: str, since: datetime) -> bool:
    """Compare and resume one company; return whether that succeeded. A failure does not stop the others."""
    try:
        found = await Recoverer(writer.posters[realm], pool, Tenure(_token(writer, realm))).run(since)
        reach(Place.RECOVERY_COMPARED)
        await recovery.resume(pool, realm, _token(writer, realm))
    except LeaseLost:
        why = "its lease was lost: a writer was started, or Postgres was down too long. " + FIX_MEMBERS
    except BookrelayError as error:
        why = error.sentence()
    except LookupFailed as error:
        why = f"QuickBooks does not answer: {error} Run it again later."
    else:
        print(json.dumps(asdict(found) | {"resumed": True}), flush=True)
        return True
    remark(f"company {realm} is still halted: {why}")
    return False
