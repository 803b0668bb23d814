"""Receives a delivery: verify the signature over the raw bytes, split it, publish, and only then accept it."""

import base64
import binascii
import hmac
from collections.abc import Iterable, Sequence
from typing import Protocol

from bookrelay.messages import AnyMessage
from bookrelay.topics import GATEWAY, WEBHOOKS, Topic

from webhook_gateway.domain import Delivery, DeliveryOutcome, Receipt, UnreadableDeliveryError, UnreadableRecord
from webhook_gateway.mapping import read


class Publishes(Protocol):
    """The port to the broker. Both methods return when every record is acknowledged, and raise otherwise."""

    async def publish(self, topic: Topic, messages: Sequence[AnyMessage]) -> None:
        """Publish messages."""

    async def publish_encoded(self, topic: str, records: Iterable[tuple[bytes | None, bytes | None, dict[str, str]]]) -> None:
        """Publish (key, value, headers) unchanged."""


def signed(body: bytes, signature: bytes | None, keys: Sequence[bytes]) -> bool:
    """Whether `signature` is base64(HMAC-SHA256(one of `keys`, `body`)), compared in constant time."""
    try:
        given = base64.b64decode(signature or b"", validate=True)
    except binascii.Error:
        return False
    matches = [hmac.compare_digest(hmac.digest(key, body, "sha256"), given) for key in keys]
    return any(matches)


class Receiving:
    """Receives deliveries. `keys` are the verifier tokens: two during a rotation."""

    def __init__(self, keys: Sequence[bytes], publisher: Publishes) -> None:
        self._keys, self._publisher = tuple(keys), publisher

    async def receive(self, body: bytes, signature: bytes | None) -> Receipt:
        """Return the outcome of a delivery; raises the publisher's errors, after which it must not be accepted."""
        if not signed(body, signature, self._keys):
            return Receipt(
                DeliveryOutcome.BAD_SIGNATURE, "intuit-signature does not match the body with any of our verifier tokens"
            )
        try:
            delivery = read(body)
        except UnreadableDeliveryError as error:
            return Receipt(DeliveryOutcome.UNREADABLE, str(error))
        await self._publish(delivery)
        return Receipt(DeliveryOutcome.PUBLISHED, delivery=delivery)

    async def _publish(self, delivery: Delivery) -> None:
        if delivery.unreadable:  # first: if they cannot be stored, the delivery must not be accepted
            target = WEBHOOKS.dead_letters(GATEWAY).name
            await self._publisher.publish_encoded(target, [_dead_letter(record) for record in delivery.unreadable])
        if delivery.messages:
            await self._publisher.publish(WEBHOOKS, delivery.messages)


def _dead_letter(record: UnreadableRecord) -> tuple[bytes | None, bytes | None, dict[str, str]]:
    headers = {
        "dlt-reason": record.reason[:500], "dlt-topic": WEBHOOKS.name, "dlt-group": GATEWAY, "dlt-where": record.where,
        "dlt-attempts": "1",
    }  # fmt: skip
    return None, record.raw, headers
