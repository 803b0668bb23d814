"""The stream of dated postings that reports read, on accrual or cash basis, and the open items behind the agings.

Cash basis: income and expense of an invoice or bill count on the day of each payment, in proportion to what it pays;
receivables and payables vanish. What a payment leaves unapplied is unapplied cash income.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from sandbox.qbo.books.amounts import PAYABLE, RECEIVABLE, Posting, cents_of, links_of
from sandbox.qbo.books.ledger import Books
from sandbox.qbo.company.store import ZERO, Doc

ON_ACCOUNT = frozenset({"Invoice", "CreditMemo", "Bill", "VendorCredit"})
PAYERS = frozenset({"Payment", "BillPayment"})


class Entry(NamedTuple):
    """One posting with its day and document."""

    day: str
    kind: str
    doc: Doc
    account: str
    cents: int
    name: str
    line: int


def day_of(kind: str, doc: Doc) -> str:
    """The day a document counts for; opening balances use their own dates."""
    found = doc.get("TxnDate") or doc.get("OpenBalanceDate") or doc.get("InvStartDate") or doc.get("OpeningBalanceDate")
    return str(found or doc["MetaData"]["CreateTime"][:10])


def accrual(books: Books) -> Iterator[Entry]:
    """Every posting of the journal."""
    for kind, table in books.journal.items():
        documents = books.company.entities.get(kind, {})
        for doc_id, postings in table.items():
            doc = documents.get(doc_id)
            if doc is None:
                continue
            day = day_of(kind, doc)
            for account, cents, name, line in postings:
                yield Entry(day, kind, doc, account, cents, name, line)


def cash(books: Books) -> Iterator[Entry]:
    """The same journal on cash basis."""
    seen: dict[tuple[str, str], int] = defaultdict(int)  # target -> cents recognised so far, so that rounding closes
    for kind, table in books.journal.items():
        if kind in PAYERS:
            continue
        documents = books.company.entities.get(kind, {})
        for doc_id, postings in table.items():
            doc = documents.get(doc_id)
            if doc is None:
                continue
            day = day_of(kind, doc)
            if kind not in ON_ACCOUNT:
                for account, cents, name, line in postings:
                    yield Entry(day, kind, doc, account, cents, name, line)
                continue
            deposit = cents_of(doc.get("Deposit") or ZERO)
            if deposit:
                held = next(p for p in postings if p[3] == -1 and p[1] == deposit and books.types.get(p[0]) != RECEIVABLE)
                yield Entry(day, kind, doc, held[0], deposit, held[2], -1)
                yield from _recognised(books, kind, doc, deposit, seen, (day, kind, doc))
    for payer in ("Payment", "BillPayment"):
        for doc in sorted(books.company.rows(payer), key=lambda d: str(d.get("TxnDate"))):
            yield from _payment(books, payer, doc, seen)


def _payment(books: Books, payer: str, doc: Doc, seen: dict[tuple[str, str], int]) -> Iterator[Entry]:
    postings = books.journal.get(payer, {}).get(doc["Id"], ())
    day = day_of(payer, doc)
    left = 0
    name = ""
    for account, cents, name, line in postings:
        if account in books.control:
            left += cents
        else:
            yield Entry(day, payer, doc, account, cents, name, line)
    sign = -1 if payer == "Payment" else 1  # the side on which a payment meets the control account
    for link in links_of(doc):
        taken = sign * cents_of(link.taken)
        left -= taken
        target = books.company.get(link.kind, link.target)
        if target is not None and link.kind in ON_ACCOUNT:
            yield from _recognised(books, link.kind, target, cents_of(link.amount), seen, (day, payer, doc))
        elif taken:
            control = books.company.roles["receivable" if payer == "Payment" else "payable"]
            yield Entry(day, payer, doc, control, taken, name, -1)
    if left:
        role = "unapplied" if payer == "Payment" else "uncategorized_expense"
        yield Entry(day, payer, doc, books.company.roles[role], left, name, -1)


def _recognised(
    books: Books, kind: str, target: Doc, cents: int, seen: dict[tuple[str, str], int], by: tuple[str, str, Doc]
) -> Iterator[Entry]:
    """The share of a document's income or expense that `cents` of payment brings to book."""
    key = (kind, target["Id"])
    deposit = cents_of(target.get("Deposit") or ZERO)
    total = cents_of(target["TotalAmt"])
    if not total:
        return
    before, after = seen[key], seen[key] + cents
    seen[key] = after
    lines = [
        p
        for p in books.journal.get(kind, {}).get(target["Id"], ())
        if p[3] >= 0 or (p[0] not in books.control and not (deposit and p[1] == deposit))
    ]
    day, payer, doc = by
    done = 0  # shares are cut from the running sum, so they always add up
    ran = 0
    for account, amount, name, line in lines:
        ran += amount
        share = (_cut(ran, after, total) - _cut(ran, before, total)) - done
        done += share
        if share:
            yield Entry(day, payer, doc, account, share, name, line)


