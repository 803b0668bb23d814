"""What one read of the sheet means, and what an event means for a row. Pure: state in, a plan out; nothing is done here."""

from collections.abc import Callable
from datetime import date, datetime

from bookrelay.messages import AnyMessage, EventData

from sheet_watcher.domain import Result, Snapshot, State
from sheet_watcher.planning.cells import plan_writes
from sheet_watcher.planning.deletions import plan_deletions
from sheet_watcher.planning.documents import plan_document
from sheet_watcher.planning.keys import assign_keys
from sheet_watcher.planning.outcomes import Superseded, outcome_of
from sheet_watcher.planning.plan import Plan
from sheet_watcher.planning.poll import Poll, Rules


def plan(snapshot: Snapshot, state: State, rules: Rules, *, now: datetime, today: date, new_key: Callable[[], str]) -> Plan:
    """Work out everything that one complete read of the sheet leads to. `today` is the day in the sheet's time zone.

    Keys first, then documents, then what is missing, then cells: each step builds on those before it.
    """
    poll, made = Poll(snapshot, state, rules, now, today, new_key), Plan()
    keys = assign_keys(poll, made)
    for key, row in keys.owners.items():
        plan_document(poll, made, key, row)
    plan_deletions(poll, made, keys)
    plan_writes(poll, made, keys)
    return made


def on_event(event: AnyMessage, *, realm: str, source: str) -> Result | Superseded | None:
    """Return what an event means for one of our rows; None if it is about something else."""
    data = event.data
    if not isinstance(data, EventData) or (data.realm, data.source) != (realm, source):
        return None
    return outcome_of(event, data)
