"""Commands and their documents, recorded and read."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from bookrelay import metrics
from bookrelay.db import Connection, Pool, transaction
from bookrelay.messages import Priority

from qbo_writer.crashpoints import Place, reach
from qbo_writer.domain import LedgerKind
from qbo_writer.ledger.changes import NewCommand
from qbo_writer.ledger.lease import fenced
from qbo_writer.ledger.records import Candidate, Command, DocumentState
from qbo_writer.ledger.rows import ASKED, KNOWN, NEWEST_FIRST, asked_of, in_turn, known_of

ANALYZE_FIRST, ANALYZE_LAST = 500, 128_000  # commands that are new since the last time; four times as many each time
DocumentKey = tuple[str, str, str, str]  # realm, source, source_key, kind


class Commands:
    """Commands and their documents, recorded and read."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._since_analyzed, self._analyze_at = 0, ANALYZE_FIRST

    async def record(self, commands: Sequence[NewCommand]) -> int:
        """Record all commands in one transaction; known ids are ignored. Returns how many were new."""
        async with transaction(self._pool) as connection:
            new = await record(connection, commands)
            reach(Place.RECORDING)
        metrics.COMMANDS_RECORDED.labels("new").inc(new)
        metrics.COMMANDS_RECORDED.labels("known").inc(len(commands) - new)
        self._since_analyzed += new
        if self._analyze_at <= min(self._since_analyzed, ANALYZE_LAST):
            await self._analyze()
        return new

    async def _analyze(self) -> None:
        """Let Postgres see that a ledger has grown: autovacuum looks once a minute, and a flood is recorded in less.

        Until then, foreign keys and look-ups by key were checked by plans for a table of a few rows: each read it as a whole.
        """
        self._since_analyzed, self._analyze_at = 0, self._analyze_at * 4
        await self._pool.execute("ANALYZE qbo_writer.documents, qbo_writer.commands")

    async def candidates(
        self, realm: str, limit: int, without: Collection[int] = (), only: Collection[int] | None = None, *, unpays: bool = False
    ) -> list[Candidate]:
        """Read documents with a due command and no open attempt, by priority, then age; `only`: restricted to these.

        `unpays`: our own bill payments are withdrawn before their bill is changed.
        """
        rows = await self._pool.fetch(
            f"""
            WITH due AS (
              SELECT c.document_id, c.priority, c.due_at FROM qbo_writer.commands c
              WHERE c.realm = $1 AND c.state = 'due' AND c.due_at <= now() AND NOT c.document_id = ANY($3::bigint[])
                AND ($4::bigint[] IS NULL OR c.document_id = ANY($4))
                AND NOT EXISTS (SELECT 1 FROM qbo_writer.attempts a WHERE a.document_id = c.document_id AND a.state <> 'resolved')
                AND {in_turn("$5")}
              ORDER BY c.priority, c.due_at LIMIT $2
            ), picked AS (
              SELECT document_id, min(priority) AS priority, min(due_at) AS due_at FROM due GROUP BY document_id
            )
            SELECT {KNOWN}, {ASKED}, c.older, CASE WHEN d.qbo_id IS NULL THEN (
              SELECT o.qbo_id FROM qbo_writer.discrepancies o WHERE o.realm = d.realm AND o.marker = d.marker
                AND o.resolved_at IS NULL ORDER BY o.found_at LIMIT 1) END AS stray,
              b.qbo_id AS bill_id, b.newest_version AS bill_version,
              d.kind = 'bill' AND (
                SELECT k.operation = 'retract' FROM qbo_writer.documents o JOIN qbo_writer.commands k ON k.document_id = o.id
                WHERE o.realm = d.realm AND o.source = d.source AND o.source_key = d.source_key AND o.kind = 'bill_payment'
                ORDER BY k.version DESC, k.modified_at DESC, k.recorded_at DESC, k.id::text DESC LIMIT 1) AS withdrawn
            FROM picked p
            JOIN qbo_writer.documents d ON d.id = p.document_id
            LEFT JOIN qbo_writer.documents b ON d.kind = 'bill_payment' AND b.realm = d.realm AND b.source = d.source
              AND b.source_key = d.source_key AND b.kind = 'bill' AND b.status = 'present'
            CROSS JOIN LATERAL (
              SELECT n.*, (
                SELECT jsonb_agg(o.id ORDER BY o.version, o.modified_at) FROM qbo_writer.commands o
                WHERE o.document_id = d.id AND o.state IN ('due', 'received', 'waiting') AND o.id <> n.id
              ) AS older
              FROM qbo_writer.commands n WHERE n.document_id = d.id ORDER BY {NEWEST_FIRST} LIMIT 1
            ) c
            ORDER BY p.priority, p.due_at
            """,  # noqa: S608
            realm, limit, list(without), None if only is None else list(only), unpays,
        )  # fmt: skip
        older = [id_ for row in rows for id_ in row["older"] or ()]
        older_rows = {}
        if older:
            found = await self._pool.fetch(
                f"SELECT {ASKED} FROM qbo_writer.commands c WHERE c.id = ANY($1::uuid[])",  # noqa: S608
                older,
            )
            older_rows = {str(row["c_id"]): asked_of(row) for row in found}
        return [
            Candidate(
                known_of(row), asked_of(row), tuple(older_rows[id_] for id_ in row["older"] or () if id_ in older_rows),
                row["stray"], (row["bill_id"], row["bill_version"]) if row["bill_id"] else None,
                bool(row["withdrawn"]),
            )
            for row in rows
        ]  # fmt: skip

    async def take_up_waiting(self, realm: str, fencing_token: int, *, all_of_them: bool) -> int:
        """Make due what waits for something in QuickBooks or in the policy and is to be tried again; return how many.

        `all_of_them`: regardless of time, because what they wait for may be there now.
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

    async def release_for(self, realm: str, fencing_token: int, reason: str) -> int:
        """Let what is held for this reason be decided again; return how many documents that are."""
        some = "SELECT EXISTS (SELECT 1 FROM qbo_writer.commands WHERE realm = $1 AND state = 'held' AND reason = $2)"
        if not await self._pool.fetchval(some, realm, reason):
            return 0
        async with fenced(self._pool, realm, fencing_token) as connection:
            status: str = await connection.execute(
                "UPDATE qbo_writer.commands c SET state = 'due', failures = 0, due_at = clock_timestamp() "
                "FROM qbo_writer.documents d WHERE c.realm = $1 AND c.state = 'held' AND c.reason = $2 "
                "AND d.id = c.document_id AND d.newest_version = c.version",
                realm, reason,
            )  # fmt: skip
        return int(status.rpartition(" ")[2])

    async def document(self, document_id: int) -> tuple[DocumentState, Command] | None:
        """Read a document and its newest recorded command."""
        row = await self._pool.fetchrow(
            f"SELECT {KNOWN}, {ASKED} FROM qbo_writer.documents d CROSS JOIN LATERAL (SELECT * FROM qbo_writer.commands n "  # noqa: S608
            f"WHERE n.document_id = d.id ORDER BY {NEWEST_FIRST} LIMIT 1) c WHERE d.id = $1",
            document_id,
        )
        return (known_of(row), asked_of(row)) if row else None

    async def versions(self, documents: Collection[int]) -> dict[int, list[Command]]:
        """Read every recorded command of these documents, newest first."""
        rows = await self._pool.fetch(
            f"SELECT c.document_id, {ASKED} FROM qbo_writer.commands c WHERE c.document_id = ANY($1::bigint[]) "  # noqa: S608
            f"ORDER BY c.document_id, {NEWEST_FIRST}",
            list(documents),
        )
        found: dict[int, list[Command]] = {}
        for row in rows:
            found.setdefault(row["document_id"], []).append(asked_of(row))
        return found

    async def behind(self, realm: str) -> list[Candidate]:
        """Read documents with due commands behind an attempt that only an operator can resolve."""
        rows = await self._pool.fetch(
            f"""
            SELECT {KNOWN}, {ASKED} FROM qbo_writer.attempts a
            JOIN qbo_writer.documents d ON d.id = a.document_id
            JOIN qbo_writer.commands c ON c.document_id = d.id AND c.state = 'due'
            WHERE a.realm = $1 AND a.state = 'unknown' AND a.stuck AND a.operator_says IS NULL LIMIT 100
            """,  # noqa: S608
            realm,
        )
        return [Candidate(known_of(row), asked_of(row), ()) for row in rows]

    async def who_has(self, realm: str, kind: LedgerKind, numbers: Collection[str]) -> dict[str, list[DocumentState]]:
        """Return who has these numbers: case-folded number -> documents in QuickBooks or on their way."""
        rows = await self._pool.fetch(  # not numbers that were refused, or that somebody changed in QuickBooks
            f"""
            -- OFFSET 0: number by number, each by an index; as a join it was planned as a scan of the whole ledger.
            WITH wanted AS (SELECT DISTINCT lower(number) AS number FROM unnest($3::text[]) AS t(number))
            SELECT {KNOWN}, d.fields->>'doc_number' AS has FROM wanted CROSS JOIN LATERAL (
              SELECT * FROM qbo_writer.documents d WHERE d.realm = $1 AND d.kind = $2 AND d.fields->>'doc_number' IS NOT NULL
                AND lower(d.fields->>'doc_number') = wanted.number AND d.status IN ('present', 'voided') OFFSET 0) d
            UNION ALL
            SELECT {KNOWN}, d.doc_number AS has FROM wanted CROSS JOIN LATERAL (
              SELECT * FROM qbo_writer.documents d WHERE d.realm = $1 AND d.kind = $2 AND d.doc_number IS NOT NULL
                AND lower(d.doc_number) = wanted.number
                AND (d.status IN ('present', 'voided') AND d.fields->>'doc_number' IS NULL OR EXISTS
                  (SELECT 1 FROM qbo_writer.attempts a WHERE a.document_id = d.id AND a.state <> 'resolved')) OFFSET 0) d
            """,  # noqa: S608
            realm, kind.value, list(numbers),
        )  # fmt: skip
        found: dict[str, list[DocumentState]] = {}
        for row in rows:
            found.setdefault(row["has"].casefold(), []).append(known_of(row))
        return found

    async def next_due_in(self, realm: str, *, unpays: bool = False) -> float:
        """Return the seconds until something becomes due, at most 60."""
        value = await self._pool.fetchval(
            f"""
            SELECT extract(epoch FROM least(
              -- The first of each priority, by the claiming index: the backlog is not scanned.
              (SELECT min(first.due_at) FROM generate_series(0, {len(Priority) - 1}) AS p(priority) CROSS JOIN LATERAL (
                SELECT c.due_at FROM qbo_writer.commands c WHERE c.realm = $1 AND c.state = 'due' AND c.priority = p.priority
                  AND NOT EXISTS
                    (SELECT 1 FROM qbo_writer.attempts a WHERE a.document_id = c.document_id AND a.state <> 'resolved')
                  AND {in_turn("$2")} ORDER BY c.due_at LIMIT 1) first),
              (SELECT min(due_at) FROM qbo_writer.attempts WHERE realm = $1 AND state <> 'resolved'),
              clock_timestamp() + interval '60 seconds') - clock_timestamp())
            """,  # noqa: S608
            realm, unpays,
        )  # fmt: skip
        return max(0.0, float(value))

    async def now(self) -> datetime:
        """Return the database's clock."""
        value: datetime = await self._pool.fetchval("SELECT clock_timestamp()")
        return value


