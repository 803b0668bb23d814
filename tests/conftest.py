"""What tests run on: Postgres from the wheel, and a broker: embedded by default, a real Apache Kafka with BROKER=kafka,
whatever exists with KAFKA_BOOTSTRAP_SERVERS or DATABASE_URL. Started once for a session, when the first test asks."""

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from sandbox.stack.apache_kafka import ApacheKafka, create_topics
from sandbox.stack.embedded_broker import EmbeddedBroker
from sandbox.stack.postgres import Postgres
from secured import Managed, managed

CreateTopic = Callable[[str, int], None]


@pytest.fixture(scope="session")
def stack_directory() -> Iterator[Path]:
    """A directory of this session that Postgres's own user may enter."""
    directory = Path(tempfile.mkdtemp(prefix="bookrelay-tests-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(stack_directory: Path) -> Iterator[str]:
    """A running Postgres; the URL's database is empty and shared: take `database_url` for one of your own."""
    if existing := os.environ.get("DATABASE_URL"):
        yield existing
        return
    server = Postgres(stack_directory / "postgres", ephemeral=True)
    try:
        yield server.start()
    finally:
        server.stop()


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _apart(url: str, statement: str) -> None:
    """Run one statement from a synchronous fixture, whatever event loop is about."""
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(_execute(url, statement))).result()


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """An empty database for one test, gone after it."""
    name = f"test_{uuid.uuid4().hex}"
    _apart(postgres_url, f'CREATE DATABASE "{name}" STRATEGY FILE_COPY')
    yield postgres_url.rpartition("/")[0] + f"/{name}"
    _apart(postgres_url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def managed_parts(stack_directory: Path) -> Iterator[Managed]:
    """An authority, users and a token endpoint, as a managed service has them."""
    made = managed(stack_directory / "managed")
    yield made
    made.tokens.close()


@pytest.fixture(scope="session")
def apache_kafka(stack_directory: Path, managed_parts: Managed) -> Iterator[ApacheKafka]:
    """A real Apache Kafka, also with TLS and SASL; needs BROKER=kafka."""
    if os.environ.get("BROKER") != "kafka" or os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        pytest.skip("needs an Apache Kafka of its own: BROKER=kafka")
    kafka = ApacheKafka(stack_directory / "kafka", secured=managed_parts.kafka())
    kafka.start()
    try:
        asyncio.run(kafka.wait_ready())
        yield kafka
    finally:
        kafka.stop()


@contextmanager
def _embedded() -> Iterator[EmbeddedBroker]:
    embedded = EmbeddedBroker()
    try:
        embedded.start()
        yield embedded
    finally:
        embedded.stop()


@pytest.fixture(scope="session")
def broker(stack_directory: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, CreateTopic]]:
    """The bootstrap servers, and how a topic is made there."""
    if existing := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield existing, lambda name, partitions: _in_thread(existing, name, partitions)
        return
    if os.environ.get("BROKER") == "kafka":
        servers = request.getfixturevalue("apache_kafka").bootstrap_servers
        yield servers, lambda name, partitions: _in_thread(servers, name, partitions)
        return
    with _embedded() as embedded:
        yield embedded.bootstrap_servers, embedded.create_topic


def _in_thread(servers: str, name: str, partitions: int) -> None:
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(create_topics(servers, [(name, partitions, {})]))).result()


@pytest.fixture(scope="session")
def kafka_bootstrap(broker: tuple[str, CreateTopic]) -> str:
    """The bootstrap servers of the session's broker."""
    return broker[0]


@pytest.fixture(scope="session")
def create_topic(broker: tuple[str, CreateTopic]) -> CreateTopic:
    """`create_topic(name, partitions)` on the session's broker; one that is there stays."""
    return broker[1]


@pytest.fixture
def unique_topic(create_topic: CreateTopic) -> str:
    """A topic of one test's own, with three partitions."""
    name = f"test.{uuid.uuid4().hex}.v1"
    create_topic(name, 3)
    return name


@pytest.fixture
def own_broker() -> Iterator[EmbeddedBroker]:
    """An embedded broker of one test's own, to take down, delay and fill with errors."""
    with _embedded() as embedded:
        yield embedded


@pytest.fixture
def second_broker() -> Iterator[EmbeddedBroker]:
    """Another one, for a second writer on the same database: this broker refuses a group's second member for a while."""
    with _embedded() as embedded:
        yield embedded
