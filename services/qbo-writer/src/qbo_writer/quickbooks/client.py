"""QuickBooks' Accounting API over one httpx client (port `Books`): it sends what it is given, once. No retry, no redirect."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import httpx
from bookrelay import metrics, telemetry
from bookrelay.errors import HaltError
from bookrelay.messages import Priority
from bookrelay.money import loads
from bookrelay.texts import storable_json

from qbo_writer import redacting
from qbo_writer.domain import (
    AccessToken,
    Answer,
    AnswerKind,
    BatchRequest,
    Deleted,
    FeedFull,
    LookupFailed,
    LookupUnreadable,
    Operation,
    Request,
    Seen,
    UpdatedPage,
)
from qbo_writer.halving import in_halves
from qbo_writer.names import DELETED, last, means, own, resembles, spellings, texts
from qbo_writer.quickbooks import faults, mapping
from qbo_writer.quickbooks.pacing import Pacer
from qbo_writer.settings import WriterSettings

log = telemetry.get_logger(__name__)

MINOR_VERSION = "75"
PAGE = 1000  # rows of a query's page, at most
OVERLAP = 50  # rows that two pages share
CDC_CAP = 1000  # objects in one answer of the change feed: at the cap something may be missing
CDC_DAYS = 29  # it looks back 30 days
_CLOCKS = timedelta(minutes=5)  # how far our clock and QuickBooks' may be apart in a window of CreateTime
_IDS_AT_ONCE = 100
_VOID_BY_UPDATE = frozenset({"Payment", "BillPayment", "SalesReceipt"})
NAMES = ("Customer", "Vendor", "Employee")
# Not taken by the lexer of the query: typographic quotes and dashes. LIKE with % in their place, filtered here.
_ODD = re.compile("[\u2010-\u201f\u2026\u2032-\u2035]")
# httpx raises these for what happens on the way; everything of it is silence for a write.
_NO_ANSWER = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError)


_ALL = "Active in (true, false)"
_WITH_ACTIVE = frozenset({"Customer", "Vendor", "Employee", "Item", "Account", "Term", "Class", "Department"})
ADDRESS_MOST = (
    2000  # bytes of path and query, as encoded: proxies and firewalls answer longer ones with 414; a query is posted then
)
_NAMES_MOST = 6000  # characters of a query's names, as encoded
NAMES_AT_ONCE = 30  # in one query: short enough for an address, with " (deleted)" beside each
GATHER_SECONDS = 0.005


@dataclass
class _Asked:
    """Names that wait for one query."""

    names: set[str] = field(default_factory=set)
    length: int = 0  # of the address, as encoded
    rows: "asyncio.Future[tuple[list[dict[str, Any]], dict[str, LookupFailed]]] | None" = None  # and whose query was refused


class QboClient:
    """The port to QuickBooks. Writes are paced by the caller (who journals between slot and send), reads pace themselves."""

    def __init__(
        self, settings: WriterSettings, pacer: Pacer | None = None, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._settings, self._pacer = settings, pacer
        self._asked: dict[tuple[str, str], _Asked] = {}
        self.on_unauthorized: Callable[[str, AccessToken], None] | None = None  # told of a 401 to a read
        self.on_accepted: Callable[[str, AccessToken], None] | None = None  # told that a token was taken
        self.kept_back: Callable[[str], bool] = lambda realm: False  # whether a person has halted the company: nothing is read
        seconds = settings.qbo_request_timeout_seconds
        connections = max(20, settings.pace_in_flight * max(1, len(settings.qbo_realm_ids)) * 2)
        self._client = httpx.AsyncClient(
            transport=transport or httpx.AsyncHTTPTransport(
                retries=0, http2=False, limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
            ),
            timeout=httpx.Timeout(seconds, connect=min(settings.qbo_connect_timeout_seconds, seconds)),
            follow_redirects=False,
            headers={"Accept": "application/json", "User-Agent": "bookrelay"},
        )  # fmt: skip
        self._seconds = seconds

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    # ------------------------------------------------------------------------------------------------------------ writes

    async def send(self, request: Request, token: AccessToken) -> Answer:
        """Send one journalled request; every outcome is an Answer, also a time-out."""
        params = {"minorversion": MINOR_VERSION, "requestid": request.requestid}
        if request.operation is Operation.DELETE:
            params["operation"] = "delete"
        elif request.operation is Operation.VOID and request.entity in _VOID_BY_UPDATE:
            params.update(operation="update", include="void")
        elif request.operation is Operation.VOID:
            params["operation"] = "void"
        path = f"/{request.entity.lower()}"
        answer, value = await self._post(
            request.realm, path, params, request.body, token, request.operation, request.operation.value
        )
        if answer.kind is not AnswerKind.SUCCESS:
            return answer
        return _done(answer, value, request)

    async def send_batch(self, batch: BatchRequest, token: AccessToken) -> Answer | dict[str, Answer]:
        """Send a journalled batch: one Answer for the whole call (silence, 429, 401, error), or one for each bId.

        A bId that is missing from a readable reply is silence. Items decide under any status below 500, as codes do; what is no
        fault in them is a success under 2xx only.
        """
        params = {"minorversion": MINOR_VERSION, "requestid": batch.requestid}
        answer, value = await self._post(batch.realm, "/batch", params, batch.body, token, None, "batch")
        replies = _replies(answer, value)
        if replies is None:
            return faults.unreadable(answer) if answer.kind is AnswerKind.SUCCESS else answer
        by_id = {str(reply.get("bId")): reply for reply in replies if isinstance(reply, dict)}
        answers = {item.b_id: _item(answer, by_id.get(item.b_id), item.request) for item in batch.items}
        throttled = sum(found.throttled for found in answers.values())
        if throttled and self._pacer:
            await self._pacer.throttled(batch.realm, None)
        return answers

    async def _post(
        self,
        realm: str,
        path: str,
        params: Mapping[str, str],
        body: str,
        token: AccessToken,
        operation: Operation | None,
        name: str,
    ) -> tuple[Answer, Any]:
        started = time.perf_counter()
        try:
            response = await self._exchange("POST", realm, path, params, token, body=body, batch=name == "batch")
            text = _decoded(response)
        except (*_NO_ANSWER, UnicodeDecodeError, TimeoutError) as error:
            answer, value = faults.silence(type(error).__name__), None
        else:
            answer = faults.classify(response.status_code, response.headers, text, operation)
            value = loads(text) if answer.kind is AnswerKind.SUCCESS else None
        metrics.QBO_REQUESTS.labels(realm, name, answer.kind.value).inc()
        metrics.QBO_REQUEST_SECONDS.labels(name).observe(time.perf_counter() - started)
        if answer.throttled and self._pacer:
            await self._pacer.throttled(realm, answer.retry_after)
        self._accepted(realm, token, answer)
        return answer, value

    def _accepted(self, realm: str, token: AccessToken, answer: Answer) -> None:
        """Tell that QuickBooks took the token: it answered what it answers only to who is known."""
        if self.on_accepted and answer.kind in (AnswerKind.SUCCESS, AnswerKind.ERROR, AnswerKind.CONFLICT):
            self.on_accepted(realm, token)

    async def _exchange(
        self,
        method: str,
        realm: str,
        path: str,
        params: Mapping[str, str],
        token: AccessToken,
        *,
        body: str | None = None,
        batch: bool = False,
        content_type: str = "application/json",
    ) -> httpx.Response:
        """One request, one answer, within the time-out as a whole (httpx counts it for each read, a dripping body has no end)."""
        if self._pacer:
            await self._pacer.depart(realm, batch)
        headers = {"Authorization": f"Bearer {token.value}"}
        content = None
        if body is not None:
            headers["Content-Type"] = content_type
            content = body.encode()
        url = f"{self._settings.api_url}/v3/company/{realm}{path}"
        async with asyncio.timeout(self._seconds):
            return await self._client.request(method, url, params=params, headers=headers, content=content)

    # ------------------------------------------------------------------------------------------------------------- reads

    async def read(self, realm: str, entity: str, qbo_id: str, token: AccessToken) -> Seen | None:
        """Read by Id; None if QuickBooks says that it is not there (deleted). Raises LookupFailed without a readable answer."""
        value = await self.get(realm, f"/{entity.lower()}/{qbo_id}", {}, token, name="read", absent=True)
        if value is None:
            return None
        raw = value.get(entity)
        if not isinstance(raw, dict):
            raise LookupUnreadable(f"the answer to reading {entity} holds none")
        return None if _enum(raw.get("status")) == "deleted" else mapping.seen(entity, raw)

    async def find(
        self,
        realm: str,
        entity: str,
        *,
        doc_number: str | None,
        marker: str,
        since: datetime,
        name: str | None,
        token: AccessToken,
    ) -> list[Seen]:
        """Look up what carries our marker (or, for names, has this name): by DocNumber, then by MetaData.CreateTime.

        A number alone is not enough for "absent": QuickBooks may have given another, or a person changed it. Also returns a
        document with this DocNumber and another marker: the caller decides. Raises LookupFailed.
        """
        if name is not None:
            there = await self.find_names(realm, name, token, (entity,))
            return [one for one in there if one.marker == marker or means(name, _texts(one.raw))]
        found: list[Seen] = []
        if doc_number:
            statement = f"select * from {entity} where DocNumber = {literal(doc_number)}"  # noqa: S608
            found = [mapping.seen(entity, raw) for raw in await self.query(realm, statement, token)]
            if any(one.marker == marker for one in found):
                return found
        from_ = (since.astimezone(UTC) - _CLOCKS).strftime("%Y-%m-%dT%H:%M:%SZ")
        statement = f"select * from {entity} where MetaData.CreateTime >= '{from_}'"  # noqa: S608
        window = [raw for raw in await self.query(realm, statement, token) if mapping.marker_of(entity, raw) == marker]
        known = {one.qbo_id for one in found}
        return found + [one for one in (mapping.seen(entity, raw) for raw in window) if one.qbo_id not in known]

    async def numbered(self, realm: str, entity: str, numbers: Collection[str], token: AccessToken) -> list[Seen]:
        """Return the documents of a kind that bear one of these numbers, as QuickBooks compares them. Raises LookupFailed."""
        found: list[Seen] = []
        for condition in _numbered(sorted(numbers)):
            rows = await self.query(realm, f"select * from {entity} where DocNumber {condition}", token)  # noqa: S608
            found += [mapping.seen(entity, raw) for raw in rows]
        return found

    async def find_marked(
        self, realm: str, entity: str, numbers: Mapping[str, str | None], since: datetime, token: AccessToken
    ) -> dict[str, Seen]:
        """Look up many documents at once: `numbers` are their markers, each with the number that it was sent with, if any.

        By numbers, many in a query; for those that no number shows, one window of MetaData.CreateTime for all of them. Only one
        page is kept in memory. Return by marker what was found; raises LookupFailed.
        """
        found: dict[str, Seen] = {}

        async def look(statement: str) -> None:
            async for page in self._pages(realm, entity, statement, token):
                for raw in page:
                    marker = mapping.marker_of(entity, raw)
                    if marker and marker in numbers and marker not in found:
                        found[marker] = mapping.seen(entity, raw)
                if len(found) == len(numbers):
                    return

        for condition in _numbered(sorted({number for number in numbers.values() if number})):
            await look(f"select * from {entity} where DocNumber {condition}")  # noqa: S608
        if len(found) < len(numbers):
            from_ = (since.astimezone(UTC) - _CLOCKS).strftime("%Y-%m-%dT%H:%M:%SZ")
            await look(f"select * from {entity} where MetaData.CreateTime >= '{from_}'")  # noqa: S608
        return found

    async def find_names(self, realm: str, name: str, token: AccessToken, entities: Sequence[str] = NAMES) -> list[Seen]:
        """Return who holds a name or one like it, inactive ones (behind whose name " (deleted)" is shown) included.

        Customers, vendors and employees share one name space. A full name ("Parent:Child") finds the entry below its parent.
        """
        rows = await asyncio.gather(*(self._rows_named(realm, entity, last(name), token) for entity in entities))
        return [
            mapping.seen(entity, raw)
            for entity, found in zip(entities, rows, strict=True)
            for raw in found
            if resembles(name, _texts(raw))
        ]

    async def _rows_named(self, realm: str, entity: str, name: str, token: AccessToken) -> list[dict[str, Any]]:
        """Ask together with whoever else asks now: a backlog of new patients costs a query for thirty names, not for each."""
        if not plain(name):
            return await self.query(realm, f"select * from {entity} where DisplayName {like(name)} and {_ALL}", token)  # noqa: S608
        asked = self._asked.get((realm, entity))
        if asked is None or len(asked.names) >= NAMES_AT_ONCE or asked.length + _length(name) > _NAMES_MOST:
            asked = self._asked[(realm, entity)] = _Asked()
            asked.rows = asyncio.ensure_future(self._ask(realm, entity, asked, token))
        if name not in asked.names:
            asked.names.add(name)
            asked.length += _length(name)
        assert asked.rows is not None
        rows, failed = await asyncio.shield(asked.rows)
        if error := failed.get(name):
            raise error
        return rows

    async def _ask(
        self, realm: str, entity: str, asked: "_Asked", token: AccessToken
    ) -> tuple[list[dict[str, Any]], dict[str, LookupFailed]]:
        await asyncio.sleep(GATHER_SECONDS)
        if self._asked.get((realm, entity)) is asked:
            del self._asked[(realm, entity)]

        async def ask(part: Sequence[str]) -> list[dict[str, Any]]:
            names = list(dict.fromkeys(text for name in part for text in _literals(name)))
            where = f"DisplayName in ({', '.join(names)}) and {_ALL}"
            return await self.query(realm, f"select * from {entity} where {where}", token)  # noqa: S608

        return await in_halves(ask, sorted(asked.names))

    async def changes(self, realm: str, entities: Sequence[str], since: datetime, token: AccessToken) -> list[Seen | Deleted]:
        """Read the change feed. Raises LookupFailed; FeedFull where the answer is at its cap, which all entities share."""
        if since < datetime.now(UTC) - timedelta(days=CDC_DAYS):
            raise LookupFailed("the change feed looks back 30 days only")
        from_ = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        params = {"entities": ",".join(entities), "changedSince": from_}
        value = await self.get(realm, "/cdc", params, token, name="changes")
        found, count = list[Seen | Deleted](), 0
        for response in _list(value, "CDCResponse"):
            if faults.faults_of(response):
                raise ReadRefused(replace(faults.item(response, None), http_status=200, body=mapping.dumps(_plain(response))))
            for part in _list(response, "QueryResponse"):
                for entity in entities:
                    rows = _list(part, entity)
                    count += len(rows)
                    gone = [raw for raw in rows if _gone(raw)]
                    found += [Deleted(entity, str(raw.get("Id")), mapping.KIND.get(entity)) for raw in gone]
                    found += _readable(realm, entity, [raw for raw in rows if not _gone(raw)])
        if count >= CDC_CAP:
            raise FeedFull(found)
        return found

    async def updated(self, realm: str, entity: str, since: datetime, start: int, token: AccessToken) -> UpdatedPage:
        """Read one page of what was last updated at `since` or later, oldest first. Raises LookupFailed.

        The next page begins at the last time seen: what changes meanwhile moves behind it. Only within a second that fills a page
        do pages go by row, with an overlap.
        """
        which = f"{_ALL} and " if entity in _WITH_ACTIVE else ""
        statement = (
            f"select * from {entity} where {which}MetaData.LastUpdatedTime >= '{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}' "  # noqa: S608
            f"orderby MetaData.LastUpdatedTime startposition {start} maxresults {PAGE}"
        )
        value = await self.get(realm, "/query", {"query": statement}, token, name="updated")
        response = value.get("QueryResponse")
        if not isinstance(response, dict):
            raise LookupUnreadable("the answer to a query holds no QueryResponse")
        rows = _list(response, entity)
        seen = tuple(_readable(realm, entity, rows))
        if len(rows) < PAGE:
            return UpdatedPage(seen, None)
        try:
            last = datetime.fromisoformat(str(rows[-1]["MetaData"]["LastUpdatedTime"])).astimezone(UTC).replace(microsecond=0)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise LookupUnreadable(f"a {entity} shows no LastUpdatedTime") from None
        if last > since:
            return UpdatedPage(seen, (last, 1))
        return UpdatedPage(seen, (since, start + PAGE - OVERLAP))

    async def harmless(self, realm: str, token: AccessToken, number: int = 0) -> None:
        """Read what every company can read: its CompanyInfo (0), its Preferences (1). Raises LookupFailed."""
        await self.get(realm, (f"/companyinfo/{realm}", "/preferences")[number], {}, token)

    async def created(self, realm: str, entity: str, since: datetime, token: AccessToken) -> tuple[list[Seen], list[str]]:
        """Read what was made since then, and what is wrong with each that cannot be read. Raises LookupFailed."""
        statement = f"select * from {entity} where MetaData.CreateTime >= '{since:%Y-%m-%dT%H:%M:%SZ}'"  # noqa: S608
        return mapping.readable(entity, await self.query(realm, statement, token))

    async def present(self, realm: str, entity: str, ids: Sequence[str], token: AccessToken) -> set[str]:
        """Return which of these Ids a query shows. Raises LookupFailed."""
        found: set[str] = set()
        for start in range(0, len(ids), _IDS_AT_ONCE):
            some = ", ".join(f"'{id_}'" for id_ in ids[start : start + _IDS_AT_ONCE])
            rows = await self.query(realm, f"select * from {entity} where Id in ({some})", token)  # noqa: S608
            found |= {str(row.get("Id")) for row in rows}
        return found

    async def query(self, realm: str, statement: str, token: AccessToken) -> list[dict[str, Any]]:
        """Run a query, all pages. Raises LookupFailed.

        Pages are not isolated from each other: what is deleted meanwhile moves the rest forward. So pages overlap; new rows come
        last, by CreateTime.
        """
        entity = statement.split(" from ", 1)[1].split(" ", 1)[0]
        rows: dict[str, dict[str, Any]] = {}
        async for page in self._pages(realm, entity, statement, token):
            rows.update({str(raw.get("Id")): raw for raw in page})
        return list(rows.values())

    async def _pages(self, realm: str, entity: str, statement: str, token: AccessToken) -> AsyncIterator[list[dict[str, Any]]]:
        """Read the pages of a query, one after another; they overlap."""
        start = 1
        while True:
            page = f"{statement} orderby MetaData.CreateTime startposition {start} maxresults {PAGE}"
            value = await self.get(realm, "/query", {"query": page}, token, name="query")
            response = value.get("QueryResponse")
            if not isinstance(response, dict):
                raise LookupUnreadable("the answer to a query holds no QueryResponse")
            part = _list(response, entity)
            yield part
            if len(part) < PAGE:
                return
            start += PAGE - OVERLAP

    async def get(
        self, realm: str, path: str, params: Mapping[str, str], token: AccessToken, *, name: str = "read", absent: bool = False
    ) -> Any:
        """One GET, metered by Intuit. Returns the parsed body, or None with `absent` where the entity is not there.
        It is sent once; raises LookupFailed (ReadRefused where there was an answer), HaltError where we are cut off.
        """
        if self._pacer is None:
            return await self._get(realm, path, params, token, name, absent)
        async with self._pacer.slot(realm, priority=Priority.LIVE):
            if self.kept_back(realm):
                raise LookupFailed("a person has halted the company")
            return await self._get(realm, path, params, token, name, absent)

    async def _get(self, realm: str, path: str, params: Mapping[str, str], token: AccessToken, name: str, absent: bool) -> Any:
        started = time.perf_counter()
        metrics.QBO_METERED_READS.labels(realm, name).inc()
        try:
            response = await self._ask_for(realm, path, {"minorversion": MINOR_VERSION, **params}, token)
            text = _decoded(response)
        except (*_NO_ANSWER, UnicodeDecodeError, TimeoutError) as error:
            metrics.QBO_REQUESTS.labels(realm, name, "silence").inc()
            raise LookupFailed(f"no answer ({type(error).__name__})") from None
        finally:
            metrics.QBO_REQUEST_SECONDS.labels(name).observe(time.perf_counter() - started)
        answer = faults.classify(response.status_code, response.headers, text, None)
        answer = replace(answer, reason=redacting.veiled(answer.reason, redacting.literals_in(params.get("query", ""))))
        metrics.QBO_REQUESTS.labels(realm, name, answer.kind.value).inc()
        if answer.throttled and self._pacer:
            await self._pacer.throttled(realm, answer.retry_after)
        self._accepted(realm, token, answer)
        if answer.kind is AnswerKind.SUCCESS:
            value = loads(text)
            if isinstance(value, dict):
                return value
            raise LookupUnreadable("the answer is no object")
        if absent and answer.intuit_code == "610" and response.status_code < 500:
            return None
        if answer.unauthorized and self.on_unauthorized:
            self.on_unauthorized(realm, token)
        if answer.halt:
            raise HaltError(answer.reason, answer.fix, answer.code) from ReadRefused(answer)
        raise ReadRefused(answer)

    async def _ask_for(self, realm: str, path: str, params: Mapping[str, str], token: AccessToken) -> httpx.Response:
        """GET; but POST the statement of a query whose address would be long: a read all the same, metered as one."""
        statement = params.get("query", "")
        if not statement or len(f"/v3/company/{realm}{path}?{urlencode(params)}") <= ADDRESS_MOST:
            return await self._exchange("GET", realm, path, params, token)
        others = {name: value for name, value in params.items() if name != "query"}
        return await self._exchange("POST", realm, path, others, token, body=statement, content_type="application/text")


class ReadRefused(LookupFailed):
    """A read was answered with a fault; `answer` tells whether the token was refused, the company throttled or cut off."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(
            f"{answer.reason} (HTTP {answer.http_status}, code {answer.intuit_code}, intuit_tid {answer.intuit_tid})"
        )
        self.answer = answer
        served = answer.http_status is not None and answer.http_status < 500
        self.definite = answer.halt or (served and not answer.throttled and not answer.unauthorized)
        self.fix = answer.fix if answer.halt else ""  # the others are about documents

    @property
    def words(self) -> str:
        """What QuickBooks said, in its own words, too."""
        answer = self.answer
        said = [f"{fault.message} {fault.detail}".strip() for fault in faults.parse(answer.body) or ()]
        own = "; ".join(text[:200] for text in said if text)
        return f"{own or answer.reason} (HTTP {answer.http_status}, code {answer.intuit_code or 'none'})"


