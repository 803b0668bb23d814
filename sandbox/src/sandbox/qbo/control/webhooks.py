"""Webhook deliveries: both formats, signed over the raw body, retried on Intuit's schedule on the controllable clock."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
import orjson

from sandbox.qbo.company.schema import KINDS
from sandbox.qbo.company.store import Event

SCHEDULE = (10, 20, 30, 300, 1200, 7200, 14400, 21600)  # seconds; then every 6 hours
LETTERS = {"Create": "C", "Update": "U", "Delete": "D", "Merge": "M", "Void": "V", "Emailed": "E"}
WORDS = {"Create": "created", "Update": "updated", "Delete": "deleted", "Merge": "merged", "Void": "voided", "Emailed": "emailed"}
NAMES = {"CompanyCurrency": "Currency"}  # entities that webhooks call otherwise
ANSWER_SECONDS = 3.0


Waiting = tuple[float, Event, str]  # (may leave at, event, id)


@dataclass(slots=True)
class Subscriber:
    """One endpoint of an app."""

    id: str
    url: str
    format: str = "cloudevents"  # classic | cloudevents
    realms: list[str] | None = None  # None: all
    verifier_token: str = ""
    delay: float = 0.0  # seconds on the clock before an event may leave
    duplicate: float = 0.0  # probability that a delivery is sent twice
    reorder: float = 0.0  # probability that what waits is shuffled, or, when alone, stays behind up to 2 s
    bundle_seconds: float = 0.05  # real seconds in which events gather into one delivery
    max_events: int = 100
    void_word: str = "voided"
    paused: bool = False
    answer_seconds: float = ANSWER_SECONDS  # real seconds after which no answer is a failure
    waiting: list[Waiting] = field(default_factory=list)
    attempts: int = 0  # of the delivery at the head of the line
    next_attempt: float = 0.0
    head: list[Waiting] = field(default_factory=list)
    held: set[str] = field(default_factory=set)  # ids that `reorder` holds back
    delivered: int = 0
    failed: int = 0
    sent: list[dict[str, Any]] = field(default_factory=list)  # last attempts, for tests
    sending: bool = False  # an attempt is under way: its answer is not known yet
    looked: int = 0  # the newest change that the sender has seen and acted on

    def due(self, now: float) -> bool:
        """May something leave now?"""
        if self.paused:
            return False
        return self.next_attempt <= now if self.head else any(entry[0] <= now for entry in self.waiting)

    def show(self) -> dict[str, Any]:
        """For the control API."""
        return {
            "id": self.id,
            "url": self.url,
            "format": self.format,
            "realms": self.realms,
            "waiting": len(self.waiting) + len(self.head),
            "attempts": self.attempts,
            "next_attempt": self.next_attempt,
            "sending": self.sending,
            "delivered": self.delivered,
            "failed": self.failed,
            "paused": self.paused,
            "delay": self.delay,
            "duplicate": self.duplicate,
            "reorder": self.reorder,
            "answer_seconds": self.answer_seconds,
            "sent": self.sent[-50:],
        }


class Webhooks:
    """Collects events and sends them to each subscriber in order: a failed delivery delays the later ones."""

    def __init__(self, seed: int, *, now: Callable[[], float], verifier_token: Callable[[], str]) -> None:
        """`now` is the stand-in's clock; `verifier_token` signs for endpoints without their own token."""
        self.seed = seed
        self.now = now
        self.verifier_token = verifier_token
        self.subscribers: dict[str, Subscriber] = {}
        self.random = random.Random(f"{seed}:webhooks")
        self.task: asyncio.Task[None] | None = None
        self.serving: dict[str, asyncio.Task[None]] = {}  # by subscriber
        self.wake: asyncio.Event | None = None
        self.client: httpx.AsyncClient | None = None
        self.changes = 0  # events, the clock moved, settings: each has to be looked at
        self.under_way = 0  # attempts, also those of subscribers that are gone

    def on_event(self, event: Event) -> None:
        """Called by the companies after each change."""
        if not self.subscribers:
            return
        letters = KINDS[event.kind].webhook
        op = event.op if LETTERS[event.op] in letters else "Update"
        if LETTERS[op] not in letters:
            return
        if op != event.op:
            event = Event(event.realm_id, event.kind, event.id, op, event.epoch, event.deleted_id)
        for subscriber in self.subscribers.values():
            if subscriber.realms is None or event.realm_id in subscriber.realms:
                event_id = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
                subscriber.waiting.append((event.epoch + subscriber.delay, event, event_id))
        self.kick()

    def forget(self, *, keep_subscribers: bool) -> None:
        """After a reset: nothing waits any more, and the endpoints are gone unless they are to be kept."""
        self.random = random.Random(f"{self.seed}:webhooks")
        if not keep_subscribers:
            self.subscribers = {}
        for subscriber in self.subscribers.values():
            subscriber.waiting, subscriber.head, subscriber.sent, subscriber.held = [], [], [], set()
            subscriber.attempts, subscriber.next_attempt, subscriber.delivered, subscriber.failed = 0, 0.0, 0, 0
        self.kick()

    def kick(self) -> None:
        """Something changed: look again (also after the clock moved)."""
        self.changes += 1
        self._look()

    def _look(self) -> None:
        if self.wake is not None:
            self.wake.set()

    def idle(self, subscriber: Subscriber) -> bool:
        """Whether every change is processed, every attempt has a response, and nothing is due."""
        if subscriber.sending:
            return False
        if subscriber.paused or not (subscriber.waiting or subscriber.head):
            return True
        return subscriber.looked == self.changes and not subscriber.due(self.now())

    def show(self) -> dict[str, Any]:
        """For the control API."""
        shown = [{**s.show(), "idle": self.idle(s)} for s in self.subscribers.values()]
        return {"subscribers": shown, "idle": not self.under_way and all(s["idle"] for s in shown)}

    def add(self, spec: dict[str, Any]) -> Subscriber:
        """Register an endpoint; raises ValueError with a reason."""
        url = str(spec.get("url") or "")
        if not url.startswith(("http://", "https://")):
            raise ValueError("url must be http or https")
        form = str(spec.get("format", "cloudevents"))
        if form not in ("classic", "cloudevents"):
            raise ValueError("format must be classic or cloudevents")
        realms = spec.get("realms")
        subscriber = Subscriber(
            str(spec.get("id") or len(self.subscribers) + 1),
            url,
            form,
            None if realms is None else [str(r) for r in realms],
            str(spec.get("verifier_token") or self.verifier_token()),
        )
        for name in ("delay", "duplicate", "reorder", "bundle_seconds", "answer_seconds"):
            if name in spec:
                setattr(subscriber, name, float(spec[name]))
        subscriber.max_events = int(spec.get("max_events", 100))
        subscriber.void_word = str(spec.get("void_word", "voided"))
        subscriber.paused = bool(spec.get("paused", False))
        self.subscribers[subscriber.id] = subscriber
        return subscriber

    # -- sending ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin sending; called when the server starts."""
        self.wake = asyncio.Event()
        self.client = httpx.AsyncClient(trust_env=False)
        self.task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End sending; what waits is lost, as the stand-in's state is memory."""
        running = [task for task in (self.task, *self.serving.values()) if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if self.client:
            await self.client.aclose()

    async def _run(self) -> None:
        """One task for each endpoint with pending deliveries, so that a slow endpoint delays no other."""
        assert self.wake is not None
        while True:
            self.wake.clear()
            pending = [s for s in self.subscribers.values() if (s.waiting or s.head) and not s.paused]
            for subscriber in pending:
                if subscriber.id not in self.serving:
                    task = asyncio.create_task(self._bundle_and_serve(subscriber))
                    self.serving[subscriber.id] = task
                    task.add_done_callback(partial(self._served, subscriber))
            # the clock may be moved at any time, which kicks; real time passes too, so look every half second
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), 0.5 if pending else None)

    async def _bundle_and_serve(self, subscriber: Subscriber) -> None:
        await asyncio.sleep(subscriber.bundle_seconds)
        await self._serve(subscriber)

    def _served(self, subscriber: Subscriber, task: asyncio.Task[None]) -> None:
        self.serving.pop(subscriber.id, None)
        if subscriber.looked != self.changes:
            self._look()  # something came, or the clock moved, while the last delivery was on its way

    async def _serve(self, subscriber: Subscriber) -> None:
        while not subscriber.paused and self.subscribers.get(subscriber.id) is subscriber:
            now, subscriber.looked = self.now(), self.changes
            if not subscriber.head:
                self._take(subscriber, now)
            if not subscriber.head or subscriber.next_attempt > now:
                return
            if not await self._attempt(subscriber):
                return

    def _take(self, subscriber: Subscriber, now: float) -> None:
        ready = [entry for entry in subscriber.waiting if entry[0] <= now]
        if ready and subscriber.reorder and self.random.random() < subscriber.reorder:
            ready = self._reordered(subscriber, ready, now)
        subscriber.head = ready[: subscriber.max_events]
        taken = {entry[2] for entry in subscriber.head}
        subscriber.held -= taken
        subscriber.waiting = [entry for entry in subscriber.waiting if entry[2] not in taken]
        subscriber.attempts, subscriber.next_attempt = 0, 0.0

    def _reordered(self, subscriber: Subscriber, ready: list[Waiting], now: float) -> list[Waiting]:
        """Shuffled; an event that is alone stays behind once for up to two seconds, so that later ones overtake it."""
        if len(ready) > 1:
            self.random.shuffle(ready)
            return ready
        event_id = ready[0][2]
        if event_id in subscriber.held:
            return ready
        later = now + self.random.uniform(0.2, 2)
        subscriber.held.add(event_id)
        subscriber.waiting = [(later, *entry[1:]) if entry[2] == event_id else entry for entry in subscriber.waiting]
        return []

    async def _attempt(self, subscriber: Subscriber) -> bool:
        """Send one delivery; True when acknowledged. The next attempt is scheduled from the start of this one."""
        head, begun = subscriber.head, self.now()
        body = render(subscriber, [(event, event_id) for _, event, event_id in head])
        twice = subscriber.duplicate and self.random.random() < subscriber.duplicate
        subscriber.sending = True
        self.under_way += 1
        try:
            ok = await self._post(subscriber, body)
            if ok and twice:
                await self._post(subscriber, body)
        finally:
            subscriber.sending = False
            self.under_way -= 1
        if subscriber.head is not head:
            return False  # everything was reset meanwhile
        if ok:
            subscriber.delivered += len(head)
            subscriber.head, subscriber.attempts = [], 0
            return True
        subscriber.failed += 1
        wait = SCHEDULE[min(subscriber.attempts, len(SCHEDULE) - 1)]
        subscriber.attempts += 1
        subscriber.next_attempt = begun + wait
        return False

    async def _post(self, subscriber: Subscriber, body: bytes) -> bool:
        assert self.client is not None
        now = self.now()
        headers = {
            "content-type": "application/json; charset=utf-8",
            "intuit-signature": signature(subscriber.verifier_token, body),
            "intuit-created-time": _iso(now),
            "intuit-t-id": str(uuid.UUID(int=self.random.getrandbits(128), version=4)),
            "intuit-notification-schema-version": "0.1" if subscriber.format == "classic" else "1.0",
        }
        status = 0
        try:
            answer = await self.client.post(subscriber.url, content=body, headers=headers, timeout=subscriber.answer_seconds)
            status = answer.status_code
        except httpx.HTTPError:
            status = 0
        subscriber.sent = [
            *subscriber.sent[-49:],
            {"time": now, "status": status, "attempt": subscriber.attempts, "body": body.decode()},
        ]
        return status == 200


