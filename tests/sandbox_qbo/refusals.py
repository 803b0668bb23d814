"""Refusals that neither the table of codes nor that of rules comes by: the same codes, for other reasons.

Together the three reach every place in the stand-in's rules that refuses a request; `test_every_refusal.py` asks for it.
"""

from __future__ import annotations

from typing import Any

import httpx

from .acts import Act, batch, delete, edit, get, item, linked, multipart, post
from .bodies import bill, bill_payment, deposit, expense, invoice, journal, line, payment, posting, time_activity
from .conftest import Books, code_of
from .rules.writing import Check, Rule, asked, customer, no, ok, refused, sent


def item_ok(**parts: Any) -> Check:
    return lambda books: _item(books, "", parts)


def item_no(code: str, **parts: Any) -> Check:
    """A batch item that is refused with the code."""
    return lambda books: _item(books, code, parts)


def _item(books: Books, code: str, parts: dict[str, Any]) -> None:
    answer = batch({"bId": "1", **parts})(books)
    fault = answer.json()["BatchItemResponse"][0].get("Fault")
    found = fault["Error"][0]["code"] if fault else ""
    assert found == code, answer.text


def throttled(act: Act) -> Check:
    def check(books: Books) -> None:
        answer = act(books)
        assert (answer.status_code, code_of(answer)) == (429, "3001"), answer.text

    return check


def raw(path: str, body: Any) -> Act:
    return lambda books: books.post(path, body)


def with_method(method: str, path: str, **params: str) -> Act:
    return lambda books: books.call(method, path, params=params)


def upload_as(content_type: str) -> Act:
    body = b'--XX\r\nContent-Disposition: form-data; name="file_content_01"; filename="a.csv"\r\n\r\n1\r\n--XX--\r\n'
    return lambda books: books.call("POST", "upload", content=body, headers={"content-type": content_type})


def named(name: str, more: str = "", content: str = "MSwy") -> Act:
    return multipart((f'Content-Disposition: form-data; name="file_content_01"{name}{more}', content))


def mails(books: Books, count: int) -> httpx.Response:
    """The last of so many mails where two a day are allowed."""
    books.standin.control("POST", "limits", {"mails_per_day": 2})
    try:
        for _ in range(count):
            answer = sent(books, "Invoice", invoice(), sendTo="a@example.com")
        return answer
    finally:
        books.standin.control("POST", "limits", {"mails_per_day": 40})


def tax(**changes: Any) -> Act:
    detail = {"TaxRateName": "r", "RateValue": 5, "TaxAgencyId": "1", "TaxApplicableOn": "Sales"}
    return raw("taxservice/taxcode", {"TaxCode": "c", "TaxRateDetails": [detail], **changes})


def rate(**changes: Any) -> Act:
    return tax(TaxRateDetails=[{"TaxRateName": "r", "RateValue": 5, "TaxAgencyId": "1", "TaxApplicableOn": "Sales", **changes}])


def account_of(books: Books, kind: str) -> httpx.Response:
    made = books.make("Account", {"Name": "moved", "AccountType": "Other Current Asset"})
    return edit(books, "Account", made, AccountType=kind)


def in_currency(books: Books, **body: Any) -> httpx.Response:
    books.prefer(CurrencyPrefs={"MultiCurrencyEnabled": True})
    return books.post("invoice", invoice(**body))


def with_deposit(books: Books, *, allowed: bool) -> httpx.Response:
    books.prefer(SalesFormsPrefs={"AllowDeposit": allowed})
    return books.post("invoice", invoice(Deposit=5))


def sold(books: Books, kind: str) -> httpx.Response:
    more = {} if kind == "Category" else {"IncomeAccountRef": {"value": "1"}}
    made = books.make("Item", {"Name": "thing", "Type": kind, **more})
    return books.post("invoice", invoice(line(5, ItemRef={"value": made["Id"]})))


def without_items(books: Books, *, seeded: bool) -> httpx.Response:
    """A line without an item takes item 1, in a company that has it."""
    other = Books(books.standin)
    if not seeded:
        del other.standin.app.world.companies[other.realm].entities["Item"]["1"]
    body = {"CustomerRef": {"value": "1"}, "Line": [{"DetailType": "SalesItemLineDetail", "Amount": 5}]}
    return other.post("invoice", body)


