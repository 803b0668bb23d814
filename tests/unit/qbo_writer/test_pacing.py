"""The pacer: in no window ever more than the limit, whatever happens; higher classes first; a restart does not burst."""

import asyncio
import random
import selectors
from bisect import bisect_left
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from bookrelay.messages import Priority
from hypothesis import given, settings
from hypothesis import strategies as st
from qbo_writer.quickbooks.pacing import Budget, Limits, Pacer
from qbo_writer.settings import Settings

LIMITS = Limits()
BEGIN = 1000.0
T = TypeVar("T")
RANDOM = settings(max_examples=60, deadline=None)


def writer_settings(**more: object) -> Settings:
    return Settings.model_validate({"database_url": "postgresql://nobody@127.0.0.1:1/none", "qbo_realm_ids": "1", **more})


def most_within(starts: list[float], seconds: float) -> int:
    """The largest number of starts in any half-open window of this length, wherever it begins."""
    return max((bisect_left(starts, start + seconds) - index for index, start in enumerate(starts)), default=0)


class Run:
    """A greedy sender: starts as soon as the budget allows."""

    def __init__(self, limits: Limits = LIMITS, budget: Budget | None = None, now: float = 1000.0) -> None:
        self.budget, self.now = budget or Budget(limits), now
        self.starts: list[float] = []
        self.batches: list[float] = []

    def one(self, *, batch: bool = False) -> float:
        for _ in range(1000):
            at = self.budget.free_at(self.now, batch=batch)
            if at <= self.now:
                break
            self.now = at
        else:
            pytest.fail("never free")
        self.budget.start(self.now, batch=batch)
        self.starts.append(self.now)
        if batch:
            self.batches.append(self.now)
        return self.now


def check(run: Run, limits: Limits = LIMITS) -> None:
    assert most_within(run.starts, 60 + limits.margin * 0.999) <= limits.per_minute
    assert most_within(run.starts, 1 + limits.margin * 0.999) <= limits.per_second
    assert most_within(run.batches, 60 + limits.margin * 0.999) <= limits.batches_per_minute


def test_greedy_sender_uses_the_whole_minute_and_no_more() -> None:
    run = Run()
    while run.now < 1000 + 600:
        run.one()
    check(run)
    assert len(run.starts) / 10 > 495, "the margin costs less than one per cent"


def test_batches_and_singles_together_reach_the_ceiling() -> None:
    """The goal: 40 x 30 + 460 = 1,660 documents a minute."""
    run, documents = Run(), 0
    while run.now < 1000 + 600:
        if run.budget.free_at(run.now, batch=True) <= run.budget.free_at(run.now):  # both wait, as in the shell
            run.one(batch=True)
            documents += 30
        else:
            run.one()
            documents += 1
    check(run)
    assert documents / 10 > 1640


@RANDOM
@given(
    st.lists(st.tuples(st.floats(0, 5), st.booleans(), st.sampled_from(["start"] * 12 + ["throttled", "restart"])), max_size=400),
    st.sampled_from([LIMITS, Limits(30, 3, 2, 5, 0.5, 10.0, 2.0), Limits(7, 7, 1, 1, 0.0, 5.0, 0.0), Limits(500, 10, 10, 0)]),
)
def test_in_no_window_more_than_the_limit(steps: list[tuple[float, bool, str]], limits: Limits) -> None:
    """Any mixture of singles, batches, pauses, 429s and restarts from the kept state."""
    run = Run(limits)
    for pause, batch, what in steps:
        run.now += pause if pause > 2.5 else 0
        if what == "throttled":
            run.budget.throttled(run.now, None)
        elif what == "restart":
            state = run.budget.state(run.now, run.now + 5e8)
            run.budget = Budget(limits)
            run.budget.load(state, run.now, run.now + 5e8)
        elif not (batch and limits.batches_per_minute == 0):
            run.one(batch=batch)
    check(run, limits)


@RANDOM
@given(st.integers(0, 500), st.floats(0, 100), st.floats(0, 5))
def test_restart_counts_what_left_after_the_state_was_kept(before: int, away: float, unkept: float) -> None:
    """Killed up to PACE_PERSIST_SECONDS after the state was kept, while it sent at the full rate."""
    run = Run()
    for _ in range(before):
        run.one(batch=run.budget.free_at(run.now, batch=True) <= run.now)
    state = run.budget.state(run.now, run.now)
    kept_at = run.now
    while run.now < kept_at + unkept:
        run.one(batch=run.budget.free_at(run.now, batch=True) <= run.now)
    run.batches = [at for at in run.batches if at <= kept_at + unkept]
    run.starts = [at for at in run.starts if at <= kept_at + unkept]
    run.now = max(kept_at + unkept, kept_at + away)
    run.budget = Budget(LIMITS)
    run.budget.load(state, run.now, run.now)
    for _ in range(600):
        run.one(batch=run.budget.free_at(run.now, batch=True) <= run.now)
    check(run)


