"""Kafka as bookrelay uses it: publish with acks=all, consume in batches at least once, dead-letter what cannot be read.

Every subscriber is created by `consume`; an architecture test checks this. FastStream's default acknowledges before handling.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    PolicyViolationError,
    RecordListTooLargeError,
    UnknownProducerId,
)
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.security import BaseSecurity, SASLOAuthBearer, SASLPlaintext, SASLScram256, SASLScram512
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from pydantic import ValidationError

from bookrelay import aiokafka_faults, blame, blocked, dead_letters, limits, metrics, servers, telemetry
from bookrelay.blocked import FailsAtError
from bookrelay.dead_letters import Encoded, PublishesEncoded, headers_of
from bookrelay.errors import PermanentError, RecordRefusedError
from bookrelay.messages import AnyMessage, adapter
from bookrelay.texts import without_lone_surrogates
from bookrelay.topics import Topic

log = telemetry.get_logger(__name__)
M = TypeVar("M", bound=AnyMessage)

BATCH_RECORDS = 1000
PART_RECORDS = 200  # of a batch, passed to the handler in one call
TURN_RECORDS = 20  # decoded before yielding to the event loop
GIVE_UP_SECONDS = 25.0  # aiokafka's idempotent producer never gives up on a record that it has sent once
BACKOFF_SECONDS = (0.1, 0.3, 1.0, 2.0, 5.0)
UNKNOWN_FAILURES = 3  # of a batch with an unexpected error, before its records are handled one by one

_REFUSED = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTimestampError, PolicyViolationError)
_UNSEQUENCED = (*_REFUSED, OutOfOrderSequenceNumber, UnknownProducerId)

aiokafka_faults.work_around()


class Publisher:
    """An idempotent producer, acks=all. One for each process."""

    def __init__(
        self,
        bootstrap_servers: str,
        client_id: str,
        security: Mapping[str, Any] | None = None,
        *,
        give_up_seconds: float = GIVE_UP_SECONDS,
    ) -> None:
        """`security` is the result of the settings' `kafka_security()`; without it, PLAINTEXT."""
        self._options: dict[str, Any] = {
            **(security or {}),
            "bootstrap_servers": bootstrap_servers, "client_id": client_id, "acks": "all", "enable_idempotence": True,
            "compression_type": "lz4", "linger_ms": 0, "request_timeout_ms": 20_000, "metadata_max_age_ms": 60_000,
        }  # fmt: skip
        self._producer: AIOKafkaProducer | None = None
        self._give_up_seconds = give_up_seconds
        self._under_way: asyncio.Task[None] | None = None  # runs until the producer has flushed the records that timed out

    async def start(self) -> None:
        """Connect; raises KafkaError while the broker is unavailable."""
        producer = AIOKafkaProducer(**self._options)
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer

    async def stop(self) -> None:
        """Flush and close."""
        if self._under_way:
            self._under_way.cancel()
        if self._producer:
            await self._producer.stop()
            self._producer = None

    async def publish(self, topic: Topic, messages: Sequence[AnyMessage]) -> None:
        """Return when the broker has acknowledged every message, in order for each key; raise KafkaError otherwise.

        After a KafkaTimeoutError they may still be delivered: the producer keeps retrying what it has sent once.
        """
        await self.publish_encoded(topic.name, [(m.key(), m.encode(), _traced(topic, m)) for m in messages])

    async def publish_encoded(self, topic: str, records: Iterable[Encoded]) -> None:
        """Publish (key, value, headers) unchanged; headers must be ASCII.

        Raises RecordRefusedError for a record that exceeds the limit (nothing is sent then) and for one that the broker refuses.
        """
        if self._producer is None:
            raise KafkaError("the producer is not connected")
        if self._under_way and not self._under_way.done():  # else each retry would queue another copy
            raise KafkaTimeoutError("the broker has not yet acknowledged the previous records")
        producer: AIOKafkaProducer = self._producer
        wanted = list(records)
        for record in wanted:
            check_size(topic, *record)
        try:
            async with asyncio.timeout(self._give_up_seconds):
                results = await _sent(producer, topic, wanted)
        except TimeoutError:
            self._under_way = asyncio.create_task(producer.flush())
            raise KafkaTimeoutError(f"no acknowledgement from the broker for {self._give_up_seconds:.0f} s") from None
        failed = [result for result in results if isinstance(result, BaseException)]
        if any(isinstance(error, _UNSEQUENCED) for error in failed):
            await self._renew(producer)
        if refused := next((error for error in failed if isinstance(error, _REFUSED)), None):
            raise RecordRefusedError(
                f"The broker refuses a record for {topic} ({type(refused).__name__.removesuffix('Error')}).",
                "Raise the topic's max.message.bytes (`bookrelay-deploy topics` shows it), or shorten the document.",
            ) from refused
        if failed:
            raise failed[0]
        if results:
            metrics.MESSAGES_PUBLISHED.labels(topic).inc(len(results))

    async def _renew(self, broken: AIOKafkaProducer) -> None:
        """Replace the producer: a refused record leaves a gap in its sequence numbers, so the broker refuses all later ones."""
        old = broken
        if self._producer is broken:  # else another caller has replaced it already
            await self.start()
            await old.stop()


