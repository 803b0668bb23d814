"""`qbo-writer held list | show | release | force | drop`: a person decides."""

import argparse
import json
from typing import Any

from bookrelay.db import Pool

from qbo_writer import operating
from qbo_writer.cli_support import at_least_one, remark, served
from qbo_writer.settings import WriterSettings


def register(subparsers: Any) -> None:
    """Add `held` to the command line."""
    group = subparsers.add_parser("held", help="documents that wait for a person")
    commands = group.add_subparsers(dest="decision", required=True)
    listed = commands.add_parser("list", help="one line for each")
    listed.add_argument("--realm", help="only this company")
    listed.set_defaults(action=held_list)
    shown = commands.add_parser("show", help="with its commands and attempts")
    shown.add_argument("document", type=at_least_one, help="its number, as in the list")
    shown.set_defaults(action=held_show)
    for name, text in (
        ("release", "decide again"),
        ("force", "act over the difference; for an open request: it had no effect"),
        ("drop", "leave QuickBooks as it is"),
    ):
        one = commands.add_parser(name, help=text)
        one.add_argument("document", type=at_least_one, help="its number, as in the list")
        one.set_defaults(action=held_decide)


async def held_list(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Print every document that waits for a person."""
    served(settings, arguments.realm)
    rows = await operating.held(pool, arguments.realm)
    for row in rows:
        print(json.dumps(row, default=str))
    if not rows:
        remark("no document waits for a person.")
    return 0


async def held_show(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Print one of them with its commands and attempts."""
    print(json.dumps(await operating.show(pool, arguments.document), default=str, indent=2))
    return 0


async def held_decide(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Release, force or drop one."""
    if arguments.decision == "force":
        chosen, waits_until = await operating.force(pool, arguments.document)
        until = f"; it counts when no late copy can arrive, at most until {waits_until} and a few minutes" if waits_until else ""
    else:
        chosen = await (operating.release if arguments.decision == "release" else operating.drop)(pool, arguments.document)
        until = ""
    print(f"{arguments.decision}: {chosen.kind} {chosen.source}:{chosen.source_key} version {chosen.version}{until}")
    return 0
