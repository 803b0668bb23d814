"""A document that names another one of ours waits until that is in the books, says for what, and is put aside at last. Pure."""

from bookrelay.errors import Code

from qbo_writer import kinds
from qbo_writer.domain import CommandState, DocumentStatus, Named
from qbo_writer.ledger.changes import Decision
from qbo_writer.ledger.records import DocumentState


def waits_for(document: DocumentState, named: Named, there: DocumentState | None) -> Decision:
    """Return what a document waits for: `there` is what is known of the one that it names, if anybody has asked for that."""
    word = kinds.of(named.kind).word
    which = f"the {word} {named.source_key!r}" + (f" of source {named.source!r}" if named.source != document.source else "")
    state = {
        DocumentStatus.VOIDED: "was withdrawn: in QuickBooks it is voided",
        DocumentStatus.GONE: "was deleted in QuickBooks",
    }.get(there.status if there else DocumentStatus.NOTHING, "is not in QuickBooks yet")
    return Decision(
        CommandState.WAITING,
        f"It names {which}, which {state}.",
        f"It goes on by itself when the {word} is posted; if that will not come, correct at the source what this one names, or "
        "withdraw it.",
        Code.MAPPING_MISSING,
        awaits=named,
    )
