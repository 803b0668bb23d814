"""The names that QuickBooks holds, kept whole: all customers, vendors and employees are read once, then what changed since.

So a name is compared by our own rule with everything that is there, with signs that no query finds, too; and a backlog of new
names costs a few reads, not three for each. A cache of facts: it needs no fence.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from bookrelay.db import Pool

from qbo_writer.domain import AccessToken, BooksEntity, LookupFailed, UpdatedPage

ENTITIES = ("Customer", "Vendor", "Employee")
BELIEVED_SECONDS = 30.0  # how long what was read is believed to be all; a name made meanwhile is refused by 6240
PAGES_AT_ONCE = 5  # of each list (5,000 entries); the rest when the next name is asked for
UNFINISHED_SECONDS = 5.0  # until it is read on, or again after silence
REFUSED_SECONDS = 60.0  # until it is read again after a refusal
OVERLAP = timedelta(minutes=2)  # a query may lag behind what was just made


class Pages(Protocol):
    """What is needed of the client."""

    async def updated(self, realm: str, entity: str, since: datetime, start: int, token: AccessToken) -> UpdatedPage:
        """Read one page of what was last updated at `since` or later, oldest first."""


Keep = Callable[[str, str, Sequence[BooksEntity]], Awaitable[None]]  # company, entity, entries: into the cache


@dataclass(frozen=True)
class Cursor:
    """How far a list was read: as `Books.updated` goes on."""

    since: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    start: int = 1

    @classmethod
    def of(cls, plain: dict[str, Any] | None) -> "Cursor":
        """Read what was kept."""
        return cls(datetime.fromisoformat(plain["since"]), int(plain["start"])) if plain else cls()

    def plain(self) -> dict[str, Any]:
        """Return what is kept."""
        return {"since": self.since.isoformat(), "start": self.start}


class NameLists:
    """Keeps the lists of every company whole."""

    def __init__(self, pool: Pool, books: Pages, keep: Keep) -> None:
        self._pool, self._books, self._keep = pool, books, keep
        self._read_at: dict[str, float] = {}
        self._again_at: dict[str, float] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def whole(self, realm: str, token: AccessToken) -> bool:
        """Read what is new; return whether the cache holds all names now: if not, a name is asked for by itself.

        Raises LookupFailed where a list had no answer, once: whoever waits behind does not read the same again.
        """
        async with self._locks[realm]:
            began = time.monotonic()
            if began - self._read_at.get(realm, float("-inf")) < BELIEVED_SECONDS:
                return True
            if began < self._again_at.get(realm, 0.0):
                return False
            kept = await self._pool.fetchval("SELECT names_read FROM qbo_writer.realms WHERE realm = $1", realm) or {}
            reads = (self._read(realm, entity, Cursor.of(kept.get(entity)), token) for entity in ENTITIES)
            ended = await asyncio.gather(*reads, return_exceptions=True)
            errors = [error for error in ended if isinstance(error, BaseException)]
            if not errors and all(ended):
                self._read_at[realm] = began
                return True
            refused = bool(errors) and all(isinstance(error, LookupFailed) and error.definite for error in errors)
            self._again_at[realm] = time.monotonic() + (REFUSED_SECONDS if refused else UNFINISHED_SECONDS)
            if errors and not refused:
                raise next(error for error in errors if not (isinstance(error, LookupFailed) and error.definite))
            return False

    def forget(self, realm: str) -> None:
        """Read everything again when the next name is asked for."""
        self._read_at.pop(realm, None)

    async def _read(self, realm: str, entity: str, cursor: Cursor, token: AccessToken) -> bool:
        """Read pages to the end, so many at once at most; each is kept with how far it goes."""
        for _ in range(PAGES_AT_ONCE):
            page = await self._books.updated(realm, entity, cursor.since, cursor.start, token)
            if page.next:
                cursor = Cursor(*page.next)
            else:
                newest = max((at for seen in page.seen if (at := _updated(seen))), default=None)
                cursor = Cursor(max(cursor.since, newest - OVERLAP) if newest else cursor.since)
            await self._keep(realm, entity, page.seen)
            await self._pool.execute(
                "INSERT INTO qbo_writer.realms AS r (realm, names_read) VALUES ($1, $2) ON CONFLICT (realm) DO UPDATE "
                "SET names_read = r.names_read || excluded.names_read",
                realm, {entity: cursor.plain()},
            )  # fmt: skip
            if not page.next:
                return True
        return False


def _updated(seen: BooksEntity) -> datetime | None:
    try:
        return datetime.fromisoformat(str(seen.raw["MetaData"]["LastUpdatedTime"])).astimezone(UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
