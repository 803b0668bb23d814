"""All SQL of the ledger. Recording is open to every writer; everything else is one transaction under the locked lease row."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol
from uuid import UUID, uuid5

from bookrelay import metrics, outbox, topics
from bookrelay.db import Connection, Pool, transaction
from bookrelay.messages import NAMESPACE, AnyMessage, Difference, content_hash

from qbo_writer import audit, discrepancies, merges
from qbo_writer.crashpoints import Place, reach
from qbo_writer.deciding import Asked, Known
from qbo_writer.discrepancies import Discrepancy, Telling
from qbo_writer.domain import (
    SCHEMA,
    AttemptState,
    CommandState,
    DocumentStatus,
    LedgerKind,
    Operation,
    OperatorAct,
    Request,
    Seen,
)
from qbo_writer.handlers import NewCommand
from qbo_writer.lease import fenced
from qbo_writer.mapping import ENTITY, marker
from qbo_writer.merging import Entry, Merge, pattern
from qbo_writer.numbering import Number
from qbo_writer.probe import Sample
from qbo_writer.settling import (
    WAITING_SECONDS,
    Attempt,
    AttemptChange,
    CommandEnd,
    DocumentChange,
    Effects,
    FollowUp,
    Numbered,
    Requeue,
)
from qbo_writer.transitions import Sent, When


class Learns(Protocol):
    """The reference cache, as far as the ledger's commits need it."""

    async def learn(self, connection: Connection, realm: str, entity: str, seen: Seen) -> None:
        """Take a created name into the cache, in the ledger's transaction."""


@dataclass(frozen=True)
class Candidate:
    """A document with something due: its newest recorded command, and the older due ones."""

    known: Known
    newest: Asked
    older: tuple[Asked, ...]
    stray: str | None = None  # Id of the document in QuickBooks that carries its marker, found while nothing was known of it


@dataclass(frozen=True)
class NewAttempt:
    """What is journalled before it is sent."""

    candidate: Candidate
    request: Request
    fields: dict[str, str]
    content_hash: str
    number: int
    token_expires_at: datetime
    numbered: Number | None = None  # which document number its request asks for; None: it says nothing about that
    b_id: str | None = None


@dataclass(frozen=True)
class BatchRow:
    """A batch as it was journalled."""

    id: int
    requestid: str
    body: str


@dataclass(frozen=True)
class FeedChange:
    """What the change feed means: the document's new row, valid only if its SyncToken is still `expected`, and what is told."""

    document: DocumentChange | None
    expected: str | None
    events: tuple[AnyMessage, ...] = ()
    changed: AnyMessage | None = None
    diverged: bool = False
    state: tuple[str, str, str] | None = None  # entity, Id, and which state of it `changed` tells: once


@dataclass(frozen=True)
class Unpaying:
    """How far the removal of a bill's payment is."""

    state: Literal["waits", "gone", "failed", "not ours"]
    payment: int = 0  # its document
    reason: str = ""


@dataclass(frozen=True)
class Marked:
    """A document with a marker that was seen in QuickBooks."""

    known: Known
    open: bool  # a request for it is open


@dataclass(frozen=True)
class RealmRow:
    """What the ledger knows of a company."""

    halted_code: str | None
    halted_reason: str | None
    halted_since: datetime | None
    requestid_proven: bool
    batch_proven: bool
    bounds_unreliable: bool
    pace: dict[str, Any]
    feed_position: datetime | None
    swept_at: datetime | None
    feed_paging: dict[str, Any] = field(default_factory=dict)
    feed_asked_at: datetime | None = None
    recover_since: datetime | None = None
    operator_halt: OperatorAct | None = None  # while it is there, nothing is read or sent
    trial: OperatorAct | None = None  # a person asked for a trial of the present halt
    feed_refusals: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NameWish:
    """A customer or vendor that commands need.

    `before`: other keys under which its document may be kept: from the time before keys were folded; it stays what it is.
    """

    wanted: FollowUp
    waiting: Sequence[Asked]
    before: Sequence[str] = ()

    @property
    def keys(self) -> list[str]:
        """All keys under which its document may be kept, its own first."""
        return [self.wanted.source_key, *self.before]


NameFound = tuple[CommandState, str, str] | Known | None
PRUNED_AT_ONCE = 5000
TOGETHER_SECONDS = 2  # commands recorded this close together count as published together
RIVAL_SECONDS = 600  # how long a vendor's name waits for invoices that may need a customer of this name
_KNOWN = (
    "d.id AS d_id, d.realm AS d_realm, d.kind AS d_kind, d.source AS d_source, d.source_key AS d_key, d.marker AS d_marker, "
    "d.doc_number AS d_number, d.number_of AS d_number_of, d.status AS d_status, d.qbo_id AS d_qbo_id, "
    "d.sync_token AS d_sync_token, d.content_hash AS d_hash, d.fields AS d_fields, d.total AS d_total, "
    "d.balance AS d_balance, d.diverged AS d_diverged, d.emailed AS d_emailed, "
    "d.differences AS d_differences, d.attempts AS d_attempts, d.newest_version AS d_version"
)
_ASKED = (
    "c.id AS c_id, c.operation AS c_operation, c.version AS c_version, c.modified_at AS c_modified_at, c.content AS c_content, "
    "c.content_hash AS c_hash, c.state AS c_state, c.forced AS c_forced, c.shown_sync_token AS c_shown, "
    "c.dropped AS c_dropped, c.failures AS c_failures, "
    "c.occurrence AS c_occurrence, c.priority AS c_priority, c.recorded_at AS c_recorded_at, c.due_at AS c_due_at, "
    "c.headers->>'traceparent' AS c_traceparent, c.reason AS c_reason, c.waiting_since AS c_waiting_since, c.total AS c_total"
)
_NEWEST_FIRST = "version DESC, modified_at DESC, recorded_at DESC, id::text DESC"


def known_of(row: Any) -> Known:
    """Read a document's columns (d_...)."""
    return Known(
        id=row["d_id"], realm=row["d_realm"], kind=LedgerKind(row["d_kind"]), source=row["d_source"], source_key=row["d_key"],
        marker=row["d_marker"], doc_number=row["d_number"], number_of=row["d_number_of"],
        status=DocumentStatus(row["d_status"]), qbo_id=row["d_qbo_id"], sync_token=row["d_sync_token"],
        content_hash=row["d_hash"], fields=row["d_fields"], total=row["d_total"], balance=row["d_balance"],
        emailed=row["d_emailed"], diverged=row["d_diverged"],
        differences=tuple(Difference.model_validate(d) for d in row["d_differences"] or ()), attempts=row["d_attempts"],
        newest_version=row["d_version"],
    )  # fmt: skip


def asked_of(row: Any) -> Asked:
    """Read a command's columns (c_...)."""
    return Asked(
        id=row["c_id"], operation=row["c_operation"], version=row["c_version"], modified_at=row["c_modified_at"],
        content=row["c_content"], content_hash=row["c_hash"], state=CommandState(row["c_state"]),
        forced=row["c_forced"], shown_sync_token=row["c_shown"], dropped=row["c_dropped"],
        failures=row["c_failures"], occurrence=row["c_occurrence"], priority=row["c_priority"],
        recorded_at=row["c_recorded_at"], due_at=row["c_due_at"], traceparent=row["c_traceparent"],
        last_reason=row["c_reason"], waiting_since=row["c_waiting_since"], total=row["c_total"],
    )  # fmt: skip


