"""The EMR stand-in in a process of its own, a migrated database, the topics, and the poller in process or as a process."""

import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from bookrelay import topics
from bookrelay.db import close_pool, open_pool
from bookrelay.kafka import Publisher
from bookrelay_deploy.migrating import migrate
from emr_poller.settings import Settings
from emr_support import Poller, Practice, poller_of
from running import ServiceProcess


@pytest.fixture
def practice() -> Iterator[Practice]:
    """A practice without quotes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox.main", "emr", "--quotes", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        yield Practice(facts["base_url"], facts["control_url"], facts["headers"])
    finally:
        process.terminate()
        process.wait(60)
        if process.stdout:
            process.stdout.close()


@pytest.fixture
def bus(kafka_bootstrap: str, create_topic: Callable[[str, int], None]) -> str:
    """The session's broker with bookrelay's topics."""
    for topic in topics.all_topics():
        create_topic(topic.name, topic.partitions)
    return kafka_bootstrap


@pytest.fixture
async def migrated(database_url: str) -> str:
    """An own database with the poller's tables."""
    await migrate(database_url, ["emr_poller"])
    return database_url


@pytest.fixture
def environment(practice: Practice, bus: str, migrated: str) -> dict[str, str]:
    """The poller's settings; each test has a company of its own, for the topics are shared."""
    return {
        "DATABASE_URL": migrated, "KAFKA_BOOTSTRAP_SERVERS": bus, "QBO_REALM_ID": str(uuid.uuid4().int)[:16],
        "EMR_BASE_URL": practice.base_url, "EMR_CLIENT_ID": practice.headers["client-id"],
        "EMR_CLIENT_SECRET": practice.headers["client-secret"], "EMR_SUBSCRIPTION_KEY": practice.headers["subscription-key"],
        "EMR_POLL_SECONDS": "0.2", "EMR_RETRY_SECONDS": "0.2", "EMR_PAUSED_SECONDS": "0.3",
        "EMR_START_FROM": "2020-01-01T00:00:00Z",
    }  # fmt: skip


@pytest.fixture
async def poller(environment: dict[str, str]) -> AsyncIterator[Poller]:
    """The poller in process."""
    settings = Settings.load(environment)
    pool = await open_pool(settings, application_name="test")
    publisher = Publisher(settings.kafka_bootstrap_servers, "test")
    await publisher.start()
    async with poller_of(environment, pool, publisher) as made:
        yield made
    await publisher.stop()
    await close_pool(pool)


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., ServiceProcess]]:
    """`start(**settings)` runs the poller as a process; all of them end with the test."""
    started: list[ServiceProcess] = []

    def begin(**settings: str) -> ServiceProcess:
        service = ServiceProcess("emr_poller", environment | settings, tmp_path / f"poller-{len(started)}.log")
        started.append(service)
        return service

    yield begin
    for service in started:
        if service.process.poll() is None:
            service.kill()
