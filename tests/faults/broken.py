"""The test of the test: each defect of `writer_process`, in circumstances that the sound writer survives, must be found."""

import asyncio
from collections.abc import Awaitable, Callable

from .harness import LATE, READY, B, Lane, TookTooLong, X, until
from .oracle import Verdict
from .scenarios import (
    CREATE,
    Play,
    Scene,
    conflict_over_a_persons_edit,
    newer_version_while_unknown,
    older_after_a_rejected_newer,
    play_all,
    priced,
    requestid_proven,
)
from .workload import Key, upsert

DELAY = X * 0.6  # of the copy that is late, but within X
Circumstances = Callable[[Lane, str], Awaitable[Verdict]]


def _played(play: Play) -> Circumstances:
    async def circumstances(lane: Lane, defect: str) -> Verdict:
        told = (await play_all(lane, [play], defect=defect))[play.__name__]
        if isinstance(told, Exception):
            return Verdict(lost=1, problems=[str(told)])
        return told.verdict

    return circumstances


async def ignored_and_late(scene: Scene) -> object:
    """The requestid is ignored and the first send is late: only the wait before "absent" counts helps."""
    await scene.lane.faults(
        scene.company, {"fault": "late_delivery", "match": CREATE, "count": 1, "delay": LATE},
        {"fault": "ignore_requestid", "match": CREATE},
    )  # fmt: skip
    await scene.version(1, "10.01")
    return await scene.told()


@requestid_proven
async def answer_lost(scene: Scene) -> object:
    """Proven; the first send commits and its answer is lost: only the same requestid keeps the resend from a second document."""
    await scene.lane.faults(scene.company, {"fault": "commit_then_504", "match": CREATE, "count": 1})
    await scene.version(1, "10.01")
    return await scene.told()


async def _crash(lane: Lane, defect: str, point: str, *, ignored: bool) -> Verdict:
    """Crash at a point, go on with the same kind of writer, judge."""
    company = await lane.company()
    if ignored:
        await lane.faults(company, {"fault": "ignore_requestid"})
    # Customers that are there: a name that is created twice is refused by QuickBooks itself.
    keys = [Key(company.realm, f"B{number}{company.realm[-6:]}x") for number in range(4)]
    commands = [upsert(key, 1, priced(key, "10.01")) for key in keys]
    first = await lane.writer([company], {"BOOKRELAY_CRASH_POINT": point}, defect=defect, wait=False)
    await lane.publish(commands)
    for _ in range(300):
        if not first.running:
            break
        await asyncio.sleep(0.1)
    second = await lane.writer([company], defect=defect)
    problem = ""
    try:
        await lane.settled(commands, 25)
    except TookTooLong as error:
        problem = str(error)
    await asyncio.sleep(LATE)
    verdict = await lane.judge(company, commands)
    if problem:
        verdict.problems.append(problem[:300])
    await asyncio.gather(first.stop(), second.stop())
    return verdict


async def acknowledged_then_killed(lane: Lane, defect: str) -> Verdict:
    """Killed when commands are polled and not recorded."""
    return await _crash(lane, defect, "polled:kill:1", ignored=False)


async def sent_then_killed(lane: Lane, defect: str) -> Verdict:
    """Killed when the answer has arrived and nobody has read it."""
    return await _crash(lane, defect, "sent:kill:2", ignored=True)


