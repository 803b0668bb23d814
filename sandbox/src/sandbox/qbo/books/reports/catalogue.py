"""The reports of `GET /reports/{name}`, computed from the postings, in QBO's shape {Header, Columns, Rows}.

Every amount in a cell is text with two decimals and no thousands separator. Column types of lists repeat the column key,
because clients bind to either.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sandbox.qbo.books.amounts import DEBIT_TYPES, PAYABLE, PROFIT_TYPES, RECEIVABLE, cents_of
from sandbox.qbo.books.entries import Entry, OpenItem, day_of, entries, open_items
from sandbox.qbo.books.ledger import Books, books_of
from sandbox.qbo.books.reports import periods
from sandbox.qbo.company.clock import pacific
from sandbox.qbo.company.store import TXN_KINDS, ZERO, Company, Doc
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
COLUMN_TITLES = {
    "tx_date": "Date",
    "txn_type": "Transaction Type",
    "doc_num": "Num",
    "is_no_post": "Posting",
    "name": "Name",
    "memo": "Memo/Description",
    "account_name": "Account",
    "other_account": "Split",
    "split_acc": "Split",
    "subt_nat_amount": "Amount",
    "rbal_nat_amount": "Balance",
    "debt_amt": "Debit",
    "credit_amt": "Credit",
    "due_date": "Due Date",
    "term_name": "Terms",
    "pmt_mthd": "Payment Method",
    "create_date": "Create Date",
    "last_mod_date": "Last Modified",
    "create_by": "Created By",
    "last_mod_by": "Last Modified By",
    "cust_name": "Customer",
    "vend_name": "Vendor",
    "dept_name": "Location",
    "klass_name": "Class",
    "nat_open_bal": "Open Balance",
    "inv_date": "Invoice Date",
    "ship_via": "Ship Via",
    "tracking_num": "Tracking No",
    "cust_msg": "Message",
    "is_ar_paid": "A/R Paid",
    "is_ap_paid": "A/P Paid",
    "is_cleared": "Clr",
    "printed": "Check Printed",
    "is_adj": "Adj",
    "is_billable": "Billable",
    "past_due": "Past Due",
}
LEDGER_COLUMNS = ("tx_date", "txn_type", "doc_num", "name", "memo", "split_acc", "subt_nat_amount", "rbal_nat_amount")
LIST_COLUMNS = (
    *("tx_date", "txn_type", "doc_num", "is_no_post", "name", "memo", "account_name", "other_account"),
    "subt_nat_amount",
)
CELL_LIMIT = 400_000  # a report of more cells never comes back: the gateway gives up first
MONEY_COLUMNS = frozenset({"subt_nat_amount", "rbal_nat_amount", "debt_amt", "credit_amt", "nat_open_bal"})


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

    def _ids(self, name: str) -> frozenset[str]:
        return frozenset(part.strip() for part in self.params.get(name, "").split(",") if part.strip())

    # -- entries ---------------------------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """Entries of the basis up to the end of the range that pass the filters customer, vendor, account, department, class."""
        end = self.end.isoformat()
        found: Iterable[Entry] = (e for e in entries(self.books, self.basis) if e.day <= end)
        names = {f"Customer:{i}" for i in self._ids("customer")} | {f"Vendor:{i}" for i in self._ids("vendor")}
        if names:
            found = (e for e in found if e.name in names)
        accounts = self._ids("account")
        if accounts:
            found = (e for e in found if e.account in accounts)
        for parameter, field in (("department", "DepartmentRef"), ("class", "ClassRef")):
            wanted = self._ids(parameter)
            if wanted:
                found = [e for e in found if _tag(e, field)[0] in wanted]
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


def _tag(entry: Entry, field: str) -> tuple[str, str]:
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
    "classes": lambda _report, entry: _tag(entry, "ClassRef"),
    "departments": lambda _report, entry: _tag(entry, "DepartmentRef"),
}


# -- summary reports ---------------------------------------------------------------------------------------------------


def _add(left: Sequence[int], right: Sequence[int], sign: int = 1) -> list[int]:
    return [a + sign * b for a, b in zip(left, right, strict=True)]


def _summary(title: str, grid: Grid, values: Sequence[int], group: str) -> Row:
    return {"Summary": {"ColData": [{"value": title}, *grid.cells(values)]}, "type": "Section", "group": group}


def _section(title: str, grid: Grid, rows: list[Row], values: Sequence[int], group: str) -> Row:
    section: Row = {"Header": {"ColData": [{"value": title}, *grid.blanks()]}}
    if rows:
        section["Rows"] = {"Row": rows}
    section["Summary"] = {"ColData": [{"value": f"Total {title}"}, *grid.cells(values)]}
    section.update(type="Section", group=group)
    return section


def _account_rows(report: Report, grid: Grid, types: Iterable[str], amounts: Amounts) -> tuple[list[Row], list[int]]:
    """Rows of the accounts with amounts, sub-accounts inside their parents, and the sum."""
    docs = report.accounts(types)
    ids = {doc["Id"] for doc in docs}
    children: dict[str, list[Doc]] = defaultdict(list)
    for doc in docs:
        parent = str((doc.get("ParentRef") or {}).get("value", ""))
        children[parent if parent in ids else ""].append(doc)
    return _tree_rows(grid, children, "", amounts)


def _tree_rows(grid: Grid, children: dict[str, list[Doc]], parent: str, amounts: Amounts) -> tuple[list[Row], list[int]]:
    rows: list[Row] = []
    total = [0] * grid.count
    for doc in children.get(parent, ()):
        own = amounts.get(doc["Id"])
        inner, inner_total = _tree_rows(grid, children, doc["Id"], amounts)
        if own is None and not inner:
            continue
        head = {"value": doc["Name"], "id": doc["Id"]}
        values = own or [0] * grid.count
        total = _add(total, _add(values, inner_total))
        if inner:
            whole = [{"value": f"Total {doc['Name']}"}, *grid.cells(_add(values, inner_total))]
            top = {"ColData": [head, *grid.cells(values, blank_zero=True)]}
            rows.append({"Header": top, "Rows": {"Row": inner}, "Summary": {"ColData": whole}, "type": "Section"})
        else:
            rows.append({"ColData": [head, *grid.cells(values)], "type": "Data"})
    return rows, total


def _amounts(report: Report, grid: Grid, found: Iterable[Entry]) -> Amounts:
    out: Amounts = {}
    for entry in found:
        row = out.get(entry.account)
        if row is None:
            row = out[entry.account] = [0] * grid.count
        row[grid.place(entry)] += entry.cents
    for account, row in out.items():
        if report.books.types.get(account) not in DEBIT_TYPES:
            out[account] = [-value for value in row]
    return out


def _profit_entries(report: Report, found: list[Entry]) -> list[Entry]:
    types = report.books.types
    return [e for e in found if types.get(e.account) in PROFIT_TYPES]


def profit_and_loss(report: Report) -> Row:
    """Income, cost of goods sold, expenses, other income and expenses, down to Net Income."""
    found = _profit_entries(report, report.in_range(report.entries()))
    grid = report.grid("Account", found)
    amounts = _amounts(report, grid, found)
    rows: list[Row] = []
    sums: dict[str, list[int]] = {}
    for title, kind, group in (
        ("Income", "Income", "Income"),
        ("Cost of Goods Sold", "Cost of Goods Sold", "COGS"),
        ("Expenses", "Expense", "Expenses"),
        ("Other Income", "Other Income", "OtherIncome"),
        ("Other Expenses", "Other Expense", "OtherExpenses"),
    ):
        inner, sums[group] = _account_rows(report, grid, [kind], amounts)
        if inner or group in {"Income", "Expenses"}:
            rows.append(_section(title, grid, inner, sums[group], group))
        if group == "COGS":
            rows.append(_summary("Gross Profit", grid, _add(sums["Income"], sums["COGS"], -1), "GrossProfit"))
        if group == "Expenses":
            operating = _add(_add(sums["Income"], sums["COGS"], -1), sums["Expenses"], -1)
            rows.append(_summary("Net Operating Income", grid, operating, "NetOperatingIncome"))
    other = _add(sums["OtherIncome"], sums["OtherExpenses"], -1)
    if any(row.get("group") in {"OtherIncome", "OtherExpenses"} for row in rows):
        rows.append(_summary("Net Other Income", grid, other, "NetOtherIncome"))
    rows.append(_summary("Net Income", grid, _add(operating, other), "NetIncome"))
    return report.answer(grid.columns, rows, data=bool(found))


@dataclass(slots=True)
class Standing:
    """Balances on each column's last day."""

    amounts: Amounts  # balance-sheet accounts, in their own sense
    retained: list[int]  # profit of the years before, credits positive
    income: list[int]  # profit of the fiscal year so far
    any: bool


