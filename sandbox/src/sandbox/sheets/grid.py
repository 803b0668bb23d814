"""A spreadsheet in memory: sheets of rows and columns, ranges in A1 notation, structural changes, developer metadata.

Metadata hang on the row or column itself: they follow inserts, deletes and moves of it, and stay where they are in a
sort, which moves cells.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sandbox.sheets.cells import Cell, Value

Metadata = dict[str, Any]


class SheetsError(Exception):
    """Google's error: HTTP code, status word, message."""

    def __init__(self, message: str, code: int = 400, status: str = "INVALID_ARGUMENT") -> None:
        super().__init__(message)
        self.code, self.status, self.message = code, status, message


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

    def values(self, area: "Area") -> list[list[Cell | None]]:
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
        """Move rows or columns to before `to`, counted before they are taken out."""
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

    def sort(self, area: "Area", keys: Sequence[tuple[int, bool]]) -> None:
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


@dataclass(frozen=True)
class Area:
    """A rectangle: indices from 0, ends excluded. `open_end`: the range named no end row."""

    sheet: int
    row: int
    row_end: int
    column: int
    column_end: int

    @property
    def single(self) -> bool:
        """Whether it is one cell: then it is where writing starts, not a limit."""
        return self.row_end - self.row == 1 and self.column_end - self.column == 1


_A1 = re.compile(r"\$?([A-Za-z]{1,3})?\$?(\d+)?(?::\$?([A-Za-z]{1,3})?\$?(\d+)?)?$")


def letters(column: int) -> str:
    """A column's name: 0 is A, 26 is AA."""
    text = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        text = chr(65 + rest) + text
    return text


def column_number(name: str) -> int:
    """A column's index from 0."""
    number = 0
    for letter in name.upper():
        number = number * 26 + ord(letter) - 64
    return number - 1


def quoted(title: str) -> str:
    """A sheet's title as it stands in a range."""
    return title if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", title) else "'" + title.replace("'", "''") + "'"


