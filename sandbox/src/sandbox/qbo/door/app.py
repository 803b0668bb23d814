"""The ASGI application: routes, fault injection around each request, sending. No framework, as this is the hot path."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from sandbox.qbo.control.injection import Call, Rule, seconds_of
from sandbox.qbo.control.routes import Control
from sandbox.qbo.control.world import Config, World
from sandbox.qbo.door import attachments, oauth
from sandbox.qbo.door.api import JSON, PREFIX, XML, Api, Cut, Reply, Request, dumps, take_apart
from sandbox.qbo.door.pages import routes as pages
from sandbox.qbo.door.xml import to_xml
from sandbox.qbo.rules.faults import HTML_503, Fault, envelope, xml_envelope

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
TOKEN_PATHS = frozenset({"/oauth2/v1/tokens/bearer", "/oauth2/v1/tokens/bearer/"})
REVOKE_PATHS = frozenset({"/v2/oauth2/tokens/revoke", "/v2/oauth2/tokens/revoke/"})


class Unanswered(Exception):  # noqa: N818 - not an error: what the fault rule asked for
    """The connection is cut after `hold` seconds, or when the client goes; no answer."""

    def __init__(self, hold: float = 0.0, *, reset: bool = False) -> None:
        super().__init__()
        self.hold = hold
        self.reset = reset


class App:
    """One stand-in as an ASGI application; `app.world` is its state."""

    def __init__(self, config: Config | None = None) -> None:
        self.world = World(config or Config())
        self.api = Api(self.world)
        self.control = Control(self.world)
        self.late: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.world.webhooks.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                for task in self.late:
                    task.cancel()
                await asyncio.gather(*self.late, return_exceptions=True)
                await self.world.webhooks.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        body = await _read(receive)
        if body is None:
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            if path.startswith(PREFIX):
                reply = await self._company(scope, path, headers, body)
            else:
                reply = await self._other(scope, path, headers, body)
        except Unanswered as cut:
            await _cut(receive, send, cut)
            return
        except Exception:  # a bug of ours: log it, and respond as Intuit would
            self.world.internal_errors += 1
            traceback.print_exc(file=sys.stderr)
            reply = Reply(500, JSON, dumps(envelope(Fault("10000"), self.api.time())))
        tid = f"1-{int(time.time()):08x}-{self.world.sequence:024x}".encode()
        out = [
            (b"content-type", reply.content_type.encode()),
            (b"content-length", str(len(reply.body)).encode()),
            (b"intuit_tid", tid),
            (b"qbo-version", b"1995.123"),
            *reply.headers,
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": out})
        await send({"type": "http.response.body", "body": reply.body})

    # -- the company API -------------------------------------------------------------------------------------------

    async def _company(self, scope: Scope, path: str, headers: dict[str, str], body: bytes) -> Reply:
        request = take_apart(self.world, scope["method"], path, scope["query_string"], headers, body)
        record, started = request.record, time.perf_counter()
        rules = self.world.injector.firing(request.call) if self.world.injector.rules else []
        record.faults = [rule.fault for rule in rules]
        try:
            reply = await self._gated(request, rules)
            if record.xml and reply.content_type == JSON and reply.status == 200:
                reply = _as_xml(reply)
            record.status = reply.status
            record.bytes_out = len(reply.body)
            return reply
        finally:
            record.seconds = time.perf_counter() - started

    async def _gated(self, request: Request, rules: list[Rule]) -> Reply:
        """Network and gateway faults, then token, limits, and the work."""
        if request.address_bytes > self.world.modes.longest_address > 0:
            return html(414, "Request-URI Too Large")
        for rule in rules:
            reply = self._before(rule, request)
            if reply is not None:
                return reply
        client, refusal = self.api.authenticate(request)
        if refusal is not None:
            return refusal
        for rule in rules:
            if rule.fault == "batch_cut":
                request.cut_after = int(rule.arguments["after"])
        limits = self.world.limits
        if not limits.enter(request.realm_id, client, batch=request.call.operation == "batch"):
            return self.api.throttled(request.record)
        try:
            if not rules and not self.world.modes.requestid_race:
                return self._perform(request)
            return await self._with_faults(request, rules)
        finally:
            limits.leave(request.realm_id, client)

    def _perform(self, request: Request, **how: bool) -> Reply:
        try:
            return self.api.perform(request, **how)
        except Cut:
            raise Unanswered(reset=True) from None

    async def _with_faults(self, request: Request, rules: list[Rule]) -> Reply:
        for rule in rules:
            if rule.fault == "latency" and not rule.arguments["after"]:
                await self._wait(seconds_of(rule))
        window = self.world.modes.requestid_race
        window = max([window, *(float(r.arguments["window"]) for r in rules if r.fault == "requestid_race")])
        ignore = any(rule.fault == "ignore_requestid" for rule in rules)
        if window and not ignore and request.record.requestid:
            try:
                replay = self.api.remembered(request)
            except Fault as fault:
                return self.api.fault(fault, request.record)
            if replay is not None:
                return replay
            await self._wait(window)
            reply = self._perform(request, checked=True)
        else:
            reply = self._perform(request, ignore_requestid=ignore)
        for rule in rules:
            if rule.fault == "latency" and rule.arguments["after"]:
                await self._wait(seconds_of(rule))
            reply = self._after(rule, request, reply)
        return reply

    async def _wait(self, seconds: float) -> None:
        """Wait for an injected fault: this long, or until it is released."""
        event, held = asyncio.Event(), self.world.held
        held.add(event)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, seconds * self.world.config.seconds_scale)):
                    await event.wait()
        finally:
            held.discard(event)

    def _before(self, rule: Rule, request: Request) -> Reply | None:
        """Apply a fault before anything is committed; None: continue."""
        a, record = rule.arguments, request.record
        match rule.fault:
            case "reset":
                raise Unanswered(reset=True)
            case "drop_before_commit":
                raise Unanswered(float(a["hold"]))
            case "late_delivery":
                task = asyncio.create_task(self._deliver_late(request, float(a["delay"]) + float(a["cut_after"])))
                self.late.add(task)
                task.add_done_callback(self.late.discard)
                raise Unanswered(float(a["cut_after"]))
            case "throttle":
                return self.api.throttled(record, a["format"], a["retry_after"])
            case "unauthorized":
                return self.api.fault(Fault("3200", detail=a["detail"]), record)
            case "gateway_timeout":
                return self._gateway_timeout(record)
            case "server_error" | "fault" if not a["commit"]:
                reply = self._failure(rule, request)
                if reply.status not in GATE_STATUSES:
                    self.api.meter(request)  # Intuit also counts a read that it refuses
                return reply
            case "html_503" | "html" if not a["commit"]:
                return self._failure(rule, request)
        return None

    def _after(self, rule: Rule, request: Request, reply: Reply) -> Reply:
        """What a fault does once the work is committed."""
        match rule.fault:
            case "commit_then_timeout":
                raise Unanswered(float(rule.arguments["hold"]))
            case "commit_then_reset":
                raise Unanswered(reset=True)
            case "commit_then_504":
                return self._gateway_timeout(request.record)
            case "server_error" | "html_503" | "html" | "fault" if rule.arguments["commit"]:
                return self._failure(rule, request)
        return reply

    def _gateway_timeout(self, record: Any) -> Reply:
        record.codes.append("6002")
        return Reply(504, XML, xml_envelope(Fault("6002"), self.api.time()))

    def _failure(self, rule: Rule, request: Request) -> Reply:
        a = rule.arguments
        if rule.fault == "html_503":
            return Reply(503, "text/html", HTML_503)
        if rule.fault == "html":
            return html(int(a["status"]), str(a["text"]))
        if rule.fault == "server_error":
            return self.api.fault(Fault("10000"), request.record)
        fault = Fault(str(a["code"]), detail=a["detail"], message=a["message"], status=a["status"])
        return self.api.fault(fault, request.record, form=a["format"])

    async def _deliver_late(self, request: Request, delay: float) -> None:
        """Apply the request long after its sender gave up; gates and requestid apply as usual."""
        workspace = self.world.oauth
        await self._wait(delay)
        if self.world.oauth is not workspace:
            return  # everything was reset meanwhile
        _, refusal = self.api.authenticate(request)
        if refusal is None:
            with contextlib.suppress(Cut):
                self.api.perform(request)

    # -- OAuth, files, control, pages ------------------------------------------------------------------------------

    async def _other(self, scope: Scope, path: str, headers: dict[str, str], body: bytes) -> Reply:
        method, params = scope["method"], dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        if path == "/control" or path.startswith("/control/"):
            status, answer = await self.control.handle(method, path, params, body)
            return Reply(status, JSON, dumps(answer))
        if path in TOKEN_PATHS and method == "POST":
            return await self._token("token", method, path, headers, body)
        if path in REVOKE_PATHS and method == "POST":
            return await self._token("revoke", method, path, headers, body)
        if path.rstrip("/") in ("/.well-known/openid_configuration", "/.well-known/openid_sandbox_configuration"):
            return Reply(200, JSON, dumps(oauth.discovery(self.world.config.base_url)))
        if path == "/op/v1/jwks":
            return Reply(200, JSON, dumps(oauth.jwks()))
        if path == "/v1/openid_connect/userinfo":
            return _reply(oauth.user_info(self.world.oauth, headers))
        if path == "/connect/oauth2":
            return self._authorize(method, params, body)
        if path.startswith("/files/"):
            return self._file(path, params)
        return self._page(method, path, params, headers, body)

    async def _token(self, operation: str, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        record = self.world.record(method, path)
        record.operation, record.bytes_in = operation, len(body)
        call = Call(method, path, operation, body=body)
        rules = self.world.injector.firing(call) if self.world.injector.rules else []
        record.faults = [rule.fault for rule in rules]
        settings = self.world.oauth.settings
        if settings.slow_seconds:
            await self._wait(settings.slow_seconds)
        for rule in rules:
            if rule.fault in ("slow_token", "latency"):
                await self._wait(seconds_of(rule) if rule.fault == "latency" else float(rule.arguments["seconds"]))
            elif rule.fault in ("reset", "drop_before_commit"):
                raise Unanswered(reset=True)
            elif rule.fault == "token_server_error":
                record.status = int(rule.arguments["status"])
                return Reply(record.status, "text/html", HTML_503)
        reply = _reply((oauth.token if operation == "token" else oauth.revoke)(self.world.oauth, headers, body))
        if settings.lose_answers > 0 and operation == "token":
            settings.lose_answers -= 1
            raise Unanswered(reset=True)
        if any(rule.fault in ("token_answer_lost", "commit_then_reset", "commit_then_timeout") for rule in rules):
            raise Unanswered(reset=True)
        record.status, record.bytes_out = reply.status, len(reply.body)
        return reply

    def _authorize(self, method: str, params: dict[str, str], body: bytes) -> Reply:
        if method == "POST":
            params = {**params, **dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))}
        decision = params.pop("decision", None)
        companies = [(realm, company.name) for realm, company in self.world.companies.items()]
        return _reply(oauth.authorize(self.world.oauth, params, companies, decision))

    def _file(self, path: str, params: dict[str, str]) -> Reply:
        parts = path.split("/")
        found = attachments.fetch(self.world, parts[2], parts[3], params.get("sig", "")) if len(parts) == 4 else None
        if found is None:
            return Reply(403, "text/plain", b"the link is invalid or has expired")
        return Reply(200, found[0], found[1])

    def _page(self, method: str, path: str, params: dict[str, str], headers: dict[str, str], body: bytes) -> Reply:
        form: dict[str, str] = {}
        if method == "POST":
            form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
        if path == "/" or path.startswith(("/ui/", "/pay/")):
            return _reply(pages.handle(self.world, method, path, params, form))
        return Reply(404, "text/plain", b"not found")


GATE_STATUSES = (401, 403, 429)  # refused before Intuit's servers look at the request: not metered


def html(status: int, text: str) -> Reply:
    """The response of a proxy or firewall in front of Intuit's servers."""
    said = f"{status} {text}"
    page = f"<html>\r\n<head><title>{said}</title></head>\r\n<body><center><h1>{said}</h1></center></body>\r\n</html>"
    return Reply(status, "text/html", page.encode())


def _reply(answer: oauth.Answer) -> Reply:
    status, content_type, body, headers = answer
    return Reply(status, content_type, body, tuple((k.encode(), v.encode()) for k, v in headers.items()))


def _as_xml(reply: Reply) -> Reply:
    return Reply(reply.status, XML, to_xml(reply.body), reply.headers)


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None when the client went away."""
    message = await receive()
    if message["type"] == "http.disconnect":
        return None
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    chunks = [body]
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
    return b"".join(chunks)


async def _cut(receive: Receive, send: Send, cut: Unanswered) -> None:
    """Hold the connection, then close it without an answer. uvicorn has no public way to do so: its transport is used."""
    if cut.hold > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_gone(receive), cut.hold)
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise ConnectionError("the server under this app cannot cut connections")
    if cut.reset:
        raw = transport.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(_gone(receive), 5)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def create_app(config: Config | None = None) -> App:
    """The stand-in as an ASGI application."""
    return App(config)
