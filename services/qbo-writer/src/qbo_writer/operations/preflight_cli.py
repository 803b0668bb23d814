"""`qbo-writer preflight`: what waiting commands need and the company lacks. Read-only."""

import argparse
import json
from typing import Any

from bookrelay.db import Pool

from qbo_writer.operations import preflight
from qbo_writer.operations.cli_support import at_most, remark, served
from qbo_writer.policy import Policy
from qbo_writer.settings import Settings

SHOWN = 20  # unchecked references, in text output


def register(subparsers: Any) -> None:
    """Add `preflight` to the command line."""
    command = subparsers.add_parser(
        "preflight",
        help="list what waiting commands need and the company lacks; exit status 1 if something is missing",
        description="Lists every item, account, customer, vendor, term, class, location and tax code that waiting commands need "
        "and the company lacks, or has as inactive or as a category. Reads QuickBooks at most --reads times for each company, "
        "and sends nothing. Exit status 1 if something is missing or could not be checked.",
    )
    command.add_argument("--realm", help="only this company")
    command.add_argument("--json", action="store_true", help="one JSON document for all companies")
    command.add_argument(
        "--reads", type=at_most, default=preflight.READS, help=f"at most this many reads per company (default {preflight.READS})"
    )
    command.set_defaults(action=run)


async def run(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Survey each company and print what is missing."""
    served(settings, arguments.realm)
    policy = Policy.load(settings.company_policy_file)
    realms = [arguments.realm] if arguments.realm else settings.qbo_realm_ids
    surveys = [await preflight.survey(pool, settings, policy, realm, arguments.reads) for realm in realms]
    if arguments.json:
        print(json.dumps({"ok": all(s.well for s in surveys), "companies": [s.plain() for s in surveys]}, indent=2))
    else:
        for one in surveys:
            _say(one)
    if not surveys:
        remark("no company is configured: set QBO_REALM_IDS.")
    return 0 if surveys and all(s.well for s in surveys) else 1


def _say(survey: preflight.Survey) -> None:
    print(
        f"Company {survey.realm}: {_count(survey.documents, 'document')} waiting, {_count(survey.needs, 'reference')}, "
        f"{_count(survey.reads, 'read')} of QuickBooks, nothing sent."
    )
    for kind, number in sorted(survey.created.items()):
        print(f"  {_count(number, kind)} will be created when posting.")
    for lack in survey.lacks:
        more = ", ..." if lack.documents > len(lack.samples) else ""
        print(f"  {lack.code} {lack.what}: {lack.reason} {lack.fix}")
        print(f"    {_count(lack.documents, 'document')}: {', '.join(lack.samples)}{more}")
    for unchecked in survey.unchecked[:SHOWN]:
        print(
            f"  not checked: {unchecked.what} {unchecked.name!r} ({_count(unchecked.documents, 'document')}): {unchecked.reason}"
        )
    if len(survey.unchecked) > SHOWN:
        print(f"  not checked: {len(survey.unchecked) - SHOWN} more (--json lists all)")
    if survey.error:
        print(f"  {survey.error}")
    elif survey.well:
        print("  Nothing is missing.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
