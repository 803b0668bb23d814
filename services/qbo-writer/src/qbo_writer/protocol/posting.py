"""The posting loop of one company: takes over, works in rounds, halts and tries again."""

import asyncio
import contextlib
import math
import time

from bookrelay import telemetry
from bookrelay.db import TRANSIENT_POSTGRES
from bookrelay.errors import HaltError

from qbo_writer.domain import (
    AccessToken,
    LookupFailed,
)
from qbo_writer.ledger.lease import LeaseLost
from qbo_writer.ledger.records import RealmRow
from qbo_writer.policy import TAX_NOT_SAID, Policy, lacking, not_said
from qbo_writer.protocol.claiming import Claimer
from qbo_writer.protocol.deciding import Rules
from qbo_writer.protocol.feeding import Feeder
from qbo_writer.protocol.finding import Finder
from qbo_writer.protocol.halts import Halts
from qbo_writer.protocol.parts import Parts, Tenure
from qbo_writer.protocol.planning import Planner
from qbo_writer.protocol.preparing import Preparer
from qbo_writer.protocol.resolving import Resolver
from qbo_writer.protocol.sending import Sender
from qbo_writer.protocol.sweeping import Sweeper

log = telemetry.get_logger(__name__)

IDLE_SECONDS = 0.5  # commands recorded by another writer's consumer are found within this time
IDLE_LIMITED_SECONDS = 3.0  # run-once waits for what becomes due this soon: a vendor's name that yields to a customer's
POLICY_SECONDS = 5.0  # after the start: the first documents have read the company's facts by then
POLICY_AGAIN_SECONDS = 60.0
RECOVERY_LOOK_SECONDS = 2.0
RECOVERY_TOLD_SECONDS = 60.0
PROVE_AGAIN_SECONDS = 60.0
ROW_SECONDS = 1.0  # how often the company's row is read: an operator's halt is noticed within this time


