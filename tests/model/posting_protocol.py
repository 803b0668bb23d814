"""Explicit-state model of how the qbo-writer posts one document to QuickBooks Online (QBO), and its checker.

    make model                  every configuration, what QBO must keep, the times, why each rule exists; the last line is JSON
    make model ARGS=--deep      the corrected protocol with more of each fault (some minutes, some gigabytes)
    make model ARGS=--list      the names of the configurations
    make model ARGS='TEXT ...'  only the configurations whose name contains one of the texts

The exit status is 0 if and only if every result is as the configuration says. Plain Python, no dependencies.

Modelled: one business key; one to three commands for it (versions, a retraction), delivered by Kafka in any order and again; two
writer processes A and B that contend for the lease of one company; ledger, outbox and relay; QBO; a person who works in QBO; an
operator at our console; a document number that may change with each version, and that another document may have. Any step may
follow any other one. So a pause needs no step of its own: a paused writer makes no step while others do, and a writer that has
journalled a request may write it to the socket however long ago its lease was lost (the check of the deadline and the write are
two steps; the model gives the check no credit). The search is breadth first, so that a counterexample is a shortest one.

To read it: Rules is the protocol, with a switch for each rule. Environment is what QBO may do and which faults happen. Model has
the steps, in the order Kafka, lease, writer, QBO, people, clock, relay. The configurations stand at the end. The words for it are
in docs/protocol.md.
"""
# ruff: noqa: T201

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

# ---------------------------------------------------------------------------------------------------------------- vocabulary

UPSERT, RETRACT = "upsert", "retract"  # commands: "shall exist with this content", "shall not exist"
CREATE, UPDATE, DELETE = "create", "update", "delete"  # requests to QBO; a void is an update to VOIDED
VOIDED, GONE = "voided", "gone"  # contents of a document

IN_TOPIC, ACKED, LOST, DUE, DONE = "in topic", "acked", "lost", "due", "done"  # stages of a command
POSTED, UNCHANGED, RETRACTED = "posted", "unchanged", "retracted"  # ends of a command
SUPERSEDED, REJECTED, HELD = "superseded", "rejected", "held"

NO_LEASE, HOLDER, EX_HOLDER = "no lease", "holder", "ex-holder"  # an ex-holder still believes in a lease that another one took
IDLE, READY, WAITING, ANSWERED, ANNOUNCING = "idle", "ready", "waiting", "answered", "announcing"  # phases of a writer
NOBODY = -1  # the sender of a request whose writer gave up, died or lost its lease

# What a writer does after silence, which is any outcome it does not know: time-out, reset, 5xx, its predecessor's open attempt.
AS_DRAFTED = "as drafted"  # the same requestid once more, then a look-up, then a new requestid
RESEND = "resend"  # the same request with the same requestid until QBO answers
LOOK_FIRST = "look first"  # look up the marker; "found" counts at once, "absent" only after a wait: then the same request again
HOLD = "hold"  # ask a person

HONOURED, IGNORED = "honoured", "ignored"

# Document numbers. Those that a source gives are any other text: they may repeat, and change from version to version.
OF_KEY = "of the key"  # made from the business key: no other document has it
NO_NUMBER = ""  # the request says nothing about it, QBO gives one
BY_QBO = "QBO's own"
BY_PERSON = "a person's"

# What becomes of a document whose number another document has.
REJECT, DERIVE, LEAVE_TO_QBO = "reject", "derive", "leave to QBO"

MARKER, NUMBER, NEWEST_NUMBER = "marker", "number", "number of the newest version"

# What must hold.
DOUBLE = "two live documents for one business key"
WRONG_BOOKS = "every command has ended, but QBO does not hold what was told"
LOST_COMMAND = "a command, or the event of its end, can no longer get through"
END_CHANGED = "the end of a command changed after it was told"
OUTDATED = "an older version was claimed after a newer one was recorded"
CLOBBERED = "a person's edit was overwritten"
UNDONE = "a document that a person deleted was created again"
STALE_WRITER = "a writer without the lease changed the ledger"
NEEDLESS_HOLD = "held, or called diverged, without a reason"
STRANGER = "another's document was taken for ours"
OVERWRITTEN = "another's document was changed or deleted"
SHARED = "a number was asked for that was known to be another document's"
PROPERTIES = frozenset({
    DOUBLE, WRONG_BOOKS, LOST_COMMAND, END_CHANGED, OUTDATED, CLOBBERED, UNDONE, STALE_WRITER, NEEDLESS_HOLD, STRANGER,
    OVERWRITTEN, SHARED,
})  # fmt: skip

# -------------------------------------------------------------------------------------------------------------------- states


class Request(NamedTuple):
    """What goes over the wire, and what the ledger journals before it does."""

    operation: str
    version: int
    content: str
    requestid: str
    qbo_id: int = 0  # 0: a create
    sync_token: int = -1
    age: int = 0  # ticks since it was journalled; on the wire: since it was written to the socket
    past_check: bool = False  # QBO has looked for its requestid (only where that check is not atomic)
    number: str = OF_KEY


class Attempt(NamedTuple):
    """The ledger's one open attempt for the document."""

    request: Request
    ambiguous: bool = False  # some send of it stayed without an answer
    refused: bool = False  # its latest send was answered "not now" (429, 401): nothing was done
    heard_out: bool = False  # the sender of its latest send has itself recorded the silence, so it sends no more
    lost: bool = False  # the sender of an earlier send was not heard of again: it may have that copy in its hands
    stuck: bool = False  # only a person can resolve it
    resent: bool = False
    since_first: int = 0  # ticks since its first send was journalled
    since_last: int = 0  # ticks since its latest send was journalled or, if heard out, given up


class Known(NamedTuple):
    """What the ledger knows QBO to hold for the document."""

    qbo_id: int
    sync_token: int
    content: str
    diverged: bool = False  # a person changed or deleted it
    number: str = OF_KEY
    source_number: str = OF_KEY  # of the version that it holds


class Numbered(NamedTuple):
    """The number that the latest request asked for, or QBO gave, and the source's number for which it stands."""

    number: str = NO_NUMBER
    source_number: str = OF_KEY


class Writer(NamedTuple):
    lease: str = NO_LEASE
    phase: str = IDLE
    request: Request | None = None
    answer: tuple = ()


class Document(NamedTuple):
    """A document in QBO: ours, which carries our marker, or a stranger, which carries another one or none."""

    qbo_id: int
    live: bool
    version: int
    content: str
    sync_token: int = 0
    person: str = ""  # "edited" or "deleted": by a person
    age: int = 0  # ticks since it was created
    number: str = OF_KEY
    stranger: bool = False


class Remembered(NamedTuple):
    """A requestid that QBO has answered."""

    requestid: str
    answer: tuple
    age: int = 0


class Budget(NamedTuple):
    """How many more faults of each kind may happen. This makes the state space finite."""

    silences: int
    crashes: int
    takeovers: int  # the lease is taken from a writer that still believes in it
    person: int
    errors: int
    refusals: int
    operator: int


class State(NamedTuple):
    commands: tuple[tuple[str, str], ...]  # of each: stage, and the end told last ("" if none)
    known: Known | None  # the row of the document
    attempt: Attempt | None
    attempts: int  # how many there were
    writers: tuple[Writer, Writer]
    wire: tuple[tuple[int, Request], ...]  # (sender, request), sorted
    books: tuple[Document, ...]
    memory: tuple[Remembered, ...]
    outbox: tuple[int, ...]  # commands whose event waits for the relay
    relay: tuple[int, ...]  # in the relay's hands
    published: tuple[int, ...]
    budget: Budget
    numbered: Numbered = Numbered()
    fault: str = ""


class Command(NamedTuple):
    kind: str
    content: str = ""
    number: str = OF_KEY  # the source's own; OF_KEY: it gives none


# ----------------------------------------------------------------------------------------------------- rules and environment


@dataclass(frozen=True)
class Rules:
    """The protocol. The defaults are the corrected one."""

    record_before_ack: bool = True  # the offset is committed after the ledger's transaction
    command_id_unique: bool = True  # a redelivered command is no second row
    newest: str = "recorded"  # older than the newest one *recorded* is superseded; "applied" and "none" are the wrong ones
    journal_before_send: bool = True  # requestid, body and SyncToken are committed before the request leaves
    fence: bool = True  # every ledger transaction checks the fencing token ...
    fence_locks_lease_row: bool = True  # ... and keeps the lease row locked until it commits
    one_open_attempt: bool = True  # nothing else is decided for a document while its attempt is unresolved
    requestid_of: str = "attempt"  # a requestid serves one attempt; "content" and "command" are the wrong ones
    same_requestid: bool = True  # a resend carries the journalled requestid
    same_envelope: bool = True  # an item is resent in its batch, the whole batch as it was, never as a single
    on_silence: str = RESEND
    error_resolves_after_silence: bool = False  # False: after silence an error is silence, too; an earlier copy may still commit
    compare_after_conflict: bool = True  # after 5010, re-apply only if the content is what we knew
    compare_in_feed: bool = True  # the change feed moves our SyncToken only if the content is what we knew
    feed_waits: bool = True  # the change feed does not judge a document with an open attempt
    outbox_in_commit: bool = True  # a command's end and its event are one commit
    publish_then_mark: bool = True  # the relay marks an event as sent after it was published
    retract_by_void: bool = False  # keeps the document, and with it its DocNumber
    operator_waits: bool = True  # "it is not in QBO" is taken from an operator only when no copy can arrive any more
    token_pinned: bool = True  # a request leaves with the access token that it was journalled with, or not at all
    resend_window: int | None = None  # W, in ticks: a resend is journalled only so long after the first send; None: no end
    absent_after: int = 0  # Q, in ticks: "absent" counts only so long after the sender itself gave the latest send up ...
    absent_after_loss: int = 0  # Q', in ticks: ... or, where a sender was lost, so long after the latest send was journalled
    may_give_up: bool = False  # after the window, "absent" ends the attempt and a new requestid may be made; else: hold
    identity: str = MARKER  # what says whose a document is; NUMBER is the wrong one
    look_up: str = MARKER  # which document a look-up finds: ours, whatever its number; by NUMBER or NEWEST_NUMBER alone is wrong
    ask_first: bool = True  # before a source's number is used, QBO is asked who has it
    number_taken: str = DERIVE  # what the company wants for a number that another document has
    keep_only_what_is_there: bool = True  # a number is used without asking again only if the document has it in the books
    create_forgets_number: bool = True  # a create that names no number leaves none of an earlier document behind
    named_is_another: bool = True  # that the document which 6140 names is gone says nothing about ours


