"""When a source is polled: periodically, sooner on request, later while it is paused or throttled."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from bookrelay import metrics, telemetry
from bookrelay.errors import BookrelayError
from bookrelay.source.errors import PausedError, ThrottledError

log = telemetry.get_logger(__name__)

SPACING_SECONDS = 1.0  # between requested polls, so that several requests share one and quotas last
PIECE_SECONDS = 0.25  # waits are split into pieces, short enough for a graceful stop


class Schedule:
    """The polls of one source. `step` is a loop's unit of work; `wake` requests a poll soon.

    `poll` reads once and returns whether to poll again immediately. It raises PausedError, ThrottledError, or a transient error,
    after which the next poll follows with the loop's backoff.
    """

    def __init__(
        self,
        source: str,
        poll: Callable[[], Awaitable[bool]],
        *,
        every_seconds: float,
        paused_seconds: float = 60,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._poll, self._monotonic = source, poll, monotonic
        self._every, self._paused_seconds = every_seconds, paused_seconds
        self._wake = asyncio.Event()
        self._next_at = self._earliest_at = 0.0
        self._problem: str | None = None

    def wake(self) -> None:
        """Request a poll soon."""
        self._wake.set()

    def not_ready_because(self) -> str | None:
        """Return why the source cannot be read, and what to do; None if it can."""
        return self._problem

    async def step(self) -> float:
        """Poll if a poll is due, else wait briefly."""
        now = self._monotonic()
        pause = self._next_at - now
        if self._wake.is_set():
            pause = min(pause, self._earliest_at - now)
            if pause > 0:
                await asyncio.sleep(min(pause, PIECE_SECONDS))
                return 0
        if pause > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(pause, PIECE_SECONDS)):
                    await self._wake.wait()
            return 0
        await self.poll_now()
        return 0

    async def poll_now(self) -> float:
        """Poll now; return the seconds until the next poll is due."""
        self._wake.clear()
        try:
            with metrics.SOURCE_POLL_SECONDS.labels(self._source).time():
                again = await self._poll()
        except ThrottledError as error:
            log.warning("poll.throttled", source=self._source, wait_seconds=round(error.seconds, 1))
            return self._pause(error, error.seconds)
        except PausedError as error:
            log.error("poll.paused", source=self._source, code=error.code.value, reason=error.reason, fix=error.fix)
            return self._pause(error, self._paused_seconds)
        except Exception:
            self._problem = None  # the loop reports this error
            raise
        self._problem = None
        seconds = 0.0 if again else self._every
        return self._plan(seconds, min(seconds, SPACING_SECONDS))

    def _pause(self, error: BookrelayError, seconds: float) -> float:
        self._problem = error.sentence()
        self._wake.set()  # the request for a poll is still pending
        return self._plan(seconds, seconds)

    def _plan(self, seconds: float, earliest: float) -> float:
        now = self._monotonic()
        self._next_at, self._earliest_at = now + seconds, now + earliest
        return seconds