def _standing(report: Report, ends: list[date]) -> Standing:
    """Balance-sheet accounts at the end of each column, profits split at the fiscal year."""
    days = [day.isoformat() for day in ends]
    raw: Amounts = {}
    profit: dict[str, int] = defaultdict(int)
    found = report.entries()
    for entry in found:
        if report.books.types.get(entry.account) in PROFIT_TYPES:
            profit[entry.day] -= entry.cents
        else:
            row = raw.setdefault(entry.account, [0] * len(days))
            row[bisect_left(days, entry.day)] += entry.cents
    amounts: Amounts = {}
    for account, row in raw.items():
        sign = 1 if report.books.types.get(account) in DEBIT_TYPES else -1
        running = 0
        amounts[account] = [sign * (running := running + value) for value in row]
    ordered = sorted(profit)
    sums = [0]
    for day in ordered:
        sums.append(sums[-1] + profit[day])
    retained, income = [], []
    for last in ends:
        before = sums[bisect_left(ordered, periods.fiscal_start(last, report.first_month).isoformat())]
        retained.append(before)
        income.append(sums[bisect_right(ordered, last.isoformat())] - before)
    return Standing(amounts, retained, income, bool(found))


def _ends(report: Report) -> list[date]:
    unit = periods.SPLITS.get(report.split, "total")
    if unit == "total":
        return [report.end]
    return [part.end for part in periods.split(report.start, report.end, unit, report.first_month)]


