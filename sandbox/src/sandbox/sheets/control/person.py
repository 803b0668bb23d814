"""A person's actions in a sheet: fill in rows, edit cells, insert, delete, sort, copy and move rows. Rows count from 1."""

from collections.abc import Callable
from typing import Any

from sandbox.sheets.a1 import Area
from sandbox.sheets.cells import Cell, dated, raw, typed
from sandbox.sheets.generating import SerialDate
from sandbox.sheets.grid import Row, Sheet, Spreadsheet

Order = dict[str, Any]
Act = Callable[[Spreadsheet, Sheet, Order], Any]  # what a person does in a sheet; returns the answer to the order


def put_row(sheet: Sheet, at: int, content: Any, *, typing: bool) -> None:
    """Fill in the row with index `at` (from 0): values from the first column on, or an object by header. Raises KeyError."""
    while len(sheet.rows) <= at:
        sheet.rows.append(Row())
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for where, value in pairs:
        column = where if isinstance(where, int) else _column(sheet, where)
        sheet.set(at, column, _cell(value, typing=typing))


def _column(sheet: Sheet, header: str | int) -> int:
    """The index of a header, case ignored; a number is an index already."""
    if isinstance(header, int):
        return header
    for column, cell in sheet.rows[0].cells.items():
        if str(cell.value).casefold() == header.casefold():
            return column
    raise KeyError(header)


def _row_index(sheet: Sheet, order: Order) -> int:
    """The row that an order means: `row` (from 1), or `where` {header: value}."""
    if "row" in order:
        return int(order["row"]) - 1
    wanted = {_column(sheet, header): value for header, value in order["where"].items()}
    for index, row in enumerate(sheet.rows):
        if all(column in row.cells and row.cells[column].value == value for column, value in wanted.items()):
            return index
    raise KeyError(str(order["where"]))


def _edit_cell(book: Spreadsheet, sheet: Sheet, order: Order) -> Any:
    """`{"row"|"where", "set": {header: what is typed}}`, or `{"cell": "B2", "value"}`; `raw` stores it as given."""
    typing = not order.get("raw", False)
    if "cell" in order:
        area = book.area(f"'{sheet.title}'!{order['cell']}", clip=False)
        sheet.set(area.row, area.column, _cell(order["value"], typing=typing))
        return {"row": area.row + 1}
    index = _row_index(sheet, order)
    put_row(sheet, index, order["set"], typing=typing)
    return {"row": index + 1}


def _insert(book: Spreadsheet, sheet: Sheet, order: Order) -> Any:
    """Empty rows before `row` (from 1)."""
    sheet.insert("ROWS", int(order["row"]) - 1, int(order.get("count", 1)))
    return {}


def _delete(book: Spreadsheet, sheet: Sheet, order: Order) -> Any:
    """`count` rows from `row` (from 1) or `where`."""
    index = _row_index(sheet, order)
    sheet.delete("ROWS", index, index + int(order.get("count", 1)))
    return {"row": index + 1}


def _sort(book: Spreadsheet, sheet: Sheet, order: Order) -> Any:
    """All rows below the headers by `column` (header or index)."""
    width = len(sheet.columns)
    area = Area(sheet.id, 1, max(sheet.last_used_row(), 1), 0, width)
    sheet.sort(area, [(_column(sheet, order["column"]), bool(order.get("descending", False)))])
    return {}


def _copy(book: Spreadsheet, sheet: Sheet, order: Order) -> Any:
    """A whole row, key and all, into a new row at `to` (from 1; default: below the last)."""
    source = sheet.rows[_row_index(sheet, order)]
    to = int(order.get("to", sheet.last_used_row() + 1)) - 1
    sheet.insert("ROWS", to, 1)
    sheet.rows[to].cells = dict(source.cells)
    return {"row": to + 1}


def _move(book: Spreadsheet, sheet: Sheet, order: Order) -> Any:
    """A row to before row `to` (from 1)."""
    index = _row_index(sheet, order)
    sheet.move("ROWS", index, index + 1, int(order["to"]) - 1)
    return {}


def _cell(value: Any, *, typing: bool) -> Cell | None:
    if value is None:
        return None
    if isinstance(value, SerialDate):
        return dated(value.day)
    return typed(value) if typing else raw(value)


ACTS: dict[str, Act] = {  # by the name under /control
    "cells": _edit_cell,
    "insert": _insert,
    "delete": _delete,
    "sort": _sort,
    "copy": _copy,
    "move": _move,
}
