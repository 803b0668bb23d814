"""QuickBooks' form of a kind of document: its name, how it is written, what it refers to, how it is read."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from bookrelay.messages import CustomField, Party, PurchaseContent, SalesContent

from qbo_writer.domain import LedgerKind
from qbo_writer.quickbooks.documents.draft import Draft

Raw = Mapping[str, Any]


class Finder(Protocol):
    """Finds what a content refers to in the company's lists; each implementation reports missing entries its own way."""

    async def items(self, keys: Iterable[str]) -> None:
        """Find the items of lines, by the keys of the company's item mapping."""

    async def accounts(self, keys: Iterable[str]) -> None:
        """Find the accounts of lines, by the keys of the company's account mapping."""

    async def custom_fields(self, fields: Sequence[CustomField]) -> None:
        """Find the custom fields that the policy maps."""

    async def taxes(self, content: SalesContent | PurchaseContent) -> None:
        """Find the tax codes of the lines, and the discount's account."""

    async def heading(self, *, class_name: str | None, department: str | None, class_per_document: bool = False) -> None:
        """Find class and location; the policy's if none is named."""

    async def terms(self, name: str | None) -> None:
        """Find the payment terms; the policy's if none are named."""

    async def account(self, place: Literal["ap_account"]) -> None:
        """Find the policy's account for this place, if any."""

    async def paying_account(self) -> None:
        """Find the bank account that bills are paid from; it is required for paying."""

    async def deposit(self, account: str | None, method: str | None) -> None:
        """Find the deposit account, by a key of the account mapping, and the payment method, by name."""

    async def customer(self, party: Party) -> None:
        """Find a customer. Parties come last, so that none is created for a document that cannot be posted anyway."""

    async def vendor(self, party: Party) -> None:
        """Find a vendor."""


async def nothing(finder: Finder, content: Any) -> None:
    """Refer to nothing."""


def as_it_is(raw: Raw, lines: Sequence[Raw]) -> tuple[dict[str, str], Sequence[Raw]]:
    """Read no extra fields, and every line."""
    return {}, lines


@dataclass(frozen=True)
class Form:
    """QuickBooks' form of one kind of document.

    `page`: its web address, with {} for the Id. `party`: its party field; "" for names. `refer`: finds what a content refers to;
    `read`: reads the fields that only this kind has, and returns the remaining lines.
    """

    kind: LedgerKind
    entity: str
    page: str
    party: Literal["customer", "vendor", ""]
    write: Callable[[Draft, Any], None]
    refer: Callable[[Finder, Any], Awaitable[None]] = nothing
    read: Callable[[Raw, Sequence[Raw]], tuple[dict[str, str], Sequence[Raw]]] = as_it_is
