"""A batch is handed over in parts: in order, one at a time, and none of it is left running."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from bookrelay import kafka, messages, topics
from bookrelay.blocked import FailsAtError
from bookrelay.kafka import Publisher, Received

TOPIC = topics.CHANGES
COUNT = 2 * kafka.PART_RECORDS + 7


def record(number: int) -> ConsumerRecord[bytes, bytes]:
    data = messages.BooksChangedData(
        realm="1", entity="Invoice", entity_id=str(number), operation="updated", changed_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    value = messages.BooksChanged.of(data, sender="test", time=data.changed_at).encode()
    return ConsumerRecord(TOPIC.name, 0, number, 0, 0, b"k", value, None, 1, len(value), ())


async def handle(handler: kafka.Handler) -> None:
    nowhere = Publisher("127.0.0.1:1", "test")  # nothing is put aside here
    await kafka.Reading(TOPIC, "parts", handler, nowhere).handle([record(n) for n in range(COUNT)])


def ids(part: Sequence[Received[Any]]) -> list[int]:
    return [int(received.message.data.entity_id) for received in part]


async def test_parts_come_in_order_and_one_at_a_time() -> None:
    handled: list[int] = []
    busy = False

    async def handler(part: Sequence[Received[Any]]) -> None:
        nonlocal busy
        assert not busy
        busy = True
        await asyncio.sleep(0.005)  # longer than it takes to decode the next part
        handled.extend(ids(part))
        busy = False

    await handle(handler)
    assert handled == list(range(COUNT))


async def test_a_part_that_fails_ends_the_batch() -> None:
    begun: list[int] = []

    async def handler(part: Sequence[Received[Any]]) -> None:
        begun.append(ids(part)[0])
        await asyncio.sleep(0)
        if kafka.PART_RECORDS + 1 in ids(part):
            raise OSError("the ledger is away")

    with pytest.raises(FailsAtError) as failed:
        await handle(handler)
    assert (failed.value.record.offset, str(failed.value.error)) == (kafka.PART_RECORDS + 1, "the ledger is away")
    # The part that failed is handed over record by record, as far as the one at which it fails.
    assert begun == [0, kafka.PART_RECORDS, kafka.PART_RECORDS, kafka.PART_RECORDS + 1]


async def test_a_cancelled_batch_leaves_no_part_running() -> None:
    entered, ended = asyncio.Event(), asyncio.Event()

    async def handler(_: Sequence[Received[Any]]) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(handle(handler))
    await asyncio.wait_for(entered.wait(), 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