async def insert_documents(connection: Connection, commands: Iterable[NewCommand]) -> None:
    """Make the documents that are not there yet."""
    await connection.execute(f"{_INSERT_DOCUMENTS} ON CONFLICT DO NOTHING", *_newest_of_each(commands)[1])


_INSERT_DOCUMENTS = (
    "INSERT INTO qbo_writer.documents AS d (realm, source, source_key, kind, marker, newest_version, newest_modified_at) "
    "SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::timestamptz[])"
)


def _newest_of_each(commands: Iterable[NewCommand]) -> tuple[list[DocumentKey], list[list[Any]]]:
    """Return the documents of these commands, and the columns that the newest command of each gives.

    Sorted, so that concurrent recorders lock in the same order.
    """
    newest: dict[DocumentKey, NewCommand] = {}
    for command in commands:
        document = newest.get(command.document)
        if document is None or (command.version, command.modified_at) > (document.version, document.modified_at):
            newest[command.document] = command
    keys = sorted(newest)
    of_each = [newest[key] for key in keys]
    columns: list[list[Any]] = [list(column) for column in zip(*keys, strict=True)]
    return keys, [*columns, [c.marker for c in of_each], [c.version for c in of_each], [c.modified_at for c in of_each]]


async def _documents(connection: Connection, commands: Sequence[NewCommand]) -> dict[DocumentKey, int]:
    """Insert missing documents, raise the newest version of the others; return the id of each.

    By the arbiter's unique index alone: a join with the table was planned as a scan of it as long as its statistics were old.
    """
    keys, columns = _newest_of_each(commands)
    rows = await connection.fetch(
        f"{_INSERT_DOCUMENTS} ON CONFLICT (realm, source, source_key, kind) DO UPDATE SET (newest_version, newest_modified_at) = "  # noqa: S608
        "(SELECT n.version, n.modified_at FROM (VALUES (d.newest_version, d.newest_modified_at), "
        "(excluded.newest_version, excluded.newest_modified_at)) AS n(version, modified_at) "
        "ORDER BY n.version DESC, n.modified_at DESC NULLS LAST LIMIT 1) RETURNING id, realm, source, source_key, kind",
        *columns,
    )
    ids = {(row["realm"], row["source"], row["source_key"], row["kind"]): row["id"] for row in rows}
    return {key: ids[key] for key in keys}


