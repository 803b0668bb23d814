"""The shipped fault profiles under load, state kept and put back under load, token trouble, and webhooks on the clock."""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sandbox.qbo.control.injection import PROFILES
from sandbox.qbo.control.webhooks import SCHEDULE

from .bodies import bill, invoice, payment
from .conftest import Books, StandIn, code_of, eventually
from .test_webhooks import Receiver

REPO = Path(__file__).parents[2]


@pytest.fixture
def own() -> Iterator[StandIn]:
    running = StandIn(limits=False)
    yield running
    assert running.app.world.internal_errors == 0
    assert not any(running.app.world.invariants().values())
    running.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.stop()


class Client:
    """Asks at random and repeats each write under its requestid until it has an answer of the API itself."""

    def __init__(self, books: Books, seed: int) -> None:
        self.books, self.random, self.seed = books, random.Random(seed), seed
        self.http = httpx.Client(base_url=books.standin.greeting["base_url"], headers=books.headers, timeout=120, trust_env=False)
        self.made: list[str] = []
        self.troubles = 0

    def send(self, method: str, path: str, **how: Any) -> httpx.Response:
        for _ in range(40):
            try:
                answer = self.http.request(method, f"/v3/company/{self.books.realm}/{path}", **how)
            except httpx.TransportError:
                self.troubles += 1
                continue
            if answer.status_code in (200, 400):
                return answer
            assert answer.status_code in (401, 429, 500, 503, 504), answer.text
            self.troubles += 1
        raise AssertionError("forty tries were not enough")

    def step(self, number: int) -> None:
        request_id = {"requestid": f"{self.seed}-{number}"}
        choice = self.random.random()
        if choice < 0.5:
            kind, body = self.random.choice([("invoice", invoice), ("bill", bill)])
            answer = self.send("POST", kind, json=body(DocNumber=f"P{self.seed}-{number}"), params=request_id)
            assert answer.status_code == 200, answer.text
            if kind == "invoice":
                self.made.append(answer.json()["Invoice"]["Id"])
        elif choice < 0.6 and self.made:
            body = payment(30, ("Invoice", self.random.choice(self.made), 30))
            assert self.send("POST", "payment", json=body, params=request_id).status_code in (200, 400)  # paid up: 400
        elif choice < 0.7:
            items = [
                {"bId": str(i), "operation": "create", "Invoice": invoice(DocNumber=f"P{self.seed}-{number}-{i}")}
                for i in range(5)
            ]
            assert self.send("POST", "batch", json={"BatchItemRequest": items}, params=request_id).status_code == 200
        elif choice < 0.75 and self.made:
            doc = self.send("GET", f"invoice/{self.made[-1]}").json()["Invoice"]
            body = {"Id": doc["Id"], "SyncToken": doc["SyncToken"]}
            self.send("POST", "invoice", json=body, params={**request_id, "operation": "void"})
        elif choice < 0.9:
            assert self.send("GET", "query", params={"query": "select * from Invoice maxresults 5"}).status_code == 200
        else:
            assert self.send("GET", "reports/TrialBalance").status_code == 200


@pytest.mark.parametrize("scale", [1, 6])
@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_three_hundred_requests_under_a_profile_leave_the_books_whole(own: StandIn, profile: str, scale: int) -> None:
    books = Books(own)
    own.app.world.config.seconds_scale = 0.02  # the profile's waits, not its faults, are shortened
    rules = own.control("POST", "faults", {"profile": profile, "seed": 11, "scale": scale})["rules"]
    assert len(rules) == len(PROFILES[profile])
    clients = [Client(books, seed) for seed in range(6)]

    def run(client: Client) -> None:
        for number in range(50):
            client.step(number)

    with ThreadPoolExecutor(6) as pool:
        for job in [pool.submit(run, client) for client in clients]:
            job.result()
    eventually(lambda: not own.app.late, "late deliveries never ended")
    fired = {rule["fault"] for rule in own.control("GET", "faults")["rules"] if rule["fired"]}
    own.control("DELETE", "faults")
    assert "latency" in fired
    if profile == "nasty":
        assert len(fired) >= (4 if scale == 1 else 9), fired
        assert sum(client.troubles for client in clients) > 3
    found = own.control("GET", "invariants")
    assert found["ok"], found
    counters = own.control("GET", "counters")
    assert counters["internal_errors"] == 0
    assert set(counters["creates_by_requestid"].values()) == {1}, "a requestid made two documents"
    made = [doc_id for client in clients for doc_id in client.made]
    assert len(made) == len(set(made)) > 30
    numbers = [doc["DocNumber"] for doc in books.query("select * from Invoice maxresults 1000")["Invoice"]]
    assert len(numbers) == len(set(numbers)), "a document is there twice"


