"""`/v4/spreadsheets/{id}/values`: get, update, append, clear of one range, and of many in a batch."""

from typing import Any
from urllib.parse import unquote

from starlette.requests import Request

from sandbox.sheets import values
from sandbox.sheets.data_filters import by_filters, filtered
from sandbox.sheets.door.envelopes import no_such_method, only
from sandbox.sheets.grid import Spreadsheet
from sandbox.sheets.project import Google
from sandbox.sheets.values import Reading


def one(google: Google, request: Request, book: Spreadsheet, rest: str, body: dict[str, Any]) -> Any:
    """A call about one range: `rest` is the encoded range, with ":append" or ":clear" for a POST. Raises SheetsError."""
    query, method = request.query_params, request.method
    text = unquote(rest)
    if method == "GET":
        return values.read(book, book.area(text, clip=True), Reading.of(query))
    if method == "PUT":
        only(body, "range", "majorDimension", "values")
        write = values.plan(book, book.area(text, clip=False), body, query.get("valueInputOption"))
        done = values.carry_out(book, write, _echo(query))
        google.drive.changed(book)
        return done
    text, _, verb = text.rpartition(":")
    if method == "POST" and verb == "append":
        only(body, "range", "majorDimension", "values")
        insert = query.get("insertDataOption") == "INSERT_ROWS"
        trial = book.copy()
        area, option = trial.area(text, clip=True), query.get("valueInputOption")
        done = values.append(trial, area, body, option, insert=insert, how=_echo(query))
        google.keep(book, trial)
        return done
    if method == "POST" and verb == "clear":
        cleared = values.clear(book, book.area(text, clip=True))
        google.drive.changed(book)
        return {"spreadsheetId": book.id, "clearedRange": cleared}
    raise no_such_method()


def many(google: Google, request: Request, book: Spreadsheet, verb: str, body: dict[str, Any]) -> Any:
    """A call about many ranges: `verb` is batchGet, batchUpdate, batchClear or their ByDataFilter. Raises SheetsError."""
    match request.method, verb:
        case "GET", "batchGet":
            areas = [book.area(text, clip=True) for text in request.query_params.getlist("ranges")]
            how = Reading.of(request.query_params)
            return {"spreadsheetId": book.id, "valueRanges": [values.read(book, area, how) for area in areas]}
        case "POST", "batchGetByDataFilter":
            only(body, "dataFilters", "majorDimension", "valueRenderOption", "dateTimeRenderOption")
            how = Reading.of(body)
            pairs = [(spec, area) for spec in body.get("dataFilters") or [] for area in filtered(book, spec)]
            found = [{"valueRange": values.read(book, area, how), "dataFilters": [spec]} for spec, area in pairs]
            return {"spreadsheetId": book.id, **({"valueRanges": found} if found else {})}
        case "POST", "batchUpdate" | "batchUpdateByDataFilter":
            return _update(google, book, body, by_filter=verb.endswith("Filter"))
        case "POST", "batchClear":
            areas = [book.area(text, clip=True) for text in body.get("ranges") or []]
        case "POST", "batchClearByDataFilter":
            areas = by_filters(book, body)
        case _:
            raise no_such_method()
    cleared = [values.clear(book, area) for area in areas]
    google.drive.changed(book)
    return {"spreadsheetId": book.id, "clearedRanges": cleared}


def _update(google: Google, book: Spreadsheet, body: dict[str, Any], *, by_filter: bool) -> dict[str, Any]:
    only(
        body,
        "valueInputOption",
        "data",
        "includeValuesInResponse",
        "responseValueRenderOption",
        "responseDateTimeRenderOption",
    )
    writes = []  # all are checked before the first is done: a batch is whole or not at all
    for item in body.get("data") or []:
        only(item, "dataFilter" if by_filter else "range", "majorDimension", "values")
        areas = filtered(book, item["dataFilter"]) if by_filter else [book.area(item.get("range", ""), clip=False)]
        writes += [(item, values.plan(book, area, item, body.get("valueInputOption"))) for area in areas]
    how = _echo(body)
    responses = [values.carry_out(book, write, how) for _, write in writes]
    if by_filter:
        for response, (item, _) in zip(responses, writes, strict=True):
            del response["spreadsheetId"]
            response["dataFilter"] = item["dataFilter"]
    if writes:
        google.drive.changed(book)
    return values.totals(book, responses, len({write.area.sheet for _, write in writes}))


def _echo(source: Any) -> Reading | None:
    """How the values are to be shown in a write's answer; None where the client wants none."""
    wanted = source.get("includeValuesInResponse")
    return Reading.of(source, "response") if wanted in (True, "true", "True") else None