class Ledger:
    """The inbox and memory of the writer."""

    def __init__(self, pool: Pool, learner: Learns | None = None) -> None:
        self._pool, self._learner = pool, learner
        self._log_heads: dict[tuple[str, int], str] = {}  # of the attempts log, by company and fencing token

    # ------------------------------------------------------------------------------------------------------------ record

    async def record(self, commands: Sequence[NewCommand]) -> int:
        """Record all in one transaction; a command id that is there already changes nothing. Returns how many were new."""
        async with transaction(self._pool) as connection:
            new = await _record(connection, commands)
            reach(Place.RECORDING)
        metrics.COMMANDS_RECORDED.labels("new").inc(new)
        metrics.COMMANDS_RECORDED.labels("known").inc(len(commands) - new)
        return new

    # ------------------------------------------------------------------------------------------------------------- claim

    async def candidates(
        self, realm: str, limit: int, without: Collection[int] = (), only: Collection[int] | None = None
    ) -> list[Candidate]:
        """Read documents with something due and no open attempt, by priority, then age; `only` these, where it is given."""
        rows = await self._pool.fetch(
            f"""
            WITH due AS (
              SELECT c.document_id, c.priority, c.due_at FROM qbo_writer.commands c
              WHERE c.realm = $1 AND c.state = 'due' AND c.due_at <= now() AND NOT c.document_id = ANY($3::bigint[])
                AND ($4::bigint[] IS NULL OR c.document_id = ANY($4))
                AND NOT EXISTS (SELECT 1 FROM qbo_writer.attempts a WHERE a.document_id = c.document_id AND a.state <> 'resolved')
              ORDER BY c.priority, c.due_at LIMIT $2
            ), picked AS (
              SELECT document_id, min(priority) AS priority, min(due_at) AS due_at FROM due GROUP BY document_id
            )
            SELECT {_KNOWN}, {_ASKED}, c.older, CASE WHEN d.qbo_id IS NULL THEN (
              SELECT o.qbo_id FROM qbo_writer.discrepancies o WHERE o.realm = d.realm AND o.marker = d.marker
                AND o.resolved_at IS NULL ORDER BY o.found_at LIMIT 1) END AS stray
            FROM picked p
            JOIN qbo_writer.documents d ON d.id = p.document_id
            CROSS JOIN LATERAL (
              SELECT n.*, (
                SELECT jsonb_agg(o.id ORDER BY o.version, o.modified_at) FROM qbo_writer.commands o
                WHERE o.document_id = d.id AND o.state IN ('due', 'received', 'waiting') AND o.id <> n.id
              ) AS older
              FROM qbo_writer.commands n WHERE n.document_id = d.id ORDER BY {_NEWEST_FIRST} LIMIT 1
            ) c
            ORDER BY p.priority, p.due_at
            """,  # noqa: S608
            realm, limit, list(without), None if only is None else list(only),
        )  # fmt: skip
        older = [id_ for row in rows for id_ in row["older"] or ()]
        older_rows = {}
        if older:
            found = await self._pool.fetch(
                f"SELECT {_ASKED} FROM qbo_writer.commands c WHERE c.id = ANY($1::uuid[])",  # noqa: S608
                older,
            )
            older_rows = {str(row["c_id"]): asked_of(row) for row in found}
        return [
            Candidate(
                known_of(row), asked_of(row), tuple(older_rows[id_] for id_ in row["older"] or () if id_ in older_rows),
                row["stray"],
            )
            for row in rows
        ]  # fmt: skip

    async def take_up_waiting(self, realm: str, fencing_token: int, *, all_of_them: bool) -> int:
        """Decide again what waits for something in QuickBooks or in the policy, where its time has come; return how many.

        `all_of_them`: at once, because what they wait for may be there now.
        """
        where = "WHERE realm = $1 AND state = 'waiting' AND ($2 OR due_at <= clock_timestamp())"
        if not await self._pool.fetchval(f"SELECT EXISTS (SELECT 1 FROM qbo_writer.commands {where})", realm, all_of_them):  # noqa: S608
            return 0
        async with fenced(self._pool, realm, fencing_token) as connection:
            status: str = await connection.execute(
                f"UPDATE qbo_writer.commands SET state = 'due', due_at = clock_timestamp() {where}",  # noqa: S608
                realm, all_of_them,
            )  # fmt: skip
        return int(status.rpartition(" ")[2])

    async def document(self, document_id: int) -> tuple[Known, Asked] | None:
        """Read a document and its newest recorded command."""
        row = await self._pool.fetchrow(
            f"SELECT {_KNOWN}, {_ASKED} FROM qbo_writer.documents d CROSS JOIN LATERAL (SELECT * FROM qbo_writer.commands n "  # noqa: S608
            f"WHERE n.document_id = d.id ORDER BY {_NEWEST_FIRST} LIMIT 1) c WHERE d.id = $1",
            document_id,
        )
        return (known_of(row), asked_of(row)) if row else None

    async def last_fields(self, command: UUID) -> dict[str, str] | None:
        """Return what the latest attempt of a command would have made true."""
        fields: dict[str, str] | None = await self._pool.fetchval(
            "SELECT fields FROM qbo_writer.attempts WHERE command_id = $1 ORDER BY id DESC LIMIT 1", command
        )
        return fields

    async def journal(
        self, realm: str, fencing_token: int, attempts: Sequence[NewAttempt], batch: tuple[str, str] | None = None
    ) -> list[Attempt]:
        """Commit the attempts before they leave. Left out is what changed since it was read, or has an open attempt."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            batch_id = None
            if batch:
                batch_id = await connection.fetchval(
                    "INSERT INTO qbo_writer.batches (realm, requestid, body) VALUES ($1, $2, $3) RETURNING id", realm, *batch
                )
            rows = await connection.fetch(
                """
                WITH journalled AS (
                INSERT INTO qbo_writer.attempts (realm, document_id, command_id, version, number, entity, operation, requestid,
                  body, qbo_id, sync_token, content_hash, fields, batch_id, b_id, state, fencing_token, token_expires_at,
                  first_sent_at, last_sent_at)
                SELECT $1, t.document_id, t.command_id, t.version, t.number, t.entity, t.operation, t.requestid, t.body, t.qbo_id,
                  t.sync_token, t.content_hash, t.fields::jsonb, $16, t.b_id, 'sending', $2, t.token_expires_at,
                  clock_timestamp(), clock_timestamp()
                FROM unnest($3::bigint[], $4::uuid[], $5::bigint[], $6::int[], $7::text[], $8::text[], $9::text[], $10::text[],
                  $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $17::timestamptz[])
                  AS t(document_id, command_id, version, number, entity, operation, requestid, body, qbo_id, sync_token,
                       content_hash, fields, b_id, token_expires_at)
                JOIN qbo_writer.documents d ON d.id = t.document_id AND d.attempts = t.number - 1
                JOIN qbo_writer.commands c ON c.id = t.command_id AND c.state = 'due'
                WHERE NOT EXISTS (
                  SELECT 1 FROM qbo_writer.commands n WHERE n.document_id = t.document_id
                    AND (n.version, n.modified_at) > (c.version, c.modified_at))
                ON CONFLICT (document_id) WHERE state <> 'resolved' DO NOTHING
                RETURNING id, document_id, first_sent_at
                ), counted AS (
                UPDATE qbo_writer.documents d SET attempts = d.attempts + 1, updated_at = now(),
                  doc_number = CASE WHEN n.anew THEN n.doc_number ELSE coalesce(n.doc_number, d.doc_number) END,
                  number_of = CASE WHEN n.numbered THEN n.number_of ELSE d.number_of END
                FROM journalled j JOIN unnest($3::bigint[], $18::bool[], $19::text[], $20::text[], $21::bool[])
                  AS n(document_id, numbered, doc_number, number_of, anew) USING (document_id)
                WHERE d.id = j.document_id)
                SELECT id, document_id, first_sent_at FROM journalled
                """,
                realm, fencing_token,
                [a.candidate.known.id for a in attempts], [a.candidate.newest.id for a in attempts],
                [a.candidate.newest.version for a in attempts], [a.number for a in attempts],
                [a.request.entity for a in attempts], [a.request.operation.value for a in attempts],
                [a.request.requestid for a in attempts], [a.request.body for a in attempts],
                [a.request.qbo_id for a in attempts], [a.request.sync_token for a in attempts],
                [a.content_hash for a in attempts], [json.dumps(a.fields) for a in attempts], [a.b_id for a in attempts],
                batch_id, [a.token_expires_at for a in attempts], [a.numbered is not None for a in attempts],
                [a.numbered.text if a.numbered else None for a in attempts],
                [a.numbered.given if a.numbered else None for a in attempts],
                # What an earlier document had, which is gone, is no number of the new one.
                [a.numbered is not None and a.request.operation is Operation.CREATE for a in attempts],
            )  # fmt: skip
            if batch and len(rows) != len(attempts):
                raise BatchChanged  # the body names items that may not be sent: nothing of it is committed
            reach(Place.JOURNALLING)
        metrics.ATTEMPT_TRANSITIONS.labels(realm, When.DUE.name.lower()).inc(len(rows))
        by_document = {a.candidate.known.id: a for a in attempts}
        return [
            self._journalled(by_document[r["document_id"]], r["id"], r["first_sent_at"], fencing_token, batch_id) for r in rows
        ]

    @staticmethod
    def _journalled(a: NewAttempt, id_: int, at: datetime, fencing_token: int, batch_id: int | None) -> Attempt:
        sent = Sent(
            a.request.operation, AttemptState.SENDING, False, False, False, False, batch_id is not None, at, at, None,
            a.token_expires_at,
        )  # fmt: skip
        return Attempt(
            id_, a.candidate.known, a.candidate.newest, a.request, sent, a.fields, a.content_hash, a.number, 1, fencing_token,
            batch_id, a.b_id,
        )  # fmt: skip

    async def resend(
        self, realm: str, fencing_token: int, attempts: Sequence[Attempt], token_expires_at: datetime, *, absent: bool
    ) -> list[Attempt]:
        """Journal that the attempts leave again. `absent`: looked up after the wait, so no earlier copy can take effect.

        Left out is what has left again since it was read: a look-up that waited out an outage says nothing about the later send.
        """
        async with fenced(self._pool, realm, fencing_token) as connection:
            rows = await connection.fetch(
                """
                UPDATE qbo_writer.attempts a SET state = 'sending', answered = false, sends = a.sends + 1,
                  last_sent_at = clock_timestamp(), fencing_token = $2, operator_says = NULL,
                  -- A copy in a lost sender's hands lives as long as the longest-lived token it may carry.
                  token_expires_at = CASE WHEN $4 THEN $3 ELSE greatest(token_expires_at, $3) END,
                  lost = CASE WHEN $4 THEN false ELSE lost OR (ambiguous AND silent_at IS NULL) END,
                  first_sent_at = CASE WHEN ambiguous THEN first_sent_at ELSE clock_timestamp() END,
                  silent_at = NULL
                FROM unnest($1::bigint[], $5::int[]) AS t(id, sends)
                WHERE a.id = t.id AND a.sends = t.sends AND state <> 'resolved' RETURNING a.*
                """,
                [a.id for a in attempts], fencing_token, token_expires_at, absent, [a.sends for a in attempts],
            )  # fmt: skip
        by_id = {a.id: a for a in attempts}
        return [replace(by_id[row["id"]], sent=_sent(row), sends=row["sends"], fencing_token=fencing_token) for row in rows]

    # ------------------------------------------------------------------------------------------------------------ settle

    async def commit(self, realm: str, fencing_token: int, effects: Sequence[Effects]) -> list[Effects]:
        """Commit document, attempt, ends and events of all effects together; return those that were not committed before."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            fresh = await _apply(connection, effects)
            entries = [(e.attempt.id, e.log) for e in fresh if e.attempt and e.log]
            # Known again only when this is committed; under another fencing token somebody else may have written.
            head = await audit.append(connection, realm, entries, self._log_heads.pop((realm, fencing_token), None))
            for effect in fresh:
                if effect.learned and self._learner:
                    await self._learner.learn(connection, realm, *effect.learned)
            reach(Place.SETTLING)
        if head:
            self._log_heads = {key: known for key, known in self._log_heads.items() if key[0] != realm}
            self._log_heads[(realm, fencing_token)] = head
        for effect in fresh:
            for end in effect.ends:
                metrics.COMMANDS_ENDED.labels(realm, end.known.kind.value, end.end.state.value).inc()
        return fresh

    # ----------------------------------------------------------------------------------------------------------- resolve

    async def mark_lost(self, realm: str, fencing_token: int) -> int:
        """Step 3 after taking the lease: what was sent and has no recorded answer is unknown, its sender lost."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            status: str = await connection.execute(
                "UPDATE qbo_writer.attempts SET state = 'unknown', lost = true, ambiguous = true, due_at = clock_timestamp() "
                "WHERE realm = $1 AND state = 'sending' AND NOT answered",
                realm,
            )
            # Nobody is left to remember these: whoever waits for a name that has no pending command is due.
            await connection.execute(
                "UPDATE qbo_writer.commands c SET state = 'due', waits_for = NULL WHERE c.realm = $1 AND c.state = 'received' "
                "AND NOT EXISTS (SELECT 1 FROM qbo_writer.commands n WHERE n.document_id = c.waits_for "
                "AND n.state IN ('due', 'received'))",
                realm,
            )
            reach(Place.LOST_MARKED)
        lost = int(status.rsplit(maxsplit=1)[-1])
        metrics.ATTEMPT_TRANSITIONS.labels(realm, When.LOST.name.lower()).inc(lost)
        return lost

    async def open_attempts(
        self, realm: str, *, limit: int, without: Collection[int] = (), ids: Collection[int] | None = None,
        batch_id: int | None = None, due: bool = True, documents: Collection[int] | None = None,
    ) -> list[Attempt]:  # fmt: skip
        """Read open attempts that nobody in this process is sending, those that are due first."""
        rows = await self._pool.fetch(
            f"""
            SELECT {_KNOWN}, {_ASKED}, a.* FROM qbo_writer.attempts a
            JOIN qbo_writer.documents d ON d.id = a.document_id JOIN qbo_writer.commands c ON c.id = a.command_id
            WHERE a.realm = $1 AND a.state <> 'resolved' AND NOT a.id = ANY($2::bigint[])
              AND ($3::bigint[] IS NULL OR a.id = ANY($3)) AND ($4::bigint IS NULL OR a.batch_id = $4)
              AND (NOT $6 OR a.due_at <= clock_timestamp() OR a.operator_says IS NOT NULL)
              AND ($7::bigint[] IS NULL OR a.document_id = ANY($7))
            ORDER BY a.due_at LIMIT $5
            """,  # noqa: S608
            realm, list(without), None if ids is None else list(ids), batch_id, limit, due,
            None if documents is None else list(documents),
        )  # fmt: skip
        return [_attempt_of(row) for row in rows]

    async def versions(self, documents: Collection[int]) -> dict[int, list[Asked]]:
        """Read every recorded command of these documents, newest first."""
        rows = await self._pool.fetch(
            f"SELECT c.document_id, {_ASKED} FROM qbo_writer.commands c WHERE c.document_id = ANY($1::bigint[]) "  # noqa: S608
            f"ORDER BY c.document_id, {_NEWEST_FIRST}",
            list(documents),
        )
        found: dict[int, list[Asked]] = {}
        for row in rows:
            found.setdefault(row["document_id"], []).append(asked_of(row))
        return found

    async def batch(self, batch_id: int) -> BatchRow:
        """Read a batch as it was journalled."""
        row = await self._pool.fetchrow("SELECT id, requestid, body FROM qbo_writer.batches WHERE id = $1", batch_id)
        return BatchRow(row["id"], row["requestid"], row["body"])

    async def look_again(self, realm: str, fencing_token: int, attempt_id: int, at: datetime) -> None:
        """Note when to look for an unknown attempt again."""
        await self.look_again_at(realm, fencing_token, {attempt_id: at})

    async def look_again_at(
        self, realm: str, fencing_token: int, at: Mapping[int, datetime], refused: Collection[int] = ()
    ) -> None:  # fmt: skip
        """Note for several unknown attempts when to look for them again, and whose look-up was refused."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            await connection.execute(
                "UPDATE qbo_writer.attempts a SET due_at = t.at, "
                "looks_refused = looks_refused + CASE WHEN t.id = ANY($3::bigint[]) THEN 1 ELSE 0 END "
                "FROM unnest($1::bigint[], $2::timestamptz[]) AS t(id, at) WHERE a.id = t.id",
                list(at), list(at.values()), list(refused),
            )  # fmt: skip

    async def behind(self, realm: str) -> list[Candidate]:
        """Read documents with due commands behind an attempt that only a person can resolve."""
        rows = await self._pool.fetch(
            f"""
            SELECT {_KNOWN}, {_ASKED} FROM qbo_writer.attempts a
            JOIN qbo_writer.documents d ON d.id = a.document_id
            JOIN qbo_writer.commands c ON c.document_id = d.id AND c.state = 'due'
            WHERE a.realm = $1 AND a.state = 'unknown' AND a.stuck AND a.operator_says IS NULL LIMIT 100
            """,  # noqa: S608
            realm,
        )
        return [Candidate(known_of(row), asked_of(row), ()) for row in rows]

    async def who_has(self, realm: str, kind: LedgerKind, numbers: Collection[str]) -> dict[str, list[Known]]:
        """Return whose numbers these are: case-folded number -> documents that QuickBooks holds, or that are on their way."""
        rows = await self._pool.fetch(  # what it was refused for, or a person has changed, it does not have
            f"""
            WITH wanted AS (SELECT lower(number) AS number FROM unnest($3::text[]) AS t(number))
            SELECT {_KNOWN}, d.fields->>'doc_number' AS has FROM qbo_writer.documents d
            WHERE d.realm = $1 AND d.kind = $2 AND d.fields->>'doc_number' IS NOT NULL
              AND lower(d.fields->>'doc_number') IN (SELECT number FROM wanted) AND d.status IN ('present', 'voided')
            UNION ALL
            SELECT {_KNOWN}, d.doc_number AS has FROM qbo_writer.documents d
            WHERE d.realm = $1 AND d.kind = $2 AND d.doc_number IS NOT NULL
              AND lower(d.doc_number) IN (SELECT number FROM wanted)
              AND (d.status IN ('present', 'voided') AND d.fields->>'doc_number' IS NULL OR EXISTS
                (SELECT 1 FROM qbo_writer.attempts a WHERE a.document_id = d.id AND a.state <> 'resolved'))
            """,  # noqa: S608
            realm, kind.value, list(numbers),
        )  # fmt: skip
        found: dict[str, list[Known]] = {}
        for row in rows:
            found.setdefault(row["has"].casefold(), []).append(known_of(row))
        return found

    async def next_due_in(self, realm: str) -> float:
        """Return in how many seconds something becomes due; at most a minute."""
        value = await self._pool.fetchval(
            """
            SELECT extract(epoch FROM least(
              (SELECT min(c.due_at) FROM qbo_writer.commands c WHERE c.realm = $1 AND c.state = 'due' AND NOT EXISTS
                (SELECT 1 FROM qbo_writer.attempts a WHERE a.document_id = c.document_id AND a.state <> 'resolved')),
              (SELECT min(due_at) FROM qbo_writer.attempts WHERE realm = $1 AND state <> 'resolved'),
              clock_timestamp() + interval '60 seconds') - clock_timestamp())
            """,
            realm,
        )
        return max(0.0, float(value))

    async def now(self) -> datetime:
        """Return the database's clock."""
        value: datetime = await self._pool.fetchval("SELECT clock_timestamp()")
        return value

    # ------------------------------------------------------------------------------------------------------------- names

    async def need_names(self, realm: str, fencing_token: int, wishes: Sequence[NameWish]) -> list[NameFound]:
        """Let commands wait for customers and vendors; make each a document of its own if nobody did. One transaction for all.

        Returns for each wish None if its commands wait now; how the name's command ended if that was after they became due; the
        name's document if it is posted already. Customers come before vendors of the same name.
        """
        order = sorted(range(len(wishes)), key=lambda at: wishes[at].wanted.kind is LedgerKind.VENDOR)
        async with fenced(self._pool, realm, fencing_token) as connection:
            rivals = await _rivals(connection, realm, [w for w in wishes if w.wanted.kind is LedgerKind.VENDOR])
            found = {at: await _need_name(connection, realm, wishes[at], rivals) for at in order}
        return [found[at] for at in range(len(wishes))]

    async def unpay(self, realm: str, fencing_token: int, bill: Known, asked: Asked) -> "Unpaying":
        """Have our own payment of a bill withdrawn, as a document of its own, and let the bill's command wait for that.

        Nothing is done where it is withdrawn already, does not make up the whole of what is paid, or could not be withdrawn
        since the bill became due.
        """
        async with fenced(self._pool, realm, fencing_token) as connection:
            row = await connection.fetchrow(
                f"SELECT {_KNOWN} FROM qbo_writer.documents d WHERE realm = $1 AND source = $2 AND source_key = $3 AND kind = $4 "  # noqa: S608
                "FOR NO KEY UPDATE",
                realm, bill.source, bill.source_key, LedgerKind.BILL_PAYMENT.value,
            )  # fmt: skip
            if row is None:
                return Unpaying("not ours")
            payment = known_of(row)
            newest = await connection.fetchrow(
                f"SELECT id, operation, state, reason, ended_at, version FROM qbo_writer.commands WHERE document_id = $1 "  # noqa: S608
                f"ORDER BY {_NEWEST_FIRST} LIMIT 1",
                payment.id,
            )
            pending = newest["state"] in ("due", "received")
            if not payment.live and not pending:
                return Unpaying("gone")
            if payment.live and payment.total != (bill.total or 0) - (bill.balance or 0):
                return Unpaying("not ours")  # somebody else has paid, too
            if newest["operation"] == "retract" and not pending and asked.due_at and newest["ended_at"] >= asked.due_at:
                return Unpaying("failed", payment.id, newest["reason"] or newest["state"])
            if newest["operation"] != "retract" or not pending:
                withdrawal = NewCommand(
                    uuid5(NAMESPACE, f"unpay\x1f{newest['id']}"), realm, payment.source, payment.source_key, payment.kind,
                    payment.marker, "retract", max(newest["version"], asked.version),
                    await connection.fetchval("SELECT clock_timestamp()"), None, content_hash(None), asked.priority,
                    asked.traceparent,
                )  # fmt: skip
                await _record(connection, [withdrawal])
            await connection.execute(
                "UPDATE qbo_writer.commands SET state = 'received', waits_for = $2 WHERE id = $1 AND state = 'due'",
                asked.id, payment.id,
            )  # fmt: skip
            reach(Place.UNPAYING)
            return Unpaying("waits", payment.id)

    async def known_by_qbo_id(self, realm: str, ids: Sequence[tuple[LedgerKind, str]]) -> dict[tuple[str, str], Known]:
        """Read the documents that stand for these entities, by (entity, Id)."""
        rows = await self._pool.fetch(
            f"SELECT {_KNOWN} FROM qbo_writer.documents d JOIN unnest($2::text[], $3::text[]) AS t(kind, qbo_id) "  # noqa: S608
            "ON d.kind = t.kind AND d.qbo_id = t.qbo_id WHERE d.realm = $1",
            realm, [kind.value for kind, _ in ids], [qbo_id for _, qbo_id in ids],
        )  # fmt: skip
        return {(ENTITY[known.kind], known.qbo_id or ""): known for known in map(known_of, rows)}

    # ------------------------------------------------------------------------------------------------------------ merges

    async def tell_merges(self, told: Sequence[tuple[str, Merge]]) -> None:
        """Note merges (company, merge) that Intuit tells. Unfenced: it is an inbox; the lease's holder applies them."""
        await merges.tell(self._pool, told)

    async def pending_merges(self, realm: str) -> list[Merge]:
        """Read merges that were told and are not applied."""
        return await merges.pending(self._pool, realm)

    async def survivors(self, realm: str) -> dict[Entry, str]:
        """Read who stands for whom after merges, by the loser."""
        return (await merges.survivors(self._pool, realm)).by_id

    async def merge(self, realm: str, fencing_token: int, found: Sequence[Merge]) -> None:
        """Let what names the losers name the survivors."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            for one in found:
                await merges.apply(connection, realm, one)

    async def naming(self, realm: str, entry: Entry) -> Known | None:
        """Read one live document that is known to name this entry of a list."""
        entity, qbo_id = entry
        row = await self._pool.fetchrow(
            f"SELECT {_KNOWN} FROM qbo_writer.documents d WHERE realm = $1 AND kind IN ('invoice', 'bill', 'bill_payment') "  # noqa: S608
            "AND status = 'present' AND NOT diverged AND EXISTS (SELECT 1 FROM jsonb_each_text(d.fields) "
            "WHERE value = $2 AND key ~ $3) LIMIT 1",
            realm, qbo_id, pattern(entity),
        )  # fmt: skip
        return known_of(row) if row else None

    # ------------------------------------------------------------------------------------------------------------- sweep

    async def marked(self, realm: str, markers: Sequence[str]) -> dict[str, Marked]:
        """Read the documents with these markers, and whether a request for them is open."""
        rows = await self._pool.fetch(
            f"SELECT {_KNOWN}, EXISTS (SELECT 1 FROM qbo_writer.attempts a WHERE a.document_id = d.id AND a.state <> 'resolved') "  # noqa: S608
            "AS open FROM qbo_writer.documents d WHERE realm = $1 AND marker = ANY($2::text[])",
            realm, list(markers),
        )  # fmt: skip
        return {row["d_marker"]: Marked(known_of(row), row["open"]) for row in rows}

    async def to_look_for(self, realm: str, kind: LedgerKind, since: datetime, part: int, parts: int) -> list[Known]:
        """Read the live documents made since then, and one part of the older ones; none with an open attempt."""
        rows = await self._pool.fetch(
            f"SELECT {_KNOWN} FROM qbo_writer.documents d WHERE realm = $1 AND kind = $2 "  # noqa: S608
            "AND (created_at >= $3 OR id % $5 = $4) AND qbo_id IS NOT NULL "
            "AND status IN ('present', 'voided') AND NOT diverged AND updated_at < now() - interval '10 minutes' "
            "AND NOT EXISTS (SELECT 1 FROM qbo_writer.attempts a WHERE a.document_id = d.id AND a.state <> 'resolved')",
            realm, kind.value, since, part, parts,
        )  # fmt: skip
        return [known_of(row) for row in rows]

    async def discrepancies(self, realm: str) -> list[Discrepancy]:
        """Read what a sweep found and is not known to be mended."""
        return await discrepancies.still_open(self._pool, realm)

    async def decided(self, documents: Collection[int]) -> set[int]:
        """Return which of these documents, once gone from QuickBooks, are no longer a question: made anew, or left so."""
        rows = await self._pool.fetch(
            "SELECT d.id FROM qbo_writer.documents d "  # noqa: S608
            "WHERE d.id = ANY($1::bigint[]) AND (d.status <> 'gone' OR NOT d.diverged "
            f"OR (SELECT state = 'skipped' FROM qbo_writer.commands WHERE document_id = d.id ORDER BY {_NEWEST_FIRST} LIMIT 1))",
            list(documents),
        )
        return {row["id"] for row in rows}

    async def keep_sweep(
        self, realm: str, fencing_token: int, found: Sequence[Discrepancy], mended: Sequence[Discrepancy], told: Telling
    ) -> list[Discrepancy]:
        """Keep what a sweep found; what was not known is told, once. Return that."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            fresh = await discrepancies.keep(connection, realm, found)
            await discrepancies.mend(connection, realm, mended)
            await outbox.add(connection, SCHEMA, topics.EVENTS, [told(d) for d in fresh])
            await connection.execute("UPDATE qbo_writer.realms SET swept_at = clock_timestamp() WHERE realm = $1", realm)
        return fresh

    async def begin_sweeping(self, realm: str, fencing_token: int) -> None:
        """A company that was never compared has its first sweep a day from now: there is nothing to compare yet."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            await connection.execute("UPDATE qbo_writer.realms SET swept_at = now() WHERE realm = $1 AND swept_at IS NULL", realm)

    async def prune_log(self, realm: str, days: int) -> int:
        """Forget the old end of the attempts log; the rest stays verifiable."""
        return await audit.prune(self._pool, realm, days)

    async def prune_attempts(self, realm: str, fencing_token: int, days: int) -> int:
        """Forget ended attempts and batches that are older; commands stay: they make a replay of the whole topic harmless."""
        pruned = 0
        while True:
            async with fenced(self._pool, realm, fencing_token) as connection:
                status: str = await connection.execute(
                    "DELETE FROM qbo_writer.attempts WHERE id IN (SELECT id FROM qbo_writer.attempts WHERE realm = $1 "
                    "AND state = 'resolved' AND resolved_at < now() - make_interval(days => $2) ORDER BY resolved_at LIMIT $3)",
                    realm, days, PRUNED_AT_ONCE,
                )  # fmt: skip
                count = int(status.rpartition(" ")[2])
                if count < PRUNED_AT_ONCE:
                    await connection.execute(
                        "DELETE FROM qbo_writer.batches b WHERE realm = $1 AND created_at < now() - make_interval(days => $2) "
                        "AND NOT EXISTS (SELECT 1 FROM qbo_writer.attempts a WHERE a.batch_id = b.id)",
                        realm, days,
                    )  # fmt: skip
            pruned += count
            if count < PRUNED_AT_ONCE:
                return pruned

    # -------------------------------------------------------------------------------------------------------------- feed

    async def feed(
        self,
        realm: str,
        fencing_token: int,
        changes: Sequence[FeedChange],
        listed: Sequence[Seen],
        reached: tuple[datetime | None, dict[str, Any], dict[str, Any]] | None = None,
        forget: timedelta = timedelta(minutes=15),
    ) -> None:
        """Commit what the feed shows, and how far it was read: position (None: stays), the pages left, what it is refused for.

        A document with an open attempt, or that moved meanwhile, is not judged. Reads overlap: what was told within `forget`, and
        has not changed since, is not told again.
        """
        async with fenced(self._pool, realm, fencing_token) as connection:
            rows = await connection.fetch(
                "SELECT d.id FROM qbo_writer.documents d JOIN unnest($1::bigint[], $2::text[]) AS t(id, expected) ON d.id = t.id "
                "WHERE d.sync_token IS NOT DISTINCT FROM t.expected AND NOT EXISTS (SELECT 1 FROM qbo_writer.attempts a "
                "WHERE a.document_id = d.id AND a.state <> 'resolved') ORDER BY d.id FOR NO KEY UPDATE OF d",
                [c.document.id for c in changes if c.document], [c.expected for c in changes if c.document],
            )  # fmt: skip
            free = {row["id"] for row in rows}
            valid = [c for c in changes if c.document is None or c.document.id in free]
            documents = [c.document for c in valid if c.document]
            if documents:
                await _update_documents(connection, documents)
            await outbox.add(connection, SCHEMA, topics.EVENTS, [event for c in valid for event in c.events])
            await outbox.add(connection, SCHEMA, topics.CHANGES, await _untold(connection, realm, valid))
            for seen in listed if self._learner else ():
                assert self._learner
                await self._learner.learn(connection, realm, seen.entity, seen)
            if reached is not None:
                await connection.execute(
                    "UPDATE qbo_writer.realms SET feed_position = coalesce($2, feed_position), feed_paging = $3, "
                    "feed_refusals = $4, feed_failures = 0, feed_failing_since = NULL, feed_error = NULL WHERE realm = $1",
                    realm, *reached,
                )  # fmt: skip
                if reached[0] is not None and not reached[1]:  # read to its end: the next read begins an overlap before that
                    await connection.execute(
                        "DELETE FROM qbo_writer.feed_told WHERE realm = $1 AND told_at < least(now(), $2) - $3::interval",
                        realm, reached[0], forget,
                    )  # fmt: skip

    async def feed_failed(self, realm: str, fencing_token: int, error: str) -> None:
        """Note that the feed could not be read, and why; the next page that is read ends it."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            await connection.execute(
                "UPDATE qbo_writer.realms SET feed_failures = feed_failures + 1, feed_error = $2, "
                "feed_failing_since = coalesce(feed_failing_since, clock_timestamp()) WHERE realm = $1",
                realm, error,
            )  # fmt: skip

    async def ask_feed(self, realms: Collection[str]) -> None:
        """Note that the feed of these companies is to be read soon, by whoever holds the lease. Unfenced: it guards nothing."""
        await self._pool.execute(
            "UPDATE qbo_writer.realms SET feed_asked_at = clock_timestamp() WHERE realm = ANY($1::text[])", sorted(realms)
        )

    async def probe(self, realm: str) -> dict[str, Any]:
        """Read the state of the requestid probe."""
        kept: dict[str, Any] | None = await self._pool.fetchval("SELECT probe FROM qbo_writer.realms WHERE realm = $1", realm)
        return kept or {}

    async def keep_probe(self, realm: str, fencing_token: int, kept: dict[str, Any], single: bool, batch: bool) -> None:
        """Keep the state of the probe, and what is proven."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            await connection.execute(
                "UPDATE qbo_writer.realms SET probe = $2, requestid_proven = $3, batch_proven = $4 WHERE realm = $1",
                realm, kept, single, batch,
            )  # fmt: skip

    async def samples(self, realm: str) -> list[Sample]:
        """Read the latest answered update, of singles and of batches: what the probe may repeat."""
        rows = await self._pool.fetch(
            """
            SELECT DISTINCT ON (a.batch_id IS NULL) a.*, d.kind, d.sync_token AS answered, b.requestid AS batch_requestid,
              extract(epoch FROM a.resolved_at)::float8 AS answered_at
            FROM qbo_writer.attempts a JOIN qbo_writer.documents d ON d.id = a.document_id
            LEFT JOIN qbo_writer.batches b ON b.id = a.batch_id
            WHERE a.realm = $1 AND a.state = 'resolved' AND a.operation = 'update' AND a.outcome = 'updated' AND NOT a.ambiguous
              AND a.resolved_at > now() - interval '5 minutes' AND a.number = d.attempts
            ORDER BY a.batch_id IS NULL, a.resolved_at DESC
            """,
            realm,
        )
        return [
            Sample(
                Request(
                    r["realm"], LedgerKind(r["kind"]), r["entity"], Operation(r["operation"]), r["requestid"], r["body"],
                    r["qbo_id"], r["sync_token"],
                ),
                r["answered"], r["answered_at"], r["batch_requestid"], r["b_id"],
            )
            for r in rows
        ]  # fmt: skip

    # ------------------------------------------------------------------------------------------------------------ realms

    async def realm(self, realm: str) -> RealmRow:
        """Read, or make, the company's row."""
        row = await self._pool.fetchrow("SELECT * FROM qbo_writer.realms WHERE realm = $1", realm)
        if row is None:
            await self._pool.execute("INSERT INTO qbo_writer.realms (realm) VALUES ($1) ON CONFLICT DO NOTHING", realm)
            row = await self._pool.fetchrow("SELECT * FROM qbo_writer.realms WHERE realm = $1", realm)
        return RealmRow(
            row["halted_code"], row["halted_reason"], row["halted_since"], row["requestid_proven"], row["batch_proven"],
            row["bounds_unreliable"], row["pace"] or {}, row["feed_position"], row["swept_at"],
            row["feed_paging"] or {}, row["feed_asked_at"], row["recover_since"], OperatorAct.of(row["operator_halt"]),
            OperatorAct.of(row["trial"]), row["feed_refusals"] or {},
        )  # fmt: skip

    async def set_halted(
        self, realm: str, fencing_token: int, code: str | None, reason: str | None, events: Sequence[Any], since: datetime
    ) -> None:
        """Halt the company (or resume it, with None) and tell it."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            await connection.execute(
                "UPDATE qbo_writer.realms SET halted_code = $2, halted_reason = $3, halted_since = $4, trial = NULL, "
                "updated_at = now() WHERE realm = $1",
                realm, code, reason, since if code else None,
            )  # fmt: skip
            await outbox.add(connection, SCHEMA, topics.EVENTS, events)

    async def release_for(self, realm: str, fencing_token: int, reason: str) -> int:
        """Let what is held for this reason be decided again; return how many documents that are."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            status: str = await connection.execute(
                "UPDATE qbo_writer.commands c SET state = 'due', failures = 0, due_at = clock_timestamp() "
                "FROM qbo_writer.documents d WHERE c.realm = $1 AND c.state = 'held' AND c.reason = $2 "
                "AND d.id = c.document_id AND d.newest_version = c.version",
                realm, reason,
            )  # fmt: skip
        return int(status.rpartition(" ")[2])

    async def keep_pace(self, realm: str, fencing_token: int, pace: dict[str, Any]) -> None:
        """Keep the pacer's state, so that a restart does not burst."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            await connection.execute("UPDATE qbo_writer.realms SET pace = $2, updated_at = now() WHERE realm = $1", realm, pace)

    async def gauges(self, realm: str) -> None:
        """Publish what waits, as metrics."""
        row = await self._pool.fetchrow(
            """
            SELECT (SELECT count(*) FROM qbo_writer.commands WHERE realm = $1 AND state = 'due') AS due,
              (SELECT extract(epoch FROM now() - min(due_at)) FROM qbo_writer.commands WHERE realm = $1 AND state = 'due') AS age,
              (SELECT count(*) FROM qbo_writer.documents WHERE realm = $1 AND held) AS held,
              (SELECT count(*) FROM qbo_writer.attempts WHERE realm = $1 AND state = 'sending') AS sending,
              (SELECT count(*) FROM qbo_writer.attempts WHERE realm = $1 AND state = 'unknown') AS unknown,
              (SELECT jsonb_object_agg(what, n) FROM (SELECT what, count(*) AS n FROM qbo_writer.discrepancies
                WHERE realm = $1 AND resolved_at IS NULL GROUP BY what) o) AS discrepancies,
              (SELECT extract(epoch FROM swept_at)::float8 FROM qbo_writer.realms WHERE realm = $1) AS swept
            """,
            realm,
        )
        metrics.COMMANDS_DUE.labels(realm).set(row["due"])
        metrics.COMMANDS_OLDEST_DUE_AGE.labels(realm).set(max(0.0, float(row["age"] or 0)))
        metrics.DOCUMENTS_HELD.labels(realm).set(row["held"])
        metrics.ATTEMPTS_OPEN.labels(realm, "sending").set(row["sending"])
        metrics.ATTEMPTS_OPEN.labels(realm, "unknown").set(row["unknown"])
        for what in discrepancies.KINDS:
            metrics.DISCREPANCIES.labels(realm, what).set((row["discrepancies"] or {}).get(what, 0))
        if row["swept"] is not None:
            metrics.SWEPT.labels(realm).set(row["swept"])


class BatchChanged(Exception):  # noqa: N818
    """An item of a batch changed between its reading and its journal: the batch is made anew."""


def _sent(row: Any) -> Sent:
    return Sent(
        Operation(row["operation"]), AttemptState(row["state"]), row["answered"], row["ambiguous"], row["lost"], row["stuck"],
        row["batch_id"] is not None, row["first_sent_at"], row["last_sent_at"], row["silent_at"], row["token_expires_at"],
    )  # fmt: skip


def _attempt_of(row: Any) -> Attempt:
    known = known_of(row)
    request = Request(
        row["realm"], known.kind, row["entity"], Operation(row["operation"]), row["requestid"], row["body"], row["qbo_id"],
        row["sync_token"],
    )  # fmt: skip
    return Attempt(
        row["id"], known, asked_of(row), request, _sent(row), row["fields"] or {}, row["content_hash"], row["number"],
        row["sends"], row["fencing_token"], row["batch_id"], row["b_id"], row["operator_says"],
        row["looks_refused"],
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- recording


async def _insert_documents(connection: Connection, commands: Iterable[NewCommand]) -> set[int]:
    """Make the documents that are not there yet, and return their ids: these know the newest of the commands already."""
    newest: dict[tuple[str, str, str, str], NewCommand] = {}
    for command in commands:
        known = newest.get(command.document)
        if known is None or (command.version, command.modified_at) > (known.version, known.modified_at):
            newest[command.document] = command
    # Sorted: two recorders that meet wait for each other in one order only.
    documents = [newest[key] for key in sorted(newest)]
    rows = await connection.fetch(
        "INSERT INTO qbo_writer.documents "
        "(realm, source, source_key, kind, marker, newest_version, newest_modified_at) "
        "SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::timestamptz[]) "
        "ON CONFLICT DO NOTHING RETURNING id",
        [c.realm for c in documents], [c.source for c in documents], [c.source_key for c in documents],
        [c.kind.value for c in documents], [c.marker for c in documents],
        [c.version for c in documents], [c.modified_at for c in documents],
    )  # fmt: skip
    return {row["id"] for row in rows}


async def _insert_commands(connection: Connection, commands: Sequence[NewCommand]) -> list[Any]:
    rows: list[Any] = await connection.fetch(
        """
        INSERT INTO qbo_writer.commands
          (id, document_id, realm, kind, operation, version, modified_at, content, content_hash, priority, headers, total)
        SELECT t.id, d.id, t.realm, t.kind, t.operation, t.version, t.modified_at, t.content::jsonb, t.content_hash, t.priority,
          CASE WHEN t.traceparent IS NULL THEN '{}'::jsonb ELSE jsonb_build_object('traceparent', t.traceparent) END, t.total
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::timestamptz[],
          $9::text[], $10::text[], $11::smallint[], $12::text[], $13::numeric[])
          AS t(id, realm, source, source_key, kind, operation, version, modified_at, content, content_hash, priority,
            traceparent, total)
        JOIN qbo_writer.documents d USING (realm, source, source_key, kind)
        ON CONFLICT (id) DO NOTHING RETURNING id, document_id, version, modified_at
        """,
        [c.id for c in commands], [c.realm for c in commands], [c.source for c in commands], [c.source_key for c in commands],
        [c.kind.value for c in commands], [c.operation for c in commands], [c.version for c in commands],
        [c.modified_at for c in commands], [c.content for c in commands], [c.content_hash for c in commands],
        [c.priority for c in commands], [c.traceparent for c in commands], [c.total for c in commands],
    )  # fmt: skip
    return rows


async def _record(connection: Connection, commands: Sequence[NewCommand]) -> int:
    made = await _insert_documents(connection, commands)
    rows = await _insert_commands(connection, commands)
    await _raise_newest(connection, [row for row in rows if row["document_id"] not in made])
    return len(rows)


async def _raise_newest(connection: Connection, rows: Sequence[Any]) -> None:
    if not rows:
        return
    await connection.execute(
        """
        UPDATE qbo_writer.documents d SET newest_version = t.version, newest_modified_at = t.modified_at
        FROM (SELECT DISTINCT ON (document_id) document_id, version, modified_at
              FROM unnest($1::bigint[], $2::bigint[], $3::timestamptz[]) AS u(document_id, version, modified_at)
              ORDER BY document_id, version DESC, modified_at DESC) t
        WHERE d.id = t.document_id AND (d.newest_version, d.newest_modified_at) < (t.version, t.modified_at)
        """,
        [r["document_id"] for r in rows], [r["version"] for r in rows], [r["modified_at"] for r in rows],
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------------------------- names


async def _need_name(connection: Connection, realm: str, wish: NameWish, rivals: set[str]) -> NameFound:
    wanted, waiting, keys = wish.wanted, wish.waiting, wish.keys
    if wanted.kind is LedgerKind.VENDOR and await _customer_first(connection, realm, wish, rivals):
        return None
    kept = await connection.fetchval(
        "SELECT source_key FROM qbo_writer.documents WHERE realm = $1 AND source = $2 AND kind = $3 "
        "AND source_key = ANY($4::text[]) ORDER BY source_key <> $5, id LIMIT 1",
        realm, wanted.source, wanted.kind.value, keys, wanted.source_key,
    )  # fmt: skip
    wanted = replace(wanted, source_key=kept or wanted.source_key)
    new = NewCommand(
        wanted.id(), realm, wanted.source, wanted.source_key, wanted.kind,
        marker(realm, wanted.source, wanted.source_key, wanted.kind), "upsert", wanted.version,
        await connection.fetchval("SELECT now()"), json.dumps(wanted.content), wanted.content_hash, wanted.priority,
    )  # fmt: skip
    await _insert_documents(connection, [new])
    document = await connection.fetchrow(
        f"SELECT {_KNOWN} FROM qbo_writer.documents d WHERE realm = $1 AND source = $2 AND source_key = $3 AND kind = $4 "  # noqa: S608
        "FOR NO KEY UPDATE",
        *new.document,
    )
    newest = await connection.fetchrow(
        f"SELECT state, code, reason, ended_at, version FROM qbo_writer.commands WHERE document_id = $1 "  # noqa: S608
        f"ORDER BY {_NEWEST_FIRST} LIMIT 1",
        document["d_id"],
    )
    due_at = min((w.due_at for w in waiting if w.due_at), default=None)
    if newest and newest["state"] not in ("due", "received"):
        if newest["state"] == "posted" and document["d_status"] == "present":
            return known_of(document)
        since = max((w.due_at for w in waiting if w.due_at), default=None)
        if since and newest["ended_at"] and newest["ended_at"] >= since:
            return CommandState(newest["state"]), newest["code"] or "", newest["reason"] or ""
        new = replace(new, version=newest["version"] + 1, id=replace(wanted, version=newest["version"] + 1).id())
    made = newest is None or newest["state"] not in ("due", "received")
    if made:
        await _record(connection, [new])
    # It has the place in the queue of the first that waits for it, just before: neither behind the backlog nor before all of it.
    await connection.execute(
        "UPDATE qbo_writer.commands SET priority = least(priority, $2), "
        "due_at = CASE WHEN $4 THEN least(due_at, $3::timestamptz - interval '1 millisecond') ELSE due_at END "
        "WHERE document_id = $1 AND state = 'due'",
        document["d_id"], wanted.priority, due_at, made,
    )  # fmt: skip
    await _wait_for(connection, document["d_id"], waiting)
    return None


async def _wait_for(connection: Connection, document_id: int, waiting: Sequence[Asked]) -> None:
    await connection.execute(
        "UPDATE qbo_writer.commands SET state = 'received', waits_for = $2 WHERE id = ANY($1::uuid[]) AND state = 'due'",
        [w.id for w in waiting], document_id,
    )  # fmt: skip


async def _rivals(connection: Connection, realm: str, vendors: Sequence[NameWish]) -> set[str]:
    """Return which of the vendors' keys are names of customers in invoices that are not decided yet."""
    if not vendors:
        return set()
    rows = await connection.fetch(
        "SELECT DISTINCT t.name FROM (SELECT btrim(regexp_replace(lower(content->'customer'->>'name'), '\\s+', ' ', 'g')) "
        "AS name FROM qbo_writer.commands WHERE realm = $1 AND state = 'due' AND kind = 'invoice' AND operation = 'upsert') t "
        "WHERE t.name = ANY($2::text[])",
        realm, [key for wish in vendors for key in wish.keys],
    )  # fmt: skip
    return {row["name"] for row in rows}


