"""Intuit's OAuth 2: three form posts over httpx (docs/adr/0005-oauth-three-form-posts.md). It stores nothing and retries nothing."""

from dataclasses import dataclass, field

import httpx

from qbo_writer.settings import WriterSettings


@dataclass(frozen=True)
class TokenPair:
    """What the token endpoint gave; lives in seconds from the answer."""

    access_token: str = field(repr=False)
    expires_in: float
    refresh_token: str = field(repr=False)
    refresh_expires_in: float
    hard_expires_in: float | None = None


class OAuthClient:
    """The token endpoint."""

    def __init__(self, settings: WriterSettings, client: httpx.AsyncClient | None = None) -> None:
        self._settings = settings
        self._client = client or httpx.AsyncClient(timeout=settings.qbo_oauth_timeout_seconds)

    async def refresh(self, refresh_token: str) -> TokenPair:
        """Trade a refresh token; raises GrantRefused, HaltError (our credentials) or TransientError (no answer)."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
