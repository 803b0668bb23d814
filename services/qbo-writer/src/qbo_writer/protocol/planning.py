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
    Wanted,
)
from qbo_writer.kinds import AnyContent
from qbo_writer.ledger.changes import End, NewAttempt, Number
from qbo_writer.ledger.records import Asked, Candidate, Known
from qbo_writer.ports import FACTS_SECONDS
from qbo_writer.protocol import differing, numbering, totals, waiting
from qbo_writer.protocol.deciding import Unpay, Write, decide, in_closed_period
from qbo_writer.protocol.numbering import Numbering, Outcome
from qbo_writer.protocol.parts import Parts

Numbers = Mapping[int, Outcome]  # by the document's id
FAILURES = 8  # of one command, until it is put aside for a person
FACTS_AGAIN_SECONDS = 1.0
CLOSING_DATE_SECONDS = 10.0  # before a document is held for it, a closing date older than this is read again


def requestid_of(known: Known, asked: Asked, operation: Operation, sync_token: str | None, number: int) -> str:
    """Return the requestid that serves this one attempt: at most 50 characters."""
    parts = (
        known.realm,
        known.kind,
        known.source,
        known.source_key,
        str(asked.version),
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
    ) -> End | NameNeeded | NewAttempt | Unpay:
        """Decide about the newest version; what is to be sent is made here, and nothing is changed anywhere."""
        if numbers is None:
            numbers = await self.numbers([candidate], token)
        known, asked = candidate.known, candidate.newest
        choice = decide(known, asked, self.parts.rules)
        if isinstance(choice, Write) and (end := kinds.of(known.kind).overtaken(candidate)):
            return end
        if isinstance(choice, Write | Unpay) and asked.failures >= FAILURES:
            return End(
                CommandState.HELD,
                f"Posting failed {asked.failures} times. {asked.last_reason or 'QuickBooks did not say why.'}",
                "Look at its attempts (qbo-writer held show), correct in QuickBooks or in the company policy what is named, then "
                "release it.",
                Code.AUTOMATION_FAILED,
            )  # fmt: skip
        if isinstance(choice, Write | Unpay) and not kinds.of(known.kind).is_name and self.parts.rules.closed_period == "hold":
            choice = await self._closed(known, asked, token) or choice
        if (
            isinstance(choice, Write | Unpay)
            and asked.operation == "upsert"
            and not asked.forced
            and not kinds.of(known.kind).is_name
        ):
            choice = await self._unlike_before(known) or choice
        choice = self._off_total(choice, known, asked) or choice
        if isinstance(choice, Unpay):
            # Nothing is removed for a version that cannot be posted: the bill that is there would stand unpaid.
            content = await self._content(known, asked, token, numbers) if asked.operation == "upsert" else ()
            if not isinstance(content, tuple):
                return content
            return Unpay(await self._with_wanted(known, asked, choice.otherwise, token))
        if isinstance(choice, End):
            return await self._with_wanted(known, asked, choice, token) if choice.shows_wanted else choice
        if asked.forced and asked.shown_sync_token is not None and choice.operation is not Operation.CREATE:
            # QuickBooks refuses it (5010) where another state is there when it arrives.
            known = replace(known, sync_token=asked.shown_sync_token)
            candidate = replace(candidate, known=known)
        fields: dict[str, str] = {}
        number: Number | None = None
        wanted: Wanted | None = None
        if choice.operation in (Operation.CREATE, Operation.UPDATE):
            content = await self._content(known, asked, token, numbers)
            if not isinstance(content, tuple):
                return content
            wanted, number = content
            fields = wanted.fields
        body = self.parts.forms.body(choice.operation, wanted, known.qbo_id or "", known.sync_token or "")
        return self._attempt(candidate, choice, body, fields, token, number)

    async def numbers(
        self, candidates: Sequence[Candidate], token: AccessToken, promised: numbering.Promised | None = None
    ) -> Numbers:
        """Give the documents that are to be written their numbers, all of a round in one question."""
        written = [
            (c.known, c.newest)
            for c in candidates
            if kinds.of(c.known.kind).numbered and c.newest.state is CommandState.DUE and c.newest.operation == "upsert"
            and isinstance(decide(c.known, c.newest, self.parts.rules), Write | Unpay)
        ]  # fmt: skip
        if not written:
            return {}
        try:
            facts = await self.parts.references.company(self.realm, token)
        except LookupFailed as error:
            return {known.id: error for known, _ in written}
        ours = [(known, asked) for known, asked in written if self._numbers_are_ours(known.kind, facts)]
        return await self.numbering.of(ours, token, promised)

    async def _content(
        self, known: Known, asked: Asked, token: AccessToken, numbers: Numbers
    ) -> tuple[Wanted, Number] | NameNeeded | End:
        """Return what is to be sent, and the number that it asks for; else why nothing can be. Raises LookupFailed, Skipped."""
        outcome = numbers.get(known.id)
        if isinstance(outcome, LookupFailed):
            raise outcome
        if isinstance(outcome, End):
            return outcome
        number = outcome or Number(None)
        wanted = await self.wanted(known, asked, token, number)
        if not isinstance(wanted, Wanted):
            return wanted
        return self._disagreement(asked, wanted.fields) or (wanted, number)

    async def fields_of(self, known: Known, asked: Asked, token: AccessToken) -> dict[str, str] | None:
        """Return what a version would make true, comparable with what QuickBooks shows; None where it names what is not there."""
        try:
            wanted = await self.wanted(known, asked, token)
        except (Skipped, PermanentError, ValidationError):
            return None
        if not isinstance(wanted, Wanted):
            return None
        # Which number it got was decided when it was sent, and is not known here: the marker says whose it is.
        return {key: value for key, value in wanted.fields.items() if key != "doc_number"}

    async def wanted(
        self, known: Known, asked: Asked, token: AccessToken, number: Number | None = None
    ) -> Wanted | NameNeeded | End:
        """Return what a command's document shall be in QuickBooks, or why that cannot be said. Raises LookupFailed, Skipped.

        `number`: None shows the one that it should get, before anybody is asked whether it is free.
        """
        content = cast(AnyContent, kinds.of(known.kind).content.model_validate(asked.content))
        resolved = await self._resolve(known, asked, content, token)
        if not isinstance(resolved, Resolved):
            return resolved
        facts = await self.parts.references.company(self.realm, token)
        if number is None and self._numbers_are_ours(known.kind, facts):
            number = numbering.wish(known, asked, self.parts.policy).number
        text = number.text if number else None
        return self.parts.forms.wanted(known.kind, content, resolved, self.parts.policy, text, known.marker, facts.currency)

    async def waits(self, known: Known, asked: Asked, token: AccessToken) -> End | None:
        """Return for which document of ours a command waits, if any. Raises LookupFailed, Skipped."""
        wanted = await self.wanted(known, asked, token) if asked.operation == "upsert" else None
        return wanted if isinstance(wanted, End) and wanted.awaits else None

    @staticmethod
    def _numbers_are_ours(kind: LedgerKind, facts: CompanyFacts) -> bool:
        """Whether we give the number. Where the company lets QuickBooks number its sales forms, ours would make doubles."""
        return kinds.of(kind).numbered and (facts.custom_numbers or not kinds.of(kind).sales_form)

    async def _closed(self, known: Known, asked: Asked, token: AccessToken) -> End | None:
        facts = await self.parts.references.company(self.realm, token)
        if in_closed_period(known, asked, self.parts.rules, facts.closing_date):
            facts = await self.parts.references.company(self.realm, token, max_age=CLOSING_DATE_SECONDS)
        return in_closed_period(known, asked, self.parts.rules, facts.closing_date)

    async def _unlike_before(self, known: Known) -> End | None:
        """Where the policy says so: nothing follows an answer that was not what was asked, but for its own document."""
        if self.parts.policy.on_difference != "hold":
            return None
        return differing.held_for(await self.parts.ledger.sweeps.discrepancies(self.realm), known)

    def _off_total(self, choice: End | Write | Unpay, known: Known, asked: Asked) -> End | None:
        """Before anything is resolved: the lines against zero, and against the total that the source states."""
        if asked.operation != "upsert" or kinds.of(known.kind).is_name:
            return None
        if isinstance(choice, Write | Unpay):
            return totals.below_zero(asked) or self._disagreement(asked, None)
        if choice.state is not CommandState.UNCHANGED or known.total == asked.total:
            return None
        return self._disagreement(asked, known.fields or {})

    def _disagreement(self, asked: Asked, fields: dict[str, str] | None) -> End | None:
        if asked.forced or self.parts.policy.on_total != "hold":
            return None
        return totals.disagreement(asked, fields)

    async def _with_wanted(self, known: Known, asked: Asked, end: End, token: AccessToken) -> End:
        """Show what the command wants beside what QuickBooks holds. Creates nothing; no failure changes the end."""
        if asked.operation != "upsert" or not known.live:
            return end
        try:
            wanted = await self.wanted(known, asked, token)
        except (LookupFailed, Skipped, PermanentError):
            return end
        if not isinstance(wanted, Wanted):
            return end
        return replace(end, differences=(*end.differences, *comparing.differences(wanted.fields, known.fields or {})))

    async def _resolve(self, known: Known, asked: Asked, content: AnyContent, token: AccessToken) -> Resolved | NameNeeded | End:
        if kinds.of(known.kind).is_name:
            return Resolved({})
        resolved = await self.parts.references.resolve(
            self.realm, known.kind, content, token, facts_age=_facts_age(asked, datetime.now(UTC))
        )
        if isinstance(resolved, Unmapped):
            state = CommandState.REJECTED if resolved.at_source else CommandState.WAITING
            return End(CommandState.HELD if resolved.holds else state, resolved.reason, resolved.fix, resolved.code)
        if isinstance(resolved, Resolved) and (named := kinds.of(known.kind).names(known, content)):
            return await self._with_named(known, resolved, named)
        return resolved

    async def _with_named(self, known: Known, resolved: Resolved, named: Sequence[Named]) -> Resolved | End:
        """Add the Ids of the documents of ours that it names; it waits for the first that is not in QuickBooks."""
        found, ids = await self.parts.ledger.dependents.named(self.realm, named), dict(resolved.ids)
        for one in named:
            there = found.get(one.place)
            if there is None or there.status is not DocumentStatus.PRESENT or there.qbo_id is None:
                return waiting.waits_for(known, one, there)
            ids[one.place] = there.qbo_id
        return Resolved(ids)

    def _attempt(
        self, candidate: Candidate, choice: Write, body: str, fields: dict[str, str], token: AccessToken, numbered: Number | None
    ) -> NewAttempt:
        known, asked, number = candidate.known, candidate.newest, candidate.known.attempts + 1
        create = choice.operation is Operation.CREATE
        sync_token = None if create else known.sync_token
        requestid = requestid_of(known, asked, choice.operation, sync_token, number)
        request = Request(
            self.realm, known.kind, self.parts.forms.entity_of(known.kind), choice.operation, requestid, body,
            None if create else known.qbo_id, sync_token,
        )  # fmt: skip
        return NewAttempt(candidate, request, fields, asked.content_hash, number, token.expires_at, numbered)


def _facts_age(asked: Asked, now: datetime) -> float:
    """Return how old what is known of the company may be before a document waits for it (again), in seconds.

    What waited already is decided by what was read since its turn came (the half hour, a person's release): all of a round by one
    read.
    """
    least = FACTS_AGAIN_SECONDS if asked.waiting_since else FACTS_SECONDS
    return max(least, (now - asked.due_at).total_seconds() if asked.due_at else 0.0)
