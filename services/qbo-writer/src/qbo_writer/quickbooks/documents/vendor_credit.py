"""Vendor credits in QuickBooks."""

from bookrelay.messages import VendorCreditContent

from qbo_writer.domain import LedgerKind
from qbo_writer.quickbooks.documents import purchases
from qbo_writer.quickbooks.documents.draft import Draft
from qbo_writer.quickbooks.documents.form import Finder, Form


def _write(draft: Draft, content: VendorCreditContent) -> None:
    draft.head("vendor", draft.ids["vendor"], content.txn_date, content.memo)
    draft.numbered()
    draft.heading("department", "ap_account", kept=("ap_account",))
    draft.lines(content.lines)
    draft.taxes()


async def _refer(finder: Finder, content: VendorCreditContent) -> None:
    await purchases.refer(finder, content)
    await finder.vendor(content.vendor)


VENDOR_CREDIT = Form(LedgerKind.VENDOR_CREDIT, "VendorCredit", "vendorcredit?txnId={}", "vendor", _write, _refer)
