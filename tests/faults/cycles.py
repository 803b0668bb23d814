"""Every cycle of (state of an attempt x answer of QuickBooks), driven for ever against the real writer: does it end?

One company for each case, whose QuickBooks answers every write so, for good. What is due is made due at once (`hurry`), so that
eight failures take seconds; counters, pauses and halts are the writer's own. A case ends when its documents have ended, or when
the company waits under a counter: halted (trials with growing pauses), or paused after a 429. All else is an unbounded cycle.
"""

import asyncio
import contextlib
import itertools
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bookrelay import metrics
from bookrelay.db import open_pool
from bookrelay.kafka import Received
from bookrelay.messages import Command, Kind, RetractDocument, RetractDocumentData, upsert
from bookrelay.transient import TRANSIENT
from document_kinds import ENTITY, KINDS, SALES, content
from qbo_writer import handlers
from qbo_writer.domain import Answer, AttemptState, LedgerKind, Operation
from qbo_writer.kinds import of
from qbo_writer.protocol.planning import FAILURES
from qbo_writer.protocol.transitions import TRANSITIONS, Action, Envelope, Trigger
from qbo_writer.quickbooks import faults
from qbo_writer.quickbooks.token_endpoint import AWAY_SECONDS
from qbo_writer.settings import Settings
from qbo_writer.writer import Writer

from .harness import SCALE, Company, Lane

Rule = dict[str, Any]
Edge = tuple[AttemptState | None, Trigger]

# --------------------------------------------------------------------------------------------------------------- what there is

_TAX = "QuickBooks encountered an error while calculating tax."
_OWN_KIND = "DocNumber=1 is assigned to TxnType=Invoice with TxnId=999999"
_OTHER_KIND = "DocNumber=1 is assigned to TxnType=SalesReceipt with TxnId=999999"

ANSWERS: dict[str, Rule] = {
    "rejected": {"fault": "fault", "code": "2050"},
    "held": {"fault": "fault", "code": "2010"},
    "a stale reference": {"fault": "fault", "code": "2500"},
    "an error that passes": {"fault": "fault", "code": "6000", "detail": _TAX},
    "a conflict": {"fault": "fault", "code": "5010"},
    "gone": {"fault": "fault", "code": "610"},
    "a number that nobody has": {"fault": "fault", "code": "6140", "detail": _OWN_KIND},
    "a number of another kind": {"fault": "fault", "code": "6140", "detail": _OTHER_KIND},
    "a name that nobody has": {"fault": "fault", "code": "6240"},
    "a pause": {"fault": "throttle"},
    "a refused token": {"fault": "unauthorized"},
    "a halt": {"fault": "fault", "code": "6190", "status": 400},
    "a halt under 5xx": {"fault": "fault", "code": "3100", "status": 503},
    "a code that is silence": {"fault": "fault", "code": "600"},
    "an unknown code": {"fault": "fault", "code": "99999", "unlisted": True, "status": 400},
    "a server's error": {"fault": "server_error"},
    "a firewall's page": {"fault": "html", "status": 403},
    "no answer": {"fault": "reset"},
}
"""What QuickBooks answers to every write of a company, for ever."""

TOKEN_ANSWERS: dict[str, Rule] = {
    "the token endpoint does not answer": {"fault": "reset"},
    **{
        f"the token endpoint answers {status}": {"fault": "token_server_error", "status": status}
        for status in (200, 400, 401, 403, 429, 500, 503)
    },
}
"""What the token endpoint answers for ever, to everybody; QuickBooks takes no old token."""
REVOKED = "the token endpoint says that the grant is revoked"

BEFORE = ("nothing", "silence", "silence, requestid proven", "silence, nothing can be relied on")
"""What happened to the attempt before: the state in which the answer meets it."""


