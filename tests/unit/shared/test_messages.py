"""Messages: ids follow from content, the hash survives additive change, times are aware and UTC."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from bookrelay import messages as m
from bookrelay.messages import adapter, canonical_json, content_hash, subject_of
from pydantic import ValidationError

MOMENT = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)


def content(**changes: Any) -> m.InvoiceContent:
    whole = {
        "customer": m.Party(name="A"), "txn_date": date(2026, 11, 2),
        "lines": (m.InvoiceLine(amount=Decimal("10.00")),), **changes,
    }  # fmt: skip
    return m.InvoiceContent(**whole)


def command(**changes: Any) -> m.UpsertInvoice:
    whole = {
        "realm": "1", "source": "emr", "source_key": "12", "version": 3, "modified_at": MOMENT, "content": content(), **changes,
    }  # fmt: skip
    return m.UpsertInvoice.of(m.UpsertInvoiceData(**whole), sender="emr-poller")


def event(**changes: Any) -> m.DocumentHeld:
    whole = {
        "realm": "1", "source": "emr", "source_key": "12", "kind": m.Kind.INVOICE, "version": 3, "reason": "x", **changes,
    }  # fmt: skip
    return m.DocumentHeld.of(m.DocumentHeldData(**whole), sender="qbo-writer", time=MOMENT)


def test_the_same_command_read_twice_is_the_same_bytes() -> None:
    assert command().encode() == command().encode()


@pytest.mark.parametrize(
    "change",
    [
        {"realm": "2"}, {"source": "sheet"}, {"source_key": "13"}, {"version": 4},
        {"modified_at": MOMENT + timedelta(microseconds=1)},
        {"content": content(memo="other")}, {"content": content(lines=(m.InvoiceLine(amount=Decimal("10.01")),))},
    ],
)  # fmt: skip
def test_another_command_has_another_id(change: dict[str, Any]) -> None:
    assert command(**change).id != command().id


def test_an_invoice_and_a_bill_of_one_key_are_different_commands() -> None:
    shared = {"realm": "1", "source": "s", "source_key": "k", "version": 1, "modified_at": MOMENT, "reason": "gone"}
    ids = {m.RetractDocument.of(m.RetractDocumentData(kind=kind, **shared), sender="sheet-watcher").id for kind in m.Kind}
    assert len(ids) == len(m.Kind)


def test_priority_and_sender_are_no_part_of_a_command_s_identity() -> None:
    assert command(priority=m.Priority.BACKFILL).id == command().id


def test_the_same_moment_in_another_zone_is_the_same_command() -> None:
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=-7)))
    assert command(modified_at=elsewhere).encode() == command().encode()


@pytest.mark.parametrize("naive", [datetime(2026, 11, 2, 9, 30), "2026-11-02T09:30:00"])  # noqa: DTZ001
def test_a_time_without_a_zone_is_refused(naive: object) -> None:
    with pytest.raises(ValidationError, match="timezone"):
        command(modified_at=naive)


def test_times_are_written_in_utc_with_microseconds() -> None:
    assert b'"time":"2026-11-02T09:30:00.000000Z"' in command().encode()


def test_an_optional_field_that_is_not_used_does_not_change_a_hash() -> None:
    """So that a field added later leaves the ids of everything that does not use it."""
    assert canonical_json(content()) == ('{"customer":{"name":"A"},"lines":[{"amount":"10.00"}],"txn_date":"2026-11-02"}')
    assert content_hash(content(memo=None)) == content_hash(content())


def test_amounts_that_are_equal_hash_equally() -> None:
    assert content_hash(content(lines=(m.InvoiceLine(amount=Decimal("10")),))) == content_hash(content())


def test_a_different_end_of_a_command_is_a_different_event() -> None:
    assert event().id == event().id
    assert event(reason="told otherwise").id == event().id  # the same end, told twice
    assert event(occurrence=1).id != event().id
    assert event(version=4).id != event().id
    other = m.DocumentSkipped.of(
        m.DocumentSkippedData(realm="1", source="emr", source_key="12", kind=m.Kind.INVOICE, version=3, reason="x"),
        sender="qbo-writer",
        time=MOMENT,
    )
    assert other.id != event().id


def test_the_key_keeps_the_order_of_a_document() -> None:
    assert command().key() == event().key() == b"1:emr:12"
    assert subject_of("1", "sheet:a", "row-2") == "1:sheet:a:row-2"


def test_a_message_is_frozen() -> None:
    with pytest.raises(ValidationError):
        command().subject = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    "change",
    [
        {"lines": ()}, {"customer": {"name": ""}}, {"customer": {"name": "x" * 501}}, {"txn_date": "yesterday"},
        {"terms": "x" * 32},
        {"custom_fields": [{"name": "a", "value": "x" * 32}]}, {"lines": [{"amount": 10.0}]}, {"lines": [{"amount": "10.001"}]},
    ],
)  # fmt: skip
def test_a_content_that_quickbooks_would_refuse_is_refused_here(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        content(**change)


def test_a_total_is_the_sum_of_the_lines() -> None:
    lines = tuple(m.InvoiceLine(amount=Decimal(text)) for text in ("0.10", "0.20", "-0.05"))
    assert content(lines=lines).total == Decimal("0.25")


def wrong_messages() -> Iterator[tuple[str, bytes]]:
    good = command().encode()
    yield "another type", good.replace(b"bookrelay.invoice.upsert.v1", b"bookrelay.invoice.upsert.v9")
    yield "another kind", good.replace(b'"kind":"invoice"', b'"kind":"bill"')
    yield "no id", good.replace(b'"id":', b'"no":')
    yield "another version of CloudEvents", good.replace(b'"specversion":"1.0"', b'"specversion":"0.3"')
    yield "a source that is not ours", good.replace(b"/bookrelay/emr-poller", b"https://example.org")
    yield "no JSON", good[:-1]
    yield "nothing", b""
    yield "null", b"null"
    yield "not UTF-8", b"\xff" + good


@pytest.mark.parametrize(("what", "value"), wrong_messages(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_message_that_is_none_is_refused(what: str, value: bytes) -> None:
    with pytest.raises(ValidationError):
        adapter(m.COMMANDS).validate_json(value)


def test_an_event_is_not_read_as_a_command() -> None:
    with pytest.raises(ValidationError):
        adapter(m.COMMANDS).validate_json(event().encode())


def test_types_follow_the_naming_rule_and_never_use_intuit_s_prefix() -> None:
    import re

    for type_, message in m.REGISTRY.items():
        assert re.fullmatch(r"bookrelay\.[a-z-]+\.[a-z-]+\.v1", type_)
        assert message.model_fields["type"].default == type_ == message.TYPE
        assert message.__doc__
