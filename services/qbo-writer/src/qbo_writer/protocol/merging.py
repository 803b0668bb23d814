"""A person merged two entries of a list: what named the loser names the survivor, and that is nobody's edit. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from qbo_writer.domain import BooksEntity, Deleted, LedgerKind
from qbo_writer.ledger.records import DocumentState
from qbo_writer.lists import Entry, Merge, list_of

_ONE_ACT = timedelta(minutes=2)  # loser and survivor are touched by one act


@dataclass(frozen=True)
class Moves:
    """Which entries a document named and names no more, and the Ids in their place: more than one is no merge.

    `rivals`: of these entries the document named one, and nobody knows which.
    """

    places: dict[Entry, set[str]]
    rivals: tuple[frozenset[Entry], ...] = ()


def moves(there: BooksEntity, *ours: Mapping[str, str] | None) -> Moves:
    """Compare what is there with what was known of it, and with what a request of ours may have made of it."""
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
    """Return whom our documents name in place of the entries that they named: more than one is no merge."""
    found: dict[Entry, set[str]] = {}
    for change in changes:
        document = mine.get((change.kind, change.qbo_id)) if change.kind else None
        if document is not None and document.live and not document.diverged and isinstance(change, BooksEntity):
            for entry, places in moves(change, document.fields).places.items():
                found.setdefault(entry, set()).update(places)
    return found


def one_act(loser: BooksEntity, winner: BooksEntity) -> bool:
    """Whether an inactive entry and another were changed together: a merge, not a person who tidies up."""
    times = [_changed(one) for one in (loser, winner)]
    return bool(times[0] and times[1] and abs(times[0] - times[1]) <= _ONE_ACT)


def _changed(seen: BooksEntity) -> datetime | None:
    try:
        return datetime.fromisoformat(seen.updated_at).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def follow_fields(fields: Mapping[str, str], merges: Sequence[Merge]) -> dict[str, str]:
    """Return the fields of a document of ours as the merges left them: they name the survivors."""
    winners = {merge.entry: merge.winner for merge in merges}
    return {field: winners.get((list_of(field) or "", value), value) for field, value in fields.items()}


def follow(document: DocumentState, merges: Sequence[Merge]) -> DocumentState:
    """Return a document of ours as the merges left it."""
    fields = follow_fields(document.fields or {}, merges)
    return replace(document, fields=fields) if fields != (document.fields or {}) else document
