"""An outage of Kafka held a loop fast in one publish for as long as it lasted: "not live" after five minutes, events twice."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaTimeoutError
from bookrelay.kafka import GIVE_UP_SECONDS, Publisher
from bookrelay.outbox import PUBLISH_SECONDS
from running import until
from sandbox.stack.embedded_broker import EmbeddedBroker

pytestmark = pytest.mark.kafka


async def stored(broker: EmbeddedBroker, until_value: bytes) -> list[bytes]:
    """Return what stands in the topic up to the first record with this value."""
    consumer = AIOKafkaConsumer("t", bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    found: list[bytes] = []
    try:
        async with asyncio.timeout(60):
            while until_value not in found:
                found.append((await consumer.getone()).value or b"")
    finally:
        await consumer.stop()
    return found


async def test_it_fails_while_the_broker_is_away_and_leaves_one_copy_behind(own_broker: EmbeddedBroker) -> None:
    own_broker.create_topic("t", 1)
    publisher = Publisher(own_broker.bootstrap_servers, "test", give_up_seconds=4)
    await publisher.start()
    tries = 0

    async def publish(value: bytes) -> bool:
        nonlocal tries
        tries += 1
        try:
            await publisher.publish_encoded("t", [(b"key", value, {})])
        except KafkaTimeoutError:
            return False
        return True

    try:
        assert await publish(b"before")
        own_broker.set_down()
        assert not await publish(b"event")
        for _ in range(20):  # as a loop does, again and again: they are refused at once
            assert not await publish(b"event")
        own_broker.set_up()
        await until(lambda: publish(b"event"))
        assert await publish(b"after")
        assert await stored(own_broker, b"after") == [b"before", b"event", b"event", b"after"]
        assert tries >= 24
    finally:
        await publisher.stop()


def test_the_relay_s_transaction_lives_longer_than_the_publisher_waits() -> None:
    """Postgres ended it while the relay waited: what was published could not be marked."""
    assert PUBLISH_SECONDS > GIVE_UP_SECONDS