async def _customer_first(connection: Connection, realm: str, wish: NameWish, rivals: set[str]) -> bool:
    """Let a vendor's name wait where a customer of this name may be made: of two published together, always the customer.

    QuickBooks has one name space for both; which of them comes first must not depend on which message was read first. It waits
    for the customer's command; for invoices that name it and are not decided, within RIVAL_SECONDS; and for what is published
    together with it to arrive.
    """
    pending = await connection.fetchval(
        "SELECT d.id FROM qbo_writer.documents d WHERE d.realm = $1 AND d.source = $3 AND d.kind = 'customer' "
        "AND d.source_key = ANY($2::text[]) "
        "AND EXISTS (SELECT 1 FROM qbo_writer.commands c WHERE c.document_id = d.id AND c.state IN ('due', 'received')) LIMIT 1",
        realm, wish.keys, wish.wanted.source,
    )  # fmt: skip
    if pending:
        await _wait_for(connection, pending, wish.waiting)
        return True
    age = await connection.fetchval(
        "SELECT extract(epoch FROM now() - min(recorded_at))::float8 FROM qbo_writer.commands WHERE id = ANY($1::uuid[])",
        [w.id for w in wish.waiting],
    )
    seconds = TOGETHER_SECONDS - age
    if seconds <= 0 and age < RIVAL_SECONDS and not rivals.isdisjoint(wish.keys):
        seconds = 1
    if seconds <= 0:
        return False
    await _requeue(connection, [Requeue(w.id, seconds) for w in wish.waiting])
    return True


