"""How names are compared, and which texts are no names. One rule for policy, cache, queries, name documents and comparisons.

Two texts mean one entry where `fold` is the same: case, blanks, unseen signs and the encoding of accents apart. Where only
`alike` is (ß and ss, a ligature and its letters), nobody knows: neither is taken for the other, nor made beside it.

What QuickBooks holds is never rewritten by this: it is found by the fold and referred to by Id.
"""

import re
import unicodedata
from collections.abc import Iterable

DELETED = " (deleted)"  # QuickBooks appends it to the name of what is made inactive
_SUFFIX = re.compile(r" \(deleted(-\d+)?\)$", re.I)
# Texts of a spreadsheet, a program or a person that stand where a name is missing. Compared folded.
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
_GAPS = 6  # words, up to which each gap is doubled by itself
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec)[a-z]*\.?"
_CLOCK = r"([ t]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?( ?[ap]m)?z?)?"
_DATE = re.compile(
    rf"(\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}|\d{{1,2}}[-/.]\d{{1,2}}[-/.](\d{{4}}|\d{{2}})"
    rf"|{_MONTH} \d{{1,2}},? \d{{4}}|\d{{1,2}}[. -]+{_MONTH}[, -]*\d{{4}}){_CLOCK}",
    re.I,
)


def tidy(name: str) -> str:
    """Return a name as it is created: NFC, without signs that nobody sees, blanks of all kinds as one, none at the ends."""
    seen = "".join(" " if sign.isspace() else sign for sign in unicodedata.normalize("NFC", name) if _visible(sign))
    return " ".join(seen.split())


def _visible(sign: str) -> bool:
    return sign.isspace() or unicodedata.category(sign) not in _UNSEEN


def fold(name: str) -> str:
    """Return a name as it is compared: tidy, without regard to case, and to blanks beside the colon of a full name."""
    folded = unicodedata.normalize("NFC", "".join(map(_small, tidy(name))))
    return ":".join(part.strip() for part in folded.split(":"))


def _small(sign: str) -> str:
    """Return the small letter; none that is spelled with two (ß as ss): that is another spelling, not another case."""
    folded = sign.casefold()
    return folded if len(folded) == 1 else sign.lower()


def alike(name: str) -> str:
    """Return what names have in common that may be one: as folded, and with letters of two signs as these."""
    return unicodedata.normalize("NFC", fold(name).casefold())


def own(name: str, *, active: bool) -> str:
    """Return an entry's own name: QuickBooks shows " (deleted)" behind that of an inactive one."""
    return name if active else _SUFFIX.sub("", name) or name


def texts(*names: str, active: bool) -> list[str]:
    """Return the texts that mean an entry with these own names; an inactive one is also meant as QuickBooks shows it."""
    return [text for name in names if name for text in ((name,) if active else (name, name + DELETED))]


def means(text: str, named: Iterable[str]) -> bool:
    """Whether a text is one of these names."""
    return fold(text) in map(fold, named)


def resembles(text: str, named: Iterable[str]) -> bool:
    """Whether a text may be one of these names."""
    return alike(text) in map(alike, named)


def last(name: str) -> str:
    """Return the own name of an entry that is named in full ("Parent:Child"): QuickBooks keeps it as its DisplayName."""
    return name.rsplit(":", 1)[-1].strip() or name


def spellings(name: str) -> list[str]:
    """Return the texts to ask QuickBooks for: it compares blank by blank, and people type two, or one that does not break.

    Each gap doubled, all doubled, all non-breaking, the accents apart, ß and ss for each other, the text as the source has it.
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
    """Return what a text is that cannot be anybody's name ("an error text", "a date"), or None."""
    text = fold(name)
    if _ERROR.match(text) or text in _NO_NAMES or _ONLY_SIGNS.fullmatch(text):
        return "an error text or a placeholder"
    return "a date" if _DATE.fullmatch(text) else None
