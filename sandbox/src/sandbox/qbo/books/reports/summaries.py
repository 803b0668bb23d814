"""Reports of accounts: profit and loss, balance sheet, trial balance, cash flow."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from sandbox.qbo.books.amounts import DEBIT_TYPES, PAYABLE, PROFIT_TYPES, RECEIVABLE
from sandbox.qbo.books.entries import Entry
from sandbox.qbo.books.reports import periods
from sandbox.qbo.books.reports.report import (
    NAME_SPLITS,
    TYPE_ORDER,
    Amounts,
    Grid,
    Report,
    Row,
    added,
    cell,
    profit_entries,
    summary_row,
)
from sandbox.qbo.company.store import Doc
from sandbox.qbo.rules.faults import Fault


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
        total = added(total, added(values, inner_total))
        if inner:
            whole = [{"value": f"Total {doc['Name']}"}, *grid.cells(added(values, inner_total))]
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


def profit_and_loss(report: Report) -> Row:
    """Income, cost of goods sold, expenses, other income and expenses, down to Net Income."""
    found = profit_entries(report, report.in_range(report.entries()))
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
            rows.append(summary_row("Gross Profit", grid, added(sums["Income"], sums["COGS"], -1), "GrossProfit"))
        if group == "Expenses":
            operating = added(added(sums["Income"], sums["COGS"], -1), sums["Expenses"], -1)
            rows.append(summary_row("Net Operating Income", grid, operating, "NetOperatingIncome"))
    other = added(sums["OtherIncome"], sums["OtherExpenses"], -1)
    if any(row.get("group") in {"OtherIncome", "OtherExpenses"} for row in rows):
        rows.append(summary_row("Net Other Income", grid, other, "NetOtherIncome"))
    rows.append(summary_row("Net Income", grid, added(operating, other), "NetIncome"))
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
        amounts[retained] = added(amounts.get(retained, [0] * len(standing.retained)), standing.retained)
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
            total = added(total, values)
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
    equity_total = added(equity_total, standing.income)
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
    net = added(profit, adjusted)
    rows.append(_activities("OPERATING ACTIVITIES", "operating", grid, inner, net, "OperatingActivities"))
    for title, word, types, group in (
        ("INVESTING ACTIVITIES", "investing", ("Fixed Asset", "Other Asset"), "InvestingActivities"),
        ("FINANCING ACTIVITIES", "financing", ("Long Term Liability", "Equity"), "FinancingActivities"),
    ):
        part, total = _account_rows(report, grid, types, moved)
        net = added(net, total)
        if part:
            rows.append(_activities(title, word, grid, part, total, group))
    rows.append(summary_row("Net cash increase for period", grid, net, "CashIncrease"))
    if report.split == "total":
        if beginning:
            head = [{"value": "Cash at beginning of period"}, {"value": cell(beginning)}]
            rows.append({"ColData": head, "type": "Data", "group": "BeginningCash"})
        rows.append(summary_row("Cash at end of period", grid, [beginning + net[0]], "EndingCash"))
    return report.answer(grid.columns, rows, data=bool(found))


OPERATING_TYPES = (RECEIVABLE, "Other Current Asset", PAYABLE, "Credit Card", "Other Current Liability", "Non-Posting")


def _activities(title: str, word: str, grid: Grid, rows: list[Row], total: list[int], group: str) -> Row:
    section = _section(title, grid, rows, total, group)
    section["Summary"]["ColData"][0]["value"] = f"Net cash provided by {word} activities"
    return section
