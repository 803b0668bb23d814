"""Query grammar, change data capture, batch, requestid."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from .bodies import bill, invoice, line, payment
from .conftest import Books, StandIn, code_of

GOOD = [
    "select * from Customer",
    "SELECT * FROM customer WHERE Active = true",
    "select * from Customer where Active IN (true, false) ORDERBY DisplayName",
    "select * from Customer where Active = 'true' ORDER BY DisplayName DESC",
    "select Id, DisplayName from Customer STARTPOSITION 0 MAXRESULTS 1000",
    "select *, Sku from Item",
    "select * from Item where Name = 'Procedure'",
    "select count(*) from Customer STARTPOSITION 1 MAXRESULTS 10",
    "select * from Customer where Metadata.LastUpdatedTime > '2020-01-01T00:00:00'",
    "select * from Customer where MetaData.LastUpdatedTime >= '2020-01-01T00:00:00+00:00' "
    "and MetaData.LastUpdatedTime <= '2040-01-01T00:00:00Z'",
    "select * from Customer where MetaData.CreateTime >= '2020-01-01'",
    "select * from Customer where id ='5'",
    "select * from Customer where Id in ('1', '2')",
    "select * from Customer where DisplayName like '%Bird\\'s%'",
    "select * from Customer where Balance > '0'",
    "select * from Invoice where TxnDate >= CURRENT_DATE",
    "select * from Invoice where TotalAmt > 5 and CustomerRef = '1' orderby TxnDate desc, DocNumber",
    "select * from Currency",
    "select * from CompanyInfo where MetaData.LastUpdatedTime > '2020-01-01'",
    "select * from Preferences",
    "select * from Attachable where MetaData.LastUpdatedTime > '2020-01-01'",
    "select * from CompanyCurrency where MetaData.LastUpdatedTime > '2020-01-01'",
    "select * from CustomerType where MetaData.LastUpdatedTime > '2020-01-01'",
    "select * from Budget where MetaData.LastUpdatedTime > '2020-01-01'",
    "select * from TaxAgency where MetaData.LastUpdatedTime > '2020-01-01'",
    "select * from TimeActivity where MetaData.LastUpdatedTime > '2020-01-01'",
    "select * from Customer where PrimaryEmailAddr = 'customer1@example.com'",
    "select * from Customer where DisplayName = 'Müller'",
    "select * from Vendor where AcctNum = 'x'",
]
BAD = [
    ("", "4000"),
    ("delete from Customer", "4000"),
    ("select * from Customer where", "4000"),
    ("select * from Customer where Active = true or Active = false", "4000"),
    ("select * from Customer where not Active = true", "4000"),
    ("select * from Customer group by Id", "4000"),
    ("select * from Customer where DisplayName = 'it''s'", "4000"),
    ("select * from Customer where DisplayName = 'O\u2019Neil'", "4000"),
    ("select * from Customer where DisplayName = \u201cx\u201d", "4000"),
    ("select * from Customer, Vendor", "4000"),
    ("select * from Customer maxresults 1001", "4001"),
    ("select * from Gadget", "4001"),
    ("select * from Customer where AcctNum = 'x'", "4001"),
    ("select * from Invoice where PrivateNote = 'x'", "4001"),
    ("select * from Invoice where Colour = 'x'", "4001"),
    ("select Colour from Invoice", "4001"),
    ("select * from Invoice where Id > '5'", "4001"),
    ("select * from Invoice where Id like '5%'", "4001"),
    ("select * from Invoice orderby Id", "4001"),
    ("select * from Invoice orderby CustomerRef", "4001"),
    ("select * from Invoice where TxnDate > 'yesterday'", "4001"),
    ("select * from Invoice where TotalAmt > 'much'", "4001"),
]


@pytest.mark.parametrize("text", GOOD)
def test_query_accepts(books: Books, text: str) -> None:
    by_get = books.call("GET", "query", params={"query": text})
    assert by_get.status_code == 200, by_get.text
    by_post = books.call("POST", "query", content=text.encode(), headers={"content-type": "application/text"})
    assert by_post.json()["QueryResponse"] == by_get.json()["QueryResponse"]


@pytest.mark.parametrize(("text", "code"), BAD)
def test_query_refuses(books: Books, text: str, code: str) -> None:
    answer = books.call("GET", "query", params={"query": text})
    assert (answer.status_code, code_of(answer)) == (400, code), answer.text


def test_query_answers(books: Books) -> None:
    for number in range(5):
        books.make("Invoice", invoice(line(number + 1), DocNumber=f"Q{number}", TxnDate=f"2026-01-0{number + 1}"))
    page = books.query("select * from Invoice orderby TxnDate desc startposition 2 maxresults 2")
    assert [doc["DocNumber"] for doc in page["Invoice"]] == ["Q3", "Q2"]
    assert (page["startPosition"], page["maxResults"]) == (2, 2)
    assert books.query("select * from Invoice where DocNumber = 'nothing'") == {}
    assert books.query("select count(*) from Invoice where TotalAmt >= 3") == {"totalCount": 3}
    assert [d["DocNumber"] for d in books.query("select * from Invoice where DocNumber in ('Q1','q4')")["Invoice"]] == [
        "Q1",
        "Q4",
    ]
    assert len(books.query("select * from Invoice where DocNumber like 'Q%'")["Invoice"]) == 5
    short = books.query("select DocNumber from Invoice where DocNumber = 'Q1'")["Invoice"][0]
    assert set(short) == {"Id", "domain", "sparse", "DocNumber"}
    assert set(books.query("select * from Currency")) == set()
    books.make("CompanyCurrency", {"Code": "EUR"})
    assert "CompanyCurrency" in books.query("select * from Currency")
    raw = books.standin.http.get(
        f"/v3/company/{books.realm}/query?query=select%20*%20from%20Customer%20where%20Id='1'", headers=books.headers
    )
    assert len(raw.json()["QueryResponse"]["Customer"]) == 1


def test_names_with_quotes_are_found_with_a_backslash(books: Books) -> None:
    found = books.query("select * from Customer where DisplayName = 'Amy\\'s Bird Sanctuary'")
    assert len(found["Customer"]) == 1


def test_change_data_gives_current_state_and_stubs(books: Books) -> None:
    since = books.make("Invoice", invoice())["MetaData"]["CreateTime"]
    gone = books.make("Invoice", invoice())
    books.post("invoice", {"Id": gone["Id"], "SyncToken": "0"}, operation="delete")
    answer = books.call("GET", "cdc", params={"entities": "Invoice,Bill,Customer", "changedSince": since}).json()
    invoices, bills, _ = answer["CDCResponse"][0]["QueryResponse"]
    stub = next(doc for doc in invoices["Invoice"] if doc["Id"] == gone["Id"])
    assert (stub["status"], set(stub)) == ("Deleted", {"domain", "status", "Id", "MetaData"})
    assert invoices["maxResults"] == 2
    assert bills == {}


@pytest.mark.parametrize(
    ("entities", "since", "code"),
    [
        ("TimeActivity", "now", "4001"),
        ("TaxCode", "now", "4001"),
        ("Gadget", "now", "4001"),
        ("", "now", "2020"),
        ("Invoice", "", "2020"),
        ("Invoice", "soon", "2060"),
        ("Invoice", "2020-01-01T00:00:00Z", "2190"),
    ],
)
def test_change_data_refuses(books: Books, entities: str, since: str, code: str) -> None:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()) if since == "now" else since
    assert code_of(books.call("GET", "cdc", params={"entities": entities, "changedSince": since})) == code


def test_change_data_holds_at_most_a_thousand_over_all_entities(books: Books) -> None:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))
    for start in range(0, 1020, 30):
        items = [{"bId": str(i), "operation": "create", "Customer": {"DisplayName": f"many {start + i}"}} for i in range(30)]
        books.post("batch", {"BatchItemRequest": items})
    answer = books.call("GET", "cdc", params={"entities": "Customer,Invoice", "changedSince": since}).json()
    parts = answer["CDCResponse"][0]["QueryResponse"]
    assert [part.get("maxResults", 0) for part in parts] == [1000, 0]


def test_batch_items_are_independent_and_come_shuffled(books: Books) -> None:
    items: list[dict[str, Any]] = [
        {"bId": f"c{i}", "operation": "create", "Invoice": invoice(DocNumber=f"N{i % 9}")} for i in range(10)
    ]
    items.append({"bId": "q", "Query": "select * from Term"})
    items.append({"bId": "w", "operation": "create", "Gadget": {}})
    answer = books.post("batch", {"BatchItemRequest": items})
    assert answer.status_code == 200
    replies = {item["bId"]: item for item in answer.json()["BatchItemResponse"]}
    assert len(replies) == 12
    assert replies["c9"]["Fault"]["Error"][0]["code"] == "6140"
    assert replies["w"]["Fault"]["Error"][0]["code"] == "2010"
    assert len(replies["q"]["QueryResponse"]["Term"]) == 4
    orders = set()
    for _ in range(5):
        queries = [{"bId": str(i), "Query": "select * from Term"} for i in range(29)]
        orders.add(tuple(item["bId"] for item in books.post("batch", {"BatchItemRequest": queries}).json()["BatchItemResponse"]))
    assert len(orders) > 1


def test_batch_updates_voids_and_deletes(books: Books) -> None:
    first, second = books.make("Invoice", invoice(DocNumber="A")), books.make("Invoice", invoice())
    paid = books.make("Payment", payment(5))
    items = [
        {"bId": "1", "operation": "update", "Invoice": {**first, "sparse": True, "PrivateNote": "x"}},
        {"bId": "2", "operation": "delete", "Invoice": second},
        {
            "bId": "3",
            "operation": "update",
            "optionsData": "void",
            "Payment": {"Id": paid["Id"], "SyncToken": "0", "sparse": True},
        },
        {"bId": "4", "operation": "create", "optionsData": "allowduplicatedocnum", "Invoice": invoice(DocNumber="A")},
        {"bId": "5", "Invoice": invoice(DocNumber="B")},
    ]
    replies = {item["bId"]: item for item in books.post("batch", {"BatchItemRequest": items}).json()["BatchItemResponse"]}
    assert not [item for item in replies.values() if "Fault" in item]
    assert replies["2"]["Invoice"]["status"] == "Deleted"
    assert replies["3"]["Payment"]["TotalAmt"] == 0


def test_batch_limits_of_size_and_ids(books: Books) -> None:
    def send(count: int, b_id: str, **params: str) -> str:
        items = [{"bId": b_id if count == 1 else f"{b_id}{i}", "Query": "select * from Term"} for i in range(count)]
        return code_of(books.post("batch", {"BatchItemRequest": items}, **params))

    assert send(30, "b") == ""
    assert send(31, "b") == "1040"
    assert send(1, "x" * 36) == ""
    assert send(1, "x" * 10, requestid="r" * 36) == ""
    assert send(1, "x" * 11, requestid="r2") == "2130"
    assert send(1, "x", requestid="r" * 37) == "2130"


def test_requestid_replays_the_first_answer_and_writes_once(books: Books) -> None:
    first = books.post("invoice", invoice(), requestid="r" * 50)
    again = books.post("invoice", invoice(line(7)), requestid="r" * 50)
    assert again.content == first.content
    assert books.query("select count(*) from Invoice") == {"totalCount": 1}
    doc = first.json()["Invoice"]
    books.post("invoice", {"Id": doc["Id"], "SyncToken": "0"}, operation="delete")
    assert books.post("invoice", invoice(), requestid="r" * 50).content == first.content
    assert code_of(books.post("invoice", invoice(), requestid="r" * 51)) == "2130"
    other = Books(books.standin)
    assert other.post("invoice", invoice(), requestid="r" * 50).content != first.content
    batch = {"BatchItemRequest": [{"bId": "1", "operation": "create", "Bill": bill()}]}
    one = books.post("batch", batch, requestid="b1")
    assert books.post("batch", batch, requestid="b1").content == one.content
    assert books.query("select count(*) from Bill") == {"totalCount": 1}


def test_requestid_modes(books: Books, standin: StandIn) -> None:
    bad, good = invoice(CustomerRef={"value": "777"}), invoice()
    assert code_of(books.post("invoice", bad, requestid="e1")) == "2500"
    assert code_of(books.post("invoice", good, requestid="e1")) == ""
    standin.control("POST", "modes", {"remember_errors": True})
    assert code_of(books.post("invoice", bad, requestid="e2")) == "2500"
    assert code_of(books.post("invoice", good, requestid="e2")) == "2500"
    standin.control("POST", "modes", {"requestid_seconds": 60})
    first = books.post("invoice", good, requestid="t1").json()["Invoice"]["Id"]
    standin.control("POST", "clock", {"advance": 61})
    assert books.post("invoice", good, requestid="t1").json()["Invoice"]["Id"] != first
    standin.control("POST", "modes", {"ignore_requestid": True})
    assert books.post("invoice", good, requestid="t1").json()["Invoice"]["Id"] != first
    standin.control("POST", "modes", {"ignore_requestid": False, "requestid_other_body": "refuse"})
    books.post("invoice", good, requestid="o1")
    assert code_of(books.post("invoice", bad, requestid="o1")) == "600"


def test_two_equal_requestids_at_the_same_time_both_pass_when_asked(books: Books, standin: StandIn) -> None:
    standin.control("POST", "faults", {"fault": "requestid_race", "window": 0.3, "match": {"realm": books.realm}})
    threads = [threading.Thread(target=books.post, args=("invoice", invoice()), kwargs={"requestid": "same"}) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert books.query("select count(*) from Invoice") == {"totalCount": 2}


def test_stale_reads_show_the_past_to_queries_only(books: Books, standin: StandIn) -> None:
    made = books.make("Invoice", invoice(DocNumber="S1"))
    standin.control("POST", "modes", {"stale_seconds": 30})
    books.make("Invoice", {"Id": made["Id"], "SyncToken": "0", "sparse": True, "PrivateNote": "new"})
    fresh = books.make("Invoice", invoice(DocNumber="S2"))
    assert books.query("select * from Invoice where DocNumber = 'S1'")["Invoice"][0]["SyncToken"] == "0"
    assert books.query("select * from Invoice where DocNumber = 'S2'") == {}
    assert books.get("Invoice", fresh["Id"])["DocNumber"] == "S2"
    standin.control("POST", "clock", {"advance": 31})
    assert books.query("select * from Invoice where DocNumber = 'S1'")["Invoice"][0]["SyncToken"] == "1"
