"""The EMR's HTTP surface: the vendor's documented endpoints under /api/public, and /control for tests and the demo."""

import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from sandbox import standin
from sandbox.emr import store as practice
from sandbox.emr.generating import LabelledQuote, generate
from sandbox.emr.store import Store, instant
from sandbox.standin import Clock, Watcher, answer, read_json

CREDENTIALS = {
    "client-id": "sandbox-practice",
    "client-secret": "sandbox-secret-of-the-practice",
    "subscription-key": "sandbox-subscription-key",
}
Handler = Callable[[Request], Awaitable[Response]]


class Emr:
    """One practice. `subscription`: whether the gateway requires the third header. `rate_limit`: calls a minute, 0 for none."""

    def __init__(self, *, every_version: bool = False, rate_limit: int = 0, subscription: bool = True) -> None:
        self.clock = Clock()
        self.store = Store(self.clock)
        self.credentials = dict(CREDENTIALS)
        self.every_version = every_version
        self.wrapped = False
        self.rate_limit = rate_limit
        self.subscription = subscription
        self.programme_active = True
        self.quota_used_up = False
        self._calls: deque[float] = deque()
        self.watcher: Watcher

    # ------------------------------------------------------------------------------------------------ gates

    def gate(self, handler: Handler) -> Handler:
        """The gateway's checks (subscription, quota, rate), then the practice's credentials."""

        async def guarded(request: Request) -> Response:
            return self._refusal(request) or await handler(request)

        return guarded

    def _refusal(self, request: Request) -> Response | None:
        headers = request.headers
        if self.subscription:
            key = headers.get("subscription-key") or headers.get("ocp-apim-subscription-key")
            if not key:
                return _gateway(
                    401,
                    "Access denied due to missing subscription key. "
                    "Make sure to include subscription key when making requests to an API.",
                )
            if not secrets.compare_digest(key, self.credentials["subscription-key"]):
                return _gateway(
                    401,
                    "Access denied due to invalid subscription key. Make sure to provide a valid key for an active subscription.",
                )
        if self.quota_used_up:
            return _gateway(403, "Out of call volume quota. Quota will be replenished in 02:20:43.")
        if wait := self._throttle():
            return _gateway(429, f"Rate limit is exceeded. Try again in {wait} seconds.", {"Retry-After": str(wait)})
        given = [headers.get(name) for name in ("client-id", "client-secret")]
        if None in given:
            return PlainTextResponse("Missing credentials", 401)
        if not all(given):
            return PlainTextResponse("Invalid credentials", 401)
        if given != [self.credentials["client-id"], self.credentials["client-secret"]]:
            return PlainTextResponse("Invalid client-id or client-secret", 401)
        if not self.programme_active:
            return PlainTextResponse("Invalid client-id", 401)
        return None

    def _throttle(self) -> int:
        """Return the seconds to wait, or 0 and count the call. It uses real time, not the adjustable clock."""
        if not self.rate_limit:
            return 0
        now = time.monotonic()
        while self._calls and self._calls[0] <= now - 60:
            self._calls.popleft()
        if len(self._calls) >= self.rate_limit:
            return max(1, int(60 - (now - self._calls[0])) + 1)
        self._calls.append(now)
        return 0

    # ----------------------------------------------------------------------------------------------- quotes

    async def list_quotes(self, request: Request) -> Response:
        """`fromDate` (2025) or `patientId` (2022); a bare array, or `{Items}` if so configured."""
        since_text, patient_text = request.query_params.get("fromDate"), request.query_params.get("patientId")
        if since_text is None and patient_text is None:
            return _bad("The request is invalid: fromDate or patientId is required.")
        try:
            since = instant(since_text) if since_text is not None else None
            patient = int(patient_text) if patient_text is not None else None
        except ValueError:
            return _bad("The request is invalid.")
        rows = [_row(quote) for quote in self.store.listed(since=since, patient=patient, every_version=self.every_version)]
        if not self.wrapped:
            return answer(rows)
        skip = int(request.query_params.get("page.skip", 0))
        count = int(request.query_params.get("page.count", 50))
        return answer({"Items": rows[skip : skip + count], "TotalCount": len(rows)})

    def _named(self, request: Request) -> dict[str, Any] | None:
        """The quote identified by the query; raises ValueError if the query names none."""
        query = request.query_params
        if "quoteNumber" in query:
            return self.store.find(number=int(query["quoteNumber"]))
        if "quoteId" in query:
            return self.store.find(quote_id=int(query["quoteId"]))
        if query.get("externalId"):
            return self.store.find(external_id=query["externalId"])
        raise ValueError("no quote is named")

    async def get_quote(self, request: Request) -> Response:
        """`quoteNumber` (2025), `quoteId` or `externalId` (2022)."""
        try:
            quote = self._named(request)
        except ValueError:
            return _bad("The request is invalid.")
        return answer(quote) if quote else _missing()

    async def save_quote(self, request: Request) -> Response:
        """Create or update by PriceQuoteId or ExternalId."""
        try:
            model = await read_json(request)
        except ValueError:
            return _bad("The request is invalid.")
        required = ("Patient", "Provider", "TotalAmt", "Duration")
        absent = [name for name in required if not isinstance(model, dict) or model.get(name) is None]
        if absent:
            return _bad("The request is invalid.", {f"model.{name}": [f"The {name} field is required."] for name in absent})
        try:
            return answer(self.store.save(model))
        except KeyError:
            return _missing()

    async def delete_quote(self, request: Request) -> Response:
        """Delete by quoteId or externalId."""
        try:
            quote = self._named(request)
        except ValueError:
            return _bad("The request is invalid.")
        if quote is None:
            return _missing()
        self.store.delete(int(quote["PriceQuoteNo"]))
        return Response(status_code=204)

    # ---------------------------------------------------------------------------------------------- the rest

    async def get_patient(self, request: Request) -> Response:
        """One patient."""
        patient = self.store.patients.get(request.path_params["id"])
        return answer(patient) if patient else answer({"Message": "Patient not found."}, 404)

    async def list_patients(self, request: Request) -> Response:
        """Search, with the vendor's paging."""
        query = request.query_params
        columns = {"firstname": "FirstName", "lastname": "LastName", "accountnumber": "AccountNumber", "phone": "PhonePrimary"}
        wanted = {columns[name.lower()]: value.lower() for name, value in query.items() if name.lower() in columns}
        found = [p for p in self.store.patients.values() if all(v in str(p[c] or "").lower() for c, v in wanted.items())]
        return _page(found, request)

    async def list_appointments(self, request: Request) -> Response:
        """All, or a patient's."""
        patient = request.query_params.get("patientId")
        found = [a for a in self.store.appointments if patient is None or str(a.get("PatientId")) == patient]
        return _page(found, request)

    async def report_charges(self, request: Request) -> Response:
        """Charges between two days, both included."""
        try:
            begin, end = (instant(request.query_params[name])[0].date() for name in ("beginDate", "endDate"))
        except (KeyError, ValueError):
            return _bad("The request is invalid: beginDate and endDate are required.")
        quotes = self.store.listed(since=None, patient=None, every_version=False)
        computed = [
            practice.charge(quote, instant(quote["PriceQuoteDate"])[0].date())
            for quote in quotes
            if (quote.get("PriceQuoteStatus") or {}).get("Id") == 4 and quote.get("PriceQuoteDate")
        ]
        return answer([c for c in computed + self.store.charges if begin.isoformat() <= c["ChargeDate"] <= end.isoformat()])

    async def anesthesia_groups(self, request: Request) -> Response:
        """Requires `facilitiLocationId` (the vendor's spelling)."""
        if not request.query_params.get("facilitiLocationId", "").isdigit():
            return _bad("The request is invalid.")
        return answer(practice.ANESTHESIA_GROUPS)

    async def keep_note(self, request: Request) -> Response:
        """Chart notes, leads and their notes: stored, answered with an id."""
        try:
            model = await read_json(request)
        except ValueError:
            return _bad("The request is invalid.")
        self.store.notes.append({"path": request.url.path, "model": model})
        return answer({"Id": len(self.store.notes)})

    # --------------------------------------------------------------------------------------------- /control

    async def control(self, request: Request) -> Response:
        """Dispatch `/control/<what>`; an invalid request gets 400 with the reason."""
        what, _, rest = request.path_params["what"].partition("/")
        try:
            order = await read_json(request)
            return answer(self._control(request.method, what, rest, order))
        except KeyError as error:
            return answer({"error": f"not known, or missing: {error}"}, 404)
        except (ValueError, TypeError) as error:
            return answer({"error": str(error)}, 400)

    def _control(self, method: str, what: str, rest: str, order: Any) -> Any:
        match what, method:
            case "quotes", "POST" if not rest:
                return self._load(order)
            case "quotes", "POST" if rest.endswith("/status"):
                return self.store.set_status(int(rest.partition("/")[0]), int(order["id"]))
            case "quotes", "PATCH":
                bump, modified = order.get("bump", True), order.get("modified")
                return self.store.edit(int(rest), order.get("set", {}), bump=bump, modified=modified)
            case "quotes", "DELETE":
                self.store.delete(int(rest))
                return {}
            case "books", "GET":
                return self._books()
            case "faults", _:
                return self.watcher.control_faults(method, order)
            case "requests", _:
                return self.watcher.control_requests(method)
            case "appointments" | "charges", "POST":
                getattr(self.store, what).extend(order)
                return getattr(self.store, what)
            case "clock", _:
                return {"now": self.clock.apply(order or {})}
            case "settings", _:
                return self._settings(order or {})
            case "reset", "POST":
                self.store.reset()
                self.watcher.faults.clear()
                self.watcher.requests.clear()
                self._calls.clear()
                self.credentials = dict(CREDENTIALS)
                self._settings(
                    {"every_version": False, "wrapped": False, "rate_limit": 0, "programme_active": True, "quota_used_up": False}
                )
                return {}
        raise KeyError(f"{method} /control/{what}")

    def _load(self, order: dict[str, Any]) -> Any:
        """Load `{"quotes": [...]}` unchanged, or `{"generate": {"count", "seed"}}` with labels."""
        made: list[LabelledQuote] = []
        if "generate" in order:
            made = generate(now=self.clock.now(), **order["generate"])
            self.store.load(made)
        self.store.load(order.get("quotes", []))
        return {"quotes": len(self.store.versions), "labels": [_label(item) for item in made]}

    def _books(self) -> Any:
        current = [self.store.current(number) for number in sorted(self.store.versions)]
        labels = {number: _label(item) for number, item in self.store.labels.items()}
        everything = [quote for versions in self.store.versions.values() for quote in versions.values()]
        return {"quotes": current, "versions": everything, "labels": labels, "notes": self.store.notes}

    def _settings(self, order: dict[str, Any]) -> Any:
        names = ("every_version", "wrapped", "rate_limit", "subscription", "programme_active", "quota_used_up")
        for name, value in order.items():
            if name == "credentials":
                self.credentials |= value
            elif name in names:
                setattr(self, name, value)
            else:
                raise ValueError(f"unknown setting {name}; known are credentials, {', '.join(names)}")
        return {name: getattr(self, name) for name in names}


