"""How companies stand, as people and /health/ready ask for it. Reads only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bookrelay.db import Pool


@dataclass(frozen=True)
class CompanyState:
    """A company's own rows, as far as they can need a person. `state`, `reason`: of its tokens; None: there are none."""

    realm: str
    halted_code: str | None
    halted_reason: str | None
    halted_since: datetime | None
    state: str | None
    reason: str | None
    operator_halt: dict[str, Any] | None
    token_failing_since: datetime | None
    token_error: str | None
    lease_live: bool
    feed_position: datetime | None
    feed_paging: dict[str, Any] | None
    feed_failures: int
    feed_failing_since: datetime | None
    feed_error: str | None
    feed_refusals: dict[str, Any] | None
    sweep_refusals: dict[str, Any] | None
    swept_at: datetime | None
    now: datetime


async def states(pool: Pool, realms: Sequence[str]) -> list[CompanyState]:
    """Return how these companies stand, also those without rows."""
    rows = await pool.fetch(
        """
        SELECT n.realm, r.halted_code, r.halted_reason, r.halted_since, t.state, t.reason,
          r.operator_halt, r.token_failing_since, r.token_error,
          coalesce(l.expires_at > clock_timestamp(), false) AS lease_live, r.feed_position, r.feed_paging,
          coalesce(r.feed_failures, 0) AS feed_failures, r.feed_failing_since, r.feed_error, r.feed_refusals, r.sweep_refusals,
          r.swept_at, clock_timestamp() AS now
        FROM unnest($1::text[]) AS n(realm) LEFT JOIN qbo_writer.realms r USING (realm)
        LEFT JOIN qbo_writer.leases l USING (realm) LEFT JOIN qbo_writer.tokens t USING (realm) ORDER BY 1
        """,
        list(realms),
    )
    return [CompanyState(**row) for row in rows]


async def overview(pool: Pool, realms: Sequence[str]) -> list[dict[str, Any]]:
    """Return what `qbo-writer status` shows of these companies, and of every other one that has rows."""
    rows = await pool.fetch(
        """
        SELECT r.realm, r.halted_code, r.halted_reason, r.halted_since, r.operator_halt, r.requestid_proven, r.batch_proven,
          r.bounds_unreliable,
          l.holder, l.fencing_token, l.expires_at > clock_timestamp() AS lease_live, t.state AS connection,
          t.access_expires_at, t.refresh_expires_at,
          (SELECT jsonb_object_agg(state, n) FROM (SELECT state, count(*) n FROM qbo_writer.commands c WHERE c.realm = r.realm
            GROUP BY state) s) AS commands,
          (SELECT jsonb_object_agg(state, n) FROM (SELECT state, count(*) n FROM qbo_writer.attempts a WHERE a.realm = r.realm
            GROUP BY state) s) AS attempts,
          (SELECT jsonb_object_agg(what, n) FROM (SELECT what, count(*) n FROM qbo_writer.discrepancies o WHERE o.realm = r.realm
            AND o.resolved_at IS NULL GROUP BY what) s) AS discrepancies, r.swept_at
        FROM (SELECT realm FROM qbo_writer.documents UNION SELECT realm FROM qbo_writer.realms UNION SELECT unnest($1::text[])) n
        LEFT JOIN qbo_writer.realms r0 USING (realm)
        CROSS JOIN LATERAL (SELECT n.realm, r0.halted_code, r0.halted_reason, r0.halted_since, r0.operator_halt,
          r0.requestid_proven,
          r0.batch_proven, coalesce(r0.bounds_unreliable, false) AS bounds_unreliable, r0.swept_at) r
        LEFT JOIN qbo_writer.leases l ON l.realm = r.realm LEFT JOIN qbo_writer.tokens t ON t.realm = r.realm ORDER BY 1
        """,
        list(realms),
    )
    return [dict(row) for row in rows]


async def holder(pool: Pool, realm: str) -> str | None:
    """Return who holds a company's lease, or held it last."""
    found: str | None = await pool.fetchval("SELECT holder FROM qbo_writer.leases WHERE realm = $1", realm)
    return found
