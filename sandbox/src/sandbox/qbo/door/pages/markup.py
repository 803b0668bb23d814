"""HTML as values: text is escaped unless it is `Html` already, so that nothing from a document can become markup."""

from __future__ import annotations

from html import escape


class Html(str):
    """Text that is markup already; only `tag` and `join` make it."""

    __slots__ = ()


VOID_TAGS = frozenset({"input", "link", "meta", "br"})
Child = object


def text(value: object) -> Html:
    """A value as escaped text; None is nothing."""
    if isinstance(value, Html):
        return value
    return Html("" if value is None else escape(str(value), quote=True))


def join(*children: Child) -> Html:
    """Children one after the other; lists are flattened."""
    parts: list[str] = []
    for child in children:
        parts.append(join(*child) if isinstance(child, list | tuple) else text(child))
    return Html("".join(parts))


def tag(name: str, *children: Child, **attributes: object) -> Html:
    """An element. `cls` is class, a trailing underscore is dropped, other underscores are hyphens.

    An attribute that is None or False is left out.
    """
    out = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = {"cls": "class"}.get(key, key.rstrip("_").replace("_", "-"))
        out.append(f" {attribute}" if value is True else f' {attribute}="{text(str(value))}"')
    out.append(">")
    if name in VOID_TAGS:
        return Html("".join(out))
    return Html(f"{''.join(out)}{join(*children)}</{name}>")
