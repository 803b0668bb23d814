"""The companies' rows: halts, pace, requestid proofs, and metrics of the backlog."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bookrelay import metrics, outbox, topics
from bookrelay.db import Pool
from bookrelay.messages import Priority

from qbo_writer.domain import SCHEMA, OperatorAct
from qbo_writer.ledger import records
from qbo_writer.ledger.lease import fenced, update_fenced
from qbo_writer.ledger.records import RealmRow

COUNTED = 1000  # of a kind: how many more than that wait costs more to know than it is worth every few seconds

_READ = "SELECT *, clock_timestamp() AS read_at FROM qbo_writer.realms WHERE realm = $1"
_GAUGES = f"""
SELECT n.realm,
  (SELECT count(*) FROM (SELECT 1 FROM qbo_writer.commands WHERE realm = n.realm AND state = 'due'
    ORDER BY priority, due_at LIMIT {COUNTED}) c) AS due,  -- ordered as an index is: else a large backlog is read as a table
  -- The first of each priority, by the index that claims.
  (SELECT extract(epoch FROM now() - min(first.due_at))::float8 FROM generate_series(0, {len(Priority) - 1}) AS p(priority)
    CROSS JOIN LATERAL (SELECT due_at FROM qbo_writer.commands WHERE realm = n.realm AND state = 'due'
      AND priority = p.priority ORDER BY due_at LIMIT 1) first) AS age,
  (SELECT count(*) FROM (SELECT 1 FROM qbo_writer.documents WHERE realm = n.realm AND held LIMIT {COUNTED}) c) AS held,
  a.sending, a.unknown,
  (SELECT jsonb_object_agg(what, n) FROM (SELECT what, count(*) AS n FROM (SELECT what FROM qbo_writer.discrepancies
    WHERE realm = n.realm AND resolved_at IS NULL LIMIT {COUNTED}) d GROUP BY what) o) AS discrepancies,
  extract(epoch FROM r.swept_at)::float8 AS swept,
  CASE WHEN coalesce(r.feed_paging, '{{}}'::jsonb) = '{{}}'::jsonb
    THEN extract(epoch FROM clock_timestamp() - r.feed_position)::float8 END AS lag
FROM unnest($1::text[]) AS n(realm) LEFT JOIN qbo_writer.realms r USING (realm) CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE state = 'sending') AS sending, count(*) FILTER (WHERE state = 'unknown') AS unknown
  FROM (SELECT state FROM qbo_writer.attempts WHERE realm = n.realm AND state <> 'resolved'
    ORDER BY due_at LIMIT {COUNTED}) open) a
"""  # noqa: S608


class Realms:
    """The companies' rows: halts, pace, requestid proofs, and metrics of the backlog."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self, realm: str) -> RealmRow:
        """Read, or make, the company's row."""
        row = await self._pool.fetchrow(_READ, realm)
        if row is None:
            await self._pool.execute("INSERT INTO qbo_writer.realms (realm) VALUES ($1) ON CONFLICT DO NOTHING", realm)
            row = await self._pool.fetchrow(_READ, realm)
        return RealmRow(
            row["halted_code"], row["halted_reason"], row["halted_since"], row["requestid_proven"], row["batch_proven"],
            row["bounds_unreliable"], row["pace"] or {}, row["feed_position"], row["swept_at"],
            row["feed_paging"] or {}, row["feed_asked_at"], row["recover_since"], OperatorAct.of(row["operator_halt"]),
            OperatorAct.of(row["trial"]), row["feed_refusals"] or {}, row["probe"] or {}, row["read_at"],
        )  # fmt: skip

    async def set_halted(
        self, realm: str, fencing_token: int, code: str | None, reason: str | None, events: Sequence[Any], since: datetime
    ) -> None:
        """Halt the company (None: resume it), with the event."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            await connection.execute(
                "UPDATE qbo_writer.realms SET halted_code = $2, halted_reason = $3, halted_since = $4, trial = NULL, "
                "updated_at = now() WHERE realm = $1",
                realm, code, reason, since if code else None,
            )  # fmt: skip
            await outbox.add(connection, SCHEMA, topics.EVENTS, events)

    async def keep_pace(self, realm: str, fencing_token: int, pace: dict[str, Any]) -> None:
        """Keep the pacer's state, so that a restart does not burst."""
        await update_fenced(
            self._pool, realm, fencing_token,
            "UPDATE qbo_writer.realms SET pace = $3, updated_at = now() WHERE realm = $1", pace,
        )  # fmt: skip

    async def keep_probe(self, realm: str, fencing_token: int, kept: dict[str, Any], single: bool, batch: bool) -> None:
        """Store the state of the probe, and what is proven."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            await connection.execute(
                "UPDATE qbo_writer.realms SET probe = $2, requestid_proven = $3, batch_proven = $4 WHERE realm = $1",
                realm, kept, single, batch,
            )  # fmt: skip

    async def gauges(self, realms: Sequence[str]) -> None:
        """Publish what waits for these companies, as metrics. What can be many is counted up to COUNTED."""
        for row in await self._pool.fetch(_GAUGES, list(realms)):
            realm = row["realm"]
            metrics.COMMANDS_DUE.labels(realm).set(row["due"])
            metrics.COMMANDS_OLDEST_DUE_AGE.labels(realm).set(max(0.0, row["age"] or 0.0))
            metrics.DOCUMENTS_HELD.labels(realm).set(row["held"])
            metrics.ATTEMPTS_OPEN.labels(realm, "sending").set(row["sending"])
            metrics.ATTEMPTS_OPEN.labels(realm, "unknown").set(row["unknown"])
            for what in records.KINDS:
                metrics.DISCREPANCIES.labels(realm, what).set((row["discrepancies"] or {}).get(what, 0))
            if row["swept"] is not None:
                metrics.SWEPT.labels(realm).set(row["swept"])
            if row["lag"] is not None:  # of a company that rests nobody else looks at the clock
                metrics.QBO_FEED_LAG.labels(realm).set(max(0.0, row["lag"]))
