"""Sheet rows to invoices and bills, and what is wrong with a row, in memory."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from bookrelay.messages import BillContent, InvoiceContent, Kind
from sheet_watcher.domain import Cell, Directions, SheetRow, cell_text
from sheet_watcher.mapping import InvalidRow, ValidRow, map_row, parse_date

TODAY = date(2026, 5, 4)
DIRECTIONS = Directions(money_in=("ACD",), money_out=("Accelebrate", "VendorXYZ"), aliases={"acd llc": "ACD", "xyz": "VendorXYZ"})


def row(**cells: Cell) -> SheetRow:
    base: dict[str, Cell] = {
        "invoice": "INV-1", "submitted_date": "2026-04-01", "to_client": "Northwind", "end_client": "Contoso", "inv_from": "ACD",
        "job_name": "Delivery", "task_descr": "Python basics", "status": "submitted", "notes": "PO 7",
        "inv_dollars": Decimal("1234.5"),
    }  # fmt: skip
    return SheetRow(2, base | cells)


def mapped(**cells: Cell) -> ValidRow | InvalidRow:
    return map_row(row(**cells), DIRECTIONS, default_date=TODAY, last_kind=None)


def content(**cells: Cell) -> Any:
    outcome = mapped(**cells)
    assert isinstance(outcome, ValidRow), outcome
    return outcome.content


def test_money_in_becomes_an_invoice_to_the_client() -> None:
    invoice = content(inv_paid_date="5/31/26")
    assert isinstance(invoice, InvoiceContent)
    assert invoice.customer.name == "Northwind"
    assert (invoice.txn_date, invoice.due_date, invoice.memo) == (date(2026, 4, 1), date(2026, 5, 31), "PO 7")
    line = invoice.lines[0]
    assert (line.item, line.description, str(line.amount), line.quantity) == ("default", "Python basics", "1234.50", Decimal(1))


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("INV-7", "INV-7"),
        (Decimal(1042), "1042"),
        ("", None),
        ("https://docs.example.com/i/7", None),
        ("www.example.com/7", None),
    ],
)
def test_the_invoice_column_is_the_number_unless_it_is_a_link(cell: Cell, number: str | None) -> None:
    assert content(invoice=cell).number == number
    assert content(inv_from="accelebrate", invoice=cell).number == number


def test_money_out_becomes_a_bill_from_the_vendor_as_the_directions_spell_it() -> None:
    bill = content(inv_from=" accelebrate ", to_client="")
    assert isinstance(bill, BillContent)
    assert bill.vendor.name == "Accelebrate"
    assert (bill.lines[0].account, str(bill.total)) == ("default", "1234.50")


@pytest.mark.parametrize(
    ("name", "kind"), [("acd", Kind.INVOICE), ("ACD  LLC", Kind.INVOICE), ("XYZ", Kind.BILL), ("vendorxyz", Kind.BILL)]
)
def test_direction_is_found_without_regard_to_case_and_through_aliases(name: str, kind: Kind) -> None:
    outcome = mapped(inv_from=name)
    assert isinstance(outcome, ValidRow)
    assert outcome.kind == kind


@pytest.mark.parametrize(
    ("cells", "description", "memo", "customer"),
    [
        ({"task_descr": ""}, "Delivery", "PO 7", "Northwind"),
        ({"task_descr": None, "job_name": " "}, "Professional services", "PO 7", "Northwind"),
        ({"notes": "", "thread": "t" * 3000}, "Python basics", "t" * 2000, "Northwind"),
        ({"notes": ""}, "Python basics", None, "Northwind"),
        ({"to_client": ""}, "Python basics", "PO 7", "Contoso"),
        ({"to_client": " O'Hara \n & Sons "}, "Python basics", "PO 7", "O'Hara & Sons"),
        ({"to_client": 4711}, "Python basics", "PO 7", "4711"),
        ({"task_descr": "x" * 5000}, "x" * 4000, "PO 7", "Northwind"),
    ],
)
def test_fallbacks_for_description_memo_and_customer(
    cells: dict[str, Cell], description: str, memo: str | None, customer: str
) -> None:
    invoice = content(**cells)
    assert (invoice.lines[0].description, invoice.memo, invoice.customer.name) == (description, memo, customer)


@pytest.mark.parametrize(
    ("cell", "cents"),
    [
        (100, "100.00"), (Decimal("0.01"), "0.01"), ("$1,234.50", "1234.50"), (" 12.3 ", "12.30"), ("1,000", "1000.00"),
        (Decimal("1861.075"), "1861.08"), (Decimal("1861.07"), "1861.07"), (Decimal("0.30000000000000004"), "0.30"),
        (Decimal("1861.0749999999998"), "1861.08"),  # a double's last digits, which the sheet shows as 1861.075
    ],
)  # fmt: skip
def test_amounts_as_numbers_and_as_people_type_them(cell: Cell, cents: str) -> None:
    assert str(content(inv_dollars=cell).total) == cents


@pytest.mark.parametrize(("cell", "total"), [("$1,234.50", "1234.50"), (Decimal("1481.4"), "1481.40"), ("", None), (None, None)])
@pytest.mark.parametrize("name", ["ACD", "VendorXYZ"])
def test_the_total_of_a_row_is_the_commands_total(name: str, cell: Cell, total: str | None) -> None:
    outcome = mapped(inv_total=cell, inv_from=name)
    assert isinstance(outcome, ValidRow)
    assert outcome.total == (Decimal(total) if total else None)


def test_a_total_that_is_no_amount_is_refused() -> None:
    outcome = mapped(inv_total="#REF!")
    assert isinstance(outcome, InvalidRow)
    assert "inv_total '#REF!' is not an amount" in outcome.reason
    assert "inv_total" in outcome.fix


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (46113, date(2026, 4, 1)), (Decimal("46113.75"), date(2026, 4, 1)), ("2026-4-1", date(2026, 4, 1)),
        ("04/01/2026", date(2026, 4, 1)),
        ("4/1/26", date(2026, 4, 1)), ("2/29/2026", None), ("01.04.2026", None), ("sometime in May", None),
        (True, None), ("13/01/2026", None),
    ],
)  # fmt: skip
def test_dates_as_serial_numbers_and_as_people_type_them(cell: Cell, expected: date | None) -> None:
    assert parse_date(cell) == expected


def test_empty_submitted_date_takes_the_day_that_is_given() -> None:
    assert content(submitted_date="").txn_date == TODAY
    assert content(submitted_date=None).txn_date == TODAY


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"inv_dollars": ""}, "inv_dollars is empty"),
        ({"inv_dollars": None}, "inv_dollars is empty"),
        ({"inv_dollars": "12,50"}, "comma may only separate thousands"),
        ({"inv_dollars": "twelve"}, "'twelve' is not an amount"),
        ({"inv_dollars": "#REF!"}, "is not an amount"),
        ({"inv_dollars": True}, "TRUE or FALSE"),
        ({"inv_dollars": 0}, "greater than zero"),
        ({"inv_dollars": "($5.00)"}, "greater than zero"),
        ({"inv_dollars": Decimal("0.004")}, "less than a cent"),
        ({"inv_dollars": 10**14}, "exceeds QuickBooks' limit"),
        ({"inv_from": ""}, "inv_from is empty"),
        ({"inv_from": "Somebody New"}, "'Somebody New' is not configured"),
        ({"to_client": "", "end_client": None}, "there is no customer"),
        ({"to_client": "n" * 101}, "QuickBooks' limit is 100"),
        ({"submitted_date": "sometime in May"}, "submitted_date 'sometime in May' is not a date"),
        ({"submitted_date": 3}, "submitted_date '3' is not a date"),
        ({"inv_paid_date": "soon"}, "inv_paid_date 'soon' is not a date"),
    ],
)
def test_wrong_row_is_refused_with_reason_and_remedy(cells: dict[str, Cell], words: str) -> None:
    outcome = mapped(**cells)
    assert isinstance(outcome, InvalidRow)
    assert words in outcome.reason
    assert outcome.fix


def test_everything_that_is_wrong_is_said_at_once() -> None:
    outcome = mapped(inv_dollars="", submitted_date="x", to_client="", end_client="")
    assert isinstance(outcome, InvalidRow)
    assert all(word in outcome.reason for word in ("inv_dollars", "submitted_date", "customer"))


def test_unknown_direction_keeps_the_kind_that_the_row_had() -> None:
    outcome = map_row(row(inv_from="?"), DIRECTIONS, default_date=TODAY, last_kind=Kind.BILL)
    assert isinstance(outcome, InvalidRow)
    assert outcome.kind == Kind.BILL


@pytest.mark.parametrize(
    ("directions", "words"),
    [
        (Directions(), "money_in and money_out are both empty"),
        (Directions(money_in=("ACD",), money_out=("acd ",)), "is in both money_in and money_out"),
        (Directions(money_in=("ACD",), aliases={"x": "Nobody"}), "alias 'x'"),
        (DIRECTIONS, None),
    ],
)
def test_directions_that_contradict_themselves_are_found(directions: Directions, words: str | None) -> None:
    problem = directions.problem()
    assert (problem is None) if words is None else (words in (problem or ""))


@pytest.mark.parametrize(
    ("cell", "text"), [(12, "12"), (Decimal("12.0"), "12"), (Decimal("1E+3"), "1000"), (True, "TRUE"), (None, ""), (" a ", "a")]
)
def test_cells_as_text(cell: Cell, text: str) -> None:
    assert cell_text(cell) == text