def test_throttled_freezes_then_starts_slower_and_climbs() -> None:
    budget = Budget(LIMITS)
    budget.throttled(100, None)
    budget.throttled(101, None)  # the other nine that were in flight
    assert budget.free_at(102) == 161
    run = Run(budget=budget, now=161.0)
    assert (budget.share, budget.in_flight()) == (0.7, 7)
    while run.now < 161 + 59:
        run.one()
    assert 330 <= len(run.starts) <= 357
    assert most_within(run.starts, 60) <= 350
    budget.free_at(161 + 60 * 6 + 1)
    assert budget.share == 1.0


def test_retry_after_is_obeyed_and_bounded() -> None:
    budget = Budget(LIMITS)
    budget.throttled(100, 7)
    assert budget.free_at(100) == 107
    budget.throttled(200, 1e9)
    assert budget.free_at(200) == 3800


def test_second_throttle_goes_further_down() -> None:
    budget = Budget(LIMITS)
    budget.throttled(0, 10)
    budget.throttled(20, 10)
    assert budget.share == pytest.approx(0.49)
    for _ in range(20):
        budget.throttled(budget.frozen_until, 1)
    assert budget.share == 0.1


def test_state_is_small_and_freeze_survives_a_restart() -> None:
    import json

    run = Run()
    while run.now < 1100:
        run.one()
    run.budget.throttled(run.now, 60)
    state = run.budget.state(run.now, run.now + 1e9)
    assert len(json.dumps(state)) < 2500
    budget = Budget(LIMITS)
    budget.load(json.loads(json.dumps(state)), 5.0, run.now + 1e9 + 1)
    assert budget.free_at(5.0) == pytest.approx(64.0, abs=0.01)
    assert budget.share == 0.7


@pytest.mark.parametrize("state", [{}, {"at": 5}, {"unknown": 1}, {"at": 5, "starts": None, "share": None}])
def test_old_or_empty_state_is_harmless(state: dict[str, object]) -> None:
    budget = Budget(LIMITS)
    budget.load(state, 1.0, 1e9)
    assert budget.free_at(1.0) == 1.0


