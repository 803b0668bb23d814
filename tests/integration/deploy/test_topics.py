"""Provisioning: on a real Apache Kafka what is declared is made, once; the embedded broker is refused with a reason."""

import asyncio
import os
import subprocess
import sys
import uuid

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from bookrelay import topics
from bookrelay.errors import BookrelayError
from bookrelay.topics import Topic
from bookrelay_deploy.provisioning import config_of, provision
from bookrelay_deploy.settings import DeploySettings
from sandbox.stack.embedded_broker import EmbeddedBroker

REAL = os.environ.get("BROKER") == "kafka" or bool(os.environ.get("KAFKA_BOOTSTRAP_SERVERS"))
real_kafka = pytest.mark.skipif(not REAL, reason="the embedded broker cannot create topics; CI runs this on Apache Kafka")
pytestmark = pytest.mark.kafka


def settings_for(bootstrap: str, **more: object) -> DeploySettings:
    return DeploySettings(kafka_bootstrap_servers=bootstrap, **more)  # type: ignore[arg-type]


def topic(partitions: int = 3, retention_ms: int = 3_600_000) -> Topic:
    return Topic(f"test.{uuid.uuid4().hex}.v1", (), "A test's.", partitions, retention_ms)


@real_kafka
async def test_topics_are_made_as_declared_and_only_once(kafka_bootstrap: str) -> None:
    wanted = [topic(), topic(partitions=1)]
    first = await provision(settings_for(kafka_bootstrap), wanted)
    assert set(first.created) == {one.name for one in wanted}
    assert first.warnings == ()
    again = await provision(settings_for(kafka_bootstrap), wanted)
    assert again.created == ()
    assert set(again.existing) == {one.name for one in wanted}
    assert again.warnings == ()


@real_kafka
async def test_two_provisioners_at_once_do_not_fail(kafka_bootstrap: str) -> None:
    wanted = [topic() for _ in range(5)]
    await asyncio.gather(*(provision(settings_for(kafka_bootstrap), wanted) for _ in range(3)))
    assert (await provision(settings_for(kafka_bootstrap), wanted)).created == ()


@real_kafka
async def test_a_topic_that_differs_is_reported_and_left_alone(kafka_bootstrap: str) -> None:
    declared = topic(partitions=2)
    await provision(settings_for(kafka_bootstrap), [declared])
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    await admin.create_partitions({declared.name: NewPartitions(4)})
    await admin.close()
    changed = Topic(declared.name, (), "A test's.", 2, 7_200_000)
    for _ in range(600):  # the new partitions take a moment to show
        done = await provision(settings_for(kafka_bootstrap), [changed])
        if len(done.warnings) == 2:
            break
        await asyncio.sleep(0.1)
    assert any("has 4 partitions instead of 2" in warning for warning in done.warnings)
    assert any("retention.ms=3600000 instead of 7200000" in warning for warning in done.warnings)


@real_kafka
async def test_more_copies_than_brokers_are_refused_with_the_setting(kafka_bootstrap: str) -> None:
    with pytest.raises(BookrelayError, match="InvalidReplicationFactor") as caught:
        await provision(settings_for(kafka_bootstrap, kafka_replication_factor=9), [topic()])
    assert "KAFKA_REPLICATION_FACTOR" in caught.value.fix


async def test_a_broker_that_cannot_create_topics_is_named(own_broker: EmbeddedBroker) -> None:
    with pytest.raises(BookrelayError, match="cannot create topics"):
        await provision(settings_for(own_broker.bootstrap_servers), [topic()])


def test_a_kafka_that_does_not_come_ends_with_a_reason() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from bookrelay_deploy.main import main; main()", "topics"],
        env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "DEPLOY_WAIT_SECONDS": "0.3"},
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert (
        "Kafka at 127.0.0.1:1 cannot be reached: connection refused. Gave up after 0.3 s. Start it"
        in done.stderr.splitlines()[-1]
    )


def test_copies_that_must_acknowledge_follow_from_the_copies() -> None:
    assert config_of(topics.COMMANDS, settings_for("x:1"))["min.insync.replicas"] == "1"
    assert config_of(topics.COMMANDS, settings_for("x:1", kafka_replication_factor=3))["min.insync.replicas"] == "2"
    chosen = settings_for("x:1", kafka_replication_factor=3, kafka_min_insync_replicas=1)
    assert config_of(topics.COMMANDS, chosen)["min.insync.replicas"] == "1"


def test_every_topic_and_dead_letter_topic_is_provisioned() -> None:
    names = [one.name for one in topics.all_topics()]
    assert len(names) == len(set(names))
    assert {one.name for one in topics.TOPICS} <= set(names)
    for read, group in topics.SUBSCRIPTIONS:
        assert f"{read.name}.{group}.dlt" in names
