"""Sends journalled requests and settles their answers: one commit for everything that arrived meanwhile.

Nothing here decides what to send; nothing here sends twice.
"""

import asyncio
import contextlib
import hashlib
import time
from collections import deque
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from bookrelay import metrics, servers, telemetry
from bookrelay.causes import cause_of
from bookrelay.db import TRANSIENT_POSTGRES
from bookrelay.errors import Code, Disposition, HaltError, TransientError
from bookrelay.messages import Priority
from opentelemetry.trace import SpanKind

from qbo_writer import comparing
from qbo_writer.crashpoints import Place, reach
from qbo_writer.domain import (
    NAMES,
    AccessToken,
    Answer,
    AnswerKind,
    BatchItem,
    BatchRequest,
    Cause,
    LookupFailed,
    Operation,
    Seen,
)
from qbo_writer.ledger.changes import Effects, Numbered, Requeue
from qbo_writer.ledger.lease import LeaseLost, Leases
from qbo_writer.ledger.ledger import Ledger
from qbo_writer.ledger.records import Attempt, BatchRow
from qbo_writer.policy import Policy
from qbo_writer.ports import Books, Forms, Pace, References, Tokens
from qbo_writer.protocol import merging, numbering
from qbo_writer.protocol.deciding import Rules
from qbo_writer.protocol.following import Follower
from qbo_writer.protocol.settling import Links, backoff_seconds, effects_of
from qbo_writer.protocol.transitions import Envelope, Waits, When, when_answered
from qbo_writer.redacting import names_in, veiled
from qbo_writer.settings import WriterSettings

log = telemetry.get_logger(__name__)

GATHER_SECONDS = 0.004  # answers this close together share a commit; lanes that become free together, a claim and a journal
PRIORITIES = (Priority.INTERACTIVE, Priority.LIVE, Priority.BACKFILL, Priority.SWEEP)
SILENCES_TO_BACK_OFF = 10  # in a row: QuickBooks is away, or we are wrong; each silence costs a document its wait
STRANGE_TO_HALT = 10  # in a row, no time-out and no 5xx: we are wrong, or somebody stands between
BY_FACTS_TRIES = 3
PASSING: tuple[type[BaseException], ...] = (TransientError, *TRANSIENT_POSTGRES)
UNREAD: tuple[type[BaseException], ...] = (LookupFailed, HaltError, *PASSING)
READS = 3  # how often a read after a conflict is tried before the attempt counts as silent


class Wakes(Protocol):
    """Whoever has to know that something was committed."""

    def wake(self) -> None:
        """Look now."""


@dataclass
class Parts:
    """What a company's loops share."""

    settings: WriterSettings
    policy: Policy
    rules: Rules
    waits: Waits
    links: Links
    ledger: Ledger
    leases: Leases
    tokens: Tokens
    pacer: Pace
    books: Books
    forms: Forms
    references: References
    relay: Wakes


@dataclass
class _Waiting:
    effects: list[Effects]
    done: asyncio.Future[None]


@dataclass
class Health:
    """How the last sends went; in memory only."""

    silences: int = 0  # in a row
    paused_until: float = 0.0
    halted: HaltError | None = None
    closed: bool = False  # the company is cut off: what waits for its slot does not leave
    strange: int = 0  # answers in a row that no table explains
    answered: int = 0  # answers that mean that we are served, ever

    def heard(self, answer: Answer) -> None:
        """Count an answer."""
        if answer.kind is AnswerKind.SILENCE:
            self.silences += 1
            self.strange = self.strange + 1 if answer.http_status is not None and answer.http_status < 500 else 0
            if self.silences >= SILENCES_TO_BACK_OFF:
                self.paused_until = time.monotonic() + min(60.0, 2.0 ** (self.silences - SILENCES_TO_BACK_OFF))
        elif not answer.halt and not answer.unauthorized and not answer.throttled and answer is not KEPT_BACK:
            self.silences, self.strange, self.paused_until = 0, 0, 0.0
            self.answered += 1


@dataclass
class Tenure:
    """One time of holding the lease: everything in it is fenced by its token."""

    fencing_token: int
    in_flight: dict[int, "asyncio.Task[None]"] = field(default_factory=dict)  # attempt id -> who sends it
    feed_read: bool = False  # step 4 after taking the lease was begun
    sent: dict[int, int] = field(default_factory=dict)  # open attempt -> its latest send that has left, or may have


