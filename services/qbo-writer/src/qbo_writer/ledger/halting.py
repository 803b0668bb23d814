"""What a person does about a whole company: halt it, resume it. It writes what the person said; the lease holder keeps to it.

Unfenced on purpose: it works from another process, whoever holds the lease, and while nobody does.
"""

from enum import StrEnum

from bookrelay import outbox, topics
from bookrelay.db import Pool, transaction
from bookrelay.messages import RealmData, RealmHalted, RealmResumed

from qbo_writer.domain import OPERATOR, SCHEMA, SENDER, OperatorAct
from qbo_writer.ledger import decisions
from qbo_writer.ledger.decisions import Person


class Resumed(StrEnum):
    """What resuming a company led to."""

    RESUMED = "resumed"
    TRIAL = "trial"  # QuickBooks had halted it: one request leaves at once; an answer that means service ends the halt
    NOTHING = "was not halted"


async def halt(pool: Pool, realm: str, by: str, why: str) -> OperatorAct | None:
    """Let nothing be read or sent for a company until a person resumes it. Returns the halt that held before, None if none did.

    The halt and its event are one commit. A halt of QuickBooks' own stays beside it.
    """
    async with transaction(pool) as connection:
        row = await connection.fetchrow(
            "INSERT INTO qbo_writer.realms AS r (realm) VALUES ($1) ON CONFLICT (realm) DO UPDATE SET updated_at = now() "
            "RETURNING r.operator_halt, clock_timestamp() AS now",
            realm,
        )
        before = OperatorAct.of(row["operator_halt"])
        if before is not None:
            return before
        act = OperatorAct(by, why, row["now"])
        await connection.execute(
            "UPDATE qbo_writer.realms SET operator_halt = $2, told_at = now() WHERE realm = $1", realm, act.kept()
        )
        await decisions.record(connection, realm, Person(by, why), "halt", {})
        data = RealmData(realm=realm, code=OPERATOR, reason=f"Halted by {by}: {why}", since=act.at)
        await outbox.add(connection, SCHEMA, topics.EVENTS, [RealmHalted.of(data, sender=SENDER, time=act.at)])
    return None


async def resume(pool: Pool, realm: str, by: str, why: str) -> Resumed:
    """End a person's halt, with its event in the same commit. Where QuickBooks has halted the company: a trial at once.

    Only QuickBooks' service ends a halt of its own; who asked for the trial stands in the event of its end.
    """
    async with transaction(pool) as connection:
        row = await connection.fetchrow(
            "SELECT operator_halt, halted_code, clock_timestamp() AS now FROM qbo_writer.realms WHERE realm = $1 FOR UPDATE",
            realm,
        )
        if row is None or (row["operator_halt"] is None and row["halted_code"] is None):
            return Resumed.NOTHING
        act = OperatorAct(by, why, row["now"])
        trial = row["halted_code"] is not None
        await connection.execute(
            "UPDATE qbo_writer.realms SET operator_halt = NULL, trial = $2, told_at = now() WHERE realm = $1",
            realm, act.kept() if trial else None,
        )  # fmt: skip
        await decisions.record(connection, realm, Person(by, why), "resume", {"trial": trial})
        if trial:
            return Resumed.TRIAL
        data = RealmData(realm=realm, code=OPERATOR, reason=f"Resumed by {by}: {why}", since=act.at)
        await outbox.add(connection, SCHEMA, topics.EVENTS, [RealmResumed.of(data, sender=SENDER, time=act.at)])
    return Resumed.RESUMED
