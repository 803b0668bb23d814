"""Receiving a delivery: the signature over the raw bytes, then the broker, then the answer."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence

import pytest
from bookrelay.messages import AnyMessage
from bookrelay.topics import WEBHOOKS, Topic, all_topics
from webhook_gateway.domain import DeliveryOutcome
from webhook_gateway.handlers import Receiving, signed

KEY, OLD = b"c9a7f3d0-verifier", b"the-old-one"
BODY = json.dumps(
    [{"id": "1", "type": "qbo.bill.created.v1", "time": "2025-01-01T00:00:00Z", "intuitentityid": "5", "intuitaccountid": "9"}]
).encode()


def sign(body: bytes, key: bytes = KEY) -> bytes:
    return base64.b64encode(hmac.new(key, body, hashlib.sha256).digest())


class FakePublishes:
    """Keeps what was published; fails if told so."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.calls = 0
        self.records: list[tuple[str, bytes | None, bytes | None, dict[str, str]]] = []

    async def publish(self, topic: Topic, messages: Sequence[AnyMessage]) -> None:
        await self.publish_encoded(topic.name, [(message.key(), message.encode(), {}) for message in messages])

    async def publish_encoded(self, topic: str, records: Iterable[tuple[bytes | None, bytes | None, dict[str, str]]]) -> None:
        self.calls += 1
        if self.failure:
            raise self.failure
        self.records += [(topic, *record) for record in records]


def test_the_signature_is_hmac_sha256_in_base64() -> None:
    """A vector of another tool: printf body | openssl dgst -sha256 -hmac key -binary | base64."""
    assert signed(b"body", b"UVquEztDXUAAlWcx9orlz164XU8NxqVG0r/NNZXsGuE=", [b"key"])


def test_either_of_two_verifier_tokens_is_taken() -> None:
    assert signed(BODY, sign(BODY), [KEY, OLD])
    assert signed(BODY, sign(BODY, OLD), [KEY, OLD])


@pytest.mark.parametrize(
    "signature",
    [
        None,
        b"",
        b"nonsense",
        b"\xff\xfe",
        sign(BODY)[:-2],
        sign(BODY, b"wrong"),
        sign(BODY + b" "),
        sign(BODY).hex().encode(),
        b" ",
    ],
)
def test_any_other_signature_is_refused(signature: bytes | None) -> None:
    assert not signed(BODY, signature, [KEY, OLD])


def test_parsed_and_written_again_the_body_does_not_fit() -> None:
    spaced = json.dumps(json.loads(BODY), indent=1).encode()
    assert not signed(spaced, sign(BODY), [KEY])


async def test_a_good_delivery_is_published_before_it_is_confirmed() -> None:
    publisher = FakePublishes()
    receipt = await Receiving([KEY], publisher).receive(BODY, sign(BODY))
    assert receipt.outcome is DeliveryOutcome.PUBLISHED
    ((topic, key, value, _),) = publisher.records
    assert (topic, key) == (WEBHOOKS.name, b"9:Bill:5")
    assert json.loads(value or b"")["type"] == "bookrelay.intuit.entity-changed.v1"


async def test_a_bad_signature_publishes_nothing() -> None:
    publisher = FakePublishes()
    receipt = await Receiving([KEY], publisher).receive(BODY, sign(BODY, b"wrong"))
    assert receipt.outcome is DeliveryOutcome.BAD_SIGNATURE
    assert publisher.records == []


async def test_an_unreadable_delivery_with_a_right_signature_has_a_reason() -> None:
    publisher = FakePublishes()
    receipt = await Receiving([KEY], publisher).receive(b"{", sign(b"{"))
    assert (receipt.outcome, publisher.records) == (DeliveryOutcome.UNREADABLE, [])
    assert "not JSON" in receipt.reason


async def test_a_bad_record_is_put_aside_and_the_rest_goes_on() -> None:
    body = json.dumps([*json.loads(BODY), {"id": "2", "type": "qbo"}]).encode()
    publisher = FakePublishes()
    receipt = await Receiving([KEY], publisher).receive(body, sign(body))
    assert receipt.outcome is DeliveryOutcome.PUBLISHED
    dead, good = publisher.records
    assert dead[0] == "intuit.webhooks.v1.webhook-gateway.dlt"
    assert dead[0] in {topic.name for topic in all_topics()}
    assert json.loads(dead[2] or b"") == {"id": "2", "type": "qbo"}
    assert dead[3]["dlt-reason"] == "type is not qbo.<entity>.<operation>.v1"
    assert dead[3]["dlt-where"] == "[1]"
    assert good[0] == WEBHOOKS.name


async def test_what_the_broker_does_not_take_is_not_confirmed() -> None:
    with pytest.raises(ConnectionError):
        await Receiving([KEY], FakePublishes(ConnectionError("away"))).receive(BODY, sign(BODY))


async def test_nothing_is_published_for_a_delivery_without_records() -> None:
    publisher = FakePublishes()
    assert (await Receiving([KEY], publisher).receive(b"[]", sign(b"[]"))).outcome is DeliveryOutcome.PUBLISHED
    assert publisher.records == []


async def test_a_delivery_of_many_entities_waits_for_the_broker_once() -> None:
    """All of them are on their way together: one wait for the acknowledgements. What a delivery costs: see `make bench`."""
    event = json.loads(BODY)[0]
    body = json.dumps([{**event, "id": str(n), "intuitentityid": str(n)} for n in range(100)]).encode()
    publishes = FakePublishes()
    assert (await Receiving([KEY], publishes).receive(body, sign(body))).outcome is DeliveryOutcome.PUBLISHED
    assert (publishes.calls, len(publishes.records)) == (1, 100)
