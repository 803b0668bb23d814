"""Records that a consumer is stuck at: it retries them, and everything behind them waits. Which records, since when, and why.

Kept in this process's memory. A partition that another group member has taken over is forgotten after two minutes.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError

from bookrelay import blame, metrics
from bookrelay.causes import cause_of
from bookrelay.errors import BookrelayError

FORGET_SECONDS = 120.0  # a record is retried after 5 s at most
KEY_LENGTH = 200
REASON_LENGTH = 300
FIX = (
    "Fix the cause; consumption then resumes automatically. If the record itself is the cause, move the group past it with "
    "Kafka's tools (kafka-consumer-groups --reset-offsets), then have its source send it again."
)


@dataclass(frozen=True)
class BlockedRecord:
    """A record that its consumer cannot get past. `key` is truncated; times are aware, in UTC."""

    topic: str
    group: str
    partition: int
    offset: int
    key: str
    since: datetime
    failures: int
    reason: str

    @property
    def what(self) -> str:
        """Which consumer is stuck, where, and why."""
        return (
            f"{self.group} cannot get past offset {self.offset} of {self.topic}, partition {self.partition}, key {self.key!r}, "
            f"since {self.since:%Y-%m-%d %H:%M} UTC (failed {self.failures} times): {self.reason}"
        )

    def sentence(self) -> str:
        """Return which consumer is stuck, why, and what a person can do."""
        return f"{self.what.rstrip('.')}. {FIX}"


class FailsAtError(Exception):
    """A batch failed at one record; `error` is the reason."""

    def __init__(self, record: ConsumerRecord[Any, Any], error: Exception) -> None:
        super().__init__(f"{record.topic}:{record.partition}:{record.offset}")
        self.record, self.error = record, error


class Blocked:
    """All blocked records of this process."""

    def __init__(self) -> None:
        self._at: dict[tuple[str, str, int], tuple[BlockedRecord, float]] = {}

    def failed(self, group: str, record: ConsumerRecord[Any, Any], error: BaseException) -> BlockedRecord:
        """Record that the consumer failed at this record (again)."""
        where = (record.topic, group, record.partition)
        now, reason = datetime.now(UTC), why(error)
        key = (record.key or b"").decode("utf-8", "replace")[:KEY_LENGTH]
        blocked = BlockedRecord(record.topic, group, record.partition, record.offset, key, now, 1, reason)
        before, _ = self._at.get(where, (None, 0.0))
        if before and before.offset == record.offset:
            blocked = replace(before, failures=before.failures + 1, reason=reason)
        self._at[where] = blocked, time.monotonic()
        _label(where, metrics.CONSUMER_BLOCKED_OFFSET).set(record.offset)
        _label(where, metrics.CONSUMER_BLOCKED_SINCE).set(blocked.since.timestamp())
        return blocked

    def passed(self, group: str, records: Sequence[ConsumerRecord[Any, Any]]) -> list[BlockedRecord]:
        """Record that these were handled; return the records that no longer block."""
        if not self._at:
            return []
        unblocked: list[BlockedRecord] = []
        for record in records:
            where = (record.topic, group, record.partition)
            if where in self._at and record.offset >= self._at[where][0].offset:
                unblocked.append(self._at[where][0])
                self._forget(where)
        return unblocked

    def records(self) -> list[BlockedRecord]:
        """Return the records that block consumers now, the oldest first."""
        for where, (_, tried_at) in list(self._at.items()):
            if time.monotonic() - tried_at > FORGET_SECONDS:
                self._forget(where)
        return sorted((blocked for blocked, _ in self._at.values()), key=lambda blocked: blocked.since)

    def _forget(self, where: tuple[str, str, int]) -> None:
        del self._at[where]
        for gauge in (metrics.CONSUMER_BLOCKED_OFFSET, metrics.CONSUMER_BLOCKED_SINCE):
            gauge.remove(where[0], where[1], str(where[2]))


def _label(where: tuple[str, str, int], gauge: Any) -> Any:
    return gauge.labels(where[0], where[1], str(where[2]))


def why(error: BaseException) -> str:
    """Return an error as one line, without long quoted parts: they may be a message's content."""
    if isinstance(error, BookrelayError):
        return error.sentence()[:REASON_LENGTH]
    if isinstance(error, (OSError, KafkaError)):
        return cause_of(error).text
    if blame.of_record(error):
        return blame.reason(error)[:REASON_LENGTH]
    first = (str(error).splitlines() or [""])[0]
    first = re.sub(r"'[^']{20,}'|\"[^\"]{60,}\"", "'...'", first)
    return f"{type(error).__name__}: {first}"[:REASON_LENGTH]


_blocked: Blocked | None = None


def in_force() -> Blocked:
    """Return the blocked records of this process; a process without a service (a command, a test) has none."""
    return _blocked or Blocked()


def put_in_force(blocked: Blocked) -> None:
    """Make these the blocked records of this process."""
    global _blocked  # noqa: PLW0603
    _blocked = blocked
