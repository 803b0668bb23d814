"""Each property of each kind, walked through the schema: what is too long, unknown, missing, inactive or no word of the list.

The numbers themselves are pinned in `rules`; here nothing that the schema says may stay without effect. Bodies go in
batches, whose items are refused one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sandbox.qbo.company.schema import KINDS, SALES_FORMS
from sandbox.qbo.company.shapes import SHAPES

from .acts import inactive
from .bodies import STARTS, start
from .conftest import Books
from .rules.writing import at

CREATABLE = sorted(STARTS)


def test_every_kind_that_can_be_made_has_a_body() -> None:
    assert set(STARTS) == {kind for kind, entity in KINDS.items() if entity.create}


def properties(props: dict[str, str], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """(path, spec) of every property, into objects and the first element of lists."""
    for name, written in props.items():
        spec = written.removeprefix("!")
        kind, _, rest = spec.partition(":")
        yield prefix + name, spec
        if kind in ("obj", "list") and depth < 3:
            middle = "0." if kind == "list" else ""
            yield from properties(SHAPES[rest], f"{prefix}{name}.{middle}", depth + 1)


def of(kind: str, wanted: str) -> list[tuple[str, str]]:
    """(path, what follows the colon) of the properties of one sort that `start` can carry."""
    found = []
    for path, spec in properties(KINDS[kind].props):
        sort, _, rest = spec.partition(":")
        if sort == wanted and path not in ("Id", "SyncToken") and "GroupLineDetail" not in path:
            found.append((path, rest))
    return found


def codes(books: Books, kind: str, bodies: list[dict[str, Any]]) -> list[str]:
    """The fault code of each body, "" for those that are accepted."""
    out: list[str] = []
    for first in range(0, len(bodies), 30):
        items = [{"bId": str(n), "operation": "create", kind: body} for n, body in enumerate(bodies[first : first + 30])]
        answer = books.post("batch", {"BatchItemRequest": items})
        assert answer.status_code == 200, answer.text
        by_id = {item["bId"]: item for item in answer.json()["BatchItemResponse"]}
        out += [by_id[str(n)]["Fault"]["Error"][0]["code"] if "Fault" in by_id[str(n)] else "" for n in range(len(items))]
    return out


@pytest.mark.parametrize("kind", CREATABLE)
def test_every_text_has_its_length(books: Books, kind: str) -> None:
    texts = [(path, int(limit)) for path, limit in of(kind, "text")]
    texts = [(path, limit) for path, limit in texts if not path.endswith(("Ref.value", "Ref.type"))]
    too_long = codes(books, kind, [at(start(kind), path, "8" * (limit + 1)) for path, limit in texts])
    assert [path for (path, _), code in zip(texts, too_long, strict=True) if code != "2050"] == []
    fitting = codes(books, kind, [at(start(kind), path, "8" * limit) for path, limit in texts])
    assert [path for (path, _), code in zip(texts, fitting, strict=True) if code == "2050"] == []


@pytest.mark.parametrize("kind", CREATABLE)
def test_every_word_is_one_of_its_list(books: Books, kind: str) -> None:
    words = of(kind, "enum")
    strange = codes(books, kind, [at(start(kind), path, "Perhaps") for path, _ in words])
    assert [path for (path, _), code in zip(words, strange, strict=True) if code != "2170"] == []
    known = [(path, word) for path, listed in words for word in listed.split("|")]
    found = codes(books, kind, [at(start(kind), path, word) for path, word in known])
    assert [case for case, code in zip(known, found, strict=True) if code == "2170"] == []


@pytest.mark.parametrize("kind", CREATABLE)
def test_every_object_refuses_what_it_does_not_know(books: Books, kind: str) -> None:
    objects = [
        ("", {}),
        *((f"{path}.", {}) for path, _ in of(kind, "obj")),
        *((f"{path}.0.", {}) for path, _ in of(kind, "list")),
    ]
    found = codes(books, kind, [at(start(kind), f"{path}Colour", "red") for path, _ in objects])
    assert [path for (path, _), code in zip(objects, found, strict=True) if code != "2010"] == []
    assert codes(books, kind, [start(kind)]) == ["" if kind != "BillPayment" else "2250"]


@pytest.mark.parametrize("kind", CREATABLE)
def test_everything_required_is_required(books: Books, kind: str) -> None:
    required = [name for name, spec in KINDS[kind].props.items() if spec.startswith("!")]
    missing = codes(books, kind, [{k: v for k, v in start(kind).items() if k != name} for name in required])
    assert [name for name, code in zip(required, missing, strict=True) if code != "2020"] == []
    nulls = codes(books, kind, [start(kind, **{name: None}) for name in required])
    assert [name for name, code in zip(required, nulls, strict=True) if code not in ("2020", "6250")] == []


def usable(books: Books, target: str) -> str:
    """An Id that is there, for any kind that can be referred to."""
    rows = books.query(f"select * from {target}").get(target)
    return str(rows[0]["Id"]) if rows else str(books.make(target, start(target))["Id"])


@pytest.mark.parametrize("kind", CREATABLE)
def test_every_reference_is_there_and_in_use(books: Books, kind: str) -> None:
    references = [(path, rest.split("|")[0]) for path, rest in of(kind, "ref") if rest]
    targets = {target for _, target in references}
    gone = {t: inactive(books, t, **start(t)) for t in targets if KINDS[t].create and KINDS[t].update and t in STARTS}
    there = {target: usable(books, target) for target in targets}

    def refused(path: str) -> str:
        return "6250" if path == "CustomerRef" and kind in SALES_FORMS else "2500"

    def sent(values: dict[str, str], which: list[tuple[str, str]]) -> list[str]:
        return codes(books, kind, [at(start(kind), path, {"value": values[target]}) for path, target in which])

    unknown = sent(dict.fromkeys(targets, "4242"), references)
    assert [path for (path, _), code in zip(references, unknown, strict=True) if code != "2500"] == []
    can_go = [(path, target) for path, target in references if target in gone]
    retired = sent(gone, can_go)
    assert [path for (path, _), code in zip(can_go, retired, strict=True) if code != refused(path)] == []
    present = sent(there, references)
    assert [path for (path, _), code in zip(references, present, strict=True) if code in ("2500", "6250")] == []


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_property_can_be_asked_for_or_is_refused(books: Books, kind: str) -> None:
    entity = KINDS[kind]
    names = sorted(set(entity.props) | {name.partition(".")[0] for name in entity.filters})
    items = [{"bId": f"f{n}", "Query": f"select * from {kind} where {name} = ''"} for n, name in enumerate(names)]
    items += [{"bId": f"s{n}", "Query": f"select * from {kind} orderby {name}"} for n, name in enumerate(names)]
    found: dict[str, str] = {}
    for first in range(0, len(items), 30):
        for reply in books.post("batch", {"BatchItemRequest": items[first : first + 30]}).json()["BatchItemResponse"]:
            found[reply["bId"]] = reply["Fault"]["Error"][0]["code"] if "Fault" in reply else ""
    filterable = {name for n, name in enumerate(names) if found[f"f{n}"] == ""}
    sortable = {name for n, name in enumerate(names) if found[f"s{n}"] == ""}
    assert filterable == {name for name in entity.filters if "." not in name}
    assert sortable <= filterable
    assert "Id" in filterable - sortable
    assert set(found.values()) == {"", "4001"}
    assert not {"PrivateNote", "Line", "MetaData", "SyncToken"} & filterable
