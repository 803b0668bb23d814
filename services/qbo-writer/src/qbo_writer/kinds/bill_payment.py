"""Payments of bills: documents of the writer's own, which no source asks for."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from bookrelay import messages as m
from bookrelay.messages import Model
from bookrelay.money import Amount

from qbo_writer.domain import BooksEntity, CommandState, LedgerKind
from qbo_writer.kinds.kind import DocumentKind, hash_of
from qbo_writer.ledger.changes import Decision, FollowUp
from qbo_writer.ledger.records import Candidate, Command, DocumentState


class BillPaymentContent(Model):
    """A payment of one bill in full, by check from the policy's bank account (resolved key "bank_account")."""

    vendor_id: str  # the books' Ids: the bill is posted already
    bill_id: str
    txn_date: date
    amount: Amount
    memo: str | None = None


def payment_of(bill: DocumentState, command: Command, bill_id: str, fields: Mapping[str, str], amount: Decimal) -> FollowUp:
    """Return the payment of what is open of a bill; `fields`: the bill as it is in the books."""
    content = {
        "vendor_id": fields.get("vendor", ""), "bill_id": bill_id, "txn_date": fields.get("txn_date", ""),
        "amount": format(amount, "f"),
    }  # fmt: skip
    return _asked_for(bill, command.version, content, command.priority)


def paid_by(bill: DocumentState, payment: BooksEntity, version: int) -> FollowUp:
    """Return the payment that must have been asked for, by what the books hold of it."""
    content = {
        "vendor_id": payment.fields.get("vendor", ""), "bill_id": bill.qbo_id or "",
        "txn_date": payment.fields.get("txn_date", ""), "amount": format(payment.total, "f"),
    }  # fmt: skip
    return _asked_for(bill, version, content, 1)


def _asked_for(bill: DocumentState, version: int, content: dict[str, str], priority: int) -> FollowUp:
    return FollowUp(
        bill.realm, bill.source, bill.source_key, LedgerKind.BILL_PAYMENT, version, content, hash_of(content), priority
    )


def _of_an_earlier_bill(candidate: Candidate) -> Decision | None:
    """Its bill was withdrawn, or made anew, since it was asked for."""
    command, bill = candidate.newest, candidate.bill
    if command.operation == "retract" or command.forced or (bill and bill[0] == (command.content or {}).get("bill_id")):
        return None
    return Decision(
        CommandState.SUPERSEDED, "Its bill was withdrawn or made anew.", by_version=bill[1] if bill else command.version
    )


BILL_PAYMENT = DocumentKind(
    LedgerKind.BILL_PAYMENT, BillPaymentContent, (m.BillPaymentPosted, m.BillPaymentPostedData), purchase=True,
    used_up=None, pays=LedgerKind.BILL, waited_for=True, overtaken=_of_an_earlier_bill,
)  # fmt: skip
