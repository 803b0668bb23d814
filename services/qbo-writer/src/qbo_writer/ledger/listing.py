"""Documents by state for operators: lists, counts, and all details of one. Read-only.

A document has the state of its newest recorded command. Lists and counts use one statement, so that they agree.
"""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from bookrelay import telemetry
from bookrelay.db import Connection, Pool
from bookrelay.errors import BookrelayError

from qbo_writer.domain import LedgerKind
from qbo_writer.ledger import decisions
from qbo_writer.redacting import redacted

# Not final. `sending` and `unknown` are states of the open attempt; `waiting`: for another document, the next
# try, or for something in QuickBooks or in the policy.
OPEN = ("due", "sending", "unknown", "waiting", "held", "rejected", "dead_lettered")
ENDED = ("posted", "unchanged", "retracted", "superseded", "skipped")
_RECORDED = {"sending": ("due", "received"), "unknown": ("due", "received"), "waiting": ("due", "received", "waiting")}

# One row for each document: its newest command, and its open attempt, if any.
_DOCUMENTS = """
  SELECT d.id AS document, d.realm, d.kind, d.source, d.source_key, c.version, s.state, c.code, c.reason, c.failures, c.due_at,
    c.recorded_at, c.ended_at, d.qbo_id, c.differences, c.shown_sync_token, d.diverged, coalesce(a.stuck, false) AS stuck,
    CASE WHEN s.state IN ('sending', 'unknown') THEN a.first_sent_at
      ELSE coalesce(c.waiting_since, c.ended_at, c.recorded_at) END AS since
  FROM qbo_writer.commands c JOIN qbo_writer.documents d ON d.id = c.document_id
  LEFT JOIN qbo_writer.attempts a ON a.document_id = d.id AND a.state <> 'resolved'
  CROSS JOIN LATERAL (SELECT CASE
    WHEN c.state NOT IN ('due', 'received') THEN c.state
    WHEN a.id IS NOT NULL THEN a.state
    WHEN c.state = 'received' OR c.due_at > now() THEN 'waiting'
    ELSE c.state END AS state) s
  WHERE c.state = ANY($1::text[]) AND NOT EXISTS (
    SELECT 1 FROM qbo_writer.commands n WHERE n.document_id = c.document_id
      AND (n.version, n.modified_at, n.recorded_at, n.id::text) > (c.version, c.modified_at, c.recorded_at, c.id::text))
"""


@dataclass(frozen=True)
class Filter:
    """Which documents to list; a field that is not given matches all. `reason`: part of the reason, ignoring case."""

    states: tuple[str, ...] = OPEN
    realm: str | None = None
    kind: str | None = None
    source: str | None = None
    code: str | None = None
    reason: str | None = None
    older: timedelta = field(default=timedelta())

    @property
    def narrow(self) -> bool:
        """Whether it filters by more than the state."""
        return any((self.realm, self.kind, self.source, self.code, self.reason, self.older))


async def documents(pool: Pool | Connection, chosen: Filter, limit: int | None = None) -> list[dict[str, Any]]:
    """Return the documents that match, those longest in their state first."""
    rows = await pool.fetch(
        f"""
        SELECT * FROM ({_DOCUMENTS}) listed WHERE state = ANY($2::text[]) AND ($3::text IS NULL OR realm = $3)
          AND ($4::text IS NULL OR kind = $4) AND ($5::text IS NULL OR source = $5) AND ($6::text IS NULL OR code = $6)
          AND ($7::text IS NULL OR position(lower($7) IN lower(reason)) > 0) AND since <= now() - $8::interval
        ORDER BY since, document LIMIT $9
        """,  # noqa: S608
        _recorded_as(chosen.states), list(chosen.states), chosen.realm, chosen.kind, chosen.source, chosen.code, chosen.reason,
        chosen.older, limit,
    )  # fmt: skip
    return [dict(row) for row in rows]


async def counts(pool: Pool | Connection, states: Collection[str] = OPEN) -> dict[str, dict[str, int]]:
    """Return the length of each list: company -> state -> number. Final states are not counted."""
    rows = await pool.fetch(
        f"SELECT realm, state, count(*) AS n FROM ({_DOCUMENTS}) listed WHERE state = ANY($2::text[]) GROUP BY 1, 2",  # noqa: S608
        _recorded_as(states), list(states),
    )  # fmt: skip
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        found.setdefault(row["realm"], {})[row["state"]] = row["n"]
    return found


@dataclass(frozen=True)
class WaitingCommand:
    """What is asked of a document and not done."""

    id: UUID
    kind: LedgerKind
    content: dict[str, Any]
    source: str
    source_key: str


