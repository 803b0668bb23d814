"""A spreadsheet in memory: sheets of rows and columns, structural changes, and areas of them by ranges. State files hold it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from re import Match
from typing import Any

from sandbox.sheets.a1 import RANGE, Area, column_number, letters, quoted, unquoted
from sandbox.sheets.cells import Cell, Value
from sandbox.sheets.errors import SheetsError

Metadata = dict[str, Any]


@dataclass
class Row:
    """One row: its cells by column, and its metadata."""

    cells: dict[int, Cell] = field(default_factory=dict)
    metadata: list[Metadata] = field(default_factory=list)

    def copy(self) -> "Row":
        """An independent copy; cells are immutable and shared."""
        return Row(dict(self.cells), list(self.metadata))


@dataclass
class Sheet:
    """One tab."""

    id: int
    title: str
    rows: list[Row]
    columns: list[list[Metadata]]  # the metadata of each column
    metadata: list[Metadata] = field(default_factory=list)
    properties: dict[str, Any] = field(default_factory=dict)  # whatever else was set: frozen rows, colours

    def copy(self) -> "Sheet":
        """An independent copy."""
        rows, columns = [row.copy() for row in self.rows], [list(c) for c in self.columns]
        return Sheet(self.id, self.title, rows, columns, list(self.metadata), dict(self.properties))

    def values(self, area: Area) -> list[list[Cell | None]]:
        """The cells of an area, as a full rectangle."""
        span = range(area.column, area.column_end)
        return [[row.cells.get(column) for column in span] for row in self.rows[area.row : area.row_end]]

    def last_used_row(self) -> int:
        """How many rows there are up to the last one with a cell."""
        return max((index + 1 for index, row in enumerate(self.rows) if row.cells), default=0)

    def set(self, row: int, column: int, cell: Cell | None) -> None:
        """Put a cell, or empty it."""
        if cell is None:
            self.rows[row].cells.pop(column, None)
        else:
            self.rows[row].cells[column] = cell

    # Structure. Indices from 0, ends excluded, checked by the caller.

    def insert(self, dimension: str, at: int, count: int) -> None:
        """Insert empty rows or columns before `at`."""
        if dimension == "ROWS":
            self.rows[at:at] = [Row() for _ in range(count)]
            return
        self.columns[at:at] = [[] for _ in range(count)]
        for row in self.rows:
            row.cells = {(c + count if c >= at else c): cell for c, cell in row.cells.items()}

    def delete(self, dimension: str, start: int, end: int) -> None:
        """Delete rows or columns."""
        if dimension == "ROWS":
            del self.rows[start:end]
            return
        del self.columns[start:end]
        for row in self.rows:
            row.cells = {(c - (end - start) if c >= end else c): cell for c, cell in row.cells.items() if not start <= c < end}

    def move(self, dimension: str, start: int, end: int, to: int) -> None:
        """Move rows or columns to before `to`, counted before they are removed."""
        size = len(self.rows) if dimension == "ROWS" else len(self.columns)
        taken = list(range(start, end))
        rest = [i for i in range(size) if not start <= i < end]
        cut = sum(1 for i in rest if i < to)
        order = rest[:cut] + taken + rest[cut:]
        if dimension == "ROWS":
            self.rows = [self.rows[i] for i in order]
            return
        self.columns = [self.columns[i] for i in order]
        place = {old: new for new, old in enumerate(order)}
        for row in self.rows:
            row.cells = {place[c]: cell for c, cell in row.cells.items()}

    def sort(self, area: Area, keys: Sequence[tuple[int, bool]]) -> None:
        """Sort the rows of an area by (column, descending) keys; empty cells last either way. Moves cells, nothing else."""
        lines = [{c: row.cells.get(c) for c in range(area.column, area.column_end)} for row in self.rows[area.row : area.row_end]]
        for column, descending in reversed(keys):
            full = [line for line in lines if line.get(column) is not None]
            empty = [line for line in lines if line.get(column) is None]
            lines = sorted(full, key=lambda line: _order(line[column]), reverse=descending) + empty
        for row, line in zip(range(area.row, area.row_end), lines, strict=True):
            for column, cell in line.items():
                self.set(row, column, cell)


def _order(cell: Cell | None) -> tuple[int, Decimal, str]:
    assert cell is not None
    value: Value = cell.value
    if isinstance(value, bool):
        return 2, Decimal(value), ""
    if isinstance(value, str):
        return 1, Decimal(0), value.casefold()
    return 0, Decimal(value), ""


@dataclass
class Spreadsheet:
    """A spreadsheet: its sheets in order, its own metadata, and a version that counts changes."""

    id: str
    title: str
    sheets: list[Sheet] = field(default_factory=list)
    metadata: list[Metadata] = field(default_factory=list)
    next_metadata_id: int = 1
    version: int = 1

    def copy(self) -> "Spreadsheet":
        """An independent copy: a batch works on one and is kept whole or not at all."""
        sheets = [sheet.copy() for sheet in self.sheets]
        return Spreadsheet(self.id, self.title, sheets, list(self.metadata), self.next_metadata_id, self.version)

    def sheet(self, sheet_id: int) -> Sheet:
        """A sheet by id; raises SheetsError."""
        for sheet in self.sheets:
            if sheet.id == sheet_id:
                return sheet
        raise SheetsError(f"No grid with id: {sheet_id}")

    def titled(self, title: str) -> Sheet | None:
        """A sheet by title; Google ignores case."""
        folded = title.casefold()
        return next((sheet for sheet in self.sheets if sheet.title.casefold() == folded), None)

    def add_sheet(
        self, title: str, rows: int = 1000, columns: int = 26, sheet_id: int | None = None, index: int | None = None
    ) -> Sheet:
        """Add a tab; raises SheetsError when the title or id is taken."""
        if self.titled(title):
            raise SheetsError(f'A sheet with the name "{title}" already exists. Please enter another name.')
        used = {sheet.id for sheet in self.sheets}
        if sheet_id is not None and sheet_id in used:
            raise SheetsError(f"Sheet with id {sheet_id} already exists.")
        fresh = next(i for i in range(0, 10**6, 7919) if i not in used) if sheet_id is None else sheet_id
        sheet = Sheet(fresh, title, [Row() for _ in range(rows)], [[] for _ in range(columns)])
        self.sheets.insert(len(self.sheets) if index is None else index, sheet)
        return sheet

    def area(self, text: str, *, clip: bool) -> Area:
        """Read a range in A1 notation. Reading clips its end at the grid; where it starts outside, or for writing ends
        there: 400.
        """
        title, _, cells = text.rpartition("!") if "!" in text else ("", "", text)
        if title:
            sheet = self.titled(unquoted(title))
        elif (named := self.titled(unquoted(text))) is not None:
            sheet, cells = named, ""
        else:
            sheet = self.sheets[0] if self.sheets else None
            cells = text
        match = RANGE.match(cells)
        if sheet is None or match is None or (not cells and not title and self.titled(unquoted(text)) is None):
            raise SheetsError(f"Unable to parse range: {text}")
        return self._within(sheet, match, text, clip=clip)

    def _within(self, sheet: Sheet, match: Match[str], text: str, *, clip: bool) -> Area:
        left, top, right, bottom = match.groups()
        alone = ":" not in match.group(0)
        if alone and match.group(0) and (left is None or top is None):
            raise SheetsError(f"Unable to parse range: {text}")
        height, width = len(sheet.rows), len(sheet.columns)
        row, column = int(top or 1) - 1, column_number(left) if left else 0
        row_end = (row + 1) if alone and top else int(bottom) if bottom else height
        column_end = (column + 1) if alone and left else column_number(right) + 1 if right else width
        if row_end < row + 1 and bottom:  # B5:A1 means A1:B5
            row, row_end = row_end - 1, row + 1
        if column_end < column + 1 and right:
            column, column_end = column_end - 1, column + 1
        outside = row >= height or column >= width or (not clip and (row_end > height or column_end > width))
        if outside or row < 0:
            raise self.outside(sheet, row, column, row_end, column_end)
        return Area(sheet.id, row, min(row_end, height), column, min(column_end, width))

    def outside(self, sheet: Sheet, row: int, column: int, row_end: int, column_end: int) -> SheetsError:
        """Google's words for a range outside the grid."""
        first, last = f"{letters(column)}{row + 1}", f"{letters(column_end - 1)}{row_end}"
        shown = f"{quoted(sheet.title)}!{first}" + (f":{last}" if first != last else "")
        limits = f"Max rows: {len(sheet.rows)}, max columns: {len(sheet.columns)}"
        return SheetsError(f"Range ({shown}) exceeds grid limits. {limits}")

    def grid_range(self, spec: dict[str, Any], *, clip: bool = True) -> Area:
        """Read a GridRange: missing bounds are unbounded."""
        sheet = self.sheet(int(spec.get("sheetId", 0)))
        height, width = len(sheet.rows), len(sheet.columns)
        row, column = int(spec.get("startRowIndex", 0)), int(spec.get("startColumnIndex", 0))
        row_end, column_end = int(spec.get("endRowIndex", height)), int(spec.get("endColumnIndex", width))
        if row < 0 or column < 0 or row_end < row or column_end < column:
            raise SheetsError("Invalid GridRange: start index must not be greater than end index, nor negative.")
        if row > height or column > width or (not clip and (row_end > height or column_end > width)):
            raise self.outside(sheet, row, column, row_end, column_end)
        return Area(sheet.id, row, min(row_end, height), column, min(column_end, width))

    def a1(self, area: Area) -> str:
        """An area in A1 notation, with its sheet."""
        first = f"{letters(area.column)}{area.row + 1}"
        last = f"{letters(area.column_end - 1)}{area.row_end}"
        return f"{quoted(self.sheet(area.sheet).title)}!{first}" + (f":{last}" if last != first else "")
