"""Send a record to its dead-letter topic so that the others continue: unchanged, with the reason; truncated only if too large."""

import hashlib
from collections.abc import Iterable
from typing import Any, Protocol

from aiokafka import ConsumerRecord

from bookrelay import limits, metrics, telemetry
from bookrelay.errors import RecordRefusedError
from bookrelay.topics import Topic

log = telemetry.get_logger(__name__)

KEY_BYTES = 10_000  # of the key are kept
REASON_CHARACTERS = 500
CUT = "dlt-value-bytes"  # present if the value was truncated: such a dead letter cannot be redriven

Encoded = tuple[bytes | None, bytes | None, dict[str, str]]
"""Key, value, headers."""


class PublishesEncoded(Protocol):
    """The port to the producer (`bookrelay.kafka.Publisher`)."""

    async def publish_encoded(self, topic: str, records: Iterable[Encoded]) -> None:
        """Return when the broker has acknowledged every record, in order for each key; raise otherwise.

        Raises RecordRefusedError if the broker refuses a record for its content or size.
        """


def headers_of(record: ConsumerRecord[Any, Any]) -> dict[str, str]:
    """Return the headers as text; null and non-UTF-8 values are tolerated, since any client may have written them."""
    return {str(k): (v or b"").decode("utf-8", "replace") for k, v in record.headers or ()}


async def send(publisher: PublishesEncoded, topic: Topic, group: str, record: ConsumerRecord[Any, Any], reason: str) -> None:
    """Dead-letter a record: key, value and headers are kept, with reason, topic, partition and offset as headers."""
    target = topic.dead_letters(group).name
    for most in (limits.LETTER_BYTES, 100_000, 0):
        try:
            await publisher.publish_encoded(target, [letter(record, group, reason, most)])
            break
        except RecordRefusedError:  # this broker's limit is lower than the default
            if not most:
                raise
    metrics.MESSAGES_DEAD_LETTERED.labels(topic.name, group).inc()
    log.error(
        "message.dead_lettered",
        topic=topic.name,
        group=group,
        partition=record.partition,
        offset=record.offset,
        reason=reason[:REASON_CHARACTERS],
    )


def letter(record: ConsumerRecord[Any, Any], group: str, reason: str, most: int = limits.LETTER_BYTES) -> Encoded:
    """Return the dead letter of a record, with at most `most` bytes of its value.

    If the value is truncated, size and SHA-256 are in the headers; the whole record is at `dlt-topic`, `dlt-partition`,
    `dlt-offset` until its topic's retention ends.
    """
    headers = headers_of(record)
    attempts = headers.get("dlt-attempts", "")
    headers = {k: v for k, v in headers.items() if k != "content-type" and not k.startswith("dlt-")}
    if sum(len(k) + len(v) for k, v in headers.items()) > limits.LETTER_HEADER_BYTES:
        headers = {"dlt-headers-left-out": str(len(headers))}
    headers |= {
        "dlt-reason": reason[:REASON_CHARACTERS], "dlt-topic": record.topic, "dlt-partition": str(record.partition),
        "dlt-offset": str(record.offset), "dlt-group": group, "dlt-attempts": str(_count(attempts) + 1),
    }  # fmt: skip
    key, value = record.key, record.value
    if key is not None and len(key) > KEY_BYTES:
        headers |= {"dlt-key-bytes": str(len(key)), "dlt-key-sha256": hashlib.sha256(key).hexdigest()}
        key = key[:KEY_BYTES]
    if value is not None and len(value) > most:
        headers |= {CUT: str(len(value)), "dlt-value-sha256": hashlib.sha256(value).hexdigest()}
        value = value[:most]
    return key, value, headers


def _count(text: str) -> int:
    """Read how often it was dead-lettered before; 0 if the header is not a number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
