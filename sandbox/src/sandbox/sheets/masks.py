"""Partial answers: `fields=sheets(properties.title,data),spreadsheetId`."""

from typing import Any

Mask = dict[str, "Mask"]


def parse(text: str) -> Mask:
    """Read a field mask. Raises ValueError."""
    mask, rest = _parse(text.replace(" ", ""), 0)
    if rest != len(text.replace(" ", "")):
        raise ValueError(f"Request contains an invalid argument: fields={text}")
    return mask


def _parse(text: str, at: int) -> tuple[Mask, int]:
    mask: Mask = {}
    while at < len(text) and text[at] != ")":
        here, start = mask, at
        while at < len(text) and text[at] not in "(),":
            at += 1
        names = [name for part in text[start:at].split("/") for name in part.split(".")]
        if not all(names):
            raise ValueError(f"Invalid field selection in {text}")
        for name in names[:-1]:
            here = here.setdefault(name, {})
        if at < len(text) and text[at] == "(":
            inner, at = _parse(text, at + 1)
            if at >= len(text) or text[at] != ")":
                raise ValueError(f"Missing closing parenthesis in fields={text}")
            at += 1
            _merge(here.setdefault(names[-1], {}), inner)
        else:
            here[names[-1]] = {}
        if at < len(text) and text[at] == ",":
            at += 1
    return mask, at


def _merge(target: Mask, extra: Mask) -> None:
    for name, inner in extra.items():
        _merge(target.setdefault(name, {}), inner)


def apply(value: Any, mask: Mask) -> Any:
    """Keep only what the mask names; an empty mask keeps everything."""
    if not mask or "*" in mask:
        return value
    if isinstance(value, list):
        return [apply(item, mask) for item in value]
    if isinstance(value, dict):
        return {name: apply(item, mask[name]) for name, item in value.items() if name in mask}
    return value
