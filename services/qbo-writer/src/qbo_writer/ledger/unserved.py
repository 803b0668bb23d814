"""Companies that commands name and no writer serves: which they are, and which were published (`unserved`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from bookrelay import outbox, topics
from bookrelay.db import Pool, transaction
from bookrelay.messages import AnyMessage

from qbo_writer.domain import SCHEMA


@dataclass(frozen=True)
class Unserved:
    """A company that nobody serves, how many due commands name it, and whose."""

    realm: str
    commands: int
    sources: list[str]
    since: datetime


@dataclass(frozen=True)
class Over:
    """A company that is served again (`served`), or for which no command is due any more."""

    realm: str
    served: bool


async def named(pool: Pool, seconds: float) -> list[Unserved]:
    """Return each company that due commands name and for which no writer has held the lease for so many seconds.

    Cheap while all are served: the companies are found by skipping along an index.
    """
    rows = await pool.fetch(
        """
        WITH RECURSIVE named AS (
          (SELECT realm FROM qbo_writer.commands WHERE state = 'due' ORDER BY realm LIMIT 1)
          UNION ALL
          SELECT (
            SELECT c.realm FROM qbo_writer.commands c WHERE c.state = 'due' AND c.realm > named.realm ORDER BY c.realm LIMIT 1)
          FROM named WHERE named.realm IS NOT NULL
        ), lonely AS MATERIALIZED (  -- before what waits is counted: a backlog of a company that is served is none of this
          SELECT n.realm, l.expires_at FROM named n LEFT JOIN qbo_writer.leases l USING (realm)
          WHERE n.realm IS NOT NULL AND (l.realm IS NULL OR l.expires_at < clock_timestamp() - make_interval(secs => $1))
        )
        SELECT n.realm, w.commands, w.sources, greatest(n.expires_at, w.oldest) AS since FROM lonely n
        CROSS JOIN LATERAL (
          SELECT count(*) AS commands, min(c.recorded_at) AS oldest, array_agg(DISTINCT d.source ORDER BY d.source) AS sources
          FROM qbo_writer.commands c JOIN qbo_writer.documents d ON d.id = c.document_id
          WHERE c.realm = n.realm AND c.state = 'due'
        ) w
        WHERE w.oldest < clock_timestamp() - make_interval(secs => $1) ORDER BY 1
        """,
        seconds,
    )
    return [Unserved(**row) for row in rows]


async def note(
    pool: Pool, realms: Sequence[str], told: Callable[[Sequence[str], Sequence[Over]], Sequence[AnyMessage]]
) -> tuple[list[str], list[Over]]:
    """Note these companies as told, and forget those for which it is over; return which were not noted, and which are over.

    `told` gives the events for both, which are one commit with it.
    """
    async with transaction(pool) as connection:
        rows = await connection.fetch(
            "INSERT INTO qbo_writer.unserved (realm) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING RETURNING realm",
            list(realms),
        )
        fresh = [row["realm"] for row in rows]
        ended = await connection.fetch(
            """
            DELETE FROM qbo_writer.unserved u USING (
              SELECT n.realm, coalesce(l.expires_at > clock_timestamp(), false) AS served,
                EXISTS (SELECT 1 FROM qbo_writer.commands c WHERE c.realm = n.realm AND c.state = 'due') AS named
              FROM qbo_writer.unserved n LEFT JOIN qbo_writer.leases l USING (realm)) t
            WHERE u.realm = t.realm AND (t.served OR NOT t.named) RETURNING u.realm, t.served
            """
        )
        over = [Over(**row) for row in ended]
        await outbox.add(connection, SCHEMA, topics.EVENTS, told(fresh, over))
    return fresh, over


async def has_due(pool: Pool, realm: str) -> bool:
    """Whether a command waits for a company."""
    found: bool = await pool.fetchval(
        "SELECT EXISTS (SELECT 1 FROM qbo_writer.commands WHERE realm = $1 AND state = 'due')", realm
    )
    return found
