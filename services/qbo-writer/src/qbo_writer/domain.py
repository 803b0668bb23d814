"""The writer's own words: ledger states, attempts, requests and answers. The names are those of the posting protocol.

Pure: no I/O, no QuickBooks JSON beyond the text of a request's body. The ports that handlers and loops take stand here, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from bookrelay.errors import Code, Disposition
from bookrelay.messages import Difference

SCHEMA = "qbo_writer"  # of this service's tables in Postgres
OPERATOR = "operator"  # in place of a code: a person halted the company


class LedgerKind(StrEnum):
    """Everything that bookrelay creates in QuickBooks is a document in the ledger: the documents of the wire, and names."""

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
    """What a request does to its entity."""

    CREATE = "create"
    UPDATE = "update"
    VOID = "void"
    DELETE = "delete"


@dataclass(frozen=True)
class Named:
    """A document of ours that another one names, by its business key; `place`: the key of `Resolved.ids` for its Id."""

    kind: LedgerKind
    source: str
    source_key: str
    place: str


class CommandState(StrEnum):
    """Where a command stands. All but RECEIVED and DUE are ends; WAITING, HELD and REJECTED can become due again."""

    RECEIVED = "received"  # recorded, waits for another document (a bill payment for its bill)
    DUE = "due"
    POSTED = "posted"
    UNCHANGED = "unchanged"
    RETRACTED = "retracted"
    SUPERSEDED = "superseded"
    SKIPPED = "skipped"
    WAITING = "waiting"  # for something in QuickBooks or in the policy; decided again when it may be there
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
    """What a refusal comes of, where something other follows from it than from the next."""

    NAME_TAKEN = "name taken"  # somebody else has the name that was to be made
    NUMBER_TAKEN = "number taken"  # another document has the number
    STALE = "stale"  # something that the request names is not there any more
    BY_FACTS = "by facts"  # it may come of what the company is meanwhile: several currencies, no discounts, another plan


class AttemptState(StrEnum):
    """States of an attempt (protocol.md)."""

    SENDING = "sending"
    UNKNOWN = "unknown"
    RESOLVED = "resolved"


class AnswerKind(StrEnum):
    """How an answer counts (protocol.md, "Answers")."""

    SUCCESS = "success"
    REFUSAL = "refusal"  # nothing was done: 429, 3001, 401
    ERROR = "error"  # a code on the short definitive list: nothing was done and never will be
    CONFLICT = "conflict"  # 5010, 610, 6140: read by Id and compare
    SILENCE = "silence"  # everything else


@dataclass(frozen=True)
class Request:
    """One request as journalled: what leaves is `body`, byte for byte, under `requestid`.

    `entity` is QuickBooks' name ("Invoice"); `qbo_id` and `sync_token` are None for a create.
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
    """One item of a journalled batch: `b_id` at most 10 characters."""

    b_id: str
    request: Request


@dataclass(frozen=True)
class BatchRequest:
    """A journalled batch: requestid at most 36 characters, the exact body of all items."""

    realm: str
    requestid: str
    body: str
    items: tuple[BatchItem, ...]


@dataclass(frozen=True)
class BooksEntity:
    """An entity as QuickBooks shows it, with the fields that bookrelay owns in comparable form.

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
    emailed: bool = False  # the invoice was e-mailed to its customer
    kind: LedgerKind | None = None  # None: nothing that bookrelay makes
    tax: Decimal = Decimal(0)  # within the total
    updated_at: str = ""  # when it changed last, as QuickBooks writes it
    active: bool = True  # entries of lists that are not in use are kept for ever


@dataclass(frozen=True)
class Answer:
    """What became of one send. `seen` is the entity for a success; `conflicting_id` the document that 6140 names.

    `conflicting_kind`: what kind of document QuickBooks calls it ("SalesReceipt"). `tries`: as often a document is sent that gets
    this definitive error, before its disposition counts.
    """

    kind: AnswerKind
    http_status: int | None = None
    intuit_code: str | None = None
    disposition: Disposition = Disposition.RETRY
    code: Code = Code.AUTOMATION_FAILED
    reason: str = ""
    fix: str = ""
    seen: BooksEntity | None = None
    deleted: bool = False  # a delete was confirmed
    conflicting_id: str | None = None
    conflicting_kind: str | None = None
    cause: Cause | None = None
    tries: int = 1
    retry_after: float | None = None
    unauthorized: bool = False  # 401: refresh the access token, then journal the resend anew
    throttled: bool = False
    halt: bool = False  # the realm is cut off: stop it
    intuit_tid: str | None = None
    body: str = field(repr=False, default="")


@dataclass(frozen=True)
class AccessToken:
    """An access token. `value` never enters a log."""

    value: str = field(repr=False)
    expires_at: datetime


class LookupFailed(Exception):  # noqa: N818
    """A look-up had no readable answer. It is never read as "it is not there".

    `definite`: QuickBooks (or what stands before it) answered, and will answer the same again; else nobody answered.
    `words`: what it said, without what differs from one answer to the next; `fix`: what a person can do.
    """

    definite = False
    fix = ""

    @property
    def words(self) -> str:
        """What was said."""
        return str(self)


class LookupUnreadable(LookupFailed):
    """There was an answer, and it is not what was asked for."""

    definite = True


class FeedFull(LookupFailed):
    """The change feed's answer is at its cap: `changes` are the newest, older ones may be missing."""

    def __init__(self, changes: "Sequence[BooksEntity | Deleted]") -> None:
        super().__init__(f"the change feed is at its cap of {len(changes)}: what is older is read by queries")
        self.changes = changes


