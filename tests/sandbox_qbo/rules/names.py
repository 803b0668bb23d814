"""Names: inactive, unique, in trees."""

from __future__ import annotations

from typing import Any

import httpx

from ..acts import edit, item
from ..conftest import Books
from .writing import (
    Rule,
    customer,
    found,
    gives,
    no,
    ok,
    refused,
)


def rename(books: Books, active: bool) -> dict[str, Any]:
    doc = books.make("Customer", {"DisplayName": "Gone Soon"})
    return edit(books, "Customer", doc, Active=active).json()["Customer"]


GONE = "select * from Customer where DisplayName like 'Gone%'"


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


RULES: tuple[Rule, ...] = (
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
)