@dataclass(frozen=True)
class Environment:
    """What QBO may do, and how many faults happen."""

    requestid: str = HONOURED
    requestid_atomic: bool = True  # QBO's check of the requestid and its commit are one step
    memory: int | None = None  # T: a requestid is remembered at least so many ticks; None: for ever
    remember_errors: bool = False  # an error is replayed for its requestid, too
    late: bool = True  # a request on the way may arrive after its sender gave up
    paused: bool = True  # a writer that lost its lease in a pause may still send
    token_life: int | None = None  # B: QBO refuses what is sent so many ticks after it was journalled; None: never
    transit: int | None = None  # X: a request takes effect at most so many ticks after it was sent; None: at any time
    staleness: int | None = None  # S: a look-up may miss what is younger than so many ticks; None: may miss anything
    docnumber_check: bool = False  # QBO refuses a DocNumber that another live document has (6140)
    number_before_token: bool = False  # an update is refused for its number first, then for its SyncToken
    gives_numbers: bool = False  # QBO gives a new document a number of its own, whatever was asked for
    stranger: str = ""  # the number of a document that is there from the beginning and is not ours
    batch: bool = False  # creates travel as items of a batch
    batch_cut_off: bool = False  # a batch cut off half-way leaves committed items without a remembered requestid
    error_may_lie: bool = False  # an answer reads as an error although the write was committed
    person_may: tuple[str, ...] = ("edit", "delete", "touch")  # touch: SyncToken moves, content does not (payment, attachment);
    # renumber: ours gets another number; make: a stranger with a number of ours; remove: a stranger is deleted
    silences: int = 2
    crashes: int = 1
    takeovers: int = 1
    person: int = 1
    errors: int = 1
    refusals: int = 0  # 429, 401: nothing was done, send it again
    operator: int = 0
    timed: bool = False  # with a clock; without one, nothing ever becomes old enough to be safe


# --------------------------------------------------------------------------------------------------------------------- model

Step = tuple[str, State]


def put(items: tuple, index: int, value: object) -> tuple:
    return (*items[:index], value, *items[index + 1 :])


