"""Random kills: writers that are killed and paused again and again while QuickBooks behaves as badly as it may."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bookrelay.messages import Command
from qbo_writer.ledger import halting

from . import workload
from .harness import BATCHES, LATE, B, Lane, TookTooLong, Writer
from .oracle import Verdict

POST = {"method": "POST"}
# Every fault of the stand-in. Bounds are the settings': what is late is late within X, what is stale is stale within S.
NASTY: tuple[dict[str, Any], ...] = (
    {"fault": "latency", "distribution": "lognormal", "median": 0.03, "sigma": 0.6},
    {"fault": "commit_then_reset", "probability": 0.06, "match": POST},
    {"fault": "commit_then_504", "probability": 0.04, "match": POST},
    {"fault": "commit_then_timeout", "probability": 0.02, "hold": 3.0, "match": POST},
    {"fault": "drop_before_commit", "probability": 0.04, "match": POST},
    {"fault": "late_delivery", "probability": 0.06, "delay": LATE, "match": POST},
    {"fault": "reset", "probability": 0.02},
    {"fault": "gateway_timeout", "probability": 0.02},
    {"fault": "server_error", "probability": 0.02},
    {"fault": "server_error", "probability": 0.02, "commit": True, "match": POST},
    {"fault": "html_503", "probability": 0.02},
    {"fault": "throttle", "probability": 0.02},
    {"fault": "throttle", "probability": 0.02, "format": "xml"},
    {"fault": "unauthorized", "probability": 0.02},
    {"fault": "item_throttle", "probability": 0.04},
    {"fault": "item_fault", "probability": 0.04, "code": "10000"},
    {"fault": "batch_cut", "probability": 0.08, "after": 2, "match": {"operation": "batch"}},
    {"fault": "ignore_requestid", "probability": 0.05, "match": POST},
    {"fault": "requestid_race", "probability": 0.05, "window": 0.1, "match": POST},
)
TOKEN_FAULTS: tuple[dict[str, Any], ...] = (
    {"fault": "slow_token", "probability": 0.1, "seconds": 0.5, "match": {"operation": "token"}},
    {"fault": "token_answer_lost", "probability": 0.1, "match": {"operation": "token"}},
    {"fault": "token_server_error", "probability": 0.1, "match": {"operation": "token"}},
)
PROFILES: dict[str, dict[str, Any]] = {
    "requestid honoured, check and commit apart": {"requestid_race": 0.05},
    "requestid ignored, look-ups stale": {"ignore_requestid": True, "stale_seconds": 0.7},
    "requestid forgotten, errors replayed": {"requestid_seconds": 1.5, "remember_errors": True, "stale_seconds": 0.3},
    "equal requestid refused while busy": {"requestid_busy": True, "requestid_other_body": "refuse"},
}
RESUMED_MOST = 3  # times in one run


@dataclass
class Storm:
    """What a run of random kills did."""

    profile: str
    seed: str
    kills: int = 0
    acts: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    faults: Counter[str] = field(default_factory=Counter)  # that QuickBooks answered with
    verdict: Verdict = field(default_factory=Verdict)
    problem: str = ""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether the books are as they must be and every command was told its end."""
        return not self.problem and self.verdict.good


async def storm(
    lane: Lane, profile: str, kills: int, seed: str, *, documents_per_kill: float = 2.0, companies: int = 2,
    defect: str | None = None, deadline: float = 240.0,
) -> Storm:  # fmt: skip
    """Kill writers `kills` times under one profile while commands arrive; then let it come to rest and judge."""
    run, rng, began = Storm(profile, seed), random.Random(f"{seed}:{profile}"), time.monotonic()
    pays = list(PROFILES).index(profile) % 2 == 0  # bills with payments in every other profile, bills that change in the others
    firms = [await lane.company(pays=pays) for _ in range(companies)]
    await lane.control("POST", "modes", PROFILES[profile])
    await lane.faults(None, *({**rule, "seed": rng.randrange(1 << 30)} for rule in (*NASTY, *TOKEN_FAULTS)))
    env = {**BATCHES, "PACE_BATCHES_PER_MINUTE": "120"}
    # The embedded broker sometimes refuses a second member of a group for a while; the writer tries again by itself.
    writers = [await lane.writer(firms, env, restart=True, defect=defect, wait=first) for first in (True, False)]
    waves = max(3, kills)
    loads = [
        workload.make(f"{seed}:{profile}", c.realm, max(6, int(kills * documents_per_kill / companies)), waves=waves)
        for c in firms
    ]
    published: list[Command] = []
    for wave in range(waves):
        current = [command for load in loads for command in load.waves[wave]]
        rng.shuffle(current)
        await lane.publish(current)
        published += current
        await _some_work(lane, rng)
        if run.kills < kills:
            await _act(lane, rng, writers, run)
    while run.kills < kills:
        await _some_work(lane, rng)
        await _act(lane, rng, writers, run)
    for writer in writers:
        writer.process.resume()
    try:
        await _come_to_rest(lane, published, deadline, run)
        await asyncio.sleep(LATE)
    except TookTooLong as error:
        run.problem = str(error)[:1500]
    for company in firms:
        rows = await lane.requests(company)
        run.requests += len(rows)
        run.faults.update(name for row in rows for name in row["faults"] if name != "latency")
        run.verdict += await lane.judge(company, published)
    for writer in writers:
        if (bad := writer.defects()) and not run.problem and not defect:
            run.problem = f"{writer.process.name}: {bad[0][:800]}"
    await asyncio.gather(*(w.stop() for w in writers))
    await lane.control("DELETE", "faults")
    run.seconds = time.monotonic() - began
    return run


