"""A Hypothesis state machine over real processes: edits, redeliveries, versions out of order, QuickBooks faults, kills,
people."""

import asyncio
import contextlib
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, TypeVar

from bookrelay.messages import Command, Kind
from document_kinds import ENTITY, KINDS, SALES
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from . import oracle, workload
from .harness import LATE, Company, Lane, TookTooLong, Writer
from .oracle import Verdict, sum_of
from .workload import Key

T = TypeVar("T")
FAULTS = {
    "429": {"fault": "throttle", "count": 1},
    "429 as XML": {"fault": "throttle", "count": 1, "format": "xml"},
    "401": {"fault": "unauthorized", "count": 1},
    "time-out after commit": {"fault": "commit_then_timeout", "hold": 2.0, "count": 1},
    "reset after commit": {"fault": "commit_then_reset", "count": 1},
    "504 after commit": {"fault": "commit_then_504", "count": 1},
    "late": {"fault": "late_delivery", "delay": LATE, "count": 1},
    "dropped": {"fault": "drop_before_commit", "count": 1},
    "10000": {"fault": "server_error", "count": 1},
    "10000 after commit": {"fault": "server_error", "commit": True, "count": 1},
    "requestid ignored": {"fault": "ignore_requestid", "count": 2},
}


class Loop:
    """An event loop in a thread that lives as long as the processes that it starts."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, work: Coroutine[Any, Any, T], seconds: float = 240) -> T:
        """Run from Hypothesis's thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)


class WriterMachine(RuleBasedStateMachine):
    """Each example has documents of its own in a company that others used before it; two writers serve all companies.

    At its end the books of that company are what the oracle says, those of the examples before included.
    """

    loop: ClassVar[Loop]
    lane: ClassVar[Lane]
    writers: ClassVar[list[Writer]]
    companies: ClassVar[list[Company]]
    verdicts: ClassVar[dict[str, Verdict]]  # of each company, the last one
    published: ClassVar[dict[str, list[Command]]]  # in each company, by all examples
    people: ClassVar[dict[Key, Any]]  # what people made of documents, in all examples
    steps: ClassVar[Counter[str]]  # how often each kind of step was taken
    examples: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.company = self.companies[self.examples % len(self.companies)]
        type(self).examples += 1
        self.commands: list[Command] = []
        self.versions: dict[Key, int] = {}
        self.held_back: list[Command] = []
        self.kills = 0
        self.keys = [Key(self.company.realm, f"M{self.examples:04d}n{n}x", kind) for n, kind in enumerate(self._kinds())]
        self._run(self.lane.honest())  # what the example before has not used up

    def _kinds(self) -> tuple[Kind, Kind, Kind]:
        """An invoice, a bill, and one of the other kinds: they go round."""
        others = tuple(kind for kind in KINDS if kind not in (Kind.INVOICE, Kind.BILL))
        return Kind.INVOICE, others[self.examples % len(others)], Kind.BILL

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return type(self).loop.run(work)

    def _publish(self, *commands: Command) -> None:
        self.commands += commands
        self.published[self.company.realm] += commands
        self._run(self.lane.publish(commands))

    def _next(self, key: Key, seed: int) -> Command:
        self.versions[key] = version = self.versions.get(key, 0) + 1
        rng = random.Random(seed)
        party = f"M {rng.randrange(2)} {'customer' if key.kind in SALES else 'vendor'}"
        return workload.upsert(key, version, workload.content(key, rng, party))

    @initialize(seed=st.integers(0, 1 << 30))
    def first(self, seed: int) -> None:
        """There is at least one document."""
        self._publish(self._next(self.keys[0], seed))

    @rule(which=st.integers(0, 2), seed=st.integers(0, 1 << 30))
    def edit(self, which: int, seed: int) -> None:
        """The source has a new version."""
        self.steps["edit"] += 1
        self._publish(self._next(self.keys[which], seed))

    @rule(which=st.integers(0, 2))
    def withdraw(self, which: int) -> None:
        """The source withdraws the document."""
        self.steps["withdraw"] += 1
        key = self.keys[which]
        self.versions[key] = version = self.versions.get(key, 0) + 1
        self._publish(workload.retract(key, version))

    @rule(which=st.integers(0, 2), seed=st.integers(0, 1 << 30))
    def hold_back(self, which: int, seed: int) -> None:
        """A version that will arrive after newer ones."""
        self.steps["hold back"] += 1
        self.held_back.append(self._next(self.keys[which], seed))

    @precondition(lambda self: self.held_back)
    @rule(seed=st.integers(0, 1 << 30))
    def arrive_late(self, seed: int) -> None:
        """It arrives, after a newer one."""
        self.steps["arrive after a newer version"] += 1
        late = self.held_back.pop(0)
        key = next(key for key in self.keys if key.name == late.data.source_key)
        published = [c.data.version for c in self.commands if c.data.source_key == key.name]
        if max(published, default=0) < late.data.version:
            self._publish(self._next(key, seed))
        self._publish(late)

    @precondition(lambda self: self.commands)
    @rule(which=st.integers(0, 1 << 30))
    def redeliver(self, which: int) -> None:
        """Kafka delivers a command again."""
        self.steps["redeliver"] += 1
        self._run(self.lane.publish([self.commands[which % len(self.commands)]]))

    @rule(which=st.integers(0, len(FAULTS) - 1))
    def fault(self, which: int) -> None:
        """The next write meets a fault of QuickBooks. Hypothesis prefers small numbers: they go round."""
        taken = sum(count for step, count in self.steps.items() if step.startswith("fault"))
        name = sorted(FAULTS)[(which + taken) % len(FAULTS)]
        self.steps[f"fault: {name}"] += 1
        self._run(self.lane.faults(self.company, {**FAULTS[name], "match": {"method": "POST"}}))

    @precondition(lambda self: self.kills < 1)
    @rule(which=st.integers(0, 1))
    def kill(self, which: int) -> None:
        """A writer is killed and started again."""
        self.kills += 1
        self.steps["kill"] += 1
        self.writers[which % len(self.writers)].process.kill()

    @rule(seconds=st.sampled_from((0.05, 0.3, 1.0)))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.steps["wait"] += 1
        self._run(asyncio.sleep(seconds))

    @rule(which=st.integers(0, 1), amount=st.integers(1, 10**6), wait=st.booleans())
    def person_edits(self, which: int, amount: int, wait: bool) -> None:
        """A person changes the document in QuickBooks, if it is there: as it is, or when what was published has ended."""
        key = self.keys[which] if self.keys[which] in self.versions else self.keys[0]
        if wait or key not in self.people:
            mine = [c for c in self.commands if c.data.source_key == key.name]
            with contextlib.suppress(TookTooLong):
                self._run(self.lane.settled(mine, 20))
        self._run(self._edit(key, Decimal(amount) / 100))

    async def _edit(self, key: Key, amount: Decimal) -> None:
        entity = ENTITY[key.kind]
        document = await self.lane.find(self.company, key.name, entity)
        if document is None:
            self.steps["person finds nothing"] += 1
            return
        self.steps["person edits"] += 1
        item = ("SalesItemLineDetail", {"ItemRef": {"value": "1"}})
        type_, detail = item if key.kind in SALES else ("AccountBasedExpenseLineDetail", {"AccountRef": {"value": "20"}})
        line = {"Amount": float(amount), "DetailType": type_, "Description": f"{key.name} by a person", type_: detail}
        change: dict[str, Any] = {"Line": [line]}
        if key.kind is Kind.PAYMENT:
            change = {"TxnDate": f"2026-12-{1 + int(amount) % 28:02d}"}
        await self.lane.person(self.company, "edit", entity, document["Id"], change)
        seen = await self.lane.find(self.company, key.name, entity)
        assert seen is not None
        self.people[key] = oracle.shape(seen)

    def teardown(self) -> None:
        """Everything comes to rest, and is compared."""
        if self.held_back:
            self._publish(*self.held_back)
        self._run(self._check())

    async def _check(self) -> None:
        await self.lane.settled(self.commands, 150)
        await asyncio.sleep(LATE)
        # A person's edit may lead to `held`: only then it may.
        verdict = await self.lane.judge(self.company, self.published[self.company.realm], frozen=self.people)
        self.verdicts[self.company.realm] = verdict
        assert verdict.good, verdict.problems


