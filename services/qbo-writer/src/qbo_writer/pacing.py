"""The budget of a company's requests: a pure core with an injected clock, and an asyncio shell around it."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from bookrelay.messages import Priority

from qbo_writer.settings import WriterSettings


class Pacer:
    """Budgets for every company that this process writes for."""

    def __init__(self, settings: WriterSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._clock = settings, clock

    @asynccontextmanager
    async def slot(self, realm: str, batch: bool = False, priority: Priority = Priority.LIVE) -> AsyncIterator[None]:
        """Wait for the budget and a place in flight; the place is given back at the end of the block.

        For `send` and `send_batch`. The client's reads (read, find, changes) take their slots themselves.
        """
        yield

    def batch_now(self, realm: str) -> bool:
        """Whether a batch call could leave right now."""
        return True

    def throttled(self, realm: str, retry_after: float | None) -> None:
        """Tell of a 429: the company freezes, then starts again slower."""

    def load(self, realm: str, state: dict[str, Any]) -> None:
        """Take over the state that `state` gave before a restart (realms.pace)."""

    def state(self, realm: str) -> dict[str, Any]:
        """Return the state to keep in realms.pace; small JSON."""
        return {}
