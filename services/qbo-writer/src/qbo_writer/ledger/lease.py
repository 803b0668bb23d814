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

from bookrelay import metrics, telemetry
from bookrelay.db import Connection, NoRow, Pool, transaction

from qbo_writer.crashpoints import Place, reach

log = telemetry.get_logger(__name__)

# The rows of the leases that we held: $1 and $2 are companies and fencing tokens, $3 is the holder.
_HELD = (
    "SELECT o.realm FROM qbo_writer.leases o JOIN unnest($1::text[], $2::bigint[]) AS t(realm, fencing_token) "
    "USING (realm, fencing_token) WHERE o.holder = $3"
)


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


async def update_fenced(pool: Pool, realm: str, fencing_token: int, statement: str, *arguments: object) -> None:
    """Update the company's row in a ledger transaction of one statement, and of one round trip; raise LeaseLost as `fenced` does.

    `statement` ends with its WHERE; company and fencing token are its first two parameters.
    """
    # Nothing depends on the row that is updated: Postgres locks the lease row before it looks at that.
    ours = "SELECT 1 FROM qbo_writer.leases WHERE realm = $1 AND fencing_token = $2 FOR SHARE"
    status: str = await pool.execute(
        f"WITH ours AS MATERIALIZED ({ours}) {statement} AND EXISTS (SELECT 1 FROM ours)",  # noqa: S608
        realm, fencing_token, *arguments,
    )  # fmt: skip
    if status.endswith(" 0"):
        raise LeaseLost(realm)


class Leases:
    """The leases of this process. `step` is a loop's unit of work: it acquires what is free and renews what is held.

    All of them together, whatever their number: a statement for each would take a process with thousands of companies longer
    than a lease lives.
    """

    def __init__(self, pool: Pool, realms: Sequence[str], *, seconds: float, renew_seconds: float, holder: str = "") -> None:
        self._pool, self._realms = pool, tuple(realms)
        self._seconds, self._renew_seconds = seconds, renew_seconds
        self.holder = holder or f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        self._held: dict[str, int] = {}  # fencing tokens
        self._until: dict[str, float] = {}  # by the monotonic clock of this process: a belief that saves calls, no guard
        self.on_change: Callable[[str], None] = lambda realm: None

    def holding(self, realm: str) -> int | None:
        """Return the fencing token under which this process may write for the company now, or None."""
        return self._held.get(realm) if time.monotonic() < self._until.get(realm, 0.0) else None

    async def step(self) -> float:
        """Acquire and renew every company's lease; return how long to wait."""
        started = time.monotonic()
        # The estimate expires while Postgres is down; the same token is renewed if nobody took the lease meanwhile.
        async with asyncio.timeout(self._seconds):
            await self._renew()
            await self._acquire()
        pause = self._renew_seconds if self._held else min(self._renew_seconds, 1.0)
        return max(0.05, pause - (time.monotonic() - started))

    async def _renew(self) -> None:
        """Renew what is held: all rows that nobody has locked at once, then those that a transaction of ours has."""
        if not self._held:
            return
        held, asked_at = dict(self._held), time.monotonic()
        rows = await self._pool.fetch(
            f"UPDATE qbo_writer.leases l SET expires_at = clock_timestamp() + make_interval(secs => $4) FROM ({_HELD} "  # noqa: S608
            "ORDER BY o.realm FOR NO KEY UPDATE OF o SKIP LOCKED) free WHERE l.realm = free.realm RETURNING l.realm",
            list(held), list(held.values()), self.holder, self._seconds,
        )  # fmt: skip
        self._believe([row["realm"] for row in rows], asked_at)
        if len(rows) == len(held):
            return
        left = {realm: held[realm] for realm in held.keys() - {row["realm"] for row in rows}}
        rows = await self._pool.fetch(f"SELECT o.realm FROM ({_HELD}) o", list(left), list(left.values()), self.holder)  # noqa: S608
        locked = [row["realm"] for row in rows]
        for realm in left.keys() - set(locked):
            self.lost(realm)
        await asyncio.gather(*(self._renew_locked(realm, left[realm]) for realm in locked))

    async def _renew_locked(self, realm: str, token: int) -> None:
        """Wait for the transaction that has the row, for a moment."""
        asked_at = time.monotonic()
        renewed = await self._pool.fetchval(
            "UPDATE qbo_writer.leases SET expires_at = clock_timestamp() + make_interval(secs => $4) "
            "WHERE realm = $1 AND holder = $2 AND fencing_token = $3 RETURNING realm",
            realm, self.holder, token, self._seconds,
        )  # fmt: skip
        if renewed is None:
            self.lost(realm)
        else:
            self._believe([realm], asked_at)

    async def _acquire(self) -> None:
        """Take what is free. A row that a transaction of an earlier holder has locked is taken when that has ended."""
        wanted = [realm for realm in self._realms if realm not in self._held]
        if not wanted:
            return
        rows = await self._pool.fetch(  # it locks nothing: a standby asks every second
            "SELECT t.realm FROM unnest($1::text[]) AS t(realm) LEFT JOIN qbo_writer.leases l USING (realm) "
            "WHERE l.realm IS NULL OR l.expires_at < clock_timestamp()",
            wanted,
        )
        if not rows:
            return
        asked_at = time.monotonic()
        taken = await self._pool.fetch(
            """
            WITH made AS (
              INSERT INTO qbo_writer.leases (realm, holder, fencing_token, expires_at)
              SELECT realm, $2, 1, clock_timestamp() + make_interval(secs => $3) FROM unnest($1::text[]) AS t(realm)
              ON CONFLICT DO NOTHING RETURNING realm, fencing_token
            ), free AS (
              SELECT realm FROM qbo_writer.leases WHERE realm = ANY($1::text[]) AND expires_at < clock_timestamp()
              ORDER BY realm FOR NO KEY UPDATE SKIP LOCKED
            ), taken AS (
              UPDATE qbo_writer.leases l SET holder = $2, fencing_token = l.fencing_token + 1,
                expires_at = clock_timestamp() + make_interval(secs => $3)
              FROM free WHERE l.realm = free.realm RETURNING l.realm, l.fencing_token
            )
            SELECT realm, fencing_token FROM made UNION ALL SELECT realm, fencing_token FROM taken
            """,
            sorted(row["realm"] for row in rows), self.holder, self._seconds,
        )  # fmt: skip
        for row in taken:
            realm, token = row["realm"], row["fencing_token"]
            log.info("lease.taken", realm=realm, fencing_token=token)
            reach(Place.LEASE_TAKEN)
            self._held[realm] = token
            metrics.LEASE_HELD.labels(realm).set(1)
            metrics.LEASE_TOKEN.labels(realm).set(token)
        self._believe([row["realm"] for row in taken], asked_at)

    def _believe(self, realms: Sequence[str], asked_at: float) -> None:
        """Rely on these leases; companies that had ceased to are notified."""
        now = time.monotonic()
        lapsed = [realm for realm in realms if self._until.get(realm, 0.0) <= now]
        self._until.update(dict.fromkeys(realms, asked_at + self._seconds))
        for realm in lapsed:
            self.on_change(realm)

    def lost(self, realm: str) -> None:
        """Stop believing in the lease of a company: a transaction found that it is gone."""
        if token := self._held.get(realm):
            log.warning("lease.lost", realm=realm, fencing_token=token)
            self._forget(realm)

    def _forget(self, realm: str) -> None:
        self._held.pop(realm, None)
        self._until.pop(realm, None)
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
            list(held), list(held.values()),
        )  # fmt: skip
        for realm in held:
            self._forget(realm)
