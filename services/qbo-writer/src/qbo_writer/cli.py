"""The writer's commands for operators: run-once, status, held, dead-letters, audit, auth. All else is the service."""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from bookrelay import telemetry, topics
from bookrelay.db import TRANSIENT_POSTGRES, Pool, close_pool, open_pool
from bookrelay.errors import BookrelayError
from bookrelay.kafka import Publisher, headers_of

from qbo_writer import audit, auth_cli, discrepancies, operating
from qbo_writer.domain import LookupFailed
from qbo_writer.settings import WriterSettings

REDRIVES = 3  # a record that came back so often needs another cure than being sent again

Action = Callable[[argparse.Namespace, WriterSettings, Pool], Awaitable[int]]


async def run_once(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Post at most so many documents, wait for their answers, then end."""
    from qbo_writer.main import Writer

    writer = Writer(settings, pool)
    for poster in writer.posters.values():
        poster.limit = arguments.limit
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
    for realm in writer.posters:
        if realm not in led:
            holder = await pool.fetchval("SELECT holder FROM qbo_writer.leases WHERE realm = $1", realm)
            _remark(f"nothing was posted for company {realm}: {holder} has its lease and posts. Stop that service first.")
    done = sum(poster.sender.health.answered for poster in writer.posters.values())
    print(json.dumps({"answered": done, "seconds": round(arguments.seconds - max(0.0, until - time.monotonic()), 2)}))
    return 0


def _remark(text: str) -> None:
    """Tell a person; stdout stays what a program can read."""
    print(f"qbo-writer: {text}", file=sys.stderr)


def _served(settings: WriterSettings, realm: str | None) -> None:
    """Refuse a company that is not ours: "nothing found" would be taken for "all is well"."""
    if realm and realm not in settings.qbo_realm_ids:
        raise BookrelayError(f"This writer does not serve company {realm}.", "Check QBO_REALM_IDS.")


async def _renew(step: Callable[[], Awaitable[float]]) -> None:
    while True:
        pause = await step()
        await asyncio.sleep(pause)


async def status(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Print what each company's ledger holds."""
    rows = await pool.fetch(
        """
        SELECT r.realm, r.halted_code, r.halted_reason, r.halted_since, r.requestid_proven, r.batch_proven, r.bounds_unreliable,
          l.holder, l.fencing_token, l.expires_at > clock_timestamp() AS lease_live, t.state AS connection,
          t.access_expires_at, t.refresh_expires_at,
          (SELECT jsonb_object_agg(state, n) FROM (SELECT state, count(*) n FROM qbo_writer.commands c WHERE c.realm = r.realm
            GROUP BY state) s) AS commands,
          (SELECT jsonb_object_agg(state, n) FROM (SELECT state, count(*) n FROM qbo_writer.attempts a WHERE a.realm = r.realm
            GROUP BY state) s) AS attempts,
          (SELECT count(*) FROM qbo_writer.documents d WHERE d.realm = r.realm AND d.held) AS held,
          (SELECT jsonb_object_agg(what, n) FROM (SELECT what, count(*) n FROM qbo_writer.discrepancies o WHERE o.realm = r.realm
            AND o.resolved_at IS NULL GROUP BY what) s) AS discrepancies, r.swept_at
        FROM (SELECT realm FROM qbo_writer.documents UNION SELECT realm FROM qbo_writer.realms UNION SELECT unnest($1::text[])) n
        LEFT JOIN qbo_writer.realms r0 USING (realm)
        CROSS JOIN LATERAL (SELECT n.realm, r0.halted_code, r0.halted_reason, r0.halted_since, r0.requestid_proven,
          r0.batch_proven, coalesce(r0.bounds_unreliable, false) AS bounds_unreliable, r0.swept_at) r
        LEFT JOIN qbo_writer.leases l ON l.realm = r.realm LEFT JOIN qbo_writer.tokens t ON t.realm = r.realm ORDER BY 1
        """,
        list(settings.qbo_realm_ids),
    )
    pending = await pool.fetchval("SELECT count(*) FROM qbo_writer.outbox WHERE published_at IS NULL")
    print(json.dumps({"realms": [dict(row) for row in rows], "outbox_pending": pending}, default=str, indent=2))
    return 1 if any(row["halted_code"] for row in rows) else 0


async def dry_run(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Show what would be sent. Changes nothing: no lease, no token, no call, no look-up; what is not cached is said."""
    from qbo_writer.deciding import End
    from qbo_writer.domain import AccessToken, CommandState, NameNeeded, Skipped
    from qbo_writer.main import Writer

    writer = Writer(settings, pool, lists=NoCalls())
    token, found = AccessToken("", datetime.max.replace(tzinfo=UTC)), False
    for realm, poster in writer.posters.items():
        for candidate in await writer.ledger.candidates(realm, arguments.limit):
            known, asked, found = candidate.known, candidate.newest, True
            line: dict[str, Any] = {
                "realm": realm, "kind": known.kind.value, "source": known.source, "source_key": known.source_key,
                "version": asked.version, "superseded": [older.version for older in candidate.older],
            }  # fmt: skip
            if asked.state is not CommandState.DUE:
                print(json.dumps(line | {"would": "supersede the older versions"}))
                continue
            try:
                plan = await poster.plan(candidate, token)
            except LookupFailed:
                line |= {"would": "look up its references first"}
            except Skipped as skipped:
                line |= {"would": "end", "end": "skipped", "reason": skipped.reason}
            else:
                if isinstance(plan, End):
                    line |= {"would": "end", "end": plan.state.value, "reason": plan.reason}
                elif isinstance(plan, NameNeeded):
                    line |= {"would": f"create the {plan.kind.value} first"}
                else:
                    line |= {"would": plan.request.operation.value, "entity": plan.request.entity, "body": plan.request.body}
            print(json.dumps(line))
    if not found:
        _remark("nothing is due.")
    await writer.client.close()
    await writer.oauth.close()
    return 0


class NoCalls:
    """Lists that are never read: a dry run calls nobody."""

    async def query(self, realm: str, statement: str, token: Any) -> list[dict[str, Any]]:
        """Refuse."""
        raise LookupFailed("a dry run makes no calls")

    async def find_names(self, realm: str, name: str, token: Any, entities: tuple[str, ...] = ()) -> list[Any]:
        """Refuse."""
        raise LookupFailed("a dry run makes no calls")

    async def get(self, realm: str, path: str, params: Any, token: Any) -> Any:
        """Refuse."""
        raise LookupFailed("a dry run makes no calls")


async def held_list(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Print every document that waits for a person."""
    _served(settings, arguments.realm)
    rows = await operating.held(pool, arguments.realm)
    for row in rows:
        print(json.dumps(row, default=str))
    if not rows:
        _remark("no document waits for a person.")
    return 0


async def held_show(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Print one of them with its commands and attempts."""
    print(json.dumps(await operating.show(pool, arguments.document), default=str, indent=2))
    return 0


async def held_decide(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Release, force or drop one."""
    if arguments.decision == "force":
        chosen, waits_until = await operating.force(pool, arguments.document)
        until = f"; it counts when no late copy can arrive, at most until {waits_until} and a few minutes" if waits_until else ""
    else:
        chosen = await (operating.release if arguments.decision == "release" else operating.drop)(pool, arguments.document)
        until = ""
    print(f"{arguments.decision}: {chosen.kind} {chosen.source}:{chosen.source_key} version {chosen.version}{until}")
    return 0


async def dead_letters(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """List, show or send back what could not be handled: records of the dead-letter topics, and commands in the ledger."""
    letters = await read_dead_letters(settings.kafka_bootstrap_servers)
    ledger = await operating.held(pool, None, "dead_lettered")
    if arguments.decision == "list":
        for letter in letters:
            print(json.dumps({k: letter[k] for k in ("id", "topic", "reason", "attempts")}))
        for row in ledger:
            print(json.dumps({"id": f"document:{row['document']}", "topic": None, "reason": row["reason"], "attempts": None}))
        if not letters and not ledger:
            _remark("there are no dead letters.")
        return 0
    chosen = [letter for letter in letters if letter["id"] == arguments.id or arguments.id == "all"]
    documents = [row for row in ledger if f"document:{row['document']}" == arguments.id or arguments.id == "all"]
    if not chosen and not documents and arguments.id != "all":
        raise BookrelayError(f"There is no dead letter {arguments.id}.", "See `qbo-writer dead-letters list`.")
    if arguments.decision == "show":
        print(
            json.dumps([*chosen, *documents], default=lambda v: v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v))
        )
        return 0
    spent = [letter for letter in chosen if int(letter["attempts"] or 0) > REDRIVES and not arguments.over_limit]
    chosen = [letter for letter in chosen if letter not in spent]
    publisher = Publisher(settings.kafka_bootstrap_servers, "qbo-writer-redrive")
    await publisher.start()
    try:
        for letter in chosen:
            await publisher.publish_encoded(letter["topic"], [(letter["key"], letter["value"], letter["headers"])])
    finally:
        await publisher.stop()
    for row in documents:
        await operating.release(pool, row["document"])
    print(f"sent back: {len(chosen)} records, {len(documents)} commands")
    for letter in spent:
        print(f"not sent back: {letter['id']} has come back {REDRIVES} times; correct its cause, then add --over-limit")
    return 1 if spent else 0


async def read_dead_letters(servers: str) -> list[dict[str, Any]]:
    """Read the writer's dead-letter topics up to their present end. What came back is listed once, where it stands last."""
    groups = (topics.WRITER_GROUP, topics.WRITER_NOTICES_GROUP)
    sources = {topic.dead_letters(group).name: topic.name for topic, group in topics.SUBSCRIPTIONS if group in groups}
    there = await _existing(servers)
    names = [name for name in sources if name in there]
    if not names:
        return []
    # Without a group, by subscription: the client asks the broker for the partitions of what it is subscribed to only.
    consumer = AIOKafkaConsumer(*names, bootstrap_servers=servers, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    letters: dict[tuple[str, bytes | None, bytes | None], dict[str, Any]] = {}
    try:
        partitions = sorted(consumer.assignment())
        ends = await consumer.end_offsets(partitions)
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                for records in (await consumer.getmany(partition, timeout_ms=1000)).values():
                    for record in records:
                        letter = _letter(record, sources[record.topic])
                        letters.pop((record.topic, record.key, record.value), None)
                        letters[record.topic, record.key, record.value] = letter
    finally:
        await consumer.stop()
    return list(letters.values())


async def _existing(servers: str) -> set[str]:
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    await consumer.start()
    try:
        return set(await consumer.topics())
    finally:
        await consumer.stop()


def _letter(record: Any, source: str) -> dict[str, Any]:
    headers = headers_of(record)
    return {
        "id": f"{record.topic}:{record.partition}:{record.offset}", "topic": source, "reason": headers.get("dlt-reason"),
        "attempts": headers.get("dlt-attempts"), "key": record.key, "value": record.value,
        "headers": {k: v for k, v in headers.items() if k in ("traceparent", "dlt-attempts")},
    }  # fmt: skip


async def bounds(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Say whether the protocol's waits can be relied on for a company; where not, silence is held for a person."""
    _served(settings, arguments.realm)
    await pool.execute(
        "INSERT INTO qbo_writer.realms (realm, bounds_unreliable) VALUES ($1, $2) "
        "ON CONFLICT (realm) DO UPDATE SET bounds_unreliable = excluded.bounds_unreliable, updated_at = now()",
        arguments.realm, arguments.bounds == "unreliable",
    )  # fmt: skip
    print(json.dumps({"realm": arguments.realm, "bounds": arguments.bounds}))
    return 0


async def audit_verify(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Walk the attempts log of each company; exit status 1 where an entry was changed, added or taken out."""
    _served(settings, arguments.realm)
    realms = [arguments.realm] if arguments.realm else settings.qbo_realm_ids
    results = [await audit.verify(pool, realm) for realm in realms]
    for result in results:
        print(json.dumps(asdict(result)))
    return 1 if any(result.broken_at for result in results) else 0


async def audit_discrepancies(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Print where books and ledger disagree and nobody has mended it; exit status 1 if there is something."""
    _served(settings, arguments.realm)
    rows = await pool.fetch(
        "SELECT o.realm, o.what, o.entity, o.qbo_id, o.doc_number, d.source, d.source_key, o.reason, o.fix, o.found_at, "
        "o.last_found_at, o.amount FROM qbo_writer.discrepancies o LEFT JOIN qbo_writer.documents d ON d.id = o.document_id "
        "WHERE o.resolved_at IS NULL AND ($1::text IS NULL OR o.realm = $1) ORDER BY o.found_at",
        arguments.realm,
    )
    for row in rows:
        print(json.dumps(dict(row), default=str))
    if not rows:
        _remark("books and ledger agree, as far as the last sweep saw (`qbo-writer status` says when that was).")
    return 1 if rows else 0


async def audit_accept(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Say that a difference is in order, or seen to: what was held for it is due again."""
    _served(settings, arguments.realm)
    released = await discrepancies.accept(pool, arguments.realm, arguments.entity, arguments.qbo_id)
    print(json.dumps({"realm": arguments.realm, "entity": arguments.entity, "qbo_id": arguments.qbo_id, "released": released}))
    return 0


async def audit_prune(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Forget what is older than so many days."""
    _served(settings, arguments.realm)
    for realm in [arguments.realm] if arguments.realm else settings.qbo_realm_ids:
        print(json.dumps({"realm": realm, "pruned": await audit.prune(pool, realm, arguments.days)}))
    return 0


def _at_least_one(text: str) -> int:
    """Read a number from 1 to what Postgres' bigint holds."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number < 2**63:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return number


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    main = argparse.ArgumentParser(
        prog="qbo-writer",
        description="Commands become QuickBooks documents, exactly once. Without a command: run the service.",
    )
    main.add_argument("--dry-run", action="store_true", help="show what would be sent, change nothing")
    commands = main.add_subparsers(dest="command")
    once = commands.add_parser("run-once", help="post what is due, then end")
    once.add_argument("--limit", type=_at_least_one, default=100, help="documents at most (default 100)")
    once.add_argument("--seconds", type=float, default=300, help="end after so long in any case")
    once.add_argument("--dry-run", action="store_true", default=argparse.SUPPRESS, help="show what would be sent, change nothing")
    once.set_defaults(action=run_once)
    commands.add_parser("status", help="what the ledger holds, for each company").set_defaults(action=status)
    _held(commands.add_parser("held", help="documents that wait for a person").add_subparsers(dest="decision", required=True))
    letters = commands.add_parser("dead-letters", help="what could not be handled").add_subparsers(dest="decision", required=True)
    letters.add_parser("list", help="one line for each").set_defaults(action=dead_letters)
    for name, text in (("show", "with key, value and headers"), ("redrive", "send it back to where it came from")):
        one = letters.add_parser(name, help=text)
        one.add_argument("id", help="as in the list, or all")
        if name == "redrive":
            one.add_argument("--over-limit", action="store_true", help=f"also what has come back {REDRIVES} times")
        one.set_defaults(action=dead_letters)
    limits = commands.add_parser("bounds", help="whether silence may end by the protocol's waits, or only by a person")
    limits.add_argument("bounds", choices=("unreliable", "reliable"))
    limits.add_argument("realm", help="the company")
    limits.set_defaults(action=bounds)
    log = commands.add_parser("audit", help="the attempts log, and what the daily sweep found").add_subparsers(
        dest="audit", required=True
    )
    verify = log.add_parser("verify", help="walk its hash chain; exit status 1 if it is broken")
    verify.add_argument("--realm", help="only this company")
    verify.set_defaults(action=audit_verify)
    found = log.add_parser("discrepancies", help="where books and ledger disagree; exit status 1 if they do")
    found.add_argument("--realm", help="only this company")
    found.set_defaults(action=audit_discrepancies)
    accept = log.add_parser("accept", help="a document that is not as asked is in order: what was held for it goes on")
    accept.add_argument("realm", help="the company")
    accept.add_argument("entity", choices=("Invoice", "Bill", "BillPayment"), help="which kind of document")
    accept.add_argument("qbo_id", help="its Id in QuickBooks, as `audit discrepancies` shows it")
    accept.set_defaults(action=audit_accept)
    prune = log.add_parser("prune", help="forget its old end")
    prune.add_argument("--realm", help="only this company")
    prune.add_argument("--days", type=_at_least_one, default=400, help="keep what is younger (default 400)")
    prune.set_defaults(action=audit_prune)
    auth_cli.register(commands)
    return main


def _held(commands: Any) -> None:
    listed = commands.add_parser("list", help="one line for each")
    listed.add_argument("--realm", help="only this company")
    listed.set_defaults(action=held_list)
    shown = commands.add_parser("show", help="with its commands and attempts")
    shown.add_argument("document", type=_at_least_one, help="its number, as in the list")
    shown.set_defaults(action=held_show)
    for name, text in (
        ("release", "decide again"),
        ("force", "act over the difference; for an open request: it had no effect"),
        ("drop", "leave QuickBooks as it is"),
    ):
        one = commands.add_parser(name, help=text)
        one.add_argument("document", type=_at_least_one, help="its number, as in the list")
        one.set_defaults(action=held_decide)


def run(arguments: list[str]) -> int:
    """Run one command; returns the exit status."""
    parsed = parser().parse_args(arguments)
    action: Action | None = getattr(parsed, "action", None)
    if parsed.dry_run:
        action, parsed.limit = dry_run, getattr(parsed, "limit", 100)
    if action is None:
        parser().print_help()
        return 2
    telemetry.setup_logging("qbo-writer", "WARNING")

    async def body() -> int:
        settings = WriterSettings.load()
        pool = await open_pool(settings, application_name="qbo-writer cli")
        try:
            return await action(parsed, settings, pool)
        finally:
            await close_pool(pool)

    try:
        return asyncio.run(body())
    except BookrelayError as error:
        print(f"qbo-writer: {error.sentence()}", file=sys.stderr)
    except BrokenPipeError:  # who reads us (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KafkaError as error:
        print(f"qbo-writer: Kafka cannot be reached: {error}. Check KAFKA_BOOTSTRAP_SERVERS.", file=sys.stderr)
    except TRANSIENT_POSTGRES as error:
        print(f"qbo-writer: Postgres cannot be used: {error}. Check DATABASE_URL, and that it is migrated.", file=sys.stderr)
    return 1
