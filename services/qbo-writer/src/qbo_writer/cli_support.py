"""What the groups of the operators' commands share."""

import argparse
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from bookrelay.db import Pool
from bookrelay.errors import BookrelayError
from bookrelay.kafka_probe import kafka_server

from qbo_writer.domain import LookupFailed
from qbo_writer.settings import WriterSettings

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


class NoCalls:
    """Lists that are never read: a dry run calls nobody."""

    async def query(self, realm: str, statement: str, token: Any) -> list[dict[str, Any]]:
        """Refuse."""
        raise LookupFailed("a dry run makes no calls")

    async def find_names(self, realm: str, name: str, token: Any, entities: tuple[str, ...] = ()) -> list[Any]:
        """Refuse."""
        raise LookupFailed("a dry run makes no calls")

    async def get(self, realm: str, path: str, params: Any, token: Any) -> Any:
        """Refuse."""
        raise LookupFailed("a dry run makes no calls")
