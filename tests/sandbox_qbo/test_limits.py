"""Each limit by its number, on frozen time, and once on real time: who is refused, who is not, and in which form."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from .bodies import invoice
from .conftest import Books, StandIn, code_of, eventually

WIDE = {"per_second": 1_000_000, "per_minute": 1_000_000, "batch_per_minute_app": 1_000_000, "batch_per_minute_realm": 1_000_000}
BATCH = {"BatchItemRequest": [{"bId": "1", "Query": "select * from Term"}]}


@pytest.fixture
def limited() -> Iterator[StandIn]:
    running = StandIn(limits=True)
    yield running
    assert running.app.world.internal_errors == 0
    running.stop()


def second_app(books: Books) -> Books:
    """The same company through another app."""
    other = Books.__new__(Books)
    other.standin = books.standin
    other.tokens = books.standin.control("POST", "clients", {"realm": books.realm})
    other.realm = books.realm
    other.headers = {**books.headers, "authorization": f"Bearer {other.tokens['access_token']}"}
    return other


def only(limited: StandIn, **limits: Any) -> None:
    """All limits wide, but those named; their time stands still."""
    limited.control("POST", "limits", {**WIDE, **limits, "frozen": True})


def later(limited: StandIn, seconds: float) -> None:
    """The time that limits live on moves."""
    limited.control("POST", "limits", {"advance": seconds})


def read(books: Books) -> httpx.Response:
    return books.call("GET", "companyinfo/1")


def until_refused(call: Callable[[], httpx.Response], at_most: int) -> int:
    """How many passed before the first 429."""
    for passed in range(at_most):
        answer = call()
        if answer.status_code == 429:
            assert code_of(answer) == "3001"
            return passed
        assert answer.status_code == 200, answer.text
    raise AssertionError(f"{at_most} passed")


def test_defaults_are_the_references(limited: StandIn) -> None:
    shown = limited.control("GET", "limits")
    wanted = {
        "enabled": True,
        "per_minute": 500,
        "per_second": 10,
        "in_flight": 10,
        "batch_per_minute_app": 40,
        "batch_per_minute_realm": 120,
        "mails_per_day": 40,
        "retry_after": None,
    }
    assert {name: shown[name] for name in wanted} == wanted


def test_the_eleventh_request_in_flight_is_refused_while_ten_are_held(limited: StandIn) -> None:
    books, stranger = Books(limited), Books(limited)
    other_app = second_app(books)
    only(limited)
    limited.control(
        "POST", "faults", {"fault": "latency", "seconds": 3600, "count": 10, "match": {"realm": books.realm, "operation": "get"}}
    )

    def flying() -> int:
        return int(limited.control("GET", "limits")["usage"][books.realm]["in_flight"])

    with ThreadPoolExecutor(10) as pool:
        held = [pool.submit(read, books) for _ in range(10)]
        eventually(lambda: flying() == 10, "the ten never were in flight together")
        refused = read(books)
        assert (refused.status_code, code_of(refused)) == (429, "3001")
        assert books.post("invoice", invoice()).status_code == 429, "a write counts like a read"
        assert read(stranger).status_code == 200, "another company is not concerned"
        assert read(other_app).status_code == 200, "another app of the same company is not concerned"
        assert flying() == 10
        assert limited.control("POST", "release") == {"released": 10}
        assert [one.result().status_code for one in held] == [200] * 10
    assert flying() == 0
    assert read(books).status_code == 200


def test_a_request_whose_client_went_away_still_counts_until_it_is_done(limited: StandIn) -> None:
    books = Books(limited)
    only(limited, in_flight=1)
    limited.control("POST", "faults", {"fault": "latency", "seconds": 3600, "count": 1, "match": {"realm": books.realm}})
    with pytest.raises(httpx.ReadTimeout):
        books.call("GET", "companyinfo/1", timeout=0.2)
    eventually(lambda: limited.held() == 1, "the request never came")
    assert read(books).status_code == 429
    limited.control("POST", "release")
    eventually(lambda: read(books).status_code == 200, "the place was never given back")


@pytest.mark.parametrize("fault", ["commit_then_reset", "reset", "commit_then_504", "server_error", "fault"])
def test_a_failed_request_gives_its_place_back(limited: StandIn, fault: str) -> None:
    books = Books(limited)
    only(limited, in_flight=1)
    limited.control("POST", "faults", {"fault": fault, "count": 3})
    for _ in range(3):
        try:
            assert read(books).status_code != 429
        except httpx.TransportError:
            continue
    assert read(books).status_code == 200


def test_five_hundred_a_minute_for_a_company_over_all_its_apps(limited: StandIn) -> None:
    books, stranger = Books(limited), Books(limited)
    other_app = second_app(books)
    only(limited, per_minute=500, in_flight=1000)
    turn = iter(range(10_000))
    assert until_refused(lambda: read((books, other_app)[next(turn) % 2]), 2000) == 500
    assert read(stranger).status_code == 200
    assert limited.control("GET", "limits")["usage"][books.realm]["requests_last_minute"] == 500
    later(limited, 6)
    assert until_refused(lambda: read(books), 2000) == 50, "it refills evenly"


def test_ten_a_second_for_each_app_of_a_company(limited: StandIn) -> None:
    books, stranger = Books(limited), Books(limited)
    other_app = second_app(books)
    only(limited, per_second=10)
    assert until_refused(lambda: read(books), 200) == 10
    assert read(other_app).status_code == 200
    assert read(stranger).status_code == 200
    later(limited, 1)
    assert until_refused(lambda: read(books), 200) == 10, "after a second of rest there is room for ten again"


def test_forty_batches_a_minute_for_an_app_and_a_hundred_and_twenty_for_all(limited: StandIn) -> None:
    books, stranger = Books(limited), Books(limited)
    apps = [books, *(second_app(books) for _ in range(4))]
    only(limited, batch_per_minute_app=40, batch_per_minute_realm=120)
    counts = [until_refused(lambda app=app: app.post("batch", BATCH), 400) for app in apps]
    assert counts == [40, 40, 40, 0, 0], "the fourth app finds the company's 120 used up"
    assert read(apps[0]).status_code == 200, "single calls are not concerned"
    assert stranger.post("batch", BATCH).status_code == 200


def test_a_refused_request_takes_nothing_from_any_bucket(limited: StandIn) -> None:
    books = Books(limited)
    only(limited, batch_per_minute_app=1, per_minute=5)
    assert books.post("batch", BATCH).status_code == 200
    for _ in range(20):
        assert books.post("batch", BATCH).status_code == 429
    assert [read(books).status_code for _ in range(4)] == [200] * 4
    assert read(books).status_code == 429


def test_a_sliding_window_lets_no_more_through_in_any_minute(limited: StandIn) -> None:
    books = Books(limited)
    only(limited, per_second=5, counting="window")
    assert [read(books).status_code for _ in range(2)] == [200] * 2
    later(limited, 0.5)
    assert until_refused(lambda: read(books), 200) == 3
    later(limited, 0.4375)
    assert read(books).status_code == 429, "six would have passed within a second"
    later(limited, 0.0625)
    assert until_refused(lambda: read(books), 200) == 2, "the first two are a second old"
    later(limited, 1)
    assert until_refused(lambda: read(books), 200) == 5


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json", "json"),
        ("application/xml", "xml"),
        ("text/xml, application/xml;q=0.9", "xml"),
        ("*/*", "json"),
        ("application/json, text/plain, */*", "json"),
        ("", "json"),
    ],
)
def test_429_comes_in_the_form_that_was_asked_for(limited: StandIn, accept: str, kind: str) -> None:
    books = Books(limited)
    limited.control("POST", "limits", {"per_second": 0})
    answer = books.call("GET", "companyinfo/1", headers={"accept": accept})
    assert answer.status_code == 429
    assert answer.headers["content-type"].startswith(f"application/{kind}")
    assert "retry-after" not in answer.headers
    text = "message=ThrottleExceeded; errorCode=003001; statusCode=429"
    if kind == "json":
        fault = answer.json()["Fault"]
        assert (fault["type"], fault["Error"][0]["code"], fault["Error"][0]["Message"]) == ("SERVICE", "3001", text)
    else:
        assert '<Fault type="SERVICE"><Error code="3001">' in answer.text
        assert text in answer.text
        assert "The request limit was reached. Try again later" in answer.text


def test_429_as_xml_although_json_was_asked_for(limited: StandIn) -> None:
    books = Books(limited)
    limited.control("POST", "limits", {"per_second": 0, "format": "xml", "retry_after": 60})
    answer = read(books)
    assert answer.headers["content-type"].startswith("application/xml")
    assert answer.headers["retry-after"] == "60"


def test_a_throttled_write_did_nothing_and_its_requestid_is_free(limited: StandIn) -> None:
    books = Books(limited)
    only(limited, per_second=1)
    assert read(books).status_code == 200
    refused = books.post("invoice", invoice(DocNumber="T1"), requestid="t1")
    assert refused.status_code == 429
    only(limited)
    assert books.query("select count(*) from Invoice") == {"totalCount": 0}
    assert books.post("invoice", invoice(DocNumber="T1"), requestid="t1").status_code == 200
    assert books.query("select count(*) from Invoice") == {"totalCount": 1}


def test_limits_are_checked_after_the_token(limited: StandIn) -> None:
    books = Books(limited)
    only(limited, per_second=0)
    assert books.call("GET", "companyinfo/1", headers={"authorization": "Bearer nonsense-nonsense-nonsense"}).status_code == 401
    assert read(books).status_code == 429


def test_forty_mails_a_day(limited: StandIn) -> None:
    books = Books(limited)
    only(limited)
    made = books.make("Invoice", invoice(BillEmail={"Address": "a@example.com"}))
    passed = 0
    while passed < 50:
        answer = books.call("POST", f"invoice/{made['Id']}/send", headers={"content-type": "application/octet-stream"})
        if answer.status_code != 200:
            break
        passed += 1
    assert passed == 40
    limited.control("POST", "clock", {"advance": 86_400})
    books.headers["authorization"] = (
        "Bearer " + limited.control("POST", "tokens", {"new": True, "realm": books.realm})["access_token"]
    )
    assert books.call("POST", f"invoice/{made['Id']}/send").status_code == 200


def test_many_threads_at_the_default_limits_never_pass_more_than_they_may(limited: StandIn) -> None:
    books = Books(limited)
    enough, passed, lock = threading.Event(), [0], threading.Lock()

    def hammer() -> None:
        with httpx.Client(base_url=limited.greeting["base_url"], headers=books.headers, trust_env=False) as http:
            while not enough.is_set():
                status = http.get(f"/v3/company/{books.realm}/companyinfo/1").status_code
                assert status in (200, 429)
                with lock:
                    passed[0] += status == 200

    started = time.monotonic()
    with ThreadPoolExecutor(12) as pool:
        jobs = [pool.submit(hammer) for _ in range(12)]
        try:
            refilled = "the bucket did not refill, or nobody was refused"
            eventually(lambda: passed[0] >= 20 and limited.control("GET", "counters")["throttled"] > 10, refilled)
        finally:
            enough.set()
        for job in jobs:
            job.result()
    seconds = time.monotonic() - started
    assert passed[0] <= 11 + seconds * 10
    assert limited.control("GET", "limits")["usage"][books.realm]["in_flight"] == 0


def test_another_app_is_unknown_to_the_first_ones_tokens(limited: StandIn) -> None:
    books = Books(limited)
    other = second_app(books)
    form = {"grant_type": "refresh_token", "refresh_token": books.tokens["refresh_token"]}
    auth = (other.tokens["client_id"], other.tokens["client_secret"])
    answer = limited.http.post("/oauth2/v1/tokens/bearer", data=form, auth=auth)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert len(limited.control("GET", "clients")["clients"]) == 2
    assert "unknown client" in limited.control("POST", "tokens", {"new": True, "client_id": "nobody"}, status=400)["error"]
