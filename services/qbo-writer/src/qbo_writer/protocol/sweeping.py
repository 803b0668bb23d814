"""The daily sweep: unexpected markers in QuickBooks, documents missing there, retention.

Findings are published once, counted until they are resolved, and never corrected here: an operator decides.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from bookrelay import messages as m
from bookrelay import telemetry
from bookrelay.errors import HaltError

from qbo_writer.domain import AccessToken, BooksEntity, Deleted, LedgerKind, LookupFailed
from qbo_writer.ledger.discrepancies import told
from qbo_writer.ledger.records import NOT_AS_ASKED, Discrepancy, DocumentState, MarkedDocument, RealmRow
from qbo_writer.protocol import asking, feed_refusals
from qbo_writer.protocol.feed_refusals import Refusal
from qbo_writer.protocol.feeding import Feeder, judge
from qbo_writer.protocol.parts import Parts, Tenure

log = telemetry.get_logger(__name__)

RECENT_DAYS = 7  # newer documents are compared each time
PARTS = 28  # older documents are each looked up once in this many days
AGAIN_SECONDS = 900.0  # after a failure
FIX_UNKNOWN = (
    "Somebody may have copied a document with its memo: remove the marker from the copy. "
    "After a database restore: let its source send it again; it is then adopted, not created again."
)
FIX_DOUBLE = "Compare both; delete the wrong one, or remove the marker from its memo."
FIX_NOT_EXPECTED = "QuickBooks saved what it had refused: delete it, or release or send the document again, which adopts it."
FIX_MISSING = "Somebody deleted it: the next version will be held; then force it (it is created again) or drop it."


class Sweeper:
    """Compares the books of one company with its ledger while its lease is held."""

    def __init__(self, realm: str, parts: Parts, feeder: Feeder) -> None:
        self.realm, self.parts, self._feeder = realm, parts, feeder
        self._next = time.monotonic() + min(5.0, parts.settings.sweep_seconds)
        self._busy = False
        self._kinds = {parts.forms.entity_of(kind): kind for kind in LedgerKind}

    def go_on(self, row: RealmRow) -> None:
        """After a takeover: sweep when it is time, counted from the last sweep of whichever writer."""
        if row.swept_at:
            left = self.parts.settings.sweep_seconds - (row.read_at - row.swept_at).total_seconds()
            self._next = max(self._next, time.monotonic() + left)

    def soon(self) -> None:
        """Check in the next round whether a sweep is due."""
        self._next = time.monotonic()

    def due(self) -> bool:
        """Whether to check if a sweep is due; cheap."""
        return not self._busy and time.monotonic() >= self._next

    async def run(self, tenure: Tenure, token: AccessToken) -> None:
        """Sweep, if the last one (by any writer) is old enough."""
        self._busy, self._next = True, time.monotonic() + AGAIN_SECONDS
        try:
            row = await self.parts.ledger.realms.read(self.realm)
            now = row.read_at
            if row.swept_at is None:
                await self.parts.ledger.sweeps.begin(self.realm, tenure.fencing_token)
            wait = self.parts.settings.sweep_seconds - (now - (row.swept_at or now)).total_seconds()
            if wait <= 0:
                await self.prune(tenure)
                await self.sweep(tenure, token)
                wait = self.parts.settings.sweep_seconds
            self._next = time.monotonic() + wait
        except LookupFailed as error:
            log.info("sweep.failed", realm=self.realm, error=str(error)[:200])
        except HaltError as error:
            refusal = await self._alone(error, token)
            log.warning("sweep.failed", realm=self.realm, error=refusal.words[:200])
        finally:
            self._busy = False

    async def _alone(self, error: HaltError, token: AccessToken) -> LookupFailed:
        """Return why, if a halting code concerns only the sweep's reads: posting continues. Else raise HaltError."""
        try:
            return await self._feeder.sender.serving.refused_alone(error, token)
        except LookupFailed as other:
            return other

    async def prune(self, tenure: Tenure) -> None:
        """Delete what is old; the attempts log stays verifiable, and commands stay."""
        settings = self.parts.settings
        entries = await self.parts.ledger.attempts.prune_log(self.realm, settings.log_keep_days)
        attempts = await self.parts.ledger.attempts.prune_attempts(self.realm, tenure.fencing_token, settings.attempts_keep_days)
        if entries or attempts:
            log.info("ledger.pruned", realm=self.realm, log_entries=entries, attempts=attempts)

    async def sweep(self, tenure: Tenure, token: AccessToken) -> list[Discrepancy]:
        """Compare once; return what is new. Raises LookupFailed: then nothing is stored, and the sweep is repeated."""
        since = datetime.now(UTC) - timedelta(days=RECENT_DAYS)
        found: list[Discrepancy] = []
        missing: list[DocumentState] = []
        now = await self.parts.ledger.commands.now()
        refused = _Refused(self.realm, feed_refusals.of(await self.parts.ledger.sweeps.refusals(self.realm)), now)
        async with self.parts.pacer.slot(self.realm, priority=m.Priority.SWEEP):
            for entity in self.parts.forms.documents:
                try:
                    too_much, gone = await self._compared(entity, since, token)
                except (HaltError, LookupFailed) as error:  # the other kinds are still compared
                    refused.note(entity, await self._feeder.sender.serving.refused_alone(error, token))
                    continue
                found, missing = found + too_much, missing + gone
            missing += await self._what_they_paid(missing, token, refused)
            with_bill = await self._feeder.gone_with_what_they_paid(missing)
            found += [
                _gone(self.parts.forms.entity_of(document.kind), document) for document in missing if document.id not in with_bill
            ]
            resolved = await self._resolved(found, token, refused)
        fresh = await self.parts.ledger.sweeps.keep(
            self.realm, tenure.fencing_token, found, resolved, lambda d: told(self.realm, d), feed_refusals.plain(refused.found)
        )
        for document in missing:
            change = Deleted(self.parts.forms.entity_of(document.kind), document.qbo_id or "", document.kind)
            await self._feeder.gone(tenure, document, change, with_bill.get(document.id) or judge(document, change))
        for one in fresh:
            log.error("sweep.discrepancy", realm=self.realm, what=one.what, entity=one.entity, qbo_id=one.qbo_id, code="QB007")
        log.info("sweep.done", realm=self.realm, found=len(found), new=len(fresh), resolved=len(resolved))
        await self.parts.ledger.realms.gauges([self.realm])
        self.parts.relay.wake()
        return fresh

    async def _compared(self, entity: str, since: datetime, token: AccessToken) -> tuple[list[Discrepancy], list[DocumentState]]:
        """Compare one kind: extra and missing documents in QuickBooks. Raises LookupFailed, HaltError."""
        seen, odd = await self.parts.books.created(self.realm, entity, since, token)
        for error in odd:
            log.warning("entity.unreadable", realm=self.realm, error=error)
        return await self._not_ours(seen, token), await self._missing(entity, {s.qbo_id for s in seen}, since, token)

    # -------------------------------------------------------------------------------------------------- extra documents

    async def _not_ours(self, seen: Sequence[BooksEntity], token: AccessToken) -> list[Discrepancy]:
        """Return documents with a marker that are not the ones that the ledger knows for it."""
        marked = [s for s in seen if s.marker]
        # The ledger is read after QuickBooks: a document posted in between is known, or its attempt is open.
        ledger = await self.parts.ledger.sweeps.marked(self.realm, list({s.marker for s in marked if s.marker}))
        suspects = [s for s in marked if _unexpected(s, ledger.get(s.marker or ""))]
        found = []
        for s in suspects:
            now = await self.parts.books.read(self.realm, s.entity, s.qbo_id, token)  # a query may show deleted documents
            if now is not None and now.marker == s.marker:
                found.append(discrepancy(now, ledger.get(s.marker or "")))
        return found

    # ------------------------------------------------------------------------------------------------- missing documents

    async def _missing(self, entity: str, there: set[str], since: datetime, token: AccessToken) -> list[DocumentState]:
        """Return documents that QuickBooks no longer has. A query is only a hint; a read by Id decides."""
        part = datetime.now(UTC).toordinal() % PARTS
        document = await self.parts.ledger.sweeps.to_look_for(self.realm, self._kinds[entity], since, part, PARTS)
        there = there | await self.parts.books.present(
            self.realm, entity, [k.qbo_id for k in document if k.qbo_id and k.qbo_id not in there], token
        )
        return [
            k
            for k in document
            if k.qbo_id and k.qbo_id not in there and await self.parts.books.read(self.realm, entity, k.qbo_id, token) is None
        ]

    async def _read(
        self, entity: str, qbo_id: str, token: AccessToken, refused: "_Refused"
    ) -> BooksEntity | Literal["refused"] | None:
        """Read by Id; "refused" if QuickBooks refuses that for the kind. Raises LookupFailed, HaltError for the whole company."""
        if entity in refused.found:
            return "refused"
        try:
            return await self.parts.books.read(self.realm, entity, qbo_id, token)
        except (HaltError, LookupFailed) as error:
            refused.note(entity, await self._feeder.sender.serving.refused_alone(error, token))
            return "refused"

    async def _what_they_paid(
        self, missing: Sequence[DocumentState], token: AccessToken, refused: "_Refused"
    ) -> list[DocumentState]:
        """Return bills of missing payments that are missing, too, and that this sweep would not have checked."""
        ids = {k.id for k in missing}
        of_payments = (await self._feeder.bills_of(missing)).values()
        bills = [
            b.document for b in of_payments if b.document.live and not (b.document.diverged or b.open or b.document.id in ids)
        ]
        entity = self.parts.forms.entity_of
        return [b for b in bills if await self._read(entity(b.kind), b.qbo_id or "", token, refused) is None]

    # ----------------------------------------------------------------------------------------------------------- resolved

    async def _resolved(self, found: Sequence[Discrepancy], token: AccessToken, refused: "_Refused") -> list[Discrepancy]:
        """Return earlier findings, not found now, that are really gone, adopted or decided."""
        keys = {(d.what, d.entity, d.qbo_id) for d in found}
        before = [d for d in await self.parts.ledger.sweeps.discrepancies(self.realm) if (d.what, d.entity, d.qbo_id) not in keys]
        decided = await self.parts.ledger.sweeps.decided([d.document_id for d in before if d.document_id and d.what == "missing"])
        resolved = [d for d in before if d.what == "missing" and d.document_id in decided]
        for d in before:
            if d.what == "missing":
                continue
            seen = await self._read(d.entity, d.qbo_id, token, refused)
            if seen == "refused":
                continue
            if d.what == NOT_AS_ASKED:
                if seen is None or seen.voided or asking.as_asked(d.asked or {}, seen):
                    resolved.append(d)
                continue
            marker = seen.marker if seen else None
            ledger = await self.parts.ledger.sweeps.marked(self.realm, [marker]) if marker else {}
            if seen is None or marker is None or not _unexpected(seen, ledger.get(marker)):
                resolved.append(d)
        return resolved


