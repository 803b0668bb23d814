"""Maps a sheet row to the content of an invoice or a bill. Pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, DecimalException
from typing import TypeVar

from bookrelay import blame, limits
from bookrelay.messages import BillContent, BillLine, Content, InvoiceContent, InvoiceLine, Kind, Party
from bookrelay.money import LARGEST, parse_amount, to_cents
from bookrelay.source.errors import RejectedError
from bookrelay.texts import shorten
from pydantic import ValidationError

from sheet_watcher.domain import Cell, Directions, SheetRow, cell_text

EPOCH = date(1899, 12, 30)  # day 0 of a sheet's serial numbers
EARLIEST, LATEST = date(1990, 1, 1), date(2099, 12, 31)
DAY_DIGITS = 10  # of a serial number; that of the last possible day has seven
MAX_NAME = 100  # QuickBooks' limit for a DisplayName
MAX_NUMBER = limits.NAME  # of a command; QuickBooks' limit is lower, which the writer reports
DEFAULT_DESCRIPTION = "Professional services"
_SIGNIFICANT = Context(prec=15, rounding=ROUND_HALF_EVEN)  # a sheet displays a double with 15 digits


@dataclass(frozen=True)
class InvalidRow:
    """A row that cannot become a document: the reasons, and what to do, for the person who edits the sheet."""

    kind: Kind
    reason: str
    fix: str


@dataclass(frozen=True)
class ValidRow:
    """A row's document; `total` is the row's total, tax included, if it has one."""

    content: Content
    total: Decimal | None = None

    @property
    def kind(self) -> Kind:
        """The document's kind."""
        return Kind.INVOICE if isinstance(self.content, InvoiceContent) else Kind.BILL


T = TypeVar("T")


def map_row(row: SheetRow, directions: Directions, *, default_date: date, last_kind: Kind | None) -> ValidRow | InvalidRow:
    """Return the row's document, or everything that is wrong with it. `last_kind` is used if the direction is unknown."""
    problems: list[RejectedError] = []

    def attempt(read: Callable[[], T], instead: T) -> T:
        try:
            return read()
        except RejectedError as problem:
            problems.append(problem)
            return instead

    kind, spelled = attempt(lambda: _direction(row, directions), (last_kind or Kind.INVOICE, ""))
    known_direction = not problems
    name = attempt(lambda: _party(row, kind, spelled), "") if known_direction else ""
    amount = attempt(lambda: _amount(row.cells.get("inv_dollars"), "inv_dollars"), Decimal(0))
    total = attempt(lambda: _total(row), None)
    txn_date = attempt(lambda: _date(row, "submitted_date"), None) or default_date
    due_date = attempt(lambda: _date(row, "inv_paid_date"), None)
    if problems:
        fixes = dict.fromkeys(problem.fix for problem in problems)
        return InvalidRow(kind, " ".join(problem.reason for problem in problems), " ".join(fixes))
    try:
        return _document(row, kind, name, amount, total, txn_date, due_date)
    except ValidationError as error:
        return InvalidRow(kind, f"The row cannot become a document: {blame.describe(error)}.", "Correct the row.")


def _document(
    row: SheetRow, kind: Kind, name: str, amount: Decimal, total: Decimal | None, txn_date: date, due_date: date | None
) -> ValidRow:
    memo = (row.text("notes") or row.text("thread"))[: limits.MEMO] or None
    description = (row.text("task_descr") or row.text("job_name") or DEFAULT_DESCRIPTION)[: limits.DESCRIPTION]
    number = _number(row)
    party = Party(name=name)
    if kind == Kind.BILL:
        bill_line = BillLine(description=description, amount=amount)
        return ValidRow(
            BillContent(vendor=party, txn_date=txn_date, due_date=due_date, memo=memo, number=number, lines=(bill_line,)),
            total,
        )
    line = InvoiceLine(description=description, quantity=Decimal(1), unit_price=amount, amount=amount)
    invoice = InvoiceContent(customer=party, txn_date=txn_date, due_date=due_date, memo=memo, number=number, lines=(line,))
    return ValidRow(invoice, total)


