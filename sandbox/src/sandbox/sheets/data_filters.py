"""DataFilters: from a range in A1 notation, a grid range or a look-up of developer metadata to areas."""

from typing import Any

from sandbox.sheets import metadata
from sandbox.sheets.a1 import Area
from sandbox.sheets.errors import SheetsError
from sandbox.sheets.grid import Spreadsheet


def filtered(book: Spreadsheet, spec: dict[str, Any]) -> list[Area]:
    """The areas that a DataFilter finds. Raises SheetsError."""
    if "a1Range" in spec:
        return [book.area(spec["a1Range"], clip=True)]
    if "gridRange" in spec:
        return [book.grid_range(spec["gridRange"])]
    if "developerMetadataLookup" in spec:
        return [metadata.area_of(book, item) for item in metadata.find(book, spec["developerMetadataLookup"])]
    raise SheetsError("Invalid dataFilter: it must have a1Range, gridRange or developerMetadataLookup.")


def by_filters(book: Spreadsheet, body: dict[str, Any]) -> list[Area]:
    """The areas that a body's dataFilters find."""
    return [area for spec in body.get("dataFilters", []) for area in filtered(book, spec)]
