"""The gateway's words: what Intuit calls things, and what became of a delivery. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from bookrelay.messages import EntityChanged

Operation = Literal["created", "updated", "deleted", "merged", "voided", "emailed", "unknown"]
Format = Literal["classic", "cloudevents"]

OPERATIONS: dict[str, Operation] = {
    "create": "created", "created": "created",
    "update": "updated", "updated": "updated",
    "delete": "deleted", "deleted": "deleted",
    "merge": "merged", "merged": "merged",
    "void": "voided", "voided": "voided",  # sources disagree on the word in CloudEvents types
    "email": "emailed", "emailed": "emailed",
}  # fmt: skip
"""Intuit's operation words, lower-case, in both formats."""

_ENTITIES = (
    "Account", "Bill", "BillPayment", "Budget", "ChangeOrder", "Class", "CompanyCurrency", "CreditMemo", "Currency", "Customer",
    "Department", "Deposit", "Employee", "Estimate", "Invoice", "Item", "JournalCode", "JournalEntry", "Payment",
    "PaymentMethod", "Preferences", "Purchase", "PurchaseOrder", "RefundReceipt", "SalesReceipt", "TaxAgency", "Term",
    "TimeActivity", "Transfer", "Vendor", "VendorCredit",
)  # fmt: skip
ENTITIES = {name.lower(): name for name in _ENTITIES}
"""CloudEvents types write entities in lower case ("billpayment"), the API and classic webhooks do not."""


class Outcome(StrEnum):
    """What became of a delivery: the label of its metric."""

    PUBLISHED = "published"
    BAD_SIGNATURE = "bad_signature"
    UNREADABLE = "unreadable"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"  # the sender, not the broker
    UNAVAILABLE = "unavailable"  # the broker is away or too slow
    WRONG_METHOD = "wrong_method"


STATUS = {
    Outcome.PUBLISHED: 200,
    Outcome.UNREADABLE: 400,
    Outcome.BAD_SIGNATURE: 401,
    Outcome.WRONG_METHOD: 405,
    Outcome.TOO_SLOW: 408,
    Outcome.TOO_LARGE: 413,
    Outcome.UNAVAILABLE: 503,
}
"""The HTTP status of each outcome. Only 200 makes Intuit forget a delivery."""


@dataclass(frozen=True)
class Refused:
    """A single record that cannot be read: where it stood, as it was, and why; the rest of its delivery goes on."""

    where: str
    raw: bytes
    reason: str


@dataclass(frozen=True)
class Delivery:
    """A delivery, read: one message for each entity, in Intuit's order."""

    format: Format
    messages: Sequence[EntityChanged]
    refused: Sequence[Refused]


@dataclass(frozen=True)
class Receipt:
    """What became of a delivery. `reason` is for Intuit's operator and for our log; it repeats nothing of the content."""

    outcome: Outcome
    reason: str = ""
    delivery: Delivery | None = None


class Unreadable(Exception):  # noqa: N818
    """The whole delivery cannot be read, although its signature is right."""
