"""Quotes to commands, as 4d.qbo maps them, in memory."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from bookrelay import money
from bookrelay.messages import Command, Kind, RetractDocument, UpsertInvoice
from bookrelay.source.documents import Origin
from bookrelay.source.errors import RejectedError
from emr_poller.domain import ListedQuote, Quote, newest_revisions
from emr_poller.emr_client import initials, listing_of, parse_time, quote_of
from emr_poller.handlers import DecidedQuote, FailedQuote, decide
from emr_poller.mapping import command_of, total_finding

NEW_YORK = ZoneInfo("America/New_York")
ORIGIN = Origin("r", "4d-emr", "emr-poller")
# The synthetic example of the reference page, as JSON on the wire.
EXAMPLE = """{"PriceQuoteId":90144,"PriceQuoteNo":12082,"Version":3,"PriceQuoteDate":"2025-04-22T01:10:00Z",
 "ModifiedDate":"2025-04-22T13:25:09.413Z","PriceQuoteStatus":{"Id":4,"Name":"Completed"},
 "CreatedBy":{"Id":7,"Name":"Pat Coordinator"},"Patient":{"Id":3012,"Name":"Jane Q Sample"},
 "TotalAmt":6150.0,"Discount":0.0,"CreditAmount":0.0,"AnesthAmt":1600.0,"FacilityAmt":1000.0,
 "AnesthesiaGroup":{"Id":5,"Name":"Example Anesthesia"},
 "Procedures":[{"ProcedureName":"Procedure A","Amount":1000.0,"DiscountAmount":100.0},
               {"ProcedureName":"Procedure B","Amount":2000.0,"DiscountAmount":200.0}],
 "Supplies":[{"ItemTitle":"Item X","UnitCost":400.0,"Quantity":2,"ShowOnQuote":true,"Tax":0.0},
             {"ItemTitle":"Item Y","UnitCost":10.0,"Quantity":5,"ShowOnQuote":true,"Tax":0.0}]}"""


def raw(**changes: Any) -> dict[str, Any]:
    example: dict[str, Any] = money.loads(EXAMPLE)
    return example | changes


def made(**changes: Any) -> Command:
    return command_of(quote_of(raw(**changes), 12082), origin=ORIGIN, time_zone=NEW_YORK)


def refusal(**changes: Any) -> RejectedError:
    with pytest.raises(RejectedError) as caught:
        made(**changes)
    assert caught.value.fix
    return caught.value


def test_completed_quote_becomes_the_invoice_that_4d_qbo_made() -> None:
    command = made()
    assert isinstance(command, UpsertInvoice)
    content = command.data.content
    assert command.data.source_key == "12082"
    assert (command.data.version, command.data.modified_at) == (3, datetime(2025, 4, 22, 13, 25, 9, 413000, tzinfo=UTC))
    assert content.customer.name == "3012.JQS"
    assert content.txn_date == date(2025, 4, 21)  # 01:10 UTC is still the day before in New York
    assert content.due_date is None
    assert [(line.item, line.description, str(line.amount), line.quantity) for line in content.lines] == [
        ("procedure", "Procedure A", "900.00", None), ("procedure", "Procedure B", "1800.00", None),
        ("supply", "Item X", "800.00", None), ("supply", "Item Y", "50.00", None),
        ("anesthesia", "Example Anesthesia Fee", "1600.00", None), ("facility", "PSC Facility Fee", "1000.00", None),
    ]  # fmt: skip
    assert [(f.name, f.value) for f in content.custom_fields] == [("Quote Version", "3"), ("Quoted By", "PC")]
    assert content.number == "12082"


@pytest.mark.parametrize(("status", "word"), [(0, "inactive"), (1, "active")])
def test_active_and_inactive_quotes_shall_have_no_invoice(status: int, word: str) -> None:
    command = made(PriceQuoteStatus={"Id": status, "Name": "?"}, Procedures=None, Supplies=None)
    assert isinstance(command, RetractDocument)
    assert command.data.kind == Kind.INVOICE
    assert word in command.data.reason


@pytest.mark.parametrize("status", [2, 3, 7, -1])
def test_unknown_status_is_never_taken_for_a_known_one(status: int) -> None:
    assert f"status {status}" in refusal(PriceQuoteStatus={"Id": status, "Name": "Completed"}).reason


@pytest.mark.parametrize("status", [None, {}, {"Id": None}, {"Id": True}, {"Id": "four"}])
def test_missing_status_is_refused(status: Any) -> None:
    assert "no status" in refusal(PriceQuoteStatus=status).reason


NOTHING = {"Procedures": None, "Supplies": None, "AnesthAmt": None, "FacilityAmt": None}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (NOTHING, "no lines"),
        ({**NOTHING, "Procedures": []}, "no lines"),
        ({**NOTHING, "Supplies": [{"ItemTitle": "x", "UnitCost": 1, "Quantity": 1, "ShowOnQuote": False}]}, "no lines"),
        ({"Procedures": [{"ProcedureName": "x", "Amount": None}]}, "Procedure 1 of quote 12082 has no amount"),
        ({"Procedures": [{"ProcedureName": "x", "Amount": 10, "DiscountAmount": Decimal("10.01")}]}, "negative amount"),
        ({"Procedures": [{"ProcedureName": "x", "Amount": "abc"}]}, "not a number"),
        ({"Procedures": [{"ProcedureName": "x", "Amount": True}]}, "not a number"),
        ({"Procedures": [{"ProcedureName": "x", "Amount": float("nan")}]}, "not a number"),
        ({"Procedures": [{"ProcedureName": "x", "Amount": 10**14}]}, "exceeds QuickBooks' limit"),
        ({"Procedures": [{"ProcedureName": "x", "Amount": 1}] * 751, "Supplies": None}, "QuickBooks' limit is 750"),
        ({"Supplies": [{"ItemTitle": "x", "UnitCost": None, "Quantity": 1, "ShowOnQuote": True}]}, "no unit cost"),
        ({"Supplies": [{"ItemTitle": "x", "UnitCost": 1, "Quantity": None, "ShowOnQuote": True}]}, "no quantity"),
        ({"Supplies": [{"ItemTitle": "x", "UnitCost": 1, "Quantity": -1, "ShowOnQuote": True}]}, "negative amount"),
        ({"AnesthAmt": -5}, "The anesthesia fee of quote 12082"),
        ({"Patient": None}, "no patient"),
        ({"Patient": {"Id": 3012, "Name": None}}, "no readable name"),
        ({"Patient": {"Id": 3012, "Name": "A1 B2"}}, "no readable name"),
        ({"PriceQuoteDate": None}, "no date"),
        ({"PriceQuoteDate": "22 April"}, "date of quote 12082 is unreadable"),
        ({"ModifiedDate": None}, "The ModifiedDate of quote"),
        ({"Version": None}, "The Version of quote"),
    ],
)
def test_quote_that_cannot_be_an_invoice_is_refused_with_reason_and_remedy(changes: dict[str, Any], words: str) -> None:
    assert words in refusal(**changes).reason


def test_nulls_everywhere_are_empty_and_zero() -> None:
    command = made(
        Supplies=None, AnesthAmt=None, FacilityAmt=None, AnesthesiaGroup=None, CreatedBy=None, Discount=None, TotalAmt=None
    )
    assert isinstance(command, UpsertInvoice)
    assert command.data.content.total == Decimal("2700.00")
    assert [f.name for f in command.data.content.custom_fields] == ["Quote Version"]


def test_anesthesia_without_a_group_has_the_general_name() -> None:
    command = made(AnesthesiaGroup=None)
    assert isinstance(command, UpsertInvoice)
    assert command.data.content.lines[4].description == "Anesthesia Fee"


def test_amounts_are_decimal_and_rounded_half_up_for_each_line() -> None:
    supplies = [{"ItemTitle": "x", "UnitCost": Decimal("128.350"), "Quantity": Decimal("14.50"), "ShowOnQuote": True}]
    command = made(**NOTHING | {"Supplies": supplies})
    assert isinstance(command, UpsertInvoice)
    assert str(command.data.content.lines[0].amount) == "1861.08"


def test_same_quote_makes_the_same_message_and_another_version_another() -> None:
    assert made().id == made().id
    assert made().encode() == made().encode()
    assert made().id != made(Version=4).id


@pytest.mark.parametrize(("total", "difference"), [("6150.00", None), (None, None), ("6100.00", "50.00")])
def test_total_is_checked_and_changes_no_amount(total: str | None, difference: str | None) -> None:
    quote = quote_of(raw(TotalAmt=Decimal(total) if total else None), 12082)
    command = command_of(quote, origin=ORIGIN, time_zone=NEW_YORK)
    assert isinstance(command, UpsertInvoice)
    finding = total_finding(quote, command.data.content)
    assert (finding or {}).get("difference") == difference
    assert command.data.content.total == Decimal("6150.00")
    assert command.data.total == (Decimal(total) if total else None)  # what the writer compares the lines with


def test_a_rebate_that_was_entered_as_a_negative_amount_is_a_line() -> None:
    procedures: list[dict[str, Any]] = [
        {"ProcedureName": "Peel", "Amount": 100},
        {"ProcedureName": "Loyalty discount", "Amount": -20},
    ]
    supplies = [{"ItemTitle": "Coupon", "UnitCost": -5, "Quantity": 2, "ShowOnQuote": True}]
    command = made(**NOTHING | {"Procedures": procedures, "Supplies": supplies, "TotalAmt": 70})
    assert isinstance(command, UpsertInvoice)
    assert [str(line.amount) for line in command.data.content.lines] == ["100.00", "-20.00", "-10.00"]
    assert command.data.total == command.data.content.total == Decimal("70.00")
    procedures.append({"ProcedureName": "Too much", "Amount": Decimal("-80.01")})
    assert "-0.01" in refusal(**NOTHING | {"Procedures": procedures}).reason


@pytest.mark.parametrize(
    ("total", "discount", "credit"),
    [("75", "20.00", "-5.00"), ("80", "20.00", None), ("95", None, "-5.00"), ("100", None, None), ("60", None, None)],
)
def test_discount_and_credit_of_a_quote_come_off_as_far_as_its_total_proves_it(
    total: str, discount: str | None, credit: str | None
) -> None:
    quote: dict[str, Any] = NOTHING | {
        "Procedures": [{"ProcedureName": "Peel", "Amount": 100}],
        "Discount": 20,
        "CreditAmount": 5,
    }
    command = made(**quote | {"TotalAmt": Decimal(total)})
    assert isinstance(command, UpsertInvoice)
    content = command.data.content
    assert command.data.total == Decimal(total)
    assert (str(content.discount.amount) if content.discount else None) == discount
    assert [str(line.amount) for line in content.lines] == ["100.00", *([credit] if credit else [])]
    assert (content.total == command.data.total) is (total != "60")  # which the writer holds with both sums
    assert "no total" in refusal(**quote | {"TotalAmt": None}).reason


def test_a_total_that_quickbooks_cannot_take_is_refused() -> None:
    assert "total of quote 12082 exceeds" in refusal(TotalAmt=10**14).reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-04-22T01:10:00Z", datetime(2025, 4, 22, 1, 10, tzinfo=UTC)),
        ("2025-04-22T01:10:00.1Z", datetime(2025, 4, 22, 1, 10, 0, 100000, tzinfo=UTC)),
        ("2025-04-22T01:10:00.1234567Z", datetime(2025, 4, 22, 1, 10, 0, 123456, tzinfo=UTC)),
        ("2025-04-22T01:10:00", datetime(2025, 4, 22, 1, 10, tzinfo=UTC)),
        ("2025-04-21T21:10:00-04:00", datetime(2025, 4, 22, 1, 10, tzinfo=UTC)),
        ("2025-04-31T01:10:00Z", None),
        ("0001-01-01T00:00:00+05:00", None),
        ("yesterday", None),
        (None, None),
        (1745284200, None),
    ],
)
def test_times_are_read_with_any_number_of_fraction_digits(text: Any, expected: datetime | None) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Jane Q Sample", "JQS"), ("jane sample", "JS"), ("Jane  2nd Sample", "JS"), ("Élodie Ångström", "ÉÅ"),
        ("(Jane) 'Sample", "JS"),
        ("", ""), (None, ""), ("4711", ""),
    ],
)  # fmt: skip
def test_initials_are_first_letters_of_words_without_digits(name: str | None, expected: str) -> None:
    assert initials(name) == expected


@pytest.mark.parametrize("typed", ["For Jane Q Sample today", "for JANE SAMPLE", "Sample, Jane", "Sample, Jane Q"])
def test_patient_name_in_a_description_leaves_as_initials(typed: str) -> None:
    quote = quote_of(raw(Procedures=[{"ProcedureName": typed, "Amount": 1}]), 12082)
    assert "jane" not in repr(quote).casefold()
    assert "JQS" in (quote.procedures[0].name or "")


def test_nothing_of_the_patient_but_id_and_initials_is_in_the_model() -> None:
    quote = quote_of(raw(Note="about Jane", Title="Jane", ProcedureDescription="Jane", ExternalId="Jane"), 12082)
    assert "Jane" not in quote.model_dump_json()
    assert "Sample" not in quote.model_dump_json()


def listed(number: int, version: int, minute: int) -> ListedQuote:
    return ListedQuote(number=number, version=version, modified_at=datetime(2026, 1, 1, 0, minute, tzinfo=UTC))


def test_fold_keeps_the_newest_version_of_each_quote_oldest_change_first() -> None:
    rows = [listed(1, 3, 5), listed(2, 1, 4), listed(1, 2, 9), listed(2, 1, 6)]
    assert newest_revisions(rows) == [listed(1, 3, 5), listed(2, 1, 6)]


def test_detail_older_than_its_list_row_is_tried_again_and_not_published() -> None:
    quote: Quote = quote_of(raw(), 12082)
    ahead = ListedQuote(number=12082, version=4, modified_at=quote.modified_at)
    outcome = decide(ahead, quote, origin=ORIGIN, time_zone=NEW_YORK)
    assert isinstance(outcome, FailedQuote)
    assert outcome.transient
    assert isinstance(decide(ahead.model_copy(update={"version": 3}), quote, origin=ORIGIN, time_zone=NEW_YORK), DecidedQuote)


def test_list_rows_that_cannot_be_read_do_not_spoil_the_others() -> None:
    good = {"PriceQuoteNo": 1, "Version": 1, "ModifiedDate": "2025-04-22T01:10:00Z"}
    listing = listing_of(
        [good, None, {}, good | {"PriceQuoteNo": 2, "ModifiedDate": None}, good | {"PriceQuoteNo": 3, "Version": -1}]
    )
    assert [row.number for row in listing.rows] == [1]
    assert set(listing.unreadable) == {2, 3}
    assert listing.nameless == 2
