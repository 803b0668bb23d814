"""Every message on the wire: frozen models in CloudEvents 1.0, ids derived from the content, amounts as decimal strings.

Additive changes stay in v1; any other change is a new type on a v2 topic. `REGISTRY` lists all types.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar
from uuid import UUID, uuid5

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    model_validator,
)

from bookrelay import limits
from bookrelay.money import Amount, Quantity, loads, to_cents
from bookrelay.texts import DisplayValue, Explanation, FreeText, Identifier, Name, Realm, ShortText, Source, SourceKey, Text

NAMESPACE = UUID("5d0c5cb8-6c0f-5b6e-9a53-0d5f1a1a7c11")  # for all deterministic ids; never change it


class Model(BaseModel):
    """A value on the wire. Unknown fields are ignored, so that additive changes stay compatible."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="utf8")


def _in_bounds(value: date) -> date:
    if not limits.EARLIEST.year <= value.year <= limits.LATEST.year:
        raise ValueError(f"the year {value.year} is not between {limits.EARLIEST.year} and {limits.LATEST.year}")
    return value


def _utc(value: datetime) -> datetime:
    _in_bounds(value)
    return value.astimezone(UTC)


def _rfc3339(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _nothing(value: object) -> bool:
    """Whether to omit a field that older versions did not write: without a value the bytes stay the same."""
    return value is None or value == ()


UtcDatetime = Annotated[AwareDatetime, AfterValidator(_utc), PlainSerializer(_rfc3339, return_type=str, when_used="json")]
Day = Annotated[date, AfterValidator(_in_bounds), Field(description=f"From {limits.EARLIEST} to {limits.LATEST}.")]
Version = Annotated[int, Field(ge=0, le=limits.LARGEST_VERSION)]
Number = Annotated[
    FreeText,
    Field(
        min_length=1,
        max_length=limits.NAME,
        description="The number by which people know the document (a quote's, an invoice's). Content, never identity: it may "
        "change. QuickBooks accepts 21 characters; the company policy decides about a longer or duplicate one.",
    ),
]


class Kind(StrEnum):
    """The closed set of document kinds that bookrelay writes to the books."""

    INVOICE = "invoice"
    SALES_RECEIPT = "sales_receipt"
    CREDIT_MEMO = "credit_memo"
    PAYMENT = "payment"
    BILL = "bill"
    VENDOR_CREDIT = "vendor_credit"
    BILL_PAYMENT = "bill_payment"


class Priority(StrEnum):
    """Who is waiting for a command; lower priorities never delay higher ones."""

    INTERACTIVE = "interactive"
    LIVE = "live"
    BACKFILL = "backfill"
    SWEEP = "sweep"


# ------------------------------------------------------------------------------------------------------- document contents


class Party(Model):
    """A customer or vendor, by its name in the books."""

    name: Name
    email: FreeText | None = Field(default=None, max_length=limits.EMAIL)


class CustomField(Model):
    """A custom field of a sales form: `name` is a key of the company policy, `value` has at most 31 characters."""

    name: Name
    value: FreeText = Field(max_length=31)


class InvoiceLine(Model):
    """One line of an invoice. `item` is a key of the company's item mapping ("procedure"), not a QuickBooks id."""

    item: Name = "default"
    description: FreeText | None = Field(default=None, max_length=limits.DESCRIPTION)
    quantity: Quantity | None = None
    unit_price: Quantity | None = None
    amount: Amount
    tax_code: Name | None = Field(default=None, exclude_if=_nothing)  # its name in QuickBooks; in the US also TAX or NON


class BillLine(Model):
    """One line of a bill. `account` is a key of the company's account mapping."""

    account: Name = "default"
    description: FreeText | None = Field(default=None, max_length=limits.DESCRIPTION)
    amount: Amount
    tax_code: Name | None = Field(default=None, exclude_if=_nothing)


class Discount(Model):
    """A discount on the whole invoice: an amount, or a percentage (8.5 is 8.5 %) of the sum of its lines.

    `before_tax`: it reduces the taxable amount. A rebate on one line is a smaller amount of that line, or a negative line.
    """

    amount: Amount | None = Field(default=None, exclude_if=_nothing)
    percent: Quantity | None = Field(default=None, exclude_if=_nothing)
    before_tax: bool = True

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.amount is None) == (self.percent is None):
            raise ValueError("a discount has either an amount or a percentage")
        if self.amount is not None and self.amount < 0:
            raise ValueError("a discount cannot be negative: add a line instead")
        if self.percent is not None and not 0 <= self.percent <= 100:
            raise ValueError("the percentage of a discount must be between 0 and 100")
        return self

    def of(self, lines: Decimal) -> Decimal:
        """Return the amount deducted from the sum of the lines, rounded half up to cents as QuickBooks does."""
        return self.amount if self.amount is not None else to_cents(lines * (self.percent or 0) / 100)


