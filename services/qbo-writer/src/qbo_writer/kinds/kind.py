"""What the protocol asks of a kind of document. How the books write it is in the books' own room."""

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
    """Ask for nothing else when a document was posted."""
    return ()


def nothing_is_missing(candidate: Candidate) -> tuple[FollowUp, ...]:
    """Ask for nothing else where a document stays as it is."""
    return ()


def names_nothing(document: DocumentState, content: Model) -> tuple[Named, ...]:
    """Name no other document."""
    return ()


def nothing_in_its_way(candidate: Candidate) -> Decision | None:
    """Make the document whatever became of others."""
    return None


@dataclass(frozen=True)
class UsedUp:
    """How what is open of a document is used up by others, in words: "is {done} or partly {done}"."""

    done: str
    fix: str  # how a person undoes it in the books


PAID = UsedUp("paid", "Unlink the payment in QuickBooks")
APPLIED = UsedUp("applied", "Take it off what it is applied to in QuickBooks")


@dataclass(frozen=True)
class DocumentKind:
    """One kind of document.

    `posted`: its event and that event's data; None for names, which no source asked for. `follow_ups`: what the writer asks for
    by itself when one was posted, where the settings say so; `missing`: where one stays as it is. `overtaken`: why one is not
    made any more. `names`: the other documents that must be in the books before it.
    """

    kind: LedgerKind
    content: type[Model]
    posted: tuple[type[_Event], Callable[..., Any]] | None
    is_name: bool = False  # a customer or vendor: its name is its identity
    purchase: bool = False  # a document of a vendor: left out where a company has no bills
    used_up: UsedUp | None = PAID  # how others use it up; None: nothing is ever open of it
    pays: LedgerKind | None = None  # of the writer's own payments: the document of this kind with the same key
    optional: bool = False  # the company policy may leave it out
    numbered: bool = False  # it gets a number of ours
    sales_form: bool = False  # the company may let the books number it
    voidable: bool = False  # the policy may have it voided instead of deleted
    unpaid_first: bool = False  # a payment of ours is withdrawn before it is changed, where the policy says so
    waited_for: bool = False  # others wait for its end
    follow_ups: Callable[[Attempt, BooksEntity], tuple[FollowUp, ...]] = nothing_follows
    missing: Callable[[Candidate], tuple[FollowUp, ...]] = nothing_is_missing
    names: Callable[[DocumentState, Model], tuple[Named, ...]] = names_nothing
    overtaken: Callable[[Candidate], Decision | None] = nothing_in_its_way

    @property
    def word(self) -> str:
        """How people call it."""
        return self.kind.value.replace("_", " ")

    @property
    def words(self) -> str:
        """How people call several."""
        return f"{self.word}s"

    def takes_away(self, *, void: bool) -> Operation:
        """Return how one is withdrawn."""
        return Operation.VOID if void and self.voidable else Operation.DELETE

    def event(self, data: dict[str, Any], sender: str, time: Any) -> m.AnyMessage | None:
        """Return the event that tells that one was posted."""
        if self.posted is None:
            return None
        event, payload = self.posted
        told: m.AnyMessage = event.of(payload(**data), sender=sender, time=time)
        return told


def hash_of(content: dict[str, Any]) -> str:
    """Return the hash of a content that is no message: a payment, a name."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
