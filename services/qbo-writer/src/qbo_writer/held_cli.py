"""`qbo-writer held list | show | release | force | drop`: a person decides."""

import argparse
import json
from typing import Any

from bookrelay.db import Pool
from bookrelay.errors import BookrelayError

from qbo_writer import operating, showing
from qbo_writer.cli_support import NoCalls, at_least_one, remark, served
from qbo_writer.main import Writer
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
        ("force", "write over the state that was shown, and no other; for an open request: it had no effect"),
        ("drop", "leave QuickBooks as it is"),
    ):
        one = commands.add_parser(name, help=text)
        one.add_argument("document", type=at_least_one, help="its number, as in the list")
        if name == "force":
            one.add_argument("--sync-token", help="of the state that is written over (default: the one that was shown last)")
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
    """Print one of them with its commands and attempts, and what QuickBooks holds of it now."""
    shown = await operating.show(pool, arguments.document)
    shown["quickbooks"] = await _in_quickbooks(settings, pool, shown["document"])
    print(json.dumps(shown, default=str, indent=2))
    if (token := shown["quickbooks"].get("sync_token")) and shown["commands"][-1]["state"] in operating.OPEN_TO_OPERATORS:
        remark(
            f"`qbo-writer held force {arguments.document} --sync-token {token}` writes over this state only: if QuickBooks has "
            "another one by then, nothing is written."
        )
    return 0


async def _in_quickbooks(settings: WriterSettings, pool: Pool, document: dict[str, Any]) -> dict[str, Any]:
    if document["realm"] not in settings.qbo_realm_ids:
        return {"state": "not asked", "why": f"this writer does not serve company {document['realm']}"}
    try:
        writer = Writer(settings, pool, lists=NoCalls())
    except BookrelayError as error:  # what a connection needs is not set where this command runs
        return {"state": "not asked", "why": error.sentence()}
    try:
        return await showing.in_quickbooks(pool, writer.posters[document["realm"]], document["id"])
    finally:
        await writer.client.close()
        await writer.oauth.close()


async def held_decide(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Release, force or drop one."""
    if arguments.decision == "force":
        chosen, waits_until = await operating.force(pool, arguments.document, arguments.sync_token)
        until = f" over SyncToken {chosen.shown_sync_token}, and no other" if chosen.shown_sync_token else ""
        if waits_until:
            until = f"; it counts when no late copy can arrive, at most until {waits_until} and a few minutes"
    else:
        chosen = await (operating.release if arguments.decision == "release" else operating.drop)(pool, arguments.document)
        until = ""
    print(f"{arguments.decision}: {chosen.kind} {chosen.source}:{chosen.source_key} version {chosen.version}{until}")
    return 0
