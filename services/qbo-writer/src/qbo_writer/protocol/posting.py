"""The posting loop of one company: take over, claim what is due, prepare, journal, hand over to the sender."""

import asyncio
import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from bookrelay import metrics, telemetry
from bookrelay.db import TRANSIENT_POSTGRES
from bookrelay.errors import Code, HaltError, PermanentError
from bookrelay.messages import RealmData, RealmHalted, RealmResumed
from pydantic import ValidationError

from qbo_writer import comparing
from qbo_writer.contents import CONTENT, AnyContent
from qbo_writer.crashpoints import Place, reach
from qbo_writer.domain import (
    NAMES,
    NAMES_SOURCE,
    OPERATOR,
    SENDER,
    AccessToken,
    BatchItem,
    CommandState,
    CompanyFacts,
    LedgerKind,
    LookupFailed,
    NameNeeded,
    Operation,
    OperatorAct,
    Request,
    Resolved,
    Skipped,
    Unmapped,
    Wanted,
)
from qbo_writer.ledger.attempts import BatchChanged
from qbo_writer.ledger.changes import Effects, End, FollowUp, NameWish, NewAttempt, Number, Requeue
from qbo_writer.ledger.lease import LeaseLost
from qbo_writer.ledger.records import Asked, BatchRow, Candidate, Known, RealmRow
from qbo_writer.names import alike, spellings
from qbo_writer.policy import TAX_NOT_SAID, Policy, lacking, not_said
from qbo_writer.ports import FACTS_SECONDS
from qbo_writer.protocol import differing, numbering, totals
from qbo_writer.protocol.adopting import Adopter
from qbo_writer.protocol.deciding import Rules, Unpay, Write, decide, in_closed_period, of_an_earlier_bill, superseded
from qbo_writer.protocol.feeding import Feeder
from qbo_writer.protocol.numbering import Numbering, Outcome
from qbo_writer.protocol.resolving import Resolver
from qbo_writer.protocol.sending import NO_ANSWER, PASSING, STRANGE_TO_HALT, Parts, Sender, Tenure, log_end
from qbo_writer.protocol.settling import backoff_seconds, ended, hash_of
from qbo_writer.protocol.sweeping import Sweeper
from qbo_writer.redacting import names_in, veiled

log = telemetry.get_logger(__name__)

Numbers = Mapping[int, Outcome]  # by the document's id
IDLE_SECONDS = 0.5  # commands that another writer's consumer recorded are found this late at most
IDLE_LIMITED_SECONDS = 3.0  # run-once waits for what becomes due so soon: a vendor's name that lets a customer's come first
THRESHOLD_AT_MOST = 500  # a backlog is read as far as it matters, not counted
BATCH_LANES = 4  # 40 batches a minute of 2 to 5 seconds each
REASON_LENGTH = 1000
FILLS = 4  # times that a batch is filled up before it leaves
UNANSWERED_MOST = 10_000  # commands that are remembered for a read without an answer
FAILURES = 8  # of one command, until it is put aside for a person
FACTS_AGAIN_SECONDS = 1.0
CLOSING_DATE_SECONDS = 10.0  # before a document is held for it, a closing date older than this is read again
POLICY_SECONDS = 5.0  # after the start: the first documents have read what the company is by then
POLICY_AGAIN_SECONDS = 60.0
RECOVERY_LOOK_SECONDS = 2.0
RECOVERY_TOLD_SECONDS = 60.0
HALT_RETRY_SECONDS = 5.0
HALT_RETRY_MOST = 300.0
PROVE_AGAIN_SECONDS = 60.0
ROW_SECONDS = 1.0  # how old what is known of the company may be: a person's halt is noticed this late at most
HALT_RETRY_GROWTH = 4  # 5, 20, 80, 300 s: with what was under way, a halt of ten minutes costs 15 calls at most


def requestid_of(known: Known, asked: Asked, operation: Operation, sync_token: str | None, number: int) -> str:
    """Return the requestid that serves this one attempt: at most 50 characters."""
    parts = (
        known.realm,
        known.kind,
        known.source,
        known.source_key,
        str(asked.version),
        operation,
        sync_token or "",
        str(number),
    )
    return "br-" + hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:40]


def batch_requestid_of(requestids: Sequence[str]) -> str:
    """Return a batch's requestid: at most 36 characters, of the requestids of its items."""
    return "bb-" + hashlib.sha256("\x1f".join(requestids).encode()).hexdigest()[:32]


@dataclass
class Prepared:
    """What came of preparing candidates: attempts to journal, effects to commit, names that are needed."""

    attempts: list[NewAttempt] = field(default_factory=list)
    effects: list[Effects] = field(default_factory=list)
    paid: list[tuple[Candidate, Unpay]] = field(default_factory=list)  # our payment is to be removed first
    names: dict[tuple[LedgerKind, str], tuple[NameNeeded, list[Candidate]]] = field(default_factory=dict)
    unanswered: bool = False  # a read had no answer: nobody's fault, it is asked again after a pause
    refused: LookupFailed | None = None  # a read was refused
    last_try: bool = False  # it was the last one of a document that is held now


