"""Consuming on a broker that speaks the protocol: nothing is passed over, nothing readable is dead-lettered."""

import asyncio
import decimal
import json
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from bookrelay import kafka, messages
from bookrelay.errors import PermanentError, TransientError
from bookrelay.kafka import Publisher, Received, consume, new_broker
from bookrelay.settings import ServiceSettings
from bookrelay.topics import Topic
from running import until

pytestmark = pytest.mark.kafka
GROUP = "reader"


def message(number: int) -> messages.BooksChanged:
    data = messages.BooksChangedData(
        realm="1", entity="Invoice", entity_id=str(number), operation="updated", changed_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    return messages.BooksChanged.of(data, sender="test", time=data.changed_at)


class Reader:
    """Collects what its handler was given; `failures` are raised first, one for each call."""

    def __init__(self, failures: Sequence[BaseException] = (), refuse: Callable[[str], bool] = lambda _: False) -> None:
        self.calls: list[list[str]] = []
        self.times: list[float] = []
        self.handled: list[str] = []
        self.headers: dict[str, dict[str, str]] = {}
        self._failures, self._refuse = list(failures), refuse

    async def __call__(self, batch: Sequence[Received[Any]]) -> None:
        ids = [received.message.data.entity_id for received in batch]
        self.calls.append(ids)
        self.times.append(time.monotonic())
        if self._failures:
            raise self._failures.pop(0)
        if any(self._refuse(one) for one in ids):
            raise PermanentError("this one can never be handled.")
        self.handled += ids
        self.headers |= {one: received.headers for one, received in zip(ids, batch, strict=True)}

    async def until(self, done: Callable[[], bool], within: float = 60) -> None:
        deadline = time.monotonic() + within
        while not done():
            assert time.monotonic() < deadline, f"handled: {self.handled}, calls: {self.calls}"
            await asyncio.sleep(0.02)


class Address(str):
    """Bootstrap servers, and how they are reached: the settings of a client, and what aiokafka is given."""

    __slots__ = ("environment", "security")


def security_of(servers: str) -> dict[str, Any]:
    return servers.security if isinstance(servers, Address) else {}


MANAGED = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "mutual")
over_all = pytest.mark.parametrize("kafka_bootstrap", ["open", *MANAGED], indirect=True)
"""The acknowledgement part of this suite also runs as with a managed Kafka: over SASL_SSL, and with client certificates."""


@pytest.fixture
def kafka_bootstrap(broker: tuple[str, Any], request: pytest.FixtureRequest) -> str:
    how = getattr(request, "param", "open")
    if how == "open":
        return broker[0]
    kafka, managed = request.getfixturevalue("apache_kafka"), request.getfixturevalue("managed_parts")
    address = Address(f"127.0.0.1:{kafka.port_of('MUTUAL' if how == 'mutual' else 'SASL')}")
    address.environment = {
        **managed.environment(how), "KAFKA_BOOTSTRAP_SERVERS": str(address), "DATABASE_URL": "postgresql://u@127.0.0.1:1/unused"
    }  # fmt: skip
    address.security = ServiceSettings.load(address.environment).kafka_security()
    return address


@pytest.fixture
def topic(kafka_bootstrap: str, create_topic: Callable[[str, int], None]) -> Topic:
    made = Topic(f"test.{uuid.uuid4().hex}.v1", messages.CHANGES, "A test's.", 1)
    create_topic(made.name, 1)
    create_topic(made.dead_letters(GROUP).name, 1)
    return made


@pytest.fixture
async def publisher(kafka_bootstrap: str) -> AsyncIterator[Publisher]:
    made = Publisher(kafka_bootstrap, "test", security_of(kafka_bootstrap))
    await made.start()
    yield made
    await made.stop()


@asynccontextmanager
async def reading(
    servers: str, topic: Topic, handler: Callable[..., Awaitable[None]], publisher: Publisher, **more: Any
) -> AsyncIterator[None]:
    broker = new_broker(servers, "test-reader", security_of(servers))
    consume(broker, topic, GROUP, handler, publisher, **more)
    await broker.start()
    try:
        yield
    finally:
        await broker.stop()


async def committed(servers: str, topic: Topic) -> int:
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, group_id=GROUP, enable_auto_commit=False, **security_of(servers))
    await consumer.start()
    try:
        return await consumer.committed(TopicPartition(topic.name, 0)) or 0
    finally:
        await consumer.stop()


