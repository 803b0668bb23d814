"""Sends one request to QuickBooks over one httpx client and classifies the answer. No retries, no redirects.

It knows addresses, tokens, time-outs, pace and metrics, but nothing about documents.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import httpx
from bookrelay import metrics
from bookrelay.errors import HaltError
from bookrelay.messages import Priority
from bookrelay.money import loads
from bookrelay.texts import storable_json

from qbo_writer import redacting
from qbo_writer.domain import AccessToken, Answer, AnswerKind, LookupFailed, LookupUnreadable, Operation
from qbo_writer.quickbooks import faults
from qbo_writer.quickbooks.pacing import Pacer
from qbo_writer.settings import Settings

MINOR_VERSION = "75"
ADDRESS_MOST = (
    2000  # encoded bytes of path and query: proxies and firewalls answer longer ones with 414, so such a query is posted
)
# httpx raises these for errors on the way; for a write all of them are silence.
_NO_ANSWER = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError)


class Transport:
    """Sends one request. Callers pace writes (they journal between slot and send); reads are paced here."""

    def __init__(self, settings: Settings, pacer: Pacer | None = None, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._settings, self._pacer = settings, pacer
        self.on_unauthorized: Callable[[str, AccessToken], None] | None = None  # called for a 401 to a read
        self.on_accepted: Callable[[str, AccessToken], None] | None = None  # called when a token was accepted
        self.kept_back: Callable[[str], bool] = lambda realm: False  # whether an operator halted the company: nothing is read
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

    async def post(
        self,
        realm: str,
        path: str,
        params: Mapping[str, str],
        body: str,
        token: AccessToken,
        operation: Operation | None,
        name: str,
    ) -> tuple[Answer, Any]:
        """Send a write and return its Answer, silence included, and on success the parsed body.

        `operation`: how to interpret the answer (None: a batch); `name`: the label for metrics.
        """
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
        if answer.throttled:
            await self.throttled(realm, answer.retry_after)
        self._accepted(realm, token, answer)
        return answer, value

    async def get(
        self, realm: str, path: str, params: Mapping[str, str], token: AccessToken, *, name: str = "read", absent: bool = False
    ) -> Any:
        """Send one GET, metered by Intuit. Returns the parsed body, or None with `absent` if the entity is not there.

        Sent once; raises LookupFailed (ReadRefused if there was an answer), HaltError if the company is not served.
        """
        if self._pacer is None:
            return await self._get(realm, path, params, token, name, absent)
        async with self._pacer.slot(realm, priority=Priority.LIVE):
            if self.kept_back(realm):
                raise LookupFailed("an operator has halted the company")
            return await self._get(realm, path, params, token, name, absent)

    async def throttled(self, realm: str, retry_after: float | None) -> None:
        """Report to the pacer that QuickBooks throttles the company; `retry_after` in seconds, if given."""
        if self._pacer:
            await self._pacer.throttled(realm, retry_after)

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
        if answer.throttled:
            await self.throttled(realm, answer.retry_after)
        self._accepted(realm, token, answer)
        if answer.kind is AnswerKind.SUCCESS:
            value = loads(text)
            if isinstance(value, dict):
                return value
            raise LookupUnreadable("the answer is not a JSON object")
        if absent and answer.intuit_code == "610" and response.status_code < 500:
            return None
        if answer.unauthorized and self.on_unauthorized:
            self.on_unauthorized(realm, token)
        if answer.halt:
            raise HaltError(answer.reason, answer.fix, answer.code) from ReadRefused(answer)
        raise ReadRefused(answer)

    async def _ask_for(self, realm: str, path: str, params: Mapping[str, str], token: AccessToken) -> httpx.Response:
        """GET; but POST a query whose address would be too long: it is still a read, and metered as one."""
        statement = params.get("query", "")
        if not statement or len(f"/v3/company/{realm}{path}?{urlencode(params)}") <= ADDRESS_MOST:
            return await self._exchange("GET", realm, path, params, token)
        others = {name: value for name, value in params.items() if name != "query"}
        return await self._exchange("POST", realm, path, others, token, body=statement, content_type="application/text")

    def _accepted(self, realm: str, token: AccessToken, answer: Answer) -> None:
        """Report that QuickBooks accepted the token: the answer is one that only authenticated callers get."""
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
        """Send one request with one overall time-out (httpx applies it to each read, so a dripping body would never end)."""
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


class ReadRefused(LookupFailed):
    """A read was answered with a fault; `answer` shows whether the token was refused or the company throttled or not served."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(
            f"{answer.reason} (HTTP {answer.http_status}, code {answer.intuit_code}, intuit_tid {answer.intuit_tid})"
        )
        self.answer = answer
        served = answer.http_status is not None and answer.http_status < 500
        self.definite = answer.halt or (served and not answer.throttled and not answer.unauthorized)
        self.fix = answer.fix if answer.halt else ""  # other fixes are about documents

    @property
    def words(self) -> str:
        """What QuickBooks said, including its own words."""
        answer = self.answer
        said = [f"{fault.message} {fault.detail}".strip() for fault in faults.parse(answer.body) or ()]
        own = "; ".join(text[:200] for text in said if text)
        return f"{own or answer.reason} (HTTP {answer.http_status}, code {answer.intuit_code or 'none'})"


def _decoded(response: httpx.Response) -> str:
    return storable_json(response.content.decode("utf-8"))
