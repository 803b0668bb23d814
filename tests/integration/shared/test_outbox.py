"""The outbox on real Postgres: what is committed is published, in order, at least once, and what is rolled back is not."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime

import pytest
from bookrelay import limits, metrics, outbox
from bookrelay.db import IDLE_SECONDS, Pool, close_pool, open_pool, transaction
from bookrelay.errors import RecordRefusedError
from bookrelay.messages import BooksChanged, BooksChangedData
from bookrelay.settings import ServiceSettings
from bookrelay.topics import CHANGES
from bookrelay_deploy.migrating import migrate
from running import until

pytestmark = pytest.mark.postgres
SCHEMA = "qbo_writer"
Record = tuple[str, bytes | None, bytes | None]


class FakePublisher:
    """Takes what the relay publishes; fails, or stops in the middle, if told so."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.failure: Exception | None = None
        self.crash_after: BaseException | None = None
        self.gate: asyncio.Event | None = None
        self.refused: set[bytes | None] = set()

    async def publish_encoded(self, topic: str, records: Iterable[tuple[bytes | None, bytes | None, dict[str, str]]]) -> None:
        if self.gate:
            await self.gate.wait()
        if self.failure:
            raise self.failure
        records = list(records)
        if any(key in self.refused for key, _, _ in records):
            raise RecordRefusedError("The broker refuses it.")
        self.records += [(topic, key, value) for key, value, _ in records]
        if self.crash_after:
            raise self.crash_after


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    await migrate(database_url, [SCHEMA])
    opened = await open_pool(ServiceSettings.load({"DATABASE_URL": database_url}), application_name="test")
    yield opened
    await close_pool(opened)


def message(number: int, entity: str = "Invoice") -> BooksChanged:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    data = BooksChangedData(realm="1", entity=entity, entity_id=str(number), operation="updated", changed_at=moment)
    return BooksChanged.of(data, sender="test", time=moment)


async def put(pool: Pool, *numbers: int) -> None:
    async with transaction(pool) as connection:
        await outbox.add(connection, SCHEMA, CHANGES, [message(number) for number in numbers])


async def pending(pool: Pool) -> int:
    value = await pool.fetchval(f"SELECT count(*) FROM {SCHEMA}.outbox WHERE published_at IS NULL")
    assert isinstance(value, int)
    return value


def relay(pool: Pool, publisher: FakePublisher) -> outbox.Relay:
    return outbox.Relay(pool, SCHEMA, publisher)  # type: ignore[arg-type]


async def test_what_was_committed_is_published_byte_for_byte_in_order(pool: Pool) -> None:
    publisher = FakePublisher()
    await put(pool, 1, 2)
    await put(pool, 3)
    await relay(pool, publisher).step()
    assert publisher.records == [(CHANGES.name, message(n).key(), message(n).encode()) for n in (1, 2, 3)]
    assert await pending(pool) == 0


async def test_what_was_rolled_back_is_never_published(pool: Pool) -> None:
    publisher = FakePublisher()

    async def failing() -> None:
        async with transaction(pool) as connection:
            await outbox.add(connection, SCHEMA, CHANGES, [message(1)])
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await failing()
    await relay(pool, publisher).step()
    assert publisher.records == []


async def test_what_the_broker_did_not_take_stays(pool: Pool) -> None:
    publisher = FakePublisher()
    publisher.failure = ConnectionError("away")
    await put(pool, 1)
    with pytest.raises(ConnectionError):
        await relay(pool, publisher).step()
    assert await pending(pool) == 1
    publisher.failure = None
    await relay(pool, publisher).step()
    assert len(publisher.records) == 1
    assert await pending(pool) == 0


async def test_a_crash_between_publish_and_mark_publishes_the_same_again(pool: Pool) -> None:
    publisher = FakePublisher()
    publisher.crash_after = asyncio.CancelledError()
    await put(pool, 1, 2)
    with pytest.raises(asyncio.CancelledError):
        await relay(pool, publisher).step()
    assert await pending(pool) == 2
    publisher.crash_after = None
    await relay(pool, publisher).step()
    first, second = message(1).encode(), message(2).encode()
    assert [value for _, _, value in publisher.records] == [first, second, first, second]
    assert await pending(pool) == 0


async def test_a_connection_that_is_cut_between_publish_and_mark_publishes_the_same_again(pool: Pool) -> None:
    publisher = FakePublisher()
    publisher.gate = asyncio.Event()
    await put(pool, 1)
    running = asyncio.create_task(relay(pool, publisher).step())
    holder = (
        "SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid "
        "WHERE l.relation = 'qbo_writer.outbox'::regclass AND a.state = 'idle in transaction'"
    )
    pid = await until(lambda: pool.fetchval(holder))
    await pool.execute("SELECT pg_terminate_backend($1)", pid)
    publisher.gate.set()
    with pytest.raises(outbox_errors()):
        await running
    assert await pending(pool) == 1
    publisher.gate = None
    await relay(pool, publisher).step()
    assert len(publisher.records) == 2
    assert publisher.records[0] == publisher.records[1]


async def test_what_a_slow_broker_takes_at_last_is_published_once(pool: Pool) -> None:
    publisher = FakePublisher()
    publisher.gate = asyncio.Event()
    await put(pool, 1)
    running = asyncio.create_task(relay(pool, publisher).step())
    idle = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction' "
        f"AND state_change < clock_timestamp() - interval '{IDLE_SECONDS + 1} seconds'"
    )
    assert await until(lambda: pool.fetchval(idle)), "longer than any other transaction may be idle"
    publisher.gate.set()
    await running
    assert (len(publisher.records), await pending(pool)) == (1, 0)