def _sum(lines: Iterable[InvoiceLine | BillLine], discount: Discount | None = None) -> Decimal:
    whole = to_cents(sum((line.amount for line in lines), start=Decimal(0)))
    return whole - discount.of(whole) if discount else whole


class InvoiceContent(Model):
    """The content of an invoice: the fields that bookrelay owns in the books."""

    customer: Party
    txn_date: Day
    due_date: Day | None = None
    terms: FreeText | None = Field(default=None, max_length=31)
    class_name: FreeText | None = Field(default=None, max_length=100)
    department: FreeText | None = Field(default=None, max_length=100)
    memo: FreeText | None = Field(default=None, max_length=limits.MEMO)
    number: Number | None = Field(default=None, exclude_if=_nothing)
    custom_fields: tuple[CustomField, ...] = Field(default=(), max_length=limits.CUSTOM_FIELDS)
    lines: tuple[InvoiceLine, ...] = Field(min_length=1, max_length=limits.LINES)
    discount: Discount | None = Field(default=None, exclude_if=_nothing)

    @property
    def total(self) -> Amount:
        """The sum of the lines, less the discount."""
        return _sum(self.lines, self.discount)


class _SalesContent(Model):
    customer: Party
    txn_date: Day
    class_name: FreeText | None = Field(default=None, max_length=100)
    department: FreeText | None = Field(default=None, max_length=100)
    memo: FreeText | None = Field(default=None, max_length=limits.MEMO)
    number: Number | None = Field(default=None, exclude_if=_nothing)
    custom_fields: tuple[CustomField, ...] = Field(default=(), max_length=limits.CUSTOM_FIELDS)
    lines: tuple[InvoiceLine, ...] = Field(min_length=1, max_length=limits.LINES)
    discount: Discount | None = Field(default=None, exclude_if=_nothing)

    @property
    def total(self) -> Amount:
        """The sum of the lines, less the discount."""
        return _sum(self.lines, self.discount)


class SalesReceiptContent(_SalesContent):
    """The content of a sales receipt: a sale that was paid immediately.

    `deposit_to` is a key of the company's account mapping; without it the money goes to the books' undeposited funds.
    `payment_method` is a name in the books, `payment_ref` the number of a check or card transaction.
    """

    deposit_to: Name | None = None
    payment_method: FreeText | None = Field(default=None, max_length=31)
    payment_ref: FreeText | None = Field(default=None, max_length=21)


class CreditMemoContent(_SalesContent):
    """The content of a credit memo: what a customer gets back or need not pay, as positive amounts."""


class Applied(Model):
    """The part of a payment applied to one document, by its business key; without `source`, of the payment's own source."""

    source: Source | None = Field(default=None, exclude_if=_nothing)
    source_key: SourceKey
    amount: Annotated[Amount, Field(gt=0)]


class PaymentContent(Model):
    """The content of a customer's payment. `amount` is what was received; the unapplied part remains the customer's credit.

    `applied` lists the invoices that it pays, `credits` the credit memos used (with an amount of 0, nothing else is). A payment
    waits for the documents that it names. `deposit_to` is a key of the company's account mapping; without it the money goes to
    the books' undeposited funds.
    """

    customer: Party
    txn_date: Day
    amount: Annotated[Amount, Field(ge=0)]
    applied: tuple[Applied, ...] = Field(default=(), max_length=limits.LINES)
    credits: tuple[Applied, ...] = Field(default=(), max_length=limits.LINES)
    deposit_to: Name | None = None
    payment_method: FreeText | None = Field(default=None, max_length=31)
    payment_ref: FreeText | None = Field(default=None, max_length=21)
    memo: FreeText | None = Field(default=None, max_length=limits.MEMO)

    @property
    def total(self) -> Amount:
        """What was received."""
        return self.amount

    @model_validator(mode="after")
    def _within(self) -> Self:
        for part in (self.applied, self.credits):
            if len({(one.source, one.source_key) for one in part}) < len(part):
                raise ValueError("a payment can name each document only once")
        applied, credits = (sum((one.amount for one in part), start=Decimal(0)) for part in (self.applied, self.credits))
        if applied > self.amount + credits:
            raise ValueError(f"{applied} is applied, but the payment and its credits come to {self.amount + credits}")
        if credits > applied:
            raise ValueError(f"credits of {credits} pay more than the {applied} that is applied")
        return self


