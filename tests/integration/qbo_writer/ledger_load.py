"""A ledger full of commands, and what a writer asks it for on the way of each document. Needs neither QuickBooks nor Kafka."""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar, cast

import asyncpg
from bookrelay.kafka import Received
from bookrelay.messages import (
    BooksChanged,
    BooksChangedData,
    InvoiceContent,
    InvoicePosted,
    InvoicePostedData,
    Outcome,
    UpsertInvoice,
    UpsertInvoiceData,
)
from bookrelay.outbox import Relay
from cryptography.fernet import Fernet
from qbo_writer import tables
from qbo_writer.domain import SCHEMA, SENDER, CommandState, DocumentStatus, LedgerKind, Operation, Request
from qbo_writer.handlers import new_command
from qbo_writer.ledger.changes import (
    AttemptChange,
    Commit,
    Decision,
    DocumentChange,
    FeedChange,
    FollowUp,
    NameWish,
    NewAttempt,
    NewCommand,
    Number,
    Settlement,
)  # fmt: skip
from qbo_writer.ledger.ledger import Ledger
from qbo_writer.ledger.records import Attempt, Candidate, DocumentState
from qbo_writer.policy import Policy
from qbo_writer.quickbooks.references import References
from qbo_writer.reporting import gathering
from qbo_writer.settings import Settings
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlmodel import SQLModel

T = TypeVar("T")
REALM = "9000000000000001"
BATCH = 30  # documents in a turn, as in a batch of QuickBooks'
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
CONTENT = {
    "customer": {"name": "P-1 A.B."}, "txn_date": "2026-11-01",
    "lines": [{"description": "Treatment", "quantity": "1", "unit_price": "100.00", "amount": "100.00"}],
}  # fmt: skip

# Of ten documents one is a bill and one its payment; the keys of both are the same, as the writer makes them.
_FILL = """
INSERT INTO qbo_writer.documents (id, realm, source, source_key, kind, doc_number, marker, status, qbo_id, sync_token, content,
  content_hash, fields, total, balance, newest_version, newest_modified_at, attempts, created_at, updated_at, held)
SELECT i, '{realm}', 'emr-poller', 'F-' || CASE WHEN i % 10 = 1 THEN i - 1 ELSE i END,
  CASE i % 10 WHEN 0 THEN 'bill' WHEN 1 THEN 'bill_payment' ELSE 'invoice' END, 'F-' || i, md5('marker' || i), 'present',
  i::text, '0', '{content}'::jsonb, md5('content' || i),
  jsonb_build_object('doc_number', 'F-' || i, 'customer', '58', 'txn_date', '2026-11-01', 'line.1.amount', '100.00'), 100, 100, 1,
  now() - make_interval(mins => i::int % 500000), 1, now() - make_interval(mins => i::int % 500000), now() - interval '1 hour',
  i % 1000 = 7
FROM generate_series({first}, {last}) AS i;
INSERT INTO qbo_writer.commands (id, document_id, realm, kind, operation, version, modified_at, content, content_hash, total,
  state, due_at, recorded_at, ended_at, occurrence)
SELECT md5('command' || d.id)::uuid, d.id, d.realm, d.kind, 'upsert', 1, d.newest_modified_at, '{content}'::jsonb, d.content_hash,
  100, CASE WHEN d.held THEN 'held' ELSE 'posted' END, d.created_at, d.created_at, d.created_at, 1
FROM qbo_writer.documents d WHERE d.id BETWEEN {first} AND {last};
INSERT INTO qbo_writer.attempts (realm, document_id, command_id, version, number, entity, operation, requestid, body,
  content_hash, fields, state, fencing_token, token_expires_at, first_sent_at, last_sent_at, answered, due_at, outcome,
  resolved_at)
SELECT d.realm, d.id, md5('command' || d.id)::uuid, 1, 1, 'Invoice', CASE WHEN d.id % 5 = 0 THEN 'update' ELSE 'create' END,
  'br-' || md5(d.id::text), '{content}', d.content_hash, d.fields, 'resolved', 1, now(), d.created_at, d.created_at, true,
  d.created_at, CASE WHEN d.id % 5 = 0 THEN 'updated' ELSE 'created' END, d.created_at
FROM qbo_writer.documents d WHERE d.id BETWEEN {first} AND {last};
INSERT INTO qbo_writer.attempt_log (realm, attempt_id, entry, previous_hash, hash)
SELECT '{realm}', i, '{{}}', md5(i::text), md5((i + 1)::text) FROM generate_series({first}, {last}) AS i;
INSERT INTO qbo_writer.outbox (topic, key, value, headers, published_at)
SELECT 'bookrelay.events.v1', 'F-' || i, '{content}', '{{}}', now() FROM generate_series({first}, {last}) AS i;
INSERT INTO qbo_writer.feed_told (realm, entity, qbo_id, state)
SELECT '{realm}', 'Invoice', i::text, '0' FROM generate_series({first}, {last}) AS i;
INSERT INTO qbo_writer.references (realm, entity, qbo_id, name, name_folded)
SELECT '{realm}', (ARRAY['Customer', 'Vendor', 'Item'])[1 + i % 3], i::text, 'P-' || i || ' A.B.', 'p-' || i || ' a.b.'
FROM generate_series({first}, {last}) AS i
"""


