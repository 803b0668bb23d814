"""One poll: list quotes since the cursor, read those that changed, commit what the handlers decide together with the cursor."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from bookrelay import blame, metrics, telemetry
from bookrelay.errors import TransientError
from bookrelay.source.documents import Origin
from bookrelay.source.errors import PausedError, RejectedError
from bookrelay.transient import TRANSIENT

from emr_poller import handlers
from emr_poller.domain import NAME, ListedQuote, State, newest_revisions
from emr_poller.emr_client import EmrClient, Listing, QuoteUnavailableError
from emr_poller.handlers import DecidedQuote, FailedQuote, Plan, QuoteOutcome
from emr_poller.settings import Settings
from emr_poller.store import Store

log = telemetry.get_logger(__name__)

CHUNK = 100  # quotes committed together, and the cursor with them
CHUNKS_A_POLL = 5  # then the list is read again, so that a long backlog never looks like a hanging loop


class Polling:
    """One source of quotes. `poll` reads once."""

    def __init__(self, settings: Settings, client: EmrClient, store: Store, stopping: Callable[[], bool] = lambda: False) -> None:
        self._settings, self._client, self._store, self._stopping = settings, client, store, stopping
        self._origin = Origin(settings.qbo_realm_id, settings.emr_source, NAME)

    async def poll(self) -> bool:
        """Poll once; return whether to poll again immediately, because some listed quotes have not been processed."""
        started = datetime.now(UTC)
        position = await self._store.position() or self._settings.emr_start_from or started - timedelta(days=1)
        listing = await self._client.list_since(position - timedelta(seconds=self._settings.emr_overlap_seconds))
        rows = newest_revisions(listing.rows)
        due = await self._store.due(CHUNK)
        state = await self._store.load([*(row.number for row in rows), *listing.unreadable, *due])
        todo = handlers.choose(rows, listing.unreadable.keys(), state, due)
        chunks = [todo[at : at + CHUNK] for at in range(0, len(todo), CHUNK)]
        end = _between(position, rows[-1].modified_at, started) if rows else None
        counts = {"published": 0, "parked": 0}
        processed = 0
        for chunk in chunks[:CHUNKS_A_POLL]:
            if self._stopping():
                break
            processed += 1
            read = end if processed == len(chunks) else _between(position, chunk[-1].modified_at, started)
            await self._process(chunk, listing.unreadable, state, read, counts)
        complete = processed == len(chunks)
        if not chunks and end:
            await self._store.move(end)
        metrics.SOURCE_CURSOR_AGE.labels(self._settings.emr_source).set(
            0 if complete else max(0.0, (started - chunks[processed][0].modified_at).total_seconds())
        )
        if todo or listing.nameless:
            self._log_poll(listing, rows, counts, complete)
        return not complete

    async def _process(
        self,
        chunk: Sequence[ListedQuote],
        unreadable: Mapping[int, str],
        state: State,
        position: datetime | None,
        counts: dict[str, int],
    ) -> None:
        """Read and commit these quotes; the cursor moves to `position` in the same transaction, unless a quote is left over."""
        gate = asyncio.Semaphore(self._settings.emr_detail_concurrency)
        results = await asyncio.gather(*(self._read(row, unreadable, gate) for row in chunk), return_exceptions=True)
        outcomes = [result for result in results if not isinstance(result, BaseException)]
        errors = [result for result in results if isinstance(result, BaseException)]
        transient = [outcome for outcome in outcomes if isinstance(outcome, FailedQuote) and outcome.transient]
        if len(transient) == len(chunk) > 1:  # the EMR is failing, not the quotes; they are parked, so this ends
            errors.append(TransientError(f"None of {len(chunk)} quotes could be read. {transient[0].reason}"))
        for outcome in await self._commit(outcomes, state, None if errors else position):
            self._log_quote(outcome)
            counts["published" if isinstance(outcome, DecidedQuote) else "parked"] += 1
        if errors:
            raise errors[0]

    async def _commit(self, outcomes: Sequence[QuoteOutcome], state: State, position: datetime | None) -> list[QuoteOutcome]:
        """Commit the outcomes together; if the database refuses one of them, commit them one by one, and the cursor last."""
        try:
            await self._store.commit(self._plan(outcomes, state), position)
            return list(outcomes)
        except Exception as error:
            if not blame.of_record(error):
                raise
        done: list[QuoteOutcome] = []
        for outcome in outcomes:
            try:
                await self._store.commit(self._plan([outcome], state), None)
                done.append(outcome)
            except Exception as error:
                if not blame.of_record(error):
                    raise
                parked = handlers.unstorable(outcome, blame.reason(error))
                await self._store.commit(self._plan([parked], state), None)
                done.append(parked)
        if position:
            await self._store.move(position)
        return done

    def _plan(self, outcomes: Sequence[QuoteOutcome], state: State) -> Plan:
        return handlers.plan(outcomes, state, origin=self._origin, now=datetime.now(UTC))

    async def _read(self, row: ListedQuote, unreadable: Mapping[int, str], gate: asyncio.Semaphore) -> QuoteOutcome:
        async with gate:
            try:
                quote = await self._client.detail(row.number)
            except RejectedError as error:
                reason = unreadable.get(row.number, error.reason)
                return handlers.failed(row, reason, error.fix, error.code, transient=False)
            except QuoteUnavailableError as unavailable:
                return handlers.failed(row, unavailable.reason, "It is retried automatically.", transient=True)
            except Exception as error:
                if isinstance(error, (PausedError, *TRANSIENT)):
                    raise
                return self._unforeseen(row, error)  # a bug of ours that one quote triggers must not stop the others
        try:
            return handlers.decide(row, quote, origin=self._origin, time_zone=self._settings.time_zone)
        except Exception as error:
            return self._unforeseen(row, error)

    def _unforeseen(self, row: ListedQuote, error: Exception) -> FailedQuote:
        log.error("quote.failed", number=row.number, error=type(error).__name__, where=blame.where(error))
        reason = f"The poller failed to read quote {row.number} ({type(error).__name__})."
        return handlers.failed(row, reason, handlers.FIX, transient=False)

    def _log_quote(self, outcome: QuoteOutcome) -> None:
        """Log one canonical line for a quote, without content."""
        source = self._settings.emr_source
        if isinstance(outcome, FailedQuote):
            metrics.SOURCE_DOCUMENTS.labels(source, "parked").inc()
            log.warning(
                "quote.parked", number=outcome.number, version=outcome.version, code=outcome.code.value, reason=outcome.reason,
                fix=outcome.fix, transient=outcome.transient,
            )  # fmt: skip
            return
        metrics.SOURCE_DOCUMENTS.labels(source, "published").inc()
        if outcome.finding:
            metrics.SOURCE_DOCUMENTS.labels(source, "total_differs").inc()
        log.info(
            "quote.published", number=outcome.quote.number, version=outcome.quote.version, status=outcome.quote.status_id,
            command_id=str(outcome.command.id), type=outcome.command.type, total_differs=outcome.finding,
        )  # fmt: skip

    def _log_poll(self, listing: Listing, rows: Sequence[ListedQuote], counts: Mapping[str, int], complete: bool) -> None:
        if listing.nameless:
            metrics.SOURCE_DOCUMENTS.labels(self._settings.emr_source, "unreadable").inc(listing.nameless)
            log.error(
                "list.unreadable_rows", count=listing.nameless,
                reason="4D EMR lists quotes without a PriceQuoteNo.", fix="Report it to the vendor: such quotes are skipped.",
            )  # fmt: skip
        log.info("poll.finished", listed=len(rows), complete=complete, **counts)


def _between(position: datetime, moment: datetime, now: datetime) -> datetime:
    """Return the cursor's new position: never back (an unreadable quote has the time 1970), and never beyond our own clock (one
    quote dated 2099 would hide all later ones)."""
    return min(max(position, moment), now)
