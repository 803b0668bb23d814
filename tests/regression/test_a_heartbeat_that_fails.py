"""A broker had forgotten the group: aiokafka's heartbeat ended for good, and the service was "ready" and read nothing more."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from bookrelay import messages
from bookrelay.kafka import Publisher, Received, consume, new_broker
from bookrelay.topics import Topic
from running import until
from sandbox.stack.embedded_broker import EmbeddedBroker

pytestmark = pytest.mark.kafka
UNKNOWN_SERVER_ERROR, GROUP_ID_NOT_FOUND = -1, 69
TOPIC = Topic("test.v1", messages.CHANGES, "A test's.", 1)


def change(number: int) -> messages.BooksChanged:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    data = messages.BooksChangedData(
        realm="1", entity="Invoice", entity_id=str(number), operation="updated", changed_at=moment
    )  # fmt: skip
    return messages.BooksChanged.of(data, sender="test", time=moment)


@pytest.mark.parametrize("code", [UNKNOWN_SERVER_ERROR, GROUP_ID_NOT_FOUND])
async def test_the_consumer_joins_again(own_broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture, code: int) -> None:
    own_broker.create_topic(TOPIC.name, 1)
    handled: list[str] = []

    async def handle(records: Sequence[Received[Any]]) -> None:
        handled.extend(record.message.data.entity_id for record in records)

    publisher = Publisher(own_broker.bootstrap_servers, "test")
    await publisher.start()
    broker = new_broker(own_broker.bootstrap_servers, "test")
    consume(broker, TOPIC, "reader", handle, publisher)
    await broker.start()
    try:
        await publisher.publish(TOPIC, [change(1)])
        await until(lambda: handled == ["1"])
        with caplog.at_level(logging.ERROR):
            own_broker.push_errors("Heartbeat", [code])
            await until(lambda: "Unexpected exception in heartbeat task" in caplog.text)
        await publisher.publish(TOPIC, [change(2)])
        await until(lambda: handled == ["1", "2"], 60)
    finally:
        await broker.stop()
        await publisher.stop()
