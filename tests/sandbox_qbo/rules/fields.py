"""What a field takes: unknown and missing properties, lengths, references, values."""

from __future__ import annotations

from typing import Any

import httpx

from ..acts import Act, inactive, item, post
from ..bodies import (
    bill,
    invoice,
    line,
    purchase,
    start,
)
from ..conftest import Books
from .writing import (
    Rule,
    at,
    customer,
    gives,
    made,
    no,
    ok,
    refused,
)


def text_of(length: int, path: str) -> str:
    """A text of so many characters that fits what the property is."""
    if path.endswith("Address"):
        return "a" * (length - 12) + "@example.com"
    if path.endswith("URI"):
        return "http://example.com/" + "x" * (length - 19)
    if path == "FileName":
        return "x" * (length - 4) + ".csv"
    return "x" * length


LENGTHS: tuple[tuple[str, str, int], ...] = (
    ("Invoice", "DocNumber", 21),
    ("Invoice", "PrivateNote", 4000),
    ("Invoice", "Line.0.Description", 4000),
    ("Invoice", "CustomerMemo.value", 1000),
    ("Invoice", "BillEmail.Address", 100),
    *(("Invoice", f"BillAddr.Line{number}", 500) for number in range(1, 6)),
    ("Invoice", "BillAddr.City", 255),
    ("Invoice", "BillAddr.Country", 255),
    ("Invoice", "BillAddr.CountrySubDivisionCode", 255),
    ("Invoice", "BillAddr.PostalCode", 30),
    ("Bill", "DocNumber", 21),
    ("Bill", "PrivateNote", 4000),
    ("Bill", "Line.0.Description", 4000),
    ("CreditMemo", "DocNumber", 21),
    ("Estimate", "CustomerMemo.value", 1000),
    ("SalesReceipt", "PaymentRefNum", 21),
    ("Payment", "PaymentRefNum", 21),
    ("Payment", "PrivateNote", 4000),
    ("PurchaseOrder", "Memo", 4000),
    ("JournalEntry", "DocNumber", 21),
    ("JournalEntry", "Line.0.Description", 4000),
    ("Customer", "DisplayName", 500),
    ("Customer", "Title", 16),
    ("Customer", "GivenName", 100),
    ("Customer", "MiddleName", 100),
    ("Customer", "FamilyName", 100),
    ("Customer", "Suffix", 16),
    ("Customer", "CompanyName", 100),
    ("Customer", "PrintOnCheckName", 110),
    ("Customer", "Notes", 2000),
    ("Customer", "ResaleNum", 16),
    ("Customer", "PrimaryEmailAddr.Address", 100),
    ("Customer", "PrimaryPhone.FreeFormNumber", 30),
    ("Customer", "WebAddr.URI", 1000),
    ("Customer", "ShipAddr.Line1", 500),
    ("Vendor", "DisplayName", 500),
    ("Vendor", "PrintOnCheckName", 100),
    ("Vendor", "AcctNum", 100),
    ("Vendor", "TaxIdentifier", 20),
    ("Item", "Name", 100),
    ("Item", "Sku", 100),
    ("Item", "Description", 4000),
    ("Item", "PurchaseDesc", 1000),
    ("Account", "Name", 100),
    ("Account", "Description", 100),
    ("Class", "Name", 100),
    ("Department", "Name", 100),
    ("Term", "Name", 31),
    ("Attachable", "FileName", 1000),
    ("Attachable", "Note", 2000),
    ("Attachable", "ContentType", 100),
    ("Attachable", "Tag", 2000),
)


def length_rule(kind: str, path: str, limit: int) -> Rule:
    return Rule(
        "lengths",
        f"{kind}.{path} {limit}",
        ok(post(kind, at(start(kind), path, text_of(limit, path)))),
        no("2050", post(kind, at(start(kind), path, text_of(limit + 1, path)))),
    )


