"""Bodies that the stand-in accepts, to be spoilt one property at a time."""

from __future__ import annotations

from typing import Any


def line(amount: Any = 100, **detail: Any) -> dict[str, Any]:
    return {"DetailType": "SalesItemLineDetail", "Amount": amount, "SalesItemLineDetail": {"ItemRef": {"value": "1"}, **detail}}


def invoice(*lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"CustomerRef": {"value": "1"}, "Line": list(lines) or [line()], **more}


def expense(amount: Any = 50, account: str = "7", **detail: Any) -> dict[str, Any]:
    return {
        "DetailType": "AccountBasedExpenseLineDetail",
        "Amount": amount,
        "AccountBasedExpenseLineDetail": {"AccountRef": {"value": account}, **detail},
    }


def bill(*lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"VendorRef": {"value": "51"}, "Line": list(lines) or [expense()], **more}


def payment(total: Any, *links: tuple[str, str, Any], **more: Any) -> dict[str, Any]:
    lines = [{"Amount": amount, "LinkedTxn": [{"TxnId": txn, "TxnType": kind}]} for kind, txn, amount in links]
    return {"CustomerRef": {"value": "1"}, "TotalAmt": total, "Line": lines, **more}


def bill_payment(total: Any, *links: tuple[str, str, Any], **more: Any) -> dict[str, Any]:
    lines = [{"Amount": amount, "LinkedTxn": [{"TxnId": txn, "TxnType": kind}]} for kind, txn, amount in links]
    return {
        "VendorRef": {"value": "51"},
        "TotalAmt": total,
        "PayType": "Check",
        "CheckPayment": {"BankAccountRef": {"value": "35"}},
        "Line": lines,
        **more,
    }


def posting(side: str, amount: Any, account: str = "7", **detail: Any) -> dict[str, Any]:
    return {
        "DetailType": "JournalEntryLineDetail",
        "Amount": amount,
        "JournalEntryLineDetail": {"PostingType": side, "AccountRef": {"value": account}, **detail},
    }


def journal(*lines: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"Line": list(lines) or [posting("Debit", 10), posting("Credit", 10, "8")], **more}


def deposit(amount: Any = 10, **more: Any) -> dict[str, Any]:
    return {
        "DepositToAccountRef": {"value": "35"},
        "Line": [{"Amount": amount, "DetailType": "DepositLineDetail", "DepositLineDetail": {"AccountRef": {"value": "79"}}}],
        **more,
    }


def purchase(**more: Any) -> dict[str, Any]:
    return {"PaymentType": "Check", "AccountRef": {"value": "35"}, "Line": [expense()], **more}


def time_activity(**more: Any) -> dict[str, Any]:
    return {"NameOf": "Employee", "EmployeeRef": {"value": "61"}, "Hours": 1, "Minutes": 0, **more}


def budget(**more: Any) -> dict[str, Any]:
    return {
        "Name": "B",
        "StartDate": "2026-01-01",
        "EndDate": "2026-12-31",
        "BudgetType": "ProfitAndLoss",
        "BudgetEntryType": "Monthly",
        "BudgetDetail": [{"BudgetDate": "2026-01-01", "Amount": 5, "AccountRef": {"value": "1"}}],
        **more,
    }


def inventory(**more: Any) -> dict[str, Any]:
    return {
        "Name": "Mesh",
        "Type": "Inventory",
        "TrackQtyOnHand": True,
        "QtyOnHand": 10,
        "InvStartDate": "2026-01-01",
        "IncomeAccountRef": {"value": "79"},
        "ExpenseAccountRef": {"value": "80"},
        "AssetAccountRef": {"value": "81"},
        **more,
    }


# The least that each kind takes on create. Names are made unique by `start`.
STARTS: dict[str, dict[str, Any]] = {
    "Invoice": invoice(),
    "Estimate": invoice(),
    "CreditMemo": invoice(),
    "SalesReceipt": invoice(),
    "RefundReceipt": invoice(DepositToAccountRef={"value": "35"}),
    "Payment": payment(5),
    "Bill": bill(),
    "BillPayment": bill_payment(0),
    "VendorCredit": bill(),
    "Purchase": purchase(),
    "PurchaseOrder": bill(),
    "Deposit": deposit(),
    "Transfer": {"FromAccountRef": {"value": "35"}, "ToAccountRef": {"value": "36"}, "Amount": 5},
    "JournalEntry": journal(),
    "TimeActivity": time_activity(),
    "Customer": {"DisplayName": "customer"},
    "Vendor": {"DisplayName": "vendor"},
    "Employee": {"DisplayName": "employee"},
    "Item": {"Name": "item", "Type": "Service", "IncomeAccountRef": {"value": "1"}},
    "Account": {"Name": "account", "AccountType": "Expense"},
    "Class": {"Name": "class"},
    "Department": {"Name": "department"},
    "Term": {"Name": "term", "DueDays": 1},
    "PaymentMethod": {"Name": "method"},
    "TaxAgency": {"DisplayName": "agency"},
    "CompanyCurrency": {"Code": "EUR"},
    "Budget": budget(),
    "Attachable": {"Note": "x"},
}
_CODES = (f"{a}{b}{c}" for a in "QVWXYZ" for b in "ABCDEFGHIJ" for c in "ABCDEFGHIJ")
_numbers = iter(range(10**9))


def start(kind: str, **changes: Any) -> dict[str, Any]:
    """A body that the stand-in accepts, with a name that no other has."""
    body = dict(STARTS[kind])
    for name in ("DisplayName", "Name"):
        if name in body and kind != "Budget":
            body[name] = f"{body[name]} {next(_numbers)}"
    if kind == "CompanyCurrency":
        body["Code"] = next(_CODES)
    return {**body, **changes}
