"""Values of QuickBooks' JSON: texts, numbers, references, parts that may be missing or odd. Pure."""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from bookrelay.money import to_cents

_AMOUNT_BELOW = Decimal("1E+15")  # what is beyond it is no amount of money
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def clean(value: str) -> str:
    """Take out what QuickBooks refuses (control characters), unify line ends, trim."""
    return _CONTROL.sub("", value.replace("\r\n", "\n").replace("\r", "\n")).strip()


def part(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a part of an entity that is an object; nothing where it is missing or anything else."""
    value = raw.get(name)
    return value if isinstance(value, dict) else {}


def rows(value: object) -> list[Mapping[str, Any]]:
    """Return the objects of a list; none where it is missing or anything else."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    """Return a value as text; nothing where it is missing."""
    return "" if value is None else str(value)


def ref(value: object) -> str:
    """Return the Id that a reference names; nothing where it is missing or anything else."""
    return text(value.get("value")) if isinstance(value, dict) else ""


def letters(value: object) -> str:
    """Return an enum as letters only: Intuit prints EmailSent and EMAIL_SENT."""
    return text(value).replace("_", "").replace(" ", "").lower()


def decimal_of(value: object) -> Decimal:
    """Read an amount of an entity: 0 where there is none, NaN where it cannot be read."""
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
    """Write a number in one form: 1.50 and 1.5 are equal, also 100 and 1E+2."""
    if value is None or not value.is_finite():
        return "?"
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"


def detail(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the detail of a line, whichever kind it is: the DetailType may be spelled SALES_ITEM_LINE_DETAIL."""
    return next((value for key, value in line.items() if key.endswith("LineDetail") and isinstance(value, dict)), {})


def is_a(line: Mapping[str, Any], type_: str) -> bool:
    """Whether a line is of this type, given in small letters."""
    return letters(line.get("DetailType")) == type_
