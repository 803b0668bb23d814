"""A document that is in QuickBooks although the ledger knows nothing of its sending: which version of ours is it, if any?

After a restored database. It sends nothing; what no recorded version explains is not taken over here.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from qbo_writer import comparing, kinds
from qbo_writer.domain import AccessToken, AttemptState, CommandState, DocumentStatus, Operation, Request, Seen
from qbo_writer.ledger.changes import DocumentChange, Effects, Numbered, nothing_there
from qbo_writer.ledger.records import Asked, Attempt, Known, Sent
from qbo_writer.protocol import merging, numbering
from qbo_writer.protocol.sending import Sender
from qbo_writer.protocol.transitions import When

WAITING = (CommandState.DUE, CommandState.RECEIVED, CommandState.WAITING, CommandState.HELD, CommandState.REJECTED)
FieldsOf = Callable[[Known, Asked, AccessToken], Awaitable[dict[str, str] | None]]


class Adopter:
    """Finds out what a document is, and says what is committed for it."""

    def __init__(self, sender: Sender, fields_of: FieldsOf) -> None:
        self._sender, self._fields_of = sender, fields_of

    async def version_there(
        self, seen: Seen, known: Known, versions: Sequence[Asked], token: AccessToken
    ) -> tuple[Asked, dict[str, str]] | None:
        """Return the newest of the recorded versions (newest first) that QuickBooks holds, with its fields. Raises LookupFailed.

        None: none of them, or the marker is not the document's.
        """
        if seen.marker != known.marker:
            return None
        if seen.voided:
            retracts = (asked for asked in versions if asked.operation == "retract" and asked.state in WAITING)
            return next(((asked, {}) for asked in retracts), None)
        tried: set[str] = set()
        only = len({asked.content_hash for asked in versions}) == 1  # else another version may have named what is there
        for asked in versions:
            if known.live and asked.content_hash == known.content_hash:
                return None  # what is older was known to be replaced: whoever brought it back was a person
            if asked.operation == "retract" or asked.content_hash in tried:
                continue
            tried.add(asked.content_hash)
            fields = await self._fields_of(known, asked, token)
            if fields is not None and only:
                fields = await self._followed(fields, seen, token)
            if fields is not None and comparing.compare(fields, seen).equal:
                return asked, fields
        return None

    async def _followed(self, fields: dict[str, str], seen: Seen, token: AccessToken) -> dict[str, str]:
        """What is there is this version all the same if a person has merged what it names since."""
        fencing_token = self._sender.parts.leases.holding(self._sender.realm)
        if fencing_token is None:
            return fields
        merges = await self._sender.looker.follower.moved(fencing_token, merging.moves(seen, fields), token)
        return merging.follow_fields(fields, merges)

    def take_over(self, seen: Seen, known: Known, there: Asked, fields: dict[str, str], newest: Asked) -> Effects:
        """Settle the newest version by what is there; an earlier one becomes what is known, and the newest is posted over it."""
        if there.id == newest.id and there.state in WAITING:
            settled = self._sender.looker.effects(
                _as_if_sent(known, there, seen.entity, fields), When.READ_OWN, seen=seen, adopted=True
            )
            return replace(settled, attempt=None, numbered=_numbered(seen, known, there))
        if there.operation == "retract":
            return Effects(document=_row(seen, known, fields, known.content_hash, None))
        row = _row(seen, known, fields, there.content_hash, there.id)
        return Effects(document=row, numbered=_numbered(seen, known, there))

    def hold(self, seen: Seen, known: Known, asked: Asked, fields: dict[str, str]) -> Effects:
        """No version of ours explains it: a person decides, and is told."""
        differences = comparing.compare(fields, seen).differences
        attempt = _as_if_sent(known, asked, seen.entity, fields)
        return _without_attempt(self._sender.looker.effects(attempt, When.READ_OTHER, seen=seen, differences=differences))

    def over(self, seen: Seen, known: Known) -> Effects:
        """A person said: over whatever is there. It becomes what is known, and the newest version is posted over it."""
        return Effects(document=_row(seen, known, {}, None, None))

    def gone(self, known: Known, newest: Asked, entity: str) -> Effects:
        """One of our own retractions has removed it: the newest is settled by that, or posts it anew."""
        if newest.operation == "retract" and newest.state in WAITING:
            return _without_attempt(self._sender.looker.effects(_as_if_sent(known, newest, entity, {}), When.READ_GONE))
        return Effects(document=nothing_there(known))


def _numbered(seen: Seen, known: Known, there: Asked) -> Numbered | None:
    """Which of its source's numbers it stands for: nobody has noted it."""
    if not kinds.of(known.kind).numbered or there.operation == "retract":
        return None
    return Numbered(known.id, seen.doc_number, numbering.given(there))


def _row(seen: Seen, known: Known, fields: dict[str, str], content_hash: str | None, content_of: UUID | None) -> DocumentChange:
    return DocumentChange(
        known.id, DocumentStatus.VOIDED if seen.voided else DocumentStatus.PRESENT, seen.qbo_id, seen.sync_token, content_hash,
        comparing.veiled(seen.fields, fields), seen.total, seen.balance, diverged=False, content_of=content_of,
        doc_number=seen.doc_number, emailed=seen.emailed,
    )  # fmt: skip


def _as_if_sent(known: Known, asked: Asked, entity: str, fields: dict[str, str]) -> Attempt:
    """Return the attempt that the document must have come from. It is in no table: only what follows from it is committed."""
    upsert = Operation.UPDATE if known.live else Operation.CREATE
    operation = upsert if asked.operation == "upsert" else Operation.VOID
    now = datetime.now(UTC)
    request = Request(known.realm, known.kind, entity, operation, "", "", known.qbo_id, known.sync_token)
    sent = Sent(operation, AttemptState.UNKNOWN, True, True, True, False, False, now, now, None, now)
    return Attempt(0, known, asked, request, sent, fields, asked.content_hash, known.attempts, 1, 0)


def _without_attempt(effects: Effects) -> Effects:
    return replace(effects, attempt=None)
