"""`python -m bookrelay_deploy.compatibility`: checks that the messages are backward compatible and may stay v1.

Compares the schemas of the code with docs/schemas/released/ (the released ones) and with docs/schemas/ (the current ones).
`--write` rewrites the latter, `--release` marks the current schemas as released.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bookrelay_deploy.json_schemas import schemas, written

Schema = dict[str, Any]
FOLDER = Path("docs/schemas")

# A bound may be relaxed, never tightened: raising (or lowering) one of these rejects messages that used to be valid.
_LOWER, _UPPER = (
    ("minLength", "minItems", "minimum", "exclusiveMinimum"),
    ("maxLength", "maxItems", "maximum", "exclusiveMaximum"),
)


def main(arguments: list[str] | None = None) -> int:
    """Compare, or write; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bookrelay_deploy.compatibility", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--write", action="store_true", help="rewrite the current schemas")
    group.add_argument(
        "--release", action="store_true", help="mark the current schemas as released: from now on they must stay compatible"
    )
    given = parser.parse_args(arguments)
    current = schemas()
    if given.write or given.release:
        _write(given.folder, current)
    broken = check(_read(given.folder / "released"), current)
    if given.release and not broken:
        _write(given.folder / "released", current)
    problems = broken + stale(given.folder, current)
    if broken:
        problems.append("An incompatible change needs a new type on a v2 topic.")
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


def check(released: dict[str, Schema], current: dict[str, Schema]) -> list[str]:
    """Return every incompatibility of `current` with `released`, one sentence each."""
    problems: list[str] = []
    for type_, old in released.items():
        if type_ not in current:
            problems.append(f"{type_}: the message was removed")
        else:
            problems += [f"{type_}: {problem}" for problem in Comparison(old, current[type_]).run()]
    return problems


def stale(folder: Path, current: dict[str, Schema]) -> list[str]:
    """Return the schema files that differ from the code."""
    there = {path.stem: path.read_text() for path in folder.glob("*.json")}
    wanted = {type_: written(schema) for type_, schema in current.items()}
    names = sorted(name for name in there.keys() | wanted.keys() if there.get(name) != wanted.get(name))
    return [f"{folder / name}.json differs from the code: python -m bookrelay_deploy.compatibility --write" for name in names]


class Comparison:
    """One released schema against the current one, reference by reference."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old, new
        self._seen: set[tuple[str, str]] = set()  # references may be recursive

    def run(self) -> list[str]:
        """Return what is incompatible."""
        return list(self._compare(self._old, self._new, ""))

    def _compare(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        yield from self._default(old, new, path)
        references = (old.get("$ref", ""), new.get("$ref", ""))
        if all(references):
            if references in self._seen:
                return
            self._seen.add(references)
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        if "anyOf" in old or "anyOf" in new:
            yield from self._alternatives(old, new, path)
            return
        where = path or "the message"
        if old.get("type") != new.get("type"):
            yield f"{where} was {old.get('type')} and is {new.get('type')}"
            return
        yield from _values(old, new, where)
        yield from _bounds(old, new, where)
        yield from self._fields(old, new, path)
        if isinstance(old.get("items"), dict):
            yield from self._compare(old["items"], new.get("items") or {}, f"{path}[]")

    def _default(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        # A field that is absent from an old message means the default; ids are hashes without default values.
        if "default" in old and old["default"] != new.get("default", ...):
            yield f"{path} had the default {old['default']!r}, now {new.get('default', 'none')!r}"

    def _alternatives(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        choices = new.get("anyOf", [new])
        for number, one in enumerate(map(_without_default, old.get("anyOf", [old]))):
            seen = set(self._seen)
            found = [list(self._compare(one, _without_default(choice), f"{path}|{number}")) for choice in choices]
            self._seen = seen
            if all(found):
                closest = min(found, key=len)
                yield f"{path}: an alternative is no longer accepted ({closest[0]})"

    def _fields(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name, schema in before.items():
            inner = f"{path}.{name}" if path else name
            if name not in after:
                yield f"{inner} was removed"
            else:
                yield from self._compare(schema, after[name], inner)
        was, is_ = set(old.get("required", ())), set(new.get("required", ()))
        for name in sorted(is_ - was):
            yield f"{path}.{name} is now required, but older messages do not have it".lstrip(".")
        for name in sorted((was - is_) & after.keys()):
            yield f"{path}.{name} is no longer required, but older readers rely on it".lstrip(".")
        if new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
            yield f"{path or 'the message'} no longer accepts unknown fields"


def _resolved(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        schema = {**root["$defs"][name], **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def _without_default(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "default"}


def _values(old: Schema, new: Schema, where: str) -> Iterator[str]:
    before = old.get("enum", [old["const"]] if "const" in old else None)
    after = new.get("enum", [new["const"]] if "const" in new else None)
    if after is not None and before is None:
        yield f"{where} accepted any value and now accepts {after}"
    elif after is not None and before is not None and (gone := [value for value in before if value not in after]):
        yield f"{where} no longer accepts {gone}"
    elif "const" in old and before != after:
        yield f"{where} was always {old['const']!r}"
    for word in ("pattern", "format"):
        if new.get(word) is not None and new.get(word) != old.get(word):
            yield f"{where} has a different {word}: {old.get(word)!r} -> {new[word]!r}"


def _bounds(old: Schema, new: Schema, where: str) -> Iterator[str]:
    for word in _LOWER:
        if word in new and new[word] > old.get(word, float("-inf")):
            yield f"{where}: {word} was raised from {old.get(word, 'none')} to {new[word]}"
    for word in _UPPER:
        if word in new and new[word] < old.get(word, float("inf")):
            yield f"{where}: {word} was lowered from {old.get(word, 'none')} to {new[word]}"


def _read(folder: Path) -> dict[str, Schema]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def _write(folder: Path, current: dict[str, Schema]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.json"):
        if path.stem not in current:
            path.unlink()
    for type_, schema in current.items():
        (folder / f"{type_}.json").write_text(written(schema))


if __name__ == "__main__":
    sys.exit(main())