class Model:
    """All steps that are possible in a state. Each returns a label, for the trace, and the state after it."""

    def __init__(self, commands: tuple[Command, ...], rules: Rules, env: Environment, properties: frozenset[str] = PROPERTIES):
        self.commands, self.rules, self.env, self.properties = commands, rules, env, properties

    def initial(self) -> State:
        env = self.env
        budget = Budget(env.silences, env.crashes, env.takeovers, env.person, env.errors, env.refusals, env.operator)
        writers = (Writer(HOLDER), Writer())  # A is the first holder, without loss of generality
        waiting = ((IN_TOPIC, ""),) * len(self.commands)
        stranger = Document(1, True, 0, self.commands[0].content, age=env.staleness or 0, number=env.stranger, stranger=True)
        books = (stranger,) if env.stranger else ()
        return State(waiting, None, None, 0, writers, (), books, (), (), (), (), budget)

    def is_ours(self, d: Document, number: str) -> bool:
        """What the writer takes for its own; by the marker it is right. `number` is what it looks for."""
        return d.number == number if self.rules.identity == NUMBER else not d.stranger

    def steps(self, s: State) -> Iterator[Step]:
        if s.fault:
            return
        yield from self.kafka(s)
        for w in (0, 1):
            yield from self.lease(s, w)
            yield from self.writer(s, w)
        yield from self.qbo(s)
        yield from self.person(s)
        yield from self.operator(s)
        if self.env.timed:
            yield from self.clock(s)
        yield from self.forget(s)
        if self.settled(s):  # the relay touches nothing that others read, so its steps may all come last
            yield from self.relay(s)

    def settled(self, s: State) -> bool:
        """Every command has ended and no lease holder is at work; a paused ex-holder may be."""
        return all(stage == DONE for stage, _ in s.commands) and all(w.phase == IDLE or w.lease == EX_HOLDER for w in s.writers)

    def finished(self, s: State) -> bool:
        told = len(s.published) == len(s.commands) and not s.outbox and not s.relay
        return told and self.settled(s)

    def blame(self, s: State, fault: str) -> State:
        return s._replace(fault=fault) if fault in self.properties and not s.fault else s

    @staticmethod
    def spend(s: State, fault: str) -> State:
        return s._replace(budget=s.budget._replace(**{fault: max(0, getattr(s.budget, fault) - 1)}))

    @staticmethod
    def stage(s: State, i: int, stage: str) -> State:
        return s._replace(commands=put(s.commands, i, (stage, s.commands[i][1])))

    @staticmethod
    def become(s: State, w: int, **changes: Any) -> State:
        return s._replace(writers=put(s.writers, w, s.writers[w]._replace(**changes)))

    @staticmethod
    def without_lease(s: State, w: int) -> State:
        return s._replace(writers=put(s.writers, w, Writer()))

    # -- Kafka

    def kafka(self, s: State) -> Iterator[Step]:
        for i, (stage, _) in enumerate(s.commands):
            name = f"v{i + 1} ({self.commands[i].kind})"
            if stage == IN_TOPIC and self.rules.record_before_ack:
                yield f"{name} is recorded in the ledger, then acknowledged", self.stage(s, i, DUE)
            elif stage == IN_TOPIC:
                yield f"{name} is acknowledged", self.stage(s, i, ACKED)
            elif stage == ACKED:
                yield f"{name} is recorded in the ledger", self.stage(s, i, DUE)
                if s.budget.crashes:
                    yield f"the consumer dies before it records {name}", self.stage(self.spend(s, "crashes"), i, LOST)
            elif stage == DONE and not self.rules.command_id_unique:
                yield f"{name} is redelivered and recorded as a second row", self.stage(s, i, DUE)
            # With command_id_unique a redelivery is ON CONFLICT DO NOTHING: no step.

    # -- lease: from a dead holder it is free, from a living or paused one it costs a takeover

    def lease(self, s: State, w: int) -> Iterator[Step]:
        me, other, name, rival = s.writers[w], s.writers[1 - w], "AB"[w], "BA"[w]
        if me.lease == HOLDER and me.phase != IDLE and s.budget.crashes:
            for tail, s2 in self.give_up(self.spend(s, "crashes"), w):
                yield f"{name} is killed{tail}", self.without_lease(s2, w)
        if me.lease == NO_LEASE and other.lease != HOLDER:
            yield f"{name} takes the free lease", self.become(s, w, lease=HOLDER)
        elif me.lease == NO_LEASE and s.budget.takeovers:
            label = f"{rival} is paused beyond its lease, {name} takes it"
            s2 = self.become(self.spend(s, "takeovers"), w, lease=HOLDER)
            may_send_late = other.phase == READY and self.env.paused
            may_commit_late = other.phase == ANSWERED and not self.rules.fence_locks_lease_row
            if may_send_late or may_commit_late or not self.rules.fence:
                yield label, self.become(s2, 1 - w, lease=EX_HOLDER)
            else:  # whatever else it would do ends at the fence, which is the same as doing nothing
                for tail, s3 in self.give_up(s2, 1 - w):
                    yield label + tail, self.without_lease(s3, 1 - w)

    def give_up(self, s: State, w: int) -> Iterator[Step]:
        """Writer w waits no longer; its request may still be on the way."""
        mine = [r for sender, r in s.wire if sender == w]
        if not mine:
            yield "", s
        elif self.env.late:
            yield "", s._replace(wire=tuple(sorted((NOBODY if sender == w else sender, r) for sender, r in s.wire)))
        else:  # nothing arrives late: it was executed already, or never will be
            s2 = s._replace(wire=tuple((sender, r) for sender, r in s.wire if sender != w))
            yield ", its request never arrives", s2
            happened, s3, _ = self.execute(s2, mine[0])
            yield f", QBO {happened}, the answer is lost", s3

    # -- writer

    def writer(self, s: State, w: int) -> Iterator[Step]:
        me, name = s.writers[w], "AB"[w]
        if me.lease == NO_LEASE:
            return
        if me.phase == IDLE:
            yield from self.transaction(s, w, self.decide)
            yield from self.feed(s, w)
        elif me.phase == READY:
            yield self.send(s, w)
        elif me.phase == WAITING and (s.budget.silences or not any(sender == w for sender, _ in s.wire)):
            for tail, s2 in self.give_up(self.spend(s, "silences"), w):
                yield f"{name} hears nothing in time{tail}", self.become(s2, w, phase=ANSWERED, answer=("silence",))
        elif me.phase == ANSWERED and me.answer[0] in ("stale", "duplicate"):
            seen = self.read(s, me.answer[1])
            label = f"{name} reads document {me.answer[1]} by Id: {self.says(seen)}"
            yield label, self.become(s, w, answer=self.of_another(s, me, seen) or seen)
        elif me.phase == ANSWERED:
            yield from self.transaction(s, w, self.record)
        elif me.phase == ANNOUNCING:
            i = me.answer[0]
            s2 = self.become(s, w, phase=IDLE, request=None, answer=())
            yield f"{name} publishes the end of v{i + 1}", s2._replace(published=tuple(sorted({*s.published, i})))

    def of_another(self, s: State, me: Writer, seen: tuple) -> tuple:
        """What 6140 means if the document that it names, and that was read by Id, is not the request's; () if it is."""
        request, (kind, qbo_id) = me.request, me.answer
        assert request
        if kind != "duplicate":
            return ()
        named_another = bool(request.qbo_id) and request.qbo_id != qbo_id
        if seen[0] == "gone":
            return ("free again",) if named_another and self.rules.named_is_another else ()
        if self.rules.identity == MARKER and request.qbo_id:
            return ("taken",) if named_another else ()
        return () if self.is_ours(s.books[qbo_id - 1], request.number) else ("taken",)

    def send(self, s: State, w: int) -> Step:
        me, r = s.writers[w], s.writers[w].request
        assert r
        label = f"{'AB'[w]} sends {r.operation} v{r.version}, requestid {r.requestid}"
        if self.rules.token_pinned and self.env.token_life is not None and r.age > self.env.token_life:
            return label + ", its access token has expired: 401, nothing is done", self.without_lease(s, w)
        r = r._replace(age=0)
        if me.lease == EX_HOLDER and self.rules.fence:
            s2 = s._replace(wire=tuple(sorted((*s.wire, (NOBODY, r)))))
            return label + ", waking from its pause", self.without_lease(s2, w)
        s2 = s._replace(wire=tuple(sorted((*s.wire, (w, r)))))
        return label, self.become(s2, w, phase=WAITING, request=r)

    def transaction(self, s: State, w: int, body: Callable[[State, int], Iterator[Step]]) -> Iterator[Step]:
        """Every ledger transaction carries AND fencing_token = :mine."""
        me = s.writers[w]
        if me.lease == EX_HOLDER:
            checked_before = me.phase == ANSWERED and not self.rules.fence_locks_lease_row
            if self.rules.fence and not checked_before:
                yield f"{'AB'[w]} is refused by the fence", self.without_lease(s, w)
                return
            s = self.blame(s, STALE_WRITER)
        yield from body(s, w)

    # ---- deciding

    def decide(self, s: State, w: int) -> Iterator[Step]:
        name, rules = "AB"[w], self.rules
        due = [i for i, (stage, _) in enumerate(s.commands) if stage == DUE]
        if not due:
            return
        if s.attempt and (rules.one_open_attempt or due[-1] < s.attempt.request.version):
            if s.attempt.stuck:
                s2 = s
                for i in due:
                    s2 = self.end(s2, w, i, HELD)
                yield f"{name} holds {self.names(due)}: the open attempt waits for a person", s2
            else:
                yield from self.resolve(s, w)
            return
        if rules.newest == "none":
            for i in due:
                yield from self.decide_one(s, w, i)
            return
        counts = due
        if rules.newest == "recorded":
            counts = [i for i, (stage, _) in enumerate(s.commands) if stage in (DUE, DONE)]
        elif rules.newest == "applied":  # as if a version that was rejected or held had not been the source's latest word
            counts = due + [i for i, (_, end) in enumerate(s.commands) if end in (POSTED, UNCHANGED, RETRACTED)]
        newest, s2 = max(counts), s
        older = [i for i in due if i < newest]
        for i in older:
            s2 = self.end(s2, w, i, SUPERSEDED)
        if newest not in due:
            yield f"{name} records {self.names(older)} as superseded", s2
            return
        for label, s3 in self.decide_one(s2, w, newest):
            yield label + (f"; {self.names(older)} superseded" if older else ""), s3

    def decide_one(self, s: State, w: int, i: int) -> Iterator[Step]:
        """What should be, against what QBO is known to hold."""
        name, wanted, known = "AB"[w], self.commands[i], s.known
        version, upsert = i + 1, wanted.kind == UPSERT
        if known and known.diverged and (upsert or known.content != GONE):
            yield f"{name} holds v{version}: a person changed the document", self.end(s, w, i, HELD)
        elif not known and upsert:
            yield from self.claim_numbered(s, w, Request(CREATE, version, wanted.content, ""))
        elif not known or (upsert and self.holds(known, wanted)) or (not upsert and known.content == VOIDED):
            yield f"{name} ends v{version} as unchanged: nothing to do", self.end(s, w, i, UNCHANGED, attempt=None)
        elif known.content == GONE:
            label = f"{name} ends v{version} as unchanged: a person has deleted the document"
            yield label, self.end(s, w, i, UNCHANGED, attempt=None, known=None)
        elif upsert:
            request = Request(UPDATE, version, wanted.content, "", known.qbo_id, known.sync_token)
            yield from self.claim_numbered(s, w, request)
        elif self.rules.retract_by_void:
            request = Request(UPDATE, version, VOIDED, "", known.qbo_id, known.sync_token, number=known.number)
            yield self.claim(s, w, request)
        else:
            request = Request(DELETE, version, "", "", known.qbo_id, known.sync_token, number=known.number)
            yield self.claim(s, w, request)

    @staticmethod
    def holds(known: Known, wanted: Command) -> bool:
        return known.content == wanted.content and known.source_number == wanted.number

    def claim_numbered(self, s: State, w: int, request: Request) -> Iterator[Step]:
        """Choose the document's number, then claim. Where a query may miss who has the number, both answers are possible."""
        rules, i, name = self.rules, request.version - 1, "AB"[w]
        given, chosen = self.commands[i].number, s.numbered
        if given == OF_KEY:
            yield self.claim(s, w, request)
            return
        if chosen.source_number == given and (chosen.number != given or self.has(s, given)):
            yield self.claim(s, w, request._replace(number=chosen.number))
            return
        own = s.known.qbo_id if s.known else 0
        holders = [d for d in s.books if d.live and d.number == given and d.qbo_id != own] if rules.ask_first else []
        if not any(self.is_shown(d) for d in holders):
            yield self.claim(s, w, request._replace(number=given))
        forgotten = [d for d in holders if not d.stranger]
        if forgotten:
            yield f"{name} holds v{i + 1}: our own document {forgotten[0].qbo_id} is there already", self.end(s, w, i, HELD)
        if len(forgotten) == len(holders) or any(self.is_shown(d) for d in forgotten):
            return
        if rules.number_taken == REJECT:
            yield f"{name} rejects v{i + 1}: its number is taken", self.end(s, w, i, REJECTED)
        else:
            yield self.claim(s, w, request._replace(number=OF_KEY if rules.number_taken == DERIVE else NO_NUMBER))

    def has(self, s: State, number: str) -> bool:
        """Whether the document has the number that its source gives, so that nobody is asked."""
        return s.known is not None and (s.known.number == number or not self.rules.keep_only_what_is_there)

    def is_shown(self, d: Document) -> bool:
        """Whether no query can miss it."""
        return self.env.staleness is not None and d.age >= self.env.staleness

    def claim(self, s: State, w: int, request: Request) -> Step:
        """A new attempt: requestid, body and SyncToken are journalled, only then may the request leave."""
        per_attempt = self.rules.requestid_of == "attempt"
        n = s.attempts + per_attempt  # counted only where it matters, to keep the state space finite
        in_batch = self.env.batch and request.operation == CREATE
        requestid = f"{'batch' if in_batch else 'r'}{n}" if per_attempt else f"of({request.content})"
        if self.rules.requestid_of == "command":
            requestid = f"of(v{request.version})"
        request = request._replace(requestid=requestid)
        if any(stage in (DUE, DONE) for stage, _ in s.commands[request.version :]):
            s = self.blame(s, OUTDATED)
        s = s._replace(attempts=n)
        if request.operation != DELETE and request.content != VOIDED:
            has_it = s.known is not None and s.known.number == request.number
            if not has_it and any(d.stranger and d.live and d.number == request.number and self.is_shown(d) for d in s.books):
                s = self.blame(s, SHARED)
            given = self.commands[request.version - 1].number
            before = "" if request.operation == CREATE and self.rules.create_forgets_number else s.numbered.number
            s = s._replace(numbered=Numbered() if given == OF_KEY else Numbered(request.number or before, given))
        if self.rules.journal_before_send:
            s = s._replace(attempt=Attempt(request))
        based = "" if request.operation == CREATE else f" on SyncToken {request.sync_token}"
        asks = {OF_KEY: "", NO_NUMBER: ", no number"}.get(request.number, f", number {request.number}")
        label = f"{'AB'[w]} claims v{request.version}: {request.operation}{based}{asks}, requestid {requestid}"
        return label, self.become(s, w, phase=READY, request=request, answer=())

    # ---- resolving an open attempt

    def resolve(self, s: State, w: int) -> Iterator[Step]:
        rules, attempt = self.rules, s.attempt
        assert attempt
        in_window = rules.resend_window is None or attempt.since_first <= rules.resend_window
        if attempt.refused and not attempt.ambiguous:
            yield self.resend(s, w)  # no copy of it is on the way: as if it had not been sent
        elif attempt.request.operation != CREATE and in_window:
            yield self.resend(s, w)  # safe by the SyncToken, even where the requestid is ignored
        elif rules.on_silence == HOLD:
            yield self.ask_a_person(s, w)
        elif rules.on_silence == AS_DRAFTED and attempt.resent:
            yield from self.look_up(s, w, True)
        elif rules.on_silence == AS_DRAFTED:
            yield self.resend(s, w)
        elif rules.on_silence == RESEND and in_window:
            yield self.resend(s, w)
            yield from self.look_up(s, w, False)  # "found" counts at any time, be it from the change feed
        elif (rules.on_silence == LOOK_FIRST and in_window) or rules.may_give_up:
            yield from self.look_up(s, w, self.absent_counts(attempt))
        else:
            yield self.ask_a_person(s, w)

    def absent_counts(self, attempt: Attempt) -> bool:
        """No copy of the request can take effect any more, and one that did cannot be missed."""
        heard_out = attempt.heard_out and not attempt.lost
        return attempt.since_last >= (self.rules.absent_after if heard_out else self.rules.absent_after_loss)

    def resend(self, s: State, w: int) -> Step:
        """The journalled request again, byte for byte. That it is sent again is journalled first."""
        assert s.attempt
        request, n = s.attempt.request, s.attempts
        if not self.rules.same_requestid or (request.requestid.startswith("batch") and not self.rules.same_envelope):
            n += 1
            request = request._replace(requestid=f"r{n}")
        attempt = Attempt(request, resent=True)
        if s.attempt.ambiguous or not s.attempt.refused:  # a copy may be on the way, or in the hands of a lost writer
            lost = s.attempt.lost or not s.attempt.heard_out
            attempt = attempt._replace(ambiguous=True, lost=lost, since_first=s.attempt.since_first)
        label = f"{'AB'[w]} journals that it resends {request.operation} v{request.version}, requestid {request.requestid}"
        s2 = s._replace(attempt=attempt, attempts=n)
        return label, self.become(s2, w, phase=READY, request=request, answer=())

    def look_up(self, s: State, w: int, absent_counts: bool) -> Iterator[Step]:
        """Search QBO for the marker and read by Id what was found. What is young may be missed. A known Id is just read."""
        assert s.attempt
        label, request, staleness = f"{'AB'[w]} looks up the marker: ", s.attempt.request, self.env.staleness
        if request.operation != CREATE:
            if absent_counts:
                seen = self.read(s, request.qbo_id)
                label = f"{'AB'[w]} reads document {request.qbo_id} by Id: {self.says(seen)}"
                yield label, self.become(s, w, phase=ANSWERED, request=request, answer=seen)
            return
        number = request.number
        if self.rules.look_up == NEWEST_NUMBER:
            number = [c.number for c, (stage, _) in zip(self.commands, s.commands, strict=True) if stage in (DUE, DONE)][-1]
        live = [d for d in s.books if d.live and self.is_ours(d, number)]
        if self.rules.look_up != MARKER:
            live = [d for d in live if d.number == number]
        for d in live:
            seen = self.read(s, d.qbo_id)
            yield label + self.says(seen), self.become(s, w, phase=ANSWERED, request=request, answer=seen)
        if absent_counts and all(staleness is None or d.age < staleness for d in live):
            stale = " (stale: it is there)" if live else ""
            yield f"{label}absent{stale}", self.become(s, w, phase=ANSWERED, request=request, answer=("absent",))

    @staticmethod
    def read(s: State, qbo_id: int) -> tuple:
        d = s.books[qbo_id - 1]
        return ("found", d.qbo_id, d.sync_token, d.content, d.number) if d.live else ("gone",)

    def ask_a_person(self, s: State, w: int) -> Step:
        assert s.attempt
        i = s.attempt.request.version - 1
        s2 = self.become(s, w, phase=IDLE, request=None, answer=())
        label = f"{'AB'[w]} cannot know what became of {s.attempt.request.requestid}: v{i + 1} is held for a person"
        return label, self.end(s2, w, i, HELD, attempt=s.attempt._replace(stuck=True))

    # ---- recording an answer: the document's row, the command's end and its event in one commit

    def record(self, s: State, w: int) -> Iterator[Step]:
        me, name, rules, attempt, known = s.writers[w], "AB"[w], self.rules, s.attempt, s.known
        request, kind = me.request, me.answer[0]
        assert request
        i, operation = request.version - 1, request.operation
        retracts = self.commands[i].kind == RETRACT
        success = RETRACTED if retracts else POSTED
        s2 = self.become(s, w, phase=IDLE, request=None, answer=())

        if kind in ("created", "updated"):
            _, qbo_id, sync_token, number = me.answer
            row = Known(qbo_id, sync_token, request.content, number=number, source_number=self.commands[i].number)
            yield (
                f"{name} records v{i + 1} as {success}",
                self.end(self.shows_number(s2, number), w, i, success, known=row, attempt=None),
            )

        elif kind == "deleted" or (kind == "gone" and retracts):
            yield f"{name} records v{i + 1} as retracted", self.end(s2, w, i, RETRACTED, known=None, attempt=None)

        elif kind == "error" and (not attempt or not attempt.ambiguous or rules.error_resolves_after_silence):
            yield f"{name} records v{i + 1} as rejected", self.end(s2, w, i, REJECTED, attempt=None)

        elif kind == "refused":
            answered = attempt._replace(refused=True, heard_out=True, since_last=0) if attempt else None
            yield f"{name} records that {request.requestid} was refused for now", s2._replace(attempt=answered)

        elif kind in ("taken", "free again") and (not attempt or not attempt.ambiguous or rules.error_resolves_after_silence):
            yield self.number_refused(s2, w, request, kind)

        elif kind in ("silence", "error", "taken", "free again") or (kind == "gone" and operation == CREATE):
            unknown = attempt._replace(ambiguous=True, heard_out=True, since_last=0) if attempt else None
            yield f"{name} records {request.requestid} as unknown", s2._replace(attempt=unknown)

        elif kind == "gone":  # an update of a document that is no more
            row = Known(request.qbo_id, request.sync_token, GONE, diverged=True)
            yield f"{name} holds v{i + 1}: a person deleted the document", self.end(s2, w, i, HELD, known=row, attempt=None)

        elif kind == "found":
            _, qbo_id, sync_token, content, number = me.answer
            if self.is_own_write(request, me.answer):
                label = f"{name} has found its own write, records v{i + 1} as {success}"
                row = Known(qbo_id, sync_token, content, number=number, source_number=self.commands[i].number)
                yield label, self.end(self.shows_number(s2, number), w, i, success, known=row, attempt=None)
            elif known and ((content, number) == (known.content, known.number) or not rules.compare_after_conflict):
                # The SyncToken has moved, or the wait is over: no copy of the old attempt can commit any more.
                label = f"{name} will apply v{i + 1} again on SyncToken {sync_token}"
                yield label, s2._replace(known=known._replace(sync_token=sync_token), attempt=None)
            else:
                label = f"{name} holds v{i + 1}: the document is not as any command of ours left it"
                row = Known(qbo_id, sync_token, content, True, number, known.source_number if known else OF_KEY)
                yield label, self.end(s2, w, i, HELD, known=row, attempt=None)

        elif kind == "absent":
            assert attempt
            in_window = rules.resend_window is None or attempt.since_first <= rules.resend_window
            in_batch = request.requestid.startswith("batch")  # is not resent: other items of it may have been found
            if rules.on_silence == LOOK_FIRST and in_window and not in_batch:
                # Looked up after the wait: no earlier copy can take effect, wherever it is.
                yield self.resend(s2._replace(attempt=attempt._replace(heard_out=True, lost=False)), w)
            elif rules.on_silence == AS_DRAFTED or rules.may_give_up or in_batch:
                yield f"{name} gives {request.requestid} up", s2._replace(attempt=None)
            else:
                yield self.ask_a_person(s2, w)

    @staticmethod
    def is_own_write(request: Request, seen: tuple) -> bool:
        """(a) of the table: what was read is what the request would make. An update moves the SyncToken."""
        _, _, sync_token, content, number = seen
        if request.operation == DELETE or content != request.content:
            return False
        if content == VOIDED:
            return True
        return number == (request.number or number) and (request.operation == CREATE or sync_token != request.sync_token)

    def number_refused(self, s: State, w: int, request: Request, kind: str) -> Step:
        """6140 names another document, and nothing was done: what follows, the company has decided."""
        name, i = "AB"[w], request.version - 1
        given = self.commands[i].number
        if kind == "free again":
            return f"{name} will claim v{i + 1} again: who had its number is gone", s._replace(attempt=None)
        if request.number != given:
            return f"{name} holds v{i + 1}: another document has the number of its key", self.end(s, w, i, HELD, attempt=None)
        if self.rules.number_taken == REJECT:
            return f"{name} rejects v{i + 1}: its number is taken", self.end(s, w, i, REJECTED, attempt=None)
        instead = Numbered(OF_KEY if self.rules.number_taken == DERIVE else NO_NUMBER, given)
        return f"{name} will claim v{i + 1} with another number", s._replace(attempt=None, numbered=instead)

    @staticmethod
    def shows_number(s: State, number: str) -> State:
        return s if s.numbered == Numbered() else s._replace(numbered=s.numbered._replace(number=number))

    def end(self, s: State, w: int, i: int, how: str, **row: Any) -> State:
        if s.commands[i][1] not in ("", how, HELD, REJECTED):  # what was held or rejected may be taken up again
            s = self.blame(s, END_CHANGED)
        if how == HELD and self.rules.on_silence != HOLD and not any(d.person for d in s.books):
            s = self.blame(s, NEEDLESS_HOLD)
        s = s._replace(commands=put(s.commands, i, (DONE, how)), **row)
        if s.known and s.books[s.known.qbo_id - 1].stranger:
            s = self.blame(s, STRANGER)
        if self.rules.outbox_in_commit:
            return s._replace(outbox=tuple(sorted({*s.outbox, i})))
        return self.become(s, w, phase=ANNOUNCING, request=None, answer=(i,))

    # ---- the change feed (webhooks, CDC), read by the lease holder

    def feed(self, s: State, w: int) -> Iterator[Step]:
        known, name = s.known, "AB"[w]
        if s.writers[w].lease != HOLDER or not known or known.diverged or (s.attempt and self.rules.feed_waits):
            return
        d = s.books[known.qbo_id - 1]
        if d.live and d.sync_token <= known.sync_token:
            return
        if d.live and ((d.content, d.number) == (known.content, known.number) or not self.rules.compare_in_feed):
            s2 = s._replace(known=known._replace(sync_token=d.sync_token))
            yield f"{name} takes SyncToken {d.sync_token} from the change feed", s2
        else:
            if not any(d.person for d in s.books):
                s = self.blame(s, NEEDLESS_HOLD)
            known = known._replace(content=d.content if d.live else GONE, diverged=True, number=d.number)
            yield f"{name} reads in the change feed that the document diverged", s._replace(known=known)

    # -- QBO

    def qbo(self, s: State) -> Iterator[Step]:
        env = self.env
        for k, (sender, r) in enumerate(s.wire):
            if k and s.wire[k - 1] == s.wire[k]:
                continue  # two equal requests that nobody waits for: either one may be first
            s2 = s._replace(wire=s.wire[:k] + s.wire[k + 1 :])
            tail = " (nobody waits for the answer)" if sender == NOBODY else ""
            replay = not r.past_check and any(m.requestid == r.requestid for m in s.memory)
            if not env.requestid_atomic and not r.past_check and not replay:
                checked = tuple(sorted((*s2.wire, (sender, r._replace(past_check=True)))))
                yield f"QBO does not know {r.requestid} and begins to work{tail}", s._replace(wire=checked)
                continue
            happened, s3, answer = self.execute(s2, r)
            yield f"QBO {happened}{tail}", self.deliver(s3, sender, answer)
            if env.batch_cut_off and r.requestid.startswith("batch") and not replay:
                cut, s4, _ = self.execute(s2, r, remembered=False)
                if sender == NOBODY:
                    yield f"QBO {cut}, then the batch is cut off{tail}", s4
                elif s.budget.silences:
                    s4 = self.deliver(self.spend(s4, "silences"), sender, ("silence",))
                    yield f"QBO {cut}, then the batch is cut off", s4
            if sender != NOBODY and s.budget.refusals:
                s4 = self.deliver(self.spend(s2, "refusals"), sender, ("refused",))
                yield f"QBO refuses {r.operation} v{r.version} for now, nothing is done", s4
            if sender != NOBODY and s.budget.errors and not replay:
                s4 = self.spend(s2, "errors")
                s4 = self.remember(s4, r, ("error",)) if env.remember_errors else s4
                yield f"QBO refuses {r.operation} v{r.version} with an error", self.deliver(s4, sender, ("error",))
                if env.error_may_lie:
                    s5 = self.deliver(self.spend(s3, "errors"), sender, ("error",))
                    yield f"QBO {happened}, yet answers with an error", s5

    def deliver(self, s: State, sender: int, answer: tuple) -> State:
        return s if sender == NOBODY else self.become(s, sender, phase=ANSWERED, answer=answer)

    def remember(self, s: State, r: Request, answer: tuple) -> State:
        if self.env.requestid == IGNORED or any(m.requestid == r.requestid for m in s.memory):
            return s
        return s._replace(memory=tuple(sorted((*s.memory, Remembered(r.requestid, answer)))))

    def execute(self, s: State, r: Request, remembered: bool = True) -> tuple[str, State, tuple]:
        """What QBO does with a request: what happened, the new state, the answer."""
        for m in s.memory:
            if m.requestid == r.requestid and not r.past_check:
                return f"replays its answer to {r.requestid}", s, m.answer
        holders = [d for d in s.books if d.live and d.number == r.number and d.qbo_id != r.qbo_id]
        if not self.env.docnumber_check or r.operation == DELETE or r.content == VOIDED:
            holders = []
        taken = f"refuses the number of document {holders[0].qbo_id}: 6140" if holders else ""
        if r.operation == CREATE and taken:
            return self.refuse(s, r, taken, ("duplicate", holders[0].qbo_id))
        if r.operation == CREATE:
            number = BY_QBO if self.env.gives_numbers or r.number == NO_NUMBER else r.number
            changed = "renumbered" if number != (r.number or number) else ""
            d = Document(len(s.books) + 1, True, r.version, r.content, person=changed, number=number)
            if any(other.content != VOIDED for other in s.books if other.live and not other.stranger):
                s = self.blame(s, DOUBLE)
            if any(self.undoes(r, other) for other in s.books):
                s = self.blame(s, UNDONE)
            s = s._replace(books=(*s.books, d))
            done: tuple = ("created", d.qbo_id, 0, number)
            return f"creates document {d.qbo_id} with v{r.version}", self.remember(s, r, done) if remembered else s, done
        d = s.books[r.qbo_id - 1]
        if not d.live:
            return self.refuse(s, r, f"finds no document {d.qbo_id}: 610", ("gone",))
        taken = taken if r.number != d.number else ""  # which it has already
        if d.sync_token != r.sync_token and not (taken and self.env.number_before_token):
            return self.refuse(s, r, f"refuses SyncToken {r.sync_token}: 5010", ("stale", d.qbo_id))
        if taken:
            return self.refuse(s, r, taken, ("duplicate", holders[0].qbo_id))
        if d.person == "edited":
            s = self.blame(s, CLOBBERED)
        if d.stranger:
            s = self.blame(s, OVERWRITTEN)
        if r.operation == DELETE:
            d2, happened, done = d._replace(live=False), f"deletes document {d.qbo_id}", ("deleted",)
        else:
            number = r.number or d.number
            d2 = d._replace(version=r.version, content=r.content, sync_token=d.sync_token + 1, number=number)
            happened, done = f"updates document {d.qbo_id} to v{r.version}", ("updated", d.qbo_id, d2.sync_token, number)
        s = s._replace(books=put(s.books, d.qbo_id - 1, d2))
        return happened, self.remember(s, r, done) if remembered else s, done

    def refuse(self, s: State, r: Request, happened: str, answer: tuple) -> tuple[str, State, tuple]:
        return happened, self.remember(s, r, answer) if self.env.remember_errors else s, answer

    def undoes(self, r: Request, d: Document) -> bool:
        """A person deleted d, and no retraction stands between it and what is created now."""
        between = self.commands[d.version : r.version - 1]
        return d.person == "deleted" and not any(c.kind == RETRACT for c in between)

    # -- people

    def person(self, s: State) -> Iterator[Step]:
        """Somebody at work in QBO."""
        if not s.budget.person:
            return
        may, s2 = self.env.person_may, self.spend(s, "person")
        if "make" in may:
            for number in dict.fromkeys(c.number for c in self.commands if c.number != OF_KEY):
                content = next(c.content for c in self.commands if c.number == number)  # the same paper, typed in by hand
                d2 = Document(len(s.books) + 1, True, 0, content, number=number, stranger=True)
                yield f"a person makes document {d2.qbo_id} with number {number}", s2._replace(books=(*s.books, d2))
        for d in s.books:
            if d.live and d.stranger and "remove" in may:
                d2 = d._replace(live=False)
                yield f"a person deletes the stranger {d.qbo_id}", s2._replace(books=put(s.books, d.qbo_id - 1, d2))
            if not d.live or d.stranger:
                continue
            if "renumber" in may:
                for number in dict.fromkeys([BY_PERSON, *(c.number for c in self.commands)]):
                    # One who makes of it exactly what a command wants cannot be told from the writer.
                    as_ours = any((c.content, c.number) == (d.content, number) for c in self.commands)
                    d2 = d._replace(number=number, sync_token=d.sync_token + 1, person="as ours" if as_ours else "edited")
                    if number not in (d.number, OF_KEY):
                        label = f"a person changes the number of document {d.qbo_id} to {number}"
                        yield label, s2._replace(books=put(s.books, d.qbo_id - 1, d2))
            if "edit" in may:
                d2 = d._replace(content="a person's", sync_token=d.sync_token + 1, person="edited")
                yield f"a person edits document {d.qbo_id}", s2._replace(books=put(s.books, d.qbo_id - 1, d2))
            if "delete" in may:
                d2 = d._replace(live=False, person="deleted")
                yield f"a person deletes document {d.qbo_id}", s2._replace(books=put(s.books, d.qbo_id - 1, d2))
            if "touch" in may:
                d2 = d._replace(sync_token=d.sync_token + 1)
                yield f"the SyncToken of document {d.qbo_id} moves", s2._replace(books=put(s.books, d.qbo_id - 1, d2))

    def operator(self, s: State) -> Iterator[Step]:
        """Somebody at our console who resolves a stuck attempt, and sees QBO as it is."""
        attempt, env = s.attempt, self.env
        if not (s.budget.operator and attempt and attempt.stuck):
            return
        request, live = attempt.request, [d for d in s.books if d.live and self.is_ours(d, attempt.request.number)]
        late_copies_are_dead = False
        if env.transit is not None and env.token_life is not None:
            in_hands = 0 if attempt.heard_out and not attempt.lost else env.token_life
            late_copies_are_dead = attempt.since_last > in_hands + env.transit
        s2 = self.spend(s, "operator")._replace(attempt=None)
        for i, (_, end) in enumerate(s.commands):
            if end == HELD:
                s2 = self.stage(s2, i, DUE)
        if live and (live[0].content, live[0].number) == (request.content, request.number or live[0].number):
            d = live[0]
            source_number = self.commands[request.version - 1].number
            known = Known(d.qbo_id, d.sync_token, d.content, number=d.number, source_number=source_number)
            yield f"the operator lets the writer adopt document {d.qbo_id}", s2._replace(known=known)
        elif late_copies_are_dead or not self.rules.operator_waits:
            known = None
            if live:
                d = live[0]
                same = s.known and (d.content, d.number) == (s.known.content, s.known.number)
                known = (s.known or Known(0, 0, ""))._replace(qbo_id=d.qbo_id, sync_token=d.sync_token, content=d.content)
                known = known._replace(diverged=not same, number=d.number)
            seen = tuple(d._replace(person="deleted, seen") if d.person == "deleted" else d for d in s.books)
            label = f"the operator decides that {request.requestid} had no effect"
            yield label, s2._replace(known=known, books=seen)

    # -- clock: a tick makes everything older, up to the age from which on it makes no difference

    def clock(self, s: State) -> Iterator[Step]:
        rules, env, s2 = self.rules, self.env, s
        # A lease holder sends, and stops waiting, in time. Only one that lost its lease can be slower.
        for writer in s.writers:
            if writer.request and writer.lease == HOLDER and writer.phase == READY and writer.request.age == env.token_life:
                return
        if any(sender != NOBODY and r.age == env.transit for sender, r in s.wire):
            return
        if s.attempt:
            a = s.attempt
            window = 0 if rules.resend_window is None else rules.resend_window + 1
            wait = max(rules.absent_after, rules.absent_after_loss)
            if env.operator:
                wait = max(wait, (env.token_life or 0) + (env.transit or 0) + 1)
            a = a._replace(since_first=min(a.since_first + 1, window), since_last=min(a.since_last + 1, wait))
            s2 = s2._replace(attempt=a)
        if env.transit is not None:
            wire = ((sender, r._replace(age=r.age + 1)) for sender, r in s.wire if r.age < env.transit)
            s2 = s2._replace(wire=tuple(sorted(wire)))
        if env.token_life is not None:
            for w, writer in enumerate(s.writers):
                if writer.request and writer.phase == READY:
                    age = min(writer.request.age + 1, env.token_life + 1)
                    s2 = self.become(s2, w, request=writer.request._replace(age=age))
        if env.staleness is not None:
            s2 = s2._replace(books=tuple(d._replace(age=min(d.age + 1, env.staleness)) for d in s.books))
        if env.memory is not None:
            s2 = s2._replace(memory=tuple(m._replace(age=min(m.age + 1, env.memory)) for m in s.memory))
        if s2 != s:
            yield "time passes", s2

    def forget(self, s: State) -> Iterator[Step]:
        for k, m in enumerate(s.memory):
            if self.env.memory is not None and m.age >= self.env.memory:
                yield f"QBO forgets {m.requestid}", s._replace(memory=s.memory[:k] + s.memory[k + 1 :])

    # -- relay of the outbox

    def relay(self, s: State) -> Iterator[Step]:
        if s.relay:
            i = s.relay[0]
            if self.rules.publish_then_mark:
                label, s2 = "marks", s._replace(outbox=tuple(k for k in s.outbox if k != i))
            else:
                label, s2 = "publishes", s._replace(published=tuple(sorted({*s.published, i})))
            yield f"the relay {label} the event of v{i + 1}", s2._replace(relay=())
            if s.budget.crashes:
                yield "the relay is killed", self.spend(s, "crashes")._replace(relay=())
        elif s.outbox:
            i = s.outbox[0]
            if self.rules.publish_then_mark:
                label, s2 = "publishes", s._replace(published=tuple(sorted({*s.published, i})))
            else:
                label, s2 = "marks", s._replace(outbox=s.outbox[1:])
            yield f"the relay {label} the event of v{i + 1}", s2._replace(relay=(i,))

    # -- properties of a state

    def violation(self, s: State) -> str:
        if not s.fault and WRONG_BOOKS in self.properties and self.settled(s) and not self.books_as_told(s):
            return WRONG_BOOKS
        return s.fault

    def books_as_told(self, s: State) -> bool:
        """QBO holds what the ends say, whether or not a request that is still on the way ever arrives."""
        there = [d for d in s.books if d.live and d.content != VOIDED and not d.stranger]
        ours = [d for d in there if d.person != "as ours"]
        if any(end == REJECTED and d.version == i + 1 for i, (_, end) in enumerate(s.commands) for d in ours):
            return False
        wanted, (_, end) = self.commands[-1], s.commands[-1]
        if end in (HELD, REJECTED):
            return True
        if wanted.kind == RETRACT:  # what a person makes of a voided document is the person's business
            revived = self.rules.retract_by_void and all(d.person for d in there)
            return end in (RETRACTED, UNCHANGED) and (revived or not there)
        if end not in (POSTED, UNCHANGED) or len(there) > 1:
            return False
        if there:
            numbers = {wanted.number}
            if any(d.stranger for d in s.books):  # it may have, or have had, the number
                numbers.add(OF_KEY if self.rules.number_taken == DERIVE else BY_QBO)
            if self.rules.number_taken == LEAVE_TO_QBO:  # an update that names no number leaves what is there
                numbers |= {c.number for c in self.commands}
            right = there[0].content == wanted.content and there[0].number in numbers
            return right or there[0].person in ("edited", "renumbered", "as ours")
        return any(d.person for d in s.books)  # a person deleted it

    # -- words

    @staticmethod
    def names(commands: list[int]) -> str:
        return ", ".join(f"v{i + 1}" for i in commands)

    @staticmethod
    def says(seen: tuple) -> str:
        if seen[0] == "gone":
            return "it is gone"
        number = "" if seen[4] == OF_KEY else f", number {seen[4]}"
        return f"document {seen[1]}, SyncToken {seen[2]}, content {seen[3]!r}{number}"


