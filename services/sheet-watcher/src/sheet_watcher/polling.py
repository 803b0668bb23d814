"""The polling loop: read the sheet whole, plan, write what must be told, commit state and commands together.

One loop reads for everything, so each write follows a fresh read at once and finds every row by its key where it stands now.
Nothing is remembered as written: each read compares what the sheet says with what it should say. A kill anywhere heals itself.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime

from bookrelay import metrics, telemetry
from bookrelay.errors import BookrelayError, TransientError

from sheet_watcher import handlers
from sheet_watcher.domain import OWN_COLUMNS, Snapshot, fold
from sheet_watcher.handlers import Plan, Rules
from sheet_watcher.layout import LayoutError, may_hold_a_date, snapshot_of, with_shown_numbers
from sheet_watcher.settings import Settings
from sheet_watcher.sheets_client import PausedError, SheetsClient, ThrottledError
from sheet_watcher.store import Store

log = telemetry.get_logger(__name__)

PAUSED_SECONDS = 30.0  # between tries while an operator is needed
SPACING_SECONDS = 1.0  # between turns that events ask for: they are gathered, and the quota lasts


def new_key() -> str:
    """Return a row key: random, short, and of a form that no sheet takes for a number."""
    return f"br-{secrets.token_hex(8)}"


class Polling:
    """One worksheet. `step` is the loop's unit of work; `wake` asks for a turn soon."""

    def __init__(
        self, settings: Settings, rules: Rules, client: SheetsClient, store: Store, committed: Callable[[], None] = lambda: None
    ) -> None:
        self._settings, self._rules, self._client, self._store = settings, rules, client, store
        self._committed = committed
        self._wake = asyncio.Event()
        self._next_at = self._earliest_at = 0.0
        self._problem: str | None = None
        self._held = 0

    def wake(self) -> None:
        """Ask for a turn: something is to be written back."""
        self._wake.set()

    def not_ready_because(self) -> str | None:
        """Return why the sheet is not carried now; None if it is."""
        if self._problem or not self._held:
            return self._problem
        return (
            f"{self._held} rows with documents are missing from the sheet at once; nothing is retracted. "
            f"Bring them back, or set SHEETS_RETRACT_LIMIT above {self._held}."
        )

    async def step(self) -> float:
        """Take a turn if one is due, else wait a little (short enough for a graceful stop)."""
        pause = self._next_at - time.monotonic()
        if self._wake.is_set():
            pause = min(pause, self._earliest_at - time.monotonic())
            if pause > 0:
                await asyncio.sleep(min(pause, 0.25))
                return 0
        if pause > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(pause, 0.25)):
                    await self._wake.wait()
            return 0
        await self._timed_turn()
        return 0

    async def _timed_turn(self) -> None:
        self._wake.clear()
        try:
            with metrics.SOURCE_POLL_SECONDS.labels(self._settings.sheets_source).time():
                again = await self.turn()
            self._problem = None
            self._schedule(0.0 if again else self._settings.sheets_poll_seconds, 0.0 if again else SPACING_SECONDS)
        except ThrottledError as error:
            self._pause(error, error.seconds)
        except (PausedError, LayoutError) as error:
            self._pause(error, PAUSED_SECONDS)

    def _schedule(self, seconds: float, earliest: float) -> None:
        now = time.monotonic()
        self._next_at, self._earliest_at = now + seconds, now + min(seconds, earliest)

    def _pause(self, error: BookrelayError, seconds: float) -> None:
        self._problem = error.sentence()
        log.warning("sheet.paused", code=error.code.value, reason=error.reason, fix=error.fix, wait_seconds=round(seconds, 1))
        self._schedule(seconds, seconds)
        self._wake.set()  # whatever woke us is still to be done

    async def turn(self) -> bool:
        """Read, plan, write, commit. Return whether another read should follow at once."""
        state = await self._store.load()
        snapshot = await self._read()
        if missing := snapshot.layout.missing_own():
            await self._append_columns(snapshot, missing)
            return True
        now = datetime.now(UTC)
        today = now.astimezone(self._settings.time_zone).date()
        plan = await asyncio.to_thread(  # 10,000 rows take most of a second: heartbeats and health checks go on meanwhile
            handlers.plan, snapshot, state, self._rules, now=now, today=today, new_key=new_key
        )
        failure = await self._write(plan)
        await self._store.commit(plan)
        if plan.messages:
            self._committed()
        self._tell(plan)
        if failure:
            raise failure
        return plan.more or plan.keys_written > 0

    async def _read(self) -> Snapshot:
        """Read the sheet; a second time where an invoice cell may be a date: one read shows numbers or dates, never both."""
        worksheet = self._settings.sheets_worksheet
        snapshot = snapshot_of(await self._client.read(), worksheet)
        if not may_hold_a_date(snapshot):
            return snapshot
        return with_shown_numbers(snapshot, snapshot_of(await self._client.read(dates_as_shown=True), worksheet))

    async def _append_columns(self, snapshot: Snapshot, missing: tuple[str, ...]) -> None:
        ordered = [name for name in OWN_COLUMNS if name in missing]
        await self._client.append_columns(snapshot.layout.header_row, snapshot.layout.width, ordered)
        log.info("sheet.columns_appended", columns=ordered)

    async def _write(self, plan: Plan) -> BookrelayError | None:
        """Write at once after the read; a failed write must not keep commands from being committed."""
        if not plan.writes:
            return None
        try:
            await self._client.write(plan.writes)
        except (TransientError, PausedError) as error:
            metrics.SHEET_WRITE_BACKS.labels("failed").inc(plan.rows_written)
            return error
        metrics.SHEET_WRITE_BACKS.labels("written").inc(plan.rows_written)
        log.info("sheet.written", rows=plan.rows_written, keys=plan.keys_written, more=plan.more)
        return None

    def _tell(self, plan: Plan) -> None:
        for event, fields in plan.log:
            log.info(event, **fields)
        for _, message in plan.messages:
            outcome = "rejected" if message.type.endswith("rejected.v1") else "published"
            metrics.SOURCE_DOCUMENTS.labels(self._settings.sheets_source, outcome).inc()
        if plan.retractions_held and plan.retractions_held != self._held:
            log.error("sheet.retractions_held", rows=plan.retractions_held, limit=self._rules.retract_limit)
        self._held = plan.retractions_held


def rules_of(settings: Settings) -> Rules:
    """Return what the settings say about rows; raises SettingsError."""
    return Rules(
        realm=settings.qbo_realm_id, source=settings.sheets_source, directions=settings.directions(),
        eligible=frozenset(fold(status) for status in settings.qb_eligible_statuses),
        missing_seconds=settings.sheets_missing_seconds, retract_limit=settings.sheets_retract_limit,
    )  # fmt: skip