async def _prepare(lane: Lane) -> tuple[list[Company], list[Writer]]:
    companies = [await lane.company() for _ in range(2)]
    return companies, [await lane.writer(companies, restart=True, wait=first) for first in (True, False)]


STEPS = frozenset(
    {"edit", "withdraw", "hold back", "arrive after a newer version", "redeliver", "kill", "wait", "person edits"}
    | {f"fault: {name}" for name in FAULTS}
)


@dataclass
class Outcome:
    """What the examples led to."""

    verdict: Verdict
    steps: Counter[str]


def run_machine(loop: Loop, lane: Lane, seed: int, examples: int, steps: int = 10) -> Outcome:
    """Run examples; raises what Hypothesis found. Not shrunk: an example takes seconds."""
    import hypothesis

    fresh = {"verdicts": {}, "published": defaultdict(list), "people": {}, "examples": 0, "steps": Counter()}
    machine: type[WriterMachine] = type("SeededMachine", (WriterMachine,), fresh)
    machine.loop, machine.lane = loop, lane
    machine.companies, machine.writers = loop.run(_prepare(lane), 300)
    chosen = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck), print_blob=True, report_multiple_bugs=False,
    )  # fmt: skip
    seeded: Any = hypothesis.seed(seed)(machine)
    try:
        run_state_machine_as_test(seeded, settings=chosen)
    finally:
        for writer in machine.writers:
            loop.run(writer.stop())
    return Outcome(sum_of(machine.verdicts.values()), machine.steps)
