"""A batchUpdate as a whole: each request is handed to what carries it out; the first that fails ends it."""

from collections.abc import Callable
from typing import Any

from sandbox.sheets.batch_update import Request, developer_metadata, dimensions, ranges, tabs
from sandbox.sheets.errors import SheetsError
from sandbox.sheets.grid import Spreadsheet


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


def _appearance(book: Spreadsheet, spec: Request) -> None:
    """Formatting requests: accepted if the tab exists, and ignored."""
    for value in (spec, *spec.values()):
        if isinstance(value, dict) and "sheetId" in value:
            book.sheet(int(value["sheetId"]))


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
    "appendDimension": dimensions.append_dimension,
    "insertDimension": dimensions.insert_dimension,
    "deleteDimension": dimensions.delete_dimension,
    "moveDimension": dimensions.move_dimension,
    "sortRange": dimensions.sort_range,
    "addSheet": tabs.add_sheet,
    "deleteSheet": tabs.delete_sheet,
    "duplicateSheet": tabs.duplicate_sheet,
    "updateSheetProperties": tabs.update_sheet_properties,
    "updateSpreadsheetProperties": tabs.update_spreadsheet_properties,
    "updateCells": ranges.update_cells,
    "appendCells": ranges.append_cells,
    "repeatCell": ranges.repeat_cell,
    "copyPaste": ranges.copy_paste,
    "cutPaste": ranges.cut_paste,
    "insertRange": ranges.insert_range,
    "deleteRange": ranges.delete_range,
    **dict.fromkeys(APPEARANCE, _appearance),
    "createDeveloperMetadata": developer_metadata.create,
    "updateDeveloperMetadata": developer_metadata.update,
    "deleteDeveloperMetadata": developer_metadata.delete,
}
