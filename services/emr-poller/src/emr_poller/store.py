"""The poller's state in Postgres: published and parked quotes and the cursor, committed together with the outbox."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bookrelay import cursor
from bookrelay.errors import Code
from bookrelay.source.outgoing import Outgoing

from emr_poller.domain import SCHEMA, ParkedQuote, PublishedQuote, State
from emr_poller.handlers import Plan

LONGEST_PERMANENT_SECONDS = 6 * 3600  # between retries of a quote that is wrong; a change in the EMR is read at once
LONGEST_TRANSIENT_SECONDS = 600  # between retries of one that could not be read


class Store:
    """State of one source of one company."""

    def __init__(self, outgoing: Outgoing, realm: str, source: str, retry_seconds: float) -> None:
        self._outgoing, self._pool = outgoing, outgoing.pool
        self._realm, self._source, self._retry = realm, source, retry_seconds
        self._cursor = f"quotes:{realm}:{source}"

    async def position(self) -> datetime | None:
        """Return the cursor, None before its first move."""
        return await cursor.read(self._pool, SCHEMA, self._cursor)

    async def move(self, position: datetime) -> None:
        """Move the cursor forward, if there is nothing else to commit."""
        await cursor.move(self._pool, SCHEMA, self._cursor, position)

    async def due(self, limit: int) -> list[int]:
        """Return the numbers of the parked quotes that are due for a retry."""
        rows = await self._pool.fetch(
            "SELECT number FROM emr_poller.parked WHERE realm = $1 AND source = $2 AND due_at <= now() ORDER BY due_at LIMIT $3",
            self._realm, self._source, limit,
        )  # fmt: skip
        return [row["number"] for row in rows]

    async def load(self, numbers: Sequence[int]) -> State:
        """Return the stored state of these quotes."""
        arguments = (self._realm, self._source, list(numbers))
        published = await self._pool.fetch(
            "SELECT number, version, modified_at, content_hash, operation FROM emr_poller.quotes "
            "WHERE realm = $1 AND source = $2 AND number = ANY($3::bigint[])",
            *arguments,
        )
        parked = await self._pool.fetch(
            "SELECT number, version, modified_at, code, reason, fix, attempts, told AS events, "
            "told_reason AS published_reason FROM emr_poller.parked "
            "WHERE realm = $1 AND source = $2 AND number = ANY($3::bigint[])",
            *arguments,
        )
        return State(
            {row["number"]: PublishedQuote(**dict(row)) for row in published},
            {row["number"]: _parked(row) for row in parked},
        )

    async def commit(self, plan: Plan, position: datetime | None) -> None:
        """Store messages, state and, if given, the cursor's position in one transaction.

        A published quote is no longer parked. An older revision never replaces a newer one.
        """
        async with self._outgoing.committing(plan.messages) as connection:
            await connection.executemany(
                "INSERT INTO emr_poller.quotes AS q (realm, source, number, version, modified_at, content_hash, operation) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (realm, source, number) DO UPDATE SET "
                "version = excluded.version, modified_at = excluded.modified_at, content_hash = excluded.content_hash, "
                "operation = excluded.operation, published_at = now() "
                "WHERE (q.version, q.modified_at) < (excluded.version, excluded.modified_at)",
                [
                    (self._realm, self._source, q.number, q.version, q.modified_at, q.content_hash, q.operation)
                    for q in plan.published
                ],
            )
            await connection.execute(
                "DELETE FROM emr_poller.parked WHERE realm = $1 AND source = $2 AND number = ANY($3::bigint[])",
                self._realm, self._source, [q.number for q in plan.published],
            )  # fmt: skip
            await connection.executemany(
                "INSERT INTO emr_poller.parked (realm, source, number, version, modified_at, code, reason, fix, attempts, told, "
                "told_reason, due_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, now() + make_interval(secs => $12)) "
                "ON CONFLICT (realm, source, number) DO UPDATE SET version = excluded.version, "
                "modified_at = excluded.modified_at, code = excluded.code, reason = excluded.reason, fix = excluded.fix, "
                "attempts = excluded.attempts, told = excluded.told, told_reason = excluded.told_reason, "
                "due_at = excluded.due_at",
                [self._parked_values(q) for q in plan.parked],
            )
            if position:
                await cursor.move(connection, SCHEMA, self._cursor, position)

    def _parked_values(self, quote: ParkedQuote) -> tuple[Any, ...]:
        longest = LONGEST_TRANSIENT_SECONDS if quote.code == Code.AUTOMATION_FAILED else LONGEST_PERMANENT_SECONDS
        pause = min(self._retry * 2 ** min(quote.attempts - 1, 20), longest)
        return (
            self._realm, self._source, quote.number, quote.version, quote.modified_at, quote.code.value, quote.reason, quote.fix,
            quote.attempts, quote.events, quote.published_reason, pause,
        )  # fmt: skip


def _parked(row: Any) -> ParkedQuote:
    return ParkedQuote(**(dict(row) | {"code": Code(row["code"])}))
