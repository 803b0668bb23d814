"""Customers' payments: applied to invoices, and with credit memos, by their business keys; the rest stays with the customer."""

from bookrelay import messages as m
from bookrelay.messages import Model

from qbo_writer.domain import LedgerKind, Named
from qbo_writer.kinds.kind import DocumentKind
from qbo_writer.ledger.records import DocumentState


def _named(document: DocumentState, content: Model) -> tuple[Named, ...]:
    assert isinstance(content, m.PaymentContent)
    parts = ((LedgerKind.INVOICE, content.applied), (LedgerKind.CREDIT_MEMO, content.credits))
    return tuple(
        Named(kind, one.source or document.source, one.source_key, f"{kind}:{at}")
        for kind, part in parts
        for at, one in enumerate(part)
    )


PAYMENT = DocumentKind(
    LedgerKind.PAYMENT, m.PaymentContent, (m.PaymentPosted, m.PaymentPostedData), optional=True, used_up=None, names=_named,
)  # fmt: skip
