"""The `values` collection: get, update, append, clear, and their batch and data-filter forms. Works on a Spreadsheet;
knows no HTTP.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sandbox.sheets.a1 import Area, letters
from sandbox.sheets.cells import Cell, raw, render, typed
from sandbox.sheets.errors import SheetsError
from sandbox.sheets.grid import Row, Sheet, Spreadsheet

READ_OPTIONS = ("FORMATTED_VALUE", "UNFORMATTED_VALUE", "FORMULA")
DATE_OPTIONS = ("SERIAL_NUMBER", "FORMATTED_STRING")
_INPUTS: dict[str, Callable[[Any], Cell | None]] = {"RAW": raw, "USER_ENTERED": typed}


@dataclass(frozen=True)
class Reading:
    """How values are to be shown."""

    major: str = "ROWS"
    option: str = "FORMATTED_VALUE"
    dates: str = "SERIAL_NUMBER"

    @staticmethod
    def of(source: Any, prefix: str = "") -> "Reading":
        """From a query or a body; `prefix` is "response" for a write's answer. Raises SheetsError."""

        def pick(name: str, known: Sequence[str]) -> str:
            key = prefix + name[0].upper() + name[1:] if prefix else name
            value = source.get(key) or known[0]
            if value not in known:
                raise SheetsError(f"Invalid value at '{key}' (type.googleapis.com/google.apps.sheets.v4), \"{value}\"")
            return str(value)

        major = "ROWS" if prefix else pick("majorDimension", ("ROWS", "COLUMNS"))
        return Reading(major, pick("valueRenderOption", READ_OPTIONS), pick("dateTimeRenderOption", DATE_OPTIONS))


def read(book: Spreadsheet, area: Area, how: Reading) -> dict[str, Any]:
    """A ValueRange: ragged, without trailing empty cells and rows; no `values` at all where there is nothing."""
    sheet = book.sheet(area.sheet)
    used = replace(area, row_end=min(area.row_end, max(area.row, sheet.last_used_row())))
    lines: list[list[Any]] = [[render(cell, how.option, how.dates) for cell in row] for row in sheet.values(used)]
    if how.major == "COLUMNS":
        lines = [list(line) for line in zip(*lines, strict=True)]
    for line in lines:
        while line and line[-1] == "":
            line.pop()
    while lines and not lines[-1]:
        lines.pop()
    answer: dict[str, Any] = {"range": book.a1(area), "majorDimension": how.major}
    return answer | {"values": lines} if lines else answer


@dataclass(frozen=True)
class Write:
    """Cells to put: checked, not yet done. None leaves a cell as it is; `Cell` in a one-tuple, or an empty tuple to empty it."""

    area: Area
    cells: list[list[tuple[Cell, ...] | None]]

    def count(self) -> int:
        """How many cells are touched."""
        return sum(cell is not None for line in self.cells for cell in line)


def plan(book: Spreadsheet, area: Area, body: dict[str, Any], option: str | None) -> Write:
    """Check a write. Raises SheetsError; nothing is changed yet."""
    if option not in _INPUTS:
        wanted = (
            "'valueInputOption' is required but not specified"
            if not option
            else f"Invalid value at 'value_input_option', {option}"
        )
        raise SheetsError(wanted)
    lines = body.get("values", [])
    if not isinstance(lines, list) or not all(isinstance(line, list) for line in lines):
        raise SheetsError("Invalid value at 'data.values' (type.googleapis.com/google.protobuf.ListValue)")
    try:
        cells = [[None if v is None else _entry(_INPUTS[option](v)) for v in line] for line in lines]
    except ValueError as error:
        raise SheetsError(f"Invalid values: {error}") from None
    if body.get("majorDimension") == "COLUMNS":
        height = max(map(len, cells), default=0)
        cells = [[column[i] if i < len(column) else None for column in cells] for i in range(height)]
    height, width = len(cells), max(map(len, cells), default=0)
    sheet = book.sheet(area.sheet)
    row_end, column_end = area.row + height, area.column + width
    if not area.single and (row_end > area.row_end or column_end > area.column_end):
        over = f"column [{letters(area.column_end)}]" if column_end > area.column_end else f"row [{area.row_end + 1}]"
        raise SheetsError(f"Requested writing within range [{book.a1(area)}], but tried writing to {over}")
    if row_end > len(sheet.rows) or column_end > len(sheet.columns):
        raise book.outside(sheet, area.row, area.column, row_end, column_end)
    return Write(Area(area.sheet, area.row, max(row_end, area.row + 1), area.column, max(column_end, area.column + 1)), cells)


