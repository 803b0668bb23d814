"""Change data capture: what changed since a time, at most 30 days back, at most 1,000 objects an answer, deleted stubs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.qbo.company.clock import epoch_of
from sandbox.qbo.company.schema import KINDS, QUERY_NAMES
from sandbox.qbo.company.store import Company, Doc
from sandbox.qbo.rules.faults import Fault

LOOK_BACK = 30 * 86_400
CAP = 1000


def change_data(company: Company, entities: str, since_text: str, dress: Callable[[str, Doc], Doc]) -> list[dict[str, Any]]:
    """The CDCResponse list; raises Fault 2020, 2060, 2190, 4001."""
    names = [name.strip() for name in entities.split(",") if name.strip()]
    if not names:
        raise Fault("2020", element="entities")
    if not since_text:
        raise Fault("2020", element="changedSince")
    try:
        since = epoch_of(since_text)
    except (ValueError, OverflowError, OSError):
        raise Fault("2060", element="changedSince", value=since_text) from None
    if since < company.clock.now() - LOOK_BACK:
        raise Fault("2190", element="changedSince", value=since_text)
    parts, room = [], CAP
    for name in names:
        kind = QUERY_NAMES.get(name.lower())
        if kind is None or not KINDS[kind].cdc:
            raise Fault("4001", value=f"Entity {name} is not supported by change data capture.")
        rows = _rows(company, kind, since, room, dress)
        room -= len(rows)
        parts.append({kind: rows, "startPosition": 1, "maxResults": len(rows), "totalCount": len(rows)} if rows else {})
    return [{"QueryResponse": parts}]


def _rows(company: Company, kind: str, since: float, room: int, dress: Callable[[str, Doc], Doc]) -> list[Doc]:
    """Newest first until `room` is used up, given back oldest first."""
    rows: list[Doc] = []
    table, stubs, touched = company.entities.get(kind, {}), company.stubs.get(kind, {}), company.touched.get(kind, {})
    # int: MetaData times have whole seconds, so a change in the second of `since` counts as changed since
    for doc_id in reversed(touched):
        if touched[doc_id] < int(since) or len(rows) >= room:
            break
        if doc_id in table:
            rows.append(dress(kind, table[doc_id]))
        elif doc_id in stubs:
            rows.append(stubs[doc_id])
    rows.reverse()
    return rows
