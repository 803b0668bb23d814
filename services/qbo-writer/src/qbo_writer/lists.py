"""The lists that documents refer to, as far as a field's name says which, and merges of their entries."""

from dataclasses import dataclass

from qbo_writer.domain import LedgerKind

Entry = tuple[str, str]  # entity, Id

# The last word of a field that names an entry, and of which list: "vendor", "line.2.item", "ap_account".
_LISTS = {"customer": "Customer", "vendor": "Vendor", "item": "Item", "account": "Account", "class": "Class",
          "department": "Department", "term": "Term"}  # fmt: skip

ENTITIES = frozenset(_LISTS.values())


@dataclass(frozen=True)
class Merge:
    """The entry `loser` is part of `winner` now; both are Ids of the same list."""

    entity: str
    loser: str
    winner: str

    @property
    def entry(self) -> Entry:
        """The loser."""
        return (self.entity, self.loser)


def kind_of(entity: str) -> LedgerKind | None:
    """Return which documents stand for entries of a list in the ledger; None: entries of this one are never made."""
    return {"Customer": LedgerKind.CUSTOMER, "Vendor": LedgerKind.VENDOR}.get(entity)


def pattern(entity: str) -> str:
    """Return the regular expression of the fields that name entries of this list."""
    (word,) = [word for word, named in _LISTS.items() if named == entity]
    return rf"(^|[._]){word}$"


def list_of(field: str) -> str | None:
    return _LISTS.get(field.replace("_", ".").rpartition(".")[2])