# ---------------------------------------------------------------------------------------------------------- the async shell


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer: what takes minutes runs at once, and always the same way."""

    def __init__(self) -> None:
        self.now = BEGIN
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.now


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.now += max(0.0, timeout or 0.0)
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        return ready


def at_once(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run it on a clock that jumps."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work())


def virtual_pacer(**more: object) -> Pacer:
    """A pacer on the clock of the loop that runs."""
    loop = asyncio.get_running_loop()
    return Pacer(writer_settings(**more), clock=loop.time, wall=lambda: loop.time() + 1.7e9)


@pytest.fixture
def fast() -> Pacer:
    return Pacer(writer_settings(pace_requests_per_minute=60000, pace_requests_per_second=1000, pace_landing_seconds=0))


async def test_places_in_flight_are_never_exceeded(fast: Pacer) -> None:
    flying = most = 0

    async def work() -> None:
        nonlocal flying, most
        async with fast.slot("1"):
            flying += 1
            most = max(most, flying)
            await asyncio.sleep(0.001)
            flying -= 1

    await asyncio.gather(*(work() for _ in range(200)))
    assert most == 10


async def test_higher_classes_go_first_and_keep_a_place(fast: Pacer) -> None:
    order: list[str] = []

    async def work(priority: Priority, name: str) -> None:
        async with fast.slot("1", priority=priority):
            order.append(name)

    async with AsyncExitStack() as stack:
        for _ in range(9):
            await stack.enter_async_context(_apart(fast, Priority.BACKFILL))
        sweeps = [asyncio.create_task(work(Priority.SWEEP, "sweep")) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.wait_for(work(Priority.INTERACTIVE, "person"), 30)
        assert order == ["person"], "nine slow back-fills leave one place for a person"
        tasks = [asyncio.create_task(work(Priority.BACKFILL, "backfill")), asyncio.create_task(work(Priority.LIVE, "live"))]
        await asyncio.wait_for(tasks[1], 30)
    await asyncio.wait_for(asyncio.gather(*tasks, *sweeps), 30)
    assert order == ["person", "live", "backfill", "sweep", "sweep", "sweep"]


class _apart:  # noqa: N801
    """A slot held by a task of its own (a slot inside a slot is the same place)."""

    def __init__(self, pacer: Pacer, priority: Priority) -> None:
        self._pacer, self._priority = pacer, priority
        self._in, self._out = asyncio.Event(), asyncio.Event()

    async def _hold(self) -> None:
        async with self._pacer.slot("1", priority=self._priority):
            self._in.set()
            await self._out.wait()

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._hold())
        await self._in.wait()

    async def __aexit__(self, *_: object) -> None:
        self._out.set()
        await self._task


def test_cancelled_waiters_give_nothing_away() -> None:
    async def cancelled() -> None:
        pacer = virtual_pacer(pace_requests_per_minute=60000, pace_requests_per_second=1000, pace_landing_seconds=0)
        async with AsyncExitStack() as stack:
            for _ in range(10):
                await stack.enter_async_context(_apart(pacer, Priority.LIVE))
            waiting = [asyncio.create_task(_pass(pacer)) for _ in range(20)]
            await asyncio.sleep(1)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        async with AsyncExitStack() as stack:
            for _ in range(10):
                await stack.enter_async_context(_apart(pacer, Priority.LIVE))
            eleventh = asyncio.create_task(_pass(pacer))
            await asyncio.sleep(3600)
            assert not eleventh.done(), "an eleventh place"
        await eleventh

    at_once(cancelled)


async def _pass(pacer: Pacer, *, batch: bool = False) -> None:
    async with pacer.slot("1", batch=batch):
        pass


async def test_singles_pass_a_batch_that_waits_for_its_budget() -> None:
    pacer = Pacer(writer_settings(pace_batches_per_minute=1, pace_landing_seconds=0))
    await _pass(pacer, batch=True)
    assert not pacer.batch_now("1")
    batch = asyncio.create_task(_pass(pacer, batch=True))
    await asyncio.sleep(0)
    await asyncio.wait_for(_pass(pacer), 30)
    assert not batch.done()
    batch.cancel()


async def test_companies_do_not_share_a_budget() -> None:
    pacer = Pacer(writer_settings(pace_requests_per_minute=1, pace_requests_per_second=1, pace_landing_seconds=0))
    for realm in ("1", "2", "3"):
        async with asyncio.timeout(30), pacer.slot(realm):
            pass


async def test_a_read_inside_a_slot_needs_no_second_place() -> None:
    pacer = Pacer(writer_settings(pace_in_flight=1, pace_landing_seconds=0))
    async with asyncio.timeout(30), pacer.slot("1"), pacer.slot("1"):
        pass


def test_departures_are_spread_again_after_a_stall() -> None:
    """Ten slots granted, then the database stalls, then ten more: what leaves stays within the limit."""

    async def stalled() -> list[float]:
        loop, pacer, left = asyncio.get_running_loop(), virtual_pacer(pace_landing_seconds=0, pace_in_flight=100), list[float]()
        async with AsyncExitStack() as held:
            for pause in (1.3, 0.0):  # granted, and nothing has left when the next ten are
                for _ in range(10):
                    await held.enter_async_context(_apart(pacer, Priority.LIVE))
                await asyncio.sleep(pause)
            assert loop.time() < BEGIN + 1.4
            for _ in range(20):
                await pacer.depart("1")
                left.append(loop.time())
        return left

    left = at_once(stalled)
    assert left[9] < BEGIN + 1.4, "the first ten leave at once"
    assert most_within(left, 1) == 10


def test_throttle_freezes_slots_and_departures() -> None:
    async def throttled() -> float:
        pacer, began = virtual_pacer(pace_throttle_wait_seconds=0.2, pace_landing_seconds=0), asyncio.get_running_loop().time()
        await pacer.throttled("1", None)
        await _pass(pacer)
        await pacer.depart("1")
        return asyncio.get_running_loop().time() - began

    assert at_once(throttled) == pytest.approx(0.2, abs=0.01)


# ------------------------------------------------------------------------------------------------- ten minutes in no time


@dataclass(frozen=True)
class Weather:
    """Seconds: how long QuickBooks works on a single call (median of a log-normal) and on a batch (uniform)."""

    single: float
    spread: float
    batch: tuple[float, float]


class Backlog:
    """The writer over an endless backlog, and QuickBooks' side of it: what arrives when, and how much is on its way."""

    LANES, BATCH_LANES, GATHER, IDLE = 10, 4, 0.004, 0.5  # as in posting.py and sending.py
    CLAIM, COMMIT, TRANSIT = (0.003, 0.03), (0.003, 0.02), (0.01, 0.1)  # the database's time; a request's and an answer's way

    def __init__(self, weather: Weather, priority: Priority, seed: int, lanes: int = LANES) -> None:
        self.weather, self.priority, self.rng, self.lanes = weather, priority, random.Random(seed), lanes
        self.clock, self.pacer = asyncio.get_running_loop().time, virtual_pacer()
        self.arrivals: list[float] = []
        self.batches: list[float] = []
        self.inside = self.most_inside = 0
        self.documents: list[tuple[float, int]] = []
        self.tasks: dict[asyncio.Task[None], bool] = {}
        self.wake = asyncio.Event()

    async def _call(self, *, batch: bool) -> None:
        async with self.pacer.slot("1", batch=batch, priority=self.priority):
            await self.pacer.depart("1", batch=batch)
            await asyncio.sleep(self.rng.uniform(*self.TRANSIT))
            self.arrivals.append(self.clock())
            if batch:
                self.batches.append(self.clock())
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            w = self.weather
            await asyncio.sleep(self.rng.uniform(*w.batch) if batch else w.single * self.rng.lognormvariate(0, w.spread))
            self.documents.append((self.clock(), 30 if batch else 1))
            self.inside -= 1
            await asyncio.sleep(self.rng.uniform(*self.TRANSIT))
        await asyncio.sleep(self.rng.uniform(*self.COMMIT))

    def _spawn(self, *, batch: bool) -> None:
        task = asyncio.create_task(self._call(batch=batch))
        self.tasks[task] = batch

        def finished(done: asyncio.Task[None]) -> None:
            del self.tasks[done]
            if not done.cancelled():
                done.result()
                asyncio.get_running_loop().call_later(self.GATHER, self.wake.set)

        task.add_done_callback(finished)

    async def _look(self) -> bool:
        """One round of the posting loop: a batch only if it could leave now, singles in the lanes that batches leave."""
        free, flying = self.lanes - len(self.tasks), sum(self.tasks.values())
        batch = free > 0 and flying < self.BATCH_LANES and self.pacer.batch_now("1")
        singles = max(0, min(free - (self.BATCH_LANES - flying), free - 1 if batch else free))
        if not batch and not singles:
            return False
        await asyncio.sleep(self.rng.uniform(*self.CLAIM))
        if batch:
            self._spawn(batch=True)
        for _ in range(singles):
            self._spawn(batch=False)
        return True

    async def work(self, seconds: float) -> None:
        """Post for so long."""
        ends = self.clock() + seconds
        while self.clock() < ends:
            self.wake.clear()
            if not await self._look():
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.IDLE):
                        await self.wake.wait()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def check(self) -> None:
        """QuickBooks would have refused nothing."""
        assert most_within(self.arrivals, 60) <= 500
        assert most_within(self.arrivals, 1) <= 10
        assert most_within(self.batches, 60) <= 40
        assert self.most_inside <= 10


