"""One stand-in over real HTTP for the session, in a thread of its own; each test gets a company of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from sandbox.qbo.books.audit import invariants
from sandbox.qbo.company.store import broken_indexes
from sandbox.qbo.door.app import App
from sandbox.qbo.door.server import bind, build, server_for


def eventually(done: Callable[[], object], what: str, within: float = 60.0) -> None:
    """Wait for a condition; the bound only ends a test that would hang."""
    deadline = time.monotonic() + within
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


class StandIn:
    """A running stand-in."""

    def __init__(self, **how: Any) -> None:
        self.listener = bind("127.0.0.1", 0)
        self.app: App = build(self.listener, **how)
        self.server = server_for(self.app)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        eventually(lambda: self.server.started, "the stand-in did not start")
        self.greeting: dict[str, str] = self.app.world.greeting()
        self.http = httpx.Client(base_url=self.greeting["base_url"], timeout=60, trust_env=False)

    def _run(self) -> None:
        asyncio.run(self.server.serve(sockets=[self.listener]))

    def control(self, method: str, path: str, body: Any = None, status: int = 200, **params: Any) -> Any:
        answer = self.http.request(method, f"/control/{path}", json=body, params=params)
        assert answer.status_code == status, answer.text
        return answer.json()

    def deliveries(self) -> dict[str, Any]:
        """The subscribers by id, once the sender has looked at everything and each attempt is answered."""
        shown: dict[str, Any] = {}

        def idle() -> bool:
            shown.update(self.control("GET", "webhooks"))
            return bool(shown["idle"])

        eventually(idle, f"the sender is not idle: {shown}")
        return {subscriber["id"]: subscriber for subscriber in shown["subscribers"]}

    def held(self) -> int:
        """How many requests an injected fault holds."""
        return int(self.control("GET", "faults")["held"])

    def stop(self) -> None:
        self.http.close()
        self.server.should_exit = True
        self.thread.join(60)


class Books:
    """One company through its API."""

    def __init__(self, standin: StandIn, **how: Any) -> None:
        self.standin = standin
        self.tokens = standin.control("POST", "companies", how)
        self.realm = self.tokens["realm_id"]
        self.headers = {"authorization": f"Bearer {self.tokens['access_token']}", "accept": "application/json"}

    def call(self, method: str, path: str, **how: Any) -> httpx.Response:
        headers = {**self.headers, **how.pop("headers", {})}
        return self.standin.http.request(method, f"/v3/company/{self.realm}/{path}", headers=headers, **how)

    def post(self, path: str, body: Any, **params: Any) -> httpx.Response:
        return self.call("POST", path, json=body, params=params)

    def make(self, kind: str, body: Any, **params: Any) -> dict[str, Any]:
        answer = self.post(kind.lower(), body, **params)
        assert answer.status_code == 200, answer.text
        doc: dict[str, Any] = answer.json()[kind]
        return doc

    def get(self, kind: str, doc_id: str) -> dict[str, Any]:
        answer = self.call("GET", f"{kind.lower()}/{doc_id}")
        assert answer.status_code == 200, answer.text
        doc: dict[str, Any] = answer.json()[kind]
        return doc

    def query(self, text: str) -> dict[str, Any]:
        answer = self.call("GET", "query", params={"query": text})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["QueryResponse"]
        return found

    def set(self, **how: Any) -> None:
        self.standin.control("POST", "companies", {"realm": self.realm, **how})

    def prefer(self, **how: Any) -> None:
        self.standin.control("POST", "preferences", {"realm": self.realm, **how})

    def person(self, operation: str, kind: str, doc_id: str, **changes: Any) -> Any:
        body = {"realm": self.realm, "operation": operation, "entity": kind, "Id": doc_id, "changes": changes}
        return self.standin.control("POST", "person", body)["entity"]


def code_of(answer: httpx.Response) -> str:
    """The fault code of an answer, whatever its envelope; "" when there is none."""
    body = answer.json()
    fault = body.get("Fault") or body.get("fault")
    if not fault:
        return ""
    errors = fault.get("Error") or fault["error"]
    return str(errors[0]["code"])


@pytest.fixture(scope="session")
def standin() -> Iterator[StandIn]:
    running = StandIn(limits=False)
    yield running
    assert running.app.world.internal_errors == 0, "the stand-in had internal errors: see stderr"
    running.stop()


@pytest.fixture
def books(standin: StandIn) -> Iterator[Books]:
    company = Books(standin)
    yield company
    found = standin.app.world.companies[company.realm]
    assert invariants(found) + broken_indexes(found) == [], "the books do not add up"


@pytest.fixture(autouse=True)
def calm(standin: StandIn) -> Iterator[None]:
    """No fault rule or mode of one test reaches the next."""
    yield
    standin.app.world.injector.clear()
    for name, value in vars_of_modes(standin).items():
        setattr(standin.app.world.modes, name, value)
    standin.app.world.set_stale(0)


def vars_of_modes(standin: StandIn) -> dict[str, Any]:
    modes = type(standin.app.world.modes)()
    return {name: getattr(modes, name) for name in modes.__slots__}
