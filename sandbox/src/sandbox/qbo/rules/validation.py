"""Turns a request body into clean values by the schema: types, lengths, enums, references; numbers become Decimal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import orjson

from sandbox.qbo.company.clock import epoch_of
from sandbox.qbo.company.schema import KINDS, SALES_FORMS, Entity
from sandbox.qbo.company.shapes import SHAPES
from sandbox.qbo.company.store import Company, Doc
from sandbox.qbo.rules.faults import Fault

CENT = Decimal("0.01")
FIVE_PLACES = Decimal("0.00001")
MONEY_LIMIT = Decimal(10) ** 10  # "15 digits, 10.5 format"
NUMBER_LIMIT = Decimal(99999999999)  # UnitPrice <= 99999999999
NAME_FIELD = {"Customer": "DisplayName", "Vendor": "DisplayName", "Employee": "DisplayName"}
WORDS = {"TaxCode": frozenset({"TAX", "NON", "CustomSalesTax"}), "Item": frozenset({"SHIPPING_ITEM_ID", "GRATUITY_ITEM_ID"})}
_WORD_REFS: dict[str, dict[str, str]] = {}  # shared, as thousands of lines hold the same word
DROP = object()  # the property was sent empty: as if it had not been sent
CLEAR = object()  # the property was sent as null

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s,;<>]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_PLAIN_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
_GROUPED_NUMBER = re.compile(r"[-+]?[0-9][0-9.,_' ]*")
# A number of more than 15 significant digits does not survive a float; 16 characters of digits and point may hold one.
_LONG_NUMBER = re.compile(rb"[0-9][0-9.]{15,}")

Checker = Callable[[Any, str, Company], Any]


def cents(value: Decimal) -> Decimal:
    """Half up to two places, as QuickBooks does."""
    return value.quantize(CENT, rounding=ROUND_HALF_UP)


def parse_json(raw: bytes) -> Any:
    """Body as Python values; numbers stay exact. Raises Fault 2010 or 500 (bad bytes) for what is no JSON."""
    try:
        if _LONG_NUMBER.search(raw):
            return json.loads(raw.decode(), parse_float=Decimal, parse_constant=_no_constant)
        return orjson.loads(raw)
    except UnicodeDecodeError as error:
        raise Fault("500", detail=f"Unsupported Operation: Invalid byte 1 of 1-byte UTF-8 sequence. {error.reason}") from None
    except (ValueError, RecursionError):
        try:
            raw.decode()
        except UnicodeDecodeError:
            raise Fault("500", detail="Unsupported Operation: Invalid byte 1 of 1-byte UTF-8 sequence.") from None
        raise Fault("2010", detail="Property Name:failed to parse json object; the request body is no valid JSON") from None


def _no_constant(text: str) -> Any:
    raise ValueError(text)


def number(value: Any, name: str, code: str = "2090") -> Decimal:
    """Any way a client writes a number, as Decimal; Fault `code` for anything else."""
    kind = type(value)
    if kind is int:
        result = Decimal(value)
    elif kind is float:
        result = Decimal(repr(value))
    elif kind is Decimal:
        result = value
    elif kind is str:
        # not Decimal's own grammar, which takes "1_000", "NaN" and digits of any script
        if not _PLAIN_NUMBER.fullmatch(value.strip()):
            raise Fault(code, element=name, value=value)
        result = Decimal(value.strip())
    else:
        raise Fault(code, element=name, value=value)
    return result


def _decimal(value: Any, name: str) -> Decimal:
    """A decimal property: 2100 for one written in another way ("1,000.50"), 2110 for no finite one, 2090 for no number."""
    if type(value) is str and not _PLAIN_NUMBER.fullmatch(text := value.strip()):
        if _GROUPED_NUMBER.fullmatch(text):
            raise Fault("2100", element=name, value=value)
        if text.lower().lstrip("+-") in ("nan", "inf", "infinity"):
            raise Fault("2110", element=name, value=value)
    return number(value, name)


def _money(value: Any, name: str, company: Company) -> Any:
    if value == "":
        return DROP
    amount = number(value, name, "2140")
    if abs(amount) >= MONEY_LIMIT:
        raise Fault("2140", element=name, value=value)
    return amount.quantize(FIVE_PLACES, rounding=ROUND_HALF_UP) if amount.as_tuple().exponent < -5 else amount  # type: ignore[operator]


def _num(value: Any, name: str, company: Company) -> Any:
    if value == "":
        return DROP
    code = "2160" if name in ("Qty", "Quantity", "QtyOnHand") else "2150" if "Percent" in name else ""
    amount = number(value, name, code) if code else _decimal(value, name)
    if abs(amount) > NUMBER_LIMIT:
        raise Fault("2240", element=name, value=value, limit="-99999999999 and 99999999999")
    if "Percent" in name and not -100 <= amount <= 100 and name != "Percent":
        raise Fault("2150", element=name, value=value)
    return amount


def _pos(value: Any, name: str, company: Company) -> Any:
    amount = _num(value, name, company)
    if amount is not DROP and amount < 0:
        raise Fault("2240", element=name, value=value, limit="0 and 99999999999")
    return amount


def _int(low: int, high: int) -> Checker:
    def check(value: Any, name: str, company: Company) -> Any:
        if value == "":
            return DROP
        grouped = type(value) is str and _GROUPED_NUMBER.fullmatch(value.strip())
        amount = number(value, name, "2080" if grouped else "2090")
        if amount != amount.to_integral_value():
            raise Fault("2080", element=name, value=value)
        if not low <= amount <= high:
            raise Fault("2150" if "Percent" in name else "2240", element=name, value=value, limit=f"{low} and {high}")
        return int(amount)

    return check


def _text(limit: int) -> Checker:
    def check(value: Any, name: str, company: Company) -> Any:
        if type(value) is not str:
            if type(value) in (int, float, Decimal):
                value = str(value)
            else:
                raise Fault("2120", element=name, value=value)
        if len(value) > limit:
            raise Fault("2050", element=name, value=len(value), limit=limit)
        if _CONTROL.search(value):
            raise Fault("2040", element=name, value=value)
        return value

    return check


def _id(value: Any, name: str, company: Company) -> Any:
    if type(value) is int:
        value = str(value)
    if value in ("", "0", "-1"):
        return DROP
    if (
        type(value) is not str
        or not value.removeprefix("-").isascii()
        or not value.removeprefix("-").isdigit()
        or len(value) > 20
    ):
        raise Fault("2030", element=name, value=value)
    return value


def _bool(value: Any, name: str, company: Company) -> Any:
    if value is True or value is False:
        return value
    if type(value) is str and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if value == "":
        return DROP
    raise Fault("2230", element=name, value=value)


def _date(value: Any, name: str, company: Company) -> Any:
    if value == "":
        return DROP
    if type(value) is not str or not _DATE.match(value):
        raise Fault("2060", element=name, value=value)
    text = value[:10]
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise Fault("2070", element=name, value=value) from None
    if len(value) > 10 and value[10] not in "T+-Z ":
        raise Fault("2060", element=name, value=value)
    if not 1900 <= day.year <= 2200:
        raise Fault("2190", element=name, value=value)
    return text


def _time(value: Any, name: str, company: Company) -> Any:
    if value == "":
        return DROP
    if type(value) is not str:
        raise Fault("2060", element=name, value=value)
    try:
        epoch_of(value)
    except (ValueError, OverflowError, OSError):
        raise Fault("2060", element=name, value=value) from None
    return value


def _email(value: Any, name: str, company: Company) -> Any:
    if value == "":
        return DROP
    if type(value) is not str:
        raise Fault("2120", element=name, value=value)
    if len(value) > 100:
        raise Fault("2050", element=name, value=len(value), limit=100)
    if not all(_EMAIL.fullmatch(part.strip()) for part in value.split(",")):
        raise Fault("2210", element=name, value=value)
    return value


def _url(value: Any, name: str, company: Company) -> Any:
    if value == "":
        return DROP
    if type(value) is not str:
        raise Fault("2120", element=name, value=value)
    if len(value) > 1000:
        raise Fault("2050", element=name, value=len(value), limit=1000)
    if " " in value.strip() or "." not in value:
        raise Fault("2200", element=name, value=value)
    return value


def _enum(allowed: str) -> Checker:
    values = {value.casefold().replace("_", "").replace(" ", ""): value for value in allowed.split("|")}
    exact = {value: value for value in values.values()}  # one shared string for each value, as documents keep it

    def check(value: Any, name: str, company: Company) -> Any:
        if type(value) is str:
            known = exact.get(value)
            if known is not None:
                return known
            if value == "":
                return DROP
            # upper snake case is seen in Intuit's own samples (NEED_TO_PRINT)
            found = values.get(value.casefold().replace("_", "").replace(" ", ""))
            if found:
                return found
        raise Fault("2170", element=name, value=value)

    return check


def _any(value: Any, name: str, company: Company) -> Any:
    if type(value) is dict and name in ("CreditCardPayment", "CCDetail"):
        _refuse_card_number(value)
    return _exact(value)


def _refuse_card_number(value: Any) -> None:
    """A raw card number must not be sent: 13 to 19 digits under Number."""
    for key, item in value.items():
        if isinstance(item, dict):
            _refuse_card_number(item)
        elif key == "Number" and re.fullmatch(r"[\d -]{13,23}", str(item)):
            raise Fault("6530", element="CreditCardPayment")


def _exact(value: Any) -> Any:
    kind = type(value)
    if kind is float:
        return Decimal(repr(value))
    if kind is dict:
        return {key: _exact(item) for key, item in value.items()}
    if kind is list:
        return [_exact(item) for item in value]
    return value


def _ignored(value: Any, name: str, company: Company) -> Any:
    return DROP


def display_name(kind: str, doc: Doc) -> str:
    """What a reference to the document shows as `name`."""
    return str(doc.get(NAME_FIELD.get(kind, "FullyQualifiedName")) or doc.get("Name") or doc.get("DisplayName") or "")


def _ref(kinds: str) -> Checker:
    targets = kinds.split("|") if kinds else []
    words = frozenset().union(*(WORDS.get(kind, frozenset()) for kind in targets))
    allowed = SHAPES["Ref"]

    def check(value: Any, name: str, company: Company) -> Any:
        if type(value) is not dict:
            if value == "":
                return DROP
            raise Fault("2120", element=name, value=value)
        for key in value:
            if key not in allowed:
                raise Fault("2010", element=key)
        target = value.get("value")
        if type(target) is int:
            target = str(target)
        if target is None or target == "":
            return DROP
        if type(target) is not str:
            raise Fault("2120", element=name, value=target)
        if not targets:
            return {key: item for key, item in value.items() if item is not None}
        if target in words:
            return _WORD_REFS.setdefault(target, {"value": target})
        for kind in targets:
            doc = company.entities.get(kind, {}).get(target)
            if doc is not None and doc.get("Active", True):
                if len(targets) > 1:
                    wanted = value.get("type") or value.get("Type")
                    if wanted and str(wanted).upper() != kind.upper():
                        continue
                    return {"value": target, "name": display_name(kind, doc), "type": kind}
                return company.reference(kind, target, doc)
        raise Fault("2500", element=name, value=target, target=name.removesuffix("Ref") + "s")

    return check


def _obj(shape: str) -> Checker:
    def check(value: Any, name: str, company: Company) -> Any:
        if type(value) is not dict:
            if value == "":
                return DROP
            raise Fault("2120", element=name, value=value)
        cleaned = clean_shape(shape, value, company)
        return _address(cleaned, name) if shape == "Address" else cleaned

    return check


def _address(value: dict[str, Any], name: str) -> dict[str, Any]:
    """Each line may have 500 characters, all five together 2,000."""
    length = sum(len(value.get(f"Line{number}", "")) for number in range(1, 6))
    if length > 2000:
        raise Fault("2050", element=name, value=length, limit=2000)
    return value


def _has_price(line: dict[str, Any]) -> bool:
    """Does the line say its amount by Qty and UnitPrice?"""
    detail = line.get(str(line.get("DetailType")))
    return type(detail) is dict and "Qty" in detail and "UnitPrice" in detail


def _list(shape: str) -> Checker:
    def check(value: Any, name: str, company: Company) -> Any:
        if type(value) is not list:
            if value == "":
                return DROP
            if type(value) is dict:  # some clients send a single element bare
                value = [value]
            else:
                raise Fault("2120", element=name, value=value)
        if len(value) > 10_000:
            raise Fault("6000", detail="Business Validation Error: a transaction can have at most 10,000 lines.")
        out = []
        for item in value:
            if type(item) is not dict:
                raise Fault("2120", element=name, value=item)
            line = clean_shape(shape, item, company)
            if item.get("Amount") == "" and not _has_price(line):
                line["Amount"] = Decimal(0)  # clients send an empty text for zero
            out.append(line)
        return out

    return check


def _checker(spec: str) -> Checker:
    spec = spec.removeprefix("!")
    if spec.startswith("="):
        return _ignored
    kind, _, rest = spec.partition(":")
    if kind == "int":
        low, _, high = rest.partition(":")
        return _int(int(low), int(high))
    makers: dict[str, Callable[[], Checker]] = {
        "text": lambda: _text(int(rest)),
        "enum": lambda: _enum(rest),
        "ref": lambda: _ref(rest),
        "obj": lambda: _obj(rest),
        "list": lambda: _list(rest),
    }
    plain: dict[str, Checker] = {
        "money": _money,
        "num": _num,
        "pos": _pos,
        "id": _id,
        "bool": _bool,
        "date": _date,
        "time": _time,
        "email": _email,
        "url": _url,
        "any": _any,
    }
    return plain[kind] if kind in plain else makers[kind]()


_SHAPE_CHECKERS: dict[str, dict[str, Checker]] = {
    shape: {name: _checker(spec) for name, spec in props.items()} for shape, props in SHAPES.items()
}
_ENTITY_CHECKERS: dict[str, dict[str, Checker]] = {
    kind: {name: _checker(spec) for name, spec in entity.props.items()} for kind, entity in KINDS.items()
}
REQUIRED: dict[str, tuple[str, ...]] = {
    kind: tuple(name for name, spec in entity.props.items() if spec.startswith("!")) for kind, entity in KINDS.items()
}


def clean_shape(shape: str, value: dict[str, Any], company: Company) -> dict[str, Any]:
    """A nested object by its shape; nulls and empty values are left out."""
    checkers = _SHAPE_CHECKERS[shape]
    out = {}
    for key, item in value.items():
        check = checkers.get(key)
        if check is None:
            raise Fault("2010", element=key)
        if item is None:
            continue
        cleaned = check(item, key, company)
        if cleaned is not DROP:
            out[key] = cleaned
    return out


def _sales_customer(fault: Fault, entity: Entity, item: Any, company: Company) -> Fault:
    """6250 instead of 2500 if a sales form names an inactive customer."""
    if fault.code != "2500" or entity.kind not in SALES_FORMS or type(item) is not dict:
        return fault
    return Fault("6250") if company.get("Customer", str(item.get("value"))) else fault


def clean(entity: Entity, body: Any, company: Company) -> dict[str, Any]:
    """The writable properties of a body; a property sent as null is CLEAR, one sent empty is left out.

    Raises Fault 2010 for an unknown property and the code of the first property that does not fit.
    """
    if type(body) is not dict:
        raise Fault("2010", detail="Property Name:failed to parse json object; the request body is no object")
    checkers = _ENTITY_CHECKERS[entity.kind]
    out: dict[str, Any] = {}
    for key, item in body.items():
        check = checkers.get(key)
        if check is None:
            raise Fault("2010", element=key)
        if item is None:
            out[key] = CLEAR
            continue
        try:
            cleaned = check(item, key, company)
        except Fault as fault:
            raise (_sales_customer(fault, entity, item, company) if key == "CustomerRef" else fault) from None
        if cleaned is not DROP:
            out[key] = cleaned
    return out