# ------------------------------------------------------------------------------------------------------------------- checker


@dataclass
class Result:
    fault: str = ""
    trace: list[str] = field(default_factory=list)
    states: int = 0
    steps: int = 0
    seconds: float = 0.0
    ends: list[set[str]] = field(default_factory=list)  # of each command, in finished states


def explore(model: Model) -> Result:
    """All reachable states, breadth first, up to the first fault; then: can each of them still reach a finished one?"""
    started, result = time.perf_counter(), Result()
    first = model.initial()
    index, states, parents, successors = {first: 0}, [first], [-1], []

    def trace(i: int) -> list[str]:
        lines: list[str] = []
        while parents[i] >= 0:
            lines.append(next(label for label, s in model.steps(states[parents[i]]) if s == states[i]))
            i = parents[i]
        return lines[::-1]

    def search() -> None:
        at = 0
        while at < len(states):
            children = []
            for _, s in model.steps(states[at]):
                result.steps += 1
                i = index.get(s)
                if i is None:
                    i = index[s] = len(states)
                    states.append(s)
                    parents.append(at)
                    result.fault = model.violation(s)
                    if result.fault:
                        result.trace = trace(i)
                        return
                children.append(i)
            successors.append(children)
            at += 1

    def check_progress() -> None:
        before: list[list[int]] = [[] for _ in states]
        for i, children in enumerate(successors):
            for j in children:
                before[j].append(i)
        good = [model.finished(s) for s in states]
        todo = [i for i, yes in enumerate(good) if yes]
        while todo:
            for i in before[todo.pop()]:
                if not good[i]:
                    good[i] = True
                    todo.append(i)
        if not all(good):
            i = good.index(False)
            result.fault, result.trace = LOST_COMMAND, trace(i)
            seen = {i}
            while successors[i] and successors[i][0] not in seen:  # show how it goes on in vain
                label, s = next(iter(model.steps(states[i])))
                i = index[s]
                seen.add(i)
                result.trace.append(f"... {label}")
            result.trace.append("... and so on" if successors[i] else "... nothing more can happen")

    search()
    if not result.fault and LOST_COMMAND in model.properties:
        check_progress()
    if not result.fault:
        finished = [s for s in states if model.finished(s)]
        result.ends = [{s.commands[i][1] for s in finished} for i in range(len(model.commands))]
    result.states, result.seconds = len(states), time.perf_counter() - started
    return result


