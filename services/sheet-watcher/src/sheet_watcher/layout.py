"""From the values of a worksheet to rows by header name, wherever the headers stand; and from cells to A1. Pure."""

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
    """The worksheet is not one that the watcher can read; nothing is done with it until somebody corrects it."""


def snapshot_of(values: Sequence[Sequence[Cell]], worksheet: str) -> Snapshot:
    """Read a worksheet's values (ragged rows); raise LayoutError that names what is missing or double."""
    layout = find_layout(values, worksheet)
    rows = []
    for position, cells in enumerate(values[layout.header_row :], layout.header_row + 1):
        named = {name: storable(cells[column]) for name, column in layout.columns.items() if column < len(cells)}
        if any(cell_text(value) for value in named.values()):
            rows.append(SheetRow(position, named))
    return Snapshot(layout, tuple(rows))


def find_layout(values: Sequence[Sequence[Cell]], worksheet: str) -> Layout:
    """Return where the headers stand; raise LayoutError."""
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
                    "Rename or remove one of each: nobody can know which one counts.",
                    Code.VALIDATION,
                )
            return Layout(index + 1, {name: column for column, name in enumerate(names) if name in USED_COLUMNS}, width)
        if fewest is None or len(lacking) < len(fewest):
            fewest = lacking
    lacking = fewest or _lacking([])
    raise LayoutError(
        f"The worksheet {worksheet!r} lacks the columns {', '.join(lacking)}.",
        "Add them to its header row (upper and lower case do not matter), or correct SHEETS_WORKSHEET.",
        Code.VALIDATION,
    )


def may_hold_a_date(snapshot: Snapshot) -> bool:
    """Say whether an invoice cell holds a number that could be the day for which Sheets took a number like "3-1"."""
    return any(_is_number(row.cells.get("invoice")) for row in snapshot.rows)


def with_shown_numbers(snapshot: Snapshot, shown: Snapshot) -> Snapshot:
    """Return the rows with each invoice cell that is a date as the text that its person sees, out of a second read.

    Raises TransientError where rows moved between the two reads: nothing says then which belongs to which.
    """
    if [(row.position, row.key) for row in snapshot.rows] != [(row.position, row.key) for row in shown.rows]:
        raise TransientError("The sheet was changed while it was read; it is read again.")
    rows = []
    for row, seen in zip(snapshot.rows, shown.rows, strict=True):
        text = seen.cells.get("invoice")
        if _is_number(row.cells.get("invoice")) and isinstance(text, str):
            row = SheetRow(row.position, {**row.cells, "invoice": text})  # noqa: PLW2901
        rows.append(row)
    return Snapshot(snapshot.layout, tuple(rows))


def _is_number(cell: Cell) -> bool:
    """Any: "10:30" is a part of a day for Sheets, "12-3456" a day of the year 3456."""
    return isinstance(cell, int | Decimal) and not isinstance(cell, bool)


def storable(cell: Cell) -> Cell:
    """Return a cell without the characters that can be neither seen nor stored."""
    return clean(cell) if isinstance(cell, str) else cell


def header(cell: Cell) -> str:
    """Return a header for comparison: case and spaces around do not count, spaces within are underscores."""
    return "_".join(cell_text(cell).split()).casefold()


def _lacking(names: Iterable[str]) -> tuple[str, ...]:
    there = set(names)
    lacking = [name for name in REQUIRED_COLUMNS if name not in there]
    if not there & set(CUSTOMER_COLUMNS):
        lacking.append(" or ".join(CUSTOMER_COLUMNS))
    return tuple(lacking)


def runs(row: int, cells: Mapping[int, str]) -> list[CellWrite]:
    """Join cells of one row (column -> text) into runs of neighbours."""
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
    """Return a worksheet's name as A1 notation wants it."""
    return "'" + worksheet.replace("'", "''") + "'"


def letters(column: int) -> str:
    """Return a column's letters: 0 is A, 26 is AA."""
    name = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        name = chr(ord("A") + rest) + name
    return name
