"""A person merged two customers or vendors: what we know of the loser follows to the survivor, and is nobody's edit.

The change feed shows a merge as a list entry that is gone and documents that name another one in its place: nothing else does
both, for QuickBooks deletes no entry that documents name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from qbo_writer.deciding import Known
from qbo_writer.domain import Deleted, DocumentStatus, Seen
from qbo_writer.settling import DocumentChange

_FIELDS = {"customer": "Customer", "vendor": "Vendor"}
Entry = tuple[str, str]  # entity, Id


def survivors(changes: Sequence[Seen | Deleted], mine: Mapping[Entry, Known]) -> dict[Entry, str]:
    """Return whom the entries that are gone were merged into, as our documents show it: one place for each, else none."""
    gone = {(c.entity, c.qbo_id) for c in changes if isinstance(c, Deleted)}
    found: dict[Entry, set[str]] = {}
    for change in changes:
        known = mine.get((change.entity, change.qbo_id))
        if known is None or isinstance(change, Deleted):
            continue
        for field, entity in _FIELDS.items():
            before, after = (known.fields or {}).get(field), change.fields.get(field)
            if before and after and before != after and (entity, before) in gone and (entity, after) not in gone:
                found.setdefault((entity, before), set()).add(after)
    return {loser: next(iter(winners)) for loser, winners in found.items() if len(winners) == 1}


def follow(known: Known, merged: Mapping[Entry, str]) -> Known:
    """Return a document of ours as the merge left it: it names the survivor."""
    fields = dict(known.fields or {})
    for field, entity in _FIELDS.items():
        if winner := merged.get((entity, fields.get(field, ""))):
            fields[field] = winner
    return replace(known, fields=fields) if known.fields and fields != known.fields else known


def moved(known: Known, winner: str, changes: Sequence[Seen | Deleted]) -> DocumentChange:
    """Return the new row of the loser's name document: it stands for the survivor, whose own name is not ours to compare."""
    change = next(
        (c for c in changes if isinstance(c, Seen) and c.qbo_id == winner and c.entity.lower() == known.kind.value), None
    )
    token = change.sync_token if change else known.sync_token
    return DocumentChange(
        known.id, DocumentStatus.PRESENT, winner, token, known.content_hash, {}, known.total, known.balance, diverged=False
    )
