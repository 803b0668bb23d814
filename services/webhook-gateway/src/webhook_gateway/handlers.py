"""Receive a delivery: check the signature over the raw bytes, split it, publish, and only then say that it was taken."""

import base64
import binascii
import hmac
from collections.abc import Iterable, Sequence
from typing import Protocol

from bookrelay.messages import AnyMessage
from bookrelay.topics import GATEWAY, WEBHOOKS, Topic

from webhook_gateway.domain import Delivery, Outcome, Receipt, Refused, Unreadable
from webhook_gateway.mapping import read


class Publishes(Protocol):
    """The port to the broker. Both return when every record was acknowledged, and raise otherwise."""

    async def publish(self, topic: Topic, messages: Sequence[AnyMessage]) -> None:
        """Publish messages."""

    async def publish_encoded(self, topic: str, records: Iterable[tuple[bytes | None, bytes | None, dict[str, str]]]) -> None:
        """Publish (key, value, headers) as they are."""


def signed(body: bytes, signature: bytes | None, keys: Sequence[bytes]) -> bool:
    """Whether `signature` is base64(HMAC-SHA256(one of `keys`, `body`)). Takes the same time for every wrong signature."""
    try:
        given = base64.b64decode(signature or b"", validate=True)
    except binascii.Error:
        return False
    matches = [hmac.compare_digest(hmac.digest(key, body, "sha256"), given) for key in keys]
    return any(matches)


class Receiving:
    """Takes deliveries. `keys` are the verifier tokens: several while one replaces the other."""

    def __init__(self, keys: Sequence[bytes], publisher: Publishes) -> None:
        self._keys, self._publisher = tuple(keys), publisher

    async def receive(self, body: bytes, signature: bytes | None) -> Receipt:
        """Return what became of a delivery; raises what the publisher raises: then nothing may be confirmed."""
        if not signed(body, signature, self._keys):
            return Receipt(Outcome.BAD_SIGNATURE, "intuit-signature does not fit the body and any of our verifier tokens")
        try:
            delivery = read(body)
        except Unreadable as error:
            return Receipt(Outcome.UNREADABLE, str(error))
        await self._publish(delivery)
        return Receipt(Outcome.PUBLISHED, delivery=delivery)

    async def _publish(self, delivery: Delivery) -> None:
        if delivery.refused:  # first: with them lost, the delivery must not be confirmed
            target = WEBHOOKS.dead_letters(GATEWAY).name
            await self._publisher.publish_encoded(target, [_dead_letter(refused) for refused in delivery.refused])
        if delivery.messages:
            await self._publisher.publish(WEBHOOKS, delivery.messages)


def _dead_letter(refused: Refused) -> tuple[bytes | None, bytes | None, dict[str, str]]:
    headers = {
        "dlt-reason": refused.reason[:500], "dlt-topic": WEBHOOKS.name, "dlt-group": GATEWAY, "dlt-where": refused.where,
        "dlt-attempts": "1",
    }  # fmt: skip
    return None, refused.raw, headers