# ------------------------------------------------------------------------------------------------------------ configurations

ONE = (Command(UPSERT, "x"),)
TWO = (Command(UPSERT, "x"), Command(UPSERT, "y"))
RETRACTED_LATER = (Command(UPSERT, "x"), Command(RETRACT))
THERE_AND_BACK = (Command(UPSERT, "x"), Command(UPSERT, "y"), Command(UPSERT, "x"))
AND_AGAIN = (Command(UPSERT, "x"), Command(RETRACT), Command(UPSERT, "y"))

N, M = "n", "m"  # two numbers that a source gives
NUMBERED = (Command(UPSERT, "x", N),)
RENUMBERED = (Command(UPSERT, "x", N), Command(UPSERT, "y", M))
ONLY_RENUMBERED = (Command(UPSERT, "x", N), Command(UPSERT, "x", M))
NUMBER_AND_BACK = (Command(UPSERT, "x", N), Command(UPSERT, "y", M), Command(UPSERT, "x", N))
NUMBER_KEPT = (Command(UPSERT, "x", N), Command(UPSERT, "y", M), Command(UPSERT, "z", M))
NUMBERED_AGAIN = (Command(UPSERT, "x", N), Command(RETRACT), Command(UPSERT, "y", N))
NUMBERED_ANEW = (Command(UPSERT, "x", N), Command(RETRACT), Command(UPSERT, "y", M))
NUMBERED_RETRACTED = (Command(UPSERT, "x", N), Command(UPSERT, "y", M), Command(RETRACT))