def _with_retained(report: Report, standing: Standing) -> Amounts:
    """The amounts with the profits of earlier years in Retained Earnings."""
    amounts = dict(standing.amounts)
    retained = report.company.roles["retained_earnings"]
    if retained in amounts or any(standing.retained):
        amounts[retained] = _add(amounts.get(retained, [0] * len(standing.retained)), standing.retained)
    return amounts


def balance_sheet(report: Report) -> Row:
    """Assets, liabilities and equity on the last day of each column."""
    if report.split in NAME_SPLITS:
        raise Fault("2170", element="summarize_column_by", value=report.params.get("summarize_column_by"))
    grid = report.grid("Account")
    standing = _standing(report, _ends(report))
    amounts = _with_retained(report, standing)

    def part(title: str, types: list[str], group: str) -> tuple[list[Row], list[int]]:
        rows, total = _account_rows(report, grid, types, amounts)
        return ([_section(title, grid, rows, total, group)] if rows else []), total

    def whole(title: str, parts: list[tuple[list[Row], list[int]]], group: str) -> tuple[list[Row], list[int]]:
        rows = [row for inner, _ in parts for row in inner]
        total = [0] * grid.count
        for _, values in parts:
            total = _add(total, values)
        return ([_section(title, grid, rows, total, group)] if rows else []), total

    current = whole(
        "Current Assets",
        [
            part("Bank Accounts", ["Bank"], "BankAccounts"),
            part("Accounts Receivable", [RECEIVABLE], "AR"),
            part("Other Current Assets", ["Other Current Asset"], "OtherCurrentAssets"),
        ],
        "CurrentAssets",
    )
    assets, asset_total = whole(
        "ASSETS",
        [current, part("Fixed Assets", ["Fixed Asset"], "FixedAssets"), part("Other Assets", ["Other Asset"], "OtherAssets")],
        "TotalAssets",
    )
    current_liabilities = whole(
        "Current Liabilities",
        [
            part("Accounts Payable", [PAYABLE], "AP"),
            part("Credit Cards", ["Credit Card"], "CreditCards"),
            part("Other Current Liabilities", ["Other Current Liability"], "OtherCurrentLiabilities"),
        ],
        "CurrentLiabilities",
    )
    liabilities = whole(
        "Liabilities",
        [current_liabilities, part("Long-Term Liabilities", ["Long Term Liability"], "LongTermLiabilities")],
        "Liabilities",
    )
    equity_rows, equity_total = _account_rows(report, grid, ["Equity"], amounts)
    equity_rows.append({"ColData": [{"value": "Net Income"}, *grid.cells(standing.income)], "type": "Data", "group": "NetIncome"})
    equity_total = _add(equity_total, standing.income)
    equity = ([_section("Equity", grid, equity_rows, equity_total, "Equity")], equity_total)
    other_side, _ = whole("LIABILITIES AND EQUITY", [liabilities, equity], "TotalLiabilitiesAndEquity")
    if not assets:
        assets = [_section("ASSETS", grid, [], asset_total, "TotalAssets")]
    for top in (*assets, *other_side):
        top["Summary"]["ColData"][0]["value"] = f"TOTAL {top['Header']['ColData'][0]['value']}"
    return report.answer(grid.columns, [*assets, *other_side], data=standing.any)


