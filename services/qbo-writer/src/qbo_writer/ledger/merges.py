"""Merges made in QuickBooks: reported by a webhook or found by the change feed, applied once, kept for ever.

Kept because sources keep sending the loser's name, which means the survivor. SQL only; `merging` decides what is a merge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bookrelay.db import Connection, Pool

from qbo_writer.domain import NAMES_SOURCE, PARTY_KINDS, LedgerKind
from qbo_writer.ledger.lease import fenced
from qbo_writer.ledger.records import DocumentState
from qbo_writer.ledger.rows import KNOWN, known_of
from qbo_writer.lists import Entry, Merge, kind_of, pattern
from qbo_writer.names import alike, fold, own


@dataclass(frozen=True)
class Survivors:
    """The survivors of merges, by the loser (entity, Id) and by its folded name (entity, name)."""

    by_id: dict[Entry, str]
    by_name: dict[tuple[str, str], str]


async def tell(pool: Pool, merges: Sequence[tuple[str, Merge]]) -> None:
    """Store merges reported by a webhook (company, merge) for the lease holder to apply. Idempotent."""
    await pool.executemany(
        "INSERT INTO qbo_writer.merges (realm, entity, loser, winner) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        [(realm, merge.entity, merge.loser, merge.winner) for realm, merge in merges],
    )


async def pending(pool: Pool, realm: str) -> list[Merge]:
    """Read reported merges that are not applied yet."""
    rows = await pool.fetch("SELECT entity, loser, winner FROM qbo_writer.merges WHERE realm = $1 AND applied_at IS NULL", realm)
    return [Merge(row["entity"], row["loser"], row["winner"]) for row in rows]


async def survivors(pool: Pool, realm: str) -> Survivors:
    """Read all merges of a company."""
    rows = await pool.fetch(
        "SELECT m.entity, m.loser, m.winner, m.name_folded, r.name, r.active FROM qbo_writer.merges m "
        "LEFT JOIN qbo_writer.references r ON (r.realm, r.entity, r.qbo_id) = (m.realm, m.entity, m.loser) WHERE m.realm = $1",
        realm,
    )
    return Survivors(
        {(row["entity"], row["loser"]): row["winner"] for row in rows},
        {(row["entity"], _name_of(row)): row["winner"] for row in rows if row["name_folded"]},
    )


def _name_of(row: Any) -> str:
    """Return the loser's folded name; the merge keeps the form that similar names share."""
    for name in (row["name"], own(row["name"], active=row["active"])) if row["name"] else ():
        if alike(name) == row["name_folded"]:
            return fold(name)
    return str(row["name_folded"])


async def apply(connection: Connection, realm: str, merge: Merge) -> None:
    """Replace the loser by the survivor everywhere in the ledger, open requests included.

    The loser's document then stands for the survivor: nothing is created again under the loser's name.
    """
    entity, loser = merge.entity, merge.loser
    winner = await connection.fetchval(  # which may have been merged away in turn
        "SELECT coalesce((SELECT winner FROM qbo_writer.merges WHERE realm = $1 AND entity = $2 AND loser = $3), $3)",
        realm, entity, merge.winner,
    )  # fmt: skip
    kind = kind_of(entity)
    await connection.execute(
        "INSERT INTO qbo_writer.merges AS m (realm, entity, loser, winner, name_folded, applied_at) SELECT $1, $2, $3, $4, "
        "coalesce((SELECT name_folded FROM qbo_writer.references WHERE realm = $1 AND entity = $2 AND qbo_id = $3), "
        "(SELECT source_key FROM qbo_writer.documents WHERE realm = $1 AND source = $6 AND kind = $5 AND qbo_id = $3 LIMIT 1)), "
        "clock_timestamp() ON CONFLICT (realm, entity, loser) DO UPDATE SET winner = excluded.winner, "
        "name_folded = coalesce(m.name_folded, excluded.name_folded), applied_at = excluded.applied_at",
        realm, entity, loser, winner, kind, NAMES_SOURCE,
    )  # fmt: skip
    await connection.execute(
        "UPDATE qbo_writer.merges SET winner = $4 WHERE realm = $1 AND entity = $2 AND winner = $3", realm, entity, loser, winner
    )
    renamed = (
        "(SELECT jsonb_object_agg(key, CASE WHEN value = to_jsonb($2::text) AND key ~ $4 THEN to_jsonb($3::text) ELSE value END) "
        "FROM jsonb_each(fields))"
    )
    names = "EXISTS (SELECT 1 FROM jsonb_each_text(fields) WHERE value = $2 AND key ~ $4)"
    for table, which in (("documents", "qbo_id IS NOT NULL"), ("attempts", "state <> 'resolved'")):
        await connection.execute(
            f"UPDATE qbo_writer.{table} SET fields = {renamed} WHERE realm = $1 AND {which} "  # noqa: S608
            f"AND fields IS NOT NULL AND {names}",
            realm, loser, winner, pattern(entity),
        )  # fmt: skip
    await connection.execute(
        "UPDATE qbo_writer.documents SET qbo_id = $4, status = 'present', fields = '{}', diverged = false, differences = NULL, "
        "updated_at = clock_timestamp() WHERE realm = $1 AND source = $5 AND kind = $2 AND qbo_id = $3",
        realm, kind, loser, winner, NAMES_SOURCE,
    )  # fmt: skip
    if kind is LedgerKind.VENDOR:
        await connection.execute(
            "UPDATE qbo_writer.commands SET content = jsonb_set(content, '{vendor_id}', to_jsonb($3::text)) WHERE realm = $1 "
            "AND kind = 'bill_payment' AND state IN ('due', 'received', 'held', 'waiting', 'rejected') "
            "AND content->>'vendor_id' = $2",
            realm, loser, winner,
        )  # fmt: skip


class Merges:
    """Merges of list entries made in QuickBooks."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def record_merges(self, told: Sequence[tuple[str, Merge]]) -> None:
        """Store merges (company, merge) reported by Intuit. Unfenced: an inbox; the lease holder applies them."""
        await tell(self._pool, told)

    async def pending(self, realm: str) -> list[Merge]:
        """Read reported merges that are not applied."""
        return await pending(self._pool, realm)

    async def survivors(self, realm: str) -> dict[Entry, str]:
        """Read the survivors of merges, by the loser."""
        return (await survivors(self._pool, realm)).by_id

    async def apply(self, realm: str, fencing_token: int, found: Sequence[Merge]) -> None:
        """Replace the losers by the survivors."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            for one in found:
                await apply(connection, realm, one)

    async def naming(self, realm: str, entry: Entry) -> DocumentState | None:
        """Read one live document that refers to this list entry."""
        entity, qbo_id = entry
        row = await self._pool.fetchrow(
            f"SELECT {KNOWN} FROM qbo_writer.documents d WHERE realm = $1 AND kind <> ALL($4::text[]) "  # noqa: S608
            "AND status = 'present' AND NOT diverged AND EXISTS (SELECT 1 FROM jsonb_each_text(d.fields) "
            "WHERE value = $2 AND key ~ $3) LIMIT 1",
            realm, qbo_id, pattern(entity), [kind.value for kind in PARTY_KINDS],
        )  # fmt: skip
        return known_of(row) if row else None
