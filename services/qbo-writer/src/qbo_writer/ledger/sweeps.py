"""What the daily sweep looks for and finds."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from bookrelay import outbox, topics
from bookrelay.db import Pool

from qbo_writer.domain import SCHEMA, LedgerKind
from qbo_writer.ledger import discrepancies
from qbo_writer.ledger.lease import fenced
from qbo_writer.ledger.records import Discrepancy, DocumentState, MarkedDocument, Telling
from qbo_writer.ledger.rows import KNOWN, NEWEST_FIRST, known_of


class Sweeps:
    """What the daily sweep looks for and finds."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def marked(self, realm: str, markers: Sequence[str]) -> dict[str, MarkedDocument]:
        """Read the documents with these markers, and whether they have an open request."""
        rows = await self._pool.fetch(
            f"SELECT {KNOWN}, EXISTS (SELECT 1 FROM qbo_writer.attempts a WHERE a.document_id = d.id AND a.state <> 'resolved') "  # noqa: S608
            "AS open FROM qbo_writer.documents d WHERE realm = $1 AND marker = ANY($2::text[])",
            realm, list(markers),
        )  # fmt: skip
        return {row["d_marker"]: MarkedDocument(known_of(row), row["open"]) for row in rows}

    async def to_look_for(self, realm: str, kind: LedgerKind, since: datetime, part: int, parts: int) -> list[DocumentState]:
        """Read the live documents created since then and a part of the older ones, without open attempts."""
        rows = await self._pool.fetch(
            f"SELECT {KNOWN} FROM qbo_writer.documents d WHERE realm = $1 AND kind = $2 "  # noqa: S608
            "AND (created_at >= $3 OR id % $5 = $4) AND qbo_id IS NOT NULL "
            "AND status IN ('present', 'voided') AND NOT diverged AND updated_at < now() - interval '10 minutes' "
            "AND NOT EXISTS (SELECT 1 FROM qbo_writer.attempts a WHERE a.document_id = d.id AND a.state <> 'resolved')",
            realm, kind.value, since, part, parts,
        )  # fmt: skip
        return [known_of(row) for row in rows]

    async def discrepancies(self, realm: str) -> list[Discrepancy]:
        """Read the open discrepancies."""
        return await discrepancies.still_open(self._pool, realm)

    async def decided(self, documents: Collection[int]) -> set[int]:
        """Return which of these documents, once missing from QuickBooks, are settled: created again, or left as they are."""
        rows = await self._pool.fetch(
            "SELECT d.id FROM qbo_writer.documents d "  # noqa: S608
            "WHERE d.id = ANY($1::bigint[]) AND (d.status <> 'gone' OR NOT d.diverged "
            f"OR (SELECT state = 'skipped' FROM qbo_writer.commands WHERE document_id = d.id ORDER BY {NEWEST_FIRST} LIMIT 1))",
            list(documents),
        )
        return {row["id"] for row in rows}

    async def keep(
        self, realm: str, fencing_token: int, found: Sequence[Discrepancy], resolved: Sequence[Discrepancy], told: Telling,
        refusals: Mapping[str, Any],
    ) -> list[Discrepancy]:  # fmt: skip
        """Store what a sweep found, and the kinds it was refused for; publish and return what is new."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            fresh = await discrepancies.keep(connection, realm, found)
            await discrepancies.resolve(connection, realm, resolved)
            await outbox.add(connection, SCHEMA, topics.EVENTS, [told(d) for d in fresh])
            await connection.execute(
                "UPDATE qbo_writer.realms SET swept_at = clock_timestamp(), sweep_refusals = $2 WHERE realm = $1",
                realm, dict(refusals),
            )  # fmt: skip
        return fresh

    async def refusals(self, realm: str) -> dict[str, Any]:
        """Read the kinds that the last sweep was refused for."""
        kept = await self._pool.fetchval("SELECT sweep_refusals FROM qbo_writer.realms WHERE realm = $1", realm)
        return dict(kept or {})

    async def begin(self, realm: str, fencing_token: int) -> None:
        """Schedule the first sweep of a new company a day from now: there is nothing to compare yet."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            await connection.execute("UPDATE qbo_writer.realms SET swept_at = now() WHERE realm = $1 AND swept_at IS NULL", realm)
