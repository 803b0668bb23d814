"""Random documents through the write rules: whatever is accepted, the invariants hold and a restored copy has the same books."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox.qbo.books.audit import invariants
from sandbox.qbo.books.ledger import attach, books_of
from sandbox.qbo.books.reports.catalogue import report
from sandbox.qbo.company.schema import KINDS
from sandbox.qbo.company.store import Company, Doc, restore, snapshot
from sandbox.qbo.control.seed import fill
from sandbox.qbo.documents.writes import Options, delete, save, void
from sandbox.qbo.rules.faults import Fault

CUSTOMERS, VENDORS = ["1", "2", "3"], ["51", "52"]
ITEMS = ["1", "2", "66", "SHIPPING_ITEM_ID", "STOCK"]
EXPENSES, BANKS, CARDS = ["7", "17", "20", "84", "33"], ["35", "36"], ["41"]
AMOUNT = st.decimals(min_value=Decimal("0"), max_value=Decimal("9999.99"), places=2)
FINE = st.decimals(min_value=Decimal("0"), max_value=Decimal("99"), places=4)  # lines may carry fractions of a cent
DAY = st.dates(min_value=date(2025, 6, 1), max_value=date(2026, 12, 31)).map(str)


def company() -> Company:
    """A seeded company with a stocked item."""
    made = Company("4620816365000000009")
    attach(made)
    fill(made)
    body = {
        "Name": "Brace",
        "Type": "Inventory",
        "TrackQtyOnHand": True,
        "QtyOnHand": Decimal(50),
        "InvStartDate": "2025-01-01",
        "PurchaseCost": Decimal("3.33"),
        "IncomeAccountRef": {"value": "79"},
        "ExpenseAccountRef": {"value": "80"},
        "AssetAccountRef": {"value": "81"},
    }
    made.roles["stock"] = save(made, KINDS["Item"], body)["Id"]
    for number, customer in enumerate(CUSTOMERS, 1):  # something to pay, edit and void from the first step on
        line = {
            "DetailType": "SalesItemLineDetail",
            "Amount": Decimal(100 * number),
            "SalesItemLineDetail": {"ItemRef": {"value": "1"}},
        }
        for kind in ("Invoice", "CreditMemo"):
            save(made, KINDS[kind], {"CustomerRef": {"value": customer}, "TxnDate": "2026-02-01", "Line": [line]})
    for vendor in VENDORS:
        detail = {"AccountRef": {"value": "17"}}
        cost = {
            "DetailType": "AccountBasedExpenseLineDetail",
            "Amount": Decimal("77.77"),
            "AccountBasedExpenseLineDetail": detail,
        }
        for kind in ("Bill", "VendorCredit"):
            save(made, KINDS[kind], {"VendorRef": {"value": vendor}, "TxnDate": "2026-02-01", "Line": [cost]})
    return made


def ref(values: list[str]) -> st.SearchStrategy[dict[str, str]]:
    return st.sampled_from(values).map(lambda value: {"value": value})


SALES_LINE = st.fixed_dictionaries(
    {
        "DetailType": st.just("SalesItemLineDetail"),
        "Amount": AMOUNT | FINE,
        "SalesItemLineDetail": st.fixed_dictionaries(
            {"ItemRef": ref(ITEMS)}, optional={"Qty": st.integers(0, 5).map(Decimal), "TaxCodeRef": ref(["TAX", "NON"])}
        ),
    }
)
DISCOUNT_LINE = st.fixed_dictionaries(
    {
        "DetailType": st.just("DiscountLineDetail"),
        "Amount": AMOUNT,
        "DiscountLineDetail": st.just({})
        | st.fixed_dictionaries({"PercentBased": st.just(True), "DiscountPercent": st.just(Decimal("8.5"))}),
    }
)
EXPENSE_LINE = st.fixed_dictionaries(
    {
        "DetailType": st.just("AccountBasedExpenseLineDetail"),
        "Amount": AMOUNT | FINE,
        "AccountBasedExpenseLineDetail": st.fixed_dictionaries({"AccountRef": ref(EXPENSES)}),
    }
) | st.fixed_dictionaries(
    {
        "DetailType": st.just("ItemBasedExpenseLineDetail"),
        "Amount": AMOUNT,
        "ItemBasedExpenseLineDetail": st.fixed_dictionaries(
            {"ItemRef": ref(ITEMS)}, optional={"Qty": st.integers(0, 5).map(Decimal)}
        ),
    }
)
SALES = st.fixed_dictionaries(
    {
        "CustomerRef": ref(CUSTOMERS),
        "TxnDate": DAY,
        "Line": st.tuples(st.lists(SALES_LINE, min_size=1, max_size=4), st.lists(DISCOUNT_LINE, max_size=1)).map(
            lambda t: [*t[0], *t[1]]
        ),
    },
    optional={"TxnTaxDetail": st.just({"TxnTaxCodeRef": {"value": "3"}})},
)
PURCHASING = st.fixed_dictionaries(
    {"VendorRef": ref(VENDORS), "TxnDate": DAY, "Line": st.lists(EXPENSE_LINE, min_size=1, max_size=3)}
)
JOURNAL_ACCOUNTS = ["35", "84", "33", "17", "1", "34"]


@st.composite
def journal(draw: st.DrawFn) -> Doc:
    amount = draw(AMOUNT)
    lines = []
    for sign in ("Debit", "Credit"):
        account = draw(st.sampled_from(JOURNAL_ACCOUNTS))
        detail: Doc = {"PostingType": sign, "AccountRef": {"value": account}}
        if account == "84":
            detail["Entity"] = {"Type": "Customer", "EntityRef": {"value": draw(st.sampled_from(CUSTOMERS))}}
        if account == "33":
            detail["Entity"] = {"Type": "Vendor", "EntityRef": {"value": draw(st.sampled_from(VENDORS))}}
        lines.append({"Amount": amount, "DetailType": "JournalEntryLineDetail", "JournalEntryLineDetail": detail})
    return {"TxnDate": draw(DAY), "Line": lines}


NEW: dict[str, st.SearchStrategy[Doc]] = {
    **dict.fromkeys(("CreditMemo", "Estimate", "SalesReceipt"), SALES),
    "Invoice": st.tuples(SALES, st.none() | AMOUNT).map(lambda t: {**t[0], **({"Deposit": t[1]} if t[1] else {})}),
    "RefundReceipt": st.tuples(SALES, ref(BANKS)).map(lambda t: {**t[0], "DepositToAccountRef": t[1]}),
    **dict.fromkeys(("Bill", "VendorCredit", "PurchaseOrder"), PURCHASING),
    "Purchase": st.tuples(PURCHASING, st.sampled_from(["Check", "CreditCard"]), st.booleans()).map(
        lambda t: {
            "TxnDate": t[0]["TxnDate"],
            "Line": t[0]["Line"],
            "PaymentType": t[1],
            "AccountRef": {"value": "35" if t[1] == "Check" else "41"},
            "Credit": t[2] and t[1] == "CreditCard",
            "EntityRef": {**t[0]["VendorRef"], "type": "Vendor"},
        }
    ),
    "Transfer": st.fixed_dictionaries(
        {"FromAccountRef": ref(BANKS), "ToAccountRef": ref(BANKS + CARDS), "Amount": AMOUNT, "TxnDate": DAY}
    ),
    "JournalEntry": journal(),
    "Customer": st.fixed_dictionaries({"DisplayName": st.uuids().map(str), "Balance": AMOUNT, "OpenBalanceDate": DAY}),
    "Vendor": st.fixed_dictionaries({"DisplayName": st.uuids().map(str), "Balance": AMOUNT, "OpenBalanceDate": DAY}),
}
STEP = st.one_of(
    *(st.tuples(st.just("new"), st.just(kind), body) for kind, body in NEW.items()),
    *(
        st.tuples(st.just(verb), st.integers(0, 1000), st.tuples(AMOUNT, st.integers(0, 1000)))
        for verb in ("pay",) * 4
        + ("paybill",) * 3
        + ("edit", "edit", "move", "move", "void", "void", "delete", "delete", "deposit", "reprice")
    ),
)
ALL_TXNS = (
    "Invoice",
    "CreditMemo",
    "SalesReceipt",
    "RefundReceipt",
    "Payment",
    "Bill",
    "VendorCredit",
    "BillPayment",
    "Purchase",
    "Deposit",
    "Transfer",
    "JournalEntry",
)


def pick(rows: list[Any], number: int) -> Any:
    return rows[number % len(rows)] if rows else None


def txns(made: Company, kinds: tuple[str, ...]) -> list[tuple[str, Doc]]:
    return [(kind, doc) for kind in kinds for doc in made.rows(kind)]


def take(made: Company, step: tuple[str, Any, Any]) -> None:
    """One step; a Fault is a refusal and must leave no trace."""
    verb, first, second = step
    if verb == "new":
        save(made, KINDS[first], stocked(made, second))
        return
    amount, other = second
    if verb in {"pay", "paybill"}:
        pay(made, "Invoice" if verb == "pay" else "Bill", first, amount, other)
    elif verb == "deposit":
        source = pick(txns(made, ("Payment", "SalesReceipt")), first)
        if source:
            link = {"TxnId": source[1]["Id"], "TxnType": source[0], "TxnLineId": "0"}
            line = {"Amount": source[1]["TotalAmt"], "LinkedTxn": [link]}
            save(made, KINDS["Deposit"], {"DepositToAccountRef": {"value": "35"}, "Line": [line]})
    elif verb == "reprice":
        item = made.entities["Item"][made.roles["stock"]]
        seen = made.present("Item", item)["QtyOnHand"]  # clients send back what they read
        body = {"Id": item["Id"], "SyncToken": item["SyncToken"], "sparse": True, "PurchaseCost": amount, "QtyOnHand": seen}
        save(made, KINDS["Item"], body)
    else:
        found = pick(txns(made, ALL_TXNS), first)
        if found:
            change(made, verb, found[0], found[1], amount, other)


def stocked(made: Company, body: Doc) -> Doc:
    """The body with the stocked item's real Id."""
    if body == {"value": "STOCK"}:
        return {"value": made.roles["stock"]}
    return {
        key: stocked(made, value)
        if isinstance(value, dict)
        else [stocked(made, v) for v in value]
        if isinstance(value, list)
        else value
        for key, value in body.items()
    }


