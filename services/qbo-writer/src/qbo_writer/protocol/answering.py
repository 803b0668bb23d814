"""What an answer means for its attempt: the row of the table, after a look at what it names where that decides."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from bookrelay import telemetry
from bookrelay.errors import Code, Disposition

from qbo_writer import kinds
from qbo_writer.domain import (
    AccessToken,
    Answer,
    AnswerKind,
    BooksEntity,
    Cause,
    LookupFailed,
    Operation,
)
from qbo_writer.ledger.changes import Commit, Numbered, Requeue
from qbo_writer.ledger.records import Attempt
from qbo_writer.protocol import numbering
from qbo_writer.protocol.looking import Looker
from qbo_writer.protocol.parts import UNREAD, Parts
from qbo_writer.protocol.settling import backoff_seconds
from qbo_writer.protocol.transitions import Envelope, Trigger, trigger_of_answer

log = telemetry.get_logger(__name__)

BY_FACTS_TRIES = 3
READS = 3  # how often a read after a conflict is tried before the attempt counts as silent


class Answerer:
    """Judges the answers of one company."""

    def __init__(self, realm: str, parts: Parts, looker: Looker) -> None:
        self.realm, self.parts, self.looker = realm, parts, looker

    def whole_batch(self, attempt: Attempt, answer: Answer) -> list[Commit]:
        """One answer for the whole call: a definitive error says nothing about the single item."""
        trigger = trigger_of_answer(answer.kind, ambiguous=attempt.sent.ambiguous, envelope=Envelope.BATCH)
        assert trigger is not None
        return [self.looker.commit_for(attempt, trigger, answer=answer, due_in=self.looker.due_in(trigger, attempt.sends))]

    def item(self, attempt: Attempt, answer: Answer) -> list[Commit]:
        trigger = trigger_of_answer(answer.kind, ambiguous=attempt.sent.ambiguous, envelope=Envelope.ITEM)
        assert trigger is not None
        if trigger is Trigger.SUCCESS and answer.seen is None and not answer.deleted:
            trigger = Trigger.SILENCE
        return [self.looker.commit_for(attempt, trigger, answer=answer, due_in=self.looker.due_in(trigger, attempt.sends))]

    async def single(self, attempt: Attempt, answer: Answer, token: AccessToken) -> list[Commit]:
        answer = await self.by_facts(attempt, answer, token)
        trigger = trigger_of_answer(answer.kind, ambiguous=attempt.sent.ambiguous)
        if trigger is Trigger.SUCCESS and answer.seen is None and not answer.deleted:
            trigger = Trigger.SILENCE  # a success that cannot be read is no answer
        if trigger is Trigger.ERROR and name_taken(attempt, answer):
            return [await self._taken(attempt, answer, token)]
        if trigger is not None:
            if answer.kind is AnswerKind.ERROR:
                await self.stale([(attempt, answer)], token)
            return [self.looker.commit_for(attempt, trigger, answer=answer, due_in=self.looker.due_in(trigger, attempt.sends))]
        return [await self._conflict(attempt, answer, token)]

    async def by_facts(self, attempt: Attempt, answer: Answer, token: AccessToken) -> Answer:
        """Refused, perhaps by outdated facts: where the company has changed, the document is prepared anew by what it is."""
        if (
            answer.kind is not AnswerKind.ERROR
            or answer.cause is not Cause.BY_FACTS
            or attempt.command.failures >= BY_FACTS_TRIES
        ):
            return answer
        try:
            changed = await self.parts.references.changed(self.realm, token)
        except UNREAD as error:  # the answer counts as it is
            log.info("references.failed", realm=self.realm, error=repr(error))
            return answer
        return replace(answer, disposition=Disposition.RETRY) if changed else answer

    async def stale(self, pairs: Sequence[tuple[Attempt, Answer]], token: AccessToken) -> None:
        """Refused for something that they name: forget that, and no more; a person may have merged it into something else."""
        refused = [(a, answer) for a, answer in pairs if answer.cause is Cause.STALE]
        if not refused:
            return
        # What was refused in the same words before was looked into then.
        new = [a for a, answer in refused if a.command.failures == 0 or a.command.last_reason != answer.reason]
        first = {entry for a in new for entry in self.parts.forms.named(a.request.body)}
        await self.looker.follower.refused(refused[0][0].fencing_token, first, token)  # before its name is forgotten
        await self.parts.references.forget(
            self.realm, {entry for a, _ in refused for entry in self.parts.forms.named(a.request.body)}
        )

    async def _taken(self, attempt: Attempt, answer: Answer, token: AccessToken) -> Commit:
        """6240: somebody made the name since we looked. One of that kind is the one that was meant, else say whose it is.

        Who waits for the name is decided again then, and told the same as who comes later. Where nobody is found the name is
        asked for again: a query may not show yet what was just made.
        """
        name = str((attempt.command.content or {}).get("name") or "")
        try:
            holder, why = await self.parts.references.holder(self.realm, attempt.document.kind, name, token)
            if holder and why is None:
                return self.looker.commit_for(attempt, Trigger.SUCCESS, answer=answer, seen=holder, adopted=True)
        except LookupFailed as error:
            log.info("lookup.failed", realm=self.realm, requestid=attempt.request.requestid, error=repr(error))
            holder = why = None
        if holder is None or why is None:
            commit = self.looker.commit_for(attempt, Trigger.ERROR, answer=replace(answer, disposition=Disposition.RETRY))
            again = Requeue(attempt.command.id, backoff_seconds(attempt.command.failures), failed=True, reason=answer.reason)
            return replace(commit, requeue=again)
        told = replace(answer, disposition=Disposition.REJECT, reason=why.reason, fix=why.fix, code=why.code)
        return replace(self.looker.commit_for(attempt, Trigger.ERROR, answer=told), learned=(holder.entity, holder))

    async def _conflict(self, attempt: Attempt, answer: Answer, token: AccessToken) -> Commit:
        """5010, 610, 6140: read by Id and compare."""
        if answer.conflicting_kind not in (None, attempt.request.entity):
            return self._number_taken(attempt, answer, None)
        await self.stale([(attempt, answer)], token)
        for last in (False,) * (READS - 1) + (True,):
            try:
                seen = await self._conflicting(attempt, answer, token)
                if seen is not None:
                    attempt = await self.looker.followed(attempt.fencing_token, attempt, seen, token)
                break
            except LookupFailed:
                if last:
                    return self.looker.commit_for(attempt, Trigger.SILENCE, answer=answer, due_in=self.looker.silence_wait())
                await asyncio.sleep(0.2)
        if answer.cause is Cause.NUMBER_TAKEN and seen is not None and _another(attempt, seen):
            return self._number_taken(attempt, answer, seen)
        if answer.cause is Cause.NUMBER_TAKEN and seen is None:
            return self._number_of_nobody(attempt, answer)
        return self.looker.read(attempt, seen, answer=answer, adopted=not attempt.sent.ambiguous)

    def _number_taken(self, attempt: Attempt, answer: Answer, seen: BooksEntity | None) -> Commit:
        """Another document has the number: nothing was done by this send. What follows, the company policy says.

        `seen` None: it is of another kind, as QuickBooks says; where the policy has no other number, a person decides.
        """
        document, number, policy = attempt.document, numbering.given(attempt.command), self.parts.policy
        of_source = number is not None and number == attempt.fields.get("doc_number")
        disposition = Disposition.HOLD
        if of_source:
            other_kind = Disposition.HOLD if seen is None else Disposition.REJECT
            disposition = other_kind if policy.unusable_number == "reject" else Disposition.RETRY
        text = number or attempt.fields.get("doc_number") or ""
        reason = numbering.taken(text, document.kind, seen) if seen else _number_of_another(attempt, answer, text)
        commit = self._number_refused(attempt, answer, disposition, reason)
        if disposition is Disposition.RETRY and number is not None and not attempt.sent.ambiguous:
            other = numbering.instead(document, number, policy)
            commit = replace(commit, numbered=Numbered(document.id, other.text, number))
        return commit

    def _number_of_nobody(self, attempt: Attempt, answer: Answer) -> Commit:
        """6140, and nobody is seen to have the number: whoever had it is gone, or not shown yet. It is asked for again."""
        text = attempt.fields.get("doc_number", "")
        reason = f"QuickBooks says that the number '{text}' is taken, and shows no document that has it."
        if answer.conflicting_id:
            reason = f"Document {answer.conflicting_id} had the number '{text}', and is gone."
        return self._number_refused(attempt, answer, Disposition.RETRY, reason)

    def _number_refused(self, attempt: Attempt, answer: Answer, disposition: Disposition, reason: str) -> Commit:
        """Nothing was done by this send."""
        answer = replace(
            answer, kind=AnswerKind.ERROR, disposition=disposition, code=Code.CONFLICT, reason=reason, fix=numbering.FIX_TAKEN
        )
        trigger = Trigger.ERROR_AFTER_SILENCE if attempt.sent.ambiguous else Trigger.ERROR
        return self.looker.commit_for(attempt, trigger, answer=answer, due_in=self.looker.due_in(trigger, attempt.sends))

    async def _conflicting(self, attempt: Attempt, answer: Answer, token: AccessToken) -> BooksEntity | None:
        entity, qbo_id = attempt.request.entity, answer.conflicting_id or attempt.request.qbo_id
        if qbo_id:
            return await self.parts.books.read(self.realm, entity, qbo_id, token)
        found = await self.looker.look_up(attempt, token, ours_only=False)
        return found[0] if found else None


def _another(attempt: Attempt, seen: BooksEntity) -> bool:
    """Whether what was read is not the attempt's own document."""
    if attempt.request.operation is Operation.CREATE:
        return seen.marker != attempt.document.marker
    return seen.qbo_id != attempt.request.qbo_id


def _number_of_another(attempt: Attempt, answer: Answer, number: str) -> str:
    document, other = attempt.document, f"{answer.conflicting_kind} {answer.conflicting_id}"
    return (
        f"Another kind of document in QuickBooks has the number {number}: {other}. "
        f"So {attempt.request.entity} {document.source_key} of {document.source} cannot have it."
    )


def name_taken(attempt: Attempt, answer: Answer) -> bool:
    return answer.kind is AnswerKind.ERROR and answer.cause is Cause.NAME_TAKEN and kinds.of(attempt.document.kind).is_name
