"""Deleted rows: when their documents are retracted, and when too many rows are missing at once to act on it."""

from bookrelay.messages import Kind

from sheet_watcher.planning.keys import Keys
from sheet_watcher.planning.plan import Plan
from sheet_watcher.planning.poll import Poll

RETRACTED = "retracted"  # the state hash of a row whose document was retracted: any content is a change


def plan_deletions(poll: Poll, plan: Plan, keys: Keys) -> None:
    """Retract the documents of rows that were missing from every read for a while, unless more are missing than the limit."""
    restored = set(keys.to_write.values())
    overdue = []
    for key, known in poll.state.rows.items():
        owner = keys.owners.get(key)
        if (owner is not None and not owner.is_blank()) or key in restored or known.in_force is None:
            continue
        if known.missing_since is None:
            plan.change(known, known.model_copy(update={"missing_since": poll.now}))
        elif known.eligible and poll.is_long_gone(known):
            overdue.append(known)  # a row that was paid when last seen was archived: its document stays
    if len(overdue) > poll.rules.retract_limit:
        plan.retractions_held = len(overdue)
        return
    for known in overdue:
        assert known.in_force is not None
        version = known.version + 1
        retract(poll, plan, known.in_force, key=known.key, version=version, reason="The row was deleted from the sheet.")
        update = {"version": version, "state_hash": RETRACTED, "in_force": None, "modified_at": poll.now,
                  "kind": known.in_force, "missing_since": None, "shown_status": None}  # fmt: skip
        plan.change(known, known.model_copy(update=update))


def retract(poll: Poll, plan: Plan, kind: Kind, *, key: str, version: int, reason: str) -> None:
    """Add the command to retract a row's document of this kind."""
    command = poll.rules.origin.retract(kind, key=key, version=version, modified_at=poll.now, reason=reason)
    plan.add_message(command, key, version)
