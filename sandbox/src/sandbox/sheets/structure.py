"""`spreadsheets.batchUpdate` and `spreadsheets.get`: structural requests, and the spreadsheet as a resource. Knows no HTTP."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from sandbox.sheets.cells import Cell, raw, shown, typed
from sandbox.sheets.grid import Area, Row, Sheet, SheetsError, Spreadsheet
from sandbox.sheets.values import filtered

Request = dict[str, Any]


def apply(book: Spreadsheet, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Carry requests out in turn on `book` (a copy: the caller keeps it only if all succeed). Returns their replies."""
    if not requests:
        raise SheetsError("Must specify at least one request.")
    replies = []
    for index, request in enumerate(requests):
        names = [name for name in request if name in HANDLERS]
        if len(request) != 1 or not names:
            unknown = ", ".join(request) or "nothing"
            raise SheetsError(
                f"Invalid requests[{index}]: {unknown} is not one request that this stand-in knows: {', '.join(HANDLERS)}."
            )
        try:
            replies.append(HANDLERS[names[0]](book, request[names[0]]) or {})
        except SheetsError as error:
            raise SheetsError(f"Invalid requests[{index}].{names[0]}: {error.message}") from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SheetsError(f"Invalid requests[{index}].{names[0]}: {error!r}") from None
    return replies


def _span(book: Spreadsheet, spec: Request) -> tuple[Sheet, str, int, int]:
    """Read a DimensionRange; raises SheetsError when it leaves the grid."""
    sheet = book.sheet(int(spec.get("sheetId", 0)))
    dimension = spec.get("dimension")
    if dimension not in ("ROWS", "COLUMNS"):
        raise SheetsError("dimension must be ROWS or COLUMNS")
    size = len(sheet.rows if dimension == "ROWS" else sheet.columns)
    start, end = int(spec.get("startIndex", 0)), int(spec.get("endIndex", size))
    if not 0 <= start < end:
        raise SheetsError(f"range.startIndex {start} must be less than range.endIndex {end}, and neither negative")
    return sheet, dimension, start, end


def _size(sheet: Sheet, dimension: str) -> int:
    return len(sheet.rows if dimension == "ROWS" else sheet.columns)


def _append_dimension(book: Spreadsheet, spec: Request) -> None:
    sheet, dimension, length = book.sheet(int(spec.get("sheetId", 0))), spec.get("dimension"), int(spec.get("length", 0))
    if dimension not in ("ROWS", "COLUMNS") or length < 1:
        raise SheetsError("dimension must be ROWS or COLUMNS, and length at least 1")
    sheet.insert(dimension, _size(sheet, dimension), length)


def _insert_dimension(book: Spreadsheet, spec: Request) -> None:
    sheet, dimension, start, end = _span(book, spec["range"])
    if start > _size(sheet, dimension):
        raise SheetsError(f"range.startIndex[{start}] is after last {dimension.lower()[:-1]} in sheet[{_size(sheet, dimension)}]")
    if spec.get("inheritFromBefore") and start == 0:
        raise SheetsError("inheritFromBefore cannot be true when inserting at index 0")
    sheet.insert(dimension, start, end - start)


def _delete_dimension(book: Spreadsheet, spec: Request) -> None:
    sheet, dimension, start, end = _span(book, spec["range"])
    size = _size(sheet, dimension)
    if start >= size:
        raise SheetsError(
            f"Cannot delete a {dimension.lower()[:-1]} that doesn't exist. Tried to delete index {start} of {size}."
        )
    if end - start >= size:
        raise SheetsError(f"You can't delete all the {dimension.lower()} on the sheet.")
    sheet.delete(dimension, start, min(end, size))


def _move_dimension(book: Spreadsheet, spec: Request) -> None:
    sheet, dimension, start, end = _span(book, spec["source"])
    to = int(spec["destinationIndex"])
    if end > _size(sheet, dimension) or not 0 <= to <= _size(sheet, dimension):
        raise SheetsError("source or destinationIndex is outside the grid")
    sheet.move(dimension, start, end, to)


def _sort_range(book: Spreadsheet, spec: Request) -> None:
    area = book.grid_range(spec["range"])
    keys = [(int(s.get("dimensionIndex", 0)), s.get("sortOrder", "ASCENDING") == "DESCENDING") for s in spec.get("sortSpecs", [])]
    if not keys or any(not area.column <= column < area.column_end for column, _ in keys):
        raise SheetsError("sortSpecs must name columns inside the range")
    book.sheet(area.sheet).sort(area, keys)


