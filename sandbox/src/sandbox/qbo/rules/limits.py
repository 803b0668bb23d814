"""Rate limits on real time, which may be frozen apart from the companies' clock, and metering on that clock.

It decides; the app turns a refusal into 429.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sandbox.qbo.rules.faults import Fault


@dataclass(slots=True)
class Bucket:
    """A token bucket: `size` at once, refilled over `seconds`."""

    size: float
    seconds: float
    level: float = -1.0
    last: float = 0.0

    def ready(self, now: float) -> bool:
        """Is there a token? Takes none."""
        if self.level < 0:
            self.level, self.last = self.size, now
        self.level = min(self.size, self.level + (now - self.last) * self.size / self.seconds)
        self.last = now
        return self.level >= 1

    def take(self) -> None:
        """Use one token."""
        self.level -= 1

    def used(self, now: float) -> float:
        """How much of the bucket is used up now."""
        self.ready(now)
        return round(self.size - self.level, 2)


@dataclass(slots=True)
class Window:
    """A sliding window: never more than `size` in any `seconds`."""

    size: float
    seconds: float
    taken: deque[float] = field(default_factory=deque)
    last: float = 0.0

    def ready(self, now: float) -> bool:
        """Is there room? Takes none."""
        self.last = now
        while self.taken and self.taken[0] <= now - self.seconds:
            self.taken.popleft()
        return len(self.taken) < self.size

    def take(self) -> None:
        """Use one place."""
        self.taken.append(self.last)

    def used(self, now: float) -> float:
        """How much of the window is used up now."""
        self.ready(now)
        return float(len(self.taken))


@dataclass(slots=True)
class LimitSettings:
    """The numbers of the reference, section 2.1; `enabled` False lets everything pass."""

    enabled: bool = True
    per_minute: int = 500
    per_second: int = 10
    in_flight: int = 10
    batch_per_minute_app: int = 40
    batch_per_minute_realm: int = 120
    mails_per_day: int = 40
    counting: str = "bucket"  # bucket: may be full at once and refills evenly | window: sliding, the strictest reading
    format: str = "accept"  # accept: as the request's Accept header says | json | xml
    retry_after: int | None = None
    metered_cap: int = 500_000
    metered_block: bool = False


@dataclass(slots=True)
class _Realm:
    minute: Bucket | Window
    batch: Bucket | Window
    second: dict[str, Bucket | Window] = field(default_factory=dict)
    batch_app: dict[str, Bucket | Window] = field(default_factory=dict)
    in_flight: dict[str, int] = field(default_factory=dict)


class Limits:
    """Buckets for each realm and app, requests in flight, and the month's metered calls of the workspace."""

    def __init__(self, settings: LimitSettings) -> None:
        self.settings = settings
        self.frozen_at: float | None = None
        self.realms: dict[str, _Realm] = {}
        self.in_flight_peak = 0
        self.flying = 0
        self.core = 0
        self.metered = 0
        self.metered_by_month: dict[str, int] = {}

    def _realm(self, realm_id: str) -> _Realm:
        realm = self.realms.get(realm_id)
        if realm is None:
            s = self.settings
            realm = self.realms[realm_id] = _Realm(self._gauge(s.per_minute, 60), self._gauge(s.batch_per_minute_realm, 60))
        return realm

    def _gauge(self, size: float, seconds: float) -> Bucket | Window:
        return Window(size, seconds) if self.settings.counting == "window" else Bucket(size, seconds)

    def now(self) -> float:
        """Real time, or the instant at which it was frozen."""
        return time.monotonic() if self.frozen_at is None else self.frozen_at

    def freeze(self, frozen: bool) -> None:
        """Stop the time that limits live on, or go back to real time."""
        self.frozen_at = self.now() if frozen else None

    def advance(self, seconds: float) -> None:
        """Move the frozen time on."""
        if self.frozen_at is None:
            raise ValueError("limits live on real time: freeze it first")
        self.frozen_at += seconds

    def reset(self) -> None:
        """Full buckets; used after the settings change. What is in flight stays counted."""
        flying = {realm_id: realm.in_flight for realm_id, realm in self.realms.items()}
        self.realms.clear()
        for realm_id, in_flight in flying.items():
            self._realm(realm_id).in_flight = in_flight

    def enter(self, realm_id: str, app: str, *, batch: bool) -> bool:
        """Let a request in and count it in flight, or refuse it (False)."""
        realm, s = self._realm(realm_id), self.settings
        flying = realm.in_flight.get(app, 0)
        if s.enabled and not self._passes(realm, app, flying, batch=batch):
            return False
        realm.in_flight[app] = flying + 1
        self.flying += 1
        self.in_flight_peak = max(self.in_flight_peak, self.flying)
        return True

    def _passes(self, realm: _Realm, app: str, flying: int, *, batch: bool) -> bool:
        """A token of every bucket, or none at all."""
        now, s = self.now(), self.settings
        second = realm.second.get(app) or realm.second.setdefault(app, self._gauge(s.per_second, 1))
        gauges = [realm.minute, second]
        if batch:
            own = realm.batch_app.get(app) or realm.batch_app.setdefault(app, self._gauge(s.batch_per_minute_app, 60))
            gauges += [realm.batch, own]
        if flying >= s.in_flight or not all(gauge.ready(now) for gauge in gauges):
            return False
        for gauge in gauges:
            gauge.take()
        return True

    def leave(self, realm_id: str, app: str) -> None:
        """Count an admitted request as finished."""
        self.flying = max(0, self.flying - 1)
        in_flight = self._realm(realm_id).in_flight
        in_flight[app] = max(0, in_flight.get(app, 0) - 1)

    def meter(self, epoch: float, *, reads: int = 0, writes: int = 0) -> None:
        """Count calls; raises Fault 3001 when the month's reads are used up and blocking is on."""
        self.core += writes
        if not reads:
            return
        month = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m")
        used = self.metered_by_month.get(month, 0)
        if self.settings.metered_block and used + reads > self.settings.metered_cap:
            raise Fault(
                "3001", detail="The monthly limit of CorePlus API calls was reached. The app is blocked until next month."
            )
        self.metered_by_month[month] = used + reads
        self.metered += reads

    def usage(self, realm_id: str) -> dict[str, float | int]:
        """What is used of each limit now, for pages and counters."""
        realm, now = self._realm(realm_id), self.now()
        return {
            "requests_last_minute": realm.minute.used(now),
            "batches_last_minute": realm.batch.used(now),
            "in_flight": sum(realm.in_flight.values()),
        }
