"""`make faults`: crash points, random kills, counterexamples, state machine, and the test of the test. Prints its seeds.

The last line is one JSON object; the exit status is 1 if anything is wrong.
"""

# ruff: noqa: T201
import argparse
import asyncio
import json
import logging
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import structlog
from qbo_writer.crashpoints import Place

from . import broken, crashes, cycles, field, kills, restoring, scenarios
from .harness import Lane, Stage, stage
from .machine import STEPS, Loop, run_machine
from .oracle import Verdict

ENOUGH_FOR_EVERY_STEP = 60  # examples; with so many, a step that was never taken is no accident


class Tally:
    """What the run found so far."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.cases = self.kills = 0
        # None: that part did not run
        self.halts: int | None = None
        self.halt_calls_most: int | None = None
        self.unbounded_cycles: int | None = None
        self.verdict = Verdict()
        self.wrong: list[str] = []

    def tell(self, text: str) -> None:
        """Print with the time."""
        print(f"{time.monotonic() - self.began:7.1f} s  {text}", flush=True)

    def add(self, name: str, verdict: Verdict, problem: str = "") -> None:
        """Take a verdict of something that must be sound."""
        self.verdict += verdict
        if problem or not verdict.good:
            self.wrong.append(f"{name}: {problem} {verdict.problems[:3]}")

    def figures(self) -> dict[str, Any]:
        """The last line."""
        v = self.verdict
        return {
            "crash_points": len(Place), "cases": self.cases, "random_kills": self.kills, "documents": v.documents,
            "doubles": v.doubles, "lost": v.lost, "books_differ": v.books_differ + v.wrong_ends, "held": v.held,
            "halts": self.halts, "halt_calls_most": self.halt_calls_most, "unbounded_cycles": self.unbounded_cycles,
            "seconds": round(time.monotonic() - self.began),
        }  # fmt: skip


async def share(lanes: list[Lane], jobs: list[Callable[[Lane], Awaitable[None]]]) -> None:
    """Do all jobs, each lane one after another."""
    waiting = list(jobs)

    async def work(lane: Lane) -> None:
        while waiting:
            await waiting.pop(0)(lane)

    await asyncio.gather(*(work(lane) for lane in lanes))


async def part_scenarios(lanes: list[Lane], tally: Tally) -> None:
    """The counterexamples of the protocol as drafted."""
    told: dict[str, scenarios.Told | Exception] = {}

    async def stale(lane: Lane) -> None:
        await lane.control("POST", "modes", {"stale_seconds": 0.7})
        told.update(await scenarios.play_all(lane))
        numbered = await scenarios.play_all(lane, numbered=True)
        told.update({f"{name}, numbers that repeat and change": one for name, one in numbered.items()})
        await lane.control("POST", "modes", {"stale_seconds": 0.0})

    async def forgotten(lane: Lane) -> None:
        await lane.control("POST", "modes", {"requestid_seconds": 0.2})
        told.update(await scenarios.play_all(lane, [scenarios.requestid_forgotten]))
        await lane.control("POST", "modes", {"requestid_seconds": None})

    def paused(place: Place, ignored: bool, defect: str | None) -> Callable[[Lane], Awaitable[None]]:
        name = f"paused_writer_wakes_up, {place}{', requestid ignored' * ignored}{', unchecked' if defect else ''}"

        async def work(lane: Lane) -> None:
            try:
                told[name] = await scenarios.paused_writer_wakes_up(lane, ignored=ignored, defect=defect, place=place)
            except Exception as error:
                told[name] = error

        return work

    places = (Place.RESEND_JOURNALLED, Place.JOURNALLED)
    pauses = [paused(p, i, d) for p in places for i in (False, True) for d in (None, "check_before_send_off")]
    await share(lanes, [stale, forgotten, *pauses])
    for name, one in told.items():
        tally.cases += 1
        if isinstance(one, Exception):
            tally.add(name, Verdict(), repr(one)[:500])
        else:
            tally.add(name, one.verdict)
        tally.tell(f"counterexample {name}: {'ok' if not isinstance(one, Exception) and one.verdict.good else 'WRONG'}")


async def part_crashes(lanes: list[Lane], tally: Tally, options: argparse.Namespace) -> None:
    """Every place, way and passage."""
    cases = [case for case in crashes.all_cases() if options.only in str(case)]
    outcomes = await crashes.run_cases(lanes, cases, options.seed, lambda text: tally.tell(f"crash {text}"))
    for outcome in outcomes:
        tally.cases += 1
        tally.add(f"crash {outcome.case}", outcome.verdict, outcome.problem)


async def part_kills(lanes: list[Lane], tally: Tally, options: argparse.Namespace) -> None:
    """Random kills under every profile."""
    for run in await kills.storms(lanes, options.kills, options.seed, lambda text: tally.tell(f"kills {text}")):
        tally.kills += run.kills
        tally.add(f"kills {run.profile}", run.verdict, run.problem)


async def part_field(lanes: list[Lane], tally: Tally, options: argparse.Namespace) -> None:
    """What happens to people, under kills."""

    def job(case: Callable[[Lane], Awaitable[field.Case]]) -> Callable[[Lane], Awaitable[None]]:
        async def work(lane: Lane) -> None:
            await lane.honest()
            try:
                done = await case(lane)
            except Exception as error:
                done = field.Case("field", problem=repr(error)[:1500])
            finally:
                await lane.honest()
            tally.cases += 1
            tally.halts = (tally.halts or 0) + done.halts
            tally.halt_calls_most = max(tally.halt_calls_most or 0, done.calls)
            tally.add(done.name, done.verdict, done.problem)
            wrong = f"WRONG {done.problem} {done.verdict.problems[:3]}"
            tally.tell(f"{done.name}: {f'ok, {done.halts} halts, {done.calls} calls' if done.good else wrong}")

        return work

    await share(lanes, [job(case) for case in field.all_cases(options.seed)])


async def part_cycles(lanes: list[Lane], tally: Tally) -> None:
    """Every cycle of (state x answer), the same answer for ever."""
    walks: list[cycles.Walk] = []
    every = cycles.cases()

    def job(some: list[cycles.Case]) -> Callable[[Lane], Awaitable[None]]:
        async def work(lane: Lane) -> None:
            await lane.honest()
            walks.append(await cycles.unbounded_cycles(lane, only=some))

        return work

    await share(lanes, [job(every[number::12]) for number in range(12)])
    unbounded = [text for walk in walks for text in walk.unbounded]
    ended = sum(len(walk.ends) for walk in walks)
    tally.cases += ended
    tally.unbounded_cycles = len(unbounded)
    if unbounded or ended != len(every):
        tally.wrong.append(f"cycles: {ended} of {len(every)} ended, {unbounded[:5]}")
    tally.tell(f"cycles: {ended} of {len(every)} end, at most {max(walk.calls_most for walk in walks)} calls for one")


async def part_restored(lanes: list[Lane], tally: Tally, options: argparse.Namespace) -> None:
    """A database restored from a backup of the middle of a run, `recover` killed at each of its places; one after another: the
    broker of the lane is lost, too."""
    for kafka, crash in restoring.CASES:
        name = f"restored, Kafka {kafka}, {crash or 'no crash'}"
        await lanes[0].honest()
        try:
            done = await restoring.run(lanes[0], f"{options.seed}-{kafka}-{crash}", kafka, crash)
            tally.add(name, done.verdict, "; ".join(done.problems()))
            wrong = done.problems()
        except Exception as error:
            wrong = [repr(error)[:1500]]
            tally.add(name, Verdict(), wrong[0])
        tally.cases += 1
        tally.tell(f"{name}: {f'WRONG {wrong[:3]}' if wrong else 'ok'}")


async def part_broken(lanes: list[Lane], tally: Tally) -> None:
    """Each broken writer must be found, by the symptom that it was made for; the sound one survives the same."""

    def wrong(defect: str) -> Callable[[Lane], Awaitable[None]]:
        async def work(lane: Lane) -> None:
            verdict = await broken.found(lane, defect)
            tally.cases += 1
            if verdict.good:
                tally.wrong.append(f"the broken writer {defect} was not found")
            tally.tell(f"broken writer {defect}: {'NOT FOUND' if verdict.good else 'found: ' + verdict.problems[0][:110]}")

        return work

    def sound(defect: str) -> Callable[[Lane], Awaitable[None]]:
        async def work(lane: Lane) -> None:
            verdict = await broken.survived(lane, defect)
            tally.cases += 1
            tally.add(f"sound writer where {defect} fails", verdict)
            tally.tell(f"sound writer where {defect} fails: {'ok' if verdict.good else f'WRONG {verdict.problems[:2]}'}")

        return work

    await share(lanes, [make(defect) for defect in broken.CIRCUMSTANCES for make in (wrong, sound)])


def part_machine(loop: Loop, lanes: list[Lane], tally: Tally, options: argparse.Namespace) -> None:
    """The state machine: the examples are shared by lanes, each with a seed of its own."""
    seed = int.from_bytes(options.seed.encode(), "big") % (1 << 30)
    used = lanes[: max(1, min(len(lanes), options.examples // 4))]
    steps: Counter[str] = Counter()

    def one(number: int) -> None:
        examples = options.examples // len(used) + (number < options.examples % len(used))
        name = f"state machine (seed {seed + number})"
        try:
            try:
                outcome = run_machine(loop, used[number], seed + number, examples)
            except SystemError as error:  # "AST constructor recursion depth mismatch": Python 3.11's own, when threads parse
                tally.tell(f"{name}: once more after {error!r}")
                outcome = run_machine(loop, used[number], seed + number, examples)
            steps.update(outcome.steps)
            tally.add(name, outcome.verdict)
            tally.tell(f"{name}: {examples} examples, {outcome.verdict.documents} documents: ok")
        except Exception as error:
            tally.wrong.append(f"{name}: {error!r}"[:1500])
            tally.tell(f"{name}: WRONG {error!r}"[:1500])

    with ThreadPoolExecutor(len(used)) as pool:
        list(pool.map(one, range(len(used))))
    tally.cases += options.examples
    tally.tell(f"state machine: steps taken: {dict(steps.most_common())}")
    if options.examples >= ENOUGH_FOR_EVERY_STEP and (never := sorted(STEPS - set(steps))):
        tally.wrong.append(f"the state machine never took these steps: {never}")


def run(options: argparse.Namespace) -> int:
    """Run the parts; return the exit status."""
    tally, loop = Tally(time.monotonic()), Loop()
    tally.tell(f"seed {options.seed}")
    kept: dict[str, Any] = {}

    async def open_stage() -> tuple[Stage, list[Lane]]:
        kept["context"] = stage(Path(options.keep) if options.keep else None)
        one = await kept["context"].__aenter__()
        return one, [await one.lane(seed=number) for number in range(options.lanes)]

    _, lanes = loop.run(open_stage(), 300)
    parts: dict[str, Callable[[], Any]] = {
        "counterexamples": lambda: loop.run(part_scenarios(lanes, tally), 900),
        "crashes": lambda: loop.run(part_crashes(lanes, tally, options), 7200),
        "kills": lambda: loop.run(part_kills(lanes, tally, options), 7200),
        "machine": lambda: part_machine(loop, lanes, tally, options),
        "field": lambda: loop.run(part_field(lanes, tally, options), 1800),
        "cycles": lambda: loop.run(part_cycles(lanes, tally), 1800),
        "restored": lambda: loop.run(part_restored(lanes, tally, options), 3600),
        "broken": lambda: loop.run(part_broken(lanes, tally), 1800),
    }
    try:
        for name, part in parts.items():
            if name in options.parts:
                try:
                    part()
                except Exception as error:
                    tally.wrong.append(f"{name}: {error!r}"[:1500])
                    tally.tell(f"{name}: WRONG {error!r}"[:1500])
    finally:
        loop.run(kept["context"].__aexit__(None, None, None), 120)
    for text in tally.wrong:
        print(f"WRONG {text}", flush=True)
    print(f"seed {options.seed}: {'WRONG' if tally.wrong else 'all as it must be'}", flush=True)
    print(json.dumps(tally.figures()), flush=True)
    return 1 if tally.wrong else 0


PARTS = ("counterexamples", "crashes", "kills", "machine", "field", "cycles", "restored", "broken")


def main(arguments: list[str] | None = None) -> int:
    """Parse and run."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the listener outlives a broker that is taken away
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # of writers in this process
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument(
        "--seed", default=os.environ.get("FAULTS_SEED") or secrets.token_hex(3), help="what a run is repeated with"
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--examples", type=int, default=60, help="of the state machine")
    parser.add_argument("--lanes", type=int, default=max(2, min(6, (os.cpu_count() or 2) * 2)))
    parser.add_argument("--only", default="", help="only crash cases whose name contains this")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--keep", help="a directory for the logs of all processes")
    return run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
