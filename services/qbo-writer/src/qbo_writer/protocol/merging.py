"""Merges of list entries in QuickBooks: references to the loser become references to the survivor, which is not an edit. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from qbo_writer.domain import BooksEntity, Deleted, LedgerKind
from qbo_writer.ledger.records import DocumentState
from qbo_writer.lists import Entry, Merge, list_of

_ONE_ACT = timedelta(minutes=2)  # a merge changes loser and survivor together


@dataclass(frozen=True)
class Moves:
    """Entries that a document no longer refers to, and the Ids in their place: more than one is not a merge.

    `rivals`: the document referred to one of these entries; which one is unknown.
    """

    places: dict[Entry, set[str]]
    rivals: tuple[frozenset[Entry], ...] = ()


def moves(there: BooksEntity, *ours: Mapping[str, str] | None) -> Moves:
    """Compare what is there with what was known, and with what a request of ours may have changed."""
    places: dict[Entry, set[str]] = {}
    rivals = []
    for field, after in there.fields.items():
        entity, before = list_of(field), {fields[field] for fields in ours if fields and fields.get(field)}
        if not entity or not after or after in before:
            continue
        for one in before:
            places.setdefault((entity, one), set()).add(after)
        if len(before) > 1:
            rivals.append(frozenset((entity, one) for one in before))
    return Moves(places, tuple(rivals))


def moved_to(
    changes: Sequence[BooksEntity | Deleted], mine: Mapping[tuple[LedgerKind, str], DocumentState]
) -> dict[Entry, set[str]]:
    """Return the entries that our documents now refer to, by the earlier entry: more than one is not a merge."""
    found: dict[Entry, set[str]] = {}
    for change in changes:
        document = mine.get((change.kind, change.qbo_id)) if change.kind else None
        if document is not None and document.live and not document.diverged and isinstance(change, BooksEntity):
            for entry, places in moves(change, document.fields).places.items():
                found.setdefault(entry, set()).update(places)
    return found


def one_act(loser: BooksEntity, winner: BooksEntity) -> bool:
    """Whether an inactive entry and another were changed together: a merge rather than a clean-up."""
    times = [_changed(one) for one in (loser, winner)]
    return bool(times[0] and times[1] and abs(times[0] - times[1]) <= _ONE_ACT)


def _changed(seen: BooksEntity) -> datetime | None:
    try:
        return datetime.fromisoformat(seen.updated_at).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def follow_fields(fields: Mapping[str, str], merges: Sequence[Merge]) -> dict[str, str]:
    """Return a document's fields after these merges, referring to the survivors."""
    winners = {merge.entry: merge.winner for merge in merges}
    return {field: winners.get((list_of(field) or "", value), value) for field, value in fields.items()}


def follow(document: DocumentState, merges: Sequence[Merge]) -> DocumentState:
    """Return a document after these merges."""
    fields = follow_fields(document.fields or {}, merges)
    return replace(document, fields=fields) if fields != (document.fields or {}) else document
