"""Applies the change feed: it updates SyncTokens, payments and divergence, and is published to books.changes.

Documents with an open attempt are skipped; the requestid probe runs here, too. If the feed reaches its cap, or does not go
back far enough, queries read the rest, a bounded number of pages per run. They show no deletions: the sweep finds those of ours.
"""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bookrelay import messages as m
from bookrelay import metrics, telemetry
from bookrelay.errors import HaltError

from qbo_writer import comparing, identity, kinds
from qbo_writer.domain import SENDER, AccessToken, BooksEntity, Deleted, DocumentStatus, LookupFailed
from qbo_writer.ledger.changes import DocumentChange, FeedChange, nothing_there
from qbo_writer.ledger.records import DocumentState, MarkedDocument, RealmRow
from qbo_writer.protocol import feed_refusals, probe
from qbo_writer.protocol.feed_paging import Paging
from qbo_writer.protocol.feed_reading import OVERLAP, FeedReader
from qbo_writer.protocol.feed_refusals import Refusals
from qbo_writer.protocol.finding import Finder
from qbo_writer.protocol.parts import Parts, Tenure
from qbo_writer.protocol.sending import Sender

log = telemetry.get_logger(__name__)

FIRST_LOOK_BACK = timedelta(hours=1)
MORE_SECONDS = 5.0  # between two runs while there are pages left
ERROR_LENGTH = 500
_DIGITS = 19  # of a SyncToken, at most
CALM_SECONDS = 60.0  # after pages were read, notifications do not bring a read forward for this long


@dataclass(frozen=True)
class Judgement:
    """What a change means for a document: its new row, or a divergence."""

    document: DocumentChange | None
    diverged: bool = False


def judge(document: DocumentState, change: BooksEntity | Deleted) -> Judgement:
    """Compare a change with what we know. Our own writes match what we know."""
    if document.diverged or not document.live:
        return Judgement(None)
    if isinstance(change, Deleted):
        gone = DocumentChange(
            document.id, DocumentStatus.GONE, document.qbo_id, document.sync_token, None, None, None, None, diverged=True
        )
        return Judgement(gone, diverged=True)
    newer = _number(change.sync_token) - _number(document.sync_token)
    if newer < 0 or (newer == 0 and change.balance == document.balance and not (change.emailed and not document.emailed)):
        return Judgement(None)  # already known; an e-mail or a payment need not change the SyncToken
    compared = comparing.compare(document.fields or {}, change)
    same = compared.equal and change.voided == (document.status is DocumentStatus.VOIDED)
    row = DocumentChange(
        document.id, document.status, document.qbo_id, change.sync_token, document.content_hash,
        document.fields if same else comparing.veiled(change.fields, document.fields or {}),
        change.total, change.balance, diverged=not same, differences=() if same else compared.differences,
        emailed=change.emailed,
    )  # fmt: skip
    return Judgement(row, diverged=not same)


def _number(sync_token: str | None) -> int:
    return int(sync_token) if sync_token and sync_token.isdecimal() and len(sync_token) < _DIGITS else -1


