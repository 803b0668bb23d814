"""The writer's commands for operators: run-once, status, held, dead-letters, audit, auth. All else is the service."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

from bookrelay import telemetry
from bookrelay.db import Pool, close_pool, open_pool
from bookrelay.errors import BookrelayError

from qbo_writer.settings import WriterSettings

Action = Callable[[argparse.Namespace, WriterSettings, Pool], Awaitable[int]]


async def run_once(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Post at most so many documents, wait for their answers, then end."""
    from qbo_writer.main import Writer

    writer = Writer(settings, pool)
    for poster in writer.posters.values():
        poster.limit = arguments.limit
    renewing = asyncio.create_task(_renew(writer.leases.step))
    try:
        until = time.monotonic() + arguments.seconds
        while time.monotonic() < until and not all(poster.idle() for poster in writer.posters.values()):
            for poster in writer.posters.values():
                await poster.step()
    finally:
        await writer.close()
        renewing.cancel()
    done = sum(poster.sender.health.answered for poster in writer.posters.values())
    print(json.dumps({"answered": done, "seconds": round(arguments.seconds - max(0.0, until - time.monotonic()), 2)}))
    return 0


async def _renew(step: Callable[[], Awaitable[float]]) -> None:
    while True:
        await asyncio.sleep(await step())


async def status(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Print what each company's ledger holds."""
    rows = await pool.fetch(
        """
        SELECT r.realm, r.halted_code, r.halted_reason, r.halted_since, r.requestid_proven, r.batch_proven,
          l.holder, l.fencing_token, l.expires_at > clock_timestamp() AS lease_live, t.state AS connection,
          t.access_expires_at, t.refresh_expires_at,
          (SELECT jsonb_object_agg(state, n) FROM (SELECT state, count(*) n FROM qbo_writer.commands c WHERE c.realm = r.realm
            GROUP BY state) s) AS commands,
          (SELECT jsonb_object_agg(state, n) FROM (SELECT state, count(*) n FROM qbo_writer.attempts a WHERE a.realm = r.realm
            GROUP BY state) s) AS attempts,
          (SELECT count(*) FROM qbo_writer.documents d WHERE d.realm = r.realm AND d.held) AS held
        FROM (SELECT realm FROM qbo_writer.documents UNION SELECT realm FROM qbo_writer.realms UNION SELECT unnest($1::text[])) n
        LEFT JOIN qbo_writer.realms r0 USING (realm)
        CROSS JOIN LATERAL (SELECT n.realm, r0.halted_code, r0.halted_reason, r0.halted_since, r0.requestid_proven, r0.batch_proven) r
        LEFT JOIN qbo_writer.leases l ON l.realm = r.realm LEFT JOIN qbo_writer.tokens t ON t.realm = r.realm ORDER BY 1
        """,
        list(settings.qbo_realm_ids),
    )
    pending = await pool.fetchval("SELECT count(*) FROM qbo_writer.outbox WHERE published_at IS NULL")
    print(json.dumps({"realms": [dict(row) for row in rows], "outbox_pending": pending}, default=str, indent=2))
    return 1 if any(row["halted_code"] for row in rows) else 0


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    main = argparse.ArgumentParser(prog="qbo-writer", description="Commands become QuickBooks documents, exactly once.")
    commands = main.add_subparsers(dest="command", required=True)
    once = commands.add_parser("run-once", help="post what is due, then end")
    once.add_argument("--limit", type=int, default=100, help="documents at most (default 100)")
    once.add_argument("--seconds", type=float, default=300, help="end after so long in any case")
    once.set_defaults(action=run_once)
    commands.add_parser("status", help="what the ledger holds, for each company").set_defaults(action=status)
    return main


def run(arguments: list[str]) -> int:
    """Run one command; returns the exit status."""
    parsed = parser().parse_args(arguments)
    telemetry.setup_logging("qbo-writer", "WARNING")

    async def body() -> int:
        settings = WriterSettings.load()
        pool = await open_pool(settings, application_name="qbo-writer cli")
        try:
            result: int = await parsed.action(parsed, settings, pool)
            return result
        finally:
            await close_pool(pool)

    try:
        return asyncio.run(body())
    except BookrelayError as error:
        print(f"qbo-writer: {error.sentence()}", file=sys.stderr)
    except OSError as error:
        print(f"qbo-writer: Postgres cannot be reached: {error}. Check DATABASE_URL.", file=sys.stderr)
    return 1
