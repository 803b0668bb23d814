"""Redacts bodies (structure, numbers, ids and dates remain) and removes names from sentences. Pure."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

LEFT_OUT = "..."
# Names, notes, descriptions, addresses and messages may name a person: only other fields are kept. Of a command's content:
OURS = frozenset(("txn_date", "due_date", "value", "code", "type", "status"))

_LETTERS = re.compile(r"[^\W\d_]{2,}")
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'")


def redacted(body: str, kept: Collection[str] = OURS) -> Any:
    """Return a JSON body without its texts, except those of the keys in `kept`; None if it is not JSON.

    Amounts keep their digits, as text.
    """
    try:
        return _plain("", json.loads(body, parse_float=str), kept)
    except ValueError:
        return None


def veiled(text: str, names: Iterable[str]) -> str:
    """Return QuickBooks' words without these names, whole and each word of two letters or more, ignoring case."""
    words = {word for name in names for word in (name.strip(), *_LETTERS.findall(name)) if len(word) > 1} if text else None
    if not words:
        return text
    either = "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))
    return re.sub(rf"(?<!\w)(?:{either})(?!\w)", LEFT_OUT, text, flags=re.IGNORECASE)


def names_in(content: Mapping[str, Any] | None) -> Iterator[str]:
    """Return the names and addresses of people in a command's content."""
    for key, value in (content or {}).items():
        if key == "name" and isinstance(value, str):
            yield value
        elif key in ("customer", "vendor", "payee") and isinstance(value, Mapping):
            yield from (text for text in value.values() if isinstance(text, str))


def literals_in(statement: str) -> list[str]:
    """Return the quoted texts of a query, unquoted; also without the wildcard."""
    return [re.sub(r"\\(.)", r"\1", quoted).strip("%") for quoted in _QUOTED.findall(statement)]


def _plain(key: str, value: Any, kept: Collection[str]) -> Any:
    if isinstance(value, dict):
        return {name: _plain(name, item, kept) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(key, item, kept) for item in value]
    if isinstance(value, str) and key not in kept and not _number(value):
        return LEFT_OUT
    return value


def _number(text: str) -> bool:
    return len(text) <= 20 and text.lstrip("-").replace(".", "", 1).isdigit() and text.isascii()
