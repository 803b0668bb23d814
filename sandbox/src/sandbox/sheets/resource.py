"""The Spreadsheet resource of `spreadsheets.get`: properties, grid data, developer metadata. Knows no HTTP."""

from decimal import Decimal
from typing import Any

from sandbox.sheets import metadata
from sandbox.sheets.a1 import Area
from sandbox.sheets.cells import Cell, shown
from sandbox.sheets.grid import Sheet, Spreadsheet

BOOK_PROPERTIES: dict[str, Any] = {
    "locale": "en_US",
    "autoRecalc": "ON_CHANGE",
    "timeZone": "America/New_York",
    "defaultFormat": {  # clients read it without asking whether it is there
        "backgroundColor": {"red": 1, "green": 1, "blue": 1},
        "padding": {"top": 2, "right": 3, "bottom": 2, "left": 3},
        "verticalAlignment": "BOTTOM",
        "wrapStrategy": "OVERFLOW_CELL",
        "textFormat": {
            "foregroundColor": {},
            "fontFamily": "arial,sans,sans-serif",
            "fontSize": 10,
            "bold": False,
            "italic": False,
            "strikethrough": False,
            "underline": False,
        },
    },
}


def properties(book: Spreadsheet, sheet: Sheet) -> dict[str, Any]:
    """A sheet's properties."""
    extra = {k: v for k, v in sheet.properties.items() if k != "gridProperties"}
    grid = {"rowCount": len(sheet.rows), "columnCount": len(sheet.columns), **sheet.properties.get("gridProperties", {})}
    index = book.sheets.index(sheet)
    return {"sheetId": sheet.id, "title": sheet.title, "index": index, "sheetType": "GRID", "gridProperties": grid, **extra}


def spreadsheet(book: Spreadsheet, areas: list[Area] | None, *, grid_data: bool) -> dict[str, Any]:
    """The Spreadsheet resource; with ranges only their sheets, with grid data their cells."""
    wanted = None if areas is None else {area.sheet for area in areas}
    sheets = []
    for sheet in book.sheets:
        if wanted is not None and sheet.id not in wanted:
            continue
        shown_sheet: dict[str, Any] = {"properties": properties(book, sheet)}
        here = [
            m
            for m in metadata.everything(book)
            if m["location"]["locationType"] == "SHEET" and m["location"]["sheetId"] == sheet.id
        ]
        if here:
            shown_sheet["developerMetadata"] = here
        if grid_data:
            full = Area(sheet.id, 0, len(sheet.rows), 0, len(sheet.columns))
            mine = [area for area in areas if area.sheet == sheet.id] if areas is not None else [full]
            shown_sheet["data"] = [_grid_data(book, sheet, area) for area in mine]
        sheets.append(shown_sheet)
    answer: dict[str, Any] = {
        "spreadsheetId": book.id,
        "properties": {"title": book.title, **BOOK_PROPERTIES},
        "sheets": sheets,
        "spreadsheetUrl": f"https://docs.google.com/spreadsheets/d/{book.id}/edit",
    }
    top = [m for m in metadata.everything(book) if m["location"]["locationType"] == "SPREADSHEET"]
    return answer | ({"developerMetadata": top} if top else {})


def _grid_data(book: Spreadsheet, sheet: Sheet, area: Area) -> dict[str, Any]:
    """GridData: cells with entered, effective and shown values, and the metadata of rows and columns."""
    lines = sheet.values(area)
    while lines and not any(lines[-1]):
        lines.pop()
    rows = [{"values": [_cell_data(cell) for cell in _trim(line)]} if any(line) else {} for line in lines]
    data: dict[str, Any] = {"rowData": rows} if rows else {}
    if area.row:
        data["startRow"] = area.row
    if area.column:
        data["startColumn"] = area.column
    located = [m for m in metadata.everything(book) if (m["location"].get("dimensionRange") or {}).get("sheetId") == sheet.id]
    for name, dimension, start, end in (
        ("rowMetadata", "ROWS", area.row, area.row_end),
        ("columnMetadata", "COLUMNS", area.column, area.column_end),
    ):
        items: list[dict[str, Any]] = [{"pixelSize": 21 if dimension == "ROWS" else 100} for _ in range(start, end)]
        for m in located:
            span = m["location"]["dimensionRange"]
            if span["dimension"] == dimension and start <= span["startIndex"] < end:
                items[span["startIndex"] - start].setdefault("developerMetadata", []).append(m)
        data[name] = items
    return data


def _trim(line: list[Cell | None]) -> list[Cell | None]:
    while line and line[-1] is None:
        line.pop()
    return line


def _cell_data(cell: Cell | None) -> dict[str, Any]:
    if cell is None:
        return {}
    value = _extended(cell.value)
    data: dict[str, Any] = {
        "userEnteredValue": {"formulaValue": cell.formula} if cell.formula else value,
        "effectiveValue": value,
        "formattedValue": shown(cell),
    }
    if cell.kind:
        form = {"numberFormat": {"type": cell.kind, "pattern": cell.pattern or ""}}
        data |= {"userEnteredFormat": form, "effectiveFormat": form}
    return data


def _extended(value: str | int | Decimal | bool) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    return {"stringValue": value} if isinstance(value, str) else {"numberValue": value}