def trial_balance(report: Report) -> Row:
    """Debit or credit balance of every account on the last day; profits of earlier years are in Retained Earnings."""
    report.split = "total"
    fiscal = periods.fiscal_start(report.end, report.first_month).isoformat()
    balances: dict[str, int] = defaultdict(int)
    retained = report.company.roles["retained_earnings"]
    for entry in report.entries():
        old_profit = entry.day < fiscal and report.books.types.get(entry.account) in PROFIT_TYPES
        balances[retained if old_profit else entry.account] += entry.cents
    rows: list[Row] = []
    debits = credits = 0
    for doc in report.accounts(TYPE_ORDER):
        cents = balances.get(doc["Id"], 0)
        if cents:
            debits += max(cents, 0)
            credits += max(-cents, 0)
            head = {"value": doc.get("FullyQualifiedName") or doc["Name"], "id": doc["Id"]}
            rows.append(
                {"ColData": [head, {"value": cell(cents) if cents > 0 else ""}, {"value": cell(-cents) if cents < 0 else ""}]}
            )
    total = [{"value": "TOTAL"}, {"value": cell(debits)}, {"value": cell(credits)}]
    rows.append({"Summary": {"ColData": total}, "type": "Section", "group": "GrandTotal"})
    columns = [
        {"ColTitle": "", "ColType": "Account", "MetaData": [{"Name": "ColKey", "Value": "account"}]},
        {"ColTitle": "Debit", "ColType": "Money", "MetaData": [{"Name": "ColKey", "Value": "debit"}]},
        {"ColTitle": "Credit", "ColType": "Money", "MetaData": [{"Name": "ColKey", "Value": "credit"}]},
    ]
    return report.answer(columns, rows, data=len(rows) > 1)


def cash_flow(report: Report) -> Row:
    """Net income, then the changes of every other account that is not cash. Cash is the bank accounts and Undeposited Funds."""
    everything = report.entries()
    found = report.in_range(everything)
    grid = report.grid("Account", found)
    cash = {doc["Id"] for doc in report.accounts(["Bank"])} | {report.company.roles["undeposited"]}
    profit = [0] * grid.count
    moved: Amounts = {}  # effect on cash: a credit brings money
    beginning = 0
    start = report.start.isoformat()
    for entry in everything:
        if entry.account in cash and entry.day < start:
            beginning += entry.cents
    for entry in found:
        if entry.account in cash:
            continue
        row = profit
        if report.books.types.get(entry.account) not in PROFIT_TYPES:
            row = moved.setdefault(entry.account, [0] * grid.count)
        row[grid.place(entry)] -= entry.cents
    rows: list[Row] = []
    adjust, adjusted = _account_rows(report, grid, OPERATING_TYPES, moved)
    inner: list[Row] = [{"ColData": [{"value": "Net Income"}, *grid.cells(profit)], "type": "Data", "group": "NetIncome"}]
    if adjust:
        title = "Adjustments to reconcile Net Income to Net Cash provided by operations:"
        inner.append(_section(title, grid, adjust, adjusted, "OperatingAdjustments"))
    net = _add(profit, adjusted)
    rows.append(_activities("OPERATING ACTIVITIES", "operating", grid, inner, net, "OperatingActivities"))
    for title, word, types, group in (
        ("INVESTING ACTIVITIES", "investing", ("Fixed Asset", "Other Asset"), "InvestingActivities"),
        ("FINANCING ACTIVITIES", "financing", ("Long Term Liability", "Equity"), "FinancingActivities"),
    ):
        part, total = _account_rows(report, grid, types, moved)
        net = _add(net, total)
        if part:
            rows.append(_activities(title, word, grid, part, total, group))
    rows.append(_summary("Net cash increase for period", grid, net, "CashIncrease"))
    if report.split == "total":
        if beginning:
            head = [{"value": "Cash at beginning of period"}, {"value": cell(beginning)}]
            rows.append({"ColData": head, "type": "Data", "group": "BeginningCash"})
        rows.append(_summary("Cash at end of period", grid, [beginning + net[0]], "EndingCash"))
    return report.answer(grid.columns, rows, data=bool(found))


OPERATING_TYPES = (RECEIVABLE, "Other Current Asset", PAYABLE, "Credit Card", "Other Current Liability", "Non-Posting")


def _activities(title: str, word: str, grid: Grid, rows: list[Row], total: list[int], group: str) -> Row:
    section = _section(title, grid, rows, total, group)
    section["Summary"]["ColData"][0]["value"] = f"Net cash provided by {word} activities"
    return section


# -- names -------------------------------------------------------------------------------------------------------------


def _by_name(report: Report, kind: str, types: frozenset[str], sign: int) -> Row:
    """One row for each customer or vendor: the sum of some accounts, e.g. sales by customer."""
    found = [
        e
        for e in report.in_range(report.entries())
        if report.books.types.get(e.account) in types and e.name.startswith(kind + ":")
    ]
    grid = report.grid(kind, found)
    sums: Amounts = {}
    for entry in found:
        sums.setdefault(entry.name, [0] * grid.count)[grid.place(entry)] += sign * entry.cents
    return report.answer(grid.columns, _name_rows(report, grid, sums), data=bool(found))


def _name_rows(report: Report, grid: Grid, sums: Amounts) -> list[Row]:
    rows: list[Row] = []
    total = [0] * grid.count
    for key in sorted(sums, key=lambda k: report.name_of(k).casefold()):
        total = _add(total, sums[key])
        head = {"value": report.name_of(key), "id": key.partition(":")[2]}
        rows.append({"ColData": [head, *grid.cells(sums[key])], "type": "Data"})
    if rows:
        rows.append(_summary("TOTAL", grid, total, "GrandTotal"))
    return rows


