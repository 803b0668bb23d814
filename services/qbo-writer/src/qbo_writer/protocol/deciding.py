"""Decides what to do: the newest command against the known state in QuickBooks (design.md's table). Pure."""

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
    """The company's decisions that the table uses."""

    retract_invoice_by: Literal["void", "delete"] = "void"
    changed_by_person: Literal["hold", "source_wins", "qbo_wins"] = "hold"
    update_paid: Literal["hold", "update"] = "hold"
    update_emailed: Literal["hold", "update"] = "update"
    closed_period: Literal["hold", "update"] = "hold"
    skipped_kinds: dict[LedgerKind, str] = field(default_factory=dict)  # kind -> why it is skipped
    paid_by_us: Literal["hold", "unpay"] = "hold"

    @property
    def unpays(self) -> bool:
        """Whether a payment of ours is withdrawn before its bill is changed."""
        return self.paid_by_us == "unpay"


@dataclass(frozen=True)
class Write:
    """A request must be sent."""

    operation: Operation
    restores: bool = False


@dataclass(frozen=True)
class Unpay:
    """The document is paid: our own payment is withdrawn first; `held` is the end if others paid, too."""

    otherwise: Decision


FIX_HELD = "Compare both versions, then release, force or drop the document."


def newest(commands: Sequence[Command]) -> Command:
    """Return the newest recorded command, in any state."""
    return max(commands, key=lambda c: c.newer_key)


def superseded(by: Command) -> Decision:
    """Return the end of every due command that is older than `by`."""
    return Decision(CommandState.SUPERSEDED, f"Superseded by version {by.version}.", by_version=by.version)


def decide(document: DocumentState, command: Command, rules: Rules) -> Decision | Write | Unpay:
    """Decide what to do with the newest recorded version of a document without an open attempt."""
    if command.dropped:
        return Decision(CommandState.SKIPPED, "Dropped by an operator.")
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
        return Decision(CommandState.SKIPPED, f"The document was {what} in QuickBooks; under the company policy QuickBooks wins.")
    return Decision(
        CommandState.HELD,
        f"The document was {what} in QuickBooks.",
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
            "The document is to be changed, but was already e-mailed to its customer.",
            "Compare both, then force it (and send it to the customer again), or drop it.",
            Code.CONFLICT,
            shows_wanted=True,
        )
    return Write(Operation.UPDATE)


def in_closed_period(document: DocumentState, command: Command, rules: Rules, closing: date | None) -> Decision | None:
    """Return why no request is sent: the document's present or new date is in the closed period (up to `closing`)."""
    if closing is None or rules.closed_period == "update" or command.forced:
        return None
    days = [(document.fields or {}).get("txn_date") if document.live else None, (command.content or {}).get("txn_date")]
    closed = [day for day in days if day and day <= closing.isoformat()]
    if not closed:
        return None
    return Decision(
        CommandState.HELD,
        f"The document's date {closed[0]} is in a closed period: the books are closed up to {closing}.",
        "Correct the date at the source; or reopen the period in QuickBooks, then release it; or force or drop it.",
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
        f"The document is to be {what}, but is {used_up.done} or partly {used_up.done} in QuickBooks "
        f"(open: {document.balance} of {document.total}).",
        f"{used_up.fix}, then release the document; or force or drop it.",
        Code.CONFLICT,
        differences=(Difference(field="balance", ours=str(document.total), theirs=str(document.balance)),),
        shows_wanted=True,
    )
    return Unpay(decision) if _unpays(document, rules) else decision
