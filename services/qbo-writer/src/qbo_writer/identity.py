"""A document's identity: its marker, and the number derived from its key. Pure."""

import hashlib
import re

from qbo_writer.domain import LedgerKind
from qbo_writer.policy import Policy

DOC_NUMBER_LENGTH = 21

_PLAIN_KEY = re.compile(r"[A-Z0-9][A-Z0-9._/-]*")  # no lower case: QuickBooks may ignore case

MARKER = re.compile(r"bookrelay:[a-z2-7]{16}")

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"  # base32's alphabet

_PAIRS = tuple(first + second for first in _LETTERS for second in _LETTERS)


def doc_number(policy: Policy, source: str, source_key: str) -> str:
    """Return the document's number: at most 21 characters, derived from the key alone.

    A short plain key of a source with a prefix is readable ("Q-12082"). Any other key is hashed: "Q~" or "~" and base32. No
    readable number equals a hash (it has no "~") or one of another source (prefixes differ and have no "-").
    """
    prefix = policy.prefixes.get(source, "")
    literal = f"{prefix}-{source_key}"
    if prefix and len(literal) <= DOC_NUMBER_LENGTH and _PLAIN_KEY.fullmatch(source_key):
        return literal
    head = f"{prefix}~"
    return head + _base32(DOC_NUMBER_LENGTH - len(head), source, source_key)


def marker(realm: str, source: str, source_key: str, kind: LedgerKind) -> str:
    """Return the marker of a document, "bookrelay:" and 16 characters; reveals nothing about the key."""
    return "bookrelay:" + _base32(16, "marker", realm, source, source_key, kind.value).lower()


def _base32(length: int, *parts: str) -> str:
    """Return the first `length` characters (24 at most) of the hash in base32.

    This runs twice for every command that is recorded: `base64.b32encode` of the whole hash took 13 us of its 40 us.
    """
    number = int.from_bytes(hashlib.sha256("\x1f".join(parts).encode()).digest()[:15], "big")
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(110, 110 - 5 * length, -10)])[:length]
