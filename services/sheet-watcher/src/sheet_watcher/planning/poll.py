"""The input of a poll: the rows read, the stored state, the rules from the settings, the time."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from bookrelay.source.documents import Origin

from sheet_watcher.domain import Directions, KnownRow, SheetRow, Snapshot, State, fold


@dataclass(frozen=True)
class Rules:
    """The rules from the settings. `eligible`: folded statuses whose rows become documents; `retract_limit`: in rows."""

    origin: Origin
    directions: Directions
    eligible: frozenset[str]
    missing_seconds: float
    retract_limit: int

    def is_eligible(self, row: SheetRow) -> bool:
        """Whether rows of this row's status become documents."""
        return fold(row.text("status")) in self.eligible


@dataclass(frozen=True)
class Poll:
    """One complete read of the sheet. `today` is the day in the sheet's time zone; `new_key` returns an unused key."""

    snapshot: Snapshot
    state: State
    rules: Rules
    now: datetime
    today: date
    new_key: Callable[[], str]

    def is_long_gone(self, known: KnownRow) -> bool:
        """Whether the row has been missing from every read for `missing_seconds`."""
        since = known.missing_since
        return since is not None and (self.now - since).total_seconds() >= self.rules.missing_seconds