# ------------------------------------------------------------------------------------------------------------------ feed


async def _untold(connection: Connection, realm: str, changes: Sequence[FeedChange]) -> list[AnyMessage]:
    """Note what is told, and return what was not told in this state before."""
    latest = {c.state[:2]: c for c in changes if c.changed and c.state}
    rows = await connection.fetch(
        "INSERT INTO qbo_writer.feed_told AS f (realm, entity, qbo_id, state) "
        "SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[]) "
        "ON CONFLICT (realm, entity, qbo_id) DO UPDATE SET state = excluded.state, told_at = now() "
        "WHERE f.state <> excluded.state RETURNING entity, qbo_id",
        realm, [entity for entity, _ in latest], [id_ for _, id_ in latest], [c.state[2] for c in latest.values() if c.state],
    )  # fmt: skip
    fresh = {(row["entity"], row["qbo_id"]) for row in rows}
    told = [c for c in changes if c.changed and (c.state is None or (c.state[:2] in fresh and latest[c.state[:2]] is c))]
    return [c.changed for c in told if c.changed]


# -------------------------------------------------------------------------------------------------------------- settling


async def _apply(connection: Connection, effects: Sequence[Effects]) -> list[Effects]:
    """Write all effects; those whose attempt is resolved already, or whose command has this end already, are left out."""
    effects = one_for_each_attempt(effects)
    closed = await _update_attempts(connection, [e.attempt for e in effects if e.attempt])
    fresh = [e for e in effects if e.attempt is None or e.attempt.about in closed]
    ends = [end for e in fresh for end in e.ends]
    shown = [e.document.sync_token if e.document else end.known.sync_token for e in fresh for end in e.ends]
    written = await _update_commands(connection, ends, shown) if ends else set()
    fresh = [e for e in fresh if not e.ends or e.attempt or any(end.asked.id in written for end in e.ends)]
    documents = [e.document for e in fresh if e.document]
    if documents:
        await _update_documents(connection, documents)
    await _renumber(connection, [e.numbered for e in fresh if e.numbered])
    requeued = [e.requeue for e in fresh if e.requeue]
    if requeued:
        await _requeue(connection, requeued)
    releases = [e.releases for e in fresh if e.releases is not None]
    if releases:
        await connection.execute(
            "UPDATE qbo_writer.commands SET state = 'due', waits_for = NULL "
            "WHERE waits_for = ANY($1::bigint[]) AND state = 'received'",
            releases,
        )
    for effect in fresh:
        for follow_up in effect.follow_ups:
            await _record(connection, [await _as_command(connection, follow_up, _trace_of(effect))])
    events = [(end.event, end.asked.traceparent) for end in ends if end.event is not None and end.asked.id in written]
    events += [(event, _trace_of(e)) for e in fresh for event in e.events]
    events += await _compared(connection, [e for e in fresh if e.compared])
    await outbox.add(connection, SCHEMA, topics.EVENTS, [event for event, _ in events], [trace for _, trace in events])
    return fresh


