"""A document's number: its source's, one derived from its key, or QuickBooks'. Content, never identity.

Whether a source's number is free is checked in the ledger (including requests in flight) and in QuickBooks, in one query for
all documents of a round. QuickBooks' own check (6140, if the company has it on) is the safety net.
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

FIX_LONG = "Shorten it at the source, or have the company policy choose another number (unusable_number)."
FIX_TAKEN = (
    "Give one of the two another number, then send or release this one again; or have the company policy choose another number "
    "(unusable_number)."
)


@dataclass(frozen=True)
class Wish:
    """The number that a document should get. `asked_for`: it must be free in QuickBooks; else only among our documents."""

    number: Number
    new: bool = True
    asked_for: bool = False


def given(command: Command) -> str | None:
    """Return the source's number of a document as compared and sent: no invisible characters, trimmed."""
    return tidy(str((command.content or {}).get("number") or "")) or None


def wish(document: DocumentState, command: Command, policy: Policy) -> Wish:
    """Return the number that a document should get, not yet checked. It keeps its number while its source's is unchanged.

    A source's number counts only as QuickBooks shows it: one that was only requested may belong to another document by now.
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
    """Return a document's number in place of its source's, by policy "derive" or "quickbooks"."""
    if policy.unusable_number == "quickbooks":
        return Number(None, number)
    return Number(identity.doc_number(policy, document.source, document.source_key), number)


def spare(document: DocumentState, number: Number) -> Number:
    """Return another derived number, if the first belongs to another document of ours: from the key alone."""
    digest = hashlib.sha256(f"{document.realm}\x1f{document.source}\x1f{document.source_key}".encode()).digest()
    return Number("BX" + base64.b32encode(digest).decode()[:19], number.given)


def too_long(number: str) -> str | None:
    """Return the reason why QuickBooks does not accept a number, or None."""
    if len(number) <= identity.DOC_NUMBER_LENGTH:
        return None
    return f"The number '{number[:60]}' has {len(number)} characters; QuickBooks accepts at most {identity.DOC_NUMBER_LENGTH}."


def taken(number: str, kind: LedgerKind, holder: DocumentState | BooksEntity) -> str:
    """Return the reason for a number that is taken. It names no party, which may be a patient."""
    entity = kinds.of(kind).word
    if isinstance(holder, BooksEntity):
        day = holder.fields.get("txn_date")
        return f"The number '{number}' is taken: {entity} {holder.qbo_id} in QuickBooks{f' of {day}' if day else ''} has it."
    where = f"the {entity} {holder.qbo_id} in QuickBooks"
    if not holder.qbo_id:
        where = f"{'an' if entity == 'invoice' else 'a'} {entity} that is on its way to QuickBooks"
    return f"The number '{number}' is taken: {where} has it, from key {holder.source_key!r} of source {holder.source!r}."


class Holders(Protocol):
    """The part of the ledger that numbering needs."""

    async def who_has(self, realm: str, kind: LedgerKind, numbers: Collection[str]) -> dict[str, list[DocumentState]]:
        """Return who has these numbers: case-folded number -> documents in QuickBooks or on their way."""


class Numbered(Protocol):
    """The part of QuickBooks that numbering needs."""

    async def numbered(self, realm: str, entity: str, numbers: Collection[str], token: AccessToken) -> list[BooksEntity]:
        """Return the documents with one of these numbers. Raises LookupFailed."""


NumberChoice = Number | Decision | LookupFailed
Promised = dict[tuple[LedgerKind, str], DocumentState]  # case-folded number -> its document, not journalled yet


class Numbering:
    """Numbers the documents of one company."""

    def __init__(self, realm: str, policy: Policy, ledger: Holders, books: Numbered, forms: Forms) -> None:
        self.realm, self.policy, self._ledger, self._books, self._forms = realm, policy, ledger, books, forms

    async def of(
        self, documents: Sequence[tuple[DocumentState, Command]], token: AccessToken, promised: Promised | None = None
    ) -> dict[int, NumberChoice]:
        """Return the number of each document (by its id), or why it gets none. If two want the same number, the first gets it.

        A forced document gets its source's number even if another has it. `promised`: numbers assigned since the journal was
        last written (the ledger does not show them yet); new ones are added.
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
        self, document: DocumentState, command: Command, w: Wish, ours: Mapping[str, Sequence[DocumentState]],
        theirs: Mapping[str, Sequence[BooksEntity]],
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
                f"QuickBooks already has this document (Id {own.qbo_id}), but the ledger does not know it.",
                "If the database was restored, run the recovery (docs/runbook.md). Otherwise compare both, then drop this one.",
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