class BillContent(Model):
    """The content of a bill: the fields that bookrelay owns in the books."""

    vendor: Party
    txn_date: Day
    due_date: Day | None = None
    terms: FreeText | None = Field(default=None, max_length=31)
    class_name: FreeText | None = Field(default=None, max_length=100)
    department: FreeText | None = Field(default=None, max_length=100)
    memo: FreeText | None = Field(default=None, max_length=limits.MEMO)
    number: Number | None = Field(default=None, exclude_if=_nothing)
    lines: tuple[BillLine, ...] = Field(min_length=1, max_length=limits.LINES)

    @property
    def total(self) -> Amount:
        """The sum of the lines."""
        return _sum(self.lines)


class VendorCreditContent(Model):
    """The content of a vendor credit: what a vendor owes us, as positive amounts."""

    vendor: Party
    txn_date: Day
    class_name: FreeText | None = Field(default=None, max_length=100)
    department: FreeText | None = Field(default=None, max_length=100)
    memo: FreeText | None = Field(default=None, max_length=limits.MEMO)
    number: Number | None = Field(default=None, exclude_if=_nothing)
    lines: tuple[BillLine, ...] = Field(min_length=1, max_length=limits.LINES)

    @property
    def total(self) -> Amount:
        """The sum of the lines."""
        return _sum(self.lines)


SalesContent = InvoiceContent | SalesReceiptContent | CreditMemoContent  # of documents for a customer
PurchaseContent = BillContent | VendorCreditContent  # of documents of a vendor
Content = SalesContent | PaymentContent | PurchaseContent


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False)


def short_json(value: BaseModel) -> str:
    """Serialize with the defaults left out."""
    return value.model_dump_json(exclude_defaults=True)


def canonical_json(value: BaseModel, short: str | None = None) -> str:
    """Serialize for hashing: sorted keys, no spaces, defaults left out, so that an added optional field keeps old hashes.

    `short` is its `short_json`, for callers that already have it.
    """
    return _CANONICAL.encode(loads(short if short is not None else short_json(value)))


def content_hash(content: BaseModel | None, short: str | None = None) -> str:
    """Return the SHA-256 of the canonical JSON, 64 hex digits; without content (a retraction), that of the empty string."""
    return hashlib.sha256(canonical_json(content, short).encode() if content is not None else b"").hexdigest()


# --------------------------------------------------------------------------------------------------------------- envelope

D = TypeVar("D", bound=Model)


class CloudEvent(Model, Generic[D]):
    """CloudEvents 1.0 in structured mode. `subject` is the Kafka key; everything else that matters is in `data`."""

    specversion: Literal["1.0"] = "1.0"
    id: UUID
    source: Annotated[str, Field(pattern=r"^/bookrelay/[a-z-]+$")]
    type: str
    subject: Identifier
    time: UtcDatetime
    datacontenttype: Literal["application/json"] = "application/json"
    data: D

    TYPE: ClassVar[str]

    def key(self) -> bytes:
        """Return the Kafka key, so that the order of each document's messages is preserved."""
        return self.subject.encode()

    def encode(self) -> bytes:
        """Return the Kafka value, UTF-8."""
        return self.model_dump_json().encode()


class DocumentData(Model):
    """Identifies a document by a business key within one company (realm). Identifiers are opaque."""

    realm: Realm
    source: Source
    source_key: SourceKey
    kind: Kind
    version: Version

    @property
    def subject(self) -> str:
        """The Kafka key of all messages about this document."""
        return subject_of(self.realm, self.source, self.source_key)


def subject_of(realm: str, source: str, source_key: str) -> str:
    """Return the Kafka key of a document: `realm:source:source_key`."""
    return f"{realm}:{source}:{source_key}"[: limits.IDENTIFIER]


# --------------------------------------------------------------------------------------------------------------- commands


class CommandData(DocumentData):
    """The desired state of a document. (`version`, `modified_at`) gives the order: a source may have no version numbers."""

    modified_at: UtcDatetime
    priority: Priority = Priority.LIVE

    def id(self) -> UUID:
        """Return the command's id: the same change read twice from its source gives the same message."""
        content = getattr(self, "content", None)
        parts = (
            self.realm, self.source, self.source_key, self.kind, str(self.version), _rfc3339(self.modified_at),
            content_hash(content), *self._stated(),
        )  # fmt: skip
        return uuid5(NAMESPACE, "\x1f".join(parts))

    def _stated(self) -> tuple[str, ...]:
        """Return the optional fields beside the content; if they are absent, ids stay the same."""
        return ()