class Sender:
    """Sends and settles for one company."""

    def __init__(self, realm: str, parts: Parts, wake: Any) -> None:
        self.realm, self.parts, self._wake = realm, parts, wake
        self.health = Health()
        self.follower = Follower(realm, parts.ledger, parts.references, parts.books, parts.forms)
        self._queue: list[_Waiting] = []
        self._committing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._waking: asyncio.TimerHandle | None = None
        self.batches = 0  # batch calls under way
        self.opened = False  # something was committed that the resolver has to take up
        self.halves: deque[list[int]] = deque()  # documents of halves of batches that were refused whole: they go next
        self.halving: set[int] = set()  # the documents in them: nobody else claims these

    # ------------------------------------------------------------------------------------------------------------- tasks

    def flying(self) -> int:
        """How many lanes are taken: calls that wait for their slot, or for their answer."""
        return len(self._tasks)

    def spawn(self, tenure: Tenure, attempts: Sequence[Attempt], work: Coroutine[Any, Any, None], *, batch: bool = False) -> None:
        """Run the work for these attempts; while it runs nobody else takes them up."""
        task = asyncio.create_task(self._guard(work))
        self._tasks.add(task)
        self.batches += batch
        for attempt in attempts:
            tenure.in_flight[attempt.id] = task

        def finished(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            self.batches -= batch
            for attempt in attempts:
                tenure.in_flight.pop(attempt.id, None)
            if self._waking is None:
                self._waking = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._wake_now)

        task.add_done_callback(finished)

    def wake(self) -> None:
        """Look now for what can be posted."""
        self._wake()

    def _wake_now(self) -> None:
        self._waking = None
        self._wake()

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        """A piece of work that fails leaves its attempts open; the resolver finds them without a sender."""
        try:
            await work
        except LeaseLost:
            self.parts.leases.lost(self.realm)
        except HaltError as error:
            self.health.halted, self.health.closed = error, True
        except asyncio.CancelledError:
            raise
        except PASSING as error:  # Intuit's token endpoint or Postgres is away: it passes
            log.warning("sending.interrupted", realm=self.realm, error=repr(error))
        except Exception as error:
            log.error("sending.failed", realm=self.realm, error=repr(error), exc_info=True)

    async def drain(self, seconds: float) -> None:
        """Let what is under way come to its end."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)

    # -------------------------------------------------------------------------------------------------------------- send

    def may_send(self, tenure: Tenure) -> bool:
        """Whether this process still believes in its lease. Nothing relies on it; it saves calls."""
        return self.parts.leases.holding(self.realm) == tenure.fencing_token

    async def single(self, tenure: Tenure, attempt: Attempt, token: AccessToken) -> None:
        """Send one journalled request and settle its answer."""
        async with self.parts.pacer.slot(self.realm, priority=PRIORITIES[attempt.asked.priority]):
            if not self.may_send(tenure):
                raise LeaseLost(self.realm)
            if self.health.closed:
                answer = KEPT_BACK
            elif token.expires_at <= datetime.now(UTC):
                answer = EXPIRED  # a request leaves with the token it was journalled with, or not at all
            else:
                tenure.sent[attempt.id] = attempt.sends
                name, fields = f"{attempt.request.operation} {attempt.request.entity}", {"requestid": attempt.request.requestid}
                with telemetry.step(name, attempt.asked.traceparent, fields, SpanKind.CLIENT):
                    answer = _veiled(await self.parts.books.send(attempt.request, token), [attempt])
                reach(Place.SENT)
        self.health.heard(answer)
        reach(Place.ANSWERED)
        await self._settle(tenure, await self._answered(attempt, answer, token), [(attempt, answer)])
        await self._after(tenure, answer, token)

    async def batch(self, tenure: Tenure, attempts: Sequence[Attempt], row: BatchRow, token: AccessToken) -> None:
        """Send one journalled batch, whole, and settle the answers of its open items."""
        items = tuple(BatchItem(a.b_id or "", a.request) for a in attempts)
        async with self.parts.pacer.slot(self.realm, batch=True, priority=PRIORITIES[attempts[0].asked.priority]):
            if not self.may_send(tenure):
                raise LeaseLost(self.realm)
            answers: Answer | dict[str, Answer]
            if self.health.closed:
                answers = KEPT_BACK
            elif token.expires_at <= datetime.now(UTC):
                answers = EXPIRED
            else:
                tenure.sent.update({a.id: a.sends for a in attempts})
                with telemetry.steps(
                    "batch", [a.asked.traceparent for a in attempts], {"requestid": row.requestid}, SpanKind.CLIENT
                ):
                    answers = await self.parts.books.send_batch(BatchRequest(self.realm, row.requestid, row.body, items), token)
        reach(Place.BATCH_ANSWERED)
        if isinstance(answers, Answer):
            whole = _veiled(answers, attempts)
            self.health.heard(whole)
            effects = [e for a in attempts for e in self._whole_batch(a, whole)]
            with self._halved(attempts, whole):
                await self._settle(tenure, effects, [(a, whole) for a in attempts])
            await self._after(tenure, whole, token)
            return
        await self._settle_items(tenure, attempts, answers, token)

    async def _settle_items(
        self, tenure: Tenure, attempts: Sequence[Attempt], answers: dict[str, Answer], token: AccessToken
    ) -> None:
        pairs = [(a, _veiled(answers.get(a.b_id or "", MISSING), [a])) for a in attempts]
        for _, answer in pairs:
            self.health.heard(answer)
        reading = [(a, answer) for a, answer in pairs if answer.kind is AnswerKind.CONFLICT or _name_taken(a, answer)]
        at_once = [pair for pair in pairs if pair not in reading]
        await self._stale([pair for pair in at_once if pair[1].kind is AnswerKind.ERROR], token)
        effects = [e for a, answer in at_once for e in self._item(a, await self._by_facts(a, answer, token))]
        await self._settle(tenure, effects, at_once)
        await asyncio.gather(*(self._settle_alone(tenure, a, answer, token) for a, answer in reading))
        if told := [answer for _, answer in pairs if answer.halt or answer.unauthorized or answer.throttled]:
            # A halt stops the company, whichever item it stands at; a token is renewed before a pause is noted.
            await self._after(tenure, min(told, key=lambda answer: (not answer.halt, not answer.unauthorized)), token)

    async def _settle_alone(self, tenure: Tenure, attempt: Attempt, answer: Answer, token: AccessToken) -> None:
        await self._settle(tenure, await self._answered(attempt, answer, token), [(attempt, answer)])

    # ------------------------------------------------------------------------------------------------------------ answers

    def _silence_wait(self) -> float:
        """When to look for the first time after a silence: soon, for what was done and only not answered."""
        return min(2.0, self.parts.waits.q.total_seconds() * 0.02)

    def effects(self, attempt: Attempt, when: When, **more: Any) -> Effects:
        """Return what the table commits for `when`."""
        metrics.ATTEMPT_TRANSITIONS.labels(self.realm, when.name.lower()).inc()
        return effects_of(attempt, when, self.parts.links, **more)

    def _whole_batch(self, attempt: Attempt, answer: Answer) -> list[Effects]:
        """One answer for the whole call: a definitive error says nothing about the single item."""
        when = when_answered(answer.kind, ambiguous=attempt.sent.ambiguous, envelope=Envelope.BATCH)
        assert when is not None
        return [self.effects(attempt, when, answer=answer, due_in=self._due_in(when, attempt.sends))]

    @contextlib.contextmanager
    def _halved(self, attempts: Sequence[Attempt], whole: Answer) -> Iterator[None]:
        """Where nothing was done for a whole batch: when that is committed, its halves go, each journalled anew.

        Kept in memory only: after a crash or a takeover its documents, each with a failure counted, go alone.
        """
        envelope = Envelope.BATCH
        refused = [
            a.known.id
            for a in attempts
            if when_answered(whole.kind, ambiguous=a.sent.ambiguous, envelope=envelope) is When.BATCH_ERROR
        ]
        self.halving.update(refused)
        try:
            yield
        except BaseException:
            self.halving.difference_update(refused)
            raise
        if refused:
            log.warning("batch.refused", realm=self.realm, items=len(refused), intuit_code=whole.intuit_code, reason=whole.reason)
            middle = (len(refused) + 1) // 2
            self.halves.extend(half for half in (refused[:middle], refused[middle:]) if half)

    def _item(self, attempt: Attempt, answer: Answer) -> list[Effects]:
        when = when_answered(answer.kind, ambiguous=attempt.sent.ambiguous, envelope=Envelope.ITEM)
        assert when is not None
        if when is When.SUCCESS and answer.seen is None and not answer.deleted:
            when = When.SILENCE
        return [self.effects(attempt, when, answer=answer, due_in=self._due_in(when, attempt.sends))]

    def _due_in(self, when: When, sends: int) -> float:
        """A silence is looked at soon, then after longer and longer pauses."""
        silent = when in (When.SILENCE, When.ERROR_AFTER_SILENCE, When.REFUSAL_AFTER_SILENCE)
        return min(60.0, self._silence_wait() * 2 ** min(sends - 1, 10)) if silent else 0.0

    async def _by_facts(self, attempt: Attempt, answer: Answer, token: AccessToken) -> Answer:
        """Refused, perhaps by outdated facts: where the company has changed, the document is prepared anew by what it is."""
        if answer.kind is not AnswerKind.ERROR or answer.cause is not Cause.BY_FACTS or attempt.asked.failures >= BY_FACTS_TRIES:
            return answer
        try:
            changed = await self.parts.references.changed(self.realm, token)
        except UNREAD as error:  # the answer counts as it is
            log.info("references.failed", realm=self.realm, error=repr(error))
            return answer
        return replace(answer, disposition=Disposition.RETRY) if changed else answer

    async def _answered(self, attempt: Attempt, answer: Answer, token: AccessToken) -> list[Effects]:
        answer = await self._by_facts(attempt, answer, token)
        when = when_answered(answer.kind, ambiguous=attempt.sent.ambiguous)
        if when is When.SUCCESS and answer.seen is None and not answer.deleted:
            when = When.SILENCE  # a success that cannot be read is no answer
        if when is When.ERROR and _name_taken(attempt, answer):
            return [await self._taken(attempt, answer, token)]
        if when is not None:
            if answer.kind is AnswerKind.ERROR:
                await self._stale([(attempt, answer)], token)
            return [self.effects(attempt, when, answer=answer, due_in=self._due_in(when, attempt.sends))]
        return [await self._conflict(attempt, answer, token)]

    async def _stale(self, pairs: Sequence[tuple[Attempt, Answer]], token: AccessToken) -> None:
        """Refused for something that they name: forget that, and no more; a person may have merged it into something else."""
        refused = [(a, answer) for a, answer in pairs if answer.cause is Cause.STALE]
        if not refused:
            return
        # What was refused in the same words before was looked into then.
        new = [a for a, answer in refused if a.asked.failures == 0 or a.asked.last_reason != answer.reason]
        first = {entry for a in new for entry in self.parts.forms.named(a.request.body)}
        await self.follower.refused(refused[0][0].fencing_token, first, token)  # before its name is forgotten
        await self.parts.references.forget(
            self.realm, {entry for a, _ in refused for entry in self.parts.forms.named(a.request.body)}
        )

    async def _taken(self, attempt: Attempt, answer: Answer, token: AccessToken) -> Effects:
        """6240: somebody made the name since we looked. One of that kind is the one that was meant, else say whose it is.

        Who waits for the name is decided again then, and told the same as who comes later. Where nobody is found the name is
        asked for again: a query may not show yet what was just made.
        """
        name = str((attempt.asked.content or {}).get("name") or "")
        try:
            holder, why = await self.parts.references.holder(self.realm, attempt.known.kind, name, token)
            if holder and why is None:
                return self.effects(attempt, When.SUCCESS, answer=answer, seen=holder, adopted=True)
        except LookupFailed as error:
            log.info("lookup.failed", realm=self.realm, requestid=attempt.request.requestid, error=repr(error))
            holder = why = None
        if holder is None or why is None:
            effects = self.effects(attempt, When.ERROR, answer=replace(answer, disposition=Disposition.RETRY))
            again = Requeue(attempt.asked.id, backoff_seconds(attempt.asked.failures), failed=True, reason=answer.reason)
            return replace(effects, requeue=again)
        told = replace(answer, disposition=Disposition.REJECT, reason=why.reason, fix=why.fix, code=why.code)
        return replace(self.effects(attempt, When.ERROR, answer=told), learned=(holder.entity, holder))

    async def _conflict(self, attempt: Attempt, answer: Answer, token: AccessToken) -> Effects:
        """5010, 610, 6140: read by Id and compare."""
        if answer.conflicting_kind not in (None, attempt.request.entity):
            return self._number_taken(attempt, answer, None)
        await self._stale([(attempt, answer)], token)
        for last in (False,) * (READS - 1) + (True,):
            try:
                seen = await self._conflicting(attempt, answer, token)
                if seen is not None:
                    attempt = await self.followed(attempt.fencing_token, attempt, seen, token)
                break
            except LookupFailed:
                if last:
                    return self.effects(attempt, When.SILENCE, answer=answer, due_in=self._silence_wait())
                await asyncio.sleep(0.2)
        if answer.cause is Cause.NUMBER_TAKEN and seen is not None and _another(attempt, seen):
            return self._number_taken(attempt, answer, seen)
        if answer.cause is Cause.NUMBER_TAKEN and seen is None:
            return self._number_of_nobody(attempt, answer)
        return self.read(attempt, seen, answer=answer, adopted=not attempt.sent.ambiguous)

    def _number_taken(self, attempt: Attempt, answer: Answer, seen: Seen | None) -> Effects:
        """Another document has the number: nothing was done by this send. What follows, the company policy says.

        `seen` None: it is of another kind, as QuickBooks says; where the policy has no other number, a person decides.
        """
        known, number, policy = attempt.known, numbering.given(attempt.asked), self.parts.policy
        of_source = number is not None and number == attempt.fields.get("doc_number")
        disposition = Disposition.HOLD
        if of_source:
            other_kind = Disposition.HOLD if seen is None else Disposition.REJECT
            disposition = other_kind if policy.unusable_number == "reject" else Disposition.RETRY
        text = number or attempt.fields.get("doc_number") or ""
        reason = numbering.taken(text, known.kind, seen) if seen else _number_of_another(attempt, answer, text)
        effects = self._number_refused(attempt, answer, disposition, reason)
        if disposition is Disposition.RETRY and number is not None and not attempt.sent.ambiguous:
            other = numbering.instead(known, number, policy)
            effects = replace(effects, numbered=Numbered(known.id, other.text, number))
        return effects

    def _number_of_nobody(self, attempt: Attempt, answer: Answer) -> Effects:
        """6140, and nobody is seen to have the number: whoever had it is gone, or not shown yet. It is asked for again."""
        text = attempt.fields.get("doc_number", "")
        reason = f"QuickBooks says that the number '{text}' is taken, and shows no document that has it."
        if answer.conflicting_id:
            reason = f"Document {answer.conflicting_id} had the number '{text}', and is gone."
        return self._number_refused(attempt, answer, Disposition.RETRY, reason)

    def _number_refused(self, attempt: Attempt, answer: Answer, disposition: Disposition, reason: str) -> Effects:
        """Nothing was done by this send."""
        answer = replace(
            answer, kind=AnswerKind.ERROR, disposition=disposition, code=Code.CONFLICT, reason=reason, fix=numbering.FIX_TAKEN
        )
        when = When.ERROR_AFTER_SILENCE if attempt.sent.ambiguous else When.ERROR
        return self.effects(attempt, when, answer=answer, due_in=self._due_in(when, attempt.sends))

    async def _conflicting(self, attempt: Attempt, answer: Answer, token: AccessToken) -> Seen | None:
        entity, qbo_id = attempt.request.entity, answer.conflicting_id or attempt.request.qbo_id
        if qbo_id:
            return await self.parts.books.read(self.realm, entity, qbo_id, token)
        found = await self.look_up(attempt, token, ours_only=False)
        return found[0] if found else None

    async def look_up(self, attempt: Attempt, token: AccessToken, *, ours_only: bool = True) -> list[Seen]:
        """Look for what carries our marker (or number, or name), then read it by Id: a query may show an old SyncToken."""
        known, entity = attempt.known, attempt.request.entity
        name = str((attempt.asked.content or {}).get("name") or "") if known.kind in NAMES else None
        found = await self.parts.books.find(
            self.realm, entity, doc_number=attempt.fields.get("doc_number"), marker=known.marker,
            since=attempt.sent.first_sent_at, name=name, token=token,
        )  # fmt: skip
        reach(Place.LOOKED_UP)
        ours = [s for s in found if s.marker == known.marker or known.kind in NAMES or not ours_only]
        ours.sort(key=lambda s: s.marker != known.marker)
        read = [await self.parts.books.read(self.realm, entity, s.qbo_id, token) for s in ours[:1]]
        return [s for s in read if s is not None]

    async def look_up_together(self, attempts: Sequence[Attempt], token: AccessToken) -> dict[str, Seen]:
        """Look for the markers of many creates of one entity (no names) in one read; return by marker what a query shows."""
        found = await self.parts.books.find_marked(
            self.realm, attempts[0].request.entity, {a.known.marker: a.fields.get("doc_number") for a in attempts},
            min(a.sent.first_sent_at for a in attempts), token,
        )  # fmt: skip
        reach(Place.LOOKED_UP)
        return found

    def read(self, attempt: Attempt, seen: Seen | None, *, answer: Answer | None = None, adopted: bool = False) -> Effects:
        """Compare what was read by Id: cases (a) to (d) of the table. Whoever calls has asked for merges (`followed`)."""
        when, differences = self.compare(attempt, seen)
        return self.effects(
            attempt, when, answer=answer, seen=seen, differences=differences, adopted=adopted, due_in=self._silence_wait()
        )

    async def followed(self, fencing_token: int, attempt: Attempt, seen: Seen, token: AccessToken) -> Attempt:
        """Return the attempt after the merges because of which its document is not as it was sent, or known. Raises LookupFailed.

        Before anything that was read is called a person's edit: a merge is none.
        """
        known, when = attempt.known, self.compare(attempt, seen)[0]
        if when is not When.READ_OTHER or (seen.marker != known.marker and seen.qbo_id != attempt.request.qbo_id):
            return attempt
        merges = await self.follower.moved(fencing_token, merging.moves(seen, known.fields, attempt.fields), token)
        return replace(attempt, known=merging.follow(known, merges), fields=merging.follow_fields(attempt.fields, merges))

    def compare(self, attempt: Attempt, seen: Seen | None) -> tuple[When, Sequence[Any]]:
        """Return the case of the table, and how the attempt's content differs from what is there."""
        known, operation = attempt.known, attempt.request.operation
        if seen is None:
            return When.READ_GONE, ()
        if operation is Operation.VOID and seen.voided:
            return When.READ_OWN, ()
        if known.kind in NAMES and operation is Operation.CREATE:
            return When.READ_OWN, ()  # a name is its identity
        mine = comparing.compare(attempt.fields, seen)
        # An update moves the SyncToken. Where it only takes something away (a memo), what it would leave is there before it, too.
        happened = operation is Operation.CREATE or (
            operation is Operation.UPDATE and seen.sync_token != attempt.request.sync_token
        )
        if happened and seen.marker == known.marker and mine.equal:
            return When.READ_OWN, ()
        if operation is Operation.CREATE:
            return When.READ_OTHER, mine.differences
        if attempt.asked.forced:  # a person decided about the state with this SyncToken, whatever is in it, and about no other
            if seen.sync_token == attempt.request.sync_token:
                return When.READ_KNOWN, ()
            return When.READ_OTHER, comparing.compare(attempt.fields or known.fields or {}, seen).differences
        if known.fields is not None and comparing.compare(known.fields, seen).equal:
            return When.READ_KNOWN, ()
        return When.READ_OTHER, comparing.compare(known.fields or attempt.fields, seen).differences

    # ------------------------------------------------------------------------------------------------------------ settle

    async def _settle(self, tenure: Tenure, effects: list[Effects], about: Iterable[tuple[Attempt, Answer]] = ()) -> None:
        pairs = list(about)
        facts = {attempt.id: _facts(self.parts.forms, tenure, attempt, answer) for attempt, answer in pairs}
        effects = [replace(e, log=facts[e.attempt.id]) if e.attempt and e.attempt.id in facts else e for e in effects]
        await self.commit(tenure, effects)
        for effect in effects:
            if effect.attempt and effect.attempt.state == "resolved":
                tenure.sent.pop(effect.attempt.id, None)
        reach(Place.SETTLED)
        self._log(effects, pairs)

    async def commit(self, tenure: Tenure, effects: list[Effects]) -> None:
        """Commit with whatever else waits to be committed; returns when it is in the ledger. Raises LeaseLost."""
        if not effects:
            return
        waiting = _Waiting(effects, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_all(tenure))
        await waiting.done

    async def _commit_all(self, tenure: Tenure) -> None:
        while self._queue:
            await asyncio.sleep(GATHER_SECONDS)
            group, self._queue = self._queue[:100], self._queue[100:]
            try:
                await self._commit_group(tenure, [e for w in group for e in w.effects])
            except Exception as error:
                if len(group) > 1 and not isinstance(error, LeaseLost):  # one of them is poison: alone it harms nobody
                    for w in group:
                        await self._commit_one(tenure, w)
                    continue
                for w in group:
                    if not w.done.done():
                        w.done.set_exception(error)
                continue
            for w in group:
                if not w.done.done():
                    w.done.set_result(None)
            self.parts.relay.wake()

    async def _commit_one(self, tenure: Tenure, w: _Waiting) -> None:
        try:
            await self._commit_group(tenure, w.effects)
        except Exception as error:
            if not w.done.done():
                w.done.set_exception(error)
        else:
            if not w.done.done():
                w.done.set_result(None)

    async def _commit_group(self, tenure: Tenure, effects: list[Effects]) -> None:
        """Commit; while Postgres is away the answer is kept and tried again: nobody else knows it."""
        wait = 0.05
        while True:
            try:
                await self.parts.ledger.commits.commit(self.realm, tenure.fencing_token, effects)
                self.opened = self.opened or any(e.attempt is not None and e.attempt.state != "resolved" for e in effects)
                return
            except TRANSIENT_POSTGRES as error:
                if not await servers.in_force().explain(error):  # a Postgres that is away has its own line
                    fields = {"realm": self.realm, "error": cause_of(error).text}
                    servers.in_force().say("settle.retrying", str(fields), **fields)
                await asyncio.sleep(wait)
                wait = min(wait * 2, 2.0)

    async def _after(self, tenure: Tenure, answer: Answer, token: AccessToken) -> None:
        """What an answer means for the company: another token, or halt."""
        # The client has told the pacer of a 429 already.
        if answer.unauthorized and answer is not EXPIRED:
            await self.parts.tokens.renew(self.realm, tenure.fencing_token, token)
        if self.health.strange >= STRANGE_TO_HALT:
            self.health.strange = 0
            if await self.strange_to_all(token):
                raise HaltError(
                    "QuickBooks answers every request with something that bookrelay does not understand "
                    f"(HTTP {answer.http_status}).",
                    "Look at Intuit's status page and at the firewall or proxy before it. Posting resumes automatically.",
                )
        if answer.halt:
            raise HaltError(answer.reason or "QuickBooks does not serve this company.", answer.fix, answer.code)

    async def refused_alone(self, error: HaltError | LookupFailed, token: AccessToken) -> LookupFailed:
        """A read was refused: return why, where a harmless read is answered as usual. Then it concerns that read alone.

        Else raise what holds for the company: HaltError where it is cut off, LookupFailed where nothing can be said now.
        """
        refusal = error if isinstance(error, LookupFailed) else error.__cause__
        if not isinstance(refusal, LookupFailed):
            raise error
        if refusal is error and not error.definite:
            raise error
        try:
            await self.parts.books.harmless(self.realm, token)
        except LookupFailed as other:
            raise (refusal if refusal is error else other) from None
        return refusal

    async def strange_to_all(self, token: AccessToken, *, of_reads: bool = False) -> bool:
        """Whether a harmless request gets no sound answer, either: then the company is cut off, not ten documents wrong.

        `of_reads`: two of them, for what the documents could not read may have been the first.
        """
        for number in range(1 + of_reads):
            try:
                await self.parts.books.harmless(self.realm, token, number)
            except LookupFailed as error:
                if error.definite:
                    continue
            return False  # served; or nobody answers: QuickBooks is away, and that passes
        return True

    @staticmethod
    def refused_to_all(error: LookupFailed) -> HaltError:
        """Return the halt where every read is refused."""
        return HaltError(
            f"QuickBooks refuses every read. {error}",
            "Look at the firewall or proxy before it, and at Intuit's status page. Posting resumes automatically.",
        )

    def _log(self, effects: Sequence[Effects], about: Sequence[tuple[Attempt, Answer]]) -> None:
        answers = {attempt.asked.id: (attempt, answer) for attempt, answer in about}
        for effect in effects:
            for end in effect.ends:
                log_end(self.realm, end, *answers.get(end.asked.id, (None, None)))


