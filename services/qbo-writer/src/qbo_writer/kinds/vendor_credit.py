"""Vendor credits. One stays open until somebody applies it to a bill; then it is no longer changed by itself."""

from bookrelay import messages as m

from qbo_writer.domain import LedgerKind
from qbo_writer.kinds.kind import APPLIED, DocumentKind

VENDOR_CREDIT = DocumentKind(
    LedgerKind.VENDOR_CREDIT, m.VendorCreditContent, (m.VendorCreditPosted, m.VendorCreditPostedData), optional=True,
    numbered=True, purchase=True, used_up=APPLIED,
)  # fmt: skip
