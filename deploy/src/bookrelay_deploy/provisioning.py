"""Creates topics as declared in `bookrelay.topics`; existing topics are compared and reported, never changed."""

from collections.abc import Iterable
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, TopicAlreadyExistsError, for_code
from bookrelay.errors import BookrelayError, TransientError
from bookrelay.topics import Topic

from bookrelay_deploy.settings import DeploySettings


@dataclass(frozen=True)
class Provisioned:
    """The result: names of created topics, and sentences about topics that differ from their declaration."""

    created: tuple[str, ...]
    existing: tuple[str, ...]
    warnings: tuple[str, ...]


async def provision(settings: DeploySettings, topics: Iterable[Topic]) -> Provisioned:
    """Create the missing topics; raise KafkaError while the broker is unavailable."""
    wanted = {topic.name: topic for topic in topics}
    reach = {**settings.kafka_security(), "bootstrap_servers": settings.kafka_bootstrap_servers}
    admin = AIOKafkaAdminClient(**reach, client_id="bookrelay-deploy")
    try:
        await admin.start()
        there = set(await admin.list_topics())
        missing = [topic for name, topic in wanted.items() if name not in there]
        created = await _create(admin, settings, missing) if missing else ()
        existing = tuple(sorted(wanted.keys() - set(created)))
        warnings = await _differences(admin, settings, [wanted[name] for name in existing if name in there])
        return Provisioned(created, existing, warnings)
    finally:
        await admin.close()


async def _create(admin: AIOKafkaAdminClient, settings: DeploySettings, topics: list[Topic]) -> tuple[str, ...]:
    new = [
        NewTopic(topic.name, topic.partitions, settings.kafka_replication_factor, topic_configs=config_of(topic, settings))
        for topic in topics
    ]
    await _require_controller(admin)
    try:
        response = await admin.create_topics(new, timeout_ms=20_000)
    except IncompatibleBrokerVersion:
        raise _cannot_create() from None
    created: list[str] = []
    refused: list[str] = []
    for name, code, *rest in response.topic_errors:
        error = for_code(code)
        if code == 0:
            created.append(name)
            continue
        if error is TopicAlreadyExistsError:  # created concurrently, or not yet listed by the broker
            continue
        if error.retriable:
            raise TransientError(f"The topic {name} could not be created yet: {error.__name__}.")
        refused.append(f"{name}: {error.__name__} {rest[0] if rest and rest[0] else ''}".strip())
    if refused:
        raise BookrelayError(
            f"The broker refused to create topics: {'; '.join(refused)}.",
            "Check KAFKA_REPLICATION_FACTOR against the number of brokers.",
        )
    return tuple(created)


async def _require_controller(admin: AIOKafkaAdminClient) -> None:
    cluster = await admin.describe_cluster()
    controller = cluster["controller_id"]
    if controller in {node["node_id"] for node in cluster["brokers"]}:
        return
    if controller < 0:
        raise TransientError("The Kafka cluster has no controller yet.")
    raise _cannot_create()


def _cannot_create() -> BookrelayError:
    return BookrelayError(
        "This broker cannot create topics; the embedded one, for example, cannot.",
        "The embedded stack creates its own topics; otherwise set KAFKA_BOOTSTRAP_SERVERS to an Apache Kafka.",
    )


def config_of(topic: Topic, settings: DeploySettings) -> dict[str, str]:
    """Return a topic's Kafka settings for this cluster."""
    return {**topic.config(), "min.insync.replicas": str(settings.min_insync())}


async def _differences(admin: AIOKafkaAdminClient, settings: DeploySettings, topics: list[Topic]) -> tuple[str, ...]:
    """Return how existing topics differ. They are not changed: more partitions would move keys."""
    if not topics:
        return ()
    warnings: list[str] = []
    by_name = {topic.name: topic for topic in topics}
    for found in await admin.describe_topics(list(by_name)):
        topic = by_name[found["topic"]]
        partitions = len(found["partitions"])
        if partitions != topic.partitions:
            warnings.append(
                f"{topic.name} has {partitions} partitions instead of {topic.partitions}: "
                "changing the number moves keys, so drain the topic first"
            )
        copies = {len(partition["replicas"]) for partition in found["partitions"]}
        if copies != {settings.kafka_replication_factor}:
            warnings.append(
                f"{topic.name} has {sorted(copies)} replicas, KAFKA_REPLICATION_FACTOR is {settings.kafka_replication_factor}"
            )
    warnings += await _config_differences(admin, settings, by_name)
    return tuple(warnings)


async def _config_differences(admin: AIOKafkaAdminClient, settings: DeploySettings, topics: dict[str, Topic]) -> list[str]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
    try:
        responses = await admin.describe_configs(resources)
    except KafkaError:  # some brokers do not support it
        return []
    warnings = []
    for response in responses:
        for _, _, _, name, entries in (resource[:5] for resource in response.resources):
            actual = {entry[0]: entry[1] for entry in entries}
            for key, value in config_of(topics[name], settings).items():
                if key in actual and actual[key] != value:
                    warnings.append(f"{name} has {key}={actual[key]} instead of {value}")
    return warnings
