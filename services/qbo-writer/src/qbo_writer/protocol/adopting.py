"""A document that is in QuickBooks although the ledger knows nothing of its sending: which version of ours is it, if any?

After a restored database. It sends nothing; what no recorded version explains is not taken over here.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from qbo_writer import comparing, kinds
from qbo_writer.domain import AccessToken, AttemptState, BooksEntity, CommandState, DocumentStatus, Operation, Request
from qbo_writer.ledger.changes import Commit, DocumentChange, Numbered, nothing_there
from qbo_writer.ledger.records import Attempt, Command, DocumentState, Sent
from qbo_writer.protocol import merging, numbering
from qbo_writer.protocol.sending import Sender
from qbo_writer.protocol.transitions import Trigger

WAITING = (CommandState.DUE, CommandState.RECEIVED, CommandState.WAITING, CommandState.HELD, CommandState.REJECTED)
FieldsOf = Callable[[DocumentState, Command, AccessToken], Awaitable[dict[str, str] | None]]


class Adopter:
    """Finds out what a document is, and says what is committed for it."""

    def __init__(self, sender: Sender, fields_of: FieldsOf) -> None:
        self._sender, self._fields_of = sender, fields_of

    async def version_there(
        self, seen: BooksEntity, document: DocumentState, versions: Sequence[Command], token: AccessToken
    ) -> tuple[Command, dict[str, str]] | None:
        """Return the newest of the recorded versions (newest first) that QuickBooks holds, with its fields. Raises LookupFailed.

        None: none of them, or the marker is not the document's.
        """
        if seen.marker != document.marker:
            return None
        if seen.voided:
            retracts = (command for command in versions if command.operation == "retract" and command.state in WAITING)
            return next(((command, {}) for command in retracts), None)
        tried: set[str] = set()
        only = len({command.content_hash for command in versions}) == 1  # else another version may have named what is there
        for command in versions:
            if document.live and command.content_hash == document.content_hash:
                return None  # what is older was known to be replaced: whoever brought it back was a person
            if command.operation == "retract" or command.content_hash in tried:
                continue
            tried.add(command.content_hash)
            fields = await self._fields_of(document, command, token)
            if fields is not None and only:
                fields = await self._followed(fields, seen, token)
            if fields is not None and comparing.compare(fields, seen).equal:
                return command, fields
        return None

    async def _followed(self, fields: dict[str, str], seen: BooksEntity, token: AccessToken) -> dict[str, str]:
        """What is there is this version all the same if a person has merged what it names since."""
        fencing_token = self._sender.parts.leases.holding(self._sender.realm)
        if fencing_token is None:
            return fields
        merges = await self._sender.looker.follower.moved(fencing_token, merging.moves(seen, fields), token)
        return merging.follow_fields(fields, merges)

    def take_over(
        self, seen: BooksEntity, document: DocumentState, there: Command, fields: dict[str, str], newest: Command
    ) -> Commit:
        """Settle the newest version by what is there; an earlier one becomes what is known, and the newest is posted over it."""
        if there.id == newest.id and there.state in WAITING:
            settled = self._sender.looker.commit_for(
                _as_if_sent(document, there, seen.entity, fields), Trigger.READ_OWN, seen=seen, adopted=True
            )
            return replace(settled, attempt=None, numbered=_numbered(seen, document, there))
        if there.operation == "retract":
            return Commit(document=_row(seen, document, fields, document.content_hash, None))
        row = _row(seen, document, fields, there.content_hash, there.id)
        return Commit(document=row, numbered=_numbered(seen, document, there))

    def hold(self, seen: BooksEntity, document: DocumentState, command: Command, fields: dict[str, str]) -> Commit:
        """No version of ours explains it: a person decides, and is told."""
        differences = comparing.compare(fields, seen).differences
        attempt = _as_if_sent(document, command, seen.entity, fields)
        return _without_attempt(self._sender.looker.commit_for(attempt, Trigger.READ_OTHER, seen=seen, differences=differences))

    def over(self, seen: BooksEntity, document: DocumentState) -> Commit:
        """A person said: over whatever is there. It becomes what is known, and the newest version is posted over it."""
        return Commit(document=_row(seen, document, {}, None, None))

    def gone(self, document: DocumentState, newest: Command, entity: str) -> Commit:
        """One of our own retractions has removed it: the newest is settled by that, or posts it anew."""
        if newest.operation == "retract" and newest.state in WAITING:
            return _without_attempt(self._sender.looker.commit_for(_as_if_sent(document, newest, entity, {}), Trigger.READ_GONE))
        return Commit(document=nothing_there(document))


def _numbered(seen: BooksEntity, document: DocumentState, there: Command) -> Numbered | None:
    """Which of its source's numbers it stands for: nobody has noted it."""
    if not kinds.of(document.kind).numbered or there.operation == "retract":
        return None
    return Numbered(document.id, seen.doc_number, numbering.given(there))


def _row(
    seen: BooksEntity, document: DocumentState, fields: dict[str, str], content_hash: str | None, content_of: UUID | None
) -> DocumentChange:
    return DocumentChange(
        document.id, DocumentStatus.VOIDED if seen.voided else DocumentStatus.PRESENT, seen.qbo_id, seen.sync_token, content_hash,
        comparing.veiled(seen.fields, fields), seen.total, seen.balance, diverged=False, content_of=content_of,
        doc_number=seen.doc_number, emailed=seen.emailed,
    )  # fmt: skip


def _as_if_sent(document: DocumentState, command: Command, entity: str, fields: dict[str, str]) -> Attempt:
    """Return the attempt that the document must have come from. It is in no table: only what follows from it is committed."""
    upsert = Operation.UPDATE if document.live else Operation.CREATE
    operation = upsert if command.operation == "upsert" else Operation.VOID
    now = datetime.now(UTC)
    request = Request(document.realm, document.kind, entity, operation, "", "", document.qbo_id, document.sync_token)
    sent = Sent(operation, AttemptState.UNKNOWN, True, True, True, False, False, now, now, None, now)
    return Attempt(0, document, command, request, sent, fields, command.content_hash, document.attempts, 1, 0)


def _without_attempt(commit: Commit) -> Commit:
    return replace(commit, attempt=None)