class UpsertData(CommandData):
    """The optional fields of upserts beside their content.

    `total`: the document's total according to its source, tax included; omitted if the source has none. If the lines do not add
    up to it, the document is put on hold; QuickBooks' response is compared with it.
    """

    total: Amount | None = Field(default=None, exclude_if=_nothing)

    def _stated(self) -> tuple[str, ...]:
        return () if self.total is None else (f"total={self.total}",)


class UpsertInvoiceData(UpsertData):
    kind: Literal[Kind.INVOICE] = Kind.INVOICE
    content: InvoiceContent


class UpsertSalesReceiptData(UpsertData):
    kind: Literal[Kind.SALES_RECEIPT] = Kind.SALES_RECEIPT
    content: SalesReceiptContent


class UpsertCreditMemoData(UpsertData):
    kind: Literal[Kind.CREDIT_MEMO] = Kind.CREDIT_MEMO
    content: CreditMemoContent


class UpsertPaymentData(UpsertData):
    kind: Literal[Kind.PAYMENT] = Kind.PAYMENT
    content: PaymentContent


class UpsertBillData(UpsertData):
    kind: Literal[Kind.BILL] = Kind.BILL
    content: BillContent


class UpsertVendorCreditData(UpsertData):
    kind: Literal[Kind.VENDOR_CREDIT] = Kind.VENDOR_CREDIT
    content: VendorCreditContent


class RetractDocumentData(CommandData):
    reason: Text


class _Command(CloudEvent[D], Generic[D]):
    @classmethod
    def of(cls, data: D, *, sender: str, time: datetime | None = None) -> Self:
        """Wrap `data` from service `sender`. The envelope's time is that of the source, so that replays are identical."""
        assert isinstance(data, CommandData)
        return cls(
            id=data.id(), source=f"/bookrelay/{sender}", type=cls.TYPE, subject=data.subject,
            time=time or data.modified_at, data=data,
        )  # fmt: skip


class UpsertInvoice(_Command[UpsertInvoiceData]):
    """This invoice shall exist with this content."""

    TYPE = "bookrelay.invoice.upsert.v1"
    type: Literal["bookrelay.invoice.upsert.v1"] = "bookrelay.invoice.upsert.v1"


class UpsertSalesReceipt(_Command[UpsertSalesReceiptData]):
    """This sales receipt shall exist with this content."""

    TYPE = "bookrelay.sales-receipt.upsert.v1"
    type: Literal["bookrelay.sales-receipt.upsert.v1"] = "bookrelay.sales-receipt.upsert.v1"


class UpsertCreditMemo(_Command[UpsertCreditMemoData]):
    """This credit memo shall exist with this content."""

    TYPE = "bookrelay.credit-memo.upsert.v1"
    type: Literal["bookrelay.credit-memo.upsert.v1"] = "bookrelay.credit-memo.upsert.v1"


class UpsertPayment(_Command[UpsertPaymentData]):
    """This payment of a customer shall exist with this content."""

    TYPE = "bookrelay.payment.upsert.v1"
    type: Literal["bookrelay.payment.upsert.v1"] = "bookrelay.payment.upsert.v1"


class UpsertBill(_Command[UpsertBillData]):
    """This bill shall exist with this content."""

    TYPE = "bookrelay.bill.upsert.v1"
    type: Literal["bookrelay.bill.upsert.v1"] = "bookrelay.bill.upsert.v1"


class UpsertVendorCredit(_Command[UpsertVendorCreditData]):
    """This vendor credit shall exist with this content."""

    TYPE = "bookrelay.vendor-credit.upsert.v1"
    type: Literal["bookrelay.vendor-credit.upsert.v1"] = "bookrelay.vendor-credit.upsert.v1"


class RetractDocument(_Command[RetractDocumentData]):
    """This document shall not exist."""

    TYPE = "bookrelay.document.retract.v1"
    type: Literal["bookrelay.document.retract.v1"] = "bookrelay.document.retract.v1"


Upsert = UpsertInvoice | UpsertSalesReceipt | UpsertCreditMemo | UpsertPayment | UpsertBill | UpsertVendorCredit
Command = Upsert | RetractDocument


