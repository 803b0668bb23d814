"""What one transaction writes to the ledger, as values. No SQL."""

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
    forget: bool = False  # the document is no longer known to be in QuickBooks
    awaits: Named | None = None  # waiting for this document of ours
    shows_wanted: bool = False  # show what the command wants beside what QuickBooks has

    @property
    def shown_code(self) -> str | None:
        """The user-facing code; only an end that needs action has one."""
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
    doc_number: str | None = None  # as in QuickBooks' answer; None: unchanged
    content_of: UUID | None = None  # the command whose content it has now
    emailed: bool = False


def nothing_there(document: DocumentState) -> DocumentChange:
    """Return the row of a document that is not in QuickBooks, as intended."""
    return DocumentChange(document.id, DocumentStatus.NOTHING, None, None, None, None, None, None, diverged=False)


@dataclass(frozen=True)
class AttemptChange:
    """The new row of an attempt. `silent`: sets silent_at to the database's time."""

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
    sends: int | None = None  # the send that was answered: nothing is written if the request was sent again since. None: any

    @property
    def about(self) -> tuple[int, int | None]:
        """The attempt and its send."""
        return (self.id, self.sends)


@dataclass(frozen=True)
class Settlement:
    """The end of a command, with its event (none for names, which no source requested)."""

    document: DocumentState
    command: Command
    decision: Decision
    event: m.AnyMessage | None


@dataclass(frozen=True)
class Requeue:
    """The command stays due and is decided again after `seconds`."""

    command_id: UUID
    seconds: float = 0.0
    failed: bool = False
    reason: str | None = None  # why, in QuickBooks' words: shown if it is held in the end
    waiting: bool = False  # it still waits for the same reason: no event is published again


@dataclass(frozen=True)
class Numbered:
    """A document's number, and the source's number that it stands for (`number_of`). `doc_number` None: QuickBooks sets it."""

    document_id: int
    doc_number: str | None
    number_of: str | None


@dataclass(frozen=True)
class FollowUp:
    """A command that the writer issues itself: a bill's payment, a customer, a vendor."""

    realm: str
    source: str
    source_key: str
    kind: LedgerKind
    version: int
    content: dict[str, Any]
    content_hash: str
    priority: int = 1

    def id(self) -> UUID:
        """Return the command's id; it is the same for the same request."""
        parts = (self.realm, self.source, self.source_key, self.kind, str(self.version), self.content_hash)
        return uuid5(m.NAMESPACE, "\x1f".join(parts))


@dataclass(frozen=True)
class Unlike:
    """The document in QuickBooks differs from what was requested. `amount`: its total less ours; None: the totals agree."""

    entity: str
    qbo_id: str
    doc_number: str | None
    differences: tuple[Difference, ...]
    amount: Decimal | None
    asked: dict[str, str]  # the fields that differ, as requested; free text as a hash


@dataclass(frozen=True)
class Number:
    """The number that a request sets (`text` None: QuickBooks sets it). `given`: the source's number that it stands for."""

    text: str | None
    given: str | None = None


@dataclass(frozen=True)
class Commit:
    """Everything that one commit changes for one document."""

    attempt: AttemptChange | None = None
    document: DocumentChange | None = None
    settlements: tuple[Settlement, ...] = ()
    requeue: Requeue | None = None
    events: tuple[m.AnyMessage, ...] = ()
    learned: tuple[str, BooksEntity] | None = None  # entity and the created entry, for the reference cache
    follow_ups: tuple[FollowUp, ...] = ()
    releases: int | None = None  # commands that wait for this document become due
    compared: bool = False  # QuickBooks' document was compared with what was requested, or is gone
    differs: Discrepancy | None = None  # the discrepancy found
    numbered: Numbered | None = None  # a different number than was requested
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
    numbered: Number | None = None  # the document number that the request sets; None: it does not set one
    b_id: str | None = None


@dataclass(frozen=True)
class FeedChange:
    """A document's new row by the change feed, valid only if its SyncToken is still `expected`, and the events to publish."""

    document: DocumentChange | None
    expected: str | None
    events: tuple[AnyMessage, ...] = ()
    changed: AnyMessage | None = None
    diverged: bool = False
    state: tuple[str, str, str] | None = None  # entity, Id and state that `changed` reports, once


@dataclass(frozen=True)
class NameWish:
    """A customer or vendor that commands need.

    `before`: other keys its document may have, from before keys were folded; it keeps that key.
    """

    wanted: FollowUp
    waiting: Sequence[Command]
    before: Sequence[str] = ()

    @property
    def keys(self) -> list[str]:
        """All keys that its document may have, its own first."""
        return [self.wanted.source_key, *self.before]


NameFound = tuple[CommandState, str, str] | DocumentState | None
