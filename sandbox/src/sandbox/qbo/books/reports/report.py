"""One request for a report: its parameters, entries, columns and QBO's shape {Header, Columns, Rows}, shared by all reports.

Every amount in a cell is text with two decimals and no thousands separator. Column types of lists repeat the column key,
because clients bind to either.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sandbox.qbo.books.amounts import PAYABLE, PROFIT_TYPES, RECEIVABLE
from sandbox.qbo.books.entries import Entry, entries
from sandbox.qbo.books.ledger import Books, books_of
from sandbox.qbo.books.reports import periods
from sandbox.qbo.company.clock import pacific
from sandbox.qbo.company.store import Company, Doc
from sandbox.qbo.rules.faults import Fault

Row = dict[str, Any]
Amounts = dict[str, list[int]]  # account Id -> cents for each column, in the account's own sense

TYPE_ORDER = (
    "Bank",
    RECEIVABLE,
    "Other Current Asset",
    "Fixed Asset",
    "Other Asset",
    PAYABLE,
    "Credit Card",
    "Other Current Liability",
    "Long Term Liability",
    "Equity",
    "Income",
    "Cost of Goods Sold",
    "Expense",
    "Other Income",
    "Other Expense",
    "Non-Posting",
)
TXN_NAMES = {
    "CreditMemo": "Credit Memo",
    "SalesReceipt": "Sales Receipt",
    "RefundReceipt": "Refund",
    "VendorCredit": "Vendor Credit",
    "JournalEntry": "Journal Entry",
    "PurchaseOrder": "Purchase Order",
    "TimeActivity": "Time Charge",
    "Item": "Inventory Starting Value",
    "Account": "Journal Entry",
}


def cell(cents: int) -> str:
    """An amount as a report prints it."""
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def txn_name(kind: str, doc: Doc) -> str:
    """What QBO calls a transaction in its lists."""
    if kind == "BillPayment":
        return "Bill Payment (Credit Card)" if doc.get("PayType") == "CreditCard" else "Bill Payment (Check)"
    if kind == "Purchase":
        if doc.get("Credit"):
            return "Credit Card Credit"
        return "Check" if doc.get("PaymentType") == "Check" else "Expense"
    return TXN_NAMES.get(kind, kind)


@dataclass(slots=True)
class Grid:
    """Columns of a summary report and the rule that sends an entry to one of them."""

    columns: list[Row]
    place: Callable[[Entry], int]
    count: int
    totalled: bool

    def cells(self, values: Sequence[int], *, blank_zero: bool = False) -> list[Row]:
        """The money cells of one row, the Total column included."""
        row = list(values)
        if self.totalled:
            row.append(sum(values))
        return [{"value": "" if blank_zero and not v else cell(v)} for v in row]

    def blanks(self) -> list[Row]:
        """Empty cells of a header row."""
        return [{"value": ""} for _ in range(self.count + self.totalled)]


class Report:
    """One request for one report: parameters, and what the builders share."""

    def __init__(self, company: Company, name: str, params: dict[str, str]) -> None:
        self.company = company
        self.name = name
        self.params = {key.lower(): value for key, value in params.items()}
        self.books: Books = books_of(company)
        self.first_month = self._first_month()
        self.today = date.fromisoformat(company.today())
        self.start, self.end = self._range()
        self.basis = self._basis()
        self.split = self._split()

    # -- parameters ------------------------------------------------------------------------------------------------

    def _first_month(self) -> int:
        name = (
            self.company.preference("AccountingInfoPrefs", "FirstMonthOfFiscalYear")
            if self.company.entities.get("Preferences")
            else None
        )
        return periods.MONTHS.index(str(name)) + 1 if name in periods.MONTHS else 1

    def _range(self) -> tuple[date, date]:
        start, end = self.params.get("start_date"), self.params.get("end_date")
        self.macro = ""
        if not start and not end:
            self.macro = self.params.get("date_macro") or "This Fiscal Year-to-date"
            return periods.macro(self.macro, self.today, self.first_month)
        last = periods.parse_day(end, "end_date") if end else self.today
        first = periods.parse_day(start, "start_date") if start else periods.fiscal_start(last, self.first_month)
        if first > last:
            raise Fault("2190", element="start_date", value=start)
        return first, last

    def _basis(self) -> str:
        given = self.params.get("accounting_method") or ""
        if not given and self.company.entities.get("Preferences"):
            given = str(self.company.preference("ReportPrefs", "ReportBasis") or "")
        basis = (given or "Accrual").capitalize()
        if basis not in {"Accrual", "Cash"}:
            raise Fault("2170", element="accounting_method", value=given)
        return basis

    def _split(self) -> str:
        given = self.params.get("summarize_column_by") or "Total"
        low = given.lower()
        if low not in periods.SPLITS and low not in NAME_SPLITS:
            raise Fault("2170", element="summarize_column_by", value=given)
        return low

    def ids(self, name: str) -> frozenset[str]:
        return frozenset(part.strip() for part in self.params.get(name, "").split(",") if part.strip())

    # -- entries ---------------------------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """Entries of the basis up to the end of the range that pass the filters customer, vendor, account, department, class."""
        end = self.end.isoformat()
        found: Iterable[Entry] = (e for e in entries(self.books, self.basis) if e.day <= end)
        names = {f"Customer:{i}" for i in self.ids("customer")} | {f"Vendor:{i}" for i in self.ids("vendor")}
        if names:
            found = (e for e in found if e.name in names)
        accounts = self.ids("account")
        if accounts:
            found = (e for e in found if e.account in accounts)
        for parameter, field in (("department", "DepartmentRef"), ("class", "ClassRef")):
            wanted = self.ids(parameter)
            if wanted:
                found = [e for e in found if tag_of(e, field)[0] in wanted]
        return list(found)

    def in_range(self, found: list[Entry]) -> list[Entry]:
        """Those on or after the start."""
        start = self.start.isoformat()
        return [e for e in found if e.day >= start]

    def account(self, account_id: str) -> Doc:
        """The account, or a stand-in for one that is gone."""
        return self.company.get("Account", account_id) or {"Id": account_id, "Name": account_id, "AccountType": "Non-Posting"}

    def accounts(self, types: Iterable[str]) -> list[Doc]:
        """Accounts of some types in report order."""
        wanted = set(types)
        found = [doc for doc in self.company.rows("Account") if doc.get("AccountType") in wanted]
        return sorted(
            found, key=lambda d: (TYPE_ORDER.index(d["AccountType"]), str(d.get("AcctNum") or ""), str(d["Name"]).casefold())
        )

    def name_of(self, key: str) -> str:
        """Display name behind a name key."""
        if not key:
            return ""
        kind, _, doc_id = key.partition(":")
        return str((self.company.get(kind, doc_id) or {}).get("DisplayName") or doc_id)

    # -- columns ---------------------------------------------------------------------------------------------------

    def grid(self, first: str, found: list[Entry] | None = None) -> Grid:
        """Columns of a summary report: one for each period or name, and Total beside more than one."""
        head = {"ColTitle": "", "ColType": first, "MetaData": [{"Name": "ColKey", "Value": first.lower()}]}
        if self.split in NAME_SPLITS:
            return self._name_grid(head, found or [])
        unit = periods.SPLITS[self.split]
        if unit == "total":
            total = {"ColTitle": "Total", "ColType": "Money", "MetaData": [{"Name": "ColKey", "Value": "total"}]}
            return Grid([head, total], lambda entry: 0, 1, False)
        parts = periods.split(self.start, self.end, unit, self.first_month)
        ends = [part.end.isoformat() for part in parts]
        columns = [head, *(_period_column(part) for part in parts)]
        totalled = self.name != "BalanceSheet"
        if totalled:
            columns.append({"ColTitle": "Total", "ColType": "Money", "MetaData": [{"Name": "ColKey", "Value": "total"}]})
        return Grid(columns, lambda entry: bisect_left(ends, entry.day), len(parts), totalled)

    def _name_grid(self, head: Row, found: list[Entry]) -> Grid:
        tag = NAME_SPLITS[self.split]
        labels = sorted({tag(self, entry) for entry in found}, key=lambda pair: (not pair[0], pair[1].casefold()))
        place = {key: index for index, (key, _) in enumerate(labels)}
        columns = [head]
        for key, title in labels:
            columns.append(
                {
                    "ColTitle": title or "Not Specified",
                    "ColType": "Money",
                    "MetaData": [{"Name": "ColKey", "Value": key or "not_specified"}],
                }
            )
        columns.append({"ColTitle": "Total", "ColType": "Money", "MetaData": [{"Name": "ColKey", "Value": "total"}]})
        return Grid(columns, lambda entry: place[tag(self, entry)[0]], len(labels), True)

    # -- output ----------------------------------------------------------------------------------------------------

    def answer(self, columns: list[Row], rows: list[Row], *, data: bool, options: Sequence[tuple[str, str]] = ()) -> Row:
        """The whole body."""
        header: Row = {"Time": _no_colon(pacific(self.company.clock.now())), "ReportName": self.name}
        if self.macro:
            header["DateMacro"] = self.macro.lower()
        header.update(ReportBasis=self.basis, StartPeriod=self.start.isoformat(), EndPeriod=self.end.isoformat())
        if self.split:
            header["SummarizeColumnsBy"] = (self.params.get("summarize_column_by") or "Total").capitalize()
        for parameter in ("customer", "vendor", "department", "class"):
            if self.params.get(parameter):
                header[parameter.capitalize()] = self.params[parameter]
        header["Currency"] = "USD"
        header["Option"] = [
            *({"Name": key, "Value": value} for key, value in options),
            {"Name": "AccountingStandard", "Value": "GAAP"},
            {"Name": "NoReportData", "Value": "false" if data else "true"},
        ]
        return {"Header": header, "Columns": {"Column": columns}, "Rows": {"Row": rows} if rows else {}}


def _no_colon(stamp: str) -> str:
    """Report headers print the zone as -0700."""
    return stamp[:-3] + stamp[-2:]


def _period_column(part: periods.Period) -> Row:
    return {
        "ColTitle": part.title,
        "ColType": "Money",
        "MetaData": [
            {"Name": "StartDate", "Value": part.start.isoformat()},
            {"Name": "EndDate", "Value": part.end.isoformat()},
            {"Name": "ColKey", "Value": part.title},
        ],
    }


def tag_of(entry: Entry, field: str) -> tuple[str, str]:
    """(Id, name) of a class or department: the line's own, else the document's."""
    reference = None
    lines = entry.doc.get("Line") or ()
    if 0 <= entry.line < len(lines):
        line = lines[entry.line]
        reference = (line.get(line.get("DetailType") or "") or {}).get(field)
    reference = reference or entry.doc.get(field) or {}
    return str(reference.get("value", "")), str(reference.get("name", ""))


def _name_tag(kind: str) -> Callable[[Report, Entry], tuple[str, str]]:
    def tag(report: Report, entry: Entry) -> tuple[str, str]:
        return (entry.name, report.name_of(entry.name)) if entry.name.startswith(kind + ":") else ("", "")

    return tag


NAME_SPLITS: dict[str, Callable[[Report, Entry], tuple[str, str]]] = {
    "customers": _name_tag("Customer"),
    "vendors": _name_tag("Vendor"),
    "employees": _name_tag("Employee"),
    "classes": lambda _report, entry: tag_of(entry, "ClassRef"),
    "departments": lambda _report, entry: tag_of(entry, "DepartmentRef"),
}


def added(left: Sequence[int], right: Sequence[int], sign: int = 1) -> list[int]:
    """Column by column: left + sign x right."""
    return [a + sign * b for a, b in zip(left, right, strict=True)]


def summary_row(title: str, grid: Grid, values: Sequence[int], group: str) -> Row:
    """A row that stands alone as a sum."""
    return {"Summary": {"ColData": [{"value": title}, *grid.cells(values)]}, "type": "Section", "group": group}


def profit_entries(report: Report, found: list[Entry]) -> list[Entry]:
    """Those on income and expense accounts."""
    types = report.books.types
    return [e for e in found if types.get(e.account) in PROFIT_TYPES]
