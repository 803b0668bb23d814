"""Sales receipts in QuickBooks: sales paid at once."""

from collections.abc import Sequence

from bookrelay.messages import SalesReceiptContent

from qbo_writer.domain import LedgerKind
from qbo_writer.quickbooks.documents import sales
from qbo_writer.quickbooks.documents.draft import Draft
from qbo_writer.quickbooks.documents.form import Finder, Form, Raw
from qbo_writer.quickbooks.values import clean, text


def _write(draft: Draft, content: SalesReceiptContent) -> None:
    draft.head("customer", draft.ids["customer"], content.txn_date, content.memo)
    draft.numbered()
    # Without an account QuickBooks itself sets undeposited funds: that cannot be cleared.
    draft.heading("class", "department", "payment_method", "deposit_account", kept=("deposit_account",))
    draft.reference(content.payment_ref)
    sales.write_lines(draft, content)


async def _refer(finder: Finder, content: SalesReceiptContent) -> None:
    await sales.refer(finder, content)
    await finder.deposit(content.deposit_to, content.payment_method)
    await finder.customer(content.customer)


def _read(raw: Raw, lines: Sequence[Raw]) -> tuple[dict[str, str], Sequence[Raw]]:
    fields, lines = sales.read(raw, lines)
    return fields | {"payment_ref": clean(text(raw.get("PaymentRefNum")))}, lines


SALES_RECEIPT = Form(LedgerKind.SALES_RECEIPT, "SalesReceipt", "salesreceipt?txnId={}", "customer", _write, _refer, _read)
