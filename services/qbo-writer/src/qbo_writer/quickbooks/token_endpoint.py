"""Asks Intuit's token endpoint, with pauses while it refuses us or does not answer."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bookrelay import metrics
from bookrelay.errors import Code, HaltError, TransientError

from qbo_writer.ledger.tokens import TokenRows
from qbo_writer.quickbooks.oauth_client import GrantRefused, OAuthClient, TokenPair

HALTED_SECONDS = 300.0  # pause after the endpoint refused us (not the grant)
AWAY_SECONDS, AWAY_MOST = 1.0, 60.0  # growing pause while it does not answer, or returns useless tokens
USABLE_SECONDS = 1.0  # a token with a shorter life expires before it can be used
ERROR_LENGTH = 500


@dataclass(frozen=True)
class TokenRefusal:
    """The endpoint's last answer to a refresh token, assumed unchanged until `again_at`."""

    refresh_token: str = field(repr=False)
    error: HaltError | TransientError
    wait: float
    again_at: float


class TokenEndpoint:
    """Exchanges refresh tokens and remembers each company's last failure. `clock` is in seconds."""

    def __init__(self, oauth: OAuthClient, rows: TokenRows) -> None:
        self._oauth, self._rows = oauth, rows
        self._refused: dict[str, TokenRefusal] = {}
        self.clock: Callable[[], float] = time.monotonic  # the clock for pauses

    def refused(self, realm: str) -> TokenRefusal | None:
        """Return the last failure, if there was no success since."""
        return self._refused.get(realm)

    def forget(self, realm: str) -> None:
        """Forget the last failure: the endpoint is asked again at once."""
        self._refused.pop(realm, None)

    async def ask(self, realm: str, refresh_token: str) -> TokenPair:
        """Exchange a refresh token for a pair, which may be useless (see `usable`) but must be stored anyway.

        Raises GrantRefused; HaltError and TransientError, repeated while the pause lasts.
        """
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
            await self._rows.note(realm, str(error)[:ERROR_LENGTH] if away else None)  # a halt has its own event
            raise
        if pair.expires_in >= USABLE_SECONDS:
            self._refused.pop(realm, None)
            await self._rows.note(realm, None)
            return pair
        metrics.TOKEN_REFRESHES.labels(realm, "unusable").inc()
        unusable = TransientError(
            f"Intuit's token endpoint sent an access token that had already expired (expires_in {pair.expires_in:g}).",
            "This is retried automatically.", Code.REFRESH_FAILED,
        )  # fmt: skip
        self._leave_alone(realm, pair.refresh_token, unusable, last)  # the token for the next try
        await self._rows.note(realm, str(unusable)[:ERROR_LENGTH])
        return pair  # must be stored: its refresh token may be the only valid one now

    def usable(self, realm: str, refresh_token: str) -> None:
        """Raise the failure of the pair with this refresh token, if its access token is useless."""
        last = self._refused.get(realm)
        if last and last.refresh_token == refresh_token:
            raise last.error.with_traceback(None)

    def _leave_alone(self, realm: str, refresh_token: str, error: HaltError | TransientError, last: TokenRefusal | None) -> None:
        """Start the pause before the endpoint is asked for this token again; it grows while the endpoint is down."""
        grown = min(max(last.wait * 2, AWAY_SECONDS), AWAY_MOST) if last else 0.0  # one lost answer is not an outage
        wait = grown if isinstance(error, TransientError) else HALTED_SECONDS
        self._refused[realm] = TokenRefusal(refresh_token, error, wait, self.clock() + wait)
