"""Contents to QuickBooks JSON and back. Pure; amounts are written from Decimal, digit by digit, and never pass through float."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from bookrelay.messages import BillContent, InvoiceContent, Model
from bookrelay.money import Amount

from qbo_writer.domain import BatchItem, Comparison, LedgerKind, Resolved, Seen
from qbo_writer.policy import Policy
from qbo_writer.settings import WriterSettings

ENTITY: dict[LedgerKind, str] = {
    LedgerKind.INVOICE: "Invoice",
    LedgerKind.BILL: "Bill",
    LedgerKind.BILL_PAYMENT: "BillPayment",
    LedgerKind.CUSTOMER: "Customer",
    LedgerKind.VENDOR: "Vendor",
}
KIND: dict[str, LedgerKind] = {entity: kind for kind, entity in ENTITY.items()}


class BillPaymentContent(Model):
    """A payment of one bill in full, by check from the policy's bank account (resolved key "bank_account")."""

    vendor_id: str  # QuickBooks ids: the bill is posted already
    bill_id: str
    txn_date: date
    amount: Amount
    memo: str | None = None


class NameContent(Model):
    """A customer or vendor that a document needs. Its identity is the name, unique in QuickBooks."""

    name: str
    email: str | None = None


AnyContent = InvoiceContent | BillContent | BillPaymentContent | NameContent


@dataclass(frozen=True)
class Wanted:
    """What a document shall be: JSON-ready owned fields, and the same in comparable form (as Seen.fields)."""

    kind: LedgerKind
    entity: str
    body_fields: dict[str, Any]
    fields: dict[str, str]


def doc_number(policy: Policy, source: str, source_key: str) -> str:
    """Return the document's number: at most 21 characters, from the key alone."""
    raise NotImplementedError


def marker(realm: str, source: str, source_key: str, kind: LedgerKind) -> str:
    """Return the marker of a document, "bookrelay:" and 16 characters; says nothing about the key."""
    raise NotImplementedError


def wanted(
    kind: LedgerKind, content: AnyContent, resolved: Resolved, policy: Policy, doc_number: str | None, marker: str
) -> Wanted:
    """Map any content (names included). `doc_number` None lets QuickBooks number the document."""
    raise NotImplementedError


def create_body(wanted: Wanted) -> str:
    """Return the body of a create."""
    raise NotImplementedError


def update_body(wanted: Wanted, qbo_id: str, sync_token: str) -> str:
    """Return the body of a sparse update that names every owned field, so that what was removed is cleared."""
    raise NotImplementedError


def void_body(qbo_id: str, sync_token: str) -> str:
    """Return the body of a void."""
    raise NotImplementedError


def delete_body(qbo_id: str, sync_token: str) -> str:
    """Return the body of a delete."""
    raise NotImplementedError


def name_body(kind: LedgerKind, name: str, email: str | None, marker: str) -> str:
    """Return the body that creates a customer or vendor; the same as create_body(wanted(kind, NameContent(...), ...))."""
    raise NotImplementedError


def batch_body(items: Sequence[BatchItem]) -> str:
    """Return the body of a batch that embeds each item's exact body text."""
    raise NotImplementedError


def seen(entity: str, raw: Mapping[str, Any]) -> Seen:
    """Read an entity as QuickBooks shows it. Lines that the server adds (SubTotal) are ignored."""
    raise NotImplementedError


def compare(fields: Mapping[str, str], seen: Seen) -> Comparison:
    """Compare fields (Wanted.fields, or earlier Seen.fields) with an entity: every key of `fields` must be the same in it."""
    raise NotImplementedError


def url(settings: WriterSettings, kind: LedgerKind, qbo_id: str, realm: str) -> str:
    """Return the link to the document for people."""
    raise NotImplementedError
