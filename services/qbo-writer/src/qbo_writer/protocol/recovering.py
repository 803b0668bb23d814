"""After a database restore: compares changes in QuickBooks since the backup with the ledger, and adopts what is ours.

It sends nothing. A document explained by a recorded version is settled; others count as edited, with an event; one whose
marker is unknown is stored, and adopted when its command arrives.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from bookrelay import telemetry
from bookrelay.db import Pool
from bookrelay.retrying import retrying

from qbo_writer import comparing, identity
from qbo_writer.crashpoints import Place, reach
from qbo_writer.domain import AccessToken, BooksEntity, Deleted, DocumentStatus, FeedFull, LedgerKind, LookupFailed, UpdatedPage
from qbo_writer.kinds.bill_payment import paid_by
from qbo_writer.ledger import recovery
from qbo_writer.ledger.changes import Commit, DocumentChange, nothing_there
from qbo_writer.ledger.records import Attempt, Command, Discrepancy, DocumentState, MarkedDocument
from qbo_writer.protocol.adopting import WAITING
from qbo_writer.protocol.feeding import Judgement, judge
from qbo_writer.protocol.parts import Tenure
from qbo_writer.protocol.posting import Poster
from qbo_writer.protocol.sweeping import discrepancy
from qbo_writer.protocol.transitions import Trigger

log = telemetry.get_logger(__name__)
T = TypeVar("T")

AT_ONCE = 100  # documents compared concurrently: the names they need are looked up together
TRIES = 6  # of a read


@dataclass
class Recovered:
    """The result for one company, in numbers of documents."""

    realm: str
    looked_at: int = 0  # documents with our marker, or known by Id
    settled: int = 0  # the newest recorded version is in QuickBooks: its command is settled
    earlier: int = 0  # an earlier version is there: the newest is posted over it
    moved: int = 0  # as known, but with a newer SyncToken, payment or e-mail
    diverged: int = 0  # no version of ours: edited in QuickBooks
    gone: int = 0
    unknown_markers: int = 0
    deletions_seen: bool = True  # False: too many or too old for the change feed; the daily sweep finds the rest


def _unanswered(error: Exception) -> bool:
    """Whether a read may be answered when it is made again."""
    return isinstance(error, LookupFailed) and not isinstance(error, FeedFull) and not error.definite


class Recoverer:
    """Compares one company, under its lease. It can be run again after a crash, with the same result."""

    def __init__(self, poster: Poster, pool: Pool, tenure: Tenure) -> None:
        self.realm, self._poster, self._pool, self._tenure = poster.realm, poster, pool, tenure
        self._ledger, self._books, self._sender = poster.parts.ledger, poster.parts.books, poster.sender
        self._forms = poster.parts.forms
        self.found = Recovered(poster.realm)
        self._payments_gone: dict[int, tuple[DocumentState, Deleted]] = {}  # of bills: judged once all else is compared

    async def run(self, since: datetime) -> Recovered:
        """Compare everything that changed since then. Raises LookupFailed, HaltError, LeaseLost: the company stays halted."""
        await self._ledger.attempts.mark_lost(self.realm, self._tenure.fencing_token)
        await self._deletions(since)
        for entity in (*self._forms.names, *self._forms.documents):  # payments last: they belong to bills
            page = UpdatedPage((), (since, 1))
            while page.next is not None:
                page = await self._page(entity, *page.next)
                await self._compare(page.seen)
                reach(Place.RECOVERY_COMPARING)
        await self._judge_payments_gone()
        log.info("recovery.compared", **asdict(self.found))
        return self.found

    async def _page(self, entity: str, since: datetime, start: int) -> UpdatedPage:
        return await self._asking(lambda token: self._books.updated(self.realm, entity, since, start, token))

    async def _asking(self, read: Callable[[AccessToken], Awaitable[T]]) -> T:
        """Read with the current access token; a read without an answer is tried again."""

        async def once() -> T:
            return await read(await self._poster.parts.tokens.current(self.realm, self._tenure.fencing_token))

        async def failed(error: Exception) -> None:
            log.warning("recovery.read_again", realm=self.realm, error=str(error)[:200])

        return await retrying(once, passes=_unanswered, failed=failed, first=1.0, most=30.0, tries=TRIES)

    # --------------------------------------------------------------------------------------------------------- deletions

    async def _deletions(self, since: datetime) -> None:
        """Find deletions, which only the change feed shows (up to 1,000 changes of each kind, 30 days)."""
        gone: list[Deleted] = []
        for entity in self._forms.documents:
            try:
                changes = await self._asking(lambda token, e=entity: self._books.changes(self.realm, (e,), since, token))  # type: ignore[misc]
            except FeedFull as full:
                changes, self.found.deletions_seen = list(full.changes), False
            except LookupFailed:
                changes, self.found.deletions_seen = [], False
            gone += [change for change in changes if isinstance(change, Deleted)]
        document = await self._ledger.feed.known_by_qbo_id(self.realm, [(d.kind, d.qbo_id) for d in gone if d.kind])
        ids = [k.id for k in document.values()]
        versions, attempts = await self._ledger.commands.versions(ids), await self._attempts(ids)
        for deleted in gone:
            mine = document.get((deleted.kind, deleted.qbo_id)) if deleted.kind else None
            if mine is not None and mine.live:
                await self._gone(mine, deleted, versions.get(mine.id, []), attempts.get(mine.id))
                self.found.gone += 1

    async def _gone(
        self, document: DocumentState, deleted: Deleted, versions: Sequence[Command], attempt: Attempt | None
    ) -> None:
        if attempt is not None:
            await self._commit(self._sender.looker.commit_for(attempt, Trigger.READ_GONE))
        elif any(command.operation == "retract" and command.state in WAITING for command in versions):
            await self._commit(
                self._poster.preparer.adopter.gone(document, versions[0], deleted.entity)
            )  # by us; its commit was lost
        elif document.kind is LedgerKind.BILL_PAYMENT and self._poster.parts.rules.unpays:
            self._payments_gone[document.id] = document, deleted
        else:
            await self._tell(document, deleted, judge(document, deleted))

    # --------------------------------------------------------------------------------------------------------- documents

    async def _compare(self, seen: Sequence[BooksEntity]) -> None:
        for start in range(0, len(seen), AT_ONCE):
            await self._compare_some(seen[start : start + AT_ONCE])

    async def _compare_some(self, seen: Sequence[BooksEntity]) -> None:
        marked = await self._ledger.sweeps.marked(self.realm, list({s.marker for s in seen if s.marker}))
        if await self._payments([s for s in seen if s.kind is LedgerKind.BILL_PAYMENT], marked):
            marked = await self._ledger.sweeps.marked(self.realm, list({s.marker for s in seen if s.marker}))
        by_id = await self._ledger.feed.known_by_qbo_id(self.realm, [(s.kind, s.qbo_id) for s in seen if s.kind])
        pairs: list[tuple[BooksEntity, DocumentState]] = []
        strays: list[Discrepancy] = []
        for s in seen:
            ours = _ours(s, marked) or (by_id.get((s.kind, s.qbo_id)) if s.kind else None)
            if ours is not None:
                pairs.append((s, ours))
            elif s.marker and s.marker not in marked and s.entity in self._forms.documents:
                strays.append(discrepancy(s, None))
        ids = [document.id for _, document in pairs]
        versions, attempts = await self._ledger.commands.versions(ids), await self._attempts(ids)
        await asyncio.gather(*(self._one(s, k, versions.get(k.id, []), attempts.get(k.id)) for s, k in pairs))
        await recovery.keep(self._pool, self.realm, self._tenure.fencing_token, strays)
        self.found.looked_at += len(pairs) + len(strays)
        self.found.unknown_markers += len(strays)

    async def _one(
        self, seen: BooksEntity, document: DocumentState, versions: Sequence[Command], attempt: Attempt | None
    ) -> None:
        """Find which of our versions is in QuickBooks, if any."""
        if document.live and document.qbo_id != seen.qbo_id:
            return  # a duplicate, or somebody's copy: the daily sweep reports it
        if document.live or attempt is not None:
            document, attempt = await self._asking(lambda token: self._followed(document, attempt, seen, token))
        as_known = document.live and comparing.compare(document.fields or {}, seen).equal and not document.diverged
        if as_known and seen.voided == (document.status is DocumentStatus.VOIDED):
            await self._as_known(seen, document, attempt)
            return
        found = await self._asking(lambda token: self._poster.preparer.adopter.version_there(seen, document, versions, token))
        if found is None:
            if not (document.diverged and document.sync_token == seen.sync_token):
                await self._diverged(seen, document, attempt)
                self.found.diverged += 1
            return
        there, fields = found
        if attempt is not None and attempt.command.id == there.id:
            await self._commit(self._sender.looker.commit_for(attempt, Trigger.READ_OWN, seen=seen, adopted=True))
            self.found.settled += 1
            return
        if attempt is not None:  # of another version: whatever its outcome, this one is there
            await self._commit(self._sender.looker.commit_for(attempt, Trigger.READ_KNOWN))
        commit = self._poster.preparer.adopter.take_over(seen, document, there, fields, versions[0])
        await self._commit(commit)
        self.found.settled += bool(commit.settlements)
        self.found.earlier += not commit.settlements

    async def _followed(
        self, document: DocumentState, attempt: Attempt | None, seen: BooksEntity, token: AccessToken
    ) -> tuple[DocumentState, Attempt | None]:
        """Return what is known and what was sent, after merges made meanwhile."""
        fencing_token = self._tenure.fencing_token
        if attempt is not None:
            attempt = await self._sender.looker.followed(fencing_token, attempt, seen, token)
        return await self._sender.looker.follower.known(fencing_token, document, seen, token), attempt

    async def _as_known(self, seen: BooksEntity, document: DocumentState, attempt: Attempt | None) -> None:
        verdict = judge(document, seen)
        if attempt is not None:
            if seen.sync_token != attempt.request.sync_token:  # it had no effect, and no copy of it can have one any more
                await self._commit(self._sender.looker.commit_for(attempt, Trigger.READ_KNOWN, seen=seen))
            return  # else the protocol looks for it once the company is served again
        if verdict.document is not None:
            await self._tell(document, seen, verdict)
            self.found.moved += 1

    async def _diverged(self, seen: BooksEntity, document: DocumentState, attempt: Attempt | None) -> None:
        """No version explains it: it was edited. Publish that; it is overwritten only by policy or by an operator's decision."""
        compared = comparing.compare(document.fields or (attempt.fields if attempt else {}), seen)
        if attempt is not None:
            await self._commit(
                self._sender.looker.commit_for(attempt, Trigger.READ_OTHER, seen=seen, differences=compared.differences)
            )
            return
        status = DocumentStatus.VOIDED if seen.voided and document.status is DocumentStatus.VOIDED else DocumentStatus.PRESENT
        row = DocumentChange(
            document.id, status, seen.qbo_id, seen.sync_token, document.content_hash, comparing.veiled(seen.fields,
            document.fields or {}),
            seen.total, seen.balance, diverged=True, differences=compared.differences, emailed=seen.emailed,
        )  # fmt: skip
        await self._tell(document, seen, Judgement(row, diverged=True))

    # ---------------------------------------------------------------------------------------------------------- payments

    async def _payments(self, payments: Sequence[BooksEntity], marked: dict[str, MarkedDocument]) -> bool:
        """A bill's payment is the writer's own document: no source sends its command again; it is reconstructed from its bill.

        One that replaces another, which is gone, was created by the writer after withdrawing that; so was one that is not
        what the backup was sending, if it matches its bill's present state. Returns whether anything was recorded.
        """
        bills = await self._ledger.feed.known_by_qbo_id(self.realm, [(LedgerKind.BILL, _bill(p)) for p in payments if _bill(p)])
        opened = await self._attempts(
            [there.document.id for p in payments if (there := marked.get(p.marker or "")) and there.open]
        )
        changed = False
        for payment in payments:
            bill = bills.get((LedgerKind.BILL, _bill(payment)))
            there = marked.get(payment.marker or "")
            document, gone = (there.document, self._payments_gone.get(there.document.id)) if there else (None, None)
            if bill is None or (document is not None and document.live and gone is None):
                continue
            attempt = opened.get(document.id) if document is not None else None
            if attempt is not None and (comparing.compare(attempt.fields, payment).equal or not _pays_as_it_is(bill, payment)):
                continue
            if payment.marker != identity.marker(self.realm, bill.source, bill.source_key, LedgerKind.BILL_PAYMENT):
                continue
            version = max(0, bill.newest_version, document.newest_version if document is not None else 0)
            command = paid_by(bill, payment, version)
            await self._commit(Commit(document=nothing_there(gone[0]) if gone else None, follow_ups=(command,)))
            self._payments_gone.pop(document.id if document else 0, None)
            changed = True
        return changed

    async def _judge_payments_gone(self) -> None:
        """Decide who deleted a payment of ours: we did, if its bill has changed or is to change since; else somebody else did."""
        gone = list(self._payments_gone.values())
        bill_of = {
            document.id: identity.marker(self.realm, document.source, document.source_key, LedgerKind.BILL)
            for document, _ in gone
        }
        bills = await self._ledger.sweeps.marked(self.realm, list(bill_of.values()))
        versions = await self._ledger.commands.versions([*bill_of, *(marked.document.id for marked in bills.values())])
        for document, deleted in gone:
            bill = bills[bill_of[document.id]].document
            command = (*versions.get(document.id, ()), *versions.get(bill.id, ()))
            if bill.diverged or not bill.live or any(version.state in WAITING for version in command):
                await self._commit(Commit(document=nothing_there(document)))
            else:
                await self._tell(document, deleted, judge(document, deleted))

    # ------------------------------------------------------------------------------------------------------------ ledger

    async def _attempts(self, documents: Sequence[int]) -> dict[int, Attempt]:
        found = await self._ledger.attempts.read_open(
            self.realm, limit=len(documents), due=False, documents=documents
        ) if documents else []  # fmt: skip
        return {attempt.document.id: attempt for attempt in found}

    async def _commit(self, commit: Commit) -> None:
        await self._sender.committer.commit(self._tenure, [commit])

    async def _tell(self, document: DocumentState, change: BooksEntity | Deleted, verdict: Judgement) -> None:
        """Commit a row and its events, as the change feed does."""
        named = document if document.qbo_id else replace(document, qbo_id=change.qbo_id)
        told = self._poster.feeder.told(named, change, verdict, datetime.now(UTC))
        told = replace(told, expected=document.sync_token)
        await self._ledger.feed.keep(self.realm, self._tenure.fencing_token, [told], [])


def _ours(seen: BooksEntity, marked: dict[str, MarkedDocument]) -> DocumentState | None:
    found = marked.get(seen.marker or "")
    return found.document if found is not None and found.document.kind is seen.kind else None


def _pays_as_it_is(bill: DocumentState, payment: BooksEntity) -> bool:
    """Whether this payment matches the bill's present state, which is unknown for an edited bill."""
    fields = bill.fields or {}
    same = all(payment.fields.get(name) == fields.get(name) for name in ("vendor", "txn_date"))
    return bill.diverged or (same and payment.total == bill.total)


def _bill(payment: BooksEntity) -> str:
    """Return the Id of the bill that a payment pays; empty if it pays none or several."""
    return payment.fields.get("line.1.bill", "") if payment.fields.get("lines") == "1" else ""
