"""The stand-in as a process: its routes, its first line, its state file."""

import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sandbox import standin
from sandbox.sheets.accounts import write_credentials
from sandbox.sheets.control import orders
from sandbox.sheets.door import access, files, spreadsheets
from sandbox.sheets.project import Google
from sandbox.standin import Watcher, answer

Handler = Callable[[Google, Request], Awaitable[Response]]


async def _ready(request: Request) -> Response:
    return answer({"status": "ready"})


def build(google: Google) -> ASGIApp:
    """Return the application that serves a project."""
    verbs = ["GET", "POST", "PUT", "DELETE"]

    def route(path: str, handler: Handler, methods: list[str] = verbs) -> Route:
        return Route(path, partial(handler, google), methods=methods)

    google.watcher = Watcher(
        Starlette(
            routes=[
                route("/token", access.give_token, ["POST"]),
                route("/v4/spreadsheets", spreadsheets.serve),
                route("/v4/spreadsheets/{rest:path}", spreadsheets.serve),
                route("/drive/v3/{what:path}", files.serve),
                route("/control/{what}", orders.serve),
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
            first = google.books[google.spreadsheet_id].sheets[0]
            orders.add_rows(google, first, {"generate": {"count": rows, "seed": seed}})
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