def _veiled(answer: Answer, attempts: Sequence[Attempt]) -> Answer:
    """QuickBooks' words can name the party, which may be a patient: they go into events and logs without it."""
    return replace(answer, reason=veiled(answer.reason, (n for a in attempts for n in names_in(a.asked.content))))


def _another(attempt: Attempt, seen: Seen) -> bool:
    """Whether what was read is not the attempt's own document."""
    if attempt.request.operation is Operation.CREATE:
        return seen.marker != attempt.known.marker
    return seen.qbo_id != attempt.request.qbo_id


def _number_of_another(attempt: Attempt, answer: Answer, number: str) -> str:
    known, other = attempt.known, f"{answer.conflicting_kind} {answer.conflicting_id}"
    return (
        f"Another kind of document in QuickBooks has the number {number}: {other}. "
        f"So {attempt.request.entity} {known.source_key} of {known.source} cannot have it."
    )


def _facts(forms: Forms, tenure: Tenure, attempt: Attempt, answer: Answer) -> dict[str, Any]:
    """What the attempts log keeps of one send: facts, hashes, and both bodies without their texts."""
    request, seen = attempt.request, answer.seen
    return {
        "requestid": request.requestid, "entity": request.entity, "operation": request.operation.value, "send": attempt.sends,
        "version": attempt.asked.version, "command_id": str(attempt.asked.id), "fencing_token": tenure.fencing_token,
        "request_sha256": hashlib.sha256(request.body.encode()).hexdigest(), "qbo_id": seen.qbo_id if seen else request.qbo_id,
        "sync_token": request.sync_token, "answered_sync_token": seen.sync_token if seen else None, "answer": answer.kind.value,
        "http_status": answer.http_status, "intuit_code": answer.intuit_code, "intuit_tid": answer.intuit_tid,
        "trace_id": telemetry.trace_id_of(attempt.asked.traceparent),
        "response_sha256": hashlib.sha256(answer.body.encode()).hexdigest() if answer.body else None,
        "request": forms.redacted(request.body), "response": forms.redacted(answer.body) if answer.body else None,
    }  # fmt: skip


