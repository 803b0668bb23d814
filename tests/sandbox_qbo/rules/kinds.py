"""Kinds with rules of their own: hours, stock, journals, deposits, estimates, credits, bank, currency."""

from __future__ import annotations

from typing import Any

import httpx

from ..acts import delete, edit, linked
from ..bodies import (
    deposit,
    inventory,
    invoice,
    journal,
    line,
    payment,
    posting,
    purchase,
    time_activity,
)
from ..conftest import Books
from .writing import (
    Rule,
    gives,
    made,
    no,
    ok,
    refused,
)


def multicurrency(books: Books, *, on: bool) -> httpx.Response:
    books.prefer(CurrencyPrefs={"MultiCurrencyEnabled": on})
    books.make("CompanyCurrency", {"Code": "EUR"})
    return books.post("invoice", invoice(CurrencyRef={"value": "EUR"}))


def estimated(books: Books, *, link: bool) -> tuple[Any, ...]:
    """(status, how many links) of an estimate once an invoice was made."""
    doc = books.make("Estimate", invoice())
    links = [{"TxnId": doc["Id"], "TxnType": "Estimate"}] if link else []
    books.make("Invoice", invoice(LinkedTxn=links))
    now = books.get("Estimate", doc["Id"])
    return now["TxnStatus"], len(now.get("LinkedTxn", []))


def links_of(books: Books, amount: int) -> httpx.Response:
    links = [{"TxnId": books.make("Estimate", invoice())["Id"], "TxnType": "Estimate"} for _ in range(amount)]
    return books.post("invoice", invoice(LinkedTxn=links))


def in_deposit(books: Books, *, deposited: bool) -> httpx.Response:
    paid = books.make("Payment", payment(20))
    if deposited:
        books.make("Deposit", {**deposit(), "Line": [linked(20, paid)]})
    return edit(books, "Payment", books.get("Payment", paid["Id"]), TotalAmt=21)


def twice_deposited(books: Books, *, twice: bool) -> httpx.Response:
    paid = books.make("Payment", payment(20))
    if twice:
        books.make("Deposit", {**deposit(), "Line": [linked(20, paid)]})
    return books.post("deposit", {**deposit(), "Line": [linked(20, paid)]})


def owed(books: Books, credit: int) -> Any:
    """Balance of an invoice of 100 after a credit memo and a payment of nothing that links them."""
    doc, memo = books.make("Invoice", invoice()), books.make("CreditMemo", invoice(line(30)))
    if credit:
        books.make("Payment", payment(0, ("Invoice", doc["Id"], credit), ("CreditMemo", memo["Id"], credit)))
    return books.get("Invoice", doc["Id"])["Balance"]


def over_credit(books: Books, credit: int) -> httpx.Response:
    doc, memo = books.make("Invoice", invoice()), books.make("CreditMemo", invoice(line(30)))
    return books.post("payment", payment(0, ("Invoice", doc["Id"], credit), ("CreditMemo", memo["Id"], credit)))


def stocked(books: Books, **change: Any) -> httpx.Response:
    return edit(books, "Item", books.make("Item", inventory()), **change)


def without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name} | {"Name": f"without {name}"}


def matched(books: Books, *, matched: bool) -> httpx.Response:
    doc = books.make("Payment", payment(5))
    books.person("match" if matched else "unmatch", "Payment", doc["Id"])
    return delete(books, "Payment", doc)


