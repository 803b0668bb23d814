"""An operator's actions on held, rejected and dead-lettered commands; each decision is recorded with who and why.

They change commands, and the operator's verdict on an open attempt; the lease holder does the rest, fenced.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from bookrelay.db import Connection, Pool, transaction
from bookrelay.errors import BookrelayError

from qbo_writer.ledger import decisions, listing
from qbo_writer.ledger.decisions import Person

OPEN_TO_OPERATORS = ("held", "rejected", "waiting", "dead_lettered")
NOBODY = Person("not said")


@dataclass(frozen=True)
class Chosen:
    """The document that an operator chose, with its newest command."""

    document_id: int
    realm: str
    source: str
    source_key: str
    kind: str
    command_id: UUID
    state: str
    version: int
    stuck_attempt: int | None
    shown_sync_token: str | None
    code: str | None


async def held(pool: Pool, realm: str | None = None, state: str = "held") -> list[dict[str, Any]]:
    """List the documents whose newest command needs a person."""
    return await listing.documents(pool, listing.Filter((state,), realm))


async def show(pool: Pool, document_id: int) -> dict[str, Any]:
    """Show a document with its commands and attempts, without the bodies that were sent."""
    document = await pool.fetchrow("SELECT * FROM qbo_writer.documents WHERE id = $1", document_id)
    if document is None:
        raise BookrelayError(f"There is no document {document_id}.", "See `qbo-writer held list`.")
    commands = await pool.fetch(
        "SELECT id, operation, version, modified_at, state, failures, code, reason, differences, shown_sync_token, "
        "content, recorded_at, ended_at "
        "FROM qbo_writer.commands WHERE document_id = $1 ORDER BY version, modified_at, recorded_at",
        document_id,
    )
    attempts = await pool.fetch(
        "SELECT id, number, operation, requestid, state, sends, ambiguous, lost, stuck, outcome, http_status, intuit_code, "
        "intuit_tid, first_sent_at, last_sent_at, silent_at, resolved_at FROM qbo_writer.attempts "
        "WHERE document_id = $1 ORDER BY id",
        document_id,
    )
    return {"document": dict(document), "commands": [dict(c) for c in commands], "attempts": [dict(a) for a in attempts]}


async def _choose(connection: Connection, document_id: int) -> Chosen:
    row = await connection.fetchrow(
        """
        SELECT d.id, d.realm, d.source, d.source_key, d.kind, c.id AS command_id, c.state, c.version, c.code,
          coalesce(c.shown_sync_token, d.sync_token) AS shown,
          (SELECT a.id FROM qbo_writer.attempts a WHERE a.document_id = d.id AND a.stuck AND a.state <> 'resolved') AS stuck
        FROM qbo_writer.documents d JOIN LATERAL (
          SELECT * FROM qbo_writer.commands n WHERE n.document_id = d.id
          ORDER BY version DESC, modified_at DESC, recorded_at DESC, id::text DESC LIMIT 1) c ON true
        WHERE d.id = $1 FOR NO KEY UPDATE OF d
        """,
        document_id,
    )
    if row is None:
        raise BookrelayError(f"There is no document {document_id}.", "See `qbo-writer held list`.")
    chosen = Chosen(
        row["id"], row["realm"], row["source"], row["source_key"], row["kind"], row["command_id"], row["state"], row["version"],
        row["stuck"], row["shown"], row["code"],
    )  # fmt: skip
    if chosen.state not in OPEN_TO_OPERATORS:
        raise BookrelayError(f"The newest command of document {document_id} is {chosen.state}: there is nothing to decide.")
    return chosen


async def release(pool: Pool, document_id: int, person: Person = NOBODY) -> Chosen:
    """Make the newest command due again."""
    async with transaction(pool) as connection:
        chosen = await _choose(connection, document_id)
        if chosen.stuck_attempt is not None:
            raise BookrelayError(
                "Its last request is still open, and its outcome is unknown.",
                "Look in QuickBooks: if the document is not there, run `held force`; if it is, wait: it will be found.",
            )
        await _due(connection, chosen, forced=False)
        await _record(connection, chosen, person, "release")
    return chosen


async def note_shown(pool: Pool, document_id: int, sync_token: str) -> None:
    """Note which state in QuickBooks the operator was shown: a force overwrites only that state."""
    await pool.execute(
        """
        UPDATE qbo_writer.commands SET shown_sync_token = $2 WHERE state = ANY($3::text[]) AND id = (
          SELECT id FROM qbo_writer.commands WHERE document_id = $1
          ORDER BY version DESC, modified_at DESC, recorded_at DESC, id::text DESC LIMIT 1)
        """,
        document_id, sync_token, list(OPEN_TO_OPERATORS),
    )  # fmt: skip


async def force(
    pool: Pool, document_id: int, sync_token: str | None = None, person: Person = NOBODY
) -> tuple[Chosen, datetime | None]:
    """Let the writer overwrite what was shown; for an open request: the operator states that it had no effect.

    It applies only to the state in QuickBooks with this SyncToken (default: the one shown last, by `held show` or
    when the document was held). If QuickBooks has another state by then, nothing is written and the document is held again.
    For an open request the writer waits until no late copy can take effect any more.
    """
    async with transaction(pool) as connection:
        chosen = await _choose(connection, document_id)
        if chosen.stuck_attempt is not None:
            await connection.execute(
                "UPDATE qbo_writer.attempts SET operator_says = 'absent', due_at = clock_timestamp() WHERE id = $1",
                chosen.stuck_attempt,
            )
            # It waits for the open attempt, and is decided as soon as that is resolved.
            await _due(connection, chosen, forced=False)
            await _record(connection, chosen, person, "force", {"open_request": "it had no effect"})
            return chosen, await connection.fetchval(
                "SELECT token_expires_at FROM qbo_writer.attempts WHERE id = $1", chosen.stuck_attempt
            )
        shown = sync_token or chosen.shown_sync_token
        await _due(connection, chosen, forced=True, shown=shown)
        await _record(connection, chosen, person, "force", {"sync_token": shown})
    return replace(chosen, shown_sync_token=shown), None


async def drop(pool: Pool, document_id: int, person: Person = NOBODY) -> Chosen:
    """Leave it as it is in QuickBooks: the command ends skipped."""
    async with transaction(pool) as connection:
        chosen = await _choose(connection, document_id)
        if chosen.stuck_attempt is not None:
            raise BookrelayError("Its last request is still open.", "Decide about that first, with `held force`.")
        await connection.execute(
            "UPDATE qbo_writer.commands SET state = 'due', dropped = true, due_at = clock_timestamp() WHERE id = $1",
            chosen.command_id,
        )
        await _record(connection, chosen, person, "drop")
    return chosen


async def _record(
    connection: Connection, chosen: Chosen, person: Person, decision: str, more: dict[str, Any] | None = None
) -> None:
    about = {
        "document": chosen.document_id, "kind": chosen.kind, "command_id": str(chosen.command_id), "version": chosen.version,
        "state": chosen.state, "code": chosen.code,
    }  # fmt: skip
    await decisions.record(connection, chosen.realm, person, decision, about | (more or {}))


async def _due(connection: Connection, chosen: Chosen, *, forced: bool, shown: str | None = None) -> None:
    await connection.execute(
        "UPDATE qbo_writer.commands SET state = 'due', forced = $2, shown_sync_token = coalesce($3, shown_sync_token), "
        "failures = 0, due_at = clock_timestamp() WHERE id = $1",
        chosen.command_id, forced, shown,
    )  # fmt: skip