class OneConnection:
    """A connection in the place of a pool: whoever listens to it, or sets something on it, sees all that is done."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.fetch, self.fetchrow, self.fetchval = connection.fetch, connection.fetchrow, connection.fetchval
        self.execute, self.executemany = connection.execute, connection.executemany

    @contextlib.asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """Give the connection."""
        yield self.connection


async def connect(url: str) -> OneConnection:
    """Open a connection as the writer's pool does."""
    connection = await asyncpg.connect(url)
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    return OneConnection(connection)


async def fill(pool: OneConnection, commands: int) -> None:
    """Make the writer's tables with this many posted commands of one company, one for each document, and all that stands beside.

    Of a thousand documents one is held. Indexes are made at the end, statistics are up to date.
    """
    assert tables.Document  # imported for its effect: the tables register themselves
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    own = [table for table in SQLModel.metadata.sorted_tables if table.schema == SCHEMA]
    await pool.execute(f"CREATE SCHEMA {SCHEMA}")
    for table in own:
        await pool.execute(str(CreateTable(table).compile(dialect=dialect)))
    await pool.execute("SET session_replication_role = replica")  # foreign keys are right as they are made
    for statement in _FILL.split(";"):
        await pool.execute(statement.format(realm=REALM, first=1, last=commands, content=json.dumps(CONTENT)))
    await pool.execute("SET session_replication_role = DEFAULT")
    for table in own:
        for index in table.indexes:
            await pool.execute(str(CreateIndex(index).compile(dialect=dialect)))
    await pool.execute(f"SELECT setval(pg_get_serial_sequence('qbo_writer.documents', 'id'), {commands})")
    await pool.execute(
        "INSERT INTO qbo_writer.leases (realm, holder, fencing_token, expires_at) VALUES ($1, 'h', 1, now() + interval '1 day')",
        REALM,
    )
    await pool.execute("INSERT INTO qbo_writer.realms (realm) VALUES ($1)", REALM)
    await pool.execute("VACUUM ANALYZE")


def invoices(prefix: str, count: int) -> list[NewCommand]:
    """Return commands for new invoices, as they are recorded."""
    content = InvoiceContent.model_validate(CONTENT)
    about = {"realm": REALM, "source": "emr-poller", "version": 1, "modified_at": NOW, "content": content}
    data = [UpsertInvoiceData.model_validate({**about, "source_key": f"{prefix}-{number}"}) for number in range(count)]
    return [new_command(Received(UpsertInvoice.of(one, sender="emr-poller"), "t", 0, 0)) for one in data]


class _Broker:
    """Takes what is published."""

    async def publish_encoded(self, topic: str, records: Iterable[Any]) -> None:
        """Take it."""