class Poster:
    """Posts for one company while this process holds its lease. `step` is a loop's unit of work."""

    def __init__(self, realm: str, parts: Parts) -> None:
        self.realm, self.parts = realm, parts
        self._wake = asyncio.Event()
        self.sender = Sender(realm, parts, self.wake)
        self.resolver = Resolver(realm, parts, self.sender)
        self.adopter = Adopter(self.sender, self.fields_of)
        self.feeder = Feeder(realm, parts, self.sender, self.resolver)
        self.sweeper = Sweeper(realm, parts, self.feeder)
        self.numbering = Numbering(realm, parts.policy, parts.ledger.commands, parts.books, parts.forms)
        self.tenure: Tenure | None = None
        self.row: RealmRow | None = None
        self.limit: int | None = None  # run-once: how many documents may still be claimed
        self.clock: Callable[[], float] = time.monotonic  # that halts live on
        self._halt_wait, self._halt_try_at, self._resumed_at = HALT_RETRY_SECONDS, 0.0, -math.inf
        self._answered_at_trial: int | None = None  # how many answers there were when the latest trial began
        self._unanswered: dict[UUID, tuple[int, int]] = {}  # command -> answers to anybody when its read had none, how often
        self._refused = 0  # documents whose reads were refused since a harmless read was served
        self._pace_kept = self._row_read = 0.0
        self.rounds = 0
        self._looked_idle = False
        self._prove_at = 0.0
        self._policy_next = time.monotonic() + POLICY_SECONDS  # when to hold the policy against what the company needs
        self._recovery_told = -RECOVERY_TOLD_SECONDS
        self._backlog = False  # more waits than single calls should carry
        self._offered: tuple[Policy, Rules] | None = None  # a policy that was read again
        self._all_waiting = False  # what waits for something in QuickBooks or in the policy is decided again at once
        self._halt_shown: str | None = None  # the code that stands in the metric

    def take_policy(self, policy: Policy, rules: Rules) -> None:
        """Decide by these from the next round on: what is being prepared is prepared by the ones before."""
        self._offered = policy, rules

    def wake(self) -> None:
        """Something changed: look now."""
        self._wake.set()

    # -------------------------------------------------------------------------------------------------------------- loop

    async def step(self) -> float:
        """Do what can be done now, then wait until something changes."""
        self._wake.clear()
        self.rounds += 1
        if self._offered:
            (self.parts.policy, self.parts.rules), self._offered, self._policy_next = self._offered, None, 0.0
            self.parts.references.use(self.realm, self.parts.policy)
            self.numbering.policy = self.parts.policy
            self._all_waiting, self._pace_kept = True, 0.0  # for a mapping, perhaps
        fencing_token = self.parts.leases.holding(self.realm)
        if fencing_token is None:
            self.tenure = None
            self._show_halt(None)  # whoever holds the lease now tells it
            await self.parts.tokens.rescue(self.realm)
            await self._wait(IDLE_SECONDS)
            return 0
        try:
            await self._work(fencing_token)
        except LeaseLost:
            self.parts.leases.lost(self.realm)
        except HaltError as error:
            await self._halt(error)
        return 0

    async def _work(self, fencing_token: int) -> None:
        if self.tenure is None or self.tenure.fencing_token != fencing_token:
            await self._read_row()
            if self.row and self.row.recover_since:  # set before this lease was taken: only a recovery sets it, under its own
                await self._wait_for_recovery(self.row)
                return
            await self._take_over(fencing_token)
        tenure = self.tenure
        assert tenure is not None
        if time.monotonic() - self._row_read >= ROW_SECONDS:
            await self._read_row()
        if self.sender.health.halted:
            error, self.sender.health.halted = self.sender.health.halted, None
            raise error
        if self.stopped:
            await self._keep_pace(tenure)
            await self._wait(IDLE_SECONDS)
            return
        if self.row and self.row.halted_code:
            await self._halted(tenure)
            return
        trial = time.monotonic() < self.sender.health.paused_until or self.parts.tokens.unproven(self.realm)
        token = await self.parts.tokens.current(self.realm, tenure.fencing_token)
        if not tenure.feed_read:
            self._read_feed(tenure, token)
        if not trial and self.limit is None and time.monotonic() >= self._policy_next:
            self._policy_next = time.monotonic() + POLICY_AGAIN_SECONDS
            self.sender.spawn(tenure, (), self._check_policy(tenure, token))
        if not trial and self.feeder.due() and self.limit is None:
            self.sender.spawn(tenure, (), self.feeder.run(tenure, token))
        if not trial and self.sweeper.due() and self.limit is None:
            self.sender.spawn(tenure, (), self.sweeper.run(tenure, token))
        quiet = not tenure.in_flight
        done = await self._round(tenure, token, one_only=trial)
        soon = (
            self.limit is not None
            and not done
            and await self.parts.ledger.commands.next_due_in(self.realm) < IDLE_LIMITED_SECONDS
        )
        self._looked_idle = quiet and not done and not soon
        unused = not done and not self.sender.flying() and self.parts.tokens.unproven(self.realm)
        if unused and time.monotonic() >= self._prove_at:  # no document needs a request, and the feed waits for one
            self._prove_at = time.monotonic() + PROVE_AGAIN_SECONDS
            self.sender.spawn(tenure, (), self._prove(token))
        await self._keep_pace(tenure)
        if not done and tenure.in_flight:
            await self._wait(IDLE_SECONDS)  # the end of what is under way wakes
        elif not done:
            await self._wait(min(IDLE_SECONDS, await self.parts.ledger.commands.next_due_in(self.realm)))

    async def _prove(self, token: AccessToken) -> None:
        with contextlib.suppress(LookupFailed):
            await self.parts.books.harmless(self.realm, token)

    async def _check_policy(self, tenure: Tenure, token: AccessToken) -> None:
        """At start: say what the policy of a company outside of the US must say; what waited for that goes on."""
        try:
            facts = await self.parts.references.company(self.realm, token)
        except LookupFailed as error:
            log.info("references.failed", realm=self.realm, error=repr(error))
            return
        self._policy_next = math.inf
        if facts.names_taxes and (lacks := lacking(self.parts.policy)):
            wanted = not_said(self.parts.policy)
            log.error("policy.tax_not_said", realm=self.realm, lacks=list(lacks), reason=wanted.reason, fix=wanted.fix)
        if facts.names_taxes and not self.parts.policy.amounts:
            return
        # Lines may name their codes themselves: what still lacks one is held again, without a call.
        if released := await self.parts.ledger.commands.release_for(self.realm, tenure.fencing_token, TAX_NOT_SAID):
            log.info("policy.tax_said", realm=self.realm, released=released)
            self.wake()

    async def _wait_for_recovery(self, row: RealmRow) -> None:
        """The database was restored, and nobody has compared it with QuickBooks yet: whatever leaves now may be there already."""
        if time.monotonic() - self._recovery_told >= RECOVERY_TOLD_SECONDS:
            self._recovery_told = time.monotonic()
            fix = "Stop the writers, run `qbo-writer recover`; see the runbook."
            log.error("realm.waits_for_recovery", realm=self.realm, since=str(row.recover_since), code=row.halted_code, fix=fix)
        await self._wait(RECOVERY_LOOK_SECONDS)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.01, seconds)):
                await self._wake.wait()

    async def _take_over(self, fencing_token: int) -> None:
        """After taking the lease, in the protocol's order. Step 1 was taking it."""
        tenure, self._policy_next = Tenure(fencing_token), time.monotonic() + POLICY_SECONDS
        self.sender.health.halted, self.sender.health.closed = None, False  # of an earlier tenure
        self.sender.halves.clear()
        self.sender.halving.clear()
        await self._read_row()
        assert self.row is not None
        self.parts.pacer.load(self.realm, self.row.pace)
        token = None
        try:
            if not self.stopped:
                token = await self.parts.tokens.current(self.realm, fencing_token)
        except HaltError as error:
            self.sender.health.halted = error
        lost = await self.parts.ledger.attempts.mark_lost(self.realm, fencing_token)
        # Whoever starts may have another policy than who waited.
        await self.parts.ledger.commands.take_up_waiting(self.realm, fencing_token, all_of_them=True)
        self.tenure = tenure
        log.info("lease.prepared", realm=self.realm, fencing_token=fencing_token, lost_attempts=lost)
        if token is not None:
            self._read_feed(tenure, token)

    def _read_feed(self, tenure: Tenure, token: AccessToken) -> None:
        """Step 4 after taking the lease. Documents without an open attempt wait for nothing from here on."""
        tenure.feed_read = True
        self.sender.spawn(tenure, (), self.resolver.read_feed(tenure, token))

    async def _round(self, tenure: Tenure, token: AccessToken, *, one_only: bool) -> int:
        """Take up open attempts, then claim: batches for a backlog, singles beside them. Return how much was started."""
        lanes = 1 if one_only else self.parts.settings.pace_in_flight
        free = lanes - self.sender.flying()
        if free <= 0:
            return 0
        done = await self.resolver.step(tenure, self.row or await self.parts.ledger.realms.read(self.realm), token, free)
        free = lanes - self.sender.flying()
        if self.limit is not None:
            free = min(free, self.limit)
        if free > 0:
            done += await self._claim(tenure, token, free, batches=not one_only and self.limit is None)
        return done

    async def _claim(self, tenure: Tenure, token: AccessToken, free: int, *, batches: bool) -> int:
        """Claim by priority, then age: few go as singles, for latency; from a backlog a batch is filled first."""
        settings = self.parts.settings
        batches = batches and settings.pace_batches_per_minute > 0 and self.sender.batches < BATCH_LANES
        if batches and (done := await self._half(tenure, token)):
            return done
        may_batch = batches and self.parts.pacer.batch_now(self.realm)
        threshold = min(settings.batch_threshold, THRESHOLD_AT_MOST)
        # While a backlog lasts, some lanes are kept for batches: singles would take every one of them.
        singles = free - (BATCH_LANES - self.sender.batches if self._backlog and settings.pace_in_flight > BATCH_LANES else 0)
        wanted = max(threshold, settings.pace_batch_items + free) if may_batch else singles
        if wanted <= 0:
            return 0
        candidates = await self.parts.ledger.commands.candidates(self.realm, wanted, without=self.sender.halving)
        if may_batch or not candidates:
            self._backlog = len(candidates) >= threshold
        size = settings.pace_batch_items if may_batch and self._backlog else 0
        candidates = candidates[: size + max(0, min(singles, free - 1) if size else singles)]
        if not candidates:
            return 0
        promised: numbering.Promised = {}
        prepared = await self._prepare(tenure, candidates, token, promised)
        if size:
            prepared = await self._filled(tenure, prepared, candidates, token, promised)
        # What failed before goes alone: one poisonous item must not cost the others their batch.
        suited = [a for a in prepared.attempts if _fits_batch(a) and a.candidate.newest.failures == 0][:size]
        await self._journal(tenure, prepared.attempts, suited, token)
        return len(candidates)

    async def _half(self, tenure: Tenure, token: AccessToken) -> int:
        """Claim one half of a batch that was refused whole, until what QuickBooks refuses is alone; return how much was claimed.

        Each half is a batch of its own, journalled anew under another requestid: nothing was done for the one before.
        """
        candidates: list[Candidate] = []
        while self.sender.halves and not candidates:
            documents = self.sender.halves.popleft()
            try:
                # A document can have several due versions.
                candidates = await self.parts.ledger.commands.candidates(self.realm, THRESHOLD_AT_MOST, only=documents)
                prepared = await self._prepare(tenure, candidates, token)
                await self._journal(tenure, prepared.attempts, [a for a in prepared.attempts if _fits_batch(a)], token)
            finally:
                self.sender.halving.difference_update(documents)
        return len(candidates)

    async def _journal(
        self, tenure: Tenure, attempts: Sequence[NewAttempt], together: Sequence[NewAttempt], token: AccessToken
    ) -> None:
        """Journal what was prepared, and send it: `together` as a batch, the others alone."""
        if len(together) < 2:
            together = []
        batched = {a.candidate.known.id for a in together}
        alone = [a for a in attempts if a.candidate.known.id not in batched]
        if attempts:
            reach(Place.CLAIMED)
        if together:
            await self._batch(tenure, together, token)
        if alone:
            await self._singles(tenure, alone, token)

    async def _filled(
        self, tenure: Tenure, prepared: Prepared, candidates: Sequence[Candidate], token: AccessToken,
        promised: numbering.Promised,
    ) -> Prepared:  # fmt: skip
        """Claim in place of what ended or waits now for its customer: a batch that leaves half empty costs as much as a full one.

        The customers themselves come first: they are due since a moment ago.
        """
        wanted, known = len(candidates), [c.known.id for c in candidates]
        for _ in range(FILLS):
            more = await self.parts.ledger.commands.candidates(self.realm, max(0, wanted - len(prepared.attempts)), without=known)
            if not more:
                break
            known += [c.known.id for c in more]
            prepared.attempts += (await self._prepare(tenure, more, token, promised)).attempts
        return prepared

    async def _singles(self, tenure: Tenure, attempts: Sequence[NewAttempt], token: AccessToken) -> None:
        journalled = await self.parts.ledger.attempts.journal(self.realm, tenure.fencing_token, attempts)
        reach(Place.JOURNALLED)
        if self.limit is not None:
            self.limit -= len(journalled)
        for attempt in journalled:
            self.sender.spawn(tenure, [attempt], self.sender.single(tenure, attempt, token))

    async def _batch(self, tenure: Tenure, attempts: Sequence[NewAttempt], token: AccessToken) -> None:
        numbered = [replace(a, b_id=str(i)) for i, a in enumerate(attempts, 1)]
        body = self.parts.forms.batch([BatchItem(a.b_id or "", a.request) for a in numbered])
        requestid = batch_requestid_of([a.request.requestid for a in numbered])
        try:
            journalled = await self.parts.ledger.attempts.journal(self.realm, tenure.fencing_token, numbered, (requestid, body))
        except BatchChanged:
            return
        reach(Place.BATCH_JOURNALLED)
        row = BatchRow(journalled[0].batch_id or 0, requestid, body)
        self.sender.spawn(tenure, journalled, self.sender.batch(tenure, journalled, row, token), batch=True)

    # ----------------------------------------------------------------------------------------------------------- prepare

    async def _prepare(
        self, tenure: Tenure, candidates: Sequence[Candidate], token: AccessToken, promised: numbering.Promised | None = None
    ) -> Prepared:
        """Decide every candidate; commit the ends, let what needs a name wait for it, and return what is to be journalled.

        `promised`: the numbers that were given since the journal was last written.
        """
        prepared = Prepared()
        for candidate in candidates:
            for asked in candidate.older:
                prepared.effects.append(ended(candidate.known, asked, superseded(candidate.newest), self.parts.links))
        promised = {} if promised is None else promised
        numbers = await self._all_numbers(candidates, token, promised)
        await asyncio.gather(*(self._prepare_one(c, token, prepared, numbers, promised) for c in candidates))
        if prepared.unanswered:
            self.sender.health.heard(NO_ANSWER)
        await self._halt_if_refused_to_all(prepared, token)
        if prepared.effects:
            await self.sender.commit(tenure, prepared.effects)
            for effect in prepared.effects:
                for end in effect.ends:
                    log_end(self.realm, end)
        await self._need_names(tenure, list(prepared.names.values()))
        for candidate, unpay in prepared.paid:
            await self._unpay(tenure, candidate, unpay, token)
        return prepared

    async def _all_numbers(
        self, candidates: Sequence[Candidate], token: AccessToken, promised: numbering.Promised
    ) -> Numbers | None:
        """Give the numbers of a round; None where one document's defect stops them all: then each asks for its own."""
        try:
            return await self._numbers(candidates, token, promised)
        except (HaltError, LeaseLost):
            raise
        except PASSING:
            raise
        except Exception as error:
            log.error("numbers.failed", realm=self.realm, error=repr(error), exc_info=True)
            return None

    async def _numbers(
        self, candidates: Sequence[Candidate], token: AccessToken, promised: numbering.Promised | None = None
    ) -> Numbers:
        """Give the documents that are to be written their numbers, all of a round in one question."""
        written = [
            (c.known, c.newest)
            for c in candidates
            if c.known.kind in numbering.KINDS and c.newest.state is CommandState.DUE and c.newest.operation == "upsert"
            and isinstance(decide(c.known, c.newest, self.parts.rules), Write | Unpay)
        ]  # fmt: skip
        if not written:
            return {}
        try:
            facts = await self.parts.references.company(self.realm, token)
        except LookupFailed as error:
            return {known.id: error for known, _ in written}
        ours = [(known, asked) for known, asked in written if self._numbers_are_ours(known.kind, facts)]
        return await self.numbering.of(ours, token, promised)

    async def _prepare_one(
        self, candidate: Candidate, token: AccessToken, prepared: Prepared, numbers: Numbers | None, promised: numbering.Promised
    ) -> None:
        known, asked = candidate.known, candidate.newest
        if asked.state is not CommandState.DUE:
            return  # it has ended, or waits for a name: only the older ones were due
        try:
            if numbers is None:
                numbers = await self._numbers([candidate], token, promised)
            if candidate.stray and asked.operation == "upsert" and not asked.dropped:
                adopted = await self._adopt(candidate, candidate.stray, token)
                if adopted:
                    prepared.effects.append(adopted)
                    return
            with telemetry.step("decide command", asked.traceparent, {"command_id": str(asked.id), "kind": known.kind.value}):
                result = await self.plan(candidate, token, numbers)
            if isinstance(result, End) and known.diverged and known.live and not asked.dropped:
                explained = await self._explained(candidate, token)
                if explained:
                    prepared.effects.append(explained)
                    return
            self._unanswered.pop(asked.id, None)
        except LookupFailed as error:
            prepared.effects.append(self._unread(asked, error, prepared))
            return
        except (HaltError, LeaseLost):
            raise
        except Skipped as skipped:
            result = End(CommandState.SKIPPED, skipped.reason)
        except PermanentError as error:
            result = End(CommandState.REJECTED, error.reason, error.fix, error.code)
        except Exception as error:  # a defect of ours in one document must not stop the others
            log.error("prepare.failed", realm=self.realm, command_id=str(asked.id), error=repr(error), exc_info=True)
            if asked.failures < FAILURES:
                prepared.effects.append(Effects(requeue=Requeue(asked.id, backoff_seconds(asked.failures), failed=True)))
                return
            result = End(CommandState.DEAD_LETTERED, f"The writer cannot prepare this document: {type(error).__name__}.")
        if isinstance(result, End):
            prepared.effects.append(ended(known, asked, result, self.parts.links))
        elif isinstance(result, Unpay):
            prepared.paid.append((candidate, result))
        elif isinstance(result, NameNeeded):
            key = (result.kind, alike(result.name))
            prepared.names.setdefault(key, (result, []))[1].append(candidate)
        else:
            prepared.attempts.append(result)

    async def _adopt(self, candidate: Candidate, qbo_id: str, token: AccessToken) -> Effects | None:
        """A document stood in QuickBooks before the ledger knew its marker: take it over as the version that it is.

        None if it is gone, or no longer carries the marker. Where no version explains it, a source that sends all again may
        bring the right one yet; X + S after this one was recorded it is a person's.
        """
        known, asked = candidate.known, candidate.newest
        seen = await self.parts.books.read(self.realm, self.parts.forms.entity_of(known.kind), qbo_id, token)
        if seen is None or seen.marker != known.marker:
            return None
        versions = (await self.parts.ledger.commands.versions([known.id]))[known.id]
        found = await self.adopter.version_there(seen, known, versions, token)
        if found is not None:
            effects = self.adopter.take_over(seen, known, *found, versions[0])
        elif asked.forced:
            effects = self.adopter.over(seen, known)
        else:
            q, waited = self.parts.waits.q, await self.parts.ledger.commands.now() - (asked.recorded_at or asked.modified_at)
            if waited < q:
                return Effects(requeue=Requeue(asked.id, q.total_seconds() / 5))
            effects = self.adopter.hold(seen, known, asked, await self.fields_of(known, asked, token) or {})
        return effects if effects.ends else replace(effects, requeue=Requeue(asked.id))

    async def _explained(self, candidate: Candidate, token: AccessToken) -> Effects | None:
        """A document was taken for changed by a person, and a version that came since is just what QuickBooks holds: it is ours.

        After a restore the version may have been lost with its command, until its source sent it again.
        """
        known = candidate.known
        seen = await self.parts.books.read(self.realm, self.parts.forms.entity_of(known.kind), known.qbo_id or "", token)
        versions = (await self.parts.ledger.commands.versions([known.id]))[known.id]
        found = await self.adopter.version_there(seen, known, versions, token) if seen else None
        if seen is None or found is None:
            return None
        effects = self.adopter.take_over(seen, known, *found, versions[0])
        return effects if effects.ends else replace(effects, requeue=Requeue(candidate.newest.id))

    def _unread(self, asked: Asked, error: LookupFailed, prepared: Prepared) -> Effects:
        """A read that a document needs failed: it is decided again later. While the company is halted that is not its fault."""
        why = veiled(str(error), names_in(asked.content))
        log.info("references.failed", realm=self.realm, command_id=str(asked.id), error=why)
        halted = bool(self.row and self.row.halted_code)
        if error.definite and not halted:
            self._refused, prepared.refused = self._refused + 1, error
            prepared.last_try = prepared.last_try or asked.failures + 1 >= FAILURES
        prepared.unanswered = prepared.unanswered or not error.definite
        failed = not halted and (error.definite or self._others_are_served(asked.id))
        pause = backoff_seconds(max(asked.failures, self._unanswered.get(asked.id, (0, 0))[1]))
        return Effects(requeue=Requeue(asked.id, pause, failed=failed, reason=why[:REASON_LENGTH]))

    async def _halt_if_refused_to_all(self, prepared: Prepared, token: AccessToken) -> None:
        """Before reads that were refused count against their documents: where a harmless one is refused, too, we are cut off."""
        if prepared.refused is None or not (prepared.last_try or self._refused >= STRANGE_TO_HALT):
            return
        self._refused = 0
        if await self.sender.strange_to_all(token, of_reads=True):
            raise self.sender.refused_to_all(prepared.refused)

    def _others_are_served(self, command: UUID) -> bool:
        """Whether QuickBooks has answered somebody since a read for this command had no answer last.

        Then the silence is about this document, and counts against it; in an outage nobody is answered, and nobody is held.
        """
        answered = self.sender.health.answered
        before, times = self._unanswered.get(command, (answered, 0))
        if command not in self._unanswered and len(self._unanswered) >= UNANSWERED_MOST:
            self._unanswered.clear()
        self._unanswered[command] = (answered, times + 1)
        return answered > before

    async def plan(
        self, candidate: Candidate, token: AccessToken, numbers: Numbers | None = None
    ) -> End | NameNeeded | NewAttempt | Unpay:
        """Decide about the newest version; what is to be sent is made here, and nothing is changed anywhere."""
        if numbers is None:
            numbers = await self._numbers([candidate], token)
        known, asked = candidate.known, candidate.newest
        choice = decide(known, asked, self.parts.rules)
        if isinstance(choice, Write) and (end := of_an_earlier_bill(candidate)):
            return end
        if isinstance(choice, Write | Unpay) and asked.failures >= FAILURES:
            return End(
                CommandState.HELD,
                f"Posting failed {asked.failures} times. {asked.last_reason or 'QuickBooks did not say why.'}",
                "Look at its attempts (qbo-writer held show), correct in QuickBooks or in the company policy what is named, then "
                "release it.",
                Code.AUTOMATION_FAILED,
            )  # fmt: skip
        if isinstance(choice, Write | Unpay) and known.kind not in NAMES and self.parts.rules.closed_period == "hold":
            choice = await self._closed(known, asked, token) or choice
        if isinstance(choice, Write | Unpay) and asked.operation == "upsert" and not asked.forced and known.kind not in NAMES:
            choice = await self._unlike_before(known) or choice
        choice = self._off_total(choice, known, asked) or choice
        if isinstance(choice, Unpay):
            # Nothing is removed for a version that cannot be posted: the bill that is there would stand unpaid.
            content = await self._content(known, asked, token, numbers) if asked.operation == "upsert" else ()
            if not isinstance(content, tuple):
                return content
            return Unpay(await self._with_wanted(known, asked, choice.otherwise, token))
        if isinstance(choice, End):
            return await self._with_wanted(known, asked, choice, token) if choice.shows_wanted else choice
        if asked.forced and asked.shown_sync_token is not None and choice.operation is not Operation.CREATE:
            # QuickBooks refuses it (5010) where another state is there when it arrives.
            known = replace(known, sync_token=asked.shown_sync_token)
            candidate = replace(candidate, known=known)
        fields: dict[str, str] = {}
        number: Number | None = None
        wanted: Wanted | None = None
        if choice.operation in (Operation.CREATE, Operation.UPDATE):
            content = await self._content(known, asked, token, numbers)
            if not isinstance(content, tuple):
                return content
            wanted, number = content
            fields = wanted.fields
        body = self.parts.forms.body(choice.operation, wanted, known.qbo_id or "", known.sync_token or "")
        return self._attempt(candidate, choice, body, fields, token, number)

    async def _content(
        self, known: Known, asked: Asked, token: AccessToken, numbers: Numbers
    ) -> tuple[Wanted, Number] | NameNeeded | End:
        """Return what is to be sent, and the number that it asks for; else why nothing can be. Raises LookupFailed, Skipped."""
        outcome = numbers.get(known.id)
        if isinstance(outcome, LookupFailed):
            raise outcome
        if isinstance(outcome, End):
            return outcome
        number = outcome or Number(None)
        wanted = await self.wanted(known, asked, token, number)
        if not isinstance(wanted, Wanted):
            return wanted
        return self._disagreement(asked, wanted.fields) or (wanted, number)

    async def fields_of(self, known: Known, asked: Asked, token: AccessToken) -> dict[str, str] | None:
        """Return what a version would make true, comparable with what QuickBooks shows; None where it names what is not there."""
        try:
            wanted = await self.wanted(known, asked, token)
        except (Skipped, PermanentError, ValidationError):
            return None
        if not isinstance(wanted, Wanted):
            return None
        # Which number it got was decided when it was sent, and is not known here: the marker says whose it is.
        return {key: value for key, value in wanted.fields.items() if key != "doc_number"}

    async def wanted(
        self, known: Known, asked: Asked, token: AccessToken, number: Number | None = None
    ) -> Wanted | NameNeeded | End:
        """Return what a command's document shall be in QuickBooks, or why that cannot be said. Raises LookupFailed, Skipped.

        `number`: None shows the one that it should get, before anybody is asked whether it is free.
        """
        content = CONTENT[known.kind].model_validate(asked.content)
        resolved = await self._resolve(known, asked, content, token)
        if not isinstance(resolved, Resolved):
            return resolved
        facts = await self.parts.references.company(self.realm, token)
        if number is None and self._numbers_are_ours(known.kind, facts):
            number = numbering.wish(known, asked, self.parts.policy).number
        text = number.text if number else None
        return self.parts.forms.wanted(known.kind, content, resolved, self.parts.policy, text, known.marker, facts.currency)

    @staticmethod
    def _numbers_are_ours(kind: LedgerKind, facts: CompanyFacts) -> bool:
        """Whether we give the number. Where the company lets QuickBooks number its sales forms, ours would make doubles."""
        return kind in numbering.KINDS and (facts.custom_numbers or kind is not LedgerKind.INVOICE)

    async def _closed(self, known: Known, asked: Asked, token: AccessToken) -> End | None:
        facts = await self.parts.references.company(self.realm, token)
        if in_closed_period(known, asked, self.parts.rules, facts.closing_date):
            facts = await self.parts.references.company(self.realm, token, max_age=CLOSING_DATE_SECONDS)
        return in_closed_period(known, asked, self.parts.rules, facts.closing_date)

    async def _unlike_before(self, known: Known) -> End | None:
        """Where the policy says so: nothing follows an answer that was not what was asked, but for its own document."""
        if self.parts.policy.on_difference != "hold":
            return None
        return differing.held_for(await self.parts.ledger.sweeps.discrepancies(self.realm), known)

    def _off_total(self, choice: End | Write | Unpay, known: Known, asked: Asked) -> End | None:
        """Before anything is resolved: the lines against zero, and against the total that the source states."""
        if asked.operation != "upsert" or known.kind in NAMES:
            return None
        if isinstance(choice, Write | Unpay):
            return totals.below_zero(asked) or self._disagreement(asked, None)
        if choice.state is not CommandState.UNCHANGED or known.total == asked.total:
            return None
        return self._disagreement(asked, known.fields or {})

    def _disagreement(self, asked: Asked, fields: dict[str, str] | None) -> End | None:
        if asked.forced or self.parts.policy.on_total != "hold":
            return None
        return totals.disagreement(asked, fields)

    async def _with_wanted(self, known: Known, asked: Asked, end: End, token: AccessToken) -> End:
        """Show what the command wants beside what QuickBooks holds. Creates nothing; no failure changes the end."""
        if asked.operation != "upsert" or not known.live:
            return end
        try:
            wanted = await self.wanted(known, asked, token)
        except (LookupFailed, Skipped, PermanentError):
            return end
        if not isinstance(wanted, Wanted):
            return end
        return replace(end, differences=(*end.differences, *comparing.differences(wanted.fields, known.fields or {})))

    async def _resolve(self, known: Known, asked: Asked, content: AnyContent, token: AccessToken) -> Resolved | NameNeeded | End:
        if known.kind in NAMES:
            return Resolved({})
        resolved = await self.parts.references.resolve(
            self.realm, known.kind, content, token, facts_age=_facts_age(asked, datetime.now(UTC))
        )
        if isinstance(resolved, Unmapped):
            state = CommandState.REJECTED if resolved.at_source else CommandState.WAITING
            return End(CommandState.HELD if resolved.holds else state, resolved.reason, resolved.fix, resolved.code)
        return resolved

    def _attempt(
        self, candidate: Candidate, choice: Write, body: str, fields: dict[str, str], token: AccessToken, numbered: Number | None
    ) -> NewAttempt:
        known, asked, number = candidate.known, candidate.newest, candidate.known.attempts + 1
        create = choice.operation is Operation.CREATE
        sync_token = None if create else known.sync_token
        requestid = requestid_of(known, asked, choice.operation, sync_token, number)
        request = Request(
            self.realm, known.kind, self.parts.forms.entity_of(known.kind), choice.operation, requestid, body,
            None if create else known.qbo_id, sync_token,
        )  # fmt: skip
        return NewAttempt(candidate, request, fields, asked.content_hash, number, token.expires_at, numbered)

    async def _need_names(self, tenure: Tenure, names: Sequence[tuple[NameNeeded, list[Candidate]]]) -> None:
        """A customer or vendor is a document of its own: created once, however many commands need it."""
        if not names:
            return
        wishes = []
        for needed, waiting in names:
            content = {"name": needed.name} | ({"email": needed.email} if needed.email else {})
            wanted = FollowUp(
                self.realm, NAMES_SOURCE, alike(needed.name), needed.kind, 0, content, hash_of(content),
                min(c.newest.priority for c in waiting),
            )  # fmt: skip
            before = [text.casefold() for text in spellings(needed.name)]
            wishes.append(NameWish(wanted, [c.newest for c in waiting], before))
        found = await self.parts.ledger.dependents.need_names(self.realm, tenure.fencing_token, wishes)
        self.wake()
        for (needed, waiting), outcome in zip(names, found, strict=True):
            if isinstance(outcome, Known):
                await self._name_is_there(tenure, needed, outcome, waiting)
            elif outcome is not None:
                await self._name_was_refused(tenure, needed, outcome, waiting)

    async def _name_was_refused(
        self, tenure: Tenure, needed: NameNeeded, outcome: tuple[CommandState, str, str], waiting: Sequence[Candidate]
    ) -> None:
        state, code, reason = outcome
        kind = "customer" if needed.kind is LedgerKind.CUSTOMER else "vendor"
        end = End(
            state if state in (CommandState.HELD, CommandState.REJECTED) else CommandState.HELD,
            f"Its {kind} could not be created in QuickBooks: {reason or state.value}",
            f"Create or map the {kind} in QuickBooks, then send or release the document again.",
            Code(code) if code in set(Code) else Code.MAPPING_MISSING,
        )
        await self.sender.commit(tenure, [ended(c.known, c.newest, end, self.parts.links) for c in waiting])

    async def _unpay(self, tenure: Tenure, candidate: Candidate, unpay: Unpay, token: AccessToken) -> None:
        """Our payment of a bill is a document of its own: it is withdrawn first, and the bill is decided again when it is."""
        known, asked = candidate.known, candidate.newest
        step = await self.parts.ledger.dependents.unpay(self.realm, tenure.fencing_token, known, asked)
        if step.state == "waits":
            self.wake()
            return
        end = unpay.otherwise
        if step.state == "failed":
            end = End(
                CommandState.HELD,
                f"The document is paid, and its payment could not be removed: {step.reason}",
                f"Look at it (qbo-writer commands show {step.payment}), remove it in QuickBooks, then release this document.",
                Code.CONFLICT,
            )  # fmt: skip
        elif step.state == "gone":  # the ledger has the bill as it was before: read what is open now
            try:
                seen = await self.parts.books.read(self.realm, self.parts.forms.entity_of(known.kind), known.qbo_id or "", token)
                moved = seen is None or (seen.balance, seen.sync_token) != (known.balance, known.sync_token)
                if moved:
                    await self.feeder.saw(tenure, known, seen, token)
            except LookupFailed as error:
                prepared = Prepared()
                again = self._unread(asked, error, prepared)
                await self._halt_if_refused_to_all(prepared, token)
                await self.sender.commit(tenure, [again])
                return
            if moved:
                await self.sender.commit(tenure, [Effects(requeue=Requeue(asked.id, failed=True))])
                return
        await self.sender.commit(tenure, [ended(known, asked, end, self.parts.links)])

    async def _name_is_there(self, tenure: Tenure, needed: NameNeeded, known: Known, waiting: Sequence[Candidate]) -> None:
        """We created it, the cache has forgotten it, and a query does not show it (yet): what the ledger knows is enough."""
        name = (known.fields or {}).get("name") or needed.name
        made = self.parts.references.made(needed, known.qbo_id or "", known.sync_token or "0", name, known.marker)
        if isinstance(made, Unmapped):
            end = End(CommandState.WAITING, made.reason, made.fix, made.code)
            await self.sender.commit(tenure, [ended(c.known, c.newest, end, self.parts.links) for c in waiting])
            return
        again = [Effects(requeue=Requeue(c.newest.id, backoff_seconds(c.newest.failures), failed=True)) for c in waiting]
        again[0] = Effects(requeue=again[0].requeue, learned=(made.entity, made))
        await self.sender.commit(tenure, again)

    # -------------------------------------------------------------------------------------------------------------- halt

    @property
    def halted_by(self) -> OperatorAct | None:
        """The person's halt that holds, as far as this process knows."""
        return self.row.operator_halt if self.row else None

    @property
    def stopped(self) -> bool:
        """Whether a person has halted the company: nothing is read or sent; what is under way finishes."""
        return self.halted_by is not None

    async def _read_row(self) -> None:
        before, self._row_read = self.row, time.monotonic()
        self.row = await self.parts.ledger.realms.read(self.realm)
        self.feeder.look(self.row, datetime.now(UTC))
        self._show_halt(OPERATOR if self.stopped else self.row.halted_code)
        if (halt := self.row.operator_halt) is not None:
            self.sender.health.closed = True
            if before is None or before.operator_halt != halt:
                log.info("realm.halted_by_operator", realm=self.realm, by=halt.by, why=halt.why)
        elif before is not None and before.operator_halt is not None:
            self.sender.health.closed = self.row.halted_code is not None
            log.info("realm.resumed_by_operator", realm=self.realm)
        if (trial := self.row.trial) is not None and (before is None or before.trial != trial):
            log.info("realm.trial_asked", realm=self.realm, by=trial.by, why=trial.why)
            self._halt_wait, self._halt_try_at = HALT_RETRY_SECONDS, 0.0
            self.parts.tokens.ask_again(self.realm)

    def _show_halt(self, code: str | None) -> None:
        """Set the metric: one series for each halted company, none while it is served."""
        if self._halt_shown is not None and self._halt_shown != code:
            metrics.REALM_HALTED.remove(self.realm, self._halt_shown)
        if code is not None:
            metrics.REALM_HALTED.labels(self.realm, code).set(1)
        self._halt_shown = code

    async def _halt(self, error: HaltError) -> None:
        """Stop posting for this company, keep the queue, tell it once."""
        tenure, row = self.tenure, self.row
        self.sender.health.closed = True
        if tenure is None or (row and row.halted_code):
            log.info("realm.still_halted", realm=self.realm, code=error.code.value, reason=error.reason)
            return
        log.error("realm.halted", realm=self.realm, code=error.code.value, reason=error.reason, fix=error.fix)
        if self.clock() - self._resumed_at > HALT_RETRY_MOST:  # else its trial was served, and what came then was not
            self._halt_wait = HALT_RETRY_SECONDS
        self._halt_try_at, self._answered_at_trial = self.clock() + self._halt_wait, None
        since = datetime.now(UTC)
        data = RealmData(realm=self.realm, code=error.code.value, reason=f"{error.reason} {error.fix}".strip(), since=since)
        event = RealmHalted.of(data, sender=SENDER, time=since)
        try:
            await self.parts.ledger.realms.set_halted(
                self.realm, tenure.fencing_token, error.code.value, error.reason, [event], since
            )
        except LeaseLost:
            self.parts.leases.lost(self.realm)
            return
        await self._read_row()
        self.parts.relay.wake()

    async def _halted(self, tenure: Tenure) -> None:
        """One request as a trial, then longer and longer pauses; only an answer that means service ends the halt."""
        health = self.sender.health
        if self._answered_at_trial is not None and health.answered > self._answered_at_trial:
            await self._resume(tenure)
            return
        if self.sender.flying() or self.clock() < self._halt_try_at:
            await self._wait(min(1.0, max(0.05, self._halt_try_at - self.clock())))
            return
        self._halt_wait = min(self._halt_wait * HALT_RETRY_GROWTH, HALT_RETRY_MOST)
        self._halt_try_at = self.clock() + self._halt_wait
        self._answered_at_trial, health.closed = health.answered, False
        token = await self.parts.tokens.current(self.realm, tenure.fencing_token)  # raises HaltError while it is not connected
        self._backlog = False
        if not await self.resolver.retry_refused(tenure, token):
            await self._claim(tenure, token, 1, batches=False)
        if not self.sender.flying():  # no document needs a request: a harmless one is the trial
            with contextlib.suppress(LookupFailed):
                await self.parts.books.harmless(self.realm, token)
                health.answered += 1

    async def _resume(self, tenure: Tenure) -> None:
        assert self.row is not None
        log.info("realm.resumed", realm=self.realm)
        since = datetime.now(UTC)
        reason = "QuickBooks serves this company again."
        if trial := self.row.trial:
            reason += f" Tried by {trial.by}: {trial.why}"
        data = RealmData(realm=self.realm, code=self.row.halted_code or "", reason=reason, since=since)
        event = RealmResumed.of(data, sender=SENDER, time=since)
        await self.parts.ledger.realms.set_halted(self.realm, tenure.fencing_token, None, None, [event], since)
        self._resumed_at, self._halt_try_at, self._answered_at_trial = self.clock(), 0.0, None
        await self._read_row()
        self.parts.relay.wake()

    async def _keep_pace(self, tenure: Tenure) -> None:
        """Every few seconds, so that a restart does not burst."""
        if time.monotonic() - self._pace_kept < 5:
            return
        self._pace_kept = time.monotonic()
        await self.parts.ledger.realms.keep_pace(self.realm, tenure.fencing_token, self.parts.pacer.state(self.realm))
        if await self.parts.ledger.commands.take_up_waiting(self.realm, tenure.fencing_token, all_of_them=self._all_waiting):
            self.wake()
        self._all_waiting = False
        await self.parts.ledger.realms.gauges(self.realm)
        await self._read_row()

    async def keep_pause(self) -> None:
        """Store the pause that a 429 begins, before its answer is worked on: whoever takes over finds it."""
        fencing_token = self.parts.leases.holding(self.realm)
        if fencing_token is None:
            return
        try:
            await self.parts.ledger.realms.keep_pace(self.realm, fencing_token, self.parts.pacer.state(self.realm))
        except LeaseLost:
            self.parts.leases.lost(self.realm)
        except TRANSIENT_POSTGRES as error:
            self._pace_kept = 0.0  # the loop stores it as soon as Postgres is back
            log.warning("pace.not_stored", realm=self.realm, error=type(error).__name__)

    def idle(self) -> bool:
        """Whether nothing is under way and, at the last look, nothing could be begun."""
        if self.row and self.row.recover_since:
            return True
        tenure = self.tenure
        return tenure is not None and not tenure.in_flight and (self._looked_idle or self.limit == 0 or self.stopped)

    async def drain(self, seconds: float) -> None:
        """At a graceful stop: let what is under way come to its end."""
        await self.sender.drain(seconds)


def _facts_age(asked: Asked, now: datetime) -> float:
    """Return how old what is known of the company may be before a document waits for it (again), in seconds.

    What waited already is decided by what was read since its turn came (the half hour, a person's release): all of a round by one
    read.
    """
    least = FACTS_AGAIN_SECONDS if asked.waiting_since else FACTS_SECONDS
    return max(least, (now - asked.due_at).total_seconds() if asked.due_at else 0.0)


def _fits_batch(attempt: NewAttempt) -> bool:
    return attempt.request.operation in (Operation.CREATE, Operation.UPDATE)