async def _compared(connection: Connection, effects: Sequence[Effects]) -> list[tuple[AnyMessage, str | None]]:
    """Keep what is not as asked, mend what was so before; return what is to be told, each with its trace."""
    events: list[tuple[AnyMessage, str | None]] = []
    by_realm: dict[str, list[Effects]] = {}
    for effect in effects:
        by_realm.setdefault(effect.ends[0].known.realm, []).append(effect)
    for realm, some in by_realm.items():
        traces = {e.ends[0].known.id: _trace_of(e) for e in some}
        found = [discrepancies.of_unlike(e.ends[0].known, e.unlike) for e in some if e.unlike]
        for fresh in await discrepancies.keep(connection, realm, found):
            events.append((discrepancies.told(realm, fresh), traces.get(fresh.document_id or 0)))
        await discrepancies.as_asked(connection, realm, [e.ends[0].known.id for e in some if not e.unlike])
    return events


def one_for_each_attempt(effects: Sequence[Effects]) -> list[Effects]:
    """Leave out what would not count if the effects were committed one after another: after the one that resolves, none does.

    The change feed can find a document in the moment in which its send falls silent; both are committed together.
    """
    counts: dict[tuple[int, int | None], Effects] = {}
    for effect in effects:
        if effect.attempt is None:
            continue
        before = counts.get(effect.attempt.about)
        if before is None or before.attempt is None or before.attempt.state != "resolved":
            counts[effect.attempt.about] = effect
    return [e for e in effects if e.attempt is None or counts[e.attempt.about] is e]


