"""Reads of QuickBooks: by Id, by query with its pages, and what every company can read. Each page is one metered request."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from qbo_writer.domain import AccessToken, BooksEntity, LookupUnreadable
from qbo_writer.quickbooks import mapping
from qbo_writer.quickbooks.answers import is_deleted, rows_of
from qbo_writer.quickbooks.transport import Transport

PAGE = 1000  # rows of a query's page, at most
OVERLAP = 50  # rows that two pages share
_IDS_AT_ONCE = 100


class Reads:
    """Reads entities. Everything goes through `get`."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    async def get(
        self, realm: str, path: str, params: Mapping[str, str], token: AccessToken, *, name: str = "read", absent: bool = False
    ) -> Any:
        """Read one address, once, metered by Intuit. Returns the parsed body, or None with `absent` where nothing is there.

        Raises LookupFailed (ReadRefused where there was an answer), HaltError where we are cut off.
        """
        return await self.transport.get(realm, path, params, token, name=name, absent=absent)

    async def read(self, realm: str, entity: str, qbo_id: str, token: AccessToken) -> BooksEntity | None:
        """Read by Id; None if QuickBooks says that it is not there (deleted). Raises LookupFailed without a readable answer."""
        value = await self.get(realm, f"/{entity.lower()}/{qbo_id}", {}, token, name="read", absent=True)
        if value is None:
            return None
        raw = value.get(entity)
        if not isinstance(raw, dict):
            raise LookupUnreadable(f"the answer to reading {entity} holds none")
        return None if is_deleted(raw) else mapping.seen(entity, raw)

    async def harmless(self, realm: str, token: AccessToken, number: int = 0) -> None:
        """Read what every company can read: its CompanyInfo (0), its Preferences (1). Raises LookupFailed."""
        await self.get(realm, (f"/companyinfo/{realm}", "/preferences")[number], {}, token)

    async def created(self, realm: str, entity: str, since: datetime, token: AccessToken) -> tuple[list[BooksEntity], list[str]]:
        """Read what was made since then, and what is wrong with each that cannot be read. Raises LookupFailed."""
        statement = f"select * from {entity} where MetaData.CreateTime >= '{since:%Y-%m-%dT%H:%M:%SZ}'"  # noqa: S608
        return mapping.readable(entity, await self.query(realm, statement, token))

    async def present(self, realm: str, entity: str, ids: Sequence[str], token: AccessToken) -> set[str]:
        """Return which of these Ids a query shows. Raises LookupFailed."""
        found: set[str] = set()
        for start in range(0, len(ids), _IDS_AT_ONCE):
            some = ", ".join(f"'{id_}'" for id_ in ids[start : start + _IDS_AT_ONCE])
            rows = await self.query(realm, f"select * from {entity} where Id in ({some})", token)  # noqa: S608
            found |= {str(row.get("Id")) for row in rows}
        return found

    async def query(self, realm: str, statement: str, token: AccessToken) -> list[dict[str, Any]]:
        """Run a query, all pages. Raises LookupFailed.

        Pages are not isolated from each other: what is deleted meanwhile moves the rest forward. So pages overlap; new rows come
        last, by CreateTime.
        """
        entity = statement.split(" from ", 1)[1].split(" ", 1)[0]
        rows: dict[str, dict[str, Any]] = {}
        async for page in self.pages(realm, entity, statement, token):
            rows.update({str(raw.get("Id")): raw for raw in page})
        return list(rows.values())

    async def pages(self, realm: str, entity: str, statement: str, token: AccessToken) -> AsyncIterator[list[dict[str, Any]]]:
        """Read the pages of a query, one after another; they overlap."""
        start = 1
        while True:
            page = f"{statement} orderby MetaData.CreateTime startposition {start} maxresults {PAGE}"
            value = await self.get(realm, "/query", {"query": page}, token, name="query")
            response = value.get("QueryResponse")
            if not isinstance(response, dict):
                raise LookupUnreadable("the answer to a query holds no QueryResponse")
            part = rows_of(response, entity)
            yield part
            if len(part) < PAGE:
                return
            start += PAGE - OVERLAP
