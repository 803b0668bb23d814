"""Converts a worksheet's values to rows by header name, wherever the headers are, and cells to A1 notation. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from bookrelay.errors import Code, TransientError
from bookrelay.source.errors import PausedError
from bookrelay.texts import clean

from sheet_watcher.domain import (
    CUSTOMER_COLUMNS,
    OPTIONAL_COLUMNS,
    OWN_COLUMNS,
    REQUIRED_COLUMNS,
    Cell,
    CellWrite,
    Layout,
    SheetRow,
    Snapshot,
    cell_text,
)

HEADER_SEARCH_ROWS = 10  # a sheet may have a title above its table
USED_COLUMNS = frozenset((*REQUIRED_COLUMNS, *CUSTOMER_COLUMNS, *OPTIONAL_COLUMNS, *OWN_COLUMNS))


class LayoutError(PausedError):
    """The worksheet's layout cannot be read; polling is paused until a person corrects it."""


def snapshot_of(values: Sequence[Sequence[Cell]], worksheet: str) -> Snapshot:
    """Read a worksheet's values (ragged rows); raise LayoutError with the missing or duplicate columns."""
    layout = find_layout(values, worksheet)
    rows = []
    for position, cells in enumerate(values[layout.header_row :], layout.header_row + 1):
        named = {name: storable(cells[column]) for name, column in layout.columns.items() if column < len(cells)}
        if any(cell_text(value) for value in named.values()):
            rows.append(SheetRow(position, named))
    return Snapshot(layout, tuple(rows))


def find_layout(values: Sequence[Sequence[Cell]], worksheet: str) -> Layout:
    """Return where the headers are; raise LayoutError."""
    width = max((len(row) for row in values), default=0)
    fewest: tuple[str, ...] | None = None
    for index, row in enumerate(values[:HEADER_SEARCH_ROWS]):
        names = [header(cell) for cell in row]
        lacking = _lacking(names)
        if not lacking:
            double = sorted({name for name in names if name in USED_COLUMNS and names.count(name) > 1})
            if double:
                raise LayoutError(
                    f"The worksheet {worksheet!r} has two columns named {', '.join(double)}.",
                    "Rename or remove one of each, so that it is clear which one to use.",
                    Code.VALIDATION,
                )
            return Layout(index + 1, {name: column for column, name in enumerate(names) if name in USED_COLUMNS}, width)
        if fewest is None or len(lacking) < len(fewest):
            fewest = lacking
    lacking = fewest or _lacking([])
    raise LayoutError(
        f"The worksheet {worksheet!r} lacks the columns {', '.join(lacking)}.",
        "Add them to its header row (case does not matter), or correct SHEETS_WORKSHEET.",
        Code.VALIDATION,
    )


def may_hold_a_date(snapshot: Snapshot) -> bool:
    """Whether an invoice cell contains a number that may be a date: Sheets turns an invoice number like "3-1" into one."""
    return any(_is_number(row.cells.get("invoice")) for row in snapshot.rows)


def with_shown_numbers(snapshot: Snapshot, shown: Snapshot) -> Snapshot:
    """Return the rows with each invoice cell that is a date replaced by its displayed text, taken from a second read.

    Raises TransientError if rows moved between the two reads, so that they cannot be matched.
    """
    if [(row.position, row.key) for row in snapshot.rows] != [(row.position, row.key) for row in shown.rows]:
        raise TransientError("The sheet changed while it was being read; it will be read again.")
    rows = []
    for row, seen in zip(snapshot.rows, shown.rows, strict=True):
        text = seen.cells.get("invoice")
        if _is_number(row.cells.get("invoice")) and isinstance(text, str):
            row = SheetRow(row.position, {**row.cells, "invoice": text})  # noqa: PLW2901
        rows.append(row)
    return Snapshot(snapshot.layout, tuple(rows))


def _is_number(cell: Cell) -> bool:
    """Any number counts: for Sheets "10:30" is a fraction of a day, "12-3456" a day in the year 3456."""
    return isinstance(cell, int | Decimal) and not isinstance(cell, bool)


def storable(cell: Cell) -> Cell:
    """Return a cell without invisible characters that cannot be stored."""
    return clean(cell) if isinstance(cell, str) else cell


def header(cell: Cell) -> str:
    """Return a header in a form for comparison: case and surrounding spaces are ignored, inner spaces become underscores."""
    return "_".join(cell_text(cell).split()).casefold()


def _lacking(names: Iterable[str]) -> tuple[str, ...]:
    there = set(names)
    lacking = [name for name in REQUIRED_COLUMNS if name not in there]
    if not there & set(CUSTOMER_COLUMNS):
        lacking.append(" or ".join(CUSTOMER_COLUMNS))
    return tuple(lacking)


def runs(row: int, cells: Mapping[int, str]) -> list[CellWrite]:
    """Join cells of a row (column -> text) into runs of adjacent cells."""
    writes: list[CellWrite] = []
    for column in sorted(cells):
        last = writes[-1] if writes else None
        if last and last.column + len(last.values) == column:
            writes[-1] = CellWrite(row, last.column, (*last.values, cells[column]))
        else:
            writes.append(CellWrite(row, column, (cells[column],)))
    return writes


def a1(worksheet: str, write: CellWrite) -> str:
    """Return the A1 range of a run of cells: 'inv_tbl'!AF12:AH12."""
    first, last = letters(write.column), letters(write.column + len(write.values) - 1)
    return f"{quoted(worksheet)}!{first}{write.row}:{last}{write.row}"


def quoted(worksheet: str) -> str:
    """Return a worksheet's name quoted for A1 notation."""
    return "'" + worksheet.replace("'", "''") + "'"


def letters(column: int) -> str:
    """Return a column's letters: 0 is A, 26 is AA."""
    name = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        name = chr(ord("A") + rest) + name
    return name
