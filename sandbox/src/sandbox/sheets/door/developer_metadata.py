"""`/v4/spreadsheets/{id}/developerMetadata`: search and get."""

from typing import Any

from sandbox.sheets import metadata
from sandbox.sheets.a1 import Area
from sandbox.sheets.data_filters import filtered
from sandbox.sheets.door.envelopes import only
from sandbox.sheets.errors import SheetsError
from sandbox.sheets.grid import Spreadsheet


def search(book: Spreadsheet, body: dict[str, Any]) -> dict[str, Any]:
    """What the body's dataFilters match: by look-up, or by where it stands. Raises SheetsError."""
    only(body, "dataFilters")
    matched = []
    for spec in body.get("dataFilters") or []:
        if "developerMetadataLookup" in spec:
            found = metadata.find(book, spec["developerMetadataLookup"])
        else:
            areas = filtered(book, spec)
            found = [item for item in metadata.everything(book) if _stands_in(item, areas)]
        matched += [{"developerMetadata": item, "dataFilters": [spec]} for item in found]
    return {"matchedDeveloperMetadata": matched} if matched else {}


def get(book: Spreadsheet, identity: str) -> dict[str, Any]:
    """One item by its id. Raises SheetsError (404)."""
    for item in metadata.everything(book):
        if str(item["metadataId"]) == identity:
            return item
    raise SheetsError(f"No developer metadata with id {identity}", 404, "NOT_FOUND")


def _stands_in(item: dict[str, Any], areas: list[Area]) -> bool:
    span = item["location"].get("dimensionRange")
    if not span:
        return any(item["location"].get("sheetId") == area.sheet for area in areas)
    for area in areas:
        start, end = (area.row, area.row_end) if span["dimension"] == "ROWS" else (area.column, area.column_end)
        if span["sheetId"] == area.sheet and start <= span["startIndex"] < end:
            return True
    return False