def _entry(cell: Cell | None) -> tuple[Cell, ...]:
    return () if cell is None else (cell,)


def carry_out(book: Spreadsheet, write: Write, how: Reading | None = None) -> dict[str, Any]:
    """Do a checked write. Returns the UpdateValuesResponse, with the values as they are now if `how` is given."""
    sheet = book.sheet(write.area.sheet)
    for r, line in enumerate(write.cells, write.area.row):
        for c, entry in enumerate(line, write.area.column):
            if entry is not None:
                _put(sheet, r, c, entry)
    rows = sum(any(cell is not None for cell in line) for line in write.cells)
    columns = len({c for line in write.cells for c, cell in enumerate(line) if cell is not None})
    answer: dict[str, Any] = {"spreadsheetId": book.id, "updatedRange": book.a1(write.area)}
    if write.count():
        answer |= {"updatedRows": rows, "updatedColumns": columns, "updatedCells": write.count()}
    return answer | ({"updatedData": read(book, write.area, how)} if how else {})


def _put(sheet: Sheet, row: int, column: int, entry: tuple[Cell, ...]) -> None:
    if not entry:
        sheet.set(row, column, None)
        return
    cell, old = entry[0], sheet.rows[row].cells.get(column)
    if old and old.kind and cell.kind is None and not isinstance(cell.value, str | bool):
        cell = Cell(cell.value, cell.formula, old.kind, old.pattern)  # a number typed into a date or money cell is shown as such
    sheet.set(row, column, cell)


def append(
    book: Spreadsheet, area: Area, body: dict[str, Any], option: str | None, *, insert: bool, how: Reading | None = None
) -> dict[str, Any]:
    """Write below the table that the range finds; the grid grows. Returns the AppendValuesResponse, with values if asked."""
    sheet = book.sheet(area.sheet)
    table = _table(sheet, area)
    start = table.row_end if table else area.row
    column = table.column if table else area.column
    lines = body.get("values") or [[]]
    across = body.get("majorDimension") == "COLUMNS"
    height = max(map(len, lines), default=0) if across else len(lines)
    width = len(lines) if across else max(map(len, lines), default=0)
    if insert:
        sheet.insert("ROWS", start, height)
    while len(sheet.rows) < start + height:
        sheet.rows.append(Row())
    while len(sheet.columns) < column + width:
        sheet.columns.append([])
    target = Area(sheet.id, start, start + max(height, 1), column, column + max(width, 1))
    updates = carry_out(book, plan(book, target, body, option), how)
    found = {"tableRange": book.a1(table)} if table else {}
    return {"spreadsheetId": book.id, **found, "updates": updates}


def _table(sheet: Sheet, area: Area) -> Area | None:
    """The last table that the range touches. A range that touches none is where writing starts."""
    touched = [
        table
        for table in _tables(sheet)
        if table.row < area.row_end
        and area.row < table.row_end
        and table.column < area.column_end
        and area.column < table.column_end
    ]
    return touched[-1] if touched else None


def _tables(sheet: Sheet) -> list[Area]:
    """Blocks of filled cells, parted by empty rows and, inside those, by empty columns; from the top."""
    found: list[Area] = []
    start = 0
    limit = sheet.last_used_row()
    while start < limit:
        if not sheet.rows[start].cells:
            start += 1
            continue
        end = start
        while end < limit and sheet.rows[end].cells:
            end += 1
        used = sorted({c for row in sheet.rows[start:end] for c in row.cells})
        left = used[0]
        for column, following in zip(used, [*used[1:], None], strict=True):
            if following != column + 1:
                found.append(Area(sheet.id, start, end, left, column + 1))
                left = following or 0
        start = end
    return found


def clear(book: Spreadsheet, area: Area) -> str:
    """Empty the values of an area. Returns it in A1 notation."""
    sheet = book.sheet(area.sheet)
    for row in sheet.rows[area.row : area.row_end]:
        row.cells = {c: cell for c, cell in row.cells.items() if not area.column <= c < area.column_end}
    return book.a1(area)


def totals(book: Spreadsheet, responses: list[dict[str, Any]], sheets: int) -> dict[str, Any]:
    """The sums of a BatchUpdateValuesResponse."""
    sums = {f"totalUpdated{n}": sum(r.get(f"updated{n}", 0) for r in responses) for n in ("Rows", "Columns", "Cells")}
    return {"spreadsheetId": book.id, **sums, "totalUpdatedSheets": sheets, "responses": responses}
