"""What only one process knows: records that it cannot get past, a policy that it does not take.

A running writer keeps it in the database (`keep_own`); of a process that ended it is forgotten after a minute.
"""

from collections.abc import Sequence
from typing import cast

from bookrelay.blocked import FIX, BlockedRecord
from bookrelay.db import Pool

from qbo_writer.ledger import problems as rows
from qbo_writer.ledger.problems import KeptProblem
from qbo_writer.policy_watching import PolicyFile
from qbo_writer.reporting.problem import Problem, What

OWN: tuple[What, ...] = ("blocked_consumer", "policy_wrong")  # kept by the process that knows it
FORGET_SECONDS = 60.0  # what a process kept counts no longer: it writes every few seconds


def of_blocked(records: Sequence[BlockedRecord]) -> list[Problem]:
    """Return a problem for each record that a consumer cannot get past."""
    return [
        Problem(
            "blocked_consumer", record.what, FIX, record.since,
            details={
                "topic": record.topic, "group": record.group, "partition": record.partition, "offset": record.offset,
                "key": record.key, "failures": record.failures,
            },
        )
        for record in records
    ]  # fmt: skip


def of_policy(policy: PolicyFile) -> list[Problem]:
    """Return what is wrong with the policy on disk."""
    if policy.wrong is None:
        return []
    reason = f"{policy.wrong.reason.rstrip('.')}; the policy that was read before stays in force"
    return [Problem("policy_wrong", reason, policy.wrong.fix, policy.wrong_since)]


async def keep_own(pool: Pool, holder: str, problems: Sequence[Problem]) -> None:
    """Keep what this process alone knows, in place of what it kept before; forget what others kept long ago."""
    await rows.keep(pool, holder, [KeptProblem(p.what, p.since, p.reason, p.fix, p.details) for p in problems])


async def kept(pool: Pool) -> list[Problem]:
    """Return what the running processes keep."""
    return [
        Problem(cast(What, p.what), p.reason, p.fix, p.since, details=p.details) for p in await rows.kept(pool, FORGET_SECONDS)
    ]
