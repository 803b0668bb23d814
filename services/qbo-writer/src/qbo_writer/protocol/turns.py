"""One look for all companies of a process: it wakes those with something to do, and gives those that the clock calls their turn.

A company that rests costs no statement. What is due (documents, the time of an attempt, a word of a person) is found by one
statement for all; change feeds, comparisons and takeovers of companies with nothing due take turns, so that thousands of them
keep neither a document nor QuickBooks waiting.
"""

import time
from collections.abc import Mapping
from datetime import datetime

from qbo_writer.ledger.lease import Leases
from qbo_writer.ledger.ledger import Ledger
from qbo_writer.protocol.parts import Watched
from qbo_writer.protocol.posting import Poster

LOOK_SECONDS = 0.5  # commands that another writer's consumer recorded are found this late at most
WATCHED_SECONDS = 10.0  # after the last look companies look for themselves again
AT_ONCE = 16  # turns at the same time: each reads from QuickBooks for a second or so
GAUGES_SECONDS = 60.0  # of all companies; a company at work shows its own more often


class Turns:
    """The shared look. `step` is a loop's unit of work."""

    def __init__(self, posters: Mapping[str, Poster], leases: Leases, ledger: Ledger, watched: Watched) -> None:
        self._posters, self._leases, self._ledger, self._watched = posters, leases, ledger, watched
        self._looked_at = time.monotonic()
        self._told: dict[str, datetime] = {}  # whose rows were changed lately for their holder to see
        self._having: set[str] = set()  # companies that have their turn
        self._gauges_at = 0.0

    def lease_changed(self, realm: str) -> None:
        """A lease was taken or lost: whoever has lost it says so at once; a company that rests is taken over in its turn."""
        poster = self._posters[realm]
        if self._leases.holding(realm) is None:
            poster.rest.nudge()
        elif not poster.rest.resting:
            poster.wake()

    def begin(self) -> None:
        """Before the loops start: companies rest until the first look."""
        self._watched.until = time.monotonic() + WATCHED_SECONDS

    async def step(self) -> float:
        """Look once; return how long to wait."""
        held = [realm for realm in self._posters if self._leases.holding(realm) is not None]
        if held:
            await self._look()
        self._watched.until = time.monotonic() + WATCHED_SECONDS
        self._give_turns()
        if held and time.monotonic() >= self._gauges_at:
            self._gauges_at = time.monotonic() + GAUGES_SECONDS
            await self._ledger.realms.gauges(held)
        return LOOK_SECONDS

    async def _look(self) -> None:
        began = time.monotonic()
        work, told = await self._ledger.work.look(began - self._looked_at)
        self._looked_at = began
        for realm in work & self._posters.keys():
            poster = self._posters[realm]
            if not (poster.halts.halted or poster.halts.stopped):  # these resume by the clock, or when a person says so
                poster.wake()
        for realm, at in told.items():
            if self._told.get(realm) != at and realm in self._posters:
                self._posters[realm].told()
        self._told = told

    def _give_turns(self) -> None:
        self._having = {realm for realm in self._having if not self._posters[realm].rest.resting}
        for realm, poster in self._posters.items():
            if len(self._having) >= AT_ONCE:
                return
            if poster.rest.resting and poster.due():
                self._having.add(realm)
                poster.rest.nudge()