async def until_committed(servers: str, topic: Topic, offset: int) -> None:
    """The handler has returned; a moment later, while the reader runs, its offset is committed, and no further one."""

    async def so() -> bool:
        return await committed(servers, topic) >= offset

    await until(so)
    assert await committed(servers, topic) == offset


async def stored(servers: str, name: str, count: int) -> list[Any]:
    consumer = AIOKafkaConsumer(
        name, bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False, **security_of(servers)
    )
    await consumer.start()
    try:
        found: list[Any] = []
        deadline = time.monotonic() + 60
        while len(found) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} records in {name}"
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
        return found
    finally:
        await consumer.stop()


async def raw(servers: str, topic: Topic, *records: tuple[bytes | None, bytes | None, list[tuple[str, Any]]]) -> None:
    """Write records as anybody might: any bytes, any headers."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", **security_of(servers))
    await producer.start()
    try:
        for key, value, headers in records:
            await producer.send_and_wait(topic.name, value, key=key, headers=headers)
    finally:
        await producer.stop()


@over_all
async def test_everything_is_handled_in_order_and_committed(kafka_bootstrap: str, topic: Topic, publisher: Publisher) -> None:
    reader = Reader()
    await publisher.publish(topic, [message(number) for number in range(1200)])
    async with reading(kafka_bootstrap, topic, reader, publisher):
        await reader.until(lambda: len(reader.handled) == 1200)
        await until_committed(kafka_bootstrap, topic, 1200)
    assert reader.handled == [str(number) for number in range(1200)]
    assert max(len(call) for call in reader.calls) <= kafka.BATCH_RECORDS


@over_all
async def test_nothing_is_committed_before_the_handler_has_returned(
    kafka_bootstrap: str, topic: Topic, publisher: Publisher
) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(_: Sequence[Received[Any]]) -> None:
        entered.set()
        await leave.wait()

    await publisher.publish(topic, [message(1)])
    async with reading(kafka_bootstrap, topic, slow, publisher):
        await asyncio.wait_for(entered.wait(), 60)
        assert await committed(kafka_bootstrap, topic) == 0
        leave.set()
        await until_committed(kafka_bootstrap, topic, 1)


@over_all
async def test_a_passing_failure_hands_the_whole_batch_over_again(
    kafka_bootstrap: str, topic: Topic, publisher: Publisher
) -> None:
    reader = Reader([TransientError("the ledger is away."), ConnectionResetError("again")])
    await publisher.publish(topic, [message(number) for number in range(5)])
    async with reading(kafka_bootstrap, topic, reader, publisher):
        await reader.until(lambda: len(reader.handled) == 5)
        await until_committed(kafka_bootstrap, topic, 5)
    assert reader.handled == ["0", "1", "2", "3", "4"]
    assert reader.calls[0][0] == reader.calls[1][0] == "0"


async def test_a_failing_handler_is_not_called_in_a_storm(kafka_bootstrap: str, topic: Topic, publisher: Publisher) -> None:
    """Without the wait, NACK_ON_ERROR called a failing handler 4,564 times in 3 s."""
    reader = Reader([OSError("away")] * 100)
    await publisher.publish(topic, [message(1)])
    async with reading(kafka_bootstrap, topic, reader, publisher):
        await reader.until(lambda: len(reader.calls) >= 4)
        gaps = [later - earlier for earlier, later in zip(reader.times, reader.times[1:], strict=False)]
    for gap, least in zip(gaps, kafka.BACKOFF_SECONDS, strict=False):
        assert gap >= least * 0.95


async def test_the_wait_grows_no_further_than_its_bound_and_starts_again(
    kafka_bootstrap: str, topic: Topic, publisher: Publisher
) -> None:
    reader = Reader([OSError("away")] * 6)
    await publisher.publish(topic, [message(1)])
    async with reading(kafka_bootstrap, topic, reader, publisher, waits=(0.01, 0.05)):
        await reader.until(lambda: reader.handled == ["1"])
        reader._failures = [OSError("away")]
        await publisher.publish(topic, [message(2)])
        await reader.until(lambda: reader.handled == ["1", "2"])
    assert len(reader.calls) == 9


HANGING = """
import asyncio, sys
from bookrelay import messages
from bookrelay.kafka import Publisher, consume, new_broker
from bookrelay.settings import ServiceSettings
from bookrelay.topics import Topic

