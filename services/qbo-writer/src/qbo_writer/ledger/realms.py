"""The companies' rows: halts, pace, requestid proofs, and metrics of the backlog."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bookrelay import metrics, outbox, topics
from bookrelay.db import Pool

from qbo_writer.domain import SCHEMA, OperatorAct
from qbo_writer.ledger import records
from qbo_writer.ledger.lease import fenced
from qbo_writer.ledger.records import RealmRow


class Realms:
    """The companies' rows: halts, pace, requestid proofs, and metrics of the backlog."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self, realm: str) -> RealmRow:
        """Read the company's row, or insert it."""
        row = await self._pool.fetchrow("SELECT * FROM qbo_writer.realms WHERE realm = $1", realm)
        if row is None:
            await self._pool.execute("INSERT INTO qbo_writer.realms (realm) VALUES ($1) ON CONFLICT DO NOTHING", realm)
            row = await self._pool.fetchrow("SELECT * FROM qbo_writer.realms WHERE realm = $1", realm)
        return RealmRow(
            row["halted_code"], row["halted_reason"], row["halted_since"], row["requestid_proven"], row["batch_proven"],
            row["bounds_unreliable"], row["pace"] or {}, row["feed_position"], row["swept_at"],
            row["feed_paging"] or {}, row["feed_asked_at"], row["recover_since"], OperatorAct.of(row["operator_halt"]),
            OperatorAct.of(row["trial"]), row["feed_refusals"] or {},
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
        """Store the pacer's state, so that a restart does not burst."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            await connection.execute("UPDATE qbo_writer.realms SET pace = $2, updated_at = now() WHERE realm = $1", realm, pace)

    async def probe(self, realm: str) -> dict[str, Any]:
        """Read the state of the requestid probe."""
        kept: dict[str, Any] | None = await self._pool.fetchval("SELECT probe FROM qbo_writer.realms WHERE realm = $1", realm)
        return kept or {}

    async def keep_probe(self, realm: str, fencing_token: int, kept: dict[str, Any], single: bool, batch: bool) -> None:
        """Store the state of the probe, and what is proven."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            await connection.execute(
                "UPDATE qbo_writer.realms SET probe = $2, requestid_proven = $3, batch_proven = $4 WHERE realm = $1",
                realm, kept, single, batch,
            )  # fmt: skip

    async def gauges(self, realm: str) -> None:
        """Export the backlog as metrics."""
        row = await self._pool.fetchrow(
            """
            SELECT (SELECT count(*) FROM qbo_writer.commands WHERE realm = $1 AND state = 'due') AS due,
              (SELECT extract(epoch FROM now() - min(due_at)) FROM qbo_writer.commands WHERE realm = $1 AND state = 'due') AS age,
              (SELECT count(*) FROM qbo_writer.documents WHERE realm = $1 AND held) AS held,
              (SELECT count(*) FROM qbo_writer.attempts WHERE realm = $1 AND state = 'sending') AS sending,
              (SELECT count(*) FROM qbo_writer.attempts WHERE realm = $1 AND state = 'unknown') AS unknown,
              (SELECT jsonb_object_agg(what, n) FROM (SELECT what, count(*) AS n FROM qbo_writer.discrepancies
                WHERE realm = $1 AND resolved_at IS NULL GROUP BY what) o) AS discrepancies,
              (SELECT extract(epoch FROM swept_at)::float8 FROM qbo_writer.realms WHERE realm = $1) AS swept
            """,
            realm,
        )
        metrics.COMMANDS_DUE.labels(realm).set(row["due"])
        metrics.COMMANDS_OLDEST_DUE_AGE.labels(realm).set(max(0.0, float(row["age"] or 0)))
        metrics.DOCUMENTS_HELD.labels(realm).set(row["held"])
        metrics.ATTEMPTS_OPEN.labels(realm, "sending").set(row["sending"])
        metrics.ATTEMPTS_OPEN.labels(realm, "unknown").set(row["unknown"])
        for what in records.KINDS:
            metrics.DISCREPANCIES.labels(realm, what).set((row["discrepancies"] or {}).get(what, 0))
        if row["swept"] is not None:
            metrics.SWEPT.labels(realm).set(row["swept"])
