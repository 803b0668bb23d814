"""What the ledger holds, as values: documents, commands, attempts, companies. No SQL."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, Self
from uuid import UUID

from bookrelay import messages as m
from bookrelay.messages import Difference

from qbo_writer.domain import AttemptState, CommandState, DocumentStatus, LedgerKind, Operation, OperatorAct, Request


@dataclass(frozen=True)
class DocumentState:
    """The row of a document: what QuickBooks is known to hold for it."""

    id: int
    realm: str
    kind: LedgerKind
    source: str
    source_key: str
    marker: str
    doc_number: str | None = None  # what its latest request asked for, or QuickBooks gave it
    status: DocumentStatus = DocumentStatus.NOTHING
    qbo_id: str | None = None
    sync_token: str | None = None
    content_hash: str | None = None
    fields: dict[str, str] | None = None
    total: Decimal | None = None
    balance: Decimal | None = None
    emailed: bool = False  # to its customer
    diverged: bool = False
    differences: tuple[Difference, ...] = ()  # between what we knew and what a person made of it
    attempts: int = 0
    newest_version: int = 0
    number_of: str | None = None  # the source's number that doc_number stands for

    @property
    def live(self) -> bool:
        """Whether a document is there in QuickBooks, voided or not."""
        return self.qbo_id is not None and self.status in (DocumentStatus.PRESENT, DocumentStatus.VOIDED)

    @property
    def paid(self) -> bool:
        """Whether a payment, in full or in part, is known. Says nothing of a payment: nothing is open of it."""
        return (
            self.status is DocumentStatus.PRESENT
            and self.total is not None
            and self.balance is not None
            and self.total not in (0, self.balance)
        )


@dataclass(frozen=True)
class Command:
    """The row of a command: what should be true."""

    id: UUID
    operation: Literal["upsert", "retract"]
    version: int
    modified_at: datetime
    content_hash: str
    state: CommandState
    content: dict[str, Any] | None = field(default=None, repr=False)
    total: Decimal | None = None  # of the document, as its source states it: tax included
    forced: bool = False  # an operator said: over what was shown, and nothing else
    shown_sync_token: str | None = None  # of the state in QuickBooks that was shown
    dropped: bool = False  # an operator said: leave it
    failures: int = 0
    occurrence: int = 0
    priority: int = 1
    recorded_at: datetime | None = None
    due_at: datetime | None = None
    waiting_since: datetime | None = None  # for something in QuickBooks or in the policy
    last_reason: str | None = None  # why it failed last, or how it ended
    traceparent: str | None = None  # of the trace that its source began

    @property
    def newer_key(self) -> tuple[int, datetime, datetime | None, str]:
        """Orders versions; the last two only break ties of a source that neither counts nor tells time."""
        return (self.version, self.modified_at, self.recorded_at, str(self.id))


@dataclass(frozen=True)
class Sent:
    """What the waits of an attempt depend on."""

    operation: Operation
    state: AttemptState
    answered: bool  # the latest send has a recorded answer
    ambiguous: bool
    lost: bool
    stuck: bool
    in_batch: bool
    first_sent_at: datetime
    last_sent_at: datetime
    silent_at: datetime | None
    token_expires_at: datetime

    @property
    def refused(self) -> bool:
        """Its latest send was answered "not now"."""
        return self.state is AttemptState.SENDING and self.answered


@dataclass(frozen=True)
class Attempt:
    """An open attempt with its document and command."""

    id: int
    document: DocumentState
    command: Command
    request: Request
    sent: Sent
    fields: dict[str, str]
    content_hash: str
    number: int
    sends: int
    fencing_token: int
    batch_id: int | None = None
    b_id: str | None = None
    operator_says: str | None = None
    looks_refused: int = 0


WAITING_SECONDS = 1800  # between two looks, where neither the change feed nor a new policy brings an earlier one


@dataclass(frozen=True)
class Candidate:
    """A document with something due: its newest recorded command, and the older due ones."""

    document: DocumentState
    newest: Command
    older: tuple[Command, ...]
    stray: str | None = None  # Id of the document in QuickBooks that carries its marker, found while nothing was known of it
    bill: tuple[str, int] | None = None  # of a payment: Id and newest version of its bill, where that is in QuickBooks
    withdrawn: bool = False  # of a bill: our payment of it was withdrawn, or is to be, and no other is asked for


@dataclass(frozen=True)
class BatchRow:
    """A batch as it was journalled."""

    id: int
    requestid: str
    body: str


@dataclass(frozen=True)
class MarkedDocument:
    """A document with a marker that was seen in QuickBooks."""

    document: DocumentState
    open: bool  # a request for it is open


@dataclass(frozen=True)
class RealmRow:
    """What the ledger knows of a company."""

    halted_code: str | None
    halted_reason: str | None
    halted_since: datetime | None
    requestid_proven: bool
    batch_proven: bool
    bounds_unreliable: bool
    pace: dict[str, Any]
    feed_position: datetime | None
    swept_at: datetime | None
    feed_paging: dict[str, Any] = field(default_factory=dict)
    feed_asked_at: datetime | None = None
    recover_since: datetime | None = None
    operator_halt: OperatorAct | None = None  # while it is there, nothing is read or sent
    trial: OperatorAct | None = None  # a person asked for a trial of the present halt
    feed_refusals: dict[str, Any] = field(default_factory=dict)
    probe: dict[str, Any] = field(default_factory=dict)
    read_at: datetime = field(default_factory=lambda: datetime.now(UTC))  # by the database's clock


@dataclass(frozen=True)
class Unpaying:
    """How far the removal of a bill's payment is."""

    state: Literal["waits", "gone", "failed", "not ours"]
    payment: int = 0  # its document
    reason: str = ""


@dataclass(frozen=True)
class Sample:
    """An answered update: what was sent, and the SyncToken of the answer. Times are seconds of the epoch."""

    request: Request
    answered_sync_token: str
    answered_at: float
    batch_requestid: str | None = None
    b_id: str | None = None

    def plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)

    @classmethod
    def of(cls, value: dict[str, Any]) -> Self:
        """Read what `plain` gave."""
        request = dict(value["request"])
        request.update(kind=LedgerKind(request["kind"]), operation=Operation(request["operation"]))
        return cls(**{**value, "request": Request(**request)})


NOT_AS_ASKED = "not_as_asked"

KINDS = ("unknown_marker", "not_expected", "double", "missing", NOT_AS_ASKED)


@dataclass(frozen=True)
class Discrepancy:
    """One of `KINDS`, and what a person can do about it."""

    what: str
    entity: str
    qbo_id: str
    doc_number: str | None
    reason: str
    fix: str
    document_id: int | None = None
    found_at: datetime | None = None
    source: str | None = None
    source_key: str | None = None
    amount: Decimal | None = None  # not_as_asked: QuickBooks' total less the command's own
    asked: dict[str, str] | None = None  # not_as_asked: the fields that differ, as they were asked
    marker: str | None = None  # unknown_marker
    kind: LedgerKind | None = None  # of its document, where it is read


Telling = Callable[[Discrepancy], m.AnyMessage]