def _add_sheet(book: Spreadsheet, spec: Request) -> dict[str, Any]:
    wanted = spec.get("properties") or {}
    grid = wanted.get("gridProperties") or {}
    title = wanted.get("title") or next(t for i in range(1, 1000) if not book.titled(t := f"Sheet{len(book.sheets) + i}"))
    rows, columns = int(grid.get("rowCount", 1000)), int(grid.get("columnCount", 26))
    sheet = book.add_sheet(title, rows, columns, wanted.get("sheetId"), wanted.get("index"))
    _take_properties(sheet, wanted)
    return {"addSheet": {"properties": properties(book, sheet)}}


def _delete_sheet(book: Spreadsheet, spec: Request) -> None:
    sheet = book.sheet(int(spec["sheetId"]))
    if len(book.sheets) == 1:
        raise SheetsError("You can't remove all the sheets in a document.")
    book.sheets.remove(sheet)


def _duplicate_sheet(book: Spreadsheet, spec: Request) -> dict[str, Any]:
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


def _update_sheet_properties(book: Spreadsheet, spec: Request) -> None:
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
            _resize(sheet, dimension, int(grid[name]))
    if "index" in wanted and (fields == "*" or "index" in fields.split(",")):
        book.sheets.remove(sheet)
        book.sheets.insert(int(wanted["index"]), sheet)
    _take_properties(sheet, wanted)


def _resize(sheet: Sheet, dimension: str, wanted: int) -> None:
    size = _size(sheet, dimension)
    if wanted < 1:
        raise SheetsError("a sheet must have at least one row and one column")
    if wanted > size:
        sheet.insert(dimension, size, wanted - size)
    elif wanted < size:
        sheet.delete(dimension, wanted, size)


def _update_spreadsheet_properties(book: Spreadsheet, spec: Request) -> None:
    book.title = spec["properties"].get("title", book.title)


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


def _update_cells(book: Spreadsheet, spec: Request) -> None:
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


def _append_cells(book: Spreadsheet, spec: Request) -> None:
    sheet = book.sheet(int(spec.get("sheetId", 0)))
    row, rows = sheet.last_used_row(), spec.get("rows") or []
    width = max((len(r.get("values") or []) for r in rows), default=0)
    _resize(sheet, "ROWS", max(len(sheet.rows), row + len(rows)))
    _resize(sheet, "COLUMNS", max(len(sheet.columns), width))
    start = {"sheetId": sheet.id, "rowIndex": row, "columnIndex": 0}
    _update_cells(book, {"start": start, "rows": rows, "fields": spec.get("fields")})


def _repeat_cell(book: Spreadsheet, spec: Request) -> None:
    area, fields = book.grid_range(spec["range"]), spec.get("fields")
    if not fields:
        raise SheetsError("At least one field must be listed in 'fields'.")
    sheet = book.sheet(area.sheet)
    for row in range(area.row, area.row_end):
        for column in range(area.column, area.column_end):
            sheet.set(row, column, _cell_of(spec["cell"], sheet.rows[row].cells.get(column), fields))


