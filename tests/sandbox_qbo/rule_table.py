"""Every rule of the stand-in with one request that shows it holding back and one that shows it letting pass.

`RULES` is the table to read; `TOPICS` is the checklist that it must cover: section 9 of the reference, with what the later
sections add. `test_rule_table.py` runs both sides of each rule over HTTP and asks that no topic is without one. Codes have a
table of their own (`cases.py`), limits too (`test_limits.py`), OAuth (`test_oauth.py`), webhooks (`test_webhooks.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from .bodies import (
    bill,
    bill_payment,
    deposit,
    expense,
    inventory,
    invoice,
    journal,
    line,
    payment,
    posting,
    purchase,
    start,
    time_activity,
)
from .cases import Act, batch, delete, discount, edit, file, get, inactive, item, linked, metadata, multipart, post, query, void
from .conftest import Books, code_of

Check = Callable[[Books], None]

TOPICS = (
    "properties", "required", "lengths", "references", "values", "amounts", "lines", "document numbers", "closed books", "plans",
    "server fills", "tax", "due date", "balance and links", "sparse and full", "sync token", "void", "delete", "inactive names",
    "unique names", "trees", "usage limits", "time activities", "inventory", "journals", "deposits", "estimates", "credits",
    "merchant and bank", "query grammar", "query fields", "query paging", "query answers", "change data", "batch", "requestid",
    "minorversion", "attachments", "pdf and send", "pay link", "company", "currency",
)  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """One rule: what it lets pass, and what it refuses or does otherwise."""

    topic: str
    name: str
    passes: Check
    bites: Check


# -- how a rule is written ---------------------------------------------------------------------------------------------


def ok(act: Act) -> Check:
    """The request is accepted."""

    def check(books: Books) -> None:
        answer = act(books)
        assert answer.status_code == 200, answer.text
        assert not _fault_of(answer), answer.text

    return check


def no(code: str, act: Act) -> Check:
    """The request is refused with the code."""

    def check(books: Books) -> None:
        answer = act(books)
        assert _fault_of(answer) == code, answer.text
        assert answer.status_code in (200, 400), answer.text

    return check


def _fault_of(answer: httpx.Response) -> str:
    if not answer.headers["content-type"].startswith("application/json"):
        return ""
    part = (answer.json().get("AttachableResponse") or [{}])[0]
    return str(part["Fault"]["Error"][0]["code"]) if "Fault" in part else code_of(answer)


def gives(value: Any, read: Callable[[Books], Any]) -> Check:
    """What the stand-in holds or answers."""

    def check(books: Books) -> None:
        found = read(books)
        assert found == value, f"{found!r} instead of {value!r}"

    return check


def refused(topic: str, name: str, kind: str, code: str, good: dict[str, Any], bad: dict[str, Any]) -> Rule:
    """Two bodies of one kind, hardly different."""
    return Rule(topic, name, ok(post(kind, good)), no(code, post(kind, bad)))


def asked(topic: str, name: str, code: str, good: str, bad: str) -> Rule:
    """Two queries."""
    return Rule(topic, name, ok(query(good)), no(code, query(bad)))


def at(body: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The body with a value at a dotted path; numbers count in lists."""
    head, _, rest = path.partition(".")
    if not rest:
        return {**body, head: value}
    following = rest.partition(".")[0]
    if following.isdigit():
        rows = list(body.get(head) or [{}])
        tail = rest.partition(".")[2]
        rows[int(following)] = at(rows[int(following)], tail, value) if tail else value
        return {**body, head: rows}
    return {**body, head: at(dict(body.get(head) or {}), rest, value)}


def text_of(length: int, path: str) -> str:
    """A text of so many characters that fits what the property is."""
    if path.endswith("Address"):
        return "a" * (length - 12) + "@example.com"
    if path.endswith("URI"):
        return "http://example.com/" + "x" * (length - 19)
    if path == "FileName":
        return "x" * (length - 4) + ".csv"
    return "x" * length


# -- lengths: section 5 of the reference -------------------------------------------------------------------------------

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


# -- references: which must be there, and in use -----------------------------------------------------------------------

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


# -- helpers of single rules -------------------------------------------------------------------------------------------


def made(kind: str, body: dict[str, Any], read: Callable[[dict[str, Any]], Any], **params: Any) -> Callable[[Books], Any]:
    """Something of the document that a create answers."""
    return lambda books: read(books.make(kind, body, **params))


def count(books: Books, kind: str = "Invoice") -> int:
    found: int = books.query(f"select count(*) from {kind}")["totalCount"]
    return found


def number_of(books: Books, *, custom: bool, **body: Any) -> Any:
    books.prefer(SalesFormsPrefs={"CustomTxnNumbers": custom})
    return books.make("Invoice", invoice(**body)).get("DocNumber")


def twice(kind: str, body: dict[str, Any], warn: str = "", *, on: bool = True, **params: Any) -> Act:
    """The same DocNumber a second time, with a warning of the company on or off."""

    def go(books: Books) -> httpx.Response:
        if warn:
            books.prefer(warnings={warn: on})
        books.make(kind, {**body, "DocNumber": "N1"})
        return books.post(kind.lower(), {**body, "DocNumber": "N1"}, **params)

    return go


def closed(act: Callable[[Books, dict[str, Any]], httpx.Response], day: str = "2026-01-15") -> Act:
    """Something done to an invoice of a day after the books were closed on 31 January."""

    def go(books: Books) -> httpx.Response:
        doc = books.make("Invoice", invoice(TxnDate=day))
        books.prefer(BookCloseDate="2026-01-31")
        return act(books, doc)

    return go


def on_plan(plan: str, kind: str, body: Callable[[], dict[str, Any]]) -> Act:
    def go(books: Books) -> httpx.Response:
        return Books(books.standin, plan=plan).post(kind.lower(), body())

    return go


def plan_rule(kind: str, lacks: str, has: str, body: dict[str, Any] | None = None) -> Rule:
    def fresh() -> dict[str, Any]:
        return body or start(kind)

    return Rule("plans", f"{kind} from {has}", ok(on_plan(has, kind, fresh)), no("5030", on_plan(lacks, kind, fresh)))


def asked_on_plan(plan: str, statement: str) -> Act:
    return lambda books: query(statement)(Books(books.standin, plan=plan))


def paid_invoice(books: Books, applied: int = 60, total: int = 70) -> tuple[dict[str, Any], dict[str, Any]]:
    doc = books.make("Invoice", invoice())
    return doc, books.make("Payment", payment(total, ("Invoice", doc["Id"], applied)))


def after_payment(read: Callable[[dict[str, Any], dict[str, Any]], Any], applied: int = 60) -> Callable[[Books], Any]:
    """Something of the invoice and of the payment after it was paid; 0 applied: paid elsewhere."""

    def go(books: Books) -> Any:
        if applied:
            doc, paid = paid_invoice(books, applied)
        else:
            doc, paid = books.make("Invoice", invoice()), books.make("Payment", payment(70))
        return read(books.get("Invoice", doc["Id"]), paid)

    return go


def after_undoing(act: Callable[[Books, str, dict[str, Any]], httpx.Response] | None) -> Callable[[Books], Any]:
    """(Balance, links) of an invoice once its payment was voided or deleted; None: left alone."""

    def go(books: Books) -> Any:
        doc, paid = paid_invoice(books)
        if act is not None:
            assert act(books, "Payment", paid).status_code == 200
        now = books.get("Invoice", doc["Id"])
        return now["Balance"], len(now["LinkedTxn"])

    return go


def voided(
    kind: str, body: dict[str, Any], read: Callable[[dict[str, Any]], Any], *, really: bool = True
) -> Callable[[Books], Any]:
    def go(books: Books) -> Any:
        doc = books.make(kind, body)
        if really:
            assert void(books, kind, doc).status_code == 200
        return read(books.get(kind, doc["Id"]))

    return go


def updated(first: dict[str, Any], change: dict[str, Any], read: Callable[[dict[str, Any]], Any]) -> Callable[[Books], Any]:
    """Something of an invoice after one more write."""

    def go(books: Books) -> Any:
        doc = books.make("Invoice", first)
        return read(books.make("Invoice", {"Id": doc["Id"], "SyncToken": doc["SyncToken"], **change}))

    return go


def rename(books: Books, active: bool) -> dict[str, Any]:
    doc = books.make("Customer", {"DisplayName": "Gone Soon"})
    return edit(books, "Customer", doc, Active=active).json()["Customer"]


def found(books: Books, statement: str) -> list[str]:
    """Ids, in order."""
    rows = books.query(statement)
    return [doc["Id"] for doc in next((v for v in rows.values() if isinstance(v, list)), [])]


def five(books: Books, statement: str) -> list[str]:
    """DocNumbers that a query finds among five invoices."""
    for number in range(5):
        books.make("Invoice", invoice(line(number + 1), DocNumber=f"Q{number}", TxnDate=f"2026-01-0{number + 1}"))
    return [doc["DocNumber"] for doc in books.query(statement).get("Invoice", [])]


def changed(books: Books, entities: str, ago: float = 3600) -> httpx.Response:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago))
    return books.call("GET", "cdc", params={"entities": entities, "changedSince": since})


def stub(books: Books, *, gone: bool) -> set[str]:
    """Properties of a document in change data."""
    doc = books.make("Invoice", invoice())
    if gone:
        delete(books, "Invoice", doc)
    row = changed(books, "Invoice").json()["CDCResponse"][0]["QueryResponse"][0]["Invoice"][0]
    return set(row) & {"status", "Id", "MetaData", "DocNumber", "TotalAmt", "SyncToken"}


def many(books: Books, amount: int) -> int:
    """How many customers change data shows after so many were made."""
    for first in range(0, amount, 30):
        rows = [
            {"bId": str(n), "operation": "create", "Customer": {"DisplayName": f"m{first + n}"}}
            for n in range(min(30, amount - first))
        ]
        books.post("batch", {"BatchItemRequest": rows})
    parts = changed(books, "Invoice,Customer", 60).json()["CDCResponse"][0]["QueryResponse"]
    return sum(part.get("maxResults", 0) for part in parts)


