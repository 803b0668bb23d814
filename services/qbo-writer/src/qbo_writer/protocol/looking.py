"""Looks for what a request may have left in the books, and compares it with what was sent and what was known."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bookrelay import metrics

from qbo_writer import comparing, kinds
from qbo_writer.crashpoints import Place, reach
from qbo_writer.domain import (
    AccessToken,
    Answer,
    BooksEntity,
    Operation,
)
from qbo_writer.ledger.changes import Commit
from qbo_writer.ledger.records import Attempt
from qbo_writer.protocol import merging
from qbo_writer.protocol.following import Follower
from qbo_writer.protocol.parts import Parts
from qbo_writer.protocol.settling import commit_of
from qbo_writer.protocol.transitions import Trigger


class Looker:
    """Looks and compares for one company."""

    def __init__(self, realm: str, parts: Parts) -> None:
        self.realm, self.parts = realm, parts
        self.follower = Follower(realm, parts.ledger, parts.references, parts.books, parts.forms)

    def commit_for(self, attempt: Attempt, trigger: Trigger, **more: Any) -> Commit:
        """Return what the table commits for `when`."""
        metrics.ATTEMPT_TRANSITIONS.labels(self.realm, trigger.name.lower()).inc()
        return commit_of(attempt, trigger, self.parts.links, **more)

    def silence_wait(self) -> float:
        """When to look for the first time after a silence: soon, for what was done and only not answered."""
        return min(2.0, self.parts.waits.q.total_seconds() * 0.02)

    def due_in(self, trigger: Trigger, sends: int) -> float:
        """A silence is looked at soon, then after longer and longer pauses."""
        silent = trigger in (Trigger.SILENCE, Trigger.ERROR_AFTER_SILENCE, Trigger.REFUSAL_AFTER_SILENCE)
        return min(60.0, self.silence_wait() * 2 ** min(sends - 1, 10)) if silent else 0.0

    async def look_up(self, attempt: Attempt, token: AccessToken, *, ours_only: bool = True) -> list[BooksEntity]:
        """Look for what carries our marker (or number, or name), then read it by Id: a query may show an old SyncToken."""
        document, entity = attempt.document, attempt.request.entity
        name = str((attempt.command.content or {}).get("name") or "") if kinds.of(document.kind).is_name else None
        found = await self.parts.books.find(
            self.realm, entity, doc_number=attempt.fields.get("doc_number"), marker=document.marker,
            since=attempt.sent.first_sent_at, name=name, token=token,
        )  # fmt: skip
        reach(Place.LOOKED_UP)
        ours = [s for s in found if s.marker == document.marker or kinds.of(document.kind).is_name or not ours_only]
        ours.sort(key=lambda s: s.marker != document.marker)
        read = [await self.parts.books.read(self.realm, entity, s.qbo_id, token) for s in ours[:1]]
        return [s for s in read if s is not None]

    async def look_up_together(self, attempts: Sequence[Attempt], token: AccessToken) -> dict[str, BooksEntity]:
        """Look for the markers of many creates of one entity (no names) in one read; return by marker what a query shows."""
        found = await self.parts.books.find_marked(
            self.realm, attempts[0].request.entity, {a.document.marker: a.fields.get("doc_number") for a in attempts},
            min(a.sent.first_sent_at for a in attempts), token,
        )  # fmt: skip
        reach(Place.LOOKED_UP)
        return found

    def read(self, attempt: Attempt, seen: BooksEntity | None, *, answer: Answer | None = None, adopted: bool = False) -> Commit:
        """Compare what was read by Id: cases (a) to (d) of the table. Whoever calls has asked for merges (`followed`)."""
        trigger, differences = self.compare(attempt, seen)
        return self.commit_for(
            attempt, trigger, answer=answer, seen=seen, differences=differences, adopted=adopted, due_in=self.silence_wait()
        )

    async def followed(self, fencing_token: int, attempt: Attempt, seen: BooksEntity, token: AccessToken) -> Attempt:
        """Return the attempt after the merges because of which its document is not as it was sent, or known. Raises LookupFailed.

        Before anything that was read is called a person's edit: a merge is none.
        """
        document, trigger = attempt.document, self.compare(attempt, seen)[0]
        if trigger is not Trigger.READ_OTHER or (seen.marker != document.marker and seen.qbo_id != attempt.request.qbo_id):
            return attempt
        merges = await self.follower.moved(fencing_token, merging.moves(seen, document.fields, attempt.fields), token)
        return replace(attempt, document=merging.follow(document, merges), fields=merging.follow_fields(attempt.fields, merges))

    def compare(self, attempt: Attempt, seen: BooksEntity | None) -> tuple[Trigger, Sequence[Any]]:
        """Return the case of the table, and how the attempt's content differs from what is there."""
        document, operation = attempt.document, attempt.request.operation
        if seen is None:
            return Trigger.READ_GONE, ()
        if operation is Operation.VOID and seen.voided:
            return Trigger.READ_OWN, ()
        if kinds.of(document.kind).is_name and operation is Operation.CREATE:
            return Trigger.READ_OWN, ()  # a name is its identity
        mine = comparing.compare(attempt.fields, seen)
        # An update moves the SyncToken. Where it only takes something away (a memo), what it would leave is there before it, too.
        happened = operation is Operation.CREATE or (
            operation is Operation.UPDATE and seen.sync_token != attempt.request.sync_token
        )
        if happened and seen.marker == document.marker and mine.equal:
            return Trigger.READ_OWN, ()
        if operation is Operation.CREATE:
            return Trigger.READ_OTHER, mine.differences
        if attempt.command.forced:  # a person decided about the state with this SyncToken, whatever is in it, and about no other
            if seen.sync_token == attempt.request.sync_token:
                return Trigger.READ_KNOWN, ()
            return Trigger.READ_OTHER, comparing.compare(attempt.fields or document.fields or {}, seen).differences
        if document.fields is not None and comparing.compare(document.fields, seen).equal:
            return Trigger.READ_KNOWN, ()
        return Trigger.READ_OTHER, comparing.compare(document.fields or attempt.fields, seen).differences
