"""`qbo-writer commands list | show`: every document in any state, and everything known about one."""

import argparse
import json
from datetime import UTC, datetime
from typing import Any

from bookrelay.db import Pool

from qbo_writer.ledger import listing
from qbo_writer.operations.cli_support import chosen, filter_arguments, remark, served
from qbo_writer.settings import Settings

LISTED = 100
_COLUMNS = ("document", "state", "since", "kind", "source", "key", "version", "tries", "code", "reason")
_REASON = 70  # characters of a reason in a table


def register(subparsers: Any) -> None:
    """Add `commands` to the command line."""
    group = subparsers.add_parser("commands", help="documents and the states of their commands")
    commands = group.add_subparsers(dest="what", required=True)
    listed = commands.add_parser("list", help="list documents that are not settled yet, or those in the given states")
    listed.add_argument(
        "--state", action="append", choices=(*listing.OPEN, *listing.ENDED), help="only this state; may be given several times"
    )
    filter_arguments(listed, LISTED)
    listed.add_argument("--json", action="store_true", help="one JSON object for each line")
    listed.set_defaults(action=commands_list)
    shown = commands.add_parser("show", help="show versions, attempts, answers and decisions, without texts that can name people")
    shown.add_argument("id", help="a document's number, as in the list, or a command's id")
    shown.add_argument("--json", action="store_true", help="one JSON object")
    shown.set_defaults(action=commands_show)


async def commands_list(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Print the documents that match, those longest in their state first."""
    served(settings, arguments.realm)
    meant = chosen(arguments, tuple(arguments.state or listing.OPEN))
    rows = await listing.documents(pool, meant, arguments.limit + 1)
    more, rows = len(rows) > arguments.limit, rows[: arguments.limit]
    if arguments.json:
        for row in rows:
            print(json.dumps(row, default=str))
    elif rows:
        _table([_COLUMNS, *(_cells(row) for row in rows)])
    if not rows:
        remark("no document matches.")
    if more:
        remark(f"only the first {arguments.limit} are shown (--limit).")
    return 0


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    reason = " ".join((row["reason"] or "").split())
    cut = reason if len(reason) <= _REASON else reason[: _REASON - 3] + "..."
    return (
        str(row["document"]), row["state"] + (" (open request)" if row["stuck"] else ""), _ago(row["since"]), row["kind"],
        row["source"], row["source_key"], str(row["version"]), str(row["failures"] or ""), row["code"] or "", cut,
    )  # fmt: skip


def _ago(at: datetime) -> str:
    seconds = max(0, int((datetime.now(UTC) - at).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


async def commands_show(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """Print everything known about one document."""
    known = await listing.everything(pool, await listing.number_of(pool, arguments.id))
    if arguments.json:
        print(json.dumps(known, default=str, indent=2))
        return 0
    d = known["document"]
    print(f"document {d['id']}: {d['kind']} {d['source']}:{d['source_key']} of company {d['realm']}")
    print(f"  {d['state']} since {_time(d['since'])}")
    there = (
        f"Id {d['qbo_id']}, SyncToken {d['sync_token']}, total {d['total']}, open {d['balance']}" if d["qbo_id"] else "nothing"
    )
    print(f"  in QuickBooks, as far as the ledger knows: {there}{', changed there' if d['diverged'] else ''}")
    print("versions")
    for v in known["versions"]:
        print(
            f"  {v['version']}  {v['operation']}  {v['state']}  recorded {_time(v['recorded_at'])}  trace {v['trace_id'] or '-'}"
        )
        if v["reason"]:
            print(f"     {' '.join(part for part in (v['code'], v['reason']) if part)}")
        for difference in v["differences"] or ():
            print(f"     {difference['field']}: ours {difference['ours']}, there {difference['theirs']}")
    print("attempts")
    for a in known["attempts"]:
        print(f"  {a['number']}  {a['operation']} for version {a['version']}  {a['outcome'] or a['state']}  {a['requestid']}")
        for s in a["sent"]:
            answer = ", ".join(str(s[k]) for k in ("answer", "http_status", "intuit_code") if s[k])
            print(f"     {_time(s['at'])}  send {s['send']}: {answer}  intuit_tid {s['intuit_tid'] or '-'}")
        if a["answer"]:
            print(f"     {a['answer']}")
    print("decisions")
    for one in known["decisions"]:
        at = _time(datetime.fromisoformat(one["at"]))
        version = f" version {one['version']}" if "version" in one else ""
        print(f"  {at}  {one['decision']}{version}  by {one['by']}: {one['why']}")
    return 0


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else "-"
