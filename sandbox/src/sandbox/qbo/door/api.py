"""The company API `/v3/company/{realmId}/...`: gates, requestid, dispatch. It answers bytes; the app sends them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl
from zlib import crc32

import orjson

from sandbox.qbo.books.reports.catalogue import report
from sandbox.qbo.company.clock import pacific_millis
from sandbox.qbo.company.schema import KINDS, PATHS, Entity
from sandbox.qbo.company.store import Company, Doc
from sandbox.qbo.control.injection import Call
from sandbox.qbo.control.world import Record, Remembered, World
from sandbox.qbo.documents import query, writes
from sandbox.qbo.documents.cdc import change_data
from sandbox.qbo.door import attachments, batch, extras
from sandbox.qbo.door.xml import asks_for_xml
from sandbox.qbo.rules.changes import Options, check_plan
from sandbox.qbo.rules.faults import Fault, envelope, item_fault, lower_envelope, xml_envelope
from sandbox.qbo.rules.validation import parse_json

JSON = "application/json;charset=UTF-8"
XML = "application/xml;charset=UTF-8"
WRITES = frozenset({"create", "update", "delete", "void", "batch", "upload", "send", "taxcode"})
PREFIX = "/v3/company/"


@dataclass(slots=True)
class Reply:
    """What goes back: status, content type, body, further headers."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Cut(Exception):  # noqa: N818 - not an error: what the fault rule asked for
    """The connection is to be cut without an answer (a batch that dies half-way)."""


