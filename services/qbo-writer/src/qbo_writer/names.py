"""How names are compared, and which texts are not names. One rule for policy, cache, queries, name documents and comparisons.

Two texts mean the same entry if `fold` is equal: it ignores case, spacing, invisible characters and accent encoding. If only
`alike` is equal (ß and ss, a ligature and its letters), it is uncertain: neither matched nor created beside it.

Names in QuickBooks are never rewritten: entries are found by the folded name and referred to by Id.
"""

import re
import unicodedata
from collections.abc import Iterable

DELETED = " (deleted)"  # QuickBooks appends it to the names of inactive entries
_SUFFIX = re.compile(r" \(deleted(-\d+)?\)$", re.I)
# Texts that spreadsheets, programs and people put where a name is missing. Compared folded.
_NO_NAMES = frozenset(
    ("loading...", "loading\u2026", "nan", "none", "null", "undefined", "n/a", "tbd", "tba", "0", "true", "false",
     "[object object]", "invalid date", "unknown error")
)  # fmt: skip
_ERROR = re.compile(
    r"#(n/a|ref!|value!|name\?|div/0!|num!|null!|error!|spill!|calc!|getting_data|blocked!|connect!|field!)", re.I
)
_SHARP = re.compile("ss", re.I)
_ONLY_SIGNS = re.compile(r"[\W_]+")
_UNSEEN = ("Cf", "Cc", "Cs")  # format and control characters, lone surrogates
_GAPS = 6  # up to this many gaps, each is also doubled separately
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec)[a-z]*\.?"
_CLOCK = r"([ t]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[ap]m)?z?)?"
_DATE = re.compile(
    rf"(\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\d{{1,2}}[-/.](\d{{4}}|\d{{2}})"
    rf"|{_MONTH} \d{{1,2}},? \d{{4}}|\d{{1,2}}[. -]+{_MONTH}[, -]*\d{{4}}){_CLOCK}",
    re.I,
)


def tidy(name: str) -> str:
    """Return a name as it is created: NFC, no invisible characters, single spaces, trimmed."""
    seen = "".join(" " if sign.isspace() else sign for sign in unicodedata.normalize("NFC", name) if _visible(sign))
    return " ".join(seen.split())


def _visible(sign: str) -> bool:
    return sign.isspace() or unicodedata.category(sign) not in _UNSEEN


def fold(name: str) -> str:
    """Return a name as it is compared: tidy, ignoring case and spaces around the colon of a full name."""
    folded = unicodedata.normalize("NFC", "".join(map(_small, tidy(name))))
    return ":".join(part.strip() for part in folded.split(":"))


def _small(sign: str) -> str:
    """Lower-case a character; not if that takes two letters (ß as ss), which is another spelling, not another case."""
    folded = sign.casefold()
    return folded if len(folded) == 1 else sign.lower()


def alike(name: str) -> str:
    """Return a key shared by names that may be the same: folded, and with ligatures and ß spelled out."""
    return unicodedata.normalize("NFC", fold(name).casefold())


def own(name: str, *, active: bool) -> str:
    """Return an entry's own name, without the " (deleted)" that QuickBooks appends to inactive ones."""
    return name if active else _SUFFIX.sub("", name) or name


def texts(*names: str, active: bool) -> list[str]:
    """Return the texts that match an entry with these names; an inactive one also matches as QuickBooks shows it."""
    return [text for name in names if name for text in ((name,) if active else (name, name + DELETED))]


def means(text: str, named: Iterable[str]) -> bool:
    """Whether a text is one of these names."""
    return fold(text) in map(fold, named)


def resembles(text: str, named: Iterable[str]) -> bool:
    """Whether a text may be one of these names."""
    return alike(text) in map(alike, named)


def last(name: str) -> str:
    """Return the last part of a full name ("Parent:Child"): QuickBooks stores it as the DisplayName."""
    return name.rsplit(":", 1)[-1].strip() or name


def spellings(name: str) -> list[str]:
    """Return the spellings to query: QuickBooks compares space by space, and people type double or non-breaking spaces.

    Each gap doubled, all doubled, all non-breaking, accents decomposed, ß and ss swapped, the text as the source sent it.
    """
    plain = tidy(name)
    words = plain.split(" ")
    gaps = range(1, len(words)) if len(words) <= _GAPS else ()
    found = [plain, *(" ".join(words[:at]) + "  " + " ".join(words[at:]) for at in gaps)]
    if not any(unicodedata.category(sign) in _UNSEEN for sign in name):
        found.append(name.strip())
    found += ["  ".join(words), "\u00a0".join(words), unicodedata.normalize("NFD", plain)]
    found += [_SHARP.sub("\u00df", plain), plain.replace("\u00df", "ss").replace("\u1e9e", "SS")]
    return list(dict.fromkeys(found))


def no_name(name: str) -> str | None:
    """Return what a text is if it cannot be a name ("an error text", "a date"), else None."""
    text = fold(name)
    if _ERROR.match(text) or text in _NO_NAMES or _ONLY_SIGNS.fullmatch(text):
        return "an error text or a placeholder"
    return "a date" if _DATE.fullmatch(text) else None
