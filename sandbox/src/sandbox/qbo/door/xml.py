"""Answers as XML for clients that ask for it; enough for reading, not the schema's own order of elements."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, SubElement

import orjson

from sandbox.qbo.rules.faults import intuit_response


def asks_for_xml(accept: str) -> bool:
    """Does an Accept header want XML? JSON is the default, also for `*/*` and for no header."""
    accept = accept.lower()
    return "xml" in accept and "json" not in accept and "html" not in accept


def to_xml(body: bytes) -> bytes:
    """An IntuitResponse of a JSON answer."""
    answer: dict[str, Any] = orjson.loads(body)
    inner = Element("answer")
    time = str(answer.pop("time", ""))
    for name, value in answer.items():
        _add(inner, name, value)
    return intuit_response(time, *inner)


def _add(parent: Element, name: str, value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _add(parent, name, item)
    elif isinstance(value, dict):
        element = SubElement(parent, name)
        if set(value) <= {"value", "name", "type"} and "value" in value:
            element.attrib.update({key: str(value[key]) for key in ("name", "type") if key in value})
            element.text = str(value["value"])
        else:
            for key, item in value.items():
                _add(element, key, item)
    elif value is not None:
        SubElement(parent, name).text = str(value).lower() if isinstance(value, bool) else str(value)
