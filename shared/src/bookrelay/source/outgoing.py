"""How a source publishes: through its outbox, committed together with the state that the messages follow from, then relayed."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from itertools import groupby

from bookrelay import outbox, telemetry
from bookrelay.db import Connection, Pool, transaction
from bookrelay.dead_letters import PublishesEncoded
from bookrelay.messages import AnyMessage
from bookrelay.topics import COMMANDS, EVENTS, Topic


class Outgoing:
    """The outbox of one schema and its relay. `step` is a loop's unit of work: it publishes committed messages in order."""

    def __init__(self, pool: Pool, schema: str, publisher: PublishesEncoded) -> None:
        self.pool, self._schema = pool, schema
        self._relay = outbox.Relay(pool, schema, publisher)

    @contextlib.asynccontextmanager
    async def committing(self, messages: Sequence[AnyMessage]) -> AsyncIterator[Connection]:
        """Open a transaction for the source's own state; the messages are committed with it at the end of the block."""
        async with transaction(self.pool) as connection:
            yield connection
            await self._add(connection, messages)
        if messages:
            self._relay.wake()

    async def _add(self, connection: Connection, messages: Sequence[AnyMessage]) -> None:
        for topic, said in groupby(messages, topic_of):
            together, traces = list(said), []
            for message in together:
                with telemetry.span("document.publish", type=message.type):  # one trace for each document
                    traces.append(telemetry.traceparent().get("traceparent"))
            await outbox.add(connection, self._schema, topic, together, traces)

    async def step(self) -> float:
        """Publish one batch; return the seconds to wait before the next."""
        return await self._relay.step()


def topic_of(message: AnyMessage) -> Topic:
    """Return the topic of a source's message: commands, or events for rejections."""
    return COMMANDS if isinstance(message, COMMANDS.carries) else EVENTS
