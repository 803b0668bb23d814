"""Discrepancies (QB007): QuickBooks and the ledger disagree about what exists, or an answer is not what was requested.

Owns their table and event. Stored and published once, in the transaction that finds them; counted until they are resolved or
an operator accepts them.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bookrelay import messages as m
from bookrelay import telemetry
from bookrelay.db import Connection, Pool, transaction
from bookrelay.errors import BookrelayError, Code

from qbo_writer.domain import SENDER, LedgerKind
from qbo_writer.ledger import decisions
from qbo_writer.ledger.decisions import Person
from qbo_writer.ledger.records import NOT_AS_ASKED, Discrepancy

log = telemetry.get_logger(__name__)


def told(realm: str, d: Discrepancy) -> m.AnyMessage:
    """Return its event."""
    found_at = d.found_at or datetime.now(UTC)
    data = m.BooksDiscrepancyData(
        realm=realm, code=Code.DISCREPANCY.value, what=d.what, entity=d.entity, entity_id=d.qbo_id, doc_number=d.doc_number,
        source=d.source, source_key=d.source_key, reason=d.reason, fix=d.fix, amount=d.amount, found_at=found_at,
    )  # fmt: skip
    return m.BooksDiscrepancy.of(data, sender=SENDER, time=found_at)


# --------------------------------------------------------------------------------------------------------------------- SQL


async def still_open(pool: Pool, realm: str) -> list[Discrepancy]:
    """Read the open discrepancies."""
    rows = await pool.fetch(
        "SELECT o.*, d.kind FROM qbo_writer.discrepancies o LEFT JOIN qbo_writer.documents d ON d.id = o.document_id "
        "WHERE o.realm = $1 AND o.resolved_at IS NULL ORDER BY o.found_at",
        realm,
    )
    return [
        Discrepancy(
            r["what"], r["entity"], r["qbo_id"], r["doc_number"], r["reason"], r["fix"], r["document_id"], r["found_at"],
            amount=r["amount"], asked=r["asked"], kind=LedgerKind(r["kind"]) if r["kind"] else None,
        )
        for r in rows
    ]  # fmt: skip


async def listed(pool: Pool, realm: str | None) -> list[dict[str, Any]]:
    """Return what is open, oldest first, as people read it; of every company where none is given."""
    rows = await pool.fetch(
        "SELECT o.realm, o.what, o.entity, o.qbo_id, o.doc_number, d.source, d.source_key, o.reason, o.fix, o.found_at, "
        "o.last_found_at, o.amount FROM qbo_writer.discrepancies o LEFT JOIN qbo_writer.documents d ON d.id = o.document_id "
        "WHERE o.resolved_at IS NULL AND ($1::text IS NULL OR o.realm = $1) ORDER BY o.found_at",
        realm,
    )
    return [dict(row) for row in rows]


async def keep(connection: Connection, realm: str, found: Sequence[Discrepancy]) -> list[Discrepancy]:
    """Store what was found; return what is new, to be published."""
    fresh = []
    for d in found:
        row = await connection.fetchrow(
            "INSERT INTO qbo_writer.discrepancies AS o "
            "(realm, entity, qbo_id, what, document_id, doc_number, reason, fix, amount, asked, marker) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (realm, entity, qbo_id, what) DO UPDATE SET "
            "last_found_at = now(), found_at = CASE WHEN o.resolved_at IS NULL AND o.reason = excluded.reason THEN o.found_at "
            "ELSE now() END, resolved_at = NULL, document_id = excluded.document_id, reason = excluded.reason, "
            "fix = excluded.fix, amount = excluded.amount, asked = excluded.asked, marker = excluded.marker "
            "RETURNING found_at, found_at = now() AS fresh",
            realm, d.entity, d.qbo_id, d.what, d.document_id, d.doc_number, d.reason, d.fix, d.amount, d.asked, d.marker,
        )  # fmt: skip
        if row["fresh"]:
            fresh.append(replace(d, found_at=row["found_at"]))
            if d.what == NOT_AS_ASKED:
                log.error(
                    "answer.not_as_asked", realm=realm, entity=d.entity, qbo_id=d.qbo_id, amount=str(d.amount), code="QB007"
                )
    return fresh


async def resolve(connection: Connection, realm: str, resolved: Sequence[Discrepancy]) -> None:
    """Mark discrepancies as resolved."""
    for d in resolved:
        await connection.execute(
            "UPDATE qbo_writer.discrepancies SET resolved_at = now() "
            "WHERE realm = $1 AND entity = $2 AND qbo_id = $3 AND what = $4 AND resolved_at IS NULL",
            realm, d.entity, d.qbo_id, d.what,
        )  # fmt: skip
    if any(d.what == NOT_AS_ASKED for d in resolved):
        await _release(connection, realm)


async def as_asked(connection: Connection, realm: str, documents: Collection[int]) -> None:
    """Resolve `not_as_asked` for documents that are in QuickBooks as requested, or no longer there."""
    if not documents:
        return
    status: str = await connection.execute(
        "UPDATE qbo_writer.discrepancies SET resolved_at = now() "
        "WHERE realm = $1 AND document_id = ANY($2::bigint[]) AND what = $3 AND resolved_at IS NULL",
        realm, list(documents), NOT_AS_ASKED,
    )  # fmt: skip
    if status.rpartition(" ")[2] != "0":
        await _release(connection, realm)


async def accept(pool: Pool, realm: str, entity: str, qbo_id: str, person: Person) -> int:
    """An operator accepts a document as it is; return how many documents held for it are due again."""
    async with transaction(pool) as connection:
        accepted = await connection.fetch(
            "UPDATE qbo_writer.discrepancies SET resolved_at = now() "
            "WHERE realm = $1 AND entity = $2 AND qbo_id = $3 AND what = $4 AND resolved_at IS NULL RETURNING document_id",
            realm, entity, qbo_id, NOT_AS_ASKED,
        )  # fmt: skip
        if not accepted:
            raise BookrelayError(
                f"{entity} {qbo_id} of company {realm} has no open discrepancy.",
                "See `qbo-writer audit discrepancies`.",
            )
        released = await _release(connection, realm)
        about = {"document": accepted[0]["document_id"], "entity": entity, "qbo_id": qbo_id, "released": released}
        await decisions.record(connection, realm, person, "accept", about)
        return released


async def _release(connection: Connection, realm: str) -> int:
    """Make due what was held for a difference, where no difference of its kind is left."""
    rows = await connection.fetch(
        "SELECT DISTINCT d.kind FROM qbo_writer.discrepancies o JOIN qbo_writer.documents d ON d.id = o.document_id "
        "WHERE o.realm = $1 AND o.what = $2 AND o.resolved_at IS NULL",
        realm, NOT_AS_ASKED,
    )  # fmt: skip
    status: str = await connection.execute(
        "UPDATE qbo_writer.commands c SET state = 'due', failures = 0, due_at = clock_timestamp() FROM qbo_writer.documents d "
        "WHERE c.realm = $1 AND c.state = 'held' AND c.code = $2 AND c.kind <> ALL($3::text[]) "
        "AND d.id = c.document_id AND d.newest_version = c.version",
        realm, Code.DISCREPANCY.value, [row["kind"] for row in rows],
    )  # fmt: skip
    return int(status.rpartition(" ")[2])
