"""Texts of QuickBooks queries: literals, spellings of a name, numbers in parts that fit an address. Pure."""

import re
from collections.abc import Sequence
from urllib.parse import quote

from qbo_writer.names import DELETED, spellings

ALL = "Active in (true, false)"
NAMES_MOST = 6000  # encoded characters of a query's names
# The query lexer refuses typographic quotes and dashes. LIKE with % in their place, filtered by the caller.
_ODD = re.compile("[\u2010-\u201f\u2026\u2032-\u2035]")


def literal(text: str) -> str:
    """Quote a text for a query: only `\\'` and `\\\\` are escapes; doubling the quote does not work."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def plain(name: str) -> bool:
    """Whether a name can be used unchanged in a query."""
    return not _ODD.search(name) and "%" not in name and len(name) <= 100


def literals(name: str) -> list[str]:
    """Return the literals for one name: its spellings, each also as an inactive entry."""
    return [literal(text + end) for text in spellings(name) for end in ("", DELETED)]


def length(name: str) -> int:
    """Return the length of a name in an encoded address."""
    return sum(len(quote(text)) + 3 for text in literals(name))


def numbered(numbers: Sequence[str]) -> list[str]:
    """Return the conditions that find these numbers, each short enough for an address."""
    conditions, texts, length = [], list[str](), 0
    for number in numbers:
        if not plain(number):
            conditions.append(like(number))
            continue
        size = len(quote(literal(number))) + 3
        if texts and length + size > NAMES_MOST:
            conditions.append(f"in ({', '.join(texts)})")
            texts, length = [], 0
        texts.append(literal(number))
        length += size
    return conditions + ([f"in ({', '.join(texts)})"] if texts else [])


def like(name: str) -> str:
    """Return the operator and literals that find `name`, also as an inactive entry.

    LIKE if it has characters that the query lexer refuses; that finds more, which the caller filters.
    """
    if plain(name):
        return f"in ({', '.join(literals(name))})"
    return f"like {literal('%'.join(_ODD.sub('%', name).split()) + '%')}"
