"""Each rule of a write with one body that passes and one that is refused with its code."""

from __future__ import annotations

from typing import Any

import pytest

from .bodies import (
    bill,
    bill_payment,
    budget,
    deposit,
    expense,
    inventory,
    invoice,
    journal,
    line,
    payment,
    posting,
    purchase,
    time_activity,
)
from .conftest import Books, code_of

# entity, body that passes, body that is refused, code
CASES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("Invoice", invoice(FreeFormAddress=True, HomeBalance=1, InvoiceLink="", domain="QBO"), invoice(Colour="red"), "2010"),
    ("Invoice", invoice(), {"Invoice": invoice()}, "2010"),
    ("Invoice", invoice(line(100, ServiceDate="2026-01-02")), invoice(line(100, Colour="red")), "2010"),
    ("Invoice", invoice(), {"Line": [line()]}, "2020"),
    ("Invoice", invoice(), {"CustomerRef": {"value": "1"}}, "2020"),
    ("Invoice", invoice(line(5)), {"CustomerRef": {"value": "1"}, "Line": [{"DetailType": "SalesItemLineDetail"}]}, "2020"),
    ("Invoice", invoice(), {**invoice(), "Line": []}, "2250"),
    ("Invoice", invoice(), invoice(CustomerRef={"value": ""}), "6250"),
    ("Customer", {"DisplayName": "Ok 1"}, {"DisplayName": "Ok 2", "Notes": {"a": 1}}, "2120"),
    ("Customer", {"DisplayName": "Fine"}, {"DisplayName": "a:b"}, "2040"),
    ("Customer", {"DisplayName": "Fine 2"}, {"DisplayName": "a\tb"}, "2040"),
    ("Account", {"Name": "Tools", "AccountType": "Expense"}, {"Name": 'To"ols', "AccountType": "Expense"}, "2040"),
    ("Invoice", invoice(DocNumber="x" * 21), invoice(DocNumber="x" * 22), "2050"),
    ("Invoice", invoice(PrivateNote="x" * 4000), invoice(PrivateNote="x" * 4001), "2050"),
    ("Invoice", invoice(CustomerMemo={"value": "x" * 1000}), invoice(CustomerMemo={"value": "x" * 1001}), "2050"),
    ("Invoice", invoice({**line(), "Description": "x" * 4000}), invoice({**line(), "Description": "x" * 4001}), "2050"),
    ("Customer", {"DisplayName": "x" * 500}, {"DisplayName": "x" * 501}, "2050"),
    (
        "Customer",
        {"DisplayName": "p", "PrimaryPhone": {"FreeFormNumber": "1" * 30}},
        {"DisplayName": "q", "PrimaryPhone": {"FreeFormNumber": "1" * 31}},
        "2050",
    ),
    ("Payment", payment(1, PaymentRefNum="x" * 21), payment(1, PaymentRefNum="x" * 22), "2050"),
    ("Term", {"Name": "x" * 31, "DueDays": 1}, {"Name": "x" * 32, "DueDays": 1}, "2050"),
    ("Invoice", invoice(TxnDate="2026-02-28"), invoice(TxnDate="28.02.2026"), "2060"),
    ("Invoice", invoice(TxnDate="2024-02-29"), invoice(TxnDate="2026-02-30"), "2070"),
    ("Term", {"Name": "t", "DueDays": "5"}, {"Name": "t2", "DueDays": 5.5}, "2080"),
    (
        "Item",
        {"Name": "i", "Type": "Service", "UnitPrice": "5", "IncomeAccountRef": {"value": "1"}},
        {"Name": "i2", "Type": "Service", "UnitPrice": "five", "IncomeAccountRef": {"value": "1"}},
        "2090",
    ),
    ("Invoice", invoice(line("100.00")), invoice(line("a hundred")), "2140"),
    ("Invoice", invoice(line(9999999999)), invoice(line(10000000000)), "2140"),
    ("Payment", payment(0), payment(-1), "2140"),
    (
        "Invoice",
        invoice(
            {"DetailType": "DiscountLineDetail", "DiscountLineDetail": {"PercentBased": True, "DiscountPercent": 8.5}}, line()
        ),
        invoice(
            {"DetailType": "DiscountLineDetail", "DiscountLineDetail": {"PercentBased": True, "DiscountPercent": 101}}, line()
        ),
        "2150",
    ),
    ("Term", {"Name": "t", "DueDays": 5, "DiscountPercent": 100}, {"Name": "t2", "DueDays": 5, "DiscountPercent": 101}, "2150"),
    ("Invoice", invoice(line(100, Qty="2", UnitPrice=50)), invoice(line(100, Qty="two", UnitPrice=50)), "2160"),
    ("Invoice", invoice(EmailStatus="NotSet"), invoice(EmailStatus="Maybe"), "2170"),
    ("Invoice", invoice(PrintStatus="NEED_TO_PRINT"), invoice(PrintStatus="Perhaps"), "2170"),
    ("Invoice", invoice(TxnDate="1999-12-31"), invoice(TxnDate="1800-01-01"), "2190"),
    (
        "Customer",
        {"DisplayName": "w", "WebAddr": {"URI": "http://example.com"}},
        {"DisplayName": "w2", "WebAddr": {"URI": "no url"}},
        "2200",
    ),
    (
        "Customer",
        {"DisplayName": "e", "PrimaryEmailAddr": {"Address": "a@example.com"}},
        {"DisplayName": "e2", "PrimaryEmailAddr": {"Address": "nobody"}},
        "2210",
    ),
    ("Invoice", invoice(CurrencyRef={"value": "USD"}), invoice(CurrencyRef={"value": "EUR"}), "2220"),
    ("CompanyCurrency", {"Code": "EUR", "Name": "Euro"}, {"Code": "eu1"}, "2220"),
    ("Customer", {"DisplayName": "b", "Taxable": "true"}, {"DisplayName": "b2", "Taxable": "perhaps"}, "2230"),
    ("Term", {"Name": "t", "DueDays": 999}, {"Name": "t2", "DueDays": 1000}, "2240"),
    (
        "Item",
        {"Name": "i", "Type": "Service", "UnitPrice": 99999999999, "IncomeAccountRef": {"value": "1"}},
        {"Name": "i2", "Type": "Service", "UnitPrice": 100000000000, "IncomeAccountRef": {"value": "1"}},
        "2240",
    ),
    ("JournalEntry", journal(), journal({"Amount": 1, "JournalEntryLineDetail": {"AccountRef": {"value": "7"}}}), "2260"),
    ("JournalEntry", journal(), journal(posting("Debit", 10, TaxCodeRef={"value": "TAX"}), posting("Credit", 10)), "2270"),
    ("JournalEntry", journal(), journal(posting("Debit", -10), posting("Credit", -10)), "2290"),
    ("JournalEntry", journal(), journal(posting("Debit", 10), posting("Credit", 9.99)), "2300"),
    ("JournalEntry", journal(), journal(posting("Debit", 0)), "6000"),
    (
        "JournalEntry",
        journal(posting("Debit", 10, "84", Entity={"Type": "Customer", "EntityRef": {"value": "1"}}), posting("Credit", 10)),
        journal(posting("Debit", 10, "84"), posting("Credit", 10)),
        "6000",
    ),
    ("Invoice", invoice(), invoice(CustomerRef={"value": "424242"}), "2500"),
    ("Invoice", invoice(), invoice(line(1, ItemRef={"value": "999"})), "2500"),
    ("Bill", bill(), bill(expense(5, "999")), "2500"),
    ("Invoice", invoice(SalesTermRef={"value": "3"}), invoice(SalesTermRef={"value": "33"}), "2500"),
    ("Term", {"Name": "t", "DueDays": 5}, {"Name": "t2", "DueDays": 5, "DayOfMonthDue": 3}, "2600"),
    (
        "Invoice",
        invoice(CustomField=[{"DefinitionId": "1", "Type": "StringType", "StringValue": "x"}]),
        invoice(CustomField=[{"DefinitionId": "77", "Type": "StringType", "StringValue": "x"}]),
        "3000",
    ),
    ("Account", {"Name": "Tools", "AccountType": "Expense"}, {"Name": "Tools 2"}, "6010"),
    ("Vendor", {"DisplayName": "v", "Balance": 5, "OpenBalanceDate": "2026-01-01"}, {"DisplayName": "v2", "Balance": 5}, "6060"),
    (
        "Invoice",
        invoice(line(1861.08, Qty=128.350, UnitPrice=14.50)),
        invoice(line(1861.07, Qty=128.350, UnitPrice=14.50)),
        "6070",
    ),
    ("Invoice", invoice(line(7, Qty=0, UnitPrice=0)), invoice(line(7, Qty=1, UnitPrice=0)), "6070"),
    ("Customer", {"GivenName": "Ada", "FamilyName": "Byron"}, {"Notes": "nobody"}, "6080"),
    (
        "Invoice",
        invoice(line(), {"DetailType": "DiscountLineDetail", "Amount": 0, "DiscountLineDetail": {}}),
        invoice(line(), {"DetailType": "DiscountLineDetail", "DiscountLineDetail": {"PercentBased": True}}),
        "6090",
    ),
    ("Invoice", invoice(line(1, TaxCodeRef={"value": "TAX"})), invoice(line(1, TaxCodeRef={"value": "2"})), "6100"),
    ("Customer", {"DisplayName": "j", "Job": True, "ParentRef": {"value": "1"}}, {"DisplayName": "j2", "Job": True}, "6150"),
    ("Invoice", invoice(line(1, TaxCodeRef={"value": "NON"})), invoice(line(1, TaxCodeRef={"value": "CustomSalesTax"})), "6160"),
    (
        "Invoice",
        invoice(GlobalTaxCalculation="NotApplicable"),
        invoice(GlobalTaxCalculation="NotApplicable", TxnTaxDetail={"TxnTaxCodeRef": {"value": "2"}}),
        "6170",
    ),
    ("Customer", {"DisplayName": "Cool"}, {"DisplayName": "cool CARS"}, "6240"),
    ("Customer", {"DisplayName": "Burger"}, {"DisplayName": "Bob's Burger Joint"}, "6240"),
    (
        "Item",
        {"Name": "New", "Type": "Service", "IncomeAccountRef": {"value": "1"}},
        {"Name": "procedure", "Type": "Service", "IncomeAccountRef": {"value": "1"}},
        "6240",
    ),
    ("TimeActivity", time_activity(), {**time_activity(), "EmployeeRef": None}, "6290"),
    (
        "TimeActivity",
        {**time_activity(), "NameOf": "Vendor", "EmployeeRef": None, "VendorRef": {"value": "51"}},
        {**time_activity(), "NameOf": "Vendor", "EmployeeRef": None},
        "6300",
    ),
    ("TimeActivity", time_activity(), time_activity(VendorRef={"value": "51"}), "6310"),
    (
        "TimeActivity",
        time_activity(BillableStatus="Billable", CustomerRef={"value": "1"}, ItemRef={"value": "2"}, HourlyRate=80),
        time_activity(BillableStatus="Billable", ItemRef={"value": "2"}, HourlyRate=80),
        "6320",
    ),
    (
        "TimeActivity",
        time_activity(),
        time_activity(BillableStatus="Billable", CustomerRef={"value": "1"}, HourlyRate=80),
        "6330",
    ),
    (
        "TimeActivity",
        time_activity(),
        time_activity(BillableStatus="Billable", CustomerRef={"value": "1"}, ItemRef={"value": "2"}),
        "6340",
    ),
    ("TimeActivity", time_activity(), {"NameOf": "Employee", "EmployeeRef": {"value": "61"}}, "6350"),
    (
        "TimeActivity",
        time_activity(StartTime="2026-01-01T08:00:00", EndTime="2026-01-01T09:00:00"),
        time_activity(StartTime="2026-01-01T09:00:00", EndTime="2026-01-01T08:00:00"),
        "6360",
    ),
    ("TimeActivity", time_activity(), time_activity(Hours=9000), "6370"),
    ("TimeActivity", time_activity(Minutes=59), time_activity(Minutes=60), "6380"),
    (
        "TimeActivity",
        time_activity(StartTime="2026-01-01T08:00:00", EndTime="2026-01-01T10:00:00", BreakHours=1),
        time_activity(StartTime="2026-01-01T08:00:00", EndTime="2026-01-01T09:00:00", BreakHours=1),
        "6390",
    ),
    (
        "Invoice",
        invoice(EmailStatus="NeedToSend", BillEmail={"Address": "a@example.com"}),
        invoice(EmailStatus="NeedToSend"),
        "6420",
    ),
    ("Purchase", purchase(), purchase(AccountRef={"value": "7"}), "6430"),
    (
        "Item",
        {"Name": "New", "Type": "Service", "IncomeAccountRef": {"value": "1"}},
        {"Name": "New 2", "Type": "Service", "IncomeAccountRef": {"value": "35"}},
        "6430",
    ),
    (
        "Bill",
        bill(),
        bill({"Amount": 5, "DetailType": "AccountBasedExpenseLineDetail", "AccountBasedExpenseLineDetail": {}}),
        "6440",
    ),
    ("Deposit", deposit(), {"DepositToAccountRef": {"value": "35"}, "Line": [{"Amount": 5}]}, "6440"),
    ("Budget", budget(), budget(BudgetDetail=[]), "6490"),
    ("Budget", budget(), budget(BudgetDetail=[{"BudgetDate": "2027-01-01", "Amount": 5, "AccountRef": {"value": "1"}}]), "6500"),
    ("Budget", budget(), budget(BudgetDetail=[{"BudgetDate": "2026-01-01", "Amount": 5}]), "6510"),
    ("Item", inventory(), {k: v for k, v in inventory(Name="Net").items() if k != "QtyOnHand"}, "6520"),
    ("BillPayment", bill_payment(0), bill_payment(5), "2250"),
    (
        "Transfer",
        {"FromAccountRef": {"value": "35"}, "ToAccountRef": {"value": "36"}, "Amount": 5},
        {"FromAccountRef": {"value": "35"}, "ToAccountRef": {"value": "35"}, "Amount": 5},
        "6000",
    ),
    ("Payment", payment(5), payment(5, ("Invoice", "99999", 5)), "620"),
    ("Item", {"Name": "New", "Type": "Category"}, {"Name": "New 2"}, "2020"),
]


