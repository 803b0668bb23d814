"""`/control/<what>`: faults, clock, settings, the sheets' content, and a person's actions."""

from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sandbox.sheets import cells, values
from sandbox.sheets.a1 import Area
from sandbox.sheets.control import person
from sandbox.sheets.errors import SheetsError
from sandbox.sheets.generating import LabelledRow, generate
from sandbox.sheets.grid import Sheet
from sandbox.sheets.project import WORKSHEET, Google
from sandbox.sheets.values import Reading
from sandbox.standin import answer, read_json


async def serve(google: Google, request: Request) -> Response:
    """Dispatch `/control/<what>`; an invalid request gets 400 with the reason."""
    cells.TODAY.set(google.clock.now().date())
    try:
        order = await read_json(request)
        return answer(_carry_out(google, request.method, request.path_params["what"], order or {}))
    except SheetsError as error:
        return answer({"error": error.message}, 400)
    except KeyError as error:
        return answer({"error": f"not known, or missing: {error}"}, 404)
    except (ValueError, TypeError, AttributeError) as error:
        return answer({"error": str(error)}, 400)


def _carry_out(google: Google, method: str, what: str, order: Any) -> Any:
    match what:
        case "faults":
            return google.watcher.control_faults(method, order)
        case "requests":
            return google.watcher.control_requests(method)
        case "clock":
            return {"now": google.clock.apply(order)}
        case "books":
            return _books(google)
        case "grid":
            return _grid(google, order)
        case "reset":
            google.reset()
            google.watcher.faults.clear()
            google.watcher.requests.clear()
            return {}
        case "settings":
            return _settings(google, order)
        case "tokens" if method == "DELETE":
            google.accounts.tokens.clear()
            return {}
        case "accounts":
            return google.accounts.create(order.get("name", "second"), google.token_uri)
        case "rows":
            return _in_sheet(google, order, lambda _, sheet, rows: add_rows(google, sheet, rows))
        case _:
            return _in_sheet(google, order, person.ACTS[what])


def _in_sheet(google: Google, order: Any, act: person.Act) -> Any:
    """Let a person act in the sheet that the order names, inv_tbl if it names none, and count a change."""
    book = google.books[order.get("spreadsheet_id", google.spreadsheet_id)]
    title = order.get("sheet", WORKSHEET)
    sheet = book.titled(title)
    if sheet is None:
        raise KeyError(title)
    result = act(book, sheet, order)
    google.drive.changed(book)
    return result


def add_rows(google: Google, sheet: Sheet, order: dict[str, Any]) -> Any:
    """Below the last used row: `rows` (lists, or objects by header), or `generate` {count, seed, broken, tag} with labels."""
    made = generate(**order["generate"]) if "generate" in order else []
    rows = [row.values for row in made] + list(order.get("rows", []))
    first = sheet.last_used_row()
    for offset, content in enumerate(rows):
        person.put_row(sheet, first + offset, content, typing=bool(order.get("typed")))
    google.labels |= {row.tag: row for row in made}
    return {"first_row": first + 1, "rows": len(rows), "labels": [_label(row) for row in made]}


def _settings(google: Google, order: dict[str, Any]) -> Any:
    """`limits`, `token_seconds`, and `role` (writer, reader, none) of the service accounts for a spreadsheet."""
    for name, value in order.items():
        match name:
            case "limits":
                google.quotas.enforced = bool(value)
                google.quotas.clear()
            case "token_seconds":
                google.accounts.token_seconds = int(value)
            case "role" if value in ("writer", "reader", "none"):
                google.roles[order.get("spreadsheet_id", google.spreadsheet_id)] = value
            case "spreadsheet_id":
                pass
            case _:
                raise ValueError(
                    f"unknown setting {name}={value!r}; known are limits, token_seconds, role (writer, reader, none)"
                )
    return {"limits": google.quotas.enforced, "token_seconds": google.accounts.token_seconds, "roles": google.roles}


def _grid(google: Google, order: dict[str, Any]) -> Any:
    """Every sheet as values: raw (UNFORMATTED_VALUE) and as shown."""
    book = google.books[order.get("spreadsheet_id", google.spreadsheet_id)]
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


def _books(google: Google) -> Any:
    """The rows of inv_tbl by header, with what was expected of each that was generated."""
    grid = _grid(google, {})[WORKSHEET]["values"]
    headers = grid[0] if grid else []
    rows = [{"row": n, **dict(zip(headers, line, strict=False))} for n, line in enumerate(grid[1:], 2) if line]
    return {"headers": headers, "rows": rows, "labels": {tag: _label(row) for tag, row in google.labels.items()}}


def _label(row: LabelledRow) -> dict[str, Any]:
    label = asdict(row)
    del label["values"]
    return {**label, "amount": str(row.amount)}