def replies(books: Books, *items: dict[str, Any]) -> dict[str, Any]:
    answer = books.post("batch", {"BatchItemRequest": list(items)})
    assert answer.status_code == 200, answer.text
    return {reply["bId"]: reply for reply in answer.json()["BatchItemResponse"]}


def order_of(books: Books, *, shuffle: bool) -> bool:
    """Do any of eight batches come back in another order?"""
    books.standin.control("POST", "modes", {"shuffle_batch": shuffle})
    rows = [{"bId": str(number), "Query": "select * from Term"} for number in range(29)]
    asked_for = [row["bId"] for row in rows]
    return any(
        [reply["bId"] for reply in books.post("batch", {"BatchItemRequest": rows}).json()["BatchItemResponse"]] != asked_for
        for _ in range(8)
    )


def again(books: Books, first: str, second: str, **params: Any) -> int:
    """How many invoices two creates with these requestids make."""
    for requestid in (first, second):
        assert books.post("invoice", invoice(), requestid=requestid, **params).status_code == 200
    return count(books)


def replayed(books: Books, *, same: bool) -> bool:
    """Is the second answer the first one, byte for byte, though the document is deleted by then?"""
    first = books.post("invoice", invoice(), requestid="r1")
    delete(books, "Invoice", first.json()["Invoice"])
    return books.post("invoice", invoice(), requestid="r1" if same else "r2").content == first.content


def retried(books: Books, *, remember: bool) -> str:
    """The code that a corrected request gets under the requestid of a refused one."""
    books.standin.control("POST", "modes", {"remember_errors": remember})
    books.post("invoice", invoice(TxnDate="never"), requestid="r1")
    return code_of(books.post("invoice", invoice(), requestid="r1"))


def bid(length: int, **params: str) -> Act:
    return batch({"bId": "b" * length, "Query": "select * from Term"}, **params)


def attached(books: Books, *, upload: bool) -> str:
    """SyncToken of an invoice once a file was hung on it."""
    doc = books.make("Invoice", invoice())
    if upload:
        reference = [{"EntityRef": {"type": "Invoice", "value": doc["Id"]}}]
        ok(multipart(metadata(FileName="a.csv", AttachableRef=reference), file()))(books)
    token: str = books.get("Invoice", doc["Id"])["SyncToken"]
    return token


def downloaded(books: Books, spoil: str = "") -> int:
    doc = multipart(file())(books).json()["AttachableResponse"][0]["Attachable"]
    link = books.call("GET", f"download/{doc['Id']}").text
    return httpx.get(link + spoil, trust_env=False).status_code


def sent(books: Books, kind: str, body: dict[str, Any], **params: str) -> httpx.Response:
    doc = books.make(kind, body)
    return books.call(
        "POST", f"{kind.lower()}/{doc['Id']}/send", params=params, headers={"content-type": "application/octet-stream"}
    )


def printed(kind: str, body: dict[str, Any]) -> Act:
    return lambda books: books.call("GET", f"{kind.lower()}/{books.make(kind, body)['Id']}/pdf")


def pay_link(books: Books, *, online: bool, include: str = "invoiceLink") -> bool:
    books.set(online_payments=online)
    doc = books.make("Invoice", invoice(BillEmail={"Address": "a@example.com"}))
    answer = books.call("GET", f"invoice/{doc['Id']}", params={"include": include})
    return "InvoiceLink" in answer.json()["Invoice"]


def family(books: Books, same: bool) -> httpx.Response:
    """A payment by one customer of another's invoice; by a parent of its job's."""
    child = {"ParentRef": {"value": "1"}, "Job": True} if same else {}
    other = books.make("Customer", {"DisplayName": "payer's", **child})
    doc = books.make("Invoice", invoice(CustomerRef={"value": other["Id"]}))
    return books.post("payment", payment(5, ("Invoice", doc["Id"], 5)))


def multicurrency(books: Books, *, on: bool) -> httpx.Response:
    books.prefer(CurrencyPrefs={"MultiCurrencyEnabled": on})
    books.make("CompanyCurrency", {"Code": "EUR"})
    return books.post("invoice", invoice(CurrencyRef={"value": "EUR"}))


def estimated(books: Books, *, link: bool) -> tuple[Any, ...]:
    """(status, how many links) of an estimate once an invoice was made."""
    doc = books.make("Estimate", invoice())
    links = [{"TxnId": doc["Id"], "TxnType": "Estimate"}] if link else []
    books.make("Invoice", invoice(LinkedTxn=links))
    now = books.get("Estimate", doc["Id"])
    return now["TxnStatus"], len(now.get("LinkedTxn", []))


def links_of(books: Books, amount: int) -> httpx.Response:
    links = [{"TxnId": books.make("Estimate", invoice())["Id"], "TxnType": "Estimate"} for _ in range(amount)]
    return books.post("invoice", invoice(LinkedTxn=links))


def classes(books: Books, amount: int) -> httpx.Response:
    """One more class beside so many classes and locations (three are there from the start)."""
    for name in range(amount - 3):
        books.make("Class", {"Name": f"class {name}"})
    return books.post("class", {"Name": "one more"})


def accounts(books: Books, amount: int) -> httpx.Response:
    """One more account beside so many."""
    there = count(books, "Account")
    for first in range(there, amount, 30):
        rows = [
            {"bId": str(n), "operation": "create", "Account": {"Name": f"account {first + n}", "AccountType": "Expense"}}
            for n in range(min(30, amount - first))
        ]
        books.post("batch", {"BatchItemRequest": rows})
    assert count(books, "Account") == amount
    return books.post("account", {"Name": "one more", "AccountType": "Expense"})


def in_deposit(books: Books, *, deposited: bool) -> httpx.Response:
    paid = books.make("Payment", payment(20))
    if deposited:
        books.make("Deposit", {**deposit(), "Line": [linked(20, paid)]})
    return edit(books, "Payment", books.get("Payment", paid["Id"]), TotalAmt=21)


def twice_deposited(books: Books, *, twice: bool) -> httpx.Response:
    paid = books.make("Payment", payment(20))
    if twice:
        books.make("Deposit", {**deposit(), "Line": [linked(20, paid)]})
    return books.post("deposit", {**deposit(), "Line": [linked(20, paid)]})


def owed(books: Books, credit: int) -> Any:
    """Balance of an invoice of 100 after a credit memo and a payment of nothing that links them."""
    doc, memo = books.make("Invoice", invoice()), books.make("CreditMemo", invoice(line(30)))
    if credit:
        books.make("Payment", payment(0, ("Invoice", doc["Id"], credit), ("CreditMemo", memo["Id"], credit)))
    return books.get("Invoice", doc["Id"])["Balance"]


def over_credit(books: Books, credit: int) -> httpx.Response:
    doc, memo = books.make("Invoice", invoice()), books.make("CreditMemo", invoice(line(30)))
    return books.post("payment", payment(0, ("Invoice", doc["Id"], credit), ("CreditMemo", memo["Id"], credit)))


def bill_balance(books: Books, pay: int) -> Any:
    doc = books.make("Bill", bill())
    if pay:
        books.make("BillPayment", bill_payment(pay, ("Bill", doc["Id"], pay)))
    now = books.get("Bill", doc["Id"])
    return now["Balance"], [link["TxnType"] for link in now["LinkedTxn"]]


def shrink_bill(books: Books, amount: int) -> httpx.Response:
    doc = books.make("Bill", bill())
    books.make("BillPayment", bill_payment(40, ("Bill", doc["Id"], 40)))
    return edit(books, "Bill", books.get("Bill", doc["Id"]), Line=[expense(amount)])


def shrink_invoice(books: Books, amount: int) -> Any:
    """(balance of the invoice, unapplied money of its payment) after the amount was changed."""
    doc, paid = paid_invoice(books, 60, 60)
    edit(books, "Invoice", books.get("Invoice", doc["Id"]), Line=[line(amount)])
    return books.get("Invoice", doc["Id"])["Balance"], books.get("Payment", paid["Id"])["UnappliedAmt"]


def other_owner(books: Books, *, paid: bool) -> httpx.Response:
    doc = paid_invoice(books)[0] if paid else books.make("Invoice", invoice())
    return edit(books, "Invoice", books.get("Invoice", doc["Id"]), CustomerRef={"value": "2"})


def stocked(books: Books, **change: Any) -> httpx.Response:
    return edit(books, "Item", books.make("Item", inventory()), **change)


def percent(value: Any) -> dict[str, Any]:
    return discount(PercentBased=True, DiscountPercent=value)


TAXED = line(100, TaxCodeRef={"value": "TAX"})
TAX_CODE = {"TxnTaxCodeRef": {"value": "2"}}


def tax_of(*lines: dict[str, Any], sales_tax: bool = True, **body: Any) -> Callable[[Books], Any]:
    def go(books: Books) -> Any:
        books.prefer(TaxPrefs={"UsingSalesTax": sales_tax})
        doc = books.make("Invoice", invoice(*lines, TxnTaxDetail=TAX_CODE, **body))
        return doc["TxnTaxDetail"]["TotalTax"], doc["TotalAmt"]

    return go


def customer(name: str = "", **values: Any) -> dict[str, Any]:
    return {"DisplayName": name, **values} if name else start("Customer", **values)


GONE = "select * from Customer where DisplayName like 'Gone%'"
FIVE = "select * from Invoice orderby TxnDate desc"


def ids(doc: dict[str, Any]) -> list[tuple[str, Any]]:
    """Ids and amounts of the item lines."""
    return [(row["Id"], row["Amount"]) for row in doc["Line"] if row["DetailType"] == "SalesItemLineDetail"]


def amounts(doc: dict[str, Any]) -> tuple[Any, ...]:
    return doc["TotalAmt"], doc["Balance"], doc["Line"][0]["SalesItemLineDetail"]["Qty"]


def closing_date(books: Books) -> Any:
    return books.query("select * from Preferences")["Preferences"][0]["AccountingInfoPrefs"].get("BookCloseDate")