def _cut(amount: int, part: int, total: int) -> int:
    """amount x part / total in whole cents, half away from zero."""
    product = amount * part
    sign = -1 if product < 0 else 1
    return sign * ((abs(product) * 2 + total) // (2 * total))


def entries(books: Books, basis: str) -> Iterator[Entry]:
    """Postings on "Accrual" or "Cash" basis, in no particular order."""
    return cash(books) if basis == "Cash" else accrual(books)


@dataclass(frozen=True, slots=True)
class OpenItem:
    """What is open of one document on a day; negative for credits and unapplied money."""

    name: str
    kind: str
    doc: Doc
    day: str
    due: str
    cents: int


def open_items(books: Books, control_type: str, as_of: str) -> list[OpenItem]:
    """Open items of receivables or payables on a day; their sum is the control account's balance on that day."""
    sign = 1 if control_type == RECEIVABLE else -1
    payer = "Payment" if control_type == RECEIVABLE else "BillPayment"
    accounts = {account for account in books.control if books.types[account] == control_type}
    rest: dict[tuple[str, str, str], int] = defaultdict(int)  # (kind, Id, name key) -> cents
    docs: dict[tuple[str, str], Doc] = {}
    for entry in accrual(books):
        if entry.account in accounts and entry.day <= as_of:
            rest[(entry.kind, entry.doc["Id"], entry.name)] += sign * entry.cents
            docs[(entry.kind, entry.doc["Id"])] = entry.doc
    for doc in books.company.rows(payer):
        if day_of(payer, doc) > as_of:
            continue
        owner = (
            ("Customer" if payer == "Payment" else "Vendor")
            + ":"
            + doc[("CustomerRef" if payer == "Payment" else "VendorRef")]["value"]
        )
        for link in links_of(doc):
            target = books.company.get(link.kind, link.target)
            if target is None or day_of(link.kind, target) > as_of:
                continue
            taken = cents_of(link.taken)
            name = _name_in(target, owner)
            rest[(link.kind, link.target, name)] -= taken
            rest[(payer, doc["Id"], name)] += taken
            docs[(link.kind, link.target)] = target
            docs[(payer, doc["Id"])] = doc
    out = []
    for (kind, doc_id, name), cents in rest.items():
        if cents:
            doc = docs[(kind, doc_id)]
            day = day_of(kind, doc)
            out.append(OpenItem(name, kind, doc, day, str(doc.get("DueDate") or day), cents))
    return sorted(out, key=lambda item: (item.due, item.kind, item.doc["Id"]))


def _name_in(target: Doc, fallback: str) -> str:
    if target.get("CustomerRef"):
        return f"Customer:{target['CustomerRef']['value']}"
    if target.get("VendorRef"):
        return f"Vendor:{target['VendorRef']['value']}"
    return fallback


__all__ = ["PAYABLE", "RECEIVABLE", "Entry", "OpenItem", "Posting", "accrual", "cash", "day_of", "entries", "open_items"]