def signature(verifier_token: str, body: bytes) -> str:
    """`intuit-signature`: base64 of HMAC-SHA256 over the raw body."""
    return base64.b64encode(hmac.new(verifier_token.encode(), body, hashlib.sha256).digest()).decode()


def _iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(epoch * 1000) % 1000:03d}Z"


def render(subscriber: Subscriber, events: list[tuple[Event, str]]) -> bytes:
    """The raw body of a delivery; several realms may share it."""
    if subscriber.format == "classic":
        realms: dict[str, list[dict[str, Any]]] = {}
        for event, _ in events:
            entry = {
                "name": NAMES.get(event.kind, event.kind),
                "id": event.id,
                "operation": event.op,
                "lastUpdated": _iso(event.epoch),
            }
            if event.deleted_id:
                entry["deletedId"] = event.deleted_id
            realms.setdefault(event.realm_id, []).append(entry)
        return orjson.dumps(
            {
                "eventNotifications": [
                    {"realmId": realm, "dataChangeEvent": {"entities": entries}} for realm, entries in realms.items()
                ]
            }
        )
    return orjson.dumps([_cloud_event(subscriber, event, event_id) for event, event_id in events])


def _cloud_event(subscriber: Subscriber, event: Event, event_id: str) -> dict[str, Any]:
    word = subscriber.void_word if event.op == "Void" else WORDS[event.op]
    data: dict[str, Any] = {"deletedid": event.deleted_id} if event.deleted_id else {}
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "intuit." + base64.b64encode(b"sandbox").decode(),
        "type": f"qbo.{NAMES.get(event.kind, event.kind).lower()}.{word}.v1",
        "datacontenttype": "application/json",
        "time": datetime.fromtimestamp(event.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z",
        "intuitentityid": event.id,
        "intuitaccountid": event.realm_id,
        "data": data,
    }
