"""The HTTP surface: Sheets v4, Drive v3's hints, the token endpoint, and /control for tests and the demo."""

import hashlib
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sandbox import standin
from sandbox.sheets import cells, masks, structure, values
from sandbox.sheets.accounts import (
    READS_DRIVE,
    READS_SHEETS,
    WRITES_SHEETS,
    Accounts,
    Token,
    TokenRefusedError,
    write_credentials,
)
from sandbox.sheets.cells import Cell, dated, raw, typed
from sandbox.sheets.drive import Drive
from sandbox.sheets.generating import HEADERS, LabelledRow, SerialDate, generate
from sandbox.sheets.grid import Area, Row, Sheet, SheetsError, Spreadsheet
from sandbox.sheets.values import Reading
from sandbox.standin import Clock, Watcher, answer, read_json

PROJECT_LIMIT, USER_LIMIT = 300, 60
WORKSHEET = "inv_tbl"
_READING_POSTS = ("values:batchGetByDataFilter", ":getByDataFilter", "developerMetadata:search")


class Google:
    """One project with its spreadsheets. `limits`: whether the quotas of 300 and 60 a minute hold."""

    def __init__(self, *, spreadsheet_id: str, limits: bool = True) -> None:
        self.clock = Clock()
        self.accounts = Accounts(self.clock)
        self.limits = limits
        self.origin = ""
        self.spreadsheet_id = spreadsheet_id
        self.books: dict[str, Spreadsheet] = {}
        self.roles: dict[str, str] = {}  # spreadsheet id -> what service accounts may do with it: writer, reader, none
        self.labels: dict[str, LabelledRow] = {}
        self.drive = Drive(self.clock, self.books)
        self._used: dict[tuple[str, str], deque[float]] = {}
        self.watcher: Watcher
        self.reset()

    def reset(self) -> None:
        """An empty inv_tbl with its headers, nobody locked out. Accounts and tokens stay."""
        self.books.clear()
        self.labels.clear()
        self.roles.clear()
        self._used.clear()
        self.drive.channels.clear()
        self.accounts.token_seconds = 3600
        book = Spreadsheet(self.spreadsheet_id, "Invoices")
        sheet = book.add_sheet(WORKSHEET, 1000, 45, sheet_id=0)
        for column, header in enumerate(HEADERS):
            sheet.set(0, column, Cell(header))
        self.books[book.id] = book

    def state(self) -> dict[str, Any]:
        """What outlives a restart: the spreadsheets and what was expected of their rows. Accounts are new each time."""
        return {
            "spreadsheet_id": self.spreadsheet_id,
            "books": self.books,
            "roles": self.roles,
            "labels": self.labels,
            "modified": self.drive.modified,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with what `state` gave."""
        self.spreadsheet_id = state["spreadsheet_id"]
        for mine, kept in (
            (self.books, "books"),
            (self.roles, "roles"),
            (self.labels, "labels"),
            (self.drive.modified, "modified"),
        ):
            mine.clear()
            mine.update(state[kept])

    @property
    def token_uri(self) -> str:
        """Where tokens are given; the audience of the assertion."""
        return f"{self.origin}/token"

    # --------------------------------------------------------------------------------------------------- tokens

    async def token(self, request: Request) -> Response:
        """The JWT bearer grant."""
        form = {name: str(value) for name, value in (await request.form()).items()}
        try:
            return answer(self.accounts.grant(form, self.token_uri))
        except TokenRefusedError as refusal:
            return answer({"error": refusal.error, "error_description": refusal.description}, 400)

    # ---------------------------------------------------------------------------------------------------- gates

    def _enter(self, request: Request, *, scopes: set[str], quota: str | None) -> Token:
        token = self.accounts.holder(request.headers.get("authorization"))
        if token is None:
            given = "authorization" in request.headers
            text = (
                "Request had invalid authentication credentials."
                if given
                else "Request is missing required authentication credential."
            )
            raise SheetsError(
                f"{text} Expected OAuth 2 access token, login cookie or other valid authentication credential. "
                "See https://developers.google.com/identity/sign-in/web/devconsole-project.",
                401,
                "UNAUTHENTICATED",
            )
        if quota:
            self._count(quota, token.email)
        if not token.scopes & scopes:
            raise SheetsError("Request had insufficient authentication scopes.", 403, "PERMISSION_DENIED")
        return token

    def _count(self, quota: str, email: str) -> None:
        """One request of the minute, for the project and for the user. Real time: quotas do not follow the moved clock."""
        if not self.limits:
            return
        now = time.monotonic()
        both = ((quota, ""), PROJECT_LIMIT, "minute"), ((quota, email), USER_LIMIT, "minute per user")
        for key, limit, words in both:
            used = self._used.setdefault(key, deque())
            while used and used[0] <= now - 60:
                used.popleft()
            if len(used) >= limit:
                metric = f"{quota} requests"
                raise SheetsError(
                    f"Quota exceeded for quota metric '{metric}' and limit '{metric} per {words}' of service "
                    "'sheets.googleapis.com' for consumer 'project_number:123456789012'.",
                    429,
                    "RESOURCE_EXHAUSTED",
                )
        for key, _, _ in both:
            self._used[key].append(now)

    def _book(self, spreadsheet_id: str, *, writing: bool) -> Spreadsheet:
        book = self.books.get(spreadsheet_id)
        if book is None:
            raise SheetsError("Requested entity was not found.", 404, "NOT_FOUND")
        role = self.roles.get(spreadsheet_id, "writer")
        if role == "none" or (writing and role != "writer"):
            raise SheetsError("The caller does not have permission", 403, "PERMISSION_DENIED")
        return book

    # --------------------------------------------------------------------------------------------------- sheets

    async def sheets(self, request: Request) -> Response:
        """Everything under /v4/spreadsheets. The path is read raw: a range may hold any encoded character."""
        rest = request.scope["raw_path"].decode("ascii").partition("/v4/spreadsheets")[2].strip("/")
        cells.TODAY.set(self.clock.now().date())
        if request.headers.get("x-http-method-override") == "GET":  # Google's clients send a long query so
            request = Request({**request.scope, "method": "GET", "query_string": await request.body()})
        try:
            body = await _body(request)
            reading = request.method == "GET" or rest.endswith(_READING_POSTS)
            scopes = READS_SHEETS if reading else WRITES_SHEETS
            self._enter(request, scopes=scopes, quota="Read" if reading else "Write")
            mask = _mask(request)
            if not rest and request.method == "POST":
                return answer(self._create(body))
            head, slash, tail = rest.partition("/")
            identity, _, verb = head.partition(":")
            book = self._book(unquote(identity), writing=not reading)
            result = self._call(request, book, f":{verb}" if verb and not slash else tail, body)
            return answer(masks.apply(result, mask))
        except SheetsError as error:
            return _error(error)

    def _call(self, request: Request, book: Spreadsheet, what: str, body: dict[str, Any]) -> Any:
        method = request.method
        match method, what:
            case "GET", "":
                return self._get(request, book)
            case "POST", ":batchUpdate":
                return self._batch(request, book, body)
            case "POST", ":getByDataFilter":
                areas = structure.by_filters(book, body)
                return structure.resource(book, areas, grid_data=bool(body.get("includeGridData")))
            case _ if what.startswith("values:"):
                return self._values_batch(request, book, what.partition(":")[2], body)
            case _ if what.startswith("values/"):
                return self._values_one(request, book, what.partition("/")[2], body)
            case "POST", "developerMetadata:search":
                return self._search(book, body)
            case "POST", _ if what.startswith("sheets/") and what.endswith(":copyTo"):
                _only(body, "destinationSpreadsheetId")
                target = self._book(str(body.get("destinationSpreadsheetId") or ""), writing=True)
                copied = structure.copy_to(book, int(what[len("sheets/") : -len(":copyTo")] or 0), target)
                self.drive.changed(target)
                return copied
            case "GET", _ if what.startswith("developerMetadata/"):
                return self._metadata(book, what.partition("/")[2])
        raise SheetsError("Method not found.", 404, "NOT_FOUND")

    def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        title = (body.get("properties") or {}).get("title") or "Untitled spreadsheet"
        book = Spreadsheet(hashlib.sha256(f"{title}{len(self.books)}".encode()).hexdigest()[:44], title)
        structure.apply(book, [{"addSheet": sheet} for sheet in body.get("sheets") or [{"properties": {"title": "Sheet1"}}]])
        self.books[book.id] = book
        return structure.resource(book, None, grid_data=False)

    def _get(self, request: Request, book: Spreadsheet) -> dict[str, Any]:
        ranges = request.query_params.getlist("ranges")
        areas = [book.area(text, clip=True) for text in ranges] if ranges else None
        data = request.query_params.get("includeGridData") == "true" or "data" in str(request.query_params.get("fields", ""))
        return structure.resource(book, areas, grid_data=data)

    def _batch(self, request: Request, book: Spreadsheet, body: dict[str, Any]) -> dict[str, Any]:
        _only(body, "requests", "includeSpreadsheetInResponse", "responseRanges", "responseIncludeGridData")
        trial = book.copy()
        replies = structure.apply(trial, body.get("requests") or [])
        self._keep(book, trial)
        result: dict[str, Any] = {"spreadsheetId": book.id, "replies": replies}
        if body.get("includeSpreadsheetInResponse"):
            areas = [book.area(text, clip=True) for text in body["responseRanges"]] if body.get("responseRanges") else None
            grid = bool(body.get("responseIncludeGridData"))
            result["updatedSpreadsheet"] = structure.resource(book, areas, grid_data=grid)
        return result

    def _keep(self, book: Spreadsheet, trial: Spreadsheet) -> None:
        book.title, book.sheets, book.metadata = trial.title, trial.sheets, trial.metadata
        book.next_metadata_id = trial.next_metadata_id
        self.drive.changed(book)

    def _search(self, book: Spreadsheet, body: dict[str, Any]) -> dict[str, Any]:
        _only(body, "dataFilters")
        matched = []
        for spec in body.get("dataFilters") or []:
            if "developerMetadataLookup" in spec:
                found = book.find_metadata(spec["developerMetadataLookup"])
            else:
                areas = values.filtered(book, spec)
                found = [item for item in book.all_metadata() if _stands_in(item, areas)]
            matched += [{"developerMetadata": item, "dataFilters": [spec]} for item in found]
        return {"matchedDeveloperMetadata": matched} if matched else {}

    def _metadata(self, book: Spreadsheet, identity: str) -> dict[str, Any]:
        for item in book.all_metadata():
            if str(item["metadataId"]) == identity:
                return item
        raise SheetsError(f"No developer metadata with id {identity}", 404, "NOT_FOUND")

    # --------------------------------------------------------------------------------------------------- values

    def _values_one(self, request: Request, book: Spreadsheet, rest: str, body: dict[str, Any]) -> Any:
        query, method = request.query_params, request.method
        text = unquote(rest)
        if method == "GET":
            return values.read(book, book.area(text, clip=True), Reading.of(query))
        if method == "PUT":
            _only(body, "range", "majorDimension", "values")
            write = values.plan(book, book.area(text, clip=False), body, query.get("valueInputOption"))
            done = values.carry_out(book, write, _echo(query))
            self.drive.changed(book)
            return done
        text, _, verb = text.rpartition(":")
        if method == "POST" and verb == "append":
            _only(body, "range", "majorDimension", "values")
            insert = query.get("insertDataOption") == "INSERT_ROWS"
            trial = book.copy()
            area, option = trial.area(text, clip=True), query.get("valueInputOption")
            done = values.append(trial, area, body, option, insert=insert, how=_echo(query))
            self._keep(book, trial)
            return done
        if method == "POST" and verb == "clear":
            cleared = values.clear(book, book.area(text, clip=True))
            self.drive.changed(book)
            return {"spreadsheetId": book.id, "clearedRange": cleared}
        raise SheetsError("Method not found.", 404, "NOT_FOUND")

    def _values_batch(self, request: Request, book: Spreadsheet, verb: str, body: dict[str, Any]) -> Any:
        match request.method, verb:
            case "GET", "batchGet":
                areas = [book.area(text, clip=True) for text in request.query_params.getlist("ranges")]
                how = Reading.of(request.query_params)
                return {"spreadsheetId": book.id, "valueRanges": [values.read(book, area, how) for area in areas]}
            case "POST", "batchGetByDataFilter":
                _only(body, "dataFilters", "majorDimension", "valueRenderOption", "dateTimeRenderOption")
                how = Reading.of(body)
                pairs = [(spec, area) for spec in body.get("dataFilters") or [] for area in values.filtered(book, spec)]
                found = [{"valueRange": values.read(book, area, how), "dataFilters": [spec]} for spec, area in pairs]
                return {"spreadsheetId": book.id, **({"valueRanges": found} if found else {})}
            case "POST", "batchUpdate" | "batchUpdateByDataFilter":
                return self._values_update(book, body, by_filter=verb.endswith("Filter"))
            case "POST", "batchClear":
                areas = [book.area(text, clip=True) for text in body.get("ranges") or []]
            case "POST", "batchClearByDataFilter":
                areas = structure.by_filters(book, body)
            case _:
                raise SheetsError("Method not found.", 404, "NOT_FOUND")
        cleared = [values.clear(book, area) for area in areas]
        self.drive.changed(book)
        return {"spreadsheetId": book.id, "clearedRanges": cleared}

    def _values_update(self, book: Spreadsheet, body: dict[str, Any], *, by_filter: bool) -> dict[str, Any]:
        _only(
            body,
            "valueInputOption",
            "data",
            "includeValuesInResponse",
            "responseValueRenderOption",
            "responseDateTimeRenderOption",
        )
        writes = []  # all are checked before the first is done: a batch is whole or not at all
        for item in body.get("data") or []:
            _only(item, "dataFilter" if by_filter else "range", "majorDimension", "values")
            areas = values.filtered(book, item["dataFilter"]) if by_filter else [book.area(item.get("range", ""), clip=False)]
            writes += [(item, values.plan(book, area, item, body.get("valueInputOption"))) for area in areas]
        how = _echo(body)
        responses = [values.carry_out(book, write, how) for _, write in writes]
        if by_filter:
            for response, (item, _) in zip(responses, writes, strict=True):
                del response["spreadsheetId"]
                response["dataFilter"] = item["dataFilter"]
        if writes:
            self.drive.changed(book)
        return values.totals(book, responses, len({write.area.sheet for _, write in writes}))

    # ---------------------------------------------------------------------------------------------------- drive

    async def files(self, request: Request) -> Response:
        """files.get, files.list, files.watch and channels.stop."""
        what = request.path_params["what"]
        try:
            body = await _body(request)
            self._enter(request, scopes=READS_DRIVE, quota=None)
            mask = _mask(request)
            if what == "channels/stop":
                self.drive.stop(body)
                return Response(status_code=204)
            if what == "files":
                files = [self.drive.file(b) for b in self.books.values() if self.roles.get(b.id) != "none"]
                return answer(masks.apply({"kind": "drive#fileList", "incompleteSearch": False, "files": files}, mask))
            identity, _, verb = what.removeprefix("files/").partition("/")
            if self.roles.get(identity) == "none" or identity not in self.books:
                raise SheetsError(f"File not found: {identity}.", 404, "NOT_FOUND")
            book = self.books[identity]
            if verb == "watch" and request.method == "POST":
                return answer(self.drive.watch(book, body, lambda: self.origin))
            if verb or request.method != "GET":
                raise SheetsError("Method not found.", 404, "NOT_FOUND")
            shown = mask or {name: {} for name in ("kind", "id", "name", "mimeType")}
            return answer(masks.apply(self.drive.file(book), shown))
        except SheetsError as error:
            return _error(error, drive=True)

    # -------------------------------------------------------------------------------------------------- control

    async def control(self, request: Request) -> Response:
        """Dispatch `/control/<what>`; a wrong order is answered 400 with what is wrong."""
        cells.TODAY.set(self.clock.now().date())
        try:
            order = await read_json(request)
            return answer(self._control(request.method, request.path_params["what"], order or {}))
        except SheetsError as error:
            return answer({"error": error.message}, 400)
        except KeyError as error:
            return answer({"error": f"not known, or missing: {error}"}, 404)
        except (ValueError, TypeError, AttributeError) as error:
            return answer({"error": str(error)}, 400)

    def _control(self, method: str, what: str, order: Any) -> Any:
        match what:
            case "faults":
                return self.watcher.control_faults(method, order)
            case "requests":
                return self.watcher.control_requests(method)
            case "clock":
                return {"now": self.clock.apply(order)}
            case "books":
                return self._books()
            case "grid":
                return self._grid(order)
            case "reset":
                self.reset()
                self.watcher.faults.clear()
                self.watcher.requests.clear()
                return {}
            case "settings":
                return self._settings(order)
            case "tokens" if method == "DELETE":
                self.accounts.tokens.clear()
                return {}
            case "accounts":
                return self.accounts.create(order.get("name", "second"), self.token_uri)
        person = {
            "rows": self._add_rows,
            "cells": self._edit_cell,
            "insert": self._insert,
            "delete": self._delete,
            "sort": self._sort,
            "copy": self._copy,
            "move": self._move,
        }[what]
        book = self.books[order.get("spreadsheet_id", self.spreadsheet_id)]
        title = order.get("sheet", WORKSHEET)
        sheet = book.titled(title)
        if sheet is None:
            raise KeyError(title)
        result = person(sheet, order)
        self.drive.changed(book)
        return result

    def _settings(self, order: dict[str, Any]) -> Any:
        """`limits`, `token_seconds`, and `role` (writer, reader, none) of the service accounts for a spreadsheet."""
        for name, value in order.items():
            match name:
                case "limits":
                    self.limits = bool(value)
                    self._used.clear()
                case "token_seconds":
                    self.accounts.token_seconds = int(value)
                case "role" if value in ("writer", "reader", "none"):
                    self.roles[order.get("spreadsheet_id", self.spreadsheet_id)] = value
                case "spreadsheet_id":
                    pass
                case _:
                    raise ValueError(
                        f"unknown setting {name}={value!r}; known are limits, token_seconds, role (writer, reader, none)"
                    )
        return {"limits": self.limits, "token_seconds": self.accounts.token_seconds, "roles": self.roles}

    def _add_rows(self, sheet: Sheet, order: dict[str, Any]) -> Any:
        """Below the last used row: `rows` (lists, or objects by header), or `generate` {count, seed, broken, tag} with labels."""
        made = generate(**order["generate"]) if "generate" in order else []
        rows = [row.values for row in made] + list(order.get("rows", []))
        first = sheet.last_used_row()
        for offset, values_of_row in enumerate(rows):
            self._put_row(sheet, first + offset, values_of_row, typing=bool(order.get("typed")))
        self.labels |= {row.tag: row for row in made}
        return {"first_row": first + 1, "rows": len(rows), "labels": [_label(row) for row in made]}

    def _put_row(self, sheet: Sheet, at: int, content: Any, *, typing: bool) -> None:
        while len(sheet.rows) <= at:
            sheet.rows.append(Row())
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        for where, value in pairs:
            column = where if isinstance(where, int) else self._column(sheet, where)
            sheet.set(at, column, _cell(value, typing=typing))

    def _column(self, sheet: Sheet, header: str | int) -> int:
        """The index of a header, case ignored; a number is an index already."""
        if isinstance(header, int):
            return header
        for column, cell in sheet.rows[0].cells.items():
            if str(cell.value).casefold() == header.casefold():
                return column
        raise KeyError(header)

    def _row_index(self, sheet: Sheet, order: dict[str, Any]) -> int:
        """The row that an order means: `row` (from 1), or `where` {header: value}."""
        if "row" in order:
            return int(order["row"]) - 1
        wanted = {self._column(sheet, header): value for header, value in order["where"].items()}
        for index, row in enumerate(sheet.rows):
            if all(column in row.cells and row.cells[column].value == value for column, value in wanted.items()):
                return index
        raise KeyError(str(order["where"]))

    def _edit_cell(self, sheet: Sheet, order: dict[str, Any]) -> Any:
        """`{"row"|"where", "set": {header: what is typed}}`, or `{"cell": "B2", "value"}`; `raw` stores it as given."""
        typing = not order.get("raw", False)
        if "cell" in order:
            book = next(b for b in self.books.values() if sheet in b.sheets)
            area = book.area(f"'{sheet.title}'!{order['cell']}", clip=False)
            sheet.set(area.row, area.column, _cell(order["value"], typing=typing))
            return {"row": area.row + 1}
        index = self._row_index(sheet, order)
        self._put_row(sheet, index, order["set"], typing=typing)
        return {"row": index + 1}

    def _insert(self, sheet: Sheet, order: dict[str, Any]) -> Any:
        """Empty rows before `row` (from 1)."""
        sheet.insert("ROWS", int(order["row"]) - 1, int(order.get("count", 1)))
        return {}

    def _delete(self, sheet: Sheet, order: dict[str, Any]) -> Any:
        """`count` rows from `row` (from 1) or `where`."""
        index = self._row_index(sheet, order)
        sheet.delete("ROWS", index, index + int(order.get("count", 1)))
        return {"row": index + 1}

    def _sort(self, sheet: Sheet, order: dict[str, Any]) -> Any:
        """All rows below the headers by `column` (header or index)."""
        width = len(sheet.columns)
        area = Area(sheet.id, 1, max(sheet.last_used_row(), 1), 0, width)
        sheet.sort(area, [(self._column(sheet, order["column"]), bool(order.get("descending", False)))])
        return {}

    def _copy(self, sheet: Sheet, order: dict[str, Any]) -> Any:
        """A whole row, key and all, into a new row at `to` (from 1; default: below the last)."""
        source = sheet.rows[self._row_index(sheet, order)]
        to = int(order.get("to", sheet.last_used_row() + 1)) - 1
        sheet.insert("ROWS", to, 1)
        sheet.rows[to].cells = dict(source.cells)
        return {"row": to + 1}

    def _move(self, sheet: Sheet, order: dict[str, Any]) -> Any:
        """A row to before row `to` (from 1)."""
        index = self._row_index(sheet, order)
        sheet.move("ROWS", index, index + 1, int(order["to"]) - 1)
        return {}

    def _grid(self, order: dict[str, Any]) -> Any:
        """Every sheet as values: raw (UNFORMATTED_VALUE) and as shown."""
        book = self.books[order.get("spreadsheet_id", self.spreadsheet_id)]
        result = {}
        for sheet in book.sheets:
            area = Area(sheet.id, 0, len(sheet.rows), 0, len(sheet.columns))
            plain = values.read(book, area, Reading(option="UNFORMATTED_VALUE")).get("values", [])
            result[sheet.title] = {
                "values": plain,
                "shown": values.read(book, area, Reading()).get("values", []),
                "rows": len(sheet.rows),
                "columns": len(sheet.columns),
            }
        return result

    def _books(self) -> Any:
        """The rows of inv_tbl by header, with what was expected of each that was generated."""
        grid = self._grid({})[WORKSHEET]["values"]
        headers = grid[0] if grid else []
        rows = [{"row": n, **dict(zip(headers, line, strict=False))} for n, line in enumerate(grid[1:], 2) if line]
        return {"headers": headers, "rows": rows, "labels": {tag: _label(row) for tag, row in self.labels.items()}}


def _label(row: LabelledRow) -> dict[str, Any]:
    label = asdict(row)
    del label["values"]
    return {**label, "amount": str(row.amount)}


def _cell(value: Any, *, typing: bool) -> Cell | None:
    if value is None:
        return None
    if isinstance(value, SerialDate):
        return dated(value.day)
    return typed(value) if typing else raw(value)


def _stands_in(item: dict[str, Any], areas: list[Area]) -> bool:
    span = item["location"].get("dimensionRange")
    if not span:
        return any(item["location"].get("sheetId") == area.sheet for area in areas)
    for area in areas:
        start, end = (area.row, area.row_end) if span["dimension"] == "ROWS" else (area.column, area.column_end)
        if span["sheetId"] == area.sheet and start <= span["startIndex"] < end:
            return True
    return False


def _echo(source: Any) -> Reading | None:
    wanted = source.get("includeValuesInResponse")
    return Reading.of(source, "response") if wanted in (True, "true", "True") else None


def _only(body: dict[str, Any], *names: str) -> None:
    for name in body:
        if name not in names:
            raise SheetsError(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = await read_json(request) if request.method != "GET" else None
    except ValueError as error:
        raise SheetsError(f"Invalid JSON payload received. {error}") from None
    if not isinstance(body, dict | None):
        raise SheetsError("Invalid JSON payload received. Root element must be a message.")
    return body or {}


def _mask(request: Request) -> masks.Mask:
    try:
        return masks.parse(request.query_params.get("fields") or request.headers.get("x-goog-fieldmask") or "")
    except ValueError as error:
        raise SheetsError(str(error)) from None


def _error(error: SheetsError, *, drive: bool = False) -> Response:
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if drive:
        reason = {401: "authError", 403: "insufficientPermissions", 404: "notFound"}.get(error.code, "invalid")
        body["errors"] = [{"message": error.message, "domain": "global", "reason": reason}]
    body["status"] = error.status
    if error.code == 429:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        body["details"] = [{"@type": kind, "reason": "RATE_LIMIT_EXCEEDED", "domain": "googleapis.com"}]
    challenge = 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
    return answer({"error": body}, error.code, {"WWW-Authenticate": challenge} if error.code == 401 else None)


async def _ready(request: Request) -> Response:
    return answer({"status": "ready"})


def build(google: Google) -> ASGIApp:
    """Return the application that serves a project."""
    verbs = ["GET", "POST", "PUT", "DELETE"]
    google.watcher = Watcher(
        Starlette(
            routes=[
                Route("/token", google.token, methods=["POST"]),
                Route("/v4/spreadsheets", google.sheets, methods=verbs),
                Route("/v4/spreadsheets/{rest:path}", google.sheets, methods=verbs),
                Route("/drive/v3/{what:path}", google.files, methods=verbs),
                Route("/control/{what}", google.control, methods=verbs),
                Route("/health/ready", _ready),
            ]
        ),
        google.clock,
    )
    return google.watcher


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    seed: int = 1,
    rows: int = 60,
    limits: bool = True,
    credentials_file: str | None = None,
    spreadsheet_id: str | None = None,
    public_url: str | None = None,
    state_file: str | None = None,
) -> int:
    """Serve until a signal, with `rows` generated rows in inv_tbl or with what the state file kept. Returns the exit status."""
    made_from_seed = "1sandbox" + hashlib.sha256(str(seed).encode()).hexdigest()[:36]
    google = Google(spreadsheet_id=spreadsheet_id or made_from_seed, limits=limits)
    app = build(google)
    path = Path(state_file) if state_file else None
    written: list[str] = []

    def facts(origin: str) -> tuple[ASGIApp, dict[str, Any]]:
        google.origin = (public_url or origin).rstrip("/")
        kept = standin.load_state(path)
        if kept:
            google.restore(kept)
        else:
            google._add_rows(google.books[google.spreadsheet_id].sheets[0], {"generate": {"count": rows, "seed": seed}})
        written.append(write_credentials(google.accounts.create("bookrelay", google.token_uri), credentials_file))
        return app, {
            "base_url": google.origin,
            "control_url": f"{google.origin}/control",
            "token_url": google.token_uri,
            "spreadsheet_id": google.spreadsheet_id,
            "credentials_file": written[0],
        }

    try:
        status = standin.serve(facts, host, port)
    finally:
        if written and credentials_file is None:
            Path(written[0]).unlink(missing_ok=True)
    if status == 0:
        standin.save_state(path, google.state())
    return status
