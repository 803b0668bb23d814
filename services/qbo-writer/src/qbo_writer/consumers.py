"""The writer's subscriptions: commands and Intuit's notifications. Each consumer decodes, calls one handler, returns."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from bookrelay import topics
from bookrelay.kafka import Received, consume
from bookrelay.messages import Command, EntityChanged
from bookrelay.service import Service

from qbo_writer import handlers
from qbo_writer.ledger.ledger import Ledger

Wake = Callable[[Iterable[str]], None]


def subscribe(service: Service, ledger: Ledger, wake: Wake, feed_soon: Wake) -> None:
    """Subscribe the writer to its topics."""

    async def on_commands(batch: Sequence[Received[Command]]) -> None:
        await handlers.record(batch, ledger.commands, wake)

    async def on_dead_lettered(value: bytes | None, reason: str) -> None:
        if event := handlers.dead_lettered(value, reason, datetime.now(UTC)):
            await service.publisher.publish(topics.EVENTS, [event])

    async def on_entity_changed(batch: Sequence[Received[EntityChanged]]) -> None:
        await handlers.note_changes(batch, ledger.feed, ledger.merges, feed_soon)

    consume(service.broker, topics.COMMANDS, topics.WRITER_GROUP, on_commands, service.publisher, put_aside=on_dead_lettered)
    consume(service.broker, topics.WEBHOOKS, topics.WRITER_NOTICES_GROUP, on_entity_changed, service.publisher)
