"""One module for each kind of document: its content, and how the protocol handles it. A test checks completeness."""

from bookrelay.messages import Content

from qbo_writer.domain import LedgerKind
from qbo_writer.kinds.bill import BILL
from qbo_writer.kinds.bill_payment import BILL_PAYMENT, BillPaymentContent
from qbo_writer.kinds.credit_memo import CREDIT_MEMO
from qbo_writer.kinds.invoice import INVOICE
from qbo_writer.kinds.kind import PAID, DocumentKind, hash_of
from qbo_writer.kinds.party import CUSTOMER, VENDOR, NameContent
from qbo_writer.kinds.payment import PAYMENT
from qbo_writer.kinds.sales_receipt import SALES_RECEIPT
from qbo_writer.kinds.vendor_credit import VENDOR_CREDIT

AnyContent = Content | BillPaymentContent | NameContent
ALL = (INVOICE, SALES_RECEIPT, CREDIT_MEMO, PAYMENT, BILL, VENDOR_CREDIT, BILL_PAYMENT, CUSTOMER, VENDOR)
_BY_KIND = {one.kind: one for one in ALL}
NUMBERED = tuple(one.kind for one in ALL if one.numbered)
OPTIONAL = tuple(one.kind for one in ALL if one.optional)
PURCHASES = tuple(one.kind for one in ALL if one.purchase)


def of(kind: LedgerKind) -> DocumentKind:
    """Return a kind's definition."""
    return _BY_KIND[kind]


__all__ = [
    "ALL", "NUMBERED", "OPTIONAL", "PAID", "PURCHASES", "AnyContent", "BillPaymentContent", "DocumentKind", "NameContent",
    "hash_of", "of",
]  # fmt: skip
