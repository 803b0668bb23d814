"""The plan of a poll: the modules of this package add to it, and the loop carries it out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bookrelay.messages import AnyMessage, DocumentRejected

from sheet_watcher.domain import CellWrite, KnownRow, Result, SheetRow


@dataclass(frozen=True)
class RowChange:
    """A row's state before (None: new) and after."""

    before: KnownRow | None
    after: KnownRow


@dataclass
class Plan:
    """Cells to write, state and messages to commit together, lines to log as (event, fields). Counts are of rows."""

    writes: list[CellWrite] = field(default_factory=list)
    changes: dict[str, RowChange] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    messages: list[AnyMessage] = field(default_factory=list)
    log: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    rows_written: int = 0
    keys_written: int = 0
    more: bool = False  # the limit was reached: poll again immediately
    retractions_held: int = 0

    def change(self, before: KnownRow | None, after: KnownRow) -> None:
        """Add a row's change of state, if it changed."""
        if before != after:
            self.changes[after.key] = RowChange(before, after)

    def row_after(self, key: str, rows: Mapping[str, KnownRow]) -> KnownRow | None:
        """Return a row's state after this plan: changed, or as in `rows`; None for an unknown key."""
        return self.changes[key].after if key in self.changes else rows.get(key)

    def add_message(self, message: AnyMessage, key: str, version: int, **fields: str) -> None:
        """Add a row's message and its log line: key, version, type, and `fields`."""
        self.messages.append(message)
        event = "row.rejected" if isinstance(message, DocumentRejected) else "row.published"
        self.log.append((event, {"key": key, "version": version, "type": message.type, **fields}))

    def note(self, event: str, row: SheetRow, **fields: str) -> None:
        """Add a log line about a row."""
        self.log.append((event, {"row": row.position, **fields}))