async def error_told_by_a_paused_writer(lane: Lane, defect: str) -> Verdict:
    """The first writer is paused with an error in hand; its successor resends, late; the first wakes and tells "rejected"."""
    await lane.control("POST", "tokens", {"access_seconds": 3 * B})  # the late copy must not be refused for its token's age
    company = await lane.company()
    scene = Scene(lane, company, Key(company.realm, "E" + company.realm[-6:] + "x"))
    await scene.proven()
    await lane.faults(
        company,
        {"fault": "fault", "code": "2020", "match": CREATE, "count": 1},
        {"fault": "late_delivery", "match": CREATE, "skip": 1, "count": 1, "delay": DELAY},
        {"fault": "drop_before_commit", "match": CREATE, "skip": 2, "count": 50},
    )
    first = await lane.writer([company], {"BOOKRELAY_CRASH_POINT": "answered:hang:1:1.0"}, defect=defect)
    second = await lane.writer([company], defect=defect, wait=False)
    await until(second.answers, "the successor stands by", READY)
    command = upsert(scene.key, 1, priced(scene.key, "10.01"))
    scene.commands.append(command)
    await lane.publish([command])

    async def pauses() -> bool:
        return "crash_point.reached" in str(first.log())

    async def resent() -> bool:
        return bool(sum(r["operation"] == "create" for r in await lane.requests(company)) > 1)

    try:
        await until(pauses, "the first writer pauses", 60, every=0.02)
        first.process.pause()  # for as long as its successor needs
        await until(resent, "its successor resends", 60, every=0.02)
        first.process.resume()
        told = await scene.told()
        await asyncio.sleep(DELAY + LATE)
        told = await scene.told()
        verdict = told.verdict
        if told.document is not None and told.ends[1] != ["posted"]:
            verdict.problems.append(f"in the books, but told {told.ends[1]}")
    except TookTooLong as error:
        verdict = Verdict(lost=1, problems=[str(error)])
    first.process.resume()
    await lane.control("POST", "tokens", {"access_seconds": B})
    await asyncio.gather(first.stop(), second.stop())
    return verdict


async def without_the_index(lane: Lane, defect: str) -> Verdict:
    """v2 comes while v1 is unknown, and the database does not insist on one open attempt either."""
    if defect == "none":  # the sound writer's statements name the index
        return await _played(newer_version_while_unknown)(lane, defect)
    await lane.pool.execute("DROP INDEX qbo_writer.uq_attempts_open")
    try:
        return await _played(newer_version_while_unknown)(lane, defect)
    finally:
        await lane.pool.execute("UPDATE qbo_writer.attempts SET state = 'resolved' WHERE state <> 'resolved'")
        await lane.pool.execute(INDEX)


INDEX = "CREATE UNIQUE INDEX uq_attempts_open ON qbo_writer.attempts (document_id) WHERE state <> 'resolved'"
CIRCUMSTANCES: dict[str, Circumstances] = {
    "no_requestid": _played(answer_lost),
    "acknowledge_first": acknowledged_then_killed,
    "fence_off": error_told_by_a_paused_writer,
    "journal_after_send": sent_then_killed,
    "new_requestid_on_resend": _played(answer_lost),
    "absent_at_once": _played(ignored_and_late),  # type: ignore[arg-type]
    "many_open_attempts": without_the_index,
    "older_version_wins": _played(older_after_a_rejected_newer),
    "overwrite_people": _played(conflict_over_a_persons_edit),
}


# What must be found, by the words of the verdict. Another symptom is not what the defect was made for.
SYMPTOMS = {
    "no_requestid": "documents in force",
    "acknowledge_first": "no end was told",
    "fence_off": "in the books, but told",
    "journal_after_send": "documents in force",
    "new_requestid_on_resend": "documents in force",
    "absent_at_once": "documents in force",
    "many_open_attempts": "documents in force",
    "older_version_wins": "instead of None",
    "overwrite_people": "a person's work was overwritten",
}


async def found(lane: Lane, defect: str, tries: int = 3) -> Verdict:
    """Return what was found of a defect, if it is the symptom that the defect was made for; else a verdict without problems.

    Pauses depend on the machine: some tries.
    """
    for _ in range(tries):
        await lane.honest()
        verdict = await CIRCUMSTANCES[defect](lane, defect)
        meant = [problem for problem in verdict.problems if SYMPTOMS[defect] in problem]
        if meant:
            verdict.problems = meant
            return verdict
    return Verdict()


async def survived(lane: Lane, defect: str) -> Verdict:
    """Put the sound writer into the same circumstances: it must leave nothing to be found."""
    await lane.honest()
    return await CIRCUMSTANCES[defect](lane, "none")


__all__ = ["CIRCUMSTANCES", "SYMPTOMS", "found", "survived"]
