"""Names looked up at the same time share a query: a backlog of new patients costs one query for thirty names."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from qbo_writer.domain import AccessToken, LookupFailed
from qbo_writer.halving import in_halves
from qbo_writer.quickbooks.statements import ALL, NAMES_MOST, length, like, literals, plain

NAMES_AT_ONCE = 30  # in one query: short enough for an address, each also with " (deleted)"
GATHER_SECONDS = 0.005


class Queries(Protocol):
    """The part of the client that runs queries."""

    async def query(self, realm: str, statement: str, token: AccessToken) -> list[dict[str, Any]]:
        """Return the rows of all pages. Raises LookupFailed."""


@dataclass
class _Asked:
    """Names waiting for one query."""

    names: set[str] = field(default_factory=set)
    length: int = 0  # of the encoded address
    rows: "asyncio.Future[tuple[list[dict[str, Any]], dict[str, LookupFailed]]] | None" = None  # rows, and refusals by name


class NameQueries:
    """Gathers look-ups within some milliseconds."""

    def __init__(self, books: Queries) -> None:
        self._books = books
        self._asked: dict[tuple[str, str], _Asked] = {}

    async def rows(self, realm: str, entity: str, name: str, token: AccessToken) -> list[dict[str, Any]]:
        """Look up a name together with others being looked up now, up to thirty in a query."""
        if not plain(name):
            return await self._books.query(realm, f"select * from {entity} where DisplayName {like(name)} and {ALL}", token)  # noqa: S608
        asked = self._asked.get((realm, entity))
        if asked is None or len(asked.names) >= NAMES_AT_ONCE or asked.length + length(name) > NAMES_MOST:
            asked = self._asked[(realm, entity)] = _Asked()
            asked.rows = asyncio.ensure_future(self._ask(realm, entity, asked, token))
        if name not in asked.names:
            asked.names.add(name)
            asked.length += length(name)
        assert asked.rows is not None
        rows, failed = await asyncio.shield(asked.rows)
        if error := failed.get(name):
            raise error
        return rows

    async def _ask(
        self, realm: str, entity: str, asked: "_Asked", token: AccessToken
    ) -> tuple[list[dict[str, Any]], dict[str, LookupFailed]]:
        await asyncio.sleep(GATHER_SECONDS)
        if self._asked.get((realm, entity)) is asked:
            del self._asked[(realm, entity)]

        async def ask(part: Sequence[str]) -> list[dict[str, Any]]:
            names = list(dict.fromkeys(text for name in part for text in literals(name)))
            where = f"DisplayName in ({', '.join(names)}) and {ALL}"
            return await self._books.query(realm, f"select * from {entity} where {where}", token)  # noqa: S608

        return await in_halves(ask, sorted(asked.names))
