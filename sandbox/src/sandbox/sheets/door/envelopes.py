"""What requests and answers are wrapped in: JSON bodies with known names only, field masks, Google's error envelope."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sandbox.sheets import masks
from sandbox.sheets.errors import SheetsError
from sandbox.standin import answer, read_json


async def body_of(request: Request) -> dict[str, Any]:
    """The body as an object; empty for none and for a GET. Raises SheetsError."""
    try:
        body = await read_json(request) if request.method != "GET" else None
    except ValueError as error:
        raise SheetsError(f"Invalid JSON payload received. {error}") from None
    if not isinstance(body, dict | None):
        raise SheetsError("Invalid JSON payload received. Root element must be a message.")
    return body or {}


def only(body: dict[str, Any], *names: str) -> None:
    """Refuse a body with other names than these: raises SheetsError."""
    for name in body:
        if name not in names:
            raise SheetsError(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')


def mask_of(request: Request) -> masks.Mask:
    """The fields that the client wants, of the query or the header; empty for all. Raises SheetsError."""
    try:
        return masks.parse(request.query_params.get("fields") or request.headers.get("x-goog-fieldmask") or "")
    except ValueError as error:
        raise SheetsError(str(error)) from None


def no_such_method() -> SheetsError:
    """The refusal of a path or a verb that there is not."""
    return SheetsError("Method not found.", 404, "NOT_FOUND")


def refused(error: SheetsError, *, drive: bool = False) -> Response:
    """A refusal as Sheets answers it; Drive adds a list of `errors`."""
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
