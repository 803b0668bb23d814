"""Plans what follows from a read of the sheet, and converts events to results of rows. Pure: state in, plan out."""

from collections.abc import Callable
from datetime import date, datetime

from bookrelay.messages import AnyMessage, EventData

from sheet_watcher.domain import Result, Snapshot, State
from sheet_watcher.planning.cells import plan_writes
from sheet_watcher.planning.deletions import plan_deletions
from sheet_watcher.planning.documents import plan_document
from sheet_watcher.planning.keys import assign_keys
from sheet_watcher.planning.plan import Plan
from sheet_watcher.planning.poll import Poll, Rules
from sheet_watcher.planning.results import Superseded, result_of


def plan(snapshot: Snapshot, state: State, rules: Rules, *, now: datetime, today: date, new_key: Callable[[], str]) -> Plan:
    """Plan everything that follows from one complete read of the sheet. `today` is the day in the sheet's time zone.

    Keys first, then documents, deletions and cells: each step builds on the previous ones.
    """
    poll, made = Poll(snapshot, state, rules, now, today, new_key), Plan()
    keys = assign_keys(poll, made)
    for key, row in keys.owners.items():
        plan_document(poll, made, key, row)
    plan_deletions(poll, made, keys)
    plan_writes(poll, made, keys)
    return made


def on_event(event: AnyMessage, *, realm: str, source: str) -> Result | Superseded | None:
    """Return the result that an event gives one of our rows; None if it concerns something else."""
    data = event.data
    if not isinstance(data, EventData) or (data.realm, data.source) != (realm, source):
        return None
    return result_of(event, data)