def _number(row: SheetRow) -> str | None:
    """Return the invoice's number; a link to the invoice in its cell is not a number."""
    text = row.text("invoice")
    return None if "://" in text or text.casefold().startswith("www.") else text[:MAX_NUMBER] or None


def _direction(row: SheetRow, directions: Directions) -> tuple[Kind, str]:
    name = row.text("inv_from")
    if not name:
        raise RejectedError("inv_from is empty, so it is unknown whether this is money in or money out.", "Fill in inv_from.")
    if found := directions.look_up(name):
        return found
    raise RejectedError(
        f"inv_from {name[:100]!r} is not configured as money in or money out.",
        "Correct inv_from, or add the name to the directions file (QB_DIRECTIONS_FILE).",
    )


def _party(row: SheetRow, kind: Kind, spelled: str) -> str:
    """Return the customer (money in) or the vendor (money out)."""
    if kind == Kind.BILL:
        return spelled
    name = " ".join((row.text("to_client") or row.text("end_client")).split())
    if not name:
        raise RejectedError("to_client and end_client are empty: there is no customer.", "Fill in to_client or end_client.")
    if len(name) > MAX_NAME:
        raise RejectedError(f"The customer's name has {len(name)} characters; QuickBooks' limit is {MAX_NAME}.", "Shorten it.")
    return name


def _total(row: SheetRow) -> Decimal | None:
    """Return the document's total, tax included, if the sheet has a column for it and the row a value."""
    return _amount(row.cells.get("inv_total"), "inv_total") if row.text("inv_total") else None


def _amount(cell: Cell, column: str) -> Decimal:
    fix = f"Enter the amount in {column}, like 1234.50."
    if cell_text(cell) == "":
        raise RejectedError(f"{column} is empty.", fix)
    if isinstance(cell, bool):
        raise RejectedError(f"{column} is TRUE or FALSE, not an amount.", fix)
    try:
        value = parse_amount(cell) if isinstance(cell, str) else _SIGNIFICANT.create_decimal(cell or 0)
    except ValueError as error:
        raise RejectedError(f"{column} {str(error)[:200]}.", fix) from None
    except DecimalException:
        value = Decimal("NaN")
    if not value.is_finite():
        raise RejectedError(f"{column} is not an amount.", fix)
    if value <= 0:
        raise RejectedError(
            f"{column} is {shorten(str(value), 40)}: the amount of an invoice or a bill must be greater than zero.", fix
        )
    if value > LARGEST:
        raise RejectedError(f"{column} exceeds QuickBooks' limit.", fix)
    if not (cents := to_cents(value)):
        raise RejectedError(f"{column} is less than a cent.", fix)
    return cents


def _date(row: SheetRow, column: str) -> date | None:
    cell = row.cells.get(column)
    text = cell_text(cell)
    if not text:
        return None
    found = parse_date(cell)
    if found is None or not EARLIEST <= found <= LATEST:
        raise RejectedError(
            f"{column} {text[:60]!r} is not a date.", f"Write {column} as YYYY-MM-DD or MM/DD/YYYY, or leave it empty."
        )
    return found


def parse_date(cell: Cell) -> date | None:
    """Parse a serial number, YYYY-MM-DD, MM/DD/YYYY or MM/DD/YY (20YY); None for anything else."""
    if isinstance(cell, bool) or cell is None:
        return None
    if isinstance(cell, Decimal) and not (cell.is_finite() and cell.adjusted() < DAY_DIGITS):
        return None  # converting a number with a million digits would block the process
    try:
        if isinstance(cell, int | Decimal):
            return EPOCH + timedelta(days=int(cell))
        text = cell.strip()
        if match := re.fullmatch(r"(\d{4})-(\d{1,2})-(\d{1,2})", text):
            year, month, day = map(int, match.groups())
        elif match := re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})", text):
            month, day, year = map(int, match.groups())
            year += 2000 if year < 100 else 0
        else:
            return None
        return date(year, month, day)
    except (ValueError, OverflowError):
        return None