_UPSERT_OF: dict[type[Content], tuple[type[Upsert], type[UpsertData]]] = {
    InvoiceContent: (UpsertInvoice, UpsertInvoiceData),
    SalesReceiptContent: (UpsertSalesReceipt, UpsertSalesReceiptData),
    CreditMemoContent: (UpsertCreditMemo, UpsertCreditMemoData),
    PaymentContent: (UpsertPayment, UpsertPaymentData),
    BillContent: (UpsertBill, UpsertBillData),
    VendorCreditContent: (UpsertVendorCredit, UpsertVendorCreditData),
}


def upsert(content: Content, *, sender: str, **about: Any) -> Upsert:
    """Return a command of service `sender` that a document shall exist with this content; `about` holds the other fields."""
    command, data = _UPSERT_OF[type(content)]
    made: Upsert = command.of(data.model_validate({**about, "content": content}), sender=sender)  # type: ignore[arg-type]
    return made


# ----------------------------------------------------------------------------------------------------------------- events


Reason = Annotated[Explanation, Field(min_length=1)]
Url = Annotated[str, Field(max_length=limits.URL)]


class Difference(Model):
    """A field in which the books and the source differ; values as text, without patients' names."""

    field: Name
    ours: DisplayValue | None = None
    theirs: DisplayValue | None = None


def _few(value: object) -> object:
    """Limit the differences in an event to what fits a record; all of them are in the ledger and in QuickBooks."""
    if not isinstance(value, tuple | list) or len(value) <= limits.DIFFERENCES:
        return value
    kept = limits.DIFFERENCES - 1
    return (*value[:kept], Difference(field="more", ours=f"{len(value) - kept} more differences"))


Differences = Annotated[tuple[Difference, ...], Field(max_length=limits.DIFFERENCES), BeforeValidator(_few)]


class EventData(DocumentData):
    """The outcome of a command. `command_id` is absent if a source rejected a document before it became a command."""

    command_id: UUID | None = None
    # Counts a command's outcomes: after a release there is another.
    occurrence: Annotated[int, Field(ge=0, le=limits.LARGEST_COUNT)] = 0

    def id_for(self, type_: str) -> UUID:
        """Return the event's id: the same outcome published twice is the same message."""
        about = str(self.command_id) if self.command_id else f"{self.subject}\x1f{self.kind}\x1f{self.version}"
        return uuid5(NAMESPACE, f"{about}\x1f{type_}\x1f{self.occurrence}")


class Outcome(StrEnum):
    """How a posted document got its content."""

    CREATED = "created"
    UPDATED = "updated"
    ADOPTED = "adopted"
    RESTORED = "restored"


class PostedData(EventData):
    outcome: Outcome
    qbo_id: Identifier
    sync_token: ShortText
    doc_number: ShortText | None = None
    url: Url
    total: Amount
    differences: Differences = Field(default=(), exclude_if=_nothing)  # between QuickBooks' response and the command
    discrepancy: Amount | None = Field(default=None, exclude_if=_nothing)  # QuickBooks' total minus the command's


class InvoicePostedData(PostedData):
    kind: Literal[Kind.INVOICE] = Kind.INVOICE


class SalesReceiptPostedData(PostedData):
    kind: Literal[Kind.SALES_RECEIPT] = Kind.SALES_RECEIPT


class CreditMemoPostedData(PostedData):
    kind: Literal[Kind.CREDIT_MEMO] = Kind.CREDIT_MEMO


class PaymentPostedData(PostedData):
    kind: Literal[Kind.PAYMENT] = Kind.PAYMENT


class BillPostedData(PostedData):
    kind: Literal[Kind.BILL] = Kind.BILL


class VendorCreditPostedData(PostedData):
    kind: Literal[Kind.VENDOR_CREDIT] = Kind.VENDOR_CREDIT


class BillPaymentPostedData(PostedData):
    kind: Literal[Kind.BILL_PAYMENT] = Kind.BILL_PAYMENT


class DocumentUnchangedData(EventData):
    """No change was needed; the QuickBooks fields are absent if there is no document (a retraction of nothing)."""

    qbo_id: Identifier | None = None
    doc_number: ShortText | None = None
    url: Url | None = None
    total: Amount | None = None


class DocumentRetractedData(EventData):
    how: Literal["voided", "deleted", "gone"]
    qbo_id: Identifier | None = None


class DocumentRejectedData(EventData):
    code: ShortText
    intuit_code: ShortText | None = None
    reason: Reason
    fix: Explanation = ""