RULES: tuple[Rule, ...] = (
    # other kinds
    refused(
        "time activities",
        "an employee's has an employee",
        "TimeActivity",
        "6290",
        time_activity(),
        time_activity(EmployeeRef=None),
    ),
    refused(
        "time activities",
        "hours or a span",
        "TimeActivity",
        "6350",
        time_activity(Minutes=None),
        time_activity(Hours=None, Minutes=None),
    ),
    refused("inventory", "needs its three accounts", "Item", "2020", inventory(), without(inventory(), "AssetAccountRef")),
    refused("inventory", "is tracked", "Item", "2020", inventory(), without(inventory(), "TrackQtyOnHand")),
    refused("inventory", "has a start", "Item", "6520", inventory(), without(inventory(), "InvStartDate")),
    refused("inventory", "costs go to cost of goods", "Item", "6430", inventory(), inventory(ExpenseAccountRef={"value": "7"})),
    refused("inventory", "income goes to income", "Item", "6430", inventory(), inventory(IncomeAccountRef={"value": "35"})),
    Rule(
        "inventory",
        "tracking stays",
        ok(lambda b: stocked(b, UnitPrice=5)),
        no("6000", lambda b: stocked(b, TrackQtyOnHand=False, Type="NonInventory")),
    ),
    refused(
        "journals",
        "debits are credits",
        "JournalEntry",
        "2300",
        journal(),
        journal(posting("Debit", 10), posting("Credit", 9, "8")),
    ),
    refused("journals", "both sides", "JournalEntry", "6000", journal(), journal(posting("Debit", 0))),
    refused(
        "journals",
        "a customer on receivables",
        "JournalEntry",
        "6000",
        journal(posting("Debit", 10, "84", Entity={"Type": "Customer", "EntityRef": {"value": "1"}}), posting("Credit", 10)),
        journal(posting("Debit", 10, "84"), posting("Credit", 10)),
    ),
    refused(
        "journals",
        "a vendor on payables",
        "JournalEntry",
        "6000",
        journal(posting("Credit", 10, "33", Entity={"Type": "Vendor", "EntityRef": {"value": "51"}}), posting("Debit", 10)),
        journal(posting("Credit", 10, "33", Entity={"Type": "Customer", "EntityRef": {"value": "1"}}), posting("Debit", 10)),
    ),
    Rule(
        "journals",
        "TotalAmt is nothing",
        gives(0, made("JournalEntry", journal(), lambda d: d["TotalAmt"])),
        gives(5, made("Deposit", deposit(5), lambda d: d["TotalAmt"])),
    ),
    Rule(
        "deposits",
        "what is in one cannot change",
        ok(lambda b: in_deposit(b, deposited=False)),
        no("6540", lambda b: in_deposit(b, deposited=True)),
    ),
    Rule(
        "deposits",
        "nothing goes in twice",
        ok(lambda b: twice_deposited(b, twice=False)),
        no("620", lambda b: twice_deposited(b, twice=True)),
    ),
    refused("deposits", "into a bank account", "Deposit", "6430", deposit(), deposit(DepositToAccountRef={"value": "7"})),
    Rule(
        "estimates",
        "an invoice closes its estimate",
        gives(("Closed", 1), lambda b: estimated(b, link=True)),
        gives(("Pending", 0), lambda b: estimated(b, link=False)),
    ),
    Rule("estimates", "one for each invoice", ok(lambda b: links_of(b, 1)), no("2600", lambda b: links_of(b, 2))),
    Rule(
        "credits",
        "a payment of nothing applies a credit memo",
        gives(70, lambda b: owed(b, 30)),
        gives(100, lambda b: owed(b, 0)),
    ),
    Rule("credits", "not more than it has", ok(lambda b: over_credit(b, 30)), no("6000", lambda b: over_credit(b, 31))),
    Rule(
        "merchant and bank",
        "matched transactions stay",
        ok(lambda b: matched(b, matched=False)),
        no("6480", lambda b: matched(b, matched=True)),
    ),
    refused(
        "merchant and bank",
        "no card numbers",
        "Payment",
        "6530",
        payment(5, CreditCardPayment={"CreditChargeInfo": {"Number": "1111"}}),
        payment(5, CreditCardPayment={"CreditChargeInfo": {"Number": "4111-1111-1111-1111"}}),
    ),
    refused(
        "merchant and bank",
        "a check comes from a bank",
        "Purchase",
        "6430",
        purchase(PaymentType="CreditCard", AccountRef={"value": "41"}),
        purchase(AccountRef={"value": "41"}),
    ),
    refused(
        "currency",
        "the home currency, or multicurrency",
        "Invoice",
        "2220",
        invoice(CurrencyRef={"value": "USD"}),
        invoice(CurrencyRef={"value": "EUR"}),
    ),
    Rule(
        "currency",
        "others once they are switched on",
        ok(lambda b: multicurrency(b, on=True)),
        no("2220", lambda b: multicurrency(b, on=False)),
    ),
    refused("currency", "ISO codes", "CompanyCurrency", "2220", {"Code": "EUR"}, {"Code": "eur"}),
)
