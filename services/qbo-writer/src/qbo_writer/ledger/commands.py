"""What is asked for: commands and their documents, recorded and read."""

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


class Commands:
    """What is asked for: commands and their documents, recorded and read."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def record(self, commands: Sequence[NewCommand]) -> int:
        """Record all in one transaction; a command id that is there already changes nothing. Returns how many were new."""
        async with transaction(self._pool) as connection:
            new = await record(connection, commands)
            reach(Place.RECORDING)
        metrics.COMMANDS_RECORDED.labels("new").inc(new)
        metrics.COMMANDS_RECORDED.labels("known").inc(len(commands) - new)
        return new

    async def candidates(
        self, realm: str, limit: int, without: Collection[int] = (), only: Collection[int] | None = None, *, unpays: bool = False
    ) -> list[Candidate]:
        """Read documents with something due and no open attempt, by priority, then age; `only` these, where it is given.

        `unpays`: our own payments of bills are withdrawn where a bill is to be changed.
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
        """Read documents with due commands behind an attempt that only a person can resolve."""
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
        """Return whose numbers these are: case-folded number -> documents that QuickBooks holds, or that are on their way."""
        rows = await self._pool.fetch(  # what it was refused for, or a person has changed, it does not have
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
        """Return in how many seconds something becomes due; at most a minute."""
        value = await self._pool.fetchval(
            f"""
            SELECT extract(epoch FROM least(
              -- The first of each priority, by the index that claims: a backlog is not read as a whole.
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


async def insert_documents(connection: Connection, commands: Iterable[NewCommand]) -> set[int]:
    """Make the documents that are not there yet, and return their ids: these know the newest of the commands already."""
    newest: dict[tuple[str, str, str, str], NewCommand] = {}
    for command in commands:
        document = newest.get(command.document)
        if document is None or (command.version, command.modified_at) > (document.version, document.modified_at):
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


async def record(connection: Connection, commands: Sequence[NewCommand]) -> int:
    made = await insert_documents(connection, commands)
    rows = await _insert_commands(connection, commands)
    await _raise_newest(connection, [row for row in rows if row["document_id"] not in made])
    return len(rows)
