"""Text that can be stored and sent on: Postgres takes no NUL and no lone surrogate, XML behind QuickBooks no control character.

Free text is cleaned of them, for nobody can see what is taken out. An identifier is refused instead: two that differ only in
such a character would become one.
"""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from bookrelay import limits

_BREAKS = str.maketrans(dict.fromkeys("\x0b\x0c\x1c\x1d\x1e\x1f", " "))  # they part words: word processors write \x0b
_UNSTORABLE = re.compile(r"[\x00-\x08\x0e-\x1b\x7f\ud800-\udfff\ufffe\uffff]")
# Left to right, so that a backslash before a backslash escapes nothing; a pair of surrogates is one character, and stays.
_ESCAPES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
_UNSTORABLE_ESCAPES = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<gone>\\u(?:[dD][89a-fA-F][0-9a-fA-F]{2}|00(?:0[0-8bBcCeEfF]|1[0-9a-fA-F]|7[fF])))|\\."
)
_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', re.DOTALL)  # and strings whole: theirs do not count


def clean(text: str) -> str:
    """Return the text without what cannot be stored: NUL, control characters other than tab and line breaks, half characters."""
    if text.isprintable():
        return text
    return _UNSTORABLE.sub("", text.translate(_BREAKS))


def shorten(text: str, most: int) -> str:
    """Return at most `most` characters; where something is cut, the last is an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def without_lone_surrogates(json_text: bytes) -> bytes:
    r"""Put NUL in the place of halves of characters (`\ud83d` alone) in a JSON text: what cuts by UTF-16 units leaves them.

    Free text is cleaned of both; an identifier with either is refused.
    """
    return _ESCAPES.sub(lambda found: rb"\u0000" if found["lone"] else found[0], json_text)


def storable_json(json_text: str) -> str:
    """Take out of a JSON text what its strings cannot be stored with: somebody else's answer that is kept as it came."""
    if "\\u" not in json_text:
        return json_text
    return _UNSTORABLE_ESCAPES.sub(lambda found: "" if found["gone"] else found[0], json_text)


def without_depths(json_text: str, most: int) -> str:
    """Put null in the place of each value of a JSON text that is nested deeper than `most`: no parser takes it."""
    kept, depth, at = [], 0, 0
    for found in _BRACKETS.finditer(json_text):
        if found[0] in ("[", "{"):
            depth += 1
            if depth == most + 1:
                kept += [json_text[at : found.start()], "null"]
        elif found[0] in ("]", "}"):
            depth -= 1
            if depth == most:
                at = found.end()
    return "".join(kept) + json_text[at:] if depth <= most else json_text


def _cleaned(value: object) -> object:  # of every text of every message: nearly all are as they should be
    return clean(value) if isinstance(value, str) and not value.isprintable() else value


def _told(value: object) -> object:
    return shorten(clean(value), limits.TEXT) if isinstance(value, str) else value


def _shown(value: object) -> object:
    return shorten(clean(value), limits.SHOWN) if isinstance(value, str) else value


def _word(value: object) -> object:
    return shorten(clean(value), limits.SHORT) if isinstance(value, str) else value


_NO_CONTROL = r"^[^\x00-\x1f\x7f]+$"

Plain = Annotated[str, BeforeValidator(_cleaned)]
"""Free text, cleaned; give the field its `max_length`."""
Text = Annotated[Plain, Field(min_length=1, max_length=limits.TEXT)]
Name = Annotated[Plain, Field(min_length=1, max_length=limits.NAME)]

Told = Annotated[str, BeforeValidator(_told), Field(max_length=limits.TEXT)]
"""Words for a person, often somebody else's: cleaned, and cut where they are longer."""
Shown = Annotated[str, BeforeValidator(_shown), Field(max_length=limits.SHOWN)]
"""A value shown to a person beside another: cut where it is longer."""
Word = Annotated[str, BeforeValidator(_word), Field(max_length=limits.SHORT)]
"""A code or number of somebody else's, for people: cut where it is longer."""

Identifier = Annotated[str, Field(min_length=1, max_length=limits.IDENTIFIER, pattern=_NO_CONTROL)]
Realm = Annotated[str, Field(min_length=1, max_length=limits.REALM, pattern=_NO_CONTROL)]
Source = Annotated[str, Field(min_length=1, max_length=limits.SOURCE, pattern=_NO_CONTROL)]
SourceKey = Annotated[str, Field(min_length=1, max_length=limits.SOURCE_KEY, pattern=_NO_CONTROL)]
