"""Money as whole cents, the applications of payments, and the names of account types that books, audit and reports share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from sandbox.qbo.company.store import ZERO, Doc

Posting = tuple[str, int, str, int]

RECEIVABLE = "Accounts Receivable"
PAYABLE = "Accounts Payable"
DEBIT_TYPES = frozenset(
    {
        "Bank",
        RECEIVABLE,
        "Other Current Asset",
        "Fixed Asset",
        "Other Asset",
        "Expense",
        "Other Expense",
        "Cost of Goods Sold",
    }
)
PROFIT_TYPES = frozenset({"Income", "Other Income", "Expense", "Other Expense", "Cost of Goods Sold"})
# TxnType in links of payments -> kind of the linked document. A bill payment shows as "BillPaymentCheck" on the bill.
LINK_KINDS = {
    "BillPaymentCheck": "BillPayment",
    "BillPaymentCreditCard": "BillPayment",
    "Expense": "Purchase",
    "Check": "Purchase",
    "CreditCardCredit": "Purchase",
    "CreditCardCharge": "Purchase",
}
# TxnTypes that give money to a payment instead of taking it.
CREDITS = frozenset({"CreditMemo", "VendorCredit", "CreditCardCredit"})


@dataclass(frozen=True, slots=True)
class Link:
    """One application of money by a payment: `amount` goes to (for a credit: comes from) the document `kind` `target`."""

    kind: str
    target: str
    amount: Decimal
    is_credit: bool

    @property
    def taken(self) -> Decimal:
        """What the link takes from the payment's money; negative for a credit."""
        return -self.amount if self.is_credit else self.amount


def cents_of(amount: Decimal) -> int:
    """Whole cents, half up away from zero (the rule behind fault 6070)."""
    scaled = amount * 100
    whole = int(scaled)
    if whole == scaled:
        return whole
    return int(scaled.quantize(Decimal(1), ROUND_HALF_UP))


def money(cents: int) -> Decimal:
    """Cents as a Decimal with two places."""
    return Decimal(cents).scaleb(-2)


def links_of(doc: Doc) -> Iterator[Link]:
    """Applications in the lines of a Payment or BillPayment, with the kind of each target."""
    for line in doc.get("Line") or ():
        for link in line.get("LinkedTxn") or ():
            named = link["TxnType"]
            yield Link(LINK_KINDS.get(named, named), link["TxnId"], line.get("Amount") or ZERO, named in CREDITS)
