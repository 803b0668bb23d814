"""`qbo-writer status`: what needs attention, and the ledger's counts for each company."""

import argparse
import json
from typing import Any

from bookrelay.db import Pool

from qbo_writer import reporting
from qbo_writer.ledger import listing
from qbo_writer.operations.cli_support import remark
from qbo_writer.settings import WriterSettings


def register(subparsers: Any) -> None:
    """Add `status` to the command line."""
    subparsers.add_parser(
        "status",
        help="show what needs attention, and the ledger's counts for each company; exit status 1 if something does",
        description="Exit status 0: all is well. 1: a consumer is stuck at a record; a company is halted, disconnected or "
        "served by no writer; its change feed is stuck; a policy file is invalid; or events are not published.",
    ).set_defaults(action=status)


async def status(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Print the status as JSON, and each problem as a sentence on stderr."""
    problems = await reporting.problems(pool, settings)
    feeds = {company.realm: company.feed() for company in await reporting.companies(pool, settings)}
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
        list(settings.qbo_realm_ids),
    )
    documents = await listing.counts(pool)
    pending = await pool.fetchval("SELECT count(*) FROM qbo_writer.outbox WHERE published_at IS NULL AND parked_at IS NULL")
    shown = {
        "ok": not problems, "problems": [problem.plain() | {"sentence": problem.sentence()} for problem in problems],
        "realms": [_realm(dict(row), documents.get(row["realm"], {}), feeds.get(row["realm"])) for row in rows],
        "outbox_pending": pending,
    }  # fmt: skip
    print(json.dumps(shown, default=str, indent=2))
    for problem in problems:
        remark(problem.sentence())
    return 1 if problems else 0


def _realm(row: dict[str, Any], documents: dict[str, int], feed: Any) -> dict[str, Any]:
    """`documents`: the counts of `qbo-writer commands list`."""
    return row | {"documents": documents, "held": documents.get("held", 0), "feed": feed}
