"""`qbo-writer held | rejected | waiting list | show | release | drop`, `held force`: an operator decides, which is recorded."""

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
from qbo_writer.settings import Settings
from qbo_writer.writer import Writer

LISTED = 1000
STATES = {
    "held": "documents on hold, to be decided by an operator",
    "rejected": "documents that were rejected",
    "waiting": "documents that wait for something in QuickBooks or in the company policy, or for another document",
}
AT_ONCE = 100  # documents that one command releases or drops, unless --limit is given


def register(subparsers: Any) -> None:
    """Add `held`, `rejected` and `waiting` to the command line: the same verbs for another state."""
    for state, text in STATES.items():
        group = subparsers.add_parser(state, help=text)
        group.set_defaults(state=state)
        commands = group.add_subparsers(dest="decision", required=True)
        listed = commands.add_parser("list", help="list them, one per line")
        filter_arguments(listed, LISTED)
        listed.set_defaults(action=held_list)
        shown = commands.add_parser("show", help="show one, with its commands and attempts, and its present state in QuickBooks")
        shown.add_argument("document", type=document_number, help="the document's number, as in the list")
        shown.set_defaults(action=held_show)
        for name, does in (("release", "have the writer decide again"), ("drop", "leave QuickBooks as it is")):
            some = commands.add_parser(name, help=f"{does}: by number, or many by a filter")
            some.add_argument("document", type=document_number, nargs="*", help="their numbers, as in the list; or use a filter:")
            filter_arguments(some, AT_ONCE)
            some.add_argument("--yes", action="store_true", help="do not ask; without it a filter shows what matches, then asks")
            person_arguments(some)
            some.set_defaults(action=held_decide)
        if state == "held":
            _force(commands)


def _force(commands: Any) -> None:
    one = commands.add_parser(
        "force", help="overwrite the state that was shown, and no other; for an open request: state that it had no effect"
    )
    one.add_argument("document", type=document_number, help="the document's number, as in the list")
    one.add_argument("--sync-token", type=words, help="SyncToken of the state to overwrite (default: the one shown last)")
    person_arguments(one)
    one.set_defaults(action=held_force)


async def held_list(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Print the documents in this state, those waiting longest first."""
    served(settings, arguments.realm)
    meant = chosen(arguments, (arguments.state,))
    rows = await listing.documents(pool, meant, arguments.limit + 1)
    for row in rows[: arguments.limit]:
        print(json.dumps(row, default=str))
    if not rows:
        remark("no document is on hold." if arguments.state == "held" else f"no document is {arguments.state}.")
    if len(rows) > arguments.limit:
        remark(f"only the first {arguments.limit} are shown (--limit).")
    return 0


async def held_show(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Print one of them with its commands and attempts, and its present state in QuickBooks."""
    shown = await operating.show(pool, arguments.document)
    shown["quickbooks"] = await _in_quickbooks(settings, pool, shown["document"])
    print(json.dumps(shown, default=str, indent=2))
    if (token := shown["quickbooks"].get("sync_token")) and shown["commands"][-1]["state"] in operating.OPEN_TO_OPERATORS:
        remark(
            f"`qbo-writer held force {arguments.document} --sync-token {token}` overwrites this state only: if QuickBooks has "
            "another state by then, nothing is written."
        )
    return 0


async def _in_quickbooks(settings: Settings, pool: Pool, document: dict[str, Any]) -> dict[str, Any]:
    if document["realm"] not in settings.qbo_realm_ids:
        return {"state": "not asked", "why": f"this writer does not serve company {document['realm']}"}
    try:
        writer = Writer(settings, pool, lists=NoCalls())
    except BookrelayError as error:  # a setting for the connection is missing here
        return {"state": "not asked", "why": error.sentence()}
    try:
        return await showing.in_quickbooks(pool, writer.posters[document["realm"]], document["id"])
    finally:
        await writer.client.close()
        await writer.oauth.close()


async def held_force(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Overwrite the state that was shown."""
    chosen_one, waits_until = await operating.force(pool, arguments.document, arguments.sync_token, _person(arguments))
    until = f" over SyncToken {chosen_one.shown_sync_token}, and no other" if chosen_one.shown_sync_token else ""
    if waits_until:
        until = f"; applied once no late copy can arrive, a few minutes after {waits_until} at the latest"
    print(f"force: {_named(chosen_one)}{until}")
    return 0


async def held_decide(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Release or drop documents, by number or by a filter whose matches are shown first."""
    act = operating.release if arguments.decision == "release" else operating.drop
    if not arguments.document:
        return await _many(arguments, settings, pool, act)
    for document in arguments.document:
        print(f"{arguments.decision}: {_named(await act(pool, document, _person(arguments)))}")
    return 0


async def _many(arguments: argparse.Namespace, settings: Settings, pool: Pool, act: Any) -> int:
    served(settings, arguments.realm)
    meant = chosen(arguments, (arguments.state,))
    if not meant.narrow:
        raise BookrelayError("No document and no filter is given.", "Give numbers, or one of --realm, --kind, --source, ...")
    if not arguments.why:
        raise BookrelayError("A reason is required for a filter.", "Add --why: it is recorded with each document.")
    rows = await listing.documents(pool, meant, arguments.limit + 1)
    more, rows = len(rows) > arguments.limit, rows[: arguments.limit]
    groups = Counter((r["realm"], r["kind"], r["source"], r["code"] or "-", (r["reason"] or "-")[:80]) for r in rows)
    for group, count in groups.most_common():
        print(f"{count:>6}  {'  '.join(group)}")
    what = f"{len(rows)} {arguments.state} documents" + (f", the oldest of more (--limit {arguments.limit})" if more else "")
    if not rows:
        remark(f"no {arguments.state} document matches.")
        return 0
    if not arguments.yes and not _says_yes(f"{arguments.decision} {what}?"):
        remark(f"nothing was changed. {what}: add --yes.")
        return 1
    done = 0
    for row in rows:
        try:
            await act(pool, row["document"], _person(arguments))
            done += 1
        except BookrelayError as error:  # already decided by somebody else, or its request is open
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
