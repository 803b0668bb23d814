"""Documents that change: balances and links, sparse and full updates, SyncTokens, void, delete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from ..acts import delete, edit, void
from ..bodies import (
    bill,
    bill_payment,
    expense,
    invoice,
    journal,
    line,
    payment,
    posting,
    time_activity,
)
from ..conftest import Books
from .writing import (
    Rule,
    customer,
    gives,
    made,
    no,
    ok,
    refused,
    updated,
)


def paid_invoice(books: Books, applied: int = 60, total: int = 70) -> tuple[dict[str, Any], dict[str, Any]]:
    doc = books.make("Invoice", invoice())
    return doc, books.make("Payment", payment(total, ("Invoice", doc["Id"], applied)))


def after_payment(read: Callable[[dict[str, Any], dict[str, Any]], Any], applied: int = 60) -> Callable[[Books], Any]:
    """Something of the invoice and of the payment after it was paid; 0 applied: paid elsewhere."""

    def go(books: Books) -> Any:
        if applied:
            doc, paid = paid_invoice(books, applied)
        else:
            doc, paid = books.make("Invoice", invoice()), books.make("Payment", payment(70))
        return read(books.get("Invoice", doc["Id"]), paid)

    return go


def after_undoing(act: Callable[[Books, str, dict[str, Any]], httpx.Response] | None) -> Callable[[Books], Any]:
    """(Balance, links) of an invoice once its payment was voided or deleted; None: left alone."""

    def go(books: Books) -> Any:
        doc, paid = paid_invoice(books)
        if act is not None:
            assert act(books, "Payment", paid).status_code == 200
        now = books.get("Invoice", doc["Id"])
        return now["Balance"], len(now["LinkedTxn"])

    return go


def voided(
    kind: str, body: dict[str, Any], read: Callable[[dict[str, Any]], Any], *, really: bool = True
) -> Callable[[Books], Any]:
    def go(books: Books) -> Any:
        doc = books.make(kind, body)
        if really:
            assert void(books, kind, doc).status_code == 200
        return read(books.get(kind, doc["Id"]))

    return go


def family(books: Books, same: bool) -> httpx.Response:
    """A payment by one customer of another's invoice; by a parent of its job's."""
    child = {"ParentRef": {"value": "1"}, "Job": True} if same else {}
    other = books.make("Customer", {"DisplayName": "payer's", **child})
    doc = books.make("Invoice", invoice(CustomerRef={"value": other["Id"]}))
    return books.post("payment", payment(5, ("Invoice", doc["Id"], 5)))


def bill_balance(books: Books, pay: int) -> Any:
    doc = books.make("Bill", bill())
    if pay:
        books.make("BillPayment", bill_payment(pay, ("Bill", doc["Id"], pay)))
    now = books.get("Bill", doc["Id"])
    return now["Balance"], [link["TxnType"] for link in now["LinkedTxn"]]


def shrink_bill(books: Books, amount: int) -> httpx.Response:
    doc = books.make("Bill", bill())
    books.make("BillPayment", bill_payment(40, ("Bill", doc["Id"], 40)))
    return edit(books, "Bill", books.get("Bill", doc["Id"]), Line=[expense(amount)])


def shrink_invoice(books: Books, amount: int) -> Any:
    """(balance of the invoice, unapplied money of its payment) after the amount was changed."""
    doc, paid = paid_invoice(books, 60, 60)
    edit(books, "Invoice", books.get("Invoice", doc["Id"]), Line=[line(amount)])
    return books.get("Invoice", doc["Id"])["Balance"], books.get("Payment", paid["Id"])["UnappliedAmt"]


def other_owner(books: Books, *, paid: bool) -> httpx.Response:
    doc = paid_invoice(books)[0] if paid else books.make("Invoice", invoice())
    return edit(books, "Invoice", books.get("Invoice", doc["Id"]), CustomerRef={"value": "2"})


def amounts(doc: dict[str, Any]) -> tuple[Any, ...]:
    return doc["TotalAmt"], doc["Balance"], doc["Line"][0]["SalesItemLineDetail"]["Qty"]


def pay(books: Books, total: int, applied: int, kind: str = "Invoice") -> httpx.Response:
    doc = books.make(kind, invoice())
    return books.post("payment", payment(total, (kind, doc["Id"], applied)))


def renamed(books: Books, name: str) -> str:
    doc = books.make("Customer", {"DisplayName": "Named"})
    return str(edit(books, "Customer", doc, DisplayName=name).json()["Customer"]["DisplayName"])


def credit_voided(books: Books, *, used: bool) -> httpx.Response:
    doc, memo = books.make("Invoice", invoice()), books.make("CreditMemo", invoice(line(30)))
    if used:
        books.make("Payment", payment(0, ("Invoice", doc["Id"], 10), ("CreditMemo", memo["Id"], 10)))
    body = {"realm": books.realm, "operation": "void", "entity": "CreditMemo", "Id": memo["Id"]}
    return books.standin.http.post("/control/person", json=body)


def freed(books: Books, *, really: bool) -> Any:
    """Unapplied money of a payment of 70 that paid 60 of an invoice."""
    doc, paid = paid_invoice(books)
    if really:
        void(books, "Invoice", doc)
    return books.get("Payment", paid["Id"])["UnappliedAmt"]


def after_delete(books: Books) -> httpx.Response:
    doc = books.make("Invoice", invoice())
    delete(books, "Invoice", doc)
    return books.call("GET", f"invoice/{doc['Id']}")


def stub_of(books: Books) -> dict[str, Any]:
    body = delete(books, "Invoice", books.make("Invoice", invoice())).json()["Invoice"]
    return {k: v for k, v in body.items() if k != "Id"}


def delete_paid_bill(books: Books) -> httpx.Response:
    doc = books.make("Bill", bill())
    books.make("BillPayment", bill_payment(50, ("Bill", doc["Id"], 50)))
    return delete(books, "Bill", doc)


def delete_order(books: Books, *, used: bool) -> httpx.Response:
    doc = books.make("PurchaseOrder", bill())
    if used:
        books.make("Bill", bill(LinkedTxn=[{"TxnId": doc["Id"], "TxnType": "PurchaseOrder"}]))
    return delete(books, "PurchaseOrder", doc)


def delete_hours(books: Books, *, used: bool) -> httpx.Response:
    doc = books.make("TimeActivity", time_activity())
    if used:
        books.make("Invoice", invoice(LinkedTxn=[{"TxnId": doc["Id"], "TxnType": "TimeActivity"}]))
    return delete(books, "TimeActivity", doc)


def delete_journal(books: Books, *, paid: bool) -> httpx.Response:
    owes = posting("Debit", 10, "84", Entity={"Type": "Customer", "EntityRef": {"value": "1"}})
    doc = books.make("JournalEntry", journal(owes, posting("Credit", 10)))
    if paid:
        books.make("Payment", payment(10, ("JournalEntry", doc["Id"], 10)))
    return delete(books, "JournalEntry", doc)


RULES: tuple[Rule, ...] = (
    # balance and links
    Rule(
        "balance and links",
        "a payment moves the balance",
        gives(40, after_payment(lambda d, p: d["Balance"])),
        gives(100, after_payment(lambda d, p: d["Balance"], 0)),
    ),
    Rule(
        "balance and links",
        "and shows as a link",
        gives(["Payment"], after_payment(lambda d, p: [e["TxnType"] for e in d["LinkedTxn"]])),
        gives([], after_payment(lambda d, p: d["LinkedTxn"], 0)),
    ),
    Rule(
        "balance and links",
        "and moves the SyncToken",
        gives("1", after_payment(lambda d, p: d["SyncToken"])),
        gives("0", after_payment(lambda d, p: d["SyncToken"], 0)),
    ),
    Rule(
        "balance and links",
        "what is not applied is unapplied",
        gives(10, after_payment(lambda d, p: p["UnappliedAmt"])),
        gives(70, after_payment(lambda d, p: p["UnappliedAmt"], 0)),
    ),
    Rule("balance and links", "not more than is paid", ok(lambda b: pay(b, 50, 50)), no("6000", lambda b: pay(b, 50, 51))),
    Rule("balance and links", "not more than is open", ok(lambda b: pay(b, 200, 100)), no("6000", lambda b: pay(b, 200, 101))),
    Rule("balance and links", "not another's invoice", ok(lambda b: family(b, True)), no("620", lambda b: family(b, False))),
    Rule(
        "balance and links", "only what can be paid", ok(lambda b: pay(b, 5, 5)), no("2170", lambda b: pay(b, 5, 5, "Estimate"))
    ),
    Rule(
        "balance and links", "a voided payment lets go", gives((40, 1), after_undoing(None)), gives((100, 0), after_undoing(void))
    ),
    Rule(
        "balance and links",
        "a deleted payment lets go",
        gives((40, 1), after_undoing(None)),
        gives((100, 0), after_undoing(delete)),
    ),
    Rule(
        "balance and links",
        "bill payments",
        gives((0, ["BillPaymentCheck"]), lambda b: bill_balance(b, 50)),
        gives((50, []), lambda b: bill_balance(b, 0)),
    ),
    Rule(
        "balance and links",
        "a bill payment names what it pays",
        ok(lambda b: b.post("billpayment", bill_payment(50, ("Bill", b.make("Bill", bill())["Id"], 50)))),
        no("6000", lambda b: b.post("billpayment", bill_payment(51, ("Bill", b.make("Bill", bill())["Id"], 50)))),
    ),
    Rule(
        "balance and links",
        "an invoice below what is paid frees the rest",
        gives((0, 10), lambda b: shrink_invoice(b, 50)),
        gives((10, 0), lambda b: shrink_invoice(b, 70)),
    ),
    Rule(
        "balance and links",
        "a bill not below what is paid",
        ok(lambda b: shrink_bill(b, 40)),
        no("6000", lambda b: shrink_bill(b, 39)),
    ),
    Rule(
        "balance and links",
        "what is paid keeps its owner",
        ok(lambda b: other_owner(b, paid=False)),
        no("6000", lambda b: other_owner(b, paid=True)),
    ),
    Rule(
        "balance and links",
        "the customer's balance",
        gives(40, lambda b: (paid_invoice(b, 60, 60), b.get("Customer", "1")["Balance"])[1]),
        gives(0, lambda b: b.get("Customer", "1")["Balance"]),
    ),
    refused("balance and links", "a deposit within the total", "Invoice", "6000", invoice(Deposit=100), invoice(Deposit=101)),
    # sparse, full, SyncToken
    Rule(
        "sparse and full",
        "sparse keeps what is not named",
        gives(
            "keep",
            updated(invoice(PrivateNote="keep"), {"sparse": True, "DueDate": "2030-01-01"}, lambda d: d.get("PrivateNote")),
        ),
        gives(None, updated(invoice(PrivateNote="keep"), invoice(), lambda d: d.get("PrivateNote"))),
    ),
    Rule(
        "sparse and full",
        "a null empties",
        gives("keep", updated(invoice(PrivateNote="keep"), {"sparse": True}, lambda d: d.get("PrivateNote"))),
        gives(None, updated(invoice(PrivateNote="keep"), {"sparse": True, "PrivateNote": None}, lambda d: d.get("PrivateNote"))),
    ),
    Rule(
        "sparse and full",
        "a full update names what is required",
        ok(lambda b: edit(b, "Invoice", b.make("Invoice", invoice()), PrivateNote="x")),
        no("2020", lambda b: edit(b, "Invoice", b.make("Invoice", invoice()), PrivateNote="x", sparse=False)),
    ),
    Rule(
        "sparse and full",
        "a name cannot be emptied",
        gives("Named 2", lambda b: renamed(b, "Named 2")),
        gives("Named", lambda b: renamed(b, "")),
    ),
    Rule(
        "sparse and full",
        "a currency cannot be changed",
        ok(lambda b: edit(b, "Customer", b.get("Customer", "1"), CurrencyRef={"value": "USD"})),
        no("6000", lambda b: edit(b, "Customer", b.get("Customer", "1"), CurrencyRef={"value": "EUR"})),
    ),
    Rule(
        "sync token",
        "the present one",
        ok(lambda b: edit(b, "Invoice", b.make("Invoice", invoice()))),
        no("5010", lambda b: edit(b, "Invoice", {**b.make("Invoice", invoice()), "SyncToken": "1"})),
    ),
    Rule(
        "sync token",
        "is required",
        ok(lambda b: edit(b, "Invoice", b.make("Invoice", invoice()))),
        no("2020", lambda b: edit(b, "Invoice", {**b.make("Invoice", invoice()), "SyncToken": ""})),
    ),
    Rule(
        "sync token",
        "of a delete",
        ok(lambda b: delete(b, "Invoice", b.make("Invoice", invoice()))),
        no("5010", lambda b: b.post("invoice", {"Id": b.make("Invoice", invoice())["Id"], "SyncToken": "9"}, operation="delete")),
    ),
    Rule(
        "sync token",
        "one more with each change",
        gives("1", updated(invoice(), {"sparse": True, "PrivateNote": "x"}, lambda d: d["SyncToken"])),
        gives("0", made("Invoice", invoice(), lambda d: d["SyncToken"])),
    ),
    # void, delete
    Rule(
        "void",
        "amounts and quantities are nothing",
        gives((10, 10, 2), voided("Invoice", invoice(line(10, Qty=2, UnitPrice=5)), amounts, really=False)),
        gives((0, 0, 0), voided("Invoice", invoice(line(10, Qty=2, UnitPrice=5)), amounts)),
    ),
    Rule(
        "void",
        "the note says so",
        gives("n", voided("Invoice", invoice(PrivateNote="n"), lambda d: d["PrivateNote"], really=False)),
        gives(
            True,
            voided(
                "Invoice",
                invoice(PrivateNote="n"),
                lambda d: d["PrivateNote"].startswith("Voided") and d["PrivateNote"].endswith("n"),
            ),
        ),
    ),
    Rule(
        "void",
        "the number stays",
        gives("N", voided("Invoice", invoice(DocNumber="N"), lambda d: d["DocNumber"])),
        gives(None, voided("Invoice", invoice(), lambda d: d.get("DocNumber"))),
    ),
    Rule(
        "void",
        "a payment loses its lines",
        gives((5, 0), voided("Payment", payment(5), lambda d: (d["TotalAmt"], len(d["Line"])), really=False)),
        gives((0, 0), voided("Payment", payment(5), lambda d: (d["TotalAmt"], len(d["Line"])))),
    ),
    Rule(
        "void",
        "frees the payments of an invoice",
        gives(10, lambda b: freed(b, really=False)),
        gives(70, lambda b: freed(b, really=True)),
    ),
    Rule(
        "void",
        "sales receipts by include=void",
        ok(lambda b: void(b, "SalesReceipt", b.make("SalesReceipt", invoice()))),
        no("500", lambda b: void(b, "CreditMemo", b.make("CreditMemo", invoice()))),
    ),
    Rule(
        "void",
        "payments by include=void alone",
        ok(lambda b: void(b, "Payment", b.make("Payment", payment(5)))),
        no("500", lambda b: b.post("payment", {"Id": b.make("Payment", payment(5))["Id"], "SyncToken": "0"}, operation="void")),
    ),
    Rule(
        "void",
        "a credit memo by a person, while nothing of it is used",
        ok(lambda b: credit_voided(b, used=False)),
        no("6450", lambda b: credit_voided(b, used=True)),
    ),
    Rule(
        "void",
        "bills have none",
        ok(lambda b: void(b, "Invoice", b.make("Invoice", invoice()))),
        no("500", lambda b: void(b, "Bill", b.make("Bill", bill()))),
    ),
    Rule(
        "delete",
        "what is gone is not found",
        ok(lambda b: b.call("GET", f"invoice/{b.make('Invoice', invoice())['Id']}")),
        no("610", after_delete),
    ),
    Rule(
        "delete",
        "name lists have none",
        ok(lambda b: edit(b, "Customer", b.make("Customer", customer("d")), Active=False)),
        no("500", lambda b: delete(b, "Customer", b.make("Customer", customer("e")))),
    ),
    Rule(
        "delete",
        "not while payments are linked",
        ok(lambda b: delete(b, "Invoice", b.make("Invoice", invoice()))),
        no("6400", lambda b: delete(b, "Invoice", paid_invoice(b)[0])),
    ),
    Rule("delete", "not a paid bill", ok(lambda b: delete(b, "Bill", b.make("Bill", bill()))), no("6400", delete_paid_bill)),
    Rule(
        "delete",
        "not an order that a bill was made of",
        ok(lambda b: delete_order(b, used=False)),
        no("800", lambda b: delete_order(b, used=True)),
    ),
    Rule(
        "delete",
        "not hours that are invoiced",
        ok(lambda b: delete_hours(b, used=False)),
        no("800", lambda b: delete_hours(b, used=True)),
    ),
    Rule(
        "delete",
        "not a journal entry that is paid",
        ok(lambda b: delete_journal(b, paid=False)),
        no("800", lambda b: delete_journal(b, paid=True)),
    ),
    Rule(
        "delete",
        "answers a stub",
        gives({"status": "Deleted", "domain": "QBO"}, stub_of),
        gives({"domain": "QBO"}, made("Invoice", invoice(), lambda d: {k: v for k, v in d.items() if k in ("status", "domain")})),
    ),
)
