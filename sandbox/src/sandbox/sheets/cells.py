"""One cell: how what is typed becomes a value (RAW, USER_ENTERED), and how a value is shown (the render options)."""

import ast
import operator
import re
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

MOMENTS = ("DATE", "TIME", "DATE_TIME")
Value = str | int | Decimal | bool
EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - a sheet's serial numbers know no zone

_NUMBER = re.compile(r"(\d{1,3}(,\d{3})+|\d+)?(\.\d*)?([eE][+-]?\d+)?$")
_CLOCK = r"(\d{1,2}):(\d\d)(?::(\d\d))?(?: ?([AaPp])[Mm])?"
_TIME = re.compile(_CLOCK + "$")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|"
    r"aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
# What Google takes for a date where the locale is en_US: groups (year, month, day), and how it shows it.
_DATES: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(f"{form}(?:[ T]{_CLOCK})?$", re.IGNORECASE), order, pattern)
    for form, order, pattern in (
        (r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})", "ymd", "yyyy-mm-dd"),
        (r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4}|\d\d)", "mdy", "m/d/yyyy"),
        (r"(\d{1,2})/(\d{1,2})", "md", "m/d"),
        (r"(\d{1,2})-(\d{1,2})", "md", "m-d"),
        (rf"{_MONTH}\.? (\d{{1,2}}),? (\d{{4}})", "mdy", "mmm d, yyyy"),
        (rf"(\d{{1,2}})[ -]{_MONTH}\.?[ -](\d{{4}}|\d\d)", "dmy", "d-mmm-yyyy"),
        (rf"{_MONTH}\.?[ -](\d{{4}})", "my", "mmm yyyy"),
        (rf"{_MONTH}\.?[ -](\d{{1,2}})", "md", "mmm d"),
        (rf"(\d{{1,2}})[ -]{_MONTH}\.?", "dm", "d-mmm"),
    )
)
TODAY: ContextVar[date | None] = ContextVar("TODAY", default=None)  # by the stand-in's clock: the year of what names none
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
    if body.startswith(("-", "+")):
        body, negative = body[1:], negative or body[0] == "-"
    if body.startswith("$"):
        body, kind, pattern = body[1:].lstrip(), "CURRENCY", '"$"#,##0.00' if "." in body else '"$"#,##0'
        if body.startswith("-") and not negative:
            body, negative = body[1:], True
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
    if match := _TIME.match(text):
        clock = _clock(*match.groups())
        return Cell(_days(clock), None, "TIME", _clock_pattern(match.group(3), match.group(4))) if clock is not None else None
    for form, order, pattern in _DATES:
        if match := form.match(text):
            parts, clock_parts = match.groups()[: len(order)], match.groups()[len(order) :]
            day = _day(dict(zip(order, parts, strict=True)))
            if day is None:
                continue
            number = serial(datetime(day.year, day.month, day.day))  # noqa: DTZ001
            if clock_parts[0] is None:
                return Cell(number, None, "DATE", pattern)
            clock = _clock(*clock_parts)
            return Cell(number + _days(clock), None, "DATE_TIME", f"{pattern} h:mm:ss") if clock is not None else None
    return None


def _day(parts: dict[str, str]) -> date | None:
    """The date of what was typed: without a year this year's, without a day the first."""
    text = parts.get("y")
    year = (TODAY.get() or date.today()).year if text is None else int(text)  # noqa: DTZ011 - a sheet's dates know no zone
    if text is not None and len(text) == 2:
        year += 2000 if year < 50 else 1900
    month = parts["m"]
    try:
        return date(year, int(month) if month.isdigit() else _MONTHS.index(month[:3].lower()) + 1, int(parts.get("d", "1")))
    except ValueError:
        return None


def _clock(hour: str, minute: str, second: str | None, half: str | None) -> int | None:
    """Seconds since midnight; None for what is no time. Without am or pm more than 24 hours are a duration."""
    hours, minutes, seconds = int(hour), int(minute), int(second or 0)
    if minutes > 59 or seconds > 59 or (half is not None and not 1 <= hours <= 12):
        return None
    if half is not None:
        hours = hours % 12 + (12 if half.lower() == "p" else 0)
    return hours * 3600 + minutes * 60 + seconds


def _clock_pattern(second: str | None, half: str | None) -> str:
    return "h:mm" + (":ss" if second else "") + (" am/pm" if half else "")


def _days(seconds: int) -> int | Decimal:
    return tidy(round(Decimal(seconds) / 86400, 10))


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
    if option == "FORMATTED_VALUE" or (dates == "FORMATTED_STRING" and cell.kind in MOMENTS):
        return shown(cell)
    return cell.value


def shown(cell: Cell) -> str:
    """The text that a person sees."""
    value = cell.value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, str):
        return value
    if cell.kind in MOMENTS:
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
    return _PART.sub(lambda part: _PARTS[part.group()](moment, "am/pm" in pattern), pattern)


_PART = re.compile(r"yyyy|mmm|mm-dd|am/pm|h|mm|ss|m|d")
_PARTS: dict[str, Callable[[datetime, bool], str]] = {
    "yyyy": lambda at, _: f"{at.year:04}",
    "mm-dd": lambda at, _: f"{at:%m-%d}",
    "mmm": lambda at, _: _MONTHS[at.month - 1].title(),
    "m": lambda at, _: str(at.month),
    "d": lambda at, _: str(at.day),
    "h": lambda at, half: str((at.hour % 12 or 12) if half else at.hour),
    "mm": lambda at, _: f"{at.minute:02}",
    "ss": lambda at, _: f"{at.second:02}",
    "am/pm": lambda at, _: "PM" if at.hour >= 12 else "AM",
}
