"""`python -m bookrelay_deploy.asyncapi`: docs/asyncapi/bookrelay.yaml, an AsyncAPI 3.0.0 document generated from the code.

`--check` exits 1 if the committed document differs. Channels come from `bookrelay.topics`, payloads from `bookrelay.messages`.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml
from bookrelay.errors import BookrelayError
from bookrelay.messages import REGISTRY, AnyMessage
from bookrelay.topics import COMMANDS, DEAD_LETTERS, EVENTS, PUBLICATIONS, SUBSCRIPTIONS, TOPICS, Topic
from pydantic import ValidationError
from pydantic.json_schema import models_json_schema

from bookrelay_deploy.env_example import sources
from bookrelay_deploy.examples import examples
from bookrelay_deploy.json_schemas import as_on_the_wire

PATH = Path("docs/asyncapi/bookrelay.yaml")
Doc = dict[str, Any]

_EXAMPLES = "Correct deploy/src/bookrelay_deploy/examples.py."
_TRACE = {"type": "string", "description": "W3C trace context, if there is one."}
_DEAD_LETTER_HEADERS = {
    "dlt-reason": "Why it could not be handled.",
    "dlt-topic": "The record's original topic.",
    "dlt-partition": "Its partition there; absent for a record that was never in a topic.",
    "dlt-offset": "Its offset there.",
    "dlt-group": "The consumer group that dead-lettered it.",
    "dlt-attempts": "How often it has been dead-lettered.",
}
_INFO = {
    "title": "bookrelay",
    "version": "1.0.0",
    "description": (
        "Invoices and bills from 4D EMR quotes and Google Sheet rows into QuickBooks Online, exactly once. CloudEvents 1.0 in "
        "structured mode; the key is the CloudEvents subject, so order is kept for each document; amounts are decimal strings; "
        "times are UTC. Delivery is at least once: the same event has the same id. Generated from the code: do not edit."
    ),
    "license": {"name": "MIT"},
}


def document() -> Doc:
    """Return the AsyncAPI document."""
    dead = [(topic.dead_letters(group), group) for topic, group in DEAD_LETTERS]
    channels = {_channel_id(topic): _channel(topic) for topic in TOPICS}
    channels |= {_channel_id(topic): _channel(topic, dead_letters=True) for topic, _ in dead}
    operations: Doc = {}
    for topic, service in publications():
        operations[_operation_id(service, "send", topic)] = _operation("send", topic, f"{service} publishes.")
    for topic, group in dead:
        operations[_operation_id(group, "send", topic)] = _operation(
            "send", topic, f"{group} dead-letters records that it cannot handle."
        )
    for topic, group in SUBSCRIPTIONS:
        operation = _operation("receive", topic, f"{group} consumes, at least once.")
        operation["bindings"] = {"kafka": {"groupId": {"type": "string", "enum": [group]}, "bindingVersion": "0.5.0"}}
        operations[_operation_id(group, "receive", topic)] = operation
    return {
        "asyncapi": "3.0.0",
        "info": _INFO,
        "defaultContentType": "application/cloudevents+json",
        "servers": {"kafka": {"host": "kafka:9092", "protocol": "kafka", "description": "KAFKA_BOOTSTRAP_SERVERS"}},
        "channels": channels,
        "operations": operations,
        "components": {"messages": _messages(), "schemas": _payloads()},
    }


def publications() -> tuple[tuple[Topic, str], ...]:
    """Return who publishes what: every source publishes commands and rejections; the others as declared in `topics`."""
    return (*((topic, source) for topic in (COMMANDS, EVENTS) for source in sources()), *PUBLICATIONS)


def _channel_id(topic: Topic) -> str:
    return topic.name


def _operation_id(service: str, action: str, topic: Topic) -> str:
    return f"{service}.{action}.{topic.name}"


def _channel(topic: Topic, *, dead_letters: bool = False) -> Doc:
    names = ["DeadLetter"] if dead_letters else [message.__name__ for message in topic.carries]
    retention = {} if topic.retention_ms < 0 else {"retention.ms": topic.retention_ms}
    return {
        "address": topic.name,
        "description": topic.description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {"cleanup.policy": ["delete"], **retention},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operation(action: str, topic: Topic, summary: str) -> Doc:
    return {"action": action, "channel": {"$ref": f"#/channels/{_channel_id(topic)}"}, "summary": summary}


def _messages() -> Doc:
    shown = examples()
    if lacking := sorted(set(REGISTRY) - set(shown)):
        raise BookrelayError(f"{', '.join(lacking)}: there is no example.", _EXAMPLES)
    messages = {message.__name__: _message(message, shown[type_]) for type_, message in REGISTRY.items()}
    headers = {name: {"type": "string", "description": text} for name, text in _DEAD_LETTER_HEADERS.items()}
    messages["DeadLetter"] = {
        "name": "dead-letter",
        "title": "DeadLetter",
        "summary": "The record unchanged: key, value and headers, with the reason in added headers. Its value may be anything.",
        "headers": {"type": "object", "required": ["dlt-reason", "dlt-topic", "dlt-group"], "properties": headers},
        "payload": {},
    }
    return messages


def _message(message: type[AnyMessage], example: AnyMessage) -> Doc:
    return {
        "name": message.TYPE,
        "title": message.__name__,
        "summary": (message.__doc__ or "").strip(),
        "contentType": "application/cloudevents+json",
        "headers": {"type": "object", "properties": {"traceparent": _TRACE}},
        "payload": {"$ref": f"#/components/schemas/{message.__name__}"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": "realm:source:source_key, as in subject."},
                "bindingVersion": "0.5.0",
            }
        },
        "examples": [{"name": "example", "payload": json.loads(example.encode())}],
    }


def _payloads() -> Doc:
    _, definitions = models_json_schema(
        [(message, "validation") for message in REGISTRY.values()], ref_template="#/components/schemas/{model}"
    )
    found: Doc = definitions["$defs"]
    found |= {message.__name__: as_on_the_wire(found[message.__name__], type_) for type_, message in REGISTRY.items()}
    return dict(sorted(found.items()))


def written() -> str:
    """Return the document's text."""
    return yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=130)


def main(arguments: list[str] | None = None) -> int:
    """Write the document, or check the committed one; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bookrelay_deploy.asyncapi", description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 if the file differs")
    parser.add_argument("--path", type=Path, default=PATH)
    given = parser.parse_args(arguments)
    try:
        text = written()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        sys.stderr.write(f"The example of {error.title} does not fit its message at {where}: {first['msg']}. {_EXAMPLES}\n")
        return 1
    except BookrelayError as error:
        sys.stderr.write(f"{error.reason} {error.fix}\n")
        return 1
    if not given.check:
        given.path.parent.mkdir(parents=True, exist_ok=True)
        given.path.write_text(text)
        return 0
    if given.path.exists() and given.path.read_text() == text:
        return 0
    sys.stderr.write(f"{given.path} differs from the code: python -m bookrelay_deploy.asyncapi\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
