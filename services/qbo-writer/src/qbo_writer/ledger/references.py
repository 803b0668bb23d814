"""QuickBooks' lists as they are kept across restarts: their entries, and how far the names were read.

They are facts about QuickBooks, no decisions: they need no fence.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from bookrelay.db import Connection, Pool, transaction

_KEPT = "entity, qbo_id, name, name_folded, active"


@dataclass(frozen=True)
class KeptEntry:
    """An entry of a list, as it is kept. `age`: for how many seconds, where a whole list is read."""

    entity: str
    qbo_id: str
    name: str
    name_folded: str
    active: bool
    details: dict[str, Any] = field(default_factory=dict)
    age: float = 0.0


class ReferenceRows:
    """Reads and writes the rows of lists."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def keep(self, realm: str, entries: Sequence[KeptEntry], within: Connection | None = None) -> None:
        """Keep entries; `within`: in the caller's transaction."""
        await _keep(self._pool if within is None else within, realm, entries)

    async def keep_list(self, realm: str, entity: str, entries: Sequence[KeptEntry]) -> None:
        """Keep a list as a whole, in the place of what was kept of it."""
        async with transaction(self._pool) as connection:
            await connection.execute("DELETE FROM qbo_writer.references WHERE realm = $1 AND entity = $2", realm, entity)
            await _keep(connection, realm, entries)

    async def list_of(self, realm: str, entity: str) -> list[KeptEntry]:
        """Return a whole list, each entry with its age."""
        rows = await self._pool.fetch(
            f"SELECT {_KEPT}, details, extract(epoch FROM now() - seen_at)::float8 AS age "  # noqa: S608
            "FROM qbo_writer.references WHERE realm = $1 AND entity = $2",
            realm,
            entity,
        )
        return [KeptEntry(**row) for row in rows]

    async def folded(self, realm: str, entities: Sequence[str], folded: Sequence[str]) -> list[KeptEntry]:
        """Return the entries of these lists that have one of these folded names."""
        rows = await self._pool.fetch(
            f"SELECT {_KEPT}, details FROM qbo_writer.references WHERE realm = $1 "  # noqa: S608
            "AND entity = ANY($2::text[]) AND name_folded = ANY($3::text[])",
            realm, list(entities), list(folded),
        )  # fmt: skip
        return [KeptEntry(**row) for row in rows]

    async def lately(self, realm: str, entity: str, folded: str, seconds: float) -> list[KeptEntry]:
        """Return the active entries with this folded name that were kept within so many seconds, without details."""
        rows = await self._pool.fetch(
            f"SELECT {_KEPT} FROM qbo_writer.references WHERE realm = $1 AND entity = $2 "  # noqa: S608
            "AND name_folded = $3 AND active AND seen_at > now() - make_interval(secs => $4)",
            realm, entity, folded, seconds,
        )  # fmt: skip
        return [KeptEntry(**row) for row in rows]

    async def doubt(self, realm: str, entries: Collection[tuple[str, str]]) -> list[str]:
        """Let these entries (entity, Id) be inactive; return their folded names."""
        doubted = await self._pool.fetch(
            "UPDATE qbo_writer.references r SET active = false FROM unnest($2::text[], $3::text[]) AS t(entity, qbo_id) "
            "WHERE r.realm = $1 AND r.entity = t.entity AND r.qbo_id = t.qbo_id RETURNING r.name_folded",
            realm, [entity for entity, _ in entries], [id_ for _, id_ in entries],
        )  # fmt: skip
        return [row["name_folded"] for row in doubted]

    async def forget_lists(self, realm: str, entities: Sequence[str]) -> None:
        """Drop everything of these lists."""
        await self._pool.execute(
            "DELETE FROM qbo_writer.references WHERE realm = $1 AND entity = ANY($2::text[])", realm, list(entities)
        )

    async def forget_all(self, realm: str) -> None:
        """Drop everything of a company, and how far its names were read."""
        await self._pool.execute("UPDATE qbo_writer.realms SET names_read = '{}' WHERE realm = $1", realm)
        await self._pool.execute("DELETE FROM qbo_writer.references WHERE realm = $1", realm)

    async def names_read(self, realm: str) -> dict[str, Any]:
        """Return how far each list of names was read, by its entity."""
        return await self._pool.fetchval("SELECT names_read FROM qbo_writer.realms WHERE realm = $1", realm) or {}

    async def keep_names_read(self, realm: str, cursors: dict[str, Any]) -> None:
        """Keep how far these lists of names were read, by their entity; what is kept of others stays."""
        await self._pool.execute(
            "INSERT INTO qbo_writer.realms AS r (realm, names_read) VALUES ($1, $2) ON CONFLICT (realm) DO UPDATE "
            "SET names_read = r.names_read || excluded.names_read",
            realm, cursors,
        )  # fmt: skip


async def _keep(connection: Connection | Pool, realm: str, entries: Sequence[KeptEntry]) -> None:
    await connection.executemany(
        "INSERT INTO qbo_writer.references (realm, entity, qbo_id, name, name_folded, active, details, seen_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, now()) ON CONFLICT (realm, entity, qbo_id) DO UPDATE SET name = excluded.name, "
        "name_folded = excluded.name_folded, active = excluded.active, details = excluded.details, seen_at = now()",
        [(realm, one.entity, one.qbo_id, one.name, one.name_folded, one.active, one.details) for one in entries],
    )
