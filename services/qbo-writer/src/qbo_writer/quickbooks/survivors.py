"""The survivors of merges, cached for a minute: another writer may have applied one."""

import time

from bookrelay.db import Pool

from qbo_writer.ledger import merges

_SECONDS = 60.0


class KnownSurvivors:
    """The survivors of every company."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: dict[str, tuple[merges.Survivors, float]] = {}

    async def of(self, realm: str) -> merges.Survivors:
        """Return a company's survivors."""
        cached = self._known.get(realm)
        if cached is None or time.monotonic() - cached[1] > _SECONDS:
            cached = self._known[realm] = (await merges.survivors(self._pool, realm), time.monotonic())
        return cached[0]

    def forget(self, realm: str) -> None:
        """Read them again: a merge was applied."""
        self._known.pop(realm, None)
