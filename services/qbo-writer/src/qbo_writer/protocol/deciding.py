"""What the writer does: what should be, against what QuickBooks is known to hold (design.md's table). Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from bookrelay.errors import Code
from bookrelay.messages import Difference

from qbo_writer import kinds
from qbo_writer.domain import CommandState, DocumentStatus, LedgerKind, Operation
from qbo_writer.ledger.changes import Decision
from qbo_writer.ledger.records import Command, DocumentState


@dataclass(frozen=True)
class Rules:
    """The company's decisions as far as they stand in the table."""

    retract_invoice_by: Literal["void", "delete"] = "void"
    changed_by_person: Literal["hold", "source_wins", "qbo_wins"] = "hold"
    update_paid: Literal["hold", "update"] = "hold"
    update_emailed: Literal["hold", "update"] = "update"
    closed_period: Literal["hold", "update"] = "hold"
    skipped_kinds: dict[LedgerKind, str] = field(default_factory=dict)  # kind -> why it is left out
    paid_by_us: Literal["hold", "unpay"] = "hold"

    @property
    def unpays(self) -> bool:
        """Whether a payment of ours is withdrawn where its bill is to be changed."""
        return self.paid_by_us == "unpay"


@dataclass(frozen=True)
class Write:
    """A request is needed."""

    operation: Operation
    restores: bool = False


@dataclass(frozen=True)
class Unpay:
    """The document is paid, and goes on when our own payment is removed; if that is not the whole of it, this is the end."""

    otherwise: Decision


FIX_HELD = "Compare both in QuickBooks, then release, force or drop it."


def newest(commands: Sequence[Command]) -> Command:
    """Return the newest recorded command, whatever became of it."""
    return max(commands, key=lambda c: c.newer_key)


def superseded(by: Command) -> Decision:
    """Return the end of every due command that is older than `by`."""
    return Decision(CommandState.SUPERSEDED, f"Version {by.version} was recorded first.", by_version=by.version)


def decide(document: DocumentState, command: Command, rules: Rules) -> Decision | Write | Unpay:
    """Decide what becomes of the newest recorded version of a document that has no open attempt."""
    if command.dropped:
        return Decision(CommandState.SKIPPED, "An operator dropped it.")
    if command.operation == "upsert" and (why := rules.skipped_kinds.get(document.kind)):
        return Decision(CommandState.SKIPPED, why)
    if document.diverged and not command.forced:
        held = _diverged(document, command, rules)
        if held:
            return held
    return _present(document, command, rules) if command.operation == "upsert" else _absent(document, command, rules)


def _diverged(document: DocumentState, command: Command, rules: Rules) -> Decision | None:
    if command.operation == "retract" and document.status in (DocumentStatus.GONE, DocumentStatus.NOTHING):
        return None
    if rules.changed_by_person == "source_wins":
        return None
    what = "deleted" if document.status is DocumentStatus.GONE else "changed"
    if rules.changed_by_person == "qbo_wins":
        return Decision(CommandState.SKIPPED, f"A person {what} the document in QuickBooks, and the policy lets QuickBooks win.")
    return Decision(
        CommandState.HELD,
        f"A person {what} the document in QuickBooks.",
        FIX_HELD,
        Code.CONFLICT,
        differences=document.differences,
    )


def _present(document: DocumentState, command: Command, rules: Rules) -> Decision | Write | Unpay:
    if not document.live:
        return Write(Operation.CREATE)
    if document.status is DocumentStatus.VOIDED:
        return Write(Operation.UPDATE, restores=True)
    if document.content_hash == command.content_hash and not document.diverged:
        return Decision(CommandState.UNCHANGED)
    if _paid_for(document) and not command.forced and (rules.update_paid == "hold" or _unpays(document, rules)):
        return _paid(document, "changed", rules)
    if document.emailed and rules.update_emailed == "hold" and not command.forced:
        return Decision(
            CommandState.HELD,
            "The document was e-mailed to its customer and should be changed.",
            "Compare both, then force it (and send it to the customer again), or drop it.",
            Code.CONFLICT,
            shows_wanted=True,
        )
    return Write(Operation.UPDATE)


def in_closed_period(document: DocumentState, command: Command, rules: Rules, closing: date | None) -> Decision | None:
    """Return why a request is not even sent: the books are closed up to `closing` for what is there or for what is wanted."""
    if closing is None or rules.closed_period == "update" or command.forced:
        return None
    days = [(document.fields or {}).get("txn_date") if document.live else None, (command.content or {}).get("txn_date")]
    closed = [day for day in days if day and day <= closing.isoformat()]
    if not closed:
        return None
    return Decision(
        CommandState.HELD,
        f"The document's date {closed[0]} is in a closed period: the books are closed up to {closing}.",
        "Correct the date at its source; or open the period in QuickBooks, then release it, force it, or drop it.",
        Code.CONFLICT,
        shows_wanted=True,
    )


def _absent(document: DocumentState, command: Command, rules: Rules) -> Decision | Write | Unpay:
    if not document.live:
        return Decision(CommandState.UNCHANGED, forget=document.status is DocumentStatus.GONE)
    if document.status is DocumentStatus.VOIDED and not document.diverged:
        return Decision(CommandState.UNCHANGED)
    if _paid_for(document) and not command.forced:
        return _paid(document, "withdrawn", rules)
    return Write(kinds.of(document.kind).takes_away(void=rules.retract_invoice_by == "void"))


def _paid_for(document: DocumentState) -> bool:
    return document.paid and kinds.of(document.kind).used_up is not None


def _unpays(document: DocumentState, rules: Rules) -> bool:
    return kinds.of(document.kind).unpaid_first and rules.unpays


def _paid(document: DocumentState, what: str, rules: Rules) -> Decision | Unpay:
    used_up = kinds.of(document.kind).used_up or kinds.PAID
    decision = Decision(
        CommandState.HELD,
        f"The document is {used_up.done} or partly {used_up.done} in QuickBooks (open: {document.balance} of {document.total}) and "
        f"should be {what}.",
        f"{used_up.fix} and release it, force it, or drop it.",
        Code.CONFLICT,
        differences=(Difference(field="balance", ours=str(document.total), theirs=str(document.balance)),),
        shows_wanted=True,
    )
    return Unpay(decision) if _unpays(document, rules) else decision
