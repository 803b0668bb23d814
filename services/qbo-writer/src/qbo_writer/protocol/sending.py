"""Sends journalled requests, each once, and has their answers evaluated and committed. Nothing here decides what to send."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bookrelay import telemetry
from bookrelay.errors import HaltError
from bookrelay.messages import Priority
from opentelemetry.trace import SpanKind

from qbo_writer.crashpoints import Place, reach
from qbo_writer.domain import (
    AccessToken,
    Answer,
    AnswerKind,
    BatchItem,
    BatchRequest,
)
from qbo_writer.ledger.lease import LeaseLost
from qbo_writer.ledger.records import Attempt, BatchRow
from qbo_writer.protocol.answering import Answerer, name_taken
from qbo_writer.protocol.committing import GATHER_SECONDS, Committer
from qbo_writer.protocol.looking import Looker
from qbo_writer.protocol.parts import EXPIRED, KEPT_BACK, MISSING, PASSING, STRANGE_TO_HALT, Health, Parts, Tenure
from qbo_writer.protocol.serving import Serving
from qbo_writer.protocol.transitions import Envelope, Trigger, trigger_of_answer
from qbo_writer.redacting import names_in, veiled

log = telemetry.get_logger(__name__)

PRIORITIES = (Priority.INTERACTIVE, Priority.LIVE, Priority.BACKFILL, Priority.SWEEP)


class Sender:
    """Sends for one company."""

    def __init__(self, realm: str, parts: Parts, wake: Any) -> None:
        self.realm, self.parts, self._wake = realm, parts, wake
        self.nudge: Any = wake  # told that work ended of which no document came
        self.health = Health()
        self.looker = Looker(realm, parts)
        self.answerer = Answerer(realm, parts, self.looker)
        self.committer = Committer(realm, parts)
        self.serving = Serving(realm, parts)
        self._tasks: set[asyncio.Task[None]] = set()
        self._waking: asyncio.TimerHandle | None = None
        self.batches = 0  # batch calls in flight
        self.halves: deque[list[int]] = deque()  # halves of refused batches, as documents: sent next
        self.halving: set[int] = set()  # the documents in them, not to be claimed otherwise

    def flying(self) -> int:
        """Return the lanes in use: calls that wait for a slot or for an answer."""
        return len(self._tasks)

    def spawn(
        self, tenure: Tenure, attempts: Sequence[Attempt], work: Coroutine[Any, Any, None], *, batch: bool = False,
        aside: bool = False,
    ) -> None:  # fmt: skip
        """Run the work for these attempts; while it runs nobody else takes them up.

        `aside`: work beside posting, whose end makes nobody look for documents.
        """
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
            if aside:
                self.nudge()
            elif self._waking is None:
                self._waking = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._wake_now)

        task.add_done_callback(finished)

    def wake(self) -> None:
        """Check now what can be posted."""
        self._wake()

    def _wake_now(self) -> None:
        self._waking = None
        self._wake()

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a task; if it fails, its attempts stay open and the resolver finds them."""
        try:
            await work
        except LeaseLost:
            self.parts.leases.lost(self.realm)
        except HaltError as error:
            self.health.halted, self.health.closed = error, True
        except asyncio.CancelledError:
            raise
        except PASSING as error:  # Intuit's token endpoint or Postgres is down: transient
            log.warning("sending.interrupted", realm=self.realm, error=repr(error))
        except Exception as error:
            log.error("sending.failed", realm=self.realm, error=repr(error), exc_info=True)

    async def drain(self, seconds: float) -> None:
        """Wait for requests in flight."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)

    def may_send(self, tenure: Tenure) -> bool:
        """Whether this process probably still holds the lease. Nothing relies on it; it saves calls."""
        return self.parts.leases.holding(self.realm) == tenure.fencing_token

    async def single(self, tenure: Tenure, attempt: Attempt, token: AccessToken) -> None:
        """Send one journalled request and settle its answer."""
        async with self.parts.pacer.slot(self.realm, priority=PRIORITIES[attempt.command.priority]):
            if not self.may_send(tenure):
                raise LeaseLost(self.realm)
            if self.health.closed:
                answer = KEPT_BACK
            elif token.expires_at <= datetime.now(UTC):
                answer = EXPIRED  # a request is sent with the token it was journalled with, or not at all
            else:
                tenure.sent[attempt.id] = attempt.sends
                name, fields = f"{attempt.request.operation} {attempt.request.entity}", {"requestid": attempt.request.requestid}
                with telemetry.step(name, attempt.command.traceparent, fields, SpanKind.CLIENT):
                    answer = _veiled(await self.parts.books.send(attempt.request, token), [attempt])
                reach(Place.SENT)
        self.health.heard(answer)
        reach(Place.ANSWERED)
        await self.committer.settle(tenure, await self.answerer.single(attempt, answer, token), [(attempt, answer)])
        await self._after(tenure, answer, token)

    async def batch(self, tenure: Tenure, attempts: Sequence[Attempt], row: BatchRow, token: AccessToken) -> None:
        """Send one journalled batch, whole, and settle the answers of its open items."""
        items = tuple(BatchItem(a.b_id or "", a.request) for a in attempts)
        async with self.parts.pacer.slot(self.realm, batch=True, priority=PRIORITIES[attempts[0].command.priority]):
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
                    "batch", [a.command.traceparent for a in attempts], {"requestid": row.requestid}, SpanKind.CLIENT
                ):
                    answers = await self.parts.books.send_batch(BatchRequest(self.realm, row.requestid, row.body, items), token)
        reach(Place.BATCH_ANSWERED)
        if isinstance(answers, Answer):
            whole = _veiled(answers, attempts)
            self.health.heard(whole)
            commits = [e for a in attempts for e in self.answerer.whole_batch(a, whole)]
            with self._halved(attempts, whole):
                await self.committer.settle(tenure, commits, [(a, whole) for a in attempts])
            await self._after(tenure, whole, token)
            return
        await self._settle_items(tenure, attempts, answers, token)

    async def _settle_items(
        self, tenure: Tenure, attempts: Sequence[Attempt], answers: dict[str, Answer], token: AccessToken
    ) -> None:
        pairs = [(a, _veiled(answers.get(a.b_id or "", MISSING), [a])) for a in attempts]
        for _, answer in pairs:
            self.health.heard(answer)
        reading = [(a, answer) for a, answer in pairs if answer.kind is AnswerKind.CONFLICT or name_taken(a, answer)]
        at_once = [pair for pair in pairs if pair not in reading]
        await self.answerer.stale([pair for pair in at_once if pair[1].kind is AnswerKind.ERROR], token)
        commits = [e for a, answer in at_once for e in self.answerer.item(a, await self.answerer.by_facts(a, answer, token))]
        await self.committer.settle(tenure, commits, at_once)
        await asyncio.gather(*(self._settle_alone(tenure, a, answer, token) for a, answer in reading))
        if told := [answer for _, answer in pairs if answer.halt or answer.unauthorized or answer.throttled]:
            # A halt in any item halts the company; a token is renewed before a pause is noted.
            await self._after(tenure, min(told, key=lambda answer: (not answer.halt, not answer.unauthorized)), token)

    async def _settle_alone(self, tenure: Tenure, attempt: Attempt, answer: Answer, token: AccessToken) -> None:
        await self.committer.settle(tenure, await self.answerer.single(attempt, answer, token), [(attempt, answer)])

    @contextlib.contextmanager
    def _halved(self, attempts: Sequence[Attempt], whole: Answer) -> Iterator[None]:
        """If nothing was done for a whole batch, send its halves after the commit, each journalled as a new batch.

        In memory only: after a crash or takeover its documents, each with a failure counted, are sent alone.
        """
        envelope = Envelope.BATCH
        refused = [
            a.document.id
            for a in attempts
            if trigger_of_answer(whole.kind, ambiguous=a.sent.ambiguous, envelope=envelope) is Trigger.BATCH_ERROR
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

    async def _after(self, tenure: Tenure, answer: Answer, token: AccessToken) -> None:
        """Apply what an answer means for the company: a new token, or a halt."""
        # The client has already reported a 429 to the pacer.
        if answer.unauthorized and answer is not EXPIRED:
            await self.parts.tokens.renew(self.realm, tenure.fencing_token, token)
        if self.health.strange >= STRANGE_TO_HALT:
            self.health.strange = 0
            if await self.serving.strange_to_all(token):
                raise HaltError(
                    "QuickBooks answers every request with something that bookrelay does not recognise "
                    f"(HTTP {answer.http_status}).",
                    "Check Intuit's status page, and the firewall or proxy in between. Posting resumes automatically.",
                )
        if answer.halt:
            raise HaltError(answer.reason or "QuickBooks does not serve this company.", answer.fix, answer.code)


def _veiled(answer: Answer, attempts: Sequence[Attempt]) -> Answer:
    """Remove the party's name, which may be a patient's, from QuickBooks' words for events and logs."""
    return replace(answer, reason=veiled(answer.reason, (n for a in attempts for n in names_in(a.command.content))))