def pay(made: Company, kind: str, first: int, amount: Decimal, other: int) -> None:
    target = pick(list(made.rows(kind)), first)
    if target is None:
        return
    lines = [{"Amount": min(amount, target["Balance"]), "LinkedTxn": [{"TxnId": target["Id"], "TxnType": kind}]}]
    credit_kind = "CreditMemo" if kind == "Invoice" else "VendorCredit"
    owner = "CustomerRef" if kind == "Invoice" else "VendorRef"
    credit = pick([c for c in made.rows(credit_kind) if c[owner]["value"] == target[owner]["value"]], other)
    used = Decimal(0)
    if credit is not None and other % 2:
        used = min(credit["Balance"], lines[0]["Amount"])
        lines.append({"Amount": used, "LinkedTxn": [{"TxnId": credit["Id"], "TxnType": credit_kind}]})
    paid = lines[0]["Amount"] - used
    if kind == "Invoice":
        extra = amount - lines[0]["Amount"]  # what is paid too much stays unapplied
        save(
            made,
            KINDS["Payment"],
            {"CustomerRef": target[owner], "TotalAmt": paid + max(extra, Decimal(0)), "Line": lines, "TxnDate": "2026-07-01"},
        )
    else:
        bank = {"CheckPayment": {"BankAccountRef": {"value": "35"}}, "PayType": "Check"}
        save(made, KINDS["BillPayment"], {"VendorRef": target[owner], "TotalAmt": paid, "Line": lines, **bank})


