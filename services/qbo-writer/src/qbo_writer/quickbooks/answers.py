"""Common parts of QuickBooks' answers: lists, deleted entities. Pure."""

from collections.abc import Mapping
from typing import Any


def rows_of(value: Any, name: str) -> list[Any]:
    """Return a list that may be missing, or be a single element instead."""
    part = value.get(name) if isinstance(value, dict) else None
    items = part if isinstance(part, list) else [part]
    return [item for item in items if isinstance(item, dict)]


def is_deleted(raw: Mapping[str, Any]) -> bool:
    """Whether an entity is reported as deleted, however the word is spelled."""
    return str(raw.get("status") or "").replace("_", "").lower() == "deleted"


def as_dict(value: Any) -> Any:
    """Return a mapping as a dict, as `mapping.dumps` requires; anything else unchanged."""
    return dict(value) if isinstance(value, Mapping) else value