WARM_UP, TEN_MINUTES = 15.0, 600.0


async def worked_off(make: Callable[[], Backlog]) -> Backlog:
    """Ten minutes, and what comes before they count."""
    backlog = make()
    await backlog.work(WARM_UP + TEN_MINUTES)
    return backlog


@pytest.mark.parametrize("priority", [Priority.LIVE, Priority.BACKFILL])
@pytest.mark.parametrize(
    "weather",
    [Weather(0.5, 0.3, (2.0, 5.0)), Weather(0.3, 0.5, (1.0, 3.0)), Weather(0.1, 0.1, (0.5, 1.0)), Weather(0.5, 0.0, (3.0, 3.0))],
    ids=["as the benchmark's", "quick and uneven", "very quick", "even"],
)
def test_a_backlog_is_worked_off_at_the_limit_and_never_above(weather: Weather, priority: Priority) -> None:
    """Ten minutes of 40 x 30 + 460 = 1,660 documents, less the margin. Batches that starve beside singles cost seven per cent."""

    done = at_once(lambda: worked_off(lambda: Backlog(weather, priority, seed=7)))
    done.check()
    counted = sum(count for at, count in done.documents if WARM_UP <= at - BEGIN < WARM_UP + TEN_MINUTES)
    assert counted / 10 >= 1640


def test_a_slow_quickbooks_never_has_more_than_ten_at_once() -> None:
    """More ask than there are places, and it is the places that bound them."""
    slow = Weather(2.0, 0.3, (4.0, 9.0))
    done = at_once(lambda: worked_off(lambda: Backlog(slow, Priority.LIVE, seed=7, lanes=25)))
    done.check()
    assert done.most_inside == 10
