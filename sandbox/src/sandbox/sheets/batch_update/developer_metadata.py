"""Requests about developer metadata: create, update, delete."""

from typing import Any

from sandbox.sheets import metadata
from sandbox.sheets.batch_update import Request
from sandbox.sheets.grid import Spreadsheet


def create(book: Spreadsheet, spec: Request) -> dict[str, Any]:
    """Attach metadata; replies with them."""
    made = metadata.create(book, spec["developerMetadata"])
    return {"createDeveloperMetadata": {"developerMetadata": next(_by_id(book, made["metadataId"]))}}


def update(book: Spreadsheet, spec: Request) -> dict[str, Any]:
    """Change what the dataFilters find; replies with them as they are now."""
    found = _metadata_of(book, spec)
    changes, fields = spec["developerMetadata"], spec.get("fields") or ""
    names = [n for n in ("metadataKey", "metadataValue", "visibility") if n in changes and (fields == "*" or n in fields)]
    moved = changes.get("location") if fields == "*" or "location" in fields else None
    ids = [item["metadataId"] for item in found]
    metadata.drop(book, ids)
    for item in found:
        metadata.create(book, {**item, **{n: changes[n] for n in names}, "location": moved or item["location"]})
    return {"updateDeveloperMetadata": {"developerMetadata": [m for m in metadata.everything(book) if m["metadataId"] in ids]}}


def delete(book: Spreadsheet, spec: Request) -> dict[str, Any]:
    """Drop what the dataFilter finds; replies with it."""
    found = _metadata_of(book, {"dataFilters": [spec["dataFilter"]]})
    metadata.drop(book, [item["metadataId"] for item in found])
    return {"deleteDeveloperMetadata": {"deletedDeveloperMetadata": found}}


def _metadata_of(book: Spreadsheet, spec: Request) -> list[dict[str, Any]]:
    found = [m for f in spec.get("dataFilters", []) for m in metadata.find(book, f.get("developerMetadataLookup") or {})]
    return list({item["metadataId"]: item for item in found}.values())


def _by_id(book: Spreadsheet, identity: int) -> Any:
    return (item for item in metadata.everything(book) if item["metadataId"] == identity)
