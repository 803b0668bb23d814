"""The loops of a service: each repeats its unit of work, retries transient errors, and reports its state."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from bookrelay import metrics
from bookrelay.servers import Servers
from bookrelay.transient import TRANSIENT, brief

Step = Callable[[], Awaitable[float]]
"""One unit of work of a loop; returns the seconds to wait before the next."""


@dataclass
class Loop:
    """A supervised loop. If a unit of work takes longer than `stall_seconds`, the service is not live."""

    name: str
    step: Step
    stall_seconds: float = 300
    busy_since: float | None = None
    failing: str | None = None
    vital: bool = True  # the service is not ready while it fails
    succeeded: bool = False  # at least one unit of work has
    label: str = ""  # in metrics, in place of its name


class Loops:
    """The loops of one service, run until `stopping` is set. `servers` reports failures due to an unavailable server."""

    def __init__(self, stopping: asyncio.Event, servers: Servers) -> None:
        self._stopping, self._servers = stopping, servers
        self._loops: list[Loop] = []

    def __iter__(self) -> Iterator[Loop]:
        return iter(self._loops)

    def add(self, loop: Loop) -> None:
        """Add a loop; `supervise` runs it."""
        self._loops.append(loop)

    def failing(self, *, vital: bool) -> list[str]:
        """Return which loops fail, and why: the vital ones, or the others."""
        return [f"{loop.name}: {loop.failing}" for loop in self._loops if loop.failing and loop.vital is vital]

    def hanging(self) -> list[str]:
        """Return every loop whose unit of work has exceeded its `stall_seconds`."""
        now = time.monotonic()
        return [
            f"{loop.name} hangs for {now - loop.busy_since:.0f} s"
            for loop in self._loops
            if loop.busy_since and now - loop.busy_since > loop.stall_seconds
        ]

    async def supervise(self, loop: Loop) -> None:
        """Repeat a loop's unit of work; sets `stopping` and raises on an error that is not transient."""
        try:
            await self._repeat(loop)
        except Exception:
            # This event also stops a loop whose library swallows cancellation (`asyncio.wait_for` does before Python 3.12).
            self._stopping.set()
            raise

    async def _repeat(self, loop: Loop) -> None:
        wait = 0.2
        while not self._stopping.is_set():
            loop.busy_since = time.monotonic()
            try:
                pause = await loop.step()
                if wait > 0.2:
                    await self._servers.look_again()
                loop.failing, wait, loop.succeeded = None, 0.2, True
                metrics.LOOP_LAST_SUCCESS.labels(loop.label or loop.name).set_to_current_time()
            except TRANSIENT as error:
                metrics.LOOP_FAILURES.labels(loop.label or loop.name).inc()
                pause, wait = wait, min(wait * 2, 5.0)
                loop.failing = None if await self._servers.explain(error) else brief(error)
                if loop.failing:
                    self._servers.say("loop.retrying", loop.name + loop.failing, loop=loop.name, error=loop.failing)
            loop.busy_since = None
            if pause > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._stopping.wait()
            else:
                await asyncio.sleep(0)