async def _come_to_rest(lane: Lane, published: list[Command], deadline: float, run: Storm) -> None:
    """Wait until all has ended. QuickBooks goes on as badly as before, so a halted company's trials may fail again and again,
    with pauses of up to five minutes: a person resumes it, as the runbook says."""
    for times_left in reversed(range(RESUMED_MOST + 1)):
        try:
            await lane.settled(published, deadline)
            break
        except TookTooLong:
            halted = await lane.pool.fetch("SELECT realm FROM qbo_writer.realms WHERE halted_code IS NOT NULL")
            if not halted or not times_left:
                raise
            for row in halted:
                await halting.resume(lane.pool, row["realm"], "the test", "its trials failed")
                run.acts["resumed by a person"] += 1


async def _some_work(lane: Lane, rng: random.Random) -> None:
    """Not by the clock: go on in the middle of the requests to QuickBooks, or after a while without any."""
    wanted = int((await lane.control("GET", "counters"))["requests"]) + rng.randint(1, 12)
    deadline = time.monotonic() + rng.uniform(1.0, 4.0)
    while time.monotonic() < deadline and int((await lane.control("GET", "counters"))["requests"]) < wanted:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def _act(lane: Lane, rng: random.Random, writers: list[Writer], run: Storm) -> None:
    """One act of violence."""
    writer, draw = rng.choice(writers), rng.random()
    if draw < 0.78:
        run.acts["SIGKILL"] += 1
        writer.process.kill()
    elif draw < 0.88:
        run.acts["SIGSTOP"] += 1
        writer.process.pause()
        asyncio.get_running_loop().call_later(rng.uniform(0.5, B + 2), writer.process.resume)
    elif draw < 0.94:
        run.acts["pg_terminate_backend"] += 1
        await lane.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'qbo-writer' "
            "AND datname = current_database()"
        )
    elif draw < 0.97 and lane.stack.embedded:
        run.acts["broker away"] += 1
        await asyncio.to_thread(lane.stack.embedded.set_down)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(lane.stack.embedded.set_up)
    else:
        run.acts["tokens end"] += 1
        await lane.control("POST", "tokens", {"expire_access": True})
    run.kills += 1


async def storms(lanes: list[Lane], kills: int, seed: str, tell: Callable[[str], object] = print) -> list[Storm]:
    """Share the kills over the profiles, one lane each at a time."""
    share = {name: kills // len(PROFILES) + (i < kills % len(PROFILES)) for i, name in enumerate(PROFILES)}
    waiting, runs = list(share.items()), []

    async def work(lane: Lane) -> None:
        while waiting:
            profile, count = waiting.pop(0)
            await lane.honest()
            try:
                run = await storm(lane, profile, count, seed)
            except Exception as error:  # a run that cannot be finished is a failed one; the others go on
                run = Storm(profile, seed, problem=repr(error)[:1500])
            finally:
                await lane.honest()
            runs.append(run)
            said = "ok" if run.good else f"WRONG {run.problem} {run.verdict.problems[:4]}"
            tell(
                f"{profile}: {run.kills} kills {dict(run.acts)}, {run.verdict.documents} documents, "
                f"{run.requests} requests, {run.faults.total()} faults of {len(run.faults)} kinds, {run.seconds:.0f} s: {said}"
            )

    await asyncio.gather(*(work(lane) for lane in lanes))
    return runs
