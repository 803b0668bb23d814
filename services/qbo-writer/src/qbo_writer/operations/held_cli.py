"""`qbo-writer held | rejected | waiting list | show | release | drop`, `held force`: a person decides; who and why is kept."""

import argparse
import json
import sys
from collections import Counter
from typing import Any

from bookrelay.db import Pool
from bookrelay.errors import BookrelayError

from qbo_writer.ledger import listing, operating
from qbo_writer.ledger.decisions import Person
from qbo_writer.operations import showing
from qbo_writer.operations.cli_support import (
    NoCalls,
    chosen,
    document_number,
    filter_arguments,
    person_arguments,
    remark,
    served,
    words,
)
from qbo_writer.settings import WriterSettings
from qbo_writer.writer import Writer

LISTED = 1000
STATES = {
    "held": "documents that wait for a person",
    "rejected": "documents that were rejected",
    "waiting": "documents that wait for something in QuickBooks or in the policy, or for another document",
}
AT_ONCE = 100  # documents that one command releases or drops, unless it says how many


def register(subparsers: Any) -> None:
    """Add `held`, `rejected` and `waiting` to the command line: the same verbs over another state."""
    for state, text in STATES.items():
        group = subparsers.add_parser(state, help=text)
        group.set_defaults(state=state)
        commands = group.add_subparsers(dest="decision", required=True)
        listed = commands.add_parser("list", help="one line for each")
        filter_arguments(listed, LISTED)
        listed.set_defaults(action=held_list)
        shown = commands.add_parser("show", help="with its commands and attempts, and what QuickBooks holds now")
        shown.add_argument("document", type=document_number, help="its number, as in the list")
        shown.set_defaults(action=held_show)
        for name, does in (("release", "decide again"), ("drop", "leave QuickBooks as it is")):
            some = commands.add_parser(name, help=f"{does}: one, or many by a filter")
            some.add_argument("document", type=document_number, nargs="*", help="their numbers, as in the list; or a filter:")
            filter_arguments(some, AT_ONCE)
            some.add_argument("--yes", action="store_true", help="do it; without it a filter shows what it means, and asks")
            person_arguments(some)
            some.set_defaults(action=held_decide)
        if state == "held":
            _force(commands)


def _force(commands: Any) -> None:
    one = commands.add_parser(
        "force", help="write over the state that was shown, and no other; for an open request: it had no effect"
    )
    one.add_argument("document", type=document_number, help="its number, as in the list")
    one.add_argument("--sync-token", type=words, help="of the state that is written over (default: the one that was shown last)")
    person_arguments(one)
    one.set_defaults(action=held_force)


async def held_list(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Print every document that waits for a person, those that wait longest first."""
    served(settings, arguments.realm)
    meant = chosen(arguments, (arguments.state,))
    rows = await listing.documents(pool, meant, arguments.limit + 1)
    for row in rows[: arguments.limit]:
        print(json.dumps(row, default=str))
    if not rows:
        remark("no document waits for a person." if arguments.state == "held" else f"no document is {arguments.state}.")
    if len(rows) > arguments.limit:
        remark(f"there are more: only {arguments.limit} are shown (--limit).")
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


async def held_force(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Write one over what was shown."""
    chosen_one, waits_until = await operating.force(pool, arguments.document, arguments.sync_token, _person(arguments))
    until = f" over SyncToken {chosen_one.shown_sync_token}, and no other" if chosen_one.shown_sync_token else ""
    if waits_until:
        until = f"; it counts when no late copy can arrive, at most until {waits_until} and a few minutes"
    print(f"force: {_named(chosen_one)}{until}")
    return 0


async def held_decide(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool) -> int:
    """Release or drop some: by number, or by a filter that is shown first."""
    act = operating.release if arguments.decision == "release" else operating.drop
    if not arguments.document:
        return await _many(arguments, settings, pool, act)
    for document in arguments.document:
        print(f"{arguments.decision}: {_named(await act(pool, document, _person(arguments)))}")
    return 0


async def _many(arguments: argparse.Namespace, settings: WriterSettings, pool: Pool, act: Any) -> int:
    served(settings, arguments.realm)
    meant = chosen(arguments, (arguments.state,))
    if not meant.narrow:
        raise BookrelayError(
            "Neither a document nor a filter is given.", "Give numbers, or one of --realm, --kind, --source, ..."
        )
    if not arguments.why:
        raise BookrelayError("Many at once need a reason.", "Add --why: it is recorded with each.")
    rows = await listing.documents(pool, meant, arguments.limit + 1)
    more, rows = len(rows) > arguments.limit, rows[: arguments.limit]
    groups = Counter((r["realm"], r["kind"], r["source"], r["code"] or "-", (r["reason"] or "-")[:80]) for r in rows)
    for group, count in groups.most_common():
        print(f"{count:>6}  {'  '.join(group)}")
    what = f"{len(rows)} {arguments.state} documents" + (f", the oldest of more (--limit {arguments.limit})" if more else "")
    if not rows:
        remark(f"no {arguments.state} document is meant.")
        return 0
    if not arguments.yes and not _says_yes(f"{arguments.decision} {what}?"):
        remark(f"nothing was changed. {what}: add --yes.")
        return 1
    done = 0
    for row in rows:
        try:
            await act(pool, row["document"], _person(arguments))
            done += 1
        except BookrelayError as error:  # decided by somebody else meanwhile, or its request is open
            remark(f"document {row['document']}: {error.sentence()}")
    print(f"{arguments.decision}: {done} of {what}")
    return 0 if done == len(rows) else 1


def _says_yes(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    print(f"{question} [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _person(arguments: argparse.Namespace) -> Person:
    return Person(arguments.by, arguments.why)


def _named(one: operating.Chosen) -> str:
    return f"{one.kind} {one.source}:{one.source_key} version {one.version}"