def by_day(books: Books, day: int, of: str) -> Any:
    term = books.make("Term", {"Name": "by day", "DayOfMonthDue": day})
    return books.make("Invoice", invoice(TxnDate=of, SalesTermRef={"value": term["Id"]}))["DueDate"]


def pay(books: Books, total: int, applied: int, kind: str = "Invoice") -> httpx.Response:
    doc = books.make(kind, invoice())
    return books.post("payment", payment(total, (kind, doc["Id"], applied)))


def renamed(books: Books, name: str) -> str:
    doc = books.make("Customer", {"DisplayName": "Named"})
    return str(edit(books, "Customer", doc, DisplayName=name).json()["Customer"]["DisplayName"])


def freed(books: Books, *, really: bool) -> Any:
    """Unapplied money of a payment of 70 that paid 60 of an invoice."""
    doc, paid = paid_invoice(books)
    if really:
        void(books, "Invoice", doc)
    return books.get("Payment", paid["Id"])["UnappliedAmt"]


def after_delete(books: Books) -> httpx.Response:
    doc = books.make("Invoice", invoice())
    delete(books, "Invoice", doc)
    return books.call("GET", f"invoice/{doc['Id']}")


def stub_of(books: Books) -> dict[str, Any]:
    body = delete(books, "Invoice", books.make("Invoice", invoice())).json()["Invoice"]
    return {k: v for k, v in body.items() if k != "Id"}


def delete_paid_bill(books: Books) -> httpx.Response:
    doc = books.make("Bill", bill())
    books.make("BillPayment", bill_payment(50, ("Bill", doc["Id"], 50)))
    return delete(books, "Bill", doc)


def delete_order(books: Books, *, used: bool) -> httpx.Response:
    doc = books.make("PurchaseOrder", bill())
    if used:
        books.make("Bill", bill(LinkedTxn=[{"TxnId": doc["Id"], "TxnType": "PurchaseOrder"}]))
    return delete(books, "PurchaseOrder", doc)


def delete_hours(books: Books, *, used: bool) -> httpx.Response:
    doc = books.make("TimeActivity", time_activity())
    if used:
        books.make("Invoice", invoice(LinkedTxn=[{"TxnId": doc["Id"], "TxnType": "TimeActivity"}]))
    return delete(books, "TimeActivity", doc)


def delete_journal(books: Books, *, paid: bool) -> httpx.Response:
    owes = posting("Debit", 10, "84", Entity={"Type": "Customer", "EntityRef": {"value": "1"}})
    doc = books.make("JournalEntry", journal(owes, posting("Credit", 10)))
    if paid:
        books.make("Payment", payment(10, ("JournalEntry", doc["Id"], 10)))
    return delete(books, "JournalEntry", doc)


def back(books: Books, *, taken: bool) -> httpx.Response:
    """An inactive customer is taken back into use."""
    doc = rename(books, False)
    if taken:
        books.make("Customer", {"DisplayName": "Gone Soon"})
    return edit(books, "Customer", doc, Active=True)


def retired_item(books: Books, active: bool) -> str:
    return str(edit(books, "Item", books.make("Item", item("Tool")), Active=active).json()["Item"]["Name"])


def deep(books: Books, levels: int) -> httpx.Response:
    """A class below so many others."""
    parent = books.make("Class", {"Name": "top"})["Id"]
    for level in range(1, levels):
        parent = books.make("Class", {"Name": f"level {level}", "ParentRef": {"value": parent}})["Id"]
    return books.post("class", {"Name": "last", "ParentRef": {"value": parent}})


def full_name(books: Books, *names: str) -> str:
    doc: dict[str, Any] = {}
    for name in names:
        parent = {"ParentRef": {"value": doc["Id"]}, "Job": True} if doc else {}
        doc = books.make("Customer", {"DisplayName": name, **parent})
    return str(doc["FullyQualifiedName"])


def adopt(books: Books, parent: str) -> httpx.Response:
    return edit(books, "Customer", books.get("Customer", "1"), ParentRef={"value": parent}, Job=True)


def without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name} | {"Name": f"without {name}"}


def matched(books: Books, *, matched: bool) -> httpx.Response:
    doc = books.make("Payment", payment(5))
    books.person("match" if matched else "unmatch", "Payment", doc["Id"])
    return delete(books, "Payment", doc)


def rows_of(books: Books, tail: str) -> int:
    """How many rows a query gives where there are more than 101."""
    many(books, 120)
    return len(found(books, f"select * from Customer{tail}"))


def five_since(books: Books, since: str) -> int:
    return len(five(books, f"select * from Invoice where MetaData.LastUpdatedTime >= '{since}'"))


def cdc_part(books: Books) -> dict[str, Any]:
    part: dict[str, Any] = changed(books, "Invoice").json()["CDCResponse"][0]["QueryResponse"][0]
    return part


def pair_of(books: Books, first: dict[str, Any]) -> tuple[bool, bool]:
    """Which of two items were refused."""
    items = [{"bId": str(n), "operation": "create", "Invoice": body} for n, body in enumerate((first, invoice()))]
    answers = replies(books, *items)
    return "Fault" in answers["0"], "Fault" in answers["1"]


def voided_in_batch(books: Books, option: str) -> Any:
    doc = books.make("Payment", payment(5))
    body = {"Id": doc["Id"], "SyncToken": "0", "sparse": True}
    return replies(books, {"bId": "1", "operation": "update", "optionsData": option, "Payment": body})["1"]["Payment"]["TotalAmt"]


def item_code(books: Books, **how: Any) -> str:
    answer = replies(books, {"bId": "1", "Invoice": invoice(DocNumber="D"), **how})["1"]
    return str(answer["Fault"]["Error"][0]["code"]) if "Fault" in answer else ""


def doubled_in_batch(books: Books, option: str) -> str:
    books.make("Invoice", invoice(DocNumber="D"))
    return item_code(books, operation="create", optionsData=option)


def same_answer(books: Books, one: str, other: str) -> bool:
    found = [get("customer/1", **({"minorversion": value} if value else {}))(books).json()["Customer"] for value in (one, other)]
    return bool(found[0] == found[1])


