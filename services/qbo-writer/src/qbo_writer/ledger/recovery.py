"""The state of a recovery after a database restore: which companies wait for it, since when, and what it found.

While `recover_since` is set in a company's row, no writer posts for it, even after the recovery crashed.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from uuid import UUID

from bookrelay import messages as m
from bookrelay import outbox, topics
from bookrelay.db import Pool, transaction
from bookrelay.errors import Code

from qbo_writer.domain import SCHEMA, SENDER
from qbo_writer.ledger import discrepancies
from qbo_writer.ledger.lease import fenced
from qbo_writer.ledger.records import Discrepancy

REASON = "The database was restored: nothing is posted until QuickBooks has been compared with it."
FIX = "If `qbo-writer recover` is no longer running, run it again."
HALTED = Code.DISCREPANCY  # QuickBooks and the ledger may disagree


async def go_beyond_earlier_leases(pool: Pool, realms: Collection[str]) -> None:
    """Raise the fencing tokens above any given after the backup: tokens count from 1, these are epoch seconds."""
    await pool.execute(
        "UPDATE qbo_writer.leases SET fencing_token = greatest(fencing_token, extract(epoch FROM clock_timestamp())::bigint) "
        "WHERE realm = ANY($1::text[]) AND expires_at < clock_timestamp()",
        list(realms),
    )


async def holders(pool: Pool, realms: Collection[str]) -> dict[str, str]:
    """Return the current lease holders of these companies."""
    rows = await pool.fetch(
        "SELECT realm, holder FROM qbo_writer.leases WHERE realm = ANY($1::text[]) AND expires_at > clock_timestamp()",
        list(realms),
    )
    return {row["realm"]: row["holder"] for row in rows}


async def others(pool: Pool, realms: Collection[str]) -> list[str]:
    """Return the companies of this database that the caller does not serve."""
    rows = await pool.fetch(
        "SELECT realm FROM (SELECT realm FROM qbo_writer.realms UNION SELECT DISTINCT realm FROM qbo_writer.documents) r "
        "WHERE NOT realm = ANY($1::text[]) ORDER BY realm",
        list(realms),
    )
    return [row["realm"] for row in rows]


async def halt(pool: Pool, realm: str, since: datetime, fencing_token: int | None) -> None:
    """Halt the company for its recovery; an unfinished earlier run keeps its own start time.

    Without a fencing token: a company that another writer serves, which is stopped as well.
    """
    opened = transaction(pool) if fencing_token is None else fenced(pool, realm, fencing_token)
    async with opened as connection:
        await connection.execute("INSERT INTO qbo_writer.realms (realm) VALUES ($1) ON CONFLICT DO NOTHING", realm)
        before = await connection.fetchrow("SELECT recover_since FROM qbo_writer.realms WHERE realm = $1 FOR UPDATE", realm)
        now = datetime.now(UTC)
        await connection.execute(
            "UPDATE qbo_writer.realms SET recover_since = least(recover_since, $2), halted_code = $3, halted_reason = $4, "
            "halted_since = coalesce(halted_since, $5), told_at = now() WHERE realm = $1",
            realm, since, HALTED.value, f"{REASON} {FIX}", now,
        )  # fmt: skip
        if before["recover_since"] is None:
            data = m.RealmData(realm=realm, code=HALTED.value, reason=f"{REASON} {FIX}", since=now)
            await outbox.add(connection, SCHEMA, topics.EVENTS, [m.RealmHalted.of(data, sender=SENDER, time=now)])


async def resume(pool: Pool, realm: str, fencing_token: int) -> None:
    """End the recovery: the company is served again, and its next sweep is due at once."""
    async with fenced(pool, realm, fencing_token) as connection:
        now = datetime.now(UTC)
        await connection.execute(
            "UPDATE qbo_writer.realms SET recover_since = NULL, halted_code = NULL, halted_reason = NULL, halted_since = NULL, "
            "swept_at = least(swept_at, recover_since) - interval '1 day', told_at = now() WHERE realm = $1",
            realm,
        )
        reason = "QuickBooks has been compared with the restored database."
        data = m.RealmData(realm=realm, code=HALTED.value, reason=reason, since=now)
        await outbox.add(connection, SCHEMA, topics.EVENTS, [m.RealmResumed.of(data, sender=SENDER, time=now)])


async def recorded(pool: Pool, ids: Collection[UUID]) -> set[UUID]:
    """Return which of these commands the ledger has."""
    rows = await pool.fetch("SELECT id FROM qbo_writer.commands WHERE id = ANY($1::uuid[])", list(ids))
    return {row["id"] for row in rows}


async def keep(pool: Pool, realm: str, fencing_token: int, found: Sequence[Discrepancy]) -> int:
    """Store and publish documents with a marker unknown to the ledger; return how many are new."""
    if not found:
        return 0
    async with fenced(pool, realm, fencing_token) as connection:
        fresh = await discrepancies.keep(connection, realm, found)
        await outbox.add(connection, SCHEMA, topics.EVENTS, [discrepancies.told(realm, d) for d in fresh])
    return len(fresh)