class DocumentWaitingData(EventData):
    code: ShortText
    reason: Reason
    fix: Explanation = ""


class DocumentSkippedData(EventData):
    reason: Reason


class DocumentHeldData(EventData):
    reason: Reason
    fix: Explanation = ""
    differences: Differences = ()


class DocumentSupersededData(EventData):
    by_version: Version


class DocumentDivergedData(EventData):
    qbo_id: Identifier
    differences: Differences = ()


class CommandDeadLetteredData(EventData):
    reason: Reason


class RealmData(Model):
    """About a whole company."""

    realm: Realm
    code: ShortText
    reason: Reason
    since: UtcDatetime


class _Event(CloudEvent[D], Generic[D]):
    @classmethod
    def of(cls, data: D, *, sender: str, time: datetime) -> Self:
        """Wrap `data`, published by service `sender` at `time`."""
        assert isinstance(data, EventData)
        return cls(
            id=data.id_for(cls.TYPE),
            source=f"/bookrelay/{sender}",
            type=cls.TYPE,
            subject=data.subject,
            time=time,
            data=data,
        )


class InvoicePosted(_Event[InvoicePostedData]):
    """The invoice is in the books with the command's content."""

    TYPE = "bookrelay.invoice.posted.v1"
    type: Literal["bookrelay.invoice.posted.v1"] = "bookrelay.invoice.posted.v1"


class SalesReceiptPosted(_Event[SalesReceiptPostedData]):
    """The sales receipt is in the books with the command's content."""

    TYPE = "bookrelay.sales-receipt.posted.v1"
    type: Literal["bookrelay.sales-receipt.posted.v1"] = "bookrelay.sales-receipt.posted.v1"


class CreditMemoPosted(_Event[CreditMemoPostedData]):
    """The credit memo is in the books with the command's content."""

    TYPE = "bookrelay.credit-memo.posted.v1"
    type: Literal["bookrelay.credit-memo.posted.v1"] = "bookrelay.credit-memo.posted.v1"


class PaymentPosted(_Event[PaymentPostedData]):
    """The payment is in the books with the command's content."""

    TYPE = "bookrelay.payment.posted.v1"
    type: Literal["bookrelay.payment.posted.v1"] = "bookrelay.payment.posted.v1"


class BillPosted(_Event[BillPostedData]):
    """The bill is in the books with the command's content."""

    TYPE = "bookrelay.bill.posted.v1"
    type: Literal["bookrelay.bill.posted.v1"] = "bookrelay.bill.posted.v1"


class VendorCreditPosted(_Event[VendorCreditPostedData]):
    """The vendor credit is in the books with the command's content."""

    TYPE = "bookrelay.vendor-credit.posted.v1"
    type: Literal["bookrelay.vendor-credit.posted.v1"] = "bookrelay.vendor-credit.posted.v1"


class BillPaymentPosted(_Event[BillPaymentPostedData]):
    """A bill was marked as paid by a bill payment."""

    TYPE = "bookrelay.bill-payment.posted.v1"
    type: Literal["bookrelay.bill-payment.posted.v1"] = "bookrelay.bill-payment.posted.v1"


class DocumentUnchanged(_Event[DocumentUnchangedData]):
    """The books already match the command."""

    TYPE = "bookrelay.document.unchanged.v1"
    type: Literal["bookrelay.document.unchanged.v1"] = "bookrelay.document.unchanged.v1"


class DocumentRetracted(_Event[DocumentRetractedData]):
    """The document was deleted or voided in the books."""

    TYPE = "bookrelay.document.retracted.v1"
    type: Literal["bookrelay.document.retracted.v1"] = "bookrelay.document.retracted.v1"


class DocumentRejected(_Event[DocumentRejectedData]):
    """The document is wrong; the reason is for the person who maintains it at its source."""

    TYPE = "bookrelay.document.rejected.v1"
    type: Literal["bookrelay.document.rejected.v1"] = "bookrelay.document.rejected.v1"


class DocumentWaiting(_Event[DocumentWaitingData]):
    """The document needs something that is missing in the books or the policy; it is posted automatically once that exists."""

    TYPE = "bookrelay.document.waiting.v1"
    type: Literal["bookrelay.document.waiting.v1"] = "bookrelay.document.waiting.v1"


class DocumentSkipped(_Event[DocumentSkippedData]):
    """The document is not posted, by configuration (mode, plan)."""

    TYPE = "bookrelay.document.skipped.v1"
    type: Literal["bookrelay.document.skipped.v1"] = "bookrelay.document.skipped.v1"


