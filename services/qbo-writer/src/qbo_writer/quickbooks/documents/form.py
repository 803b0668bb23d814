"""What QuickBooks' side of a kind of document is made of: its name, how it is written, what it refers to, how it is read."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from bookrelay.messages import CustomField, Party, PurchaseContent, SalesContent

from qbo_writer.domain import LedgerKind
from qbo_writer.quickbooks.documents.draft import Draft

Raw = Mapping[str, Any]


class Finder(Protocol):
    """Finds what a content refers to in the company's lists; how it reports what is missing is its own affair."""

    async def items(self, keys: Iterable[str]) -> None:
        """Find the items of lines, by the keys of the company's item mapping."""

    async def accounts(self, keys: Iterable[str]) -> None:
        """Find the accounts of lines, by the keys of the company's account mapping."""

    async def custom_fields(self, fields: Sequence[CustomField]) -> None:
        """Find the custom fields that the policy maps."""

    async def taxes(self, content: SalesContent | PurchaseContent) -> None:
        """Find the tax codes of the lines, and the discount's account."""

    async def heading(self, *, class_name: str | None, department: str | None, class_per_document: bool = False) -> None:
        """Find class and location, the policy's where none is named."""

    async def terms(self, name: str | None) -> None:
        """Find the payment terms, the policy's where none are named."""

    async def account(self, place: Literal["ap_account"]) -> None:
        """Find the account that the policy has for this place, if any."""

    async def paying_account(self) -> None:
        """Find the bank account that bills are paid from: without one nothing is paid."""

    async def deposit(self, account: str | None, method: str | None) -> None:
        """Find where money is deposited, by a key of the account mapping, and the payment method, by its name."""

    async def customer(self, party: Party) -> None:
        """Find a customer. Parties come last: nobody is created for what cannot be posted for another reason."""

    async def vendor(self, party: Party) -> None:
        """Find a vendor."""


async def nothing(finder: Finder, content: Any) -> None:
    """Refer to nothing."""


def as_it_is(raw: Raw, lines: Sequence[Raw]) -> tuple[dict[str, str], Sequence[Raw]]:
    """Read nothing of a kind's own, and every line."""
    return {}, lines


@dataclass(frozen=True)
class Form:
    """QuickBooks' side of one kind of document.

    `page`: its address for people, with {} for the Id. `party`: whose it is; "" for names. `refer`: finds what a content names;
    `read`: reads the fields that only this kind has, and returns the lines that are left.
    """

    kind: LedgerKind
    entity: str
    page: str
    party: Literal["customer", "vendor", ""]
    write: Callable[[Draft, Any], None]
    refer: Callable[[Finder, Any], Awaitable[None]] = nothing
    read: Callable[[Raw, Sequence[Raw]], tuple[dict[str, str], Sequence[Raw]]] = as_it_is
