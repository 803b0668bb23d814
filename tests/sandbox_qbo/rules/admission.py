"""What a company lets in: document numbers, closed books, plans, usage limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from ..acts import Act, delete, edit, post, query, void
from ..bodies import (
    bill,
    bill_payment,
    inventory,
    invoice,
    journal,
    line,
    start,
)
from ..conftest import Books
from .writing import (
    Rule,
    count,
    gives,
    made,
    no,
    ok,
    twice,
)


def number_of(books: Books, *, custom: bool, **body: Any) -> Any:
    books.prefer(SalesFormsPrefs={"CustomTxnNumbers": custom})
    return books.make("Invoice", invoice(**body)).get("DocNumber")


def closed(act: Callable[[Books, dict[str, Any]], httpx.Response], day: str = "2026-01-15") -> Act:
    """Something done to an invoice of a day after the books were closed on 31 January."""

    def go(books: Books) -> httpx.Response:
        doc = books.make("Invoice", invoice(TxnDate=day))
        books.prefer(BookCloseDate="2026-01-31")
        return act(books, doc)

    return go


def on_plan(plan: str, kind: str, body: Callable[[], dict[str, Any]]) -> Act:
    def go(books: Books) -> httpx.Response:
        return Books(books.standin, plan=plan).post(kind.lower(), body())

    return go


def plan_rule(kind: str, lacks: str, has: str, body: dict[str, Any] | None = None) -> Rule:
    def fresh() -> dict[str, Any]:
        return body or start(kind)

    return Rule("plans", f"{kind} from {has}", ok(on_plan(has, kind, fresh)), no("5030", on_plan(lacks, kind, fresh)))


def asked_on_plan(plan: str, statement: str) -> Act:
    return lambda books: query(statement)(Books(books.standin, plan=plan))


def classes(books: Books, amount: int) -> httpx.Response:
    """One more class beside so many classes and locations (three are there from the start)."""
    for name in range(amount - 3):
        books.make("Class", {"Name": f"class {name}"})
    return books.post("class", {"Name": "one more"})


def accounts(books: Books, amount: int) -> httpx.Response:
    """One more account beside so many."""
    there = count(books, "Account")
    for first in range(there, amount, 30):
        rows = [
            {"bId": str(n), "operation": "create", "Account": {"Name": f"account {first + n}", "AccountType": "Expense"}}
            for n in range(min(30, amount - first))
        ]
        books.post("batch", {"BatchItemRequest": rows})
    assert count(books, "Account") == amount
    return books.post("account", {"Name": "one more", "AccountType": "Expense"})


def closing_date(books: Books) -> Any:
    return books.query("select * from Preferences")["Preferences"][0]["AccountingInfoPrefs"].get("BookCloseDate")


RULES: tuple[Rule, ...] = (
    # 9.4 and 5.1: DocNumber
    Rule(
        "document numbers",
        "unique where the company warns",
        ok(twice("Invoice", invoice(), "WarnDuplicateInvoiceNumber", on=False)),
        no("6140", twice("Invoice", invoice(), "WarnDuplicateInvoiceNumber")),
    ),
    Rule(
        "document numbers",
        "bills by their own warning",
        ok(twice("Bill", bill(), "WarnDuplicateBillNumber", on=False)),
        no("6140", twice("Bill", bill(), "WarnDuplicateBillNumber")),
    ),
    Rule(
        "document numbers",
        "journals by their own warning",
        ok(twice("JournalEntry", journal(), "WarnDuplicateJournalNumber", on=False)),
        no("6140", twice("JournalEntry", journal(), "WarnDuplicateJournalNumber")),
    ),
    Rule(
        "document numbers",
        "allowduplicatedocnum",
        ok(twice("Invoice", invoice(), include="allowduplicatedocnum")),
        no("6140", twice("Invoice", invoice())),
    ),
    Rule(
        "document numbers",
        "custom: what is sent, or none",
        gives("77", lambda b: number_of(b, custom=True, DocNumber=77)),
        gives(None, lambda b: number_of(b, custom=True)),
    ),
    Rule(
        "document numbers",
        "not custom: the last one and one more",
        gives(["1037", "1038"], lambda b: [number_of(b, custom=False) for _ in range(2)]),
        gives([None, None], lambda b: [number_of(b, custom=True) for _ in range(2)]),
    ),
    Rule(
        "document numbers",
        "empty is not omitted",
        gives("1037", lambda b: number_of(b, custom=False)),
        gives(None, lambda b: number_of(b, custom=False, DocNumber="")),
    ),
    Rule(
        "document numbers",
        "without custom numbers nothing is unique",
        ok(lambda b: (number_of(b, custom=False, DocNumber="N"), b.post("invoice", invoice(DocNumber="N")))[1]),
        no("6140", lambda b: (number_of(b, custom=True, DocNumber="N"), b.post("invoice", invoice(DocNumber="N")))[1]),
    ),
    Rule(
        "document numbers",
        "allowautodocnum for journals",
        gives(True, made("JournalEntry", journal(), lambda d: "DocNumber" in d, include="allowautodocnum")),
        gives(False, made("JournalEntry", journal(), lambda d: "DocNumber" in d)),
    ),
    Rule(
        "document numbers",
        "free again after a delete, kept by a void",
        ok(
            lambda b: (
                delete(b, "Invoice", b.make("Invoice", invoice(DocNumber="N"))),
                b.post("invoice", invoice(DocNumber="N")),
            )[1]
        ),
        no(
            "6140",
            lambda b: (void(b, "Invoice", b.make("Invoice", invoice(DocNumber="N"))), b.post("invoice", invoice(DocNumber="N")))[
                1
            ],
        ),
    ),
    # 9.4: closed books
    Rule(
        "closed books",
        "create",
        ok(closed(lambda b, d: b.post("invoice", invoice(TxnDate="2026-02-01")))),
        no("6210", closed(lambda b, d: b.post("invoice", invoice(TxnDate="2026-01-31")))),
    ),
    Rule(
        "closed books",
        "update",
        ok(closed(lambda b, d: edit(b, "Invoice", d, PrivateNote="x"), "2026-02-01")),
        no("6210", closed(lambda b, d: edit(b, "Invoice", d, PrivateNote="x"))),
    ),
    Rule(
        "closed books",
        "moved into the period",
        ok(closed(lambda b, d: edit(b, "Invoice", d, TxnDate="2026-02-02"), "2026-02-01")),
        no("6210", closed(lambda b, d: edit(b, "Invoice", d, TxnDate="2026-01-30"), "2026-02-01")),
    ),
    Rule(
        "closed books",
        "delete",
        ok(closed(lambda b, d: delete(b, "Invoice", d), "2026-02-01")),
        no("6210", closed(lambda b, d: delete(b, "Invoice", d))),
    ),
    Rule(
        "closed books",
        "void",
        ok(closed(lambda b, d: void(b, "Invoice", d), "2026-02-01")),
        no("6210", closed(lambda b, d: void(b, "Invoice", d))),
    ),
    Rule(
        "closed books",
        "bills",
        ok(closed(lambda b, d: b.post("bill", bill(TxnDate="2026-02-01")))),
        no("6210", closed(lambda b, d: b.post("bill", bill(TxnDate="2026-01-01")))),
    ),
    Rule(
        "closed books",
        "a date that is readable",
        gives("2026-01-31", lambda b: (b.prefer(BookCloseDate="2026-01-31"), closing_date(b))[1]),
        gives(None, closing_date),
    ),
    # 7: plans
    plan_rule("Bill", "simple_start", "essentials"),
    Rule(
        "plans",
        "BillPayment from essentials",
        no("2250", on_plan("essentials", "BillPayment", lambda: bill_payment(0))),
        no("5030", on_plan("simple_start", "BillPayment", lambda: bill_payment(0))),
    ),
    plan_rule("VendorCredit", "simple_start", "essentials"),
    plan_rule("TimeActivity", "simple_start", "essentials"),
    plan_rule("CompanyCurrency", "simple_start", "essentials"),
    plan_rule("Department", "simple_start", "essentials"),
    plan_rule("Class", "essentials", "plus"),
    plan_rule("PurchaseOrder", "essentials", "plus"),
    plan_rule("Budget", "essentials", "plus"),
    plan_rule("Item", "essentials", "plus", inventory()),
    Rule(
        "plans",
        "Simple Start writes invoices",
        ok(on_plan("simple_start", "Invoice", invoice)),
        no("5030", on_plan("simple_start", "Bill", bill)),
    ),
    Rule(
        "plans",
        "queries too",
        ok(asked_on_plan("essentials", "select * from BillPayment")),
        no("5030", asked_on_plan("simple_start", "select * from BillPayment")),
    ),
    Rule(
        "plans",
        "a class on a line",
        ok(post("Invoice", invoice(line(1, ClassRef={"value": "1"})))),
        no("5030", lambda b: (b.set(plan="essentials"), b.post("invoice", invoice(line(1, ClassRef={"value": "1"}))))[1]),
    ),
    Rule(
        "plans",
        "a location on a document",
        ok(post("Invoice", invoice(DepartmentRef={"value": "1"}))),
        no("5030", lambda b: (b.set(plan="simple_start"), b.post("invoice", invoice(DepartmentRef={"value": "1"})))[1]),
    ),
    Rule("usage limits", "40 classes and locations together", ok(lambda b: classes(b, 39)), no("6000", lambda b: classes(b, 40))),
    Rule("usage limits", "250 accounts", ok(lambda b: accounts(b, 249)), no("6000", lambda b: accounts(b, 250))),
)
