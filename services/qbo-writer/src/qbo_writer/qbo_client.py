"""QuickBooks' Accounting API over one httpx client. It sends what it is given, once: no retry, no redirect; it implements `Books`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from qbo_writer.domain import AccessToken, Answer, BatchRequest, Deleted, Request, Seen
from qbo_writer.pacing import Pacer
from qbo_writer.settings import WriterSettings


class QboClient:
    """The port to QuickBooks. Writes are paced by the caller (who journals between slot and send), reads pace themselves."""

    def __init__(self, settings: WriterSettings, pacer: Pacer | None = None) -> None:
        self._settings, self._pacer = settings, pacer

    async def close(self) -> None:
        """Close the connections."""

    async def send(self, request: Request, token: AccessToken) -> Answer:
        """Send one journalled request; every outcome is an Answer, also a time-out."""
        raise NotImplementedError

    async def send_batch(self, batch: BatchRequest, token: AccessToken) -> Answer | dict[str, Answer]:
        """Send a journalled batch: one Answer for the whole call (silence, 429, 401, error), or one for each bId."""
        raise NotImplementedError

    async def read(self, realm: str, entity: str, qbo_id: str, token: AccessToken) -> Seen | None:
        """Read by Id; None if it is not there. Raises LookupFailed."""
        raise NotImplementedError

    async def find(
        self,
        realm: str,
        entity: str,
        *,
        doc_number: str | None,
        marker: str,
        since: datetime,
        name: str | None,
        token: AccessToken,
    ) -> list[Seen]:
        """Look up by marker, DocNumber or name. Raises LookupFailed."""
        raise NotImplementedError

    async def changes(self, realm: str, entities: Sequence[str], since: datetime, token: AccessToken) -> list[Seen | Deleted]:
        """Read the change feed. Raises LookupFailed, also at the cap."""
        raise NotImplementedError

    async def query(self, realm: str, statement: str, token: AccessToken) -> list[dict[str, Any]]:
        """Run a query, all pages. Raises LookupFailed."""
        raise NotImplementedError