@dataclass(frozen=True)
class Case:
    """A cycle: the state that an attempt is in, the envelope, what is asked, and what is answered for ever."""

    before: str
    envelope: Envelope
    operation: Operation
    answer: str
    reads: tuple[Rule, ...] = ()  # what reads are answered, beside
    entity: str = "Invoice"  # whose requests are answered so: "Customer" is the one that the invoice waits for

    @property
    def kind(self) -> Kind:
        """What the commands are about."""
        if self.entity == "BillPayment":
            return Kind.BILL
        return next((kind for kind, entity in ENTITY.items() if entity == self.entity), Kind.INVOICE)

    @property
    def together(self) -> tuple[str, bool]:
        """Cases that differ here are walked apart: the token endpoint is everybody's, and a writer pays all bills or none."""
        return self.answer if self.answer in TOKEN_ANSWERS else "", self.entity == "BillPayment"

    def __str__(self) -> str:
        more = f", reads: {self.reads[0]['fault']} {self.reads[0].get('code', '')}" if self.reads else ""
        return (
            f"{self.operation} {self.entity} ({self.envelope.name.lower()}), before: {self.before}, answered: {self.answer}{more}"
        )

    def rules(self, realm: str) -> list[Rule]:
        """The stand-in's rules, the first failures first."""
        batched = self.envelope is not Envelope.SINGLE
        entity: Rule = {} if batched else {"entity": self.entity}
        writes = ["create", "update", "void", "delete"]
        match = {"realm": realm, "method": "POST", **entity, "operation": ["batch"] if batched else writes}
        made: list[Rule] = [{**rule, "match": {"realm": realm, **rule["match"]}} for rule in self.reads]
        skip = 0
        if self.before != "nothing":
            made.append({"fault": "reset", "count": 1, "match": match})
            skip = 1
        if self.answer in TOKEN_ANSWERS:
            return [*made, {**TOKEN_ANSWERS[self.answer], "match": {"operation": "token"}}]
        if self.answer == REVOKED:
            return made
        answer = ANSWERS[self.answer]
        if self.envelope is Envelope.ITEM:
            made.append({"fault": "item_fault", "code": answer["code"], "match": {"realm": realm}})
            return made
        made.append({**answer, "skip": skip, "match": match})
        if batched:  # what went in a batch goes alone in the end
            made.append({**answer, "match": {**match, "entity": "Invoice", "operation": ["create", "update"]}})
        return made


def cases() -> list[Case]:
    """All of them: every answer in every state, in every envelope, creates and updates; withdrawals, bills and payments alone."""
    found = [
        Case(before, Envelope.SINGLE, operation, answer)
        for before, operation, answer in itertools.product(BEFORE, (Operation.CREATE, Operation.UPDATE), ANSWERS)
    ]
    found += [Case(before, Envelope.BATCH, Operation.CREATE, answer) for before, answer in itertools.product(BEFORE[:3], ANSWERS)]
    coded = [
        name for name, rule in ANSWERS.items() if rule["fault"] == "fault" and "detail" not in rule and "unlisted" not in rule
    ]
    found += [Case(before, Envelope.ITEM, Operation.CREATE, answer) for before, answer in itertools.product(BEFORE[:3], coded)]
    found += [Case("nothing", Envelope.ITEM, Operation.UPDATE, answer) for answer in coded]
    queries: Rule = {"match": {"operation": "query"}}
    refused, silent = {"fault": "fault", "code": "4000", **queries}, {"fault": "server_error", **queries}
    found += [Case("silence", Envelope.SINGLE, Operation.CREATE, "no answer", (rule,)) for rule in (refused, silent)]
    found += [
        Case(before, Envelope.SINGLE, Operation.CREATE, answer, entity="Customer")
        for before, answer in itertools.product(BEFORE, ANSWERS)
    ]
    payments = (("BillPayment", Operation.CREATE), ("BillPayment", Operation.DELETE))
    kinds = (("Invoice", Operation.VOID), ("Bill", Operation.DELETE), ("Bill", Operation.UPDATE), *payments)
    found += [
        Case(before, Envelope.SINGLE, operation, answer, entity=entity)
        for before, (entity, operation), answer in itertools.product(BEFORE[:2], kinds, ANSWERS)
    ]
    found += [
        Case("silence", Envelope.SINGLE, operation, answer, entity=ENTITY[kind])
        for kind, answer in itertools.product(KINDS, ANSWERS)
        for operation in (Operation.CREATE, of(LedgerKind(kind.value)).takes_away(void=True))
        if kind not in (Kind.INVOICE, Kind.BILL)
    ]
    found += [Case(before, Envelope.BATCH, Operation.UPDATE, answer) for before, answer in itertools.product(BEFORE[:2], ANSWERS)]
    found += [
        Case(before, Envelope.SINGLE, operation, answer)
        for before, operation, answer in itertools.product(
            BEFORE[:2], (Operation.CREATE, Operation.UPDATE), (*TOKEN_ANSWERS, REVOKED)
        )
    ]
    return found


Shape = tuple[Any, ...]


def shape(answer: Answer) -> Shape:
    """What the writer tells answers apart by."""
    return (answer.kind, answer.disposition, answer.unauthorized, answer.throttled, answer.tries > 1)


