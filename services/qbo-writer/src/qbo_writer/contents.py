"""What commands ask for, by kind: the contents of messages, and those of documents that the writer makes by itself."""

from datetime import date

from bookrelay.messages import BillContent, InvoiceContent, Model
from bookrelay.money import Amount

from qbo_writer.domain import LedgerKind


class BillPaymentContent(Model):
    """A payment of one bill in full, by check from the policy's bank account (resolved key "bank_account")."""

    vendor_id: str  # QuickBooks ids: the bill is posted already
    bill_id: str
    txn_date: date
    amount: Amount
    memo: str | None = None


class NameContent(Model):
    """A customer or vendor that a document needs. Its identity is the name, unique in QuickBooks."""

    name: str
    email: str | None = None


AnyContent = InvoiceContent | BillContent | BillPaymentContent | NameContent

CONTENT: dict[LedgerKind, type[AnyContent]] = {
    LedgerKind.INVOICE: InvoiceContent,
    LedgerKind.BILL: BillContent,
    LedgerKind.BILL_PAYMENT: BillPaymentContent,
    LedgerKind.CUSTOMER: NameContent,
    LedgerKind.VENDOR: NameContent,
}
