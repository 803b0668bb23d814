"""The kinds of documents, each a module: its content, and what the protocol does with one. Complete: a test holds it to that."""

from bookrelay.messages import BillContent, InvoiceContent

from qbo_writer.domain import LedgerKind
from qbo_writer.kinds.bill import BILL
from qbo_writer.kinds.bill_payment import BILL_PAYMENT, BillPaymentContent
from qbo_writer.kinds.invoice import INVOICE
from qbo_writer.kinds.kind import DocumentKind, hash_of
from qbo_writer.kinds.party import CUSTOMER, VENDOR, NameContent

AnyContent = InvoiceContent | BillContent | BillPaymentContent | NameContent
ALL = (INVOICE, BILL, BILL_PAYMENT, CUSTOMER, VENDOR)
_BY_KIND = {one.kind: one for one in ALL}
NUMBERED = tuple(one.kind for one in ALL if one.numbered)
OPTIONAL = tuple(one.kind for one in ALL if one.optional)


def of(kind: LedgerKind) -> DocumentKind:
    """Return what is to be known of a kind."""
    return _BY_KIND[kind]


__all__ = [
    "ALL", "NUMBERED", "OPTIONAL", "AnyContent", "BillPaymentContent", "DocumentKind", "NameContent", "hash_of", "of",
]  # fmt: skip
