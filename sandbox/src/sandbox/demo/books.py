"""Compares the result in the stand-ins' books with the expectations, independently of our ledger."""

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sandbox.demo.dataset import Expectation

WORD = {
    "invoice": "Invoice", "sales_receipt": "SalesReceipt", "credit_memo": "CreditMemo", "bill": "Bill",
    "vendor_credit": "VendorCredit", "payment": "Payment",
}  # fmt: skip


@dataclass
class Verdict:
    """The books against the expectations."""

    doubles: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    at_source: dict[tuple[str, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    in_books: dict[tuple[str, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    counts: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))

    @property
    def difference(self) -> Decimal:
        """Amounts at the source minus amounts in the books, as a sum of absolute differences by source and kind."""
        keys = set(self.at_source) | set(self.in_books)
        return sum((abs(self.at_source[k] - self.in_books[k]) for k in keys), Decimal("0.00"))

    @property
    def good(self) -> bool:
        """Whether the books are as expected."""
        return not (self.doubles or self.lost or self.wrong or self.difference)


def is_voided(document: dict[str, Any]) -> bool:
    """Whether a document was voided: QuickBooks has no field for it."""
    return Decimal(str(document.get("TotalAmt", 0))) == 0 and str(document.get("PrivateNote", "")).startswith("Voided")


def live_by_token(books: dict[str, Any], tokens: set[str]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the documents that are not voided, by kind and the token in a line's description."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for kind, entity in WORD.items():
        for document in books.get(entity, []):
            if is_voided(document):
                continue
            words = {word for line in document.get("Line", []) for word in str(line.get("Description", "")).split()}
            words.add(str(document.get("PaymentRefNum", "")))
            for token in words & tokens:
                found[kind, token].append(document)
    return found


def judge(expectations: list[Expectation], books: dict[str, Any]) -> Verdict:
    """Compare the books with the expectations."""
    verdict = Verdict()
    live = live_by_token(books, {e.token for e in expectations})
    for expected in expectations:
        verdict.counts[expected.source, expected.kind, expected.outcome] += 1
        mine = live.get((expected.kind, expected.token), [])
        other = [found for kind in WORD if kind != expected.kind for found in live.get((kind, expected.token), ())]
        verdict.doubles += max(0, len(mine) + len(other) - 1)
        if expected.outcome == "held":
            continue
        where = (expected.source, expected.kind)
        if expected.outcome == "posted":
            assert expected.amount is not None
            verdict.at_source[where] += expected.amount
            if not mine:
                verdict.lost.append(f"{expected.source} {expected.token}: no {WORD[expected.kind]} in QuickBooks")
            elif len(mine) == 1 and _total(mine[0]) != expected.amount:
                verdict.wrong.append(
                    f"{expected.source} {expected.token}: {_total(mine[0])} in QuickBooks, {expected.amount} at the source"
                )
        elif mine:
            verdict.wrong.append(f"{expected.source} {expected.token}: in QuickBooks, but should be {expected.outcome}")
        for document in mine + other:
            verdict.in_books[where] += _total(document)
    return verdict


def _total(document: dict[str, Any]) -> Decimal:
    return Decimal(str(document["TotalAmt"])).quantize(Decimal("0.01"))
