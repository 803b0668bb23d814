"""A cache of names of customers, vendors and employees: found names are kept, missing ones are trusted for a while."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Protocol
from weakref import WeakValueDictionary

from qbo_writer.domain import AccessToken, BooksEntity, Reference
from qbo_writer.ledger.references import ReferenceRows
from qbo_writer.names import alike, last, own, resembles, texts
from qbo_writer.quickbooks.entries import NAME_SPACE, active, best, details, full_name, kept, reference_of, same, to_keep
from qbo_writer.quickbooks.name_lists import BELIEVED_SECONDS, NameLists, Pages

_ABSENT_SECONDS = BELIEVED_SECONDS  # how long "no entry has this name" is trusted after a single look-up
REMEMBERED = 20_000  # entries, of all companies: what is forgotten is found in the table, by its index
_LATELY_SECONDS = 300.0  # how long a query may lag behind an answer


class Finds(Pages, Protocol):
    """What is needed of the client."""

    async def find_names(
        self, realm: str, name: str, token: AccessToken, entities: tuple[str, ...] = NAME_SPACE
    ) -> list[BooksEntity]:
        """Return the entries with a name, including inactive ones."""


class NameCache:
    """The names of every company. Raises LookupFailed if they cannot be read, Missing if a name is ambiguous."""

    def __init__(self, rows: ReferenceRows, books: Finds, max_age_seconds: float, remembered: int = REMEMBERED) -> None:
        self._rows, self._books, self._max_age, self._most = rows, books, max_age_seconds, remembered
        self.lists = NameLists(rows, books, self._keep_names)
        self._doubted: set[tuple[str, str]] = set()  # realm, folded name: its Id was refused, so it is looked up separately
        self._names: dict[tuple[str, str, str], Reference] = {}  # realm, entity, exact text
        self._texts: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)  # realm, entity, folded: texts in _names
        self._keys: dict[tuple[str, str, str], set[str]] = {}  # realm, entity, Id: texts in _names
        self._name_read_at: dict[tuple[str, str, str], float] = {}
        self._absent: dict[tuple[str, str, str], float] = {}
        # A lock is there as long as somebody has it or waits for it.
        self._locks: WeakValueDictionary[tuple[str, ...], asyncio.Lock] = WeakValueDictionary()

    def forget_all(self, realm: str) -> None:
        """Forget everything of a company."""
        for absent in [key for key in self._absent if key[0] == realm]:
            del self._absent[absent]
        for entity, id_ in [key[1:] for key in self._keys if key[0] == realm]:
            self.drop(realm, entity, id_)
        self.lists.forget(realm)

    async def doubt(self, realm: str, entries: Collection[tuple[str, str]]) -> None:
        """Look these entries up separately until they have been read again.

        Without their rows the rest would look complete, also after a restart, and a duplicate would be created: so they stay, as
        inactive entries.
        """
        for entity, id_ in entries:
            self.drop(realm, entity, id_)
        doubted = await self._rows.doubt(realm, [(entity, id_) for entity, id_ in entries if entity in NAME_SPACE])
        self._doubted.update((realm, folded) for folded in doubted)

    async def find(self, realm: str, entity: str, name: str, token: AccessToken) -> Reference | None:
        """Return the entry with the name: an active one of our kind, else an active one of another kind, else an inactive one."""
        key = (realm, entity, alike(name))
        if held := self._remembered(realm, entity, name):
            return held
        async with self._locks.setdefault(key, asyncio.Lock()):  # thirty documents that name the same new customer ask once
            if held := self._remembered(realm, entity, name):
                return held
            if time.monotonic() < self._absent.get(key, 0.0):
                return None
            # A text that is only similar is compared with all entries: another one may have exactly that name.
            kept = [one for one in await self.kept_lately(realm, entity, key[2]) if same(one.name, name)]
            if kept:
                self.take(realm, kept[0], name)
                return kept[0]
            if (realm, key[2]) not in self._doubted and await self.lists.whole(realm, token):
                listed = await self.among_all(realm, entity, name, key)
                if listed is None or (listed.entity == entity and listed.active):
                    return listed
                # Before refusing because of it: recently inactivated or merged entries may show only in a separate look-up.
            return await self._read_name(realm, entity, name, key, token)

    async def among_all(self, realm: str, entity: str, name: str, key: tuple[str, str, str]) -> Reference | None:
        """Find who holds a name among all that there are. A full name ("Parent:Child") finds the entry below its parent."""
        folded = [alike(own(text, active=active_)) for text in (name, last(name)) for active_ in (True, False)]
        rows = await self._rows.folded(realm, NAME_SPACE, folded)
        there = [(kept(row), own(str(row.details.get("FullyQualifiedName", "")), active=row.active)) for row in rows]
        held = [(one, full) for one, full in there if resembles(name, texts(one.name, full, active=one.active))]
        found = best(entity, name, held)
        if found and found.entity == entity and found.active:
            self.take(realm, found, name)
        return found

    async def _keep_names(self, realm: str, entity: str, seen: Sequence[BooksEntity]) -> None:
        """Store a page of a list; these entries are dropped from memory and looked up again."""
        for one in seen:
            self.drop(realm, entity, one.qbo_id)
            self._drop_alike(realm, reference_of(one))
        await self._rows.keep(realm, [to_keep(reference_of(one), details(one.raw)) for one in seen])

    def drop(self, realm: str, entity: str, qbo_id: str) -> None:
        for text in self._keys.pop((realm, entity, qbo_id), ()):
            held = self._names.get((realm, entity, text))
            if held and held.qbo_id == qbo_id:
                self._forget(realm, entity, text)

    def _forget(self, realm: str, entity: str, text: str) -> None:
        del self._names[(realm, entity, text)]
        self._name_read_at.pop((realm, entity, text), None)
        folded = (realm, entity, alike(text))
        self._texts[folded].discard(text)
        if not self._texts[folded]:
            del self._texts[folded]

    def _drop_alike(self, realm: str, one: Reference) -> None:
        """Drop cached texts that were matched to another entry by similarity and may mean this one."""
        entity, folded = one.entity, alike(one.name)
        for text in list(self._texts.get((realm, entity, folded), ())):
            held = self._names[(realm, entity, text)]
            if held.qbo_id != one.qbo_id and not same(held.name, text):
                self._forget(realm, entity, text)

    def _remembered(self, realm: str, entity: str, name: str) -> Reference | None:
        key = (realm, entity, name)
        held, fresh = self._names.get(key), time.monotonic() - self._max_age
        return held if held and held.active and self._name_read_at.get(key, 0.0) > fresh else None

    async def _read_name(
        self, realm: str, entity: str, name: str, key: tuple[str, str, str], token: AccessToken
    ) -> Reference | None:
        seen = await self._books.find_names(realm, name, token, (entity,))
        if not any(active(one) for one in seen):
            others = tuple(other for other in NAME_SPACE if other != entity)
            seen += await self._books.find_names(realm, name, token, others)
        if not seen:
            for other in NAME_SPACE:  # known recently: a query may not show new entries yet
                if kept := await self.kept_lately(realm, other, key[2], _LATELY_SECONDS):
                    return best(other, name, [(one, "") for one in kept])
            if len(self._absent) >= self._most:
                self._absent = {one: until for one, until in self._absent.items() if until > time.monotonic()}
            self._absent[key] = time.monotonic() + _ABSENT_SECONDS
            return None
        found = best(entity, name, [(reference_of(one), full_name(one.raw)) for one in seen])
        if found and found.entity == entity and found.active:
            self._doubted.discard((realm, key[2]))
            self.take(realm, found, name)  # a full name will find it next time, too
            raw = next(one.raw for one in seen if (one.entity, one.qbo_id) == (entity, found.qbo_id))
            await self._rows.keep(realm, [to_keep(found, details(raw))])
        return found

    async def kept_lately(self, realm: str, entity: str, folded: str, seconds: float | None = None) -> list[Reference]:
        rows = await self._rows.lately(realm, entity, folded, self._max_age if seconds is None else seconds)
        return [one for row in rows if alike((one := kept(row)).name) == folded]

    def take(self, realm: str, one: Reference, also: str | None = None) -> None:
        """Cache an entry under its name, and under the text that was looked up."""
        self.drop(realm, one.entity, one.qbo_id)  # renamed
        self._drop_alike(realm, one)
        for entity in NAME_SPACE:  # one name space: a refused name is now found under another kind
            for text in texts(one.name, active=one.active):
                self._absent.pop((realm, entity, alike(text)), None)
        for text in {one.name, also or one.name} if one.active else ():
            self._names[(realm, one.entity, text)] = one
            self._texts[(realm, one.entity, alike(text))].add(text)
            self._name_read_at[(realm, one.entity, text)] = time.monotonic()
            self._keys.setdefault((realm, one.entity, one.qbo_id), set()).add(text)
        while len(self._keys) > self._most:  # the one that was taken first
            self.drop(*next(iter(self._keys)))
