"""How far changes beyond the feed's cap have been read: each entity's next page. Stored in the company's row."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Cursor = tuple[datetime, int]  # updated at or after this time, starting at this row


@dataclass(frozen=True)
class Paging:
    """Entities with pages left. When there are none, the feed has been read up to `until`."""

    until: datetime
    cursors: dict[str, Cursor]

    @classmethod
    def begin(cls, until: datetime, since: Mapping[str, datetime]) -> "Paging":
        """Start each entity at its time in `since`."""
        return cls(until, {entity: (at, 1) for entity, at in since.items()})

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Paging | None":
        """Read the stored form; None if no pages are left."""
        if not plain:
            return None
        cursors = {entity: (datetime.fromisoformat(since), int(start)) for entity, (since, start) in plain["cursors"].items()}
        return cls(datetime.fromisoformat(plain["until"]), cursors)

    def plain(self) -> dict[str, Any]:
        """Return the stored form."""
        cursors = {entity: [since.isoformat(), start] for entity, (since, start) in self.cursors.items()}
        return {"until": self.until.isoformat(), "cursors": cursors}

    @property
    def reached(self) -> datetime:
        """The time up to which everything has been read."""
        return min(since for since, _ in self.cursors.values())

    def next(self) -> tuple[str, Cursor]:
        """Return the entity that is furthest behind, and its next page."""
        return min(self.cursors.items(), key=lambda item: item[1])

    def after(self, entity: str, cursor: Cursor | None) -> "Paging | None":
        """Return what is left after a page of `entity`; None after the last page."""
        cursors = {name: kept for name, kept in self.cursors.items() if name != entity} | ({entity: cursor} if cursor else {})
        return Paging(self.until, cursors) if cursors else None
