"""QuickBooks' form of every kind of document, one module each. A test checks completeness."""

from qbo_writer.domain import LedgerKind
from qbo_writer.quickbooks.documents.bill import BILL
from qbo_writer.quickbooks.documents.bill_payment import BILL_PAYMENT
from qbo_writer.quickbooks.documents.credit_memo import CREDIT_MEMO
from qbo_writer.quickbooks.documents.form import Finder, Form
from qbo_writer.quickbooks.documents.invoice import INVOICE
from qbo_writer.quickbooks.documents.party import CUSTOMER, VENDOR
from qbo_writer.quickbooks.documents.payment import PAYMENT
from qbo_writer.quickbooks.documents.sales_receipt import SALES_RECEIPT
from qbo_writer.quickbooks.documents.vendor_credit import VENDOR_CREDIT

# Payments last: code that reads all kinds in turn then already knows what they pay.
ALL = (INVOICE, SALES_RECEIPT, CREDIT_MEMO, BILL, VENDOR_CREDIT, PAYMENT, BILL_PAYMENT, CUSTOMER, VENDOR)
_BY_KIND = {form.kind: form for form in ALL}
_BY_ENTITY = {form.entity: form for form in ALL}


def of(kind: LedgerKind) -> Form:
    """Return QuickBooks' form of a kind."""
    return _BY_KIND[kind]


def called(entity: str) -> Form | None:
    """Return the form with this QuickBooks name; None: a kind that bookrelay does not create."""
    return _BY_ENTITY.get(entity)


__all__ = ["ALL", "Finder", "Form", "called", "of"]
