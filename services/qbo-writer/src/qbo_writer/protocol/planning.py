"""What is to be sent for a command: decided, resolved, numbered, written as a request. Nothing is changed anywhere."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

from bookrelay.errors import Code, PermanentError
from pydantic import ValidationError

from qbo_writer import comparing, kinds
from qbo_writer.domain import (
    AccessToken,
    CommandState,
    CompanyFacts,
    DesiredDocument,
    DocumentStatus,
    LedgerKind,
    LookupFailed,
    Named,
    NameNeeded,
    Operation,
    Request,
    Resolved,
    Skipped,
    Unmapped,
)
from qbo_writer.kinds import AnyContent
from qbo_writer.ledger.changes import Decision, NewAttempt, Number
from qbo_writer.ledger.records import Candidate, Command, DocumentState
from qbo_writer.ports import FACTS_SECONDS
from qbo_writer.protocol import differing, numbering, totals, waiting
from qbo_writer.protocol.deciding import Unpay, Write, decide, in_closed_period
from qbo_writer.protocol.numbering import NumberChoice, Numbering
from qbo_writer.protocol.parts import Parts

Numbers = Mapping[int, NumberChoice]  # by the document's id
FAILURES = 8  # of one command, until it is put aside for a person
FACTS_AGAIN_SECONDS = 1.0
CLOSING_DATE_SECONDS = 10.0  # before a document is held for it, a closing date older than this is read again


def requestid_of(document: DocumentState, command: Command, operation: Operation, sync_token: str | None, number: int) -> str:
    """Return the requestid that serves this one attempt: at most 50 characters."""
    parts = (
        document.realm,
        document.kind,
        document.source,
        document.source_key,
        str(command.version),
        operation,
        sync_token or "",
        str(number),
    )
    return "br-" + hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:40]


class Planner:
    """Plans the requests of one company."""

    def __init__(self, realm: str, parts: Parts) -> None:
        self.realm, self.parts = realm, parts
        self.numbering = Numbering(realm, parts.policy, parts.ledger.commands, parts.books, parts.forms)

    async def plan(
        self, candidate: Candidate, token: AccessToken, numbers: Numbers | None = None
    ) -> Decision | NameNeeded | NewAttempt | Unpay:
        """Decide about the newest version; what is to be sent is made here, and nothing is changed anywhere."""
        if numbers is None:
            numbers = await self.numbers([candidate], token)
        document, command = candidate.document, candidate.newest
        choice = decide(document, command, self.parts.rules)
        if isinstance(choice, Write) and (decision := kinds.of(document.kind).overtaken(candidate)):
            return decision
        if isinstance(choice, Write | Unpay) and command.failures >= FAILURES:
            return Decision(
                CommandState.HELD,
                f"Posting failed {command.failures} times. {command.last_reason or 'QuickBooks did not say why.'}",
                "Look at its attempts (qbo-writer held show), correct in QuickBooks or in the company policy what is named, then "
                "release it.",
                Code.AUTOMATION_FAILED,
            )  # fmt: skip
        if isinstance(choice, Write | Unpay) and not kinds.of(document.kind).is_name and self.parts.rules.closed_period == "hold":
            choice = await self._closed(document, command, token) or choice
        if (
            isinstance(choice, Write | Unpay)
            and command.operation == "upsert"
            and not command.forced
            and not kinds.of(document.kind).is_name
        ):
            choice = await self._unlike_before(document) or choice
        choice = self._off_total(choice, document, command) or choice
        if isinstance(choice, Unpay):
            # Nothing is removed for a version that cannot be posted: the bill that is there would stand unpaid.
            content = await self._content(document, command, token, numbers) if command.operation == "upsert" else ()
            if not isinstance(content, tuple):
                return content
            return Unpay(await self._with_wanted(document, command, choice.otherwise, token))
        if isinstance(choice, Decision):
            return await self._with_wanted(document, command, choice, token) if choice.shows_wanted else choice
        if command.forced and command.shown_sync_token is not None and choice.operation is not Operation.CREATE:
            # QuickBooks refuses it (5010) where another state is there when it arrives.
            document = replace(document, sync_token=command.shown_sync_token)
            candidate = replace(candidate, document=document)
        fields: dict[str, str] = {}
        number: Number | None = None
        wanted: DesiredDocument | None = None
        if choice.operation in (Operation.CREATE, Operation.UPDATE):
            content = await self._content(document, command, token, numbers)
            if not isinstance(content, tuple):
                return content
            wanted, number = content
            fields = wanted.fields
        body = self.parts.forms.body(choice.operation, wanted, document.qbo_id or "", document.sync_token or "")
        return self._attempt(candidate, choice, body, fields, token, number)

    async def numbers(
        self, candidates: Sequence[Candidate], token: AccessToken, promised: numbering.Promised | None = None
    ) -> Numbers:
        """Give the documents that are to be written their numbers, all of a round in one question."""
        written = [
            (c.document, c.newest)
            for c in candidates
            if kinds.of(c.document.kind).numbered and c.newest.state is CommandState.DUE and c.newest.operation == "upsert"
            and isinstance(decide(c.document, c.newest, self.parts.rules), Write | Unpay)
        ]  # fmt: skip
        if not written:
            return {}
        try:
            facts = await self.parts.references.company(self.realm, token)
        except LookupFailed as error:
            return {document.id: error for document, _ in written}
        ours = [(document, command) for document, command in written if self._numbers_are_ours(document.kind, facts)]
        return await self.numbering.of(ours, token, promised)

    async def _content(
        self, document: DocumentState, command: Command, token: AccessToken, numbers: Numbers
    ) -> tuple[DesiredDocument, Number] | NameNeeded | Decision:
        """Return what is to be sent, and the number that it asks for; else why nothing can be. Raises LookupFailed, Skipped."""
        outcome = numbers.get(document.id)
        if isinstance(outcome, LookupFailed):
            raise outcome
        if isinstance(outcome, Decision):
            return outcome
        number = outcome or Number(None)
        wanted = await self.wanted(document, command, token, number)
        if not isinstance(wanted, DesiredDocument):
            return wanted
        return self._disagreement(command, wanted.fields) or (wanted, number)

    async def fields_of(self, document: DocumentState, command: Command, token: AccessToken) -> dict[str, str] | None:
        """Return what a version would make true, comparable with what QuickBooks shows; None where it names what is not there."""
        try:
            wanted = await self.wanted(document, command, token)
        except (Skipped, PermanentError, ValidationError):
            return None
        if not isinstance(wanted, DesiredDocument):
            return None
        # Which number it got was decided when it was sent, and is not known here: the marker says whose it is.
        return {key: value for key, value in wanted.fields.items() if key != "doc_number"}

    async def wanted(
        self, document: DocumentState, command: Command, token: AccessToken, number: Number | None = None
    ) -> DesiredDocument | NameNeeded | Decision:
        """Return what a command's document shall be in QuickBooks, or why that cannot be said. Raises LookupFailed, Skipped.

        `number`: None shows the one that it should get, before anybody is asked whether it is free.
        """
        content = cast(AnyContent, kinds.of(document.kind).content.model_validate(command.content))
        resolved = await self._resolve(document, command, content, token)
        if not isinstance(resolved, Resolved):
            return resolved
        facts = await self.parts.references.company(self.realm, token)
        if number is None and self._numbers_are_ours(document.kind, facts):
            number = numbering.wish(document, command, self.parts.policy).number
        text = number.text if number else None
        return self.parts.forms.wanted(document.kind, content, resolved, self.parts.policy, text, document.marker, facts.currency)

    async def waits(self, document: DocumentState, command: Command, token: AccessToken) -> Decision | None:
        """Return for which document of ours a command waits, if any. Raises LookupFailed, Skipped."""
        wanted = await self.wanted(document, command, token) if command.operation == "upsert" else None
        return wanted if isinstance(wanted, Decision) and wanted.awaits else None

    @staticmethod
    def _numbers_are_ours(kind: LedgerKind, facts: CompanyFacts) -> bool:
        """Whether we give the number. Where the company lets QuickBooks number its sales forms, ours would make doubles."""
        return kinds.of(kind).numbered and (facts.custom_numbers or not kinds.of(kind).sales_form)

    async def _closed(self, document: DocumentState, command: Command, token: AccessToken) -> Decision | None:
        facts = await self.parts.references.company(self.realm, token)
        if in_closed_period(document, command, self.parts.rules, facts.closing_date):
            facts = await self.parts.references.company(self.realm, token, max_age=CLOSING_DATE_SECONDS)
        return in_closed_period(document, command, self.parts.rules, facts.closing_date)

    async def _unlike_before(self, document: DocumentState) -> Decision | None:
        """Where the policy says so: nothing follows an answer that was not what was asked, but for its own document."""
        if self.parts.policy.on_difference != "hold":
            return None
        return differing.held_for(await self.parts.ledger.sweeps.discrepancies(self.realm), document)

    def _off_total(self, choice: Decision | Write | Unpay, document: DocumentState, command: Command) -> Decision | None:
        """Before anything is resolved: the lines against zero, and against the total that the source states."""
        if command.operation != "upsert" or kinds.of(document.kind).is_name:
            return None
        if isinstance(choice, Write | Unpay):
            return totals.below_zero(command) or self._disagreement(command, None)
        if choice.state is not CommandState.UNCHANGED or document.total == command.total:
            return None
        return self._disagreement(command, document.fields or {})

    def _disagreement(self, command: Command, fields: dict[str, str] | None) -> Decision | None:
        if command.forced or self.parts.policy.on_total != "hold":
            return None
        return totals.disagreement(command, fields)

    async def _with_wanted(self, document: DocumentState, command: Command, decision: Decision, token: AccessToken) -> Decision:
        """Show what the command wants beside what QuickBooks holds. Creates nothing; no failure changes the end."""
        if command.operation != "upsert" or not document.live:
            return decision
        try:
            wanted = await self.wanted(document, command, token)
        except (LookupFailed, Skipped, PermanentError):
            return decision
        if not isinstance(wanted, DesiredDocument):
            return decision
        return replace(
            decision, differences=(*decision.differences, *comparing.differences(wanted.fields, document.fields or {}))
        )

    async def _resolve(
        self, document: DocumentState, command: Command, content: AnyContent, token: AccessToken
    ) -> Resolved | NameNeeded | Decision:
        if kinds.of(document.kind).is_name:
            return Resolved({})
        resolved = await self.parts.references.resolve(
            self.realm, document.kind, content, token, facts_age=_facts_age(command, datetime.now(UTC))
        )
        if isinstance(resolved, Unmapped):
            state = CommandState.REJECTED if resolved.at_source else CommandState.WAITING
            return Decision(CommandState.HELD if resolved.holds else state, resolved.reason, resolved.fix, resolved.code)
        if isinstance(resolved, Resolved) and (named := kinds.of(document.kind).names(document, content)):
            return await self._with_named(document, resolved, named)
        return resolved

    async def _with_named(self, document: DocumentState, resolved: Resolved, named: Sequence[Named]) -> Resolved | Decision:
        """Add the Ids of the documents of ours that it names; it waits for the first that is not in QuickBooks."""
        found, ids = await self.parts.ledger.dependents.named(self.realm, named), dict(resolved.ids)
        for one in named:
            there = found.get(one.place)
            if there is None or there.status is not DocumentStatus.PRESENT or there.qbo_id is None:
                return waiting.waits_for(document, one, there)
            ids[one.place] = there.qbo_id
        return Resolved(ids)

    def _attempt(
        self, candidate: Candidate, choice: Write, body: str, fields: dict[str, str], token: AccessToken, numbered: Number | None
    ) -> NewAttempt:
        document, command, number = candidate.document, candidate.newest, candidate.document.attempts + 1
        create = choice.operation is Operation.CREATE
        sync_token = None if create else document.sync_token
        requestid = requestid_of(document, command, choice.operation, sync_token, number)
        request = Request(
            self.realm, document.kind, self.parts.forms.entity_of(document.kind), choice.operation, requestid, body,
            None if create else document.qbo_id, sync_token,
        )  # fmt: skip
        return NewAttempt(candidate, request, fields, command.content_hash, number, token.expires_at, numbered)


def _facts_age(command: Command, now: datetime) -> float:
    """Return how old what is known of the company may be before a document waits for it (again), in seconds.

    What waited already is decided by what was read since its turn came (the half hour, a person's release): all of a round by one
    read.
    """
    least = FACTS_AGAIN_SECONDS if command.waiting_since else FACTS_SECONDS
    return max(least, (now - command.due_at).total_seconds() if command.due_at else 0.0)