def _trace_of(effect: Effects) -> str | None:
    """The trace of the document that the effect is about."""
    return effect.ends[0].asked.traceparent if effect.ends else None


async def _as_command(connection: Connection, f: FollowUp, traceparent: str | None) -> NewCommand:
    return NewCommand(
        f.id(), f.realm, f.source, f.source_key, f.kind, marker(f.realm, f.source, f.source_key, f.kind), "upsert",
        f.version, await connection.fetchval("SELECT now()"), json.dumps(f.content), f.content_hash, f.priority, traceparent,
    )  # fmt: skip


async def _update_attempts(connection: Connection, changes: Sequence[AttemptChange]) -> set[tuple[int, int | None]]:
    """Write the rows; an answer to an earlier send than the attempt's latest writes nothing. Return what was written.

    The lease does not tell: after an outage of Postgres that was longer its holder takes over from itself, with the same token.
    """
    if not changes:
        return set()
    rows = await connection.fetch(
        """
        UPDATE qbo_writer.attempts a SET state = t.state, answered = t.answered, ambiguous = t.ambiguous, lost = t.lost,
          stuck = t.stuck, silent_at = CASE WHEN t.silent THEN clock_timestamp() ELSE a.silent_at END,
          due_at = clock_timestamp() + make_interval(secs => t.due_in), outcome = t.outcome,
          http_status = coalesce(t.http_status, a.http_status), intuit_code = coalesce(t.intuit_code, a.intuit_code),
          intuit_tid = coalesce(t.intuit_tid, a.intuit_tid), answer = coalesce(t.answer, a.answer),
          resolved_at = CASE WHEN t.state = 'resolved' THEN clock_timestamp() END
        FROM unnest($1::bigint[], $2::text[], $3::bool[], $4::bool[], $5::bool[], $6::bool[], $7::bool[], $8::float8[],
          $9::text[], $10::int[], $11::text[], $12::text[], $13::int[], $14::text[])
          AS t(id, state, answered, ambiguous, lost, stuck, silent, due_in, outcome, http_status, intuit_code, intuit_tid, sends,
               answer)
        WHERE a.id = t.id AND a.state <> 'resolved' AND (t.sends IS NULL OR t.sends = a.sends) RETURNING a.id, t.sends
        """,
        [c.id for c in changes], [c.state for c in changes], [c.answered for c in changes], [c.ambiguous for c in changes],
        [c.lost for c in changes], [c.stuck for c in changes], [c.silent for c in changes], [c.due_in for c in changes],
        [c.outcome for c in changes], [c.http_status for c in changes], [c.intuit_code for c in changes],
        [c.intuit_tid for c in changes], [c.sends for c in changes], [c.answer for c in changes],
    )  # fmt: skip
    return {(row["id"], row["sends"]) for row in rows}


