"""Kafka as bookrelay uses it: publish with acks from all, consume in batches at least once, dead-letter what cannot be read.

Every subscriber is made by `consume`; an architecture test walks them. FastStream's default would acknowledge first.
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
PART_RECORDS = 200  # of a batch: what a handler is given at once
TURN_RECORDS = 20  # decoded without a pause
GIVE_UP_SECONDS = 25.0  # aiokafka's idempotent producer never does, with a record that it has sent once
BACKOFF_SECONDS = (0.1, 0.3, 1.0, 2.0, 5.0)
UNKNOWN_FAILURES = 3  # of a batch, by an error that nobody foresaw, until its records are tried one by one

_REFUSED = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTimestampError, PolicyViolationError)
_UNSEQUENCED = (*_REFUSED, OutOfOrderSequenceNumber, UnknownProducerId)

aiokafka_faults.mend()


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
        """`security` is what `kafka_security()` of the settings gives; without it, PLAINTEXT."""
        self._options: dict[str, Any] = {
            **(security or {}),
            "bootstrap_servers": bootstrap_servers, "client_id": client_id, "acks": "all", "enable_idempotence": True,
            "compression_type": "lz4", "linger_ms": 0, "request_timeout_ms": 20_000, "metadata_max_age_ms": 60_000,
        }  # fmt: skip
        self._producer: AIOKafkaProducer | None = None
        self._give_up_seconds = give_up_seconds
        self._under_way: asyncio.Task[None] | None = None  # until what we have given up waiting for has left the producer

    async def start(self) -> None:
        """Connect; raises KafkaError while the broker is away."""
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

        After a KafkaTimeoutError they may still get there: the producer goes on with what it has sent once.
        """
        await self.publish_encoded(topic.name, [(m.key(), m.encode(), _traced(topic, m)) for m in messages])

    async def publish_encoded(self, topic: str, records: Iterable[Encoded]) -> None:
        """Publish (key, value, headers) as they are; headers ASCII.

        Raises RecordRefusedError for a record beyond the limit, before anything is sent, and for one that the broker refuses.
        """
        if self._producer is None:
            raise KafkaError("the producer is not connected")
        if self._under_way and not self._under_way.done():  # else each try would put a copy more behind what waits
            raise KafkaTimeoutError("the broker has not acknowledged what was sent before")
        producer: AIOKafkaProducer = self._producer
        wanted = list(records)
        for record in wanted:
            check_size(topic, *record)
        try:
            async with asyncio.timeout(self._give_up_seconds):
                results = await _sent(producer, topic, wanted)
        except TimeoutError:
            self._under_way = asyncio.create_task(producer.flush())
            raise KafkaTimeoutError(f"the broker has acknowledged nothing for {self._give_up_seconds:.0f} s") from None
        failed = [result for result in results if isinstance(result, BaseException)]
        if any(isinstance(error, _UNSEQUENCED) for error in failed):
            await self._renew(producer)
        if refused := next((error for error in failed if isinstance(error, _REFUSED)), None):
            raise RecordRefusedError(
                f"The broker refuses a record for {topic} ({type(refused).__name__.removesuffix('Error')}).",
                "Raise the topic's max.message.bytes (`bookrelay-deploy topics` names it), or shorten what the record is about.",
            ) from refused
        if failed:
            raise failed[0]
        if results:
            metrics.MESSAGES_PUBLISHED.labels(topic).inc(len(results))

    async def _renew(self, broken: AIOKafkaProducer) -> None:
        """Take another producer: after a refusal the broker misses a sequence number, and takes nothing more from this one."""
        old = broken
        if self._producer is broken:  # else another caller was here first
            await self.start()
            await old.stop()


async def _sent(producer: AIOKafkaProducer, topic: str, records: Sequence[Encoded]) -> list[Any]:
    """Send, and return what became of each record: an exception, or where it stands."""
    futures = []
    for key, value, headers in records:
        wire = [("content-type", b"application/cloudevents+json")] + [
            (k, v.encode("ascii", "replace")) for k, v in headers.items()
        ]
        futures.append(await producer.send(topic, value, key=key, headers=wire))
    return await asyncio.gather(*futures, return_exceptions=True)


def check_size(topic: str, key: bytes | None, value: bytes | None, headers: dict[str, str]) -> None:
    """Raise RecordRefusedError for a record that is larger than a broker takes."""
    size = limits.record_bytes(key, value, headers)
    if size > limits.RECORD_BYTES:
        raise RecordRefusedError(
            f"A record for {topic} would have {size:,} bytes; at most {limits.RECORD_BYTES:,} are taken.",
            "Split the document, or shorten its texts.",
        )


