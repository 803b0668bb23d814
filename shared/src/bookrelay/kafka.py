"""Kafka as bookrelay uses it: publish with acks from all, consume in batches at least once, dead-letter what cannot be read.

Every subscriber is made by `consume`; an architecture test walks them. FastStream's default would acknowledge first.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError, KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.kafka.message import KafkaAckableMessage
from faststream.security import BaseSecurity, SASLOAuthBearer, SASLPlaintext, SASLScram256, SASLScram512
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from pydantic import ValidationError

from bookrelay import blocked, metrics, servers, telemetry
from bookrelay.blocked import FailsAtError
from bookrelay.errors import PermanentError
from bookrelay.messages import AnyMessage, adapter
from bookrelay.topics import Topic

log = telemetry.get_logger(__name__)
M = TypeVar("M", bound=AnyMessage)

BATCH_RECORDS = 1000
PART_RECORDS = 200  # of a batch: what a handler is given at once
TURN_RECORDS = 20  # decoded without a pause
BACKOFF_SECONDS = (0.1, 0.3, 1.0, 2.0, 5.0)


def _closed_connections_are_told() -> None:
    """Let aiokafka see that a connection is closed when uvloop says so.

    uvloop raises RuntimeError where a closed connection is written to, and aiokafka expects OSError: a consumer's heartbeat ended
    with it and never began again, so that its loop failed 250 times a second, for ever, in a service that was "ready".
    """
    send = AIOKafkaConnection.send

    def told(self: Any, request: Any, expect_response: bool = True) -> Any:
        try:
            return send(self, request, expect_response)
        except RuntimeError as error:
            self.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"Connection at {self.host}:{self.port} broken: {error}") from error

    AIOKafkaConnection.send = told


_closed_connections_are_told()


class Publisher:
    """An idempotent producer, acks=all. One for each process."""

    def __init__(self, bootstrap_servers: str, client_id: str, security: Mapping[str, Any] | None = None) -> None:
        """`security` is what `kafka_security()` of the settings gives; without it, PLAINTEXT."""
        self._options: dict[str, Any] = {
            **(security or {}),
            "bootstrap_servers": bootstrap_servers, "client_id": client_id, "acks": "all", "enable_idempotence": True,
            "compression_type": "lz4", "linger_ms": 0, "request_timeout_ms": 20_000, "metadata_max_age_ms": 60_000,
        }  # fmt: skip
        self._producer: AIOKafkaProducer | None = None

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
        if self._producer:
            await self._producer.stop()
            self._producer = None

    async def publish(self, topic: Topic, messages: Sequence[AnyMessage]) -> None:
        """Return when the broker has acknowledged every message, in order for each key; raise KafkaError otherwise."""
        await self.publish_encoded(topic.name, [(m.key(), m.encode(), _traced(topic, m)) for m in messages])

    async def publish_encoded(self, topic: str, records: Iterable[tuple[bytes | None, bytes | None, dict[str, str]]]) -> None:
        """Publish (key, value, headers) as they are; headers ASCII."""
        if self._producer is None:
            raise KafkaError("the producer is not connected")
        futures = []
        for key, value, headers in records:
            wire = [("content-type", b"application/cloudevents+json")] + [
                (k, v.encode("ascii", "replace")) for k, v in headers.items()
            ]
            futures.append(await self._producer.send(topic, value, key=key, headers=wire))
        if futures:
            await asyncio.gather(*futures)
            metrics.MESSAGES_PUBLISHED.labels(topic).inc(len(futures))


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
_Good = tuple[Received[Any], ConsumerRecord[Any, Any]]


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


def headers_of(record: ConsumerRecord[Any, Any]) -> dict[str, str]:
    """Read headers that anybody may have written: null and non-UTF-8 values are tolerated."""
    return {str(k): (v or b"").decode("utf-8", "replace") for k, v in record.headers or ()}


async def _parse(message: Any, original: Any = None) -> KafkaMessage:
    """Build FastStream's message without decoding anything; its own parser breaks on a null header and loses the record."""
    records: tuple[ConsumerRecord[Any, Any], ...] = message if isinstance(message, tuple) else (message,)
    consumer = getattr(getattr(original, "__self__", None), "_consumer", None)
    return KafkaAckableMessage(
        body=[],
        headers={},
        raw_message=message,
        consumer=consumer,
        message_id=f"{records[0].offset}-{records[-1].offset}",
    )


async def _decode(message: KafkaMessage) -> list[ConsumerRecord[Any, Any]]:
    raw = message.raw_message
    return list(raw) if isinstance(raw, tuple) else [raw]


