"""Refreshes a company's tokens: exchange the refresh token, store the pair before use, fall back to the history.

Intuit is asked outside any transaction (an answer may take seconds, and the lease row must not be locked meanwhile). A pair
that arrives after the lease was lost does not replace the successor's, but goes to token_history, so that it is not lost.
"""

from bookrelay import metrics, telemetry
from bookrelay.errors import Code, HaltError
from bookrelay.retrying import retrying

from qbo_writer.crashpoints import Place, reach
from qbo_writer.ledger.lease import LeaseLost
from qbo_writer.ledger.tokens import CONNECTED, TokenRow, TokenRows
from qbo_writer.quickbooks import sealing
from qbo_writer.quickbooks.oauth_client import GrantRefused, TokenPair
from qbo_writer.quickbooks.token_endpoint import TokenEndpoint
from qbo_writer.quickbooks.vault import Vault
from qbo_writer.settings import Settings

log = telemetry.get_logger(__name__)

STORE_TRIES = 5  # in 3 s
RECONNECT = "Connect again: qbo-writer auth login."


class Refresher:
    """Gets a new pair under the lease, one company at a time; a pair that could not be stored is kept in memory and retried."""

    def __init__(self, rows: TokenRows, vault: Vault, endpoint: TokenEndpoint, settings: Settings) -> None:
        self._rows, self._vault, self._endpoint, self._settings = rows, vault, endpoint, settings
        self._unstored: dict[str, tuple[TokenPair, str | None]] = {}  # received from Intuit, not yet stored

    async def refresh(self, realm: str, fencing_token: int, row: TokenRow) -> TokenRow:
        """Exchange the refresh token. If it is refused, an earlier answer may have been lost: try one from the history, once.

        Raises GrantRefused, HaltError, TransientError, LeaseLost.
        """
        sealed = row.refresh_token
        try:
            pair = await self._endpoint.ask(realm, self._vault.open(sealed))
        except GrantRefused as refused:
            latest = await self._rows.read(realm)
            if latest is not None and self._vault.open(latest.refresh_token) != self._vault.open(sealed):
                return self._usable(realm, latest)  # somebody connected meanwhile
            fallback = await self._from_history(realm, sealed)
            if fallback is None:
                metrics.TOKEN_REFRESHES.labels(realm, "refused").inc()
                await self._rows.end(realm, fencing_token, sealed, refused.reason)
                log.error("token.needs_reconnect", realm=realm, fix=RECONNECT)
                raise
            pair = fallback
        metrics.TOKEN_REFRESHES.labels(realm, "ok").inc()
        await self._keep(realm, fencing_token, pair, replaced=sealed)
        return self._usable(realm, await self._rows.read(realm))

    def has_another_first(self, row: TokenRow) -> bool:
        """Whether an operator replaced a first token that was refused before any pair was stored."""
        initial = self._initial()
        if initial is None or row.state == CONNECTED or self._vault.open(row.access_token):
            return False
        return self._vault.open(row.refresh_token) != initial

    async def first_pair(self, realm: str, fencing_token: int, row: TokenRow | None) -> TokenRow:
        """Start from the setting if the company has no tokens yet. A refusal is stored: a dead token is not used again.

        Raises as `refresh` does.
        """
        initial = self._initial()
        if initial is None:
            raise HaltError(f"Company {realm} was never connected.", RECONNECT, Code.OAUTH_FAILED)
        replaced = row.refresh_token if row else None
        pair = await self._traded(realm, fencing_token, initial, replaced)
        await self._keep(realm, fencing_token, pair, replaced)
        return self._usable(realm, await self._rows.read(realm))

    async def store_unstored(self, realm: str, fencing_token: int) -> None:
        """Store a pair that could not be stored before, if any. Raises LeaseLost."""
        if unstored := self._unstored.get(realm):
            await self._keep(realm, fencing_token, *unstored)

    async def rescue(self, realm: str) -> None:
        """Without the lease: save an unstored pair in the history, for the successor."""
        if unstored := self._unstored.get(realm):
            await self._rows.remember(realm, self._vault.seal(unstored[0].refresh_token))
            self._unstored.pop(realm, None)

    def _initial(self) -> str | None:
        initial = self._settings.qbo_initial_refresh_token
        return initial.get_secret_value() if initial is not None and len(self._settings.qbo_realm_ids) == 1 else None

    async def _traded(self, realm: str, fencing_token: int, initial: str, replaced: str | None) -> TokenPair:
        """Exchange the first token; if it is refused, its successor may be in the history (the lease was lost meanwhile)."""
        try:
            return await self._endpoint.ask(realm, initial)
        except GrantRefused as refused:
            sealed = self._vault.seal(initial)
            fallback = await self._from_history(realm, sealed)
            if fallback is not None:
                return fallback
            nothing = self._vault.seal("")
            if await self._rows.end_at_first(realm, fencing_token, nothing, sealed, replaced, refused.reason):
                metrics.TOKEN_REFRESHES.labels(realm, "refused").inc()
                log.error("token.needs_reconnect", realm=realm, fix=RECONNECT)
            raise

    async def _from_history(self, realm: str, refused: str) -> TokenPair | None:
        """Try the latest other refresh token of the last day: the previous one, or one that arrived without the lease."""
        tried = {self._vault.open(refused)}
        for sealed in await self._rows.history(realm):
            try:
                token = self._vault.open(sealed)
            except HaltError:  # encrypted with a key that is no longer listed
                continue
            if token in tried:
                continue
            try:
                pair = await self._endpoint.ask(realm, token)
            except GrantRefused:
                return None  # only once: Intuit may penalise dead tokens
            log.warning("token.recovered", realm=realm)
            return pair
        return None

    async def _keep(self, realm: str, fencing_token: int, pair: TokenPair, replaced: str | None) -> None:
        """Store the new pair, fenced; without the lease in the history. A lost pair would be a lost grant."""
        self._unstored[realm] = (pair, replaced)
        reach(Place.TOKEN_REFRESHED)
        await self._store(realm, fencing_token, pair, replaced)
        self._unstored.pop(realm, None)
        reach(Place.TOKEN_PERSISTED)

    async def _store(self, realm: str, fencing_token: int, pair: TokenPair, replaced: str | None) -> None:
        async def failed(error: Exception) -> None:
            log.warning("token.store_retried", realm=realm, error=type(error).__name__)

        try:
            await retrying(
                lambda: self._rows.replace(realm, fencing_token, sealing.sealed(self._vault, pair), replaced),
                passes=lambda error: not isinstance(error, LeaseLost), failed=failed, first=0.2, most=1.6, tries=STORE_TRIES,
            )  # fmt: skip
        except LeaseLost:
            await self._rows.remember(realm, self._vault.seal(pair.refresh_token))
            self._unstored.pop(realm, None)
            raise

    def _usable(self, realm: str, row: TokenRow | None) -> TokenRow:
        """Return the row just stored. Raises the endpoint's failure, if its access token is useless."""
        if row is None:
            raise HaltError(f"Company {realm} is not connected.", RECONNECT, Code.OAUTH_FAILED)
        self._endpoint.usable(realm, self._vault.open(row.refresh_token))
        return row
