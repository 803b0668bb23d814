"""Fault injection, limits, metering: what goes wrong on request, and whether the write took effect."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from sandbox.qbo.control.injection import PROFILES

from .bodies import invoice
from .conftest import Books, StandIn, code_of, eventually


def rule(books: Books, **spec: Any) -> None:
    spec.setdefault("match", {}).setdefault("realm", books.realm)
    books.standin.control("POST", "faults", {"count": 1, **spec})


def count(books: Books) -> int:
    total: int = books.query("select count(*) from Invoice")["totalCount"]
    return total


@pytest.mark.parametrize(
    ("fault", "committed"),
    [("commit_then_reset", 1), ("commit_then_timeout", 1), ("drop_before_commit", 0), ("reset", 0)],
)
def test_cut_connections(books: Books, fault: str, committed: int) -> None:
    spec = {"hold": 0.05} if fault in ("commit_then_timeout", "drop_before_commit") else {}
    rule(books, fault=fault, **spec)
    with pytest.raises(httpx.TransportError):
        books.post("invoice", invoice(), requestid="r1")
    assert count(books) == committed
    assert books.post("invoice", invoice(), requestid="r1").status_code == 200
    assert count(books) == 1


def test_hold_longer_than_the_client_waits(books: Books) -> None:
    rule(books, fault="commit_then_timeout", hold=3600)
    with pytest.raises(httpx.ReadTimeout):
        books.call("POST", "invoice", json=invoice(), timeout=0.3)
    eventually(lambda: count(books) == 1, "it was not committed")


def test_gateway_answers(books: Books) -> None:
    rule(books, fault="commit_then_504")
    answer = books.post("invoice", invoice())
    assert (answer.status_code, 'code="6002"' in answer.text) == (504, True)
    assert count(books) == 1
    rule(books, fault="gateway_timeout")
    assert books.post("invoice", invoice()).status_code == 504
    rule(books, fault="html_503")
    assert "nginx" in books.post("invoice", invoice()).text
    rule(books, fault="server_error")
    answer = books.post("invoice", invoice())
    assert (answer.status_code, code_of(answer)) == (500, "10000")
    rule(books, fault="unauthorized")
    assert books.post("invoice", invoice()).status_code == 401
    assert count(books) == 1
    rule(books, fault="server_error", commit=True)
    assert books.post("invoice", invoice()).status_code == 500
    assert count(books) == 2


def test_late_delivery_takes_effect_after_the_sender_gave_up(books: Books) -> None:
    rule(books, fault="late_delivery", delay=3600)
    with pytest.raises(httpx.TransportError):
        books.post("invoice", invoice())
    eventually(lambda: books.standin.held() == 1, "it is not held")
    assert count(books) == 0
    assert books.standin.control("POST", "release") == {"released": 1}
    eventually(lambda: count(books) == 1, "the late request never came")


def test_late_delivery_comes_by_itself(books: Books) -> None:
    rule(books, fault="late_delivery", delay=0.1)
    with pytest.raises(httpx.TransportError):
        books.post("invoice", invoice())
    eventually(lambda: count(books) == 1, "the late request never came")


def test_batch_cut_half_way_remembers_nothing(books: Books) -> None:
    items = [{"bId": str(i), "operation": "create", "Invoice": invoice(DocNumber=f"C{i}")} for i in range(10)]
    rule(books, fault="batch_cut", after=4)
    with pytest.raises(httpx.TransportError):
        books.post("batch", {"BatchItemRequest": items}, requestid="b")
    assert count(books) == 4
    replies = books.post("batch", {"BatchItemRequest": items}, requestid="b").json()["BatchItemResponse"]
    assert sum("Fault" in item for item in replies) == 4
    assert count(books) == 10


def test_one_batch_item_is_throttled(books: Books) -> None:
    rule(books, fault="item_throttle", match={"entity": "Invoice", "body": "C3"})
    items = [{"bId": str(i), "operation": "create", "Invoice": invoice(DocNumber=f"C{i}")} for i in range(5)]
    replies = {item["bId"]: item for item in books.post("batch", {"BatchItemRequest": items}).json()["BatchItemResponse"]}
    assert [b_id for b_id, item in replies.items() if "Fault" in item] == ["3"]
    assert replies["3"]["Fault"]["Error"][0]["code"] == "3001"
    assert count(books) == 4


def test_latency_skip_match_and_profile(books: Books, standin: StandIn) -> None:
    rule(
        books,
        fault="latency",
        distribution="uniform",
        low=0.2,
        high=0.25,
        skip=1,
        match={"operation": "create", "entity": "Invoice"},
    )
    since = standin.control("GET", "requests")["last"]
    for _ in range(3):
        books.post("invoice", invoice())
    log = standin.control("GET", "requests", since=since, realm=books.realm)["requests"]
    assert [entry["faults"] for entry in log] == [[], ["latency"], []]
    assert log[1]["seconds"] >= 0.2
    rule(books, fault="latency", distribution="lognormal", median=0.01, sigma=0.1)
    books.post("invoice", invoice())
    for profile in PROFILES:
        assert standin.control("POST", "faults", {"profile": profile, "seed": 7, "replace": True})["rules"]
    standin.control("DELETE", "faults")
    assert "unknown fault" in standin.control("POST", "faults", {"fault": "meteor"}, status=400)["error"]
    assert "unknown argument" in standin.control("POST", "faults", {"fault": "reset", "hold": 1}, status=400)["error"]
    assert "unknown match" in standin.control("POST", "faults", {"fault": "reset", "match": {"colour": 1}}, status=400)["error"]


def test_the_request_log_tells_what_took_effect(books: Books, standin: StandIn) -> None:
    since = standin.control("GET", "requests")["last"]
    rule(books, fault="commit_then_504")
    books.post("invoice", invoice(), requestid="L1")
    books.post("invoice", invoice(), requestid="L1")
    books.post("invoice", {"Colour": 1})
    rows = standin.control("GET", "requests", since=since, realm=books.realm)["requests"]
    assert [(r["status"], r["committed"], r["replayed"], r["codes"]) for r in rows] == [
        (504, True, False, ["6002"]),
        (200, False, True, []),
        (400, False, False, ["2010"]),
    ]
    assert standin.control("GET", "counters")["creates_by_requestid"]["L1"] == 1


def test_subscription_ended_is_a_fault_with_status_200(books: Books) -> None:
    books.set(subscription_ended=True)
    answer = books.post("invoice", invoice())
    assert (answer.status_code, code_of(answer)) == (200, "6190")
    books.set(subscription_ended=False)
    assert code_of(books.post("invoice", invoice())) == ""


@pytest.fixture
def limited() -> Any:
    running = StandIn(limits=True)
    yield running
    running.stop()


def until(books: Books, status: int) -> httpx.Response:
    """Read until an answer has the status."""
    deadline = time.monotonic() + 60
    while (answer := books.call("GET", "companyinfo/1")).status_code != status:
        assert time.monotonic() < deadline, f"no answer {status}"
    return answer


def test_limits_on_real_time(limited: StandIn) -> None:
    books = Books(limited)
    answers: list[httpx.Response] = []
    deadline = time.monotonic() + 60
    limited.control("POST", "limits", {"per_second": 5})
    while not answers or answers[-1].status_code != 429:
        assert time.monotonic() < deadline, "never throttled"
        answers.append(books.call("GET", "companyinfo/1"))
    assert len(answers) > 5
    assert code_of(answers[-1]) == "3001"
    assert "retry-after" not in answers[-1].headers
    limited.control("POST", "limits", {"per_second": 1, "format": "xml", "retry_after": 7})
    refused = until(books, 429)
    assert (refused.headers["retry-after"], 'code="3001"' in refused.text) == ("7", True)
    until(books, 200)  # a refused request takes nothing, so the bucket fills while we ask
    limited.control("POST", "limits", {"per_second": 1000, "batch_per_minute_app": 3, "format": "json"})
    body = {"BatchItemRequest": [{"bId": "1", "Query": "select * from Term"}]}
    assert [books.post("batch", body).status_code for _ in range(4)] == [200, 200, 200, 429]
    limited.control("POST", "limits", {"per_minute": 2, "batch_per_minute_app": 40})
    assert [books.call("GET", "companyinfo/1").status_code for _ in range(3)] == [200, 200, 429]
    other = Books(limited)
    assert other.call("GET", "companyinfo/1").status_code == 200


def test_metering_counts_reads_and_blocks_for_the_month(limited: StandIn) -> None:
    limited.control("POST", "limits", {"enabled": False})
    books = Books(limited)
    before = limited.control("GET", "counters")
    books.make("Invoice", invoice())
    books.query("select * from Term")
    items = [
        {"bId": "1", "Query": "select * from Term"},
        {"bId": "2", "Query": "select * from Term"},
        {"bId": "3", "operation": "create", "Invoice": invoice()},
    ]
    books.post("batch", {"BatchItemRequest": items})
    after = limited.control("GET", "counters")
    assert after["metered_reads"] - before["metered_reads"] == 3
    assert after["core_calls"] - before["core_calls"] == 2
    limited.control("POST", "limits", {"metered_block": True, "metered_cap": after["metered_reads"]})
    assert books.call("GET", "companyinfo/1").status_code == 429
    assert books.post("invoice", invoice()).status_code == 200
    limited.control("POST", "clock", {"advance": 32 * 86_400})
    limited.control("POST", "tokens", {"access_seconds": 3600})
    books.headers["authorization"] = (
        "Bearer " + limited.control("POST", "tokens", {"new": True, "realm": books.realm})["access_token"]
    )
    assert books.call("GET", "companyinfo/1").status_code == 200


def test_an_unknown_code_is_refused_by_the_control_api(books: Books) -> None:
    for fault in ("fault", "item_fault"):
        spec = {"fault": fault, "code": "99999", "count": 1}
        refused = books.standin.control("POST", "faults", spec, status=400)
        assert "99999" in refused["error"]
    rule(books, fault="fault", code="99999", unlisted=True, message="Something new", detail="of Intuit's")
    answer = books.post("invoice", invoice())
    assert (answer.status_code, code_of(answer)) == (400, "99999")
    assert "Something new" in answer.text


def test_a_firewall_answers_as_html_without_anything_done(books: Books) -> None:
    rule(books, fault="html", status=404, text="Not Found")
    answer = books.post("invoice", invoice())
    assert (answer.status_code, answer.headers["content-type"], count(books)) == (404, "text/html", 0)
    rule(books, fault="html", commit=True)
    assert books.post("invoice", invoice()).status_code == 403
    assert count(books) == 1


def test_long_addresses_are_refused_where_that_is_asked_for(books: Books) -> None:
    names = ", ".join(f"'{number:030}'" for number in range(100))
    statement = f"select * from Customer where DisplayName in ({names})"
    assert books.call("GET", "query", params={"query": statement}).status_code == 200
    books.standin.control("POST", "modes", {"longest_address": 2000})
    try:
        refused = books.call("GET", "query", params={"query": statement})
        assert (refused.status_code, "<html>" in refused.text) == (414, True)
        posted = books.call("POST", "query", content=statement, headers={"content-type": "application/text"})
        assert posted.status_code == 200
    finally:
        books.standin.control("POST", "modes", {"longest_address": 0})


def test_a_refused_read_is_metered(books: Books) -> None:
    def metered() -> int:
        return int(books.standin.control("GET", "counters")["metered_reads"])

    before = metered()
    rule(books, fault="fault", code="4000")
    assert books.call("GET", "query", params={"query": "select * from Term"}).status_code == 400
    assert metered() - before == 1
    rule(books, fault="server_error")
    assert books.call("GET", "companyinfo/1").status_code == 500
    assert metered() - before == 2
    rule(books, fault="html")  # a firewall: Intuit never saw it
    assert books.call("GET", "companyinfo/1").status_code == 403
    rule(books, fault="unauthorized")
    assert books.call("GET", "companyinfo/1").status_code == 401
    assert metered() - before == 2
    rule(books, fault="fault", code="6000")
    assert books.post("invoice", invoice()).status_code == 400
    assert metered() - before == 2
