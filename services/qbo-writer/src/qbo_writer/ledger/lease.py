"""Who may write for a company: a row with an increasing fencing token, timed by the database, renewed by one loop.

Each transaction locks the lease row (`fenced`): that guards the ledger, not what this process believes.
"""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bookrelay import metrics, telemetry
from bookrelay.db import Connection, NoRow, Pool, transaction

from qbo_writer.crashpoints import Place, reach

log = telemetry.get_logger(__name__)


class LeaseLost(Exception):  # noqa: N818
    """The caller no longer holds the company's lease."""


@asynccontextmanager
async def fenced(pool: Pool, realm: str, fencing_token: int) -> AsyncIterator[Connection]:
    """Open a ledger transaction that locks the lease row until it ends; raise LeaseLost if the lease is no longer ours."""
    quoted = realm.replace("'", "''")
    # Sent together with BEGIN, so without parameters.
    ours = f"SELECT 1 FROM qbo_writer.leases WHERE realm = '{quoted}' AND fencing_token = {fencing_token:d} FOR SHARE"  # noqa: S608
    try:
        async with transaction(pool, only_if=ours) as connection:
            yield connection
    except NoRow:
        raise LeaseLost(realm) from None


@dataclass(frozen=True)
class _Held:
    fencing_token: int
    until: float  # monotonic clock; an estimate that saves calls, not a guard


class Leases:
    """The leases of this process. `step` is a loop's unit of work: it acquires free leases and renews held ones."""

    def __init__(self, pool: Pool, realms: Sequence[str], *, seconds: float, renew_seconds: float, holder: str = "") -> None:
        self._pool, self._realms = pool, tuple(realms)
        self._seconds, self._renew_seconds = seconds, renew_seconds
        self.holder = holder or f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self._held: dict[str, _Held] = {}
        self.on_change: Callable[[str], None] = lambda realm: None

    def holding(self, realm: str) -> int | None:
        """Return the fencing token under which this process may write for the company now, or None."""
        held = self._held.get(realm)
        return held.fencing_token if held and time.monotonic() < held.until else None

    async def step(self) -> float:
        """Acquire and renew every company's lease; return how long to wait."""
        started = time.monotonic()
        for realm in self._realms:
            # The estimate expires while Postgres is down; the same token is renewed if nobody took the lease meanwhile.
            async with asyncio.timeout(self._seconds):
                await self._acquire_or_renew(realm)
        pause = self._renew_seconds if self._held else min(self._renew_seconds, 1.0)
        return max(0.05, pause - (time.monotonic() - started))

    async def _acquire_or_renew(self, realm: str) -> None:
        held, asked_at = self._held.get(realm), time.monotonic()
        token: int | None = None
        if held:
            token = await self._pool.fetchval(
                "UPDATE qbo_writer.leases SET expires_at = clock_timestamp() + make_interval(secs => $4) "
                "WHERE realm = $1 AND holder = $2 AND fencing_token = $3 RETURNING fencing_token",
                realm, self.holder, held.fencing_token, self._seconds,
            )  # fmt: skip
            if token is None:
                self.lost(realm)
        if token is None:
            token = await self._pool.fetchval(
                "INSERT INTO qbo_writer.leases AS l (realm, holder, fencing_token, expires_at) "
                "VALUES ($1, $2, 1, clock_timestamp() + make_interval(secs => $3)) ON CONFLICT (realm) DO UPDATE SET "
                "holder = excluded.holder, fencing_token = l.fencing_token + 1, expires_at = excluded.expires_at "
                "WHERE l.expires_at < clock_timestamp() RETURNING fencing_token",
                realm, self.holder, self._seconds,
            )  # fmt: skip
            if token is None:
                return
            log.info("lease.taken", realm=realm, fencing_token=token)
            reach(Place.LEASE_TAKEN)
        self._held[realm] = _Held(token, asked_at + self._seconds)
        metrics.LEASE_HELD.labels(realm).set(1)
        metrics.LEASE_TOKEN.labels(realm).set(token)
        if held is None or held.fencing_token != token:
            self.on_change(realm)

    def lost(self, realm: str) -> None:
        """Drop a company's lease: a transaction found that it is no longer ours."""
        if held := self._held.get(realm):
            log.warning("lease.lost", realm=realm, fencing_token=held.fencing_token)
            self._forget(realm)

    def _forget(self, realm: str) -> None:
        self._held.pop(realm, None)
        metrics.LEASE_HELD.labels(realm).set(0)
        self.on_change(realm)

    async def release(self) -> None:
        """Release all leases at a graceful stop, so that a standby takes over at once."""
        held = dict(self._held)
        if not held:
            return
        await self._pool.execute(
            "UPDATE qbo_writer.leases l SET expires_at = clock_timestamp() - interval '1 second' "
            "FROM unnest($1::text[], $2::bigint[]) AS t(realm, fencing_token) "
            "WHERE l.realm = t.realm AND l.fencing_token = t.fencing_token",
            list(held), [one.fencing_token for one in held.values()],
        )  # fmt: skip
        for realm in held:
            self._forget(realm)