def consume(
    broker: KafkaBroker,
    topic: Topic,
    group: str,
    handler: Handler,
    dead_letter: Publisher,
    *,
    max_records: int = BATCH_RECORDS,
    waits: Sequence[float] = BACKOFF_SECONDS,
) -> None:
    """Subscribe `group` to `topic`, at least once: offsets are committed after `handler` returned for every part of the batch.

    A record that cannot be read, or that `handler` refuses alone with PermanentError, goes to the dead-letter topic as it was.
    Any other exception is taken as passing: the batch is handed over again after a bounded wait. So `handler` is idempotent.
    The record at which it fails is named: in one log line a minute, in `bookrelay.blocked`, and in the metrics.
    """
    types = topic.carries
    failures = 0

    async def on_batch(records: list[ConsumerRecord[Any, Any]]) -> None:
        nonlocal failures
        try:
            await _handle_batch(records, types, topic, group, handler, dead_letter)
            failures = 0
            for over in blocked.in_force().passed(group, records):
                log.info("consumer.goes_on", topic=over.topic, group=group, partition=over.partition, offset=over.offset)
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except Exception as failure:
            wait = waits[min(failures, len(waits) - 1)]
            failures += 1
            record, error = (failure.record, failure.error) if isinstance(failure, FailsAtError) else (records[0], failure)
            metrics.CONSUMER_RETRIES.labels(topic.name, group).inc()
            if not await servers.in_force().explain(error):
                _say_blocked(group, record, error)
            await asyncio.sleep(wait)
            raise error from None

    on_batch.__annotations__ = {}
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


async def _handle_batch(
    records: list[ConsumerRecord[Any, Any]],
    types: tuple[type[AnyMessage], ...],
    topic: Topic,
    group: str,
    handler: Handler,
    dead_letter: Publisher,
) -> None:
    """Hand the records over in parts, one after another; while the handler waits for its part, the next one is decoded."""
    handling: asyncio.Task[None] | None = None
    try:
        for start in range(0, len(records), PART_RECORDS):
            good = await _decode_part(records[start : start + PART_RECORDS], types, topic, group, dead_letter)
            if handling:
                await handling
            handling = asyncio.create_task(_hand_over(good, topic, group, handler, dead_letter))
        if handling:
            await handling
    finally:
        if handling and not handling.done():  # we are cancelled, or a part could not be put aside: the batch comes again
            handling.cancel()
            await asyncio.wait([handling])
    metrics.MESSAGES_CONSUMED.labels(topic.name, group).inc(len(records))
    metrics.CONSUMER_OLDEST_AGE.labels(topic.name, group).set(max(0.0, time.time() - records[0].timestamp / 1000))


async def _decode_part(
    records: Sequence[ConsumerRecord[Any, Any]],
    types: tuple[type[AnyMessage], ...],
    topic: Topic,
    group: str,
    dead_letter: Publisher,
) -> list[_Good]:
    """Decode; what cannot be read goes to the dead-letter topic."""
    good: list[_Good] = []
    decode = adapter(types).validate_json
    for number, record in enumerate(records, 1):
        try:
            message = decode(record.value or b"")
        except ValidationError as error:
            with _failing_at(record):
                await send_dead_letter(dead_letter, topic, group, record, describe(error))
        else:
            received = Received(message, record.topic, record.partition, record.offset, headers_of(record))
            good.append((received, record))
        if number % TURN_RECORDS == 0:
            await asyncio.sleep(0)  # half a millisecond at most until the part before gets its answers
    return good


async def _hand_over(good: Sequence[_Good], topic: Topic, group: str, handler: Handler, dead_letter: Publisher) -> None:
    if not good:
        return
    try:
        await handler([received for received, _ in good])
    except PermanentError:
        await _one_by_one(good, topic, group, handler, dead_letter)
    except Exception as error:
        if await servers.in_force().explain(error):
            raise
        if len(good) == 1:
            raise FailsAtError(good[0][1], error) from error
        await _one_by_one(good, topic, group, handler, dead_letter)


async def _one_by_one(
    good: Sequence[_Good],
    topic: Topic,
    group: str,
    handler: Handler,
    dead_letter: Publisher,
) -> None:
    """Find out which record of a refused batch is the poison, or at which a failing one fails."""
    for received, record in good:
        with _failing_at(record):
            try:
                await handler([received])
            except PermanentError as error:
                await send_dead_letter(dead_letter, topic, group, record, error.sentence())


@contextlib.contextmanager
def _failing_at(record: ConsumerRecord[Any, Any]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise FailsAtError(record, error) from error


def describe(error: ValidationError) -> str:
    """Say what is wrong with a message without repeating its content."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    counted = "1 error" if error.error_count() == 1 else f"{error.error_count()} errors"
    return f"{counted}; first at {where or 'the message'}: {first['msg']}"


async def send_dead_letter(publisher: Publisher, topic: Topic, group: str, record: ConsumerRecord[Any, Any], reason: str) -> None:
    """Put a record aside as it was: key, value and headers kept, with reason, partition and offset beside them."""
    target = topic.dead_letters(group)
    headers = {k: v for k, v in headers_of(record).items() if k != "content-type"}
    headers |= {
        "dlt-reason": reason[:500], "dlt-topic": record.topic, "dlt-partition": str(record.partition),
        "dlt-offset": str(record.offset), "dlt-group": group, "dlt-attempts": str(int(headers.get("dlt-attempts", "0") or 0) + 1),
    }  # fmt: skip
    await publisher.publish_encoded(target.name, [(record.key, record.value, headers)])
    metrics.MESSAGES_DEAD_LETTERED.labels(topic.name, group).inc()
    log.error(
        "message.dead_lettered",
        topic=topic.name,
        group=group,
        partition=record.partition,
        offset=record.offset,
        reason=reason,
    )
