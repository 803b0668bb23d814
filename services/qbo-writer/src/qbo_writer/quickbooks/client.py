"""The client of QuickBooks' Accounting API (port `Books`): it sends what it is given, once, and reads."""

import httpx

from qbo_writer.domain import AccessToken, Answer, BatchRequest, Request
from qbo_writer.quickbooks.change_reads import ChangeReads
from qbo_writer.quickbooks.lookups import Lookups
from qbo_writer.quickbooks.pacing import Pacer
from qbo_writer.quickbooks.transport import Transport
from qbo_writer.quickbooks.writes import Writes
from qbo_writer.settings import Settings


class QboClient(Lookups, ChangeReads):
    """The port to QuickBooks. Callers pace writes; reads pace themselves."""

    def __init__(self, settings: Settings, pacer: Pacer | None = None, transport: httpx.AsyncBaseTransport | None = None) -> None:
        super().__init__(Transport(settings, pacer, transport))
        self._writes = Writes(self.transport)

    async def send(self, request: Request, token: AccessToken) -> Answer:
        """Send one journalled request; every outcome is an Answer, including a time-out."""
        return await self._writes.send(request, token)

    async def send_batch(self, batch: BatchRequest, token: AccessToken) -> Answer | dict[str, Answer]:
        """Send a journalled batch: one Answer for the whole call, or one for each bId, as `Writes.send_batch` says."""
        return await self._writes.send_batch(batch, token)

    async def close(self) -> None:
        """Close the connections."""
        await self.transport.close()
