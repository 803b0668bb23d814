"""Entries of QuickBooks' lists, as the cache keeps them: read from its JSON and from the cache's rows, compared, kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from bookrelay.db import Connection, Pool

from qbo_writer.domain import BooksEntity, Reference
from qbo_writer.names import alike, means, own, texts, tidy
from qbo_writer.quickbooks.company import true
from qbo_writer.quickbooks.missing import Alike, Missing, alike_only, several_alike

NAME_SPACE = ("Customer", "Vendor", "Employee")
LISTS = ("Item", "Account", "Term", "Class", "Department", "TaxCode", "PaymentMethod")
KEPT = "entity, qbo_id, name, name_folded, active"  # what `kept` reads
ALSO = ("Name", "AcctNum")  # besides its full name an entry of a list is found by these
_NO_LINES = {"Category": "category", "Group": "bundle"}  # types of items that never stand in a line by themselves


def reference(entity: str, raw: Mapping[str, Any]) -> Reference:
    """Return an entry as QuickBooks shows it."""
    name, used = (
        raw.get("DisplayName") if entity in NAME_SPACE else (raw.get("FullyQualifiedName") or raw.get("Name")),
        in_use(raw),
    )
    return Reference(entity, str(raw.get("Id")), own(str(name or ""), active=used), used, heads(entity, raw))


def kept(row: Mapping[str, Any]) -> Reference:
    """Return what a row of the cache (KEPT) holds. Earlier rows have the names of inactive entries as QuickBooks shows them."""
    name = row["name"]
    if alike(name) != row["name_folded"]:
        name = own(name, active=row["active"])
    return Reference(row["entity"], row["qbo_id"], name, row["active"])


def in_use(raw: Mapping[str, Any]) -> bool:
    """Whether an entry is in use, as QuickBooks shows it."""
    return true(raw.get("Active", True))


def full_name(raw: Mapping[str, Any]) -> str:
    """Return the name below its parents; empty where QuickBooks shows none."""
    return own(str(raw.get("FullyQualifiedName") or ""), active=in_use(raw))


def heads(entity: str, raw: Mapping[str, Any]) -> str | None:
    """Return what an item heads, which no line can name; None for every other entry."""
    return _NO_LINES.get(str(raw.get("Type"))) if entity == "Item" else None


def details(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What else an entry is found by (its short name, an account's number), and its type."""
    found = {key: str(raw[key]) for key in (*ALSO, "Type") if raw.get(key)}
    if raw.get("DisplayName") and raw.get("FullyQualifiedName") not in (None, raw["DisplayName"]):
        found["FullyQualifiedName"] = full_name(raw)
    return found


def active(seen: BooksEntity) -> bool:
    """Whether an entry is in use: inactive ones are kept by QuickBooks for ever."""
    return in_use(seen.raw)


def reference_of(seen: BooksEntity) -> Reference:
    """Return an entry as the cache keeps it."""
    return reference(seen.entity, seen.raw)


def named(seen: BooksEntity, text: str) -> bool:
    """Whether a text is the name of a customer, vendor or employee, and not only like it."""
    one = reference_of(seen)
    return means(text, texts(one.name, full_name(seen.raw), active=one.active))


def same(name: str, text: str) -> bool:
    """Whether a text is just this name: QuickBooks keeps no two that differ by case only."""
    return name.strip().lower() == text.strip().lower()


def best(entity: str, text: str, held: Sequence[tuple[Reference, str]]) -> Reference | None:
    """Return whom a text means among those (each with its full name) whose names are alike: active ones and our kind first.

    Where it is the name of none, it may be another's. Of several active ones the one with just that name; where none has it,
    nobody is guessed: it would be billed to a stranger.
    """
    if held and not any(means(text, texts(one.name, full, active=one.active)) for one, full in held):
        raise Alike(alike_only(entity, text, [one for one, _ in held]))
    held = [(one, full) for one, full in held if means(text, texts(one.name, full, active=one.active))]
    fit = [(one, full) for one, full in held if one.entity == entity and one.active]
    if len({one.qbo_id for one, _ in fit}) < 2:
        return min((one for one, _ in held), key=lambda one: (not one.active, one.entity != entity), default=None)
    for exact in (
        [one for one, full in fit if text in (one.name, full)],
        [one for one, full in fit if same(one.name, text) or same(full, text)],
        [one for one, full in fit if same(one.name, tidy(text)) or same(full, tidy(text))],
    ):
        if exact:
            return exact[0]
    raise Missing(several_alike(entity, text, [one for one, _ in fit]))


async def keep(
    connection: Connection | Pool, realm: str, references: Sequence[Reference], given: Sequence[Mapping[str, Any]]
) -> None:
    """Keep entries, each with its details."""
    await connection.executemany(
        "INSERT INTO qbo_writer.references (realm, entity, qbo_id, name, name_folded, active, details, seen_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, now()) ON CONFLICT (realm, entity, qbo_id) DO UPDATE SET name = excluded.name, "
        "name_folded = excluded.name_folded, active = excluded.active, details = excluded.details, seen_at = now()",
        [
            (realm, one.entity, one.qbo_id, one.name, alike(one.name), one.active, dict(detail))
            for one, detail in zip(references, given, strict=True)
        ],
    )
