"""Values in QuickBooks' JSON: texts, numbers, references, and parts that may be missing or malformed. Pure."""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from bookrelay.money import to_cents

_AMOUNT_BELOW = Decimal("1E+15")  # larger values are not plausible amounts
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def clean(value: str) -> str:
    """Remove what QuickBooks refuses (control characters), unify line ends, trim."""
    return _CONTROL.sub("", value.replace("\r\n", "\n").replace("\r", "\n")).strip()


def part(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object inside an entity; empty if it is missing or not an object."""
    value = raw.get(name)
    return value if isinstance(value, dict) else {}


def rows(value: object) -> list[Mapping[str, Any]]:
    """Return the objects in a list; none if it is missing or not a list."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    """Return a value as text; empty if it is missing."""
    return "" if value is None else str(value)


def ref(value: object) -> str:
    """Return a reference's Id; empty if it is missing or malformed."""
    return text(value.get("value")) if isinstance(value, dict) else ""


def letters(value: object) -> str:
    """Return an enum value as lower-case letters: Intuit writes both EmailSent and EMAIL_SENT."""
    return text(value).replace("_", "").replace(" ", "").lower()


def decimal_of(value: object) -> Decimal:
    """Read an amount: 0 if there is none, NaN if it cannot be read."""
    if value is None or value == "":
        return Decimal(0)
    try:
        found = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        return Decimal("NaN")
    return found if found.is_finite() and abs(found) < _AMOUNT_BELOW else Decimal("NaN")


def cents(value: Decimal) -> str:
    """Write an amount to the cent."""
    return format(to_cents(value), "f") if value.is_finite() else "?"


def number(value: Decimal | None) -> str:
    """Write a number in canonical form: 1.50 and 1.5 become equal, also 100 and 1E+2."""
    if value is None or not value.is_finite():
        return "?"
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def detail(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the detail of a line of any kind: the DetailType may be spelled SALES_ITEM_LINE_DETAIL."""
    return next((value for key, value in line.items() if key.endswith("LineDetail") and isinstance(value, dict)), {})


def is_a(line: Mapping[str, Any], type_: str) -> bool:
    """Whether a line is of this type (lower case)."""
    return letters(line.get("DetailType")) == type_
