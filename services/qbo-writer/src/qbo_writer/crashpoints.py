"""Named places where a test can make the writer fail: by exception, SIGKILL or hanging, at the k-th passage.

BOOKRELAY_CRASH_POINT is `<name>:<exception|kill|hang>[:<k>[:<seconds>]]`. Read once, when the first place is passed.
"""

import asyncio
import os
import signal
import time
from enum import StrEnum
from functools import cache


class Place(StrEnum):
    """Every place, from the poll to the offset's commit."""

    POLLED = "polled"  # commands are in hand, nothing is recorded
    RECORDING = "recording"  # inside the recording transaction
    RECORDED = "recorded"  # committed, the offset is not
    CLAIMED = "claimed"  # decided and prepared, nothing is journalled
    JOURNALLING = "journalling"  # inside the journalling transaction
    JOURNALLED = "journalled"  # committed, nothing has left
    SENT = "sent"  # the answer is on its way: passed when it has arrived, before anybody reads it
    ANSWERED = "answered"  # classified
    SETTLING = "settling"  # inside the settling transaction
    SETTLED = "settled"
    BATCH_JOURNALLED = "batch_journalled"
    BATCH_ANSWERED = "batch_answered"
    RESEND_JOURNALLED = "resend_journalled"
    LOOKED_UP = "looked_up"
    UNPAYING = "unpaying"  # inside the transaction that has a bill's payment withdrawn
    LEASE_TAKEN = "lease_taken"
    LOST_MARKED = "lost_marked"
    TOKEN_REFRESHED = "token_refreshed"  # noqa: S105  # the new pair is in hand, not persisted
    TOKEN_PERSISTED = "token_persisted"  # noqa: S105
    PUBLISHED = "published"  # the relay has published, nothing is marked
    MARKED = "marked"
    RECOVERY_BEGUN = "recovery_begun"  # the companies are halted, the offsets are not set back
    RECOVERY_REPLAYED = "recovery_replayed"  # the commands are recorded again, nothing is compared
    RECOVERY_COMPARING = "recovery_comparing"  # a page is compared and committed
    RECOVERY_COMPARED = "recovery_compared"  # everything is compared, the company is still halted


class Crashed(Exception):  # noqa: N818
    """The failure that was asked for."""


_passed: dict[str, int] = {}


@cache
def _plan() -> tuple[str, str, int, float] | None:
    text = os.environ.get("BOOKRELAY_CRASH_POINT", "")
    if not text:
        return None
    name, how, k, seconds = (text.split(":") + ["exception", "1", "60"][text.count(":") :])[:4]
    return Place(name).value, how, int(k), float(seconds)


def reach(place: Place | str) -> None:
    """Fail here if the environment says so; otherwise nothing. A hang blocks the whole process, as SIGSTOP would."""
    plan = _plan()
    if plan is None or plan[0] != str(place):
        return
    _passed[plan[0]] = _passed.get(plan[0], 0) + 1
    if _passed[plan[0]] != plan[2]:
        return
    os.write(2, f"crash_point.reached {plan[0]}:{plan[1]}:{plan[2]}\n".encode())  # the tests' proof that it happened
    if plan[1] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if plan[1] == "hang":
        time.sleep(plan[3])
        return
    raise Crashed(plan[0])


async def reach_async(place: Place | str) -> None:
    """As `reach`, but a hang leaves the event loop alone: only this piece of work is paused."""
    plan = _plan()
    if plan and plan[0] == str(place) and plan[1] == "pause":
        _passed[plan[0]] = _passed.get(plan[0], 0) + 1
        if _passed[plan[0]] == plan[2]:
            await asyncio.sleep(plan[3])
        return
    reach(place)