async def _sent(producer: AIOKafkaProducer, topic: str, records: Sequence[Encoded]) -> list[Any]:
    """Send, and return each record's result: an exception, or its position in the topic."""
    futures = []
    for key, value, headers in records:
        wire = [("content-type", b"application/cloudevents+json")] + [
            (k, v.encode("ascii", "replace")) for k, v in headers.items()
        ]
        futures.append(await producer.send(topic, value, key=key, headers=wire))
    return await asyncio.gather(*futures, return_exceptions=True)


def check_size(topic: str, key: bytes | None, value: bytes | None, headers: dict[str, str]) -> None:
    """Raise RecordRefusedError for a record that exceeds the size limit."""
    size = limits.record_bytes(key, value, headers)
    if size > limits.RECORD_BYTES:
        raise RecordRefusedError(
            f"A record for {topic} would be {size:,} bytes; the limit is {limits.RECORD_BYTES:,}.",
            "Split the document, or shorten its texts.",
        )


def _traced(topic: Topic, message: AnyMessage) -> dict[str, str]:
    """Return the headers of the current trace; without one, start a trace for this document."""
    if current := telemetry.traceparent():
        return current
    fields = telemetry.messaging(topic.name, message.id)
    with trace.get_tracer("bookrelay").start_as_current_span(f"send {topic.name}", kind=SpanKind.PRODUCER, attributes=fields):
        return telemetry.traceparent()


@dataclass(frozen=True)
class Received(Generic[M]):
    """A message that was read, and its position in the topic."""

    message: M
    topic: str
    partition: int
    offset: int
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Sequence[Received[Any]]], Awaitable[None]]
PutAside = Callable[[bytes | None, str], Awaitable[None]]
"""Called for each dead-lettered record with its value and the reason."""
_Good = tuple[Received[Any], ConsumerRecord[Any, Any]]
_ParsesBatch = Callable[[tuple[ConsumerRecord[Any, Any], ...]], Awaitable[KafkaMessage]]


def new_broker(bootstrap_servers: str, client_id: str, security: Mapping[str, Any] | None = None) -> KafkaBroker:
    """Return a FastStream broker with safe defaults. Services consume through it; they publish through `Publisher`."""
    import logging

    security = security or {}
    return KafkaBroker(
        bootstrap_servers,
        security=_for_faststream(security),
        sasl_oauth_token_provider=security.get("sasl_oauth_token_provider"),
        client_id=client_id,
        acks="all",
        enable_idempotence=True,
        allow_auto_create_topics=False,
        graceful_timeout=15.0,
        apply_types=False,  # nothing is injected, and no record is copied by pydantic: `consume` hands them over as they came
        logger=logging.getLogger("bookrelay.faststream"),
        log_level=logging.DEBUG,
    )


