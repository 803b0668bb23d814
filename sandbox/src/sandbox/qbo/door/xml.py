"""Answers as XML for clients that ask for it; enough for reading, not the schema's own order of elements."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape, quoteattr

import orjson


def asks_for_xml(accept: str) -> bool:
    """Does an Accept header want XML? JSON is the default, also for `*/*` and for no header."""
    accept = accept.lower()
    return "xml" in accept and "json" not in accept and "html" not in accept


def to_xml(body: bytes) -> bytes:
    """An IntuitResponse of a JSON answer."""
    answer: dict[str, Any] = orjson.loads(body)
    time = answer.pop("time", "")
    inner = "".join(_element(name, value) for name, value in answer.items())
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
        f'<IntuitResponse time="{escape(str(time))}" xmlns="http://schema.intuit.com/finance/v3">{inner}</IntuitResponse>'
    ).encode()


def _element(name: str, value: Any) -> str:
    if isinstance(value, list):
        return "".join(_element(name, item) for item in value)
    if isinstance(value, dict):
        if set(value) <= {"value", "name", "type"} and "value" in value:
            attributes = "".join(f" {key}={quoteattr(str(value[key]))}" for key in ("name", "type") if key in value)
            return f"<{name}{attributes}>{escape(str(value['value']))}</{name}>"
        return f"<{name}>{''.join(_element(key, item) for key, item in value.items())}</{name}>"
    if isinstance(value, bool):
        value = str(value).lower()
    return f"<{name}>{escape(str(value))}</{name}>" if value is not None else ""