def outbox_errors() -> tuple[type[BaseException], ...]:
    from bookrelay.db import TRANSIENT_POSTGRES

    return TRANSIENT_POSTGRES


async def test_two_relays_keep_the_order_and_publish_nothing_twice(pool: Pool) -> None:
    publisher = FakePublisher()
    publisher.gate = asyncio.Event()
    await put(pool, *range(50))
    both = [asyncio.create_task(relay(pool, publisher).step()) for _ in range(2)]
    await asyncio.sleep(0)
    publisher.gate.set()
    await asyncio.gather(*both)
    assert [value for _, _, value in publisher.records] == [message(n).encode() for n in range(50)]


async def test_more_than_one_batch_goes_out_without_a_pause(pool: Pool) -> None:
    publisher = FakePublisher()
    await put(pool, *range(outbox.RELAY_RECORDS + 5))
    one = relay(pool, publisher)
    assert await one.step() == 0
    assert len(publisher.records) == outbox.RELAY_RECORDS
    await one.step()
    assert len(publisher.records) == outbox.RELAY_RECORDS + 5
    keys = [value for _, _, value in publisher.records]
    assert keys == [message(n).encode() for n in range(outbox.RELAY_RECORDS + 5)]


async def enlarge(pool: Pool, *ids: int) -> None:
    """Make values that no broker takes: the models would not let them in."""
    await pool.execute(
        f"UPDATE {SCHEMA}.outbox SET value = repeat('x', $1) WHERE id = ANY($2::bigint[])", limits.RECORD_BYTES + 1, list(ids)
    )


async def test_a_record_that_is_too_large_is_parked_with_its_reason_and_the_others_leave(pool: Pool) -> None:
    publisher = FakePublisher()
    await put(pool, *range(5))
    await enlarge(pool, 3)
    one = relay(pool, publisher)
    await one.step()
    assert [value for _, _, value in publisher.records] == [message(n).encode() for n in (0, 1, 3, 4)]
    (found,) = await outbox.parked(pool, SCHEMA)
    assert (found["id"], found["bytes"], found["key"]) == (3, limits.RECORD_BYTES + 1, "1:Invoice:2")
    assert "the limit is 1,000,000" in found["reason"]
    assert metrics.OUTBOX_PARKED._value.get() == 1
    await relay(pool, publisher).step()  # another process: it stays where it is, and stops nobody
    assert len(publisher.records) == 4
    await pool.execute(f"UPDATE {SCHEMA}.outbox SET value = 'mended' WHERE id = 3")
    assert await outbox.release(pool, SCHEMA, [3, 4]) == 1
    await one.step()
    assert publisher.records[-1][2] == b"mended"
    assert await outbox.parked(pool, SCHEMA) == []


async def test_a_record_that_the_broker_refuses_is_found_and_parked_and_the_others_leave(pool: Pool) -> None:
    publisher = FakePublisher()
    publisher.refused = {message(2).key()}
    await put(pool, *range(5))
    await relay(pool, publisher).step()
    assert [value for _, _, value in publisher.records] == [message(n).encode() for n in (0, 1, 3, 4)]
    (found,) = await outbox.parked(pool, SCHEMA)
    assert found["reason"] == "QB008: The broker refuses it."


async def test_what_is_parked_is_not_forgotten(pool: Pool) -> None:
    publisher = FakePublisher()
    await put(pool, 1)
    await enlarge(pool, 1)
    one = relay(pool, publisher)
    await one.step()
    await pool.execute(
        f"UPDATE {SCHEMA}.outbox SET created_at = now() - interval '1 year', parked_at = now() - interval '1 year'"
    )
    await one._prune()
    assert len(await outbox.parked(pool, SCHEMA)) == 1


async def test_what_was_published_long_ago_is_forgotten_and_nothing_else(pool: Pool) -> None:
    publisher = FakePublisher()
    await put(pool, 1, 2)
    one = relay(pool, publisher)
    await one.step()
    await pool.execute(
        f"UPDATE {SCHEMA}.outbox SET published_at = now() - interval '73 hours' WHERE id = (SELECT min(id) FROM {SCHEMA}.outbox)"
    )
    await put(pool, 3)
    await pool.execute(f"UPDATE {SCHEMA}.outbox SET created_at = now() - interval '73 hours' WHERE published_at IS NULL")
    publisher.failure = ConnectionError("away")
    with pytest.raises(ConnectionError):
        await one.step()
    publisher.failure = None
    await one._prune()
    assert await pool.fetchval(f"SELECT count(*) FROM {SCHEMA}.outbox") == 2
    assert await pending(pool) == 1


@pytest.mark.parametrize("count", [4, 5])
async def test_what_was_published_long_ago_is_forgotten_in_slices(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(outbox, "PRUNED_AT_ONCE", 2)
    await put(pool, *range(count + 1))
    one = relay(pool, FakePublisher())
    await one.step()
    await pool.execute(f"UPDATE {SCHEMA}.outbox SET published_at = now() - interval '73 hours' WHERE id <= $1", count)
    await one._prune()
    assert await pool.fetchval(f"SELECT count(*) FROM {SCHEMA}.outbox") == 1


async def test_the_cursor_moves_forward_only(pool: Pool, database_url: str) -> None:
    from bookrelay import cursor

    await migrate(database_url, ["emr_poller"])
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    assert await cursor.read(pool, "emr_poller", "quotes") is None
    await cursor.move(pool, "emr_poller", "quotes", late)
    await cursor.move(pool, "emr_poller", "quotes", early)
    assert await cursor.read(pool, "emr_poller", "quotes") == late
    assert await cursor.read(pool, "emr_poller", "other") is None
