"""`qbo-writer halt | resume`: a person stops and starts a company; who and why stand in the event and in `status`."""

import argparse
import json
from typing import Any

from bookrelay.db import Pool

from qbo_writer.ledger import halting
from qbo_writer.operations.cli_support import person_arguments, remark, served
from qbo_writer.settings import WriterSettings


def register(commands: Any) -> None:
    """Add `halt` and `resume` to the command line."""
    for name, text, action in (
        ("halt", "let nothing be read or sent for a company until a person resumes it; its documents stay due", halt),
        ("resume", "end a person's halt; where QuickBooks has halted the company: try one request now", resume),
    ):
        one = commands.add_parser(name, help=text)
        one.add_argument("realm", help="the company")
        person_arguments(one, why=True)
        one.set_defaults(action=action)


async def halt(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Halt a company; exit status 0 also where it was halted."""
    served(settings, arguments.realm)
    before = await halting.halt(pool, arguments.realm, arguments.by, arguments.why)
    if before is not None:
        remark(f"company {arguments.realm} is halted already, by {before.by} since {before.at:%Y-%m-%d %H:%M} UTC: {before.why}")
    print(json.dumps({"realm": arguments.realm, "halted": True, "by": (before.by if before else arguments.by)}))
    return 0


async def resume(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Resume a company; exit status 1 where it was not halted."""
    served(settings, arguments.realm)
    done = await halting.resume(pool, arguments.realm, arguments.by, arguments.why)
    if done is halting.Resumed.TRIAL:
        remark("QuickBooks has halted this company: one request is tried now; posting resumes when it is answered as usual.")
    elif done is halting.Resumed.NOTHING:
        remark(f"company {arguments.realm} is not halted. See `qbo-writer status`.")
    print(json.dumps({"realm": arguments.realm, "resumed": done.value}))
    return 1 if done is halting.Resumed.NOTHING else 0
