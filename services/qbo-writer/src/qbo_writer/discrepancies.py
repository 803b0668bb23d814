"""Discrepancies (QB007): books and ledger disagree about what exists, or an answer is not what was asked.

Owns their table and their event. Kept and told once, in the transaction that finds them; counted until they are mended, or a
person says that they are in order.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from bookrelay import messages as m
from bookrelay import telemetry
from bookrelay.db import Connection, Pool, transaction
from bookrelay.errors import BookrelayError, Code

from qbo_writer import decisions
from qbo_writer.asking import Unlike
from qbo_writer.deciding import End, Known
from qbo_writer.decisions import Person
from qbo_writer.domain import CommandState
from qbo_writer.mapping import ENTITY, KIND
from qbo_writer.settling import SENDER

log = telemetry.get_logger(__name__)

NOT_AS_ASKED = "not_as_asked"
KINDS = ("unknown_marker", "not_expected", "double", "missing", NOT_AS_ASKED)
SHOWN_AT_MOST = 10


@dataclass(frozen=True)
class Discrepancy:
    """One of `KINDS`, and what a person can do about it."""

    what: str
    entity: str
    qbo_id: str
    doc_number: str | None
    reason: str
    fix: str
    document_id: int | None = None
    found_at: datetime | None = None
    source: str | None = None
    source_key: str | None = None
    amount: Decimal | None = None  # not_as_asked: QuickBooks' total less the command's own
    asked: dict[str, str] | None = None  # not_as_asked: the fields that differ, as they were asked
    marker: str | None = None  # unknown_marker


Telling = Callable[[Discrepancy], m.AnyMessage]


def of_unlike(known: Known, unlike: Unlike) -> Discrepancy:
    """Return the discrepancy of an answer that is not what was asked."""
    entity, id_ = unlike.entity, unlike.qbo_id
    shown = [f"{d.field} asked {d.ours or 'none'}, there {d.theirs or 'none'}" for d in unlike.differences[:SHOWN_AT_MOST]]
    if len(unlike.differences) > SHOWN_AT_MOST:
        shown.append(f"and {len(unlike.differences) - SHOWN_AT_MOST} more")
    apart = f"its total is {unlike.amount} off: " if unlike.amount else ""
    reason = f"{entity} {id_} in QuickBooks is not what was asked: {apart}{'; '.join(shown)}."[:4000]
    fix = (
        "Compare it with its source. Correct it in QuickBooks, or change it in its source; a tax that nobody asked for "
        "comes from the item, or from QuickBooks' own sales tax: see tax_code in docs/company-policy.md. If it is right: "
        f"`qbo-writer audit accept {known.realm} {entity} {id_}`."
    )
    return Discrepancy(
        NOT_AS_ASKED, entity, id_, unlike.doc_number, reason, fix, known.id, None, known.source, known.source_key, unlike.amount,
        unlike.asked,
    )  # fmt: skip


def told(realm: str, d: Discrepancy) -> m.AnyMessage:
    """Return the event that tells it."""
    found_at = d.found_at or datetime.now(UTC)
    data = m.BooksDiscrepancyData(
        realm=realm, code=Code.DISCREPANCY.value, what=d.what, entity=d.entity, entity_id=d.qbo_id, doc_number=d.doc_number,
        source=d.source, source_key=d.source_key, reason=d.reason, fix=d.fix, amount=d.amount, found_at=found_at,
    )  # fmt: skip
    return m.BooksDiscrepancy.of(data, sender=SENDER, time=found_at)


def held_for(before: Sequence[Discrepancy], known: Known) -> End | None:
    """Return why a document waits for a person to look at another of its kind (policy on_difference = "hold")."""
    entity = ENTITY[known.kind]
    first = next((d for d in before if d.what == NOT_AS_ASKED and d.entity == entity and d.document_id != known.id), None)
    if first is None:
        return None
    return End(
        CommandState.HELD,
        f"{entity} {first.qbo_id} in QuickBooks is not what was asked, and the company policy (on_difference) holds the next.",
        "`qbo-writer audit discrepancies` shows the difference. Correct it, or say that it is in order: `qbo-writer audit accept"
        f" {known.realm} {entity} {first.qbo_id}`; then this document goes on by itself.",
        Code.DISCREPANCY,
    )


# --------------------------------------------------------------------------------------------------------------------- SQL


async def still_open(pool: Pool, realm: str) -> list[Discrepancy]:
    """Read what was found and is not known to be mended."""
    rows = await pool.fetch(
        "SELECT * FROM qbo_writer.discrepancies WHERE realm = $1 AND resolved_at IS NULL ORDER BY found_at", realm
    )
    return [
        Discrepancy(
            r["what"], r["entity"], r["qbo_id"], r["doc_number"], r["reason"], r["fix"], r["document_id"], r["found_at"],
            amount=r["amount"], asked=r["asked"],
        )
        for r in rows
    ]  # fmt: skip


async def keep(connection: Connection, realm: str, found: Sequence[Discrepancy]) -> list[Discrepancy]:
    """Keep what was found; return what was not known, to be told."""
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


async def mend(connection: Connection, realm: str, mended: Sequence[Discrepancy]) -> None:
    """Note what is in order again."""
    for d in mended:
        await connection.execute(
            "UPDATE qbo_writer.discrepancies SET resolved_at = now() "
            "WHERE realm = $1 AND entity = $2 AND qbo_id = $3 AND what = $4 AND resolved_at IS NULL",
            realm, d.entity, d.qbo_id, d.what,
        )  # fmt: skip
    if any(d.what == NOT_AS_ASKED for d in mended):
        await _release(connection, realm)


async def as_asked(connection: Connection, realm: str, documents: Collection[int]) -> None:
    """Note that these documents are in QuickBooks as they were asked, or no longer there."""
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
    """A person says that a document is right as it is; return how many documents that were held for it go on."""
    async with transaction(pool) as connection:
        accepted = await connection.fetch(
            "UPDATE qbo_writer.discrepancies SET resolved_at = now() "
            "WHERE realm = $1 AND entity = $2 AND qbo_id = $3 AND what = $4 AND resolved_at IS NULL RETURNING document_id",
            realm, entity, qbo_id, NOT_AS_ASKED,
        )  # fmt: skip
        if not accepted:
            raise BookrelayError(
                f"{entity} {qbo_id} of company {realm} is not waiting for anybody's word.",
                "See `qbo-writer audit discrepancies`.",
            )
        released = await _release(connection, realm)
        about = {"document": accepted[0]["document_id"], "entity": entity, "qbo_id": qbo_id, "released": released}
        await decisions.record(connection, realm, person, "accept", about)
        return released


async def _release(connection: Connection, realm: str) -> int:
    """What was held for a difference is due again, where none of its kind is left."""
    rows = await connection.fetch(
        "SELECT DISTINCT entity FROM qbo_writer.discrepancies WHERE realm = $1 AND what = $2 AND resolved_at IS NULL",
        realm, NOT_AS_ASKED,
    )  # fmt: skip
    left = {row["entity"] for row in rows}
    status: str = await connection.execute(
        "UPDATE qbo_writer.commands c SET state = 'due', failures = 0, due_at = clock_timestamp() FROM qbo_writer.documents d "
        "WHERE c.realm = $1 AND c.state = 'held' AND c.code = $2 AND c.kind = ANY($3::text[]) "
        "AND d.id = c.document_id AND d.newest_version = c.version",
        realm, Code.DISCREPANCY.value, [kind.value for entity, kind in KIND.items() if entity not in left],
    )  # fmt: skip
    return int(status.rpartition(" ")[2])
