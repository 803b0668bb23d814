"""Halts of one company, by QuickBooks or an operator: their events, and when the next trial is due."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime

from bookrelay import metrics, telemetry
from bookrelay.errors import HaltError
from bookrelay.messages import RealmData, RealmHalted, RealmResumed

from qbo_writer.domain import (
    OPERATOR,
    SENDER,
    OperatorAct,
)
from qbo_writer.ledger.lease import LeaseLost
from qbo_writer.ledger.records import RealmRow
from qbo_writer.protocol.feeding import Feeder
from qbo_writer.protocol.parts import Parts, Tenure
from qbo_writer.protocol.sending import Sender

log = telemetry.get_logger(__name__)

RECOVERY_TOLD_SECONDS = 60.0
HALT_RETRY_SECONDS = 5.0
HALT_RETRY_MOST = 300.0
HALT_RETRY_GROWTH = 4  # 5, 20, 80, 300 s: a halt of ten minutes costs at most 15 calls, including those in flight


class Halts:
    """The company's row, read every second: whether the company is served."""

    def __init__(self, realm: str, parts: Parts, sender: Sender, feeder: Feeder) -> None:
        self.realm, self.parts, self.sender, self._feeder = realm, parts, sender, feeder
        self.row: RealmRow | None = None
        self.row_read = 0.0
        self.clock: Callable[[], float] = time.monotonic  # the clock for pauses
        self._halt_wait, self._halt_try_at, self._resumed_at = HALT_RETRY_SECONDS, 0.0, -math.inf
        self._answered_at_trial: int | None = None  # how many answers there were when the latest trial began
        self._recovery_told = -RECOVERY_TOLD_SECONDS
        self._halt_shown: str | None = None  # the code that stands in the metric

    @property
    def halted(self) -> bool:
        """Whether QuickBooks halted the company, as far as this process knows."""
        return bool(self.row and self.row.halted_code)

    @property
    def halted_by(self) -> OperatorAct | None:
        """The operator's halt in force, as far as this process knows."""
        return self.row.operator_halt if self.row else None

    @property
    def stopped(self) -> bool:
        """Whether an operator halted the company: nothing is read or sent; requests in flight finish."""
        return self.halted_by is not None

    async def read_row(self) -> None:
        before, self.row_read = self.row, time.monotonic()
        self.row = await self.parts.ledger.realms.read(self.realm)
        self._feeder.look(self.row, datetime.now(UTC))
        self.show(OPERATOR if self.stopped else self.row.halted_code)
        if (halt := self.row.operator_halt) is not None:
            self.sender.health.closed = True
            if before is None or before.operator_halt != halt:
                log.info("realm.halted_by_operator", realm=self.realm, by=halt.by, why=halt.why)
        elif before is not None and before.operator_halt is not None:
            self.sender.health.closed = self.row.halted_code is not None
            log.info("realm.resumed_by_operator", realm=self.realm)
        if (trial := self.row.trial) is not None and (before is None or before.trial != trial):
            log.info("realm.trial_requested", realm=self.realm, by=trial.by, why=trial.why)
            self._halt_wait, self._halt_try_at = HALT_RETRY_SECONDS, 0.0
            self.parts.tokens.ask_again(self.realm)

    def tell_recovery(self, row: RealmRow) -> None:
        """The database was restored, and nobody has compared it with QuickBooks yet: whatever leaves now may be there already."""
        if time.monotonic() - self._recovery_told >= RECOVERY_TOLD_SECONDS:
            self._recovery_told = time.monotonic()
            fix = "Stop the writers, run `qbo-writer recover`; see the runbook."
            log.error("realm.waits_for_recovery", realm=self.realm, since=str(row.recover_since), code=row.halted_code, fix=fix)

    def show(self, code: str | None) -> None:
        """Set the metric: one series while the company is halted, none while it is served."""
        if self._halt_shown is not None and self._halt_shown != code:
            metrics.REALM_HALTED.remove(self.realm, self._halt_shown)
        if code is not None:
            metrics.REALM_HALTED.labels(self.realm, code).set(1)
        self._halt_shown = code

    async def halt(self, tenure: Tenure | None, error: HaltError) -> None:
        """Stop posting for this company, keep its commands, publish the halt once."""
        row = self.row
        self.sender.health.closed = True
        if tenure is None or (row and row.halted_code):
            log.info("realm.still_halted", realm=self.realm, code=error.code.value, reason=error.reason)
            return
        log.error("realm.halted", realm=self.realm, code=error.code.value, reason=error.reason, fix=error.fix)
        if self.clock() - self._resumed_at > HALT_RETRY_MOST:  # else its trial succeeded, but the requests after it did not
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
        await self.read_row()
        self.parts.relay.wake()

    async def resume(self, tenure: Tenure) -> None:
        assert self.row is not None
        log.info("realm.resumed", realm=self.realm)
        since = datetime.now(UTC)
        reason = "QuickBooks accepts requests for this company again."
        if trial := self.row.trial:
            reason += f" Trial requested by {trial.by}: {trial.why}"
        data = RealmData(realm=self.realm, code=self.row.halted_code or "", reason=reason, since=since)
        event = RealmResumed.of(data, sender=SENDER, time=since)
        await self.parts.ledger.realms.set_halted(self.realm, tenure.fencing_token, None, None, [event], since)
        self._resumed_at, self._halt_try_at, self._answered_at_trial = self.clock(), 0.0, None
        await self.read_row()
        self.parts.relay.wake()

    def trial_in(self) -> float | None:
        """Return the seconds until the next trial request; None: now, and the next pause starts now."""
        if self.sender.flying() or self.clock() < self._halt_try_at:
            return self._halt_try_at - self.clock()
        self._halt_wait = min(self._halt_wait * HALT_RETRY_GROWTH, HALT_RETRY_MOST)
        self._halt_try_at = self.clock() + self._halt_wait
        self._answered_at_trial, self.sender.health.closed = self.sender.health.answered, False
        return None

    @property
    def trial_due(self) -> bool:
        """Whether it is time for the next trial."""
        return not self.sender.flying() and self.clock() >= self._halt_try_at

    @property
    def served(self) -> bool:
        """Whether the latest trial succeeded."""
        return self._answered_at_trial is not None and self.sender.health.answered > self._answered_at_trial
