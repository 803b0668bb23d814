"""Looking documents and names up, where an answer is missing or a name is needed: by number, by time, by name."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from qbo_writer.domain import AccessToken, BooksEntity
from qbo_writer.names import last, means, own, resembles, texts
from qbo_writer.quickbooks import mapping
from qbo_writer.quickbooks.name_queries import NameQueries
from qbo_writer.quickbooks.reads import Reads
from qbo_writer.quickbooks.statements import literal, numbered
from qbo_writer.quickbooks.transport import Transport

_CLOCKS = timedelta(minutes=5)  # how far our clock and QuickBooks' may be apart in a window of CreateTime
NAME_SPACE = ("Customer", "Vendor", "Employee")


class Lookups(Reads):
    """Finds what carries our marker, or has a number or a name. What is not found may be there all the same: queries lag."""

    def __init__(self, transport: Transport) -> None:
        super().__init__(transport)
        self._names = NameQueries(self)

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
    ) -> list[BooksEntity]:
        """Look up what carries our marker (or, for names, has this name): by DocNumber, then by MetaData.CreateTime.

        A number alone is not enough for "absent": QuickBooks may have given another, or a person changed it. Also returns a
        document with this DocNumber and another marker: the caller decides. Raises LookupFailed.
        """
        if name is not None:
            there = await self.find_names(realm, name, token, (entity,))
            return [one for one in there if one.marker == marker or means(name, _texts(one.raw))]
        found: list[BooksEntity] = []
        if doc_number:
            statement = f"select * from {entity} where DocNumber = {literal(doc_number)}"  # noqa: S608
            found = [mapping.seen(entity, raw) for raw in await self.query(realm, statement, token)]
            if any(one.marker == marker for one in found):
                return found
        from_ = (since.astimezone(UTC) - _CLOCKS).strftime("%Y-%m-%dT%H:%M:%SZ")
        statement = f"select * from {entity} where MetaData.CreateTime >= '{from_}'"  # noqa: S608
        window = [raw for raw in await self.query(realm, statement, token) if mapping.marker_of(entity, raw) == marker]
        known = {one.qbo_id for one in found}
        return found + [one for one in (mapping.seen(entity, raw) for raw in window) if one.qbo_id not in known]

    async def numbered(self, realm: str, entity: str, numbers: Collection[str], token: AccessToken) -> list[BooksEntity]:
        """Return the documents of a kind that bear one of these numbers, as QuickBooks compares them. Raises LookupFailed."""
        found: list[BooksEntity] = []
        for condition in numbered(sorted(numbers)):
            rows = await self.query(realm, f"select * from {entity} where DocNumber {condition}", token)  # noqa: S608
            found += [mapping.seen(entity, raw) for raw in rows]
        return found

    async def find_marked(
        self, realm: str, entity: str, numbers: Mapping[str, str | None], since: datetime, token: AccessToken
    ) -> dict[str, BooksEntity]:
        """Look up many documents at once: `numbers` are their markers, each with the number that it was sent with, if any.

        By numbers, many in a query; for those that no number shows, one window of MetaData.CreateTime for all of them. Only one
        page is kept in memory. Return by marker what was found; raises LookupFailed.
        """
        found: dict[str, BooksEntity] = {}

        async def look(statement: str) -> None:
            async for page in self.pages(realm, entity, statement, token):
                for raw in page:
                    marker = mapping.marker_of(entity, raw)
                    if marker and marker in numbers and marker not in found:
                        found[marker] = mapping.seen(entity, raw)
                if len(found) == len(numbers):
                    return

        for condition in numbered(sorted({number for number in numbers.values() if number})):
            await look(f"select * from {entity} where DocNumber {condition}")  # noqa: S608
        if len(found) < len(numbers):
            from_ = (since.astimezone(UTC) - _CLOCKS).strftime("%Y-%m-%dT%H:%M:%SZ")
            await look(f"select * from {entity} where MetaData.CreateTime >= '{from_}'")  # noqa: S608
        return found

    async def find_names(
        self, realm: str, name: str, token: AccessToken, entities: Sequence[str] = NAME_SPACE
    ) -> list[BooksEntity]:
        """Return who holds a name or one like it, inactive ones (behind whose name " (deleted)" is shown) included.

        Customers, vendors and employees share one name space. A full name ("Parent:Child") finds the entry below its parent.
        """
        rows = await asyncio.gather(*(self._names.rows(realm, entity, last(name), token) for entity in entities))
        return [
            mapping.seen(entity, raw)
            for entity, found in zip(entities, rows, strict=True)
            for raw in found
            if resembles(name, _texts(raw))
        ]


def _texts(raw: Mapping[str, Any]) -> list[str]:
    """Return the texts that mean a customer, vendor or employee."""
    active = str(raw.get("Active", True)).lower() == "true"
    names = (str(raw.get(key) or "") for key in ("DisplayName", "FullyQualifiedName"))
    return texts(*(own(name, active=active) for name in names), active=active)
