"""`qbo-writer unserved list | drop`: companies that commands name but no writer serves. Commands with a wrong id can be ended."""

import argparse
import json
from typing import Any

from bookrelay.db import Pool
from bookrelay.errors import BookrelayError

from qbo_writer.domain import CommandState
from qbo_writer.ledger.changes import Decision
from qbo_writer.ledger.lease import Leases
from qbo_writer.ledger.ledger import Ledger
from qbo_writer.ledger.unserved import has_due
from qbo_writer.operations.cli_support import remark
from qbo_writer.protocol.deciding import superseded
from qbo_writer.protocol.settling import ended
from qbo_writer.reporting import unserved
from qbo_writer.settings import Settings
from qbo_writer.writer import links_of

AT_ONCE = 500


def register(subparsers: Any) -> None:
    """Add `unserved` to the command line."""
    group = subparsers.add_parser("unserved", help="companies that commands name but no writer serves")
    commands = group.add_subparsers(dest="decision", required=True)
    commands.add_parser("list", help="list them, one per line").set_defaults(action=unserved_list)
    one = commands.add_parser("drop", help="end the commands for one: they are skipped, and the event says why")
    one.add_argument("realm", help="the company, as in the list")
    one.add_argument("--why", required=True, help="the reason, published to the sources")
    one.set_defaults(action=unserved_drop)


async def unserved_list(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Print them; exit status 1 if there are any."""
    found = await unserved.unserved(pool, settings)
    for problem in found:
        print(json.dumps(problem.plain(), default=str))
    if not found:
        remark("every company that commands name is served by a writer.")
    return 1 if found else 0


async def unserved_drop(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """End the due commands of a company under its lease, which must be free; nothing was or will be sent."""
    realm, ledger, links = arguments.realm, Ledger(pool), links_of(settings)
    if not await has_due(pool, realm):
        raise BookrelayError(f"No command is due for company {realm!r}.", "See `qbo-writer unserved list`.")
    leases = Leases(pool, [realm], seconds=60, renew_seconds=20)
    await leases.step()
    fencing_token = leases.holding(realm)
    if fencing_token is None:
        raise BookrelayError(
            f"A writer serves company {realm}.", "Its commands are being posted; see `qbo-writer held list` for those on hold."
        )
    dropped = 0
    try:
        decision = Decision(CommandState.SKIPPED, f"An operator dropped it: {arguments.why}")
        while candidates := await ledger.commands.candidates(realm, AT_ONCE):
            commits = [ended(c.document, c.newest, decision, links) for c in candidates if c.newest.state is CommandState.DUE]
            commits += [ended(c.document, older, superseded(c.newest), links) for c in candidates for older in c.older]
            if not await ledger.commits.commit(realm, fencing_token, commits):
                break
            dropped += sum(c.newest.state is CommandState.DUE for c in candidates)
            await leases.step()
    finally:
        await leases.release()
    print(json.dumps({"realm": realm, "dropped": dropped}))
    return 0