def shrunk_memo(books: Books, amount: int) -> httpx.Response:
    owed, memo = books.make("Invoice", invoice()), books.make("CreditMemo", invoice(line(30)))
    books.make("Payment", payment(0, ("Invoice", owed["Id"], 30), ("CreditMemo", memo["Id"], 30)))
    return edit(books, "CreditMemo", books.get("CreditMemo", memo["Id"]), Line=[line(amount)])


def from_order(books: Books, order: str = "") -> httpx.Response:
    order = order or books.make("PurchaseOrder", bill())["Id"]
    return books.post("bill", bill(LinkedTxn=[{"TxnId": order, "TxnType": "PurchaseOrder"}]))


def from_estimate(books: Books, estimate: str = "") -> httpx.Response:
    estimate = estimate or books.make("Estimate", invoice())["Id"]
    return books.post("invoice", invoice(LinkedTxn=[{"TxnId": estimate, "TxnType": "Estimate"}]))


def group(part: str) -> dict[str, Any]:
    detail = {"Line": [{**line(5), "DetailType": part}]}
    return invoice({"DetailType": "GroupLineDetail", "GroupLineDetail": detail})


def check(**changes: Any) -> Act:
    def go(books: Books) -> httpx.Response:
        owed = books.make("Bill", bill())
        return books.post("billpayment", {**bill_payment(50, ("Bill", owed["Id"], 50)), **changes})

    return go


def paying(**changes: Any) -> Act:
    """A payment of an invoice with something else in its line."""

    def go(books: Books) -> httpx.Response:
        owed = books.make("Invoice", invoice())
        row = {"Amount": 5, "LinkedTxn": [{"TxnId": owed["Id"], "TxnType": "Invoice"}], **changes}
        return books.post("payment", {"CustomerRef": {"value": "1"}, "TotalAmt": 5, "Line": [row]})

    return go


def deposited_from(books: Books, account: str) -> httpx.Response:
    paid = books.make("Payment", payment(20, DepositToAccountRef={"value": account}))
    return books.post("deposit", deposit(Line=[linked(20, paid)]))


def deposit_of(**row: Any) -> dict[str, Any]:
    return deposit(Line=[{"DetailType": "DepositLineDetail", "DepositLineDetail": {"AccountRef": {"value": "79"}}, **row}])


def emptied(books: Books, lines: list[Any]) -> httpx.Response:
    return edit(books, "Invoice", books.make("Invoice", invoice()), Line=lines)


def removed(body: Any) -> Act:
    """A delete with another body than it should have; {} stands for the right one."""

    def go(books: Books) -> httpx.Response:
        made = books.make("Invoice", invoice())
        right = {"Id": made["Id"], "SyncToken": "0"}
        return books.post("invoice", {**right, **body} if isinstance(body, dict) else body, operation="delete")

    return go


def twice_deleted(books: Books) -> httpx.Response:
    made = books.make("Invoice", invoice())
    delete(books, "Invoice", made)
    return books.post("invoice", {"Id": made["Id"], "SyncToken": "0"}, operation="delete")


def entity(kind: str) -> dict[str, Any]:
    return {"Type": kind, "EntityRef": {"value": "1"}}