@dataclass
class Spreadsheet:
    """A spreadsheet: sheets in order, metadata of its own, and a version that counts changes."""

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
            sheet = self.titled(_unquote(title))
        elif (named := self.titled(_unquote(text))) is not None:
            sheet, cells = named, ""
        else:
            sheet = self.sheets[0] if self.sheets else None
            cells = text
        match = _A1.match(cells)
        if sheet is None or match is None or (not cells and not title and self.titled(_unquote(text)) is None):
            raise SheetsError(f"Unable to parse range: {text}")
        return self._within(sheet, match, text, clip=clip)

    def _within(self, sheet: Sheet, match: "re.Match[str]", text: str, *, clip: bool) -> Area:
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

    # Developer metadata

    def create_metadata(self, spec: dict[str, Any]) -> Metadata:
        """Attach metadata to the spreadsheet, a sheet, or one row or column."""
        location, visibility = spec.get("location") or {}, spec.get("visibility")
        if not spec.get("metadataKey") or visibility not in ("DOCUMENT", "PROJECT"):
            raise SheetsError("Invalid developerMetadata: metadataKey and visibility (DOCUMENT or PROJECT) are required.")
        identity = spec.get("metadataId")
        if identity is None:
            identity, self.next_metadata_id = self.next_metadata_id, self.next_metadata_id + 1
        if any(item["metadataId"] == identity for item in self.all_metadata()):
            raise SheetsError(f"Developer metadata with id {identity} already exists.", 400)
        item: Metadata = {"metadataId": identity, "metadataKey": spec["metadataKey"], "visibility": visibility}
        if "metadataValue" in spec:
            item["metadataValue"] = spec["metadataValue"]
        self._home(location).append(item)
        return item

    def _home(self, location: dict[str, Any]) -> list[Metadata]:
        if span := location.get("dimensionRange"):
            sheet = self.sheet(int(span.get("sheetId", 0)))
            start, end = int(span.get("startIndex", 0)), int(span.get("endIndex", 0))
            lines: Sequence[Any] = sheet.rows if span.get("dimension") == "ROWS" else sheet.columns
            if end - start != 1 or not 0 <= start < len(lines):
                raise SheetsError("Invalid developerMetadata.location: it must be a single row or column.")
            found: list[Metadata] = lines[start].metadata if span.get("dimension") == "ROWS" else lines[start]
            return found
        if "sheetId" in location:
            return self.sheet(int(location["sheetId"])).metadata
        if location.get("spreadsheet"):
            return self.metadata
        raise SheetsError("Invalid developerMetadata.location: no location is given.")

    def all_metadata(self) -> list[Metadata]:
        """Every metadata with its location as it is now."""
        found = [_located(item, {"locationType": "SPREADSHEET", "spreadsheet": True}) for item in self.metadata]
        for sheet in self.sheets:
            found += [_located(item, {"locationType": "SHEET", "sheetId": sheet.id}) for item in sheet.metadata]
            for dimension, kind, lines in (
                ("ROWS", "ROW", [row.metadata for row in sheet.rows]),
                ("COLUMNS", "COLUMN", sheet.columns),
            ):
                for index, items in enumerate(lines):
                    span = {"sheetId": sheet.id, "dimension": dimension, "startIndex": index, "endIndex": index + 1}
                    found += [_located(item, {"locationType": kind, "dimensionRange": span}) for item in items]
        return found

    def find_metadata(self, lookup: dict[str, Any]) -> list[Metadata]:
        """Metadata that match a DeveloperMetadataLookup."""
        return [item for item in self.all_metadata() if _matches(item, lookup)]

    def drop_metadata(self, ids: Iterable[int]) -> None:
        """Remove metadata by id."""
        gone = set(ids)
        homes = [self.metadata] + [home for s in self.sheets for home in (s.metadata, *s.columns, *(r.metadata for r in s.rows))]
        for home in homes:
            home[:] = [item for item in home if item["metadataId"] not in gone]

    def metadata_area(self, item: Metadata) -> Area:
        """The cells of the row, column, or sheet that metadata stand at."""
        location = item["location"]
        span = location.get("dimensionRange")
        sheet = self.sheet(span["sheetId"] if span else location.get("sheetId", self.sheets[0].id))
        row, row_end, column, column_end = 0, len(sheet.rows), 0, len(sheet.columns)
        if span and span["dimension"] == "ROWS":
            row, row_end = span["startIndex"], span["endIndex"]
        elif span:
            column, column_end = span["startIndex"], span["endIndex"]
        return Area(sheet.id, row, row_end, column, column_end)


def _located(item: Metadata, location: dict[str, Any]) -> Metadata:
    return {**item, "location": location}


def _matches(item: Metadata, lookup: dict[str, Any]) -> bool:
    location = item["location"]
    wanted = lookup.get("metadataLocation")
    if wanted:
        if span := wanted.get("dimensionRange"):
            here = location.get("dimensionRange")
            names = ("sheetId", "dimension", "startIndex", "endIndex")
            if not here or any(here[name] != span.get(name, 0) for name in names):
                return False
        elif "sheetId" in wanted:
            here_sheet = location.get("sheetId", (location.get("dimensionRange") or {}).get("sheetId"))
            if here_sheet != wanted["sheetId"]:
                return False
    return (
        ("metadataId" not in lookup or item["metadataId"] == lookup["metadataId"])
        and ("metadataKey" not in lookup or item["metadataKey"] == lookup["metadataKey"])
        and ("metadataValue" not in lookup or item.get("metadataValue") == lookup["metadataValue"])
        and ("visibility" not in lookup or item["visibility"] == lookup["visibility"])
        and (lookup.get("locationType") in (None, location["locationType"]))
    )


def _unquote(title: str) -> str:
    if len(title) >= 2 and title.startswith("'") and title.endswith("'"):
        return title[1:-1].replace("''", "'")
    return title
