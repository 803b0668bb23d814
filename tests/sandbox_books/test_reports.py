"""Reports: shape, known figures, and that each ties to the trial balance and the postings."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from ledger_of import D, Ledger, applied, sold, spent
from sandbox.qbo.books.audit import audit
from sandbox.qbo.books.reports.catalogue import REPORTS, report
from sandbox.qbo.rules.faults import Fault

ALL = {"start_date": "2026-01-01", "end_date": "2026-12-31"}


@pytest.fixture
def ledger() -> Ledger:
    """Two invoices (one half paid), a paid bill, an open bill, a sales receipt, a credit; a sale of the year before."""
    made = Ledger()
    made.company.clock.set(1_798_770_000)  # the evening of 31 December 2026, Pacific
    first, second, vendor = {"value": "1"}, {"value": "2"}, {"value": "7"}
    made.put("SalesReceipt", CustomerRef=first, TxnDate="2025-12-15", Line=[sold("1", "1000")], TotalAmt=D(1000))
    tax = {"TotalTax": D("8.00")}
    paid = made.put(
        "Invoice",
        CustomerRef=first,
        TxnDate="2026-01-10",
        DueDate="2026-02-09",
        DocNumber="1001",
        Line=[sold("1", "100"), sold("2", "60", "3")],
        TxnTaxDetail=tax,
        TotalAmt=D(168),
        Balance=D(84),
        LinkedTxn=[{"TxnId": "900", "TxnType": "Payment"}],
    )
    made.put(
        "Payment",
        Id="900",
        CustomerRef=first,
        TxnDate="2026-02-20",
        TotalAmt=D(100),
        UnappliedAmt=D(16),
        Line=[applied("84", "Invoice", paid["Id"])],
    )
    made.put(
        "Invoice",
        CustomerRef=second,
        TxnDate="2026-03-05",
        DueDate="2026-03-05",
        Line=[sold("1", "500")],
        TotalAmt=D(500),
        Balance=D(500),
    )
    made.put(
        "CreditMemo",
        CustomerRef=second,
        TxnDate="2026-03-06",
        Line=[sold("1", "50")],
        TotalAmt=D(50),
        RemainingCredit=D(50),
        Balance=D(50),
    )
    bill = made.put(
        "Bill",
        VendorRef=vendor,
        TxnDate="2026-01-31",
        DueDate="2026-03-02",
        Line=[spent("18", "300")],
        TotalAmt=D(300),
        Balance=D(0),
        LinkedTxn=[{"TxnId": "901", "TxnType": "BillPaymentCheck"}],
    )
    made.put(
        "BillPayment",
        Id="901",
        VendorRef=vendor,
        TxnDate="2026-04-01",
        TotalAmt=D(300),
        PayType="Check",
        CheckPayment={"BankAccountRef": {"value": "9"}},
        Line=[applied("300", "Bill", bill["Id"])],
    )
    made.put(
        "Bill",
        VendorRef=vendor,
        TxnDate="2026-05-31",
        DueDate="2026-06-30",
        Line=[spent("18", "40")],
        TotalAmt=D(40),
        Balance=D(40),
    )
    assert audit(made.books) == []
    return made


def rows_of(body: Any) -> Iterator[dict[str, Any]]:
    """Every row, depth first, summaries as `{"Summary": ...}`."""
    for row in body.get("Row", ()):
        yield row
        yield from rows_of(row.get("Rows", {}))


def figures(body: dict[str, Any]) -> dict[str, list[str]]:
    """First cell of every data row and summary -> the other cells."""
    out = {}
    for row in rows_of(body["Rows"]):
        for cells in (row.get("ColData"), (row.get("Summary") or {}).get("ColData")):
            if cells:
                out[cells[0]["value"]] = [c["value"] for c in cells[1:]]
    return out


def groups(body: dict[str, Any]) -> dict[str, list[str]]:
    return {
        row["group"]: [c["value"] for c in row["Summary"]["ColData"][1:]]
        for row in rows_of(body["Rows"])
        if "group" in row and "Summary" in row
    }


@pytest.mark.parametrize("name", sorted(REPORTS))
@pytest.mark.parametrize("basis", ["Accrual", "Cash"])
def test_every_report_has_the_shape_that_clients_walk(ledger: Ledger, name: str, basis: str) -> None:
    body = report(ledger.company, name, {**ALL, "accounting_method": basis})
    assert body["Header"]["ReportName"] == name
    assert (body["Header"]["StartPeriod"], body["Header"]["EndPeriod"], body["Header"]["ReportBasis"]) == (
        "2026-01-01",
        "2026-12-31",
        basis,
    )
    assert body["Header"]["Time"][-5:] in {"-0800", "-0700"}
    columns = body["Columns"]["Column"]
    assert all("ColKey" in {pair["Name"] for pair in column["MetaData"]} for column in columns)
    for row in rows_of(body["Rows"]):
        for cells in (row.get("ColData"), (row.get("Header") or {}).get("ColData"), (row.get("Summary") or {}).get("ColData")):
            assert cells is None or len(cells) == len(columns), row


def test_profit_and_loss_knows_accrual_and_cash(ledger: Ledger) -> None:
    accrual = groups(report(ledger.company, "ProfitAndLoss", ALL))
    # 100 + 60 + 500 - 50 sold, 12 of cost, 340 of rent
    assert accrual == {
        "Income": ["610.00"],
        "COGS": ["12.00"],
        "GrossProfit": ["598.00"],
        "Expenses": ["340.00"],
        "NetOperatingIncome": ["258.00"],
        "NetIncome": ["258.00"],
    }
    cash = groups(report(ledger.company, "ProfitAndLoss", {**ALL, "accounting_method": "Cash"}))
    # half of invoice 1001 (80 of income, 6 of cost), 16 unapplied, the paid bill only
    assert (cash["Income"], cash["COGS"], cash["Expenses"]) == (["96.00"], ["6.00"], ["300.00"])


def test_columns_by_month_carry_their_dates_and_add_up(ledger: Ledger) -> None:
    body = report(
        ledger.company, "ProfitAndLoss", {"start_date": "2026-01-05", "end_date": "2026-03-31", "summarize_column_by": "Months"}
    )
    columns = body["Columns"]["Column"]
    assert [c["ColTitle"] for c in columns] == ["", "Jan 5 - 31, 2026", "Feb 2026", "Mar 2026", "Total"]
    meta = {pair["Name"]: pair["Value"] for pair in columns[2]["MetaData"]}
    assert meta == {"StartDate": "2026-02-01", "EndDate": "2026-02-28", "ColKey": "Feb 2026"}
    assert groups(body)["Income"] == ["160.00", "0.00", "450.00", "610.00"]


def test_columns_by_day_name_each_day(ledger: Ledger) -> None:
    body = report(
        ledger.company, "ProfitAndLoss", {"start_date": "2026-03-04", "end_date": "2026-03-06", "summarize_column_by": "Days"}
    )
    dates = [{p["Name"]: p["Value"] for p in c["MetaData"]} for c in body["Columns"]["Column"][1:-1]]
    assert [(d["StartDate"], d["EndDate"]) for d in dates] == [(f"2026-03-0{n}", f"2026-03-0{n}") for n in (4, 5, 6)]
    assert groups(body)["NetIncome"] == ["0.00", "500.00", "-50.00", "450.00"]


@pytest.mark.parametrize("basis", ["Accrual", "Cash"])
def test_the_balance_sheet_balances_and_ties_to_profit_and_trial_balance(ledger: Ledger, basis: str) -> None:
    params = {**ALL, "accounting_method": basis}
    sheet = report(ledger.company, "BalanceSheet", params)
    sums = groups(sheet)
    assert sums["TotalAssets"] == sums["TotalLiabilitiesAndEquity"]
    profit = groups(report(ledger.company, "ProfitAndLoss", params))["NetIncome"]
    assert figures(sheet)["Net Income"] == profit
    trial = figures(report(ledger.company, "TrialBalance", params))
    assert trial["TOTAL"][0] == trial["TOTAL"][1]
    assert trial["Retained Earnings"] == ["", "1000.00"]
    for name, values in figures(sheet).items():
        if name in trial and name != "Net Income":
            debit, credit = trial[name]
            assert abs(Decimal(values[0])) == Decimal(debit or credit)


def test_the_balance_sheet_by_month_stands_at_each_months_end(ledger: Ledger) -> None:
    body = report(
        ledger.company, "BalanceSheet", {"start_date": "2026-01-01", "end_date": "2026-03-31", "summarize_column_by": "Month"}
    )
    sums = groups(body)
    assert sums["AR"] == ["168.00", "68.00", "518.00"]
    assert sums["TotalAssets"] == sums["TotalLiabilitiesAndEquity"]


def test_the_trial_balance_is_the_sum_of_the_postings(ledger: Ledger) -> None:
    trial = figures(report(ledger.company, "TrialBalance", ALL))
    assert trial["Accounts Receivable (A/R)"] == [str(ledger.balance("receivable").quantize(D("0.01"))), ""]
    assert trial["Accounts Payable (A/P)"] == ["", "40.00"]
    assert trial["Checking"] == ["", "300.00"]
    assert trial["Services"] == ["", "550.00"]


def test_the_cash_flow_ends_at_the_cash_on_hand(ledger: Ledger) -> None:
    body = report(ledger.company, "CashFlow", ALL)
    end = groups(body)["EndingCash"]
    assert Decimal(end[0]) == ledger.balance("checking") + ledger.balance("undeposited")
    assert figures(body)["Cash at beginning of period"] == ["1000.00"]


def test_the_general_ledger_runs_from_beginning_to_closing_balance(ledger: Ledger) -> None:
    body = report(ledger.company, "GeneralLedger", {"start_date": "2026-02-01", "end_date": "2026-12-31"})
    section = next(r for r in body["Rows"]["Row"] if r["Header"]["ColData"][0]["value"].startswith("Accounts Receivable"))
    rows = [[c["value"] for c in r["ColData"]] for r in section["Rows"]["Row"]]
    assert rows[0][0] == "Beginning Balance"
    assert rows[0][-1] == "168.00"
    assert [(r[0], r[1], r[-2], r[-1]) for r in rows[1:]] == [
        ("2026-02-20", "Payment", "-100.00", "68.00"),
        ("2026-03-05", "Invoice", "500.00", "568.00"),
        ("2026-03-06", "Credit Memo", "-50.00", "518.00"),
    ]
    assert [r[5] for r in rows[1:]] == ["Undeposited Funds", "Services", "Services"]


def test_the_agings_tie_to_the_control_accounts(ledger: Ledger) -> None:
    body = report(ledger.company, "AgedReceivables", {"report_date": "2026-03-31"})
    assert [c["ColTitle"] for c in body["Columns"]["Column"]] == [
        "",
        "Current",
        "1 - 30",
        "31 - 60",
        "61 - 90",
        "91 and over",
        "Total",
    ]
    aged = figures(body)
    assert aged["Customer 1"] == ["", "", "68.00", "", "", "68.00"]  # 50 days late, and 39 days since the unapplied payment
    assert aged["Customer 2"] == ["", "450.00", "", "", "", "450.00"]
    assert aged["TOTAL"][-1] == "518.00"
    assert figures(report(ledger.company, "AgedPayables", {"report_date": "2026-02-15"}))["TOTAL"][-1] == "300.00"
    assert figures(report(ledger.company, "AgedPayables", {"report_date": "2026-06-15"}))["Vendor 7"] == [
        "40.00",
        "",
        "",
        "",
        "",
        "40.00",
    ]


def test_balances_and_sales_by_name(ledger: Ledger) -> None:
    assert figures(report(ledger.company, "CustomerBalance", ALL)) == {
        "Customer 1": ["68.00"],
        "Customer 2": ["450.00"],
        "TOTAL": ["518.00"],
    }
    assert figures(report(ledger.company, "VendorBalance", ALL))["TOTAL"] == ["40.00"]
    assert figures(report(ledger.company, "CustomerSales", ALL)) == {
        "Customer 1": ["160.00"],
        "Customer 2": ["450.00"],
        "TOTAL": ["610.00"],
    }
    assert figures(report(ledger.company, "CustomerIncome", ALL))["Customer 1"] == ["160.00", "12.00", "148.00"]
    assert figures(report(ledger.company, "VendorExpenses", ALL))["Vendor 7"] == ["340.00"]


def test_the_transaction_list_gives_the_columns_asked_for(ledger: Ledger) -> None:
    ledger.put("Estimate", CustomerRef={"value": "1"}, TxnDate="2026-01-11", Line=[sold("1", "70")], TotalAmt=D(70))
    body = report(
        ledger.company, "TransactionList", {**ALL, "columns": "tx_date,txn_type,doc_num,nothing,is_no_post,subt_nat_amount"}
    )
    assert [c["MetaData"][0]["Value"] for c in body["Columns"]["Column"]] == [
        "tx_date",
        "txn_type",
        "doc_num",
        "is_no_post",
        "subt_nat_amount",
    ]
    rows = [[c["value"] for c in r["ColData"]] for r in body["Rows"]["Row"]]
    assert rows[0] == ["2026-01-10", "Invoice", "1001", "Yes", "168.00"]
    assert ["2026-01-11", "Estimate", "", "No", "70.00"] in rows
    assert ["2026-04-01", "Bill Payment (Check)", "", "Yes", "-300.00"] in rows
    only = report(ledger.company, "TransactionList", {**ALL, "transaction_type": "Invoice", "customer": "2"})
    assert [r["ColData"][1]["value"] for r in only["Rows"]["Row"]] == ["Invoice"]


def test_the_detail_of_profit_and_loss_ends_at_net_income(ledger: Ledger) -> None:
    body = report(ledger.company, "ProfitAndLossDetail", ALL)
    assert figures(body)["Net Income"][5] == "258.00"
    assert figures(body)["Total Income"][5] == "610.00"


def test_nothing_posted_says_so(ledger: Ledger) -> None:
    body = report(ledger.company, "ProfitAndLoss", {"start_date": "2020-01-01", "end_date": "2020-12-31"})
    assert {"Name": "NoReportData", "Value": "true"} in body["Header"]["Option"]


@pytest.mark.parametrize(
    ("macro", "first", "last"),
    [
        ("Today", "2026-12-31", "2026-12-31"),
        ("This Fiscal Year-to-date", "2026-01-01", "2026-12-31"),
        ("this calendar year", "2026-01-01", "2026-12-31"),
        ("Last Month", "2026-11-01", "2026-11-30"),
        ("Last Fiscal Quarter", "2026-07-01", "2026-09-30"),
        ("Last Fiscal Year", "2025-01-01", "2025-12-31"),
        ("Last Month-to-date", "2026-11-01", "2026-11-30"),
        ("This Week", "2026-12-27", "2027-01-02"),
        ("Next 4 Weeks", "2027-01-03", "2027-01-30"),
    ],
)
def test_date_macros(ledger: Ledger, macro: str, first: str, last: str) -> None:
    header = report(ledger.company, "TransactionList", {"date_macro": macro})["Header"]
    assert (header["StartPeriod"], header["EndPeriod"], header["DateMacro"]) == (first, last, macro.lower())


@pytest.mark.parametrize(
    ("name", "params", "code"),
    [
        ("NoSuchReport", {}, "500"),
        ("ProfitAndLoss", {"start_date": "yesterday"}, "2060"),
        ("ProfitAndLoss", {"start_date": "2026-02-01", "end_date": "2026-01-01"}, "2190"),
        ("ProfitAndLoss", {"accounting_method": "Barter"}, "2170"),
        ("ProfitAndLoss", {"date_macro": "Some day"}, "2170"),
        ("ProfitAndLoss", {"summarize_column_by": "Moons"}, "2170"),
        ("AgedReceivables", {"aging_period": "0"}, "2090"),
    ],
)
def test_bad_requests_are_faults(ledger: Ledger, name: str, params: dict[str, str], code: str) -> None:
    with pytest.raises(Fault) as caught:
        report(ledger.company, name, params)
    assert caught.value.code == code


@pytest.mark.parametrize("name", ["GeneralLedger", "TransactionList", "ProfitAndLossDetail"])
def test_a_report_of_too_many_cells_times_out(ledger: Ledger, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert report(ledger.company, name, ALL)["Rows"]["Row"]
    monkeypatch.setattr("sandbox.qbo.books.reports.details.CELL_LIMIT", 20)
    with pytest.raises(Fault) as caught:
        report(ledger.company, name, ALL)
    assert (caught.value.code, caught.value.status) == ("6002", 504)


@pytest.mark.parametrize(
    ("split", "titles"),
    [("Customers", ["Customer 1", "Customer 2", "Not Specified"]), ("Vendors", ["Vendor 7", "Not Specified"])],
)
def test_columns_by_name_add_up_to_the_same_profit(ledger: Ledger, split: str, titles: list[str]) -> None:
    body = report(ledger.company, "ProfitAndLoss", {**ALL, "summarize_column_by": split})
    assert [c["ColTitle"] for c in body["Columns"]["Column"][1:-1]] == titles
    assert groups(body)["NetIncome"][-1] == "258.00"


def test_sub_accounts_stand_inside_their_parent(ledger: Ledger) -> None:
    parent = ledger.company.entities["Account"]["18"]
    ledger.put(
        "Account",
        Id="90",
        Name="Parking",
        FullyQualifiedName="Rent:Parking",
        AccountType="Expense",
        ParentRef={"value": parent["Id"]},
    )
    ledger.put("Bill", VendorRef={"value": "7"}, TxnDate="2026-06-01", Line=[spent("90", "25")], TotalAmt=D(25), Balance=D(25))
    body = report(ledger.company, "ProfitAndLoss", ALL)
    rent = next(row for row in rows_of(body["Rows"]) if (row.get("Header") or {}).get("ColData", [{}])[0].get("id") == "18")
    assert [c["value"] for c in rent["Header"]["ColData"]] == ["Rent", "340.00"]
    assert [c["value"] for c in rent["Rows"]["Row"][0]["ColData"]] == ["Parking", "25.00"]
    assert [c["value"] for c in rent["Summary"]["ColData"]] == ["Total Rent", "365.00"]
    assert groups(body)["Expenses"] == ["365.00"]
