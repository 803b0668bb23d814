"""Developer metadata of a spreadsheet: attach, find, drop, and where they stand.

Metadata belong to the row or column itself: they follow inserts, deletes and moves of it, and stay where they are in a
sort, which moves cells.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sandbox.sheets.a1 import Area
from sandbox.sheets.errors import SheetsError
from sandbox.sheets.grid import Metadata, Spreadsheet


def create(book: Spreadsheet, spec: dict[str, Any]) -> Metadata:
    """Attach metadata to the spreadsheet, a sheet, or one row or column. Raises SheetsError."""
    location, visibility = spec.get("location") or {}, spec.get("visibility")
    if not spec.get("metadataKey") or visibility not in ("DOCUMENT", "PROJECT"):
        raise SheetsError("Invalid developerMetadata: metadataKey and visibility (DOCUMENT or PROJECT) are required.")
    identity = spec.get("metadataId")
    if identity is None:
        identity, book.next_metadata_id = book.next_metadata_id, book.next_metadata_id + 1
    if any(item["metadataId"] == identity for item in everything(book)):
        raise SheetsError(f"Developer metadata with id {identity} already exists.", 400)
    item: Metadata = {"metadataId": identity, "metadataKey": spec["metadataKey"], "visibility": visibility}
    if "metadataValue" in spec:
        item["metadataValue"] = spec["metadataValue"]
    _home(book, location).append(item)
    return item


def _home(book: Spreadsheet, location: dict[str, Any]) -> list[Metadata]:
    if span := location.get("dimensionRange"):
        sheet = book.sheet(int(span.get("sheetId", 0)))
        start, end = int(span.get("startIndex", 0)), int(span.get("endIndex", 0))
        lines: Sequence[Any] = sheet.rows if span.get("dimension") == "ROWS" else sheet.columns
        if end - start != 1 or not 0 <= start < len(lines):
            raise SheetsError("Invalid developerMetadata.location: it must be a single row or column.")
        found: list[Metadata] = lines[start].metadata if span.get("dimension") == "ROWS" else lines[start]
        return found
    if "sheetId" in location:
        return book.sheet(int(location["sheetId"])).metadata
    if location.get("spreadsheet"):
        return book.metadata
    raise SheetsError("Invalid developerMetadata.location: no location is given.")


def everything(book: Spreadsheet) -> list[Metadata]:
    """Every metadata with its location as it is now."""
    found = [_located(item, {"locationType": "SPREADSHEET", "spreadsheet": True}) for item in book.metadata]
    for sheet in book.sheets:
        found += [_located(item, {"locationType": "SHEET", "sheetId": sheet.id}) for item in sheet.metadata]
        for dimension, kind, lines in (
            ("ROWS", "ROW", [row.metadata for row in sheet.rows]),
            ("COLUMNS", "COLUMN", sheet.columns),
        ):
            for index, items in enumerate(lines):
                span = {"sheetId": sheet.id, "dimension": dimension, "startIndex": index, "endIndex": index + 1}
                found += [_located(item, {"locationType": kind, "dimensionRange": span}) for item in items]
    return found


def find(book: Spreadsheet, lookup: dict[str, Any]) -> list[Metadata]:
    """Metadata that match a DeveloperMetadataLookup."""
    return [item for item in everything(book) if _matches(item, lookup)]


def drop(book: Spreadsheet, ids: Iterable[int]) -> None:
    """Remove metadata by id."""
    gone = set(ids)
    homes = [book.metadata] + [home for s in book.sheets for home in (s.metadata, *s.columns, *(r.metadata for r in s.rows))]
    for home in homes:
        home[:] = [item for item in home if item["metadataId"] not in gone]


def area_of(book: Spreadsheet, item: Metadata) -> Area:
    """The cells of the row, column, or sheet that metadata stand at."""
    location = item["location"]
    span = location.get("dimensionRange")
    sheet = book.sheet(span["sheetId"] if span else location.get("sheetId", book.sheets[0].id))
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
