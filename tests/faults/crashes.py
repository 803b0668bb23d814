"""Crash points: every named place x {exception, SIGKILL, hang beyond the lease and the token's life} x {first, k-th passage}."""

import asyncio
import contextlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bookrelay.messages import Command
from document_kinds import ENTITY, KINDS, SALES
from qbo_writer.crashpoints import Place

from . import restoring, workload
from .harness import BATCHES, LATE, B, Company, Lane, TookTooLong, Writer, until
from .oracle import Verdict

How = Literal["exception", "kill", "hang"]
HOWS: tuple[How, ...] = ("exception", "kill", "hang")
HANG_SECONDS = B + 1.5  # beyond the lease and the access token's life
BATCH_PLACES = frozenset({Place.BATCH_JOURNALLED, Place.BATCH_ANSWERED})
PLACES = tuple(place for place in Place if place not in restoring.PLACES)  # those are passed by `recover` alone
# Which later passage is tried: once for each company, or often.
KTH = dict.fromkeys(Place, 3) | dict.fromkeys(
    (Place.LEASE_TAKEN, Place.LOST_MARKED, Place.TOKEN_REFRESHED, Place.TOKEN_PERSISTED, Place.POLLED, Place.RECORDING,
     Place.RECORDED, Place.BATCH_JOURNALLED, Place.BATCH_ANSWERED, Place.PUBLISHED, Place.MARKED, Place.CLAIMED,
     Place.JOURNALLING, Place.JOURNALLED), 2,
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One crash."""

    place: Place
    how: How
    k: int

    def __str__(self) -> str:
        return f"{self.place}:{self.how}:{self.k}"


def all_cases() -> list[Case]:
    """Return all pairs of place and way, for the first and for a later passage."""
    return [Case(p, how, k) for p, how in itertools.product(PLACES, HOWS) for k in (1, KTH[p])]


@dataclass
class Outcome:
    """What became of a case."""

    case: Case
    verdict: Verdict = field(default_factory=Verdict)
    problem: str = ""

    @property
    def good(self) -> bool:
        """Whether everything is as it must be."""
        return not self.problem and self.verdict.good


# What QuickBooks does meanwhile, for each company: enough that look-ups and resends happen, each a limited number of times.
_OF_CUSTOMERS = [ENTITY[kind] for kind in KINDS if kind in SALES]
_OF_VENDORS = [ENTITY[kind] for kind in KINDS if kind not in SALES]
SINGLES = (
    {"fault": "commit_then_reset", "match": {"operation": "create", "entity": _OF_CUSTOMERS}, "count": 2},
    {"fault": "drop_before_commit", "match": {"operation": "create", "entity": _OF_CUSTOMERS}, "skip": 1, "count": 2},
    {"fault": "late_delivery", "match": {"operation": "create", "entity": _OF_VENDORS}, "count": 1, "delay": LATE},
    {"fault": "throttle", "match": {"operation": "create"}, "skip": 3, "count": 1},
    {"fault": "commit_then_504", "match": {"operation": "update"}, "count": 1},
)
IN_BATCHES = (
    {"fault": "batch_cut", "match": {"operation": "batch"}, "count": 1, "skip": 1, "after": 2},
    {"fault": "item_throttle", "count": 1, "skip": 2},
    {"fault": "commit_then_reset", "match": {"operation": "batch"}, "skip": 2, "count": 1},
)


async def run_case(lane: Lane, case: Case, seed: int, *, documents: int = 7) -> Outcome:
    """Run one case in its own two companies, with a writer that crashes and, where it does not live on, a successor."""
    outcome = Outcome(case)
    unpaying = case.place is Place.UNPAYING
    # Bills with payments of their own at the first passage, without at the later one.
    companies = [await lane.company(pays=case.k == 1 or unpaying) for _ in range(2)]
    batches = case.place in BATCH_PLACES
    for company in companies:
        await lane.faults(company, *(IN_BATCHES if batches else SINGLES))
    plan = f"{case.place}:{case.how}:{case.k}:{HANG_SECONDS}"
    extra = BATCHES if batches else {}
    first = await lane.writer(companies, {**extra, "BOOKRELAY_CRASH_POINT": plan}, wait=False)
    writers = [first]
    many = documents * (2 if batches or unpaying or case.k > 1 else 1)
    shares = {"bills": 1.0, "others": 0.0} if unpaying else {}
    loads = [workload.make(f"{seed}:{case}", c.realm, many, waves=3, **shares) for c in companies]
    commands = [command for load in loads for command in load.commands]
    try:
        reached = asyncio.create_task(_reached(lane, first, commands))
        for wave in range(3):
            current = [command for load in loads for command in load.waves[wave]]
            await lane.publish(current)
            if unpaying:  # what changes must be paid
                before = [c for load in loads for w in load.waves[: wave + 1] for c in w]
                await _settled_or_gone(lane, before, companies, first)
            elif not batches:
                await _recorded_or_gone(lane, current, first)
        if not await reached:
            outcome.problem = "the place was not reached"
        succession = asyncio.create_task(_successor(lane, case, first, companies, extra, writers))
        try:
            await lane.settled(commands, 180)
        finally:
            succession.cancel()
            await asyncio.wait([succession])
        if case.how == "hang" and not outcome.problem:
            # It wakes, finds its lease and token gone, and must do no harm with what it still holds.
            await until(first.answers, "the paused writer wakes", HANG_SECONDS + 20)
            await asyncio.sleep(0.5)
            await lane.settled(commands, 90)
        await asyncio.sleep(LATE)  # the bound of a late delivery
    except TookTooLong as error:
        outcome.problem = str(error)
    for company in companies:
        outcome.verdict += await lane.judge(company, commands)
    await asyncio.gather(*(w.stop() for w in writers))
    if bad := [line for w in writers for line in w.defects()]:
        outcome.problem = outcome.problem or bad[0][:800]
    await lane.control("DELETE", "faults")
    return outcome


async def _successor(
    lane: Lane, case: Case, first: Writer, companies: Sequence[Company], extra: Mapping[str, str], writers: list[Writer]
) -> None:
    """Start the next writer when the first is gone (after an exception it may live on), or at once beside one that hangs."""
    while first.running and case.how != "hang":  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    writers.append(await lane.writer(companies, extra, wait=False))


async def _recorded_or_gone(lane: Lane, commands: Sequence[Command], writer: Writer) -> None:
    """Pace the waves by what was recorded; go on when the writer is gone or hangs."""

    async def so() -> bool:
        return not writer.running or await lane.recorded(commands)

    try:
        await until(so, "recorded", 12, every=0.05)
    except TookTooLong:
        return


async def _settled_or_gone(lane: Lane, published: Sequence[Command], companies: Sequence[Company], writer: Writer) -> None:
    """Pace the waves by what has ended, payments of bills included; go on when the writer is gone or hangs."""

    async def so() -> bool:
        if not writer.running or "crash_point.reached" in writer.log():
            return True
        with contextlib.suppress(TookTooLong):
            await lane.settled(published, 0.01)
            return all([await lane.at_rest(company) for company in companies])
        return False

    with contextlib.suppress(TookTooLong):
        await until(so, "ended", 30, every=0.05)


async def _reached(lane: Lane, writer: Writer, commands: Sequence[Command]) -> bool:
    """Wait until the writer says that it crashes there; False if everything ended without it, or it went otherwise."""
    for _ in range(1200):
        ended = lane.events.ended(commands) or not writer.running
        if "crash_point.reached" in writer.log():
            return True
        if ended:
            return False
        await asyncio.sleep(0.1)
    return False


async def run_cases(lanes: Sequence[Lane], cases: Sequence[Case], seed: int, tell: object = print) -> list[Outcome]:
    """Run the cases, each lane one after another."""
    waiting, outcomes = list(cases), []

    async def work(lane: Lane) -> None:
        while waiting:
            case = waiting.pop(0)
            try:
                outcome = await run_case(lane, case, seed)
            except Exception as error:  # a case that cannot be run is a failed case; the others go on
                outcome = Outcome(case, problem=repr(error)[:500])
            outcomes.append(outcome)
            if callable(tell):
                wrong = f"WRONG {outcome.problem} {'; '.join(outcome.verdict.problems[:3])}"
                tell(f"{case}: {'ok' if outcome.good else wrong}")

    await asyncio.gather(*(work(lane) for lane in lanes))
    return outcomes


__all__ = ["HANG_SECONDS", "KTH", "Case", "Company", "Outcome", "all_cases", "run_case", "run_cases"]
