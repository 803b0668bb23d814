"""The rows of tokens: `tokens`, `token_history` and what `realms` tells of the token endpoint. It sees sealed tokens only.

What changes a company's tokens is fenced by the lease, or done by an operator's command, which holds none.
"""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bookrelay import telemetry
from bookrelay.db import Connection, Pool, transaction

from qbo_writer.ledger.lease import LeaseLost, fenced

log = telemetry.get_logger(__name__)

CONNECTED, NEEDS_RECONNECT = "connected", "needs_reconnect"
_COLUMNS = (
    "realm, state, reason, access_token, access_expires_at, refresh_token, refresh_expires_at, hard_expires_at, refreshed_at, "
    "now() AS now"
)
MANUAL = -1  # in place of a fencing token: the operator's command line, which holds no lease


@dataclass(frozen=True)
class TokenStatus:
    """What may be shown of a company's tokens."""

    realm: str
    state: str
    reason: str | None
    access_expires_at: datetime
    refresh_expires_at: datetime
    hard_expires_at: datetime | None
    refreshed_at: datetime


@dataclass(frozen=True)
class TokenRow(TokenStatus):
    """A company's tokens as they are stored, both sealed; `now` is the database's clock."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    now: datetime


@dataclass(frozen=True)
class SealedPair:
    """A pair as it is stored, both tokens sealed; lives from now on."""

    access_token: str = field(repr=False)
    expires_in: timedelta
    refresh_token: str = field(repr=False)
    refresh_expires_in: timedelta
    hard_expires_in: timedelta | None = None


class TokenRows:
    """Reads and writes the rows of tokens."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self, realm: str) -> TokenRow | None:
        """Return a company's tokens; None if it was never connected."""
        return await _read(self._pool, realm)

    async def read_fenced(self, realm: str, fencing_token: int) -> TokenRow | None:
        """Return a company's tokens while the lease is held. Raises LeaseLost."""
        row = await self._pool.fetchrow(
            "WITH ours AS MATERIALIZED (SELECT realm FROM qbo_writer.leases WHERE realm = $1 AND fencing_token = $2 FOR SHARE) "  # noqa: S608
            f"SELECT {_COLUMNS} FROM ours LEFT JOIN qbo_writer.tokens t USING (realm)",
            realm, fencing_token,
        )  # fmt: skip
        if row is None:
            raise LeaseLost(realm)
        return TokenRow(**row) if row["state"] is not None else None

    async def connect(self, realm: str, fencing_token: int, pair: SealedPair) -> None:
        """Store a pair from a consent, whatever stood there. Raises LeaseLost."""
        async with self._fenced(realm, fencing_token) as connection:
            await _store(connection, realm, pair)

    async def replace(self, realm: str, fencing_token: int, pair: SealedPair, replaced: str | None) -> None:
        """Store a pair in the place of the sealed refresh token `replaced` (None: there were no tokens), which is remembered.

        Where another stands there by now, a person connected while Intuit answered: theirs is the newer grant, and the pair is
        only remembered. Raises LeaseLost.
        """
        async with self._fenced(realm, fencing_token) as connection:
            held = await connection.fetchval("SELECT refresh_token FROM qbo_writer.tokens WHERE realm = $1 FOR UPDATE", realm)
            if held != replaced:
                log.warning("token.overtaken", realm=realm)
                await _remember(connection, realm, pair.refresh_token)
                return
            if replaced:
                await _remember(connection, realm, replaced)
            await _store(connection, realm, pair)

    async def remember(self, realm: str, refresh_token: str) -> None:
        """Without the lease: put a sealed refresh token into the history, for whoever holds the lease now."""
        await _remember(self._pool, realm, refresh_token)

    async def history(self, realm: str) -> list[str]:
        """Return the sealed refresh tokens of the last day, the latest first, five at most."""
        rows = await self._pool.fetch(
            "SELECT refresh_token FROM qbo_writer.token_history WHERE realm = $1 AND replaced_at > now() - interval '24 hours' "
            "ORDER BY id DESC LIMIT 5",
            realm,
        )
        return [row["refresh_token"] for row in rows]

    async def end(self, realm: str, fencing_token: int, refused: str, reason: str) -> None:
        """The grant is over: a state that an operator ends; `refused` is the sealed refresh token. Raises LeaseLost."""
        async with self._fenced(realm, fencing_token) as connection:
            await connection.execute(
                "UPDATE qbo_writer.tokens SET state = $2, reason = $3 WHERE realm = $1 AND refresh_token = $4",
                realm, NEEDS_RECONNECT, reason, refused,
            )  # fmt: skip

    async def end_at_first(
        self, realm: str, fencing_token: int, nothing: str, refused: str, replaced: str | None, reason: str
    ) -> bool:
        """The company needs a person before it ever had tokens. Raises LeaseLost.

        All are sealed: `nothing` (in place of an access token), `refused` and `replaced` (refresh tokens). Return False if a
        person connected meanwhile, who is not overwritten.
        """
        async with self._fenced(realm, fencing_token) as connection:
            status: str = await connection.execute(
                "INSERT INTO qbo_writer.tokens AS t (realm, access_token, access_expires_at, refresh_token, refresh_expires_at, "
                "state, reason) VALUES ($1, $2, now(), $3, now(), $4, $5) ON CONFLICT (realm) DO UPDATE SET "
                "refresh_token = excluded.refresh_token, reason = excluded.reason WHERE t.refresh_token = $6",
                realm, nothing, refused, NEEDS_RECONNECT, reason, replaced,
            )  # fmt: skip
        return not status.endswith(" 0")

    async def revoked(self, realm: str) -> None:
        """An operator ended the grant at Intuit: nothing of it is of use any more."""
        async with transaction(self._pool) as connection:
            await connection.execute("DELETE FROM qbo_writer.token_history WHERE realm = $1", realm)
            await connection.execute(
                "UPDATE qbo_writer.tokens SET state = $2, reason = 'revoked by an operator', access_expires_at = now() "
                "WHERE realm = $1",
                realm, NEEDS_RECONNECT,
            )  # fmt: skip

    async def seal_again(self, realm: str, fencing_token: int, row: TokenRow, access_token: str, refresh_token: str) -> None:
        """Put the same tokens, sealed with another key, in the place of those of `row`. Raises LeaseLost."""
        async with self._fenced(realm, fencing_token) as connection:
            await connection.execute(
                "UPDATE qbo_writer.tokens SET access_token = $2, refresh_token = $3 WHERE realm = $1 AND refresh_token = $4",
                realm, access_token, refresh_token, row.refresh_token,
            )  # fmt: skip

    async def note(self, realm: str, error: str | None) -> None:
        """Keep since when the token endpoint does not answer, for `status`; nothing relies on it."""
        await self._pool.execute(
            "UPDATE qbo_writer.realms SET token_error = $2, token_failing_since = CASE WHEN $2::text IS NULL THEN NULL "
            "ELSE coalesce(token_failing_since, clock_timestamp()) END WHERE realm = $1 AND token_error IS DISTINCT FROM $2",
            realm, error,
        )  # fmt: skip

    def _fenced(self, realm: str, fencing_token: int) -> AbstractAsyncContextManager[Connection]:
        return transaction(self._pool) if fencing_token == MANUAL else fenced(self._pool, realm, fencing_token)


