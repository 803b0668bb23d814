"""Asking Intuit's token endpoint: an endpoint that refuses us, or does not answer, is left alone until a pause is over."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from bookrelay import metrics
from bookrelay.errors import Code, HaltError, TransientError

from qbo_writer.ledger.tokens import TokenRows
from qbo_writer.quickbooks.oauth_client import GrantRefused, OAuthClient, TokenPair

HALTED_SECONDS = 300.0  # until the token endpoint is asked again after it refused us, not the grant
AWAY_SECONDS, AWAY_MOST = 1.0, 60.0  # while it does not answer, or gives tokens of no use: growing
USABLE_SECONDS = 1.0  # a token that lives shorter is over before it is used
ERROR_LENGTH = 500


@dataclass(frozen=True)
class Refused:
    """What the token endpoint said last to a refresh token; until `again_at` it is believed to say so still."""

    refresh_token: str = field(repr=False)
    error: HaltError | TransientError
    wait: float
    again_at: float


class TokenEndpoint:
    """Trades refresh tokens and remembers, for each company, how the endpoint failed last. `clock` is in seconds."""

    def __init__(self, oauth: OAuthClient, rows: TokenRows) -> None:
        self._oauth, self._rows = oauth, rows
        self._refused: dict[str, Refused] = {}
        self.clock: Callable[[], float] = time.monotonic  # by which the token endpoint is left alone

    def refused(self, realm: str) -> Refused | None:
        """Return how it failed last, if it has not answered since."""
        return self._refused.get(realm)

    def forget(self, realm: str) -> None:
        """What it said before does not count: it is asked again at once."""
        self._refused.pop(realm, None)

    async def ask(self, realm: str, refresh_token: str) -> TokenPair:
        """Trade a refresh token for a pair, which may be of no use (`usable` says so) and is to be stored all the same.

        Raises GrantRefused; HaltError and TransientError, the same again while the pause lasts.
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
            await self._rows.note(realm, str(error)[:ERROR_LENGTH] if away else None)  # the other is a halt, which is told
            raise
        if pair.expires_in >= USABLE_SECONDS:
            self._refused.pop(realm, None)
            await self._rows.note(realm, None)
            return pair
        metrics.TOKEN_REFRESHES.labels(realm, "unusable").inc()
        unusable = TransientError(
            f"Intuit's token endpoint gave an access token that is over when it comes (expires_in {pair.expires_in:g}).",
            "It is tried again automatically.", Code.REFRESH_FAILED,
        )  # fmt: skip
        self._leave_alone(realm, pair.refresh_token, unusable, last)  # by which it is asked next
        await self._rows.note(realm, str(unusable)[:ERROR_LENGTH])
        return pair  # to be stored: its refresh token may be the only one that works now

    def usable(self, realm: str, refresh_token: str) -> None:
        """Raise what was said of the pair with this refresh token, if its access token is of no use."""
        last = self._refused.get(realm)
        if last and last.refresh_token == refresh_token:
            raise last.error.with_traceback(None)

    def _leave_alone(self, realm: str, refresh_token: str, error: HaltError | TransientError, last: Refused | None) -> None:
        """Begin the pause until the endpoint is asked for this token again; it grows while the endpoint is away."""
        grown = min(max(last.wait * 2, AWAY_SECONDS), AWAY_MOST) if last else 0.0  # one lost answer is no outage
        wait = grown if isinstance(error, TransientError) else HALTED_SECONDS
        self._refused[realm] = Refused(refresh_token, error, wait, self.clock() + wait)
