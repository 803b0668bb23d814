"""A poller's cursor: the position up to which its source was read. It moves in the transaction that commits what was read."""

from datetime import datetime

from bookrelay.db import Connection, Pool


async def read(pool: Pool, schema: str, name: str) -> datetime | None:
    """Return the cursor's position, or None before its first move."""
    value = await pool.fetchval(f"SELECT position FROM {schema}.cursor WHERE name = $1", name)  # noqa: S608
    return value if isinstance(value, datetime) else None


async def move(connection: Connection | Pool, schema: str, name: str, position: datetime) -> None:
    """Move the cursor forward; it never moves back, so two pollers cannot undo each other."""
    await connection.execute(
        f"INSERT INTO {schema}.cursor AS c (name, position) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE "  # noqa: S608
        "SET position = greatest(c.position, excluded.position), moved_at = now()",
        name,
        position,
    )
