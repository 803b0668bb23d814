"""One poll: read the whole sheet, plan, write the results into it, commit state and messages together.

A single loop does both, so each write immediately follows a read and finds every row by its key in its current position. What
was written is not stored: each poll compares the sheet with its intended content, so the next poll repairs any crash.
"""

import asyncio
import secrets
from datetime import UTC, datetime

from bookrelay import metrics, telemetry
from bookrelay.errors import BookrelayError, TransientError
from bookrelay.messages import DocumentRejected
from bookrelay.source.documents import Origin
from bookrelay.source.errors import PausedError

from sheet_watcher import handlers
from sheet_watcher.domain import NAME, OWN_COLUMNS, Snapshot, fold
from sheet_watcher.layout import may_hold_a_date, snapshot_of, with_shown_numbers
from sheet_watcher.planning.plan import Plan
from sheet_watcher.planning.poll import Rules
from sheet_watcher.settings import Settings
from sheet_watcher.sheets_client import SheetsClient
from sheet_watcher.store import Store

log = telemetry.get_logger(__name__)


def new_key() -> str:
    """Return a row key: random, short, and in a form that no spreadsheet converts to a number."""
    return f"br-{secrets.token_hex(8)}"


class Polling:
    """One worksheet. `poll` reads it once; `not_ready_because` says why nothing is retracted."""

    def __init__(self, settings: Settings, rules: Rules, client: SheetsClient, store: Store) -> None:
        self._settings, self._rules, self._client, self._store = settings, rules, client, store
        self._held = 0

    def not_ready_because(self) -> str | None:
        """Return that too many rows are missing at once, and what to do; None if not."""
        if not self._held:
            return None
        return (
            f"{self._held} rows with documents are missing from the sheet at once, so none of them is retracted. "
            f"Restore the rows, or set SHEETS_RETRACT_LIMIT to at least {self._held}."
        )

    async def poll(self) -> bool:
        """Read, plan, write, commit. Return whether to poll again immediately."""
        state = await self._store.load()
        snapshot = await self._read()
        if missing := snapshot.layout.missing_own():
            await self._append_columns(snapshot, missing)
            return True
        now = datetime.now(UTC)
        today = now.astimezone(self._settings.time_zone).date()
        plan = await asyncio.to_thread(  # in a thread: 10,000 rows take most of a second, and heartbeats must not stop
            handlers.plan, snapshot, state, self._rules, now=now, today=today, new_key=new_key
        )
        failure = await self._write(plan)
        await self._store.commit(plan)
        self._log(plan)
        if failure:
            raise failure
        return plan.more or plan.keys_written > 0

    async def _read(self) -> Snapshot:
        """Read the sheet, twice if an invoice cell may be a date: one read returns either numbers or displayed dates."""
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
        """Write immediately after the read; a failed write must not prevent the commit of commands."""
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

    def _log(self, plan: Plan) -> None:
        for event, fields in plan.log:
            log.info(event, **fields)
        for message in plan.messages:
            outcome = "rejected" if isinstance(message, DocumentRejected) else "published"
            metrics.SOURCE_DOCUMENTS.labels(self._settings.sheets_source, outcome).inc()
        if plan.retractions_held and plan.retractions_held != self._held:
            log.error("sheet.retractions_held", rows=plan.retractions_held, limit=self._rules.retract_limit)
        self._held = plan.retractions_held


def rules_of(settings: Settings) -> Rules:
    """Return the rules from the settings; raises SettingsError."""
    return Rules(
        origin=Origin(settings.qbo_realm_id, settings.sheets_source, NAME), directions=settings.directions(),
        eligible=frozenset(fold(status) for status in settings.qb_eligible_statuses),
        missing_seconds=settings.sheets_missing_seconds, retract_limit=settings.sheets_retract_limit,
    )  # fmt: skip
