"""Customers and vendors that documents need. Each is a document in the ledger, created once."""

from bookrelay.messages import Model

from qbo_writer.domain import LedgerKind
from qbo_writer.kinds.kind import DocumentKind


class NameContent(Model):
    """A customer or vendor that a document needs. Its identity is the name, unique in QuickBooks."""

    name: str
    email: str | None = None


CUSTOMER = DocumentKind(LedgerKind.CUSTOMER, NameContent, None, is_name=True, waited_for=True, used_up=None)
VENDOR = DocumentKind(LedgerKind.VENDOR, NameContent, None, is_name=True, waited_for=True, used_up=None)
