"""The tokens of a company: encrypted at rest, refreshed once under the lease, stored before they are used.

Intuit is asked outside of any transaction (an answer may take seconds, and the lease row must not be locked meanwhile). A pair
that comes after the lease was lost is not put over the successor's, but kept in token_history: what Intuit gave is not lost.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bookrelay import metrics, telemetry
from bookrelay.db import Connection, Pool, transaction
from bookrelay.errors import Code, HaltError, SettingsError, TransientError
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from qbo_writer.crashpoints import Place, reach
from qbo_writer.domain import AccessToken
from qbo_writer.ledger.lease import LeaseLost, fenced
from qbo_writer.quickbooks.oauth_client import GrantRefused, OAuthClient, TokenPair
from qbo_writer.settings import WriterSettings

log = telemetry.get_logger(__name__)

CONNECTED, NEEDS_RECONNECT = "connected", "needs_reconnect"
_RECONNECT = "Connect again: qbo-writer auth login."
HALTED_SECONDS = 300.0  # until the token endpoint is asked again after it refused us, not the grant
AWAY_SECONDS, AWAY_MOST = 1.0, 60.0  # while it does not answer, or gives tokens of no use: growing
USABLE_SECONDS = 1.0  # a token that lives shorter is over before it is used
ERROR_LENGTH = 500
_MANUAL = -1  # in place of a fencing token: the operator's command line, which holds no lease


class Vault:
    """Fernet at rest. The first key encrypts, every key decrypts: a new key goes in front, the old one leaves later."""

    def __init__(self, keys: str) -> None:
        parts = [part.strip() for part in keys.split(",") if part.strip()]
        if not parts:
            raise SettingsError(
                "QBO_TOKEN_ENCRYPTION_KEYS is missing.",
                'Make a key: python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())".',
            )
        try:
            self._first, self._all = Fernet(parts[0]), MultiFernet([Fernet(part) for part in parts])
        except ValueError:
            raise SettingsError(
                "QBO_TOKEN_ENCRYPTION_KEYS holds something that is not a Fernet key.", "A key has 44 characters of base64."
            ) from None

    def seal(self, text: str) -> str:
        """Encrypt with the first key."""
        return self._first.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """Decrypt with whichever key fits."""
        try:
            return self._all.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise HaltError(
                "The stored tokens cannot be decrypted with QBO_TOKEN_ENCRYPTION_KEYS.",
                "Put the key that encrypted them back into the list, or connect again: qbo-writer auth login.",
                Code.OAUTH_FAILED,
            ) from None

    def is_current(self, sealed: str) -> bool:
        """Whether the first key encrypted it."""
        try:
            self._first.decrypt(sealed.encode())
        except InvalidToken:
            return False
        return True


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
class _Cached:
    token: AccessToken
    fencing_token: int
    good_until: float  # by the monotonic clock


@dataclass(frozen=True)
class _Refused:
    """What the token endpoint said last to a refresh token; until `again_at` it is believed to say so still."""

    refresh_token: str = field(repr=False)
    error: HaltError | TransientError
    wait: float
    again_at: float


class TokenStore:
    """Access tokens for the lease holder. `fencing_token` is the caller's; a lost lease raises LeaseLost."""

    def __init__(self, pool: Pool, settings: WriterSettings, oauth: OAuthClient) -> None:
        self._pool, self._settings, self._oauth = pool, settings, oauth
        self._vault = Vault(settings.qbo_token_encryption_keys.get_secret_value())
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._cache: dict[str, _Cached] = {}
        self._rejected: dict[str, AccessToken] = {}
        self._remade: dict[str, str] = {}  # the access token that was made because the one before was refused; not yet taken
        self._refused: dict[str, _Refused] = {}
        self.clock: Callable[[], float] = time.monotonic  # by which the token endpoint is left alone
        self._unstored: dict[str, tuple[TokenPair, str | None]] = {}  # given by Intuit, not yet in the database

    async def current(self, realm: str, fencing_token: int) -> AccessToken:
        """Return an access token with life left; refreshes it when little is left. Cheap: kept in memory.

        Raises HaltError (needs reconnect), TransientError (Intuit or Postgres away), LeaseLost.
        """
        cached = self._cache.get(realm)
        if cached and cached.fencing_token == fencing_token and time.monotonic() < cached.good_until:
            return cached.token
        async with self._locks[realm]:
            cached = self._cache.get(realm)
            if cached and cached.fencing_token == fencing_token and time.monotonic() < cached.good_until:
                return cached.token
            rejected = self._rejected.get(realm)
            token = await self._load(realm, fencing_token, rejected=rejected)
            self._rejected.pop(realm, None)
            if rejected:
                self._remade[realm] = token.value
            return token

    async def stored(self, realm: str) -> AccessToken | None:
        """Return the token that the company's writer uses now, not refreshed; None if it is at its end or not connected."""
        row = await self._row(realm)
        if row is None or row["state"] != CONNECTED or row["access_expires_at"] - row["now"] < timedelta(seconds=30):
            return None
        return AccessToken(self._vault.open(row["access_token"]), row["access_expires_at"])

    def unproven(self, realm: str) -> bool:
        """Whether the token in use was renewed after a 401 and not taken since: one request is enough to find out."""
        cached = self._cache.get(realm)
        return cached is not None and cached.token.value == self._remade.get(realm)

    def accepted(self, realm: str, token: AccessToken) -> None:
        """Note that QuickBooks took this token."""
        if self._remade.get(realm) == token.value:
            del self._remade[realm]

    def _renewable(self, realm: str, rejected: AccessToken) -> None:
        """A token is renewed once: where the new one is refused as well, another would be, too.

        Nothing is remembered of it here: the next `current` looks whether a person has connected meanwhile.
        """
        self._cache.pop(realm, None)
        if self._remade.get(realm) == rejected.value:
            raise HaltError(
                "QuickBooks refuses an access token that was just renewed: the connection does not give access any more.",
                _RECONNECT, Code.OAUTH_FAILED,
            )  # fmt: skip

    def reject(self, realm: str, rejected: AccessToken) -> None:
        """Note that a read was refused with 401: the next `current` gives another token. Raises HaltError after a second one."""
        self._renewable(realm, rejected)
        self._rejected[realm] = rejected

    async def renew(self, realm: str, fencing_token: int, rejected: AccessToken) -> AccessToken:
        """Return another token after a 401; refreshes only if `rejected` is still the current one."""
        self._renewable(realm, rejected)
        async with self._locks[realm]:
            self._rejected[realm] = rejected  # where this fails, the next `current` must not give the same token
            token = await self._load(realm, fencing_token, rejected=rejected)
            self._rejected.pop(realm, None)
            self._remade[realm] = token.value
            return token

    def ask_again(self, realm: str) -> None:
        """A person asks for a trial: what the token endpoint said before does not count."""
        self._refused.pop(realm, None)

    async def connect(self, realm: str, pair: TokenPair, fencing_token: int = _MANUAL) -> None:
        """Store a pair from a new consent (or the command line): the company is connected."""
        async with self._fenced(realm, fencing_token) as connection:
            await self._store(connection, realm, pair)
        self._cache.pop(realm, None)
        self._refused.pop(realm, None)

    async def revoke(self, realm: str) -> None:
        """End the grant at Intuit and forget the tokens."""
        row = await self._row(realm)
        if row is None:
            raise HaltError(f"Company {realm} is not connected.", _RECONNECT, Code.OAUTH_FAILED)
        await self._oauth.revoke(self._vault.open(row["refresh_token"]))
        async with transaction(self._pool) as connection:
            await connection.execute("DELETE FROM qbo_writer.token_history WHERE realm = $1", realm)
            await connection.execute(
                "UPDATE qbo_writer.tokens SET state = $2, reason = 'revoked by an operator', access_expires_at = now() "
                "WHERE realm = $1",
                realm,
                NEEDS_RECONNECT,
            )
        self._cache.pop(realm, None)

    async def status(self, realm: str) -> TokenStatus | None:
        """Return what may be shown; None if the company was never connected."""
        row = await self._row(realm)
        if row is None:
            return None
        names = ("realm", "state", "reason", "access_expires_at", "refresh_expires_at", "hard_expires_at", "refreshed_at")
        return TokenStatus(**{name: row[name] for name in names})

    async def kept(self, realm: str) -> AccessToken | None:
        """Return the stored access token while it lives, without the lease: for one read that a person asks for."""
        row = await self._row(realm)
        if row is None or row["state"] != CONNECTED or row["access_expires_at"] <= row["now"]:
            return None
        return AccessToken(self._vault.open(row["access_token"]), row["access_expires_at"])

    async def rescue(self, realm: str) -> None:
        """Without the lease: what Intuit gave and the database has not taken goes into the history, for the successor."""
        if unstored := self._unstored.get(realm):
            await self._remember(self._pool, realm, self._vault.seal(unstored[0].refresh_token))
            self._unstored.pop(realm, None)

    # --------------------------------------------------------------------------------------------------------- internals

    async def _load(self, realm: str, fencing_token: int, rejected: AccessToken | None) -> AccessToken:
        if unstored := self._unstored.get(realm):
            await self._keep(realm, fencing_token, *unstored)
        async with self._fenced(realm, fencing_token) as connection:
            row = await self._row(realm, connection)
        if row is None or self._has_another_first(row):
            row = await self._first_pair(realm, fencing_token, row)
            self._usable(realm, row)
        if row["state"] != CONNECTED:
            self._show(realm, row)
            raise HaltError(
                f"Company {realm} is not connected: {row['reason'] or 'the grant ended'}.", _RECONNECT, Code.REFRESH_FAILED
            )
        token = AccessToken(self._vault.open(row["access_token"]), row["access_expires_at"])
        life = (token.expires_at - row["now"]).total_seconds()
        if life <= self._early(row) or (rejected and rejected.value == token.value):
            row = await self._refresh(realm, fencing_token, row)
            self._usable(realm, row)
            token = AccessToken(self._vault.open(row["access_token"]), row["access_expires_at"])
            life = (token.expires_at - row["now"]).total_seconds()
        elif not self._vault.is_current(row["access_token"]):
            await self._seal_again(realm, fencing_token, row)
        self._show(realm, row)
        self._cache[realm] = _Cached(token, fencing_token, time.monotonic() + max(life - self._early(row), 0))
        return token

    def _early(self, row: Any) -> float:
        """How much life must be left: the setting, but at most a fifth of the token's whole life (sandboxes give short ones)."""
        whole: float = (row["access_expires_at"] - row["refreshed_at"]).total_seconds()
        return min(self._settings.token_refresh_before_seconds, max(whole, 0) / 5)

    def _has_another_first(self, row: Any) -> bool:
        """Whether an operator put another first token in the place of one that was refused before any was stored."""
        initial = self._initial()
        if initial is None or row["state"] == CONNECTED or self._vault.open(row["access_token"]):
            return False
        return self._vault.open(row["refresh_token"]) != initial

    def _initial(self) -> str | None:
        initial = self._settings.qbo_initial_refresh_token
        return initial.get_secret_value() if initial is not None and len(self._settings.qbo_realm_ids) == 1 else None

    async def _first_pair(self, realm: str, fencing_token: int, row: Any) -> Any:
        """Start from the setting, where the company has no tokens yet. A refusal is kept: a dead token is not used again."""
        initial = self._initial()
        if initial is None:
            raise HaltError(f"Company {realm} was never connected.", _RECONNECT, Code.OAUTH_FAILED)
        pair = await self._traded(realm, fencing_token, initial, row)
        await self._keep(realm, fencing_token, pair, replaced=row["refresh_token"] if row else None)
        return await self._row(realm)

    async def _traded(self, realm: str, fencing_token: int, initial: str, row: Any) -> TokenPair:
        """Trade the first token; where it is refused, its successor may stand in the history (the lease was lost meanwhile)."""
        try:
            return await self._ask(realm, initial)
        except GrantRefused as refused:
            sealed = self._vault.seal(initial)
            fallback = await self._from_history(realm, sealed)
            if fallback is not None:
                return fallback
            await self._refused_at_first(realm, fencing_token, sealed, row, refused)
            raise

    async def _refused_at_first(self, realm: str, fencing_token: int, sealed: str, row: Any, refused: GrantRefused) -> None:
        """The company needs a person before it ever had tokens; a person who connected meanwhile is not overwritten."""
        async with self._fenced(realm, fencing_token) as connection:
            status: str = await connection.execute(
                "INSERT INTO qbo_writer.tokens AS t (realm, access_token, access_expires_at, refresh_token, refresh_expires_at, "
                "state, reason) VALUES ($1, $2, now(), $3, now(), $4, $5) ON CONFLICT (realm) DO UPDATE SET "
                "refresh_token = excluded.refresh_token, reason = excluded.reason WHERE t.refresh_token = $6",
                realm, self._vault.seal(""), sealed, NEEDS_RECONNECT, refused.reason, row["refresh_token"] if row else None,
            )  # fmt: skip
        if status.endswith(" 0"):
            return
        metrics.TOKEN_REFRESHES.labels(realm, "refused").inc()
        log.error("token.needs_reconnect", realm=realm, fix=_RECONNECT)

    async def _refresh(self, realm: str, fencing_token: int, row: Any) -> Any:
        """Trade the refresh token. If it is refused, an earlier answer may have been lost: try one of the history, once."""
        sealed = row["refresh_token"]
        try:
            pair = await self._ask(realm, self._vault.open(sealed))
        except GrantRefused as refused:
            latest = await self._row(realm)
            if latest is not None and self._vault.open(latest["refresh_token"]) != self._vault.open(sealed):
                return latest  # somebody connected meanwhile
            fallback = await self._from_history(realm, sealed)
            if fallback is None:
                await self._end(realm, fencing_token, sealed, refused.reason)
                raise
            pair = fallback
        metrics.TOKEN_REFRESHES.labels(realm, "ok").inc()
        await self._keep(realm, fencing_token, pair, replaced=sealed)
        return await self._row(realm)

    async def _ask(self, realm: str, refresh_token: str) -> TokenPair:
        """Trade a refresh token; an endpoint that refuses us, or does not answer, is left alone until a pause is over."""
        last = self._refused.get(realm)
        if last and last.refresh_token != refresh_token:
            last = None
        if last and self.clock() < last.again_at:
            raise last.error.with_traceback(None)
        try:
            pair = await self._oauth.refresh(refresh_token)
        except GrantRefused:
            self._refused.pop(realm, None)
            raise
        except (HaltError, TransientError) as error:
            away = isinstance(error, TransientError)
            metrics.TOKEN_REFRESHES.labels(realm, "no_answer" if away else "halt").inc()
            self._leave_alone(realm, refresh_token, error, last)
            await self._note(realm, str(error)[:ERROR_LENGTH] if away else None)  # the other is a halt, which is told
            raise
        if pair.expires_in >= USABLE_SECONDS:
            self._refused.pop(realm, None)
            await self._note(realm, None)
            return pair
        metrics.TOKEN_REFRESHES.labels(realm, "unusable").inc()
        unusable = TransientError(
            f"Intuit's token endpoint gave an access token that is over when it comes (expires_in {pair.expires_in:g}).",
            "It is tried again automatically.", Code.REFRESH_FAILED,
        )  # fmt: skip
        self._leave_alone(realm, pair.refresh_token, unusable, last)  # by which it is asked next
        await self._note(realm, str(unusable)[:ERROR_LENGTH])
        return pair  # to be stored: its refresh token may be the only one that works now

    def _leave_alone(self, realm: str, refresh_token: str, error: HaltError | TransientError, last: _Refused | None) -> None:
        """Begin the pause until the endpoint is asked for this token again; it grows while the endpoint is away."""
        grown = min(max(last.wait * 2, AWAY_SECONDS), AWAY_MOST) if last else 0.0  # one lost answer is no outage
        wait = grown if isinstance(error, TransientError) else HALTED_SECONDS
        self._refused[realm] = _Refused(refresh_token, error, wait, self.clock() + wait)

    def _usable(self, realm: str, row: Any) -> None:
        """Raise what was said of the pair that was just stored, if its access token is of no use."""
        last = self._refused.get(realm)
        if last and row and last.refresh_token == self._vault.open(row["refresh_token"]):
            raise last.error.with_traceback(None)

    async def _note(self, realm: str, error: str | None) -> None:
        """Keep since when the token endpoint does not answer, for `status`; nothing relies on it."""
        await self._pool.execute(
            "UPDATE qbo_writer.realms SET token_error = $2, token_failing_since = CASE WHEN $2::text IS NULL THEN NULL "
            "ELSE coalesce(token_failing_since, clock_timestamp()) END WHERE realm = $1 AND token_error IS DISTINCT FROM $2",
            realm, error,
        )  # fmt: skip

    async def _from_history(self, realm: str, refused: str) -> TokenPair | None:
        """Try the latest other refresh token of the last day: the previous one, or one whose storing the fence forbade."""
        rows = await self._pool.fetch(
            "SELECT refresh_token FROM qbo_writer.token_history WHERE realm = $1 AND replaced_at > now() - interval '24 hours' "
            "ORDER BY id DESC LIMIT 5",
            realm,
        )
        tried = {self._vault.open(refused)}
        for row in rows:
            try:
                token = self._vault.open(row["refresh_token"])
            except HaltError:  # encrypted with a key that has left the list
                continue
            if token in tried:
                continue
            try:
                pair = await self._ask(realm, token)
            except GrantRefused:
                return None  # once: Intuit may punish the use of dead tokens
            log.warning("token.recovered", realm=realm)
            return pair
        return None

    async def _keep(self, realm: str, fencing_token: int, pair: TokenPair, replaced: str | None) -> None:
        """Store the new pair, fenced; without the lease into the history. A lost pair is a lost grant: it is kept."""
        self._unstored[realm] = (pair, replaced)
        reach(Place.TOKEN_REFRESHED)
        await self._kept(realm, fencing_token, pair, replaced)
        self._unstored.pop(realm, None)
        reach(Place.TOKEN_PERSISTED)

    async def _kept(self, realm: str, fencing_token: int, pair: TokenPair, replaced: str | None) -> None:
        for attempt in range(5):
            try:
                async with self._fenced(realm, fencing_token) as connection:
                    held = await connection.fetchval(
                        "SELECT refresh_token FROM qbo_writer.tokens WHERE realm = $1 FOR UPDATE", realm
                    )
                    if held != replaced:  # a person connected while Intuit answered: theirs is the newer grant
                        log.warning("token.overtaken", realm=realm)
                        await self._remember(connection, realm, self._vault.seal(pair.refresh_token))
                        return
                    if replaced:
                        await self._remember(connection, realm, replaced)
                    await self._store(connection, realm, pair)
                return
            except LeaseLost:
                await self._remember(self._pool, realm, self._vault.seal(pair.refresh_token))
                self._unstored.pop(realm, None)
                raise
            except Exception as error:
                if attempt == 4:
                    raise
                log.warning("token.store_retried", realm=realm, error=type(error).__name__)
                await asyncio.sleep(0.2 * 2**attempt)

    async def _store(self, connection: Connection, realm: str, pair: TokenPair) -> None:
        await connection.execute(
            "INSERT INTO qbo_writer.tokens AS t (realm, access_token, access_expires_at, refresh_token, refresh_expires_at, "
            "hard_expires_at, state, reason, refreshed_at) "
            "VALUES ($1, $2, clock_timestamp() + $3, $4, now() + $5, now() + $6::interval, 'connected', NULL, clock_timestamp()) "
            "ON CONFLICT (realm) DO UPDATE SET access_token = excluded.access_token, "
            "access_expires_at = excluded.access_expires_at, refresh_token = excluded.refresh_token, "
            "refresh_expires_at = excluded.refresh_expires_at, "
            "hard_expires_at = coalesce(excluded.hard_expires_at, t.hard_expires_at), "
            "state = 'connected', reason = NULL, refreshed_at = excluded.refreshed_at",
            realm,
            self._vault.seal(pair.access_token),
            timedelta(seconds=pair.expires_in),
            self._vault.seal(pair.refresh_token),
            timedelta(seconds=pair.refresh_expires_in),
            timedelta(seconds=pair.hard_expires_in) if pair.hard_expires_in is not None else None,
        )

    async def _remember(self, connection: Connection | Pool, realm: str, sealed: str) -> None:
        await connection.execute("INSERT INTO qbo_writer.token_history (realm, refresh_token) VALUES ($1, $2)", realm, sealed)
        await connection.execute(
            "DELETE FROM qbo_writer.token_history WHERE realm = $1 AND replaced_at < now() - interval '7 days'", realm
        )

    async def _end(self, realm: str, fencing_token: int, refused: str, reason: str) -> None:
        """The grant is over: a state that an operator ends."""
        metrics.TOKEN_REFRESHES.labels(realm, "refused").inc()
        async with self._fenced(realm, fencing_token) as connection:
            await connection.execute(
                "UPDATE qbo_writer.tokens SET state = $2, reason = $3 WHERE realm = $1 AND refresh_token = $4",
                realm,
                NEEDS_RECONNECT,
                reason,
                refused,
            )
        log.error("token.needs_reconnect", realm=realm, fix=_RECONNECT)

    async def _seal_again(self, realm: str, fencing_token: int, row: Any) -> None:
        """Key rotation, lazily: what an old key encrypted is encrypted with the first one."""
        async with self._fenced(realm, fencing_token) as connection:
            await connection.execute(
                "UPDATE qbo_writer.tokens SET access_token = $2, refresh_token = $3 WHERE realm = $1 AND refresh_token = $4",
                realm,
                self._vault.seal(self._vault.open(row["access_token"])),
                self._vault.seal(self._vault.open(row["refresh_token"])),
                row["refresh_token"],
            )

    def _fenced(self, realm: str, fencing_token: int) -> AbstractAsyncContextManager[Connection]:
        return transaction(self._pool) if fencing_token == _MANUAL else fenced(self._pool, realm, fencing_token)

    async def _row(self, realm: str, connection: Connection | None = None) -> Any:
        statement = "SELECT *, now() AS now FROM qbo_writer.tokens WHERE realm = $1"
        return await (connection or self._pool).fetchrow(statement, realm)

    def _show(self, realm: str, row: Any) -> None:
        """Metrics of all three ends, and a warning while a refresh token's end is near."""
        for name in ("access", "refresh", "hard"):
            at = row[f"{name}_expires_at"]
            if at is None:
                continue
            metrics.TOKEN_EXPIRES.labels(realm, name).set(at.timestamp())
            if name != "access" and at - datetime.now(UTC) < timedelta(days=self._settings.token_warn_days):
                log.warning("token.ends_soon", realm=realm, token=name, ends=at.isoformat(), fix=_RECONNECT)