async def _update_commands(connection: Connection, ends: Sequence[CommandEnd], shown: Sequence[str | None]) -> set[Any]:
    """Write the ends; a document is held if its latest end is. Returns the ids of the commands that had not this end yet.

    `shown`: the SyncToken of the state in QuickBooks that each end speaks of: what a force writes over.
    """
    latest = {e.known.id: e.end.state is CommandState.HELD for e in ends if e.end.state is not CommandState.SUPERSEDED}
    rows = await connection.fetch(
        """
        WITH held AS (
        UPDATE qbo_writer.documents d SET held = t.held FROM unnest($7::bigint[], $8::bool[]) AS t(id, held)
        WHERE d.id = t.id AND d.held <> t.held)
        UPDATE qbo_writer.commands c SET state = t.state, code = t.code, reason = t.reason, differences = t.differences::jsonb,
          occurrence = t.occurrence + 1, ended_at = clock_timestamp(), forced = false, dropped = false, waits_for = NULL,
          shown_sync_token = t.shown,
          waiting_since = CASE WHEN t.state = 'waiting' THEN coalesce(c.waiting_since, clock_timestamp()) END,
          due_at = CASE WHEN t.state = 'waiting' THEN clock_timestamp() + make_interval(secs => $10) ELSE c.due_at END
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $9::text[])
          AS t(id, state, code, reason, differences, occurrence, shown)
        WHERE c.id = t.id AND c.occurrence = t.occurrence RETURNING c.id
        """,
        [e.asked.id for e in ends], [e.end.state.value for e in ends],
        [e.end.shown_code for e in ends], [e.end.reason or None for e in ends],
        [json.dumps([d.model_dump(mode="json") for d in e.end.differences]) if e.end.differences else None for e in ends],
        [e.asked.occurrence for e in ends], list(latest), list(latest.values()), list(shown), WAITING_SECONDS,
    )  # fmt: skip
    return {row["id"] for row in rows}


