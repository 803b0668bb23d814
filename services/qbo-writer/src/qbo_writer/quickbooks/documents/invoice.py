"""Invoices in QuickBooks."""

from bookrelay.messages import InvoiceContent

from qbo_writer.domain import LedgerKind
from qbo_writer.quickbooks.documents import sales
from qbo_writer.quickbooks.documents.draft import Draft
from qbo_writer.quickbooks.documents.form import Finder, Form


def _write(draft: Draft, content: InvoiceContent) -> None:
    draft.head("customer", draft.ids["customer"], content.txn_date, content.memo)
    draft.due(content.due_date)
    draft.numbered()
    draft.heading("term", "class", "department")
    sales.write_lines(draft, content)


async def _refer(finder: Finder, content: InvoiceContent) -> None:
    await sales.refer(finder, content)
    await finder.terms(content.terms)
    await finder.customer(content.customer)


INVOICE = Form(LedgerKind.INVOICE, "Invoice", "invoice?txnId={}", "customer", _write, _refer, sales.read)