A_TRANSFER = {"FromAccountRef": {"value": "35"}, "ToAccountRef": {"value": "36"}}
AN_INVOICE = {"operation": "create", "Invoice": invoice()}
REFUSALS: tuple[Rule, ...] = (
    # resources and methods
    Rule("required", "a read has an Id", ok(get("customer/1")), no("500", get("customer"))),
    Rule(
        "required",
        "a verb that exists",
        ok(with_method("GET", "cdc", entities="Term", changedSince="2999-01-01")),
        no("500", with_method("POST", "cdc", entities="Term", changedSince="2999-01-01")),
    ),
    Rule("required", "a resource below a document", ok(get("customer/1")), no("500", with_method("POST", "customer/1/copy"))),
    Rule("required", "a resource of the tax service", ok(tax()), no("2000", raw("taxservice/taxrate", {}))),
    # uploads
    Rule("attachments", "multipart", ok(upload_as('multipart/form-data; boundary="XX"')), no("1050", upload_as("text/csv"))),
    Rule("attachments", "a name", ok(named('; filename="a.csv"')), no("2020", named(""))),
    Rule(
        "attachments",
        "good base64",
        ok(named('; filename="a.csv"', "\r\nContent-Transfer-Encoding: base64")),
        no("6041", named('; filename="a.csv"', "\r\nContent-Transfer-Encoding: base64", "x")),
    ),
    Rule("attachments", "a download by its number", ok(get("customer/1")), no("2030", get("download/abc"))),
    Rule("attachments", "a download that is there", ok(get("customer/1")), no("610", get("download/4242"))),
    # batch
    Rule(
        "batch",
        "a body that is an object",
        ok(raw("batch", {"BatchItemRequest": [{"bId": "1", **AN_INVOICE}]})),
        no("2010", raw("batch", [])),
    ),
    Rule(
        "batch",
        "nothing beside the items",
        ok(batch({"bId": "1", **AN_INVOICE})),
        no("2010", raw("batch", {"BatchItemRequest": [{"bId": "1", **AN_INVOICE}], "Colour": 1})),
    ),
    Rule("batch", "at least one item", ok(batch({"bId": "1", **AN_INVOICE})), no("2020", batch())),
    Rule(
        "batch",
        "items that are objects",
        ok(batch({"bId": "1", **AN_INVOICE})),
        no("2010", raw("batch", {"BatchItemRequest": ["x"]})),
    ),
    Rule("batch", "a known entity", item_ok(**AN_INVOICE), item_no("2010", operation="create", Gadget={})),
    Rule("batch", "an entity", item_ok(**AN_INVOICE), item_no("2020", operation="create")),
    Rule("batch", "one entity", item_ok(**AN_INVOICE), item_no("2600", operation="create", Invoice=invoice(), Bill=bill())),
    Rule("batch", "a query is a text", item_ok(Query="select * from Term"), item_no("2120", Query=5)),
    Rule(
        "batch",
        "a CDC query is an object",
        item_ok(CDCQuery={"Entities": "Term", "ChangedSince": "2999-01-01"}),
        item_no("2120", CDCQuery=5),
    ),
    Rule("batch", "a report is a text", item_ok(ReportQuery="TrialBalance"), item_no("2120", ReportQuery=5)),
    Rule(
        "batch",
        "an update has an Id",
        item_ok(operation="create", Term={"Name": "t", "DueDays": 1}),
        item_no("2020", operation="update", Term={"Name": "t", "DueDays": 1}),
    ),
    # PDF, mail, tax service
    Rule(
        "pdf and send",
        "a number",
        ok(lambda b: b.call("GET", f"invoice/{b.make('Invoice', invoice())['Id']}/pdf")),
        no("2030", get("invoice/abc/pdf")),
    ),
    Rule(
        "pdf and send",
        "a document that is there",
        ok(lambda b: b.call("GET", f"invoice/{b.make('Invoice', invoice())['Id']}/pdf")),
        no("610", get("invoice/4242/pdf")),
    ),
    Rule("pdf and send", "so many mails a day", ok(lambda b: mails(b, 2)), throttled(lambda b: mails(b, 3))),
    Rule("tax", "a tax code is an object", ok(tax()), no("2010", raw("taxservice/taxcode", []))),
    Rule("tax", "of known properties", ok(tax()), no("2010", tax(Colour=1))),
    Rule("tax", "with a name", ok(tax()), no("2020", tax(TaxCode=""))),
    Rule("tax", "with rates", ok(tax()), no("2020", tax(TaxRateDetails=[]))),
    Rule("tax", "that are objects", ok(tax()), no("2120", tax(TaxRateDetails=["x"]))),
    Rule("tax", "of 0 to 100 per cent", ok(rate(RateValue=100)), no("2150", rate(RateValue=101))),
    Rule("tax", "with an agency", ok(rate()), no("2020", rate(TaxAgencyId=""))),
    Rule("tax", "or a rate that is there", ok(rate(TaxRateId="1")), no("2500", rate(TaxRateId="99"))),
    # journals and transfers
    refused(
        "amounts",
        "transfers are not below nothing",
        "Transfer",
        "2140",
        {**A_TRANSFER, "Amount": 1},
        {**A_TRANSFER, "Amount": -1},
    ),
    refused(
        "journals",
        "lines with accounts",
        "JournalEntry",
        "6440",
        journal(),
        journal({"Amount": 1, "JournalEntryLineDetail": {"PostingType": "Debit"}}),
    ),
    refused(
        "journals",
        "lines with amounts",
        "JournalEntry",
        "2020",
        journal(),
        journal({"JournalEntryLineDetail": {"PostingType": "Debit", "AccountRef": {"value": "7"}}}),
    ),
    refused(
        "journals",
        "names of the kind that they are called",
        "JournalEntry",
        "2500",
        journal(posting("Debit", 1, Entity=entity("Customer")), posting("Credit", 1)),
        journal(posting("Debit", 1, Entity=entity("Vendor")), posting("Credit", 1)),
    ),
    refused(
        "journals",
        "a kind for each name",
        "JournalEntry",
        "2020",
        journal(posting("Debit", 1, Entity=entity("Customer")), posting("Credit", 1)),
        journal(posting("Debit", 1, Entity={"EntityRef": {"value": "1"}}), posting("Credit", 1)),
    ),
    # lists
    refused(
        "trees",
        "billed with a parent that is there",
        "Customer",
        "6150",
        customer("b", BillWithParent=True, Job=True, ParentRef={"value": "1"}),
        customer("c", BillWithParent=True),
    ),
    refused("required", "a name of more than blanks", "Class", "2020", {"Name": " x "}, {"Name": "   "}),
    refused(
        "values",
        "a subtype that tells the type",
        "Account",
        "6430",
        {"Name": "a", "AccountSubType": "Checking"},
        {"Name": "b", "AccountSubType": "Shoebox"},
    ),
    refused("values", "letters in names of lists", "Department", "2040", {"Name": "a b"}, {"Name": "a:b"}),
    Rule(
        "values",
        "an account does not become receivables",
        ok(lambda b: account_of(b, "Bank")),
        no("6430", lambda b: account_of(b, "Accounts Receivable")),
    ),
    refused(
        "required",
        "an account of a non-inventory item",
        "Item",
        "2020",
        item("n", Type="NonInventory"),
        {"Name": "o", "Type": "NonInventory"},
    ),
    refused("required", "days of a term", "Term", "2020", {"Name": "t", "DueDays": 1}, {"Name": "u"}),
    # purchases
    refused(
        "amounts", "bills are not below nothing", "Bill", "6000", bill(expense(5), expense(-5)), bill(expense(5), expense(-6))
    ),
    refused("required", "DetailType of an expense", "Bill", "2020", bill(), bill({"Amount": 5})),
    refused(
        "required", "Amount of an expense", "Bill", "2020", bill(), bill({k: v for k, v in expense().items() if k != "Amount"})
    ),
    refused(
        "lines",
        "an item line has an item",
        "Bill",
        "6440",
        bill(
            {"DetailType": "ItemBasedExpenseLineDetail", "Amount": 5, "ItemBasedExpenseLineDetail": {"ItemRef": {"value": "1"}}}
        ),
        bill({"DetailType": "ItemBasedExpenseLineDetail", "Amount": 5, "ItemBasedExpenseLineDetail": {}}),
    ),
    refused(
        "lines",
        "more than subtotals",
        "Bill",
        "2250",
        bill(),
        bill({"DetailType": "SubTotalLineDetail", "Amount": 5, "SubTotalLineDetail": {}}),
    ),
    Rule("references", "an order that is there", ok(from_order), no("620", lambda b: from_order(b, "4242"))),
    # queries
    asked("query grammar", "a statement", "4000", "select * from Term", "   "),
    asked("query grammar", "from where", "4000", "select * from Term", "select *"),
    asked(
        "query grammar",
        "a value that is none",
        "4000",
        "select * from Term where Id in ('1')",
        "select * from Term where Id in (",
    ),
    asked("query grammar", "a count in brackets", "4000", "select count(*) from Term", "select count * from Term"),
    asked(
        "query fields",
        "CURRENT_DATE for dates",
        "4001",
        "select * from Invoice where TxnDate = CURRENT_DATE",
        "select * from Invoice where TotalAmt = CURRENT_DATE",
    ),
    asked(
        "query fields",
        "what a file hangs on by = and in",
        "4001",
        "select * from Attachable where AttachableRef.EntityRef.value = '1'",
        "select * from Attachable where AttachableRef.EntityRef.value like '1'",
    ),
    # currency, sales
    Rule(
        "currency",
        "a list of its own",
        ok(lambda b: in_currency(b, CurrencyRef={"value": "USD"})),
        no("2220", lambda b: in_currency(b, CurrencyRef={"value": "CHF"})),
    ),
    Rule(
        "currency",
        "is needed once it is switched on",
        ok(lambda b: in_currency(b, CurrencyRef={"value": "USD"})),
        no("2020", in_currency),
    ),
    Rule(
        "lines",
        "deposits may be switched off",
        ok(lambda b: with_deposit(b, allowed=True)),
        no("6000", lambda b: with_deposit(b, allowed=False)),
    ),
    Rule("lines", "categories are not sold", ok(lambda b: sold(b, "Service")), no("2500", lambda b: sold(b, "Category"))),
    Rule(
        "lines",
        "the first item where none is named",
        ok(lambda b: without_items(b, seeded=True)),
        no("6440", lambda b: without_items(b, seeded=False)),
    ),
    Rule(
        "credits",
        "a memo not below what is used of it",
        ok(lambda b: shrunk_memo(b, 30)),
        no("6000", lambda b: shrunk_memo(b, 29)),
    ),
    Rule("references", "an estimate that is there", ok(from_estimate), no("620", lambda b: from_estimate(b, "4242"))),
    refused("lines", "parts of a bundle", "Invoice", "2170", group("SalesItemLineDetail"), group("DiscountLineDetail")),
    # payments and deposits
    Rule("amounts", "bill payments are not below nothing", ok(check()), no("2140", check(TotalAmt=-50))),
    Rule("required", "an account to pay from", ok(check()), no("2020", check(CheckPayment={}))),
    Rule(
        "required",
        "a card to pay with",
        ok(check(PayType="CreditCard", CreditCardPayment={"CCAccountRef": {"value": "41"}})),
        no("2020", check(PayType="CreditCard")),
    ),
    Rule("amounts", "lines of a payment are not below nothing", ok(paying()), no("2290", paying(Amount=-5))),
    Rule("required", "a line of a payment pays something", ok(paying()), no("2020", paying(LinkedTxn=[]))),
    Rule("required", "a line of a payment has an amount", ok(paying()), no("2020", paying(Amount=None))),
    refused("required", "a line of a deposit has an amount", "Deposit", "2020", deposit_of(Amount=5), deposit_of()),
    refused("required", "and an account", "Deposit", "6440", deposit_of(Amount=5), deposit_of(Amount=5, DepositLineDetail={})),
    refused(
        "required",
        "cash back has an account",
        "Deposit",
        "2020",
        deposit(CashBack={"AccountRef": {"value": "35"}, "Amount": 1}),
        deposit(CashBack={"Amount": 1}),
    ),
    Rule(
        "deposits",
        "payments that are there",
        ok(lambda b: deposited_from(b, "4")),
        no("620", post("Deposit", deposit(Line=[linked(20, {"Id": "4242"})]))),
    ),
    Rule(
        "deposits", "from undeposited funds", ok(lambda b: deposited_from(b, "4")), no("620", lambda b: deposited_from(b, "35"))
    ),
    refused(
        "deposits",
        "of what can be deposited",
        "Deposit",
        "2170",
        deposit(),
        deposit(Line=[{"Amount": 5, "LinkedTxn": [{"TxnId": "1", "TxnType": "Invoice"}]}]),
    ),
    # shapes of values
    refused("values", "Ids are numbers", "Invoice", "2030", invoice(Id=""), invoice(Id="abc", SyncToken="0")),
    refused(
        "values",
        "nothing after a date",
        "Invoice",
        "2060",
        invoice(TxnDate="2026-01-01T00:00:00Z"),
        invoice(TxnDate="2026-01-01x"),
    ),
    refused("values", "times are texts", "TimeActivity", "2060", time_activity(StartTime=""), time_activity(StartTime=5)),
    refused(
        "values",
        "times are times",
        "TimeActivity",
        "2060",
        time_activity(StartTime="2026-01-01T08:00:00"),
        time_activity(StartTime="early"),
    ),
    refused(
        "values",
        "addresses are texts",
        "Customer",
        "2120",
        customer("e", PrimaryEmailAddr={"Address": ""}),
        customer("f", PrimaryEmailAddr={"Address": 5}),
    ),
    refused(
        "values", "links are texts", "Customer", "2120", customer("g", WebAddr={"URI": ""}), customer("h", WebAddr={"URI": 5})
    ),
    refused("values", "no control characters", "Invoice", "2040", invoice(PrivateNote="a\nb"), invoice(PrivateNote="a\x07b")),
    refused("values", "references are objects", "Invoice", "2120", invoice(ClassRef=""), invoice(ClassRef="1")),
    refused(
        "values",
        "their values are texts",
        "Invoice",
        "2120",
        invoice(CustomerRef={"value": 1}),
        invoice(CustomerRef={"value": ["1"]}),
    ),
    refused("values", "objects are objects", "Invoice", "2120", invoice(BillAddr=""), invoice(BillAddr="here")),
    refused("values", "lists are lists", "Invoice", "2120", invoice(CustomField=""), invoice(CustomField="x")),
    refused("values", "of objects", "Invoice", "2120", invoice(CustomField=[]), invoice(CustomField=["x"])),
    refused("values", "numbers are no lists", "Invoice", "2140", invoice(line(1)), invoice(line([1]))),
    refused("values", "numbers are no booleans", "Term", "2090", {"Name": "t", "DueDays": 1}, {"Name": "u", "DueDays": True}),
    Rule("properties", "a body is an object", ok(post("Customer", customer("o"))), no("2010", raw("customer", []))),
    Rule(
        "properties",
        "a body of long numbers is UTF-8",
        ok(lambda b: b.call("POST", "customer", content=b'{"DisplayName": "12345678901234567"}')),
        no("500", lambda b: b.call("POST", "customer", content=b'{"DisplayName": "12345678901234567\xff"}')),
    ),
    # writes
    Rule("delete", "its body is an object", ok(removed({})), no("2010", removed([]))),
    Rule("delete", "with an Id", ok(removed({})), no("2020", removed({"Id": ""}))),
    Rule("delete", "that is a number", ok(removed({})), no("2030", removed({"Id": "abc"}))),
    Rule("delete", "of a document", ok(removed({})), no("610", removed({"Id": "4242"}))),
    Rule("delete", "that was not deleted before", ok(removed({})), no("610", twice_deleted)),
    Rule("company", "tax codes are made by the tax service", ok(tax()), no("500", post("TaxCode", {"Name": "c"}))),
    Rule(
        "company",
        "tax rates are not edited",
        ok(lambda b: edit(b, "Term", b.get("Term", "1"))),
        no("500", lambda b: edit(b, "TaxRate", b.get("TaxRate", "1"))),
    ),
    Rule("lines", "an update does not empty them", ok(lambda b: emptied(b, [line(5)])), no("2250", lambda b: emptied(b, []))),
    refused(
        "lines",
        "a sales form has more than a discount",
        "Invoice",
        "2250",
        invoice(line(), {"DetailType": "DiscountLineDetail", "Amount": 5, "DiscountLineDetail": {}}),
        invoice({"DetailType": "DiscountLineDetail", "Amount": 5, "DiscountLineDetail": {}}),
    ),
)
