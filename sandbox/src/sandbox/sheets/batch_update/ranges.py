"""Requests about cells: update, append, repeat, copy, cut, and ranges whose cells are shifted."""

from dataclasses import replace

from sandbox.sheets.a1 import Area
from sandbox.sheets.batch_update import Request
from sandbox.sheets.batch_update.dimensions import resize, size_of
from sandbox.sheets.cells import Cell, raw, typed
from sandbox.sheets.errors import SheetsError
from sandbox.sheets.grid import Sheet, Spreadsheet


def _cell_of(data: Request, old: Cell | None, fields: str) -> Cell | None:
    """A CellData as a cell, as far as the mask asks: its entered value and its number format."""
    everything = fields == "*"
    cell = old
    if everything or "userEnteredValue" in fields:
        entered = data.get("userEnteredValue") or {}
        cell = None
        if "formulaValue" in entered:
            cell = typed(entered["formulaValue"])
        else:
            for name in ("numberValue", "stringValue", "boolValue"):
                if name in entered:
                    cell = raw(entered[name])
    form = ((data.get("userEnteredFormat") or {}).get("numberFormat")) or {}
    if cell and (everything or "userEnteredFormat" in fields):
        cell = replace(cell, kind=form.get("type"), pattern=form.get("pattern"))
    elif cell and old and cell.kind is None:
        cell = replace(cell, kind=old.kind, pattern=old.pattern)
    return cell


def update_cells(book: Spreadsheet, spec: Request) -> None:
    """Cells from a start on, or of a range: those of a range that are not given are emptied, as far as `fields` asks."""
    fields = spec.get("fields")
    if not fields:
        raise SheetsError("At least one field must be listed in 'fields'.")
    rows = spec.get("rows") or []
    if "start" in spec:
        at = spec["start"]
        sheet, row, column = book.sheet(int(at.get("sheetId", 0))), int(at.get("rowIndex", 0)), int(at.get("columnIndex", 0))
        height, width = len(rows), max((len(r.get("values") or []) for r in rows), default=0)
    else:
        area = book.grid_range(spec["range"], clip=False)
        sheet, row, column = book.sheet(area.sheet), area.row, area.column
        height, width = area.row_end - area.row, area.column_end - area.column
    if row + height > len(sheet.rows) or column + width > len(sheet.columns):
        raise book.outside(sheet, row, column, row + height, column + width)
    for r in range(height):
        data = (rows[r].get("values") or []) if r < len(rows) else []
        for c in range(width):
            given = data[c] if c < len(data) else {}
            if c < len(data) or "range" in spec:
                old = sheet.rows[row + r].cells.get(column + c)
                sheet.set(row + r, column + c, _cell_of(given or {}, old, fields))


def append_cells(book: Spreadsheet, spec: Request) -> None:
    """Rows of cells below the last used one; the grid grows."""
    sheet = book.sheet(int(spec.get("sheetId", 0)))
    row, rows = sheet.last_used_row(), spec.get("rows") or []
    width = max((len(r.get("values") or []) for r in rows), default=0)
    resize(sheet, "ROWS", max(len(sheet.rows), row + len(rows)))
    resize(sheet, "COLUMNS", max(len(sheet.columns), width))
    start = {"sheetId": sheet.id, "rowIndex": row, "columnIndex": 0}
    update_cells(book, {"start": start, "rows": rows, "fields": spec.get("fields")})


def repeat_cell(book: Spreadsheet, spec: Request) -> None:
    """One cell into each of a range."""
    area, fields = book.grid_range(spec["range"]), spec.get("fields")
    if not fields:
        raise SheetsError("At least one field must be listed in 'fields'.")
    sheet = book.sheet(area.sheet)
    for row in range(area.row, area.row_end):
        for column in range(area.column, area.column_end):
            sheet.set(row, column, _cell_of(spec["cell"], sheet.rows[row].cells.get(column), fields))


def copy_paste(book: Spreadsheet, spec: Request) -> None:
    """Cells to another place, repeated where that is larger."""
    source, target = book.grid_range(spec["source"]), book.grid_range(spec["destination"])
    cells = book.sheet(source.sheet).values(source)
    height, width = len(cells), len(cells[0]) if cells else 0
    if not (height and width):
        raise SheetsError("Invalid requests[0].copyPaste: The source range is empty.")
    sheet = book.sheet(target.sheet)
    for r in range(max(height, (target.row_end - target.row) // height * height)):
        for c in range(max(width, (target.column_end - target.column) // width * width)):
            if target.row + r < len(sheet.rows) and target.column + c < len(sheet.columns):
                sheet.set(target.row + r, target.column + c, cells[r % height][c % width])


def cut_paste(book: Spreadsheet, spec: Request) -> None:
    """Cells to another place; where they were is empty."""
    source, at = book.grid_range(spec["source"]), spec["destination"]
    cells = book.sheet(source.sheet).values(source)
    sheet, row, column = book.sheet(int(at.get("sheetId", 0))), int(at.get("rowIndex", 0)), int(at.get("columnIndex", 0))
    height, width = len(cells), len(cells[0]) if cells else 0
    if row + height > len(sheet.rows) or column + width > len(sheet.columns):
        raise book.outside(sheet, row, column, row + height, column + width)
    for r in range(source.row, source.row_end):
        for c in range(source.column, source.column_end):
            book.sheet(source.sheet).set(r, c, None)
    for r, line in enumerate(cells, row):
        for c, cell in enumerate(line, column):
            sheet.set(r, c, cell)


def delete_range(book: Spreadsheet, spec: Request) -> None:
    """Cells go, those below or to the right of them take their place; rows themselves, and their metadata, stay."""
    area, sheet = _shifted(book, spec)
    down = spec["shiftDimension"] == "ROWS"
    step = area.row_end - area.row if down else area.column_end - area.column
    last_row, last_column = (len(sheet.rows), area.column_end) if down else (area.row_end, len(sheet.columns))
    for row in range(area.row, last_row):
        for column in range(area.column, last_column):
            from_row, from_column = (row + step, column) if down else (row, column + step)
            inside = from_row < last_row and from_column < last_column
            sheet.set(row, column, sheet.rows[from_row].cells.get(from_column) if inside else None)


def insert_range(book: Spreadsheet, spec: Request) -> None:
    """Empty cells come in, those from there on move down or to the right; the grid grows where it must."""
    area, sheet = _shifted(book, spec)
    down = spec["shiftDimension"] == "ROWS"
    step = area.row_end - area.row if down else area.column_end - area.column
    resize(sheet, "ROWS" if down else "COLUMNS", size_of(sheet, "ROWS" if down else "COLUMNS") + step)
    last_row, last_column = (len(sheet.rows), area.column_end) if down else (area.row_end, len(sheet.columns))
    for row in reversed(range(area.row, last_row)):
        for column in reversed(range(area.column, last_column)):
            from_row, from_column = (row - step, column) if down else (row, column - step)
            inside = from_row >= area.row and from_column >= area.column
            sheet.set(row, column, sheet.rows[from_row].cells.get(from_column) if inside else None)


def _shifted(book: Spreadsheet, spec: Request) -> tuple[Area, Sheet]:
    if spec.get("shiftDimension") not in ("ROWS", "COLUMNS"):
        raise SheetsError("shiftDimension must be ROWS or COLUMNS")
    area = book.grid_range(spec["range"])
    return area, book.sheet(area.sheet)
