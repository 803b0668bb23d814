"""What the writer does: what should be, against what QuickBooks is known to hold (design.md's table). Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from bookrelay.errors import Code
from bookrelay.messages import Difference

from qbo_writer import kinds
from qbo_writer.domain import CommandState, DocumentStatus, LedgerKind, Operation
from qbo_writer.ledger.changes import End
from qbo_writer.ledger.records import Asked, Known


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

    otherwise: End


FIX_HELD = "Compare both in QuickBooks, then release, force or drop it."


def newest(commands: Sequence[Asked]) -> Asked:
    """Return the newest recorded command, whatever became of it."""
    return max(commands, key=lambda c: c.newer_key)


def superseded(by: Asked) -> End:
    """Return the end of every due command that is older than `by`."""
    return End(CommandState.SUPERSEDED, f"Version {by.version} was recorded first.", by_version=by.version)


def decide(known: Known, asked: Asked, rules: Rules) -> End | Write | Unpay:
    """Decide what becomes of the newest recorded version of a document that has no open attempt."""
    if asked.dropped:
        return End(CommandState.SKIPPED, "An operator dropped it.")
    if asked.operation == "upsert" and (why := rules.skipped_kinds.get(known.kind)):
        return End(CommandState.SKIPPED, why)
    if known.diverged and not asked.forced:
        held = _diverged(known, asked, rules)
        if held:
            return held
    return _present(known, asked, rules) if asked.operation == "upsert" else _absent(known, asked, rules)


def _diverged(known: Known, asked: Asked, rules: Rules) -> End | None:
    if asked.operation == "retract" and known.status in (DocumentStatus.GONE, DocumentStatus.NOTHING):
        return None
    if rules.changed_by_person == "source_wins":
        return None
    what = "deleted" if known.status is DocumentStatus.GONE else "changed"
    if rules.changed_by_person == "qbo_wins":
        return End(CommandState.SKIPPED, f"A person {what} the document in QuickBooks, and the policy lets QuickBooks win.")
    return End(
        CommandState.HELD,
        f"A person {what} the document in QuickBooks.",
        FIX_HELD,
        Code.CONFLICT,
        differences=known.differences,
    )


def _present(known: Known, asked: Asked, rules: Rules) -> End | Write | Unpay:
    if not known.live:
        return Write(Operation.CREATE)
    if known.status is DocumentStatus.VOIDED:
        return Write(Operation.UPDATE, restores=True)
    if known.content_hash == asked.content_hash and not known.diverged:
        return End(CommandState.UNCHANGED)
    if _paid_for(known) and not asked.forced and (rules.update_paid == "hold" or _unpays(known, rules)):
        return _paid(known, "changed", rules)
    if known.emailed and rules.update_emailed == "hold" and not asked.forced:
        return End(
            CommandState.HELD,
            "The document was e-mailed to its customer and should be changed.",
            "Compare both, then force it (and send it to the customer again), or drop it.",
            Code.CONFLICT,
            shows_wanted=True,
        )
    return Write(Operation.UPDATE)


def in_closed_period(known: Known, asked: Asked, rules: Rules, closing: date | None) -> End | None:
    """Return why a request is not even sent: the books are closed up to `closing` for what is there or for what is wanted."""
    if closing is None or rules.closed_period == "update" or asked.forced:
        return None
    days = [(known.fields or {}).get("txn_date") if known.live else None, (asked.content or {}).get("txn_date")]
    closed = [day for day in days if day and day <= closing.isoformat()]
    if not closed:
        return None
    return End(
        CommandState.HELD,
        f"The document's date {closed[0]} is in a closed period: the books are closed up to {closing}.",
        "Correct the date at its source; or open the period in QuickBooks, then release it, force it, or drop it.",
        Code.CONFLICT,
        shows_wanted=True,
    )


def _absent(known: Known, asked: Asked, rules: Rules) -> End | Write | Unpay:
    if not known.live:
        return End(CommandState.UNCHANGED, forget=known.status is DocumentStatus.GONE)
    if known.status is DocumentStatus.VOIDED and not known.diverged:
        return End(CommandState.UNCHANGED)
    if _paid_for(known) and not asked.forced:
        return _paid(known, "withdrawn", rules)
    return Write(kinds.of(known.kind).takes_away(void=rules.retract_invoice_by == "void"))


def _paid_for(known: Known) -> bool:
    return known.paid and kinds.of(known.kind).used_up is not None


def _unpays(known: Known, rules: Rules) -> bool:
    return kinds.of(known.kind).unpaid_first and rules.unpays


def _paid(known: Known, what: str, rules: Rules) -> End | Unpay:
    used_up = kinds.of(known.kind).used_up or kinds.PAID
    end = End(
        CommandState.HELD,
        f"The document is {used_up.done} or partly {used_up.done} in QuickBooks (open: {known.balance} of {known.total}) and "
        f"should be {what}.",
        f"{used_up.fix} and release it, force it, or drop it.",
        Code.CONFLICT,
        differences=(Difference(field="balance", ours=str(known.total), theirs=str(known.balance)),),
        shows_wanted=True,
    )
    return Unpay(end) if _unpays(known, rules) else end