# ------------------------------------------------------------------------------------------------------------------ answers


def _done(answer: Answer, value: Any, request: Request) -> Answer:
    """Fill in what a success shows; without the entity in it the answer is silence."""
    raw = value.get(request.entity) if isinstance(value, dict) else None
    if not isinstance(raw, dict) or not raw.get("Id"):
        return faults.unreadable(answer)
    if request.operation is Operation.DELETE:
        deleted = _enum(raw.get("status")) == "deleted"
        return replace(answer, deleted=True) if deleted else faults.unreadable(answer)
    if raw.get("SyncToken") is None:
        return faults.unreadable(answer)
    try:
        return replace(answer, seen=mapping.seen(request.entity, raw))
    except LookupUnreadable as error:
        log.warning("answer.unreadable", realm=request.realm, error=str(error))
        return faults.unreadable(answer)


def _replies(answer: Answer, value: Any) -> list[Any] | None:
    """Return the items of the answer to a batch; None where the whole call was refused, or nobody knows what was done."""
    if answer.kind is not AnswerKind.SUCCESS:
        if (answer.http_status or 500) >= 500 or faults.parse(answer.body) != ():
            return None
        value = loads(answer.body)
    replies = value.get("BatchItemResponse") if isinstance(value, dict) else None
    return replies if isinstance(replies, list) else None


