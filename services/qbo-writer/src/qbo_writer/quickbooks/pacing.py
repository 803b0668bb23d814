"""The budget of a company's requests: a pure core with the time as an argument, and an asyncio shell around it.

Intuit's windows are not published: so that no window of 60 s or 1 s ever exceeds the limit, wherever it begins, starts
are counted in a sliding window that is longer than Intuit's by a margin (requests bunch on the way). Avoiding 429s is fastest.
"""

import asyncio
import time
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from bookrelay import metrics, telemetry
from bookrelay.messages import Priority

from qbo_writer.settings import Settings

log = telemetry.get_logger(__name__)

_ORDER = {Priority.INTERACTIVE: 0, Priority.LIVE: 1, Priority.BACKFILL: 2, Priority.SWEEP: 3}
_RESTART_SHARE = 0.7  # of the rate, after a 429
_CLIMB = 0.05  # of the rate, each minute without another 429
_CLIMB_SECONDS = 60.0
_LONGEST_FREEZE = 3600.0
_BATCHES_IN_USE = 15.0  # a batch started within this time means that more will follow


@dataclass(frozen=True)
class Limits:
    """Intuit's limits for one company, and the margin."""

    per_minute: int = 500
    per_second: int = 10
    in_flight: int = 10
    batches_per_minute: int = 40
    margin: float = 0.2
    throttle_wait: float = 60.0
    persist_seconds: float = 5.0  # how old the stored state may be while requests are sent
    landing: float = 0.05  # from the answer's arrival until QuickBooks counts the request as finished

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """Return the limits from the settings."""
        return cls(
            settings.pace_requests_per_minute,
            settings.pace_requests_per_second,
            settings.pace_in_flight,
            settings.pace_batches_per_minute,
            settings.pace_margin_seconds,
            settings.pace_throttle_wait_seconds,
            settings.pace_persist_seconds,
            settings.pace_landing_seconds,
        )


