"""Text that can be stored: what is taken out, what is refused, and that every field of every message has its limit."""

import json
import pkgutil
from decimal import Decimal
from typing import Any

import bookrelay
import pytest
from bookrelay import limits, messages
from bookrelay.dead_letters import letter
from bookrelay.money import loads
from bookrelay.texts import clean, shorten, storable_json, without_depths, without_lone_surrogates
from bookrelay_deploy.json_schemas import schemas
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("as it is", "as it is"),
        ("a\x00b", "ab"), ("a\tb\nc\rd", "a\tb\nc\rd"), ("a\x0bb\x1fc", "a b c"), ("\ud83d smile", " smile"),
        ("\U0001f600", "\U0001f600"), ("\x7f\uffff\ufffe", ""), ("\u00a0\u200b", "\u00a0\u200b"),
    ],
)  # fmt: skip
def test_what_can_be_neither_seen_nor_stored_is_taken_out(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@given(st.text(st.characters(codec=None)))
def test_any_text_is_storable_once_it_is_clean(text: str) -> None:
    cleaned = clean(text)
    assert "\x00" not in cleaned
    assert cleaned.encode().decode() == cleaned == clean(cleaned)


@given(st.text(st.characters(codec=None)))
def test_halves_of_characters_become_nul_in_json_and_nothing_else_changes(text: str) -> None:
    whole = "".join(sign for sign in text if not "\ud800" <= sign <= "\udfff")
    for ascii_ in (True, False):
        if ascii_ or whole == text:
            raw = json.dumps(text, ensure_ascii=ascii_).encode()
            read = json.loads(without_lone_surrogates(raw))
            # Two halves that happen to stand side by side are one character in JSON.
            there = json.loads(raw)
            assert read.replace("\0", "") == there.encode("utf-16", "surrogatepass").decode("utf-16", "ignore").replace("\0", "")
            assert len(read) == len(there)


def test_a_backslash_before_a_backslash_escapes_nothing() -> None:
    assert without_lone_surrogates(rb'"\\ud83d \ud83d\ude00 \ud83d"') == rb'"\\ud83d \ud83d\ude00 \u0000"'


def test_an_answer_that_is_kept_loses_what_postgres_refuses() -> None:
    answer = r'{"a": "x\u0000y\u001f", "b": "\ud83d\ude00 \ud83d", "c": "\\u0000 \n \u00e9"}'
    assert storable_json(answer) == r'{"a": "xy", "b": "\ud83d\ude00 ", "c": "\\u0000 \n \u00e9"}'
    assert storable_json("{}") == "{}"


def test_what_is_nested_too_deeply_is_nothing_and_the_rest_stays() -> None:
    text = r'[{"a": [[[1, {}], 2]], "b": "[[[\\\"]"}, [[["x"]]], 3]'
    assert json.loads(without_depths(text, 3)) == [{"a": [None], "b": '[[[\\"]'}, [[None]], 3]
    assert without_depths(text, 6) == text
    assert without_depths("[[[[", 2) == "[[[["  # no JSON: it is left as it is
    deep = "[" * 100_000 + "]" * 100_000
    assert json.loads(without_depths(f"[1, {deep}, 2]", 50))[::2] == [1, 2]


def test_what_is_cut_says_so() -> None:
    assert (shorten("abcd", 4), shorten("abcde", 4)) == ("abcd", "abc…")


@pytest.mark.parametrize("digits", ["9" * 6000, "1E99999999999999999999", "-1e-99999999999999999999"])
def test_a_number_that_nobody_can_hold_spoils_only_itself(digits: str) -> None:
    read = loads(f'{{"a": {digits}, "b": 1.5, "c": 2}}')
    assert read["a"].is_nan()
    assert (read["b"], read["c"]) == (Decimal("1.5"), 2)


def test_json_that_is_nested_too_deeply_is_no_json() -> None:
    with pytest.raises(json.JSONDecodeError, match="too deeply"):
        loads("[" * 100_000)


def _unbounded(schema: Any, root: dict[str, Any], where: str, found: set[str]) -> None:
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    for option in schema.get("anyOf", ()):
        _unbounded(option, root, where, found)
    kind = schema.get("type")
    if kind == "string" and not schema.keys() & {"maxLength", "const", "enum", "format", "pattern"}:
        found.add(where)
    if kind == "integer" and "maximum" not in schema:
        found.add(where)
    if kind == "array":
        if "maxItems" not in schema:
            found.add(where)
        _unbounded(schema["items"], root, f"{where}[]", found)
    for name, inner in schema.get("properties", {}).items():
        _unbounded(inner, root, f"{where}.{name}", found)


def test_every_text_number_and_list_of_every_message_has_its_limit() -> None:
    found: set[str] = set()
    for type_, schema in schemas().items():
        _unbounded(schema, schema, type_, found)
    assert found == set()


def test_limits_are_stated_once() -> None:
    """A number of `limits` that stands in a model by itself would not be told by the other places that use it."""
    assert {"limits", "texts", "blame", "dead_letters"} <= {module.name for module in pkgutil.iter_modules(bookrelay.__path__)}
    assert (limits.REALM + limits.SOURCE + limits.SOURCE_KEY) * 4 + 100 < 2704, "Postgres' largest row of an index"


def test_the_largest_event_is_within_the_limit_of_a_record() -> None:
    wide = "\U0001f600"
    differences = [messages.Difference(field=wide * limits.NAME, ours=wide * 9999, theirs=wide * 9999)] * 2000
    data = messages.DocumentHeldData(
        realm="r" * limits.REALM, source=wide * limits.SOURCE, source_key=wide * limits.SOURCE_KEY, kind=messages.Kind.INVOICE,
        version=limits.LARGEST_VERSION, reason=wide * 99_999, fix=wide * 99_999, differences=tuple(differences),
    )  # fmt: skip
    event = messages.DocumentHeld.of(data, sender="test", time=messages.datetime(2026, 1, 1, tzinfo=messages.UTC))
    assert len(event.encode()) < limits.RECORD_BYTES - 5_000
    assert len(event.data.differences) == limits.DIFFERENCES
    assert event.data.differences[-1].ours == "1901 more differences"


@pytest.mark.parametrize("key", ["a\x00b", "a\nb", "\ud800", "k" * 401])
def test_an_identifier_is_refused_and_never_cleaned(key: str) -> None:
    """Cleaned, two documents would become one."""
    with pytest.raises(ValidationError):
        messages.CommandDeadLetteredData(realm="1", source="s", source_key=key, kind=messages.Kind.BILL, version=1, reason="r")


def test_a_letter_is_never_larger_than_a_record() -> None:
    from aiokafka import ConsumerRecord

    headers = tuple((f"h{n}", b"v" * 10_000) for n in range(300))
    record = ConsumerRecord("t", 0, 1, 0, 0, b"k" * 3_000_000, b"v" * 3_000_000, None, 1, 1, headers)
    assert limits.record_bytes(*letter(record, "group", "r" * 9999)) < limits.RECORD_BYTES