class DocumentHeld(_Event[DocumentHeldData]):
    """The document is on hold: a person must decide. The event shows the differences."""

    TYPE = "bookrelay.document.held.v1"
    type: Literal["bookrelay.document.held.v1"] = "bookrelay.document.held.v1"


class DocumentSuperseded(_Event[DocumentSupersededData]):
    """Superseded by a newer version, which was recorded first."""

    TYPE = "bookrelay.document.superseded.v1"
    type: Literal["bookrelay.document.superseded.v1"] = "bookrelay.document.superseded.v1"


class DocumentDiverged(_Event[DocumentDivergedData]):
    """A person changed the document in the books."""

    TYPE = "bookrelay.document.diverged.v1"
    type: Literal["bookrelay.document.diverged.v1"] = "bookrelay.document.diverged.v1"


class CommandDeadLettered(_Event[CommandDeadLetteredData]):
    """The command could not be handled; it is in a dead-letter topic."""

    TYPE = "bookrelay.command.dead-lettered.v1"
    type: Literal["bookrelay.command.dead-lettered.v1"] = "bookrelay.command.dead-lettered.v1"


class _RealmEvent(CloudEvent[RealmData]):
    @classmethod
    def of(cls, data: RealmData, *, sender: str, time: datetime) -> Self:
        """Wrap `data`, published by service `sender` at `time`."""
        id_ = uuid5(NAMESPACE, f"{data.realm}\x1f{cls.TYPE}\x1f{data.code}\x1f{_rfc3339(data.since)}")
        return cls(id=id_, source=f"/bookrelay/{sender}", type=cls.TYPE, subject=data.realm, time=time, data=data)


class RealmHalted(_RealmEvent):
    """Posting for this company is halted; an operator is needed."""

    TYPE = "bookrelay.realm.halted.v1"
    type: Literal["bookrelay.realm.halted.v1"] = "bookrelay.realm.halted.v1"


class RealmResumed(_RealmEvent):
    """Posting for this company has resumed."""

    TYPE = "bookrelay.realm.resumed.v1"
    type: Literal["bookrelay.realm.resumed.v1"] = "bookrelay.realm.resumed.v1"


class RealmUnserved(_RealmEvent):
    """Commands for this company are waiting and no writer serves it; the reason says what to do. Published once until it ends."""

    TYPE = "bookrelay.realm.unserved.v1"
    type: Literal["bookrelay.realm.unserved.v1"] = "bookrelay.realm.unserved.v1"


class RealmServed(_RealmEvent):
    """A writer serves this company now, or no commands wait for it any more: ends `RealmUnserved`."""

    TYPE = "bookrelay.realm.served.v1"
    type: Literal["bookrelay.realm.served.v1"] = "bookrelay.realm.served.v1"


class BooksDiscrepancyData(Model):
    realm: Realm
    code: ShortText = "QB007"
    what: Literal["unknown_marker", "not_expected", "double", "missing", "not_as_asked"]
    entity: Identifier
    entity_id: Identifier
    doc_number: ShortText | None = None
    source: Source | None = None  # of the document, if the ledger knows it
    source_key: SourceKey | None = None
    reason: Reason
    fix: Explanation = ""
    amount: Amount | None = Field(
        default=None, exclude_if=_nothing
    )  # of "not_as_asked": QuickBooks' total less the command's own
    found_at: UtcDatetime


class BooksDiscrepancy(CloudEvent[BooksDiscrepancyData]):
    """Books and ledger disagree about what exists (the daily sweep), or QuickBooks' response differs from the command.

    Published once; again only if it is fixed and recurs.
    """

    TYPE = "bookrelay.books.discrepancy.v1"
    type: Literal["bookrelay.books.discrepancy.v1"] = "bookrelay.books.discrepancy.v1"

    @classmethod
    def of(cls, data: BooksDiscrepancyData, *, sender: str, time: datetime) -> Self:
        """Wrap `data`, published by service `sender` at `time`."""
        parts = ("discrepancy", data.realm, data.entity, data.entity_id, data.what, _rfc3339(data.found_at))
        subject = subject_of(data.realm, data.source or data.entity, data.source_key or data.entity_id)
        id_ = uuid5(NAMESPACE, "\x1f".join(parts))
        return cls(id=id_, source=f"/bookrelay/{sender}", type=cls.TYPE, subject=subject, time=time, data=data)


