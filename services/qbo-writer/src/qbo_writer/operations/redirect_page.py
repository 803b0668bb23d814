"""The page at the redirect URI: waits on this machine for the browser that comes back from Intuit's consent page."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Callable
from html import escape
from urllib.parse import SplitResult

from bookrelay.errors import BookrelayError, SettingsError
from bookrelay.http_server import HttpServer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

Grant = tuple[str, str]  # code and company
NO_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # a machine without IPv6 can name ::1 all the same


@contextlib.asynccontextmanager
async def listening(
    redirect: SplitResult, check: Callable[[str], Grant], tell: Callable[[str], None]
) -> AsyncIterator[asyncio.Future[Grant]]:
    """Listen; the future gets what `check` returns for the first valid query. Errors of others are shown and passed to `tell`."""
    granted: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()

    async def answer(request: Request) -> HTMLResponse:
        try:
            found = check(request.url.query)
        except BookrelayError as error:
            tell(error.sentence())
            return _page(error.sentence(), 400)
        if not granted.done():
            granted.set_result(found)
        return _page("Connected. You can close this page.", 200)

    server = HttpServer(Starlette(routes=[Route(redirect.path or "/", answer)]), shutdown_seconds=2)
    serving = asyncio.create_task(server.serve(sockets=_bound(redirect.hostname or "", redirect.port or 80)))
    try:
        yield granted
    finally:
        server.should_exit = True  # what is being answered is answered
        await asyncio.wait([serving])


def _page(text: str, status: int) -> HTMLResponse:
    return HTMLResponse(f"<!doctype html><meta charset=utf-8><title>bookrelay</title><p>{escape(text)}</p>", status)


def _bound(host: str, port: int) -> list[socket.socket]:
    """Listen at every address of the name: a browser takes ::1 or 127.0.0.1 for localhost."""
    bound: list[socket.socket] = []
    lacking: OSError | None = None
    try:
        for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                bound.append(socket.create_server(address, family=family))
            except OSError as error:
                if error.errno not in NO_ADDRESS:
                    raise
                lacking = error
        if lacking and not bound:
            raise lacking
    except OSError as error:
        for listener in bound:
            listener.close()
        raise SettingsError(
            f"cannot listen on {host}:{port} for the redirect: {error.strerror or error}.",
            "Stop what uses the port, or add --paste.",
        ) from None
    return bound
