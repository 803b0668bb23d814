"""The names of customers, vendors and employees: what was found is remembered, what is not there is believed for a while."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Protocol
from weakref import WeakValueDictionary

from bookrelay.db import Pool

from qbo_writer.domain import AccessToken, BooksEntity, Reference
from qbo_writer.names import alike, last, own, resembles, texts
from qbo_writer.quickbooks.entries import KEPT, NAME_SPACE, active, best, details, full_name, keep, kept, reference_of, same
from qbo_writer.quickbooks.name_lists import BELIEVED_SECONDS, NameLists, Pages

_ABSENT_SECONDS = BELIEVED_SECONDS  # how long "nobody has this name" is believed where it was asked for by itself
REMEMBERED = 20_000  # entries, of all companies: what is forgotten is found in the table, by its index
_LATELY_SECONDS = 300.0  # as long as a query may lag behind what QuickBooks has just answered


class Finds(Pages, Protocol):
    """What is needed of the client."""

    async def find_names(
        self, realm: str, name: str, token: AccessToken, entities: tuple[str, ...] = NAME_SPACE
    ) -> list[BooksEntity]:
        """Return who holds a name, inactive ones included."""


class NameCache:
    """The names of every company. Raises LookupFailed where they cannot be read, Missing where nobody can be guessed."""

    def __init__(self, pool: Pool, books: Finds, max_age_seconds: float, remembered: int = REMEMBERED) -> None:
        self._pool, self._books, self._max_age, self._most = pool, books, max_age_seconds, remembered
        self.lists = NameLists(pool, books, self._keep_names)
        self._doubted: set[tuple[str, str]] = set()  # realm, folded name: was refused under its Id, and is asked for by itself
        self._names: dict[tuple[str, str, str], Reference] = {}  # realm, entity, exact text
        self._texts: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)  # realm, entity, folded: texts in _names
        self._keys: dict[tuple[str, str, str], set[str]] = {}  # realm, entity, Id: the texts that are in _names
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
        """Ask for these entries by themselves until they were read again.

        Without their rows the rest would pass for the whole, also after a restart, and a twin would be made: as entries that are
        not active they stay.
        """
        for entity, id_ in entries:
            self.drop(realm, entity, id_)
        doubted = await self._pool.fetch(
            "UPDATE qbo_writer.references r SET active = false FROM unnest($2::text[], $3::text[]) AS t(entity, qbo_id) "
            "WHERE r.realm = $1 AND r.entity = t.entity AND r.qbo_id = t.qbo_id RETURNING r.name_folded",
            realm, [entity for entity, _ in entries if entity in NAME_SPACE], [id_ for entity, id_ in entries if entity in NAME_SPACE],
        )  # fmt: skip
        self._doubted.update((realm, row["name_folded"]) for row in doubted)

    async def find(self, realm: str, entity: str, name: str, token: AccessToken) -> Reference | None:
        """Return who holds the name: the active one of our kind, else the active one of another, else an inactive one."""
        key = (realm, entity, alike(name))
        if held := self._remembered(realm, entity, name):
            return held
        async with self._locks.setdefault(key, asyncio.Lock()):  # thirty documents that name the same new customer ask once
            if held := self._remembered(realm, entity, name):
                return held
            if time.monotonic() < self._absent.get(key, 0.0):
                return None
            # A text that only looks like the name is compared with all that there are: somebody else may have just that name.
            kept = [one for one in await self.kept_lately(realm, entity, key[2]) if same(one.name, name)]
            if kept:
                self.take(realm, kept[0], name)
                return kept[0]
            if (realm, key[2]) not in self._doubted and await self.lists.whole(realm, token):
                listed = await self.among_all(realm, entity, name, key)
                if listed is None or (listed.entity == entity and listed.active):
                    return listed
                # Before somebody is refused because of it: what was made inactive or merged lately may show only by itself.
            return await self._read_name(realm, entity, name, key, token)

    async def among_all(self, realm: str, entity: str, name: str, key: tuple[str, str, str]) -> Reference | None:
        """Find who holds a name among all that there are. A full name ("Parent:Child") finds the entry below its parent."""
        rows = await self._pool.fetch(
            f"SELECT {KEPT}, details FROM qbo_writer.references WHERE realm = $1 "  # noqa: S608
            "AND entity = ANY($2::text[]) AND name_folded = ANY($3::text[])",
            realm, list(NAME_SPACE), [alike(own(text, active=active_)) for text in (name, last(name)) for active_ in (True, False)],
        )  # fmt: skip
        there = [(kept(row), own(str(row["details"].get("FullyQualifiedName", "")), active=row["active"])) for row in rows]
        held = [(one, full) for one, full in there if resembles(name, texts(one.name, full, active=one.active))]
        found = best(entity, name, held)
        if found and found.entity == entity and found.active:
            self.take(realm, found, name)
        return found

    async def _keep_names(self, realm: str, entity: str, seen: Sequence[BooksEntity]) -> None:
        """Keep a page of a list; what memory holds of these entries is looked up again."""
        for one in seen:
            self.drop(realm, entity, one.qbo_id)
            self._drop_alike(realm, reference_of(one))
        await keep(self._pool, realm, [reference_of(one) for one in seen], [details(one.raw) for one in seen])

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
        """An entry is there that texts may mean which were taken for another's name, without being just that."""
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
            for other in NAME_SPACE:  # what we were told lately: a query may not show yet what was just made
                if kept := await self.kept_lately(realm, other, key[2], _LATELY_SECONDS):
                    return best(other, name, [(one, "") for one in kept])
            if len(self._absent) >= self._most:
                self._absent = {one: until for one, until in self._absent.items() if until > time.monotonic()}
            self._absent[key] = time.monotonic() + _ABSENT_SECONDS
            return None
        found = best(entity, name, [(reference_of(one), full_name(one.raw)) for one in seen])
        if found and found.entity == entity and found.active:
            self._doubted.discard((realm, key[2]))
            self.take(realm, found, name)  # a full name finds it next time, too
            raw = next(one.raw for one in seen if (one.entity, one.qbo_id) == (entity, found.qbo_id))
            await keep(self._pool, realm, [found], [details(raw)])
        return found

    async def kept_lately(self, realm: str, entity: str, folded: str, seconds: float | None = None) -> list[Reference]:
        rows = await self._pool.fetch(
            f"SELECT {KEPT} FROM qbo_writer.references WHERE realm = $1 AND entity = $2 "  # noqa: S608
            "AND name_folded = $3 AND active AND seen_at > now() - make_interval(secs => $4)",
            realm,
            entity,
            folded,
            self._max_age if seconds is None else seconds,
        )
        return [one for row in rows if alike((one := kept(row)).name) == folded]

    def take(self, realm: str, one: Reference, also: str | None = None) -> None:
        """Remember an entry by its name, and by the text that it was asked for by."""
        self.drop(realm, one.entity, one.qbo_id)  # renamed
        self._drop_alike(realm, one)
        for entity in NAME_SPACE:  # one name space: who was refused because of it finds who has the name
            for text in texts(one.name, active=one.active):
                self._absent.pop((realm, entity, alike(text)), None)
        for text in {one.name, also or one.name} if one.active else ():
            self._names[(realm, one.entity, text)] = one
            self._texts[(realm, one.entity, alike(text))].add(text)
            self._name_read_at[(realm, one.entity, text)] = time.monotonic()
            self._keys.setdefault((realm, one.entity, one.qbo_id), set()).add(text)
        while len(self._keys) > self._most:  # the one that was taken first
            self.drop(*next(iter(self._keys)))
