"""What only one process knows and a person must see to, kept for everybody: the rows of `process_problems`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bookrelay.db import Pool, transaction


@dataclass(frozen=True)
class KeptProblem:
    """A problem, as a process keeps it; read again its `details` name that process, too."""

    what: str
    since: datetime | None
    reason: str
    fix: str
    details: dict[str, Any] = field(default_factory=dict)


async def keep(pool: Pool, holder: str, problems: Sequence[KeptProblem]) -> None:
    """Keep the problems of a process in place of what it kept before; forget what others kept long ago."""
    async with transaction(pool) as connection:
        await connection.execute(
            "DELETE FROM qbo_writer.process_problems WHERE holder = $1 OR seen_at < now() - interval '1 hour'", holder
        )
        await connection.executemany(
            "INSERT INTO qbo_writer.process_problems (holder, number, what, since, reason, fix, details) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7)",
            [(holder, n, p.what, p.since, p.reason, p.fix, p.details) for n, p in enumerate(problems)],
        )


async def kept(pool: Pool, seconds: float) -> list[KeptProblem]:
    """Return what was kept within so many seconds, oldest first."""
    rows = await pool.fetch(
        "SELECT what, since, reason, fix, details || jsonb_build_object('process', holder) AS details "
        "FROM qbo_writer.process_problems WHERE seen_at > now() - make_interval(secs => $1) ORDER BY since, holder, number",
        seconds,
    )
    return [KeptProblem(**row) for row in rows]
