"""Answers that differ from the command: what is reported, and what is held because of them. Pure."""

from collections.abc import Sequence

from bookrelay.errors import Code

from qbo_writer.domain import CommandState
from qbo_writer.ledger.changes import Decision, Unlike
from qbo_writer.ledger.records import NOT_AS_ASKED, Discrepancy, DocumentState

SHOWN_AT_MOST = 10


def of_unlike(document: DocumentState, unlike: Unlike) -> Discrepancy:
    """Return the discrepancy of an answer that differs from the command."""
    entity, id_ = unlike.entity, unlike.qbo_id
    shown = [f"{d.field}: requested {d.ours or 'none'}, found {d.theirs or 'none'}" for d in unlike.differences[:SHOWN_AT_MOST]]
    if len(unlike.differences) > SHOWN_AT_MOST:
        shown.append(f"and {len(unlike.differences) - SHOWN_AT_MOST} more")
    apart = f"its total is off by {unlike.amount}; " if unlike.amount else ""
    reason = f"{entity} {id_} in QuickBooks differs from its command: {apart}{'; '.join(shown)}."[:4000]
    fix = (
        "Compare it with its source, and correct it in QuickBooks or at the source. A tax that was not requested "
        "comes from the item or from QuickBooks' automated sales tax: see tax_code in docs/company-policy.md. If it is right: "
        f"`qbo-writer audit accept {document.realm} {entity} {id_}`."
    )
    return Discrepancy(
        NOT_AS_ASKED, entity, id_, unlike.doc_number, reason, fix, document.id, None, document.source, document.source_key,
        unlike.amount,
        unlike.asked,
    )  # fmt: skip


def held_for(before: Sequence[Discrepancy], document: DocumentState) -> Decision | None:
    """Return why a document is held until a difference in another of its kind is accepted (policy on_difference = "hold")."""
    unlike = (d for d in before if d.what == NOT_AS_ASKED and d.kind is document.kind and d.document_id != document.id)
    first = next(unlike, None)
    if first is None:
        return None
    return Decision(
        CommandState.HELD,
        f"{first.entity} {first.qbo_id} in QuickBooks differs from its command; until that is resolved, the company policy "
        "(on_difference) holds this document.",
        "`qbo-writer audit discrepancies` shows the difference. Correct it, or accept it: `qbo-writer audit accept"
        f" {document.realm} {first.entity} {first.qbo_id}`. Posting then resumes automatically.",
        Code.DISCREPANCY,
    )
