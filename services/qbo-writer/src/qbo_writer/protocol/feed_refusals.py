"""Entities that the change feed is refused for, each retried after growing pauses. Stored in the company's row.

Changes during a refusal are read after it: nothing is lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

PAUSE, PAUSE_MOST = timedelta(minutes=1), timedelta(hours=1)
WORDS_LENGTH = 500


@dataclass(frozen=True)
class Refusal:
    """Why, how often in a row, when to retry, and the time from which changes have not been read."""

    since: datetime
    times: int
    again_at: datetime
    words: str
    fix: str


Refusals = Mapping[str, Refusal]  # by entity


def again(before: Refusal | None, since: datetime, now: datetime, words: str, fix: str) -> Refusal:
    """Return the updated refusal; `since` is used for the first."""
    times = before.times + 1 if before else 1
    pause = min(PAUSE * 2 ** min(times - 1, 10), PAUSE_MOST)
    return Refusal(before.since if before else since, times, now + pause, words[:WORDS_LENGTH], fix)


def of(plain: Mapping[str, Any]) -> dict[str, Refusal]:
    """Read the stored form."""
    return {
        entity: Refusal(
            datetime.fromisoformat(one["since"]), one["times"], datetime.fromisoformat(one["again_at"]), one["words"], one["fix"]
        )
        for entity, one in plain.items()
    }


def plain(refusals: Refusals) -> dict[str, Any]:
    """Return the stored form."""
    return {
        entity: {
            "since": one.since.isoformat(), "times": one.times, "again_at": one.again_at.isoformat(), "words": one.words,
            "fix": one.fix,
        }
        for entity, one in refusals.items()
    }  # fmt: skip
