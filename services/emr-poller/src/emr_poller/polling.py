"""One turn of the poller: list since the cursor, read what changed, hand it to the handlers, commit; the cursor moves with it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from bookrelay import blame, metrics, telemetry
from bookrelay.errors import TransientError
from bookrelay.source.documents import Origin
from bookrelay.source.errors import PausedError, RefusedError
from bookrelay.transient import TRANSIENT

from emr_poller import handlers
from emr_poller.domain import NAME, ListedQuote, fold
from emr_poller.emr_client import EmrClient, Listing, QuoteUnavailableError
from emr_poller.handlers import Decided, Failed, Memory, Outcome, Settled
from emr_poller.settings import Settings
from emr_poller.store import Store

log = telemetry.get_logger(__name__)

CHUNK = 100  # quotes committed together, and the cursor with them
CHUNKS_A_TURN = 5  # then the list is read anew, so that a long backlog never looks like a hanging loop


class Polling:
    """One source of quotes. `turn` reads once."""

    def __init__(self, settings: Settings, client: EmrClient, store: Store, stopping: Callable[[], bool] = lambda: False) -> None:
        self._settings, self._client, self._store, self._stopping = settings, client, store, stopping
        self._origin = Origin(settings.qbo_realm_id, settings.emr_source, NAME)

    async def turn(self) -> bool:
        """Read once; return whether another turn should follow at once: not everything that the list showed is settled."""
        started = datetime.now(UTC)
        position = await self._store.position() or self._settings.emr_start_from or started - timedelta(days=1)
        listing = await self._client.list_since(position - timedelta(seconds=self._settings.emr_overlap_seconds))
        rows = fold(listing.rows)
        due = await self._store.due(CHUNK)
        memory = await self._store.recall([*(row.number for row in rows), *listing.unreadable, *due])
        todo = handlers.choose(rows, listing.unreadable.keys(), memory, due)
        chunks = [todo[at : at + CHUNK] for at in range(0, len(todo), CHUNK)]
        end = _between(position, rows[-1].modified_at, started) if rows else None
        counts = {"published": 0, "parked": 0}
        settled = 0
        for chunk in chunks[:CHUNKS_A_TURN]:
            if self._stopping():
                break
            settled += 1
            read = end if settled == len(chunks) else _between(position, chunk[-1].modified_at, started)
            await self._settle(chunk, listing.unreadable, memory, read, counts)
        complete = settled == len(chunks)
        if not chunks and end:
            await self._store.move(end)
        metrics.SOURCE_CURSOR_AGE.labels(self._settings.emr_source).set(
            0 if complete else max(0.0, (started - chunks[settled][0].modified_at).total_seconds())
        )
        if todo or listing.nameless:
            self._report(listing, rows, counts, complete)
        return not complete

    async def _settle(
        self,
        chunk: Sequence[ListedQuote],
        unreadable: Mapping[int, str],
        memory: Memory,
        position: datetime | None,
        counts: dict[str, int],
    ) -> None:
        """Read and settle some quotes; the cursor moves to `position` in the same transaction, unless one is left over."""
        gate = asyncio.Semaphore(self._settings.emr_detail_concurrency)
        results = await asyncio.gather(*(self._read(row, unreadable, gate) for row in chunk), return_exceptions=True)
        outcomes = [result for result in results if not isinstance(result, BaseException)]
        errors = [result for result in results if isinstance(result, BaseException)]
        passing = [outcome for outcome in outcomes if isinstance(outcome, Failed) and outcome.passing]
        if len(passing) == len(chunk) > 1:  # not the quotes are ill: the EMR is. They are parked, so this cannot go on for ever.
            errors.append(TransientError(f"None of {len(chunk)} quotes could be read. {passing[0].reason}"))
        for outcome in await self._commit(outcomes, memory, None if errors else position):
            self._tell(outcome)
            counts["published" if isinstance(outcome, Decided) else "parked"] += 1
        if errors:
            raise errors[0]

    async def _commit(self, outcomes: Sequence[Outcome], memory: Memory, position: datetime | None) -> list[Outcome]:
        """Commit what outcomes lead to together; where the database refuses one of them, one by one, the cursor last."""
        try:
            await self._store.commit(self._settled(outcomes, memory), position)
            return list(outcomes)
        except Exception as error:
            if not blame.of_record(error):
                raise
        done: list[Outcome] = []
        for outcome in outcomes:
            try:
                await self._store.commit(self._settled([outcome], memory), None)
                done.append(outcome)
            except Exception as error:
                if not blame.of_record(error):
                    raise
                parked = handlers.refused(outcome, blame.reason(error))
                await self._store.commit(self._settled([parked], memory), None)
                done.append(parked)
        if position:
            await self._store.move(position)
        return done

    def _settled(self, outcomes: Sequence[Outcome], memory: Memory) -> Settled:
        return handlers.settle(outcomes, memory, origin=self._origin, now=datetime.now(UTC))

    async def _read(self, row: ListedQuote, unreadable: Mapping[int, str], gate: asyncio.Semaphore) -> Outcome:
        async with gate:
            try:
                quote = await self._client.detail(row.number)
            except RefusedError as refused:
                reason = unreadable.get(row.number, refused.reason)
                return handlers.failed(row, reason, refused.fix, refused.code, passing=False)
            except QuoteUnavailableError as unavailable:
                return handlers.failed(row, unavailable.reason, "It is tried again by itself.", passing=True)
            except Exception as error:
                if isinstance(error, (PausedError, *TRANSIENT)):
                    raise
                return self._unforeseen(row, error)  # a defect of ours that one quote shows must not stop the others
        try:
            return handlers.decide(row, quote, origin=self._origin, time_zone=self._settings.time_zone)
        except Exception as error:
            return self._unforeseen(row, error)

    def _unforeseen(self, row: ListedQuote, error: Exception) -> Failed:
        log.error("quote.failed", number=row.number, error=type(error).__name__, where=blame.where(error))
        reason = f"Quote {row.number} cannot be read by the poller ({type(error).__name__})."
        return handlers.failed(row, reason, handlers.FIX, passing=False)

    def _tell(self, outcome: Outcome) -> None:
        """One canonical line for each quote; no contents."""
        source = self._settings.emr_source
        if isinstance(outcome, Failed):
            metrics.SOURCE_DOCUMENTS.labels(source, "parked").inc()
            log.warning(
                "quote.parked", number=outcome.number, version=outcome.version, code=outcome.code.value, reason=outcome.reason,
                fix=outcome.fix, passing=outcome.passing,
            )  # fmt: skip
            return
        metrics.SOURCE_DOCUMENTS.labels(source, "published").inc()
        if outcome.finding:
            metrics.SOURCE_DOCUMENTS.labels(source, "total_differs").inc()
        log.info(
            "quote.published", number=outcome.quote.number, version=outcome.quote.version, status=outcome.quote.status_id,
            command_id=str(outcome.command.id), type=outcome.command.type, total_differs=outcome.finding,
        )  # fmt: skip

    def _report(self, listing: Listing, rows: Sequence[ListedQuote], counts: Mapping[str, int], complete: bool) -> None:
        if listing.nameless:
            metrics.SOURCE_DOCUMENTS.labels(self._settings.emr_source, "unreadable").inc(listing.nameless)
            log.error(
                "list.unreadable_rows", count=listing.nameless,
                reason="4D listed quotes without a PriceQuoteNo.", fix="Ask the vendor: they cannot be carried.",
            )  # fmt: skip
        log.info("poll.finished", listed=len(rows), complete=complete, **counts)


def _between(position: datetime, moment: datetime, now: datetime) -> datetime:
    """Return where the cursor may move to: never back (a quote that could not be read stands at 1970), nor beyond our own clock,
    or one quote dated 2099 would hide all that follow.
    """
    return min(max(position, moment), now)
