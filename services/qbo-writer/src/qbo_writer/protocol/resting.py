"""How a company's loop waits: for a wake, for some seconds, or at rest, where whoever looks for all companies wakes it."""

import asyncio
import contextlib
import time

from bookrelay import telemetry
from bookrelay.db import TRANSIENT_POSTGRES

from qbo_writer.ledger.lease import LeaseLost
from qbo_writer.protocol.parts import Parts

log = telemetry.get_logger(__name__)

REST_SECONDS = 120.0  # between two signs of life of a company that has nothing to do
KEEP_SECONDS = 5.0


class Rest:
    """What wakes the loop of one company, and what for."""

    def __init__(self) -> None:
        self._wake = asyncio.Event()
        self.look = False  # something may be due: the ledger is asked; what only the clock brings needs no look
        self.resting = True  # there is nothing to do

    @property
    def woken(self) -> bool:
        """Whether something has woken it since the round began."""
        return self._wake.is_set()

    def begin(self) -> None:
        """A round begins: what wakes from here on is for the next one."""
        self.resting = False
        self._wake.clear()

    def wake(self) -> None:
        """Something changed: look now."""
        self.look = True
        self._wake.set()

    def nudge(self) -> None:
        """The clock brought something: do it, without a look for documents."""
        self._wake.set()

    async def wait(self, seconds: float) -> None:
        """Wait for a wake, so many seconds at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.01, seconds)):
                await self._wake.wait()


class PaceKeeper:
    """Keeps the pacer's state of one company in the ledger, so that a restart does not burst."""

    def __init__(self, realm: str, parts: Parts) -> None:
        self._realm, self._parts = realm, parts
        self.kept_at = 0.0

    def due(self) -> bool:
        """Whether it is time, while requests leave."""
        return time.monotonic() - self.kept_at >= KEEP_SECONDS

    def unkept(self) -> bool:
        """Whether a request has left since."""
        return self._parts.pacer.used_at(self._realm) > self.kept_at

    async def keep(self, fencing_token: int) -> None:
        """Keep it. Raises LeaseLost."""
        self.kept_at = time.monotonic()
        await self._parts.ledger.realms.keep_pace(self._realm, fencing_token, self._parts.pacer.state(self._realm))

    async def pause(self) -> None:
        """Store the pause that a 429 begins, before its answer is worked on: whoever takes over finds it."""
        fencing_token = self._parts.leases.holding(self._realm)
        if fencing_token is None:
            return
        try:
            await self.keep(fencing_token)
        except LeaseLost:
            self._parts.leases.lost(self._realm)
        except TRANSIENT_POSTGRES as error:
            self.kept_at = 0.0  # the loop stores it as soon as Postgres is back
            log.warning("pace.not_stored", realm=self._realm, error=type(error).__name__)