# ---------------------------------------------------------------------------------------------------- state under load


def test_snapshot_and_restore_under_load(own: StandIn, tmp_path: Path) -> None:
    books, stop, numbers = Books(own), threading.Event(), [0] * 4
    file = {"file": str(tmp_path / "state")}

    def write(seed: int) -> None:
        client = Client(books, seed)
        while not stop.is_set():
            answer = client.send("POST", "invoice", json=invoice(DocNumber=f"L{seed}-{numbers[seed]}"))
            assert answer.status_code == 200, answer.text
            numbers[seed] += 1
            paid = client.send("POST", "payment", json=payment(100, ("Invoice", answer.json()["Invoice"]["Id"], 100)))
            assert paid.status_code in (200, 400)  # 400: the restore took the invoice away in between

    def count() -> int:
        return int(books.query("select count(*) from Invoice")["totalCount"])

    def grown_beyond(number: int) -> int:
        eventually(lambda: count() > number, "nothing is written any more")
        return count()

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(write, seed) for seed in range(4)]
        try:
            for _ in range(4):
                before = grown_beyond(0)
                own.control("POST", "snapshot", file)
                grown = grown_beyond(before + 20)
                own.control("POST", "restore", file)
                restored = count()
                assert before <= restored
                assert grown > before
                assert own.control("GET", "invariants")["ok"]
            eventually(lambda: min(numbers) > 5 or any(job.done() for job in jobs), "one of them hardly writes")
        finally:
            stop.set()
        for job in jobs:
            job.result()
    assert min(numbers) > 5
    assert own.control("GET", "invariants")["ok"]


