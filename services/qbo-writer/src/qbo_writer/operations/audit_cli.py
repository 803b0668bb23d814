"""`qbo-writer audit verify | decisions | discrepancies | accept | prune`: the hash-chained logs, and discrepancies."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from bookrelay.db import Pool

from qbo_writer.ledger import audit, decisions, discrepancies
from qbo_writer.operations.cli_support import at_most, number, person_arguments, remark, served
from qbo_writer.quickbooks import mapping
from qbo_writer.settings import Settings


def register(subparsers: Any) -> None:
    """Add `audit` to the command line."""
    group = subparsers.add_parser("audit", help="the logs of attempts and decisions, and what the daily sweep found")
    log = group.add_subparsers(dest="audit", required=True)
    verify = log.add_parser("verify", help="verify the hash chains of attempts and decisions; exit status 1 if one is broken")
    verify.add_argument("--realm", help="only this company")
    verify.set_defaults(action=audit_verify)
    decided = log.add_parser("decisions", help="operators' decisions about documents and companies: who, when, why")
    decided.add_argument("--realm", help="only this company")
    decided.add_argument("--limit", type=at_most, default=1000, help="show at most this many, the newest (default 1000)")
    decided.set_defaults(action=audit_decisions)
    found = log.add_parser("discrepancies", help="where QuickBooks and the ledger disagree; exit status 1 if they do")
    found.add_argument("--realm", help="only this company")
    found.set_defaults(action=audit_discrepancies)
    accept = log.add_parser("accept", help="accept a document that differs from its command: what was held for it is due again")
    accept.add_argument("realm", help="the company")
    accept.add_argument("entity", choices=mapping.DOCUMENTS, help="the kind of document")
    accept.add_argument("qbo_id", help="its Id in QuickBooks, as `audit discrepancies` shows it")
    person_arguments(accept)
    accept.set_defaults(action=audit_accept)
    prune = log.add_parser("prune", help="delete the oldest entries of the attempts log")
    prune.add_argument("--realm", help="only this company")
    prune.add_argument("--days", type=number(36_500), default=400, help="keep entries younger than this (default 400)")
    prune.set_defaults(action=audit_prune)


async def audit_verify(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Verify the logs of attempts and decisions of each company; exit status 1 if an entry was changed, added or removed."""
    served(settings, arguments.realm)
    realms = [arguments.realm] if arguments.realm else settings.qbo_realm_ids
    results = [await audit.verify(pool, realm, log) for realm in realms for log in ("attempt_log", "decision_log")]
    for result in results:
        print(json.dumps(asdict(result)))
    return 1 if any(result.broken_at for result in results) else 0


async def audit_decisions(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Print operators' decisions, oldest first."""
    served(settings, arguments.realm)
    rows = await decisions.made(pool, arguments.realm, limit=arguments.limit)
    for row in rows:
        print(json.dumps(row, default=str))
    if not rows:
        remark("no decisions yet.")
    return 0


async def audit_discrepancies(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Print the open discrepancies; exit status 1 if there are any."""
    served(settings, arguments.realm)
    rows = await discrepancies.listed(pool, arguments.realm)
    for row in rows:
        print(json.dumps(row, default=str))
    if not rows:
        remark("QuickBooks and the ledger agreed at the last sweep (`qbo-writer status` shows when that was).")
    return 1 if rows else 0


async def audit_accept(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Accept a difference, or mark it as dealt with: what was held for it is due again."""
    served(settings, arguments.realm)
    person = decisions.Person(arguments.by, arguments.why)
    released = await discrepancies.accept(pool, arguments.realm, arguments.entity, arguments.qbo_id, person)
    print(json.dumps({"realm": arguments.realm, "entity": arguments.entity, "qbo_id": arguments.qbo_id, "released": released}))
    return 0


async def audit_prune(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Delete entries older than this many days."""
    served(settings, arguments.realm)
    for realm in [arguments.realm] if arguments.realm else settings.qbo_realm_ids:
        print(json.dumps({"realm": realm, "pruned": await audit.prune(pool, realm, arguments.days)}))
    return 0
