"""Change data, batch, requestid, minorversion."""

from __future__ import annotations

from typing import Any

from ..acts import Act, batch, delete, get, post
from ..bodies import (
    invoice,
    payment,
)
from ..conftest import Books, code_of
from .writing import (
    Rule,
    changed,
    count,
    gives,
    many,
    no,
    ok,
)


def stub(books: Books, *, gone: bool) -> set[str]:
    """Properties of a document in change data."""
    doc = books.make("Invoice", invoice())
    if gone:
        delete(books, "Invoice", doc)
    row = changed(books, "Invoice").json()["CDCResponse"][0]["QueryResponse"][0]["Invoice"][0]
    return set(row) & {"status", "Id", "MetaData", "DocNumber", "TotalAmt", "SyncToken"}


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


RULES: tuple[Rule, ...] = (
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
)