# kind, path of the reference, an Id that is there and fits, what to make and then to make inactive
REFERENCES: tuple[tuple[str, str, str, str, dict[str, Any]], ...] = (
    ("Invoice", "Line.0.SalesItemLineDetail.ItemRef", "2", "Item", {}),
    ("Invoice", "Line.0.SalesItemLineDetail.ClassRef", "1", "Class", {}),
    ("Invoice", "SalesTermRef", "3", "Term", {}),
    ("Invoice", "DepartmentRef", "1", "Department", {}),
    ("Invoice", "DepositToAccountRef", "35", "Account", {"AccountType": "Bank"}),
    ("SalesReceipt", "PaymentMethodRef", "1", "PaymentMethod", {}),
    ("Payment", "CustomerRef", "1", "Customer", {}),
    ("Payment", "DepositToAccountRef", "35", "Account", {"AccountType": "Bank"}),
    ("Bill", "VendorRef", "51", "Vendor", {}),
    ("Bill", "Line.0.AccountBasedExpenseLineDetail.AccountRef", "7", "Account", {}),
    ("Bill", "Line.0.AccountBasedExpenseLineDetail.CustomerRef", "1", "Customer", {}),
    ("Bill", "Line.0.AccountBasedExpenseLineDetail.ClassRef", "1", "Class", {}),
    ("Purchase", "AccountRef", "35", "Account", {"AccountType": "Bank"}),
    ("Purchase", "EntityRef", "51", "Vendor", {}),
    ("JournalEntry", "Line.0.JournalEntryLineDetail.AccountRef", "7", "Account", {}),
    ("JournalEntry", "Line.0.JournalEntryLineDetail.DepartmentRef", "1", "Department", {}),
    ("Transfer", "ToAccountRef", "36", "Account", {"AccountType": "Bank"}),
    ("TimeActivity", "EmployeeRef", "61", "Employee", {}),
    ("Customer", "SalesTermRef", "3", "Term", {}),
    ("Customer", "PaymentMethodRef", "1", "PaymentMethod", {}),
    ("Customer", "CustomerTypeRef", "1", "", {}),
    ("Customer", "DefaultTaxCodeRef", "2", "", {}),
    ("Vendor", "TermRef", "3", "Term", {}),
    ("Item", "IncomeAccountRef", "1", "Account", {"AccountType": "Income"}),
    ("Budget", "BudgetDetail.0.AccountRef", "1", "Account", {}),
)


def reference_rules(kind: str, path: str, good: str, made: str, values: dict[str, Any]) -> list[Rule]:
    def send(value: str) -> Act:
        return lambda b: b.post(kind.lower(), at(start(kind), path, {"value": value}))

    def retired(b: Books) -> httpx.Response:
        return send(inactive(b, made, **start(made, **values)))(b)

    rules = [Rule("references", f"{kind}.{path} is there", ok(send(good)), no("2500", send("4242")))]
    if made:
        rules.append(Rule("references", f"{kind}.{path} is in use", ok(send(good)), no("2500", retired)))
    return rules


