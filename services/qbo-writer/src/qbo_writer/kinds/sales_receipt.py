"""Sales receipts: sales paid at once, without an open balance."""

from bookrelay import messages as m

from qbo_writer.domain import LedgerKind
from qbo_writer.kinds.kind import DocumentKind

SALES_RECEIPT = DocumentKind(
    LedgerKind.SALES_RECEIPT, m.SalesReceiptContent, (m.SalesReceiptPosted, m.SalesReceiptPostedData), optional=True,
    numbered=True, sales_form=True, voidable=True, used_up=None,
)  # fmt: skip