def test_restore_brings_back_settings_clock_and_requestids_in_another_process(own: StandIn, tmp_path: Path) -> None:
    books = Books(own)
    file = {"file": str(tmp_path / "state")}
    books.set(online_payments=True, name_detail=0, plan="essentials")
    made = books.post("invoice", invoice(DocNumber="K1"), requestid="k1")
    own.control("POST", "clock", {"frozen": True, "set": "2026-03-01T12:00:00Z"})
    own.control("POST", "snapshot", file)
    command = [sys.executable, "-m", "sandbox.qbo", "--port", "0", "--no-limits", "--state-file", file["file"]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            greeting = json.loads(process.stdout.readline())
            with httpx.Client(base_url=greeting["base_url"], headers=books.headers, trust_env=False) as http:
                assert http.get("/control/clock").json()["frozen"] is True
                http.post("/control/modes", json={"requestid_other_body": "refuse"}).raise_for_status()
                path = f"/v3/company/{books.realm}/invoice?requestid=k1"
                # the very bytes that were sent before: a fingerprint must not depend on the process
                again = http.post(path, content=made.request.content, headers={"content-type": "application/json"})
                assert (again.status_code, again.content) == (200, made.content)
                assert code_of(http.post(path, json=invoice(DocNumber="K2"))) == "600"
                company = http.post("/control/companies", json={"realm": books.realm}).json()
                assert company["plan"] == "essentials"
                assert http.get("/control/invariants").json()["ok"]
        finally:
            process.terminate()
            process.wait(60)


@pytest.mark.parametrize("keep", [True, False])
def test_reset_keeps_webhooks_only_if_told(own: StandIn, receiver: Receiver, keep: bool) -> None:
    books = Books(own)
    own.control("POST", "webhooks", {"url": receiver.url, "id": "s", "paused": True})
    books.make("Invoice", invoice())
    own.control("POST", "clients", {"client_id": "second"})
    own.control("POST", "faults", {"fault": "html_503"})
    own.control("POST", "modes", {"ignore_requestid": True})
    own.control("POST", "clock", {"advance": 1000})
    own.control("POST", "limits", {"per_second": 3})
    greeting = own.control("POST", "reset", {"keep_webhooks": keep})
    assert greeting == own.greeting
    shown = own.control("GET", "webhooks")["subscribers"]
    assert [(s["id"], s["url"], s["waiting"]) for s in shown] == ([("s", receiver.url, 0)] if keep else [])
    assert own.control("GET", "faults")["rules"] == []
    assert own.control("GET", "modes")["ignore_requestid"] is False
    assert own.control("GET", "clock")["offset"] == 0
    assert own.control("GET", "limits")["per_second"] == 10
    assert len(own.control("GET", "companies")) == 1
    assert own.control("GET", "clients")["clients"] == [greeting["client_id"]]
    url, headers = f"/v3/company/{greeting['realm_id']}", {"authorization": f"Bearer {greeting['access_token']}"}
    if keep:
        own.control("POST", "webhooks", {"id": "s", "paused": False})
    made = own.http.post(f"{url}/customer", json={"DisplayName": "after"}, headers=headers).json()["Customer"]
    if keep:
        own.deliveries()
        assert [event["intuitentityid"] for event in receiver.events()] == [made["Id"]], "only what came after the reset"
    else:
        assert own.deliveries() == {}
        other = Receiver()  # what goes to another endpoint shows that the sender is at work
        own.control("POST", "webhooks", {"url": other.url, "id": "other"})
        own.http.post(f"{url}/customer", json={"DisplayName": "later"}, headers=headers).raise_for_status()
        assert own.deliveries()["other"]["delivered"] == 1
        assert receiver.got == []
        other.stop()


def test_a_late_delivery_from_before_a_reset_does_not_come(own: StandIn) -> None:
    g = own.greeting
    url, headers = f"/v3/company/{g['realm_id']}", {"authorization": f"Bearer {g['access_token']}"}
    own.control("POST", "faults", {"fault": "late_delivery", "delay": 3600, "count": 1})
    with pytest.raises(httpx.TransportError):
        own.http.post(f"{url}/invoice", json=invoice(), headers=headers)
    own.control("POST", "reset")
    eventually(lambda: own.held() == 1, "nothing is held")
    assert own.control("POST", "release") == {"released": 1}
    eventually(lambda: not own.app.late, "the late delivery never ended")
    counted = own.http.get(f"{url}/query", params={"query": "select count(*) from Invoice"}, headers=headers).json()
    assert counted["QueryResponse"] == {"totalCount": 0}


# -------------------------------------------------------------------------------------------------------------- tokens


def refresh(own: StandIn, value: str) -> httpx.Response:
    form = {"grant_type": "refresh_token", "refresh_token": value}
    auth = (own.greeting["client_id"], own.greeting["client_secret"])
    return own.http.post("/oauth2/v1/tokens/bearer", data=form, auth=auth)


def test_slow_token_is_slow_once_and_not_used_up_by_other_requests(own: StandIn) -> None:
    books, value = Books(own), own.greeting["refresh_token"]
    own.control("POST", "faults", {"fault": "slow_token", "seconds": 0.6, "count": 1})
    assert books.call("GET", "companyinfo/1").status_code == 200
    assert own.control("GET", "faults")["rules"][0]["fired"] == 0
    started = time.monotonic()
    assert refresh(own, value).status_code == 200
    assert time.monotonic() - started >= 0.6
    assert refresh(own, value).status_code == 200
    log = own.control("GET", "requests", operation="token")["requests"]
    assert [entry["faults"] for entry in log] == [["slow_token"], []]
    own.control("POST", "tokens", {"slow_seconds": 0.4})
    started = time.monotonic()
    assert refresh(own, value).status_code == 200
    assert time.monotonic() - started >= 0.4


def test_a_client_that_gives_up_on_a_slow_token_endpoint_has_lost_the_rotated_value(own: StandIn) -> None:
    value = own.greeting["refresh_token"]
    own.control("POST", "clock", {"advance": 86_401})
    own.control("POST", "faults", {"fault": "slow_token", "seconds": 3600, "count": 1})
    form = httpx.Request("POST", own.greeting["token_url"], data={"grant_type": "refresh_token", "refresh_token": value})
    basic = next(httpx.BasicAuth(own.greeting["client_id"], own.greeting["client_secret"]).sync_auth_flow(form))
    client = http.client.HTTPConnection(form.url.host, form.url.port or 80)
    client.request("POST", form.url.path, form.content, dict(basic.headers))
    eventually(lambda: own.held() == 1, "the token endpoint is not slow")
    client.close()
    own.control("POST", "release")
    eventually(lambda: own.control("GET", "counters")["token_rotations"] == 1, "the refresh never took place")
    refused = refresh(own, value)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("reuse_revokes", [False, True])
def test_token_answer_lost_after_rotation(own: StandIn, reuse_revokes: bool) -> None:
    value = own.greeting["refresh_token"]
    own.control("POST", "tokens", {"reuse_revokes": reuse_revokes, "lose_answers": 1})
    own.control("POST", "clock", {"advance": 86_401})
    with pytest.raises(httpx.TransportError):
        refresh(own, value)
    assert own.control("GET", "counters")["token_rotations"] == 1
    assert refresh(own, value).json()["error"] == "invalid_grant"
    (grant,) = (g for g in own.control("GET", "tokens")["grants"] if g["realm_id"] == own.greeting["realm_id"])
    assert grant["revoked"] is reuse_revokes


def test_token_answer_lost_inside_the_window_costs_nothing(own: StandIn) -> None:
    value = own.greeting["refresh_token"]
    own.control("POST", "faults", {"fault": "token_answer_lost", "count": 1})
    with pytest.raises(httpx.TransportError):
        refresh(own, value)
    answer = refresh(own, value)
    assert (answer.status_code, answer.json()["refresh_token"]) == (200, value)


# ------------------------------------------------------------------------------------------------------------ webhooks


def test_the_whole_retry_schedule_and_then_every_six_hours(own: StandIn, receiver: Receiver) -> None:
    assert SCHEDULE == (10, 20, 30, 300, 1200, 7200, 14_400, 21_600)
    books = Books(own)
    receiver.status = 500
    own.control("POST", "clock", {"frozen": True})
    own.control("POST", "webhooks", {"url": receiver.url, "id": "s", "bundle_seconds": 0})
    books.make("Invoice", invoice())
    for number, wait in enumerate([*SCHEDULE, 21_600, 21_600], 2):
        assert own.deliveries()["s"]["next_attempt"] == own.control("GET", "clock")["now"] + wait
        own.control("POST", "clock", {"advance": wait - 0.5})
        assert own.deliveries()["s"]["attempts"] == number - 1, "it looked, and found nothing to do"
        own.control("POST", "clock", {"advance": 0.5})
        assert own.deliveries()["s"]["attempts"] == number
        assert len(receiver.got) == number
    bodies = {body for _, body in receiver.got}
    assert len(bodies) == 1, "each attempt carries the same bytes"
    receiver.status = 200
    own.control("POST", "clock", {"advance": 21_600})
    assert own.deliveries()["s"]["delivered"] == 1


def test_a_slow_or_dead_endpoint_holds_up_only_its_own_events(own: StandIn, receiver: Receiver) -> None:
    books = Books(own)
    own.control("POST", "webhooks", {"url": "http://127.0.0.1:9/dead", "id": "dead"})
    slow = Receiver()
    slow.answer.clear()
    try:
        own.control("POST", "webhooks", {"url": slow.url, "id": "slow", "answer_seconds": 600})
        own.control("POST", "webhooks", {"url": receiver.url, "id": "good"})

        def shown() -> dict[str, Any]:
            return {s["id"]: s for s in own.control("GET", "webhooks")["subscribers"]}

        for i in range(3):
            books.make("Customer", {"DisplayName": f"h{i}"})
            receiver.wait(lambda n=i + 1: shown()["good"]["delivered"] == n)
        receiver.wait(lambda: len(slow.got) == 1 and shown()["dead"]["failed"] >= 1)
        slow_one, dead = shown()["slow"], shown()["dead"]
        assert (slow_one["sending"], slow_one["delivered"], slow_one["failed"], slow_one["waiting"]) == (True, 0, 0, 3)
        assert (dead["delivered"], dead["waiting"]) == (0, 3)
        assert len(receiver.events()) == 3
    finally:
        slow.stop()


def test_no_answer_in_time_is_a_failure(own: StandIn, receiver: Receiver) -> None:
    books = Books(own)
    receiver.answer.clear()
    own.control("POST", "clock", {"frozen": True})
    own.control("POST", "webhooks", {"url": receiver.url, "id": "default", "paused": True})
    own.control("POST", "webhooks", {"url": receiver.url, "id": "s", "answer_seconds": 0.2})
    books.make("Invoice", invoice())
    shown = own.deliveries()
    assert shown["default"]["answer_seconds"] == 3, "as long as Intuit waits"
    assert (shown["s"]["delivered"], shown["s"]["failed"], shown["s"]["sent"][0]["status"]) == (0, 1, 0)


@pytest.mark.parametrize("status", [201, 204, 301, 400, 410, 500])
def test_only_200_acknowledges(own: StandIn, receiver: Receiver, status: int) -> None:
    books = Books(own)
    receiver.status = status
    own.control("POST", "clock", {"frozen": True})
    own.control("POST", "webhooks", {"url": receiver.url, "id": "s"})
    books.make("Invoice", invoice())
    shown = own.deliveries()["s"]
    assert (shown["failed"], shown["delivered"], shown["waiting"]) == (1, 0, 1)


def test_a_duplicate_carries_the_same_event_id_in_the_classic_form_the_same_entry(own: StandIn, receiver: Receiver) -> None:
    books = Books(own)
    own.control("POST", "webhooks", {"url": receiver.url, "duplicate": 1, "format": "classic", "id": "s"})
    books.make("Invoice", invoice())
    assert own.deliveries()["s"]["delivered"] == 1
    assert len(receiver.got) == 2
    assert receiver.got[0][1] == receiver.got[1][1]


def test_an_event_that_is_alone_is_overtaken_by_a_later_one(own: StandIn, receiver: Receiver) -> None:
    books = Books(own)
    own.control("POST", "webhooks", {"url": receiver.url, "reorder": 1, "bundle_seconds": 0, "max_events": 1})
    own.control("POST", "clock", {"frozen": True})
    ids = []
    for i in range(10):
        ids.append(books.make("Customer", {"DisplayName": f"o{i}"})["Id"])
        own.deliveries()
    assert receiver.got == [], "each was alone, and stays behind"
    for _ in range(20):
        own.control("POST", "clock", {"advance": 0.1})
        own.deliveries()
    assert len(receiver.events()) == 10
    seen = [event["intuitentityid"] for event in receiver.events()]
    assert sorted(seen) == sorted(ids)
    assert seen != ids


def test_max_events_splits_a_delivery_and_keeps_the_order(own: StandIn, receiver: Receiver) -> None:
    books = Books(own)
    own.control("POST", "webhooks", {"url": receiver.url, "id": "s", "max_events": 4, "paused": True})
    ids = [books.make("Customer", {"DisplayName": f"m{i}"})["Id"] for i in range(10)]
    own.control("POST", "webhooks", {"id": "s", "paused": False})
    receiver.wait(lambda: len(receiver.events()) == 10)
    assert [len(json.loads(body)) for _, body in receiver.got] == [4, 4, 2]
    assert [event["intuitentityid"] for event in receiver.events()] == ids


# ----------------------------------------------------------------------------------------------------------- benchmark


def test_the_benchmark_ends_with_its_four_figures() -> None:
    command = [sys.executable, "bench/sandbox_creates.py", "--documents", "1000", "--queries", "500"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    assert list(figures) == [
        "creates_per_second_per_core",
        "batch_items_per_second_per_core",
        "queries_per_second_per_core",
        "megabytes_at_100000_documents",
    ]
    assert all(isinstance(value, int) and value > 0 for value in figures.values()), figures
    assert "bench-sandbox:" in (REPO / "Makefile").read_text()
