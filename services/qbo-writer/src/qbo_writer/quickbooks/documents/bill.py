"""Bills in QuickBooks."""

from bookrelay.messages import BillContent

from qbo_writer.domain import LedgerKind
from qbo_writer.quickbooks.documents import purchases
from qbo_writer.quickbooks.documents.draft import Draft
from qbo_writer.quickbooks.documents.form import Finder, Form


def _write(draft: Draft, content: BillContent) -> None:
    draft.head("vendor", draft.ids["vendor"], content.txn_date, content.memo)
    draft.due(content.due_date)
    draft.numbered()
    draft.heading("term", "department", "ap_account", kept=("ap_account",))
    draft.lines(content.lines)
    draft.taxes()


async def _refer(finder: Finder, content: BillContent) -> None:
    await purchases.refer(finder, content)
    await finder.terms(content.terms)
    await finder.vendor(content.vendor)


BILL = Form(LedgerKind.BILL, "Bill", "bill?txnId={}", "vendor", _write, _refer)
