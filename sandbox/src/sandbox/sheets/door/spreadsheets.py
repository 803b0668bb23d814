"""`/v4/spreadsheets`: gates and dispatch for everything below; create, get, batchUpdate, getByDataFilter, sheets.copyTo."""

import hashlib
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response

from sandbox.sheets import cells, masks, resource
from sandbox.sheets.accounts import READS_SHEETS, WRITES_SHEETS
from sandbox.sheets.batch_update import applying, tabs
from sandbox.sheets.data_filters import by_filters
from sandbox.sheets.door import developer_metadata, spreadsheet_values
from sandbox.sheets.door.access import enter
from sandbox.sheets.door.envelopes import body_of, mask_of, no_such_method, only, refused
from sandbox.sheets.errors import SheetsError
from sandbox.sheets.grid import Spreadsheet
from sandbox.sheets.project import Google
from sandbox.standin import answer

_READING_POSTS = ("values:batchGetByDataFilter", ":getByDataFilter", "developerMetadata:search")


async def serve(google: Google, request: Request) -> Response:
    """Everything under /v4/spreadsheets. The path is read raw: a range may hold any encoded character."""
    rest = request.scope["raw_path"].decode("ascii").partition("/v4/spreadsheets")[2].strip("/")
    cells.TODAY.set(google.clock.now().date())
    if request.headers.get("x-http-method-override") == "GET":  # Google's clients send a long query so
        request = Request({**request.scope, "method": "GET", "query_string": await request.body()})
    try:
        body = await body_of(request)
        reading = request.method == "GET" or rest.endswith(_READING_POSTS)
        enter(google, request, scopes=READS_SHEETS if reading else WRITES_SHEETS, quota="Read" if reading else "Write")
        mask = mask_of(request)
        if not rest and request.method == "POST":
            return answer(_create(google, body))
        head, slash, tail = rest.partition("/")
        identity, _, verb = head.partition(":")
        book = google.book(unquote(identity), writing=not reading)
        result = _call(google, request, book, f":{verb}" if verb and not slash else tail, body)
        return answer(masks.apply(result, mask))
    except SheetsError as error:
        return refused(error)


def _call(google: Google, request: Request, book: Spreadsheet, what: str, body: dict[str, Any]) -> Any:
    match request.method, what:
        case "GET", "":
            return _get(request, book)
        case "POST", ":batchUpdate":
            return _batch_update(google, book, body)
        case "POST", ":getByDataFilter":
            return resource.spreadsheet(book, by_filters(book, body), grid_data=bool(body.get("includeGridData")))
        case _ if what.startswith("values:"):
            return spreadsheet_values.many(google, request, book, what.partition(":")[2], body)
        case _ if what.startswith("values/"):
            return spreadsheet_values.one(google, request, book, what.partition("/")[2], body)
        case "POST", "developerMetadata:search":
            return developer_metadata.search(book, body)
        case "POST", _ if what.startswith("sheets/") and what.endswith(":copyTo"):
            return _copy_to(google, book, what[len("sheets/") : -len(":copyTo")], body)
        case "GET", _ if what.startswith("developerMetadata/"):
            return developer_metadata.get(book, what.partition("/")[2])
    raise no_such_method()


def _create(google: Google, body: dict[str, Any]) -> dict[str, Any]:
    title = (body.get("properties") or {}).get("title") or "Untitled spreadsheet"
    book = Spreadsheet(hashlib.sha256(f"{title}{len(google.books)}".encode()).hexdigest()[:44], title)
    applying.apply(book, [{"addSheet": sheet} for sheet in body.get("sheets") or [{"properties": {"title": "Sheet1"}}]])
    google.books[book.id] = book
    return resource.spreadsheet(book, None, grid_data=False)


def _get(request: Request, book: Spreadsheet) -> dict[str, Any]:
    ranges = request.query_params.getlist("ranges")
    areas = [book.area(text, clip=True) for text in ranges] if ranges else None
    data = request.query_params.get("includeGridData") == "true" or "data" in str(request.query_params.get("fields", ""))
    return resource.spreadsheet(book, areas, grid_data=data)


def _batch_update(google: Google, book: Spreadsheet, body: dict[str, Any]) -> dict[str, Any]:
    only(body, "requests", "includeSpreadsheetInResponse", "responseRanges", "responseIncludeGridData")
    trial = book.copy()
    replies = applying.apply(trial, body.get("requests") or [])
    google.keep(book, trial)
    result: dict[str, Any] = {"spreadsheetId": book.id, "replies": replies}
    if body.get("includeSpreadsheetInResponse"):
        areas = [book.area(text, clip=True) for text in body["responseRanges"]] if body.get("responseRanges") else None
        grid = bool(body.get("responseIncludeGridData"))
        result["updatedSpreadsheet"] = resource.spreadsheet(book, areas, grid_data=grid)
    return result


def _copy_to(google: Google, book: Spreadsheet, sheet_id: str, body: dict[str, Any]) -> dict[str, Any]:
    only(body, "destinationSpreadsheetId")
    if not sheet_id.isdecimal():
        raise SheetsError(f"Invalid value at 'sheet_id' (TYPE_INT32), \"{sheet_id}\"")
    target = google.book(str(body.get("destinationSpreadsheetId") or ""), writing=True)
    copied = tabs.copy_to(book, int(sheet_id), target)
    google.drive.changed(target)
    return copied
