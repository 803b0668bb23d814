"""Invoices."""

from bookrelay import messages as m

from qbo_writer.domain import LedgerKind
from qbo_writer.kinds.kind import DocumentKind

INVOICE = DocumentKind(
    LedgerKind.INVOICE, m.InvoiceContent, (m.InvoicePosted, m.InvoicePostedData), optional=True, numbered=True, sales_form=True,
    voidable=True,
)  # fmt: skip