class Window:
    """At most `limit` starts in any `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._starts: deque[float] = deque()

    def free_at(self, now: float, limit: int) -> float:
        """Return when the next start is allowed, `now` or later."""
        if limit <= 0:
            return float("inf")
        while self._starts and self._starts[0] <= now - self.seconds:
            self._starts.popleft()
        return now if len(self._starts) < limit else max(now, self._starts[-limit] + self.seconds)

    def start(self, at: float) -> None:
        """Count a start; starts are in order of time."""
        self._starts.append(max(at, self._starts[-1]) if self._starts else at)

    def since(self, at: float) -> list[float]:
        """Return the starts after `at`."""
        starts = list(self._starts)
        return starts[bisect_right(starts, at) :]


class Budget:
    """The pure core: when may a request of this company start?"""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._minute = Window(60 + limits.margin)
        self._second = Window(1 + limits.margin)
        self._batches = Window(60 + limits.margin)
        # Batches are spread over the minute: that costs nothing, and few can be uncounted after a restart.
        self._spread = Window(50 / limits.batches_per_minute if limits.batches_per_minute else 0)
        self._last_batch = self.used_at = float("-inf")
        self.share = 1.0
        self.frozen_until = float("-inf")
        self._climbs_at = float("inf")

    def free_at(self, now: float, *, batch: bool = False, urgent: bool = False) -> float:
        """Return when the next start is allowed, as far as known now. Urgent ones leave no room for batches."""
        if now < self.frozen_until:
            return self.frozen_until
        self._climb(now)
        a_second = self._scaled(self.limits.per_second)
        batch_at = max(self._spread.free_at(now, 1), self._batches.free_at(now, self._scaled(self.limits.batches_per_minute)))
        at = max(self._minute.free_at(now, self._scaled(self.limits.per_minute)), self._second.free_at(now, a_second))
        if batch:
            return max(at, batch_at)
        if not urgent and a_second > 1 and now - self._last_batch < _BATCHES_IN_USE:
            # Thirty documents must not wait behind ten singles: a place is free when the next batch may start.
            beside = self._second.since(batch_at - self._second.seconds)
            if len(beside) >= a_second - 1:
                at = max(at, batch_at if batch_at > now else beside[1 - a_second] + self._second.seconds)
        return at

    def start(self, now: float, *, batch: bool = False) -> None:
        """Count a start."""
        self.used_at = now
        self._minute.start(now)
        self._second.start(now)
        if batch:
            self._batches.start(now)
            self._spread.start(now)
            self._last_batch = now

    def in_flight(self) -> int:
        """Return how many requests may be in flight."""
        return self._scaled(self.limits.in_flight)

    def throttled(self, now: float, retry_after: float | None) -> None:
        """Freeze, then start again more slowly. 429s that arrive while frozen belong to the same event."""
        wait = self.limits.throttle_wait if retry_after is None else min(retry_after, _LONGEST_FREEZE)
        until = now + wait
        if now >= self.frozen_until:
            self.share = min(_RESTART_SHARE, self.share * _RESTART_SHARE) if self.share < 1 else _RESTART_SHARE
            self.share = max(self.share, 0.1)
        self.frozen_until = max(self.frozen_until, until)
        self._climbs_at = self.frozen_until + _CLIMB_SECONDS

    def pause_as(self, other: "Budget") -> None:
        """Adopt the pause of `other` if it is longer."""
        if other.frozen_until > self.frozen_until:
            self.frozen_until, self.share, self._climbs_at = other.frozen_until, min(self.share, other.share), other._climbs_at

    def _climb(self, now: float) -> None:
        while self.share < 1 and now >= self._climbs_at:
            self.share = min(1.0, round(self.share + _CLIMB, 4))
            self._climbs_at += _CLIMB_SECONDS

    def _scaled(self, limit: int) -> int:
        return limit if self.share >= 1 else max(min(limit, 1), int(limit * self.share))

    def state(self, now: float, wall: float) -> dict[str, Any]:
        """Return what a restart needs, in wall-clock time: starts of the last minute, counted by the second."""
        back = wall - now
        return {
            "at": round(wall, 3),
            "starts": _counted(self._minute.since(now - self._minute.seconds), back),
            "batches": _counted(self._batches.since(now - self._batches.seconds), back),
            "share": self.share,
            "frozen_until": round(self.frozen_until + back, 3) if self.frozen_until > now else None,
            "climbs_at": round(self._climbs_at + back, 3) if self.share < 1 else None,
        }

    def load(self, state: dict[str, Any], now: float, wall: float) -> None:
        """Load `state`. Requests are assumed to have been sent at the full rate since it was stored."""
        if not state or "at" not in state:
            return
        back, kept = wall - now - 0.001, min(float(state["at"]), wall)  # a millisecond: floats of the epoch are coarse
        starts, batches = _expanded(state.get("starts")), _expanded(state.get("batches"))
        unkept = min(self.limits.persist_seconds, wall - kept)
        singles, most = self.limits.per_minute, self.limits.batches_per_minute
        bursts = int(unkept / self._second.seconds) + 1
        starts += [kept + unkept] * min(singles, bursts * self.limits.per_second)
        batches += [kept + unkept] * min(most, int(unkept / self._spread.seconds) + 1 if most else 0)
        for at in sorted(starts):
            if at > wall - self._minute.seconds:
                self._minute.start(min(at, wall) - back)
                self._second.start(min(at, wall) - back)
        for at in sorted(batches):
            if at > wall - self._batches.seconds:
                self._batches.start(min(at, wall) - back)
                self._spread.start(min(at, wall) - back)
        self.share = min(1.0, max(0.1, float(state.get("share") or 1)))
        if state.get("frozen_until"):
            self.frozen_until = min(float(state["frozen_until"]) - back, now + _LONGEST_FREEZE)
        if self.share < 1:
            self._climbs_at = float(state["climbs_at"]) - back if state.get("climbs_at") else now + _CLIMB_SECONDS


def _counted(starts: list[float], back: float) -> list[list[float]]:
    """Return [second, count] pairs; a start counts at the end of its second, to be safe."""
    counts: dict[int, int] = {}
    for at in starts:
        second = int(at + back) + 1
        counts[second] = counts.get(second, 0) + 1
    return [[second, count] for second, count in counts.items()]


def _expanded(pairs: Any) -> list[float]:
    return [float(second) for second, count in pairs or [] for _ in range(int(count))]


@dataclass(order=True)
class _Waiter:
    order: int
    number: int
    batch: bool = field(compare=False)
    granted: "asyncio.Future[None]" = field(compare=False)


class _Gate:
    """One company: its budgets, requests in flight and waiters."""

    def __init__(self, limits: Limits) -> None:
        self.grants = Budget(limits)
        self.departures = Budget(limits)  # again at the actual departure: a stall must not bunch requests
        self.flying = 0
        self.waiting: list[_Waiter] = []
        self.number = 0
        self.timer: asyncio.TimerHandle | None = None
        self.door = asyncio.Lock()


_INSIDE: ContextVar[str | None] = ContextVar("_INSIDE", default=None)


class Pacer:
    """Budgets for every company that this process writes for."""

    def __init__(
        self, settings: Settings, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self._limits, self._clock, self._wall = Limits.of(settings), clock, wall
        self._gates: dict[str, _Gate] = {}
        self.keep: Callable[[str], Awaitable[None]] | None = None  # stores a company's state; called when a pause begins

    @asynccontextmanager
    async def slot(self, realm: str, batch: bool = False, priority: Priority = Priority.LIVE) -> AsyncIterator[None]:
        """Wait for the budget and a place in flight; the place is freed at the end of the block.

        For `send` and `send_batch`. The client's reads (read, find, changes) take slots themselves; inside a slot they
        count against the rate, and share its place in flight.
        """
        gate = self._gate(realm)
        if _INSIDE.get() == realm:
            yield
            return
        gate.number += 1
        waiter = _Waiter(_ORDER[priority], gate.number, batch, asyncio.get_running_loop().create_future())
        gate.waiting.append(waiter)
        gate.waiting.sort()
        self._pump(gate)
        try:
            await waiter.granted
        except asyncio.CancelledError:
            if waiter in gate.waiting:
                gate.waiting.remove(waiter)
            else:
                gate.flying -= 1
            self._pump(gate)
            raise
        inside = _INSIDE.set(realm)
        try:
            yield
        finally:
            _INSIDE.reset(inside)
            if self._limits.landing > 0:
                asyncio.get_running_loop().call_later(self._limits.landing, self._landed, gate)
            else:
                self._landed(gate)

    async def depart(self, realm: str, batch: bool = False) -> None:
        """Called by the client right before a request is sent: normally returns at once; prevents bunching after a stall."""
        gate = self._gate(realm)
        async with gate.door:  # first come, first served
            while (at := gate.departures.free_at(now := self._clock(), batch=batch, urgent=True)) > now:  # noqa: ASYNC110
                await asyncio.sleep(min(at - now, 1.0))
            gate.departures.start(now, batch=batch)

    def used_at(self, realm: str) -> float:
        """Return when a request was granted last."""
        return self._gate(realm).grants.used_at

    def batch_now(self, realm: str) -> bool:
        """Whether a batch call could leave right now."""
        gate, now = self._gate(realm), self._clock()
        return gate.flying < gate.grants.in_flight() and gate.grants.free_at(now, batch=True) <= now

    async def throttled(self, realm: str, retry_after: float | None) -> None:
        """Report a 429: the company freezes, then starts again more slowly. Returns when the pause is stored: a writer that takes
        over during it respects it.
        """
        gate, now = self._gate(realm), self._clock()
        for budget in (gate.grants, gate.departures):
            budget.throttled(now, retry_after)
        metrics.QBO_THROTTLED.labels(realm).inc()
        metrics.QBO_PACE.labels(realm).set(gate.grants.share)
        frozen = round(gate.grants.frozen_until - now, 1)
        log.warning("pace.throttled", realm=realm, frozen_seconds=frozen, share=gate.grants.share)
        if self.keep:
            await self.keep(realm)

    def load(self, realm: str, state: dict[str, Any]) -> None:
        """Load the state that `state` returned before a restart (realms.pace)."""
        before = self._gates.get(realm)
        gate = self._gates[realm] = _Gate(self._limits)
        gate.grants.load(state, self._clock(), self._wall())
        gate.departures.load(state, self._clock(), self._wall())
        if before:  # the lease was lost and taken again: a pause that we know of may not have been stored
            gate.grants.pause_as(before.grants)
            gate.departures.pause_as(before.departures)

    def state(self, realm: str) -> dict[str, Any]:
        """Return the state to store in realms.pace, as small JSON, every PACE_PERSIST_SECONDS while requests are sent."""
        gate = self._gate(realm)
        metrics.QBO_PACE.labels(realm).set(gate.grants.share)
        return gate.grants.state(self._clock(), self._wall())

    def _gate(self, realm: str) -> _Gate:
        if realm not in self._gates:
            self._gates[realm] = _Gate(self._limits)
        return self._gates[realm]

    def _landed(self, gate: _Gate) -> None:
        gate.flying -= 1
        self._pump(gate)

    def _pump(self, gate: _Gate) -> None:
        """Start what may start, best first; a batch that waits for its own budget does not block singles."""
        if gate.timer:
            gate.timer.cancel()
            gate.timer = None
        wake, blocked = float("inf"), set[bool]()
        for waiter in list(gate.waiting):
            if waiter.batch in blocked:
                continue
            now, most = self._clock(), gate.grants.in_flight()
            # one place is reserved from back-fill and sweep, so that nobody waits for a slow batch because of them
            if gate.flying >= most or (waiter.order >= _ORDER[Priority.BACKFILL] and most > 1 and gate.flying >= most - 1):
                break  # the next one that finishes pumps again
            urgent = waiter.order == _ORDER[Priority.INTERACTIVE]
            at = gate.grants.free_at(now, batch=waiter.batch, urgent=urgent)
            if at > now:  # continue: a batch may have room where a single has none, and vice versa
                wake = min(wake, at)
                blocked.add(waiter.batch)
                if len(blocked) == 2:
                    break
                continue
            gate.waiting.remove(waiter)
            if not waiter.granted.done():
                gate.grants.start(now, batch=waiter.batch)
                gate.flying += 1
                waiter.granted.set_result(None)
        if gate.waiting and wake < float("inf"):
            delay = max(wake - self._clock(), 0.001)
            gate.timer = asyncio.get_running_loop().call_later(delay, self._pump, gate)
