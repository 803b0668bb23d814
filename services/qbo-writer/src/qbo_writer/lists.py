"""The lists that documents refer to, derived from field names, and merges of their entries."""

from dataclasses import dataclass

from qbo_writer.domain import PARTY_KINDS, LedgerKind

Entry = tuple[str, str]  # entity, Id

# The last word of a field's name says which list it refers to: "vendor", "line.2.item", "ap_account"; capitalised, it is the
# entity.
_WORDS = ("customer", "vendor", "item", "account", "class", "department", "term")
ENTITIES = frozenset(word.capitalize() for word in _WORDS)
MOSTLY_REFUSED = frozenset(word.capitalize() for word in ("customer", "vendor", "item"))
"""Lists for which QuickBooks refuses requests that name a merged entry: customers, vendors and items."""


@dataclass(frozen=True)
class Merge:
    """The entry `loser` was merged into `winner`; both are Ids of the same list."""

    entity: str
    loser: str
    winner: str

    @property
    def entry(self) -> Entry:
        """The loser."""
        return (self.entity, self.loser)


def kind_of(entity: str) -> LedgerKind | None:
    """Return the kind of document for entries of a list; None: the writer never creates such entries."""
    word = entity.lower()
    return LedgerKind(word) if word in set(PARTY_KINDS) else None


def pattern(entity: str) -> str:
    """Return a regular expression for the fields that refer to this list."""
    if entity not in ENTITIES:
        raise ValueError(f"{entity} is not a list that fields refer to")
    return rf"(^|[._]){entity.lower()}$"


def list_of(field: str) -> str | None:
    """Return the entity of the list that a field refers to."""
    word = field.replace("_", ".").rpartition(".")[2]
    return word.capitalize() if word in _WORDS else None
