"""What a poll starts from: the rows that were read, what was remembered before, the settings' rules, the time."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from bookrelay.source.documents import Origin

from sheet_watcher.domain import Directions, KnownRow, SheetRow, Snapshot, State, fold


@dataclass(frozen=True)
class Rules:
    """What the settings say about rows. `eligible`: statuses, folded, whose rows become documents; `retract_limit`: in rows."""

    origin: Origin
    directions: Directions
    eligible: frozenset[str]
    missing_seconds: float
    retract_limit: int

    def is_eligible(self, row: SheetRow) -> bool:
        """Say whether the row's status is one whose rows become documents."""
        return fold(row.text("status")) in self.eligible


@dataclass(frozen=True)
class Poll:
    """One complete read of the sheet. `today` is the day in the sheet's time zone; `new_key` makes a key that no row has."""

    snapshot: Snapshot
    state: State
    rules: Rules
    now: datetime
    today: date
    new_key: Callable[[], str]

    def is_long_gone(self, known: KnownRow) -> bool:
        """Say whether the row was missing in every read for `missing_seconds`."""
        since = known.missing_since
        return since is not None and (self.now - since).total_seconds() >= self.rules.missing_seconds