async def hanging(batch):
    print(len(batch), flush=True)
    await asyncio.Event().wait()

async def main(name):
    settings = ServiceSettings.load()
    servers, security = settings.kafka_bootstrap_servers, settings.kafka_security()
    publisher = Publisher(servers, "doomed", security)
    await publisher.start()
    broker = new_broker(servers, "doomed", security)
    consume(broker, Topic(name, messages.CHANGES, "", 1), "reader", hanging, publisher)
    await broker.start()
    await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""


@over_all
async def test_a_reader_that_was_killed_leaves_its_batch_to_the_next(
    kafka_bootstrap: str, topic: Topic, publisher: Publisher
) -> None:
    """SIGKILL in the middle of a batch: its offset was not committed, so it comes again."""
    open_address = {"KAFKA_BOOTSTRAP_SERVERS": str(kafka_bootstrap), "DATABASE_URL": "postgresql://u@127.0.0.1:1/unused"}
    environment = kafka_bootstrap.environment if isinstance(kafka_bootstrap, Address) else open_address
    await publisher.publish(topic, [message(number) for number in range(3)])
    doomed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HANGING, topic.name, stdout=asyncio.subprocess.PIPE, env={**os.environ, **environment}
    )
    try:
        assert doomed.stdout
        assert int(await asyncio.wait_for(doomed.stdout.readline(), 90)) >= 1
    finally:
        doomed.kill()
        await doomed.wait()
    assert await committed(kafka_bootstrap, topic) == 0
    reader = Reader()
    async with reading(kafka_bootstrap, topic, reader, publisher):
        await reader.until(lambda: reader.handled == ["0", "1", "2"], within=120)
        await until_committed(kafka_bootstrap, topic, 3)


@pytest.mark.parametrize(
    "headers",
    [
        [("traceparent", None)],
        [("broken", b"\xff\xfe")],
        [("content-type", b"\x80"), ("", b""), ("a", b"1"), ("a", b"2")],
    ],
    ids=["null", "not UTF-8", "odd"],
)
async def test_a_record_with_bad_headers_is_read(
    kafka_bootstrap: str, topic: Topic, publisher: Publisher, headers: list[tuple[str, Any]]
) -> None:
    """FastStream's own parser fails before any middleware, and the next commit passes the record over."""
    reader = Reader()
    first, second = message(1), message(2)
    await raw(kafka_bootstrap, topic, (b"k", first.encode(), headers), (b"k", second.encode(), []))
    async with reading(kafka_bootstrap, topic, reader, publisher):
        await reader.until(lambda: reader.handled == ["1", "2"])
        await until_committed(kafka_bootstrap, topic, 2)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"{", "Invalid JSON"), (b"", "Invalid JSON"), (None, "a tombstone"), (b"\xff\xff", "Invalid JSON"),
        (b"[]", "should be an object"),
        (b'{"type":"bookrelay.books.changed.v1"}', "Field required"), (b"null", "should be an object"),
    ],
)  # fmt: skip
async def test_a_poison_record_goes_to_the_dead_letters_as_it_was(
    kafka_bootstrap: str, topic: Topic, publisher: Publisher, value: bytes | None, reason: str
) -> None:
    reader = Reader()
    odd = [("traceparent", b"00-aa-bb-01"), ("nothing", None), ("content-type", b"x")]
    await raw(kafka_bootstrap, topic, (b"a", message(1).encode(), []), (b"poison", value, odd), (b"c", message(3).encode(), []))
    async with reading(kafka_bootstrap, topic, reader, publisher):
        await reader.until(lambda: reader.handled == ["1", "3"])
        (dead,) = await stored(kafka_bootstrap, topic.dead_letters(GROUP).name, 1)
        await until_committed(kafka_bootstrap, topic, 3)
    assert (dead.key, dead.value) == (b"poison", value)
    headers = {name: content.decode() for name, content in dead.headers}
    assert reason in headers["dlt-reason"]
    assert headers["dlt-topic"] == topic.name
    assert (headers["dlt-partition"], headers["dlt-offset"], headers["dlt-group"], headers["dlt-attempts"]) == (
        "0",
        "1",
        GROUP,
        "1",
    )
    assert headers["traceparent"] == "00-aa-bb-01"