CORRECTED = Rules()
DRAFTED = Rules(
    newest="applied",
    one_open_attempt=False,
    on_silence=AS_DRAFTED,
    error_resolves_after_silence=True,
    compare_after_conflict=False,
)
CALM = Environment(silences=0, crashes=0, takeovers=0, person=0, errors=0)  # to which a counterexample adds what it needs
ALL = Environment()  # requestid honoured; requests arrive at any later time; look-ups may miss anything; 1 or 2 of each fault
# With a clock: B = X = S = 1.
BOUNDED = Environment(timed=True, token_life=1, transit=1, staleness=1, silences=1, person_may=("edit", "touch"))
WAITS = replace(CORRECTED, absent_after=2, absent_after_loss=3)  # Q = X + S, Q' = B + X + S
LOOK_RULES = replace(WAITS, on_silence=LOOK_FIRST)
HOLD_RULES = replace(CORRECTED, on_silence=HOLD)
WINDOW_RULES = replace(WAITS, resend_window=1, may_give_up=True)  # W = 1
NUMBER_RULES = replace(WINDOW_RULES, on_silence=LOOK_FIRST)  # the writer as it begins in a company


@dataclass(frozen=True)
class Configuration:
    name: str
    commands: tuple[Command, ...]
    rules: Rules
    env: Environment
    expect: str = ""  # the property that breaks; "" = none
    properties: frozenset[str] = PROPERTIES


def drafted() -> list[Configuration]:
    """The first draft of the protocol: what goes wrong, each time in the calmest environment that shows it."""
    calm = replace(CALM, staleness=0)  # look-ups are perfect
    lost = replace(calm, late=False, paused=False)  # and nothing arrives late: an answer is lost, or a request never arrives

    def c(name: str, commands: tuple[Command, ...], env: Environment, expect: str, **more: Any) -> Configuration:
        return Configuration(f"drafted: {name}", commands, DRAFTED, env, expect, **more)

    return [
        c("v2 comes while v1 is unknown", TWO, replace(calm, silences=1), DOUBLE),
        c("a retraction comes while v1 is unknown", RETRACTED_LATER, replace(calm, silences=1), WRONG_BOOKS),
        c("both sends are late", ONE, replace(calm, silences=2), DOUBLE),
        c("a paused writer wakes up", ONE, replace(calm, silences=1, takeovers=1, late=False), DOUBLE),
        c("a stale look-up", ONE, replace(lost, silences=2, staleness=None), DOUBLE),
        c("an error on the resend while the first send is late", ONE, replace(calm, silences=1, errors=1), WRONG_BOOKS),
        c("5010, re-applied over a person's edit", TWO, replace(calm, person=1), CLOBBERED),
        c("an older version after a rejected newer one", TWO, replace(calm, errors=1), OUTDATED),
        c("6140 finds our own older version", TWO, replace(calm, silences=1, docnumber_check=True), NEEDLESS_HOLD),
        c("'unchanged' while an update is unknown", THERE_AND_BACK, replace(calm, silences=1, docnumber_check=True),
          WRONG_BOOKS, properties=frozenset({WRONG_BOOKS})),
        c("the requestid is forgotten before the resend", ONE, replace(lost, silences=1, memory=0), DOUBLE),
        c("the requestid is ignored", ONE, replace(lost, silences=1, requestid=IGNORED), DOUBLE),
    ]  # fmt: skip


def corrected() -> list[Configuration]:
    """The corrected protocol under all kinds of faults at once."""

    def c(name: str, commands: tuple[Command, ...], rules: Rules, env: Environment) -> Configuration:
        return Configuration(f"corrected: {name}", commands, rules, env)

    forgets = replace(BOUNDED, memory=4, crashes=0, person_may=("edit",))
    ignored = replace(BOUNDED, requestid=IGNORED)
    asked = replace(ignored, operator=1, person_may=("edit", "delete"), crashes=0)
    return [
        c("v1", ONE, CORRECTED, replace(ALL, silences=3, takeovers=2, crashes=2, person=2)),
        c("v1, v2", TWO, CORRECTED, replace(ALL, takeovers=2)),
        c("v1, retraction", RETRACTED_LATER, CORRECTED, replace(ALL, takeovers=2)),
        c("v1, v2, with refusals", TWO, CORRECTED, replace(ALL, refusals=1, silences=1)),
        c("v1, v2, v3 = v1 again", THERE_AND_BACK, CORRECTED, replace(ALL, silences=1)),
        c("v1, retraction, v3", AND_AGAIN, CORRECTED, replace(ALL, silences=1)),
        c("v1, v2, requestid ignored, DocNumber checked", TWO, CORRECTED,
          replace(ALL, requestid=IGNORED, docnumber_check=True, person_may=("edit", "touch"))),
        c("v1, retraction by void", RETRACTED_LATER, replace(CORRECTED, retract_by_void=True), ALL),
        c("v1, void, requestid ignored, DocNumber checked", RETRACTED_LATER, replace(CORRECTED, retract_by_void=True),
          replace(ALL, requestid=IGNORED, docnumber_check=True, person_may=("edit", "touch"))),
        c("v1, v2, resend for W, then look", TWO, WINDOW_RULES, forgets),
        c("v1, v2, resend for W, then look, errors are replayed", TWO, WINDOW_RULES, replace(forgets, remember_errors=True)),
        c("v1, retraction, resend for W, then look", RETRACTED_LATER, WINDOW_RULES, forgets),
        c("v1, v2, look first, requestid ignored", TWO, LOOK_RULES, ignored),
        c("v1, retraction, look first, requestid ignored", RETRACTED_LATER, LOOK_RULES, ignored),
        c("v1, v2, look first, batches are cut off", TWO, LOOK_RULES, replace(BOUNDED, batch=True, batch_cut_off=True)),
        c("v1, v2, hold, requestid ignored, no bounds", TWO, HOLD_RULES, replace(ALL, requestid=IGNORED)),
        c("v1, v2, hold, operator", TWO, HOLD_RULES, asked),
        c("v1, retraction, hold, operator", RETRACTED_LATER, HOLD_RULES, asked),
    ]  # fmt: skip


