"""An operator halts or resumes a company, or declares its waits unreliable: stored here, and the lease holder acts on it.

Unfenced on purpose: it works from any process, whether or not the lease is held.
"""

from enum import StrEnum
from typing import Literal

from bookrelay import outbox, topics
from bookrelay.db import Pool, transaction
from bookrelay.messages import RealmData, RealmHalted, RealmResumed

from qbo_writer.domain import OPERATOR, SCHEMA, SENDER, OperatorAct
from qbo_writer.ledger import decisions
from qbo_writer.ledger.decisions import Person


class Resumed(StrEnum):
    """The result of resuming a company."""

    RESUMED = "resumed"
    TRIAL = "trial"  # QuickBooks had halted it: one request is sent at once; a successful answer ends the halt
    NOTHING = "was not halted"


async def halt(pool: Pool, realm: str, by: str, why: str) -> OperatorAct | None:
    """Read and send nothing for a company until an operator resumes it. Returns an earlier halt that was in force, or None.

    The halt and its event are one commit. A halt caused by QuickBooks stays in force beside it.
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
    """End an operator's halt, with its event in the same commit. If QuickBooks caused the halt, request a trial at once.

    Only a successful answer from QuickBooks ends its own halt; that event names who requested the trial.
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


async def set_bounds(pool: Pool, realm: str, person: Person, bounds: Literal["unreliable", "reliable"]) -> None:
    """Note whether the protocol's waits can be relied on for a company."""
    async with transaction(pool) as connection:
        await connection.execute(
            "INSERT INTO qbo_writer.realms (realm, bounds_unreliable) VALUES ($1, $2) "
            "ON CONFLICT (realm) DO UPDATE SET bounds_unreliable = excluded.bounds_unreliable, told_at = now()",
            realm, bounds == "unreliable",
        )  # fmt: skip
        await decisions.record(connection, realm, person, "bounds", {"bounds": bounds})
