"""The companies' access tokens (port `Tokens`): cached in memory, read from the database, refreshed once under the lease."""

import asyncio
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bookrelay import metrics, telemetry
from bookrelay.db import Pool
from bookrelay.errors import Code, HaltError

from qbo_writer.domain import AccessToken
from qbo_writer.ledger.tokens import CONNECTED, MANUAL, TokenRow, TokenRows, TokenStatus
from qbo_writer.quickbooks.oauth_client import OAuthClient, TokenPair
from qbo_writer.quickbooks.sealing import sealed
from qbo_writer.quickbooks.token_endpoint import TokenEndpoint
from qbo_writer.quickbooks.token_refreshing import RECONNECT, Refresher
from qbo_writer.quickbooks.vault import Vault
from qbo_writer.settings import Settings

log = telemetry.get_logger(__name__)


@dataclass(frozen=True)
class _Cached:
    token: AccessToken
    fencing_token: int
    good_until: float  # monotonic time


class TokenStore:
    """Access tokens for the lease holder. `fencing_token` is the caller's; a lost lease raises LeaseLost."""

    def __init__(self, pool: Pool, settings: Settings, oauth: OAuthClient) -> None:
        self._settings, self._oauth = settings, oauth
        self._vault = Vault(settings.qbo_token_encryption_keys.get_secret_value())
        self._rows = TokenRows(pool)
        self.endpoint = TokenEndpoint(oauth, self._rows)
        self._refresher = Refresher(self._rows, self._vault, self.endpoint, settings)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._cache: dict[str, _Cached] = {}
        self._rejected: dict[str, AccessToken] = {}
        self._remade: dict[str, str] = {}  # the access token that replaced a refused one, not yet accepted

    async def current(self, realm: str, fencing_token: int) -> AccessToken:
        """Return an access token with life left; refreshes it when little is left. Cheap: cached in memory.

        Raises HaltError (needs reconnect), TransientError (Intuit or Postgres down), LeaseLost.
        """
        if token := self._cached(realm, fencing_token):
            return token
        async with self._locks[realm]:
            if token := self._cached(realm, fencing_token):
                return token
            rejected = self._rejected.get(realm)
            token = await self._load(realm, fencing_token, rejected=rejected)
            self._rejected.pop(realm, None)
            if rejected:
                self._remade[realm] = token.value
            return token

    async def renew(self, realm: str, fencing_token: int, rejected: AccessToken) -> AccessToken:
        """Return another token after a 401; refreshes only if `rejected` is still the current one."""
        self._renewable(realm, rejected)
        async with self._locks[realm]:
            self._rejected[realm] = rejected  # if this fails, the next `current` must not return the same token
            token = await self._load(realm, fencing_token, rejected=rejected)
            self._rejected.pop(realm, None)
            self._remade[realm] = token.value
            return token

    def reject(self, realm: str, rejected: AccessToken) -> None:
        """Note a read refused with 401: the next `current` returns another token. Raises HaltError after a second one."""
        self._renewable(realm, rejected)
        self._rejected[realm] = rejected

    def accepted(self, realm: str, token: AccessToken) -> None:
        """Note that QuickBooks accepted this token."""
        if self._remade.get(realm) == token.value:
            del self._remade[realm]

    def unproven(self, realm: str) -> bool:
        """Whether the token was renewed after a 401 and not accepted since: one request is enough to find out."""
        cached = self._cache.get(realm)
        return cached is not None and cached.token.value == self._remade.get(realm)

    def ask_again(self, realm: str) -> None:
        """Forget the token endpoint's last failure: an operator requested a trial."""
        self.endpoint.forget(realm)

    async def stored(self, realm: str) -> AccessToken | None:
        """Return the token in use by the company's writer, not refreshed; None if it expired or the company is not connected."""
        row = await self._rows.read(realm)
        if row is None or row.state != CONNECTED or row.access_expires_at - row.now < timedelta(seconds=30):
            return None
        return self._opened(row)

    async def kept(self, realm: str) -> AccessToken | None:
        """Return the stored access token while it is valid, without the lease: for one read requested by an operator."""
        row = await self._rows.read(realm)
        if row is None or row.state != CONNECTED or row.access_expires_at <= row.now:
            return None
        return self._opened(row)

    async def connect(self, realm: str, pair: TokenPair, fencing_token: int = MANUAL) -> None:
        """Store a pair from a new consent (or the command line): the company is connected."""
        await self._rows.connect(realm, fencing_token, sealed(self._vault, pair))
        self._cache.pop(realm, None)
        self.endpoint.forget(realm)

    async def revoke(self, realm: str) -> None:
        """Revoke the grant at Intuit and delete the tokens."""
        row = await self._rows.read(realm)
        if row is None:
            raise HaltError(f"Company {realm} is not connected.", RECONNECT, Code.OAUTH_FAILED)
        await self._oauth.revoke(self._vault.open(row.refresh_token))
        await self._rows.revoked(realm)
        self._cache.pop(realm, None)

    async def status(self, realm: str) -> TokenStatus | None:
        """Return the status, without tokens; None if the company was never connected."""
        row = await self._rows.read(realm)
        if row is None:
            return None
        return TokenStatus(
            row.realm, row.state, row.reason, row.access_expires_at, row.refresh_expires_at, row.hard_expires_at, row.refreshed_at
        )

    async def rescue(self, realm: str) -> None:
        """Without the lease: what Intuit gave and the database has not taken goes into the history, for the successor."""
        await self._refresher.rescue(realm)

    def _cached(self, realm: str, fencing_token: int) -> AccessToken | None:
        cached = self._cache.get(realm)
        if cached and cached.fencing_token == fencing_token and time.monotonic() < cached.good_until:
            return cached.token
        return None

    def _renewable(self, realm: str, rejected: AccessToken) -> None:
        """Raise HaltError for a refused token that was just renewed: another one would be refused, too.

        Nothing is stored here: the next `current` checks whether the company was connected again meanwhile.
        """
        self._cache.pop(realm, None)
        if self._remade.get(realm) == rejected.value:
            raise HaltError(
                "QuickBooks refuses an access token that was just renewed: the connection no longer gives access.",
                RECONNECT, Code.OAUTH_FAILED,
            )  # fmt: skip

    async def _load(self, realm: str, fencing_token: int, rejected: AccessToken | None) -> AccessToken:
        await self._refresher.store_unstored(realm, fencing_token)
        row = await self._rows.read_fenced(realm, fencing_token)
        if row is None or self._refresher.has_another_first(row):
            row = await self._refresher.first_pair(realm, fencing_token, row)
        if row.state != CONNECTED:
            self._show(realm, row)
            raise HaltError(
                f"Company {realm} is not connected: {row.reason or 'the grant ended'}.", RECONNECT, Code.REFRESH_FAILED
            )
        token = self._opened(row)
        life = (token.expires_at - row.now).total_seconds()
        if life <= self._early(row) or (rejected and rejected.value == token.value):
            row = await self._refresher.refresh(realm, fencing_token, row)
            token = self._opened(row)
            life = (token.expires_at - row.now).total_seconds()
        elif not self._vault.is_current(row.access_token):
            # Key rotation, lazily: what an old key encrypted is encrypted with the first one.
            again = (self._vault.seal(self._vault.open(text)) for text in (row.access_token, row.refresh_token))
            await self._rows.seal_again(realm, fencing_token, row, *again)
        self._show(realm, row)
        self._cache[realm] = _Cached(token, fencing_token, time.monotonic() + max(life - self._early(row), 0))
        return token

    def _opened(self, row: TokenRow) -> AccessToken:
        return AccessToken(self._vault.open(row.access_token), row.access_expires_at)

    def _early(self, row: TokenRow) -> float:
        """Return the life that must be left: the setting, but at most a fifth of the token's lifetime (short in sandboxes)."""
        whole = (row.access_expires_at - row.refreshed_at).total_seconds()
        return min(self._settings.token_refresh_before_seconds, max(whole, 0) / 5)

    def _show(self, realm: str, row: TokenRow) -> None:
        """Set the expiry metrics, and warn if a refresh token expires soon."""
        ends = {"access": row.access_expires_at, "refresh": row.refresh_expires_at, "hard": row.hard_expires_at}
        for name, at in ends.items():
            if at is None:
                continue
            metrics.TOKEN_EXPIRES.labels(realm, name).set(at.timestamp())
            if name != "access" and at - datetime.now(UTC) < timedelta(days=self._settings.token_warn_days):
                log.warning("token.expires_soon", realm=realm, token=name, ends=at.isoformat(), fix=RECONNECT)
