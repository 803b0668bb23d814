"""Money: Decimal throughout, half up to cents in one place, floats refused."""

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from bookrelay import money
from bookrelay.money import LARGEST, Amount, Quantity, parse_amount, to_cents
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError


class Holder(BaseModel):
    amount: Amount


class Measured(BaseModel):
    quantity: Quantity


@pytest.mark.parametrize(
    ("exact", "rounded"),
    [
        ("1861.075", "1861.08"), ("-1861.075", "-1861.08"), ("0.005", "0.01"), ("0.0049999", "0.00"), ("-0.004", "0.00"),
        ("2.675", "2.68"), ("1.005", "1.01"), ("10", "10.00"), ("1E+3", "1000.00"), ("0.0049999999999999999999999999", "0.00"),
    ],
)  # fmt: skip
def test_cents_are_rounded_half_up(exact: str, rounded: str) -> None:
    assert str(to_cents(Decimal(exact))) == rounded


def test_the_known_line_of_the_emr_comes_out_as_quickbooks_shows_it() -> None:
    assert to_cents(Decimal("128.350") * Decimal("14.50")) == Decimal("1861.08")


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=7))
def test_rounding_is_to_the_nearest_cent_and_away_from_zero_in_the_middle(value: Decimal) -> None:
    cents = to_cents(value)
    distance = abs(Fraction(cents) - Fraction(value))
    assert distance <= Fraction(1, 200)
    if distance == Fraction(1, 200):
        assert abs(cents) > abs(value)
    assert to_cents(cents) == cents
    assert not (cents == 0 and cents.is_signed())
    assert to_cents(-value) == -cents or cents == 0


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("1234.5", "1234.5"), ("$1,234.50", "1234.50"), (" 1,234,567.89 ", "1234567.89"), ("(12.00)", "-12.00"), ("-3", "-3"),
        ("+3", "3"), ("€5", "5"), ("£ 0.10", "0.10"), (".5", "0.5"), ("5.", "5."), ("1\u00a0000", "1000"), ("($1,000)", "-1000"),
    ],
)  # fmt: skip
def test_amounts_are_read_as_people_type_them(typed: str, value: str) -> None:
    assert parse_amount(typed) == Decimal(value)


@pytest.mark.parametrize(
    "typed",
    ["", " ", "abc", "12,50", "1,23", "1.234,50", "1..2", "--1", "1e5", "NaN", "Infinity", "12 USD", "1,2345", ",5", "()", "5-"],
)
def test_anything_else_is_refused_with_a_reason(typed: str) -> None:
    with pytest.raises(ValueError, match="is not an amount"):
        parse_amount(typed)


@given(st.decimals(min_value=0, max_value=10**9, places=2))
def test_what_is_written_with_separators_is_read_back(value: Decimal) -> None:
    assert parse_amount(f"${value:,}") == value
    assert parse_amount(f"({value:,})") == -value


@pytest.mark.parametrize("wrong", [1.5, True, float("nan"), "NaN", "Infinity", "abc", "", None, [], "1.001", "0.005", "1e15"])
def test_an_amount_refuses_what_is_no_whole_number_of_cents(wrong: object) -> None:
    with pytest.raises(ValidationError):
        Holder.model_validate({"amount": wrong})


def test_an_amount_in_json_as_a_number_is_refused_where_it_would_be_a_float() -> None:
    with pytest.raises(ValidationError):
        Holder.model_validate_json('{"amount": 1861.08}')


@pytest.mark.parametrize(
    ("given_", "written"), [("1861.08", "1861.08"), ("10", "10.00"), ("-0.00", "0.00"), ("1e2", "100.00"), (7, "7.00")]
)
def test_an_amount_is_written_as_a_string_with_two_digits(given_: object, written: str) -> None:
    holder = Holder.model_validate({"amount": given_})
    assert holder.model_dump_json() == f'{{"amount":"{written}"}}'
    assert Holder.model_validate_json(holder.model_dump_json()) == holder


def test_the_largest_amount_is_quickbooks_s() -> None:
    assert Holder(amount=LARGEST).amount == Decimal("9999999999999.99")
    with pytest.raises(ValidationError, match="15 digits"):
        Holder(amount=LARGEST + Decimal("0.01"))


def test_a_quantity_keeps_every_digit() -> None:
    measured = Measured.model_validate({"quantity": "0.3333333"})
    assert measured.model_dump_json() == '{"quantity":"0.3333333"}'
    assert Measured.model_validate({"quantity": "1E+2"}).model_dump_json() == '{"quantity":"100"}'
    for wrong in (0.5, False, "NaN", "Infinity", "x"):
        with pytest.raises(ValidationError):
            Measured.model_validate({"quantity": wrong})


def test_json_is_parsed_with_decimals() -> None:
    value = money.loads('{"a": 128.350, "b": [0.1, 1e-7], "c": 3}')
    assert value == {"a": Decimal("128.350"), "b": [Decimal("0.1"), Decimal("1E-7")], "c": 3}
    assert str(value["a"]) == "128.350"
    assert sum(value["b"], start=Decimal(0)).quantize(Decimal("0.01"), ROUND_HALF_UP) == Decimal("0.10")


@pytest.mark.parametrize("schema_of", [Holder, Measured])
def test_the_schema_says_string(schema_of: type[BaseModel]) -> None:
    (field,) = schema_of.model_json_schema()["properties"].values()
    assert field["type"] == "string"
