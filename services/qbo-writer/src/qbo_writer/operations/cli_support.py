"""Helpers shared by the operators' commands."""

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
from qbo_writer.ledger.listing import Filter
from qbo_writer.settings import Settings

WORDS_MOST = 1000
SHOWN = 64  # characters of an invalid argument
YEAR_SECONDS = 365 * 86400.0
OLDEST_DAYS = 36_500
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Subcommand = Callable[[argparse.Namespace, Settings, Pool], Awaitable[int]]


def remark(text: str) -> None:
    """Print a remark to stderr; stdout stays machine-readable."""
    print(f"qbo-writer: {text}", file=sys.stderr)


def served(settings: Settings, realm: str | None) -> None:
    """Refuse a company that this writer does not serve: "nothing found" would look like "all is well"."""
    if realm and realm not in settings.qbo_realm_ids:
        raise BookrelayError(f"This writer does not serve company {realm}.", "Check QBO_REALM_IDS.")


async def kafka_why_not(settings: Settings) -> BookrelayError | None:
    """Check Kafka on a separate connection; return what is wrong with it, or None."""
    server, probe = kafka_server(settings, "qbo-writer cli", settings.kafka_security())
    try:
        return await server.why_not()
    finally:
        probe.close()


def number(most: int) -> Callable[[str], int]:
    """Return a parser for numbers from 1 to `most`."""

    def read(text: str) -> int:
        found = int(text) if re.fullmatch(r"[0-9]{1,19}", text) else 0
        if not 1 <= found <= most:
            raise argparse.ArgumentTypeError(f"{text[:SHOWN]} is not a number from 1 to {most}")
        return found

    return read


document_number = number(2**63 - 1)  # a Postgres bigint
at_most = number(1_000_000)  # rows, documents, days


def seconds(text: str) -> float:
    """Parse a number of seconds, up to a year."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= YEAR_SECONDS:  # False for NaN, too
        raise argparse.ArgumentTypeError(f"{text[:SHOWN]} is not a number of seconds from 0 to {YEAR_SECONDS:.0f} (a year)")
    return found


def person_arguments(parser: argparse.ArgumentParser, *, why: bool = False) -> None:
    """Add who decides and why, which are recorded. `why`: the reason is required."""
    parser.add_argument("--why", type=words, required=why, help="the reason, shown by `audit decisions`")
    parser.add_argument("--by", type=words, default=user(), help="who decides (default: the user of this process)")


def filter_arguments(parser: argparse.ArgumentParser, limit: int) -> None:
    """Add the filters for documents."""
    parser.add_argument("--realm", help="only this company")
    parser.add_argument("--kind", choices=[kind.value for kind in LedgerKind], help="only documents of this kind")
    parser.add_argument("--source", help="only documents of this source, for example sheet")
    parser.add_argument("--code", help="only this code, for example QB006")
    parser.add_argument("--reason", help="only documents whose reason contains this text")
    parser.add_argument("--older", type=duration, default=timedelta(), help="only if so for at least this long: 30s, 10m, 2h, 3d")
    parser.add_argument("--limit", type=at_most, default=limit, help=f"at most this many documents (default {limit})")


def chosen(arguments: argparse.Namespace, states: tuple[str, ...]) -> Filter:
    """Return the filter given by `filter_arguments`."""
    a = arguments
    return Filter(states, a.realm, a.kind, a.source, a.code, a.reason, a.older)


def duration(text: str) -> timedelta:
    """Parse 30s, 10m, 2h or 3d."""
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    time = timedelta(**{_UNITS[found[2]]: int(found[1])}) if found else timedelta.max
    if time > timedelta(days=OLDEST_DAYS):
        raise argparse.ArgumentTypeError(f"{text[:SHOWN]} is not a duration like 30s, 10m, 2h or 3d, up to {OLDEST_DAYS}d")
    return time


def words(text: str) -> str:
    """Parse a text: not empty, printable, on one line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if not line or len(line) > WORDS_MOST:
        raise argparse.ArgumentTypeError(f"a text of 1 to {WORDS_MOST} characters is required")
    return line


def user() -> str:
    """Return the user of this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return f"uid {os.getuid()}"


class NoCalls:
    """Lists that are never read: a dry run makes no calls."""

    async def query(self, realm: str, statement: str, token: Any) -> list[dict[str, Any]]:
        """Refuse."""
        raise LookupFailed("a dry run makes no calls")

    async def read(self, realm: str, entity: str, qbo_id: str, token: Any) -> Any:
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
