"""Intuit's OAuth 2: three form posts over httpx (ADR 0005). Stores nothing and retries nothing."""

import base64
import math
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
from bookrelay.errors import Code, Disposition, HaltError, TransientError
from bookrelay.money import loads

from qbo_writer.domain import AnswerKind
from qbo_writer.quickbooks import faults
from qbo_writer.settings import Settings

SCOPE = "com.intuit.quickbooks.accounting"
_ROLLING, _HOUR = 8640000.0, 3600.0  # token lifetimes if the answer lacks them: 100 days, 1 hour
_MOST = 10 * 365 * 86400.0  # longer lifetimes are not plausible


@dataclass(frozen=True)
class TokenPair:
    """A pair of tokens from the token endpoint; lifetimes in seconds from the answer."""

    access_token: str = field(repr=False)
    expires_in: float
    refresh_token: str = field(repr=False)
    refresh_expires_in: float
    hard_expires_in: float | None = None


class GrantRefused(HaltError):  # noqa: N818
    """invalid_grant: the refresh token or code is not, or no longer, valid."""


class OAuthClient:
    """The token endpoint."""

    def __init__(self, settings: Settings, client: httpx.AsyncClient | None = None) -> None:
        self._settings = settings
        timeout = httpx.Timeout(settings.qbo_oauth_timeout_seconds, connect=settings.qbo_connect_timeout_seconds)
        self._client = client or httpx.AsyncClient(timeout=timeout, follow_redirects=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def authorize_url(self, state: str) -> str:
        """Return the address of the consent page."""
        query = {
            "client_id": self._settings.qbo_client_id,
            "response_type": "code",
            "scope": SCOPE,
            "redirect_uri": self._settings.qbo_redirect_uri,
            "state": state,
        }
        return f"{self._settings.qbo_authorize_url}?{urlencode(query)}"

    async def exchange(self, code: str) -> TokenPair:
        """Exchange an authorization code; it works once."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self._settings.qbo_redirect_uri}
        return _pair(await self._post(self._settings.qbo_token_url, form=form))

    async def refresh(self, refresh_token: str) -> TokenPair:
        """Exchange a refresh token; raises GrantRefused, HaltError (our credentials) or TransientError (no answer)."""
        return _pair(
            await self._post(self._settings.qbo_token_url, form={"grant_type": "refresh_token", "refresh_token": refresh_token})
        )

    async def revoke(self, token: str) -> None:
        """Revoke the grant that `token` belongs to."""
        await self._post(self._settings.qbo_revoke_url, json={"token": token})

    async def _post(self, url: str, *, form: dict[str, str] | None = None, json: dict[str, str] | None = None) -> dict[str, Any]:
        secret = self._settings.qbo_client_secret.get_secret_value()
        credentials = base64.b64encode(f"{self._settings.qbo_client_id}:{secret}".encode()).decode()
        headers = {
            "Accept": "application/json",
            "Authorization": f"Basic {credentials}",
            "x-include-refresh-token-hard-expires-in": "true",  # asks for the grant's expiry (five years), too
        }
        try:
            response = await self._client.post(url, data=form, json=json, headers=headers)
        except httpx.HTTPError as error:
            raise TransientError(
                f"Intuit's token endpoint did not answer ({type(error).__name__}).",
                "This is retried automatically.",
                Code.REFRESH_FAILED,
            ) from None
        return _read(response)


def _read(response: httpx.Response) -> dict[str, Any]:
    """Return the body of a success; raise by the error's code. Bodies contain tokens: they never appear in messages."""
    tid = response.headers.get("intuit_tid", "none")
    try:
        body = loads(response.content) if response.content else {}
    except ValueError:
        body = None
    entry = faults.deciding(response.text) if not (isinstance(body, dict) and "error" in body) else None
    if entry is not None:
        raise _by_code(entry, response.status_code, tid)
    if response.status_code == 200 and isinstance(body, dict):
        return body
    error = str(body.get("error", "")) if isinstance(body, dict) else ""
    if error == "invalid_grant":
        raise GrantRefused(
            f"Intuit refused the refresh token or code (intuit_tid {tid}).",
            "Connect again: qbo-writer auth login.",
            Code.REFRESH_FAILED,
        )
    if error in ("invalid_client", "unauthorized_client") or response.status_code in (401, 403):
        raise HaltError(
            f"Intuit refused the client id or secret (intuit_tid {tid}).",
            "Check QBO_CLIENT_ID and QBO_CLIENT_SECRET, and that they belong to QBO_ENVIRONMENT.",
            Code.OAUTH_FAILED,
        )
    if 400 <= response.status_code < 500 and response.status_code not in (408, 425, 429):
        raise HaltError(
            f"Intuit refused the token request: {error or response.status_code} (intuit_tid {tid}).",
            "Check QBO_REDIRECT_URI and the app's settings at developer.intuit.com.",
            Code.OAUTH_FAILED,
        )
    raise TransientError(
        f"Intuit's token endpoint answered {response.status_code} (intuit_tid {tid}).",
        "This is retried automatically.",
        Code.REFRESH_FAILED,
    )


def _by_code(entry: faults.Entry, status: int, tid: str) -> HaltError | TransientError:
    """Return the error for a code of Intuit's table in a token request; it takes precedence over the status."""
    if entry.disposition is Disposition.HALT:
        return HaltError(f"{entry.sentence} (token endpoint, intuit_tid {tid})", entry.fix, entry.code)
    passing = entry.throttled or entry.kind is AnswerKind.SILENCE or status >= 500
    if passing:
        return TransientError(
            f"Intuit's token endpoint answered {status}: {entry.sentence} (intuit_tid {tid})",
            "This is retried automatically.",
            Code.REFRESH_FAILED,
        )
    return HaltError(
        f"Intuit refused the token request: {entry.sentence} (intuit_tid {tid})",
        "Check QBO_CLIENT_ID, QBO_CLIENT_SECRET and QBO_ENVIRONMENT, then connect again: qbo-writer auth login.",
        Code.OAUTH_FAILED,
    )


def _pair(body: dict[str, Any]) -> TokenPair:
    access, refresh = body.get("access_token"), body.get("refresh_token")
    if not (isinstance(access, str) and access and isinstance(refresh, str) and refresh):
        raise TransientError(
            "Intuit's token endpoint answered without tokens.", "This is retried automatically.", Code.REFRESH_FAILED
        )
    hard = "x_refresh_token_hard_expires_in"
    return TokenPair(
        access_token=access,
        expires_in=_seconds(body, "expires_in", _HOUR),
        refresh_token=refresh,
        refresh_expires_in=_seconds(body, "x_refresh_token_expires_in", _ROLLING),
        hard_expires_in=_seconds(body, hard, _MOST) if body.get(hard) is not None else None,
    )


def _seconds(body: dict[str, Any], name: str, otherwise: float) -> float:
    """Return a lifetime; an unreadable one is treated as the usual one, so that the tokens are not lost."""
    try:
        life = float(body[name])
    except (KeyError, TypeError, ValueError, OverflowError):
        return otherwise
    return otherwise if math.isnan(life) else min(max(life, -_MOST), _MOST)
