"""`qbo-writer audit verify | discrepancies | accept | prune`: the attempts log, and where books and ledger disagree."""

import argparse
import json
from dataclasses import asdict
from typing import Any

from bookrelay.db import Pool

from qbo_writer.ledger import audit, decisions, discrepancies
from qbo_writer.operations.cli_support import at_most, number, person_arguments, remark, served
from qbo_writer.quickbooks import mapping
from qbo_writer.settings import WriterSettings


def register(subparsers: Any) -> None:
    """Add `audit` to the command line."""
    group = subparsers.add_parser("audit", help="what was sent and answered, what people decided, what the daily sweep found")
    log = group.add_subparsers(dest="audit", required=True)
    verify = log.add_parser("verify", help="walk the hash chains of attempts and decisions; exit status 1 if one is broken")
    verify.add_argument("--realm", help="only this company")
    verify.set_defaults(action=audit_verify)
    decided = log.add_parser("decisions", help="what people decided about documents and companies: who, when, why")
    decided.add_argument("--realm", help="only this company")
    decided.add_argument("--limit", type=at_most, default=1000, help="the newest ones (default 1000)")
    decided.set_defaults(action=audit_decisions)
    found = log.add_parser("discrepancies", help="where books and ledger disagree; exit status 1 if they do")
    found.add_argument("--realm", help="only this company")
    found.set_defaults(action=audit_discrepancies)
    accept = log.add_parser("accept", help="a document that is not as asked is in order: what was held for it goes on")
    accept.add_argument("realm", help="the company")
    accept.add_argument("entity", choices=mapping.DOCUMENTS, help="which kind of document")
    accept.add_argument("qbo_id", help="its Id in QuickBooks, as `audit discrepancies` shows it")
    person_arguments(accept)
    accept.set_defaults(action=audit_accept)
    prune = log.add_parser("prune", help="forget its old end")
    prune.add_argument("--realm", help="only this company")
    prune.add_argument("--days", type=number(36_500), default=400, help="keep what is younger (default 400)")
    prune.set_defaults(action=audit_prune)


async def audit_verify(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Walk the attempts log and the decisions of each company; exit status 1 where an entry was changed, added or taken out."""
    served(settings, arguments.realm)
    realms = [arguments.realm] if arguments.realm else settings.qbo_realm_ids
    results = [await audit.verify(pool, realm, log) for realm in realms for log in ("attempt_log", "decision_log")]
    for result in results:
        print(json.dumps(asdict(result)))
    return 1 if any(result.broken_at for result in results) else 0


async def audit_decisions(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Print what people decided, oldest first."""
    served(settings, arguments.realm)
    rows = await decisions.made(pool, arguments.realm, limit=arguments.limit)
    for row in rows:
        print(json.dumps(row, default=str))
    if not rows:
        remark("nobody has decided anything.")
    return 0


async def audit_discrepancies(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Print where books and ledger disagree and nobody has mended it; exit status 1 if there is something."""
    served(settings, arguments.realm)
    rows = await discrepancies.listed(pool, arguments.realm)
    for row in rows:
        print(json.dumps(row, default=str))
    if not rows:
        remark("books and ledger agree, as far as the last sweep saw (`qbo-writer status` says when that was).")
    return 1 if rows else 0


async def audit_accept(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Say that a difference is in order, or seen to: what was held for it is due again."""
    served(settings, arguments.realm)
    person = decisions.Person(arguments.by, arguments.why)
    released = await discrepancies.accept(pool, arguments.realm, arguments.entity, arguments.qbo_id, person)
    print(json.dumps({"realm": arguments.realm, "entity": arguments.entity, "qbo_id": arguments.qbo_id, "released": released}))
    return 0


async def audit_prune(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Forget what is older than so many days."""
    served(settings, arguments.realm)
    for realm in [arguments.realm] if arguments.realm else settings.qbo_realm_ids:
        print(json.dumps({"realm": realm, "pruned": await audit.prune(pool, realm, arguments.days)}))
    return 0
