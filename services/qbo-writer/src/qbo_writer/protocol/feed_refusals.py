"""Which entities the change feed is refused for: each is asked for again after growing pauses. Kept in the company's row.

What changed while it was refused is read when it is not: nothing is lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

PAUSE, PAUSE_MOST = timedelta(minutes=1), timedelta(hours=1)
WORDS_LENGTH = 500


@dataclass(frozen=True)
class Refusal:
    """Why, how often in a row, when to ask again, and from when on its changes are not read."""

    since: datetime
    times: int
    again_at: datetime
    words: str
    fix: str


Refusals = Mapping[str, Refusal]  # by the entity


def again(before: Refusal | None, since: datetime, now: datetime, words: str, fix: str) -> Refusal:
    """Return the refusal after one more; `since` counts for the first."""
    times = before.times + 1 if before else 1
    pause = min(PAUSE * 2 ** min(times - 1, 10), PAUSE_MOST)
    return Refusal(before.since if before else since, times, now + pause, words[:WORDS_LENGTH], fix)


def of(plain: Mapping[str, Any]) -> dict[str, Refusal]:
    """Read what was kept."""
    return {
        entity: Refusal(
            datetime.fromisoformat(one["since"]), one["times"], datetime.fromisoformat(one["again_at"]), one["words"], one["fix"]
        )
        for entity, one in plain.items()
    }


def plain(refusals: Refusals) -> dict[str, Any]:
    """Return what is kept."""
    return {
        entity: {
            "since": one.since.isoformat(), "times": one.times, "again_at": one.again_at.isoformat(), "words": one.words,
            "fix": one.fix,
        }
        for entity, one in refusals.items()
    }  # fmt: skip
