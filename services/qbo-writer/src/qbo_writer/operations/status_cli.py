"""`qbo-writer status`: what needs attention, and the ledger's counts for each company."""

import argparse
import json
from typing import Any

from bookrelay.db import Pool

from qbo_writer.ledger import events, listing
from qbo_writer.ledger import status as standing
from qbo_writer.operations.cli_support import remark
from qbo_writer.reporting import companies, gathering
from qbo_writer.settings import Settings


def register(subparsers: Any) -> None:
    """Add `status` to the command line."""
    subparsers.add_parser(
        "status",
        help="show what needs attention, and the ledger's counts for each company; exit status 1 if something does",
        description="Exit status 0: all is well. 1: a consumer is stuck at a record; a company is halted, disconnected or "
        "served by no writer; its change feed is stuck; a policy file is invalid; or events are not published.",
    ).set_defaults(action=status)


async def status(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Print the status as JSON, and each problem as a sentence on stderr."""
    problems = await gathering.problems(pool, settings)
    feeds = {company.realm: company.feed() for company in await companies.companies(pool, settings)}
    rows = await standing.overview(pool, settings.qbo_realm_ids)
    documents = await listing.counts(pool)
    pending = await events.pending(pool)
    shown = {
        "ok": not problems, "problems": [problem.plain() | {"sentence": problem.sentence()} for problem in problems],
        "realms": [_realm(row, documents.get(row["realm"], {}), feeds.get(row["realm"])) for row in rows],
        "outbox_pending": pending,
    }  # fmt: skip
    print(json.dumps(shown, default=str, indent=2))
    for problem in problems:
        remark(problem.sentence())
    return 1 if problems else 0


def _realm(row: dict[str, Any], documents: dict[str, int], feed: Any) -> dict[str, Any]:
    """`documents`: the counts of `qbo-writer commands list`."""
    return row | {"documents": documents, "held": documents.get("held", 0), "feed": feed}
