"""What one transaction writes into the ledger, as values. No SQL."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from bookrelay import messages as m
from bookrelay.errors import Code
from bookrelay.messages import AnyMessage, Difference

from qbo_writer.domain import BooksEntity, CommandState, DocumentStatus, LedgerKind, Named, Request
from qbo_writer.ledger.records import Candidate, Command, Discrepancy, DocumentState


@dataclass(frozen=True)
class Decision:
    """The command ends without a request."""

    state: CommandState
    reason: str = ""
    fix: str = ""
    code: Code = Code.AUTOMATION_FAILED
    intuit_code: str | None = None
    differences: tuple[Difference, ...] = ()
    by_version: int | None = None  # superseded
    forget: bool = False  # the document is no longer known to hold anything
    awaits: Named | None = None  # waiting: for this document of ours
    shows_wanted: bool = False  # what the command wants is to be shown beside what QuickBooks holds

    @property
    def shown_code(self) -> str | None:
        """The user-facing code; only an end that somebody must act on has one."""
        acted_on = (CommandState.WAITING, CommandState.HELD, CommandState.REJECTED, CommandState.DEAD_LETTERED)
        return self.code.value if self.state in acted_on else None


@dataclass(frozen=True)
class DocumentChange:
    """The new row of a document."""

    id: int
    status: DocumentStatus
    qbo_id: str | None
    sync_token: str | None
    content_hash: str | None
    fields: dict[str, str] | None
    total: Decimal | None
    balance: Decimal | None
    diverged: bool
    differences: tuple[m.Difference, ...] = ()
    doc_number: str | None = None  # as QuickBooks shows it after an answer; None: as it was
    content_of: UUID | None = None  # the command whose content it holds now
    emailed: bool = False


def nothing_there(document: DocumentState) -> DocumentChange:
    """Return the row of a document that is no longer there, and that nobody misses."""
    return DocumentChange(document.id, DocumentStatus.NOTHING, None, None, None, None, None, None, diverged=False)


@dataclass(frozen=True)
class AttemptChange:
    """The new row of an attempt. `silent`: silent_at is set by the database's clock."""

    id: int
    state: str
    answered: bool
    ambiguous: bool
    lost: bool
    stuck: bool = False
    silent: bool = False
    due_in: float = 0.0
    outcome: str | None = None
    http_status: int | None = None
    intuit_code: str | None = None
    intuit_tid: str | None = None
    answer: str | None = None  # in words
    sends: int | None = None  # the send that it answers: nothing is written once the request has left again. None: any

    @property
    def about(self) -> tuple[int, int | None]:
        """The attempt, and which send of it."""
        return (self.id, self.sends)


@dataclass(frozen=True)
class Settlement:
    """The end of a command, with the event that tells it (none for names, which no source asked for)."""

    document: DocumentState
    command: Command
    decision: Decision
    event: m.AnyMessage | None


@dataclass(frozen=True)
class Requeue:
    """The command stays due, and is looked at again after `seconds`."""

    command_id: UUID
    seconds: float = 0.0
    failed: bool = False
    reason: str | None = None  # why, in QuickBooks' words: shown where it is held at last
    waiting: bool = False  # it waits on, for what it has waited for: nothing is told again


@dataclass(frozen=True)
class Numbered:
    """Which number a document has, and for which of its source's, `number_of`; `doc_number` None: QuickBooks numbers it."""

    document_id: int
    doc_number: str | None
    number_of: str | None


@dataclass(frozen=True)
class FollowUp:
    """A command that we ask for ourselves: a bill's payment, a customer, a vendor."""

    realm: str
    source: str
    source_key: str
    kind: LedgerKind
    version: int
    content: dict[str, Any]
    content_hash: str
    priority: int = 1

    def id(self) -> UUID:
        """Return the command's id; the same wish is the same command."""
        parts = (self.realm, self.source, self.source_key, self.kind, str(self.version), self.content_hash)
        return uuid5(m.NAMESPACE, "\x1f".join(parts))


@dataclass(frozen=True)
class Unlike:
    """QuickBooks holds another document than was asked. `amount`: its total less ours; None where the totals agree."""

    entity: str
    qbo_id: str
    doc_number: str | None
    differences: tuple[Difference, ...]
    amount: Decimal | None
    asked: dict[str, str]  # the fields that differ, as they were asked; free texts as a hash


@dataclass(frozen=True)
class Number:
    """The number that a request asks for; `text` None: none, QuickBooks gives it. `given`: the source's, for which it stands."""

    text: str | None
    given: str | None = None


@dataclass(frozen=True)
class Commit:
    """All that one commit does for one document."""

    attempt: AttemptChange | None = None
    document: DocumentChange | None = None
    settlements: tuple[Settlement, ...] = ()
    requeue: Requeue | None = None
    events: tuple[m.AnyMessage, ...] = ()
    learned: tuple[str, BooksEntity] | None = None  # entity and what was created: for the reference cache
    follow_ups: tuple[FollowUp, ...] = ()
    releases: int | None = None  # commands that wait for this document become due
    compared: bool = False  # what QuickBooks holds of the document now was compared with what was asked, or is gone
    differs: Discrepancy | None = None  # what that showed
    numbered: Numbered | None = None  # another number than was asked for
    log: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NewCommand:
    """A command as it is recorded."""

    id: UUID
    realm: str
    source: str
    source_key: str
    kind: LedgerKind
    marker: str
    operation: str
    version: int
    modified_at: datetime
    content: str | None  # JSON
    content_hash: str
    priority: int
    traceparent: str | None = None
    total: Decimal | None = None  # of the document, as its source states it

    @property
    def document(self) -> tuple[str, str, str, str]:
        """The business key."""
        return (self.realm, self.source, self.source_key, self.kind.value)


@dataclass(frozen=True)
class NewAttempt:
    """What is journalled before it is sent."""

    candidate: Candidate
    request: Request
    fields: dict[str, str]
    content_hash: str
    number: int
    token_expires_at: datetime
    numbered: Number | None = None  # which document number its request asks for; None: it says nothing about that
    b_id: str | None = None


@dataclass(frozen=True)
class FeedChange:
    """What the change feed means: the document's new row, valid only if its SyncToken is still `expected`, and what is told."""

    document: DocumentChange | None
    expected: str | None
    events: tuple[AnyMessage, ...] = ()
    changed: AnyMessage | None = None
    diverged: bool = False
    state: tuple[str, str, str] | None = None  # entity, Id, and which state of it `changed` tells: once


@dataclass(frozen=True)
class NameWish:
    """A customer or vendor that commands need.

    `before`: other keys under which its document may be kept: from the time before keys were folded; it stays what it is.
    """

    wanted: FollowUp
    waiting: Sequence[Command]
    before: Sequence[str] = ()

    @property
    def keys(self) -> list[str]:
        """All keys under which its document may be kept, its own first."""
        return [self.wanted.source_key, *self.before]


NameFound = tuple[CommandState, str, str] | DocumentState | None
