"""Sets the command topic's consumer group back and records again what it has read since: after a restored database.

It joins the group, and goes on only as its one member: nobody else reads or commits meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError
from bookrelay import telemetry, topics
from bookrelay.blocked import FailsAtError
from bookrelay.errors import BookrelayError
from bookrelay.kafka import Handler, Publisher, Reading
from bookrelay.messages import adapter
from pydantic import ValidationError

log = telemetry.get_logger(__name__)

JOIN_SECONDS = 45.0  # a member that was killed is given up after 6 s
READ_SECONDS = 60.0  # without a record
BACK = 200  # records that are all known: what stands before them was recorded, too
FIX_MEMBERS = "Stop every writer (docker compose stop qbo-writer) and run it again. One that was killed is forgotten after 6 s."


@dataclass
class Replayed:
    """Where each partition was read from and to, and how many records that were; `before`: where the group stood."""

    before: dict[int, int | None] = field(default_factory=dict)
    start: dict[int, int] = field(default_factory=dict)
    end: dict[int, int] = field(default_factory=dict)
    records: int = 0


class _Members(ConsumerRebalanceListener):  # type: ignore[misc]
    """Notes what the group gives us, and that it takes it away."""

    def __init__(self) -> None:
        self.given: asyncio.Future[set[TopicPartition]] = asyncio.get_running_loop().create_future()
        self.taken = False

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Somebody joins, or the coordinator has lost us."""
        self.taken = self.taken or self.given.done()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """The group is settled."""
        if not self.given.done():
            self.given.set_result(set(assigned))


async def replay(
    connection: dict[str, Any],
    publisher: Publisher,
    since: datetime,
    document: Callable[[Collection[UUID]], Awaitable[set[UUID]]],
    record: Handler,
) -> Replayed:
    """Set the group back to `since`, or further, to where the ledger knows every record before; record from there to the end.

    `connection` are the consumer's options. Raises BookrelayError while the group has another member, KafkaError. Offsets are
    never moved forward by the setting back: what is beyond the end of a log that was restored, too, is set to its end.
    """
    topic, members = topics.COMMANDS, _Members()
    consumer = AIOKafkaConsumer(
        **connection, group_id=topics.WRITER_GROUP, enable_auto_commit=False, auto_offset_reset="earliest",
        session_timeout_ms=6000, heartbeat_interval_ms=1500,
    )  # fmt: skip
    consumer.subscribe([topic.name], listener=members)
    await consumer.start()
    try:
        partitions = await _alone(consumer, members)
        replayed = await _set_back(consumer, partitions, since, document)
        log.info("recovery.offsets_set_back", before=replayed.before, start=replayed.start, end=replayed.end)
        await _record(consumer, members, partitions, replayed, publisher, record)
        return replayed
    finally:
        await consumer.stop()


async def _alone(consumer: AIOKafkaConsumer, members: _Members) -> list[TopicPartition]:
    """Return the topic's partitions once all of them are ours."""
    try:
        async with asyncio.timeout(JOIN_SECONDS):
            given = await members.given
    except TimeoutError:
        raise BookrelayError(
            f"Kafka did not admit us to the consumer group {topics.WRITER_GROUP} within {JOIN_SECONDS:.0f} s.", FIX_MEMBERS
        ) from None
    numbers = consumer.partitions_for_topic(topics.COMMANDS.name)
    if not numbers:
        raise BookrelayError(f"Kafka has no topic {topics.COMMANDS.name}.", "Run `bookrelay-deploy topics` first.")
    partitions = [TopicPartition(topics.COMMANDS.name, number) for number in sorted(numbers)]
    if given != set(partitions):
        raise BookrelayError(f"Others are reading {topics.COMMANDS.name} in the group {topics.WRITER_GROUP}.", FIX_MEMBERS)
    return partitions


async def _set_back(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], since: datetime,
    document: Callable[[Collection[UUID]], Awaitable[set[UUID]]],
) -> Replayed:  # fmt: skip
    begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    at = await consumer.offsets_for_times({p: int(since.timestamp() * 1000) for p in partitions})
    replayed = Replayed()
    for p in partitions:
        before = await consumer.committed(p)
        found = at[p].offset if at.get(p) else ends[p]  # no record since then: the end
        start = begins[p] if before is None else max(begins[p], min(before, found, ends[p]))
        replayed.before[p.partition], replayed.end[p.partition] = before, ends[p]
        replayed.start[p.partition] = await _known_before(consumer, p, begins[p], start, document)
    await consumer.commit({p: replayed.start[p.partition] for p in partitions})
    return replayed


async def _known_before(
    consumer: AIOKafkaConsumer, p: TopicPartition, begin: int, start: int,
    document: Callable[[Collection[UUID]], Awaitable[set[UUID]]],
) -> int:  # fmt: skip
    """Go back until the ledger knows all of a part: the group may have been behind when the backup was taken."""
    while start > begin:
        back = max(begin, start - BACK)
        ids = _ids(await _part(consumer, p, back, start))
        if await document(ids) == ids:
            return start
        start = back
    return start


async def _part(consumer: AIOKafkaConsumer, p: TopicPartition, begin: int, end: int) -> list[ConsumerRecord[Any, Any]]:
    consumer.seek(p, begin)
    found: list[ConsumerRecord[Any, Any]] = []
    async with asyncio.timeout(READ_SECONDS):
        while await consumer.position(p) < end:
            for records in (await consumer.getmany(p, timeout_ms=500, max_records=BACK)).values():
                found += [r for r in records if r.offset < end]
    return found


def _ids(records: Iterable[ConsumerRecord[Any, Any]]) -> set[UUID]:
    """The commands' ids; what cannot be read is dead-lettered again, and says nothing."""
    decode, found = adapter(topics.COMMANDS.carries).validate_json, set()
    for record in records:
        try:
            found.add(decode(record.value or b"").id)
        except ValidationError:
            continue
    return found


async def _record(
    consumer: AIOKafkaConsumer, members: _Members, partitions: Sequence[TopicPartition], replayed: Replayed,
    publisher: Publisher, record: Handler,
) -> None:  # fmt: skip
    """Read on to where the topic ended when we came, as the service does."""
    for p in partitions:
        consumer.seek(p, replayed.start[p.partition])
    reading = Reading(topics.COMMANDS, topics.WRITER_GROUP, record, publisher)
    while True:
        left = [p for p in partitions if await consumer.position(p) < replayed.end[p.partition]]
        if members.taken:
            raise BookrelayError(f"Another member joined the group {topics.WRITER_GROUP} meanwhile.", FIX_MEMBERS)
        if not left:
            return
        try:
            async with asyncio.timeout(READ_SECONDS):
                while not (batches := await consumer.getmany(*left, timeout_ms=500, max_records=1000)):
                    pass
            for records in batches.values():
                await reading.handle(records)
                replayed.records += len(records)
            await consumer.commit({p: records[-1].offset + 1 for p, records in batches.items()})
        except (CommitFailedError, IllegalStateError):
            members.taken = True
        except FailsAtError as failure:
            at = f"{failure.record.topic}, partition {failure.record.partition}, offset {failure.record.offset}"
            raise BookrelayError(f"The command at {at} cannot be recorded: {failure.error}", "Run it again.") from failure.error