async def test_a_dead_letter_that_is_sent_back_and_fails_again_counts_on(
    kafka_bootstrap: str, topic: Topic, publisher: Publisher
) -> None:
    await raw(kafka_bootstrap, topic, (b"k", b"{", [("dlt-attempts", b"2"), ("dlt-reason", b"old")]))
    reader = Reader()
    async with reading(kafka_bootstrap, topic, reader, publisher):
        (dead,) = await stored(kafka_bootstrap, topic.dead_letters(GROUP).name, 1)
    headers = dict(dead.headers)
    assert headers["dlt-attempts"] == b"3"
    assert headers["dlt-reason"] != b"old"


@over_all
async def test_a_record_that_the_handler_refuses_is_put_aside_alone(
    kafka_bootstrap: str, topic: Topic, publisher: Publisher
) -> None:
    reader = Reader(refuse=lambda one: one == "2")
    await publisher.publish(topic, [message(number) for number in range(5)])
    async with reading(kafka_bootstrap, topic, reader, publisher):
        await reader.until(lambda: reader.handled == ["0", "1", "3", "4"])
        (dead,) = await stored(kafka_bootstrap, topic.dead_letters(GROUP).name, 1)
    assert json.loads(dead.value)["data"]["entity_id"] == "2"
    assert b"can never be handled" in dict(dead.headers)["dlt-reason"]


async def test_no_reason_repeats_what_stood_in_the_record(kafka_bootstrap: str, topic: Topic, publisher: Publisher) -> None:
    reader = Reader()
    canary = message(1).encode().replace(b'"operation":"updated"', b'"operation":["MariaCanary"]')
    await raw(kafka_bootstrap, topic, (b"k", canary, []))
    async with reading(kafka_bootstrap, topic, reader, publisher):
        (dead,) = await stored(kafka_bootstrap, topic.dead_letters(GROUP).name, 1)
    assert b"MariaCanary" in dead.value
    assert not any(b"MariaCanary" in (content or b"") for _, content in dead.headers)


async def test_a_trace_is_carried_from_publisher_to_handler(kafka_bootstrap: str, topic: Topic, publisher: Publisher) -> None:
    from bookrelay import telemetry

    telemetry.setup_tracing("test", None)
    reader = Reader()
    with telemetry.span("publishing"):
        trace = telemetry.traceparent()["traceparent"].split("-")[1]
        await publisher.publish(topic, [message(1)])
    async with reading(kafka_bootstrap, topic, reader, publisher):
        await reader.until(lambda: reader.handled == ["1"])
    assert reader.headers["1"]["traceparent"].split("-")[1] == trace
    assert reader.headers["1"]["content-type"] == "application/cloudevents+json"


OF_RECORD = [
    asyncpg.UntranslatableCharacterError("\\u0000 cannot be converted to text."),
    asyncpg.CharacterNotInRepertoireError("invalid byte sequence"),
    asyncpg.DataError("invalid input for query argument $1: 'MariaCanary'"),
    asyncpg.NumericValueOutOfRangeError("out of range"),
    asyncpg.ProgramLimitExceededError("index row size 3040 exceeds btree version 4 maximum 2704"),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    OverflowError("date value out of range"),
    RecursionError("too deep"),
    decimal.Overflow(),
    KeyError("a defect that one record shows"),
]


@pytest.mark.parametrize("error", OF_RECORD, ids=lambda error: type(error).__name__)
async def test_a_record_that_fails_for_what_it_is_is_put_aside_alone(
    kafka_bootstrap: str, topic: Topic, publisher: Publisher, error: Exception
) -> None:
    reader = Failing({"2": error})
    await publisher.publish(topic, [message(number) for number in range(5)])
    async with reading(kafka_bootstrap, topic, reader, publisher, waits=(0.01,)):
        await reader.until(lambda: {"0", "1", "3", "4"} <= set(reader.handled))
        (dead,) = await stored(kafka_bootstrap, topic.dead_letters(GROUP).name, 1)
        await until_committed(kafka_bootstrap, topic, 5)
    assert json.loads(dead.value)["data"]["entity_id"] == "2"
    assert b"MariaCanary" not in dict(dead.headers)["dlt-reason"]


