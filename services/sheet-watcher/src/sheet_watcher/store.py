"""The watcher's state in Postgres: rows by key and results by document, committed together with the outbox."""

from collections.abc import Sequence
from typing import Any

from bookrelay.db import Connection, transaction
from bookrelay.errors import TransientError
from bookrelay.messages import Kind
from bookrelay.source.outgoing import Outgoing

from sheet_watcher.domain import KnownRow, Result, State
from sheet_watcher.planning.plan import Plan, RowChange
from sheet_watcher.planning.results import Superseded

_ROW_FIELDS = (
    "key", "version", "kind", "state_hash", "in_force", "modified_at", "fingerprint", "position", "eligible", "default_date",
    "missing_since", "shown_status",
)  # fmt: skip
_SAVE_ROW = (
    f"INSERT INTO sheet_watcher.rows (realm, spreadsheet, {', '.join(_ROW_FIELDS)}) "  # noqa: S608
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT (realm, spreadsheet, key) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _ROW_FIELDS[1:])
)
# An older event never replaces a newer one. The id is cleared if the document no longer exists, and kept otherwise.
_SAVE_RESULT = """
    INSERT INTO sheet_watcher.results AS r
        (realm, source, key, kind, version, occurrence, status, qbo_id, url, error, synced_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (realm, source, key, kind) DO UPDATE SET
        version = excluded.version, occurrence = excluded.occurrence, status = excluded.status, error = excluded.error,
        qbo_id = CASE WHEN $12 THEN coalesce(excluded.qbo_id, r.qbo_id) END,
        url = CASE WHEN $12 THEN coalesce(excluded.url, r.url) END,
        synced_at = coalesce(excluded.synced_at, r.synced_at), told_at = now()
    WHERE (r.version, r.occurrence) <= (excluded.version, excluded.occurrence)
"""


class Store:
    """State of one spreadsheet of one company."""

    def __init__(self, outgoing: Outgoing, realm: str, source: str, spreadsheet: str) -> None:
        self._outgoing, self._pool = outgoing, outgoing.pool
        self._realm, self._source, self._spreadsheet = realm, source, spreadsheet

    async def load(self) -> State:
        """Return the stored state."""
        rows = await self._pool.fetch(
            f"SELECT {', '.join(_ROW_FIELDS)} FROM sheet_watcher.rows WHERE realm = $1 AND spreadsheet = $2",  # noqa: S608
            self._realm, self._spreadsheet,
        )  # fmt: skip
        results = await self._pool.fetch(
            "SELECT key, kind, version, occurrence, status, qbo_id, url, error, synced_at FROM sheet_watcher.results "
            "WHERE realm = $1 AND source = $2",
            self._realm, self._source,
        )  # fmt: skip
        return State(
            {row["key"]: KnownRow(**dict(row)) for row in rows},
            {(row["key"], Kind(row["kind"])): Result(**dict(row)) for row in results},
        )

    async def commit(self, plan: Plan) -> None:
        """Store rows, results and messages in one transaction; raises TransientError if a row has changed since the read."""
        if not (plan.changes or plan.results or plan.messages):
            return
        async with self._outgoing.committing(plan.messages) as connection:
            await self._check(connection, list(plan.changes.values()))
            await connection.executemany(_SAVE_ROW, [self._row_values(change.after) for change in plan.changes.values()])
            await connection.executemany(_SAVE_RESULT, [self._result_values(result) for result in plan.results])

    async def record(self, results: Sequence[Result | Superseded]) -> None:
        """Store the results of events, in order."""
        async with transaction(self._pool) as connection:
            await connection.executemany(_SAVE_RESULT, [self._result_values(r) for r in results if isinstance(r, Result)])
            await connection.executemany(
                "UPDATE sheet_watcher.rows SET version = $4, state_hash = 'superseded' "
                "WHERE realm = $1 AND spreadsheet = $2 AND key = $3 AND version < $4",
                [(self._realm, self._spreadsheet, r.key, r.by_version) for r in results if isinstance(r, Superseded)],
            )

    async def _check(self, connection: Connection, changes: Sequence[RowChange]) -> None:
        """Prevent two watchers of one sheet (during a rolling deployment) from publishing the same version."""
        await connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"sheet:{self._realm}:{self._spreadsheet}"
        )
        rows = await connection.fetch(
            "SELECT key, version FROM sheet_watcher.rows "
            "WHERE realm = $1 AND spreadsheet = $2 AND key = ANY($3::text[]) FOR UPDATE",
            self._realm, self._spreadsheet, [change.after.key for change in changes],
        )  # fmt: skip
        now = {row["key"]: row["version"] for row in rows}
        if any(now.get(change.after.key) != (change.before.version if change.before else None) for change in changes):
            raise TransientError("The state of a row changed while the sheet was being read; it will be read again.")

    def _row_values(self, row: KnownRow) -> tuple[Any, ...]:
        return (self._realm, self._spreadsheet, *(getattr(row, name) for name in _ROW_FIELDS))

    def _result_values(self, result: Result) -> tuple[Any, ...]:
        return (
            self._realm, self._source, result.key, result.kind, result.version, result.occurrence, result.status, result.qbo_id,
            result.url, result.error, result.synced_at, result.in_books,
        )  # fmt: skip
