"""The bytes and ids on the wire: a golden file is never edited. A change that breaks one of these tests breaks consumers."""

import json
from pathlib import Path

import jsonschema
import pytest
from bookrelay.messages import COMMANDS, EVENTS, REGISTRY, CommandData, EntityChanged, EventData, adapter, content_hash
from bookrelay.topics import TOPICS
from bookrelay_deploy.examples import added, examples
from bookrelay_deploy.json_schemas import schemas

GOLDEN = Path(__file__).parent / "golden"
TYPES = sorted(REGISTRY)
ADDED = sorted(added())


def golden(type_: str) -> bytes:
    return (GOLDEN / f"{type_}.json").read_bytes()


def test_every_message_has_a_golden_example() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.json")) == TYPES
    assert sorted(path.stem for path in GOLDEN.glob("added/*.json")) == ADDED


@pytest.mark.parametrize("type_", TYPES)
def test_a_golden_example_decodes_and_encodes_to_the_same_bytes(type_: str) -> None:
    message = REGISTRY[type_].model_validate_json(golden(type_))
    assert message.encode() == golden(type_)


@pytest.mark.parametrize("name", ADDED)
def test_an_example_of_an_added_field_keeps_its_bytes_and_fits_its_schema(name: str) -> None:
    message, kept = added()[name], (GOLDEN / "added" / f"{name}.json").read_bytes()
    assert message.encode() == kept
    assert REGISTRY[message.type].model_validate_json(kept) == message
    jsonschema.Draft202012Validator(schemas()[message.type]).validate(json.loads(kept))


@pytest.mark.parametrize("type_", TYPES)
def test_the_code_still_makes_the_golden_example(type_: str) -> None:
    assert examples()[type_].encode() == golden(type_)


@pytest.mark.parametrize("type_", TYPES)
def test_the_id_follows_from_the_data_of_the_golden_example(type_: str) -> None:
    message = REGISTRY[type_].model_validate_json(golden(type_))
    again = REGISTRY[type_].of(message.data, sender=message.source.rpartition("/")[2], time=message.time)  # type: ignore[attr-defined]
    assert again.id == message.id
    assert again.subject == message.subject


@pytest.mark.parametrize("type_", TYPES)
def test_the_schema_accepts_the_golden_example(type_: str) -> None:
    jsonschema.Draft202012Validator(schemas()[type_]).validate(json.loads(golden(type_)))


@pytest.mark.parametrize("type_", TYPES)
def test_a_reader_ignores_a_field_that_it_does_not_know(type_: str) -> None:
    content = json.loads(golden(type_))
    content["data"]["added_later"] = {"nested": True}
    content["addedlater"] = "x"
    message = REGISTRY[type_].model_validate_json(json.dumps(content))
    assert message.encode() == golden(type_)


@pytest.mark.parametrize("type_", TYPES)
def test_a_golden_example_is_told_apart_by_its_type_in_its_topic(type_: str) -> None:
    (topic,) = [topic for topic in TOPICS if REGISTRY[type_] in topic.carries]
    message = adapter(topic.carries).validate_json(golden(type_))
    assert type(message) is REGISTRY[type_]


def test_amounts_are_decimal_strings_and_times_are_utc() -> None:
    def walk(value: object) -> None:
        assert not isinstance(value, float)
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(inner)

    for type_ in TYPES:
        content = json.loads(golden(type_))
        walk(content)
        assert content["time"].endswith("Z")
        assert content["specversion"] == "1.0"


def test_ids_are_pinned() -> None:
    """Spelt out once more, so that files and code cannot be changed together by a script."""
    ids = {type_: str(message.id) for type_, message in examples().items()}
    assert ids["bookrelay.invoice.upsert.v1"] == "604a1bf4-2c4d-5d33-aff5-5578aa508b98"
    assert ids["bookrelay.bill.upsert.v1"] == "721fc1b8-5e20-5f81-98fe-1c96fc022dff"
    assert ids["bookrelay.invoice.posted.v1"] == "fcec746f-1ba0-5dd9-b1e2-63ee3028163c"
    assert ids["bookrelay.intuit.entity-changed.v1"] == "63fc1bdf-5044-53f5-98c2-f0ae70da4b3e"
    assert content_hash(None) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert (
        content_hash(examples()["bookrelay.invoice.upsert.v1"].data.content)
        == "a278773fdf40c3823de264032c82f9a17e1053f7dd5adf9f9b1a803dc53e3a98"
    )


def test_every_command_and_event_can_become_an_id() -> None:
    for message in (*COMMANDS, *EVENTS):
        data = message.model_fields["data"].annotation
        assert isinstance(data, type)
        if message.__name__.startswith(("Realm", "Books")):  # about a company, about what stands in its books
            continue
        assert issubclass(data, CommandData if message in COMMANDS else EventData)
    assert EntityChanged.TYPE in REGISTRY
