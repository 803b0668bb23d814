"""Audits the books: every invariant between documents, links, postings and balances, recomputed from the documents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal

from sandbox.qbo.books.amounts import LINK_KINDS, PAYABLE, RECEIVABLE, links_of, money
from sandbox.qbo.books.ledger import Books, books_of
from sandbox.qbo.company.store import ZERO, Company, Doc, owed

Key = tuple[str, str]


def invariants(company: Company) -> list[str]:
    """Sentences about what does not hold in the company's books; [] when all holds."""
    return audit(books_of(company))


def audit(books: Books) -> list[str]:
    """Sentences about every invariant that does not hold; [] when the books are right. O(documents)."""
    applied = _applied(books)
    return [
        *books.problems.values(),
        *_transactions(books),
        *_accounts(books),
        *_documents(books, applied),
        *_payments(books),
        *_subledgers(books, applied),
        *_open_balances(books),
        *_back_references(books),
    ]


def _applied(books: Books) -> dict[Key, Decimal]:
    """(kind, Id) of a target -> sum applied to it by payments and bill payments."""
    out: dict[Key, Decimal] = defaultdict(lambda: ZERO)
    for payer in ("Payment", "BillPayment"):
        for doc in books.company.rows(payer):
            for link in links_of(doc):
                out[(link.kind, link.target)] += link.amount
    return out


def _transactions(books: Books) -> Iterator[str]:
    """Every transaction's debits equal its credits, and every posted transaction still exists."""
    for kind, table in books.journal.items():
        documents = books.company.entities.get(kind, {})
        for doc_id, postings in table.items():
            difference = sum(posting[1] for posting in postings)
            if difference and (kind, doc_id) not in books.problems:
                yield f"{kind} {doc_id}: debits and credits differ by {Decimal(difference) / 100}"
            if doc_id not in documents:
                yield f"{kind} {doc_id} has postings but no longer exists"


def _accounts(books: Books) -> Iterator[str]:
    """Every account's balance is the sum of its postings; all balances together are zero; every account exists."""
    sums: dict[str, int] = defaultdict(int)
    for table in books.journal.values():
        for postings in table.values():
            for account, cents, _name, _line in postings:
                sums[account] += cents
    for account in sums.keys() | books.balance.keys():
        if sums.get(account, 0) != books.balance.get(account, 0):
            yield f"Account {account}: balance {books.balance.get(account, 0)} cents, postings sum to {sums.get(account, 0)}"
        if account not in books.types:
            yield f"Account {account!r} has postings but does not exist"
    if sum(sums.values()):
        yield f"The trial balance does not balance: {sum(sums.values())} cents"


def _documents(books: Books, applied: dict[Key, Decimal]) -> Iterator[str]:
    """Open balance of a document = total - deposit - applied; never below zero; TotalAmt = its control posting."""
    for kind, field in (
        ("Invoice", "Balance"),
        ("Bill", "Balance"),
        ("CreditMemo", "RemainingCredit"),
        ("VendorCredit", "Balance"),
    ):
        for doc in books.company.rows(kind):
            expected = doc["TotalAmt"] - (doc.get("Deposit") or ZERO) - applied.get((kind, doc["Id"]), ZERO)
            if doc.get(field, ZERO) != expected:
                yield f"{kind} {doc['Id']}: {field} is {doc.get(field)}, total less what is applied is {expected}"
            if doc.get(field, ZERO) < 0:
                yield f"{kind} {doc['Id']}: {field} is negative: {doc.get(field)}"


def _payments(books: Books) -> Iterator[str]:
    """UnappliedAmt of a payment = total - applied to debts + taken from credits; targets exist and belong to its customer."""
    for payer, owner in (("Payment", "CustomerRef"), ("BillPayment", "VendorRef")):
        for doc in books.company.rows(payer):
            rest = doc["TotalAmt"]
            for link in links_of(doc):
                kind = link.kind
                target = books.company.get(kind, link.target)
                if target is None:
                    yield f"{payer} {doc['Id']} is linked to {kind} {link.target}, which does not exist"
                    continue
                if owner in target and _party(books, target[owner]["value"]) != _party(books, doc[owner]["value"]):
                    yield f"{payer} {doc['Id']} is linked to {kind} {link.target} of another {owner}"
                rest -= link.taken
            if payer == "Payment" and doc.get("UnappliedAmt", ZERO) != rest:
                yield f"Payment {doc['Id']}: UnappliedAmt is {doc.get('UnappliedAmt')}, its links leave {rest}"
            if payer == "BillPayment" and rest < 0:
                yield f"BillPayment {doc['Id']}: more is applied than paid: {rest}"


def _party(books: Books, customer_id: str) -> str:
    """The topmost customer: a parent may pay for its jobs."""
    doc = books.company.get("Customer", customer_id)
    for _ in range(5):
        parent = (doc or {}).get("ParentRef")
        if not parent:
            break
        customer_id = parent["value"]
        doc = books.company.get("Customer", customer_id)
    return customer_id


