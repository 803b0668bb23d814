"""The state of one stand-in: companies, tokens, limits, fault rules, request log, webhooks. Independent of HTTP."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from sandbox.qbo.books.audit import invariants
from sandbox.qbo.books.ledger import attach
from sandbox.qbo.company import store
from sandbox.qbo.company.clock import Clock
from sandbox.qbo.company.store import Company, Doc
from sandbox.qbo.control import seed as seeding
from sandbox.qbo.control.injection import Injector
from sandbox.qbo.control.person import act
from sandbox.qbo.control.webhooks import Webhooks
from sandbox.qbo.rules.limits import Limits, LimitSettings
from sandbox.qbo.rules.tokens import ACCOUNTING, Tokens

FIRST_REALM = 9341450000000001
LOG_SIZE = 20_000
ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(slots=True)
class Config:
    """What the stand-in is started with."""

    seed: int = 0
    plan: str = "plus"
    limits: bool = True
    base_url: str = "http://127.0.0.1:0"
    state_file: str | None = None
    seconds_scale: float = 1.0  # waits of injected faults are multiplied with it


@dataclass(slots=True)
class Modes:
    """Modes of behaviour, set by the control API."""

    ignore_requestid: bool = False
    requestid_seconds: float | None = None  # lifetime of a stored requestid
    remember_errors: bool = False  # 4xx answers are replayed for their requestid too
    requestid_race: float = 0.0  # seconds between the check of a requestid and the commit
    requestid_busy: bool = False  # an equal requestid in progress gets 600 instead of waiting
    requestid_other_body: str = "replay"  # replay | refuse: the same requestid with another body
    stale_seconds: float = 0.0
    sort_by_id: bool = False
    shuffle_batch: bool = True
    longest_address: int = 0  # bytes of path and query; a longer one gets 414 from the gateway; 0: no limit


@dataclass(slots=True)
class Remembered:
    """The answer stored for a requestid."""

    status: int
    body: bytes
    content_type: str
    when: float
    fingerprint: int


@dataclass(slots=True)
class Record:
    """One line of the request log."""

    seq: int
    time: float
    method: str
    path: str
    realm: str = ""
    operation: str = ""
    entity: str = ""
    requestid: str = ""
    status: int = 0  # 0: no answer was sent
    codes: list[str] = field(default_factory=list)
    committed: bool = False
    replayed: bool = False
    faults: list[str] = field(default_factory=list)
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    id: str = ""
    xml: bool = False  # the client asked for XML

    def show(self) -> dict[str, Any]:
        """For the control API."""
        return {name: getattr(self, name) for name in self.__slots__}


class World:
    """The state of one stand-in process."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = Clock()
        self.random = random.Random(config.seed)
        self.client_id = "AB" + "".join(self.random.choices(ALPHANUMERIC, k=48))
        self.client_secret = "".join(self.random.choices(ALPHANUMERIC, k=40))
        self.verifier_token = "-".join(f"{self.random.getrandbits(32):08x}" for _ in range(4))
        self.oauth = Tokens(self.clock, self.random, client_id=self.client_id, client_secret=self.client_secret)
        self.limits = Limits(LimitSettings(enabled=config.limits))
        self.modes = Modes()
        self.injector = Injector(config.seed)
        self.companies: dict[str, Company] = {}
        self.remembered: dict[str, dict[str, Remembered]] = {}
        self.log: deque[Record] = deque(maxlen=LOG_SIZE)
        self.sequence = 0
        self.requests = 0
        self.throttled = 0
        self.writes = 0
        self.internal_errors = 0
        self.held: set[asyncio.Event] = set()  # one for each wait of an injected fault
        self.creates_by_requestid: dict[str, int] = {}
        self.webhooks = Webhooks(config.seed, now=self.now, verifier_token=lambda: self.verifier_token)
        self.first_realm = str(FIRST_REALM)
        self.add_company(self.first_realm, config.plan)
        self.first_grant = self.oauth.new_grant(self.first_realm, self.client_id)
        self.first_access = self.oauth.new_access(self.first_grant)

    def now(self) -> float:
        """The stand-in's time, asked of its clock each time: a reset brings another clock."""
        return self.clock.now()

    # -- companies -------------------------------------------------------------------------------------------------

    def new_company(self, realm_id: str, plan: str) -> Company:
        """An empty company that is wired up: books attached, webhooks listening."""
        company = Company(realm_id, plan=plan, clock=self.clock, seed=self.config.seed)
        attach(company)
        company.event_sinks.append(self.webhooks.on_event)
        return company

    def add_company(
        self,
        realm_id: str | None = None,
        plan: str = "plus",
        *,
        seeded: bool = True,
        name: str | None = None,
        country: str = "US",
    ) -> Company:
        """A new company with the seed data; `country` GB or CA has VAT codes in place of US sales taxes."""
        realm_id = realm_id or str(max((int(r) for r in self.companies), default=FIRST_REALM - 1) + 1)
        company = self.new_company(realm_id, plan)
        company.country = country
        if name:
            company.name = name
        self.companies[realm_id] = company
        self.remembered[realm_id] = {}
        if seeded:
            seeding.fill(company)
        return company

    def connect(self, realm_id: str, client_id: str | None = None) -> dict[str, Any]:
        """A new grant for a company and an app (the first one by default), as a client needs it."""
        client_id = client_id or self.client_id
        if client_id not in self.oauth.clients:
            raise ValueError(f"unknown client {client_id}")
        grant = self.oauth.new_grant(realm_id, client_id, frozenset({ACCOUNTING}))
        return {
            "realm_id": realm_id,
            "access_token": self.oauth.new_access(grant),
            "refresh_token": grant.refresh_token,
            "client_id": client_id,
            "client_secret": self.oauth.clients[client_id],
        }

    def add_client(self, client_id: str | None = None, secret: str | None = None) -> str:
        """Another app in the same workspace: limits for each app count it apart. Returns its client id."""
        client_id = client_id or "AB" + "".join(self.random.choices(ALPHANUMERIC, k=48))
        self.oauth.clients[client_id] = secret or "".join(self.random.choices(ALPHANUMERIC, k=40))
        return client_id

    def person(self, realm_id: str, operation: str, kind: str, doc_id: str, changes: dict[str, Any] | None = None) -> Doc | None:
        """A person works in the product: edit, pay, void, delete, merge, ... Raises Fault or KeyError."""
        return act(self.companies[realm_id], operation, kind, doc_id, changes or {})

    def release(self) -> int:
        """End every wait of an injected fault; how many there were."""
        for event in self.held:
            event.set()
        return len(self.held)

    # -- log -------------------------------------------------------------------------------------------------------

    def record(self, method: str, path: str) -> Record:
        """A new line in the request log."""
        self.sequence += 1
        self.requests += 1
        entry = Record(self.sequence, self.clock.now(), method, path)
        self.log.append(entry)
        return entry

    def greeting(self) -> dict[str, Any]:
        """What a client needs to start: the first line on stdout."""
        base = self.config.base_url
        return {
            "base_url": base,
            "control_url": f"{base}/control",
            "token_url": f"{base}/oauth2/v1/tokens/bearer",
            "revoke_url": f"{base}/v2/oauth2/tokens/revoke",
            "authorize_url": f"{base}/connect/oauth2",
            "discovery_url": f"{base}/.well-known/openid_sandbox_configuration",
            "realm_id": self.first_realm,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "access_token": self.first_access,
            "refresh_token": self.first_grant.refresh_token,
            "webhook_verifier_token": self.verifier_token,
        }

    def set_stale(self, seconds: float) -> None:
        """How long queries return stale results after each change."""
        self.modes.stale_seconds = seconds
        for company in self.companies.values():
            company.stale_seconds = seconds
            if not seconds:
                company.past.clear()

    def invariants(self) -> dict[str, list[str]]:
        """Violated invariants of the books and indexes, by realm."""
        found = {}
        for realm_id, company in self.companies.items():
            found[realm_id] = [*invariants(company), *store.broken_indexes(company)]
        return found
