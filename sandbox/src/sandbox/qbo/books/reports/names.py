"""Reports of customers and vendors: sales, expenses, income, balances, agings."""

from __future__ import annotations

from datetime import date

from sandbox.qbo.books.amounts import PAYABLE, RECEIVABLE
from sandbox.qbo.books.entries import OpenItem, open_items
from sandbox.qbo.books.reports import periods
from sandbox.qbo.books.reports.report import Amounts, Grid, Report, Row, added, profit_entries, summary_row
from sandbox.qbo.rules.faults import Fault


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
        total = added(total, sums[key])
        head = {"value": report.name_of(key), "id": key.partition(":")[2]}
        rows.append({"ColData": [head, *grid.cells(sums[key])], "type": "Data"})
    if rows:
        rows.append(summary_row("TOTAL", grid, total, "GrandTotal"))
    return rows


def customer_sales(report: Report) -> Row:
    """Sales by customer: the income accounts, discounts and credits taken off."""
    return _by_name(report, "Customer", frozenset({"Income"}), -1)


def vendor_expenses(report: Report) -> Row:
    """Expenses by vendor."""
    return _by_name(report, "Vendor", frozenset({"Expense", "Other Expense", "Cost of Goods Sold"}), 1)


def customer_income(report: Report) -> Row:
    """Income, expenses and net income by customer."""
    found = [e for e in profit_entries(report, report.in_range(report.entries())) if e.name.startswith("Customer:")]
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
    wanted = {f"{kind}:{i}" for i in report.ids(kind.lower())}
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
