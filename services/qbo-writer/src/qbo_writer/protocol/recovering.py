"""After a restored database: compares what QuickBooks has seen since the backup with the ledger, and takes over what is ours.

It sends nothing. What a recorded version explains is settled by it; what none explains is a person's, and told; a marker that
the ledger does not know is kept, and adopted when its command comes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from bookrelay import telemetry
from bookrelay.db import Pool

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

AT_ONCE = 100  # documents that are compared side by side: the names that they need are looked up together
TRIES = 6  # of a read


@dataclass
class Recovered:
    """What became of one company, counted in documents."""

    realm: str
    looked_at: int = 0  # with a marker of ours, or known by Id
    settled: int = 0  # the newest recorded version is in QuickBooks: its command has ended by that
    earlier: int = 0  # an earlier version is there: the newest is posted over it
    moved: int = 0  # as we knew it, with a newer SyncToken, payment or e-mail
    diverged: int = 0  # no version of ours: a person's
    gone: int = 0
    unknown_markers: int = 0
    deletions_seen: bool = True  # False: more than the change feed shows, or longer ago; the daily sweep looks for the rest


class Recoverer:
    """Compares one company, under its lease. Run again after a crash it ends the same."""

    def __init__(self, poster: Poster, pool: Pool, tenure: Tenure) -> None:
        self.realm, self._poster, self._pool, self._tenure = poster.realm, poster, pool, tenure
        self._ledger, self._books, self._sender = poster.parts.ledger, poster.parts.books, poster.sender
        self._forms = poster.parts.forms
        self.found = Recovered(poster.realm)
        self._payments_gone: dict[int, tuple[DocumentState, Deleted]] = {}  # of bills: by whom, shows when all else is compared

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
        """Read, with the access token of now; a read without an answer is tried again."""
        for tried in range(1, TRIES + 1):
            token = await self._poster.parts.tokens.current(self.realm, self._tenure.fencing_token)
            try:
                return await read(token)
            except FeedFull:
                raise
            except LookupFailed as error:
                if tried == TRIES or error.definite:
                    raise
                log.warning("recovery.read_again", realm=self.realm, error=str(error)[:200])
                await asyncio.sleep(min(30.0, 0.5 * 2**tried))
        raise AssertionError("not reached")

    # --------------------------------------------------------------------------------------------------------- deletions

    async def _deletions(self, since: datetime) -> None:
        """The change feed alone shows what is gone, up to 1,000 changes of each kind and 30 days."""
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
            )  # by us: its commit is lost
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
        """Find out which version of ours QuickBooks holds, if any."""
        if document.live and document.qbo_id != seen.qbo_id:
            return  # a second document of one key, or a person's copy: the daily sweep tells it
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
        if attempt is not None:  # of another version: whatever became of it, this one is there
            await self._commit(self._sender.looker.commit_for(attempt, Trigger.READ_KNOWN))
        commit = self._poster.preparer.adopter.take_over(seen, document, there, fields, versions[0])
        await self._commit(commit)
        self.found.settled += bool(commit.settlements)
        self.found.earlier += not commit.settlements

    async def _followed(
        self, document: DocumentState, attempt: Attempt | None, seen: BooksEntity, token: AccessToken
    ) -> tuple[DocumentState, Attempt | None]:
        """What is known and what was sent, after the merges that persons made meanwhile."""
        fencing_token = self._tenure.fencing_token
        if attempt is not None:
            attempt = await self._sender.looker.followed(fencing_token, attempt, seen, token)
        return await self._sender.looker.follower.known(fencing_token, document, seen, token), attempt

    async def _as_known(self, seen: BooksEntity, document: DocumentState, attempt: Attempt | None) -> None:
        verdict = judge(document, seen)
        if attempt is not None:
            if seen.sync_token != attempt.request.sync_token:  # no copy of it can take effect any more, and it had none
                await self._commit(self._sender.looker.commit_for(attempt, Trigger.READ_KNOWN, seen=seen))
            return  # else it is still to be looked for: by the protocol, once the company is served again
        if verdict.document is not None:
            await self._tell(document, seen, verdict)
            self.found.moved += 1

    async def _diverged(self, seen: BooksEntity, document: DocumentState, attempt: Attempt | None) -> None:
        """No version explains it: a person's edit. It is told; nothing is written over it but by policy or a person's word."""
        compared = comparing.compare(document.fields or (attempt.fields if attempt else {}), seen)
        if attempt is not None:
            await self._commit(
                self._sender.looker.commit_for(attempt, Trigger.READ_OTHER, seen=seen, differences=compared.differences)
            )
            return
        status = DocumentStatus.VOIDED if seen.voided and document.status is DocumentStatus.VOIDED else DocumentStatus.PRESENT
        row = DocumentChange(
            document.id, status, seen.qbo_id, seen.sync_token, document.content_hash, comparing.veiled(seen.fields, document.fields or {}),
            seen.total, seen.balance, diverged=True, differences=compared.differences, emailed=seen.emailed,
        )  # fmt: skip
        await self._tell(document, seen, Judgement(row, diverged=True))

    # ---------------------------------------------------------------------------------------------------------- payments

    async def _payments(self, payments: Sequence[BooksEntity], marked: dict[str, MarkedDocument]) -> bool:
        """A bill's payment is a document of the writer's own: no source sends its command again, its bill tells what it was.

        One that stands for another, which is gone, was made by the writer after it had withdrawn that; so was one that is not
        what the backup was sending, if it pays its bill as that is now. Returns whether anything was recorded.
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
        """A payment of ours was withdrawn by us if its bill has changed or is to change since; else a person has deleted it."""
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
        """Commit a row and its events as the change feed does."""
        named = document if document.qbo_id else replace(document, qbo_id=change.qbo_id)
        told = self._poster.feeder.told(named, change, verdict, datetime.now(UTC))
        told = replace(told, expected=document.sync_token)
        await self._ledger.feed.keep(self.realm, self._tenure.fencing_token, [told], [])


def _ours(seen: BooksEntity, marked: dict[str, MarkedDocument]) -> DocumentState | None:
    found = marked.get(seen.marker or "")
    return found.document if found is not None and found.document.kind is seen.kind else None


def _pays_as_it_is(bill: DocumentState, payment: BooksEntity) -> bool:
    """Whether this is the payment that a bill gets as it is now. How a bill is that was told as a person's is not known."""
    fields = bill.fields or {}
    same = all(payment.fields.get(name) == fields.get(name) for name in ("vendor", "txn_date"))
    return bill.diverged or (same and payment.total == bill.total)


def _bill(payment: BooksEntity) -> str:
    """The Id of the bill that a payment pays; empty where it pays none, or several."""
    return payment.fields.get("line.1.bill", "") if payment.fields.get("lines") == "1" else ""
