"""The JSON Schema of each message, from its model: what consumers must accept."""

import json
from typing import Any

from bookrelay.messages import REGISTRY

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of every registered message, by type."""
    return {type_: _schema(type_) for type_ in sorted(REGISTRY)}


def _schema(type_: str) -> dict[str, Any]:
    model = REGISTRY[type_]
    head = {"$schema": DIALECT, "$id": f"urn:bookrelay:schema:{type_}"}
    return {**head, **as_on_the_wire(model.model_json_schema(mode="validation"), type_)}


def as_on_the_wire(schema: dict[str, Any], type_: str) -> dict[str, Any]:
    """Return a message's schema for consumers: `specversion` and `type` are required, since our models always write them."""
    model = REGISTRY[type_]
    return {
        **schema,
        "required": ["specversion", "type", *schema["required"]],
        "title": model.__name__,
        "description": (model.__doc__ or "").strip(),
    }


def written(schema: dict[str, Any]) -> str:
    """Return a schema's text."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
