"""The attempts log: what was sent and answered, append-only, hash-chained for each company; pruned from the old end.

It has facts (hashes, codes, times) and redacted bodies, never tokens, names or notes. Contents are in the ledger.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bookrelay.db import Connection, Pool, transaction

GENESIS = "0" * 64
PRUNED_AT_ONCE = 2000


def link(previous: str, entry: dict[str, Any]) -> str:
    """Return the hash of an entry that follows `previous`."""
    plain = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(f"{previous}\n{plain}".encode()).hexdigest()


async def append(
    connection: Connection, realm: str, entries: Sequence[tuple[int, dict[str, Any]]], head: str | None = None
) -> str | None:
    """Append (attempt id, entry) in the ledger's fenced transaction: only the lease holder writes, one commit at a time.

    `head`: the hash of the newest entry, if the caller knows it. Returns the new head.
    """
    if not entries:
        return head
    # No extra lock: the holder's commits are queued in one process, and a successor's wait for the lease row.
    previous = head or await connection.fetchval(
        "SELECT hash FROM qbo_writer.attempt_log WHERE realm = $1 ORDER BY id DESC LIMIT 1", realm
    )
    previous = previous or GENESIS
    rows = []
    for attempt_id, entry in entries:
        current = link(previous, entry)
        rows.append((attempt_id, json.dumps(entry), previous, current))
        previous = current
    await connection.execute(
        "INSERT INTO qbo_writer.attempt_log (realm, attempt_id, entry, previous_hash, hash) "
        "SELECT $1, t.attempt_id, t.entry::jsonb, t.previous, t.current "
        "FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[]) "
        "WITH ORDINALITY AS t(attempt_id, entry, previous, current, i) ORDER BY t.i",
        realm, [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], [r[3] for r in rows],
    )  # fmt: skip
    return str(previous)


@dataclass(frozen=True)
class Verified:
    """The result of verifying a chain."""

    realm: str
    log: str  # attempt_log | decision_log
    entries: int
    broken_at: int | None  # id of the first entry that does not match
    head: str  # keep a copy elsewhere: only that shows whether the newest entries were cut off


async def verify(pool: Pool, realm: str, log: Literal["attempt_log", "decision_log"] = "attempt_log") -> Verified:
    """Verify a chain from its oldest entry, which must follow the last pruned one, to its newest."""
    count = 0
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        pruned = log == "attempt_log"
        anchor = await connection.fetchval("SELECT log_anchor FROM qbo_writer.realms WHERE realm = $1 AND $2", realm, pruned)
        previous: str = anchor or GENESIS
        async for row in connection.cursor(
            f"SELECT id, entry, previous_hash, hash FROM qbo_writer.{log} WHERE realm = $1 ORDER BY id",  # noqa: S608
            realm,
        ):
            if row["previous_hash"] != previous or link(previous, row["entry"]) != row["hash"]:
                return Verified(realm, log, count, row["id"], previous)
            count, previous = count + 1, row["hash"]
    return Verified(realm, log, count, None, previous)


async def prune(pool: Pool, realm: str, days: int) -> int:
    """Delete entries older than `days`, oldest first, without a gap; the last deleted entry's hash is kept as the anchor."""
    pruned = 0
    while True:
        async with transaction(pool) as connection:
            await connection.execute(  # locks the company's row: concurrent prunes are serialised
                "INSERT INTO qbo_writer.realms (realm) VALUES ($1) ON CONFLICT (realm) DO UPDATE SET updated_at = now()", realm
            )
            last = await connection.fetchrow(
                # Of the oldest entries those before the first that is to stay; the newest of all stays.
                "SELECT id, hash FROM "
                "(SELECT id, hash, bool_and(at < now() - make_interval(days => $2)) OVER (ORDER BY id) AS old FROM "
                "(SELECT id, hash, at FROM qbo_writer.attempt_log WHERE realm = $1 ORDER BY id LIMIT $3) oldest) o "
                "WHERE old AND id < (SELECT max(id) FROM qbo_writer.attempt_log WHERE realm = $1) ORDER BY id DESC LIMIT 1",
                realm, days, PRUNED_AT_ONCE,
            )  # fmt: skip
            if last is None:
                return pruned
            status: str = await connection.execute(
                "DELETE FROM qbo_writer.attempt_log WHERE realm = $1 AND id <= $2", realm, last["id"]
            )
            await connection.execute("UPDATE qbo_writer.realms SET log_anchor = $2 WHERE realm = $1", realm, last["hash"])
        pruned += int(status.rpartition(" ")[2])