class Feeder:
    """Reads the change feed of one company while its lease is held."""

    def __init__(self, realm: str, parts: Parts, sender: Sender, finder: Finder) -> None:
        self.realm, self.parts, self.sender, self.finder = realm, parts, sender, finder
        self._reader = FeedReader(realm, parts, sender)
        self._next = time.monotonic() + min(5.0, parts.settings.feed_seconds)
        self.busy = False
        self._paging = False  # pages are left: the next run is soon anyway
        self._calm_until = 0.0  # after pages: the last changes are within the overlap and are read again
        self._began: datetime | None = None  # when the last read began, by the ledger's clock

    def look(self, row: RealmRow, now: datetime) -> None:
        """Check the company's row: whether a writer was notified of changes, and how far the feed lags."""
        since = max((t for t in (self._began, row.feed_position) if t), default=None)
        if row.feed_asked_at and (since is None or row.feed_asked_at > since):
            self.soon()
        if row.feed_position:
            paging = Paging.of(row.feed_paging)
            self._show(min(row.feed_position, paging.reached) if paging else row.feed_position, paging, now)

    def _show(self, reached: datetime, paging: Paging | None, now: datetime) -> None:
        metrics.QBO_FEED_POSITION.labels(self.realm).set(reached.timestamp())
        metrics.QBO_FEED_LAG.labels(self.realm).set(max(0.0, (now - reached).total_seconds()))
        metrics.QBO_FEED_PAGING.labels(self.realm).set(len(paging.cursors) if paging else 0)

    def go_on(self, row: RealmRow) -> None:
        """After a takeover: read when it is time, counted from how far some writer has read."""
        if row.feed_position and not row.feed_paging:
            left = self.parts.settings.feed_seconds - (row.read_at - row.feed_position).total_seconds()
            self._next = max(self._next, time.monotonic() + left)
        self.look(row, row.read_at)

    def soon(self) -> None:
        """Bring the next read forward after a notification; several notifications lead to one read."""
        if not self._paging:
            self._next = min(self._next, max(time.monotonic() + 0.3, self._calm_until))

    def due(self) -> bool:
        """Whether a read is due and none is running."""
        return not self.busy and time.monotonic() >= self._next

    def due_in(self) -> float:
        """Return the seconds until the next read."""
        return max(0.0, self._next - time.monotonic())

    async def run(self, tenure: Tenure, token: AccessToken) -> None:
        """Read the feed once, a bounded number of pages; a failure is tried again later, from the last page that was kept."""
        # Not to the second: companies that were taken over together spread over the time between two reads.
        self.busy, self._next = True, time.monotonic() + self.parts.settings.feed_seconds * random.uniform(0.9, 1)  # noqa: S311
        try:
            try:
                row, self._paging = await self._read(tenure, token)
            except LookupFailed as error:
                await self.parts.ledger.feed.failed(self.realm, tenure.fencing_token, str(error)[:ERROR_LENGTH])
                raise
            if self._paging:
                self._next = min(self._next, time.monotonic() + MORE_SECONDS)
            await self._probe(tenure, row.probe, token)
        except LookupFailed as error:
            log.info("feed.failed", realm=self.realm, error=str(error)[:200])
            self._next = min(self._next, time.monotonic() + 30)
        finally:
            self.busy = False

    async def _read(self, tenure: Tenure, token: AccessToken) -> tuple[RealmRow, bool]:
        """Read what the feed shows, then pages of what it cannot; each is kept at once.

        Return the company's row as it was, and whether pages are left.
        """
        row = await self.parts.ledger.realms.read(self.realm)
        self._began = now = row.read_at
        paging, refused = Paging.of(row.feed_paging), feed_refusals.of(row.feed_refusals)
        if paging is None:
            since = (row.feed_position or now - FIRST_LOOK_BACK) - OVERLAP
            changes, full = await self._reader.read(since, refused, now, token)
            if full:
                metrics.QBO_FEED_GAPS.labels(self.realm).inc()
                log.warning("feed.paging", realm=self.realm, entities=list(full), since=min(full.values()).isoformat())
                paging = Paging.begin(now, full)
            await self._take(tenure, changes, (now, paging, refused), token)
            self._show(paging.reached if paging else now, paging, now)
        for _ in range(self.parts.settings.feed_reads_per_run):
            if paging is None:
                return row, False
            entity, (since, start) = paging.next()
            self._calm_until = time.monotonic() + CALM_SECONDS
            seen: Sequence[BooksEntity] = ()
            cursor = None
            try:
                async with self.parts.pacer.slot(self.realm, priority=m.Priority.SWEEP):
                    page = await self.parts.books.updated(self.realm, entity, since, start, token)
                seen, cursor = page.seen, page.next
            except (HaltError, LookupFailed) as error:
                self._reader.refuse(refused, entity, since, now, await self.sender.serving.refused_alone(error, token))
            until, paging = paging.until, paging.after(entity, cursor)
            await self._take(tenure, seen, (until, paging, refused), token)
            self._show(paging.reached if paging else until, paging, now)
        return row, paging is not None

    async def _take(
        self,
        tenure: Tenure,
        changes: Sequence[BooksEntity | Deleted],
        reached: tuple[datetime, Paging | None, Refusals],
        token: AccessToken,
    ) -> None:
        """Evaluate and commit what was read, with the feed's new position."""
        position, paging, refused = reached
        ledger, now = self.parts.ledger, datetime.now(UTC)
        kept = feed_refusals.plain(refused)
        until = (None, paging.plain(), kept) if paging else (position, {}, kept)
        if not changes:
            await ledger.feed.keep(self.realm, tenure.fencing_token, [], [], until)
            return
        ids = [(c.kind, c.qbo_id) for c in changes if c.kind]
        mine = await ledger.feed.known_by_qbo_id(self.realm, ids)
        await self._settle_creates(tenure, [c for c in changes if isinstance(c, BooksEntity)], token)
        if await self.sender.looker.follower.in_feed(tenure.fencing_token, changes, mine, token):
            mine = await ledger.feed.known_by_qbo_id(self.realm, ids)
        judged: list[FeedChange] = []
        deleted = [mine[(c.kind, c.qbo_id)] for c in changes if isinstance(c, Deleted) and c.kind and (c.kind, c.qbo_id) in mine]
        settled = await self.gone_with_what_they_paid(deleted)
        for change in changes:
            document = mine.get((change.kind, change.qbo_id)) if change.kind else None
            verdict = (settled.get(document.id) or judge(document, change)) if document else Judgement(None)
            judged.append(self.told(document, change, verdict, now))
        listed = [c for c in changes if isinstance(c, BooksEntity) and c.entity in self.parts.forms.lists]
        await ledger.feed.keep(self.realm, tenure.fencing_token, judged, listed, until)
        removed = [(c.entity, c.qbo_id) for c in changes if isinstance(c, Deleted) and c.entity in self.parts.forms.lists]
        others = any(c.marker is None for c in listed)  # not ours: nothing waits for entries that we created
        if others and await ledger.commands.take_up_waiting(self.realm, tenure.fencing_token, all_of_them=True):
            self.sender.wake()  # waiting commands may need these entries
        if removed:
            await self.parts.references.forget(self.realm, removed)
        diverged = sum(1 for j in judged if j.diverged)
        log.info("feed.read", realm=self.realm, changes=len(changes), ours=len(mine), diverged=diverged)
        self.parts.relay.wake()

    def told(
        self, document: DocumentState | None, change: BooksEntity | Deleted, verdict: Judgement, now: datetime
    ) -> FeedChange:
        """Return what to commit and publish for a change."""
        deleted = isinstance(change, Deleted)
        sync_token = None if isinstance(change, Deleted) else change.sync_token
        events: list[m.AnyMessage] = []
        if document and verdict.diverged and not kinds.of(document.kind).is_name and document.qbo_id:
            data = m.DocumentDivergedData(
                realm=document.realm, source=document.source, source_key=document.source_key, kind=m.Kind(document.kind.value),
                version=max(0, document.newest_version), occurrence=max(0, _number(sync_token)) + 1, qbo_id=document.qbo_id,
                differences=verdict.document.differences if verdict.document else (),
            )  # fmt: skip
            events.append(m.DocumentDiverged.of(data, sender=SENDER, time=now))
        changed = None
        if document is None or verdict.document is not None:
            changed = m.BooksChanged.of(
                m.BooksChangedData(
                    realm=self.realm, entity=change.entity, entity_id=change.qbo_id,
                    operation="deleted" if deleted else "changed", sync_token=sync_token, changed_at=_changed_at(change, now),
                    ours=document is not None,
                ),
                sender=SENDER, time=now,
            )  # fmt: skip
        expected = document.sync_token if document else None
        state = (change.entity, change.qbo_id, "deleted" if deleted else f"{sync_token} {_updated(change)}")
        return FeedChange(verdict.document, expected, tuple(events), changed, verdict.diverged, state if changed else None)

    async def saw(self, tenure: Tenure, document: DocumentState, seen: BooksEntity | None, token: AccessToken) -> None:
        """Commit a document that was read by Id (None: not there) as if the feed had shown it.

        Raises LookupFailed.
        """
        if seen is not None:
            document = await self.sender.looker.follower.known(tenure.fencing_token, document, seen, token)
        change = seen or Deleted(self.parts.forms.entity_of(document.kind), document.qbo_id or "", document.kind)
        told = replace(self.told(document, change, judge(document, change), datetime.now(UTC)), changed=None)
        await self.parts.ledger.feed.keep(self.realm, tenure.fencing_token, [told], [])

    async def gone(self, tenure: Tenure, document: DocumentState, change: Deleted, verdict: Judgement) -> None:
        """Commit and publish the divergence of a document that was found missing without the feed."""
        told = replace(self.told(document, change, verdict, datetime.now(UTC)), changed=None)
        await self.parts.ledger.feed.keep(self.realm, tenure.fencing_token, [told], [])

    async def gone_with_what_they_paid(self, gone: Sequence[DocumentState]) -> dict[int, Judgement]:
        """Return our payments that are gone with their bill: only the bill's divergence is published; nothing is left to pay."""
        bills = await self.bills_of(gone)
        lost = {document.id for document in gone}
        return {
            document.id: Judgement(nothing_there(document))
            for document in gone
            if document.live and not document.diverged and kinds.of(document.kind).pays
            and not ((bill := bills.get(document.id)) and bill.document.live and bill.document.id not in lost)
        }  # fmt: skip

    async def bills_of(self, payments: Sequence[DocumentState]) -> dict[int, MarkedDocument]:
        """Return the bills of the payments among these documents, by payment id."""
        paid = {
            document.id: identity.marker(document.realm, document.source, document.source_key, pays)
            for document in payments
            if (pays := kinds.of(document.kind).pays)
        }
        bills = await self.parts.ledger.sweeps.marked(self.realm, list(paid.values())) if paid else {}
        return {id_: bills[marker] for id_, marker in paid.items() if marker in bills}

    async def _settle_creates(self, tenure: Tenure, seen: Sequence[BooksEntity], token: AccessToken) -> None:
        """Settle unknown creates whose marker the feed shows."""
        by_marker = {(s.entity, s.marker): s for s in seen if s.marker}
        if by_marker:
            await self.finder.settle_found(tenure, by_marker, token)

    # ------------------------------------------------------------------------------------------------------------- probe

    async def _probe(self, tenure: Tenure, kept: Mapping[str, Any], token: AccessToken) -> None:
        """Repeat an update that was just answered, under its requestid: proven is measured."""
        ledger, settings = self.parts.ledger, self.parts.settings
        single, batch = probe.Probe.of(kept.get("single")), probe.Probe.of(kept.get("batch"))
        for sample in await ledger.attempts.samples(self.realm):
            if sample.batch_requestid:
                batch = probe.offer(batch, sample, settings)
            else:
                single = probe.offer(single, sample, settings)
        if probe.due(single, time.time()) or probe.due(batch, time.time()):
            async with self.parts.pacer.slot(self.realm, priority=m.Priority.SWEEP):
                single, batch = await probe.step(self.parts.books, self.parts.forms, single, batch, token, time.time(), settings)
        after = {"single": single.plain(), "batch": batch.plain()}
        if after != kept and (kept or single.sample or batch.sample or single.measured_at or batch.measured_at):
            await ledger.realms.keep_probe(self.realm, tenure.fencing_token, after, single.proven, batch.proven)


def _updated(change: BooksEntity | Deleted) -> str:
    """Return the time of its last change, as QuickBooks writes it."""
    return change.updated_at if isinstance(change, BooksEntity) else ""


def _changed_at(change: BooksEntity | Deleted, now: datetime) -> datetime:
    text = _updated(change)
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else now
    except (ValueError, OverflowError):
        return now
