"""Lists that are read whole: items, accounts, terms, classes, locations, tax codes, payment methods."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bookrelay import telemetry
from bookrelay.db import Pool, transaction

from qbo_writer.domain import AccessToken, BooksEntity, Reference
from qbo_writer.names import fold, own, texts
from qbo_writer.quickbooks.entries import ALSO, KEPT, details, heads, keep, kept, reference
from qbo_writer.quickbooks.survivors import KnownSurvivors

log = telemetry.get_logger(__name__)

_RELOAD_SECONDS = 60.0  # a list is read again for a name that it lacks, at most so often
Query = Callable[[str, str, AccessToken], Awaitable[list[dict[str, Any]]]]


@dataclass
class Entries:
    """One list, as it was read."""

    by_id: dict[str, Reference]
    by_name: dict[str, Reference]
    loaded_at: float  # by the monotonic clock


class EntryLists:
    """The lists of every company. Raises LookupFailed where one cannot be read."""

    def __init__(self, pool: Pool, query: Query, max_age_seconds: float, survivors: KnownSurvivors) -> None:
        self._pool, self._query, self._max_age, self._survivors = pool, query, max_age_seconds, survivors
        self._read: dict[tuple[str, str], Entries] = {}
        self._locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    def learn(self, realm: str, seen: BooksEntity) -> None:
        """Take in an entry that was changed, where its list was read."""
        if read := self._read.get((realm, seen.entity)):
            put(read, reference(seen.entity, seen.raw), details(seen.raw))

    def forget(self, realm: str, entries: Collection[tuple[str, str]] | None) -> None:
        """Read the lists that have these entries (entity, Id) again when they are needed; None: all."""
        for key, read in list(self._read.items()):
            if key[0] == realm and (entries is None or any((key[1], id_) in entries for id_ in read.by_id)):
                del self._read[key]

    async def find(self, realm: str, entity: str, key: str, token: AccessToken, *, by_id: bool = False) -> Reference | None:
        """Find an entry of a list; a list that lacks it is read again, if it was not just read."""
        folded, merged = fold(key), await self._survivors.of(realm)
        if by_id:
            key = merged.by_id.get((entity, key), key)
        unfit = None
        for attempt in (0, 1):
            entries = await self._list(realm, entity, token, newer_than=_RELOAD_SECONDS if attempt else None)
            found = entries.by_id.get(key) if by_id else entries.by_name.get(folded)
            if found is None or not found.active:
                unfit, found = found, entries.by_id.get(merged.by_name.get((entity, folded), ""))
            if found or unfit:
                return found or unfit
        return None

    async def _list(self, realm: str, entity: str, token: AccessToken, newer_than: float | None) -> Entries:
        age = self._max_age if newer_than is None else newer_than
        cached = self._read.get((realm, entity))
        if cached and time.monotonic() - cached.loaded_at < age:
            return cached
        async with self._locks[(realm, entity)]:
            cached = self._read.get((realm, entity))
            if cached and time.monotonic() - cached.loaded_at < age:
                return cached
            loaded = (await self._kept_list(realm, entity, age) if cached is None else None) or await self._read_list(
                realm, entity, token
            )
            self._read[(realm, entity)] = loaded
            return loaded

    async def _kept_list(self, realm: str, entity: str, age: float) -> Entries | None:
        rows = await self._pool.fetch(
            f"SELECT {KEPT}, details, extract(epoch FROM now() - seen_at)::float8 AS age "  # noqa: S608
            "FROM qbo_writer.references WHERE realm = $1 AND entity = $2",
            realm,
            entity,
        )  # fmt: skip
        oldest = max((row["age"] for row in rows), default=age)
        if oldest >= age or (entity == "Item" and any("Type" not in row["details"] for row in rows)):
            return None  # too old, or kept before types were
        entries = Entries({}, {}, time.monotonic() - oldest)
        for row in rows:
            put(entries, replace(kept(row), heads=heads(entity, row["details"])), row["details"])
        return entries

    async def _read_list(self, realm: str, entity: str, token: AccessToken) -> Entries:
        """Read a whole list: one or two metered reads a day serve every document."""
        rows = await self._query(realm, f"select * from {entity} where Active in (true, false)", token)  # noqa: S608
        entries, references = Entries({}, {}, time.monotonic()), [reference(entity, raw) for raw in rows]
        given = [details(raw) for raw in rows]
        for one, detail in zip(references, given, strict=True):
            put(entries, one, detail)
        async with transaction(self._pool) as connection:
            await connection.execute("DELETE FROM qbo_writer.references WHERE realm = $1 AND entity = $2", realm, entity)
            await keep(connection, realm, references, given)
        log.info("references.read", realm=realm, entity=entity, entries=len(references))
        return entries


def put(entries: Entries, one: Reference, more: Mapping[str, Any] | None = None) -> None:
    """Full names come before short ones, active entries before inactive ones; an ambiguous short name finds nobody else's."""
    entries.by_id[one.qbo_id] = one
    for name in (one.name, *(str((more or {}).get(key) or "") for key in ALSO)):
        for text in texts(own(name, active=one.active), active=one.active):
            folded = fold(text)
            held = entries.by_name.get(folded)
            mine, theirs = fits(one), held is not None and fits(held)
            if folded and (held is None or held.qbo_id == one.qbo_id or mine > theirs or (text == one.name and mine == theirs)):
                entries.by_name[folded] = one


def fits(one: Reference) -> bool:
    """Whether a line can name it."""
    return one.active and not one.heads
