"""The watcher's types: a sheet's content, the state of its rows, and the results of their documents. Pure."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import TypeAlias

from bookrelay.messages import Kind
from pydantic import BaseModel, ConfigDict

Cell: TypeAlias = str | int | Decimal | bool | None

NAME = "sheet-watcher"
SCHEMA = "sheet_watcher"  # of this service's tables in Postgres

KEY = "qb_row_key"
STATUS = "qb_sync_status"
INVOICE_ID = "qb_invoice_id"
BILL_ID = "qb_bill_id"
# The columns that the watcher owns, in the order in which missing ones are appended. It writes no other cells.
RESULT_COLUMNS = (
    INVOICE_ID, "qb_invoice_url", STATUS, "qb_synced_at", "qb_error", BILL_ID, "qb_bill_url", "qb_bill_status", "qb_bill_error",
)  # fmt: skip
OWN_COLUMNS = (*RESULT_COLUMNS, KEY)
REQUIRED_COLUMNS = ("status", "inv_dollars", "inv_from")
CUSTOMER_COLUMNS = ("to_client", "end_client")  # at least one of them
OPTIONAL_COLUMNS = (
    "invoice",
    "inv_link",
    "submitted_date",
    "inv_paid_date",
    "task_descr",
    "job_name",
    "notes",
    "thread",
    "inv_total",
)
# The columns that identify a row: those that the mapping reads, except the status and the paid date, which change over time, and
# except any column that a formula may recompute when rows move.
FINGERPRINT_COLUMNS = (
    "invoice", "inv_link", "submitted_date", "to_client", "end_client", "inv_from", "inv_dollars", "task_descr", "job_name",
    "notes", "thread",
)  # fmt: skip

_KEY_FORM = re.compile(r"br-[0-9a-f]{16}")

MAX_DIGITS = 310  # of a number in plain notation: a double has no more; others are shown with an exponent
PENDING = "pending"
SYNCED = "synced"
FAILED = "failed"


def is_key(text: str) -> bool:
    """Whether `text` is a row key made by the watcher."""
    return _KEY_FORM.fullmatch(text) is not None


def cell_text(value: Cell) -> str:
    """Return a cell as text: 12 and 12.0 are "12", TRUE is "TRUE", an empty cell is ""."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, Decimal):
        return format(value.normalize(), "f") if value.is_finite() and abs(value.adjusted()) < MAX_DIGITS else str(value)
    return str(value).strip()


@dataclass(frozen=True)
class Layout:
    """Where the headers are: `columns` maps a folded header to its index from 0; rows are counted from 1."""

    header_row: int
    columns: Mapping[str, int]
    width: int  # columns in use

    def missing_own(self) -> tuple[str, ...]:
        """Return the watcher's columns that are missing from the sheet."""
        return tuple(name for name in OWN_COLUMNS if name not in self.columns)


@dataclass(frozen=True)
class SheetRow:
    """A row as read: its current row number, and its cells by folded header."""

    position: int
    cells: Mapping[str, Cell]

    def text(self, name: str) -> str:
        """Return a cell's text, "" if there is none."""
        return cell_text(self.cells.get(name))

    @property
    def key(self) -> str:
        """The key cell's text."""
        return self.text(KEY)

    def is_blank(self) -> bool:
        """Whether all cells are empty, except for the watcher's own."""
        return not any(cell_text(value) for name, value in self.cells.items() if name not in OWN_COLUMNS)

    def shows_a_document(self) -> bool:
        """Whether the row contains the id of an invoice or bill."""
        return bool(self.text(INVOICE_ID) or self.text(BILL_ID))

    def fingerprint(self) -> str:
        """Return a hash of the row's identifying cells, independent of its position."""
        joined = "\x1f".join(self.text(name) for name in FINGERPRINT_COLUMNS)
        return hashlib.sha256(joined.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Snapshot:
    """One complete read of the worksheet."""

    layout: Layout
    rows: tuple[SheetRow, ...]


class KnownRow(BaseModel):
    """The state of a row that has a key. A key has at most one document of each kind."""

    model_config = ConfigDict(frozen=True)

    key: str
    version: int  # of the latest command or rejection; counts up
    kind: Kind  # of the latest command or rejection
    state_hash: str  # of the latest command's content or rejection's reason; any change makes a new version
    in_force: Kind | None  # the kind last published as an upsert and not retracted since
    modified_at: datetime
    fingerprint: str
    position: int
    eligible: bool = True  # when last seen: a paid row that is then deleted was archived, so its document stays
    default_date: date | None = None  # the day used for an empty submitted_date; it does not change
    missing_since: datetime | None = None
    shown_status: str | None = None  # the status that the latest read found in the sheet


class Result(BaseModel):
    """The latest result of a row's document, from its newest event."""

    model_config = ConfigDict(frozen=True)

    key: str
    kind: Kind
    version: int
    occurrence: int = 0
    status: str
    qbo_id: str | None = None
    url: str | None = None
    error: str | None = None
    synced_at: datetime | None = None
    in_books: bool = True  # False: the document no longer exists, so its id is cleared


@dataclass(frozen=True)
class State:
    """The stored state of one spreadsheet."""

    rows: Mapping[str, KnownRow] = field(default_factory=dict)
    results: Mapping[tuple[str, Kind], Result] = field(default_factory=dict)


@dataclass(frozen=True)
class CellWrite:
    """A run of adjacent cells of a row to write: column from 0, row from 1."""

    row: int
    column: int
    values: tuple[str, ...]


class Directions(BaseModel):
    """Which names in `inv_from` mean money in (an invoice) and which money out (a bill). Case is ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    money_in: tuple[str, ...] = ()
    money_out: tuple[str, ...] = ()
    aliases: Mapping[str, str] = {}

    def look_up(self, name: str) -> tuple[Kind, str] | None:
        """Return the kind, and the name as spelled in the file; None for an unknown name."""
        folded = fold(name)
        aliases = {fold(alias): fold(meant) for alias, meant in self.aliases.items()}
        folded = aliases.get(folded, folded)
        for kind, names in ((Kind.INVOICE, self.money_in), (Kind.BILL, self.money_out)):
            for spelled in names:
                if fold(spelled) == folded:
                    return kind, spelled
        return None

    def problem(self) -> str | None:
        """Return what is wrong with the directions, if anything."""
        if not self.money_in and not self.money_out:
            return "money_in and money_out are both empty, so every row would be rejected"
        both = {fold(n) for n in self.money_in} & {fold(n) for n in self.money_out}
        if both:
            return f"{', '.join(sorted(both))} is in both money_in and money_out"
        known = {fold(n) for n in (*self.money_in, *self.money_out)}
        lost = sorted(alias for alias, meant in self.aliases.items() if fold(meant) not in known)
        return f"the alias {lost[0]!r} refers to a name that is in neither list" if lost else None


def fold(name: str) -> str:
    """Return a name in a form for comparison: case and extra spaces are ignored."""
    return " ".join(name.split()).casefold()
