"""What the groups of the operators' commands share."""

import argparse
import getpass
import os
import re
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from bookrelay.db import Pool
from bookrelay.errors import BookrelayError
from bookrelay.kafka_probe import kafka_server

from qbo_writer.domain import LedgerKind, LookupFailed
from qbo_writer.listing import Filter
from qbo_writer.settings import WriterSettings

WORDS_MOST = 1000

Action = Callable[[argparse.Namespace, WriterSettings, Pool], Awaitable[int]]


def remark(text: str) -> None:
    """Tell a person; stdout stays what a program can read."""
    print(f"qbo-writer: {text}", file=sys.stderr)


def served(settings: WriterSettings, realm: str | None) -> None:
    """Refuse a company that is not ours: "nothing found" would be taken for "all is well"."""
    if realm and realm not in settings.qbo_realm_ids:
        raise BookrelayError(f"This writer does not serve company {realm}.", "Check QBO_REALM_IDS.")


async def kafka_why_not(settings: WriterSettings) -> BookrelayError | None:
    """Ask Kafka on a connection of our own: what is wrong with it, or None."""
    server, probe = kafka_server(settings, "qbo-writer cli", settings.kafka_security())
    try:
        return await server.why_not()
    finally:
        probe.close()


def at_least_one(text: str) -> int:
    """Read a number from 1 to what Postgres' bigint holds."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number < 2**63:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return number


def person_arguments(parser: argparse.ArgumentParser, *, why: bool = False) -> None:
    """Add who decides, and why: it is recorded. With `why` the reason must be given."""
    parser.add_argument("--why", type=words, required=why, help="for whoever reads `audit decisions`")
    parser.add_argument("--by", type=words, default=user(), help="who decides (default: the user of this process)")


def filter_arguments(parser: argparse.ArgumentParser, limit: int) -> None:
    """Add which documents are meant."""
    parser.add_argument("--realm", help="only this company")
    parser.add_argument("--kind", choices=[kind.value for kind in LedgerKind], help="only documents of this kind")
    parser.add_argument("--source", help="only documents of this source, for example sheet")
    parser.add_argument("--code", help="only this code, for example QB006")
    parser.add_argument("--reason", help="only where the reason has these words")
    parser.add_argument("--older", type=duration, default=timedelta(), help="only what has been so for so long: 30s, 10m, 2h, 3d")
    parser.add_argument("--limit", type=at_least_one, default=limit, help=f"documents at most (default {limit})")


def chosen(arguments: argparse.Namespace, states: tuple[str, ...]) -> Filter:
    """Return what `filter_arguments` has read."""
    a = arguments
    return Filter(states, a.realm, a.kind, a.source, a.code, a.reason, a.older)


def duration(text: str) -> timedelta:
    """Read 30s, 10m, 2h or 3d."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text} is not a time like 30s, 10m, 2h or 3d")
    return timedelta(seconds=int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]])


def words(text: str) -> str:
    """Read a text for people: not empty, printable, on one line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if not line or len(line) > WORDS_MOST:
        raise argparse.ArgumentTypeError(f"a text of 1 to {WORDS_MOST} characters is needed")
    return line


def user() -> str:
    """Return the user of this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return f"uid {os.getuid()}"


class NoCalls:
    """Lists that are never read: a dry run calls nobody."""

    async def query(self, realm: str, statement: str, token: Any) -> list[dict[str, Any]]:
        """Refuse."""
        raise LookupFailed("a dry run makes no calls")

    async def find_names(self, realm: str, name: str, token: Any, entities: tuple[str, ...] = ()) -> list[Any]:
        """Refuse."""
        raise LookupFailed("a dry run makes no calls")

    async def updated(self, realm: str, entity: str, since: Any, start: int, token: Any) -> Any:
        """Refuse."""
        raise LookupFailed("a dry run makes no calls")

    async def get(self, realm: str, path: str, params: Any, token: Any) -> Any:
        """Refuse."""
        raise LookupFailed("a dry run makes no calls")
