"""Operators' decisions about documents and companies: who, when, why.

Append-only and hash-chained for each company. Separate from the attempts log, because that is written by the
lease holder alone, this log by any process that runs a command.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bookrelay.db import Connection, Pool

from qbo_writer.ledger import audit


@dataclass(frozen=True)
class Person:
    """Who decided, and why."""

    by: str
    why: str | None = None


async def record(connection: Connection, realm: str, person: Person, decision: str, about: dict[str, Any]) -> None:
    """Append one decision, in the transaction that applies it. `about` has facts (ids, states, codes), never contents."""
    # Concurrent decisions are serialised, so that the chain does not fork.
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('qbo_writer.decision_log ' || $1, 0))", realm)
    previous = await connection.fetchval(
        "SELECT hash FROM qbo_writer.decision_log WHERE realm = $1 ORDER BY id DESC LIMIT 1", realm
    )
    previous = previous or audit.GENESIS
    entry = {"decision": decision, "by": person.by, "why": person.why, "at": datetime.now(UTC).isoformat(), **about}
    await connection.execute(
        "INSERT INTO qbo_writer.decision_log (realm, document_id, entry, previous_hash, hash) VALUES ($1, $2, $3, $4, $5)",
        realm, about.get("document"), entry, previous, audit.link(previous, entry),
    )  # fmt: skip


async def made(pool: Pool, realm: str | None = None, document_id: int | None = None, limit: int = 1000) -> list[dict[str, Any]]:
    """Read the newest decisions, oldest first."""
    rows = await pool.fetch(
        "SELECT realm, entry FROM (SELECT * FROM qbo_writer.decision_log WHERE ($1::text IS NULL OR realm = $1) "
        "AND ($2::bigint IS NULL OR document_id = $2) ORDER BY id DESC LIMIT $3) newest ORDER BY id",
        realm, document_id, limit,
    )  # fmt: skip
    return [{"realm": row["realm"], **row["entry"]} for row in rows]
