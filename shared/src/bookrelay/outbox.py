"""The outbox: events are committed with their effect, then published, then marked. A crash in between publishes again.

Each service that has one declares its table from `bookrelay.tables.OutboxRow`, in its own schema.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from opentelemetry.trace import SpanKind

from bookrelay import metrics, telemetry
from bookrelay.db import Connection, Pool, transaction
from bookrelay.messages import AnyMessage
from bookrelay.topics import Topic

log = telemetry.get_logger(__name__)

RELAY_RECORDS = 1000
PUBLISH_SECONDS = 30  # longer than the producer tries: what a slow broker takes at last is marked, not published again
GATHER_SECONDS = 0.01  # commits that come this close together are published together


class PublishesEncoded(Protocol):
    """What the relay needs of the producer (`bookrelay.kafka.Publisher`)."""

    async def publish_encoded(self, topic: str, records: Iterable[tuple[bytes | None, bytes | None, dict[str, str]]]) -> None:
        """Return when the broker has acknowledged all, in order for each key; raise otherwise."""


async def add(
    connection: Connection, schema: str, topic: Topic, messages: Sequence[AnyMessage], traces: Sequence[str | None] = ()
) -> None:
    """Write messages into the schema's outbox, in the caller's transaction.

    `traces` are the traceparents of the documents that the messages are about, one for each; without, the current trace's.
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
    """Publishes what the outbox holds, in order, then marks it. `step` is a loop's unit of work."""

    def __init__(self, pool: Pool, schema: str, publisher: PublishesEncoded, *, keep_hours: int = 72) -> None:
        self._pool, self._schema, self._publisher, self._keep_hours = pool, schema, publisher, keep_hours
        self._wake = asyncio.Event()
        self._pruned = 0.0

    def wake(self) -> None:
        """Tell the relay that something was committed; without it, it looks every 200 ms."""
        self._wake.set()

    async def step(self) -> float:
        """Publish one batch. Return how many seconds to wait before the next: 0 if there may be more."""
        self._wake.clear()
        count = await self._publish_batch()
        if count == RELAY_RECORDS:
            return 0
        if count == 0:
            await self._prune()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await self._wake.wait()
                await asyncio.sleep(GATHER_SECONDS)
        return 0

    async def _publish_batch(self) -> int:
        async with transaction(self._pool, idle_seconds=PUBLISH_SECONDS) as connection:
            # FOR UPDATE without SKIP LOCKED: a second relay waits, so that the order of a key is kept.
            rows = await connection.fetch(
                f"SELECT id, topic, key, value, headers, created_at FROM {self._schema}.outbox "  # noqa: S608
                f"WHERE published_at IS NULL ORDER BY id LIMIT {RELAY_RECORDS} FOR UPDATE"
            )
            metrics.OUTBOX_PENDING.set(len(rows))
            if not rows:
                metrics.OUTBOX_OLDEST_AGE.set(0)
                return 0
            metrics.OUTBOX_OLDEST_AGE.set((datetime.now(UTC) - rows[0]["created_at"]).total_seconds())
            by_topic: dict[str, list[Any]] = {}
            for row in rows:
                by_topic.setdefault(row["topic"], []).append(row)
            for topic, records in by_topic.items():
                await self._publisher.publish_encoded(
                    topic, [(r["key"].encode(), r["value"].encode(), r["headers"]) for r in records]
                )
            await connection.execute(
                f"UPDATE {self._schema}.outbox SET published_at = now() WHERE id = ANY($1::bigint[])",  # noqa: S608
                [r["id"] for r in rows],
            )
        log.info("outbox.published", count=len(rows))
        return len(rows)

    async def _prune(self) -> None:
        """Forget, once an hour, what was published long ago."""
        now = asyncio.get_running_loop().time()
        if self._pruned and now - self._pruned < 3600:
            return
        self._pruned = now
        await self._pool.execute(
            f"DELETE FROM {self._schema}.outbox WHERE published_at < now() - make_interval(hours => $1)",  # noqa: S608
            self._keep_hours,
        )
