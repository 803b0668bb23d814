"""What random quotes and rows found: one that cannot be parsed, or whose numbers cannot be reckoned with, kept all the others.

A list of quotes is one JSON text: a byte that is no character, a raw control character, a row nested a thousand levels deep or
(beside a number of 5,000 digits) even a hundred made the whole list unreadable, for ever. A patient's name of a megabyte became
a pattern that took all the memory.
"""

import json
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from bookrelay import blame, messages, money
from bookrelay.source.documents import Origin
from bookrelay.source.errors import RejectedError
from emr_poller.domain import ListedQuote, Quote
from emr_poller.emr_client import EmrClient, quote_of
from emr_poller.handlers import DecidedQuote, decide
from emr_poller.settings import Settings
from pydantic import ValidationError
from sheet_watcher.domain import Directions, SheetRow
from sheet_watcher.mapping import InvalidRow, map_row
from told_emr import emr_told

GOOD = b'{"PriceQuoteNo": 1, "Version": 1, "ModifiedDate": "2026-05-04T10:00:00Z"}'
DEEP = b"[" * 100_000 + b"]" * 100_000
DIGITS = b"9" * 5000


@pytest.mark.parametrize(
    "value",
    [b'"A\xffnn"', b'"A\xed\xa0\xbdnn"', b'"A\x00nn"', b'"A\nnn"', b"NaN", b"1e400", b"1E9999999999999999999", DIGITS, DEEP,
     b'{"a": ' * 3000 + DIGITS + b"}" * 3000, b"[" + DIGITS + b", " + DEEP + b"]"],
    ids=["byte", "half a character", "NUL", "line break", "NaN", "1e400", "exponent", "digits", "deep", "digits in the deep",
         "digits and deep"],
)  # fmt: skip
async def test_a_value_in_one_row_of_the_list_spoils_no_other_row(value: bytes) -> None:
    with emr_told() as emr:
        emr.listed = b"[" + GOOD.replace(b"1,", b"2,", 1).replace(b"}", b', "Patient": ' + value + b"}") + b"," + GOOD + b"]"
        client = EmrClient(Settings.load(environment(emr.url)))
        try:
            listing = await client.list_since(datetime(2026, 1, 1, tzinfo=UTC))
        finally:
            await client.close()
    assert [row.number for row in listing.rows] == [2, 1]


def environment(url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1/none", "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "QBO_REALM_ID": "1",
        "EMR_BASE_URL": url, "EMR_CLIENT_ID": "id", "EMR_CLIENT_SECRET": "secret",
    }  # fmt: skip


def quote(**changes: Any) -> Quote:
    raw = {
        "PriceQuoteNo": 1, "Version": 1, "ModifiedDate": "2026-05-04T10:00:00Z", "PriceQuoteDate": "2026-04-22T01:10:00Z",
        "PriceQuoteStatus": {"Id": 4}, "Patient": {"Id": 3012, "Name": "Jane Q Sample"},
        "Procedures": [{"ProcedureName": "Procedure A", "Amount": 5}], "TotalAmt": 6,
    }  # fmt: skip
    return quote_of(raw | changes, 1)


@pytest.mark.parametrize("name", ["ab " * 30_000, "x" * 501])
def test_a_name_that_no_pattern_can_be_made_of_parks_its_quote(name: str) -> None:
    with pytest.raises(RejectedError, match=r"^The patient's name of quote 1 has [\d,]+ characters; the limit is 500\.$"):
        quote(Patient={"Id": 1, "Name": name})


def test_commas_in_a_name_do_not_make_its_pattern_try_without_end() -> None:
    described = "," * 4000
    found = quote(Patient={"Id": 1, "Name": "A " + ", " * 40 + "B"}, Procedures=[{"ProcedureName": described, "Amount": 5}])
    assert found.procedures[0].name == described


@pytest.mark.parametrize("typed", ["for Jane Q Sample", "for jane sample", "Sample, Jane", "Sample Jane Q", "Sample,Jane Q"])
def test_a_name_that_is_written_family_name_first_is_found_in_every_order(typed: str) -> None:
    found = quote(
        Patient={"Id": 1, "Name": "Sample, Jane Q"}, Procedures=[{"ProcedureName": typed, "Amount": 5}]
    ).model_dump_json()
    assert "jane" not in found.casefold()
    assert "sample" not in found.casefold()


@pytest.mark.parametrize("number", ["NaN", "Infinity", "9" * 5000])
def test_ids_that_nobody_can_hold_do_not_become_one_customer(number: str) -> None:
    assert quote(Patient=money.loads(f'{{"Id": {number}, "Name": "A B"}}')).patient_id is None


def test_a_supply_that_is_not_charged_may_cost_anything() -> None:
    supply = {"ItemTitle": "B", "UnitCost": 999999999999999, "Quantity": 999999999999999, "ShowOnQuote": False}
    found = quote(Supplies=[supply])
    listed = ListedQuote(number=found.number, version=found.version, modified_at=found.modified_at)
    outcome = decide(listed, found, origin=Origin("r", "s", "emr-poller"), time_zone=ZoneInfo("America/New_York"))
    assert isinstance(outcome, DecidedQuote)
    assert isinstance(outcome.command, messages.UpsertInvoice)
    assert outcome.command.data.content.total == 5
    assert outcome.finding
    assert outcome.finding["sum_of_parts"] == "999999999999998000000000000006.00"


@pytest.mark.parametrize("number", ["1E9999999", "-1E9999999", "Infinity", "NaN"])
def test_a_number_that_is_no_day_says_so_in_its_row_at_once(number: str) -> None:
    """1E999999 was written out with all its digits: half a minute in which nothing else went on."""
    cells = {"inv_from": "ACD", "to_client": "Northwind", "inv_dollars": 5, "submitted_date": money.loads(number)}
    said = map_row(SheetRow(2, cells), Directions(money_in=("ACD",)), default_date=date(2026, 5, 4), last_kind=None)
    assert isinstance(said, InvalidRow)
    assert "is not a date" in said.reason


@pytest.mark.parametrize(
    ("place", "value"), [("type", "Zzcanary"), ("id", "Zzcanary"), ("data.total", "424242.999")], ids=["type", "id", "amount"]
)
def test_the_reason_of_a_dead_letter_repeats_nothing_of_its_record(place: str, value: str) -> None:
    """It stands in logs and events, and a type or an id of somebody else's may be anything: a patient's name."""
    data = messages.DocumentUnchangedData(realm="1", source="s", source_key="k", kind=messages.Kind.BILL, version=1)
    event = json.loads(messages.DocumentUnchanged.of(data, sender="qbo-writer", time=datetime(2026, 1, 1, tzinfo=UTC)).encode())
    (event["data"] if place.startswith("data.") else event)[place.removeprefix("data.")] = value
    with pytest.raises(ValidationError) as caught:
        messages.adapter(messages.EVENTS).validate_json(json.dumps(event))
    _, _, said = blame.reason(caught.value).partition("; first at ")
    assert said in (
        "the message: This topic does not carry messages of this type",
        "bookrelay.document.unchanged.v1.id: It is not a UUID",
        "bookrelay.document.unchanged.v1.data.total: Value error, the amount has more than two decimal places: "
        "round it at its source",
    )


@pytest.mark.parametrize("id_", ["30\N{REPLACEMENT CHARACTER}", "30\x00", "30\x7f"], ids=ascii)
def test_a_patients_id_that_cannot_be_read_parks_its_quote(id_: str) -> None:
    with pytest.raises(RejectedError, match="Id of quote 1 contains invalid characters"):
        quote(Patient={"Id": id_, "Name": "Jane Q Sample"})
