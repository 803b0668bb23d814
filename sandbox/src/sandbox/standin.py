"""The common parts of the stand-ins: an adjustable clock, faults on demand, a request log, serving on a port."""

import asyncio
import contextlib
import errno
import json
import pickle
import re
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Clock:
    """Real time plus an offset, or frozen."""

    def __init__(self) -> None:
        self.offset = timedelta()
        self.frozen: datetime | None = None

    def now(self) -> datetime:
        """The current time of this clock, in UTC."""
        return self.frozen or datetime.now(UTC) + self.offset

    def apply(self, order: dict[str, Any]) -> datetime:
        """Apply `{"set": time}`, `{"advance": seconds}`, `{"freeze": true|false}`; several together in this order."""
        if "set" in order:
            wanted = datetime.fromisoformat(order["set"])
            if self.frozen:
                self.frozen = wanted
            self.offset = wanted - datetime.now(UTC)
        if "advance" in order:
            step = timedelta(seconds=float(order["advance"]))
            self.offset += step
            self.frozen = self.frozen + step if self.frozen else None
        if "freeze" in order:
            self.frozen = self.now() if order["freeze"] else None
        return self.now()


@dataclass
class Fault:
    """A fault for matching requests, `times` times (-1: until cleared).

    `path` is a regular expression; `query` has parameters that must be equal; `contains` must occur in the path, query or body.
    `after`: the request is processed before the fault. `drop`: the connection is closed during the response. `malformed`: 200
    with half a JSON text. Otherwise `status`, `body` (text or JSON) and `headers` are the response; without a status, nothing
    but the delay happens.
    """

    times: int = 1
    method: str | None = None
    path: str | None = None
    query: dict[str, str] = field(default_factory=dict)
    contains: str | None = None
    delay: float = 0.0
    status: int | None = None
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    malformed: bool = False
    drop: bool = False
    after: bool = False

    def matches(self, method: str, path: str, query: str, body: bytes) -> bool:
        """Whether this request matches."""
        parameters = dict(parse_qsl(query))
        return (
            self.times != 0
            and (self.method is None or self.method.upper() == method)
            and (self.path is None or re.search(self.path, path) is not None)
            and all(parameters.get(name) == str(value) for name, value in self.query.items())
            and (self.contains is None or self.contains.encode() in path.encode() + b"?" + query.encode() + b"\n" + body)
        )


@dataclass(frozen=True)
class Logged:
    """A logged request: without headers, hence without secrets."""

    at: str
    method: str
    path: str
    query: str
    body: str
    status: int
    seconds: float
    fault: bool


class Watcher:
    """ASGI middleware: logs each request outside /control, and applies the faults."""

    def __init__(self, app: ASGIApp, clock: Clock, keep: int = 10_000) -> None:
        self.app = app
        self.clock = clock
        self.faults: list[Fault] = []
        self.requests: deque[Logged] = deque(maxlen=keep)

    def take(self, method: str, path: str, query: str, body: bytes) -> Fault | None:
        """Return the first fault that matches, and count it."""
        for fault in self.faults:
            if fault.matches(method, path, query, body):
                fault.times -= fault.times > 0
                return fault
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/control"):
            await self.app(scope, receive, send)
            return
        began = time.monotonic()
        body = await Request(scope, receive).body()
        method, path, query = scope["method"], scope["path"], scope["query_string"].decode("latin-1")
        fault = self.take(method, path, query, body)
        status = 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        if fault is None:
            await self.app(scope, _replay(body), note)
        else:
            await self._fail(fault, scope, body, note)
        seconds = round(time.monotonic() - began, 6)
        text = body.decode("utf-8", "replace")[:20_000]
        at = self.clock.now().isoformat()
        self.requests.append(Logged(at, method, path, query, text, status, seconds, fault is not None))

    async def _fail(self, fault: Fault, scope: Scope, body: bytes, send: Send) -> None:
        if fault.after:

            async def swallow(message: Message) -> None:
                pass

            await self.app(scope, _replay(body), swallow)
        if fault.delay:
            await asyncio.sleep(float(fault.delay))
        if fault.drop:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
            await send({"type": "http.response.body", "body": b'{"', "more_body": True})
            return  # the server closes a connection with an incomplete response
        if fault.malformed:
            answer = Response('[{"PriceQuoteNo": 12', 200, media_type="application/json")
        elif fault.status is not None:
            text = fault.body if isinstance(fault.body, str) else "" if fault.body is None else to_json(fault.body)
            kind = "text/html" if text.startswith("<") else "application/json"
            answer = Response(text, fault.status, fault.headers, media_type=fault.headers.get("content-type", kind))
        elif fault.after:
            answer = Response("", 504)
        else:
            await self.app(scope, _replay(body), send)
            return
        await answer(scope, _replay(body), send)

    def control_faults(self, method: str, order: Any) -> Any:
        """POST adds one fault or a list, DELETE removes all, GET shows the remaining ones."""
        if method == "DELETE":
            self.faults.clear()
        elif method == "POST":
            self.faults += [Fault(**item) for item in (order if isinstance(order, list) else [order])]
        return [asdict(fault) for fault in self.faults if fault.times]

    def control_requests(self, method: str) -> Any:
        """GET lists, DELETE clears."""
        if method == "DELETE":
            self.requests.clear()
        return [asdict(request) for request in self.requests]


