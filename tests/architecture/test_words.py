"""Plain English: phrases translated word for word, and nouns made of verbs, do not return. docs/glossary.md has the terms."""

import re
from functools import cache
from pathlib import Path

import pytest
from sources import ROOT, tracked

PHRASES = {
    r"\b(is|are|was|were|be) told\b": "published, reported, notified",
    r"\btold (once|to the world)\b": "published once",
    r"\bgo(es)? on\b": "continues, resumes",
    r"\bby (itself|themselves)\b": "automatically",
    r"\bwaited for\b": "waits for",
    r"\bis taken (as|for)\b": "is treated as",
    r"\bare taken\b": "the limit is, accepted",
    r"\bnobody (knows|means)\b": "it is unknown",
    r"\bmend(s|ed)?\b": "fix",
    r"\bput aside\b": "parked, dead-lettered",
    r"\breckon(s|ed)?\b": "calculate",
    r"\b(is|are) away\b": "unavailable",
    r"\b(made|tried|asked|sent) anew\b": "again, recreated",
    r"\bas (it|they) must be\b": "correct",
    r"\btoo much\b": "exceeds the limit of",
    r"\bas any command of ours\b": "changed in QuickBooks since our last write",
    r"\bneighbours?\b": "the others",
    r"\bsurroundings\b": "environment",
    r"\bwithout an end\b": "failed N times, not settled",
}
# What still has them, with the number of lines: it may only shrink.
REMAINING: dict[str, int] = {}
NOUNS_MADE_OF_VERBS = re.compile(r"^\s*class (Known|Asked|End|Wanted|Seen|Told|Heard|Effects?|When)\b")
SUFFIXES = {".py", ".md", ".yml", ".toml", ".example"}
NAMES = {"Makefile", "Dockerfile"}


@cache
def _texts() -> list[tuple[str, str]]:
    """Return what people read, by file: source and documents, without tests, the changelog and generated lock files."""
    found = []
    for path in tracked():
        name = str(path.relative_to(ROOT))
        if name.startswith("tests/") or name in ("CHANGELOG.md", "uv.lock") or "/versions/" in name:
            continue
        if path.suffix in SUFFIXES or path.name in NAMES or name == ".env.example":
            found.append((name, path.read_text("utf-8")))
    return found


def _area(name: str) -> str | None:
    return next((area for area in REMAINING if name == area or Path(area) in Path(name).parents), None)


@cache
def _found(pattern: str) -> list[tuple[str, int]]:
    return [
        (name, text.count("\n", 0, found.start()) + 1)
        for name, text in _texts()
        for found in re.finditer(pattern, text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_translated_phrase_does_not_return(phrase: str) -> None:
    found = [f"{name}:{number}" for name, number in _found(phrase) if _area(name) is None]
    assert found == [], f"write instead: {PHRASES[phrase]}"


@pytest.mark.parametrize("area", REMAINING)
def test_what_remains_of_them_shrinks(area: str) -> None:
    lines = {(name, number) for phrase in PHRASES for name, number in _found(phrase) if _area(name) == area}
    assert len(lines) <= REMAINING[area], sorted(lines)[:20]


def test_classes_are_named_after_things() -> None:
    found = [
        f"{name}: {line.strip()}"
        for name, text in _texts()
        if name.endswith(".py")
        for line in text.splitlines()
        if NOUNS_MADE_OF_VERBS.match(line)
    ]
    assert found == []
