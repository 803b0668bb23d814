"""Webhooks: formats, signature over the raw body, several realms, retries on the clock, head-of-line blocking."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sandbox.qbo.control.webhooks import SCHEDULE, signature

from .bodies import invoice
from .conftest import Books, StandIn, eventually


class Receiver:
    """An endpoint that keeps what it got and answers what the test wants."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        self.answer = threading.Event()  # cleared: requests are taken, but not answered
        self.answer.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
                outer.answer.wait()
                self.send_response(outer.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def wait(self, done: Callable[[], bool]) -> None:
        eventually(done, f"not seen; got {self.got}")

    def stop(self) -> None:
        self.answer.set()
        self.server.shutdown()
        self.server.server_close()

    def events(self) -> list[dict[str, Any]]:
        return [event for _, body in self.got for event in json.loads(body)]


@pytest.fixture
def own() -> Iterator[StandIn]:
    running = StandIn(limits=False)
    yield running
    assert running.app.world.internal_errors == 0
    running.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


def test_cloud_events_echo_own_writes_and_are_signed(own: StandIn, receiver: Receiver) -> None:
    books = Books(own)
    own.control("POST", "webhooks", {"url": receiver.url})
    made = books.make("Invoice", invoice())
    books.make("Invoice", {"Id": made["Id"], "SyncToken": "0"}, operation="void")
    books.person("merge", "Customer", "2", into="3")
    receiver.wait(lambda: len(receiver.events()) >= 3)
    headers, body = receiver.got[0]
    assert headers["intuit-signature"] == signature(own.greeting["webhook_verifier_token"], body)
    events = receiver.events()
    assert [e["type"] for e in events] == ["qbo.invoice.created.v1", "qbo.invoice.voided.v1", "qbo.customer.merged.v1"]
    assert (events[0]["specversion"], events[0]["intuitaccountid"], events[0]["intuitentityid"]) == (
        "1.0",
        books.realm,
        made["Id"],
    )
    assert events[2]["data"] == {"deletedid": "2"}
    assert len({e["id"] for e in events}) == 3


def test_classic_form_with_several_realms_in_one_delivery(own: StandIn, receiver: Receiver) -> None:
    first, second = Books(own), Books(own)
    own.control("POST", "webhooks", {"url": receiver.url, "format": "classic", "id": "s", "paused": True})
    first.make("Invoice", invoice())
    second.make("Customer", {"DisplayName": "x"})
    own.control("POST", "webhooks", {"id": "s", "paused": False})
    assert own.deliveries()["s"]["delivered"] == 2
    assert len(receiver.got) == 1
    notifications = json.loads(receiver.got[0][1])["eventNotifications"]
    assert {n["realmId"] for n in notifications} == {first.realm, second.realm}
    entity = notifications[0]["dataChangeEvent"]["entities"][0]
    assert (entity["name"], entity["operation"], entity["lastUpdated"][-1]) == ("Invoice", "Create", "Z")


def test_retries_follow_the_schedule_and_hold_back_what_comes_later(own: StandIn, receiver: Receiver) -> None:
    books = Books(own)
    receiver.status = 503
    own.control("POST", "webhooks", {"url": receiver.url, "id": "s"})
    own.control("POST", "clock", {"frozen": True})
    first = books.make("Invoice", invoice())
    assert own.deliveries()["s"]["failed"] == 1
    second = books.make("Invoice", invoice())
    for number, wait in enumerate(SCHEDULE[:4], 2):
        own.control("POST", "clock", {"advance": wait - 1})
        own.deliveries()  # a delivery before its time would have come
        assert len(receiver.got) == number - 1
        if number == 5:
            receiver.status = 200
        own.control("POST", "clock", {"advance": 2})
        own.deliveries()
        assert len(receiver.got) == number + (number == 5)  # once acknowledged, the later one follows at once
    ids = [json.loads(body)[0]["intuitentityid"] for _, body in receiver.got]
    assert ids == [first["Id"]] * 5 + [second["Id"]]


def test_the_next_attempt_is_reckoned_from_the_beginning_of_this_one(own: StandIn, receiver: Receiver) -> None:
    books = Books(own)
    receiver.status = 503
    receiver.answer.clear()
    own.control("POST", "webhooks", {"url": receiver.url, "id": "s", "answer_seconds": 600})
    begun = own.control("POST", "clock", {"frozen": True})["now"]
    books.make("Invoice", invoice())
    receiver.wait(lambda: len(receiver.got) == 1)
    (shown,) = own.control("GET", "webhooks")["subscribers"]
    assert (shown["sending"], shown["idle"], shown["failed"]) == (True, False, 0), "taken, but not answered yet"
    own.control("POST", "clock", {"advance": 7})  # while the answer is awaited
    receiver.answer.set()
    shown = own.deliveries()["s"]
    assert (shown["failed"], shown["next_attempt"]) == (1, begun + SCHEDULE[0])


def test_events_gather_before_they_leave(own: StandIn, receiver: Receiver) -> None:
    books = Books(own)
    own.control("POST", "webhooks", {"url": receiver.url, "id": "gathers", "bundle_seconds": 3600})
    own.control("POST", "webhooks", {"url": receiver.url, "id": "at once", "bundle_seconds": 0})

    def shown() -> dict[str, Any]:
        return {s["id"]: s for s in own.control("GET", "webhooks")["subscribers"]}

    for number in (1, 2):
        books.make("Customer", {"DisplayName": f"g{number}"})
        receiver.wait(lambda n=number: shown()["at once"]["delivered"] == n)
    gathers = shown()["gathers"]
    assert (gathers["waiting"], gathers["sent"], gathers["sending"], gathers["idle"]) == (2, [], False, False)
    assert len(receiver.got) == 2


def test_duplicates_delay_and_realm_filter(own: StandIn, receiver: Receiver) -> None:
    books, other = Books(own), Books(own)
    own.control("POST", "clock", {"frozen": True})
    own.control("POST", "webhooks", {"url": receiver.url, "realms": [books.realm], "duplicate": 1, "delay": 60, "id": "s"})
    other.make("Invoice", invoice())
    books.make("Invoice", invoice())
    assert own.deliveries()["s"]["waiting"] == 1
    assert receiver.got == []
    own.control("POST", "clock", {"advance": 61})
    assert own.deliveries()["s"]["delivered"] == 1
    assert len(receiver.got) == 2
    assert receiver.got[0][1] == receiver.got[1][1]
    assert {event["intuitaccountid"] for event in receiver.events()} == {books.realm}


def test_reorder(own: StandIn, receiver: Receiver) -> None:
    books = Books(own)
    own.control("POST", "webhooks", {"url": receiver.url, "reorder": 1, "paused": True, "id": "s"})
    ids = [books.make("Customer", {"DisplayName": f"r{i}"})["Id"] for i in range(12)]
    own.control("POST", "webhooks", {"id": "s", "paused": False})
    receiver.wait(lambda: len(receiver.events()) == 12)
    seen = [event["intuitentityid"] for event in receiver.events()]
    assert sorted(seen) == sorted(ids)
    assert seen != ids