def change(made: Company, verb: str, kind: str, doc: Doc, amount: Decimal, other: int) -> None:
    entity, own = KINDS[kind], {"Id": doc["Id"], "SyncToken": doc["SyncToken"]}
    if verb == "delete":
        delete(made, entity, own)
    elif verb == "void":
        void(made, entity, own)
    elif verb == "move" and "CustomerRef" in doc:
        save(made, entity, {**own, "sparse": True, "CustomerRef": {"value": CUSTOMERS[other % len(CUSTOMERS)]}})
    elif (
        verb == "edit"
        and doc.get("Line")
        and kind in {"Invoice", "Bill", "CreditMemo", "SalesReceipt", "Purchase", "VendorCredit"}
    ):
        lines = [line for line in doc["Line"] if line["DetailType"] not in {"SubTotalLineDetail", "DiscountLineDetail"}]
        lines = [{**lines[0], "Amount": amount}, *lines[1:]]
        save(made, entity, {**own, "sparse": True, "Line": lines}, Options(person=True))


def ledger_of(made: Company) -> dict[str, int]:
    return {account: cents for account, cents in books_of(made).balance.items() if cents}


@settings(max_examples=120, deadline=None)
@given(st.lists(STEP, min_size=12, max_size=50), st.booleans())
def test_whatever_is_accepted_the_books_are_right(steps: list[tuple[str, Any, Any]], applies: bool) -> None:
    made = company()
    forms = {**made.preferences["SalesFormsPrefs"], "AutoApplyCredit": applies}
    made.put("Preferences", {**made.preferences, "SalesFormsPrefs": forms})
    for step in steps:
        before = ledger_of(made)
        try:
            take(made, step)
        except Fault:
            assert ledger_of(made) == before, step
        assert invariants(made) == [], step
    wide = {"start_date": "2020-01-01", "end_date": "2030-12-31"}
    for basis in ("Accrual", "Cash"):
        trial = report(made, "TrialBalance", {**wide, "accounting_method": basis})
        total = trial["Rows"]["Row"][-1]["Summary"]["ColData"]
        assert total[1]["value"] == total[2]["value"]
        sheet = report(made, "BalanceSheet", {**wide, "accounting_method": basis})
        assets, other = (row["Summary"]["ColData"][1]["value"] for row in sheet["Rows"]["Row"])
        assert assets == other
    for name, role in (("AgedReceivables", "receivable"), ("AgedPayables", "payable")):
        rows = report(made, name, {"report_date": "2030-12-31"})["Rows"].get("Row")
        aged = Decimal(rows[-1]["Summary"]["ColData"][-1]["value"]) if rows else Decimal(0)
        assert abs(aged) == abs(Decimal(ledger_of(made).get(made.roles[role], 0)) / 100)
    copy = Company(made.realm_id)
    attach(copy)
    restore(copy, snapshot(made))
    assert ledger_of(copy) == ledger_of(made)
    assert books_of(copy).stock == books_of(made).stock
    assert invariants(copy) == []
