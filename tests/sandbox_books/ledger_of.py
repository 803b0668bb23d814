"""A small company put together by hand: accounts, names and items straight into the store, without HTTP or write rules."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

from sandbox.qbo.books.ledger import Books, attach, books_of
from sandbox.qbo.company.store import Company, Doc

ACCOUNTS = {
    "receivable": ("Accounts Receivable (A/R)", "Accounts Receivable", "Asset"),
    "payable": ("Accounts Payable (A/P)", "Accounts Payable", "Liability"),
    "undeposited": ("Undeposited Funds", "Other Current Asset", "Asset"),
    "tax_payable": ("Sales Tax Payable", "Other Current Liability", "Liability"),
    "retained_earnings": ("Retained Earnings", "Equity", "Equity"),
    "opening_balance": ("Opening Balance Equity", "Equity", "Equity"),
    "discounts": ("Discounts given", "Income", "Revenue"),
    "shipping": ("Shipping Income", "Income", "Revenue"),
    "checking": ("Checking", "Bank", "Asset"),
    "sales": ("Sales", "Income", "Revenue"),
    "services": ("Services", "Income", "Revenue"),
    "inventory_asset": ("Inventory Asset", "Other Current Asset", "Asset"),
    "cogs": ("Cost of Goods Sold", "Cost of Goods Sold", "Expense"),
    "uncategorized_income": ("Uncategorized Income", "Income", "Revenue"),
    "uncategorized_expense": ("Uncategorized Expense", "Expense", "Expense"),
    "unapplied": ("Unapplied Cash Payment Income", "Income", "Revenue"),
    "credit_card": ("Mastercard", "Credit Card", "Liability"),
    "rent": ("Rent", "Expense", "Expense"),
}
META = {"CreateTime": "2026-01-01T00:00:00-08:00", "LastUpdatedTime": "2026-01-01T00:00:00-08:00"}


def D(text: str | int) -> Decimal:
    """A Decimal, short."""
    return Decimal(text)


class Ledger:
    """A company with books attached, and short ways to store documents in it."""

    def __init__(self) -> None:
        self.company = Company("4620816365000000001")
        attach(self.company)
        self._ids = itertools.count(1000)
        for number, (role, (name, kind, classification)) in enumerate(ACCOUNTS.items(), 1):
            self.company.roles[role] = str(number)
            self.put(
                "Account", Id=str(number), Name=name, FullyQualifiedName=name, AccountType=kind, Classification=classification
            )
        for doc_id in ("1", "2"):
            self.put("Customer", Id=doc_id, DisplayName=f"Customer {doc_id}", Active=True)
        self.put("Vendor", Id="7", DisplayName="Vendor 7", Active=True)
        self.put("Item", Id="1", Name="Visit", Type="Service", IncomeAccountRef=self.ref("services"))
        self.put(
            "Item",
            Id="2",
            Name="Brace",
            Type="Inventory",
            IncomeAccountRef=self.ref("sales"),
            ExpenseAccountRef=self.ref("cogs"),
            AssetAccountRef=self.ref("inventory_asset"),
            PurchaseCost=D("4.00"),
            QtyOnHand=D(10),
        )

    @property
    def books(self) -> Books:
        """The company's books."""
        return books_of(self.company)

    def account(self, role: str) -> str:
        """Account Id of a role."""
        return self.company.roles[role]

    def ref(self, role: str) -> dict[str, str]:
        """Reference to a role's account."""
        return {"value": self.account(role)}

    def put(self, kind: str, **fields: Any) -> Doc:
        """Store a document as it is."""
        doc = {"Id": str(next(self._ids)), "SyncToken": "0", "MetaData": META, **fields}
        return self.company.put(kind, doc)

    def balance(self, role: str) -> Decimal:
        """Balance of a role's account, debits positive."""
        return Decimal(self.books.balance.get(self.account(role), 0)) / 100

    def balances(self) -> dict[str, Decimal]:
        """Role -> balance (debits positive), zeros left out."""
        return {role: self.balance(role) for role in ACCOUNTS if self.balance(role)}

    def postings(self, kind: str, doc_id: str) -> list[tuple[str, Decimal]]:
        """(role, amount) of one document's postings, debits positive, sorted."""
        roles = {account: role for role, account in self.company.roles.items()}
        table = self.books.journal.get(kind, {}).get(doc_id, ())
        return sorted((roles[account], Decimal(cents) / 100) for account, cents, _name, _line in table)


def sold(item: str, amount: str, qty: str | None = None) -> Doc:
    """A sales line."""
    detail: Doc = {"ItemRef": {"value": item}}
    if qty is not None:
        detail["Qty"] = D(qty)
    return {"Amount": D(amount), "DetailType": "SalesItemLineDetail", "SalesItemLineDetail": detail}


def spent(account: str, amount: str) -> Doc:
    """An expense line against an account."""
    return {
        "Amount": D(amount),
        "DetailType": "AccountBasedExpenseLineDetail",
        "AccountBasedExpenseLineDetail": {"AccountRef": {"value": account}},
    }


def applied(amount: str, kind: str, doc_id: str) -> Doc:
    """A payment's line."""
    return {"Amount": D(amount), "LinkedTxn": [{"TxnId": doc_id, "TxnType": kind}]}
