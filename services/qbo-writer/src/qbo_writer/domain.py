"""The writer's vocabulary: ledger states, attempts, requests and answers, with the names of the posting protocol.

Pure: no I/O, no QuickBooks JSON beyond the text of a request body.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from bookrelay.errors import Code, Disposition
from bookrelay.messages import Difference

SCHEMA = "qbo_writer"  # of this service's tables
OPERATOR = "operator"  # instead of a code: an operator halted the company


class LedgerKind(StrEnum):
    """The kinds of documents in the ledger: those that commands name, and customers and vendors."""

    INVOICE = "invoice"
    SALES_RECEIPT = "sales_receipt"
    CREDIT_MEMO = "credit_memo"
    PAYMENT = "payment"
    BILL = "bill"
    VENDOR_CREDIT = "vendor_credit"
    BILL_PAYMENT = "bill_payment"
    CUSTOMER = "customer"
    VENDOR = "vendor"


class Operation(StrEnum):
    """What a request does to an entity."""

    CREATE = "create"
    UPDATE = "update"
    VOID = "void"
    DELETE = "delete"


@dataclass(frozen=True)
class Named:
    """A document of ours that another one refers to by business key; `place`: the key in `Resolved.ids` for its Id."""

    kind: LedgerKind
    source: str
    source_key: str
    place: str


class CommandState(StrEnum):
    """The state of a command. All but RECEIVED and DUE are final; WAITING, HELD and REJECTED can become due again."""

    RECEIVED = "received"  # recorded, waiting for another document (a bill payment for its bill)
    DUE = "due"
    POSTED = "posted"
    UNCHANGED = "unchanged"
    RETRACTED = "retracted"
    SUPERSEDED = "superseded"
    SKIPPED = "skipped"
    WAITING = "waiting"  # for something in QuickBooks or in the policy; decided again when that may be there
    HELD = "held"
    REJECTED = "rejected"
    DEAD_LETTERED = "dead_lettered"


class DocumentStatus(StrEnum):
    """What QuickBooks is known to hold."""

    NOTHING = "nothing"
    PRESENT = "present"
    VOIDED = "voided"  # by us
    GONE = "gone"  # deleted, by us or by a person


class Cause(StrEnum):
    """The cause of an error, where it is handled differently from others."""

    NAME_TAKEN = "name taken"  # another entry already has the name that was to be created
    NUMBER_TAKEN = "number taken"  # another document has the number
    STALE = "stale"  # something that the request refers to no longer exists
    BY_FACTS = "by facts"  # the company's plan or preferences may have changed: currencies, discounts, another plan


class AttemptState(StrEnum):
    """States of an attempt (protocol.md)."""

    SENDING = "sending"
    UNKNOWN = "unknown"
    RESOLVED = "resolved"


class AnswerKind(StrEnum):
    """How an answer is classified (protocol.md, "Answers")."""

    SUCCESS = "success"
    REFUSAL = "refusal"  # nothing was done: 429, 3001, 401
    ERROR = "error"  # a code on the definitive list: nothing was done and never will be
    CONFLICT = "conflict"  # 5010, 610, 6140: read by Id, then compare
    SILENCE = "silence"  # everything else


@dataclass(frozen=True)
class Request:
    """One request as journalled: `body` is sent byte for byte, under `requestid`.

    `entity` is QuickBooks' name, for example "Invoice"; `qbo_id` and `sync_token` are None for a create.
    """

    realm: str
    kind: LedgerKind
    entity: str
    operation: Operation
    requestid: str
    body: str
    qbo_id: str | None = None
    sync_token: str | None = None


@dataclass(frozen=True)
class BatchItem:
    """One item of a journalled batch; `b_id` has at most 10 characters."""

    b_id: str
    request: Request


@dataclass(frozen=True)
class BatchRequest:
    """A journalled batch: requestid (at most 36 characters) and the exact body with all items."""

    realm: str
    requestid: str
    body: str
    items: tuple[BatchItem, ...]


@dataclass(frozen=True)
class BooksEntity:
    """An entity as QuickBooks returned it, with the fields that bookrelay owns in comparable form.

    `fields` is canonical: field name -> text, amounts as decimal strings; equal dicts mean equal content.
    """

    entity: str
    qbo_id: str
    sync_token: str
    doc_number: str | None
    marker: str | None
    total: Decimal
    balance: Decimal
    voided: bool
    fields: dict[str, str]
    raw: dict[str, Any] = field(repr=False, default_factory=dict)
    emailed: bool = False  # an invoice was e-mailed to its customer
    kind: LedgerKind | None = None  # None: a kind that bookrelay does not create
    tax: Decimal = Decimal(0)  # included in the total
    updated_at: str = ""  # last change, as QuickBooks writes it
    active: bool = True  # QuickBooks keeps inactive list entries for ever


@dataclass(frozen=True)
class Answer:
    """The outcome of one send. `seen`: the entity, for a success; `conflicting_id`: the document that a 6140 names.

    `conflicting_kind`: its kind as QuickBooks names it ("SalesReceipt"). `tries`: how often a document with this definitive error
    is sent before its disposition applies.
    """

    kind: AnswerKind
    http_status: int | None = None
    intuit_code: str | None = None
    disposition: Disposition = Disposition.RETRY
    code: Code = Code.AUTOMATION_FAILED
    reason: str = ""
    fix: str = ""
    seen: BooksEntity | None = None
    deleted: bool = False  # QuickBooks confirmed a delete
    conflicting_id: str | None = None
    conflicting_kind: str | None = None
    cause: Cause | None = None
    tries: int = 1
    retry_after: float | None = None
    unauthorized: bool = False  # 401: refresh the access token, then journal the resend
    throttled: bool = False
    halt: bool = False  # QuickBooks does not serve the company: halt it
    intuit_tid: str | None = None
    body: str = field(repr=False, default="")


@dataclass(frozen=True)
class AccessToken:
    """An access token. `value` is never logged."""

    value: str = field(repr=False)
    expires_at: datetime


class LookupFailed(Exception):  # noqa: N818
    """A look-up had no readable answer. It never means "not there".

    `definite`: QuickBooks (or a proxy in front of it) answered and would answer the same again; else there was no answer.
    `words`: what it said, without the parts that differ between answers; `fix`: what an operator can do.
    """

    definite = False
    fix = ""

    @property
    def words(self) -> str:
        """The answer's words."""
        return str(self)


