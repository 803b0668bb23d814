"""Handlers of messages: record commands, note that the books changed. No I/O of their own."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from bookrelay import telemetry
from bookrelay.kafka import Received
from bookrelay.messages import (
    UPSERTS,
    Command,
    CommandDeadLettered,
    CommandDeadLetteredData,
    EntityChanged,
    Kind,
    Priority,
    RetractDocument,
    content_hash,
    short_json,
)
from bookrelay.money import loads
from opentelemetry.trace import SpanKind

from qbo_writer import identity
from qbo_writer.crashpoints import Place, reach
from qbo_writer.domain import SENDER, LedgerKind
from qbo_writer.ledger.changes import NewCommand
from qbo_writer.lists import ENTITIES, Merge

PRIORITY = {Priority.INTERACTIVE: 0, Priority.LIVE: 1, Priority.BACKFILL: 2, Priority.SWEEP: 3}
_KIND_OF = {upsert.TYPE: upsert.model_fields["data"].annotation.model_fields["kind"].default for upsert in UPSERTS}  # type: ignore[union-attr]


class Records(Protocol):
    """The part of the ledger that recording needs."""

    async def record(self, commands: Sequence[NewCommand]) -> int:
        """Record all commands in one transaction; return how many were new."""


class AsksFeed(Protocol):
    """The part of the ledger that change notifications need."""

    async def ask_feed(self, realms: Collection[str]) -> None:
        """Request that the change feed of these companies is read soon."""


class RecordsMerges(Protocol):
    """The part of the ledger that merge notifications need."""

    async def record_merges(self, told: Sequence[tuple[str, Merge]]) -> None:
        """Note merges (company, merge)."""


def new_command(received: Received[Command]) -> NewCommand:
    """Convert a message to the row that is recorded."""
    message = received.message
    data = message.data
    content = None if isinstance(message, RetractDocument) else message.data.content
    short = short_json(content) if content is not None else None
    kind = LedgerKind(data.kind.value)
    return NewCommand(
        id=message.id, realm=data.realm, source=data.source, source_key=data.source_key, kind=kind,
        marker=identity.marker(data.realm, data.source, data.source_key, kind),
        operation="retract" if content is None else "upsert", version=data.version, modified_at=data.modified_at,
        content=short, content_hash=content_hash(content, short), priority=PRIORITY[data.priority],
        traceparent=_recorded(received), total=None if isinstance(message, RetractDocument) else message.data.total,
    )  # fmt: skip


def _recorded(received: Received[Command]) -> str | None:
    """Return the document's trace context, with the recording as its latest step."""

    def fields() -> dict[str, str | int]:
        return telemetry.messaging(received.topic, received.message.id) | {
            "messaging.destination.partition.id": str(received.partition), "messaging.kafka.offset": received.offset,
        }  # fmt: skip

    return telemetry.step_done("record command", received.headers.get("traceparent"), fields, SpanKind.CONSUMER)


async def record(batch: Sequence[Received[Command]], commands: Records, wake: Callable[[Iterable[str]], None]) -> None:
    """Record the commands, then wake the posting loops of their companies. Redeliveries are ignored."""
    reach(Place.POLLED)
    new = [new_command(received) for received in batch]
    await commands.record(new)
    reach(Place.RECORDED)
    wake({command.realm for command in new})


def dead_lettered(value: bytes | None, reason: str, now: datetime) -> CommandDeadLettered | None:
    """Return the event that reports a dead-lettered command to its source; None if the record does not show the source."""
    try:
        body = loads(value or b"")
        named = {"kind": _KIND_OF.get(body.get("type"), Kind.INVOICE)} | body["data"]
        known = {name: named.get(name) for name in ("realm", "source", "source_key", "kind", "version")}
        data = CommandDeadLetteredData.model_validate(known | {"command_id": body.get("id"), "reason": reason})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return CommandDeadLettered.of(data, sender=SENDER, time=now)


async def note_changes(
    batch: Sequence[Received[EntityChanged]], feed: AsksFeed, merges: RecordsMerges, feed_soon: Callable[[Iterable[str]], None]
) -> None:
    """Note Intuit's change notification: the lease holder of each company reads its change feed soon.

    Merges are kept: only these notifications say explicitly who was merged into whom.
    """
    told = [received.message.data for received in batch]
    realms = {data.realm for data in told}
    merged = [
        (data.realm, Merge(data.entity, data.deleted_id, data.entity_id))
        for data in told
        if data.operation == "merged" and data.deleted_id and data.entity in ENTITIES and data.deleted_id != data.entity_id
    ]
    if merged:
        await merges.record_merges(merged)
    await feed.ask_feed(realms)
    feed_soon(realms)


Handler = Callable[[Sequence[Received[Command]]], Awaitable[None]]