@dataclass(frozen=True)
class OperatorAct:
    """What a person said about a company: who, why, when."""

    by: str
    why: str
    at: datetime

    def kept(self) -> dict[str, str]:
        """Return it as it stands in the ledger."""
        return {"by": self.by, "why": self.why, "at": self.at.isoformat()}

    @classmethod
    def of(cls, kept: dict[str, str] | None) -> "OperatorAct | None":
        """Read what stands in the ledger."""
        return cls(kept["by"], kept["why"], datetime.fromisoformat(kept["at"])) if kept else None


@dataclass(frozen=True)
class UpdatedPage:
    """One page of what was updated, oldest first, and where the next one begins; None after the last one."""

    seen: "tuple[BooksEntity, ...]"
    next: tuple[datetime, int] | None


@dataclass(frozen=True)
class Deleted:
    """A stub of the change feed: the entity was deleted. `kind` None: nothing that bookrelay makes."""

    entity: str
    qbo_id: str
    kind: LedgerKind | None = None


@dataclass(frozen=True)
class Reference:
    """An entry of a name list or another list that documents refer to."""

    entity: str
    qbo_id: str
    name: str
    active: bool = True
    heads: str | None = None  # "category" or "bundle": an item that no line can name


@dataclass(frozen=True)
class NameNeeded:
    """A customer or vendor that must be created first: a document of its own."""

    kind: LedgerKind
    name: str
    email: str | None = None


@dataclass(frozen=True)
class Unmapped:
    """A reference that has no mapping (QB006) or cannot be used; `fix` says what to do.

    `holds`: it is not this document's fault, it waits for a person.
    """

    reason: str
    fix: str
    code: Code = Code.MAPPING_MISSING
    holds: bool = False
    at_source: bool = False  # nothing in QuickBooks or in the policy mends it by itself
    by_facts: bool = False  # because of what the company uses or not: read again before anything waits for it


@dataclass(frozen=True)
class Resolved:
    """Every reference of a content, resolved: logical key -> QuickBooks id.

    Keys: "customer", "vendor", "item:<key>", "account:<key>", "term", "class", "department", "ap_account", "custom:<name>".
    """

    ids: dict[str, str]


class Skipped(Exception):  # noqa: N818
    """The document is left out on purpose; the reason is for its operator."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Comparison:
    """Our content against an entity: empty differences mean equal."""

    differences: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """Whether the entity holds what we compared."""
        return not self.differences


SENDER = "qbo-writer"

PARTY_KINDS = (LedgerKind.CUSTOMER, LedgerKind.VENDOR)

NAMES_SOURCE = "names"  # the source of the documents that stand for customers and vendors


@dataclass(frozen=True)
class CompanyFacts:
    """What the company can do: plan and preferences, read at connect and once a day."""

    plan: str = "unknown"  # simple_start | essentials | plus | advanced | unknown
    class_per: str | None = None  # "transaction" | "line"; None: classes are off
    departments: bool = True
    custom_numbers: bool = True  # document numbers are ours to give
    closing_date: date | None = None  # books are closed up to it
    sales_tax: bool = True  # the company uses sales tax, VAT or GST
    discounts: bool = True  # lines for a discount on the whole document
    country: str = ""  # as CompanyInfo names it: "US"; empty where that is silent
    currency: str | None = None  # to be named in every create: the company keeps several, ours are in its own

    @property
    def in_us(self) -> bool:
        """Whether the company is one of the US: two words for the tax of lines, and rates that QuickBooks chooses."""
        return self.country.upper() in ("US", "USA")

    @property
    def names_taxes(self) -> bool:
        """Whether every line must name its tax."""
        return bool(self.country) and not self.in_us and self.sales_tax

    @property
    def has_bills(self) -> bool:
        """Bills begin with the plan Essentials."""
        return self.plan != "simple_start"


@dataclass(frozen=True)
class DesiredDocument:
    """What a document shall be: JSON-ready owned fields, and the same in comparable form (as BooksEntity.fields).

    `cleared` is what an update sends besides: the owned fields that the content does not name. They are not compared, because
    QuickBooks may fill them: that an update which only removes something was done, the SyncToken shows.
    """

    kind: LedgerKind
    entity: str
    body_fields: dict[str, Any]
    fields: dict[str, str]
    cleared: dict[str, Any] = field(default_factory=dict)