def _item(whole: Answer, reply: Mapping[str, Any] | None, request: Request) -> Answer:
    """Return the answer to one item of a batch."""
    if reply is None:
        return replace(
            faults.silence("the item is missing from the reply"), http_status=whole.http_status, intuit_tid=whole.intuit_tid
        )
    answer = replace(
        faults.item(reply, request.operation),
        http_status=whole.http_status,
        intuit_tid=whole.intuit_tid,
        body=mapping.dumps(_plain(reply)),
    )
    if answer.kind is not AnswerKind.SUCCESS:
        return answer
    return _done(answer, reply, request) if whole.kind is AnswerKind.SUCCESS else faults.unreadable(answer)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _gone(raw: Mapping[str, Any]) -> bool:
    return _enum(raw.get("status")) == "deleted" and "SyncToken" not in raw


def _readable(realm: str, entity: str, rows: Sequence[Mapping[str, Any]]) -> list[Seen]:
    """Read entities that somebody else may have made; one that cannot be read is told and left out, the others count."""
    seen, odd = mapping.readable(entity, rows)
    for error in odd:
        log.warning("entity.unreadable", realm=realm, error=error)
    return seen


def _list(value: Any, name: str) -> list[Any]:
    """Return a list that may be missing, or a single element where a list is due."""
    part = value.get(name) if isinstance(value, dict) else None
    items = part if isinstance(part, list) else [part]
    return [item for item in items if isinstance(item, dict)]


