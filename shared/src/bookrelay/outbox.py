"""The outbox: messages are committed together with their effect, then published, then marked as published.

A crash in between publishes them again. A service declares its table from `bookrelay.tables.OutboxRow`, in its own schema.
"""

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from opentelemetry.trace import SpanKind

from bookrelay import metrics, telemetry
from bookrelay.db import Connection, Pool, transaction
from bookrelay.dead_letters import Encoded, PublishesEncoded
from bookrelay.errors import RecordRefusedError
from bookrelay.kafka import check_size
from bookrelay.messages import AnyMessage
from bookrelay.topics import Topic

log = telemetry.get_logger(__name__)

RELAY_RECORDS = 1000
PUBLISH_SECONDS = 30  # longer than GIVE_UP_SECONDS of the publisher: what a slow broker takes is marked, not published again
LOOK_SECONDS = 0.5  # for what another process committed; our own commits wake
PRUNED_AT_ONCE = 1000
GATHER_SECONDS = 0.01  # commits that come this close together are published together


async def add(
    connection: Connection, schema: str, topic: Topic, messages: Sequence[AnyMessage], traces: Sequence[str | None] = ()
) -> None:
    """Write messages into the schema's outbox, in the caller's transaction.

    `traces` holds a traceparent for each message; without it the current trace is used for all.
    """
    if not messages:
        return
    current = telemetry.traceparent().get("traceparent")
    parents = traces or [current] * len(messages)
    await connection.executemany(
        f"INSERT INTO {schema}.outbox (topic, key, value, headers) VALUES ($1, $2, $3, $4)",  # noqa: S608
        [
            (topic.name, m.subject, m.model_dump_json(), _headers(topic, m, parent))
            for m, parent in zip(messages, parents, strict=True)
        ],
    )


def _headers(topic: Topic, message: AnyMessage, parent: str | None) -> dict[str, str]:
    fields = telemetry.messaging(topic.name, message.id)
    with telemetry.step(f"create {topic.name}", parent, fields, SpanKind.PRODUCER) as headers:
        return headers


