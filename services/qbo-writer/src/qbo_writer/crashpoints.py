"""Named places where a test can make the writer fail (exception, SIGKILL or hang) at the k-th passage.

BOOKRELAY_CRASH_POINT is `<name>:<exception|kill|hang>[:<k>[:<seconds>]]`. It is read once, when the first place is reached.
"""

import os
import signal
import time
from enum import StrEnum
from functools import cache


class Place(StrEnum):
    """Every place, from the poll to the commit of the offset."""

    POLLED = "polled"  # commands are polled, nothing is recorded
    RECORDING = "recording"  # inside the recording transaction
    RECORDED = "recorded"  # committed, but the offset is not
    CLAIMED = "claimed"  # decided and prepared, not journalled
    JOURNALLING = "journalling"  # inside the journalling transaction
    JOURNALLED = "journalled"  # committed, nothing sent
    SENT = "sent"  # the answer has arrived, nothing has read it yet
    ANSWERED = "answered"  # classified
    SETTLING = "settling"  # inside the settling transaction
    SETTLED = "settled"
    BATCH_JOURNALLED = "batch_journalled"
    BATCH_ANSWERED = "batch_answered"
    RESEND_JOURNALLED = "resend_journalled"
    LOOKED_UP = "looked_up"
    UNPAYING = "unpaying"  # inside the transaction that withdraws a bill's payment
    LEASE_TAKEN = "lease_taken"
    LOST_MARKED = "lost_marked"
    TOKEN_REFRESHED = "token_refreshed"  # noqa: S105  # the new pair has arrived and is not stored
    TOKEN_PERSISTED = "token_persisted"  # noqa: S105
    PUBLISHED = "published"  # the relay has published, nothing is marked as published
    MARKED = "marked"
    RECOVERY_BEGUN = "recovery_begun"  # the companies are halted, the offsets are not reset
    RECOVERY_REPLAYED = "recovery_replayed"  # the commands are recorded again, nothing has been compared
    RECOVERY_COMPARING = "recovery_comparing"  # a page has been compared and committed
    RECOVERY_COMPARED = "recovery_compared"  # everything has been compared, the company is still halted


class Crashed(Exception):  # noqa: N818
    """The failure that a test requested."""


_passed: dict[str, int] = {}


@cache
def _plan() -> tuple[str, str, int, float] | None:
    text = os.environ.get("BOOKRELAY_CRASH_POINT", "")
    if not text:
        return None
    name, how, k, seconds = (text.split(":") + ["exception", "1", "60"][text.count(":") :])[:4]
    return Place(name).value, how, int(k), float(seconds)


def reach(place: Place | str) -> None:
    """Fail here if the environment says so, else do nothing. A hang blocks the whole process, as SIGSTOP would."""
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