def shapes_known() -> set[Shape]:
    """Every shape that the table of codes can give, with and without a code."""
    entries = [*faults.TABLE.values(), *faults.WITHOUT_CODE.values(), *(entry for _, entry in faults.WORDS_OF_6000)]
    return {(e.kind, e.disposition, e.unauthorized, e.throttled, e.tries > 1) for e in entries}


def shapes_walked() -> set[Shape]:
    """The shapes of ANSWERS."""
    found = set()
    for rule in ANSWERS.values():
        code = {"throttle": "3001", "unauthorized": "3200", "server_error": "10000"}.get(rule["fault"], rule.get("code"))
        error = {"code": code, "Detail": rule.get("detail", "")}
        status = int(rule.get("status") or 400)
        for operation in (Operation.CREATE, Operation.UPDATE):
            if code is None:
                found.add(shape(faults.classify(status, {}, "<html>", operation)))
            else:
                found.add(shape(faults.item({"Fault": {"Error": [error], "type": "ValidationFault"}}, operation)))
                text = f'{{"Fault":{{"Error":[{{"code":"{code}"}}],"type":"V"}}}}'
                found.add(shape(faults.classify(status, {}, text, operation)))
    return found


# ------------------------------------------------------------------------------------------------------------ which cycles

ELSEWHERE: dict[Trigger, str] = {
    Trigger.LOST: "each round is a crash; crashes.py kills writers at every place, and `sends` counts what was lost, too",
    Trigger.OPERATOR_ABSENT: "each round is a person's decision",
}
"""Rows on a cycle that no answer of QuickBooks drives."""


def cyclic() -> set[Edge]:
    """The rows of the table that lie on a cycle: from where they lead, their own state can be reached again."""
    back = (Action.CLAIM_AFRESH, Action.REJECT)  # the command can be due again: the state before any attempt
    edges: list[tuple[Edge, AttemptState | None]] = []
    for edge, row in TRANSITIONS.items():
        edges.append((edge, None if row.action in back else row.to))
        if row.action is Action.GONE:  # of a create: as silence
            edges.append((edge, AttemptState.UNKNOWN))
    reach: dict[AttemptState | None, set[AttemptState | None]] = defaultdict(set)
    for _ in edges:
        for (state, _when), to in edges:
            reach[state] |= {to} | reach[to]
    return {edge for edge, to in edges if edge[0] == to or edge[0] in reach[to]}


# ------------------------------------------------------------------------------------------------------------------- the walk

SECONDS = 300.0 * SCALE  # for all cases of a walk; a sound one needs seconds
CALLS_MOST = 1000  # for one document: eight failures, each of four sends with look-ups, of a name in three lists
TOKEN_CALLS_MOST = 4  # for one company: at once, then after 1, 2 and 4 s
DOCUMENTS = 3
KNOWN, VENDOR = "Cool Cars", "Books by Bessie"  # a customer and a vendor that every company of the stand-in has


@dataclass
class Walk:
    """What a walk showed."""

    cases: int = 0
    rows: set[str] = field(default_factory=set)  # of the table, by name: what was taken
    ends: dict[str, str] = field(default_factory=dict)  # case -> how it ended
    unbounded: list[str] = field(default_factory=list)  # cases that did not end, with what was seen of them
    calls_most: int = 0

    def __iadd__(self, other: "Walk") -> "Walk":
        self.cases += other.cases
        self.rows |= other.rows
        self.ends |= other.ends
        self.unbounded += other.unbounded
        self.calls_most = max(self.calls_most, other.calls_most)
        return self


def _command(case: Case, realm: str, number: int, version: int, customer: str) -> Command:
    """The first version, or the one whose request is answered so for ever."""
    at, key = datetime(2026, 11, 1, version, tzinfo=UTC), f"C-{number}"
    who: dict[str, Any] = {"realm": realm, "source": "cycles", "source_key": key, "version": version, "modified_at": at}
    if version == 2 and case.operation in (Operation.VOID, Operation.DELETE):
        return RetractDocument.of(RetractDocumentData(**who, kind=case.kind, reason="cancelled"), sender="cycles")
    asked = content(case.kind, amount=str(10 + version), party=customer if case.kind in SALES else VENDOR)
    return upsert(asked, sender="cycles", **who)