@dataclass
class _Refused:
    """The kinds that QuickBooks refused to show in this sweep: earlier findings about them stay unchanged."""

    realm: str
    before: Mapping[str, Refusal]
    now: datetime
    found: dict[str, Refusal] = field(default_factory=dict)

    def note(self, entity: str, why: LookupFailed) -> None:
        """Store it for `status`."""
        self.found[entity] = feed_refusals.again(self.before.get(entity), self.now, self.now, why.words, why.fix)
        log.error("sweep.refused", realm=self.realm, entity=entity, error=why.words[:200])


def _unexpected(seen: BooksEntity, ours: MarkedDocument | None) -> bool:
    """Whether QuickBooks shows another document than the ledger knows, not explained by an open request."""
    return ours is None or (ours.document.qbo_id != seen.qbo_id and not ours.open)


def _gone(entity: str, document: DocumentState) -> Discrepancy:
    id_ = document.qbo_id or ""
    reason = f"{entity} {id_} is in the ledger, but QuickBooks no longer has it."
    return Discrepancy(
        "missing", entity, id_, document.doc_number, reason, FIX_MISSING, document.id, None, document.source, document.source_key
    )


def discrepancy(seen: BooksEntity, ours: MarkedDocument | None) -> Discrepancy:
    """Return the discrepancy of a document with a marker that is not the one the ledger knows for it."""
    entity, id_ = seen.entity, seen.qbo_id
    if ours is None:
        reason = f"{entity} {id_} in QuickBooks has a bookrelay marker that the ledger does not know."
        return Discrepancy("unknown_marker", entity, id_, seen.doc_number, reason, FIX_UNKNOWN, marker=seen.marker)
    document = ours.document
    if document.live:
        what, fix = "double", FIX_DOUBLE
        reason = f"QuickBooks has a second {entity} ({id_}) for the same document: the ledger knows {document.qbo_id}."
    else:
        what, fix = "not_expected", FIX_NOT_EXPECTED
        reason = f"{entity} {id_} is in QuickBooks, but according to the ledger its document is not."
    return Discrepancy(what, entity, id_, seen.doc_number, reason, fix, document.id, None, document.source, document.source_key)