@dataclass(slots=True)
class Request:
    """One request, taken apart."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes
    call: Call
    record: Record
    realm_id: str
    rest: list[str]
    entity: Entity | None = None
    address_bytes: int = 0  # path and query as they were sent
    cut_after: int | None = None  # a fault rule cuts this batch after so many items


def plain(value: Any) -> Any:
    """orjson's fallback: Decimal as a JSON number. Amounts have at most 15 digits, which a float's text keeps exactly."""
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(type(value).__name__)


def dumps(value: Any) -> bytes:
    """JSON bytes of an answer."""
    return orjson.dumps(value, default=plain)


def take_apart(world: World, method: str, path: str, raw_query: bytes, headers: dict[str, str], body: bytes) -> Request:
    """Request with its operation and entity named, for rules, log and dispatch."""
    params = dict(parse_qsl(raw_query.decode("latin-1"), keep_blank_values=True)) if raw_query else {}
    parts = path[len(PREFIX) :].strip("/").split("/")
    realm_id, rest = parts[0], parts[1:]
    record = world.record(method, path)
    record.realm = realm_id
    record.bytes_in = len(body)
    record.xml = asks_for_xml(headers.get("accept", ""))
    entity = PATHS.get(rest[0].lower()) if rest else None
    operation = _operation(method, params, rest, entity, body)
    record.operation = operation
    record.entity = entity.kind if entity else ""
    record.requestid = params.get("requestid", "")
    call = Call(method, path, operation, record.entity, realm_id, record.requestid, body)
    address = len(path.encode()) + len(raw_query)
    return Request(method, path, params, headers, body, call, record, realm_id, rest, entity, address)


def _operation(method: str, params: dict[str, str], rest: list[str], entity: Entity | None, body: bytes) -> str:
    head = rest[0].lower() if rest else ""
    if head in ("query", "cdc", "batch", "upload", "download", "reports"):
        return "report" if head == "reports" else head
    if head == "taxservice":
        return "taxcode"
    if entity is None:
        return "unknown"
    if len(rest) > 2:
        return rest[2].lower()  # pdf, send
    if method == "GET":
        return "get"
    operation = params.get("operation", "").lower()
    if "void" in params.get("include", "").lower().split(",") and operation == "update":
        return "void"
    if operation in ("delete", "void"):
        return operation
    return "update" if operation == "update" or (b'"Id"' in body and b'"SyncToken"' in body) else "create"


class Api:
    """Handles requests against the world's companies."""

    def __init__(self, world: World) -> None:
        self.world = world

    # -- answers ---------------------------------------------------------------------------------------------------

    def time(self) -> str:
        """The `time` of an answer."""
        return pacific_millis(self.world.clock.now())

    def fault(self, fault: Fault, record: Record, *, form: str = "json") -> Reply:
        """A refusal in its envelope."""
        record.codes.append(fault.code)
        unauthenticated = fault.status == 401 and fault.type == "AUTHENTICATION"
        headers = ((b"www-authenticate", b'Bearer realm="Intuit", error="invalid_token"'),) if unauthenticated else ()
        if form == "xml" or record.xml:
            return Reply(fault.status, XML, xml_envelope(fault, self.time()), headers)
        if unauthenticated:
            return Reply(401, JSON, dumps(lower_envelope(fault, self.world.clock.now())), headers)
        if fault.code in ("3100", "3201") and fault.status == 403:
            return Reply(403, JSON, dumps(lower_envelope(fault, self.world.clock.now())))
        return Reply(fault.status, JSON, dumps(envelope(fault, self.time())))

    def throttled(self, record: Record, form: str | None = None, retry_after: int | None = None) -> Reply:
        """429, JSON or XML: as the limits say, or else as the request's Accept header says."""
        self.world.throttled += 1
        form = form or self.world.limits.settings.format
        if form == "accept":
            form = "xml" if record.xml else "json"
        fault = Fault("3001")
        record.codes.append(fault.code)
        if form == "xml":
            reply = Reply(fault.status, XML, xml_envelope(fault, self.time()))
        else:
            reply = Reply(fault.status, JSON, dumps(envelope(fault, self.time())))
        wait = retry_after if retry_after is not None else self.world.limits.settings.retry_after
        if wait is not None:
            reply.headers = (*reply.headers, (b"retry-after", str(wait).encode()))
        return reply

    # -- gates -----------------------------------------------------------------------------------------------------

    def authenticate(self, request: Request) -> tuple[str, Reply | None]:
        """(client id, None), or the 401 or 403: token first, then realm, then scope."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() not in ("", "bearer"):  # OAuth 1 ended in 2019; Basic is for the token endpoint
            return "", self.fault(Fault("110" if scheme.lower() == "oauth" else "100"), request.record)
        if not token or not scheme:
            return "", self.fault(Fault("3202"), request.record)
        grant, problem = self.world.oauth.check(token)
        if grant is None:
            return "", self.fault(Fault("3200", detail=problem), request.record)
        if grant.realm_id != request.realm_id:
            return "", self.fault(Fault("3100"), request.record)
        if "com.intuit.quickbooks.accounting" not in grant.scopes:
            return "", self.fault(Fault("3201"), request.record)
        return grant.client_id, None

    # -- one request -----------------------------------------------------------------------------------------------

    def remembered(self, request: Request) -> Reply | None:
        """The stored answer for the request's id, if it is to be replayed; raises Fault 2130, 600."""
        request_id = self._request_id(request)
        if not request_id:
            return None
        known = self.world.remembered[request.realm_id].get(request_id)
        if known is None:
            return None
        limit = self.world.modes.requestid_seconds
        if limit is not None and self.world.clock.now() - known.when > limit:
            del self.world.remembered[request.realm_id][request_id]
            return None
        if self.world.modes.requestid_other_body == "refuse" and known.fingerprint != crc32(request.body):
            raise Fault("600", value=request_id)
        request.record.replayed = True
        return Reply(known.status, known.content_type, known.body)

    def _request_id(self, request: Request) -> str:
        request_id = request.params.get("requestid", "")
        if not request_id or request.call.operation not in WRITES:
            return ""
        limit = 36 if request.call.operation == "batch" else 50
        if len(request_id) > limit:
            raise Fault("2130", value=len(request_id), limit=limit)
        return "" if self.world.modes.ignore_requestid else request_id

    def remember(self, request: Request, reply: Reply) -> None:
        """Store the answer for the request's id."""
        try:
            request_id = self._request_id(request)
        except Fault:
            return
        if not request_id or (reply.status != 200 and not self.world.modes.remember_errors) or reply.status >= 500:
            return
        self.world.remembered[request.realm_id][request_id] = Remembered(
            reply.status, reply.body, reply.content_type, self.world.clock.now(), crc32(request.body)
        )

    def perform(self, request: Request, *, ignore_requestid: bool = False, checked: bool = False) -> Reply:
        """Requestid, then the work itself, atomically. `checked`: the requestid was looked up before (a race is wanted)."""
        record = request.record
        try:
            if not ignore_requestid and not checked:
                replay = self.remembered(request)
                if replay is not None:
                    return replay
            reply = self._work(request)
        except Fault as fault:
            # a timeout is the gateway's response, which is XML whatever the Accept header says
            reply = self.fault(fault, record, form="xml" if fault.code == "6002" else "json")
        else:
            if request.call.operation in WRITES and record.committed:
                self.world.writes += 1
                if record.requestid and request.call.operation == "create":
                    counts = self.world.creates_by_requestid
                    counts[record.requestid] = counts.get(record.requestid, 0) + 1
        if not ignore_requestid:
            self.remember(request, reply)
        return reply

    def _work(self, request: Request) -> Reply:
        company = self.world.companies.get(request.realm_id)
        if company is None:
            raise Fault("3100")
        operation = request.call.operation
        self.meter(request)
        if company.subscription_ended:
            raise Fault("6190", status=company.subscription_status)
        if company.gate and (company.gate != "5020" or operation in WRITES):
            raise Fault(company.gate, plan=company.plan.replace("_", " ").title())
        handler = getattr(self, f"_do_{operation}", None)
        if handler is None:
            if request.entity is not None:
                raise Fault("500", operation=operation)
            raise Fault("2000", value="/".join(request.rest) or "the resource")
        reply: Reply = handler(company, request)
        return reply

    def meter(self, request: Request) -> None:
        """Count a call as Intuit meters it: reads cost, writes do not."""
        now, operation = self.world.clock.now(), request.call.operation
        if operation == "batch":
            return  # its items are counted one by one
        if operation in WRITES:
            self.world.limits.meter(now, writes=1)
        else:
            self.world.limits.meter(now, reads=1)

    def dress(self, company: Company, include: frozenset[str] = frozenset()) -> Any:
        """How documents of a company are shown: decorated, with links that are made for each reader."""

        def show(kind: str, doc: Doc) -> Doc:
            doc = company.present(kind, doc)
            if kind == "Attachable":
                return attachments.with_links(self.world, company, doc)
            if kind == "Invoice" and "invoicelink" in include:
                return extras.with_invoice_link(self.world, company, doc)
            return doc

        return show

    def _include(self, request: Request) -> frozenset[str]:
        text = request.params.get("include", "")
        return frozenset(part.strip().lower() for part in text.split(",") if part.strip()) if text else frozenset()

    def _ok(self, body: dict[str, Any]) -> Reply:
        body["time"] = self.time()
        return Reply(200, JSON, dumps(body))

    def _method(self, request: Request, *allowed: str) -> None:
        if request.method not in allowed:
            raise Fault("500", detail=f"Operation {request.method} is not supported here.")

    # -- operations ------------------------------------------------------------------------------------------------

    def _do_get(self, company: Company, request: Request) -> Reply:
        entity = request.entity
        assert entity is not None
        doc_id = request.rest[1] if len(request.rest) > 1 else ""
        if entity.kind == "Preferences" or (entity.kind == "CompanyInfo" and doc_id in ("", company.realm_id)):
            doc_id = "1"
        if not doc_id:
            raise Fault("500", detail=f"Operation GET is not supported for {entity.kind} without an Id.")
        if not doc_id.isascii() or not doc_id.isdigit():
            raise Fault("2030", element="Id", value=doc_id)
        check_plan(company, entity)
        doc = company.get(entity.kind, doc_id)
        if doc is None:
            raise Fault("610")
        return self._ok({entity.kind: self.dress(company, self._include(request))(entity.kind, doc)})

    def _save(self, company: Company, request: Request) -> Reply:
        entity = request.entity
        assert entity is not None
        self._method(request, "POST")
        content_type = request.headers.get("content-type", "application/json")
        if any(word in content_type for word in ("xml", "form", "multipart")):
            raise Fault("1050", value=content_type)
        body = parse_json(request.body)
        options = Options(include=self._include(request))
        operation = request.params.get("operation", "").lower()
        if operation in ("", "create", "update"):
            if operation == "update" and "void" in options.include:
                doc = writes.void(company, entity, body, options)
            else:
                doc = writes.save(company, entity, body, options)
        else:
            doc = batch.write(company, entity, operation, body, options)
        request.record.committed = True
        request.record.id = doc["Id"]
        shown = self.dress(company, options.include)(entity.kind, doc) if "MetaData" in doc else doc
        return self._ok({entity.kind: shown})

    _do_create = _do_update = _do_delete = _do_void = _save

    def _do_query(self, company: Company, request: Request) -> Reply:
        self._method(request, "GET", "POST")
        text = request.params.get("query", "")
        if request.method == "POST" and not text:
            text = _text_of(request)
        include = self._include(request)
        answer = query.run(
            company, text, include=include, sort_by_id=self.world.modes.sort_by_id, dress=self.dress(company, include)
        )
        return self._ok({"QueryResponse": answer})

    def _do_cdc(self, company: Company, request: Request) -> Reply:
        self._method(request, "GET")
        answer = change_data(
            company, request.params.get("entities", ""), request.params.get("changedSince", ""), self.dress(company)
        )
        return self._ok({"CDCResponse": answer})

    def _do_batch(self, company: Company, request: Request) -> Reply:
        self._method(request, "POST")
        items = batch.items_of(parse_json(request.body))
        batch.check_ids(items, bool(request.params.get("requestid")))
        reads, changes = batch.reads_and_writes(items)
        self.world.limits.meter(self.world.clock.now(), reads=reads, writes=changes)
        answers = []
        show = self.dress(company)
        for index, item in enumerate(items):
            if request.cut_after is not None and index >= request.cut_after:
                raise Cut
            fault = self._item_fault(request, item)
            if fault is not None:
                request.record.codes.append(fault.code)
                answers.append({"Fault": item_fault(fault), "bId": str(item["bId"])})
                continue
            answer = batch.run_item(company, item, sort_by_id=self.world.modes.sort_by_id, dress=show)
            if "Fault" in answer:
                request.record.codes.append(answer["Fault"]["Error"][0]["code"])
            elif "Query" not in item:
                request.record.committed = True
                self.world.writes += 1
            answers.append(answer)
        if self.world.modes.shuffle_batch and len(answers) > 1:
            company.random.shuffle(answers)
        return self._ok({"BatchItemResponse": answers})

    def _item_fault(self, request: Request, item: dict[str, Any]) -> Fault | None:
        if not self.world.injector.rules:
            return None
        names = [key for key in item if key not in batch.ITEM_KEYS]
        operation = "query" if "Query" in item else str(item.get("operation") or "create").lower()
        call = Call(
            "POST", request.path, operation, names[0] if names else "", request.realm_id, request.record.requestid, dumps(item)
        )
        for rule in self.world.injector.firing_for_item(call):
            request.record.faults.append(rule.fault)
            return Fault("3001" if rule.fault == "item_throttle" else str(rule.arguments["code"]))
        return None

    def _do_upload(self, company: Company, request: Request) -> Reply:
        self._method(request, "POST")
        answers = attachments.upload(company, request.headers, request.body, self.dress(company))
        request.record.committed = any("Attachable" in answer for answer in answers)
        return self._ok({"AttachableResponse": answers})

    def _do_download(self, company: Company, request: Request) -> Reply:
        self._method(request, "GET")
        link = attachments.download_link(self.world, company, request.rest[1] if len(request.rest) > 1 else "")
        return Reply(200, "text/plain;charset=UTF-8", link.encode())

    def _do_pdf(self, company: Company, request: Request) -> Reply:
        self._method(request, "GET")
        assert request.entity is not None
        return Reply(200, "application/pdf", extras.pdf(company, request.entity, request.rest[1]))

    def _do_send(self, company: Company, request: Request) -> Reply:
        self._method(request, "POST")
        assert request.entity is not None
        doc = extras.send(
            company, request.entity, request.rest[1], request.params.get("sendTo"), self.world.limits.settings.mails_per_day
        )
        request.record.committed = True
        return self._ok({request.entity.kind: self.dress(company)(request.entity.kind, doc)})

    def _do_taxcode(self, company: Company, request: Request) -> Reply:
        self._method(request, "POST")
        if len(request.rest) < 2 or request.rest[1].lower() != "taxcode":
            raise Fault("2000", value="/".join(request.rest))
        answer = extras.create_tax_code(company, parse_json(request.body))
        request.record.committed = True
        return Reply(200, JSON, dumps(answer))

    def _do_report(self, company: Company, request: Request) -> Reply:
        self._method(request, "GET")
        name = request.rest[1] if len(request.rest) > 1 else ""
        return Reply(200, JSON, dumps(report(company, name, request.params)))


def _text_of(request: Request) -> str:
    try:
        return request.body.decode()
    except UnicodeDecodeError:
        return request.body.decode("latin-1")  # the documentation names ISO-8859-1 for US companies


__all__ = ["KINDS", "Api", "Cut", "Reply", "Request", "dumps", "take_apart"]