def _replay(body: bytes) -> Receive:
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            await asyncio.sleep(3600)  # no more messages; wait for a disconnect
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def to_json(value: Any) -> str:
    """JSON text; a Decimal becomes a double's shortest text, which `Decimal(text)` reads back exactly up to 15 digits."""
    return json.dumps(value, default=_default, ensure_ascii=False)


def _default(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON response."""
    try:
        return Response(to_json(value), status, headers, media_type="application/json")
    except UnicodeEncodeError:  # a lone surrogate: it came as an escape, and is sent as one
        return Response(json.dumps(value, default=_default), status, headers, media_type="application/json")


async def read_json(request: Request) -> Any:
    """The request's JSON with Decimal numbers; None for an empty body. Raises ValueError."""
    body = await request.body()
    return json.loads(body, parse_float=Decimal) if body else None


class PortTakenError(Exception):
    """The port cannot be used; the message is one line for the operator."""


class StateUnreadableError(Exception):
    """A state file cannot be used; the message is one line for the operator."""


def load_state(path: Path | None) -> Any:
    """Read the result of `save_state`; None if there is none. Use it only on our own files: pickles can run code."""
    if path is None or not path.exists():
        return None
    try:
        return pickle.loads(path.read_bytes())  # noqa: S301 - our own file, 0600
    except Exception as error:
        raise StateUnreadableError(
            f"the state file {path} cannot be read ({error!r}); remove it to start with an empty state"
        ) from error


def save_state(path: Path | None, state: Any) -> None:
    """Write a state atomically, readable only by its owner."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(pickle.dumps(state))
    fresh.replace(path)


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket (port 0: any). Raises PortTakenError."""
    # asyncio disables Nagle's algorithm only if the protocol is given; else each response on a keep-alive connection waits 40 ms.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            owner = port_owner(port)
            by = f" by {owner}" if owner else ""
            raise PortTakenError(
                f"port {port} on {host} is already in use{by}; stop that process, or choose another one with --port (0: any)"
            ) from error
        raise PortTakenError(f"cannot listen on {host}:{port}: {error.strerror}; choose another with --host or --port") from error
    return listener


def port_owner(port: int) -> str | None:
    """Return the process that listens on a port, if the system shows it (Linux, same user)."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                columns = line.split()
                if int(columns[1].rsplit(":", 1)[1], 16) == port and columns[3] == "0A":
                    inodes.add(f"socket:[{columns[9]}]")
    for process in Path("/proc").glob("[0-9]*") if inodes else ():
        with contextlib.suppress(OSError):
            if any(str(fd.readlink()) in inodes for fd in (process / "fd").iterdir()):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"process {process.name} ({command[:80]})"
    return None


class _Server(uvicorn.Server):
    """uvicorn that ends with exit status 0 on SIGTERM and SIGINT; it would raise the signal again after its shutdown."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def obey_signals(self) -> None:
        """Handle signals from now on, before the first line is printed, so that an early signal is not a crash."""

        def stop(signum: int, frame: FrameType | None) -> None:
            self.force_exit = self.should_exit and signum == signal.SIGINT
            self.should_exit = True

        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, stop)


def serve(build: Callable[[str], tuple[ASGIApp, dict[str, Any]]], host: str, port: int) -> int:
    """Serve what `build(origin)` returns until a signal; print its facts as the first line. Returns the exit status."""
    try:
        listener = bind(host, port)
    except PortTakenError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    reachable = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    shown = f"[{reachable}]" if ":" in reachable else reachable
    try:
        app, facts = build(f"http://{shown}:{listener.getsockname()[1]}")
    except StateUnreadableError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    config = uvicorn.Config(
        app, log_level="critical", access_log=False, lifespan="off", timeout_keep_alive=75, timeout_graceful_shutdown=3
    )
    server = _Server(config)
    server.obey_signals()
    print(to_json(facts), flush=True)
    server.run(sockets=[listener])
    return 0