def _label(item: LabelledQuote) -> dict[str, Any]:
    label = asdict(item)
    del label["quote"]
    return {"number": item.number, **label, "amount": str(item.amount)}


def _row(quote: dict[str, Any]) -> dict[str, Any]:
    names = ("PriceQuoteId", "PriceQuoteNo", "Version", "ExternalId", "ProcedureDescription", "ModifiedDate", "PriceQuoteStatus")
    return {name: quote.get(name) for name in (*names, "Patient")}


def _page(found: list[dict[str, Any]], request: Request) -> Response:
    query = {name.lower(): value for name, value in request.query_params.items()}
    try:
        skip, count = int(query.get("page.skip", 0)), int(query.get("page.count", 50))
    except ValueError:
        return _bad("The request is invalid.")
    page: dict[str, Any] = {"Items": found[skip : skip + count]}
    if query.get("page.needtotalcount", "").lower() == "true":
        page["TotalCount"] = len(found)
    return answer(page)


def _gateway(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return answer({"statusCode": status, "message": message}, status, headers)


def _bad(message: str, state: dict[str, list[str]] | None = None) -> Response:
    return answer({"Message": message} | ({"ModelState": state} if state else {}), 400)


def _missing() -> Response:
    return answer({"Message": "Price quote not found."}, 404)


def _constant(value: Any) -> Handler:
    async def handler(request: Request) -> Response:
        return answer(value)

    return handler


def build(emr: Emr | None = None) -> tuple[Emr, ASGIApp]:
    """Return a practice and the application that serves it."""
    emr = emr or Emr()
    table: list[tuple[str, str, Handler]] = [
        ("GET", "/quotes/list", emr.list_quotes),
        ("GET", "/quotes", emr.get_quote),
        ("POST", "/quotes", emr.save_quote),
        ("DELETE", "/quotes", emr.delete_quote),
        ("GET", "/patients/{id:int}", emr.get_patient),
        ("GET", "/patients", emr.list_patients),
        ("GET", "/appointments", emr.list_appointments),
        ("GET", "/reports/charges", emr.report_charges),
        ("GET", "/durations", _constant(practice.DURATIONS)),
        ("GET", "/anesthesiatypes", _constant(practice.ANESTHESIA_TYPES)),
        ("GET", "/discountreasons", _constant(practice.DISCOUNT_REASONS)),
        ("GET", "/anesthesiagroups", emr.anesthesia_groups),
        ("POST", "/chartNotes", emr.keep_note),
        ("POST", "/leads", emr.keep_note),
        ("POST", "/leads/notes", emr.keep_note),
    ]
    routes = [Route(f"/api/public{path}", emr.gate(handler), methods=[method]) for method, path, handler in table]
    routes.append(Route("/control/{what:path}", emr.control, methods=["GET", "POST", "PATCH", "DELETE"]))
    routes.append(Route("/health/ready", _constant({"status": "ready"})))
    emr.watcher = Watcher(Starlette(routes=routes), emr.clock)
    return emr, emr.watcher


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    seed: int = 1,
    quotes: int = 60,
    every_version: bool = False,
    rate_limit: int = 0,
    public_url: str | None = None,
    state_file: str | None = None,
) -> int:
    """Serve until a signal, starting with `quotes` generated quotes or with the state file. Returns the exit status."""
    emr, app = build(Emr(every_version=every_version, rate_limit=rate_limit))
    path = Path(state_file) if state_file else None

    def facts(origin: str) -> tuple[ASGIApp, dict[str, Any]]:
        kept = standin.load_state(path)
        if kept:
            emr.store.__dict__.update(kept)
        else:
            emr.store.load(generate(quotes, seed))
        origin = (public_url or origin).rstrip("/")
        return app, {"base_url": f"{origin}/api/public", "control_url": f"{origin}/control", "headers": emr.credentials}

    status = standin.serve(facts, host, port)
    if status == 0:
        standin.save_state(path, {name: value for name, value in vars(emr.store).items() if name != "clock"})
    return status


__all__ = ["CREDENTIALS", "Emr", "build", "serve"]
