"""The lists that documents refer to, as far as a field's name says which, and merges of their entries."""

from dataclasses import dataclass

from qbo_writer.domain import PARTY_KINDS, LedgerKind

Entry = tuple[str, str]  # entity, Id

# The last word of a field that names an entry says of which list: "vendor", "line.2.item", "ap_account"; capitalised it is the
# list's entity.
_WORDS = ("customer", "vendor", "item", "account", "class", "department", "term")
ENTITIES = frozenset(word.capitalize() for word in _WORDS)
MOSTLY_REFUSED = frozenset(word.capitalize() for word in ("customer", "vendor", "item"))
"""What requests are refused for when it was merged away: parties, and what lines are of."""


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
    word = entity.lower()
    return LedgerKind(word) if word in set(PARTY_KINDS) else None


def pattern(entity: str) -> str:
    """Return the regular expression of the fields that name entries of this list."""
    if entity not in ENTITIES:
        raise ValueError(f"{entity} is no list that a field names")
    return rf"(^|[._]){entity.lower()}$"


def list_of(field: str) -> str | None:
    """Return the entity of the list that a field names an entry of."""
    word = field.replace("_", ".").rpartition(".")[2]
    return word.capitalize() if word in _WORDS else None