@pytest.mark.parametrize(("kind", "good", "bad", "code"), CASES, ids=[f"{c[0]}-{c[3]}-{i}" for i, c in enumerate(CASES)])
def test_a_rule_accepts_and_refuses(books: Books, kind: str, good: dict[str, Any], bad: dict[str, Any], code: str) -> None:
    refused = books.post(kind.lower(), bad)
    assert code_of(refused) == code, refused.text
    assert refused.status_code == 400
    if (kind, code) == ("BillPayment", "2250"):
        made = books.make("Bill", bill())
        good = bill_payment(50, ("Bill", made["Id"], 50))
    accepted = books.post(kind.lower(), good)
    assert accepted.status_code == 200, accepted.text
    assert accepted.json()[kind]["SyncToken"] == "0"


def test_fault_texts_have_the_observed_shape(books: Books) -> None:
    first = books.make("Invoice", invoice(DocNumber="D1"))
    error = books.post("invoice", invoice(DocNumber="D1")).json()["Fault"]["Error"][0]
    assert error["Message"] == "Duplicate Document Number Error"
    assert f"DocNumber=D1 is assigned to TxnType=Invoice with TxnId={first['Id']}" in error["Detail"]
    error = books.post("invoice", invoice(line(1000, Qty=1, UnitPrice=999))).json()["Fault"]["Error"][0]
    assert error["Detail"].endswith("Amount is not equal to UnitPrice * Qty. Supplied value:1,000")
    error = books.post("customer", {"DisplayName": "Cool Cars"}).json()["Fault"]["Error"][0]
    assert "Duplicate Name Exists Error" in error["Message"]
    error = books.post("invoice", invoice(DocNumber="x" * 30)).json()["Fault"]["Error"][0]
    assert "Min:0 Max:21 supported" in error["Detail"]
    error = books.post("invoice", {"CustomerRef": {"value": "1"}}).json()["Fault"]["Error"][0]
    assert error["Message"] == "Required param missing, need to supply the required value for the API"
    assert error["Detail"] == "Required parameter Line is missing in the request"
