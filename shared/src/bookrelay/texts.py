"""Text that can be stored and sent: Postgres accepts no NUL and no lone surrogate, QuickBooks' XML no control characters.

Such characters are invisible and are removed from free text. An identifier that contains one is rejected: two identifiers that
differ only in such a character would become the same.
"""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from bookrelay import limits

_BREAKS = str.maketrans(dict.fromkeys("\x0b\x0c\x1c\x1d\x1e\x1f", " "))  # they separate words: word processors write \x0b
_UNSTORABLE = re.compile(r"[\x00-\x08\x0e-\x1b\x7f\ud800-\udfff\ufffe\uffff]")
# Matches from left to right, so that an escaped backslash escapes nothing; a surrogate pair is one character and is kept.
_ESCAPES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
_UNSTORABLE_ESCAPES = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<gone>\\u(?:[dD][89a-fA-F][0-9a-fA-F]{2}|00(?:0[0-8bBcCeEfF]|1[0-9a-fA-F]|7[fF])))|\\."
)
_BRACKETS = re.compile(
    r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', re.DOTALL
)  # and whole strings, since brackets inside them do not count


def clean(text: str) -> str:
    """Remove what cannot be stored: NUL, control characters other than tab and line breaks, lone surrogates."""
    if text.isprintable():
        return text
    return _UNSTORABLE.sub("", text.translate(_BREAKS))


def shorten(text: str, most: int) -> str:
    """Return at most `most` characters; a truncated text ends with an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def without_lone_surrogates(json_text: bytes) -> bytes:
    r"""Replace lone surrogates (`\ud83d` alone) in a JSON text by NUL: programs that truncate by UTF-16 units produce them.

    Both are removed from free text; an identifier with either is rejected.
    """
    return _ESCAPES.sub(lambda found: rb"\u0000" if found["lone"] else found[0], json_text)


def storable_json(json_text: str) -> str:
    """Remove from the strings of a JSON text what cannot be stored; for responses of other systems, which are kept verbatim."""
    if "\\u" not in json_text:
        return json_text
    return _UNSTORABLE_ESCAPES.sub(lambda found: "" if found["gone"] else found[0], json_text)


def without_depths(json_text: str, most: int) -> str:
    """Replace each value of a JSON text that is nested deeper than `most` by null: parsers reject it."""
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


def _cleaned(value: object) -> object:  # called for every text of every message; nearly all need no change
    return clean(value) if isinstance(value, str) and not value.isprintable() else value


def _explanation(value: object) -> object:
    return shorten(clean(value), limits.TEXT) if isinstance(value, str) else value


def _display_value(value: object) -> object:
    return shorten(clean(value), limits.SHOWN) if isinstance(value, str) else value


def _short_text(value: object) -> object:
    return shorten(clean(value), limits.SHORT) if isinstance(value, str) else value


_NO_CONTROL = r"^[^\x00-\x1f\x7f]+$"

FreeText = Annotated[str, BeforeValidator(_cleaned)]
"""Free text, cleaned; the field sets its own `max_length`."""
Text = Annotated[FreeText, Field(min_length=1, max_length=limits.TEXT)]
Name = Annotated[FreeText, Field(min_length=1, max_length=limits.NAME)]

Explanation = Annotated[str, BeforeValidator(_explanation), Field(max_length=limits.TEXT)]
"""Text for a person, often from another system: cleaned, and truncated to the limit."""
DisplayValue = Annotated[str, BeforeValidator(_display_value), Field(max_length=limits.SHOWN)]
"""A value displayed beside another: cleaned, and truncated to the limit."""
ShortText = Annotated[str, BeforeValidator(_short_text), Field(max_length=limits.SHORT)]
"""A code or number of another system, for display: cleaned, and truncated to the limit."""

Identifier = Annotated[str, Field(min_length=1, max_length=limits.IDENTIFIER, pattern=_NO_CONTROL)]
Realm = Annotated[str, Field(min_length=1, max_length=limits.REALM, pattern=_NO_CONTROL)]
Source = Annotated[str, Field(min_length=1, max_length=limits.SOURCE, pattern=_NO_CONTROL)]
SourceKey = Annotated[str, Field(min_length=1, max_length=limits.SOURCE_KEY, pattern=_NO_CONTROL)]