async def _read(connection: Connection | Pool, realm: str) -> TokenRow | None:
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM qbo_writer.tokens WHERE realm = $1",  # noqa: S608
        realm,
    )
    return TokenRow(**row) if row is not None else None


async def _remember(connection: Connection | Pool, realm: str, sealed: str) -> None:
    await connection.execute("INSERT INTO qbo_writer.token_history (realm, refresh_token) VALUES ($1, $2)", realm, sealed)
    await connection.execute(
        "DELETE FROM qbo_writer.token_history WHERE realm = $1 AND replaced_at < now() - interval '7 days'", realm
    )


async def _store(connection: Connection, realm: str, pair: SealedPair) -> None:
    await connection.execute(
        "INSERT INTO qbo_writer.tokens AS t (realm, access_token, access_expires_at, refresh_token, refresh_expires_at, "
        "hard_expires_at, state, reason, refreshed_at) "
        "VALUES ($1, $2, clock_timestamp() + $3, $4, now() + $5, now() + $6::interval, 'connected', NULL, clock_timestamp()) "
        "ON CONFLICT (realm) DO UPDATE SET access_token = excluded.access_token, "
        "access_expires_at = excluded.access_expires_at, refresh_token = excluded.refresh_token, "
        "refresh_expires_at = excluded.refresh_expires_at, "
        "hard_expires_at = coalesce(excluded.hard_expires_at, t.hard_expires_at), "
        "state = 'connected', reason = NULL, refreshed_at = excluded.refreshed_at",
        realm, pair.access_token, pair.expires_in, pair.refresh_token, pair.refresh_expires_in, pair.hard_expires_in,
    )  # fmt: skip
