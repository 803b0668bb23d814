"""What became of a row's document: from events to results, and the words that a person at the sheet reads about them."""

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
    """The books know a newer version than we do: our state was lost. We count on from there."""

    key: str
    by_version: int


def outcome_of(event: AnyMessage, data: EventData) -> Result | Superseded | None:
    """Return what an event, with its `data`, says of a row's document; None for a kind or an event that no row shows."""
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
            return Result(**common, status=FAILED, error=failure(event.data.code, event.data.reason, event.data.fix))
        case DocumentWaiting():
            return Result(**common, status="waiting", error=failure(event.data.code, event.data.reason, event.data.fix))
        case DocumentSkipped():
            return Result(**common, status="skipped", error=event.data.reason[:MAX_ERROR])
        case DocumentHeld():
            text = failure(Code.CONFLICT.value, event.data.reason, event.data.fix)
            return Result(**common, status="held", error=(text + _listed(event.data.differences))[:MAX_ERROR])
        case DocumentDiverged():
            text = "Somebody changed this document in QuickBooks." + _listed(event.data.differences)
            return Result(**common, status="diverged", qbo_id=event.data.qbo_id, error=text[:MAX_ERROR])
        case CommandDeadLettered():
            return Result(**common, status=FAILED, error=failure(Code.AUTOMATION_FAILED.value, event.data.reason, ""))
        case DocumentSuperseded():
            return Superseded(data.source_key, event.data.by_version)
    return None


def refusal(rejection: Rejection, *, key: str, kind: Kind, version: int) -> Result:
    """Return the result of a row that the watcher itself refuses: it never became a command."""
    error = failure(rejection.code.value, rejection.reason, rejection.fix)
    return Result(key=key, kind=kind, version=version, status=FAILED, error=error)


def failure(code: str, reason: str, fix: str) -> str:
    """Return what stands in an error cell: code, reason, what to do."""
    return f"{code}: {reason} {fix}".strip()[:MAX_ERROR]


def _note_of(differences: Iterable[Difference]) -> str | None:
    listed = _listed(differences)
    return f"It is in QuickBooks, but not as this row has it: compare both{listed}."[:MAX_ERROR] if listed else None


def _listed(differences: Iterable[Difference]) -> str:
    listed = "; ".join(f"{d.field}: ours {d.ours or 'nothing'}, theirs {d.theirs or 'nothing'}" for d in differences)
    return f" ({listed})" if listed else ""
