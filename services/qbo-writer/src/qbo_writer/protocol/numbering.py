"""Which number a document gets: its source's own, one derived from its key, or QuickBooks'. Content, never identity.

Whether a source's number is free is asked of the ledger (also what is on its way) and of QuickBooks, in one query for all
documents of a round. QuickBooks' own check (6140, where the company has it switched on) stands behind it.
"""

import base64
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bookrelay.errors import Code

from qbo_writer import identity, kinds
from qbo_writer.domain import AccessToken, BooksEntity, CommandState, LedgerKind, LookupFailed
from qbo_writer.halving import in_halves
from qbo_writer.ledger.changes import Decision, Number
from qbo_writer.ledger.records import Command, DocumentState
from qbo_writer.names import tidy
from qbo_writer.policy import Policy
from qbo_writer.ports import Forms

FIX_LONG = "Shorten it at its source, or let the company policy choose another number (unusable_number)."
FIX_TAKEN = (
    "Give one of the two another number, then send or release this one again; or let the company policy choose another number "
    "(unusable_number)."
)


@dataclass(frozen=True)
class Wish:
    """A number that a document should get. `asked_for`: nobody else in QuickBooks may have it; else only no document of ours."""

    number: Number
    new: bool = True
    asked_for: bool = False


def given(command: Command) -> str | None:
    """Return the source's number of a document, as it is compared and sent: no unseen signs, no blanks at its ends."""
    return tidy(str((command.content or {}).get("number") or "")) or None


def wish(document: DocumentState, command: Command, policy: Policy) -> Wish:
    """Return the number that a document should get, before anybody was asked. It keeps what it has while its source's stays.

    Of its source's number that is what QuickBooks shows: one that was only asked for may have become another's meanwhile.
    """
    if policy.numbers == "quickbooks":
        return Wish(Number(None, document.number_of), new=False)
    number = given(command) if policy.numbers == "source" else None
    if number is None:
        if document.number_of is None and document.doc_number:
            return Wish(Number(document.doc_number), new=not document.live)
        return Wish(Number(identity.doc_number(policy, document.source, document.source_key)))
    has_it = document.live and (document.fields or {}).get("doc_number") == number
    if document.number_of == number and (has_it or document.doc_number != number):
        return Wish(Number(document.doc_number, number), new=not document.live)
    return Wish(Number(number, number), asked_for=True)


def instead(document: DocumentState, number: str, policy: Policy) -> Number:
    """Return what a document gets instead of its source's number, by policy "derive" or "quickbooks"."""
    if policy.unusable_number == "quickbooks":
        return Number(None, number)
    return Number(identity.doc_number(policy, document.source, document.source_key), number)


def spare(document: DocumentState, number: Number) -> Number:
    """Return a derived number for a document whose derived number another document of ours has: from the key alone."""
    digest = hashlib.sha256(f"{document.realm}\x1f{document.source}\x1f{document.source_key}".encode()).digest()
    return Number("BX" + base64.b32encode(digest).decode()[:19], number.given)


def too_long(number: str) -> str | None:
    """Return the sentence about a number that QuickBooks does not take, or None."""
    if len(number) <= identity.DOC_NUMBER_LENGTH:
        return None
    return f"The number '{number[:60]}' has {len(number)} characters; QuickBooks takes {identity.DOC_NUMBER_LENGTH}."


def taken(number: str, kind: LedgerKind, holder: DocumentState | BooksEntity) -> str:
    """Return the sentence about a number that another document has. It names no party: that may be a patient."""
    entity = kinds.of(kind).word
    if isinstance(holder, BooksEntity):
        day = holder.fields.get("txn_date")
        return f"The number '{number}' is taken: {entity} {holder.qbo_id} in QuickBooks{f' of {day}' if day else ''} has it."
    where = f"the {entity} {holder.qbo_id} in QuickBooks"
    if not holder.qbo_id:
        where = f"{'an' if entity == 'invoice' else 'a'} {entity} that is on its way to QuickBooks"
    return f"The number '{number}' is taken: {where} has it, from key {holder.source_key!r} of source {holder.source!r}."


class Holders(Protocol):
    """The ledger, as far as numbers need it."""

    async def who_has(self, realm: str, kind: LedgerKind, numbers: Collection[str]) -> dict[str, list[DocumentState]]:
        """Return whose numbers these are: case-folded number -> documents in QuickBooks or on their way."""


class Numbered(Protocol):
    """QuickBooks, as far as numbers need it."""

    async def numbered(self, realm: str, entity: str, numbers: Collection[str], token: AccessToken) -> list[BooksEntity]:
        """Return who bears one of these numbers. Raises LookupFailed."""


