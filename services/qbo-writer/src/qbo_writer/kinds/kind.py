"""What the protocol needs to know about a kind of document. QuickBooks' JSON for it is in `quickbooks.documents`."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from bookrelay import messages as m
from bookrelay.messages import Model

from qbo_writer.domain import BooksEntity, LedgerKind, Named, Operation
from qbo_writer.ledger.changes import Decision, FollowUp
from qbo_writer.ledger.records import Attempt, Candidate, DocumentState


class _Event(Protocol):
    @classmethod
    def of(cls, data: Any, *, sender: str, time: Any) -> Any: ...


def nothing_follows(attempt: Attempt, seen: BooksEntity) -> tuple[FollowUp, ...]:
    """No follow-up when a document was posted."""
    return ()


def nothing_is_missing(candidate: Candidate) -> tuple[FollowUp, ...]:
    """No follow-up where a document stays as it is."""
    return ()


def names_nothing(document: DocumentState, content: Model) -> tuple[Named, ...]:
    """Refer to no other document."""
    return ()


def nothing_in_its_way(candidate: Candidate) -> Decision | None:
    """Post the document regardless of others."""
    return None


@dataclass(frozen=True)
class UsedUp:
    """How a document's open balance is used, in words: "is {done} or partly {done}"."""

    done: str
    fix: str  # how to undo it in QuickBooks


PAID = UsedUp("paid", "Unlink the payment in QuickBooks")
APPLIED = UsedUp("applied", "Unapply it in QuickBooks")


@dataclass(frozen=True)
class DocumentKind:
    """One kind of document.

    `posted`: its event and that event's data; None for names, which no source requests. `follow_ups`: commands that the writer
    creates when one was posted, if the settings say so; `missing`: where one stays as it is. `overtaken`: why one is no longer
    posted. `names`: the other documents that must be in QuickBooks first.
    """

    kind: LedgerKind
    content: type[Model]
    posted: tuple[type[_Event], Callable[..., Any]] | None
    is_name: bool = False  # a customer or vendor: its name is its identity
    purchase: bool = False  # a vendor's document: skipped where a company has no bills
    used_up: UsedUp | None = PAID  # how its open balance is used; None: it never has one
    pays: LedgerKind | None = None  # of the writer's own payments: the document of this kind with the same key
    optional: bool = False  # the company policy may skip it
    numbered: bool = False  # we set its number
    sales_form: bool = False  # QuickBooks may number it, by the company's preference
    voidable: bool = False  # the policy may void it instead of deleting it
    unpaid_first: bool = False  # a payment of ours is withdrawn before it is changed, where the policy says so
    waited_for: bool = False  # other documents wait for it
    follow_ups: Callable[[Attempt, BooksEntity], tuple[FollowUp, ...]] = nothing_follows
    missing: Callable[[Candidate], tuple[FollowUp, ...]] = nothing_is_missing
    names: Callable[[DocumentState, Model], tuple[Named, ...]] = names_nothing
    overtaken: Callable[[Candidate], Decision | None] = nothing_in_its_way

    @property
    def word(self) -> str:
        """The kind in words."""
        return self.kind.value.replace("_", " ")

    @property
    def words(self) -> str:
        """The kind in words, plural."""
        return f"{self.word}s"

    def takes_away(self, *, void: bool) -> Operation:
        """Return the operation that withdraws one."""
        return Operation.VOID if void and self.voidable else Operation.DELETE

    def event(self, data: dict[str, Any], sender: str, time: Any) -> m.AnyMessage | None:
        """Return the event that it was posted."""
        if self.posted is None:
            return None
        event, payload = self.posted
        told: m.AnyMessage = event.of(payload(**data), sender=sender, time=time)
        return told


def hash_of(content: dict[str, Any]) -> str:
    """Return the hash of a content that is not from a message: a payment or a name."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
