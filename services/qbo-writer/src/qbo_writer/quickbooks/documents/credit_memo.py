"""Credit memos in QuickBooks."""

from bookrelay.messages import CreditMemoContent

from qbo_writer.domain import LedgerKind
from qbo_writer.quickbooks.documents import sales
from qbo_writer.quickbooks.documents.draft import Draft
from qbo_writer.quickbooks.documents.form import Finder, Form


def _write(draft: Draft, content: CreditMemoContent) -> None:
    draft.head("customer", draft.ids["customer"], content.txn_date, content.memo)
    draft.numbered()
    draft.heading("class", "department")
    sales.write_lines(draft, content)


async def _refer(finder: Finder, content: CreditMemoContent) -> None:
    await sales.refer(finder, content)
    await finder.customer(content.customer)


CREDIT_MEMO = Form(LedgerKind.CREDIT_MEMO, "CreditMemo", "creditmemo?txnId={}", "customer", _write, _refer, sales.read)
