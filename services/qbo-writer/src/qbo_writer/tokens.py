"""The tokens of a company: encrypted at rest, refreshed once under the lease, stored before they are used."""

from bookrelay.db import Pool

from qbo_writer.domain import AccessToken
from qbo_writer.oauth_client import OAuthClient
from qbo_writer.settings import WriterSettings


class TokenStore:
    """Access tokens for the lease holder. `fencing_token` is the caller's; a lost lease raises LeaseLost."""

    def __init__(self, pool: Pool, settings: WriterSettings, oauth: OAuthClient) -> None:
        self._pool, self._settings, self._oauth = pool, settings, oauth

    async def current(self, realm: str, fencing_token: int) -> AccessToken:
        """Return an access token with life left; refreshes it when little is left. Cheap: kept in memory.

        Raises HaltError (needs reconnect), TransientError (Intuit or Postgres away), LeaseLost.
        """
        raise NotImplementedError

    async def renew(self, realm: str, fencing_token: int, rejected: AccessToken) -> AccessToken:
        """Return another token after a 401; refreshes only if `rejected` is still the current one."""
        raise NotImplementedError


class LeaseLost(Exception):  # noqa: N818
    """The caller no longer holds the company's lease."""