class HotPath:
    """A turn of the writer over a full ledger: BATCH documents are recorded, claimed, journalled, answered and published."""

    def __init__(self, pool: Any) -> None:
        self._pool, self.ledger = pool, Ledger(pool)
        self._relay = Relay(pool, SCHEMA, _Broker())
        self._settings = Settings.model_validate(
            {
                "database_url": "postgresql://nobody@localhost/none", "qbo_realm_ids": REALM, "qbo_client_id": "i",
                "qbo_client_secret": "s", "qbo_token_encryption_keys": Fernet.generate_key().decode(),
            }
        )  # fmt: skip
        self._references = References(pool, cast(Any, _NoBooks()), Policy(), self._settings)
        self._turns = 0
        self.seconds: dict[str, list[float]] = {}  # by step

    async def turn(self) -> float:
        """Run every step once for BATCH new documents; return the seconds that all of them took."""
        self._turns += 1
        began = time.perf_counter()
        commands = invoices(f"T-{self._turns}", BATCH)
        await self._step("record", self.ledger.commands.record(commands))
        candidates = await self._step("claim", self.ledger.commands.candidates(REALM, BATCH))
        assert len(candidates) == BATCH, len(candidates)
        documents = [c.document.id for c in candidates]
        numbers = [c.document.source_key for c in candidates]
        await self._step("look up numbers", self.ledger.commands.who_has(REALM, LedgerKind.INVOICE, numbers))
        name = (REALM, "Customer", "p-3 a.b.")
        await self._step("look up names", self._references.names.among_all(REALM, "Customer", "P-3 A.B.", name))
        await self._step("look up names", self._references.names.kept_lately(*name))
        attempts = await self._step(
            "journal", self.ledger.attempts.journal(REALM, 1, [_attempt(c, at) for at, c in enumerate(candidates)], ("r", "{}"))
        )
        assert len(attempts) == BATCH
        batch_id = attempts[0].batch_id
        assert batch_id
        open_ = await self._step("read what is open", self.ledger.attempts.read_open(REALM, limit=100))
        assert len(open_) == BATCH
        await self._step("read what is open", self.ledger.attempts.read_open(REALM, limit=100, batch_id=batch_id, due=False))
        await self._step("read what is open", self.ledger.attempts.batch(batch_id))
        await self._step("read what is open", self.ledger.commands.behind(REALM))
        await self._step("next due", self.ledger.commands.next_due_in(REALM))
        commits = [_posted(a) for a in attempts]
        assert len(await self._step("commit ends", self.ledger.commits.commit(REALM, 1, commits))) == BATCH
        assert await self._step("publish", self._relay._publish_batch()) >= BATCH
        await self._look_up(documents, candidates)
        await self._report()
        return time.perf_counter() - began

    async def names(self) -> None:
        """Let two documents wait for a customer and a vendor that are new; end all that is due or waits."""
        self._turns += 1
        await self.ledger.commands.record(invoices(f"N-{self._turns}", 2))
        candidates = await self.ledger.commands.candidates(REALM, 2)
        for kind, candidate in zip((LedgerKind.CUSTOMER, LedgerKind.VENDOR), candidates, strict=True):
            name = f"New {kind.value} {self._turns}"
            wanted = FollowUp(REALM, "qbo-writer", name.lower(), kind, 1, {"name": name}, "hash")
            await self.ledger.dependents.need_names(REALM, 1, [NameWish(wanted, [candidate.newest])])
        await self._pool.execute(
            "UPDATE qbo_writer.commands SET state = 'posted', ended_at = now() WHERE realm = $1 AND state = ANY($2::text[])",
            REALM, ("due", "received"),
        )  # fmt: skip

    async def _look_up(self, documents: list[int], candidates: Sequence[Candidate]) -> None:
        ids = [(LedgerKind.INVOICE, f"n{c.document.id}") for c in candidates]
        document = await self._step("look up by Id", self.ledger.feed.known_by_qbo_id(REALM, ids))
        assert len(document) == BATCH
        markers = [c.document.marker for c in candidates]
        assert len(await self._step("look up by marker", self.ledger.sweeps.marked(REALM, markers))) == BATCH
        await self._step("read documents", self.ledger.commands.versions(documents))
        await self._step("read documents", self.ledger.commands.document(documents[0]))
        await self._step("read documents", self.ledger.attempts.last_fields(candidates[0].newest.id))
        await self._step("read documents", self.ledger.sweeps.decided(documents))
        changes = [_changed(k) for k in document.values()]
        await self._step("keep the feed", self.ledger.feed.keep(REALM, 1, changes, [], (NOW, {}, {})))

    async def _report(self) -> None:
        await self._step("housekeeping", self.ledger.commands.take_up_waiting(REALM, 1, all_of_them=True))
        await self._step("housekeeping", self.ledger.realms.read(REALM))
        await self._step("housekeeping", self.ledger.sweeps.discrepancies(REALM))
        await self._step("housekeeping", self.ledger.work.is_unfinished(REALM))
        await self._step("housekeeping", self.ledger.work.look(1.0))
        await self._step("housekeeping", self.ledger.attempts.mark_lost(REALM, 1))
        await self._step("status", self.ledger.realms.gauges([REALM]))
        await self._step("status", self.problems())

    async def problems(self) -> int:
        """Look for what needs a person, as `status` and the reporting do; return how much that is."""
        return len(await gathering.problems(self._pool, self._settings))

    async def _step(self, name: str, work: Awaitable[T]) -> T:
        began = time.perf_counter()
        result = await work
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)
        return result


