"""The gateway's types: Intuit's names of entities and operations, and the outcome of a delivery. Pure."""

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
    "void": "voided", "voided": "voided",  # sources disagree about the spelling in CloudEvents types
    "email": "emailed", "emailed": "emailed",
}  # fmt: skip
"""Intuit's names of operations in both formats, in lower case."""

_ENTITIES = (
    "Account", "Bill", "BillPayment", "Budget", "ChangeOrder", "Class", "CompanyCurrency", "CreditMemo", "Currency", "Customer",
    "Department", "Deposit", "Employee", "Estimate", "Invoice", "Item", "JournalCode", "JournalEntry", "Payment",
    "PaymentMethod", "Preferences", "Purchase", "PurchaseOrder", "RefundReceipt", "SalesReceipt", "TaxAgency", "Term",
    "TimeActivity", "Transfer", "Vendor", "VendorCredit",
)  # fmt: skip
ENTITIES = {name.lower(): name for name in _ENTITIES}
"""CloudEvents types have entities in lower case ("billpayment"), the API and classic webhooks do not."""


class DeliveryOutcome(StrEnum):
    """The outcome of a delivery, also the label of its metric."""

    PUBLISHED = "published"
    BAD_SIGNATURE = "bad_signature"
    UNREADABLE = "unreadable"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"  # the sender, not the broker
    UNAVAILABLE = "unavailable"  # the broker is unavailable or too slow
    WRONG_METHOD = "wrong_method"


STATUS = {
    DeliveryOutcome.PUBLISHED: 200,
    DeliveryOutcome.UNREADABLE: 400,
    DeliveryOutcome.BAD_SIGNATURE: 401,
    DeliveryOutcome.WRONG_METHOD: 405,
    DeliveryOutcome.TOO_SLOW: 408,
    DeliveryOutcome.TOO_LARGE: 413,
    DeliveryOutcome.UNAVAILABLE: 503,
}
"""The HTTP status of each outcome. Intuit redelivers unless it gets 200."""


@dataclass(frozen=True)
class UnreadableRecord:
    """A record of a delivery that cannot be read: its position, raw content, and why. It does not affect the other records."""

    where: str
    raw: bytes
    reason: str


@dataclass(frozen=True)
class Delivery:
    """A parsed delivery: one message for each entity, in Intuit's order."""

    format: Format
    messages: Sequence[EntityChanged]
    unreadable: Sequence[UnreadableRecord]


@dataclass(frozen=True)
class Receipt:
    """The outcome of a delivery. `reason` is for the sender and for our log, and does not quote the content."""

    outcome: DeliveryOutcome
    reason: str = ""
    delivery: Delivery | None = None


class UnreadableDeliveryError(Exception):
    """The delivery as a whole cannot be read, although its signature is valid."""
