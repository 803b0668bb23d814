"""The reports by name, and the one way to ask for them."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.qbo.books.reports import details, names, summaries
from sandbox.qbo.books.reports.report import Report, Row
from sandbox.qbo.company.store import Company
from sandbox.qbo.rules.faults import Fault

REPORTS: dict[str, Callable[[Report], Row]] = {
    "ProfitAndLoss": summaries.profit_and_loss,
    "ProfitAndLossDetail": details.profit_and_loss_detail,
    "BalanceSheet": summaries.balance_sheet,
    "CashFlow": summaries.cash_flow,
    "GeneralLedger": details.general_ledger,
    "TrialBalance": summaries.trial_balance,
    "AgedReceivables": names.aged_receivables,
    "AgedPayables": names.aged_payables,
    "CustomerBalance": names.customer_balance,
    "CustomerSales": names.customer_sales,
    "CustomerIncome": names.customer_income,
    "VendorBalance": names.vendor_balance,
    "VendorExpenses": names.vendor_expenses,
    "TransactionList": details.transaction_list,
}
_NAMES = {name.lower(): name for name in REPORTS}


def report(company: Company, name: str, params: dict[str, str]) -> Row:
    """Body of `GET /reports/{name}`; Fault for an unknown report or a bad parameter."""
    known = _NAMES.get(name.lower())
    if known is None:
        raise Fault("500", detail=f"Report {name} is not supported.")
    return REPORTS[known](Report(company, known, params))