class _NoBooks:
    """QuickBooks is not asked."""

    query = None


def _attempt(candidate: Candidate, at: int) -> NewAttempt:
    document = candidate.document
    request = Request(REALM, document.kind, "Invoice", Operation.CREATE, f"br-{candidate.newest.id}", json.dumps(CONTENT))
    fields = {"doc_number": document.source_key, "customer": "58", "line.1.amount": "100.00"}
    return NewAttempt(
        candidate, request, fields, "hash", document.attempts + 1, datetime.now(UTC) + timedelta(hours=1),
        Number(document.source_key, document.source_key), str(at),
    )  # fmt: skip


def _posted(attempt: Attempt) -> Commit:
    document, command, total = attempt.document, attempt.command, Decimal("100.00")
    data = InvoicePostedData(
        realm=REALM, source=document.source, source_key=document.source_key, version=command.version, command_id=command.id,
        occurrence=command.occurrence + 1, outcome=Outcome.CREATED, qbo_id=f"n{document.id}", sync_token="0",
        doc_number=document.source_key, url="https://app.example/invoice", total=total,
    )  # fmt: skip
    row = DocumentChange(
        document.id, DocumentStatus.PRESENT, f"n{document.id}", "0", attempt.content_hash, attempt.fields, total, total,
        diverged=False,
        doc_number=document.source_key, content_of=command.id,
    )  # fmt: skip
    resolved = AttemptChange(
        attempt.id, "resolved", answered=True, ambiguous=False, lost=False, outcome="created", http_status=200,
        sends=attempt.sends,
    )  # fmt: skip
    posted = Settlement(document, command, Decision(CommandState.POSTED), InvoicePosted.of(data, sender=SENDER, time=NOW))
    return Commit(
        attempt=resolved, document=row, settlements=(posted,),
        releases=document.id, compared=True, log={"requestid": attempt.request.requestid, "status": 200},
    )  # fmt: skip


def _changed(document: DocumentState) -> FeedChange:
    data = BooksChangedData(
        realm=REALM,
        entity="Invoice",
        entity_id=document.qbo_id or "",
        operation="changed",
        sync_token="1",
        changed_at=NOW,
        ours=True,
    )
    row = DocumentChange(
        document.id,
        document.status,
        document.qbo_id,
        "1",
        document.content_hash,
        document.fields,
        document.total,
        document.balance,
        diverged=False,
    )
    told = BooksChanged.of(data, sender=SENDER, time=NOW)
    return FeedChange(row, document.sync_token, (), told, state=("Invoice", document.qbo_id or "", "1"))