def log_end(realm: str, end: Any, attempt: Attempt | None = None, answer: Answer | None = None) -> None:
    """Write the one line for a command's end: never content, never names."""
    recorded = end.asked.recorded_at
    seconds = None
    if recorded is not None:
        seconds = round(time.time() - recorded.timestamp(), 4)
        metrics.COMMAND_SECONDS.labels(end.known.kind.value).observe(max(0.0, seconds))
    log.info(
        "command.settled", realm=realm, command_id=str(end.asked.id), kind=end.known.kind.value, end=end.end.state.value,
        version=end.asked.version, attempt=attempt.number if attempt else 0, sends=attempt.sends if attempt else 0,
        outcome=attempt.request.operation.value if attempt else None,
        requestid=attempt.request.requestid if attempt else None, intuit_tid=answer.intuit_tid if answer else None,
        intuit_code=answer.intuit_code if answer else None, code=end.end.shown_code, seconds=seconds,
        trace_id=telemetry.trace_id_of(end.asked.traceparent),
    )  # fmt: skip


def _name_taken(attempt: Attempt, answer: Answer) -> bool:
    return answer.kind is AnswerKind.ERROR and answer.cause is Cause.NAME_TAKEN and attempt.known.kind in NAMES


EXPIRED = Answer(AnswerKind.REFUSAL, code=Code.OAUTH_FAILED, reason="the journalled access token has expired", unauthorized=True)
KEPT_BACK = Answer(AnswerKind.REFUSAL, reason="the company is halted: the request has not left")
NO_ANSWER = Answer(AnswerKind.SILENCE, reason="nobody answered")
MISSING = Answer(AnswerKind.SILENCE, reason="the batch's answer lacks this item")