def customer_sales(report: Report) -> Row:
    """Sales by customer: the income accounts, discounts and credits taken off."""
    return _by_name(report, "Customer", frozenset({"Income"}), -1)


def vendor_expenses(report: Report) -> Row:
    """Expenses by vendor."""
    return _by_name(report, "Vendor", frozenset({"Expense", "Other Expense", "Cost of Goods Sold"}), 1)


def customer_income(report: Report) -> Row:
    """Income, expenses and net income by customer."""
    found = [e for e in _profit_entries(report, report.in_range(report.entries())) if e.name.startswith("Customer:")]
    columns = [
        {"ColTitle": title, "ColType": kind, "MetaData": [{"Name": "ColKey", "Value": key}]}
        for title, kind, key in (
            ("", "Customer", "customer"),
            ("Income", "Money", "income"),
            ("Expenses", "Money", "expenses"),
            ("Net Income", "Money", "net_income"),
        )
    ]
    sums: Amounts = {}
    for entry in found:
        is_income = report.books.types.get(entry.account) in {"Income", "Other Income"}
        row = sums.setdefault(entry.name, [0, 0, 0])
        row[0 if is_income else 1] += -entry.cents if is_income else entry.cents
        row[2] -= entry.cents
    report.split = "total"
    return report.answer(columns, _name_rows(report, Grid(columns, lambda e: 0, 3, False), sums), data=bool(found))


def _open(report: Report, control: str) -> list[OpenItem]:
    kind = "Customer" if control == RECEIVABLE else "Vendor"
    wanted = {f"{kind}:{i}" for i in report._ids(kind.lower())}
    day = report.params.get("report_date")
    as_of = periods.parse_day(day, "report_date") if day else (report.end if report.params.get("end_date") else report.today)
    return [item for item in open_items(report.books, control, as_of.isoformat()) if not wanted or item.name in wanted]


def _name_balances(report: Report, control: str) -> Row:
    report.split = "total"
    items = _open(report, control)
    grid = report.grid("Customer" if control == RECEIVABLE else "Vendor")
    sums: Amounts = {}
    for item in items:
        sums.setdefault(item.name, [0])[0] += item.cents
    sums = {key: value for key, value in sums.items() if value[0]}
    return report.answer(grid.columns, _name_rows(report, grid, sums), data=bool(sums))


def customer_balance(report: Report) -> Row:
    """Open balance of each customer."""
    return _name_balances(report, RECEIVABLE)


def vendor_balance(report: Report) -> Row:
    """Open balance of each vendor."""
    return _name_balances(report, PAYABLE)


def _number(report: Report, name: str, default: int, most: int) -> int:
    text = report.params.get(name) or str(default)
    if not text.isdigit() or not 1 <= int(text) <= most:
        raise Fault("2090", element=name, value=text)
    return int(text)


def _buckets(report: Report) -> tuple[int, list[str]]:
    """Days in a bucket and the titles: Current, 1 - 30, ..., 91 and over."""
    width = _number(report, "aging_period", 30, 9999)
    count = _number(report, "num_periods", 4, 30)
    titles = [
        "Current",
        *(f"{n * width + 1} - {(n + 1) * width}" for n in range(count - 1)),
        f"{(count - 1) * width + 1} and over",
    ]
    return width, titles


