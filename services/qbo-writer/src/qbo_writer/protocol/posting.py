"""The posting loop of one company: takes over, works in rounds, halts and tries again."""

import contextlib
import time

from bookrelay import telemetry
from bookrelay.errors import HaltError

from qbo_writer.domain import (
    AccessToken,
    LookupFailed,
)
from qbo_writer.ledger.lease import LeaseLost
from qbo_writer.policy import Policy
from qbo_writer.protocol.claiming import Claimer
from qbo_writer.protocol.deciding import Rules
from qbo_writer.protocol.feeding import Feeder
from qbo_writer.protocol.finding import Finder
from qbo_writer.protocol.halts import Halts
from qbo_writer.protocol.parts import Parts, Tenure
from qbo_writer.protocol.planning import Planner
from qbo_writer.protocol.policy_checking import FIRST_SECONDS, PolicyCheck
from qbo_writer.protocol.preparing import Preparer
from qbo_writer.protocol.resolving import Resolver
from qbo_writer.protocol.resting import REST_SECONDS, PaceKeeper, Rest
from qbo_writer.protocol.sending import Sender
from qbo_writer.protocol.sweeping import Sweeper

log = telemetry.get_logger(__name__)

IDLE_SECONDS = 0.5  # commands that another writer's consumer recorded are found this late at most
IDLE_LIMITED_SECONDS = 3.0  # run-once waits for what becomes due so soon: a vendor's name that lets a customer's come first
RECOVERY_LOOK_SECONDS = 2.0
PROVE_AGAIN_SECONDS = 60.0
ROW_SECONDS = 1.0  # how often the company's row is read: an operator's halt is noticed within this time


