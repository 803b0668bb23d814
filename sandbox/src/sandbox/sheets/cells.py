"""One cell: how what is typed becomes a value (RAW, USER_ENTERED), and how a value is shown (the render options)."""

import ast
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

Value = str | int | Decimal | bool
EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - a sheet's serial numbers know no zone

_NUMBER = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)?(\.\d*)?([eE][+-]?\d+)?$")
_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d\d)(?::(\d\d))?)?$")
_US = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}|\d\d)(?: (\d{1,2}):(\d\d)(?::(\d\d))?)?$")
_LINK = re.compile(r'=HYPERLINK\(\s*"((?:[^"]|"")*)"\s*(?:[,;]\s*"((?:[^"]|"")*)"\s*)?\)$', re.IGNORECASE)


@dataclass(frozen=True)
class Cell:
    """A value, the formula it comes from, and how it is shown (`kind` of Google's NumberFormat, and its pattern)."""

    value: Value
    formula: str | None = None
    kind: str | None = None
    pattern: str | None = None


def tidy(number: int | Decimal) -> int | Decimal:
    """A sheet knows one kind of number: 12.0 is 12."""
    if isinstance(number, Decimal) and number == number.to_integral_value() and abs(number) < 10**15:
        return int(number)
    return number


def raw(value: Any) -> Cell | None:
    """Store as given; an empty text empties the cell. Raises ValueError for what is no cell value."""
    if value == "" and isinstance(value, str):
        return None
    if isinstance(value, bool | str):
        return Cell(value)
    if isinstance(value, int | Decimal):
        return Cell(tidy(value))
    raise ValueError(f"a {'struct' if isinstance(value, dict) else 'list'} is not a cell value")


def typed(value: Any) -> Cell | None:
    """Store as if a person had typed it."""
    if not isinstance(value, str):
        return raw(value)
    text = value.strip()
    if value.startswith("'"):
        return Cell(value[1:])
    if value.startswith("=") and len(value) > 1:
        return _formula(value)
    if text.upper() in ("TRUE", "FALSE"):
        return Cell(text.upper() == "TRUE")
    return _typed_number(text) or _typed_date(text) or raw(value)


def _typed_number(text: str) -> Cell | None:
    kind, pattern = None, None
    body, negative = text, False
    if body.startswith("(") and body.endswith(")"):
        body, negative = body[1:-1], True
    if body.startswith("-"):
        body, negative = body[1:], True
    if body.startswith("$"):
        body, kind, pattern = body[1:], "CURRENCY", '"$"#,##0.00' if "." in body else '"$"#,##0'
    if body.endswith("%"):
        body, kind, pattern = body[:-1], "PERCENT", "0.00%" if "." in body else "0%"
    if not _NUMBER.match(body) or not any(c.isdigit() for c in body):
        return None
    if kind is None and "," in body:
        kind, pattern = "NUMBER", "#,##0.00" if "." in body else "#,##0"
    try:
        number = Decimal(body.replace(",", ""))
    except InvalidOperation:
        return None
    number = number / 100 if kind == "PERCENT" else number
    return Cell(tidy(-number if negative else number), None, kind, pattern)


def _typed_date(text: str) -> Cell | None:
    if match := _ISO.match(text):
        year, month, day, *clock = match.groups()
        pattern = "yyyy-mm-dd"
    elif match := _US.match(text):
        month, day, year, *clock = match.groups()
        pattern = "m/d/yyyy"
    else:
        return None
    try:
        full = int(year) + (2000 if len(year) == 2 and int(year) < 50 else 1900 if len(year) == 2 else 0)
        hour, minute, second = (int(part or 0) for part in clock)
        moment = datetime(full, int(month), int(day), hour, minute, second)  # noqa: DTZ001
    except ValueError:
        return None
    if clock[0] is None:
        return Cell(serial(moment), None, "DATE", pattern)
    return Cell(serial(moment), None, "DATE_TIME", f"{pattern} h:mm:ss")


def dated(day: date) -> Cell:
    """A date as a sheet keeps it."""
    return Cell(serial(datetime(day.year, day.month, day.day)), None, "DATE", "m/d/yyyy")  # noqa: DTZ001


def serial(moment: datetime) -> int | Decimal:
    """The serial number: days since 30 December 1899."""
    passed = moment - EPOCH
    return tidy(Decimal(passed.days) + round(Decimal(passed.seconds) / 86400, 10))


_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _arithmetic(node: ast.expr) -> Decimal:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return Decimal(_OPERATORS[type(node.op)](_arithmetic(node.left), _arithmetic(node.right)))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_arithmetic(node.operand)
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return Decimal(str(node.value))
    raise ValueError("not plain arithmetic")


def _formula(text: str) -> Cell:
    """Links and arithmetic on plain numbers are computed; any other formula is kept and shown as its text."""
    if match := _LINK.match(text):
        link, label = match.group(1), match.group(2)
        return Cell((label if label is not None else link).replace('""', '"'), text)
    try:
        return Cell(tidy(_arithmetic(ast.parse(text[1:].strip(), mode="eval").body)), text)
    except ArithmeticError:
        return Cell("#DIV/0!", text)
    except (SyntaxError, ValueError, RecursionError):
        return Cell(text, text)


def render(cell: Cell | None, option: str, dates: str) -> Any:
    """A cell's JSON for FORMATTED_VALUE, UNFORMATTED_VALUE or FORMULA; `dates` is SERIAL_NUMBER or FORMATTED_STRING."""
    if cell is None:
        return ""
    if option == "FORMULA" and cell.formula:
        return cell.formula
    if option == "FORMATTED_VALUE" or (dates == "FORMATTED_STRING" and cell.kind in ("DATE", "DATE_TIME")):
        return shown(cell)
    return cell.value


def shown(cell: Cell) -> str:
    """The text that a person sees."""
    value = cell.value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, str):
        return value
    if cell.kind in ("DATE", "DATE_TIME"):
        return _shown_date(value, cell.pattern or "m/d/yyyy")
    if cell.kind in ("CURRENCY", "NUMBER"):
        sign, digits = ("-" if value < 0 else ""), 2 if ".00" in (cell.pattern or ".00") else 0
        return f"{sign}{'$' if cell.kind == 'CURRENCY' else ''}{abs(Decimal(value)):,.{digits}f}"
    if cell.kind == "PERCENT":
        return f"{Decimal(value) * 100:.{2 if '.00' in (cell.pattern or '') else 0}f}%"
    return str(value) if isinstance(value, int) else f"{float(value):.15g}"


def _shown_date(value: int | Decimal, pattern: str) -> str:
    try:
        moment = EPOCH + timedelta(seconds=round(float(value) * 86400))
    except OverflowError:
        return str(value)
    day = f"{moment:%Y-%m-%d}" if pattern.startswith("yyyy") else f"{moment.month}/{moment.day}/{moment.year}"
    return f"{day} {moment.hour}:{moment:%M:%S}" if "h:mm" in pattern else day
