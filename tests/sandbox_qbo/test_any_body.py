"""Hypothesis: no body, statement or batch makes the stand-in answer 5xx; what is accepted leaves the books whole."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sandbox.qbo.company.schema import KINDS
from sandbox.qbo.door.api import dumps
from sandbox.qbo.rules.validation import parse_json

from .bodies import bill, budget, deposit, inventory, invoice, journal, payment, purchase, time_activity
from .conftest import Books, StandIn

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(
        ["", "1", "0", "2026-01-01", "TAX", "1.005", "-1", "true", "Credit", "SalesItemLineDetail", "NaN", "1e400", "\u2019"]
    ),
)
NAMES = sorted({name for entity in KINDS.values() for name in entity.props})
ANY = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*NAMES, "value", "Amount", "TxnId", "TxnType"]), inner, max_size=4),
    ),
    max_leaves=12,
)
STARTS: dict[str, dict[str, Any]] = {
    "Invoice": invoice(),
    "Bill": bill(),
    "Payment": payment(5),
    "JournalEntry": journal(),
    "Deposit": deposit(),
    "Purchase": purchase(),
    "TimeActivity": time_activity(),
    "Budget": budget(),
    "Item": inventory(),
    "Customer": {"DisplayName": "x"},
    "Attachable": {"Note": "x"},
}
CALM = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def check(books: Books, path: str, raw: bytes, **params: Any) -> None:
    answer = books.call("POST", path, content=raw, params=params, headers={"content-type": "application/json"})
    assert answer.status_code < 500, answer.text


@CALM
@given(kind=st.sampled_from(sorted(KINDS)), body=ANY, operation=st.sampled_from(["", "create", "update", "delete", "void", "x"]))
def test_any_body_to_any_entity(books: Books, kind: str, body: Any, operation: str) -> None:
    check(books, kind.lower(), orjson.dumps(body), operation=operation)


@CALM
@given(kind=st.sampled_from(sorted(STARTS)), data=st.data())
def test_a_good_body_with_any_property_spoilt(books: Books, kind: str, data: st.DataObject) -> None:
    body = {**STARTS[kind], data.draw(st.sampled_from(sorted(KINDS[kind].props))): data.draw(ANY)}
    check(books, kind.lower(), orjson.dumps(body))


@CALM
@given(
    detail=st.dictionaries(
        st.sampled_from(["Qty", "UnitPrice", "ItemRef", "TaxCodeRef", "ServiceDate", "DiscountRate", "ClassRef"]), SCALARS
    ),
    amount=SCALARS,
)
def test_any_line(books: Books, detail: dict[str, Any], amount: Any) -> None:
    body = invoice({"DetailType": "SalesItemLineDetail", "Amount": amount, "SalesItemLineDetail": detail})
    check(books, "invoice", orjson.dumps(body))


@CALM
@given(raw=st.binary(max_size=60))
def test_any_bytes(books: Books, raw: bytes) -> None:
    for path in ("invoice", "batch", "query", "upload", "taxservice/taxcode"):
        check(books, path, raw)


@CALM
@given(
    items=st.lists(
        st.one_of(ANY, st.fixed_dictionaries({"bId": SCALARS, "operation": SCALARS, "Invoice": ANY, "Query": SCALARS})),
        max_size=4,
    )
)
def test_any_batch(books: Books, items: list[Any]) -> None:
    check(books, "batch", orjson.dumps({"BatchItemRequest": items}))


WORDS = st.sampled_from(
    [
        "select",
        "*",
        "from",
        "Invoice",
        "Customer",
        "where",
        "Id",
        "DocNumber",
        "TotalAmt",
        "=",
        "<",
        "in",
        "like",
        "(",
        ")",
        ",",
        "'x'",
        "'5'",
        "and",
        "or",
        "orderby",
        "maxresults",
        "startposition",
        "5",
        "'",
        "%",
    ]
)


@CALM
@given(words=st.lists(WORDS, max_size=12))
def test_any_statement(books: Books, words: list[str]) -> None:
    answer = books.call("GET", "query", params={"query": " ".join(words)})
    assert answer.status_code < 500, answer.text


@settings(max_examples=300, deadline=None)
@given(quantity=st.decimals(min_value=0, max_value=100_000, places=3), price=st.decimals(min_value=0, max_value=10_000, places=4))
def test_money_goes_in_and_out_exactly(standin: StandIn, quantity: Decimal, price: Decimal) -> None:
    total = (quantity * price).quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
    parsed = parse_json(f'{{"a": {total}, "b": {quantity}, "c": {price}}}'.encode())
    again = orjson.loads(dumps({"a": total}))["a"]
    assert Decimal(str(parsed["a"])) == total
    assert Decimal(repr(again)) == total
    assert Decimal(str(parsed["b"])) * Decimal(str(parsed["c"])) == quantity * price


@pytest.mark.parametrize("text", ["123456789012345.67", "0.1234567890123456789", "99999999999999999999"])
def test_numbers_too_long_for_a_float_stay_exact(text: str) -> None:
    assert Decimal(parse_json(f'{{"a": {text}}}'.encode())["a"]) == Decimal(text)
