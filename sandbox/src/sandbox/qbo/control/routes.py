"""The control API under `/control/`: load data, inject faults, read books and log, move the clock, play the bookkeeper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson

from sandbox.qbo.company.clock import epoch_of
from sandbox.qbo.company.schema import KINDS, PLANS
from sandbox.qbo.company.store import Company
from sandbox.qbo.control.injection import FAULTS, PROFILES
from sandbox.qbo.control.seed import SKUS
from sandbox.qbo.control.states import load_state, save_state
from sandbox.qbo.control.world import World
from sandbox.qbo.documents import writes
from sandbox.qbo.rules.changes import Options, bump
from sandbox.qbo.rules.faults import Fault, item_fault

Answer = tuple[int, Any]


class Control:
    """Routes of the control API."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.routes: dict[tuple[str, str], Callable[[dict[str, str], Any], Answer]] = {
            ("GET", "health"): self.health,
            ("GET", "greeting"): lambda params, body: (200, world.greeting()),
            ("POST", "reset"): self.reset,
            ("GET", "clients"): self.clients,
            ("POST", "clients"): self.add_client,
            ("GET", "companies"): self.companies,
            ("POST", "companies"): self.add_company,
            ("POST", "entities"): self.entities,
            ("GET", "faults"): self.faults,
            ("POST", "faults"): self.add_faults,
            ("DELETE", "faults"): self.clear_faults,
            ("POST", "release"): self.release,
            ("GET", "modes"): self.modes,
            ("POST", "modes"): self.set_modes,
            ("GET", "limits"): self.limits,
            ("POST", "limits"): self.set_limits,
            ("GET", "requests"): self.requests,
            ("DELETE", "requests"): self.clear_requests,
            ("GET", "counters"): self.counters,
            ("GET", "clock"): self.clock,
            ("POST", "clock"): self.set_clock,
            ("POST", "person"): self.person,
            ("GET", "tokens"): self.tokens,
            ("POST", "tokens"): self.set_tokens,
            ("GET", "preferences"): self.preferences,
            ("POST", "preferences"): self.set_preferences,
            ("GET", "webhooks"): self.webhooks,
            ("POST", "webhooks"): self.add_webhook,
            ("DELETE", "webhooks"): self.clear_webhooks,
            ("POST", "snapshot"): self.snapshot,
            ("POST", "restore"): self.restore,
            ("GET", "invariants"): self.invariants,
        }

    async def handle(self, method: str, path: str, params: dict[str, str], body: bytes) -> Answer:
        """Status and JSON of one control call."""
        name = path.removeprefix("/control").strip("/")
        try:
            parsed = orjson.loads(body) if body.strip() else {}
        except ValueError:
            return 400, {"error": "the body is no JSON"}
        try:
            if method == "GET" and (name == "books" or name.startswith("books/")):
                return self.books(params, name.removeprefix("books").strip("/"))
            route = self.routes.get((method, name))
            if route is None:
                return 404, {
                    "error": f"no {method} /control/{name}",
                    "known": sorted(f"{m} /control/{n}" for m, n in self.routes),
                }
            return route(params, parsed)
        except Fault as fault:
            return 400, {"Fault": item_fault(fault)}
        except KeyError as error:
            return 400, {"error": f"missing or unknown: {error}"}
        except (ValueError, TypeError, AttributeError) as error:
            return 400, {"error": str(error)}

    def _company(self, realm: Any) -> Company:
        realm = str(realm or self.world.first_realm)
        company = self.world.companies.get(realm)
        if company is None:
            raise ValueError(f"unknown realm {realm}")
        return company

    def health(self, params: dict[str, str], body: Any) -> Answer:
        """Is it up; what does it hold."""
        return 200, {
            "status": "ok",
            "companies": len(self.world.companies),
            "requests": self.world.requests,
            "documents": {r: sum(len(rows) for rows in c.entities.values()) for r, c in self.world.companies.items()},
        }

    def reset(self, params: dict[str, str], body: Any) -> Answer:
        """Back to the state of the start: same seed, same tokens, same client; subscribers stay only with keep_webhooks."""
        world, hooks, held = self.world, self.world.webhooks, self.world.held
        World.__init__(world, world.config)
        world.held = held
        # the running sender keeps its object; its queue is about deleted documents
        hooks.forget(keep_subscribers=bool(body.get("keep_webhooks", False)))
        world.webhooks = hooks
        for company in world.companies.values():
            company.event_sinks = [hooks.on_event]
        return 200, world.greeting()

    def clients(self, params: dict[str, str], body: Any) -> Answer:
        """The apps of the workspace."""
        return 200, {"clients": list(self.world.oauth.clients), "first": self.world.client_id}

    def add_client(self, params: dict[str, str], body: Any) -> Answer:
        """Another app: {"client_id", "client_secret"} or made up; with "realm" it is connected to that company too."""
        realm = body.get("realm")
        if realm is not None:
            self._company(realm)
        client_id = self.world.add_client(body.get("client_id"), body.get("client_secret"))
        if realm is not None:
            return 200, self.world.connect(str(realm), client_id)
        return 200, {"client_id": client_id, "client_secret": self.world.oauth.clients[client_id]}

    def companies(self, params: dict[str, str], body: Any) -> Answer:
        """All realms."""
        return 200, [
            {"realm_id": c.realm_id, "name": c.name, "plan": c.plan, "documents": {k: len(v) for k, v in c.entities.items() if v}}
            for c in self.world.companies.values()
        ]

    def add_company(self, params: dict[str, str], body: Any) -> Answer:
        """A new realm with its tokens, or settings of an existing one (plan, subscription, ...)."""
        plan = body.get("plan", self.world.config.plan)
        if plan not in PLANS:
            raise ValueError(f"plan must be one of {', '.join(PLANS)}")
        realm = body.get("realm_id") or body.get("realm")
        if realm is not None and str(realm) in self.world.companies:
            company = self._company(realm)
            if "plan" in body and plan != company.plan:
                self._change_plan(company, plan)
        else:
            company = self.world.add_company(
                None if realm is None else str(realm),
                plan,
                seeded=body.get("seeded", True),
                name=body.get("name"),
                country=str(body.get("country", "US")),
            )
        for name in (
            "subscription_ended",
            "subscription_status",
            "online_payments",
            "close_balance",
            "closing_password",
            "largest_result",
            "country",
            "automated_tax",
            "name_detail",
            "gate",
        ):
            if name in body:
                setattr(company, name, type(getattr(company, name))(body[name]))
        return 200, {**self.world.connect(company.realm_id, body.get("client_id")), "plan": company.plan, "name": company.name}

    @staticmethod
    def _change_plan(company: Company, plan: str) -> None:
        """Change the subscription; CompanyInfo shows it in its OfferingSku."""
        company.plan = plan
        old = next(iter(company.rows("CompanyInfo")), None)
        if old is not None:
            pairs = [{**p, "Value": SKUS[plan]} if p["Name"] == "OfferingSku" else p for p in old["NameValue"]]
            company.put("CompanyInfo", bump(company, old, {**old, "NameValue": pairs}))

    def entities(self, params: dict[str, str], body: Any) -> Answer:
        """Load documents: {"realm": ..., "entities": {"Customer": [{...}, ...], ...}}; with "Id" they keep it."""
        company = self._company(body.get("realm"))
        made: dict[str, list[str]] = {}
        failed = []
        for kind, docs in body["entities"].items():
            if kind not in KINDS:
                raise ValueError(f"unknown entity {kind}")
            for doc in docs:
                try:
                    made.setdefault(kind, []).append(_load(company, kind, doc))
                except Fault as fault:
                    failed.append({"entity": kind, "document": doc, "Fault": item_fault(fault)})
        return (400 if failed else 200), {"created": made, "failed": failed}

    def faults(self, params: dict[str, str], body: Any) -> Answer:
        """The rules in force, and what there is."""
        return 200, {
            "rules": [rule.show() for rule in self.world.injector.rules],
            "modes": self._modes(),
            "held": len(self.world.held),
            "known": {name: {"arguments": arguments, "does": text} for name, (arguments, text) in FAULTS.items()},
            "profiles": PROFILES,
        }

    def add_faults(self, params: dict[str, str], body: Any) -> Answer:
        """A rule, {"rules": [...]}, or {"profile": name, "seed": n, "scale": x}; {"replace": true} clears first."""
        injector = self.world.injector
        before = list(injector.rules)
        try:
            if isinstance(body, dict) and body.get("replace"):
                injector.clear()
            added = []
            if isinstance(body, list):
                added = [injector.add(spec) for spec in body]
            elif "profile" in body:
                added = injector.profile(str(body["profile"]), body.get("seed"), float(body.get("scale", 1)))
            elif "rules" in body:
                added = [injector.add(spec) for spec in body["rules"]]
            else:
                added = [injector.add({k: v for k, v in body.items() if k != "replace"})]
        except (ValueError, TypeError):
            injector.rules = before  # all or nothing
            raise
        return 200, {"rules": [rule.show() for rule in added]}

    def clear_faults(self, params: dict[str, str], body: Any) -> Answer:
        """Remove one rule (?id=) or all."""
        return 200, {"removed": self.world.injector.clear(params.get("id"))}

    def release(self, params: dict[str, str], body: Any) -> Answer:
        """Continue every request delayed by an injected fault (latency, late_delivery, requestid_race, slow_token)."""
        return 200, {"released": self.world.release()}

    def _modes(self) -> dict[str, Any]:
        return {f.name: getattr(self.world.modes, f.name) for f in fields(self.world.modes)}

    def modes(self, params: dict[str, str], body: Any) -> Answer:
        """Ways of behaving."""
        return 200, self._modes()

    def set_modes(self, params: dict[str, str], body: Any) -> Answer:
        """Change some."""
        _assign(self.world.modes, body)
        if "stale_seconds" in body:
            self.world.set_stale(float(body["stale_seconds"]))
        return 200, self._modes()

    def limits(self, params: dict[str, str], body: Any) -> Answer:
        """Limits and what is used of them."""
        settings = {f.name: getattr(self.world.limits.settings, f.name) for f in fields(self.world.limits.settings)}
        return 200, {
            **settings,
            "frozen": self.world.limits.frozen_at is not None,
            "usage": {realm: self.world.limits.usage(realm) for realm in self.world.companies},
        }

    def set_limits(self, params: dict[str, str], body: Any) -> Answer:
        """Change some; buckets are full again. {"frozen": true|false} and {"advance": seconds}: the time that limits live on."""
        limits, settings = self.world.limits, {k: v for k, v in body.items() if k not in ("frozen", "advance")}
        _assign(limits.settings, settings)
        if "frozen" in body:
            limits.freeze(bool(body["frozen"]))
        if "advance" in body:
            limits.advance(float(body["advance"]))
        if settings or not body:
            limits.reset()
        return self.limits(params, body)

    def requests(self, params: dict[str, str], body: Any) -> Answer:
        """The request log after `since` (a sequence number)."""
        since, limit = int(params.get("since", 0)), int(params.get("limit", 20_000))
        rows = [
            entry.show()
            for entry in self.world.log
            if entry.seq > since
            and all(
                str(getattr(entry, name)).lower() == params[name].lower()
                for name in ("operation", "entity", "realm", "requestid")
                if name in params
            )
        ]
        return 200, {"requests": rows[:limit], "last": self.world.sequence}

    def clear_requests(self, params: dict[str, str], body: Any) -> Answer:
        """Clear the log; sequence numbers continue."""
        self.world.log.clear()
        return 200, {"last": self.world.sequence}

    def counters(self, params: dict[str, str], body: Any) -> Answer:
        """Totals since the start or reset."""
        limits = self.world.limits
        return 200, {
            "requests": self.world.requests,
            "throttled": self.world.throttled,
            "metered_reads": limits.metered,
            "metered_by_month": limits.metered_by_month,
            "core_calls": limits.core,
            "writes": self.world.writes,
            "internal_errors": self.world.internal_errors,
            "in_flight_peak": limits.in_flight_peak,
            "creates_by_requestid": self.world.creates_by_requestid,
            "token_refreshes": self.world.oauth.refreshes,
            "token_rotations": self.world.oauth.rotations,
        }

    def clock(self, params: dict[str, str], body: Any) -> Answer:
        """The stand-in's time."""
        return 200, {
            "now": self.world.clock.now(),
            "offset": self.world.clock.offset,
            "frozen": self.world.clock.frozen_at is not None,
        }

    def set_clock(self, params: dict[str, str], body: Any) -> Answer:
        """{"advance": seconds}, {"set": epoch or ISO time}, {"frozen": true|false}."""
        clock = self.world.clock
        if "frozen" in body:
            clock.freeze(bool(body["frozen"]))
        if "set" in body:
            clock.set(epoch_of(body["set"]) if isinstance(body["set"], str) else float(body["set"]))
        if "advance" in body:
            clock.advance(float(body["advance"]))
        self.world.webhooks.kick()
        return self.clock(params, body)

    def person(self, params: dict[str, str], body: Any) -> Answer:
        """{"realm", "operation", "entity", "Id", "changes": {...}}: a person works in the product."""
        kind = str(body["entity"])
        if kind not in KINDS:
            raise ValueError(f"unknown entity {kind}")
        realm = str(body.get("realm") or self.world.first_realm)
        doc = self.world.person(realm, str(body["operation"]), kind, str(body.get("Id", "")), body.get("changes"))
        return 200, {kind: doc, "entity": doc}

    def tokens(self, params: dict[str, str], body: Any) -> Answer:
        """Settings and grants (no token values)."""
        oauth = self.world.oauth
        return 200, {
            "settings": {f.name: getattr(oauth.settings, f.name) for f in fields(oauth.settings)},
            "grants": [
                {
                    "realm_id": g.realm_id,
                    "client_id": g.client_id,
                    "revoked": g.revoked,
                    "refresh_expires": g.refresh_expires,
                    "rotated": g.rotated,
                }
                for g in oauth.grants
            ],
        }

    def set_tokens(self, params: dict[str, str], body: Any) -> Answer:
        """{"expire_access": true, "revoke": true, "realm": ..., "new": true, and any setting}."""
        oauth, realm = self.world.oauth, body.get("realm")
        realm = None if realm is None else str(realm)
        special = {"expire_access", "revoke", "realm", "new", "redirect_uris", "client_id"}
        _assign(oauth.settings, {k: v for k, v in body.items() if k not in special})
        answer: dict[str, Any] = {}
        if "redirect_uris" in body:
            oauth.redirects = {str(uri) for uri in body["redirect_uris"]}
        if body.get("expire_access"):
            answer["expired"] = oauth.expire_access(realm)
        if body.get("revoke"):
            answer["revoked"] = oauth.revoke_grants(realm)
        if body.get("new"):
            answer.update(self.world.connect(self._company(realm).realm_id, body.get("client_id")))
        return 200, {**answer, **self.tokens(params, body)[1]}

    def preferences(self, params: dict[str, str], body: Any) -> Answer:
        """The Preferences document."""
        return 200, self._company(params.get("realm")).preferences

    def set_preferences(self, params: dict[str, str], body: Any) -> Answer:
        """{"realm", "SalesFormsPrefs": {...}, "warnings": {"Warn...": false}, "BookCloseDate": "2026-01-31"}."""
        company = self._company(body.get("realm"))
        old = company.preferences
        new = {**old}
        for group, values in body.items():
            if group in ("realm", "warnings", "BookCloseDate"):
                continue
            if group not in old or not isinstance(values, dict):
                raise ValueError(f"unknown group of preferences: {group}")
            new[group] = {**old[group], **values}
        if "BookCloseDate" in body:
            new["AccountingInfoPrefs"] = {**new["AccountingInfoPrefs"], "BookCloseDate": body["BookCloseDate"]}
        if body.get("warnings"):
            pairs = {pair["Name"]: pair["Value"] for pair in new["OtherPrefs"]["NameValue"]}
            pairs.update({name: str(value).lower() for name, value in body["warnings"].items()})
            new["OtherPrefs"] = {**new["OtherPrefs"], "NameValue": [{"Name": k, "Value": v} for k, v in pairs.items()]}
        return 200, company.put("Preferences", bump(company, old, new))

    def webhooks(self, params: dict[str, str], body: Any) -> Answer:
        """Subscribers with their queues."""
        return 200, {
            **self.world.webhooks.show(),
            "verifier_token": self.world.verifier_token,
        }

    def add_webhook(self, params: dict[str, str], body: Any) -> Answer:
        """Register or change an endpoint: {"url", "format", "realms", "delay", "duplicate", "reorder", ...}."""
        known = self.world.webhooks.subscribers.get(str(body.get("id", "")))
        if known is not None and "url" not in body:
            _assign(known, {k: v for k, v in body.items() if k != "id"})
            self.world.webhooks.kick()
            return 200, known.show()
        return 200, self.world.webhooks.add(body).show()

    def clear_webhooks(self, params: dict[str, str], body: Any) -> Answer:
        """Remove one (?id=) or all."""
        hooks = self.world.webhooks.subscribers
        removed = [hooks.pop(key) for key in list(hooks) if params.get("id") in (None, key)]
        return 200, {"removed": len(removed)}

    def books(self, params: dict[str, str], kind: str) -> Answer:
        """All documents by kind (?realm=), or those of one kind. Amounts as numbers; ?stubs=true adds the deleted."""
        company = self._company(params.get("realm"))
        if kind and kind not in KINDS:
            raise ValueError(f"unknown entity {kind}")
        kinds = [kind] if kind else [k for k in KINDS if company.entities.get(k)]
        shown = {k: [company.present(k, doc) for doc in company.rows(k)] for k in kinds}
        return 200, (shown[kind] if kind else shown)

    def snapshot(self, params: dict[str, str], body: Any) -> Answer:
        """Write the state to {"file": path}."""
        path = Path(str(body["file"]))
        save_state(self.world, path)
        return 200, {"file": str(path), "bytes": path.stat().st_size}

    def restore(self, params: dict[str, str], body: Any) -> Answer:
        """Read the state back from {"file": path}."""
        load_state(self.world, Path(str(body["file"])))
        return 200, self.world.greeting()

    def invariants(self, params: dict[str, str], body: Any) -> Answer:
        """What does not hold, by realm; status 200 when all holds, 409 otherwise."""
        found = self.world.invariants()
        return (409 if any(found.values()) else 200), {
            "ok": not any(found.values()),
            "broken": found,
            "books": True,
        }


def _assign(target: Any, values: dict[str, Any]) -> None:
    """Set fields that exist, with their type; raises ValueError for unknown names."""
    for name, value in values.items():
        if not hasattr(target, name):
            raise ValueError(f"unknown setting {name}")
        current = getattr(target, name)
        if isinstance(current, bool):
            setattr(target, name, bool(value))
        elif isinstance(current, float) and value is not None:
            setattr(target, name, float(value))
        else:
            setattr(target, name, value)


def _load(company: Company, kind: str, doc: dict[str, Any]) -> str:
    options = Options(include=frozenset({"allowduplicatedocnum"}), person=True)
    wanted = doc.get("Id")
    if wanted is None:
        return str(writes.save(company, KINDS[kind], doc, options)["Id"])
    if company.get(kind, str(wanted)) is not None:
        return str(writes.save(company, KINDS[kind], doc, options)["Id"])
    company.wanted_id = str(wanted)
    try:
        return str(writes.save(company, KINDS[kind], {k: v for k, v in doc.items() if k != "Id"}, options)["Id"])
    finally:
        company.wanted_id = None
