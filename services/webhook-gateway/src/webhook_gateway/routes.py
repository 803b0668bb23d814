"""The HTTP endpoint, as plain ASGI for speed. It responds after the broker's acknowledgement."""

import asyncio
import json
import time

from aiokafka.errors import KafkaError
from bookrelay import metrics, servers, telemetry
from bookrelay.topics import GATEWAY, WEBHOOKS
from bookrelay.transient import brief
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from webhook_gateway.domain import STATUS, DeliveryOutcome, Receipt
from webhook_gateway.handlers import Receiving
from webhook_gateway.settings import Settings

log = telemetry.get_logger(__name__)

_COUNTERS = {outcome: metrics.WEBHOOK_DELIVERIES.labels(outcome.value) for outcome in DeliveryOutcome}
_NOTIFICATIONS = {form: metrics.WEBHOOK_NOTIFICATIONS.labels(form) for form in ("classic", "cloudevents")}


def webhook_routes(settings: Settings, receiving: Receiving) -> list[Route]:
    """Return the routes that Intuit posts to: with and without a trailing slash, since senders do not follow redirects."""
    endpoint, path = _Endpoint(settings, receiving), settings.webhook_path.rstrip("/")
    return [Route(one, endpoint) for one in dict.fromkeys((path or "/", f"{path}/"))]


class _BodyTooLargeError(Exception):
    """The body exceeds the limit."""


class _ClientDisconnectedError(Exception):
    """The sender disconnected before the body was complete."""


class _Endpoint:
    def __init__(self, settings: Settings, receiving: Receiving) -> None:
        self._largest, self._seconds, self._receiving = settings.webhook_max_bytes, settings.webhook_deadline_seconds, receiving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            with telemetry.span("webhook.delivery"):
                receipt = await self._receipt(scope["method"], headers, receive)
                _report(receipt, headers.get(b"intuit-t-id"), started)
        except _ClientDisconnectedError:
            return
        for message in _response(receipt):
            await send(message)

    async def _receipt(self, method: str, headers: dict[bytes, bytes], receive: Receive) -> Receipt:
        if method != "POST":
            return Receipt(DeliveryOutcome.WRONG_METHOD, "only POST is allowed")
        body: bytes | None = None
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._body(headers, receive)
                return await self._receiving.receive(body, headers.get(b"intuit-signature"))
        except _BodyTooLargeError:
            return Receipt(DeliveryOutcome.TOO_LARGE, f"the body exceeds the limit of {self._largest} bytes")
        except (KafkaError, OSError, TimeoutError) as error:
            if body is None:
                return Receipt(DeliveryOutcome.TOO_SLOW, "the body did not arrive in time")
            return Receipt(DeliveryOutcome.UNAVAILABLE, f"the broker has not acknowledged: {brief(error)}")

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._largest:
            raise _BodyTooLargeError
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _ClientDisconnectedError
            part, more = message.get("body", b""), message.get("more_body", False)
            size += len(part)
            if size > self._largest:
                raise _BodyTooLargeError
            parts.append(part)
        return b"".join(parts)


def _report(receipt: Receipt, delivery_id: bytes | None, started: float) -> None:
    """Count a delivery and log its line, without its content."""
    seconds = time.perf_counter() - started
    _COUNTERS[receipt.outcome].inc()
    metrics.WEBHOOK_SECONDS.observe(seconds)
    delivery = receipt.delivery
    fields = {
        "outcome": receipt.outcome.value,
        "intuit_tid": (delivery_id or b"").decode("ascii", "replace")[:100] or None,
        "ms": round(seconds * 1000, 1),
    }
    if delivery is None:
        # Anybody may post here: one line a minute for each outcome, with the number of repetitions; the metric counts all.
        servers.in_force().say("delivery.rejected", receipt.outcome.value, reason=receipt.reason, **fields)
        return
    _NOTIFICATIONS[delivery.format].inc(len(delivery.messages))
    unknown = sum(message.data.operation == "unknown" for message in delivery.messages)
    fields |= {"format": delivery.format, "entities": len(delivery.messages)}
    if delivery.unreadable or unknown:
        first = delivery.unreadable[0] if delivery.unreadable else None
        if delivery.unreadable:
            metrics.MESSAGES_DEAD_LETTERED.labels(WEBHOOKS.name, GATEWAY).inc(len(delivery.unreadable))
        log.warning(
            "delivery.published",
            **fields,
            unknown_operations=unknown,
            dead_lettered=len(delivery.unreadable),
            first_reason=f"{first.where}: {first.reason}" if first else None,
        )
    else:
        log.info("delivery.published", **fields)


def _response(receipt: Receipt) -> tuple[Message, Message]:
    status = STATUS[receipt.outcome]
    body = b"" if status == 200 else json.dumps({"error": receipt.outcome.value, "reason": receipt.reason}).encode()
    headers = [(b"content-length", str(len(body)).encode()), (b"content-type", b"application/json")]
    if receipt.outcome is DeliveryOutcome.WRONG_METHOD:
        headers.append((b"allow", b"POST"))
    if receipt.outcome is DeliveryOutcome.UNAVAILABLE:
        headers.append((b"retry-after", b"10"))
    return {"type": "http.response.start", "status": status, "headers": headers}, {"type": "http.response.body", "body": body}