def _aging(report: Report, control: str) -> Row:
    report.split = "total"
    kind = "Customer" if control == RECEIVABLE else "Vendor"
    width, titles = _buckets(report)
    day = report.params.get("report_date")
    as_of = periods.parse_day(day, "report_date") if day else (report.end if report.params.get("end_date") else report.today)
    columns: list[Row] = [{"ColTitle": "", "ColType": kind, "MetaData": [{"Name": "ColKey", "Value": kind.lower()}]}]
    for index, title in enumerate([*titles, "Total"]):
        key = {"Current": "current", "Total": "total"}.get(title, str(index - 1))
        columns.append({"ColTitle": title, "ColType": "Money", "MetaData": [{"Name": "ColKey", "Value": key}]})
    grid = Grid(columns, lambda entry: 0, len(titles), True)
    sums: Amounts = {}
    for item in _open(report, control):
        late = (as_of - date.fromisoformat(item.due[:10])).days
        place = 0 if late <= 0 else min((late - 1) // width + 1, len(titles) - 1)
        sums.setdefault(item.name, [0] * len(titles))[place] += item.cents
    rows = _name_rows(report, grid, sums)
    for row in rows:
        for part in (row.get("ColData") or row["Summary"]["ColData"])[1:-1]:
            if part["value"] == "0.00":
                part["value"] = ""
    return report.answer(columns, rows, data=bool(sums), options=[("report_date", as_of.isoformat())])


def aged_receivables(report: Report) -> Row:
    """What customers owe, by how long it is overdue."""
    return _aging(report, RECEIVABLE)


def aged_payables(report: Report) -> Row:
    """What is owed to vendors, by how long it is overdue."""
    return _aging(report, PAYABLE)


# -- lists -------------------------------------------------------------------------------------------------------------


def _list_columns(report: Report, default: Sequence[str]) -> list[str]:
    """Column keys asked for with `columns=`; unknown ones are left out, as QBO does."""
    asked = [part.strip() for part in report.params.get("columns", "").split(",") if part.strip()]
    return [key for key in asked if key in COLUMN_TITLES] or list(default)


def _refuse_huge(rows: int, keys: Sequence[str]) -> None:
    """504/6002 for what would be too large."""
    if rows * len(keys) > CELL_LIMIT:
        raise Fault("6002")


def _column_heads(keys: Sequence[str]) -> list[Row]:
    return [{"ColTitle": COLUMN_TITLES[key], "ColType": key, "MetaData": [{"Name": "ColKey", "Value": key}]} for key in keys]


class Splits:
    """What stands on the other side of a posting: the one other account, or "-Split-"."""

    def __init__(self, report: Report, found: Iterable[Entry]) -> None:
        self._report = report
        self._accounts: dict[tuple[str, str], list[str]] = defaultdict(list)
        for entry in found:
            known = self._accounts[(entry.kind, entry.doc["Id"])]
            if entry.account not in known:
                known.append(entry.account)

    def of(self, entry: Entry) -> Row:
        """The cell of the split column."""
        others = [a for a in self._accounts.get((entry.kind, entry.doc["Id"]), ()) if a != entry.account]
        if len(others) == 1:
            doc = self._report.account(others[0])
            return {"value": doc.get("FullyQualifiedName") or doc["Name"], "id": others[0]}
        return {"value": "-Split-" if others else "", "id": ""}


def _list_cell(report: Report, key: str, entry: Entry, cents: int, splits: Splits) -> Row:
    """One cell of a row about a posting or a transaction."""
    doc = entry.doc
    if key == "tx_date":
        return {"value": entry.day}
    if key == "txn_type":
        return {"value": txn_name(entry.kind, doc), "id": doc["Id"]}
    if key == "name":
        return {"value": report.name_of(entry.name), "id": entry.name.partition(":")[2]}
    if key in {"cust_name", "vend_name"}:
        mine = entry.name.startswith("Customer" if key == "cust_name" else "Vendor")
        return {"value": report.name_of(entry.name) if mine else "", "id": entry.name.partition(":")[2] if mine else ""}
    if key in {"split_acc", "other_account"}:
        return splits.of(entry)
    if key == "account_name":
        account = report.account(entry.account) if entry.account else {"Name": ""}
        return {"value": account.get("FullyQualifiedName") or account["Name"], "id": entry.account}
    if key in {"klass_name", "dept_name"}:
        doc_id, name = _tag(entry, "ClassRef" if key == "klass_name" else "DepartmentRef")
        return {"value": name, "id": doc_id}
    if key == "subt_nat_amount":
        return {"value": cell(cents)}
    if key in {"debt_amt", "credit_amt"}:
        side = entry.cents if key == "debt_amt" else -entry.cents
        return {"value": cell(side) if side > 0 else ""}
    return {"value": _doc_cell(key, entry)}


def _doc_cell(key: str, entry: Entry) -> str:
    doc, kind = entry.doc, entry.kind
    if key == "doc_num":
        return str(doc.get("DocNumber") or doc.get("PaymentRefNum") or "")
    if key == "memo":
        lines = doc.get("Line") or ()
        line = lines[entry.line].get("Description") if 0 <= entry.line < len(lines) else None
        return str(line or doc.get("PrivateNote") or "")
    if key == "is_no_post":
        return "No" if kind in NON_POSTING else "Yes"
    if key == "due_date":
        return str(doc.get("DueDate") or "")
    if key == "term_name":
        return str((doc.get("SalesTermRef") or {}).get("name") or "")
    if key == "pmt_mthd":
        return str((doc.get("PaymentMethodRef") or {}).get("name") or "")
    if key in {"create_date", "last_mod_date"}:
        return str(doc["MetaData"]["CreateTime" if key == "create_date" else "LastUpdatedTime"])
    if key == "nat_open_bal":
        return cell(cents_of(doc.get("Balance") or doc.get("UnappliedAmt") or ZERO))
    if key in {"is_ar_paid", "is_ap_paid"}:
        mine = kind == ("Invoice" if key == "is_ar_paid" else "Bill")
        return ("Paid" if not doc.get("Balance") else "Unpaid") if mine else ""
    if key == "cust_msg":
        return str((doc.get("CustomerMemo") or {}).get("value") or "")
    if key == "ship_via":
        return str((doc.get("ShipMethodRef") or {}).get("value") or "")
    if key == "tracking_num":
        return str(doc.get("TrackingNum") or "")
    if key == "inv_date":
        return entry.day if kind == "Invoice" else ""
    if key == "is_adj":
        return "Yes" if doc.get("Adjustment") else "No"
    return ""


NON_POSTING = frozenset({"Estimate", "PurchaseOrder", "TimeActivity"})


def _ordered(found: Iterable[Entry]) -> list[Entry]:
    return sorted(found, key=lambda e: (e.day, len(e.doc["Id"]), e.doc["Id"], e.line))


def _detail_rows(
    report: Report, keys: Sequence[str], found: list[Entry], opening: int, sign: int, splits: Splits
) -> tuple[list[Row], int]:
    """Rows of postings with a running balance; returns the closing balance too."""
    rows: list[Row] = []
    balance = opening
    for entry in _ordered(found):
        cents = sign * entry.cents
        balance += cents
        cells = [
            {"value": cell(balance)} if key == "rbal_nat_amount" else _list_cell(report, key, entry, cents, splits)
            for key in keys
        ]
        rows.append({"ColData": cells, "type": "Data"})
    return rows, balance


def _padded(keys: Sequence[str], first: Row, filled: dict[str, str]) -> list[Row]:
    return [first, *({"value": filled.get(key, "")} for key in keys[1:])]


def general_ledger(report: Report) -> Row:
    """Every account with its beginning balance, its postings and a running balance."""
    report.split = "total"
    keys = _list_columns(report, LEDGER_COLUMNS)
    everything = report.entries()
    splits = Splits(report, entries(report.books, report.basis))
    start = report.start.isoformat()
    before: dict[str, int] = defaultdict(int)
    inside: dict[str, list[Entry]] = defaultdict(list)
    for entry in everything:
        if entry.day >= start:
            inside[entry.account].append(entry)
        elif report.books.types.get(entry.account) not in PROFIT_TYPES:
            before[entry.account] += entry.cents
    _refuse_huge(sum(len(part) for part in inside.values()), keys)
    rows: list[Row] = []
    for doc in report.accounts(TYPE_ORDER):
        account = doc["Id"]
        if account not in inside and not before.get(account):
            continue
        sign = 1 if doc["AccountType"] in DEBIT_TYPES else -1
        opening = sign * before.get(account, 0)
        body, _ = _detail_rows(report, keys, inside.get(account, []), opening, sign, splits)
        if opening:
            body.insert(
                0, {"ColData": _padded(keys, {"value": "Beginning Balance"}, {"rbal_nat_amount": cell(opening)}), "type": "Data"}
            )
        moved = sum(sign * e.cents for e in inside.get(account, ()))
        name = doc.get("FullyQualifiedName") or doc["Name"]
        rows.append(
            {
                "Header": {"ColData": _padded(keys, {"value": name, "id": account}, {})},
                "Rows": {"Row": body},
                "Summary": {"ColData": _padded(keys, {"value": f"Total for {name}"}, {"subt_nat_amount": cell(moved)})},
                "type": "Section",
            }
        )
    return report.answer(_column_heads(keys), rows, data=bool(rows))


def profit_and_loss_detail(report: Report) -> Row:
    """The postings behind the profit and loss, account by account."""
    report.split = "total"
    keys = _list_columns(report, LEDGER_COLUMNS)
    found = _profit_entries(report, report.in_range(report.entries()))
    _refuse_huge(len(found), keys)
    splits = Splits(report, entries(report.books, report.basis))
    inside: dict[str, list[Entry]] = defaultdict(list)
    for entry in found:
        inside[entry.account].append(entry)
    rows: list[Row] = []
    net = 0
    for title, kind, group in (
        ("Income", "Income", "Income"),
        ("Cost of Goods Sold", "Cost of Goods Sold", "COGS"),
        ("Expenses", "Expense", "Expenses"),
        ("Other Income", "Other Income", "OtherIncome"),
        ("Other Expenses", "Other Expense", "OtherExpenses"),
    ):
        sign = 1 if kind in DEBIT_TYPES else -1
        sections: list[Row] = []
        whole = 0
        for doc in report.accounts([kind]):
            if doc["Id"] not in inside:
                continue
            body, total = _detail_rows(report, keys, inside[doc["Id"]], 0, sign, splits)
            whole += total
            name = doc.get("FullyQualifiedName") or doc["Name"]
            sections.append(
                {
                    "Header": {"ColData": _padded(keys, {"value": name, "id": doc["Id"]}, {})},
                    "Rows": {"Row": body},
                    "Summary": {"ColData": _padded(keys, {"value": f"Total for {name}"}, {"subt_nat_amount": cell(total)})},
                    "type": "Section",
                }
            )
        net -= sign * whole
        if sections:
            rows.append(
                {
                    "Header": {"ColData": _padded(keys, {"value": title}, {})},
                    "Rows": {"Row": sections},
                    "Summary": {"ColData": _padded(keys, {"value": f"Total {title}"}, {"subt_nat_amount": cell(whole)})},
                    "type": "Section",
                    "group": group,
                }
            )
    last = _padded(keys, {"value": "Net Income"}, {"subt_nat_amount": cell(net)})
    rows.append({"Summary": {"ColData": last}, "type": "Section", "group": "NetIncome"})
    return report.answer(_column_heads(keys), rows, data=bool(found))


def transaction_list(report: Report) -> Row:
    """One row for each transaction in the range, the ones that do not post included."""
    report.split = "total"
    keys = [key for key in _list_columns(report, LIST_COLUMNS) if key != "rbal_nat_amount"] or list(LIST_COLUMNS)
    found = [entry for entry in _transactions(report) if _wanted(report, entry)]
    _refuse_huge(len(found), keys)
    splits = Splits(report, (e for e in entries(report.books, "Accrual")))
    rows: list[Row] = []
    for entry in _ordered(found):
        cells = [_list_cell(report, key, entry, _headline(entry), splits) for key in keys]
        rows.append({"ColData": cells, "type": "Data"})
    order = report.params.get("sort_by")
    if order in keys:
        at = keys.index(order)
        rows.sort(key=lambda row: _sort_key(order, str(row["ColData"][at]["value"])))
    if str(report.params.get("sort_order", "")).lower().startswith("desc"):
        rows.reverse()
    return report.answer(_column_heads(keys), rows, data=bool(rows))


def _sort_key(key: str, text: str) -> tuple[int, str]:
    return (int(text.replace(".", "") or 0), "") if key in MONEY_COLUMNS else (0, text.casefold())


def _transactions(report: Report) -> Iterable[Entry]:
    """Each transaction once, as an entry against its first account."""
    start, end = report.start.isoformat(), report.end.isoformat()
    for kind in TXN_KINDS:
        for doc in report.company.rows(kind):
            day = day_of(kind, doc)
            if not start <= day <= end:
                continue
            postings = report.books.journal.get(kind, {}).get(doc["Id"], ())
            account, cents, name, line = postings[0] if postings else ("", 0, "", -1)
            yield Entry(day, kind, doc, account, cents, name or _owner(doc), -1 if kind != "JournalEntry" else line)


def _owner(doc: Doc) -> str:
    for kind in ("Customer", "Vendor"):
        reference = doc.get(f"{kind}Ref")
        if reference:
            return f"{kind}:{reference['value']}"
    return ""


def _headline(entry: Entry) -> int:
    """The amount a list shows: the total; money that leaves is negative."""
    doc = entry.doc
    amount = doc.get("TotalAmt")
    if entry.kind == "JournalEntry":
        return abs(entry.cents)
    total = cents_of(amount if amount is not None else doc.get("Amount") or ZERO)
    leaves = {"CreditMemo", "RefundReceipt", "VendorCredit", "BillPayment"}
    if entry.kind in leaves or (entry.kind == "Purchase" and not doc.get("Credit")):
        return -total
    return total


def _wanted(report: Report, entry: Entry) -> bool:
    asked = "".join(report.params.get("transaction_type", "").split()).lower()
    if asked and asked not in {"all", entry.kind.lower(), "".join(txn_name(entry.kind, entry.doc).split()).lower()}:
        return False
    for kind in ("customer", "vendor"):
        ids = report._ids(kind)
        if ids and entry.name not in {f"{kind.capitalize()}:{i}" for i in ids}:
            return False
    department = report._ids("department")
    return not department or _tag(entry, "DepartmentRef")[0] in department


REPORTS: dict[str, Callable[[Report], Row]] = {
    "ProfitAndLoss": profit_and_loss,
    "ProfitAndLossDetail": profit_and_loss_detail,
    "BalanceSheet": balance_sheet,
    "CashFlow": cash_flow,
    "GeneralLedger": general_ledger,
    "TrialBalance": trial_balance,
    "AgedReceivables": aged_receivables,
    "AgedPayables": aged_payables,
    "CustomerBalance": customer_balance,
    "CustomerSales": customer_sales,
    "CustomerIncome": customer_income,
    "VendorBalance": vendor_balance,
    "VendorExpenses": vendor_expenses,
    "TransactionList": transaction_list,
}
_NAMES = {name.lower(): name for name in REPORTS}


def report(company: Company, name: str, params: dict[str, str]) -> Row:
    """Body of `GET /reports/{name}`; Fault for an unknown report or a bad parameter."""
    known = _NAMES.get(name.lower())
    if known is None:
        raise Fault("500", detail=f"Report {name} is not supported.")
    return REPORTS[known](Report(company, known, params))