async def _update_documents(connection: Connection, changes: Sequence[DocumentChange]) -> None:
    await connection.execute(
        """
        UPDATE qbo_writer.documents d SET status = t.status, qbo_id = t.qbo_id, sync_token = t.sync_token,
          content_hash = t.content_hash, fields = t.fields::jsonb, total = t.total, balance = t.balance, diverged = t.diverged,
          differences = t.differences::jsonb, emailed = t.emailed, updated_at = clock_timestamp(),
          doc_number = coalesce(t.doc_number, d.doc_number),
          content = CASE WHEN t.content_of IS NULL THEN d.content ELSE c.content END
        FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::numeric[], $8::numeric[],
          $9::bool[], $10::text[], $11::uuid[], $12::bool[], $13::text[])
          AS t(id, status, qbo_id, sync_token, content_hash, fields, total, balance, diverged, differences, content_of, emailed,
               doc_number)
        LEFT JOIN qbo_writer.commands c ON c.id = t.content_of
        WHERE d.id = t.id
        """,
        [c.id for c in changes], [c.status.value for c in changes], [c.qbo_id for c in changes],
        [c.sync_token for c in changes], [c.content_hash for c in changes],
        [json.dumps(c.fields) if c.fields is not None else None for c in changes], [c.total for c in changes],
        [c.balance for c in changes], [c.diverged for c in changes],
        [json.dumps([d.model_dump(mode="json") for d in c.differences]) if c.differences else None for c in changes],
        [c.content_of for c in changes], [c.emailed for c in changes], [c.doc_number for c in changes],
    )  # fmt: skip


async def _renumber(connection: Connection, numbered: Sequence[Numbered]) -> None:
    if numbered:
        await connection.execute(
            "UPDATE qbo_writer.documents d SET doc_number = t.doc_number, number_of = t.number_of "
            "FROM unnest($1::bigint[], $2::text[], $3::text[]) AS t(id, doc_number, number_of) WHERE d.id = t.id",
            [n.document_id for n in numbered], [n.doc_number for n in numbered], [n.number_of for n in numbered],
        )  # fmt: skip


async def _requeue(connection: Connection, requeued: Sequence[Requeue]) -> None:
    await connection.execute(
        """
        UPDATE qbo_writer.commands c SET state = CASE WHEN t.waiting THEN 'waiting' ELSE 'due' END,
          due_at = clock_timestamp() + make_interval(secs => t.seconds),
          failures = c.failures + CASE WHEN t.failed THEN 1 ELSE 0 END, reason = coalesce(t.reason, c.reason)
        FROM unnest($1::uuid[], $2::float8[], $3::bool[], $4::text[], $5::bool[]) AS t(id, seconds, failed, reason, waiting)
        WHERE c.id = t.id
        """,
        [r.command_id for r in requeued], [r.seconds for r in requeued], [r.failed for r in requeued],
        [r.reason for r in requeued], [r.waiting for r in requeued],
    )  # fmt: skip


__all__ = ["BatchChanged", "Candidate", "Ledger", "NewAttempt", "RealmRow"]
