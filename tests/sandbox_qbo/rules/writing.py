"""How a rule is written, and what rules of several topics are made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from ..acts import Act, discount, post, query
from ..bodies import (
    line,
    start,
)
from ..conftest import Books, code_of

Check = Callable[[Books], None]


@dataclass(frozen=True)
class Rule:
    """One rule: what it lets pass, and what it refuses or does otherwise."""

    topic: str
    name: str
    passes: Check
    bites: Check


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


def made(kind: str, body: dict[str, Any], read: Callable[[dict[str, Any]], Any], **params: Any) -> Callable[[Books], Any]:
    """Something of the document that a create answers."""
    return lambda books: read(books.make(kind, body, **params))


def count(books: Books, kind: str = "Invoice") -> int:
    found: int = books.query(f"select count(*) from {kind}")["totalCount"]
    return found


def twice(kind: str, body: dict[str, Any], warn: str = "", *, on: bool = True, **params: Any) -> Act:
    """The same DocNumber a second time, with a warning of the company on or off."""

    def go(books: Books) -> httpx.Response:
        if warn:
            books.prefer(warnings={warn: on})
        books.make(kind, {**body, "DocNumber": "N1"})
        return books.post(kind.lower(), {**body, "DocNumber": "N1"}, **params)

    return go


def updated(first: dict[str, Any], change: dict[str, Any], read: Callable[[dict[str, Any]], Any]) -> Callable[[Books], Any]:
    """Something of an invoice after one more write."""

    def go(books: Books) -> Any:
        doc = books.make("Invoice", first)
        return read(books.make("Invoice", {"Id": doc["Id"], "SyncToken": doc["SyncToken"], **change}))

    return go


def found(books: Books, statement: str) -> list[str]:
    """Ids, in order."""
    rows = books.query(statement)
    return [doc["Id"] for doc in next((v for v in rows.values() if isinstance(v, list)), [])]


def changed(books: Books, entities: str, ago: float = 3600) -> httpx.Response:
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago))
    return books.call("GET", "cdc", params={"entities": entities, "changedSince": since})


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


def sent(books: Books, kind: str, body: dict[str, Any], **params: str) -> httpx.Response:
    doc = books.make(kind, body)
    return books.call(
        "POST", f"{kind.lower()}/{doc['Id']}/send", params=params, headers={"content-type": "application/octet-stream"}
    )


def percent(value: Any) -> dict[str, Any]:
    return discount(PercentBased=True, DiscountPercent=value)


TAXED = line(100, TaxCodeRef={"value": "TAX"})


def customer(name: str = "", **values: Any) -> dict[str, Any]:
    return {"DisplayName": name, **values} if name else start("Customer", **values)
