"""A database that was restored from a backup of the middle of a run: what `qbo-writer recover` makes of it.

Kafka is ahead of the backup (it has every command), or behind (it has lost all; the sources, restored as well, send again).
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import asyncpg
from aiokafka import AIOKafkaProducer
from bookrelay.messages import Command, InvoiceContent, Kind, UpsertInvoice, UpsertPayment
from qbo_writer.crashpoints import Place
from sandbox.stack.postgres import binaries

from . import oracle, workload
from .harness import Company, Lane, Writer, until
from .oracle import Verdict
from .workload import Key

Kafka = Literal["ahead", "behind"]
PLACES = (Place.RECOVERY_BEGUN, Place.RECOVERY_REPLAYED, Place.RECOVERY_COMPARING, Place.RECOVERY_COMPARED)
CASES: list[tuple[Kafka, Place | None]] = [(kafka, crash) for kafka in ("ahead", "behind") for crash in (None, *PLACES)]
NO_DAY_OF_OURS = "2026-12-30"  # workload.content gives none so late: with one of its days the edit could change nothing
MARGIN = 2  # seconds: documents are looked up from so long before the backup


@dataclass
class Restored:
    """What a run led to."""

    verdict: Verdict
    documents: int
    recorded_at_backup: int
    posted_at_backup: int
    told: list[dict[str, Any]] = field(default_factory=list)  # what `recover` printed
    diverged: dict[str, dict[str, Any]] = field(default_factory=dict)  # by source key: what was told as a person's
    edited: set[str] = field(default_factory=set)
    held: list[dict[str, Any]] = field(default_factory=list)  # newest versions that wait for a person, but of what was edited
    requests_while_waiting: int = 0  # of a writer that was started before the recovery had ended
    waited: bool = False
    leftovers: list[Any] = field(default_factory=list)
    crash: Place | None = None
    crashed: bool = False

    def problems(self) -> list[str]:
        """What is not as it must be."""
        wrong = [
            ("oracle", self.verdict.problems), ("held", self.held), ("not recorded", self.leftovers),
            ("told as a person's", [row for key, row in self.diverged.items() if key not in self.edited]),
            ("a person's edit, not told", self.edited - self.diverged.keys()),
            ("told by recover", not self.told[-1].get("resumed")),
        ]  # fmt: skip
        if self.crash:
            wrong += [
                ("it did not crash", not self.crashed), ("the writer did not wait", not self.waited),
                ("requests while it waited", self.requests_while_waiting),
            ]  # fmt: skip
        return [f"{what}: {found}"[:800] for what, found in wrong if found]


async def run(lane: Lane, seed: str, kafka: Kafka, crash: Place | None = None, documents: int = 24) -> Restored:
    """Play it: half a run, a backup while the writer works, the rest, a person's edits, the restore, the recovery, go on."""
    company = await lane.company(pays=True)
    load = workload.make(seed, company.realm, documents, waves=3)
    writer = await lane.writer([company])
    await lane.publish(load.waves[0])
    await lane.settled(load.waves[0])
    await lane.publish(load.waves[1])
    await until(lambda: _some_posted(lane, company, len(load.waves[0])), "a part of the second wave is posted", 60, every=0.01)
    at = datetime.now(UTC)
    backup = lane.directory / f"{company.realm}.dump"
    await asyncio.to_thread(_pg, "pg_dump", lane.stack.database_url, "-Fc", "-f", str(backup))
    await lane.publish(load.waves[2])
    await lane.settled(load.commands, 120)
    frozen = await _edits(lane, company, load.commands)
    await writer.stop()

    await _restore(lane, backup)
    result = Restored(
        Verdict(), documents,
        await lane.pool.fetchval("SELECT count(*) FROM qbo_writer.commands WHERE realm = $1", company.realm),
        await lane.pool.fetchval("SELECT count(*) FROM qbo_writer.commands WHERE realm = $1 AND state = 'posted'", company.realm),
        edited={key.name for key in frozen}, crash=crash,
    )  # fmt: skip
    if kafka == "behind":
        await _lose_kafka(lane)
    if crash:
        status, _, said = await _recover(lane, company, at, {"BOOKRELAY_CRASH_POINT": f"{crash}:kill"})
        result.crashed = status == -9 and "crash_point.reached" in said
        await _started_too_early(lane, company, result)
    status, result.told, said = await _recover(lane, company, at)
    assert status == 0, said
    writer = await lane.writer([company])
    if kafka == "behind":
        await lane.publish(load.commands)
        await until(lambda: lane.recorded(load.commands), "recorded again", 60)
    await _at_rest(lane, company)
    # What the recovery took over can be changed: Id and SyncToken are right.
    later = _later(load.commands, frozen)
    await lane.publish(later)
    await lane.settled(later)
    await _at_rest(lane, company)
    await writer.stop()
    commands = [*load.commands, *later]
    result.verdict = oracle.judge(company.realm, commands, await lane.books(company), frozen, pays=True)
    result.leftovers = [c.id for c in commands if not await lane.recorded([c])]
    result.diverged = {
        row["source_key"]: dict(row)
        for row in await lane.pool.fetch(
            "SELECT d.source_key, d.kind, d.status, d.qbo_id, d.sync_token, d.differences, d.fields, (SELECT string_agg("
            "o.version || o.operation || o.state, ' ' ORDER BY o.recorded_at) FROM qbo_writer.commands o "
            "JOIN qbo_writer.documents od ON od.id = o.document_id WHERE od.realm = d.realm AND od.source_key = d.source_key) "
            "AS versions FROM qbo_writer.documents d WHERE d.realm = $1 AND d.diverged",
            company.realm,
        )
    }
    result.held = [
        dict(row)
        for row in await lane.pool.fetch(
            "SELECT d.source_key, c.version, c.state, c.reason, c.differences, (SELECT string_agg(o.version || o.operation || "
            "o.state, ' ' ORDER BY o.recorded_at) FROM qbo_writer.commands o WHERE o.document_id = d.id) AS versions "
            "FROM qbo_writer.commands c "
            "JOIN qbo_writer.documents d ON d.id = c.document_id WHERE d.realm = $1 AND c.state IN ('held', 'rejected') "
            "AND c.version = d.newest_version "
            "AND NOT d.source_key = ANY($2::text[])",
            company.realm, list(result.edited),
        )
    ]  # fmt: skip
    assert writer.defects() == []
    return result


