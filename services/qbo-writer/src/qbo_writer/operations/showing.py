"""What QuickBooks holds of a document at this moment, beside what its newest command wants: one read, for a person who decides.

Changes nothing but the note of what was shown: a force is about that state.
"""

from datetime import UTC, datetime
from typing import Any

from bookrelay.db import Pool
from bookrelay.errors import BookrelayError, HaltError, PermanentError
from bookrelay.messages import Difference

from qbo_writer import comparing, domain
from qbo_writer.domain import AccessToken, BooksEntity, LookupFailed, Skipped
from qbo_writer.ledger import operating
from qbo_writer.ledger.records import Command, DocumentState
from qbo_writer.protocol.posting import Poster
from qbo_writer.quickbooks import mapping

_ASK = "the stored access token has expired or the company is not connected: start the service, or qbo-writer auth login"


async def in_quickbooks(pool: Pool, poster: Poster, document_id: int) -> dict[str, Any]:
    """Read a document by Id; return its SyncToken, and field by field how it differs from what its newest command wants.

    Where QuickBooks cannot be asked, `state` is "not asked", and `why` says why. Raises BookrelayError for an unknown document.
    """
    found = await poster.parts.ledger.commands.document(document_id)
    if found is None:
        raise BookrelayError(f"There is no document {document_id}.", "See `qbo-writer held list`.")
    document, command = found
    if document.qbo_id is None:
        return {"state": "bookrelay knows of nothing there"}
    token = await poster.parts.tokens.kept(document.realm)
    if token is None:
        return {"state": "not asked", "why": _ASK}
    read_at = datetime.now(UTC)
    try:
        seen = await poster.parts.books.read(document.realm, mapping.ENTITY[document.kind], document.qbo_id, token)
    except LookupFailed as error:
        return {"state": "not asked", "why": str(error)}
    except HaltError as error:
        return {"state": "not asked", "why": error.sentence()}
    if seen is None:
        return {"state": "deleted", "qbo_id": document.qbo_id, "read_at": read_at}
    await operating.note_shown(pool, document_id, seen.sync_token)
    return {
        "state": "voided" if seen.voided else "there", "qbo_id": seen.qbo_id, "sync_token": seen.sync_token,
        "doc_number": seen.doc_number, "total": seen.total, "balance": seen.balance, "emailed": seen.emailed, "read_at": read_at,
        "wanted": "that it be withdrawn" if command.operation == "retract" else f"version {command.version}",
        "differences": [d.model_dump(mode="json") for d in await _differences(poster, document, command, seen, token)],
    }  # fmt: skip


async def _differences(
    poster: Poster, document: DocumentState, command: Command, seen: BooksEntity, token: AccessToken
) -> tuple[Difference, ...]:
    """What the newest command wants (`ours`) and what is there (`theirs`); for a retraction, what we knew and what is there."""
    fields = document.fields or {}
    if command.operation == "upsert":
        fields = await poster.parts.ledger.attempts.last_fields(command.id) or fields
        try:
            wanted = await poster.planner.wanted(document, command, token)
        except (LookupFailed, Skipped, PermanentError):
            wanted = None  # a reference is not in the cache: what was last sent is shown
        if isinstance(wanted, domain.DesiredDocument):
            fields = wanted.fields
    return comparing.compare(fields, seen).differences
