"""`qbo-writer halt | resume`: a person stops and starts a company; who and why stand in the event and in `status`."""

import argparse
import getpass
import json
import os
from typing import Any

from bookrelay.db import Pool

from qbo_writer import halting
from qbo_writer.cli_support import remark, served
from qbo_writer.settings import WriterSettings

_WHY_MOST = 1000


def register(commands: Any) -> None:
    """Add `halt` and `resume` to the command line."""
    for name, text, action in (
        ("halt", "let nothing be read or sent for a company until a person resumes it; its documents stay due", halt),
        ("resume", "end a person's halt; where QuickBooks has halted the company: try one request now", resume),
    ):
        one = commands.add_parser(name, help=text)
        one.add_argument("realm", help="the company")
        one.add_argument("--why", required=True, type=_words, help="for whoever reads the event, the log and the status")
        one.add_argument("--by", type=_words, default=_user(), help="who says so (default: the user of this process)")
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


def _words(text: str) -> str:
    """Read a text for people: not empty, printable, on one line."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if not words or len(words) > _WHY_MOST:
        raise argparse.ArgumentTypeError(f"a text of 1 to {_WHY_MOST} characters is needed")
    return words


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user without a name
        return f"user {os.getuid()}"
