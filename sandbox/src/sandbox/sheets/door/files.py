"""`/drive/v3`: files.get, files.list, files.watch and channels.stop."""

from starlette.requests import Request
from starlette.responses import Response

from sandbox.sheets import masks
from sandbox.sheets.accounts import READS_DRIVE
from sandbox.sheets.door.access import enter
from sandbox.sheets.door.envelopes import body_of, mask_of, no_such_method, refused
from sandbox.sheets.errors import SheetsError
from sandbox.sheets.project import Google
from sandbox.standin import answer


async def serve(google: Google, request: Request) -> Response:
    """Everything under /drive/v3."""
    what = request.path_params["what"]
    try:
        body = await body_of(request)
        enter(google, request, scopes=READS_DRIVE, quota=None)
        mask = mask_of(request)
        if what == "channels/stop":
            google.drive.stop(body)
            return Response(status_code=204)
        if what == "files":
            files = [google.drive.file(b) for b in google.books.values() if google.roles.get(b.id) != "none"]
            return answer(masks.apply({"kind": "drive#fileList", "incompleteSearch": False, "files": files}, mask))
        identity, _, verb = what.removeprefix("files/").partition("/")
        if google.roles.get(identity) == "none" or identity not in google.books:
            raise SheetsError(f"File not found: {identity}.", 404, "NOT_FOUND")
        book = google.books[identity]
        if verb == "watch" and request.method == "POST":
            return answer(google.drive.watch(book, body, lambda: google.origin))
        if verb or request.method != "GET":
            raise no_such_method()
        shown = mask or {name: {} for name in ("kind", "id", "name", "mimeType")}
        return answer(masks.apply(google.drive.file(book), shown))
    except SheetsError as error:
        return refused(error, drive=True)
