"""Vendor credits. Open until applied to a bill; from then on a change is held."""

from bookrelay import messages as m

from qbo_writer.domain import LedgerKind
from qbo_writer.kinds.kind import APPLIED, DocumentKind

VENDOR_CREDIT = DocumentKind(
    LedgerKind.VENDOR_CREDIT, m.VendorCreditContent, (m.VendorCreditPosted, m.VendorCreditPostedData), optional=True,
    numbered=True, purchase=True, used_up=APPLIED,
)  # fmt: skip
