"""A record that the broker refuses is told apart from a broker that is away, and the producer works on afterwards."""

import os
import random
import uuid

import pytest
from aiokafka.errors import KafkaError
from bookrelay import limits
from bookrelay.errors import RecordRefusedError
from bookrelay.kafka import Publisher
from sandbox.stack.apache_kafka import create_topics
from sandbox.stack.embedded_broker import EmbeddedBroker

pytestmark = pytest.mark.kafka
TOO_LARGE, OUT_OF_ORDER = 10, 45


async def test_a_refused_record_is_an_error_of_its_own_and_the_next_one_leaves(own_broker: EmbeddedBroker) -> None:
    own_broker.create_topic("t", 1)
    publisher = Publisher(own_broker.bootstrap_servers, "test")
    await publisher.start()
    try:
        own_broker.push_errors("Produce", [TOO_LARGE])
        with pytest.raises(RecordRefusedError, match="MessageSizeTooLarge"):
            await publisher.publish_encoded("t", [(b"k", b"v", {})])
        await publisher.publish_encoded("t", [(b"k", b"v", {})])
        own_broker.push_errors("Produce", [OUT_OF_ORDER])
        with pytest.raises(KafkaError):
            await publisher.publish_encoded("t", [(b"k", b"v", {})])
        await publisher.publish_encoded("t", [(b"k", b"v", {})])
    finally:
        await publisher.stop()


async def test_a_record_beyond_the_limit_is_refused_before_anything_is_sent() -> None:
    publisher = Publisher("127.0.0.1:1", "test")
    publisher._producer = object()
    with pytest.raises(RecordRefusedError, match=r"would be 1,000,\d+ bytes; the limit is 1,000,000"):
        await publisher.publish_encoded("t", [(b"k", b"v", {}), (b"k", b"v" * limits.RECORD_BYTES, {})])


@pytest.mark.skipif(os.environ.get("BROKER") != "kafka", reason="the embedded broker has no limit and counts no sequences")
async def test_a_real_broker_with_a_lower_limit_refuses_one_and_takes_the_next(kafka_bootstrap: str) -> None:
    name = f"test.{uuid.uuid4().hex}.v1"
    await create_topics(kafka_bootstrap, [(name, 1, {"max.message.bytes": "50000"})])
    publisher = Publisher(kafka_bootstrap, "test")
    await publisher.start()
    try:
        for _ in range(3):
            with pytest.raises(RecordRefusedError):
                await publisher.publish_encoded(name, [(b"k", b"v", {}), (b"k", random.Random(1).randbytes(200_000), {})])
            await publisher.publish_encoded(name, [(b"k", b"v", {})] * 5)
    finally:
        await publisher.stop()
