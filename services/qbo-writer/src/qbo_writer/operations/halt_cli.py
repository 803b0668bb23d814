"""`qbo-writer halt | resume`: stop and restart posting for a company; the event and `status` say who did it and why."""

import argparse
import json
from typing import Any

from bookrelay.db import Pool

from qbo_writer.ledger import halting
from qbo_writer.operations.cli_support import person_arguments, remark, served
from qbo_writer.settings import Settings


def register(commands: Any) -> None:
    """Add `halt` and `resume` to the command line."""
    for name, text, action in (
        ("halt", "read and send nothing for a company until it is resumed; its documents stay due", halt),
        ("resume", "end an operator's halt; if QuickBooks caused the halt: try one request now", resume),
    ):
        one = commands.add_parser(name, help=text)
        one.add_argument("realm", help="the company")
        person_arguments(one, why=True)
        one.set_defaults(action=action)


async def halt(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Halt a company; exit status 0 also if it was already halted."""
    served(settings, arguments.realm)
    before = await halting.halt(pool, arguments.realm, arguments.by, arguments.why)
    if before is not None:
        remark(f"company {arguments.realm} is already halted, by {before.by} since {before.at:%Y-%m-%d %H:%M} UTC: {before.why}")
    print(json.dumps({"realm": arguments.realm, "halted": True, "by": (before.by if before else arguments.by)}))
    return 0


async def resume(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Resume a company; exit status 1 if it was not halted."""
    served(settings, arguments.realm)
    done = await halting.resume(pool, arguments.realm, arguments.by, arguments.why)
    if done is halting.Resumed.TRIAL:
        remark("QuickBooks caused this halt: one request is tried now; posting resumes if it succeeds.")
    elif done is halting.Resumed.NOTHING:
        remark(f"company {arguments.realm} is not halted. See `qbo-writer status`.")
    print(json.dumps({"realm": arguments.realm, "resumed": done.value}))
    return 1 if done is halting.Resumed.NOTHING else 0
