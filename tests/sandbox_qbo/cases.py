"""Every fault code with one request that brings it about and one, hardly different, that passes.

`CASES` is what a reader looks a code up in; `FORCED_ONLY` names the codes whose cause no source tells; `TOLD` is what the
reference says of each code: HTTP statuses, fault type, text. `test_codes.py` walks all three and asks that none is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from .acts import (
    Act,
    batch,
    delete,
    discount,
    edit,
    file,
    get,
    inactive,
    item,
    linked,
    metadata,
    multipart,
    post,
    query,
    read,
    void,
)
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
from .conftest import Books

V = "ValidationFault"


@dataclass(frozen=True)
class Case:
    """Two requests to a company of their own; the refused one is sent first."""

    refuses: Act
    accepts: Act


@dataclass(frozen=True)
class Told:
    """What the reference says of a code. `text` is looked for in Message and Detail, one below the other."""

    text: str
    type: str = V
    statuses: frozenset[int] = frozenset({400})


def told(text: str, fault_type: str = V, *statuses: int) -> Told:
    return Told(text, fault_type, frozenset(statuses or (400,)))


def body(kind: str, good: dict[str, Any], bad: dict[str, Any]) -> Case:
    """Two bodies of one kind."""
    return Case(post(kind, bad), post(kind, good))


# -- how requests are written ------------------------------------------------------------------------------------------


def shut(code: str) -> Case:
    """A company in a state in which every call, or every write, gets the code; and in its ordinary state."""

    def go(books: Books, gate: str) -> httpx.Response:
        books.set(gate=gate)
        return books.post("invoice", invoice())

    return Case(lambda books: go(books, code), lambda books: go(books, ""))


def bearer(value: str | None) -> Act:
    """A read with another Authorization header."""

    def go(books: Books) -> httpx.Response:
        headers = dict(books.headers)
        if value is None:
            del headers["authorization"]
        else:
            headers["authorization"] = value
        return books.standin.http.get(f"/v3/company/{books.realm}/companyinfo/1", headers=headers)

    return go


def paid_by_card(books: Books) -> dict[str, Any]:
    return books.make("Payment", payment(5, ProcessPayment=True))


def deposited(books: Books) -> dict[str, Any]:
    paid = books.make("Payment", payment(20))
    books.make("Deposit", {**deposit(), "Line": [linked(20, paid)]})
    return paid


def queries(count: int) -> list[dict[str, Any]]:
    return [{"bId": str(number), "Query": "select * from Term"} for number in range(count)]


# -- cases that need something to be there first -----------------------------------------------------------------------


def _other_body(books: Books, second: dict[str, Any]) -> httpx.Response:
    books.standin.control("POST", "modes", {"requestid_other_body": "refuse"})
    books.post("invoice", invoice(), requestid="r1")
    return books.post("invoice", second, requestid="r1")


def _gone(books: Books) -> httpx.Response:
    made = books.make("Invoice", invoice())
    delete(books, "Invoice", made)
    return books.post("invoice", {**invoice(), "Id": made["Id"], "SyncToken": "0"})


def _currency(books: Books, code: str) -> httpx.Response:
    if not books.query("select * from CompanyCurrency"):
        books.make("CompanyCurrency", {"Code": "EUR"})
    return books.post("companycurrency", {"Code": code})


def _job(books: Books, parent: str | None) -> httpx.Response:
    """A customer whose parent is another one; None: itself."""
    made = books.make("Customer", {"DisplayName": f"job of {parent}"})
    return edit(books, "Customer", made, ParentRef={"value": parent or made["Id"]}, Job=True)


def _circle(books: Books) -> httpx.Response:
    child = books.make("Customer", {"DisplayName": "child", "Job": True, "ParentRef": {"value": "1"}})
    return edit(books, "Customer", books.get("Customer", "1"), ParentRef={"value": child["Id"]}, Job=True)


def _estimate(books: Books, *, used: bool) -> httpx.Response:
    made = books.make("Estimate", invoice())
    if used:
        books.make("Invoice", invoice(LinkedTxn=[{"TxnId": made["Id"], "TxnType": "Estimate"}]))
    return delete(books, "Estimate", made)


def _throttled(books: Books) -> httpx.Response:
    books.standin.control("POST", "limits", {"enabled": True, "per_minute": 1})
    try:
        read(books)
        return read(books)
    finally:
        books.standin.control("POST", "limits", {"enabled": False, "per_minute": 500})


def _unthrottled(books: Books) -> httpx.Response:
    books.standin.control("POST", "limits", {"enabled": True, "per_minute": 2})
    try:
        read(books)
        return read(books)
    finally:
        books.standin.control("POST", "limits", {"enabled": False, "per_minute": 500})


def _other_realm(books: Books) -> httpx.Response:
    other = Books(books.standin)
    return books.standin.http.get(f"/v3/company/{other.realm}/companyinfo/1", headers=books.headers)


def _without_scope(books: Books) -> httpx.Response:
    oauth = books.standin.app.world.oauth
    grant = oauth.new_grant(books.realm, books.tokens["client_id"], frozenset({"openid"}))
    return bearer(f"Bearer {oauth.new_access(grant)}")(books)


def _expired(books: Books) -> httpx.Response:
    books.standin.control("POST", "tokens", {"expire_access": True, "realm": books.realm})
    return read(books)


def _fresh(books: Books) -> httpx.Response:
    token = books.standin.control("POST", "tokens", {"new": True, "realm": books.realm})["access_token"]
    books.headers["authorization"] = f"Bearer {token}"
    return read(books)


def _token(books: Books, token: str) -> httpx.Response:
    made = books.make("Invoice", invoice())
    edit(books, "Invoice", made, PrivateNote="another one finished before you did")
    return edit(books, "Invoice", {**made, "SyncToken": token}, PrivateNote="mine")


def _on_plan(books: Books, plan: str) -> httpx.Response:
    books.set(plan=plan)
    return books.post("bill", bill())


def _by_card(books: Books, act: Callable[[Books, str, dict[str, Any]], httpx.Response], *, processed: bool) -> httpx.Response:
    return act(books, "Payment", paid_by_card(books) if processed else books.make("Payment", payment(5)))


def _with_parent(books: Books, value: bool) -> httpx.Response:
    name = f"billed with parent {value}"
    made = books.make("Customer", {"DisplayName": name, "Job": True, "ParentRef": {"value": "1"}, "BillWithParent": True})
    return edit(books, "Customer", made, BillWithParent=value)


def _number(books: Books, number: str) -> httpx.Response:
    books.make("Invoice", invoice(DocNumber="D1")) if not books.query("select * from Invoice") else None
    return books.post("invoice", invoice(DocNumber=number))


def _levels(books: Books, count: int) -> httpx.Response:
    parent = "1"
    for level in range(1, count):
        made = books.make("Customer", {"DisplayName": f"{level} of {count}", "Job": True, "ParentRef": {"value": parent}})
        parent = made["Id"]
    return books.post("customer", {"DisplayName": f"last of {count}", "Job": True, "ParentRef": {"value": parent}})


def _subscribed(books: Books, *, ended: bool) -> httpx.Response:
    books.set(subscription_ended=ended)
    return books.post("invoice", invoice())


def _closed(books: Books, day: str, *, password: bool) -> httpx.Response:
    books.set(closing_password=password)
    books.prefer(BookCloseDate="2026-01-31")
    return books.post("invoice", invoice(TxnDate=day))


def _close_name(books: Books, *, owing: bool) -> httpx.Response:
    books.set(close_balance=True)
    opening = {"Balance": 12.5, "OpenBalanceDate": "2026-01-01"} if owing else {}
    return edit(books, "Customer", books.make("Customer", {"DisplayName": f"owing {owing}", **opening}), Active=False)


def _taxed_update(books: Books, **more: Any) -> httpx.Response:
    return edit(books, "Invoice", books.make("Invoice", invoice()), GlobalTaxCalculation="NotApplicable", **more)


def _stock(books: Books, day: str) -> httpx.Response:
    made = books.make("Item", inventory(Name=f"Mesh {day}"))
    return books.post("invoice", invoice(line(5, ItemRef={"value": made["Id"]}), TxnDate=day))


def _unbilled(books: Books, status: str) -> httpx.Response:
    made = books.make("Customer", {"DisplayName": f"expenses {status}"})
    books.make("Bill", bill(expense(CustomerRef={"value": made["Id"]}, BillableStatus=status)))
    return edit(books, "Customer", made, Active=False)


def _delete_invoice(books: Books, *, paid: bool) -> httpx.Response:
    made = books.make("Invoice", invoice())
    if paid:
        books.make("Payment", payment(10, ("Invoice", made["Id"], 10)))
    return delete(books, "Invoice", made)


def _matched(
    books: Books, act: Callable[[Books, str, dict[str, Any]], httpx.Response], *, matched: bool = True
) -> httpx.Response:
    made = books.make("BillPayment", bill_payment(50, ("Bill", books.make("Bill", bill())["Id"], 50)))
    books.person("match", "BillPayment", made["Id"])
    if not matched:
        books.person("unmatch", "BillPayment", made["Id"])
    return act(books, "BillPayment", made)


def _deposit_of(books: Books, amount: Any) -> httpx.Response:
    return books.post("deposit", {**deposit(), "Line": [linked(amount, books.make("Payment", payment(20)))]})


def _tax_code(books: Books, rate: str) -> httpx.Response:
    """A tax code whose rate is there, or is not."""
    rates = {"TaxRateDetail": [{"TaxRateRef": {"value": rate}, "TaxTypeApplicable": "TaxOnAmount", "TaxOrder": 0}]}
    code = {"Name": f"code of rate {rate}", "Taxable": True, "TaxGroup": True, "SalesTaxRateList": rates}
    loaded = books.standin.control("POST", "entities", {"realm": books.realm, "entities": {"TaxCode": [code]}})
    reference = {"value": loaded["created"]["TaxCode"][0]}
    return books.post("invoice", invoice(line(TaxCodeRef={"value": "TAX"}), TxnTaxDetail={"TxnTaxCodeRef": reference}))


def _bill_paid(books: Books, *, with_line: bool) -> httpx.Response:
    links = [("Bill", books.make("Bill", bill())["Id"], 50)] if with_line else []
    return books.post("billpayment", bill_payment(50, *links))


def _large(books: Books, statement: str) -> httpx.Response:
    books.set(largest_result=2)
    return query(statement)(books)


def recent() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))


def _hours(good: dict[str, Any], bad: dict[str, Any]) -> Case:
    return body("TimeActivity", time_activity(**good), time_activity(**bad))


BILLABLE = {"BillableStatus": "Billable", "CustomerRef": {"value": "1"}, "ItemRef": {"value": "2"}, "HourlyRate": 80}

CASES: dict[str, Case] = {
    "100": Case(bearer("Basic QWxhZGRpbg=="), read),
    "110": Case(bearer('OAuth oauth_token="x", oauth_signature="y"'), read),
    "120": shut("120"),
    "130": shut("130"),
    "140": shut("140"),
    "150": shut("150"),
    "500": Case(
        lambda b: void(b, "Bill", b.make("Bill", bill())),
        lambda b: void(b, "Invoice", b.make("Invoice", invoice())),
    ),
    "600": Case(lambda b: _other_body(b, invoice(line(7))), lambda b: _other_body(b, invoice())),
    "610": Case(get("invoice/4242"), get("customer/1")),
    "620": Case(
        post("Payment", payment(5, ("Invoice", "99999", 5))),
        lambda b: b.post("payment", payment(5, ("Invoice", b.make("Invoice", invoice())["Id"], 5))),
    ),
    "630": Case(lambda b: _currency(b, "EUR"), lambda b: _currency(b, "JPY")),
    "700": Case(_circle, lambda b: _job(b, "1")),
    "800": Case(lambda b: _estimate(b, used=True), lambda b: _estimate(b, used=False)),
    "900": Case(lambda b: _job(b, None), lambda b: _job(b, "2")),
    "1040": Case(batch(*queries(31)), batch(*queries(30))),
    "1050": Case(
        lambda b: b.call("POST", "customer", content=b"<Customer/>", headers={"content-type": "application/xml"}),
        lambda b: b.call("POST", "customer", content=b'{"DisplayName": "n"}', headers={"content-type": "application/json"}),
    ),
    "2000": Case(get("gadget/1"), get("customer/1")),
    "2010": body("Invoice", invoice(FreeFormAddress=True, domain="QBO"), invoice(Colour="red")),
    "2020": body("Invoice", invoice(), {"CustomerRef": {"value": "1"}}),
    "2030": Case(get("customer/abc"), get("customer/1")),
    "2040": body("Customer", {"DisplayName": "a b"}, {"DisplayName": "a:b"}),
    "2050": body("Invoice", invoice(DocNumber="x" * 21), invoice(DocNumber="x" * 22)),
    "2060": body("Invoice", invoice(TxnDate="2026-02-28"), invoice(TxnDate="28.02.2026")),
    "2070": body("Invoice", invoice(TxnDate="2024-02-29"), invoice(TxnDate="2026-02-29")),
    "2080": body("Term", {"Name": "t", "DueDays": "5"}, {"Name": "t2", "DueDays": 5.5}),
    "2090": body("Term", {"Name": "t", "DueDays": "5"}, {"Name": "t2", "DueDays": "five"}),
    "2100": body("Item", item("i", UnitPrice="1000.50"), item("i2", UnitPrice="1,000.50")),
    "2110": body("Item", item("i", UnitPrice="5"), item("i2", UnitPrice="NaN")),
    "2120": body("Customer", {"DisplayName": "a", "Notes": "b"}, {"DisplayName": "c", "Notes": {"a": 1}}),
    "2130": Case(post("Invoice", invoice(), requestid="r" * 51), post("Invoice", invoice(), requestid="r" * 50)),
    "2140": body("Invoice", invoice(line("100.00")), invoice(line("a hundred"))),
    "2150": body(
        "Invoice",
        invoice(line(), discount(PercentBased=True, DiscountPercent=8.5)),
        invoice(line(), discount(PercentBased=True, DiscountPercent=101)),
    ),
    "2160": body("Invoice", invoice(line(100, Qty="2", UnitPrice=50)), invoice(line(100, Qty="two", UnitPrice=50))),
    "2170": body("Invoice", invoice(EmailStatus="NotSet"), invoice(EmailStatus="Maybe")),
    "2190": body("Invoice", invoice(TxnDate="1999-12-31"), invoice(TxnDate="1800-01-01")),
    "2200": body(
        "Customer",
        {"DisplayName": "w", "WebAddr": {"URI": "http://example.com"}},
        {"DisplayName": "w2", "WebAddr": {"URI": "no url"}},
    ),
    "2210": body(
        "Customer",
        {"DisplayName": "e", "PrimaryEmailAddr": {"Address": "a@example.com"}},
        {"DisplayName": "e2", "PrimaryEmailAddr": {"Address": "nobody"}},
    ),
    "2220": body("Invoice", invoice(CurrencyRef={"value": "USD"}), invoice(CurrencyRef={"value": "EUR"})),
    "2230": body("Customer", {"DisplayName": "b", "Taxable": "true"}, {"DisplayName": "b2", "Taxable": "perhaps"}),
    "2240": body("Term", {"Name": "t", "DueDays": 999}, {"Name": "t2", "DueDays": 1000}),
    "2250": body("Invoice", invoice(), {**invoice(), "Line": []}),
    "2260": body("JournalEntry", journal(), journal({"Amount": 1, "JournalEntryLineDetail": {"AccountRef": {"value": "7"}}})),
    "2270": body(
        "JournalEntry",
        journal(
            posting("Debit", 10, TaxCodeRef={"value": "TAX"}, TaxApplicableOn="Purchase", TaxAmount=1), posting("Credit", 10, "8")
        ),
        journal(posting("Debit", 10, TaxCodeRef={"value": "TAX"}, TaxAmount=1), posting("Credit", 10, "8")),
    ),
    "2280": body(
        "JournalEntry",
        journal(
            posting("Debit", 10, TaxCodeRef={"value": "TAX"}, TaxApplicableOn="Purchase", TaxAmount=1), posting("Credit", 10, "8")
        ),
        journal(posting("Debit", 10, TaxCodeRef={"value": "TAX"}, TaxApplicableOn="Purchase"), posting("Credit", 10, "8")),
    ),
    "2290": body("JournalEntry", journal(), journal(posting("Debit", -10), posting("Credit", -10, "8"))),
    "2300": body("JournalEntry", journal(), journal(posting("Debit", 10), posting("Credit", 9.99, "8"))),
    "2500": body("Invoice", invoice(line(1, ItemRef={"value": "2"})), invoice(line(1, ItemRef={"value": "999"}))),
    "2600": body("Term", {"Name": "t", "DueDays": 5}, {"Name": "t2", "DueDays": 5, "DayOfMonthDue": 3}),
    "3000": body(
        "Invoice",
        invoice(CustomField=[{"DefinitionId": "1", "Type": "StringType", "StringValue": "x"}]),
        invoice(CustomField=[{"DefinitionId": "77", "Type": "StringType", "StringValue": "x"}]),
    ),
    "3001": Case(_throttled, _unthrottled),
    "3100": Case(_other_realm, read),
    "3200": Case(_expired, _fresh),
    "3201": Case(_without_scope, read),
    "3202": Case(bearer(None), read),
    "4000": Case(query("select * from Customer where"), query("select * from Customer")),
    "4001": Case(query("select * from Customer where AcctNum = 'x'"), query("select * from Vendor where AcctNum = 'x'")),
    "4002": Case(query("select * from Invoice where DueDate > ''"), query("select * from Invoice where DueDate > '2026-01-01'")),
    "5000": body("Invoice", invoice(AllowOnlinePayment=False, AllowIPNPayment=False), invoice(AllowOnlinePayment=True)),
    "5010": Case(lambda b: _token(b, "0"), lambda b: _token(b, "1")),
    "5020": shut("5020"),
    "5030": Case(lambda b: _on_plan(b, "simple_start"), lambda b: _on_plan(b, "essentials")),
    "6000": body(
        "Transfer",
        {"FromAccountRef": {"value": "35"}, "ToAccountRef": {"value": "36"}, "Amount": 5},
        {"FromAccountRef": {"value": "35"}, "ToAccountRef": {"value": "35"}, "Amount": 5},
    ),
    "6002": Case(
        get("reports/ProfitAndLoss", start_date="2015-01-01", end_date="2025-12-31", summarize_column_by="Days"),
        get("reports/ProfitAndLoss", start_date="2025-12-01", end_date="2025-12-31", summarize_column_by="Days"),
    ),
    "6010": body("Account", {"Name": "Tools", "AccountType": "Expense"}, {"Name": "Tools 2"}),
    "6020": Case(multipart(file(more="\r\nContent-Length: 99")), multipart(file(more="\r\nContent-Length: 3"))),
    "6030": Case(multipart(file("a.exe")), multipart(file("a.csv"))),
    "6040": Case(multipart((metadata()[0], "[1]"), file()), multipart(metadata(FileName="b.csv"), file())),
    "6041": Case(multipart(metadata(FileName="b.csv")), multipart(metadata(FileName="b.csv"), file())),
    "6050": body(
        "Attachable",
        {"Note": "n", "AttachableRef": [{"EntityRef": {"type": "Customer", "value": "1"}}]},
        {"Note": "n", "AttachableRef": [{"EntityRef": {"type": "TaxCode", "value": "2"}}]},
    ),
    "6060": body(
        "Vendor", {"DisplayName": "v", "Balance": 5, "OpenBalanceDate": "2026-01-01"}, {"DisplayName": "v2", "Balance": 5}
    ),
    "6070": body(
        "Invoice", invoice(line(1861.08, Qty=128.350, UnitPrice=14.50)), invoice(line(1861.07, Qty=128.350, UnitPrice=14.50))
    ),
    "6080": body("Customer", {"GivenName": "Ada", "FamilyName": "Byron"}, {"Notes": "nobody"}),
    "6090": body(
        "Invoice", invoice(line(), discount(PercentBased=True, DiscountPercent=5)), invoice(line(), discount(PercentBased=True))
    ),
    "6100": body("Invoice", invoice(line(1, TaxCodeRef={"value": "TAX"})), invoice(line(1, TaxCodeRef={"value": "2"}))),
    "6110": Case(
        lambda b: _by_card(b, lambda *of: edit(*of, PrivateNote="x"), processed=True),
        lambda b: _by_card(b, lambda *of: edit(*of, PrivateNote="x"), processed=False),
    ),
    "6120": Case(lambda b: _by_card(b, delete, processed=True), lambda b: _by_card(b, delete, processed=False)),
    "6130": Case(lambda b: _with_parent(b, False), lambda b: _with_parent(b, True)),
    "6140": Case(lambda b: _number(b, "D1"), lambda b: _number(b, "D2")),
    "6150": body("Customer", {"DisplayName": "j", "Job": True, "ParentRef": {"value": "1"}}, {"DisplayName": "j2", "Job": True}),
    "6160": body("Invoice", invoice(line(1, TaxCodeRef={"value": "NON"})), invoice(line(TaxCodeRef={"value": "CustomSalesTax"}))),
    "6170": body(
        "Invoice",
        invoice(GlobalTaxCalculation="NotApplicable"),
        invoice(GlobalTaxCalculation="NotApplicable", TxnTaxDetail={"TxnTaxCodeRef": {"value": "2"}}),
    ),
    "6180": Case(lambda b: _levels(b, 5), lambda b: _levels(b, 4)),
    "6190": Case(lambda b: _subscribed(b, ended=True), lambda b: _subscribed(b, ended=False)),
    "6200": Case(lambda b: _closed(b, "2026-01-31", password=False), lambda b: _closed(b, "2026-02-01", password=False)),
    "6210": Case(lambda b: _closed(b, "2026-01-31", password=True), lambda b: _closed(b, "2026-02-01", password=True)),
    "6220": Case(lambda b: _close_name(b, owing=True), lambda b: _close_name(b, owing=False)),
    "6230": Case(lambda b: _taxed_update(b, TxnTaxDetail={"TxnTaxCodeRef": {"value": "2"}}), _taxed_update),
    "6240": body("Customer", {"DisplayName": "Cool"}, {"DisplayName": "cool CARS"}),
    "6250": Case(
        lambda b: b.post("invoice", invoice(CustomerRef={"value": inactive(b, "Customer", DisplayName="gone")})),
        post("Invoice", invoice()),
    ),
    "6270": Case(lambda b: _stock(b, "2025-12-31"), lambda b: _stock(b, "2026-01-01")),
    "6280": Case(lambda b: _unbilled(b, "Billable"), lambda b: _unbilled(b, "HasBeenBilled")),
    "6290": _hours({}, {"EmployeeRef": None}),
    "6300": _hours(
        {"NameOf": "Vendor", "EmployeeRef": None, "VendorRef": {"value": "51"}}, {"NameOf": "Vendor", "EmployeeRef": None}
    ),
    "6310": _hours({}, {"VendorRef": {"value": "51"}}),
    "6320": _hours(BILLABLE, {**BILLABLE, "CustomerRef": None}),
    "6330": _hours(BILLABLE, {**BILLABLE, "ItemRef": None}),
    "6340": _hours(BILLABLE, {**BILLABLE, "HourlyRate": None}),
    "6350": _hours({}, {"Hours": None, "Minutes": None}),
    "6360": _hours(
        {"StartTime": "2026-01-01T08:00:00", "EndTime": "2026-01-01T09:00:00"},
        {"StartTime": "2026-01-01T09:00:00", "EndTime": "2026-01-01T08:00:00"},
    ),
    "6370": _hours({"Hours": 8760}, {"Hours": 8761}),
    "6380": _hours({"Minutes": 59}, {"Minutes": 60}),
    "6390": _hours(
        {"StartTime": "2026-01-01T08:00:00", "EndTime": "2026-01-01T10:00:00", "BreakHours": 1},
        {"StartTime": "2026-01-01T08:00:00", "EndTime": "2026-01-01T09:00:00", "BreakHours": 1},
    ),
    "6400": Case(lambda b: _delete_invoice(b, paid=True), lambda b: _delete_invoice(b, paid=False)),
    "6420": body(
        "Invoice",
        invoice(EmailStatus="NeedToSend", BillEmail={"Address": "a@example.com"}),
        invoice(EmailStatus="NeedToSend"),
    ),
    "6430": body("Purchase", purchase(), purchase(AccountRef={"value": "7"})),
    "6440": body(
        "Bill", bill(), bill({"Amount": 5, "DetailType": "AccountBasedExpenseLineDetail", "AccountBasedExpenseLineDetail": {}})
    ),
    "6450": Case(lambda b: _matched(b, void), lambda b: _matched(b, void, matched=False)),
    "6460": Case(lambda b: _deposit_of(b, 19), lambda b: _deposit_of(b, 20)),
    "6470": Case(lambda b: _tax_code(b, "999"), lambda b: _tax_code(b, "1")),
    "6480": Case(lambda b: _matched(b, delete), lambda b: _matched(b, delete, matched=False)),
    "6490": body("Budget", budget(), budget(BudgetDetail=[])),
    "6500": body(
        "Budget", budget(), budget(BudgetDetail=[{"BudgetDate": "2027-01-01", "Amount": 5, "AccountRef": {"value": "1"}}])
    ),
    "6510": body("Budget", budget(), budget(BudgetDetail=[{"BudgetDate": "2026-01-01", "Amount": 5}])),
    "6520": body("Item", inventory(), {k: v for k, v in inventory(Name="Net").items() if k != "QtyOnHand"}),
    "6530": body(
        "Payment",
        payment(5, CreditCardPayment={"CreditChargeInfo": {"Number": "xxxx1111"}}),
        payment(5, CreditCardPayment={"CreditChargeInfo": {"Number": "4111 1111 1111 1111"}}),
    ),
    "6540": Case(lambda b: delete(b, "Payment", deposited(b)), lambda b: delete(b, "Payment", b.make("Payment", payment(20)))),
    "10100": Case(
        lambda b: _large(b, "select * from Customer"), lambda b: _large(b, "select * from Customer where Id in ('1', '2')")
    ),
    "10200": shut("10200"),
}

# Codes that the reference names without saying what brings them about. Each can be asked for by a fault rule.
FORCED_ONLY: dict[str, str] = {
    "1000": 'the reference says "operation failed, inspect Detail" and names no cause',
    "1010": 'the reference says "create failed, inspect Detail" and names no cause',
    "1020": 'the reference says "update failed, inspect Detail" and names no cause',
    "2180": 'the reference says "string range" and names no property whose text has one',
    "3002": "sighted beside 3001, by nobody who said when",
    "10000": "an error inside the service; the sandbox answers it for a bug of its own, and no test may have one",
}

SERVICE, AUTHENTICATION, SYSTEM = "SERVICE", "AUTHENTICATION", "SystemFault"

TOLD: dict[str, Told] = {
    "100": told(r"(?i)authentication error", AUTHENTICATION, 401),
    "110": told(r"(?i)OAuth authentication error", AUTHENTICATION, 401),
    "120": told(r": -11014-You do not have access to use QuickBooks Online Plus\.", "AuthorizationFault", 401, 403),
    "130": told(r"(?i)wrong cluster", SYSTEM, 400, 403, 500, 503),
    "140": told(r"(?i)company locked out", SYSTEM, 400, 403, 500, 503),
    "150": told(r"(?i)under maintenance", SYSTEM, 400, 403, 500, 503),
    "500": told(r"(?i)unsupported operation", V, 400, 500),
    "600": told(r"(?i)duplicate request id"),
    "610": told(
        r"Object Not Found: Something you're trying to use has been made inactive\. "
        r"Check the fields with accounts, customers, items, vendors or employees\."
    ),
    "620": told(r"(?i)cannot be linked"),
    "630": told(r"(?i)duplicate object"),
    "700": told(r"(?i)parent.*invalid"),
    "800": told(r"(?i)cannot be deleted.*depend"),
    "900": told(r"(?i)its own parent"),
    "1000": told(r"(?i)operation failed", V, 400, 500),
    "1010": told(r"(?i)create failed", V, 400, 500),
    "1020": told(r"(?i)update failed", V, 400, 500),
    "1040": told(r"(?i)batch size exceeded"),
    "1050": told(r"(?i)content type"),
    "2000": told(r"(?i)unknown object"),
    "2010": told(r"Property Name:Colour specified is unsupported or invalid"),
    "2020": told(
        r"Required param missing, need to supply the required value for the API\n"
        r"Required parameter Line is missing in the request"
    ),
    "2030": told(r"(?i)valid number.*abc"),
    "2040": told(r"(?i)characters"),
    "2050": told(r"The string length specified does not match the supported length\. Min:0 Max:21 supported"),
    "2060": told(r"(?i)date format.*28\.02\.2026"),
    "2070": told(r"(?i)invalid date\n.*2026-02-29"),
    "2080": told(r"(?i)number format.*5\.5"),
    "2090": told(r"(?i)invalid number\n.*five"),
    "2100": told(r"(?i)decimal format.*1,000\.50"),
    "2110": told(r"(?i)invalid decimal\n.*NaN"),
    "2120": told(r"(?i)incompatible type"),
    "2130": told(r"(?i)request id format"),
    "2140": told(r"(?i)invalid amount\n.*a hundred"),
    "2150": told(r"(?i)invalid percent"),
    "2160": told(r"(?i)invalid quantity"),
    "2170": told(r"(?i)enum.*\n.*Maybe"),
    "2180": told(r"(?i)string out of range"),
    "2190": told(r"(?i)date out of range\n.*1800-01-01"),
    "2200": told(r"Invalid URL"),
    "2210": told(r"(?i)email address.*RFC 822"),
    "2220": told(r"(?i)invalid currency\n.*EUR"),
    "2230": told(r"(?i)invalid boolean\n.*perhaps"),
    "2240": told(r"(?i)number out of range\n.*1000"),
    "2250": told(r"(?i)line is missing"),
    "2260": told(r"PostingType"),
    "2270": told(r"TaxApplicableOn"),
    "2280": told(r"(?i)tax amount is missing"),
    "2290": told(r"(?i)negative line amount"),
    "2300": told(r"(?i)debits.*credits"),
    "2500": told(r"Invalid Reference Id: Something you're trying to use has been made inactive\..*element id 999 not found"),
    "2600": told(r"(?i)conflicting elements"),
    "3000": told(r"(?i)invalid custom field"),
    "3001": told(
        r"message=ThrottleExceeded; errorCode=003001; statusCode=429\nThe request limit was reached\. Try again later",
        SERVICE,
        429,
    ),
    "3002": told(r"errorCode=003002; statusCode=429", SERVICE, 429),
    "3100": told(r"message=ApplicationAuthorizationFailed; errorCode=003100; statusCode=403", SERVICE, 403),
    "3200": told(
        r"message=AuthenticationFailed; errorCode=003200; statusCode=401\nToken expired: \S{4}\.\.\.", AUTHENTICATION, 401
    ),
    "3201": told(
        r"message=AuthorizationFailure; errorCode=003201; statusCode=403\nAuthorizationFailed.* does not have sufficient scope",
        SERVICE,
        403,
    ),
    "3202": told(r"errorCode=003202; statusCode=401\n.*empty", AUTHENTICATION, 401),
    "4000": told(r'QueryParserError: Encountered ".*" at line \d+, column \d+\.\nWas expecting one of:'),
    "4001": told(r"Invalid query\n.*property AcctNum not found for Entity Customer"),
    "4002": told(r"(?i)processing query"),
    "5000": told(r"(?i)deprecated field\n.*AllowOnlinePayment"),
    "5010": told(
        r"Stale Object Error: You and (.+) were working on this at the same time\. \1 finished before you did, "
        r"so your work was not saved\."
    ),
    "5020": told(r"Permission Denied Error: You do not have the access rights to use this feature\."),
    "5030": told(r"Feature Not Supported Error"),
    "6000": told(r"(?i)business validation error.*\n.*accounts"),
    "6002": told(r"message=GatewayTimeout; errorCode=006002; statusCode=504", SERVICE, 504),
    "6010": told(r"(?i)account type or subtype is missing"),
    "6020": told(r"(?i)content.length"),
    "6030": told(r"(?i)100 MB.*a\.exe"),
    "6040": told(r"(?i)metadata.*Attachable"),
    "6041": told(r"(?i)bad file"),
    "6050": told(r"(?i)reference type.*\n.*TaxCode"),
    "6060": told(r"OpenBalanceDate"),
    "6070": told(r"Amount is not equal to UnitPrice \* Qty\. Supplied value:1,861\.07$"),
    "6080": told(r"(?i)name is missing\n.*DisplayName, Title, GivenName, MiddleName, FamilyName, Suffix"),
    "6090": told(r"(?i)discount line needs an amount or a percent"),
    "6100": told(r"must be TAX or NON"),
    "6110": told(r"(?i)cannot be updated\n.*merchant service"),
    "6120": told(r"(?i)cannot be deleted\n.*merchant service"),
    "6130": told(r"BillWithParent"),
    "6140": told(
        r"^Duplicate Document Number Error\nDuplicate Document Number Error: You must specify a different number\. "
        r"This number has already been used\. DocNumber=D1 is assigned to TxnType=Invoice with TxnId=\d+$"
    ),
    "6150": told(r"ParentRef is (missing|required)"),
    "6160": told(r"CustomSalesTax"),
    "6170": told(r"TxnTaxDetail.*NotApplicable"),
    "6180": told(r"(?i)at most 5 levels"),
    "6190": told(r"(?i)subscription period has ended or cancell?ed.*billing problem", V, 200),
    "6200": told(r"The account period has closed and the account books cannot be updated through the QBO Services API\."),
    "6210": told(r"The account period has closed and the account books cannot be updated through the QBO Services API\."),
    "6220": told(r"(?i)open balance"),
    "6230": told(r"TxnTaxDetail.*NotApplicable"),
    "6240": told(
        r"Duplicate Name Exists Error\nThe name supplied already exists\.: Another customer, vendor or employee is already "
        r"using this name\. Please use a different name\. The customer ID is: \d+"
    ),
    "6250": told(r"(?i)customer is missing or inactive"),
    "6270": told(r"(?i)before the inventory start date"),
    "6280": told(r"(?i)unbilled expenses"),
    "6290": told(r"EmployeeRef is required"),
    "6300": told(r"VendorRef is required"),
    "6310": told(r"EmployeeRef and VendorRef"),
    "6320": told(r"CustomerRef is required.*Billable"),
    "6330": told(r"ItemRef is required.*Billable"),
    "6340": told(r"HourlyRate is required.*Billable"),
    "6350": told(r"Hours and Minutes, or StartTime and EndTime"),
    "6360": told(r"StartTime must be before EndTime"),
    "6370": told(r"Hours must be between"),
    "6380": told(r"Minutes must be between"),
    "6390": told(r"(?i)break must be shorter"),
    "6400": told(r"(?i)linked"),
    "6420": told(r"(?i)e-mail"),
    "6430": told(r"(?i)invalid account type"),
    "6440": told(r"(?i)account or an item"),
    "6450": told(r"(?i)cannot be voided\n.*settled"),
    "6460": told(r"(?i)deposit mismatch"),
    "6470": told(r"(?i)tax is not allowed.*rate is missing"),
    "6480": told(r"(?i)matched in the bank feed"),
    "6490": told(r"(?i)budget\n.*BudgetDetail"),
    "6500": told(r"(?i)budget\n.*BudgetDate"),
    "6510": told(r"(?i)budget\n.*AccountRef"),
    "6520": told(r"(?i)quantity is missing"),
    "6530": told(r"(?i)card number"),
    "6540": told(r"(?i)part of a deposit"),
    "10000": told(r"(?i)application error", SYSTEM, 500),
    "10100": told(r"(?i)query result too large", V, 400, 500),
    "10200": told(r"(?i)company was reset", V, 400, 403),
}