def _copy_paste(book: Spreadsheet, spec: Request) -> None:
    source, target = book.grid_range(spec["source"]), book.grid_range(spec["destination"])
    cells = book.sheet(source.sheet).values(source)
    height, width = len(cells), len(cells[0]) if cells else 0
    sheet = book.sheet(target.sheet)
    for r in range(max(height, (target.row_end - target.row) // height * height)):
        for c in range(max(width, (target.column_end - target.column) // width * width)):
            if target.row + r < len(sheet.rows) and target.column + c < len(sheet.columns):
                sheet.set(target.row + r, target.column + c, cells[r % height][c % width])


def _cut_paste(book: Spreadsheet, spec: Request) -> None:
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


def _delete_range(book: Spreadsheet, spec: Request) -> None:
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


def _insert_range(book: Spreadsheet, spec: Request) -> None:
    """Empty cells come in, those from there on move down or to the right; the grid grows where it must."""
    area, sheet = _shifted(book, spec)
    down = spec["shiftDimension"] == "ROWS"
    step = area.row_end - area.row if down else area.column_end - area.column
    _resize(sheet, "ROWS" if down else "COLUMNS", _size(sheet, "ROWS" if down else "COLUMNS") + step)
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


def _appearance(book: Spreadsheet, spec: Request) -> None:
    """How cells look changes nothing that is stood in for: taken if it names a tab that is there, and forgotten."""
    for value in (spec, *spec.values()):
        if isinstance(value, dict) and "sheetId" in value:
            book.sheet(int(value["sheetId"]))


def _create_metadata(book: Spreadsheet, spec: Request) -> dict[str, Any]:
    made = book.create_metadata(spec["developerMetadata"])
    return {"createDeveloperMetadata": {"developerMetadata": next(_by_id(book, made["metadataId"]))}}


def _update_metadata(book: Spreadsheet, spec: Request) -> dict[str, Any]:
    found = _metadata_of(book, spec)
    changes, fields = spec["developerMetadata"], spec.get("fields") or ""
    names = [n for n in ("metadataKey", "metadataValue", "visibility") if n in changes and (fields == "*" or n in fields)]
    moved = changes.get("location") if fields == "*" or "location" in fields else None
    book.drop_metadata(item["metadataId"] for item in found)
    for item in found:
        book.create_metadata({**item, **{n: changes[n] for n in names}, "location": moved or item["location"]})
    ids = [item["metadataId"] for item in found]
    return {"updateDeveloperMetadata": {"developerMetadata": [m for m in book.all_metadata() if m["metadataId"] in ids]}}


def _delete_metadata(book: Spreadsheet, spec: Request) -> dict[str, Any]:
    found = _metadata_of(book, {"dataFilters": [spec["dataFilter"]]})
    book.drop_metadata(item["metadataId"] for item in found)
    return {"deleteDeveloperMetadata": {"deletedDeveloperMetadata": found}}


def _metadata_of(book: Spreadsheet, spec: Request) -> list[dict[str, Any]]:
    found = [m for f in spec.get("dataFilters", []) for m in book.find_metadata(f.get("developerMetadataLookup") or {})]
    return list({item["metadataId"]: item for item in found}.values())


def _by_id(book: Spreadsheet, identity: int) -> Any:
    return (item for item in book.all_metadata() if item["metadataId"] == identity)


APPEARANCE = (
    "updateDimensionProperties",
    "autoResizeDimensions",
    "updateBorders",
    "setDataValidation",
    "setBasicFilter",
    "clearBasicFilter",
    "addConditionalFormatRule",
    "deleteConditionalFormatRule",
    "addDimensionGroup",
    "deleteDimensionGroup",
)
HANDLERS: dict[str, Callable[[Spreadsheet, Request], dict[str, Any] | None]] = {
    "appendDimension": _append_dimension,
    "insertDimension": _insert_dimension,
    "deleteDimension": _delete_dimension,
    "moveDimension": _move_dimension,
    "sortRange": _sort_range,
    "addSheet": _add_sheet,
    "deleteSheet": _delete_sheet,
    "duplicateSheet": _duplicate_sheet,
    "updateSheetProperties": _update_sheet_properties,
    "updateSpreadsheetProperties": _update_spreadsheet_properties,
    "updateCells": _update_cells,
    "appendCells": _append_cells,
    "repeatCell": _repeat_cell,
    "copyPaste": _copy_paste,
    "cutPaste": _cut_paste,
    "insertRange": _insert_range,
    "deleteRange": _delete_range,
    **dict.fromkeys(APPEARANCE, _appearance),
    "createDeveloperMetadata": _create_metadata,
    "updateDeveloperMetadata": _update_metadata,
    "deleteDeveloperMetadata": _delete_metadata,
}


# ------------------------------------------------------------------------------------------------- spreadsheets.get


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


def resource(book: Spreadsheet, areas: list[Area] | None, *, grid_data: bool) -> dict[str, Any]:
    """The Spreadsheet resource; with ranges only their sheets, with grid data their cells."""
    wanted = None if areas is None else {area.sheet for area in areas}
    sheets = []
    for sheet in book.sheets:
        if wanted is not None and sheet.id not in wanted:
            continue
        shown_sheet: dict[str, Any] = {"properties": properties(book, sheet)}
        here = [
            m for m in book.all_metadata() if m["location"]["locationType"] == "SHEET" and m["location"]["sheetId"] == sheet.id
        ]
        if here:
            shown_sheet["developerMetadata"] = here
        if grid_data:
            full = Area(sheet.id, 0, len(sheet.rows), 0, len(sheet.columns))
            mine = [area for area in areas if area.sheet == sheet.id] if areas is not None else [full]
            shown_sheet["data"] = [grid_data_of(book, sheet, area) for area in mine]
        sheets.append(shown_sheet)
    answer: dict[str, Any] = {
        "spreadsheetId": book.id,
        "properties": {"title": book.title, **BOOK_PROPERTIES},
        "sheets": sheets,
        "spreadsheetUrl": f"https://docs.google.com/spreadsheets/d/{book.id}/edit",
    }
    top = [m for m in book.all_metadata() if m["location"]["locationType"] == "SPREADSHEET"]
    return answer | ({"developerMetadata": top} if top else {})


def grid_data_of(book: Spreadsheet, sheet: Sheet, area: Area) -> dict[str, Any]:
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
    located = [m for m in book.all_metadata() if (m["location"].get("dimensionRange") or {}).get("sheetId") == sheet.id]
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


def by_filters(book: Spreadsheet, body: dict[str, Any]) -> list[Area]:
    """The areas that a body's dataFilters find."""
    return [area for spec in body.get("dataFilters", []) for area in filtered(book, spec)]