class Poster:
    """Posts for one company while this process holds its lease. `step` is a loop's unit of work."""

    def __init__(self, realm: str, parts: Parts) -> None:
        self.realm, self.parts = realm, parts
        self._wake = asyncio.Event()
        self.sender = Sender(realm, parts, self.wake)
        self.resolver = Resolver(realm, parts, self.sender)
        self.finder = Finder(realm, parts, self.sender)
        self.feeder = Feeder(realm, parts, self.sender, self.finder)
        self.sweeper = Sweeper(realm, parts, self.feeder)
        self.planner = Planner(realm, parts)
        self.halts = Halts(realm, parts, self.sender, self.feeder)
        self.preparer = Preparer(realm, parts, self.sender, self.feeder, self.planner, self.halts)
        self.claimer = Claimer(realm, parts, self.sender, self.preparer)
        self.tenure: Tenure | None = None
        self._pace_kept = 0.0
        self.rounds = 0
        self._looked_idle = False
        self._prove_at = 0.0
        self._policy_next = time.monotonic() + POLICY_SECONDS  # when to check the policy against the company's facts
        self._recovery_told = -RECOVERY_TOLD_SECONDS
        self._offered: tuple[Policy, Rules] | None = None  # a reloaded policy
        self._all_waiting = False  # decide all waiting documents again at once

    def take_policy(self, policy: Policy, rules: Rules) -> None:
        """Use these from the next round on; documents being prepared still use the old ones."""
        self._offered = policy, rules

    def wake(self) -> None:
        """Run now: something changed."""
        self._wake.set()

    async def step(self) -> float:
        """Do what is due, then wait until something changes."""
        self._wake.clear()
        self.rounds += 1
        if self._offered:
            (self.parts.policy, self.parts.rules), self._offered, self._policy_next = self._offered, None, 0.0
            self.parts.references.use(self.realm, self.parts.policy)
            self.planner.numbering.policy = self.parts.policy
            self._all_waiting, self._pace_kept = True, 0.0  # perhaps for a mapping
        fencing_token = self.parts.leases.holding(self.realm)
        if fencing_token is None:
            self.tenure = None
            self.halts.show(None)  # the new lease holder reports it
            await self.parts.tokens.rescue(self.realm)
            await self._wait(IDLE_SECONDS)
            return 0
        try:
            await self._work(fencing_token)
        except LeaseLost:
            self.parts.leases.lost(self.realm)
        except HaltError as error:
            await self.halts.halt(self.tenure, error)
        return 0

    async def _work(self, fencing_token: int) -> None:
        if self.tenure is None or self.tenure.fencing_token != fencing_token:
            await self.halts.read_row()
            if (
                self.halts.row and self.halts.row.recover_since
            ):  # set before this lease was taken: only a recovery sets it, under its own lease
                await self._wait_for_recovery(self.halts.row)
                return
            await self._take_over(fencing_token)
        tenure = self.tenure
        assert tenure is not None
        if time.monotonic() - self.halts.row_read >= ROW_SECONDS:
            await self.halts.read_row()
        if self.sender.health.halted:
            error, self.sender.health.halted = self.sender.health.halted, None
            raise error
        if self.halts.stopped:
            await self._keep_pace(tenure)
            await self._wait(IDLE_SECONDS)
            return
        if self.halts.row and self.halts.row.halted_code:
            await self._halted(tenure)
            return
        trial = time.monotonic() < self.sender.health.paused_until or self.parts.tokens.unproven(self.realm)
        token = await self.parts.tokens.current(self.realm, tenure.fencing_token)
        if not tenure.feed_read:
            self._read_feed(tenure, token)
        if not trial and self.claimer.limit is None and time.monotonic() >= self._policy_next:
            self._policy_next = time.monotonic() + POLICY_AGAIN_SECONDS
            self.sender.spawn(tenure, (), self._check_policy(tenure, token))
        if not trial and self.feeder.due() and self.claimer.limit is None:
            self.sender.spawn(tenure, (), self.feeder.run(tenure, token))
        if not trial and self.sweeper.due() and self.claimer.limit is None:
            self.sender.spawn(tenure, (), self.sweeper.run(tenure, token))
        quiet = not tenure.in_flight
        done = await self._round(tenure, token, one_only=trial)
        soon = (
            self.claimer.limit is not None
            and not done
            and await self.parts.ledger.commands.next_due_in(self.realm, unpays=self.parts.rules.unpays) < IDLE_LIMITED_SECONDS
        )
        self._looked_idle = quiet and not done and not soon
        unused = not done and not self.sender.flying() and self.parts.tokens.unproven(self.realm)
        if unused and time.monotonic() >= self._prove_at:  # nothing is due that would prove the new token
            self._prove_at = time.monotonic() + PROVE_AGAIN_SECONDS
            self.sender.spawn(tenure, (), self._prove(token))
        await self._keep_pace(tenure)
        if not done and tenure.in_flight:
            await self._wait(IDLE_SECONDS)  # woken when requests in flight end
        elif not done:
            due_in = await self.parts.ledger.commands.next_due_in(self.realm, unpays=self.parts.rules.unpays)
            await self._wait(min(IDLE_SECONDS, due_in))

    async def _prove(self, token: AccessToken) -> None:
        with contextlib.suppress(LookupFailed):
            await self.parts.books.harmless(self.realm, token)

    async def _check_policy(self, tenure: Tenure, token: AccessToken) -> None:
        """At start, report policy settings that a company outside the US lacks; release documents held for them."""
        try:
            facts = await self.parts.references.company(self.realm, token)
        except LookupFailed as error:
            log.info("references.failed", realm=self.realm, error=repr(error))
            return
        self._policy_next = math.inf
        if facts.names_taxes and (lacks := lacking(self.parts.policy)):
            wanted = not_said(self.parts.policy)
            log.error("policy.tax_missing", realm=self.realm, lacks=list(lacks), reason=wanted.reason, fix=wanted.fix)
        if facts.names_taxes and not self.parts.policy.amounts:
            return
        # Lines may have their own codes: those still without one are held again, without a call.
        if released := await self.parts.ledger.commands.release_for(self.realm, tenure.fencing_token, TAX_NOT_SAID):
            log.info("policy.tax_set", realm=self.realm, released=released)
            self.wake()

    async def _wait_for_recovery(self, row: RealmRow) -> None:
        """The database was restored and not yet compared with QuickBooks: anything sent now may be a duplicate."""
        if time.monotonic() - self._recovery_told >= RECOVERY_TOLD_SECONDS:
            self._recovery_told = time.monotonic()
            fix = "Stop the writers and run `qbo-writer recover`; see docs/runbook.md."
            log.error("realm.waits_for_recovery", realm=self.realm, since=str(row.recover_since), code=row.halted_code, fix=fix)
        await self._wait(RECOVERY_LOOK_SECONDS)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.01, seconds)):
                await self._wake.wait()

    async def _take_over(self, fencing_token: int) -> None:
        """Take over after taking the lease (step 1), in the protocol's order."""
        tenure, self._policy_next = Tenure(fencing_token), time.monotonic() + POLICY_SECONDS
        self.sender.health.halted, self.sender.health.closed = None, False  # from an earlier tenure
        self.sender.halves.clear()
        self.sender.halving.clear()
        await self.halts.read_row()
        assert self.halts.row is not None
        self.parts.pacer.load(self.realm, self.halts.row.pace)
        token = None
        try:
            if not self.halts.stopped:
                token = await self.parts.tokens.current(self.realm, fencing_token)
        except HaltError as error:
            self.sender.health.halted = error
        lost = await self.parts.ledger.attempts.mark_lost(self.realm, fencing_token)
        # This process may have another policy than the previous holder.
        await self.parts.ledger.commands.take_up_waiting(self.realm, fencing_token, all_of_them=True)
        self.tenure = tenure
        log.info("lease.takeover_done", realm=self.realm, fencing_token=fencing_token, lost_attempts=lost)
        if token is not None:
            self._read_feed(tenure, token)

    def _read_feed(self, tenure: Tenure, token: AccessToken) -> None:
        """Step 4 after taking the lease. Documents without an open attempt need not wait for it."""
        tenure.feed_read = True
        self.sender.spawn(tenure, (), self.finder.read_feed(tenure, token))

    async def _round(self, tenure: Tenure, token: AccessToken, *, one_only: bool) -> int:
        """Work on open attempts, then claim: batches for a backlog, singles beside them. Return how many were started."""
        lanes = 1 if one_only else self.parts.settings.pace_in_flight
        free = lanes - self.sender.flying()
        if free <= 0:
            return 0
        done = await self.resolver.step(tenure, self.halts.row or await self.parts.ledger.realms.read(self.realm), token, free)
        free = lanes - self.sender.flying()
        if self.claimer.limit is not None:
            free = min(free, self.claimer.limit)
        if free > 0:
            done += await self.claimer.claim(tenure, token, free, batches=not one_only and self.claimer.limit is None)
        return done

    async def _halted(self, tenure: Tenure) -> None:
        """Send one request as a trial, with growing pauses; only a successful answer ends the halt."""
        if self.halts.served:
            await self.halts.resume(tenure)
            return
        if (pause := self.halts.trial_in()) is not None:
            await self._wait(min(1.0, max(0.05, pause)))
            return
        token = await self.parts.tokens.current(self.realm, tenure.fencing_token)  # raises HaltError while not connected
        self.claimer.backlog = False
        if not await self.resolver.retry_refused(tenure, token):
            await self.claimer.claim(tenure, token, 1, batches=False)
        if not self.sender.flying():  # no document needs a request: use a harmless read as the trial
            with contextlib.suppress(LookupFailed):
                await self.parts.books.harmless(self.realm, token)
                self.sender.health.answered += 1

    async def _keep_pace(self, tenure: Tenure) -> None:
        """Store the pace every few seconds, so that a restart does not burst."""
        if time.monotonic() - self._pace_kept < 5:
            return
        self._pace_kept = time.monotonic()
        await self.parts.ledger.realms.keep_pace(self.realm, tenure.fencing_token, self.parts.pacer.state(self.realm))
        if await self.parts.ledger.commands.take_up_waiting(self.realm, tenure.fencing_token, all_of_them=self._all_waiting):
            self.wake()
        self._all_waiting = False
        await self.parts.ledger.realms.gauges(self.realm)
        await self.halts.read_row()

    async def keep_pause(self) -> None:
        """Store the pause of a 429 before its answer is processed, so that a successor finds it."""
        fencing_token = self.parts.leases.holding(self.realm)
        if fencing_token is None:
            return
        try:
            await self.parts.ledger.realms.keep_pace(self.realm, fencing_token, self.parts.pacer.state(self.realm))
        except LeaseLost:
            self.parts.leases.lost(self.realm)
        except TRANSIENT_POSTGRES as error:
            self._pace_kept = 0.0  # the loop stores it once Postgres is back
            log.warning("pace.not_stored", realm=self.realm, error=type(error).__name__)

    def idle(self) -> bool:
        """Whether nothing is running and, at the last check, nothing could be started."""
        if self.halts.row and self.halts.row.recover_since:
            return True
        tenure = self.tenure
        return (
            tenure is not None and not tenure.in_flight and (self._looked_idle or self.claimer.limit == 0 or self.halts.stopped)
        )

    async def drain(self, seconds: float) -> None:
        """At a graceful stop: wait for requests in flight."""
        await self.sender.drain(seconds)