def _subledgers(books: Books, applied: dict[Key, Decimal]) -> Iterator[str]:
    """Control account = sum of its sub-ledgers = sum of what is open in documents, for receivables and payables."""
    for kind, control_type, sign in (("Customer", RECEIVABLE, 1), ("Vendor", PAYABLE, -1)):
        accounts = [account for account in books.control if books.types.get(account) == control_type]
        control = sum(books.balance.get(account, 0) for account in accounts)
        ledgers: dict[str, int] = defaultdict(int)
        for (account, name), cents in books.subledger.items():
            if books.types.get(account) == control_type:
                ledgers[name] += cents
        if sum(ledgers.values()) != control:
            yield f"{control_type}: control account {money(control)}, sub-ledgers {money(sum(ledgers.values()))}"
        owed = _open_documents(books, kind, applied)
        for name in ledgers.keys() | owed.keys():
            posted = sign * money(ledgers.get(name, 0))
            if posted != owed.get(name, ZERO):
                yield f"{control_type} of {name or 'nobody'}: ledger {posted}, open documents {owed.get(name, ZERO)}"


def _open_documents(books: Books, kind: str, applied: dict[Key, Decimal]) -> dict[str, Decimal]:
    """Name key -> what is open: the store's own open balances plus what other documents left on control accounts."""
    own_kinds = {"Customer": ("Invoice", "CreditMemo", "Payment"), "Vendor": ("Bill", "VendorCredit", "BillPayment")}[kind]
    sign = 1 if kind == "Customer" else -1
    out: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for kept in own_kinds:
        for doc in books.company.rows(kept):
            owner = f"{kind}:{doc[kind + 'Ref']['value']}"
            out[owner] += _still_open(kept, doc)
    control = {account for account in books.control if books.types[account] == _control_type(kind)}
    for other, table in books.journal.items():
        own = other in own_kinds  # their header posting is what is counted above; a line may still name a control account
        for postings in table.values():
            for account, cents, name, line in postings:
                if account in control and (line >= 0 or not own):
                    out[name] += sign * money(cents)
    payer = "Payment" if kind == "Customer" else "BillPayment"
    for doc in books.company.rows(payer):  # what a payment settles of a journal entry is open no more
        owner = f"{kind}:{doc[kind + 'Ref']['value']}"
        for link in links_of(doc):
            target = link.kind
            if target not in own_kinds:
                out[owner] -= link.taken
    return out


def _open_balances(books: Books) -> Iterator[str]:
    """The store's running open balance of a name is the sum of its open documents."""
    sums: dict[Key, Decimal] = defaultdict(lambda: ZERO)
    for kind in ("Invoice", "CreditMemo", "Payment", "Bill", "VendorCredit", "BillPayment", "JournalEntry"):
        for doc in books.company.rows(kind):
            for owner, amount in owed(books.company, kind, doc):
                sums[owner] += amount
    for owner in sums.keys() | books.company.open_balance.keys():
        kept = books.company.open_balance.get(owner, ZERO)
        if kept != sums.get(owner, ZERO):
            yield f"{owner[0]} {owner[1]}: open balance kept {kept}, open documents {sums.get(owner, ZERO)}"


def _control_type(kind: str) -> str:
    return RECEIVABLE if kind == "Customer" else PAYABLE


def _still_open(kind: str, doc: Doc) -> Decimal:
    value: Decimal
    if kind in {"Invoice", "Bill"}:
        value = doc.get("Balance", ZERO)
    elif kind == "CreditMemo":
        value = -doc.get("RemainingCredit", ZERO)
    elif kind == "VendorCredit":
        value = -doc.get("Balance", ZERO)
    elif kind == "Payment":
        value = -doc.get("UnappliedAmt", ZERO)
    else:
        rest: Decimal = doc["TotalAmt"]
        for link in links_of(doc):
            rest -= link.taken
        value = -rest
    return value


def _back_references(books: Books) -> Iterator[str]:
    """A link from a payment shows on the invoice or bill, and the other way round."""
    for payer, targets in (("Payment", ("Invoice", "CreditMemo")), ("BillPayment", ("Bill", "VendorCredit"))):
        forward: dict[Key, set[str]] = defaultdict(set)
        for doc in books.company.rows(payer):
            for link in links_of(doc):
                if link.kind in targets:
                    forward[(link.kind, link.target)].add(doc["Id"])
        for kind in targets:
            for doc in books.company.rows(kind):
                seen = {
                    str(link["TxnId"])
                    for link in doc.get("LinkedTxn") or ()
                    if LINK_KINDS.get(link.get("TxnType", ""), link.get("TxnType")) == payer
                }
                for missing in forward.get((kind, doc["Id"]), set()) - seen:
                    yield f"{kind} {doc['Id']}: {payer} {missing} pays it, but its LinkedTxn does not say so"
                for extra in seen - forward.get((kind, doc["Id"]), set()):
                    yield f"{kind} {doc['Id']}: LinkedTxn names {payer} {extra}, which does not pay it"
