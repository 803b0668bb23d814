"""Open attempts that nobody is sending: resend, look up, wait, hold, by the rows of the protocol's table."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from bookrelay import metrics, telemetry

from qbo_writer import kinds
from qbo_writer.crashpoints import Place, reach
from qbo_writer.domain import (
    AccessToken,
    AttemptState,
    BooksEntity,
    CommandState,
    LookupFailed,
    Operation,
)
from qbo_writer.ledger.changes import Decision
from qbo_writer.ledger.records import Attempt, RealmRow
from qbo_writer.protocol.look_times import LookTimes
from qbo_writer.protocol.parts import Parts, Tenure
from qbo_writer.protocol.sending import Sender
from qbo_writer.protocol.settling import ended
from qbo_writer.protocol.transitions import (
    Move,
    Realm,
    Trigger,
    absent_counts_at,
    late_copies_dead_at,
    next_move,
    transition,
    trigger_when_absent,
)

log = telemetry.get_logger(__name__)

LOOK_SECONDS = 0.25
SENDS_MOST = 4  # of one attempt that stays without an answer; then it is claimed afresh, which counts against its document
AT_ONCE = 20  # open attempts taken up in one round, each by itself
TOGETHER = 500  # creates that are looked up in one window
STUCK_AGAIN = timedelta(hours=1)  # until what waits for a person is looked for again: it may be there all the same


class Resolver:
    """Works on the open attempts of one company."""

    def __init__(self, realm: str, parts: Parts, sender: Sender) -> None:
        self.realm, self.parts, self.sender = realm, parts, sender
        self._look_at = 0.0
        self._looking = False  # a window is being read; only one at a time, whose page is in memory
        self._times = LookTimes(realm, parts, sender)

    async def step(self, tenure: Tenure, row: RealmRow, token: AccessToken, limit: int) -> int:
        """Take up what is due; return how many attempts were taken up. Between two looks only what was just committed counts."""
        if not self.sender.committer.opened and time.monotonic() < self._look_at:
            return 0
        self.sender.committer.opened, self._look_at = False, time.monotonic() + LOOK_SECONDS
        for candidate in await self.parts.ledger.commands.behind(self.realm):
            decision = Decision(
                CommandState.HELD, "An earlier request for this document waits for a person.", "Decide about that one first."
            )
            await self.sender.committer.commit(tenure, [ended(candidate.document, candidate.newest, decision, self.parts.links)])
        attempts = await self.parts.ledger.attempts.read_open(self.realm, limit=TOGETHER, without=list(tenure.in_flight))
        if not attempts:
            return 0
        now = await self.parts.ledger.commands.now()
        known = Realm(row.requestid_proven, row.batch_proven, row.bounds_unreliable)
        taken, alone = set[int](), min(limit, AT_ONCE)
        together: dict[str, list[Attempt]] = {}
        for attempt in attempts:
            if attempt.id in taken or attempt.id in tenure.in_flight:
                continue
            if self._in_window(attempt, known, now):
                together.setdefault(attempt.request.entity, []).append(attempt)
            elif alone > 0:
                taken |= await self._take_up(tenure, attempt, known, token, now)
                alone -= 1
            else:
                self.sender.committer.opened = True  # there are more
        if together and not self._looking:
            some = [attempt for group in together.values() for attempt in group]
            self._looking = True
            self.sender.spawn(tenure, some, self._look_together(tenure, together, known, token, now))
            taken |= {attempt.id for attempt in some}
        return len(taken)

    def _in_window(self, attempt: Attempt, known: Realm, now: datetime) -> bool:
        """Whether it is a create that is only to be looked for, which one read does for all of them."""
        sent = attempt.sent
        if (
            sent.operation is not Operation.CREATE
            or kinds.of(attempt.document.kind).is_name
            or sent.stuck
            or attempt.operator_says
        ):
            return False
        if sent.state is AttemptState.SENDING and not sent.answered:
            return False
        move, _ = next_move(sent, known, self.parts.waits, now, repeat=attempt.sends < SENDS_MOST)
        return move in (Move.LOOK, Move.LOOK_COUNTS)

    async def _look_together(
        self, tenure: Tenure, together: Mapping[str, Sequence[Attempt]], known: Realm, token: AccessToken, now: datetime
    ) -> None:
        """One window for all creates of an entity. What is found counts at once; "absent" only after the wait of each."""
        try:
            for attempts in together.values():
                try:
                    found = await self.sender.looker.look_up_together(attempts, token)
                except LookupFailed as error:  # never read as "it is not there"
                    log.info("lookup.failed", realm=self.realm, attempts=len(attempts), error=repr(error))
                    await self._times.failed(tenure, attempts, now, error, token)
                    continue
                await self._found_together(tenure, attempts, found, known, token, now)
        finally:
            self._looking = False

    async def _found_together(
        self,
        tenure: Tenure,
        attempts: Sequence[Attempt],
        found: Mapping[str, BooksEntity],
        known: Realm,
        token: AccessToken,
        now: datetime,
    ) -> None:
        later, absent = list[Attempt](), list[Attempt]()
        for attempt in attempts:
            if (shown := found.get(attempt.document.marker)) is not None:
                await self._read_found(tenure, attempt, shown, token, now)
            elif now < absent_counts_at(attempt.sent, self.parts.waits):
                later.append(attempt)
            elif (trigger := self._trigger_when_absent(attempt, known, now)) is Trigger.ABSENT_IN_WINDOW:
                absent.append(attempt)
            else:
                await self.sender.committer.commit(tenure, [self.sender.looker.commit_for(attempt, trigger)])
        if later:
            await self._times.later(tenure, later, now)
        log.info(
            "lookup.window", realm=self.realm, attempts=len(attempts), found=len(found), absent=len(absent), later=len(later)
        )
        if absent:
            await self._resend_from_look(tenure, absent, token)

    async def _read_found(self, tenure: Tenure, attempt: Attempt, shown: BooksEntity, token: AccessToken, now: datetime) -> None:
        """Read by Id what a query shows: it may show an old SyncToken, or what is gone."""
        try:
            seen = await self.parts.books.read(self.realm, attempt.request.entity, shown.qbo_id, token)
            if seen is not None:
                attempt = await self.sender.looker.followed(tenure.fencing_token, attempt, seen, token)
        except LookupFailed as error:
            log.info("lookup.failed", realm=self.realm, requestid=attempt.request.requestid, error=repr(error))
            await self._times.failed(tenure, [attempt], now, error, token)
            return
        if seen is None:
            await self._times.later(tenure, [attempt], now)
            return
        await self.sender.committer.commit(tenure, [self.sender.looker.read(attempt, seen)])

    def _trigger_when_absent(self, attempt: Attempt, known: Realm, now: datetime) -> Trigger:
        return trigger_when_absent(attempt.sent, known, self.parts.waits, now, repeat=attempt.sends < SENDS_MOST)

    async def retry_refused(self, tenure: Tenure, token: AccessToken) -> bool:
        """Send one request again that was refused; False where there is none."""
        opened = await self.parts.ledger.attempts.read_open(self.realm, limit=1000, without=list(tenure.in_flight))
        refused = next((a for a in opened if a.sent.refused and not a.sent.ambiguous), None)
        if refused is not None:
            await self._resend(tenure, refused, Trigger.RESEND_REFUSED, token)
        return refused is not None

    async def _take_up(
        self, tenure: Tenure, attempt: Attempt, known: Realm, token: AccessToken, now: datetime
    ) -> set[int]:  # fmt: skip
        sent = attempt.sent
        if sent.state is AttemptState.SENDING and not sent.answered:
            return await self._orphan(tenure, attempt, token)
        if attempt.operator_says == "absent":
            return await self._operator(tenure, attempt, now)
        if sent.stuck:
            await self.parts.ledger.attempts.look_again(self.realm, tenure.fencing_token, attempt.id, now + STUCK_AGAIN)
            self.sender.spawn(tenure, [attempt], self._look_for_stuck(tenure, attempt, token))
            return {attempt.id}
        move, trigger = next_move(sent, known, self.parts.waits, now, repeat=attempt.sends < SENDS_MOST)
        if move is Move.RESEND:
            assert trigger is not None
            return await self._resend(tenure, attempt, trigger, token)
        if move is Move.HOLD:
            await self.sender.committer.commit(tenure, [self.sender.looker.commit_for(attempt, Trigger.UNBOUNDED)])
            return {attempt.id}
        self.sender.spawn(tenure, [attempt], self._look(tenure, attempt, known, token, now, counts=move is Move.LOOK_COUNTS))
        return {attempt.id}

    async def _orphan(self, tenure: Tenure, attempt: Attempt, token: AccessToken) -> set[int]:
        """Journalled under our own token, and no task of ours has it: its task failed, or its journal's commit was cut off."""
        left = tenure.sent.get(attempt.id) == attempt.sends
        if left or attempt.sent.ambiguous or attempt.fencing_token != tenure.fencing_token:
            await self.sender.committer.commit(tenure, [self.sender.looker.commit_for(attempt, Trigger.SILENCE)])
            return {attempt.id}
        # It has never left this process: as if refused, nothing was done.
        return await self._resend(tenure, attempt, Trigger.RESEND_REFUSED, token)

    async def _resend(
        self, tenure: Tenure, attempt: Attempt, trigger: Trigger, token: AccessToken, *, absent: bool = False
    ) -> set[int]:
        """The journalled request again, byte for byte, in its envelope. That it leaves again is journalled first."""
        transition(attempt.sent.state, trigger)
        group: Sequence[Attempt] = [attempt]
        if attempt.batch_id is not None:
            group = await self.parts.ledger.attempts.read_open(
                self.realm, limit=100, without=list(tenure.in_flight), batch_id=attempt.batch_id, due=False
            )
        again = await self.parts.ledger.attempts.resend(self.realm, tenure.fencing_token, group, token.expires_at, absent=absent)
        metrics.ATTEMPT_TRANSITIONS.labels(self.realm, trigger.name.lower()).inc(len(again))
        reach(Place.RESEND_JOURNALLED)
        if not again:
            return {attempt.id}
        if attempt.batch_id is None:
            self.sender.spawn(tenure, again, self.sender.single(tenure, again[0], token))
        else:
            row = await self.parts.ledger.attempts.batch(attempt.batch_id)
            self.sender.spawn(tenure, again, self.sender.batch(tenure, again, row, token), batch=True)
        return {a.id for a in again}

    async def _looked_up(self, tenure: Tenure, attempt: Attempt, token: AccessToken) -> tuple[Attempt, BooksEntity | None]:
        """Read what the attempt was about; return it as merges left it, and what is there."""
        if attempt.request.operation is Operation.CREATE:
            seen = next(iter(await self.sender.looker.look_up(attempt, token)), None)
        else:
            assert attempt.request.qbo_id is not None
            seen = await self.parts.books.read(self.realm, attempt.request.entity, attempt.request.qbo_id, token)
        if seen is not None:
            attempt = await self.sender.looker.followed(tenure.fencing_token, attempt, seen, token)
        return attempt, seen

    async def _look_for_stuck(self, tenure: Tenure, attempt: Attempt, token: AccessToken) -> None:
        """That it is not there a person says; that it is, counts at once."""
        try:
            attempt, seen = await self._looked_up(tenure, attempt, token)
        except LookupFailed as error:
            log.info("lookup.failed", realm=self.realm, requestid=attempt.request.requestid, error=repr(error))
            return
        if seen is not None and self.sender.looker.compare(attempt, seen)[0] is not Trigger.READ_KNOWN:
            await self.sender.committer.commit(tenure, [self.sender.looker.read(attempt, seen)])

    async def _look(
        self, tenure: Tenure, attempt: Attempt, known: Realm, token: AccessToken, now: datetime, *, counts: bool
    ) -> None:
        """Look up the marker, or read a known Id. What is found counts at once; "absent" only after the wait."""
        create = attempt.request.operation is Operation.CREATE
        try:
            attempt, seen = await self._looked_up(tenure, attempt, token)
        except LookupFailed as error:  # never read as "it is not there"
            log.info("lookup.failed", realm=self.realm, requestid=attempt.request.requestid, error=repr(error))
            await self._times.failed(tenure, [attempt], now, error, token)
            return
        if seen is not None or not create:
            trigger, _ = self.sender.looker.compare(attempt, seen)
            if trigger is not Trigger.READ_KNOWN:
                await self.sender.committer.commit(tenure, [self.sender.looker.read(attempt, seen)])
                return
            # By Id still as we knew it: its late copy may still come.
        if not counts:
            await self._times.later(tenure, [attempt], now)
            return
        trigger = self._trigger_when_absent(attempt, known, now)
        if trigger is Trigger.ABSENT_IN_WINDOW:
            await self._resend_from_look(tenure, [attempt], token)
        else:
            await self.sender.committer.commit(tenure, [self.sender.looker.commit_for(attempt, trigger)])

    async def _resend_from_look(self, tenure: Tenure, attempts: Sequence[Attempt], token: AccessToken) -> None:
        trigger = Trigger.ABSENT_IN_WINDOW
        for attempt in attempts:
            transition(attempt.sent.state, trigger)
        again = await self.parts.ledger.attempts.resend(self.realm, tenure.fencing_token, attempts, token.expires_at, absent=True)
        metrics.ATTEMPT_TRANSITIONS.labels(self.realm, trigger.name.lower()).inc(len(again))
        reach(Place.RESEND_JOURNALLED)
        # The pacer lets them go, as many at a time as the company takes; one that fails leaves the others theirs.
        sent = await asyncio.gather(*(self.sender.single(tenure, one, token) for one in again), return_exceptions=True)
        for failure in sent:
            if failure is not None:
                raise failure

    async def _operator(self, tenure: Tenure, attempt: Attempt, now: datetime) -> set[int]:
        """A person found nothing in QuickBooks: it counts when no copy can take effect any more."""
        dead_at = late_copies_dead_at(attempt.sent, self.parts.waits)
        if now > dead_at:
            await self.sender.committer.commit(tenure, [self.sender.looker.commit_for(attempt, Trigger.OPERATOR_ABSENT)])
        else:
            await self.parts.ledger.attempts.look_again(
                self.realm, tenure.fencing_token, attempt.id, dead_at + timedelta(seconds=1)
            )
        return {attempt.id}