Event = (
    InvoicePosted | SalesReceiptPosted | CreditMemoPosted | PaymentPosted | BillPosted | VendorCreditPosted | BillPaymentPosted
    | DocumentUnchanged | DocumentRetracted | DocumentRejected | DocumentSkipped | DocumentHeld | DocumentSuperseded
    | DocumentDiverged | CommandDeadLettered | RealmHalted | RealmResumed | RealmUnserved | RealmServed | BooksDiscrepancy
    | DocumentWaiting
)  # fmt: skip


# ------------------------------------------------------------------------------------------------- what happens in the books


class EntityChangedData(Model):
    """One record of an Intuit webhook: it says that an entity changed, but not what."""

    realm: Realm
    entity: Identifier
    entity_id: Identifier
    operation: Literal["created", "updated", "deleted", "merged", "voided", "emailed", "unknown"]
    changed_at: UtcDatetime
    deleted_id: Identifier | None = None
    notification_id: Identifier  # Intuit's CloudEvents id, or a hash of the classic record: the deduplication key
    format: Literal["classic", "cloudevents"]


class BooksChangedData(Model):
    """The current state of a changed entity. Amounts are decimal strings."""

    realm: Realm
    entity: Identifier
    entity_id: Identifier
    operation: Name
    sync_token: ShortText | None = None
    changed_at: UtcDatetime
    ours: bool = False


class EntityChanged(CloudEvent[EntityChangedData]):
    """Intuit notified us that an entity changed."""

    TYPE = "bookrelay.intuit.entity-changed.v1"
    type: Literal["bookrelay.intuit.entity-changed.v1"] = "bookrelay.intuit.entity-changed.v1"

    @classmethod
    def of(cls, data: EntityChangedData, *, sender: str, time: datetime) -> Self:
        """Wrap `data`, received by service `sender` at `time`."""
        id_ = uuid5(NAMESPACE, f"intuit\x1f{data.realm}\x1f{data.notification_id}")
        subject = subject_of(data.realm, data.entity, data.entity_id)
        return cls(id=id_, source=f"/bookrelay/{sender}", type=cls.TYPE, subject=subject, time=time, data=data)


class BooksChanged(CloudEvent[BooksChangedData]):
    """An entity in the books changed, read back from QuickBooks."""

    TYPE = "bookrelay.books.changed.v1"
    type: Literal["bookrelay.books.changed.v1"] = "bookrelay.books.changed.v1"

    @classmethod
    def of(cls, data: BooksChangedData, *, sender: str, time: datetime) -> Self:
        """Wrap `data`, read by service `sender` at `time`."""
        parts = (
            data.realm,
            data.entity,
            data.entity_id,
            data.operation,
            data.sync_token or "",
            _rfc3339(data.changed_at),
        )
        id_ = uuid5(NAMESPACE, "\x1f".join(("books", *parts)))
        subject = subject_of(data.realm, data.entity, data.entity_id)
        return cls(id=id_, source=f"/bookrelay/{sender}", type=cls.TYPE, subject=subject, time=time, data=data)


AnyMessage = CloudEvent[Any]

UPSERTS: tuple[type[Upsert], ...] = tuple(command for command, _ in _UPSERT_OF.values())
COMMANDS: tuple[type[AnyMessage], ...] = (*UPSERTS, RetractDocument)
EVENTS: tuple[type[AnyMessage], ...] = (
    InvoicePosted, SalesReceiptPosted, CreditMemoPosted, PaymentPosted, BillPosted, VendorCreditPosted, BillPaymentPosted,
    DocumentUnchanged, DocumentRetracted, DocumentRejected, DocumentSkipped, DocumentHeld, DocumentSuperseded, DocumentDiverged,
    CommandDeadLettered, RealmHalted, RealmResumed, RealmUnserved, RealmServed, BooksDiscrepancy, DocumentWaiting,
)  # fmt: skip
NOTIFICATIONS: tuple[type[AnyMessage], ...] = (EntityChanged,)
CHANGES: tuple[type[AnyMessage], ...] = (BooksChanged,)
REGISTRY: dict[str, type[AnyMessage]] = {m.TYPE: m for m in (*COMMANDS, *EVENTS, *NOTIFICATIONS, *CHANGES)}


@cache
def adapter(types: tuple[type[AnyMessage], ...]) -> TypeAdapter[Any]:
    """Return the decoder for a closed set of message types, discriminated by `type`."""
    if len(types) == 1:
        return TypeAdapter(types[0])
    union: Any = types[0]
    for message in types[1:]:
        union = union | message
    return TypeAdapter(Annotated[union, Field(discriminator="type")])