async def unbounded_cycles(lane: Lane, at_once: int = 32, only: Iterable[Case] | None = None) -> Walk:
    """Walk every case, so many at once; `len(walk.unbounded)` of them do not end, and `walk.unbounded` says which."""
    walk, together = Walk(), defaultdict[tuple[str, bool], list[Case]](list)
    for case in cases() if only is None else only:
        together[case.together].append(case)
    for waiting in together.values():
        while waiting:
            walk += await _walk(lane, waiting[:at_once])
            del waiting[:at_once]
    return walk


async def _walk(lane: Lane, some: Sequence[Case]) -> Walk:
    companies = [await lane.company() for _ in some]
    by_realm = {company.realm: case for company, case in zip(companies, some, strict=True)}
    settings = Settings.load(
        {
            **lane.environment(), "QBO_REALM_IDS": ",".join(by_realm), "LEASE_SECONDS": "60", "DATABASE_POOL_SIZE": "10",
            "PROTOCOL_TRANSIT_SECONDS": "0.1", "PROTOCOL_STALENESS_SECONDS": "0.1", "PROTOCOL_RESEND_WINDOW_SECONDS": "3600",
            "PROTOCOL_RESEND_WINDOW_PROVEN_SECONDS": "3600", "PACE_THROTTLE_WAIT_SECONDS": "3600", "BATCH_THRESHOLD": "100000",
            "PACE_BATCHES_PER_MINUTE": "60000", "PACE_BATCH_ITEMS": str(DOCUMENTS),
            "QB_AUTO_MARK_BILL_PAID": str(any(case.entity == "BillPayment" for case in some)).lower(),
        }
    )  # fmt: skip
    pool = await open_pool(settings, application_name="cycles")
    writer = Writer(settings, pool)
    try:
        for realm, poster in writer.posters.items():
            poster.feeder._next = poster.sweeper._next = math.inf  # the change feed would find what is looked for here
            if by_realm[realm].envelope is not Envelope.SINGLE:
                poster.parts.settings = settings.model_copy(update={"batch_threshold": 2})  # its parts are its own
        async with _running(writer):
            return await _drive(lane, writer, by_realm, companies)
    finally:
        await asyncio.wait_for(pool.close(), 60)


async def _drive(lane: Lane, writer: Writer, by_realm: dict[str, Case], companies: Sequence[Company]) -> Walk:
    pool, walk = writer.ledger.commands._pool, Walk(cases=len(by_realm))

    async def tell(commands: Sequence[Command]) -> None:
        received = [Received(command, "billing.commands.v1", 0, i) for i, command in enumerate(commands)]
        await handlers.record(received, writer.ledger.commands, writer.wake)

    async def ended() -> set[str]:
        rows = await pool.fetch(
            "SELECT realm FROM unnest($1::text[]) AS t(realm) WHERE NOT EXISTS (SELECT 1 FROM qbo_writer.commands c "
            "WHERE c.realm = t.realm AND c.state IN ('due', 'received')) AND NOT EXISTS (SELECT 1 FROM qbo_writer.attempts a "
            "WHERE a.realm = t.realm AND a.state <> 'resolved' AND NOT a.stuck)",
            list(by_realm),
        )
        return {row["realm"] for row in rows}

    # What is updated later is there first, and every company is known to be served.
    await tell([_command(case, realm, n, 1, KNOWN) for realm, case in by_realm.items() for n in _numbers(case) if _there(case)])
    # Its customer is known: what is refused then is the look-up for the document.
    await tell([_command(case, realm, DOCUMENTS, 1, KNOWN) for realm, case in by_realm.items() if case.reads])
    deadline = time.monotonic() + SECONDS
    while await ended() != set(by_realm):
        assert time.monotonic() < deadline, "what goes before the cycles did not end"
        await asyncio.sleep(0.1)
    for realm, case in by_realm.items():
        proven = "proven" in case.before
        await pool.execute(
            "INSERT INTO qbo_writer.realms (realm, requestid_proven, batch_proven, bounds_unreliable) VALUES ($1, $2, $2, $3) "
            "ON CONFLICT (realm) DO UPDATE SET requestid_proven = $2, batch_proven = $2, bounds_unreliable = $3",
            realm, proven, "relied" in case.before,
        )  # fmt: skip
        poster = writer.posters[realm]
        poster.halts.row = await writer.ledger.realms.read(realm)
        # A halt's trials have a test of their own: here it is enough that the company is halted.
        poster.halts.clock = lambda: 1000.0
        await lane.control("POST", "faults", {"rules": case.rules(realm)})
        if case.answer in (REVOKED, *TOKEN_ANSWERS):
            await lane.control("POST", "tokens", {"realm": realm, "expire_access": True, "revoke": case.answer == REVOKED})
    tokens = await _token_calls(lane)
    before = {company.realm: len(await lane.requests(company)) for company in companies}
    await tell(
        [
            _command(case, realm, n, 2, "P-9 N.N." if case.entity == "Customer" else KNOWN)
            for realm, case in by_realm.items()
            for n in _numbers(case)
        ]
    )
    deadline, open_ = time.monotonic() + SECONDS, dict(by_realm)
    while open_ and time.monotonic() < deadline:
        await hurry(writer, open_)
        done = await ended()
        for realm, case in list(open_.items()):
            if how := "ended" if realm in done else waiting(writer, realm):
                walk.ends[str(case)] = how
                del open_[realm]
        await asyncio.sleep(0.05)
    tokens = await _token_calls(lane) - tokens
    for company in companies:
        case = by_realm[company.realm]
        if case.answer in TOKEN_ANSWERS and tokens > TOKEN_CALLS_MOST * len(companies):
            walk.unbounded.append(f"{case}: {tokens} token requests for {len(companies)} companies")
        asked = (await lane.requests(company))[before[company.realm] :]
        if case.answer in ANSWERS and not any(request["faults"] for request in asked):
            walk.unbounded.append(f"{case}: its answer was never given")
        calls = len(asked)
        walk.calls_most = max(walk.calls_most, calls)
        if company.realm in open_ or calls > CALLS_MOST * len(_numbers(case)):
            walk.unbounded.append(f"{case}: {calls} calls, {walk.ends.get(str(case), 'no end')}")
    for sample in next(iter(metrics.ATTEMPT_TRANSITIONS.collect())).samples:
        if sample.labels.get("realm") in by_realm and sample.name.endswith("_total") and sample.value:
            walk.rows.add(sample.labels["what"])
    await lane.control("DELETE", "faults")
    return walk


