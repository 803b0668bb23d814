"""Answers that are not what was asked: what is told of them, and what waits because of them. Pure."""

from collections.abc import Sequence

from bookrelay.errors import Code

from qbo_writer.domain import CommandState
from qbo_writer.ledger.changes import Decision, Unlike
from qbo_writer.ledger.records import NOT_AS_ASKED, Discrepancy, DocumentState

SHOWN_AT_MOST = 10


def of_unlike(document: DocumentState, unlike: Unlike) -> Discrepancy:
    """Return the discrepancy of an answer that is not what was asked."""
    entity, id_ = unlike.entity, unlike.qbo_id
    shown = [f"{d.field} asked {d.ours or 'none'}, there {d.theirs or 'none'}" for d in unlike.differences[:SHOWN_AT_MOST]]
    if len(unlike.differences) > SHOWN_AT_MOST:
        shown.append(f"and {len(unlike.differences) - SHOWN_AT_MOST} more")
    apart = f"its total is {unlike.amount} off: " if unlike.amount else ""
    reason = f"{entity} {id_} in QuickBooks is not what was asked: {apart}{'; '.join(shown)}."[:4000]
    fix = (
        "Compare it with its source. Correct it in QuickBooks, or change it in its source; a tax that nobody asked for "
        "comes from the item, or from QuickBooks' own sales tax: see tax_code in docs/company-policy.md. If it is right: "
        f"`qbo-writer audit accept {document.realm} {entity} {id_}`."
    )
    return Discrepancy(
        NOT_AS_ASKED, entity, id_, unlike.doc_number, reason, fix, document.id, None, document.source, document.source_key, unlike.amount,
        unlike.asked,
    )  # fmt: skip


def held_for(before: Sequence[Discrepancy], document: DocumentState) -> Decision | None:
    """Return why a document waits for a person to look at another of its kind (policy on_difference = "hold")."""
    unlike = (d for d in before if d.what == NOT_AS_ASKED and d.kind is document.kind and d.document_id != document.id)
    first = next(unlike, None)
    if first is None:
        return None
    return Decision(
        CommandState.HELD,
        f"{first.entity} {first.qbo_id} in QuickBooks is not what was asked, and the company policy (on_difference) holds the "
        "next.",
        "`qbo-writer audit discrepancies` shows the difference. Correct it, or say that it is in order: `qbo-writer audit accept"
        f" {document.realm} {first.entity} {first.qbo_id}`; then this document goes on by itself.",
        Code.DISCREPANCY,
    )
