"""Requests about whole sheets and the spreadsheet itself: add, delete, duplicate, their properties; `sheets.copyTo`."""

from typing import Any

from sandbox.sheets.batch_update import Request
from sandbox.sheets.batch_update.dimensions import resize
from sandbox.sheets.errors import SheetsError
from sandbox.sheets.grid import Row, Sheet, Spreadsheet
from sandbox.sheets.resource import properties


def add_sheet(book: Spreadsheet, spec: Request) -> dict[str, Any]:
    """A new sheet; replies with its properties."""
    wanted = spec.get("properties") or {}
    grid = wanted.get("gridProperties") or {}
    title = wanted.get("title") or next(t for i in range(1, 1000) if not book.titled(t := f"Sheet{len(book.sheets) + i}"))
    rows, columns = int(grid.get("rowCount", 1000)), int(grid.get("columnCount", 26))
    sheet = book.add_sheet(title, rows, columns, wanted.get("sheetId"), wanted.get("index"))
    _take_properties(sheet, wanted)
    return {"addSheet": {"properties": properties(book, sheet)}}


def delete_sheet(book: Spreadsheet, spec: Request) -> None:
    """A sheet goes, never the last."""
    sheet = book.sheet(int(spec["sheetId"]))
    if len(book.sheets) == 1:
        raise SheetsError("You can't remove all the sheets in a document.")
    book.sheets.remove(sheet)


def duplicate_sheet(book: Spreadsheet, spec: Request) -> dict[str, Any]:
    """A copy of a sheet in this spreadsheet; replies with its properties."""
    source = book.sheet(int(spec["sourceSheetId"]))
    title = spec.get("newSheetName") or f"Copy of {source.title}"
    sheet = book.add_sheet(title, len(source.rows), len(source.columns), spec.get("newSheetId"), spec.get("insertSheetIndex"))
    sheet.rows = [Row(dict(row.cells)) for row in source.rows]
    return {"duplicateSheet": {"properties": properties(book, sheet)}}


def copy_to(book: Spreadsheet, sheet_id: int, target: Spreadsheet) -> dict[str, Any]:
    """A copy of a tab in this or another spreadsheet; returns its properties."""
    source = book.sheet(sheet_id)
    title = f"Copy of {source.title}"
    number = 1
    while target.titled(title):
        number += 1
        title = f"Copy of {source.title} {number}"
    sheet = target.add_sheet(title, len(source.rows), len(source.columns))
    sheet.rows = [Row(dict(row.cells)) for row in source.rows]
    return properties(target, sheet)


def _take_properties(sheet: Sheet, wanted: Request) -> None:
    grid = {k: v for k, v in (wanted.get("gridProperties") or {}).items() if k not in ("rowCount", "columnCount")}
    if grid:
        sheet.properties["gridProperties"] = sheet.properties.get("gridProperties", {}) | grid
    sheet.properties |= {k: wanted[k] for k in ("hidden", "tabColor", "tabColorStyle", "rightToLeft") if k in wanted}


def update_sheet_properties(book: Spreadsheet, spec: Request) -> None:
    """Title, size, index and looks of a sheet, as far as `fields` names them."""
    wanted, fields = spec["properties"], spec.get("fields")
    if not fields:
        raise SheetsError("At least one field must be listed in 'fields'.")
    sheet = book.sheet(int(wanted.get("sheetId", 0)))
    if "title" in wanted and (fields == "*" or "title" in fields.split(",")) and wanted["title"] != sheet.title:
        if (other := book.titled(wanted["title"])) and other is not sheet:
            raise SheetsError(f'A sheet with the name "{wanted["title"]}" already exists. Please enter another name.')
        sheet.title = wanted["title"]
    grid = wanted.get("gridProperties") or {}
    for dimension, name in (("ROWS", "rowCount"), ("COLUMNS", "columnCount")):
        if name in grid:
            resize(sheet, dimension, int(grid[name]))
    if "index" in wanted and (fields == "*" or "index" in fields.split(",")):
        book.sheets.remove(sheet)
        book.sheets.insert(int(wanted["index"]), sheet)
    _take_properties(sheet, wanted)


def update_spreadsheet_properties(book: Spreadsheet, spec: Request) -> None:
    """The spreadsheet's title."""
    book.title = spec["properties"].get("title", book.title)
