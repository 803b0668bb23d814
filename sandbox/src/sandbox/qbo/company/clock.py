"""The controllable clock: documents, tokens and webhook retries live on it; rate limits never do (see rules/limits.py)."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

try:
    PACIFIC: ZoneInfo | None = ZoneInfo("America/Los_Angeles")
except ZoneInfoNotFoundError:  # a machine without a time zone database: answers then carry -08:00 all the year
    PACIFIC = None


class Clock:
    """Real time plus an offset; may be frozen. `now()` is seconds since the epoch."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset
        self.frozen_at: float | None = None

    def now(self) -> float:
        """Seconds since the epoch on this clock."""
        return self.frozen_at if self.frozen_at is not None else time.time() + self.offset

    def advance(self, seconds: float) -> None:
        """Move the clock on; nothing here waits."""
        if self.frozen_at is not None:
            self.frozen_at += seconds
        else:
            self.offset += seconds

    def set(self, epoch: float) -> None:
        """Set the clock to an instant."""
        if self.frozen_at is not None:
            self.frozen_at = epoch
        else:
            self.offset = epoch - time.time()

    def freeze(self, frozen: bool) -> None:
        """Stop or start the clock's own movement."""
        if frozen and self.frozen_at is None:
            self.frozen_at = self.now()
        elif not frozen and self.frozen_at is not None:
            epoch, self.frozen_at = self.frozen_at, None
            self.set(epoch)


@lru_cache(maxsize=4096)
def _pacific_text(second: int) -> str:
    if PACIFIC is None:
        shifted = datetime.fromtimestamp(second, UTC) - timedelta(hours=8)
        return shifted.strftime("%Y-%m-%dT%H:%M:%S-08:00")
    return datetime.fromtimestamp(second, PACIFIC).isoformat()


def pacific(epoch: float) -> str:
    """MetaData form: `2015-07-24T10:33:39-07:00`, Pacific whatever the company's zone."""
    return _pacific_text(int(epoch))


def pacific_millis(epoch: float) -> str:
    """Form of the top-level `time`: with milliseconds."""
    text = _pacific_text(int(epoch))
    return f"{text[:19]}.{int(epoch * 1000) % 1000:03d}{text[19:]}"


def pacific_date(epoch: float) -> str:
    """The company's current date, `YYYY-MM-DD`."""
    return _pacific_text(int(epoch))[:10]


@lru_cache(maxsize=65536)
def epoch_of(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 time; a time without offset or a bare date counts as Pacific.

    Raises ValueError for anything else.
    """
    text = text.strip()
    if len(text) > 6 and text[-6] == " ":  # a raw plus sign in a URL arrives as a blank
        text = text[:-6] + "+" + text[-5:]
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=PACIFIC or UTC)
    return moment.timestamp()
