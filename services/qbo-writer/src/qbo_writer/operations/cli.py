"""The operators' commands: run-once, status, held, dead-letters, audit, auth and others. Without a command the service runs."""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from aiokafka.errors import KafkaError
from bookrelay import telemetry
from bookrelay.causes import cause_of
from bookrelay.db import TRANSIENT_POSTGRES, Pool, close_pool, open_pool, postgres_server
from bookrelay.errors import BookrelayError

from qbo_writer.domain import LookupFailed
from qbo_writer.ledger import decisions, halting, status
from qbo_writer.operations import (
    audit_cli,
    auth_cli,
    commands_cli,
    halt_cli,
    held_cli,
    letters_cli,
    preflight_cli,
    recover_cli,
    status_cli,
    unserved_cli,
)
from qbo_writer.operations.cli_support import (
    NoCalls,
    Subcommand,
    at_most,
    kafka_why_not,
    person_arguments,
    remark,
    seconds,
    served,
)
from qbo_writer.settings import Settings
from qbo_writer.writer import Writer


async def run_once(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Post at most `--limit` documents, wait for their answers, then end."""
    writer = Writer(settings, pool)
    for poster in writer.posters.values():
        poster.claimer.limit = arguments.limit
    renewing = asyncio.create_task(_renew(writer.leases.step))
    led: set[str] = set()
    try:
        until = time.monotonic() + arguments.seconds
        while time.monotonic() < until and not all(poster.idle() for poster in writer.posters.values()):
            for poster in writer.posters.values():
                await poster.step()
            led |= {realm for realm in writer.posters if writer.leases.holding(realm)}
    finally:
        await writer.close()
        renewing.cancel()
    for realm, poster in writer.posters.items():
        if realm not in led:
            holder = await status.holder(pool, realm)
            remark(f"nothing was posted for company {realm}: {holder} holds its lease and posts for it. Stop that service first.")
        elif halted := poster.halts.halted_by:
            remark(f"nothing more was posted for company {realm}: halted by {halted.by}: {halted.why}. See `qbo-writer resume`.")
    done = sum(poster.sender.health.answered for poster in writer.posters.values())
    print(json.dumps({"answered": done, "seconds": round(arguments.seconds - max(0.0, until - time.monotonic()), 2)}))
    return 0


async def _renew(step: Callable[[], Awaitable[float]]) -> None:
    while True:
        pause = await step()
        await asyncio.sleep(pause)


async def dry_run(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Show what would be sent. Changes nothing: no lease, no token, no calls; references that are not cached are reported."""
    from qbo_writer.domain import AccessToken, CommandState, NameNeeded, Skipped
    from qbo_writer.ledger.changes import Decision
    from qbo_writer.protocol.deciding import Unpay

    writer = Writer(settings, pool, lists=NoCalls())
    token, found = AccessToken("", datetime.max.replace(tzinfo=UTC)), False
    for realm, poster in writer.posters.items():
        for candidate in await writer.ledger.commands.candidates(realm, arguments.limit):
            document, command, found = candidate.document, candidate.newest, True
            line: dict[str, Any] = {
                "realm": realm, "kind": document.kind.value, "source": document.source, "source_key": document.source_key,
                "version": command.version, "superseded": [older.version for older in candidate.older],
            }  # fmt: skip
            if command.state is not CommandState.DUE:
                print(json.dumps(line | {"would": "supersede the older versions"}))
                continue
            try:
                plan = await poster.planner.plan(candidate, token)
            except LookupFailed:
                line |= {"would": "look up its references first"}
            except Skipped as skipped:
                line |= {"would": "end", "end": "skipped", "reason": skipped.reason}
            else:
                if isinstance(plan, Decision):
                    line |= {"would": "end", "end": plan.state.value, "reason": plan.reason}
                elif isinstance(plan, Unpay):
                    line |= {"would": "remove its payment first"}
                elif isinstance(plan, NameNeeded):
                    line |= {"would": f"create the {plan.kind.value} first"}
                else:
                    line |= {"would": plan.request.operation.value, "entity": plan.request.entity, "body": plan.request.body}
            print(json.dumps(line))
    if not found:
        remark("nothing is due.")
    await writer.client.close()
    await writer.oauth.close()
    return 0


async def bounds(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Set whether the protocol's waits are reliable for a company; if not, a request without an answer is held."""
    served(settings, arguments.realm)
    await halting.set_bounds(pool, arguments.realm, decisions.Person(arguments.by, arguments.why), arguments.bounds)
    print(json.dumps({"realm": arguments.realm, "bounds": arguments.bounds}))
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    main = argparse.ArgumentParser(
        prog="qbo-writer",
        description="Posts commands to QuickBooks as documents, exactly once. Without a command: run the service.",
    )
    main.add_argument("--dry-run", action="store_true", help="show what would be sent; change nothing")
    commands = main.add_subparsers(dest="command")
    once = commands.add_parser("run-once", help="post what is due, then exit")
    once.add_argument("--limit", type=at_most, default=100, help="at most this many documents (default 100)")
    once.add_argument("--seconds", type=seconds, default=300, help="stop after this many seconds (default 300)")
    once.add_argument("--dry-run", action="store_true", default=argparse.SUPPRESS, help="show what would be sent; change nothing")
    once.set_defaults(action=run_once)
    status_cli.register(commands)
    preflight_cli.register(commands)
    unserved_cli.register(commands)
    commands_cli.register(commands)
    held_cli.register(commands)
    letters_cli.register(commands)
    limits = commands.add_parser("bounds", help="set whether waits settle requests without an answer, or they are held")
    limits.add_argument("bounds", choices=("unreliable", "reliable"))
    limits.add_argument("realm", help="the company")
    person_arguments(limits)
    limits.set_defaults(action=bounds)
    halt_cli.register(commands)
    audit_cli.register(commands)
    auth_cli.register(commands)
    recover_cli.register(commands)
    return main


async def _why_not(settings: Settings, error: BaseException) -> BookrelayError:
    """Ask the server that failed for the cause; if it answers, the error contains it."""
    if isinstance(error, KafkaError):
        return await kafka_why_not(settings) or BookrelayError(
            f"Kafka refused: {cause_of(error).text}.", "Check the user's ACLs for topics and groups."
        )
    why = await postgres_server(settings).why_not()
    return why or BookrelayError(f"Postgres cannot be used: {error}.", "Check DATABASE_URL, and that the database is migrated.")


def run(arguments: list[str]) -> int:
    """Run one command; returns the exit status."""
    for given in arguments:
        if any("\ud800" <= sign <= "\udfff" for sign in given):  # not UTF-8: no column can store it
            parser().error(f"argument {given!a:.80} is not UTF-8")
    parsed = parser().parse_args(arguments)
    action: Subcommand | None = getattr(parsed, "action", None)
    if parsed.dry_run:
        action, parsed.limit = dry_run, getattr(parsed, "limit", 100)
    if action is None:
        parser().print_help()
        return 2
    telemetry.setup_logging("qbo-writer", "WARNING")

    async def body() -> int:
        settings = Settings.load()
        try:
            pool = await open_pool(settings, application_name="qbo-writer cli")
            try:
                return await action(parsed, settings, pool)
            finally:
                await close_pool(pool)
        except BrokenPipeError:
            raise
        except (KafkaError, *TRANSIENT_POSTGRES) as error:
            raise await _why_not(settings, error) from None

    try:
        return asyncio.run(body())
    except BookrelayError as error:
        print(f"qbo-writer: {error.sentence()}", file=sys.stderr)
    except BrokenPipeError:  # the reader (head, less) has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 1