OF_SURROUNDINGS = [
    asyncpg.CannotConnectNowError("the database system is starting up"),
    asyncpg.DiskFullError("no space left on device"),
    asyncpg.InsufficientPrivilegeError("permission denied"),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.DeadlockDetectedError("deadlock"),
    asyncpg.QueryCanceledError("statement timeout"),
    TimeoutError(),
    MemoryError(),
]


@pytest.mark.parametrize("error", OF_SURROUNDINGS, ids=lambda error: type(error).__name__)
async def test_an_outage_makes_no_dead_letter_however_long_it_lasts(
    kafka_bootstrap: str, topic: Topic, publisher: Publisher, error: Exception
) -> None:
    reader = Failing({"2": error}, times=kafka.UNKNOWN_FAILURES + 5)
    await publisher.publish(topic, [message(number) for number in range(5)])
    async with reading(kafka_bootstrap, topic, reader, publisher, waits=(0.01,)):
        await reader.until(lambda: "2" in reader.handled)
        await until_committed(kafka_bootstrap, topic, 5)
    assert reader.raised == kafka.UNKNOWN_FAILURES + 5


async def test_a_defect_that_every_record_shows_puts_none_aside(kafka_bootstrap: str, topic: Topic, publisher: Publisher) -> None:
    """A wrong version of ours must not empty a topic into its dead letters."""
    broken: dict[str, Exception] = {str(number): KeyError("all of them") for number in range(5)}
    reader = Failing(broken, times=42)  # seven tries: all at once, then one by one
    await publisher.publish(topic, [message(number) for number in range(5)])
    async with reading(kafka_bootstrap, topic, reader, publisher, waits=(0.01,)):
        await reader.until(lambda: len(set(reader.handled)) == 5)
        await until_committed(kafka_bootstrap, topic, 5)
    assert reader.raised >= 42


class Failing(Reader):
    """Raises an error whenever it is given one of some records; after so many times no more, from a first record "0" on."""

    def __init__(self, errors: dict[str, Exception], times: int = 1000) -> None:
        super().__init__()
        self._errors, self._times, self.raised = errors, times, 0

    async def __call__(self, batch: Sequence[Received[Any]]) -> None:
        if self.raised >= self._times and batch[0].message.data.entity_id == "0":  # not in the middle of a round: one by one
            self._errors = {}
        for received in batch:
            error = self._errors.get(received.message.data.entity_id)
            if error:
                self.raised += 1
                raise error
        await super().__call__(batch)


@pytest.mark.postgres
async def test_what_a_real_postgres_refuses_is_put_aside_alone(
    kafka_bootstrap: str, topic: Topic, publisher: Publisher, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE seen (id text PRIMARY KEY, n bigint)")
    long_key = "".join(chr(0x10000 + n) for n in range(1000))  # four bytes each, and nothing to compress

    async def store(batch: Sequence[Received[Any]]) -> None:
        rows = [(received.message.data.entity_id, received.message.data.operation) for received in batch]
        await connection.executemany(
            "INSERT INTO seen VALUES ($1, $2) ON CONFLICT DO NOTHING", [(id_, 10**20 if op == "big" else 1) for id_, op in rows]
        )

    def one(id_: str, operation: str = "updated") -> messages.BooksChanged:
        data = messages.BooksChangedData(
            realm="1", entity="Invoice", entity_id=id_, operation=operation, changed_at=datetime(2026, 1, 1, tzinfo=UTC)
        )
        return messages.BooksChanged.of(data, sender="test", time=data.changed_at)

    await publisher.publish(topic, [one("1"), one(long_key), one("2"), one("3", "big"), one("4")])
    try:
        async with reading(kafka_bootstrap, topic, store, publisher):
            dead = await stored(kafka_bootstrap, topic.dead_letters(GROUP).name, 2)
            await until_committed(kafka_bootstrap, topic, 5)
        assert [row[0] for row in await connection.fetch("SELECT id FROM seen ORDER BY id")] == ["1", "2", "4"]
    finally:
        await connection.close()
    reasons = [dict(letter.headers)["dlt-reason"].decode() for letter in dead]
    assert "index row size" in reasons[0]
    assert "Postgres cannot store it (Data)" in reasons[1]
