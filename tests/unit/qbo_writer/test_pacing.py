"""The pacer: in no window ever more than the limit, whatever happens; higher classes first; a restart does not burst."""

import asyncio
from bisect import bisect_left
from contextlib import AsyncExitStack, suppress

import pytest
from bookrelay.messages import Priority
from hypothesis import given, settings
from hypothesis import strategies as st
from qbo_writer.pacing import Budget, Limits, Pacer
from qbo_writer.settings import WriterSettings

LIMITS = Limits()
RANDOM = settings(max_examples=60, deadline=None)


def writer_settings(**more: object) -> WriterSettings:
    return WriterSettings.model_validate({"database_url": "postgresql://nobody@127.0.0.1:1/none", "qbo_realm_ids": "1", **more})


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


class Time:
    """A clock that tests move; timers of the loop are real, so waits here are short."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


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


async def test_cancelled_waiters_give_nothing_away(fast: Pacer) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(10):
            await stack.enter_async_context(_apart(fast, Priority.LIVE))
        waiting = [asyncio.create_task(_pass(fast)) for _ in range(20)]
        await asyncio.sleep(0.01)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    held = [_apart(fast, Priority.LIVE) for _ in range(10)]
    for one in held:
        await asyncio.wait_for(one.__aenter__(), 30)
    with suppress(TimeoutError):
        await asyncio.wait_for(_pass(fast), 0.05)
        pytest.fail("an eleventh place")
    for one in held:
        await one.__aexit__()


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


async def test_departures_are_spread_again_after_a_stall() -> None:
    """Ten slots granted, then the database stalls, then ten more: what leaves stays within the limit."""
    clock = Time()
    pacer = Pacer(writer_settings(pace_landing_seconds=0, pace_in_flight=100), clock=clock, wall=clock)
    held = AsyncExitStack()
    for _ in range(10):
        await held.enter_async_context(_apart(pacer, Priority.LIVE))
    clock.now += 1.3  # granted at 0, and nothing left yet
    for _ in range(10):
        await held.enter_async_context(_apart(pacer, Priority.LIVE))
    left = 0

    async def leaving() -> None:
        nonlocal left
        while True:
            await pacer.depart("1")
            left += 1

    task = asyncio.create_task(leaving())
    async with asyncio.timeout(30):
        while left < 10:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.1)  # the eleventh waits for the next second of a clock that stands still
    assert left == 10
    task.cancel()
    await held.aclose()


async def test_throttle_freezes_slots_and_departures() -> None:
    pacer = Pacer(writer_settings(pace_throttle_wait_seconds=0.2, pace_landing_seconds=0))
    loop = asyncio.get_running_loop()
    started = loop.time()
    pacer.throttled("1", None)
    await _pass(pacer)
    await pacer.depart("1")
    assert loop.time() - started >= 0.19