def sku(books: Books) -> str:
    pairs = books.query("select * from CompanyInfo")["CompanyInfo"][0]["NameValue"]
    return str(next(pair["Value"] for pair in pairs if pair["Name"] == "OfferingSku"))


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
    # 9.4: 6070, half up
    refused(
        "amounts",
        "Qty x UnitPrice",
        "Invoice",
        "6070",
        invoice(line(7, Qty=2, UnitPrice=3.5)),
        invoice(line(7, Qty=2, UnitPrice=3)),
    ),
    refused(
        "amounts",
        "rounded half up",
        "Invoice",
        "6070",
        invoice(line(0.13, Qty=0.125, UnitPrice=1)),
        invoice(line(0.12, Qty=0.125, UnitPrice=1)),
    ),
    refused(
        "amounts",
        "on a bill's item line",
        "Bill",
        "6070",
        bill(
            {
                "DetailType": "ItemBasedExpenseLineDetail",
                "Amount": 6,
                "ItemBasedExpenseLineDetail": {"ItemRef": {"value": "1"}, "Qty": 2, "UnitPrice": 3},
            }
        ),
        bill(
            {
                "DetailType": "ItemBasedExpenseLineDetail",
                "Amount": 5,
                "ItemBasedExpenseLineDetail": {"ItemRef": {"value": "1"}, "Qty": 2, "UnitPrice": 3},
            }
        ),
    ),
    refused(
        "amounts",
        "nothing times nothing keeps its amount",
        "Invoice",
        "6070",
        invoice(line(7, Qty=0, UnitPrice=0)),
        invoice(line(7, Qty=1, UnitPrice=0)),
    ),
    refused(
        "amounts",
        "taken as it is without a quantity",
        "Invoice",
        "6070",
        invoice(line(7, UnitPrice=3)),
        invoice(line(7, UnitPrice=3, Qty=1)),
    ),
    Rule(
        "amounts",
        "made of Qty and UnitPrice where it is left out",
        gives(
            7,
            made(
                "Invoice",
                invoice({k: v for k, v in line(0, Qty=2, UnitPrice=3.5).items() if k != "Amount"}),
                lambda d: d["TotalAmt"],
            ),
        ),
        no("2020", post("Invoice", invoice({k: v for k, v in line(0, Qty=2).items() if k != "Amount"}))),
    ),
    refused(
        "amounts", "documents are not below nothing", "Invoice", "6000", invoice(line(5), line(-5)), invoice(line(5), line(-6))
    ),
    refused("amounts", "payments are not below nothing", "Payment", "2140", payment(0), payment(-1)),
    # lines
    Rule(
        "lines",
        "known Ids stay, others are new",
        gives([("2", 5)], updated(invoice(line(1), line(2)), {"sparse": True, "Line": [{**line(5), "Id": "2"}]}, ids)),
        gives([("3", 5)], updated(invoice(line(1), line(2)), {"sparse": True, "Line": [{**line(5), "Id": "77"}]}, ids)),
    ),
    Rule(
        "lines",
        "a sparse update replaces them all",
        gives(2, updated(invoice(line(1), line(2)), {"sparse": True, "PrivateNote": "x"}, lambda d: len(ids(d)))),
        gives(1, updated(invoice(line(1), line(2)), {"sparse": True, "Line": [line(3)]}, lambda d: len(ids(d)))),
    ),
    Rule(
        "lines",
        "750 of them on a taxed invoice",
        ok(post("Invoice", invoice(*[TAXED] * 750))),
        no("6000", post("Invoice", invoice(*[TAXED] * 751))),
    ),
    Rule(
        "lines",
        "10,000 of them in all",
        ok(post("Bill", bill(*[expense(1)] * 1000))),
        no("6000", post("Bill", bill(*[{}] * 10_001))),
    ),
    refused(
        "lines",
        "an expense names its account",
        "Bill",
        "6440",
        bill(),
        bill({"Amount": 5, "DetailType": "AccountBasedExpenseLineDetail"}),
    ),
    refused("lines", "receivables are no expense", "Bill", "6430", bill(expense(5, "7")), bill(expense(5, "84"))),
    refused(
        "lines",
        "discounts need an amount or a percent",
        "Invoice",
        "6090",
        invoice(line(), {**discount(), "Amount": 5}),
        invoice(line(), discount()),
    ),
    refused(
        "lines",
        "discounts are positive",
        "Invoice",
        "2290",
        invoice(line(), {**discount(), "Amount": 5}),
        invoice(line(), {**discount(), "Amount": -5}),
    ),
    Rule(
        "lines",
        "discounts may be switched off",
        ok(post("Invoice", invoice(line(), percent(5)))),
        no(
            "6000",
            lambda b: (b.prefer(SalesFormsPrefs={"AllowDiscount": False}), b.post("invoice", invoice(line(), percent(5))))[1],
        ),
    ),
    Rule(
        "lines",
        "a text line takes no part in the total",
        gives(
            100, made("Invoice", invoice(line(), {"DetailType": "DescriptionOnly", "Description": "t"}), lambda d: d["TotalAmt"])
        ),
        gives(105, made("Invoice", invoice(line(), line(5)), lambda d: d["TotalAmt"])),
    ),
    # 9.4 and 5.1: DocNumber
    Rule(
        "document numbers",
        "unique where the company warns",
        ok(twice("Invoice", invoice(), "WarnDuplicateInvoiceNumber", on=False)),
        no("6140", twice("Invoice", invoice(), "WarnDuplicateInvoiceNumber")),
    ),
    Rule(
        "document numbers",
        "bills by their own warning",
        ok(twice("Bill", bill(), "WarnDuplicateBillNumber", on=False)),
        no("6140", twice("Bill", bill(), "WarnDuplicateBillNumber")),
    ),
    Rule(
        "document numbers",
        "journals by their own warning",
        ok(twice("JournalEntry", journal(), "WarnDuplicateJournalNumber", on=False)),
        no("6140", twice("JournalEntry", journal(), "WarnDuplicateJournalNumber")),
    ),
    Rule(
        "document numbers",
        "allowduplicatedocnum",
        ok(twice("Invoice", invoice(), include="allowduplicatedocnum")),
        no("6140", twice("Invoice", invoice())),
    ),
    Rule(
        "document numbers",
        "custom: what is sent, or none",
        gives("77", lambda b: number_of(b, custom=True, DocNumber=77)),
        gives(None, lambda b: number_of(b, custom=True)),
    ),
    Rule(
        "document numbers",
        "not custom: the last one and one more",
        gives(["1037", "1038"], lambda b: [number_of(b, custom=False) for _ in range(2)]),
        gives([None, None], lambda b: [number_of(b, custom=True) for _ in range(2)]),
    ),
    Rule(
        "document numbers",
        "empty is not omitted",
        gives("1037", lambda b: number_of(b, custom=False)),
        gives(None, lambda b: number_of(b, custom=False, DocNumber="")),
    ),
    Rule(
        "document numbers",
        "without custom numbers nothing is unique",
        ok(lambda b: (number_of(b, custom=False, DocNumber="N"), b.post("invoice", invoice(DocNumber="N")))[1]),
        no("6140", lambda b: (number_of(b, custom=True, DocNumber="N"), b.post("invoice", invoice(DocNumber="N")))[1]),
    ),
    Rule(
        "document numbers",
        "allowautodocnum for journals",
        gives(True, made("JournalEntry", journal(), lambda d: "DocNumber" in d, include="allowautodocnum")),
        gives(False, made("JournalEntry", journal(), lambda d: "DocNumber" in d)),
    ),
    Rule(
        "document numbers",
        "free again after a delete, kept by a void",
        ok(
            lambda b: (
                delete(b, "Invoice", b.make("Invoice", invoice(DocNumber="N"))),
                b.post("invoice", invoice(DocNumber="N")),
            )[1]
        ),
        no(
            "6140",
            lambda b: (void(b, "Invoice", b.make("Invoice", invoice(DocNumber="N"))), b.post("invoice", invoice(DocNumber="N")))[
                1
            ],
        ),
    ),
    # 9.4: closed books
    Rule(
        "closed books",
        "create",
        ok(closed(lambda b, d: b.post("invoice", invoice(TxnDate="2026-02-01")))),
        no("6210", closed(lambda b, d: b.post("invoice", invoice(TxnDate="2026-01-31")))),
    ),
    Rule(
        "closed books",
        "update",
        ok(closed(lambda b, d: edit(b, "Invoice", d, PrivateNote="x"), "2026-02-01")),
        no("6210", closed(lambda b, d: edit(b, "Invoice", d, PrivateNote="x"))),
    ),
    Rule(
        "closed books",
        "moved into the period",
        ok(closed(lambda b, d: edit(b, "Invoice", d, TxnDate="2026-02-02"), "2026-02-01")),
        no("6210", closed(lambda b, d: edit(b, "Invoice", d, TxnDate="2026-01-30"), "2026-02-01")),
    ),
    Rule(
        "closed books",
        "delete",
        ok(closed(lambda b, d: delete(b, "Invoice", d), "2026-02-01")),
        no("6210", closed(lambda b, d: delete(b, "Invoice", d))),
    ),
    Rule(
        "closed books",
        "void",
        ok(closed(lambda b, d: void(b, "Invoice", d), "2026-02-01")),
        no("6210", closed(lambda b, d: void(b, "Invoice", d))),
    ),
    Rule(
        "closed books",
        "bills",
        ok(closed(lambda b, d: b.post("bill", bill(TxnDate="2026-02-01")))),
        no("6210", closed(lambda b, d: b.post("bill", bill(TxnDate="2026-01-01")))),
    ),
    Rule(
        "closed books",
        "a date that is readable",
        gives("2026-01-31", lambda b: (b.prefer(BookCloseDate="2026-01-31"), closing_date(b))[1]),
        gives(None, closing_date),
    ),
    # 7: plans
    plan_rule("Bill", "simple_start", "essentials"),
    Rule(
        "plans",
        "BillPayment from essentials",
        no("2250", on_plan("essentials", "BillPayment", lambda: bill_payment(0))),
        no("5030", on_plan("simple_start", "BillPayment", lambda: bill_payment(0))),
    ),
    plan_rule("VendorCredit", "simple_start", "essentials"),
    plan_rule("TimeActivity", "simple_start", "essentials"),
    plan_rule("CompanyCurrency", "simple_start", "essentials"),
    plan_rule("Department", "simple_start", "essentials"),
    plan_rule("Class", "essentials", "plus"),
    plan_rule("PurchaseOrder", "essentials", "plus"),
    plan_rule("Budget", "essentials", "plus"),
    plan_rule("Item", "essentials", "plus", inventory()),
    Rule(
        "plans",
        "Simple Start writes invoices",
        ok(on_plan("simple_start", "Invoice", invoice)),
        no("5030", on_plan("simple_start", "Bill", bill)),
    ),
    Rule(
        "plans",
        "queries too",
        ok(asked_on_plan("essentials", "select * from BillPayment")),
        no("5030", asked_on_plan("simple_start", "select * from BillPayment")),
    ),
    Rule(
        "plans",
        "a class on a line",
        ok(post("Invoice", invoice(line(1, ClassRef={"value": "1"})))),
        no("5030", lambda b: (b.set(plan="essentials"), b.post("invoice", invoice(line(1, ClassRef={"value": "1"}))))[1]),
    ),
    Rule(
        "plans",
        "a location on a document",
        ok(post("Invoice", invoice(DepartmentRef={"value": "1"}))),
        no("5030", lambda b: (b.set(plan="simple_start"), b.post("invoice", invoice(DepartmentRef={"value": "1"})))[1]),
    ),
    Rule("usage limits", "40 classes and locations together", ok(lambda b: classes(b, 39)), no("6000", lambda b: classes(b, 40))),
    Rule("usage limits", "250 accounts", ok(lambda b: accounts(b, 249)), no("6000", lambda b: accounts(b, 250))),
    # 9.5: what the server fills in
    Rule(
        "server fills",
        "Id, SyncToken, domain, sparse, MetaData",
        gives(
            ("0", "QBO", False, True),
            made(
                "Invoice",
                invoice(SyncToken="7", domain="X"),
                lambda d: (
                    d["SyncToken"],
                    d["domain"],
                    d["sparse"],
                    d["MetaData"]["CreateTime"] == d["MetaData"]["LastUpdatedTime"],
                ),
            ),
        ),
        gives(
            ("1", "QBO", False),
            updated(invoice(), {"sparse": True, "PrivateNote": "x"}, lambda d: (d["SyncToken"], d["domain"], d["sparse"])),
        ),
    ),
    Rule(
        "server fills",
        "times have the Pacific offset",
        gives(True, made("Invoice", invoice(), lambda d: d["MetaData"]["CreateTime"][-6:] in ("-07:00", "-08:00"))),
        gives(
            False,
            made(
                "Invoice",
                invoice(MetaData={"CreateTime": "2020-01-01T00:00:00Z"}),
                lambda d: d["MetaData"]["CreateTime"].endswith("Z"),
            ),
        ),
    ),
    Rule(
        "server fills",
        "the SubTotal line",
        gives(
            {"Amount": 100, "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}},
            made("Invoice", invoice(), lambda d: d["Line"][-1]),
        ),
        gives("AccountBasedExpenseLineDetail", made("Bill", bill(), lambda d: d["Line"][-1]["DetailType"])),
    ),
    Rule(
        "server fills",
        "a SubTotal line sent is dropped",
        gives(
            2,
            made(
                "Invoice",
                invoice(line(), {"DetailType": "SubTotalLineDetail", "Amount": 100, "SubTotalLineDetail": {}}),
                lambda d: len(d["Line"]),
            ),
        ),
        gives(3, made("Invoice", invoice(line(), line()), lambda d: len(d["Line"]))),
    ),
    Rule(
        "server fills",
        "items, SubTotal, discount in this order",
        gives(
            ["SalesItemLineDetail", "SubTotalLineDetail", "DiscountLineDetail"],
            made("Invoice", invoice(percent(5), line()), lambda d: [e["DetailType"] for e in d["Line"]]),
        ),
        gives(
            ["SalesItemLineDetail", "SubTotalLineDetail"],
            made("Invoice", invoice(), lambda d: [e["DetailType"] for e in d["Line"]]),
        ),
    ),
    Rule(
        "server fills",
        "EmailStatus and PrintStatus",
        gives(("NotSet", "NeedToPrint"), made("Invoice", invoice(), lambda d: (d["EmailStatus"], d["PrintStatus"]))),
        gives(
            ("NotSet", "NotSet"), made("Invoice", invoice(PrintStatus="NotSet"), lambda d: (d["EmailStatus"], d["PrintStatus"]))
        ),
    ),
    Rule(
        "server fills",
        "the customer's address",
        gives("Mountain View", made("Invoice", invoice(), lambda d: d["BillAddr"]["City"])),
        gives("Tucson", made("Invoice", invoice(BillAddr={"City": "Tucson"}), lambda d: d["BillAddr"]["City"])),
    ),
    Rule(
        "server fills",
        "the name of the customer",
        gives(True, made("Invoice", invoice(), lambda d: bool(d["CustomerRef"]["name"]))),
        gives(
            False, made("Invoice", invoice(CustomerRef={"value": "1", "name": "x"}), lambda d: d["CustomerRef"]["name"] == "x")
        ),
    ),
    Rule(
        "server fills",
        "custom fields 1 to 3 are kept",
        gives(
            "a",
            made(
                "Invoice",
                invoice(CustomField=[{"DefinitionId": "2", "Type": "StringType", "StringValue": "a"}]),
                lambda d: d["CustomField"][0]["StringValue"],
            ),
        ),
        no("3000", post("Invoice", invoice(CustomField=[{"DefinitionId": "4", "StringValue": "a"}]))),
    ),
    Rule(
        "server fills",
        "undeposited funds",
        gives("4", made("Payment", payment(5), lambda d: d["DepositToAccountRef"]["value"])),
        gives(
            "35", made("Payment", payment(5, DepositToAccountRef={"value": "35"}), lambda d: d["DepositToAccountRef"]["value"])
        ),
    ),
    # tax
    Rule(
        "tax",
        "by the code's rate, on what is taxed",
        gives((8, 158), tax_of(TAXED, line(50))),
        gives((0, 150), tax_of(line(100), line(50))),
    ),
    Rule("tax", "nothing without sales tax", gives((8, 108), tax_of(TAXED)), gives((0, 100), tax_of(TAXED, sales_tax=False))),
    Rule(
        "tax",
        "after the discount, if asked",
        gives((8, 98), tax_of(TAXED, percent(10))),
        gives((7.2, 97.2), tax_of(TAXED, percent(10), ApplyTaxAfterDiscount=True)),
    ),
    refused("tax", "a US line says TAX or NON", "Invoice", "6100", invoice(TAXED), invoice(line(1, TaxCodeRef={"value": "3"}))),
    refused(
        "tax",
        "NotApplicable takes no tax code",
        "Invoice",
        "6170",
        invoice(GlobalTaxCalculation="TaxExcluded", TxnTaxDetail=TAX_CODE),
        invoice(GlobalTaxCalculation="NotApplicable", TxnTaxDetail=TAX_CODE),
    ),
    # due date
    Rule(
        "due date",
        "the term's days",
        gives("2026-02-09", made("Invoice", invoice(SalesTermRef={"value": "3"}, TxnDate="2026-01-10"), lambda d: d["DueDate"])),
        gives("2026-01-10", made("Invoice", invoice(TxnDate="2026-01-10"), lambda d: d["DueDate"])),
    ),
    Rule(
        "due date",
        "what is sent wins",
        gives("2026-01-11", made("Invoice", invoice(SalesTermRef={"value": "3"}, DueDate="2026-01-11"), lambda d: d["DueDate"])),
        gives("2026-01-25", made("Invoice", invoice(SalesTermRef={"value": "2"}, TxnDate="2026-01-10"), lambda d: d["DueDate"])),
    ),
    Rule(
        "due date",
        "the vendor's term on a bill",
        gives("2026-03-02", made("Bill", bill(SalesTermRef={"value": "3"}, TxnDate="2026-01-31"), lambda d: d["DueDate"])),
        gives("2026-01-31", made("Bill", bill(TxnDate="2026-01-31"), lambda d: d["DueDate"])),
    ),
    Rule(
        "due date",
        "moves with the term",
        gives(
            "2026-02-09",
            updated(invoice(TxnDate="2026-01-10"), {"sparse": True, "SalesTermRef": {"value": "3"}}, lambda d: d["DueDate"]),
        ),
        gives("2026-01-10", updated(invoice(TxnDate="2026-01-10"), {"sparse": True, "PrivateNote": "x"}, lambda d: d["DueDate"])),
    ),
    Rule(
        "due date",
        "a term by the day of the month",
        gives("2026-02-15", lambda b: by_day(b, 15, "2026-01-20")),
        gives("2026-01-25", lambda b: by_day(b, 25, "2026-01-20")),
    ),
    # balance and links
    Rule(
        "balance and links",
        "a payment moves the balance",
        gives(40, after_payment(lambda d, p: d["Balance"])),
        gives(100, after_payment(lambda d, p: d["Balance"], 0)),
    ),
    Rule(
        "balance and links",
        "and shows as a link",
        gives(["Payment"], after_payment(lambda d, p: [e["TxnType"] for e in d["LinkedTxn"]])),
        gives([], after_payment(lambda d, p: d["LinkedTxn"], 0)),
    ),
    Rule(
        "balance and links",
        "and moves the SyncToken",
        gives("1", after_payment(lambda d, p: d["SyncToken"])),
        gives("0", after_payment(lambda d, p: d["SyncToken"], 0)),
    ),
    Rule(
        "balance and links",
        "what is not applied is unapplied",
        gives(10, after_payment(lambda d, p: p["UnappliedAmt"])),
        gives(70, after_payment(lambda d, p: p["UnappliedAmt"], 0)),
    ),
    Rule("balance and links", "not more than is paid", ok(lambda b: pay(b, 50, 50)), no("6000", lambda b: pay(b, 50, 51))),
    Rule("balance and links", "not more than is open", ok(lambda b: pay(b, 200, 100)), no("6000", lambda b: pay(b, 200, 101))),
    Rule("balance and links", "not another's invoice", ok(lambda b: family(b, True)), no("620", lambda b: family(b, False))),
    Rule(
        "balance and links", "only what can be paid", ok(lambda b: pay(b, 5, 5)), no("2170", lambda b: pay(b, 5, 5, "Estimate"))
    ),
    Rule(
        "balance and links", "a voided payment lets go", gives((40, 1), after_undoing(None)), gives((100, 0), after_undoing(void))
    ),
    Rule(
        "balance and links",
        "a deleted payment lets go",
        gives((40, 1), after_undoing(None)),
        gives((100, 0), after_undoing(delete)),
    ),
    Rule(
        "balance and links",
        "bill payments",
        gives((0, ["BillPaymentCheck"]), lambda b: bill_balance(b, 50)),
        gives((50, []), lambda b: bill_balance(b, 0)),
    ),
    Rule(
        "balance and links",
        "a bill payment names what it pays",
        ok(lambda b: b.post("billpayment", bill_payment(50, ("Bill", b.make("Bill", bill())["Id"], 50)))),
        no("6000", lambda b: b.post("billpayment", bill_payment(51, ("Bill", b.make("Bill", bill())["Id"], 50)))),
    ),
    Rule(
        "balance and links",
        "an invoice below what is paid frees the rest",
        gives((0, 10), lambda b: shrink_invoice(b, 50)),
        gives((10, 0), lambda b: shrink_invoice(b, 70)),
    ),
    Rule(
        "balance and links",
        "a bill not below what is paid",
        ok(lambda b: shrink_bill(b, 40)),
        no("6000", lambda b: shrink_bill(b, 39)),
    ),
    Rule(
        "balance and links",
        "what is paid keeps its owner",
        ok(lambda b: other_owner(b, paid=False)),
        no("6000", lambda b: other_owner(b, paid=True)),
    ),
    Rule(
        "balance and links",
        "the customer's balance",
        gives(40, lambda b: (paid_invoice(b, 60, 60), b.get("Customer", "1")["Balance"])[1]),
        gives(0, lambda b: b.get("Customer", "1")["Balance"]),
    ),
    refused("balance and links", "a deposit within the total", "Invoice", "6000", invoice(Deposit=100), invoice(Deposit=101)),
    # sparse, full, SyncToken
    Rule(
        "sparse and full",
        "sparse keeps what is not named",
        gives(
            "keep",
            updated(invoice(PrivateNote="keep"), {"sparse": True, "DueDate": "2030-01-01"}, lambda d: d.get("PrivateNote")),
        ),
        gives(None, updated(invoice(PrivateNote="keep"), invoice(), lambda d: d.get("PrivateNote"))),
    ),
    Rule(
        "sparse and full",
        "a null empties",
        gives("keep", updated(invoice(PrivateNote="keep"), {"sparse": True}, lambda d: d.get("PrivateNote"))),
        gives(None, updated(invoice(PrivateNote="keep"), {"sparse": True, "PrivateNote": None}, lambda d: d.get("PrivateNote"))),
    ),
    Rule(
        "sparse and full",
        "a full update names what is required",
        ok(lambda b: edit(b, "Invoice", b.make("Invoice", invoice()), PrivateNote="x")),
        no("2020", lambda b: edit(b, "Invoice", b.make("Invoice", invoice()), PrivateNote="x", sparse=False)),
    ),
    Rule(
        "sparse and full",
        "a name cannot be emptied",
        gives("Named 2", lambda b: renamed(b, "Named 2")),
        gives("Named", lambda b: renamed(b, "")),
    ),
    Rule(
        "sparse and full",
        "a currency cannot be changed",
        ok(lambda b: edit(b, "Customer", b.get("Customer", "1"), CurrencyRef={"value": "USD"})),
        no("6000", lambda b: edit(b, "Customer", b.get("Customer", "1"), CurrencyRef={"value": "EUR"})),
    ),
    Rule(
        "sync token",
        "the present one",
        ok(lambda b: edit(b, "Invoice", b.make("Invoice", invoice()))),
        no("5010", lambda b: edit(b, "Invoice", {**b.make("Invoice", invoice()), "SyncToken": "1"})),
    ),
    Rule(
        "sync token",
        "is required",
        ok(lambda b: edit(b, "Invoice", b.make("Invoice", invoice()))),
        no("2020", lambda b: edit(b, "Invoice", {**b.make("Invoice", invoice()), "SyncToken": ""})),
    ),
    Rule(
        "sync token",
        "of a delete",
        ok(lambda b: delete(b, "Invoice", b.make("Invoice", invoice()))),
        no("5010", lambda b: b.post("invoice", {"Id": b.make("Invoice", invoice())["Id"], "SyncToken": "9"}, operation="delete")),
    ),
    Rule(
        "sync token",
        "one more with each change",
        gives("1", updated(invoice(), {"sparse": True, "PrivateNote": "x"}, lambda d: d["SyncToken"])),
        gives("0", made("Invoice", invoice(), lambda d: d["SyncToken"])),
    ),
    # void, delete
    Rule(
        "void",
        "amounts and quantities are nothing",
        gives((10, 10, 2), voided("Invoice", invoice(line(10, Qty=2, UnitPrice=5)), amounts, really=False)),
        gives((0, 0, 0), voided("Invoice", invoice(line(10, Qty=2, UnitPrice=5)), amounts)),
    ),
    Rule(
        "void",
        "the note says so",
        gives("n", voided("Invoice", invoice(PrivateNote="n"), lambda d: d["PrivateNote"], really=False)),
        gives(
            True,
            voided(
                "Invoice",
                invoice(PrivateNote="n"),
                lambda d: d["PrivateNote"].startswith("Voided") and d["PrivateNote"].endswith("n"),
            ),
        ),
    ),
    Rule(
        "void",
        "the number stays",
        gives("N", voided("Invoice", invoice(DocNumber="N"), lambda d: d["DocNumber"])),
        gives(None, voided("Invoice", invoice(), lambda d: d.get("DocNumber"))),
    ),
    Rule(
        "void",
        "a payment loses its lines",
        gives((5, 0), voided("Payment", payment(5), lambda d: (d["TotalAmt"], len(d["Line"])), really=False)),
        gives((0, 0), voided("Payment", payment(5), lambda d: (d["TotalAmt"], len(d["Line"])))),
    ),
    Rule(
        "void",
        "frees the payments of an invoice",
        gives(10, lambda b: freed(b, really=False)),
        gives(70, lambda b: freed(b, really=True)),
    ),
    Rule(
        "void",
        "sales receipts by include=void",
        ok(lambda b: void(b, "SalesReceipt", b.make("SalesReceipt", invoice()))),
        no("500", lambda b: void(b, "CreditMemo", b.make("CreditMemo", invoice()))),
    ),
    Rule(
        "void",
        "bills have none",
        ok(lambda b: void(b, "Invoice", b.make("Invoice", invoice()))),
        no("500", lambda b: void(b, "Bill", b.make("Bill", bill()))),
    ),
    Rule(
        "delete",
        "what is gone is not found",
        ok(lambda b: b.call("GET", f"invoice/{b.make('Invoice', invoice())['Id']}")),
        no("610", after_delete),
    ),
    Rule(
        "delete",
        "name lists have none",
        ok(lambda b: edit(b, "Customer", b.make("Customer", customer("d")), Active=False)),
        no("500", lambda b: delete(b, "Customer", b.make("Customer", customer("e")))),
    ),
    Rule(
        "delete",
        "not while payments are linked",
        ok(lambda b: delete(b, "Invoice", b.make("Invoice", invoice()))),
        no("6400", lambda b: delete(b, "Invoice", paid_invoice(b)[0])),
    ),
    Rule("delete", "not a paid bill", ok(lambda b: delete(b, "Bill", b.make("Bill", bill()))), no("6400", delete_paid_bill)),
    Rule(
        "delete",
        "not an order that a bill was made of",
        ok(lambda b: delete_order(b, used=False)),
        no("800", lambda b: delete_order(b, used=True)),
    ),
    Rule(
        "delete",
        "not hours that are invoiced",
        ok(lambda b: delete_hours(b, used=False)),
        no("800", lambda b: delete_hours(b, used=True)),
    ),
    Rule(
        "delete",
        "not a journal entry that is paid",
        ok(lambda b: delete_journal(b, paid=False)),
        no("800", lambda b: delete_journal(b, paid=True)),
    ),
    Rule(
        "delete",
        "answers a stub",
        gives({"status": "Deleted", "domain": "QBO"}, stub_of),
        gives({"domain": "QBO"}, made("Invoice", invoice(), lambda d: {k: v for k, v in d.items() if k in ("status", "domain")})),
    ),
    # names
    Rule(
        "inactive names",
        "carry (deleted)",
        gives("Gone Soon (deleted)", lambda b: rename(b, False)["DisplayName"]),
        gives("Gone Soon", lambda b: rename(b, True)["DisplayName"]),
    ),
    Rule(
        "inactive names",
        "are hidden from queries",
        gives(1, lambda b: (rename(b, True), len(found(b, GONE)))[1]),
        gives(0, lambda b: (rename(b, False), len(found(b, GONE)))[1]),
    ),
    Rule(
        "inactive names",
        "unless asked for",
        gives(1, lambda b: (rename(b, False), len(found(b, f"{GONE} and Active in (true, false)")))[1]),
        gives(0, lambda b: (rename(b, False), len(found(b, f"{GONE} and Active = true")))[1]),
    ),
    Rule(
        "inactive names",
        "give the name free",
        ok(lambda b: (rename(b, False), b.post("customer", customer("Gone Soon")))[1]),
        no("6240", lambda b: (rename(b, True), b.post("customer", customer("Gone Soon")))[1]),
    ),
    Rule(
        "inactive names",
        "do not come back to a name that is taken",
        ok(lambda b: back(b, taken=False)),
        no("6240", lambda b: back(b, taken=True)),
    ),
    Rule(
        "inactive names",
        "items too",
        gives("Tool (deleted)", lambda b: retired_item(b, False)),
        gives("Tool", lambda b: retired_item(b, True)),
    ),
    refused("unique names", "without regard to case", "Customer", "6240", customer("Cool Car"), customer("cool CARS")),
    refused(
        "unique names", "without regard to outer blanks", "Customer", "6240", customer("Cool Cars 2"), customer(" Cool Cars ")
    ),
    refused("unique names", "across vendors", "Customer", "6240", customer("Hicks Software"), customer("Hicks Hardware")),
    refused("unique names", "across employees", "Vendor", "6240", {"DisplayName": "Emily Plat"}, {"DisplayName": "Emily Platt"}),
    refused("unique names", "of items", "Item", "6240", item("Procedures"), item("procedure")),
    refused(
        "unique names",
        "of accounts",
        "Account",
        "6240",
        {"Name": "Checking 2", "AccountType": "Bank"},
        {"Name": "checking", "AccountType": "Bank"},
    ),
    refused(
        "unique names",
        "of agencies",
        "TaxAgency",
        "630",
        {"DisplayName": "Arizona"},
        {"DisplayName": "California Department of Tax and Fee Administration"},
    ),
    Rule("trees", "five levels", ok(lambda b: deep(b, 4)), no("6180", lambda b: deep(b, 5))),
    Rule("trees", "full names", gives("a:b", lambda b: full_name(b, "a", "b")), gives("a", lambda b: full_name(b, "a"))),
    Rule("trees", "not oneself", ok(lambda b: adopt(b, "2")), no("900", lambda b: adopt(b, "1"))),
    refused(
        "trees",
        "a job has a parent",
        "Customer",
        "6150",
        customer("j", Job=True, ParentRef={"value": "1"}),
        customer("k", Job=True),
    ),
    refused(
        "trees",
        "a sub-class has a parent",
        "Class",
        "6150",
        {"Name": "s", "SubClass": True, "ParentRef": {"value": "1"}},
        {"Name": "t", "SubClass": True},
    ),
    refused(
        "trees",
        "equal names under different parents",
        "Class",
        "6240",
        {"Name": "Surgery", "ParentRef": {"value": "2"}},
        {"Name": "Surgery"},
    ),
    # other kinds
    refused(
        "time activities",
        "an employee's has an employee",
        "TimeActivity",
        "6290",
        time_activity(),
        time_activity(EmployeeRef=None),
    ),
    refused(
        "time activities",
        "hours or a span",
        "TimeActivity",
        "6350",
        time_activity(Minutes=None),
        time_activity(Hours=None, Minutes=None),
    ),
    refused("inventory", "needs its three accounts", "Item", "2020", inventory(), without(inventory(), "AssetAccountRef")),
    refused("inventory", "is tracked", "Item", "2020", inventory(), without(inventory(), "TrackQtyOnHand")),
    refused("inventory", "has a start", "Item", "6520", inventory(), without(inventory(), "InvStartDate")),
    refused("inventory", "costs go to cost of goods", "Item", "6430", inventory(), inventory(ExpenseAccountRef={"value": "7"})),
    refused("inventory", "income goes to income", "Item", "6430", inventory(), inventory(IncomeAccountRef={"value": "35"})),
    Rule(
        "inventory",
        "tracking stays",
        ok(lambda b: stocked(b, UnitPrice=5)),
        no("6000", lambda b: stocked(b, TrackQtyOnHand=False, Type="NonInventory")),
    ),
    refused(
        "journals",
        "debits are credits",
        "JournalEntry",
        "2300",
        journal(),
        journal(posting("Debit", 10), posting("Credit", 9, "8")),
    ),
    refused("journals", "both sides", "JournalEntry", "6000", journal(), journal(posting("Debit", 0))),
    refused(
        "journals",
        "a customer on receivables",
        "JournalEntry",
        "6000",
        journal(posting("Debit", 10, "84", Entity={"Type": "Customer", "EntityRef": {"value": "1"}}), posting("Credit", 10)),
        journal(posting("Debit", 10, "84"), posting("Credit", 10)),
    ),
    refused(
        "journals",
        "a vendor on payables",
        "JournalEntry",
        "6000",
        journal(posting("Credit", 10, "33", Entity={"Type": "Vendor", "EntityRef": {"value": "51"}}), posting("Debit", 10)),
        journal(posting("Credit", 10, "33", Entity={"Type": "Customer", "EntityRef": {"value": "1"}}), posting("Debit", 10)),
    ),
    Rule(
        "journals",
        "TotalAmt is nothing",
        gives(0, made("JournalEntry", journal(), lambda d: d["TotalAmt"])),
        gives(5, made("Deposit", deposit(5), lambda d: d["TotalAmt"])),
    ),
    Rule(
        "deposits",
        "what is in one cannot change",
        ok(lambda b: in_deposit(b, deposited=False)),
        no("6540", lambda b: in_deposit(b, deposited=True)),
    ),
    Rule(
        "deposits",
        "nothing goes in twice",
        ok(lambda b: twice_deposited(b, twice=False)),
        no("620", lambda b: twice_deposited(b, twice=True)),
    ),
    refused("deposits", "into a bank account", "Deposit", "6430", deposit(), deposit(DepositToAccountRef={"value": "7"})),
    Rule(
        "estimates",
        "an invoice closes its estimate",
        gives(("Closed", 1), lambda b: estimated(b, link=True)),
        gives(("Pending", 0), lambda b: estimated(b, link=False)),
    ),
    Rule("estimates", "one for each invoice", ok(lambda b: links_of(b, 1)), no("2600", lambda b: links_of(b, 2))),
    Rule(
        "credits",
        "a payment of nothing applies a credit memo",
        gives(70, lambda b: owed(b, 30)),
        gives(100, lambda b: owed(b, 0)),
    ),
    Rule("credits", "not more than it has", ok(lambda b: over_credit(b, 30)), no("6000", lambda b: over_credit(b, 31))),
    Rule(
        "merchant and bank",
        "matched transactions stay",
        ok(lambda b: matched(b, matched=False)),
        no("6480", lambda b: matched(b, matched=True)),
    ),
    refused(
        "merchant and bank",
        "no card numbers",
        "Payment",
        "6530",
        payment(5, CreditCardPayment={"CreditChargeInfo": {"Number": "1111"}}),
        payment(5, CreditCardPayment={"CreditChargeInfo": {"Number": "4111-1111-1111-1111"}}),
    ),
    refused(
        "merchant and bank",
        "a check comes from a bank",
        "Purchase",
        "6430",
        purchase(PaymentType="CreditCard", AccountRef={"value": "41"}),
        purchase(AccountRef={"value": "41"}),
    ),
    refused(
        "currency",
        "the home currency, or multicurrency",
        "Invoice",
        "2220",
        invoice(CurrencyRef={"value": "USD"}),
        invoice(CurrencyRef={"value": "EUR"}),
    ),
    Rule(
        "currency",
        "others once they are switched on",
        ok(lambda b: multicurrency(b, on=True)),
        no("2220", lambda b: multicurrency(b, on=False)),
    ),
    refused("currency", "ISO codes", "CompanyCurrency", "2220", {"Code": "EUR"}, {"Code": "eur"}),
    # 9.6 and 1.5: queries
    asked("query grammar", "select", "4000", "select * from Term", "update Term"),
    asked(
        "query grammar",
        "no or",
        "4000",
        "select * from Term where Active = true and Id = '1'",
        "select * from Term where Active = true or Id = '1'",
    ),
    asked(
        "query grammar", "no not", "4000", "select * from Term where Active = true", "select * from Term where not Active = true"
    ),
    asked("query grammar", "no group by", "4000", "select * from Term orderby Name", "select * from Term group by Name"),
    asked("query grammar", "no join", "4000", "select * from Term", "select * from Term, Item"),
    asked("query grammar", "no !=", "4000", "select * from Term where Name = 'x'", "select * from Term where Name != 'x'"),
    asked(
        "query grammar",
        "a quote is escaped by a backslash",
        "4000",
        r"select * from Customer where DisplayName = 'Amy\'s'",
        "select * from Customer where DisplayName = 'Amy''s'",
    ),
    asked("query grammar", "a text ends", "4000", "select * from Term where Name = 'x'", "select * from Term where Name = 'x"),
    asked(
        "query grammar",
        "no curly quotes",
        "4000",
        "select * from Term where Name = 'x'",
        "select * from Term where Name = \u2018x\u2019",
    ),
    asked(
        "query grammar",
        "no curly apostrophe in a text",
        "4000",
        r"select * from Term where Name = 'O\'Neil'",
        "select * from Term where Name = 'O\u2019Neil'",
    ),
    asked(
        "query grammar",
        "order by with its words",
        "4000",
        "select * from Term ORDER BY Name DESC",
        "select * from Term ORDER Name",
    ),
    asked(
        "query grammar",
        "in with brackets",
        "4000",
        "select * from Term where Id in ('1', '2')",
        "select * from Term where Id in '1', '2'",
    ),
    asked(
        "query grammar",
        "texts in quotes, booleans without",
        "4000",
        "select * from Term where Active = true",
        "select * from Term where Name = Cash",
    ),
    asked(
        "query grammar",
        "names in any case",
        "4001",
        "select * from invoice where docnumber = 'x'",
        "select * from invoices where docnumber = 'x'",
    ),
    asked("query grammar", "the entity is known", "4001", "select * from CompanyInfo", "select * from Gadget"),
    asked("query grammar", "Currency answers as CompanyCurrency", "4001", "select * from Currency", "select * from Currencies"),
    asked(
        "query fields",
        "filterable",
        "4001",
        "select * from Vendor where AcctNum = 'x'",
        "select * from Customer where AcctNum = 'x'",
    ),
    asked(
        "query fields",
        "PrivateNote is not",
        "4001",
        "select * from Invoice where DocNumber = 'x'",
        "select * from Invoice where PrivateNote = 'x'",
    ),
    asked(
        "query fields",
        "Id by = and in",
        "4001",
        "select * from Invoice where Id in ('1')",
        "select * from Invoice where Id > '1'",
    ),
    asked(
        "query fields",
        "Id not by like",
        "4001",
        "select * from Invoice where DocNumber like '1%'",
        "select * from Invoice where Id like '1%'",
    ),
    asked(
        "query fields", "sortable", "4001", "select * from Invoice orderby TxnDate", "select * from Invoice orderby CustomerRef"
    ),
    asked(
        "query fields",
        "Id is not sortable",
        "4001",
        "select * from Invoice orderby DocNumber",
        "select * from Invoice orderby Id",
    ),
    asked(
        "query fields",
        "known to sort by",
        "4001",
        "select * from Invoice orderby DueDate",
        "select * from Invoice orderby Colour",
    ),
    asked("query fields", "known to select", "4001", "select Id, PrivateNote from Invoice", "select Id, Colour from Invoice"),
    asked("query fields", "beside a star too", "4001", "select *, Sku from Item", "select *, Colour from Item"),
    asked(
        "query fields",
        "dates are compared with dates",
        "4001",
        "select * from Invoice where TxnDate > '2026-01-01'",
        "select * from Invoice where TxnDate > 'soon'",
    ),
    asked(
        "query fields",
        "numbers with numbers",
        "4001",
        "select * from Invoice where TotalAmt > '5'",
        "select * from Invoice where TotalAmt > 'much'",
    ),
    asked(
        "query fields",
        "booleans with booleans",
        "4001",
        "select * from Term where Active = 'true'",
        "select * from Term where Active = 'yes'",
    ),
    asked(
        "query fields",
        "like is for texts",
        "4001",
        "select * from Invoice where DocNumber like '5%'",
        "select * from Invoice where TotalAmt like '5%'",
    ),
    asked(
        "query fields",
        "nothing is not ordered",
        "4002",
        "select * from Invoice where DueDate = ' '",
        "select * from Invoice where DueDate < ' '",
    ),
    asked(
        "query paging", "1,000 rows at most", "4001", "select * from Term maxresults 1000", "select * from Term maxresults 1001"
    ),
    asked("query paging", "whole numbers", "4000", "select * from Term startposition 1", "select * from Term startposition one"),
    asked("query paging", "not below nothing", "4001", "select * from Term maxresults 0", "select * from Term maxresults -1"),
    Rule(
        "query paging",
        "from a position on, 1 is the first",
        gives(["Q3", "Q2"], lambda b: five(b, f"{FIVE} startposition 2 maxresults 2")),
        gives(["Q4", "Q3"], lambda b: five(b, f"{FIVE} startposition 1 maxresults 2")),
    ),
    Rule(
        "query paging",
        "100 rows without a word",
        gives(100, lambda b: rows_of(b, "")),
        gives(101, lambda b: rows_of(b, " maxresults 101")),
    ),
    Rule(
        "query answers",
        "nothing found is an empty answer",
        gives(["Customer", "maxResults", "startPosition", "totalCount"], lambda b: sorted(b.query("select * from Customer"))),
        gives({}, lambda b: b.query("select * from Customer where DisplayName = 'nobody'")),
    ),
    Rule(
        "query answers",
        "count",
        gives({"totalCount": 5}, lambda b: b.query("select count(*) from Customer")),
        gives({"totalCount": 0}, lambda b: b.query("select count(*) from Invoice")),
    ),
    Rule(
        "query answers",
        "deleted documents never appear",
        gives(1, lambda b: (b.make("Invoice", invoice()), count(b))[1]),
        gives(0, lambda b: (delete(b, "Invoice", b.make("Invoice", invoice())), count(b))[1]),
    ),
    Rule(
        "query answers",
        "conditions filter",
        gives(["Q0", "Q1"], lambda b: five(b, "select * from Invoice where TotalAmt <= 2")),
        gives(["Q2", "Q3", "Q4"], lambda b: five(b, "select * from Invoice where TotalAmt > 2")),
    ),
    Rule(
        "query answers",
        "sorted both ways",
        gives(["Q0", "Q1", "Q2", "Q3", "Q4"], lambda b: five(b, "select * from Invoice orderby TxnDate asc")),
        gives(["Q4", "Q3", "Q2", "Q1", "Q0"], lambda b: five(b, FIVE)),
    ),
    Rule(
        "query answers",
        "% is the only wildcard",
        gives(5, lambda b: len(five(b, "select * from Invoice where DocNumber like 'Q%'"))),
        gives(0, lambda b: len(five(b, "select * from Invoice where DocNumber like 'Q_'"))),
    ),
    Rule(
        "query answers",
        "projections",
        gives(
            {"Id", "domain", "sparse", "DisplayName"}, lambda b: set(b.query("select DisplayName from Customer")["Customer"][0])
        ),
        gives(True, lambda b: "BillAddr" in b.query("select * from Customer")["Customer"][0]),
    ),
    Rule(
        "query answers",
        "times in any zone",
        gives(5, lambda b: five_since(b, "2020-01-01T00:00:00Z")),
        gives(0, lambda b: five_since(b, "2040-01-01T00:00:00+00:00")),
    ),
    # 9.7 and 1.6: change data
    Rule(
        "change data",
        "30 days",
        ok(lambda b: changed(b, "Invoice", 29 * 86_400)),
        no("2190", lambda b: changed(b, "Invoice", 31 * 86_400)),
    ),
    Rule(
        "change data", "not every entity", ok(lambda b: changed(b, "Customer")), no("4001", lambda b: changed(b, "TimeActivity"))
    ),
    *(
        Rule("change data", f"not {kind}", ok(lambda b: changed(b, "Item")), no("4001", lambda b, kind=kind: changed(b, kind)))
        for kind in ("JournalCode", "TaxAgency", "TaxCode", "TaxRate")
    ),
    Rule("change data", "entities are named", ok(lambda b: changed(b, "Invoice,Bill")), no("2020", lambda b: changed(b, ""))),
    Rule(
        "change data",
        "a time is given",
        ok(get("cdc", entities="Invoice", changedSince="2999-01-01T00:00:00Z")),
        no("2020", get("cdc", entities="Invoice")),
    ),
    Rule(
        "change data",
        "a time is a time",
        ok(get("cdc", entities="Invoice", changedSince="2999-01-01")),
        no("2060", get("cdc", entities="Invoice", changedSince="soon")),
    ),
    Rule(
        "change data",
        "what was deleted is a stub",
        gives({"Id", "MetaData", "TotalAmt", "SyncToken"}, lambda b: stub(b, gone=False)),
        gives({"Id", "MetaData", "status"}, lambda b: stub(b, gone=True)),
    ),
    Rule(
        "change data",
        "1,000 in one answer over all entities",
        gives(990, lambda b: many(b, 990)),
        gives(1000, lambda b: many(b, 1020)),
    ),
    Rule(
        "change data",
        "nothing is an empty part",
        gives(True, lambda b: (b.make("Invoice", invoice()), "Invoice" in cdc_part(b))[1]),
        gives({}, cdc_part),
    ),
    # 9.7 and 1.7: batch
    Rule(
        "batch",
        "30 items",
        ok(batch(*[{"bId": str(n), "Query": "select * from Term"} for n in range(30)])),
        no("1040", batch(*[{"bId": str(n), "Query": "select * from Term"} for n in range(31)])),
    ),
    Rule("batch", "bIds of 10 with a requestid", ok(bid(10, requestid="r1")), no("2130", bid(11, requestid="r1"))),
    Rule("batch", "bIds of 36 without one", ok(bid(36)), no("2130", bid(36, requestid="r1"))),
    Rule("batch", "requestid of 36", ok(bid(1, requestid="r" * 36)), no("2130", bid(1, requestid="r" * 37))),
    Rule("batch", "bIds are there", ok(bid(1)), no("2020", bid(0))),
    Rule(
        "batch",
        "bIds differ",
        ok(batch({"bId": "1", "Query": "select * from Term"}, {"bId": "2", "Query": "select * from Term"})),
        no("2600", batch({"bId": "1", "Query": "select * from Term"}, {"bId": "1", "Query": "select * from Term"})),
    ),
    Rule(
        "batch",
        "items are independent",
        gives((False, False), lambda b: pair_of(b, invoice())),
        gives((True, False), lambda b: pair_of(b, {"Colour": 1})),
    ),
    Rule(
        "batch",
        "answers are shuffled",
        gives(True, lambda b: order_of(b, shuffle=True)),
        gives(False, lambda b: order_of(b, shuffle=False)),
    ),
    Rule(
        "batch", "void by optionsData", gives(0, lambda b: voided_in_batch(b, "void")), gives(5, lambda b: voided_in_batch(b, ""))
    ),
    Rule(
        "batch",
        "allowduplicatedocnum by optionsData",
        gives("", lambda b: doubled_in_batch(b, "allowduplicatedocnum")),
        gives("6140", lambda b: doubled_in_batch(b, "")),
    ),
    Rule(
        "batch",
        "operations are known",
        gives("", lambda b: item_code(b, operation="create")),
        gives("500", lambda b: item_code(b, operation="destroy")),
    ),
    # 9.8 and 1.3: requestid
    Rule(
        "requestid",
        "an equal one writes once",
        gives(2, lambda b: again(b, "r1", "r2")),
        gives(1, lambda b: again(b, "r1", "r1")),
    ),
    Rule(
        "requestid",
        "the first answer comes back, even after a delete",
        gives(True, lambda b: replayed(b, same=True)),
        gives(False, lambda b: replayed(b, same=False)),
    ),
    Rule(
        "requestid",
        "50 characters",
        ok(post("Invoice", invoice(), requestid="r" * 50)),
        no("2130", post("Invoice", invoice(), requestid="r" * 51)),
    ),
    Rule(
        "requestid",
        "a company has its own",
        gives(1, lambda b: (again(b, "r1", "r1"), again(Books(b.standin), "r1", "r1"))[1]),
        gives(1, lambda b: again(b, "r1", "r1")),
    ),
    Rule(
        "requestid",
        "refusals are forgotten, or kept by mode",
        gives("", lambda b: retried(b, remember=False)),
        gives("2060", lambda b: retried(b, remember=True)),
    ),
    Rule(
        "requestid",
        "may be ignored by mode",
        gives(1, lambda b: again(b, "r1", "r1")),
        gives(2, lambda b: (b.standin.control("POST", "modes", {"ignore_requestid": True}), again(b, "r1", "r1"))[1]),
    ),
    Rule(
        "minorversion",
        "any is taken as 75",
        gives(True, lambda b: same_answer(b, "4", "75")),
        gives(True, lambda b: same_answer(b, "", "70")),
    ),
    # files, mail, company
    Rule("attachments", "kinds of files", ok(multipart(file("a.pdf"))), no("6030", multipart(file("a.html")))),
    Rule(
        "attachments",
        "metadata is an Attachable",
        ok(multipart(metadata(Note="n"), file())),
        no("6040", multipart((metadata()[0], '"x"'), file())),
    ),
    Rule(
        "attachments",
        "a part has its length",
        ok(multipart(file(more="\r\nContent-Length: 3"))),
        no("6020", multipart(file(more="\r\nContent-Length: 4"))),
    ),
    Rule("attachments", "there is a part", ok(multipart(file())), no("6020", multipart())),
    Rule(
        "attachments",
        "move the SyncToken of what they hang on",
        gives("1", lambda b: attached(b, upload=True)),
        gives("0", lambda b: attached(b, upload=False)),
    ),
    Rule("attachments", "links are signed", gives(200, downloaded), gives(403, lambda b: downloaded(b, "x"))),
    Rule(
        "attachments",
        "a note without a file",
        ok(post("Attachable", {"Note": "n"})),
        no("2020", post("Attachable", {"Tag": "t"})),
    ),
    Rule("pdf and send", "kinds that are printed", ok(printed("Invoice", invoice())), no("500", printed("Bill", bill()))),
    Rule(
        "pdf and send",
        "kinds that are sent",
        ok(lambda b: sent(b, "Invoice", invoice(), sendTo="a@example.com")),
        no("500", lambda b: sent(b, "Bill", bill(), sendTo="a@example.com")),
    ),
    Rule(
        "pdf and send",
        "to an address",
        ok(lambda b: sent(b, "Invoice", invoice(BillEmail={"Address": "a@example.com"}))),
        no("6420", lambda b: sent(b, "Invoice", invoice())),
    ),
    Rule(
        "pdf and send",
        "to a good one",
        ok(lambda b: sent(b, "Invoice", invoice(), sendTo="a@example.com")),
        no("2210", lambda b: sent(b, "Invoice", invoice(), sendTo="nobody")),
    ),
    Rule(
        "pdf and send",
        "the status says so",
        gives("EmailSent", lambda b: sent(b, "Invoice", invoice(), sendTo="a@example.com").json()["Invoice"]["EmailStatus"]),
        gives("NotSet", made("Invoice", invoice(), lambda d: d["EmailStatus"])),
    ),
    Rule(
        "pay link",
        "with online payments",
        gives(True, lambda b: pay_link(b, online=True)),
        gives(False, lambda b: pay_link(b, online=False)),
    ),
    Rule(
        "pay link",
        "when asked for",
        gives(True, lambda b: pay_link(b, online=True)),
        gives(False, lambda b: pay_link(b, online=True, include="")),
    ),
    Rule(
        "company",
        "OfferingSku tells the plan",
        gives("QuickBooks Online Plus", sku),
        gives("QuickBooks Online Simple Start", lambda b: sku(Books(b.standin, plan="simple_start"))),
    ),
    Rule("company", "there is one", ok(get("companyinfo/1")), no("610", get("companyinfo/2"))),
    Rule(
        "company", "none is made", ok(post("Customer", start("Customer"))), no("2020", post("CompanyInfo", {"CompanyName": "x"}))
    ),
)