def numbered() -> list[Configuration]:
    """The corrected protocol with numbers that repeat (a stranger has them) and change (from version to version, by a person)."""

    def c(name: str, commands: tuple[Command, ...], rules: Rules, env: Environment) -> Configuration:
        return Configuration(f"numbers: {name}", commands, rules, env)

    anybody = replace(ALL, person_may=("edit", "delete", "touch", "renumber", "make", "remove"))
    back = replace(anybody, silences=1, crashes=0)
    ignored = replace(BOUNDED, requestid=IGNORED, crashes=0, person_may=("renumber", "make"))
    checked = replace(ignored, docnumber_check=True, person_may=("make", "remove"))
    batch = replace(checked, requestid=HONOURED, batch=True, batch_cut_off=True)
    asked = replace(ignored, operator=1)
    calm = replace(checked, takeovers=0, errors=0)
    return [
        # No clock: requestid honoured, requests arrive at any later time, queries may miss anything.
        c("v1 n, v2 m", RENUMBERED, CORRECTED, anybody),
        c("v1 n, v2 m, v3 n again, a stranger has n", NUMBER_AND_BACK, CORRECTED, replace(back, stranger=N)),
        c("v1 n, v2 m, v3 n again, a stranger has m", NUMBER_AND_BACK, CORRECTED, replace(back, stranger=M)),
        c("v1 n, retraction, v3 n", NUMBERED_AGAIN, CORRECTED, back),
        # With a clock: B = X = S = W = 1.
        c("v1 n, look first, requestid ignored", NUMBERED, NUMBER_RULES,
          replace(ignored, crashes=1, person=2, person_may=("edit", "renumber", "make"))),
        c("v1 n, v2 m, look first, requestid ignored", RENUMBERED, NUMBER_RULES, ignored),
        c("v1 n, v2 m, look first, requestid ignored, a stranger has n", RENUMBERED, NUMBER_RULES, replace(ignored, stranger=N)),
        c("v1 n, v2 m, look first, requestid ignored, a stranger has m", RENUMBERED, NUMBER_RULES, replace(ignored, stranger=M)),
        c("only the number changes, look first, requestid ignored", ONLY_RENUMBERED, NUMBER_RULES, ignored),
        c("v1 n, v2 m, v3 n, look first, requestid ignored", NUMBER_AND_BACK, NUMBER_RULES, replace(ignored, takeovers=0)),
        c("v1 n, v2 m, look first, number checked", RENUMBERED, NUMBER_RULES, replace(checked, crashes=1)),
        c("v1 n, v2 m, v3 n, number checked", NUMBER_AND_BACK, NUMBER_RULES, replace(checked, takeovers=0)),
        c("v1 n, v2 m, number checked before SyncToken", RENUMBERED, NUMBER_RULES,
          replace(checked, number_before_token=True, person_may=("make", "remove", "touch"), person=2, takeovers=0)),
        c("v1 n, v2 m, number checked, taken is rejected", RENUMBERED, replace(NUMBER_RULES, number_taken=REJECT), checked),
        c("v1 n, v2 m, number checked, QBO numbers what is taken", RENUMBERED,
          replace(NUMBER_RULES, number_taken=LEAVE_TO_QBO), checked),
        c("v1 n, v2 m, retraction, number checked", NUMBERED_RETRACTED, NUMBER_RULES, replace(calm, person=2)),
        c("v1 n, v2 m, v3 m", NUMBER_KEPT, NUMBER_RULES, replace(checked, takeovers=0, docnumber_check=False)),
        c("v1 n, v2 m, number checked, resend for W, then look", RENUMBERED, WINDOW_RULES,
          replace(checked, requestid=HONOURED, memory=4, person_may=("make",))),
        c("v1 n, v2 m, number checked, batches are cut off", RENUMBERED, NUMBER_RULES, batch),
        c("v1 n, v2 m, look first, QBO gives numbers of its own", RENUMBERED, NUMBER_RULES, replace(ignored, gives_numbers=True)),
        c("v1 n, retraction, v3 m, QBO numbers what is taken", NUMBERED_ANEW, replace(NUMBER_RULES, number_taken=LEAVE_TO_QBO),
          replace(calm, docnumber_check=False, stranger=M)),
        c("v1 n, void, v3 n", NUMBERED_AGAIN, replace(NUMBER_RULES, retract_by_void=True), replace(calm, takeovers=1)),
        c("v1 n, v2 m, hold, operator", RENUMBERED, HOLD_RULES, asked),
    ]  # fmt: skip


def without_a_rule() -> list[Configuration]:
    """The corrected protocol with one rule off: the counterexample which that rule prevents."""
    quiet = replace(BOUNDED, person=0, errors=0, crashes=0)
    ignored = replace(quiet, requestid=IGNORED)
    only = frozenset({DOUBLE})
    rival = replace(CALM, takeovers=1, errors=1, silences=1)
    harm = PROPERTIES - {STALE_WRITER}  # not the fact of a stale write, but what it does
    makes = replace(quiet, person=1, person_may=("make",))
    renumbers = replace(ignored, person=1, person_may=("renumber",))
    perfect = replace(CALM, staleness=0)  # queries miss nothing
    removes = replace(CALM, docnumber_check=True, person=1, person_may=("remove",), stranger=M)
    anew = replace(perfect, silences=1, person=1, person_may=("make",), stranger=M, timed=True, token_life=1, transit=1)

    def off(name: str, commands: tuple[Command, ...], env: Environment, expect: str,
            properties: frozenset[str] = PROPERTIES, rules: Rules = CORRECTED, **change: Any) -> Configuration:  # fmt: skip
        return Configuration(f"without: {name}", commands, replace(rules, **change), env, expect, properties)

    return [
        off("record, then acknowledge", ONE, replace(CALM, crashes=1), LOST_COMMAND, record_before_ack=False),
        off("unique command id", TWO, CALM, END_CHANGED, command_id_unique=False),
        off("newest version wins", TWO, CALM, WRONG_BOOKS, PROPERTIES - {OUTDATED}, newest="none"),
        off("newest is the newest recorded", TWO, replace(CALM, errors=1), OUTDATED, newest="applied"),
        off("journal before send", ONE, replace(CALM, crashes=1), DOUBLE, journal_before_send=False),
        off("fence", TWO, rival, END_CHANGED, harm, fence=False),
        off("fence locks the lease row", TWO, rival, END_CHANGED, harm, fence_locks_lease_row=False),
        off("one open attempt: create", TWO, replace(CALM, silences=1), DOUBLE, one_open_attempt=False),
        off("one open attempt: retraction", RETRACTED_LATER, replace(CALM, silences=1), WRONG_BOOKS, one_open_attempt=False),
        off("one open attempt: update", THERE_AND_BACK, replace(CALM, silences=1, docnumber_check=True), WRONG_BOOKS,
            frozenset({WRONG_BOOKS}), one_open_attempt=False),
        off("a requestid is not of the content", THERE_AND_BACK, CALM, WRONG_BOOKS, requestid_of="content"),
        off("a requestid is not of the command", TWO, replace(CALM, person=1, person_may=("touch",), remember_errors=True),
            LOST_COMMAND, requestid_of="command"),
        off("same requestid on a resend", ONE, replace(CALM, silences=1), DOUBLE, same_requestid=False),
        off("same batch on a resend", ONE, replace(CALM, batch=True, crashes=1), DOUBLE, same_envelope=False),
        off("an error after silence resolves nothing", ONE, replace(CALM, silences=1, errors=1), WRONG_BOOKS,
            error_resolves_after_silence=True),
        off("compare after 5010", TWO, replace(CALM, person=1), CLOBBERED, compare_after_conflict=False),
        off("compare in the change feed", TWO, replace(CALM, person=1), CLOBBERED, compare_in_feed=False),
        off("the change feed waits for the attempt", TWO, replace(CALM, silences=1), NEEDLESS_HOLD, feed_waits=False),
        off("outbox in the same commit", ONE, replace(CALM, crashes=1), LOST_COMMAND, outbox_in_commit=False),
        off("publish, then mark", ONE, replace(CALM, crashes=1), LOST_COMMAND, publish_then_mark=False),
        off("resend window W", ONE, replace(CALM, silences=1, timed=True, transit=1, memory=3), DOUBLE),
        off("an end of the resends", ONE, replace(CALM, silences=1, errors=1, remember_errors=True), LOST_COMMAND),
        off("wait Q before a new requestid", ONE, quiet, DOUBLE, only, WINDOW_RULES, resend_window=0, absent_after=1),
        off("wait Q' before a new requestid", ONE, quiet, DOUBLE, only, WINDOW_RULES, resend_window=0, absent_after_loss=2),
        off("wait Q before 'absent' counts", ONE, ignored, DOUBLE, only, LOOK_RULES, absent_after=1),
        off("wait Q' before 'absent' counts", ONE, ignored, DOUBLE, only, LOOK_RULES, absent_after_loss=2),
        off("the access token is the journalled one", ONE, replace(ignored, late=False), DOUBLE, only, LOOK_RULES,
            token_pinned=False),
        off("identity is the marker: after silence", NUMBERED, makes, STRANGER, rules=NUMBER_RULES, identity=NUMBER),
        off("identity is the marker: after 6140", NUMBERED, replace(CALM, stranger=N, docnumber_check=True), STRANGER,
            identity=NUMBER),
        off("identity is the marker: what follows", RENUMBERED, replace(CALM, stranger=N, docnumber_check=True), OVERWRITTEN,
            frozenset({OVERWRITTEN}), identity=NUMBER),
        off("a look-up goes by the marker, not by the number", NUMBERED, renumbers, DOUBLE, only, NUMBER_RULES, look_up=NUMBER),
        off("a look-up goes by the marker, not by the newest number", RENUMBERED, ignored, DOUBLE, only, NUMBER_RULES,
            look_up=NEWEST_NUMBER),
        off("ask who has a number before it is used", NUMBERED, replace(perfect, stranger=N), SHARED, ask_first=False),
        off("a number that is not in the books is asked for again", NUMBER_KEPT,
            replace(perfect, errors=1, person=1, person_may=("make",)), SHARED, keep_only_what_is_there=False),
        off("a number of an earlier document is forgotten", NUMBERED_ANEW, anew, SHARED,
            rules=replace(NUMBER_RULES, resend_window=0, number_taken=LEAVE_TO_QBO), create_forgets_number=False),
        off("6140 is about the document that it names: gone", RENUMBERED, removes, NEEDLESS_HOLD,
            named_is_another=False),
        off("6140 is about the document that it names: retraction", NUMBERED_RETRACTED, removes, WRONG_BOOKS,
            frozenset({WRONG_BOOKS}), named_is_another=False),
        off("the operator waits, too", ONE, replace(ignored, operator=1), DOUBLE, only, HOLD_RULES, operator_waits=False),
    ]  # fmt: skip