async def record(connection: Connection, commands: Sequence[NewCommand]) -> int:
    """Record commands and make their documents, in the caller's transaction; return how many were new."""
    if not commands:
        return 0
    ids = await _documents(connection, commands)
    rows = await connection.fetch(
        """
        INSERT INTO qbo_writer.commands
          (id, document_id, realm, kind, operation, version, modified_at, content, content_hash, priority, headers, total)
        SELECT t.id, t.document_id, t.realm, t.kind, t.operation, t.version, t.modified_at, t.content::jsonb, t.content_hash,
          t.priority, CASE WHEN t.traceparent IS NULL THEN '{}'::jsonb
            ELSE jsonb_build_object('traceparent', t.traceparent) END, t.total
        FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::timestamptz[], $8::text[],
          $9::text[], $10::smallint[], $11::text[], $12::numeric[])
          AS t(id, document_id, realm, kind, operation, version, modified_at, content, content_hash, priority, traceparent, total)
        ON CONFLICT (id) DO NOTHING RETURNING 1
        """,
        [c.id for c in commands], [ids[c.document] for c in commands], [c.realm for c in commands],
        [c.kind.value for c in commands], [c.operation for c in commands], [c.version for c in commands],
        [c.modified_at for c in commands], [c.content for c in commands], [c.content_hash for c in commands],
        [c.priority for c in commands], [c.traceparent for c in commands], [c.total for c in commands],
    )  # fmt: skip
    return len(rows)
