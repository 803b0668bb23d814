"""Each kind's postings with exact accounts, and their reversal on update, void and delete."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from ledger_of import D, Ledger, applied, sold, spent
from sandbox.qbo.books.audit import audit

CUSTOMER = {"value": "1"}
VENDOR = {"value": "7"}

# Role numbers as ledger_of assigns them: checking 9, credit_card 17, rent 18.
SALES_LINES = [sold("1", "100.00"), sold("SHIPPING_ITEM_ID", "5.00")]
DISCOUNT = {"Amount": D("10.00"), "DetailType": "DiscountLineDetail", "DiscountLineDetail": {}}
SUBTOTAL = {"Amount": D("105.00"), "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}}
TAX = {"TotalTax": D("7.60")}
FORM = {"CustomerRef": CUSTOMER, "Line": [*SALES_LINES, SUBTOTAL, DISCOUNT], "TxnTaxDetail": TAX, "TotalAmt": D("102.60")}
EXPENSES = {"Line": [spent("18", "40.00"), spent("18", "2.50")], "TotalAmt": D("42.50")}


def journal_line(sign: str, account: str, amount: str, entity: dict[str, Any] | None = None) -> dict[str, Any]:
    detail: dict[str, Any] = {"PostingType": sign, "AccountRef": {"value": account}}
    if entity:
        detail["Entity"] = entity
    return {"Amount": D(amount), "DetailType": "JournalEntryLineDetail", "JournalEntryLineDetail": detail}


POSTED: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    (
        "Invoice",
        {**FORM, "Balance": D("102.60")},
        {"receivable": "102.60", "services": "-100", "shipping": "-5", "discounts": "10", "tax_payable": "-7.60"},
    ),
    (
        "CreditMemo",
        {**FORM, "RemainingCredit": D("102.60")},
        {"receivable": "-102.60", "services": "100", "shipping": "5", "discounts": "-10", "tax_payable": "7.60"},
    ),
    (
        "SalesReceipt",
        FORM,
        {"undeposited": "102.60", "services": "-100", "shipping": "-5", "discounts": "10", "tax_payable": "-7.60"},
    ),
    (
        "SalesReceipt",
        {**FORM, "DepositToAccountRef": {"value": "9"}},
        {"checking": "102.60", "services": "-100", "shipping": "-5", "discounts": "10", "tax_payable": "-7.60"},
    ),
    (
        "RefundReceipt",
        {**FORM, "DepositToAccountRef": {"value": "9"}},
        {"checking": "-102.60", "services": "100", "shipping": "5", "discounts": "-10", "tax_payable": "7.60"},
    ),
    (
        "Payment",
        {"CustomerRef": CUSTOMER, "TotalAmt": D("30.00"), "UnappliedAmt": D("30.00")},
        {"undeposited": "30", "receivable": "-30"},
    ),
    ("Bill", {"VendorRef": VENDOR, **EXPENSES, "Balance": D("42.50")}, {"payable": "-42.50", "rent": "42.50"}),
    ("VendorCredit", {"VendorRef": VENDOR, **EXPENSES, "Balance": D("42.50")}, {"payable": "42.50", "rent": "-42.50"}),
    (
        "BillPayment",
        {"VendorRef": VENDOR, "TotalAmt": D("9.00"), "PayType": "Check", "CheckPayment": {"BankAccountRef": {"value": "9"}}},
        {"checking": "-9", "payable": "9"},
    ),
    (
        "BillPayment",
        {
            "VendorRef": VENDOR,
            "TotalAmt": D("9.00"),
            "PayType": "CreditCard",
            "CreditCardPayment": {"CCAccountRef": {"value": "17"}},
        },
        {"credit_card": "-9", "payable": "9"},
    ),
    ("Purchase", {"PaymentType": "Cash", "AccountRef": {"value": "9"}, **EXPENSES}, {"checking": "-42.50", "rent": "42.50"}),
    (
        "Purchase",
        {"PaymentType": "CreditCard", "Credit": True, "AccountRef": {"value": "17"}, **EXPENSES},
        {"credit_card": "42.50", "rent": "-42.50"},
    ),
    (
        "Deposit",
        {
            "DepositToAccountRef": {"value": "9"},
            "TotalAmt": D("80.00"),
            "CashBack": {"AccountRef": {"value": "18"}, "Amount": D("20.00")},
            "Line": [
                {"Amount": D("100.00"), "DetailType": "DepositLineDetail", "DepositLineDetail": {"AccountRef": {"value": "10"}}}
            ],
        },
        {"checking": "80", "rent": "20", "sales": "-100"},
    ),
    (
        "Transfer",
        {"FromAccountRef": {"value": "9"}, "ToAccountRef": {"value": "17"}, "Amount": D("12.34")},
        {"checking": "-12.34", "credit_card": "12.34"},
    ),
    (
        "JournalEntry",
        {"TotalAmt": D(0), "Line": [journal_line("Debit", "18", "5.00"), journal_line("Credit", "9", "5.00")]},
        {"rent": "5", "checking": "-5"},
    ),
    ("Estimate", {**FORM}, {}),
    ("PurchaseOrder", {"VendorRef": VENDOR, **EXPENSES}, {}),
    ("TimeActivity", {"Hours": D(3), "HourlyRate": D(50), "CustomerRef": CUSTOMER}, {}),
    ("Budget", {"BudgetDetail": [{"Amount": D(100), "AccountRef": {"value": "18"}}]}, {}),
    ("Account", {"Name": "Old loan", "AccountType": "Equity", "OpeningBalance": D(0)}, {}),
]


@pytest.mark.parametrize(("kind", "fields", "expected"), POSTED, ids=[f"{k}-{i}" for i, (k, _, _) in enumerate(POSTED)])
def test_a_document_posts_to_its_accounts_and_leaves_nothing_when_deleted(
    kind: str, fields: dict[str, Any], expected: dict[str, str]
) -> None:
    ledger = Ledger()
    start = ledger.balances()
    doc = ledger.put(kind, **fields)

    sums: dict[str, Decimal] = {}
    for role, amount in ledger.postings(kind, doc["Id"]):
        sums[role] = sums.get(role, D(0)) + amount
    assert sums == {role: D(amount) for role, amount in expected.items()}
    assert audit(ledger.books) == []

    if kind not in {"Account", "Budget"}:
        ledger.company.remove(kind, doc["Id"])
        assert ledger.balances() == start
        assert audit(ledger.books) == []


def test_a_changed_amount_replaces_the_old_postings() -> None:
    ledger = Ledger()
    doc = ledger.put("Invoice", CustomerRef=CUSTOMER, Line=[sold("1", "50")], TotalAmt=D(50), Balance=D(50))
    ledger.company.put("Invoice", {**doc, "Line": [sold("1", "70")], "TotalAmt": D(70), "Balance": D(70)})
    assert ledger.balance("receivable") == 70
    assert ledger.balance("services") == -70
    assert audit(ledger.books) == []


def test_another_customer_moves_the_subledger() -> None:
    ledger = Ledger()
    doc = ledger.put("Invoice", CustomerRef=CUSTOMER, Line=[sold("1", "50")], TotalAmt=D(50), Balance=D(50))
    ledger.company.put("Invoice", {**doc, "CustomerRef": {"value": "2"}})
    receivable = ledger.account("receivable")
    assert ledger.books.subledger == {(receivable, "Customer:1"): 0, (receivable, "Customer:2"): 5000}
    assert audit(ledger.books) == []


def test_a_void_leaves_no_postings() -> None:
    ledger = Ledger()
    start = ledger.balances()
    doc = ledger.put("Invoice", CustomerRef=CUSTOMER, Line=[sold("2", "50", "2")], TotalAmt=D(50), Balance=D(50))
    assert ledger.balance("cogs") == 8
    zero = {"Line": [sold("2", "0", "0")], "TotalAmt": D(0), "Balance": D(0), "PrivateNote": "Voided"}
    ledger.company.put("Invoice", {**doc, **zero}, "Void")
    assert ledger.balances() == start
    assert ledger.postings("Invoice", doc["Id"]) == []


def test_a_payment_that_rewrites_the_balance_does_not_post_the_invoice_again() -> None:
    ledger = Ledger()
    doc = ledger.put("Invoice", CustomerRef=CUSTOMER, Line=[sold("1", "50")], TotalAmt=D(50), Balance=D(50))
    before = ledger.books.journal["Invoice"][doc["Id"]]
    ledger.put(
        "Payment", Id="5000", CustomerRef=CUSTOMER, TotalAmt=D(20), UnappliedAmt=D(0), Line=[applied("20", "Invoice", doc["Id"])]
    )
    ledger.company.put("Invoice", {**doc, "Balance": D(30), "LinkedTxn": [{"TxnId": "5000", "TxnType": "Payment"}]})
    assert ledger.books.journal["Invoice"][doc["Id"]] is before
    assert ledger.balance("receivable") == 30
    assert audit(ledger.books) == []


def test_an_invoice_deposit_goes_to_its_account_and_not_to_receivables() -> None:
    ledger = Ledger()
    doc = ledger.put(
        "Invoice",
        CustomerRef=CUSTOMER,
        Line=[sold("1", "50")],
        TotalAmt=D(50),
        Deposit=D(20),
        DepositToAccountRef=ledger.ref("checking"),
        Balance=D(30),
    )
    assert ledger.postings("Invoice", doc["Id"]) == [("checking", 20), ("receivable", 30), ("services", -50)]
    assert audit(ledger.books) == []


def test_stock_is_sold_at_cost_bought_into_the_asset_and_counted() -> None:
    ledger = Ledger()
    assert (ledger.balance("inventory_asset"), ledger.balance("opening_balance")) == (40, -40)
    ledger.put("Invoice", CustomerRef=CUSTOMER, Line=[sold("2", "30", "3")], TotalAmt=D(30), Balance=D(30))
    assert (ledger.balance("cogs"), ledger.balance("inventory_asset"), ledger.balance("sales")) == (12, 28, -30)
    line = {
        "Amount": D(20),
        "DetailType": "ItemBasedExpenseLineDetail",
        "ItemBasedExpenseLineDetail": {"ItemRef": {"value": "2"}, "Qty": D(5)},
    }
    bill = ledger.put("Bill", VendorRef=VENDOR, Line=[line], TotalAmt=D(20), Balance=D(20))
    assert ledger.balance("inventory_asset") == 48
    item = ledger.company.entities["Item"]["2"]
    assert ledger.company.present("Item", item)["QtyOnHand"] == 12
    ledger.company.remove("Bill", bill["Id"])
    assert ledger.company.present("Item", item)["QtyOnHand"] == 7


def test_a_deposit_takes_a_payment_out_of_undeposited_funds() -> None:
    ledger = Ledger()
    payment = ledger.put("Payment", CustomerRef=CUSTOMER, TotalAmt=D(30), UnappliedAmt=D(30))
    link = [{"TxnId": payment["Id"], "TxnType": "Payment", "TxnLineId": "0"}]
    ledger.put("Deposit", DepositToAccountRef=ledger.ref("checking"), TotalAmt=D(30), Line=[{"Amount": D(30), "LinkedTxn": link}])
    assert (ledger.balance("undeposited"), ledger.balance("checking")) == (0, 30)


def test_fractions_of_a_cent_still_balance() -> None:
    ledger = Ledger()
    lines = [sold("1", "0.005"), sold("1", "0.005"), sold("1", "10.333")]
    doc = ledger.put("Invoice", CustomerRef=CUSTOMER, Line=lines, TotalAmt=D("10.34"), Balance=D("10.34"))
    assert sum(amount for _, amount in ledger.postings("Invoice", doc["Id"])) == 0
    assert audit(ledger.books) == []


def test_current_balance_has_the_accounts_own_sign_and_income_shows_none() -> None:
    ledger = Ledger()
    ledger.put("Bill", VendorRef=VENDOR, Line=[spent("18", "42.50")], TotalAmt=D("42.50"), Balance=D("42.50"))
    ledger.put("Invoice", CustomerRef=CUSTOMER, Line=[sold("1", "50")], TotalAmt=D(50), Balance=D(50))

    def current(role: str) -> Decimal:
        doc = ledger.company.present("Account", ledger.company.entities["Account"][ledger.account(role)])
        value: Decimal = doc["CurrentBalance"]
        return value

    assert [current(r) for r in ("receivable", "payable", "services", "rent")] == [50, D("42.50"), 0, 0]


def test_journal_lines_on_receivables_count_for_their_customer() -> None:
    ledger = Ledger()
    entity = {"Type": "Customer", "EntityRef": {"value": "2"}}
    lines = [journal_line("Debit", "1", "25.00", entity), journal_line("Credit", "10", "25.00")]
    ledger.put("JournalEntry", TotalAmt=D(0), Line=lines)
    assert ledger.books.subledger[(ledger.account("receivable"), "Customer:2")] == 2500
    assert audit(ledger.books) == []


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        ("Invoice", {"CustomerRef": CUSTOMER, "Line": [sold("1", "50")], "TotalAmt": D(60), "Balance": D(60)}, "differ by 10"),
        ("Invoice", {"CustomerRef": CUSTOMER, "Line": [sold("1", "50")], "TotalAmt": D(50), "Balance": D(40)}, "Balance is 40"),
        ("Payment", {"CustomerRef": CUSTOMER, "TotalAmt": D(30), "UnappliedAmt": D(10)}, "UnappliedAmt is 10"),
        (
            "Payment",
            {"CustomerRef": CUSTOMER, "TotalAmt": D(30), "UnappliedAmt": D(0), "Line": [applied("30", "Invoice", "9999")]},
            "does not exist",
        ),
        ("Bill", {"VendorRef": VENDOR, "Line": [spent("777", "5")], "TotalAmt": D(5), "Balance": D(5)}, "'777' has postings"),
        ("Transfer", {"Amount": D(5)}, "could not be posted"),
    ],
)
def test_the_audit_names_what_is_wrong(kind: str, fields: dict[str, Any], words: str) -> None:
    ledger = Ledger()
    ledger.put(kind, **fields)
    assert any(words in sentence for sentence in audit(ledger.books)), audit(ledger.books)


def test_the_audit_sees_a_tampered_balance() -> None:
    ledger = Ledger()
    ledger.put("Invoice", CustomerRef=CUSTOMER, Line=[sold("1", "50")], TotalAmt=D(50), Balance=D(50))
    ledger.books.balance[ledger.account("services")] += 1
    assert any("postings sum to" in sentence for sentence in audit(ledger.books))