def deep() -> list[Configuration]:
    """More of each fault: some minutes and gigabytes."""
    many = replace(ALL, silences=3, takeovers=2, crashes=2, person=2)

    def c(name: str, commands: tuple[Command, ...], rules: Rules, env: Environment) -> Configuration:
        return Configuration(f"deep: {name}", commands, rules, env)

    return [
        c("v1, v2", TWO, CORRECTED, many),
        c("v1, retraction", RETRACTED_LATER, CORRECTED, many),
        c("v1, v2, v3 = v1 again", THERE_AND_BACK, CORRECTED, ALL),
        c("v1, retraction, v3", AND_AGAIN, CORRECTED, ALL),
        c("v1, v2, look first, requestid ignored", TWO, LOOK_RULES, replace(BOUNDED, requestid=IGNORED, silences=2, takeovers=2)),
        c("v1, v2, resend for W, then look", TWO, WINDOW_RULES, replace(BOUNDED, memory=4)),
    ]


SOME = replace(BOUNDED, crashes=0)
ANY_TIME = replace(SOME, token_life=None, transit=None, staleness=None)
POLICIES = {"resend": CORRECTED, "look first": LOOK_RULES, "hold": HOLD_RULES}
ASSUMPTIONS: list[tuple[str, tuple[Command, ...], Environment, tuple[str, str, str]]] = [
    # what QBO does, commands, environment, and what breaks under each policy
    ("requestid honoured, no bounds", TWO, ANY_TIME, ("", "", "")),
    ("honoured, check not atomic", TWO, replace(ANY_TIME, requestid_atomic=False), (DOUBLE, DOUBLE, "")),
    ("honoured, check not atomic, B, X, S bounded", TWO, replace(SOME, requestid_atomic=False), (DOUBLE, "", "")),
    ("forgotten at any time", TWO, replace(ANY_TIME, memory=0), (DOUBLE, DOUBLE, "")),
    ("forgotten at any time, B, X, S bounded", TWO, replace(SOME, memory=0), (DOUBLE, "", "")),
    ("ignored", TWO, replace(ANY_TIME, requestid=IGNORED), (DOUBLE, DOUBLE, "")),
    ("ignored, B, X, S bounded", TWO, replace(SOME, requestid=IGNORED), (DOUBLE, "", "")),
    ("ignored, B, X, S bounded, a person deletes", ONE,
     replace(SOME, requestid=IGNORED, person_may=("delete",)), (DOUBLE, UNDONE, "")),
    ("ignored, DocNumber checked", TWO, replace(ANY_TIME, requestid=IGNORED, docnumber_check=True), ("", "", "")),
    ("ignored, DocNumber checked, retraction", RETRACTED_LATER,
     replace(ANY_TIME, requestid=IGNORED, docnumber_check=True), (WRONG_BOOKS, WRONG_BOOKS, "")),
    ("batch cut off, items not remembered", TWO, replace(SOME, batch=True, batch_cut_off=True), (DOUBLE, "", "")),
    ("an error may be a lie", ONE, replace(ANY_TIME, error_may_lie=True), (WRONG_BOOKS, WRONG_BOOKS, WRONG_BOOKS)),
]  # fmt: skip


@dataclass(frozen=True)
class Grid:
    """A claim about times, checked for every combination of small values."""

    claim: str
    cases: int
    safe: int
    confirmed: int
    states: int
    steps: int


def timing_grids() -> Iterator[Grid]:
    only = frozenset({DOUBLE, WRONG_BOOKS})
    env = replace(BOUNDED, person=0, errors=0, crashes=0)

    def check(claim: str, exact: bool, cases: Iterator[tuple[bool, Rules, Environment]]) -> Grid:
        n = safe = confirmed = states = steps = 0
        for claimed, rules, environment in cases:
            result = explore(Model(ONE, rules, environment, only))
            is_safe = not result.fault
            n, safe, states, steps = n + 1, safe + is_safe, states + result.states, steps + result.steps
            confirmed += is_safe == claimed if exact else is_safe or not claimed
        return Grid(claim, n, safe, confirmed, states, steps)

    def enough(token_life: int, transit: int, staleness: int, after: int, after_loss: int) -> bool:
        late = token_life + transit
        return after > transit and after >= transit + staleness and after_loss > late and after_loss >= late + staleness

    yield check("resend is safe if and only if T > W + B + X", True, (
        (T > W + B + X, replace(CORRECTED, resend_window=W), replace(env, token_life=B, transit=X, staleness=None, memory=T))
        for W in range(3) for B in range(3) for X in range(3) for T in range(8)
    ))  # fmt: skip
    yield check("look first is safe, requestid ignored, if and only if the waits are enough", True, (
        (enough(B, X, S, Q, Q2), replace(LOOK_RULES, absent_after=Q, absent_after_loss=Q2),
         replace(env, token_life=B, transit=X, staleness=S, requestid=IGNORED))
        for B in range(2) for X in range(2) for S in range(3) for Q in range(5) for Q2 in range(6)
    ))  # fmt: skip
    yield check("look first is safe if T > W + B + X, or if the waits are enough", False, (
        (T > 2 + B + X or enough(B, X, S, Q, Q2), replace(LOOK_RULES, absent_after=Q, absent_after_loss=Q2, resend_window=2),
         replace(env, token_life=B, transit=X, staleness=S, memory=T))
        for B in range(2) for X in range(2) for S in range(2) for Q in range(3) for Q2 in range(3) for T in range(7)
    ))  # fmt: skip
    yield check("a new requestid after silence is safe if and only if the waits are enough", True, (
        (enough(B, X, S, Q, Q2), replace(WINDOW_RULES, resend_window=0, absent_after=Q, absent_after_loss=Q2),
         replace(env, token_life=B, transit=X, staleness=S))
        for B in range(2) for X in range(2) for S in range(3) for Q in range(1, 5) for Q2 in range(1, 6)
    ))  # fmt: skip


# -------------------------------------------------------------------------------------------------------------------- report


def run(configuration: Configuration) -> Result:
    c = configuration
    return explore(Model(c.commands, c.rules, c.env, c.properties))


def verdict(result: Result, expect: str) -> str:
    said = f"FAIL: {result.fault}" if result.fault else "PASS"
    return said if result.fault == expect else f"{said}   <-- UNEXPECTED, should be: {expect or 'PASS'}"


def line(name: str, result: Result, expect: str) -> str:
    return f"{name:<68}{result.states:>8} states{result.steps:>9} steps{result.seconds:>7.1f} s  {verdict(result, expect)}"


@dataclass
class Totals:
    """What a run has looked at; `unexpected` results are defects, of the protocol or of the model."""

    configurations: int = 0
    states: int = 0
    steps: int = 0
    unexpected: int = 0

    def add(self, result: Result, expect: str) -> None:
        self.configurations += 1
        self.states += result.states
        self.steps += result.steps
        self.unexpected += result.fault != expect


def report(title: str, configurations: list[Configuration], totals: Totals) -> list[tuple[Configuration, Result]]:
    print(f"\n== {title}\n")
    results = []
    for c in configurations:
        result = run(c)
        results.append((c, result))
        totals.add(result, c.expect)
        print(line(c.name, result, c.expect))
        for i, step in enumerate(result.trace, 1):
            print(f"      {i:>2}  {step}")
        if not result.fault:
            ends = "; ".join(f"v{i}: {', '.join(sorted(seen))}" for i, seen in enumerate(result.ends, 1))
            print(f"          ends seen  {ends}")
    return results


def report_assumptions(totals: Totals) -> None:
    print("\n== What QBO must keep, for each way to treat silence (corrected protocol)\n")
    print(f"{'what QBO does':<48}" + "".join(f"{policy:<34}" for policy in POLICIES))
    for name, commands, env, expected in ASSUMPTIONS:
        cells = []
        for rules, expect in zip(POLICIES.values(), expected, strict=True):
            result = explore(Model(commands, rules, env))
            totals.add(result, expect)
            said = SHORT.get(result.fault, "safe") + ("" if result.fault == expect else " UNEXPECTED")
            cells.append(f"{said} ({result.states} states)")
        print(f"{name:<48}" + "".join(f"{cell:<34}" for cell in cells))


SHORT = {DOUBLE: "DOUBLE", UNDONE: "DELETE UNDONE", WRONG_BOOKS: "WRONG BOOKS"}


def report_grids(totals: Totals) -> None:
    print("\n== Times: B life of an access token, X transit of a request, S staleness of a look-up, T memory of a requestid,")
    print("   W resend window, Q and Q' waits before 'absent' counts; enough: Q > X, Q >= X + S, Q' > B + X, Q' >= B + X + S\n")
    for grid in timing_grids():
        totals.configurations += grid.cases
        totals.states += grid.states
        totals.steps += grid.steps
        totals.unexpected += grid.cases - grid.confirmed
        right = "confirmed" if grid.confirmed == grid.cases else "NOT CONFIRMED"
        print(f"{grid.claim:<86}{right} in {grid.confirmed} of {grid.cases} cases ({grid.safe} safe, {grid.states} states)")


def main(arguments: list[str]) -> int:
    groups = [
        ("The protocol as drafted", drafted()),
        ("The corrected protocol, all kinds of faults at once", corrected()),
        ("The corrected protocol with numbers that repeat and change", numbered()),
        ("The corrected protocol with one rule off", without_a_rule()),
    ]
    if arguments[:1] == ["--deep"]:
        groups, arguments = [("The corrected protocol, more of each fault", deep())], []
    elif arguments[:1] == ["--list"]:
        print("\n".join(c.name for _, configurations in groups for c in configurations))
        return 0
    started, totals = time.perf_counter(), Totals()
    without: list[tuple[Configuration, Result]] = []
    for title, configurations in groups:
        chosen = [c for c in configurations if not arguments or any(text in c.name for text in arguments)]
        if chosen:
            results = report(title, chosen, totals)
            without += [(c, r) for c, r in results if c.name.startswith("without: ")]
    if not arguments and len(groups) > 1:
        report_assumptions(totals)
        report_grids(totals)
        print("\n== Why each rule exists\n")
        for c, result in without:
            print(f"{c.name.removeprefix('without: '):<56}without it, after {len(result.trace):>2} steps: {result.fault}")
    print(json.dumps({**asdict(totals), "seconds": round(time.perf_counter() - started)}))
    return 1 if totals.unexpected else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