async def _some_posted(lane: Lane, company: Company, more_than: int) -> bool:
    count = await lane.pool.fetchval(
        "SELECT count(*) FROM qbo_writer.commands WHERE realm = $1 AND kind NOT IN ('customer', 'vendor', 'bill_payment') "
        "AND state NOT IN ('due', 'received')", company.realm
    )  # fmt: skip
    return bool(count > more_than + 1)


async def _edits(lane: Lane, company: Company, commands: list[Command]) -> dict[Key, Any]:
    """A person changes two invoices: the first and the last that were made."""
    ours = [d for d in (await lane.books(company))["Invoice"] if "bookrelay:" in str(d.get("PrivateNote"))]
    made = sorted((d for d in ours if not oracle.is_voided(d)), key=lambda d: int(d["Id"]))
    frozen = {}
    for document in (made[0], made[-1]):
        await lane.person(company, "edit", "Invoice", document["Id"], {"TxnDate": NO_DAY_OF_OURS})
        name = next(str(line["Description"]).split()[0] for line in document["Line"] if line.get("Description"))
        after = next(d for d in (await lane.books(company))["Invoice"] if d["Id"] == document["Id"])
        frozen[Key(company.realm, name, Kind.INVOICE)] = oracle.shape(after)
    return frozen


def _later(commands: list[Command], frozen: dict[Key, Any]) -> list[Command]:
    """A newer version of each invoice that stands, but of those that a person has changed, and of those that are paid."""
    newest: dict[str, Command] = {}
    paid = {one.source_key for c in commands if isinstance(c, UpsertPayment) for one in c.data.content.applied}
    for command in commands:
        if command.data.kind is Kind.INVOICE and command.data.version >= newest.get(
            command.data.source_key, command
        ).data.version:  # fmt: skip
            newest[command.data.source_key] = command
    later = []
    for name, command in newest.items():
        if isinstance(command, UpsertInvoice) and name not in paid and not any(key.name == name for key in frozen):
            content = command.data.content
            lines = (content.lines[0].model_copy(update={"amount": Decimal("77.77"), "description": f"{name} later"}),)
            changed = InvoiceContent(customer=content.customer, txn_date=content.txn_date, lines=lines)
            later.append(workload.upsert(Key(command.data.realm, name), command.data.version + 1, changed))
    return later


