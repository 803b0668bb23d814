"""A real Apache Kafka 4 as `make up` runs it. With BROKER=kafka it must work; otherwise only its words are tested."""

import os
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from sandbox.stack import apache_kafka
from sandbox.stack.apache_kafka import ApacheKafka
from sandbox.stack.processes import ProcessFailedError
from sandbox.stack.stack import Stack

real = pytest.mark.skipif(os.environ.get("BROKER") != "kafka", reason="needs BROKER=kafka")


def test_jars_out_of_reach_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(apache_kafka, "COORDINATES", "invalid.bookrelay:nothing:0.0.1")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ProcessFailedError, match="BROKER=embedded"):
        ApacheKafka(tmp_path / "kafka").start()


@real
async def test_killed_kafka_comes_back_on_its_port_with_its_records(tmp_path: Path) -> None:
    topics = [("kept.v1", 2, {"retention.ms": "3600000"})]
    first = ApacheKafka(tmp_path)
    first.start()
    try:
        await first.wait_ready(topics)
        producer = AIOKafkaProducer(bootstrap_servers=first.bootstrap_servers, acks="all", enable_idempotence=True)
        await producer.start()
        await producer.send_and_wait("kept.v1", b"kept", partition=1)
        await producer.stop()
        first.kill()
        again = ApacheKafka(tmp_path)
        assert again.start() == first.bootstrap_servers
        try:
            await again.wait_ready(topics)
            consumer = AIOKafkaConsumer("kept.v1", bootstrap_servers=again.bootstrap_servers, auto_offset_reset="earliest")
            await consumer.start()
            assert (await consumer.getone()).value == b"kept"
            await consumer.stop()
            admin = AIOKafkaAdminClient(bootstrap_servers=again.bootstrap_servers)
            await admin.start()
            answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, "kept.v1")])
            values = {entry[0]: entry[1] for entry in answers[0].resources[0][4]}
            await admin.close()
            assert values["retention.ms"] == "3600000"
        finally:
            again.stop()
    finally:
        first.stop()


@real
async def test_stack_on_kafka_creates_topics_and_ends() -> None:
    async with Stack(broker="kafka", topics=[("a.v1", 6, {})]) as stack:
        producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap_servers)
        await producer.start()
        assert len(await producer.partitions_for("a.v1")) == 6
        await producer.stop()
