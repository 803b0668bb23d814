"""Requests about rows and columns: append, insert, delete, move, sort; and how large a grid is."""

from sandbox.sheets.batch_update import Request
from sandbox.sheets.errors import SheetsError
from sandbox.sheets.grid import Sheet, Spreadsheet


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


def size_of(sheet: Sheet, dimension: str) -> int:
    """How many rows or columns there are."""
    return len(sheet.rows if dimension == "ROWS" else sheet.columns)


def append_dimension(book: Spreadsheet, spec: Request) -> None:
    """Rows or columns behind the last."""
    sheet, dimension, length = book.sheet(int(spec.get("sheetId", 0))), spec.get("dimension"), int(spec.get("length", 0))
    if dimension not in ("ROWS", "COLUMNS") or length < 1:
        raise SheetsError("dimension must be ROWS or COLUMNS, and length at least 1")
    sheet.insert(dimension, size_of(sheet, dimension), length)


def insert_dimension(book: Spreadsheet, spec: Request) -> None:
    """Empty rows or columns before an index."""
    sheet, dimension, start, end = _span(book, spec["range"])
    if start > size_of(sheet, dimension):
        raise SheetsError(
            f"range.startIndex[{start}] is after last {dimension.lower()[:-1]} in sheet[{size_of(sheet, dimension)}]"
        )
    if spec.get("inheritFromBefore") and start == 0:
        raise SheetsError("inheritFromBefore cannot be true when inserting at index 0")
    sheet.insert(dimension, start, end - start)


def delete_dimension(book: Spreadsheet, spec: Request) -> None:
    """Rows or columns go, never all of them."""
    sheet, dimension, start, end = _span(book, spec["range"])
    size = size_of(sheet, dimension)
    if start >= size:
        raise SheetsError(
            f"Cannot delete a {dimension.lower()[:-1]} that doesn't exist. Tried to delete index {start} of {size}."
        )
    if end - start >= size:
        raise SheetsError(f"You can't delete all the {dimension.lower()} on the sheet.")
    sheet.delete(dimension, start, min(end, size))


def move_dimension(book: Spreadsheet, spec: Request) -> None:
    """Rows or columns to before an index."""
    sheet, dimension, start, end = _span(book, spec["source"])
    to = int(spec["destinationIndex"])
    if end > size_of(sheet, dimension) or not 0 <= to <= size_of(sheet, dimension):
        raise SheetsError("source or destinationIndex is outside the grid")
    sheet.move(dimension, start, end, to)


def sort_range(book: Spreadsheet, spec: Request) -> None:
    """The rows of a range by its columns."""
    area = book.grid_range(spec["range"])
    keys = [(int(s.get("dimensionIndex", 0)), s.get("sortOrder", "ASCENDING") == "DESCENDING") for s in spec.get("sortSpecs", [])]
    if not keys or any(not area.column <= column < area.column_end for column, _ in keys):
        raise SheetsError("sortSpecs must name columns inside the range")
    book.sheet(area.sheet).sort(area, keys)


def resize(sheet: Sheet, dimension: str, wanted: int) -> None:
    """Append or cut off rows or columns at the end until there are `wanted`. Raises SheetsError below one."""
    size = size_of(sheet, dimension)
    if wanted < 1:
        raise SheetsError("a sheet must have at least one row and one column")
    if wanted > size:
        sheet.insert(dimension, size, wanted - size)
    elif wanted < size:
        sheet.delete(dimension, wanted, size)