async def _at_rest(lane: Lane, company: Company) -> None:
    await until(lambda: lane.at_rest(company), "nothing is due, no attempt is open", 90)


# ----------------------------------------------------------------------------------------------------------------- servers


def _pg(program: str, database_url: str, *arguments: str) -> None:
    subprocess.run([str(binaries() / program), "-d", database_url, *arguments], check=True, capture_output=True)


async def _restore(lane: Lane, backup: Path) -> None:
    """The database as the backup has it: everything since is gone."""
    await asyncio.wait_for(lane.pool.close(), 10)
    connection = await asyncpg.connect(lane.stack.database_url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
        urlsplit(lane.stack.database_url).path.lstrip("/"),
    )
    await connection.execute("DROP SCHEMA qbo_writer CASCADE")
    await connection.close()
    await asyncio.to_thread(_pg, "pg_restore", lane.stack.database_url, "--no-owner", str(backup))
    lane.pool = await asyncpg.create_pool(lane.stack.database_url, min_size=1, max_size=4)


async def _lose_kafka(lane: Lane) -> None:
    """The broker starts empty, where it was: topics, records and the group's offsets are gone."""
    assert lane.stack.embedded
    await lane.producer.stop()
    await asyncio.to_thread(lane.stack.embedded.kill)
    lane.stack.embedded.spawn()
    await asyncio.to_thread(lane.stack.embedded.wait_ready)
    lane.producer = AIOKafkaProducer(bootstrap_servers=lane.stack.bootstrap_servers, acks="all")
    await lane.producer.start()
    await lane.listen_again()


# ---------------------------------------------------------------------------------------------------------------- recovery


async def _recover(
    lane: Lane, company: Company, at: datetime, more: dict[str, str] | None = None
) -> tuple[int, list[dict[str, Any]], str]:
    """Run the command as an operator does; return its exit status, what it printed, and what it said."""
    environment = {
        **os.environ, **lane.environment(), "QBO_REALM_IDS": company.realm, "QB_AUTO_MARK_BILL_PAID": "true", **(more or {}),
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "qbo_writer", "recover", "--since", at.isoformat(), "--margin", str(MARGIN),
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 180)
    assert process.returncode is not None
    return process.returncode, [json.loads(line) for line in out.decode().splitlines() if line.startswith("{")], err.decode()


async def _started_too_early(lane: Lane, company: Company, result: Restored) -> None:
    """A writer that starts while the recovery is unfinished sends nothing, and says what it waits for."""
    before = len(await lane.requests(company))
    writer: Writer = await lane.writer([company])

    async def says_so() -> bool:
        return "realm.waits_for_recovery" in writer.log()

    with contextlib.suppress(AssertionError):
        await until(says_so, "the writer waits for the recovery", 30)
        result.waited = True
    await writer.stop()
    result.requests_while_waiting = len(await lane.requests(company)) - before
