"""Converts events to results of rows, with the text that the person who edits the sheet reads."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bookrelay.errors import Code
from bookrelay.messages import (
    AnyMessage,
    BillPosted,
    CommandDeadLettered,
    Difference,
    DocumentDiverged,
    DocumentHeld,
    DocumentRejected,
    DocumentRetracted,
    DocumentSkipped,
    DocumentSuperseded,
    DocumentUnchanged,
    DocumentWaiting,
    EventData,
    InvoicePosted,
    Kind,
)
from bookrelay.source.documents import Rejection

from sheet_watcher.domain import FAILED, SYNCED, Result

MAX_ERROR = 2000  # characters of an error cell


@dataclass(frozen=True)
class Superseded:
    """The ledger has a newer version than our state, which was lost: continue counting from there."""

    key: str
    by_version: int


def result_of(event: AnyMessage, data: EventData) -> Result | Superseded | None:
    """Return the result of an event with its `data`; None for a kind or an event that is not shown in a row."""
    if data.kind not in (Kind.INVOICE, Kind.BILL):
        return None
    common: dict[str, Any] = {
        "key": data.source_key, "kind": data.kind, "version": data.version, "occurrence": data.occurrence
    }  # fmt: skip
    match event:
        case InvoicePosted() | BillPosted():
            return Result(
                **common, status=SYNCED, qbo_id=event.data.qbo_id, url=event.data.url, synced_at=event.time,
                error=_note_of(event.data.differences),
            )  # fmt: skip
        case DocumentUnchanged() if event.data.qbo_id:
            return Result(**common, status=SYNCED, qbo_id=event.data.qbo_id, url=event.data.url, synced_at=event.time)
        case DocumentUnchanged():
            return Result(**common, status="", in_books=False)
        case DocumentRetracted():
            return Result(**common, status="voided" if event.data.how == "voided" else "deleted", in_books=False)
        case DocumentRejected():
            return Result(**common, status=FAILED, error=error_text(event.data.code, event.data.reason, event.data.fix))
        case DocumentWaiting():
            return Result(**common, status="waiting", error=error_text(event.data.code, event.data.reason, event.data.fix))
        case DocumentSkipped():
            return Result(**common, status="skipped", error=event.data.reason[:MAX_ERROR])
        case DocumentHeld():
            text = error_text(Code.CONFLICT.value, event.data.reason, event.data.fix)
            return Result(**common, status="held", error=(text + _listed(event.data.differences))[:MAX_ERROR])
        case DocumentDiverged():
            text = "Changed in QuickBooks since our last write." + _listed(event.data.differences)
            return Result(**common, status="diverged", qbo_id=event.data.qbo_id, error=text[:MAX_ERROR])
        case CommandDeadLettered():
            return Result(**common, status=FAILED, error=error_text(Code.AUTOMATION_FAILED.value, event.data.reason, ""))
        case DocumentSuperseded():
            return Superseded(data.source_key, event.data.by_version)
    return None


def rejection_result(rejection: Rejection, *, key: str, kind: Kind, version: int) -> Result:
    """Return the result of a row that the watcher itself rejects, without a command."""
    error = error_text(rejection.code.value, rejection.reason, rejection.fix)
    return Result(key=key, kind=kind, version=version, status=FAILED, error=error)


def error_text(code: str, reason: str, fix: str) -> str:
    """Return the text of an error cell: code, reason, fix."""
    return f"{code}: {reason} {fix}".strip()[:MAX_ERROR]


def _note_of(differences: Iterable[Difference]) -> str | None:
    listed = _listed(differences)
    return f"Posted, but QuickBooks' document differs from this row{listed}. Compare both."[:MAX_ERROR] if listed else None


def _listed(differences: Iterable[Difference]) -> str:
    listed = "; ".join(f"{d.field}: here {d.ours or 'nothing'}, in QuickBooks {d.theirs or 'nothing'}" for d in differences)
    return f" ({listed})" if listed else ""