class Relay:
    """Publishes the outbox's messages in order, then marks them as published. `step` is a loop's unit of work."""

    def __init__(self, pool: Pool, schema: str, publisher: PublishesEncoded, *, keep_hours: int = 72) -> None:
        self._pool, self._schema, self._publisher, self._keep_hours = pool, schema, publisher, keep_hours
        self._wake = asyncio.Event()
        self._pruned = 0.0

    def wake(self) -> None:
        """Tell the relay that something was committed; without it, it looks twice a second."""
        self._wake.set()

    async def step(self) -> float:
        """Publish one batch. Return how many seconds to wait before the next: 0 if there may be more."""
        woken = self._wake.is_set()
        self._wake.clear()
        # Most looks find nothing: they cost one statement, and no transaction.
        count = await self._publish_batch() if woken or await self._pending() else 0
        if count == RELAY_RECORDS:
            return 0
        if count == 0:
            await self._prune()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._wake.wait()
                await asyncio.sleep(GATHER_SECONDS)
        return 0

    async def _pending(self) -> bool:
        where = "published_at IS NULL AND parked_at IS NULL"
        found: bool = await self._pool.fetchval(f"SELECT EXISTS (SELECT 1 FROM {self._schema}.outbox WHERE {where})")  # noqa: S608
        if not found:
            metrics.OUTBOX_PENDING.set(0)
            metrics.OUTBOX_OLDEST_AGE.set(0)
        return found

    async def _publish_batch(self) -> int:
        async with transaction(self._pool, idle_seconds=PUBLISH_SECONDS) as connection:
            # FOR UPDATE without SKIP LOCKED: a second relay waits, which preserves the order of each key.
            rows = await connection.fetch(
                f"SELECT id, topic, key, value, headers, created_at FROM {self._schema}.outbox "  # noqa: S608
                f"WHERE published_at IS NULL AND parked_at IS NULL ORDER BY id LIMIT {RELAY_RECORDS} FOR UPDATE"
            )
            metrics.OUTBOX_PENDING.set(len(rows))
            if not rows:
                metrics.OUTBOX_OLDEST_AGE.set(0)
                return 0
            metrics.OUTBOX_OLDEST_AGE.set((datetime.now(UTC) - rows[0]["created_at"]).total_seconds())
            by_topic: dict[str, list[Any]] = {}
            for row in rows:
                by_topic.setdefault(row["topic"], []).append(row)
            parked: dict[int, str] = {}
            for topic, records in by_topic.items():
                parked |= await self._publish(topic, records)
            await connection.execute(
                f"UPDATE {self._schema}.outbox SET published_at = now() WHERE id = ANY($1::bigint[])",  # noqa: S608
                [r["id"] for r in rows if r["id"] not in parked],
            )
            await connection.executemany(
                f"UPDATE {self._schema}.outbox SET parked_at = now(), parked_reason = $2 WHERE id = $1",  # noqa: S608
                list(parked.items()),
            )
        if parked:
            for row in rows:
                if row["id"] in parked:
                    log.error("outbox.parked", id=row["id"], topic=row["topic"], key=row["key"], reason=parked[row["id"]])
            await self._count_parked()
        log.info("outbox.published", count=len(rows) - len(parked), parked=len(parked))
        return len(rows)

    async def _publish(self, topic: str, rows: Sequence[Any]) -> dict[int, str]:
        """Publish; return the rows that the broker refuses, with the reason. They do not delay others, even of their key."""
        parked: dict[int, str] = {}
        ready: list[tuple[int, Encoded]] = []
        for row in rows:
            record: Encoded = (row["key"].encode(), row["value"].encode(), row["headers"])
            try:
                check_size(topic, *record)
                ready.append((row["id"], record))
            except RecordRefusedError as error:
                parked[row["id"]] = error.sentence()
        try:
            await self._publisher.publish_encoded(topic, [record for _, record in ready])
        except RecordRefusedError:
            for id_, record in ready:
                try:
                    await self._publisher.publish_encoded(topic, [record])
                except RecordRefusedError as error:
                    parked[id_] = error.sentence()
        return parked

    async def _count_parked(self) -> None:
        count = await self._pool.fetchval(
            f"SELECT count(*) FROM {self._schema}.outbox WHERE parked_at IS NOT NULL AND published_at IS NULL"  # noqa: S608
        )
        metrics.OUTBOX_PARKED.set(count)

    async def _prune(self) -> None:
        """Once an hour, delete messages published long ago and count the parked ones, which are kept."""
        now = asyncio.get_running_loop().time()
        if self._pruned and now - self._pruned < 3600:
            return
        self._pruned = now
        await self._count_parked()
        status = f"DELETE {PRUNED_AT_ONCE}"
        while status == f"DELETE {PRUNED_AT_ONCE}":  # in slices: no long transaction, no pause in publishing
            status = await self._pool.execute(
                # Of the oldest that are published: it ends where these are young.
                f"DELETE FROM {self._schema}.outbox WHERE id IN (SELECT id FROM (SELECT id, published_at "  # noqa: S608
                f"FROM {self._schema}.outbox WHERE published_at IS NOT NULL ORDER BY id LIMIT $2) oldest "
                "WHERE published_at < now() - make_interval(hours => $1))",
                self._keep_hours, PRUNED_AT_ONCE,
            )  # fmt: skip


async def parked(pool: Pool, schema: str) -> list[dict[str, Any]]:
    """Return the parked messages, oldest first: id, topic, key, bytes, reason, parked_at, but not their values."""
    rows = await pool.fetch(
        "SELECT id, topic, key, octet_length(value) AS bytes, parked_reason AS reason, parked_at "  # noqa: S608
        f"FROM {schema}.outbox WHERE parked_at IS NOT NULL AND published_at IS NULL ORDER BY id"
    )
    return [dict(row) for row in rows]


async def release(pool: Pool, schema: str, ids: Collection[int]) -> int:
    """Release parked messages for publishing, out of order for their keys; return how many. Use it after raising a limit."""
    status: str = await pool.execute(
        f"UPDATE {schema}.outbox SET parked_at = NULL, parked_reason = NULL "  # noqa: S608
        "WHERE id = ANY($1::bigint[]) AND parked_at IS NOT NULL AND published_at IS NULL",
        list(ids),
    )
    return int(status.rpartition(" ")[2])
