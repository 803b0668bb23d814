"""A complete copy of QuickBooks' names: all customers, vendors and employees are read once, then changes since.

So a name is compared by our own rule with all entries, including characters that queries do not find; and a backlog of new
names costs a few reads instead of three each. A cache of facts: it needs no fencing.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from qbo_writer.domain import AccessToken, BooksEntity, LookupFailed, UpdatedPage
from qbo_writer.ledger.references import ReferenceRows

ENTITIES = ("Customer", "Vendor", "Employee")
BELIEVED_SECONDS = 30.0  # how long the copy is trusted as complete; a name created meanwhile is refused with 6240
PAGES_AT_ONCE = 5  # of each list (5,000 entries); the rest at the next look-up of a name
UNFINISHED_SECONDS = 5.0  # before reading continues, or is retried after silence
REFUSED_SECONDS = 60.0  # before it is retried after a refusal
OVERLAP = timedelta(minutes=2)  # a query may lag behind new entries


class Pages(Protocol):
    """The part of the client that is needed."""

    async def updated(self, realm: str, entity: str, since: datetime, start: int, token: AccessToken) -> UpdatedPage:
        """Read one page of what was last updated at `since` or later, oldest first."""


Keep = Callable[[str, str, Sequence[BooksEntity]], Awaitable[None]]  # stores in the cache: company, entity, entries


@dataclass(frozen=True)
class Cursor:
    """How far a list has been read, for `Books.updated`."""

    since: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    start: int = 1

    @classmethod
    def of(cls, plain: dict[str, Any] | None) -> "Cursor":
        """Read the stored form."""
        return cls(datetime.fromisoformat(plain["since"]), int(plain["start"])) if plain else cls()

    def plain(self) -> dict[str, Any]:
        """Return the stored form."""
        return {"since": self.since.isoformat(), "start": self.start}


class NameLists:
    """Keeps the copies of every company's lists complete."""

    def __init__(self, rows: ReferenceRows, books: Pages, keep: Keep) -> None:
        self._rows, self._books, self._keep = rows, books, keep
        self._read_at: dict[str, float] = {}
        self._again_at: dict[str, float] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def whole(self, realm: str, token: AccessToken) -> bool:
        """Read changes; return whether the cache now has all names: if not, names are looked up separately.

        Raises LookupFailed, once, if a list had no answer: waiting callers do not repeat the read.
        """
        async with self._locks[realm]:
            began = time.monotonic()
            if began - self._read_at.get(realm, float("-inf")) < BELIEVED_SECONDS:
                return True
            if began < self._again_at.get(realm, 0.0):
                return False
            kept = await self._rows.names_read(realm)
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
        """Read everything again at the next look-up of a name."""
        self._read_at.pop(realm, None)

    async def _read(self, realm: str, entity: str, cursor: Cursor, token: AccessToken) -> bool:
        """Read pages to the end, at most PAGES_AT_ONCE; each is stored with its position."""
        for _ in range(PAGES_AT_ONCE):
            page = await self._books.updated(realm, entity, cursor.since, cursor.start, token)
            if page.next:
                cursor = Cursor(*page.next)
            else:
                newest = max((at for seen in page.seen if (at := _updated(seen))), default=None)
                cursor = Cursor(max(cursor.since, newest - OVERLAP) if newest else cursor.since)
            await self._keep(realm, entity, page.seen)
            await self._rows.keep_names_read(realm, {entity: cursor.plain()})
            if not page.next:
                return True
        return False


def _updated(seen: BooksEntity) -> datetime | None:
    try:
        return datetime.fromisoformat(str(seen.raw["MetaData"]["LastUpdatedTime"])).astimezone(UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