class Poster:
    """Posts for one company while this process holds its lease. `step` is a loop's unit of work."""

    def __init__(self, realm: str, parts: Parts) -> None:
        self.realm, self.parts = realm, parts
        self.rest = Rest()
        self.pace = PaceKeeper(realm, parts)
        self.sender = Sender(realm, parts, self.wake)
        self.sender.nudge = self.rest.nudge
        self.resolver = Resolver(realm, parts, self.sender)
        self.finder = Finder(realm, parts, self.sender)
        self.feeder = Feeder(realm, parts, self.sender, self.finder)
        self.sweeper = Sweeper(realm, parts, self.feeder)
        self.planner = Planner(realm, parts)
        self.halts = Halts(realm, parts, self.sender, self.feeder)
        self.preparer = Preparer(realm, parts, self.sender, self.feeder, self.planner, self.halts)
        self.claimer = Claimer(realm, parts, self.sender, self.preparer)
        self.tenure: Tenure | None = None
        self.policy_check = PolicyCheck(realm, parts, self.wake)
        self.rounds = 0
        self._looked_idle = False
        self._prove_at = 0.0
        self._offered: tuple[Policy, Rules] | None = None  # a policy that was read again
        self._all_waiting = False  # what waits for something in QuickBooks or in the policy is decided again at once

    def take_policy(self, policy: Policy, rules: Rules) -> None:
        """Use these from the next round on; documents being prepared still use the old ones."""
        self._offered = policy, rules

    def wake(self) -> None:
        """Something changed: look now."""
        self.rest.wake()

    def told(self) -> None:
        """Somebody changed the company's row: read it, and look."""
        self.halts.row_read = 0.0
        self.wake()

    def due(self) -> bool:
        """Whether the clock, a lease or a policy has brought something while it rests."""
        fencing_token = self.parts.leases.holding(self.realm)
        if fencing_token is None:
            return False
        if self.tenure is None or self.tenure.fencing_token != fencing_token or self._offered:
            return True
        if self.halts.stopped or self.halts.halted:
            return not self.halts.stopped and self.halts.trial_due
        return self.feeder.due() or self.sweeper.due() or self.policy_check.due()

    async def step(self) -> float:
        """Do what can be done now, then wait until something changes."""
        if self.rest.resting and self.parts.watched.alive and not self.rest.woken:
            await self.rest.wait(REST_SECONDS)
            return 0
        self.rest.begin()
        self.rounds += 1
        if self._offered:
            (self.parts.policy, self.parts.rules), self._offered, self.policy_check.next_at = self._offered, None, 0.0
            self.rest.look = True
            self.parts.references.use(self.realm, self.parts.policy)
            self.planner.numbering.policy = self.parts.policy
            self._all_waiting, self.pace.kept_at = True, 0.0  # for a mapping, perhaps
        fencing_token = self.parts.leases.holding(self.realm)
        if fencing_token is None:
            self.tenure = None
            self.halts.show(None)  # the new lease holder reports it
            await self.parts.tokens.rescue(self.realm)
            await self._rest_or_wait(IDLE_SECONDS)
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
            # Set before this lease was taken: only a recovery sets it, under its own lease.
            if self.halts.row and self.halts.row.recover_since:
                self.halts.tell_recovery(self.halts.row)
                await self.rest.wait(RECOVERY_LOOK_SECONDS)
                return
            # Asked under the new lease: an earlier holder can journal nothing any more.
            await self._take_over(fencing_token, unfinished=await self.parts.ledger.work.is_unfinished(self.realm))
        tenure = self.tenure
        assert tenure is not None
        # While it does not look, `turns` looks for it whether its row was changed.
        look = self.rest.look or self.claimer.limit is not None or not self.parts.watched.alive
        if look and time.monotonic() - self.halts.row_read >= ROW_SECONDS:
            await self.halts.read_row()
        if self.sender.health.halted:
            error, self.sender.health.halted = self.sender.health.halted, None
            raise error
        if self.halts.stopped:
            self.rest.look = False
            await self._keep_pace(tenure)
            await self._rest_or_wait(IDLE_SECONDS)
            return
        if self.halts.row and self.halts.row.halted_code:
            await self._halted(tenure)
            return
        trial = time.monotonic() < self.sender.health.paused_until or self.parts.tokens.unproven(self.realm)
        token = await self.parts.tokens.current(self.realm, tenure.fencing_token)
        if not tenure.feed_read:
            self._read_feed(tenure, token)
        if not trial and self.claimer.limit is None and self.policy_check.due():
            self.policy_check.later()
            self.sender.spawn(tenure, (), self.policy_check.run(tenure, token), aside=True)
        if not trial and self.feeder.due() and self.claimer.limit is None:
            self.sender.spawn(tenure, (), self.feeder.run(tenure, token), aside=True)
        if not trial and self.sweeper.due() and self.claimer.limit is None:
            self.sender.spawn(tenure, (), self.sweeper.run(tenure, token), aside=True)
        quiet = not tenure.in_flight
        self.rest.look = False  # what wakes from here on is looked for in the next round
        done = await self._round(tenure, token, one_only=trial) if look else 0
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
        self.rest.look |= done > 0 or bool(tenure.in_flight or self.sender.halves)
        if look:
            await self._keep_pace(tenure)
        if not done and tenure.in_flight:
            await self.rest.wait(IDLE_SECONDS)  # the end of what is under way wakes
        elif not done:
            commands, unpays = self.parts.ledger.commands, self.parts.rules.unpays
            due_in = await commands.next_due_in(self.realm, unpays=unpays) if look else IDLE_SECONDS
            if trial or due_in < IDLE_SECONDS:
                self.rest.look = True
                await self.rest.wait(min(IDLE_SECONDS, due_in))
            else:
                await self._rest_or_wait(IDLE_SECONDS)

    async def _rest_or_wait(self, seconds: float) -> None:
        """There is nothing to do now: rest, if somebody wakes us and nothing is under way; else look again after some seconds."""
        if (
            self.rest.look
            or self._offered
            or self.sender.flying()
            or self.claimer.limit is not None
            or not self.parts.watched.alive
        ):
            await self.rest.wait(seconds)
            return
        if self.tenure is not None and self.pace.unkept():
            await self.pace.keep(self.tenure.fencing_token)
        self.rest.resting = not self.rest.look

    async def _prove(self, token: AccessToken) -> None:
        with contextlib.suppress(LookupFailed):
            await self.parts.books.harmless(self.realm, token)

    async def _take_over(self, fencing_token: int, *, unfinished: bool) -> None:
        """After taking the lease, in the protocol's order. Step 1 was taking it.

        If nothing of the company is unfinished, there is nothing to take over.
        """
        tenure, self.policy_check.next_at = Tenure(fencing_token), time.monotonic() + FIRST_SECONDS * unfinished
        self.sender.health.halted, self.sender.health.closed = None, False  # of an earlier tenure
        self.sender.halves.clear()
        self.sender.halving.clear()
        assert self.halts.row is not None
        self.feeder.go_on(self.halts.row)
        self.sweeper.go_on(self.halts.row)
        self.parts.pacer.load(self.realm, self.halts.row.pace)
        token = None
        try:
            if not self.halts.stopped:
                token = await self.parts.tokens.current(self.realm, fencing_token)
        except HaltError as error:
            self.sender.health.halted = error
        lost = 0
        if unfinished:
            lost = await self.parts.ledger.attempts.mark_lost(self.realm, fencing_token)
            # Whoever starts may have another policy than who waited.
            await self.parts.ledger.commands.take_up_waiting(self.realm, fencing_token, all_of_them=True)
        self.tenure, tenure.feed_read = tenure, not unfinished
        log.info("lease.takeover_done", realm=self.realm, fencing_token=fencing_token, lost_attempts=lost)
        if token is not None and unfinished:
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
            self.rest.look = False
            await self._rest_or_wait(min(1.0, max(0.05, pause)))
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
        """Every few seconds, so that a restart does not burst."""
        if not self.pace.due():
            return
        await self.pace.keep(tenure.fencing_token)
        if await self.parts.ledger.commands.take_up_waiting(self.realm, tenure.fencing_token, all_of_them=self._all_waiting):
            self.wake()
        self._all_waiting = False
        await self.parts.ledger.realms.gauges([self.realm])
        await self.halts.read_row()

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