async def waiting(pool: Pool, realm: str, kinds: Sequence[LedgerKind], after: UUID, limit: int) -> list[WaitingCommand]:
    """Return a page of what waits to be written, by the commands' ids: the newest version of each document of these kinds."""
    rows = await pool.fetch(
        """
        SELECT c.id, c.kind, c.content, d.source, d.source_key FROM qbo_writer.commands c
        JOIN qbo_writer.documents d ON d.id = c.document_id
        WHERE c.realm = $1 AND c.id > $2 AND c.state IN ('due', 'received', 'waiting') AND c.operation = 'upsert'
          AND c.kind = ANY($4::text[]) AND c.content IS NOT NULL AND NOT c.dropped
          AND NOT EXISTS (SELECT 1 FROM qbo_writer.commands n WHERE n.document_id = c.document_id
            AND (n.version, n.modified_at) > (c.version, c.modified_at))
        ORDER BY c.id LIMIT $3
        """,
        realm, after, limit, [kind.value for kind in kinds],
    )  # fmt: skip
    return [WaitingCommand(row["id"], LedgerKind(row["kind"]), row["content"], row["source"], row["source_key"]) for row in rows]


def _recorded_as(states: Collection[str]) -> list[str]:
    """Return the command states that can be shown as these."""
    return sorted({recorded for state in states for recorded in _RECORDED.get(state, (state,))})


async def number_of(pool: Pool, given: str) -> int:
    """Return a document's number, given that number or the id of one of its commands."""
    if re.fullmatch(r"[0-9]{1,19}", given) and int(given) < 2**63:
        found = await pool.fetchval("SELECT id FROM qbo_writer.documents WHERE id = $1", int(given))
    else:
        try:
            id_ = UUID(given)
        except ValueError:
            raise BookrelayError(
                f"{given[:64]} is neither a document's number nor a command's id.", "See `qbo-writer commands list`."
            ) from None
        found = await pool.fetchval("SELECT document_id FROM qbo_writer.commands WHERE id = $1", id_)
    if found is None:
        raise BookrelayError(f"There is no document or command {given[:64]}.", "See `qbo-writer commands list`.")
    return int(found)


async def everything(pool: Pool, document_id: int) -> dict[str, Any]:
    """Return everything known about one document: versions, attempts with every request and answer, decisions.

    Texts in contents and bodies are left out, as in the attempts log: they can name a person. `held show` has them.
    """
    document = await pool.fetchrow("SELECT * FROM qbo_writer.documents WHERE id = $1", document_id)
    if document is None:
        raise BookrelayError(f"There is no document {document_id}.", "See `qbo-writer commands list`.")
    (state,) = await pool.fetch(
        f"SELECT state, since FROM ({_DOCUMENTS} AND d.id = $2) listed",  # noqa: S608
        [*_recorded_as(OPEN), *ENDED], document_id,
    ) or [{"state": "nothing", "since": document["created_at"]}]  # fmt: skip
    commands = await pool.fetch(
        "SELECT id, version, operation, modified_at, state, code, reason, differences, failures, due_at, content, content_hash, "
        "headers->>'traceparent' AS traceparent, recorded_at, ended_at FROM qbo_writer.commands WHERE document_id = $1 "
        "ORDER BY version, modified_at, recorded_at, id::text",
        document_id,
    )
    attempts = await pool.fetch(
        "SELECT id, number, command_id, version, operation, requestid, state, sends, ambiguous, lost, stuck, outcome, answer, "
        "http_status, intuit_code, intuit_tid, batch_id, first_sent_at, last_sent_at, silent_at, resolved_at "
        "FROM qbo_writer.attempts WHERE document_id = $1 ORDER BY id",
        document_id,
    )
    sends = await pool.fetch(
        "SELECT attempt_id, at, entry FROM qbo_writer.attempt_log WHERE attempt_id = ANY($1::bigint[]) ORDER BY id",
        [a["id"] for a in attempts],
    )
    kept = ("send", "answer", "http_status", "intuit_code", "intuit_tid", "trace_id", "request", "response")
    told = {a["id"]: [{"at": s["at"], **{k: s["entry"].get(k) for k in kept}} for s in sends if s["attempt_id"] == a["id"]]
            for a in attempts}  # fmt: skip
    shown = ("id", "realm", "kind", "source", "source_key", "doc_number", "status", "qbo_id", "sync_token", "total", "balance",
             "diverged", "emailed", "newest_version", "created_at", "updated_at")  # fmt: skip
    return {
        "document": {key: document[key] for key in shown} | {"state": state["state"], "since": state["since"]},
        "versions": [
            {**{k: v for k, v in dict(c).items() if k != "traceparent"}, "content": redacted(json.dumps(c["content"])),
             "trace_id": telemetry.trace_id_of(c["traceparent"])}
            for c in commands
        ],
        "attempts": [{**dict(a), "sent": told[a["id"]]} for a in attempts],
        "decisions": await decisions.made(pool, document_id=document_id),
    }  # fmt: skip
