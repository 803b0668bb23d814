"""The AsyncAPI document: committed as the code writes it, whole, and true to what the services do."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from bookrelay import topics
from bookrelay.messages import REGISTRY
from bookrelay_deploy import asyncapi
from bookrelay_deploy.asyncapi import document, publications, written
from bookrelay_deploy.env_example import sources

ROOT = Path(__file__).parents[2]
DOCUMENT = document()


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for inner in value.values() for found in references(inner)]
    return [found for inner in value for found in references(inner)] if isinstance(value, list) else []


def follow(reference: str) -> Any:
    found: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def test_the_committed_document_is_what_the_code_writes() -> None:
    assert (ROOT / "docs/asyncapi/bookrelay.yaml").read_text() == written(), "run `python -m bookrelay_deploy.asyncapi`"
    assert yaml.safe_load(written()) == DOCUMENT


def test_drift_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "document.yaml"
    assert asyncapi.main(["--check", "--path", str(path)]) == 1
    assert asyncapi.main(["--path", str(path)]) == 0
    assert asyncapi.main(["--check", "--path", str(path)]) == 0
    path.write_text(path.read_text().replace("UpsertInvoice", "UpsertSomething"))
    assert asyncapi.main(["--check", "--path", str(path)]) == 1
    assert "differs from the code" in capsys.readouterr().err


def test_every_reference_leads_somewhere() -> None:
    found = references(DOCUMENT)
    assert len(found) > 50
    for reference in found:
        assert follow(reference) is not None


def test_every_topic_is_a_channel_with_its_messages() -> None:
    assert set(DOCUMENT["channels"]) == {topic.name for topic in topics.all_topics()}
    for topic in topics.TOPICS:
        channel = DOCUMENT["channels"][topic.name]
        assert channel["address"] == topic.name
        assert set(channel["messages"]) == {message.__name__ for message in topic.carries}
        assert channel["bindings"]["kafka"]["partitions"] == topic.partitions


def test_every_subscription_and_publication_is_an_operation() -> None:
    receives = {name for name, operation in DOCUMENT["operations"].items() if operation["action"] == "receive"}
    assert receives == {f"{group}.receive.{topic.name}" for topic, group in topics.SUBSCRIPTIONS}
    sends = {name for name, operation in DOCUMENT["operations"].items() if operation["action"] == "send"}
    assert {f"{service}.send.{topic.name}" for topic, service in publications()} <= sends
    assert {f"{group}.send.{topic.dead_letters(group).name}" for topic, group in topics.DEAD_LETTERS} <= sends


@pytest.mark.parametrize("type_", sorted(REGISTRY))
def test_every_message_has_a_payload_and_an_example_that_fits_it(type_: str) -> None:
    message = DOCUMENT["components"]["messages"][REGISTRY[type_].__name__]
    assert message["name"] == type_
    assert message["summary"]
    resolver = {**follow(message["payload"]["$ref"]), "components": DOCUMENT["components"]}
    (example,) = message["examples"]
    jsonschema.Draft202012Validator(resolver).validate(example["payload"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(resolver).validate({**example["payload"], "type": "another"})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(resolver).validate({**example["payload"], "data": {}})


def test_the_kinds_of_message_that_a_service_publishes_are_declared() -> None:
    """By the source: who calls publish, or writes into an outbox, with which topic. A source's way out knows its topics."""
    import re

    found = set()
    for folder in sorted((ROOT / "services").glob("*")):
        text = "".join(path.read_text() for path in (folder / "src").rglob("*.py"))
        assert (folder.name in sources()) == ("import Outgoing" in text), folder.name
        if folder.name in sources():
            found |= {(topics.COMMANDS.name, folder.name), (topics.EVENTS.name, folder.name)}
            assert not re.search(r"outbox\.add|\.publish\(", text), folder.name
        for path in (folder / "src").rglob("*.py"):
            text = path.read_text()
            for name in re.findall(r"\b(?:topics\.)?(COMMANDS|EVENTS|CHANGES|WEBHOOKS)\b", text):
                if re.search(rf"(?:publish|outbox\.add|add)\([^)]*\b{name}\b", text, re.DOTALL):
                    found.add((getattr(topics, name).name, folder.name))
    assert found == {(topic.name, service) for topic, service in publications()}
