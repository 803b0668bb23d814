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
from bookrelay.retrying import retrying

from qbo_writer import comparing, identity
from qbo_writer.crashpoints import Place, reach
from qbo_writer.domain import AccessToken, Deleted, DocumentStatus, FeedFull, LedgerKind, LookupFailed, Seen, UpdatedPage
from qbo_writer.kinds.bill_payment import paid_by
from qbo_writer.ledger import recovery
from qbo_writer.ledger.changes import DocumentChange, Effects, nothing_there
from qbo_writer.ledger.records import Asked, Attempt, Discrepancy, Known, Marked
from qbo_writer.protocol.adopting import WAITING
from qbo_writer.protocol.feeding import Judged, judge
from qbo_writer.protocol.parts import Tenure
from qbo_writer.protocol.posting import Poster
from qbo_writer.protocol.sweeping import discrepancy
from qbo_writer.protocol.transitions import When

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


def _unanswered(error: Exception) -> bool:
    """Whether a read may be answered when it is made again."""
    return isinstance(error, LookupFailed) and not isinstance(error, FeedFull) and not error.definite


class Recoverer:
    """Compares one company, under its lease. Run again after a crash it ends the same."""

    def __init__(self, poster: Poster, pool: Pool, tenure: Tenure) -> None:
        self.realm, self._poster, self._pool, self._tenure = poster.realm, poster, pool, tenure
        self._ledger, self._books, self._sender = poster.parts.ledger, poster.parts.books, poster.sender
        self._forms = poster.parts.forms
        self.found = Recovered(poster.realm)
        self._payments_gone: dict[int, tuple[Known, Deleted]] = {}  # of bills: by whom, shows when all else is compared

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

        async def once() -> T:
            return await read(await self._poster.parts.tokens.current(self.realm, self._tenure.fencing_token))

        async def failed(error: Exception) -> None:
            log.warning("recovery.read_again", realm=self.realm, error=str(error)[:200])

        return await retrying(once, passes=_unanswered, failed=failed, first=1.0, most=30.0, tries=TRIES)

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
        known = await self._ledger.feed.known_by_qbo_id(self.realm, [(d.kind, d.qbo_id) for d in gone if d.kind])
        ids = [k.id for k in known.values()]
        versions, attempts = await self._ledger.commands.versions(ids), await self._attempts(ids)
        for deleted in gone:
            mine = known.get((deleted.kind, deleted.qbo_id)) if deleted.kind else None
            if mine is not None and mine.live:
                await self._gone(mine, deleted, versions.get(mine.id, []), attempts.get(mine.id))
                self.found.gone += 1

    async def _gone(self, known: Known, deleted: Deleted, versions: Sequence[Asked], attempt: Attempt | None) -> None:
        if attempt is not None:
            await self._commit(self._sender.looker.effects(attempt, When.READ_GONE))
        elif any(asked.operation == "retract" and asked.state in WAITING for asked in versions):
            await self._commit(
                self._poster.preparer.adopter.gone(known, versions[0], deleted.entity)
            )  # by us: its commit is lost
        elif known.kind is LedgerKind.BILL_PAYMENT and self._poster.parts.rules.unpays:
            self._payments_gone[known.id] = known, deleted
        else:
            await self._tell(known, deleted, judge(known, deleted))

    # --------------------------------------------------------------------------------------------------------- documents

    async def _compare(self, seen: Sequence[Seen]) -> None:
        for start in range(0, len(seen), AT_ONCE):
            await self._compare_some(seen[start : start + AT_ONCE])

    async def _compare_some(self, seen: Sequence[Seen]) -> None:
        marked = await self._ledger.sweeps.marked(self.realm, list({s.marker for s in seen if s.marker}))
        if await self._payments([s for s in seen if s.kind is LedgerKind.BILL_PAYMENT], marked):
            marked = await self._ledger.sweeps.marked(self.realm, list({s.marker for s in seen if s.marker}))
        by_id = await self._ledger.feed.known_by_qbo_id(self.realm, [(s.kind, s.qbo_id) for s in seen if s.kind])
        pairs: list[tuple[Seen, Known]] = []
        strays: list[Discrepancy] = []
        for s in seen:
            ours = _ours(s, marked) or (by_id.get((s.kind, s.qbo_id)) if s.kind else None)
            if ours is not None:
                pairs.append((s, ours))
            elif s.marker and s.marker not in marked and s.entity in self._forms.documents:
                strays.append(discrepancy(s, None))
        ids = [known.id for _, known in pairs]
        versions, attempts = await self._ledger.commands.versions(ids), await self._attempts(ids)
        await asyncio.gather(*(self._one(s, k, versions.get(k.id, []), attempts.get(k.id)) for s, k in pairs))
        await recovery.keep(self._pool, self.realm, self._tenure.fencing_token, strays)
        self.found.looked_at += len(pairs) + len(strays)
        self.found.unknown_markers += len(strays)

    async def _one(self, seen: Seen, known: Known, versions: Sequence[Asked], attempt: Attempt | None) -> None:
        """Find out which version of ours QuickBooks holds, if any."""
        if known.live and known.qbo_id != seen.qbo_id:
            return  # a second document of one key, or a person's copy: the daily sweep tells it
        if known.live or attempt is not None:
            known, attempt = await self._asking(lambda token: self._followed(known, attempt, seen, token))
        as_known = known.live and comparing.compare(known.fields or {}, seen).equal and not known.diverged
        if as_known and seen.voided == (known.status is DocumentStatus.VOIDED):
            await self._as_known(seen, known, attempt)
            return
        found = await self._asking(lambda token: self._poster.preparer.adopter.version_there(seen, known, versions, token))
        if found is None:
            if not (known.diverged and known.sync_token == seen.sync_token):
                await self._diverged(seen, known, attempt)
                self.found.diverged += 1
            return
        there, fields = found
        if attempt is not None and attempt.asked.id == there.id:
            await self._commit(self._sender.looker.effects(attempt, When.READ_OWN, seen=seen, adopted=True))
            self.found.settled += 1
            return
        if attempt is not None:  # of another version: whatever became of it, this one is there
            await self._commit(self._sender.looker.effects(attempt, When.READ_KNOWN))
        effects = self._poster.preparer.adopter.take_over(seen, known, there, fields, versions[0])
        await self._commit(effects)
        self.found.settled += bool(effects.ends)
        self.found.earlier += not effects.ends

    async def _followed(
        self, known: Known, attempt: Attempt | None, seen: Seen, token: AccessToken
    ) -> tuple[Known, Attempt | None]:
        """What is known and what was sent, after the merges that persons made meanwhile."""
        fencing_token = self._tenure.fencing_token
        if attempt is not None:
            attempt = await self._sender.looker.followed(fencing_token, attempt, seen, token)
        return await self._sender.looker.follower.known(fencing_token, known, seen, token), attempt

    async def _as_known(self, seen: Seen, known: Known, attempt: Attempt | None) -> None:
        verdict = judge(known, seen)
        if attempt is not None:
            if seen.sync_token != attempt.request.sync_token:  # no copy of it can take effect any more, and it had none
                await self._commit(self._sender.looker.effects(attempt, When.READ_KNOWN, seen=seen))
            return  # else it is still to be looked for: by the protocol, once the company is served again
        if verdict.document is not None:
            await self._tell(known, seen, verdict)
            self.found.moved += 1

    async def _diverged(self, seen: Seen, known: Known, attempt: Attempt | None) -> None:
        """No version explains it: a person's edit. It is told; nothing is written over it but by policy or a person's word."""
        compared = comparing.compare(known.fields or (attempt.fields if attempt else {}), seen)
        if attempt is not None:
            await self._commit(self._sender.looker.effects(attempt, When.READ_OTHER, seen=seen, differences=compared.differences))
            return
        status = DocumentStatus.VOIDED if seen.voided and known.status is DocumentStatus.VOIDED else DocumentStatus.PRESENT
        row = DocumentChange(
            known.id, status, seen.qbo_id, seen.sync_token, known.content_hash, comparing.veiled(seen.fields, known.fields or {}),
            seen.total, seen.balance, diverged=True, differences=compared.differences, emailed=seen.emailed,
        )  # fmt: skip
        await self._tell(known, seen, Judged(row, diverged=True))

    # ---------------------------------------------------------------------------------------------------------- payments

    async def _payments(self, payments: Sequence[Seen], marked: dict[str, Marked]) -> bool:
        """A bill's payment is a document of the writer's own: no source sends its command again, its bill tells what it was.

        One that stands for another, which is gone, was made by the writer after it had withdrawn that; so was one that is not
        what the backup was sending, if it pays its bill as that is now. Returns whether anything was recorded.
        """
        bills = await self._ledger.feed.known_by_qbo_id(self.realm, [(LedgerKind.BILL, _bill(p)) for p in payments if _bill(p)])
        opened = await self._attempts([there.known.id for p in payments if (there := marked.get(p.marker or "")) and there.open])
        changed = False
        for payment in payments:
            bill = bills.get((LedgerKind.BILL, _bill(payment)))
            there = marked.get(payment.marker or "")
            known, gone = (there.known, self._payments_gone.get(there.known.id)) if there else (None, None)
            if bill is None or (known is not None and known.live and gone is None):
                continue
            attempt = opened.get(known.id) if known is not None else None
            if attempt is not None and (comparing.compare(attempt.fields, payment).equal or not _pays_as_it_is(bill, payment)):
                continue
            if payment.marker != identity.marker(self.realm, bill.source, bill.source_key, LedgerKind.BILL_PAYMENT):
                continue
            version = max(0, bill.newest_version, known.newest_version if known is not None else 0)
            asked = paid_by(bill, payment, version)
            await self._commit(Effects(document=nothing_there(gone[0]) if gone else None, follow_ups=(asked,)))
            self._payments_gone.pop(known.id if known else 0, None)
            changed = True
        return changed

    async def _judge_payments_gone(self) -> None:
        """A payment of ours was withdrawn by us if its bill has changed or is to change since; else a person has deleted it."""
        gone = list(self._payments_gone.values())
        bill_of = {known.id: identity.marker(self.realm, known.source, known.source_key, LedgerKind.BILL) for known, _ in gone}
        bills = await self._ledger.sweeps.marked(self.realm, list(bill_of.values()))
        versions = await self._ledger.commands.versions([*bill_of, *(marked.known.id for marked in bills.values())])
        for known, deleted in gone:
            bill = bills[bill_of[known.id]].known
            asked = (*versions.get(known.id, ()), *versions.get(bill.id, ()))
            if bill.diverged or not bill.live or any(version.state in WAITING for version in asked):
                await self._commit(Effects(document=nothing_there(known)))
            else:
                await self._tell(known, deleted, judge(known, deleted))

    # ------------------------------------------------------------------------------------------------------------ ledger

    async def _attempts(self, documents: Sequence[int]) -> dict[int, Attempt]:
        found = await self._ledger.attempts.read_open(
            self.realm, limit=len(documents), due=False, documents=documents
        ) if documents else []  # fmt: skip
        return {attempt.known.id: attempt for attempt in found}

    async def _commit(self, effects: Effects) -> None:
        await self._sender.committer.commit(self._tenure, [effects])

    async def _tell(self, known: Known, change: Seen | Deleted, verdict: Judged) -> None:
        """Commit a row and its events as the change feed does."""
        named = known if known.qbo_id else replace(known, qbo_id=change.qbo_id)
        told = self._poster.feeder.told(named, change, verdict, datetime.now(UTC))
        told = replace(told, expected=known.sync_token)
        await self._ledger.feed.keep(self.realm, self._tenure.fencing_token, [told], [])


def _ours(seen: Seen, marked: dict[str, Marked]) -> Known | None:
    found = marked.get(seen.marker or "")
    return found.known if found is not None and found.known.kind is seen.kind else None


def _pays_as_it_is(bill: Known, payment: Seen) -> bool:
    """Whether this is the payment that a bill gets as it is now. How a bill is that was told as a person's is not known."""
    fields = bill.fields or {}
    same = all(payment.fields.get(name) == fields.get(name) for name in ("vendor", "txn_date"))
    return bill.diverged or (same and payment.total == bill.total)


def _bill(payment: Seen) -> str:
    """The Id of the bill that a payment pays; empty where it pays none, or several."""
    return payment.fields.get("line.1.bill", "") if payment.fields.get("lines") == "1" else ""
