"""Faults on demand: rules set by the control API and seeded random profiles decide what goes wrong with a request.

A rule: `{"fault": name, "match": {...}, "probability": 1, "skip": 0, "count": null, "seed": 0, ...arguments}`. `match` may name
`operation` (create, update, delete, void, get, query, batch, cdc, report, upload, token, ...), `entity`, `realm`, `path` (part),
`method`, `requestid`, `body` (substring); a list means any of them. `skip` hits pass first, then at most `count` fire.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Any

from sandbox.qbo.rules.faults import TABLE

# name -> (arguments with defaults, what it does)
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "latency": (
        {"distribution": "fixed", "seconds": 0.1, "low": 0.0, "high": 0.2, "median": 0.1, "sigma": 0.5, "after": False},
        "wait before the request is handled (after: before it is answered)",
    ),
    "commit_then_timeout": ({"hold": 120.0}, "commit, never answer, cut the connection after `hold` seconds"),
    "commit_then_reset": ({}, "commit, then reset the connection"),
    "commit_then_504": ({}, "commit, answer 504 as XML"),
    "drop_before_commit": ({"hold": 0.0}, "commit nothing, never answer, cut the connection after `hold` seconds"),
    "reset": ({}, "reset the connection before anything is done"),
    "gateway_timeout": ({}, "504 as XML, nothing committed"),
    "late_delivery": ({"cut_after": 0.0, "delay": 5.0}, "cut the sender off, let the request take effect `delay` seconds later"),
    "server_error": ({"commit": False}, "500 with code 10000"),
    "html_503": ({"commit": False}, "503 as nginx HTML"),
    "html": ({"status": 403, "text": "Forbidden", "commit": False}, "any status as HTML, as a firewall or proxy answers"),
    "throttle": ({"format": None, "retry_after": None}, "429 with code 3001"),
    "fault": (
        {"code": "6000", "status": None, "detail": None, "message": None, "format": "json", "commit": False, "unlisted": False},
        "any code of the table; with `unlisted`, a code that is not in the table",
    ),
    "unauthorized": ({"detail": "Token expired: AB01..."}, "401 with code 3200"),
    "item_throttle": ({}, "one batch item fails with 3001 (match applies to the item)"),
    "item_fault": ({"code": "10000", "unlisted": False}, "one batch item fails with a code, nothing done"),
    "batch_cut": ({"after": 5}, "`after` items are committed, none is remembered, the connection is cut"),
    "ignore_requestid": ({}, "as if no requestid had been sent"),
    "requestid_race": (
        {"window": 0.2},
        "requestid is checked, then `window` seconds pass before the commit: an equal one gets through too",
    ),
    "slow_token": ({"seconds": 5.0}, "the token endpoint answers late"),
    "token_answer_lost": ({}, "the token endpoint does its work, its answer is lost"),
    "token_server_error": ({"status": 503}, "the token endpoint fails before doing anything"),
}

PROFILES: dict[str, list[dict[str, Any]]] = {
    "calm": [{"fault": "latency", "distribution": "lognormal", "median": 0.05, "sigma": 0.4}],
    "ordinary": [
        {"fault": "latency", "distribution": "lognormal", "median": 0.15, "sigma": 0.5},
        {"fault": "server_error", "probability": 0.002},
        {"fault": "html_503", "probability": 0.001},
    ],
    "nasty": [
        {"fault": "latency", "distribution": "lognormal", "median": 0.1, "sigma": 0.8},
        {"fault": "commit_then_reset", "probability": 0.01, "match": {"method": "POST"}},
        {"fault": "commit_then_504", "probability": 0.01, "match": {"method": "POST"}},
        {"fault": "drop_before_commit", "probability": 0.01, "match": {"method": "POST"}},
        {"fault": "late_delivery", "probability": 0.005, "delay": 3.0, "match": {"method": "POST"}},
        {"fault": "reset", "probability": 0.01},
        {"fault": "server_error", "probability": 0.01},
        {"fault": "html_503", "probability": 0.01},
        {"fault": "throttle", "probability": 0.005},
        {"fault": "throttle", "probability": 0.005, "format": "xml"},
        {"fault": "unauthorized", "probability": 0.003},
        {"fault": "item_throttle", "probability": 0.01},
        {"fault": "batch_cut", "probability": 0.02, "match": {"operation": "batch"}},
    ],
}

MATCHES = ("operation", "entity", "realm", "path", "method", "requestid", "body")


# The operations that a fault can affect. A rule is not used up by other requests.
TOKEN_FAULTS = frozenset(
    {
        "latency",
        "reset",
        "drop_before_commit",
        "commit_then_reset",
        "commit_then_timeout",
        "slow_token",
        "token_answer_lost",
        "token_server_error",
    }
)
TOKEN_ONLY = frozenset({"slow_token", "token_answer_lost", "token_server_error"})
ITEM_ONLY = frozenset({"item_throttle", "item_fault"})
BATCH_ONLY = frozenset({"batch_cut"})


def concerns(fault: str, operation: str) -> bool:
    """Whether this fault can affect a request of this operation (apart from items of a batch)."""
    if operation in ("token", "revoke"):
        return fault in TOKEN_FAULTS
    return fault not in TOKEN_ONLY | ITEM_ONLY and (operation == "batch" or fault not in BATCH_ONLY)


@dataclass(slots=True)
class Call:
    """What a rule can look at."""

    method: str
    path: str
    operation: str = ""
    entity: str = ""
    realm: str = ""
    requestid: str = ""
    body: bytes = b""


@dataclass(slots=True)
class Rule:
    """One fault rule with its counters."""

    id: str
    fault: str
    arguments: dict[str, Any]
    match: dict[str, list[str]]
    probability: float
    skip: int
    count: int | None
    random: random.Random
    seen: int = 0
    fired: int = 0

    def hits(self, call: Call) -> bool:
        """Does the rule fire for this call? Counts."""
        if self.count is not None and self.fired >= self.count:
            return False
        for name, wanted in self.match.items():
            if name == "path":
                if not any(part in call.path for part in wanted):
                    return False
            elif name == "body":
                if not any(part.encode() in call.body for part in wanted):
                    return False
            elif str(getattr(call, name)).lower() not in wanted:
                return False
        self.seen += 1
        if self.seen <= self.skip:
            return False
        if self.probability < 1 and self.random.random() >= self.probability:
            return False
        self.fired += 1
        return True

    def show(self) -> dict[str, Any]:
        """For the control API."""
        return {
            "id": self.id,
            "fault": self.fault,
            "match": self.match,
            "probability": self.probability,
            "skip": self.skip,
            "count": self.count,
            "seen": self.seen,
            "fired": self.fired,
            **self.arguments,
        }


@dataclass(slots=True)
class Injector:
    """All active rules."""

    seed: int
    rules: list[Rule] = field(default_factory=list)
    made: int = 0

    def add(self, spec: dict[str, Any]) -> Rule:
        """A rule from its JSON; raises ValueError with a reason."""
        name = spec.get("fault")
        if name not in FAULTS:
            raise ValueError(f"unknown fault {name!r}; known: {', '.join(FAULTS)}")
        defaults = FAULTS[name][0]
        general = {"fault", "match", "probability", "skip", "count", "seed", "id"}
        unknown = set(spec) - general - set(defaults)
        if unknown:
            raise ValueError(f"unknown argument {sorted(unknown)} for fault {name!r}; known: {sorted(defaults)}")
        match: dict[str, list[str]] = {}
        for key, value in dict(spec.get("match") or {}).items():
            if key not in MATCHES:
                raise ValueError(f"unknown match {key!r}; known: {', '.join(MATCHES)}")
            values = value if isinstance(value, list) else [value]
            match[key] = [str(v) if key in ("path", "body") else str(v).lower() for v in values]
        code = str({**defaults, **spec}.get("code", ""))
        if "code" in defaults and code not in TABLE and not spec.get("unlisted"):
            raise ValueError(f'unknown code {code!r}: it is not in Intuit\'s table; to use it anyway, add "unlisted": true')
        self.made += 1
        count = spec.get("count")
        rule = Rule(
            str(spec.get("id") or self.made),
            name,
            {**defaults, **{k: v for k, v in spec.items() if k in defaults}},
            match,
            float(spec.get("probability", 1)),
            int(spec.get("skip", 0)),
            None if count is None else int(count),
            random.Random(f"{spec.get('seed', self.seed)}:{self.made}"),
        )
        self.rules.append(rule)
        return rule

    def profile(self, name: str, seed: int | None = None, scale: float = 1.0) -> list[Rule]:
        """Add the rules of a named profile, probabilities times `scale`."""
        if name not in PROFILES:
            raise ValueError(f"unknown profile {name!r}; known: {', '.join(PROFILES)}")
        rules = []
        for spec in PROFILES[name]:
            seeded = {**spec, "seed": self.seed if seed is None else seed}
            if "probability" in seeded:
                seeded["probability"] = min(1.0, seeded["probability"] * scale)
            rules.append(self.add(seeded))
        return rules

    def clear(self, rule_id: str | None = None) -> int:
        """Remove one rule or all."""
        before = len(self.rules)
        self.rules = [rule for rule in self.rules if rule_id is not None and rule.id != rule_id]
        return before - len(self.rules)

    def firing(self, call: Call) -> list[Rule]:
        """The rules that fire for a request, in order."""
        return [rule for rule in self.rules if concerns(rule.fault, call.operation) and rule.hits(call)]

    def firing_for_item(self, call: Call) -> list[Rule]:
        """The rules that fire for one item of a batch, in order."""
        return [rule for rule in self.rules if rule.fault in ITEM_ONLY and rule.hits(call)]


def seconds_of(rule: Rule) -> float:
    """A draw from the rule's latency distribution."""
    a = rule.arguments
    kind = a["distribution"]
    if kind == "uniform":
        return rule.random.uniform(float(a["low"]), float(a["high"]))
    if kind == "lognormal":
        return math.exp(math.log(max(float(a["median"]), 1e-9)) + float(a["sigma"]) * rule.random.gauss(0, 1))
    return float(a["seconds"])