NumberChoice = Number | Decision | LookupFailed
Promised = dict[tuple[LedgerKind, str], DocumentState]  # case-folded number -> who gets it, and is not journalled yet


class Numbering:
    """Gives the documents of one company their numbers."""

    def __init__(self, realm: str, policy: Policy, ledger: Holders, books: Numbered, forms: Forms) -> None:
        self.realm, self.policy, self._ledger, self._books, self._forms = realm, policy, ledger, books, forms

    async def of(
        self, documents: Sequence[tuple[DocumentState, Command]], token: AccessToken, promised: Promised | None = None
    ) -> dict[int, NumberChoice]:
        """Return the number of each document (by its id), or why it gets none. Where two want one number, the first gets it.

        A document that a person forces gets its source's number although another has it. `promised`: what was given since the
        journal was last written, added to; the ledger does not show that yet.
        """
        promised = {} if promised is None else promised
        found: dict[int, NumberChoice] = {}
        for kind in kinds.NUMBERED:
            wishes = [
                (document, command, wish(document, command, self.policy))
                for document, command in documents
                if document.kind is kind
            ]
            found |= await self._of(kind, wishes, token, promised)
        return found

    async def _of(
        self, kind: LedgerKind, wishes: Sequence[tuple[DocumentState, Command, Wish]], token: AccessToken, promised: Promised
    ) -> dict[int, NumberChoice]:
        new = [(document, w) for document, _, w in wishes if w.new and w.number.text]
        if not new:
            return {document.id: w.number for document, _, w in wishes}
        wanted = {w.number.text or "" for _, w in new}
        if self.policy.unusable_number == "derive":
            wanted |= {instead(document, "", self.policy).text or "" for document, w in new if w.asked_for}
        ours = await self._ledger.who_has(self.realm, kind, wanted)
        to_ask = {w.number.text or "" for _, w in new if w.asked_for and not too_long(w.number.text or "")}
        theirs: Mapping[str, Sequence[BooksEntity]] = {}
        failed: dict[str, LookupFailed] = {}
        if to_ask:
            found, failed = await in_halves(
                lambda part: self._books.numbered(self.realm, self._forms.entity_of(kind), part, token), sorted(to_ask)
            )
            theirs = _by_number(found)
        outcomes: dict[int, NumberChoice] = {}
        for document, command, w in wishes:
            refused = failed.get(w.number.text or "") if w.new and w.asked_for else None
            outcome = refused or self._one(document, command, w, ours, theirs, promised)
            if isinstance(outcome, Number) and outcome.text and w.new:
                promised.setdefault((kind, outcome.text.casefold()), document)
            outcomes[document.id] = outcome
        return outcomes

    def _one(
        self, document: DocumentState, command: Command, w: Wish, ours: Mapping[str, Sequence[DocumentState]], theirs: Mapping[str, Sequence[BooksEntity]],
        promised: Promised,
    ) -> Number | Decision:  # fmt: skip
        text = w.number.text
        if not w.new or not text:
            return w.number

        def of_ours(number: str) -> DocumentState | None:
            holders = ours.get(number.casefold(), ())
            return next((k for k in holders if k.id != document.id), promised.get((document.kind, number.casefold())))

        if not w.asked_for:
            return spare(document, w.number) if of_ours(text) else w.number
        there = theirs.get(text.casefold(), ())
        own = next((s for s in there if s.marker == document.marker and not document.live), None)
        if own is not None:
            return Decision(
                CommandState.HELD,
                f"QuickBooks holds this document already (Id {own.qbo_id}), and the ledger does not know it.",
                "Was the database restored? Then recover it (docs/runbook.md). Else compare both, then drop this one.",
                Code.CONFLICT,
            )  # fmt: skip
        another = of_ours(text) or next((s for s in there if not document.live or s.qbo_id != document.qbo_id), None)
        reason = too_long(text) or (taken(text, document.kind, another) if another and not command.forced else None)
        if reason is None:
            return w.number
        if self.policy.unusable_number == "reject":
            return Decision(CommandState.REJECTED, reason, FIX_LONG if too_long(text) else FIX_TAKEN, Code.VALIDATION)
        number = instead(document, text, self.policy)
        return spare(document, number) if number.text and of_ours(number.text) else number


def _by_number(seen: Sequence[BooksEntity]) -> dict[str, list[BooksEntity]]:
    found: dict[str, list[BooksEntity]] = {}
    for one in seen:
        found.setdefault((one.doc_number or "").casefold(), []).append(one)
    return found