class LookupUnreadable(LookupFailed):
    """There was an answer, but not in the expected form."""

    definite = True


class FeedFull(LookupFailed):
    """The change feed's answer reached its cap: `changes` are the newest, older ones may be missing."""

    def __init__(self, changes: "Sequence[BooksEntity | Deleted]") -> None:
        super().__init__(f"the change feed reached its cap of {len(changes)}: older changes are read by queries")
        self.changes = changes


@dataclass(frozen=True)
class OperatorAct:
    """An operator's decision about a company: who, why, when."""

    by: str
    why: str
    at: datetime

    def kept(self) -> dict[str, str]:
        """Return it as stored in the ledger."""
        return {"by": self.by, "why": self.why, "at": self.at.isoformat()}

    @classmethod
    def of(cls, kept: dict[str, str] | None) -> "OperatorAct | None":
        """Read it as stored in the ledger."""
        return cls(kept["by"], kept["why"], datetime.fromisoformat(kept["at"])) if kept else None


@dataclass(frozen=True)
class UpdatedPage:
    """One page of updated entities, oldest first, and where the next page begins (None: this is the last)."""

    seen: "tuple[BooksEntity, ...]"
    next: tuple[datetime, int] | None


@dataclass(frozen=True)
class Deleted:
    """A deletion in the change feed. `kind` None: a kind that bookrelay does not create."""

    entity: str
    qbo_id: str
    kind: LedgerKind | None = None


@dataclass(frozen=True)
class Reference:
    """An entry of a QuickBooks list that documents refer to."""

    entity: str
    qbo_id: str
    name: str
    active: bool = True
    heads: str | None = None  # "category" or "bundle": an item that no line can use


@dataclass(frozen=True)
class NameNeeded:
    """A customer or vendor that must be created first, as a document of its own."""

    kind: LedgerKind
    name: str
    email: str | None = None


@dataclass(frozen=True)
class Unmapped:
    """A reference without a mapping (QB006), or one that cannot be used; `fix` says what to do.

    `holds`: the cause is not this document; it is held for an operator.
    """

    reason: str
    fix: str
    code: Code = Code.MAPPING_MISSING
    holds: bool = False
    at_source: bool = False  # only the source can correct it
    by_facts: bool = False  # caused by the company's preferences: they are read again before a document waits


@dataclass(frozen=True)
class Resolved:
    """Every reference in a content, resolved: logical key -> QuickBooks Id.

    Keys: "customer", "vendor", "item:<key>", "account:<key>", "term", "class", "department", "ap_account", "custom:<name>".
    """

    ids: dict[str, str]


class Skipped(Exception):  # noqa: N818
    """The document is skipped on purpose; the reason is for the operator."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Comparison:
    """Our content compared with an entity; no differences: equal."""

    differences: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Whether there are no differences."""
        return not self.differences


SENDER = "qbo-writer"

PARTY_KINDS = (LedgerKind.CUSTOMER, LedgerKind.VENDOR)

NAMES_SOURCE = "names"  # the source of customers' and vendors' documents


@dataclass(frozen=True)
class CompanyFacts:
    """A company's plan and preferences, read at connect and once a day."""

    plan: str = "unknown"  # simple_start | essentials | plus | advanced | unknown
    class_per: str | None = None  # "transaction" | "line"; None: classes are off
    departments: bool = True
    custom_numbers: bool = True  # we may set document numbers
    closing_date: date | None = None  # the books are closed up to this date
    sales_tax: bool = True  # the company uses sales tax, VAT or GST
    discounts: bool = True  # discount lines for the whole document
    country: str = ""  # as in CompanyInfo, for example "US"; empty: unknown
    currency: str | None = None  # its home currency, named in every create, where the company uses several

    @property
    def in_us(self) -> bool:
        """Whether it is a US company: lines are TAX or NON, and QuickBooks chooses the rates."""
        return self.country.upper() in ("US", "USA")

    @property
    def names_taxes(self) -> bool:
        """Whether every line must have a tax code."""
        return bool(self.country) and not self.in_us and self.sales_tax

    @property
    def has_bills(self) -> bool:
        """Whether the plan has bills (Essentials and up)."""
        return self.plan != "simple_start"


@dataclass(frozen=True)
class DesiredDocument:
    """What a document should be: the fields we own, JSON-ready, and in comparable form (like BooksEntity.fields).

    `cleared`: the owned fields that the content does not have; an update sends them empty. They are not compared, because
    QuickBooks may fill them; the SyncToken shows that an update which only removes something was done.
    """

    kind: LedgerKind
    entity: str
    body_fields: dict[str, Any]
    fields: dict[str, str]
    cleared: dict[str, Any] = field(default_factory=dict)