def _traced(topic: Topic, message: AnyMessage) -> dict[str, str]:
    """The current trace; where there is none, each document begins one of its own."""
    if current := telemetry.traceparent():
        return current
    fields = telemetry.messaging(topic.name, message.id)
    with trace.get_tracer("bookrelay").start_as_current_span(f"send {topic.name}", kind=SpanKind.PRODUCER, attributes=fields):
        return telemetry.traceparent()


@dataclass(frozen=True)
class Received(Generic[M]):
    """A message that was read, with where it stood."""

    message: M
    topic: str
    partition: int
    offset: int
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Sequence[Received[Any]]], Awaitable[None]]
PutAside = Callable[[bytes | None, str], Awaitable[None]]
"""Is told of a record that was put aside: its value, and why."""
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
    """Say to FastStream what aiokafka's own clients are told by their arguments."""
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

    A record that cannot be read, or that `handler` cannot handle for what it is (`blame.of_record`), goes to the dead-letter
    topic. Trouble of the surroundings hands the batch over again after a bounded wait, so `handler` is idempotent. An error that
    is neither does so a few times; then a record that fails alone while another one passes is put aside. `put_aside` is told of
    each such record and its reason. The record at which the group stands is named: in one log line a minute, in
    `bookrelay.blocked`, and in the metrics.
    """
    reading = Reading(topic, group, handler, dead_letter, put_aside)

    async def on_batch(records: list[ConsumerRecord[Any, Any]]) -> None:
        try:
            await reading.handle(records)
            reading.failures = 0
            for over in blocked.in_force().passed(group, records):
                log.info("consumer.goes_on", topic=over.topic, group=group, partition=over.partition, offset=over.offset)
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
        # A consumer that was killed gives its partitions up after this time; 6 s is the least that brokers allow by default.
        session_timeout_ms=6000,
        heartbeat_interval_ms=1500,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        parser=_parse,
        decoder=_decode,
        no_reply=True,
    )(on_batch)


def _say_blocked(group: str, record: ConsumerRecord[Any, Any], error: Exception) -> None:
    """Note at which record the consumer stands; one line a minute for each partition."""
    at = blocked.in_force().failed(group, record, error)
    servers.in_force().say(
        "batch.retrying", f"{at.topic} {group} {at.partition}",
        topic=at.topic, group=group, partition=at.partition, offset=at.offset, key=at.key, since=at.since.isoformat(),
        failures=at.failures, error=at.reason,
    )  # fmt: skip


@dataclass
class Reading:
    """One group's reading of one topic. `failures` counts the tries of the batch at hand that came to nothing."""

    topic: Topic
    group: str
    handler: Handler
    dead_letter: PublishesEncoded
    told: PutAside | None = None
    failures: int = 0

    async def handle(self, records: list[ConsumerRecord[Any, Any]]) -> None:
        """Hand the records over in parts, one after another; while the handler waits for its part, the next one is decoded."""
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
            if handling and not handling.done():  # we are cancelled, or a part could not be put aside: the batch comes again
                handling.cancel()
                await asyncio.wait([handling])
        labels = (self.topic.name, self.group)
        metrics.MESSAGES_CONSUMED.labels(*labels).inc(len(records))
        metrics.CONSUMER_OLDEST_AGE.labels(*labels).set(max(0.0, time.time() - (records[0].timestamp or 0) / 1000))

    async def _decode_part(self, records: Sequence[ConsumerRecord[Any, Any]]) -> list[_Good]:
        """Decode; what cannot be read goes to the dead-letter topic."""
        good: list[_Good] = []
        for number, record in enumerate(records, 1):
            try:
                message = _decoded(self.topic.carries, record.value)
            except Exception as error:  # whatever it is: reading a record touches nothing but the record
                await self._put_aside(record, error)
            else:
                received = Received(message, record.topic, record.partition, record.offset, headers_of(record))
                good.append((received, record))
            if number % TURN_RECORDS == 0:
                await asyncio.sleep(0)  # half a millisecond at most until the part before gets its answers
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
        """Find out which record of a failed part is the poison, or at which it fails. A poison's neighbours are handled."""
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
        # All of them, or a single one: a defect that any record may show.
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
            if self.told:
                await self.told(record.value, reason)


@contextlib.contextmanager
def _failing_at(record: ConsumerRecord[Any, Any]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise FailsAtError(record, error) from error


def _decoded(types: tuple[type[AnyMessage], ...], value: bytes | None) -> AnyMessage:
    if value is None:
        raise PermanentError("The record has no value (a tombstone): nothing says which document it is about.")
    if len(value) > limits.RECORD_BYTES:
        raise PermanentError(f"The record has {len(value):,} bytes; at most {limits.RECORD_BYTES:,} are taken.")
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