async def _token_calls(lane: Lane) -> int:
    answer = await lane.control("GET", "requests?operation=token")
    return len(answer["requests"])


def _numbers(case: Case) -> range:
    return range(1 if case.envelope is Envelope.SINGLE else DOCUMENTS)


def _there(case: Case) -> bool:
    return case.operation is not Operation.CREATE


async def hurry(writer: Writer, realms: Iterable[str]) -> None:
    """Let no pause between two tries of a document pass; the pauses of a company stay."""
    names = list(realms)
    pool = writer.ledger.commands._pool
    for table, which in (("commands", "state = 'due'"), ("attempts", "state = 'unknown' AND NOT stuck")):
        await pool.execute(  # what the writer has locked is left for the next time: nobody waits for us
            f"UPDATE qbo_writer.{table} SET due_at = now() WHERE id IN (SELECT id FROM qbo_writer.{table} "
            f"WHERE {which} AND realm = ANY($1::text[]) FOR NO KEY UPDATE SKIP LOCKED)",
            names,
        )
    for realm in names:
        writer.posters[realm].sender.health.paused_until = 0.0
        writer.posters[realm].wake()


def waiting(writer: Writer, realm: str) -> str | None:
    """How the company waits as a whole, under a counter: halted, paused by its pacer, or looking with growing pauses."""
    poster = writer.posters[realm]
    if writer.pacer.state(realm).get("frozen_until"):
        return "paused"  # whatever waits for its slot
    if poster.sender.flying():
        return None
    if poster.halts.row is not None and poster.halts.row.halted_code:
        return "halted"
    if (refused := writer.tokens.endpoint.refused(realm)) and refused.wait > AWAY_SECONDS:
        return "no token"  # nobody answers: requests with growing pauses
    if max((times for _, times in poster.resolver._times._unanswered.values()), default=0) >= FAILURES:
        return "away"  # nobody answers: look-ups with growing pauses
    return None


@contextlib.asynccontextmanager
async def _running(writer: Writer) -> Any:
    stopping = asyncio.Event()

    async def loop(step: Any) -> None:
        while not stopping.is_set():
            try:
                pause = await step()
            except TRANSIENT:
                pause = 0.2
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(pause, 0.001)):
                    await stopping.wait()

    tasks = [asyncio.create_task(loop(step)) for step in (writer.leases.step, *(p.step for p in writer.posters.values()))]
    try:
        yield
    finally:
        stopping.set()
        await asyncio.wait(tasks, timeout=30)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(*TRANSIENT):
            await writer.close()