def _decoded(response: httpx.Response) -> str:
    return storable_json(response.content.decode("utf-8"))


def _enum(value: object) -> str:
    return str(value or "").replace("_", "").lower()


# ------------------------------------------------------------------------------------------------------------------ queries


def literal(text: str) -> str:
    """Quote a text for a query: only `\\'` and `\\\\` are escapes; doubling the quote is wrong."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def plain(name: str) -> bool:
    """Whether a name can stand in a query as it is."""
    return not _ODD.search(name) and "%" not in name and len(name) <= 100


def _literals(name: str) -> list[str]:
    """Return what is asked for one name: its spellings, each as an inactive entry, too."""
    return [literal(text + end) for text in spellings(name) for end in ("", DELETED)]


def _texts(raw: Mapping[str, Any]) -> list[str]:
    """Return the texts that mean a customer, vendor or employee."""
    active = str(raw.get("Active", True)).lower() == "true"
    names = (str(raw.get(key) or "") for key in ("DisplayName", "FullyQualifiedName"))
    return texts(*(own(name, active=active) for name in names), active=active)


def _length(name: str) -> int:
    return sum(len(quote(text)) + 3 for text in _literals(name))


def _numbered(numbers: Sequence[str]) -> list[str]:
    """Return the conditions that find these numbers, each short enough for an address."""
    conditions, texts, length = [], list[str](), 0
    for number in numbers:
        if not plain(number):
            conditions.append(like(number))
            continue
        size = len(quote(literal(number))) + 3
        if texts and length + size > _NAMES_MOST:
            conditions.append(f"in ({', '.join(texts)})")
            texts, length = [], 0
        texts.append(literal(number))
        length += size
    return conditions + ([f"in ({', '.join(texts)})"] if texts else [])


def like(name: str) -> str:
    """Return the operator and literals that find `name`, also as an inactive entry.

    LIKE where it has signs that the query's lexer refuses; more is found then, and filtered by the caller.
    """
    if plain(name):
        return f"in ({', '.join(_literals(name))})"
    return f"like {literal('%'.join(_ODD.sub('%', name).split()) + '%')}"
