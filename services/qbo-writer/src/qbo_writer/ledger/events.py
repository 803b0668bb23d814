"""Events that wait in the outbox, as people ask for them. Reads only."""

from dataclasses import dataclass
from datetime import datetime

from bookrelay.db import Pool


@dataclass(frozen=True)
class Waiting:
    """How many events are not published, and since when."""

    events: int
    since: datetime | None


async def waiting(pool: Pool) -> Waiting:
    """Return how many events wait, and for how long the oldest."""
    row = await pool.fetchrow(
        "SELECT count(*) AS n, min(created_at) AS since FROM qbo_writer.outbox WHERE published_at IS NULL AND parked_at IS NULL"
    )
    return Waiting(row["n"], row["since"])


async def pending(pool: Pool) -> int:
    """Return how many events wait."""
    found: int = await pool.fetchval("SELECT count(*) FROM qbo_writer.outbox WHERE published_at IS NULL AND parked_at IS NULL")
    return found
