"""The polling loop: list since the cursor, read what changed, hand it to the handlers, then move the cursor."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from bookrelay import blame, metrics, telemetry
from bookrelay.errors import TransientError
from bookrelay.service import TRANSIENT

from emr_poller import handlers
from emr_poller.domain import ListedQuote, QuoteRefusedError, fold
from emr_poller.emr_client import EmrClient, Listing, PausedError, QuoteUnavailableError, ThrottledError
from emr_poller.handlers import Decided, Failed, Memory, Outcome, PublishesMessages
from emr_poller.settings import Settings
from emr_poller.store import Store

log = telemetry.get_logger(__name__)

CHUNK = 100  # quotes published together; the cursor may move after each
CHUNKS_A_STEP = 5  # then the list is read anew, so that a long backlog never looks like a hanging loop


class Polling:
    """One source of quotes. `step` is the loop's unit of work; `not_ready_because` tells an operator what is needed."""

    def __init__(
        self,
        settings: Settings,
        client: EmrClient,
        store: Store,
        publisher: PublishesMessages,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings, self._client, self._store, self._publisher = settings, client, store, publisher
        self._stopping = stopping
        self._problem: str | None = None

    def not_ready_because(self) -> str | None:
        """Return why no quotes are read now; None if they are."""
        return self._problem

    async def step(self) -> float:
        """Poll once. Return how long to wait before the next poll."""
        try:
            with metrics.SOURCE_POLL_SECONDS.labels(self._settings.emr_source).time():
                complete = await self._poll()
        except PausedError as error:
            self._problem = error.sentence()
            log.error("poll.paused", code=error.code.value, reason=error.reason, fix=error.fix)
            return self._settings.emr_paused_seconds
        except ThrottledError as error:
            self._problem = error.sentence()
            log.warning("poll.throttled", wait_seconds=error.seconds)
            return error.seconds
        self._problem = None
        return self._settings.emr_poll_seconds if complete else 0

    async def _poll(self) -> bool:
        """Return whether everything that the list showed is settled."""
        started = datetime.now(UTC)
        position = await self._store.position() or self._settings.emr_start_from or started - timedelta(days=1)
        listing = await self._client.list_since(position - timedelta(seconds=self._settings.emr_overlap_seconds))
        rows = fold(listing.rows)
        due = await self._store.due(CHUNK)
        memory = await self._store.recall([*(row.number for row in rows), *listing.unreadable, *due])
        todo = handlers.choose(rows, listing.unreadable.keys(), memory, due)
        chunks = [todo[at : at + CHUNK] for at in range(0, len(todo), CHUNK)]
        counts = {"published": 0, "parked": 0}
        settled = 0
        for chunk in chunks[:CHUNKS_A_STEP]:
            if self._stopping():
                break
            await self._settle(chunk, listing.unreadable, memory, counts)
            settled += 1
            if settled < len(chunks):
                await self._move(max(row.modified_at for row in chunk), started)
        complete = settled == len(chunks)
        if complete and rows:
            await self._move(rows[-1].modified_at, started)
        metrics.SOURCE_CURSOR_AGE.labels(self._settings.emr_source).set(
            0 if complete else max(0.0, (started - chunks[settled][0].modified_at).total_seconds())
        )
        if todo or listing.nameless:
            self._report(listing, rows, counts, complete)
        return complete

    async def _move(self, position: datetime, started: datetime) -> None:
        """Move the cursor; never beyond our own clock, or one quote dated 2099 would hide all that follow."""
        await self._store.move(min(position, started))

    async def _settle(
        self, chunk: Sequence[ListedQuote], unreadable: Mapping[int, str], memory: Memory, counts: dict[str, int]
    ) -> None:
        gate = asyncio.Semaphore(self._settings.emr_detail_concurrency)
        results = await asyncio.gather(*(self._read(row, unreadable, gate) for row in chunk), return_exceptions=True)
        outcomes = [result for result in results if not isinstance(result, BaseException)]
        errors = [result for result in results if isinstance(result, BaseException)]
        passing = [outcome for outcome in outcomes if isinstance(outcome, Failed) and outcome.passing]
        outcomes = await self._publish(outcomes, memory)
        for outcome in outcomes:
            self._tell(outcome)
            counts["published" if isinstance(outcome, Decided) else "parked"] += 1
        if errors:
            raise errors[0]
        if len(passing) == len(chunk) > 1:  # not the quotes are ill: the EMR is. They are parked, so this cannot go on for ever.
            raise TransientError(f"None of {len(chunk)} quotes could be read. {passing[0].reason}")

    async def _publish(self, outcomes: Sequence[Outcome], memory: Memory) -> list[Outcome]:
        """Publish and remember together; where one of them is refused by the broker or the database, one by one."""
        try:
            await self._settle_outcomes(outcomes, memory)
            return list(outcomes)
        except Exception as error:
            if not blame.of_record(error):
                raise
        done: list[Outcome] = []
        for outcome in outcomes:
            try:
                await self._settle_outcomes([outcome], memory)
                done.append(outcome)
            except Exception as error:
                if not blame.of_record(error):
                    raise
                parked = handlers.refused(outcome, blame.reason(error))
                await self._settle_outcomes([parked], memory)
                done.append(parked)
        return done

    async def _settle_outcomes(self, outcomes: Sequence[Outcome], memory: Memory) -> None:
        await handlers.settle(
            outcomes, memory, realm=self._settings.qbo_realm_id, source=self._settings.emr_source, now=datetime.now(UTC),
            publisher=self._publisher, store=self._store,
        )  # fmt: skip

    async def _read(self, row: ListedQuote, unreadable: Mapping[int, str], gate: asyncio.Semaphore) -> Outcome:
        async with gate:
            try:
                quote = await self._client.detail(row.number)
            except QuoteRefusedError as refused:
                reason = unreadable.get(row.number, refused.reason)
                return handlers.failed(row, reason, refused.fix, refused.code, passing=False)
            except QuoteUnavailableError as unavailable:
                return handlers.failed(row, unavailable.reason, "It is tried again by itself.", passing=True)
            except Exception as error:
                if isinstance(error, (PausedError, *TRANSIENT)):
                    raise
                return self._unforeseen(row, error)  # a defect of ours that one quote shows must not stop the others
        try:
            return handlers.decide(
                row, quote, realm=self._settings.qbo_realm_id, source=self._settings.emr_source,
                time_zone=self._settings.time_zone,
            )  # fmt: skip
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
