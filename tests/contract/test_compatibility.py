"""The compatibility check: what consumers may count on stays, what they ignore may be added."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from bookrelay_deploy import compatibility
from bookrelay_deploy.compatibility import Comparison, check, stale
from bookrelay_deploy.examples import examples
from bookrelay_deploy.json_schemas import schemas

Schema = dict[str, Any]
FOLDER = Path(__file__).parents[2] / "docs/schemas"
TYPE = "bookrelay.invoice.upsert.v1"


def changed(change: Callable[[Schema], Any]) -> list[str]:
    old = schemas()[TYPE]
    new = copy.deepcopy(old)
    change(new)
    return Comparison(old, new).run()


def data(schema: Schema) -> Schema:
    found: Schema = schema["$defs"]["UpsertInvoiceData"]
    return found


def content(schema: Schema) -> Schema:
    found: Schema = schema["$defs"]["InvoiceContent"]
    return found


def line(schema: Schema) -> Schema:
    found: Schema = schema["$defs"]["InvoiceLine"]
    return found


def require_x(schema: Schema) -> None:
    fields(schema)["x"] = {"type": "string"}
    content(schema)["required"].append("x")


def fields(schema: Schema) -> Schema:
    found: Schema = content(schema)["properties"]
    return found


def about(schema: Schema) -> Schema:
    found: Schema = data(schema)["properties"]
    return found


def test_the_committed_schemas_are_those_of_the_code() -> None:
    assert stale(FOLDER, schemas()) == []


def test_the_code_is_compatible_with_what_is_released() -> None:
    released = {path.stem: json.loads(path.read_text()) for path in (FOLDER / "released").glob("*.json")}
    assert len(released) >= 18
    assert check(released, schemas()) == []


def test_nothing_changed_is_compatible() -> None:
    assert changed(lambda _: None) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda s: fields(s).update(added={"type": "string", "default": ""}),
        lambda s: s["properties"].update(added={"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}),
        lambda s: s["$defs"].update(New={"type": "object", "properties": {}}),
        lambda s: fields(s)["lines"].update(maxItems=1000),
        lambda s: fields(s)["lines"].pop("maxItems"),
        lambda s: about(s)["source_key"].update(maxLength=2000, minLength=0),
        lambda s: line(s)["properties"]["amount"].pop("pattern"),
        lambda s: s["$defs"]["Priority"]["enum"].append("urgent"),
        lambda s: fields(s)["memo"]["anyOf"].append({"type": "integer"}),
        lambda s: content(s).update(description="Said better.", title="Other"),
        lambda s: about(s)["version"].pop("minimum"),
    ],
    ids=[
        "an optional field", "an optional field that may be null", "a new definition", "a longer list", "no bound",
        "looser lengths",
        "no pattern", "a wider enum", "another alternative", "another description", "no minimum",
    ],
)  # fmt: skip
def test_additive_change_is_accepted(change: Callable[[Schema], Any]) -> None:
    assert changed(change) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: fields(s).pop("memo"), "data.content.memo was removed"),
        (lambda s: fields(s).update(memo2=fields(s).pop("memo")), "data.content.memo was removed"),
        (lambda s: about(s)["version"].update(type="string"), "data.version was integer and is string"),
        (lambda s: data(s)["required"].append("priority"), "data.priority is now required"),
        (require_x, "data.content.x is now required"),
        (lambda s: data(s)["required"].remove("version"), "data.version is no longer required"),
        (lambda s: s["$defs"]["Priority"]["enum"].remove("sweep"), "data.priority no longer accepts ['sweep']"),
        (lambda s: line(s)["properties"]["amount"].update(pattern=r"^\d+$"), "data.content.lines[].amount has a different"),
        (lambda s: about(s)["source"].update(pattern="^[a-z]+$"), "data.source has a different pattern"),
        (lambda s: fields(s)["lines"].update(maxItems=10), "data.content.lines: maxItems was lowered from 750 to 10"),
        (lambda s: about(s)["source"].update(minLength=3), "data.source: minLength was raised from 1 to 3"),
        (lambda s: about(s)["version"].update(maximum=9), "data.version: maximum was lowered from 9000000000000000000 to 9"),
        (lambda s: s["properties"]["type"].update(const="bookrelay.invoice.upsert.v2"), "type no longer accepts"),
        (lambda s: about(s)["priority"].update(default="sweep"), "data.priority had the default 'live', now 'sweep'"),
        (lambda s: line(s)["properties"]["item"].pop("default"), "data.content.lines[].item had the default 'default'"),
        (lambda s: fields(s)["memo"]["anyOf"].pop(), "data.content.memo: an alternative is no longer"),
        (lambda s: fields(s)["memo"]["anyOf"][0].update(maxLength=5), "data.content.memo: an alternative is no longer"),
        (lambda s: content(s).update(additionalProperties=False), "data.content no longer accepts unknown fields"),
        (lambda s: s["properties"]["id"].update(format="uri"), "id has a different format"),
        (lambda s: about(s)["realm"].update(enum=["1"]), "data.realm accepted any value and now accepts ['1']"),
        (lambda s: fields(s).update(customer={"type": "string"}), "data.content.customer was object and is string"),
    ],
)  # fmt: skip
def test_a_change_that_breaks_somebody_is_refused(change: Callable[[Schema], Any], said: str) -> None:
    problems = changed(change)
    assert any(problem.startswith(said) for problem in problems), problems


def test_a_message_that_disappears_is_refused() -> None:
    released, current = schemas(), schemas()
    del current[TYPE]
    assert check(released, current) == [f"{TYPE}: the message was removed"]


def test_a_new_message_is_accepted() -> None:
    released = schemas()
    del released[TYPE]
    assert check(released, schemas()) == []


def test_a_recursive_schema_is_compared() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}, "a": {"type": "string"}}}
    old: Schema = {"$ref": "#/$defs/Node", "$defs": {"Node": node}}
    new = copy.deepcopy(old)
    assert Comparison(old, new).run() == []
    del new["$defs"]["Node"]["properties"]["a"]
    assert Comparison(old, new).run() == ["a was removed"]


def test_what_is_accepted_really_reads_old_messages() -> None:
    """An accepted change, tried: the example of today is valid under the changed schema."""
    new = schemas()[TYPE]
    content(new)["properties"]["added"] = {"type": "string", "default": ""}
    new["$defs"]["Priority"]["enum"].append("urgent")
    jsonschema.Draft202012Validator(new).validate(json.loads(examples()[TYPE].encode()))


def test_the_command_exits_1_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compatibility.main(["--folder", str(tmp_path), "--release"]) == 0
    assert compatibility.main(["--folder", str(tmp_path)]) == 0
    path = tmp_path / "released" / f"{TYPE}.json"
    schema = json.loads(path.read_text())
    schema["$defs"]["InvoiceContent"]["properties"]["gone"] = {"type": "string"}
    path.write_text(json.dumps(schema))
    assert compatibility.main(["--folder", str(tmp_path)]) == 1
    assert "data.content.gone was removed" in capsys.readouterr().err
    assert compatibility.main(["--folder", str(tmp_path), "--release"]) == 1, (
        "what is released is not overwritten by what breaks it"
    )
    assert "gone" in path.read_text()


def test_a_schema_file_that_was_not_written_again_is_found(tmp_path: Path) -> None:
    compatibility.main(["--folder", str(tmp_path), "--write"])
    (tmp_path / f"{TYPE}.json").write_text("{}")
    (tmp_path / "bookrelay.old.v1.json").write_text("{}")
    assert len(stale(tmp_path, schemas())) == 2
