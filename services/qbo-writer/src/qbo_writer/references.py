"""References of a content to QuickBooks' lists: mapping table first, then exact name; cached; no read where the answer is known."""

from collections.abc import Collection
from typing import Any, Protocol

from bookrelay.db import Connection, Pool

from qbo_writer.domain import AccessToken, LedgerKind, NameNeeded, Resolved, Seen, Unmapped
from qbo_writer.mapping import AnyContent
from qbo_writer.policy import Policy
from qbo_writer.settings import WriterSettings


class Lists(Protocol):
    """What References needs of the client."""

    async def query(self, realm: str, statement: str, token: AccessToken) -> list[dict[str, Any]]:
        """Run a query, all pages."""


class References:
    """Resolves what documents refer to."""

    def __init__(self, pool: Pool, books: Lists, policy: Policy, settings: WriterSettings) -> None:
        self._pool, self._books, self._policy, self._settings = pool, books, policy, settings

    async def resolve(
        self, realm: str, kind: LedgerKind, content: AnyContent, token: AccessToken
    ) -> Resolved | NameNeeded | Unmapped:
        """Resolve every reference. Raises LookupFailed; Skipped where mode or plan leave the document out."""
        raise NotImplementedError

    async def learn(self, connection: Connection, realm: str, entity: str, seen: Seen) -> None:
        """Take a created (or changed) customer or vendor into the cache, in the caller's transaction."""
        raise NotImplementedError

    async def forget(self, realm: str, ids: Collection[str] | None = None) -> None:
        """Drop cached entries (all of them for None) after 2500 or 610, so that they are read again."""
        raise NotImplementedError
