"""How far the change feed was read beyond its cap: where the next page of each entity begins. Kept in the company's row."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Cursor = tuple[datetime, int]  # last updated at or after this, from this row of them on


@dataclass(frozen=True)
class Paging:
    """Entities with pages left. When none is, the feed was read until `until`."""

    until: datetime
    cursors: dict[str, Cursor]

    @classmethod
    def begin(cls, until: datetime, since: Mapping[str, datetime]) -> "Paging":
        """Start for each entity where it says."""
        return cls(until, {entity: (at, 1) for entity, at in since.items()})

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Paging | None":
        """Read what was kept; None if no pages are left."""
        if not plain:
            return None
        cursors = {entity: (datetime.fromisoformat(since), int(start)) for entity, (since, start) in plain["cursors"].items()}
        return cls(datetime.fromisoformat(plain["until"]), cursors)

    def plain(self) -> dict[str, Any]:
        """Return what is kept."""
        cursors = {entity: [since.isoformat(), start] for entity, (since, start) in self.cursors.items()}
        return {"until": self.until.isoformat(), "cursors": cursors}

    @property
    def reached(self) -> datetime:
        """Everything until then was read."""
        return min(since for since, _ in self.cursors.values())

    def next(self) -> tuple[str, Cursor]:
        """Return the entity that is furthest behind, and where its next page begins."""
        return min(self.cursors.items(), key=lambda item: item[1])

    def after(self, entity: str, cursor: Cursor | None) -> "Paging | None":
        """Return what is left after a page of `entity`; None after the last one."""
        cursors = {name: kept for name, kept in self.cursors.items() if name != entity} | ({entity: cursor} if cursor else {})
        return Paging(self.until, cursors) if cursors else None
