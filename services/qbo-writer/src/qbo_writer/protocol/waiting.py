"""A document that refers to another of ours waits until that is in QuickBooks, and is held in the end. Pure."""

from bookrelay.errors import Code

from qbo_writer import kinds
from qbo_writer.domain import CommandState, DocumentStatus, Named
from qbo_writer.ledger.changes import Decision
from qbo_writer.ledger.records import DocumentState


def waits_for(document: DocumentState, named: Named, there: DocumentState | None) -> Decision:
    """Return what a document waits for; `there`: what is known of the document that it refers to, if anything."""
    word = kinds.of(named.kind).word
    which = f"the {word} {named.source_key!r}" + (f" of source {named.source!r}" if named.source != document.source else "")
    state = {
        DocumentStatus.VOIDED: "was withdrawn (voided in QuickBooks)",
        DocumentStatus.GONE: "was deleted in QuickBooks",
    }.get(there.status if there else DocumentStatus.NOTHING, "is not in QuickBooks yet")
    return Decision(
        CommandState.WAITING,
        f"It refers to {which}, which {state}.",
        f"Posting resumes automatically when the {word} is posted. If it will not be, correct the reference at the source, or "
        "withdraw this document.",
        Code.MAPPING_MISSING,
        awaits=named,
    )