RULES: tuple[Rule, ...] = (
    # 9.4: unknown 2010, missing 2020
    refused("properties", "unknown on the document", "Invoice", "2010", invoice(Deposit=0), invoice(Deposits=0)),
    refused(
        "properties", "unknown in a line", "Invoice", "2010", invoice({**line(), "LineNum": 1}), invoice({**line(), "Num": 1})
    ),
    refused("properties", "unknown in a detail", "Invoice", "2010", invoice(line(1, Qty=1)), invoice(line(1, Quantity=1))),
    refused(
        "properties",
        "unknown in a reference",
        "Invoice",
        "2010",
        invoice(CustomerRef={"value": "1", "name": "x"}),
        invoice(CustomerRef={"value": "1", "nom": "x"}),
    ),
    refused("properties", "wrapped once too often", "Customer", "2010", customer(), {"Customer": customer()}),
    refused("properties", "another kind's", "Bill", "2010", bill(Memo="x"), bill(CustomerMemo={"value": "x"})),
    Rule(
        "properties",
        "read-only ones are ignored",
        gives((100, 100), made("Invoice", invoice(TotalAmt=9, Balance=3), lambda d: (d["TotalAmt"], d["Balance"]))),
        gives((9, 9), made("Invoice", invoice(line(9), TotalAmt=9, Balance=3), lambda d: (d["TotalAmt"], d["Balance"]))),
    ),
    Rule(
        "properties",
        "a body is JSON",
        ok(lambda b: b.call("POST", "customer", content=b'{"DisplayName": "j"}')),
        no("2010", lambda b: b.call("POST", "customer", content=b'{"DisplayName": "j"')),
    ),
    Rule(
        "properties",
        "a body is UTF-8",
        ok(lambda b: b.call("POST", "customer", content='{"DisplayName": "ü"}'.encode())),
        no("500", lambda b: b.call("POST", "customer", content='{"DisplayName": "ü"}'.encode("latin-1"))),
    ),
    refused("required", "Line", "Invoice", "2020", invoice(), {"CustomerRef": {"value": "1"}}),
    refused("required", "CustomerRef", "Invoice", "2020", invoice(), {"Line": [line()]}),
    refused("required", "DetailType", "Invoice", "2020", invoice(line(5)), invoice({"Amount": 5})),
    refused("required", "Amount of a line", "Invoice", "2020", invoice(line(5)), invoice({"DetailType": "SalesItemLineDetail"})),
    refused("required", "a null is no value", "Bill", "2020", bill(), {**bill(), "VendorRef": None}),
    refused("required", "Type of an item", "Item", "2020", item("n"), {"Name": "n2", "IncomeAccountRef": {"value": "1"}}),
    refused("required", "income account of a service", "Item", "2020", item("n"), {"Name": "n2", "Type": "Service"}),
    refused(
        "required", "account refunded from", "RefundReceipt", "2020", invoice(DepositToAccountRef={"value": "35"}), invoice()
    ),
    refused("required", "a name part", "Vendor", "6080", {"FamilyName": "Byron"}, {"Notes": "x"}),
    *(length_rule(*row) for row in LENGTHS),
    refused(
        "lengths",
        "address lines together 2000",
        "Customer",
        "2050",
        customer("l1", BillAddr={f"Line{n}": "x" * 400 for n in range(1, 6)}),
        customer("l2", BillAddr={f"Line{n}": "x" * 401 for n in range(1, 6)}),
    ),
    *(rule for row in REFERENCES for rule in reference_rules(*row)),
    Rule(
        "references",
        "an inactive customer of a sales form is 6250",
        ok(post("Estimate", invoice())),
        no("6250", lambda b: b.post("estimate", invoice(CustomerRef={"value": inactive(b, "Customer", DisplayName="i")}))),
    ),
    refused(
        "references",
        "an empty customer of a sales form is 6250",
        "Invoice",
        "6250",
        invoice(),
        invoice(CustomerRef={"value": ""}),
    ),
    refused(
        "references",
        "words",
        "Invoice",
        "2500",
        invoice(line(1, TaxCodeRef={"value": "NON"})),
        invoice(line(1, TaxCodeRef={"value": "NONE"})),
    ),
    refused(
        "references",
        "only value matters",
        "Invoice",
        "2500",
        invoice(CustomerRef={"value": "1", "name": "Nobody"}),
        invoice(CustomerRef={"value": "4242", "name": "Cool Cars"}),
    ),
    refused(
        "references",
        "what a file hangs on",
        "Attachable",
        "2500",
        {"Note": "n", "AttachableRef": [{"EntityRef": {"type": "Customer", "value": "1"}}]},
        {"Note": "n", "AttachableRef": [{"EntityRef": {"type": "Customer", "value": "4242"}}]},
    ),
    # values
    refused("values", "colon in a name", "Customer", "2040", customer("a b"), customer("a:b")),
    refused("values", "tab in a name", "Customer", "2040", customer("a c"), customer("a\tc")),
    refused("values", "newline in a name", "Vendor", "2040", {"DisplayName": "v w"}, {"DisplayName": "v\nw"}),
    refused(
        "values",
        "quotes in an account's name",
        "Account",
        "2040",
        {"Name": "Tools'", "AccountType": "Expense"},
        {"Name": 'Tools"', "AccountType": "Expense"},
    ),
    refused("values", "dates", "Bill", "2060", bill(TxnDate="2026-01-31"), bill(TxnDate="01/31/2026")),
    refused("values", "days of the calendar", "Bill", "2070", bill(DueDate="2028-02-29"), bill(DueDate="2027-02-29")),
    refused("values", "numbers as text", "Invoice", "2140", invoice(line("12.50")), invoice(line("12.50 USD"))),
    refused("values", "no underscores in numbers", "Invoice", "2140", invoice(line("1000")), invoice(line("1_000"))),
    refused("values", "ten digits before the point", "Invoice", "2140", invoice(line(9999999999)), invoice(line(10000000000))),
    refused(
        "values", "prices to 99,999,999,999", "Item", "2240", item("p", UnitPrice=99999999999), item("q", UnitPrice=100000000000)
    ),
    refused("values", "prices not negative", "Item", "2240", item("p", PurchaseCost=0), item("q", PurchaseCost=-1)),
    refused(
        "values",
        "enumerations in any case",
        "Invoice",
        "2170",
        invoice(PrintStatus="NEED_TO_PRINT"),
        invoice(PrintStatus="NEEDS_PRINT"),
    ),
    refused("values", "payment type", "Purchase", "2170", purchase(), purchase(PaymentType="Cheque")),
    refused(
        "values",
        "web addresses",
        "Customer",
        "2200",
        customer("w", WebAddr={"URI": "example.com"}),
        customer("w2", WebAddr={"URI": "example"}),
    ),
    refused(
        "values",
        "several e-mail addresses",
        "Invoice",
        "2210",
        invoice(BillEmail={"Address": "a@b.co, c@d.co"}),
        invoice(BillEmail={"Address": "a@b.co, c"}),
    ),
    refused("values", "days of a term", "Term", "2240", {"Name": "t", "DueDays": 0}, {"Name": "t", "DueDays": -1}),
    refused("values", "day of a month", "Term", "2240", {"Name": "t", "DayOfMonthDue": 31}, {"Name": "t", "DayOfMonthDue": 32}),
    refused(
        "values",
        "discount of a term",
        "Term",
        "2150",
        {"Name": "t", "DueDays": 5, "DiscountPercent": 100},
        {"Name": "t2", "DueDays": 5, "DiscountPercent": 101},
    ),
    refused(
        "values",
        "DueDays or a day, not both",
        "Term",
        "2600",
        {"Name": "t", "DayOfMonthDue": 3},
        {"Name": "t", "DayOfMonthDue": 3, "DueDays": 3},
    ),
    refused(
        "values",
        "e-mail needed for sending",
        "Invoice",
        "6420",
        invoice(EmailStatus="NeedToSend", BillEmail={"Address": "a@b.co"}),
        invoice(EmailStatus="NeedToSend", BillEmail={}),
    ),
)
