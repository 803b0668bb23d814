"""What the ledger stores, as values: documents, commands, attempts, companies. No SQL."""

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
    """The row of a document: its last known state in QuickBooks."""

    id: int
    realm: str
    kind: LedgerKind
    source: str
    source_key: str
    marker: str
    doc_number: str | None = None  # as set by its latest request, or by QuickBooks
    status: DocumentStatus = DocumentStatus.NOTHING
    qbo_id: str | None = None
    sync_token: str | None = None
    content_hash: str | None = None
    fields: dict[str, str] | None = None
    total: Decimal | None = None
    balance: Decimal | None = None
    emailed: bool = False  # to its customer
    diverged: bool = False
    differences: tuple[Difference, ...] = ()  # between what we knew and what somebody changed it to
    attempts: int = 0
    newest_version: int = 0
    number_of: str | None = None  # the source's number that doc_number stands for

    @property
    def live(self) -> bool:
        """Whether the document is in QuickBooks, voided or not."""
        return self.qbo_id is not None and self.status in (DocumentStatus.PRESENT, DocumentStatus.VOIDED)

    @property
    def paid(self) -> bool:
        """Whether it is known to be paid, in full or in part. Meaningless for payments: they have no open balance."""
        return (
            self.status is DocumentStatus.PRESENT
            and self.total is not None
            and self.balance is not None
            and self.total not in (0, self.balance)
        )


@dataclass(frozen=True)
class Command:
    """The row of a command."""

    id: UUID
    operation: Literal["upsert", "retract"]
    version: int
    modified_at: datetime
    content_hash: str
    state: CommandState
    content: dict[str, Any] | None = field(default=None, repr=False)
    total: Decimal | None = None  # of the document, as its source states it: tax included
    forced: bool = False  # an operator said: overwrite what was shown, and nothing else
    shown_sync_token: str | None = None  # of the state in QuickBooks that was shown
    dropped: bool = False  # an operator said: leave it as it is
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
        """Orders versions; the last two break ties for sources with neither versions nor times."""
        return (self.version, self.modified_at, self.recorded_at, str(self.id))


@dataclass(frozen=True)
class Sent:
    """What an attempt's waits depend on."""

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
        """Whether its latest send was refused ("not now")."""
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


WAITING_SECONDS = 1800  # between two tries, unless the change feed or a new policy triggers one earlier


@dataclass(frozen=True)
class Candidate:
    """A document with a due command: its newest recorded command, and the older due ones."""

    document: DocumentState
    newest: Command
    older: tuple[Command, ...]
    stray: str | None = None  # Id of a document in QuickBooks with its marker, found before the ledger knew it
    bill: tuple[str, int] | None = None  # for a payment: Id and newest version of its bill, if that is in QuickBooks
    withdrawn: bool = False  # for a bill: our payment was or will be withdrawn, and no new one is requested


@dataclass(frozen=True)
class BatchRow:
    """A batch as it was journalled."""

    id: int
    requestid: str
    body: str


@dataclass(frozen=True)
class MarkedDocument:
    """A document whose marker was seen in QuickBooks."""

    document: DocumentState
    open: bool  # a request for it is open


@dataclass(frozen=True)
class RealmRow:
    """What the ledger knows about a company."""

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
    operator_halt: OperatorAct | None = None  # while set, nothing is read or sent
    trial: OperatorAct | None = None  # an operator requested a trial during the present halt
    feed_refusals: dict[str, Any] = field(default_factory=dict)
    probe: dict[str, Any] = field(default_factory=dict)
    read_at: datetime = field(default_factory=lambda: datetime.now(UTC))  # by the database's clock


@dataclass(frozen=True)
class Unpaying:
    """The progress of withdrawing a bill's payment."""

    state: Literal["waits", "gone", "failed", "not ours"]
    payment: int = 0  # the payment's document
    reason: str = ""


@dataclass(frozen=True)
class Sample:
    """An answered update: what was sent, and the SyncToken of the answer. Times are seconds since the epoch."""

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
        """Read what `plain` returned."""
        request = dict(value["request"])
        request.update(kind=LedgerKind(request["kind"]), operation=Operation(request["operation"]))
        return cls(**{**value, "request": Request(**request)})


NOT_AS_ASKED = "not_as_asked"

KINDS = ("unknown_marker", "not_expected", "double", "missing", NOT_AS_ASKED)


@dataclass(frozen=True)
class Discrepancy:
    """One of `KINDS`, and what to do about it."""

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
    asked: dict[str, str] | None = None  # not_as_asked: the fields that differ, as requested
    marker: str | None = None  # unknown_marker
    kind: LedgerKind | None = None  # of its document, if known


Telling = Callable[[Discrepancy], m.AnyMessage]
