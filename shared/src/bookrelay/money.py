"""Money: Decimal throughout, rounded half up to cents only here.

On the wire amounts are decimal strings with two digits ("1861.08"). Floats are rejected everywhere.
"""

import json
import re
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from bookrelay.limits import DIGITS

CENT = Decimal("0.01")
LARGEST = Decimal("9999999999999.99")  # QuickBooks: 15 digits for an amount

_DECORATION = re.compile(r"[\s$€£,\u00a0]")


def to_cents(value: Decimal) -> Decimal:
    """Round half up to two digits, as QuickBooks does: 128.350 x 14.50 = 1861.075 -> 1861.08. Never minus zero."""
    rounded = value.quantize(CENT, rounding=ROUND_HALF_UP)
    return rounded if rounded else Decimal("0.00")


def parse_amount(text: str) -> Decimal:
    """Parse an amount as people type it: "$1,234.50", "(12.00)", "1234.5". Raises ValueError with a reason for anything else.

    A comma is accepted only as a thousands separator: "12,50" is rejected instead of being read as 1250.
    """
    body = text.strip()
    negative = body.startswith("(") and body.endswith(")")
    if negative:
        body = body[1:-1]
    bare = re.sub(r"[\s$€£\u00a0]", "", body)
    if "," in bare and not re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", bare):
        raise ValueError(f"{text!r} is not an amount: a comma may only separate thousands")
    bare = _DECORATION.sub("", bare)
    if not re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)", bare):
        raise ValueError(f"{text!r} is not an amount")
    value = Decimal(bare)
    return -value if negative else value


def loads(text: str | bytes, *, strict: bool = True) -> Any:
    """Parse JSON with every fractional number as Decimal, never float; NaN and Infinity are accepted.

    Without `strict`, strings may contain control characters.

    Raises JSONDecodeError or UnicodeDecodeError for anything that is not JSON or is nested too deeply. A number that Python
    cannot represent (an integer of thousands of digits, 1E9999999999999999999) becomes NaN.
    """
    try:
        try:
            return json.loads(text, parse_float=Decimal, parse_constant=Decimal, strict=strict)
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise
        except (ValueError, InvalidOperation):
            return json.loads(text, parse_float=_any_number, parse_int=_any_number, parse_constant=Decimal, strict=strict)
    except RecursionError:
        raise json.JSONDecodeError("it is nested too deeply", "", 0) from None


def _any_number(digits: str) -> Decimal | int:
    try:
        return Decimal(digits) if {".", "e", "E"} & set(digits) else int(digits)
    except (ValueError, InvalidOperation):
        return Decimal("NaN")


def _no_float(value: Any) -> Any:
    if isinstance(value, bool | float):
        raise ValueError("an amount must be a decimal string or a Decimal, not a float")
    if isinstance(value, str):
        try:
            return Decimal(value)
        except InvalidOperation:
            raise ValueError("not a decimal number") from None
    return value


def _finite(value: Decimal) -> Decimal:
    if not value.is_finite() or value.copy_abs() > LARGEST:  # abs() rounds, and raises Overflow for 1E9999999
        raise ValueError("the amount must be a finite number of at most 15 digits")
    return value


def _of_few_digits(value: Decimal) -> Decimal:
    if _finite(value).as_tuple().exponent < -DIGITS:  # type: ignore[operator]
        raise ValueError(f"the number has more than {DIGITS} decimal places")
    return value


def _whole_cents(value: Decimal) -> Decimal:
    if _finite(value) != to_cents(value):
        raise ValueError("the amount has more than two decimal places: round it at its source")
    return to_cents(value)


def _plain(value: Decimal) -> str:
    return format(value, "f")


Amount = Annotated[
    Decimal,
    BeforeValidator(_no_float),
    AfterValidator(_whole_cents),
    PlainSerializer(_plain, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^-?\d{1,13}\.\d{2}$", "examples": ["1861.08"]}),
]
"""An amount of money in the company's currency, in whole cents; a string such as "1861.08" on the wire."""

Quantity = Annotated[
    Decimal,
    BeforeValidator(_no_float),
    AfterValidator(_of_few_digits),
    PlainSerializer(_plain, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^-?\d+(\.\d+)?$", "examples": ["1.5"]}),
]
"""A quantity or a unit price with at most 28 decimal places; a decimal string on the wire."""
