"""Which number a document should get, before anybody was asked; and the sentences about a number that cannot be had."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qbo_writer import identity
from qbo_writer.domain import CommandState, DocumentStatus, LedgerKind
from qbo_writer.ledger.changes import Number
from qbo_writer.ledger.records import Command, DocumentState
from qbo_writer.policy import Policy
from qbo_writer.protocol import numbering
from qbo_writer.protocol.numbering import Wish

NEW = DocumentState(1, "r", LedgerKind.INVOICE, "emr", "12082", "bookrelay:m")
THERE = replace(NEW, status=DocumentStatus.PRESENT, qbo_id="9", sync_token="0", doc_number="~HASH")
NUMBERED = replace(THERE, doc_number="V-77", number_of="V-77", fields={"doc_number": "V-77"})
REFUSED = replace(NUMBERED, fields={"doc_number": "1"})
REMOVED = replace(NUMBERED, status=DocumentStatus.NOTHING, qbo_id=None, fields=None)
OTHERWISE = replace(NEW, doc_number="~HASH", number_of="V-77")  # it was taken: another one was chosen
SOURCE, DERIVED = Policy(), Policy(numbers="derived", prefixes={"emr": "Q"})
QUICKBOOKS = Policy(numbers="quickbooks")
HASHED = identity.doc_number(SOURCE, "emr", "12082")


def command(number: str | None) -> Command:
    content = {"number": number} if number is not None else {}
    return Command(uuid4(), "upsert", 1, datetime(2026, 11, 1, tzinfo=UTC), "h", CommandState.DUE, content)


@pytest.mark.parametrize(
    ("document", "number", "policy", "expected"),
    [
        (NEW, "V-77", SOURCE, Wish(Number("V-77", "V-77"), asked_for=True)),
        (NEW, " \u200bV-77\u00a0", SOURCE, Wish(Number("V-77", "V-77"), asked_for=True)),
        (NEW, None, SOURCE, Wish(Number(HASHED))),
        (NEW, "\u200b ", SOURCE, Wish(Number(HASHED))),
        (THERE, None, SOURCE, Wish(Number("~HASH"), new=False)),
        (THERE, "V-77", SOURCE, Wish(Number("V-77", "V-77"), asked_for=True)),
        (NUMBERED, "V-77", SOURCE, Wish(Number("V-77", "V-77"), new=False)),
        (NUMBERED, "V-78", SOURCE, Wish(Number("V-78", "V-78"), asked_for=True)),
        (NUMBERED, None, SOURCE, Wish(Number(HASHED))),
        # Asked for with a version that QuickBooks refused: somebody else may have it meanwhile.
        (REFUSED, "V-77", SOURCE, Wish(Number("V-77", "V-77"), asked_for=True)),
        (REMOVED, "V-77", SOURCE, Wish(Number("V-77", "V-77"), asked_for=True)),
        (OTHERWISE, "V-77", SOURCE, Wish(Number("~HASH", "V-77"))),
        (replace(OTHERWISE, doc_number=None), "V-77", SOURCE, Wish(Number(None, "V-77"))),
        (NEW, "V-77", DERIVED, Wish(Number("Q-12082"))),
        (THERE, "V-77", DERIVED, Wish(Number("~HASH"), new=False)),
        (NEW, "V-77", QUICKBOOKS, Wish(Number(None), new=False)),
    ],
)  # fmt: skip
def test_what_a_document_should_get(document: DocumentState, number: str | None, policy: Policy, expected: Wish) -> None:
    assert numbering.wish(document, command(number), policy) == expected


def test_a_number_of_twenty_one_characters_is_the_longest() -> None:
    assert numbering.too_long("x" * 21) is None
    assert "22 characters" in (numbering.too_long("x" * 22) or "")


def test_the_sentence_names_the_other_document_and_no_party() -> None:
    told = numbering.taken("V-77", LedgerKind.INVOICE, replace(NUMBERED, source="sheet", source_key="row-7"))
    assert told == "The number 'V-77' is taken: the invoice 9 in QuickBooks has it, from key 'row-7' of source 'sheet'."
    on_its_way = numbering.taken("V-77", LedgerKind.BILL, replace(NEW, source_key="row-7"))
    assert "a bill that is on its way to QuickBooks has it" in on_its_way


@given(st.text(max_size=30), st.text(max_size=30))
def test_spare_numbers_follow_from_the_key_and_fit(source: str, key: str) -> None:
    document = replace(NEW, source=source, source_key=key)
    spare = numbering.spare(document, Number("Q-1", "given"))
    assert spare == numbering.spare(document, Number("other", "given"))
    assert spare.text is not None
    assert numbering.too_long(spare.text) is None