def _for_faststream(security: Mapping[str, Any]) -> BaseSecurity:
    """Convert aiokafka's security arguments to FastStream's."""
    context = security.get("ssl_context")
    tls: dict[str, Any] = {"ssl_context": context, "use_ssl": context is not None}
    mechanism = security.get("sasl_mechanism")
    if mechanism == "OAUTHBEARER":
        return SASLOAuthBearer(**tls)
    if mechanism:
        kinds = {"PLAIN": SASLPlaintext, "SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}
        return kinds[mechanism](security["sasl_plain_username"], security["sasl_plain_password"], **tls)
    return BaseSecurity(**tls)


async def _parse(message: Any, original: _ParsesBatch) -> KafkaMessage:
    """Let FastStream build its message of one record without headers: it breaks on a null header, and then loses the record.

    So nothing but the consumer, by which a batch is acknowledged, comes from it; the records are ours to read.
    """
    records: tuple[ConsumerRecord[Any, Any], ...] = message
    parsed = await original((replace(records[0], headers=()),))
    parsed.raw_message = records
    parsed.message_id = f"{records[0].offset}-{records[-1].offset}"
    return parsed


async def _decode(message: KafkaMessage) -> list[ConsumerRecord[Any, Any]]:
    return list(message.raw_message)


def consume(
    broker: KafkaBroker,
    topic: Topic,
    group: str,
    handler: Handler,
    dead_letter: PublishesEncoded,
    *,
    max_records: int = BATCH_RECORDS,
    waits: Sequence[float] = BACKOFF_SECONDS,
    put_aside: PutAside | None = None,
) -> None:
    """Subscribe `group` to `topic`, at least once: offsets are committed after `handler` returned for every part of the batch.

    A record that cannot be read, or whose content `handler` cannot handle (`blame.of_record`), is dead-lettered. On an error of
    the environment the batch is retried after a bounded wait, so `handler` must be idempotent. An error of neither kind is
    retried a few times; then a record that fails while another one succeeds is dead-lettered. `put_aside` is called for each
    dead-lettered record. A record that blocks the group is shown in one log line a minute, in `bookrelay.blocked` and in metrics.
    """
    reading = Reading(topic, group, handler, dead_letter, put_aside)

    async def on_batch(records: list[ConsumerRecord[Any, Any]]) -> None:
        try:
            await reading.handle(records)
            reading.failures = 0
            for over in blocked.in_force().passed(group, records):
                log.info("consumer.resumed", topic=over.topic, group=group, partition=over.partition, offset=over.offset)
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except Exception as failure:
            wait = waits[min(reading.failures, len(waits) - 1)]
            reading.failures += 1
            record, error = (failure.record, failure.error) if isinstance(failure, FailsAtError) else (records[0], failure)
            metrics.CONSUMER_RETRIES.labels(topic.name, group).inc()
            if not await servers.in_force().explain(error):
                _say_blocked(group, record, error)
            await asyncio.sleep(wait)
            raise error from None

    broker.subscriber(
        topic.name,
        group_id=group,
        batch=True,
        max_records=max_records,
        batch_timeout_ms=200,
        fetch_max_wait_ms=100,
        # A killed consumer's partitions are reassigned after this time; 6 s is the minimum that brokers allow by default.
        session_timeout_ms=6000,
        heartbeat_interval_ms=1500,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        parser=_parse,
        decoder=_decode,
        no_reply=True,
    )(on_batch)


def _say_blocked(group: str, record: ConsumerRecord[Any, Any], error: Exception) -> None:
    """Record which record blocks the consumer; one log line a minute for each partition."""
    at = blocked.in_force().failed(group, record, error)
    servers.in_force().say(
        "batch.retrying", f"{at.topic} {group} {at.partition}",
        topic=at.topic, group=group, partition=at.partition, offset=at.offset, key=at.key, since=at.since.isoformat(),
        failures=at.failures, error=at.reason,
    )  # fmt: skip


@dataclass
class Reading:
    """One group's reading of one topic. `failures` counts the failed tries of the current batch."""

    topic: Topic
    group: str
    handler: Handler
    dead_letter: PublishesEncoded
    put_aside: PutAside | None = None
    failures: int = 0

    async def handle(self, records: list[ConsumerRecord[Any, Any]]) -> None:
        """Pass the records to the handler in parts, one after another; the next part is decoded while the handler runs."""
        handling: asyncio.Task[None] | None = None
        try:
            for start in range(0, len(records), PART_RECORDS):
                good = await self._decode_part(records[start : start + PART_RECORDS])
                if handling:
                    await handling
                handling = asyncio.create_task(self._hand_over(good))
            if handling:
                await handling
        finally:
            if handling and not handling.done():  # cancelled, or a record could not be dead-lettered: the batch is redelivered
                handling.cancel()
                await asyncio.wait([handling])
        labels = (self.topic.name, self.group)
        metrics.MESSAGES_CONSUMED.labels(*labels).inc(len(records))
        metrics.CONSUMER_OLDEST_AGE.labels(*labels).set(max(0.0, time.time() - (records[0].timestamp or 0) / 1000))

    async def _decode_part(self, records: Sequence[ConsumerRecord[Any, Any]]) -> list[_Good]:
        """Decode; records that cannot be read are dead-lettered."""
        good: list[_Good] = []
        for number, record in enumerate(records, 1):
            try:
                message = _decoded(self.topic.carries, record.value)
            except Exception as error:  # any: decoding depends on nothing but the record
                await self._put_aside(record, error)
            else:
                received = Received(message, record.topic, record.partition, record.offset, headers_of(record))
                good.append((received, record))
            if number % TURN_RECORDS == 0:
                await asyncio.sleep(0)  # the handler of the previous part waits at most half a millisecond
        return good

    async def _hand_over(self, good: Sequence[_Good]) -> None:
        if not good:
            return
        try:
            await self.handler([received for received, _ in good])
        except Exception as error:
            if not blame.of_record(error):
                if await servers.in_force().explain(error):
                    raise
                if len(good) == 1:
                    raise FailsAtError(good[0][1], error) from error
            await self._one_by_one(good)

    async def _one_by_one(self, good: Sequence[_Good]) -> None:
        """Handle the records of a failed part one by one, to find the one that fails; the others are handled."""
        suspects: list[tuple[ConsumerRecord[Any, Any], Exception]] = []
        handled = 0
        for received, record in good:
            try:
                await self.handler([received])
                handled += 1
            except Exception as error:
                if blame.of_record(error):
                    await self._put_aside(record, error)
                elif blame.of_surroundings(error):
                    raise FailsAtError(record, error) from error
                else:
                    suspects.append((record, error))
        # If all of them fail, or the only one does, the bug may affect any record: retry instead of dead-lettering.
        if suspects and (not handled or self.failures < UNKNOWN_FAILURES):
            raise FailsAtError(*suspects[0]) from suspects[0][1]
        for record, cause in suspects:
            where = blame.where(cause)
            log.error("message.failed", topic=self.topic.name, offset=record.offset, error=type(cause).__name__, where=where)
            await self._put_aside(record, cause)

    async def _put_aside(self, record: ConsumerRecord[Any, Any], error: Exception) -> None:
        reason = blame.reason(error)
        with _failing_at(record):
            await dead_letters.send(self.dead_letter, self.topic, self.group, record, reason)
            if self.put_aside:
                await self.put_aside(record.value, reason)


@contextlib.contextmanager
def _failing_at(record: ConsumerRecord[Any, Any]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise FailsAtError(record, error) from error


def _decoded(types: tuple[type[AnyMessage], ...], value: bytes | None) -> AnyMessage:
    if value is None:
        raise PermanentError("The record has no value (a tombstone), so its document is unknown.")
    if len(value) > limits.RECORD_BYTES:
        raise PermanentError(f"The record is {len(value):,} bytes; the limit is {limits.RECORD_BYTES:,}.")
    validate = adapter(types).validate_json
    message: AnyMessage
    try:
        message = validate(value)
    except ValidationError:
        cleaned = without_lone_surrogates(value)
        if cleaned == value:
            raise
        message = validate(cleaned)
    return message
