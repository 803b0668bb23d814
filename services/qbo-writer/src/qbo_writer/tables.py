"""The writer's tables, schema `qbo_writer`. All times are from the database's clock, in UTC."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from bookrelay.tables import OutboxRow, pending_index
from sqlalchemy import BigInteger, Boolean, CheckConstraint, DateTime, Index, Integer, Numeric, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from qbo_writer.domain import SCHEMA

_NOW: dict[str, Any] = {"server_default": text("now()")}
_FALSE: dict[str, Any] = {"server_default": text("false")}
_ZERO: dict[str, Any] = {"server_default": text("0")}
_TIME = DateTime(timezone=True)
# The customer that a command names, comparable with a vendor's key.
CUSTOMER_FOLDED = "btrim(regexp_replace(lower((content -> 'customer') ->> 'name'), '\\s+', ' ', 'g'))"


class Document(SQLModel, table=True):
    """One business key: its last known state in QuickBooks."""

    __tablename__ = "documents"
    __table_args__ = (
        Index("uq_documents_key", "realm", "source", "source_key", "kind", unique=True),
        Index(
            "ix_documents_doc_number", "realm", "kind", text("lower(doc_number)"), postgresql_where=text("doc_number IS NOT NULL")
        ),
        Index(
            "ix_documents_shown_number",
            "realm",
            "kind",
            text("lower(fields ->> 'doc_number')"),
            postgresql_where=text("fields ->> 'doc_number' IS NOT NULL"),
        ),
        Index("ix_documents_qbo_id", "realm", "kind", "qbo_id", postgresql_where=text("qbo_id IS NOT NULL")),
        Index("ix_documents_marker", "realm", "marker"),
        Index("ix_documents_held", "realm", postgresql_where=text("held")),
        {"schema": SCHEMA},
    )

    id: int | None = Field(default=None, sa_type=BigInteger, primary_key=True)
    realm: str = Field(sa_type=Text)
    source: str = Field(sa_type=Text)
    source_key: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    doc_number: str | None = Field(default=None, sa_type=Text)  # as set by its latest request, or by QuickBooks
    number_of: str | None = Field(default=None, sa_type=Text)  # the source's number that doc_number stands for
    marker: str = Field(sa_type=Text)  # in PrivateNote; random-looking, unique, reveals nothing about the key
    status: str = Field(default="nothing", sa_type=Text, sa_column_kwargs={"server_default": text("'nothing'")})
    qbo_id: str | None = Field(default=None, sa_type=Text)
    sync_token: str | None = Field(default=None, sa_type=Text)
    content: dict[str, Any] | None = Field(
        default=None, sa_type=JSONB(none_as_null=True)
    )  # the last posted content, as on the wire
    content_hash: str | None = Field(default=None, sa_type=Text)
    fields: dict[str, Any] | None = Field(
        default=None, sa_type=JSONB(none_as_null=True)
    )  # BooksEntity.fields from QuickBooks' answer
    total: Decimal | None = Field(default=None, sa_type=Numeric(15, 2))
    balance: Decimal | None = Field(default=None, sa_type=Numeric(15, 2))  # open balance when last seen: less than total = paid
    differences: list[Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True))  # what somebody changed in QuickBooks
    diverged: bool = Field(default=False, sa_type=Boolean, sa_column_kwargs=_FALSE)
    emailed: bool = Field(default=False, sa_type=Boolean, sa_column_kwargs=_FALSE)  # to its customer, when last seen
    held: bool = Field(default=False, sa_type=Boolean, sa_column_kwargs=_FALSE)
    newest_version: int = Field(default=-1, sa_type=BigInteger, sa_column_kwargs={"server_default": text("-1")})
    newest_modified_at: datetime | None = Field(default=None, sa_type=_TIME)
    attempts: int = Field(default=0, sa_type=Integer, sa_column_kwargs=_ZERO)  # how many so far: part of the requestid
    created_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)
    updated_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)


class CommandRow(SQLModel, table=True):
    """One command: the request and its outcome. The primary key makes a redelivery harmless."""

    __tablename__ = "commands"
    __table_args__ = (
        Index("ix_commands_due", "realm", "priority", "due_at", postgresql_where=text("state = 'due'")),
        Index("ix_commands_waits_for", "waits_for", postgresql_where=text("state = 'received'")),
        Index("ix_commands_awaits", "awaits", postgresql_where=text("awaits IS NOT NULL")),
        Index("ix_commands_document", "document_id", "version", "modified_at"),
        Index("ix_commands_state", "realm", "state"),
        Index(
            "ix_commands_customer",
            "realm",
            text(CUSTOMER_FOLDED),
            postgresql_where=text("state = 'due' AND content ? 'customer'"),
        ),
        Index("ix_commands_waiting", "realm", "state", "due_at", postgresql_where=text("state IN ('waiting', 'received')")),
        {"schema": SCHEMA},
    )

    id: UUID = Field(primary_key=True)
    document_id: int = Field(sa_type=BigInteger, foreign_key=f"{SCHEMA}.documents.id")
    realm: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    operation: str = Field(sa_type=Text)  # upsert | retract
    version: int = Field(sa_type=BigInteger)
    modified_at: datetime = Field(sa_type=_TIME)
    content: dict[str, Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    content_hash: str = Field(sa_type=Text)
    total: Decimal | None = Field(default=None, sa_type=Numeric(15, 2))  # of the document, as its source states it
    priority: int = Field(
        default=1, sa_type=SmallInteger, sa_column_kwargs={"server_default": text("1")}
    )  # 0 interactive ... 3 sweep
    state: str = Field(default="due", sa_type=Text, sa_column_kwargs={"server_default": text("'due'")})
    due_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)
    waits_for: int | None = Field(default=None, sa_type=BigInteger)  # while `received`: the document that must be posted first
    awaits: str | None = Field(default=None, sa_type=Text)  # while `waiting`: the marker of our document that it waits for
    waiting_since: datetime | None = Field(default=None, sa_type=_TIME)  # for something in QuickBooks or in the policy
    failures: int = Field(default=0, sa_type=Integer, sa_column_kwargs=_ZERO)
    forced: bool = Field(default=False, sa_type=Boolean, sa_column_kwargs=_FALSE)  # an operator said: overwrite what was shown
    shown_sync_token: str | None = Field(default=None, sa_type=Text)  # of the state in QuickBooks last shown to an operator
    dropped: bool = Field(default=False, sa_type=Boolean, sa_column_kwargs=_FALSE)  # an operator said: leave it as it is
    code: str | None = Field(default=None, sa_type=Text)
    reason: str | None = Field(default=None, sa_type=Text)
    differences: list[Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    occurrence: int = Field(default=0, sa_type=Integer, sa_column_kwargs=_ZERO)  # how often it has ended
    headers: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'::jsonb")})
    recorded_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)
    ended_at: datetime | None = Field(default=None, sa_type=_TIME)


class Batch(SQLModel, table=True):
    """A whole batch as journalled."""

    __tablename__ = "batches"
    __table_args__ = (Index("ix_batches_realm", "realm", "id"), {"schema": SCHEMA})

    id: int | None = Field(default=None, sa_type=BigInteger, primary_key=True)
    realm: str = Field(sa_type=Text)
    requestid: str = Field(sa_type=Text)
    body: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)


class Attempt(SQLModel, table=True):
    """A request: journalled before it is sent, at most one open for each document."""

    __tablename__ = "attempts"
    __table_args__ = (
        Index("uq_attempts_open", "document_id", unique=True, postgresql_where=text("state <> 'resolved'")),
        Index("ix_attempts_open", "realm", "due_at", postgresql_where=text("state <> 'resolved'")),
        Index("ix_attempts_command", "command_id"),
        Index("ix_attempts_batch", "batch_id", postgresql_where=text("batch_id IS NOT NULL")),
        Index(  # the probe asks for the latest
            "ix_attempts_updated",
            "realm",
            "resolved_at",
            postgresql_where=text("state = 'resolved' AND operation = 'update' AND outcome = 'updated'"),
        ),
        Index("ix_attempts_resolved", "realm", "resolved_at", postgresql_where=text("state = 'resolved'")),
        CheckConstraint("state IN ('sending', 'unknown', 'resolved')", name="attempt_state"),
        {"schema": SCHEMA},
    )

    id: int | None = Field(default=None, sa_type=BigInteger, primary_key=True)
    realm: str = Field(sa_type=Text)
    document_id: int = Field(sa_type=BigInteger, foreign_key=f"{SCHEMA}.documents.id")
    command_id: UUID | None = Field(default=None)
    version: int = Field(sa_type=BigInteger)
    number: int = Field(sa_type=Integer)
    entity: str = Field(sa_type=Text)
    operation: str = Field(sa_type=Text)
    requestid: str = Field(sa_type=Text)
    body: str = Field(sa_type=Text)
    qbo_id: str | None = Field(default=None, sa_type=Text)
    sync_token: str | None = Field(default=None, sa_type=Text)
    content_hash: str = Field(sa_type=Text)
    fields: dict[str, Any] | None = Field(
        default=None, sa_type=JSONB(none_as_null=True)
    )  # the fields that it sets, comparable with BooksEntity.fields
    batch_id: int | None = Field(default=None, sa_type=BigInteger, foreign_key=f"{SCHEMA}.batches.id")
    b_id: str | None = Field(default=None, sa_type=Text)
    state: str = Field(sa_type=Text)
    fencing_token: int = Field(sa_type=BigInteger)  # of the writer that journalled the latest send
    token_expires_at: datetime = Field(sa_type=_TIME)
    first_sent_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)
    last_sent_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)
    sends: int = Field(default=1, sa_type=Integer, sa_column_kwargs={"server_default": text("1")})
    looks_refused: int = Field(default=0, sa_type=Integer, sa_column_kwargs=_ZERO)  # its look-ups that QuickBooks refused
    answered: bool = Field(default=False, sa_type=Boolean, sa_column_kwargs=_FALSE)  # the latest send has a recorded answer
    silent_at: datetime | None = Field(default=None, sa_type=_TIME)
    ambiguous: bool = Field(default=False, sa_type=Boolean, sa_column_kwargs=_FALSE)  # some send had no answer
    lost: bool = Field(default=False, sa_type=Boolean, sa_column_kwargs=_FALSE)  # an earlier sender may still have a copy
    stuck: bool = Field(default=False, sa_type=Boolean, sa_column_kwargs=_FALSE)  # only an operator can resolve it
    operator_says: str | None = Field(default=None, sa_type=Text)  # 'absent': an operator found nothing in QuickBooks
    due_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)  # when to look again
    outcome: str | None = Field(default=None, sa_type=Text)
    answer: str | None = Field(default=None, sa_type=Text)  # the latest one in words, QuickBooks' own if they say more
    http_status: int | None = Field(default=None, sa_type=Integer)
    intuit_code: str | None = Field(default=None, sa_type=Text)
    intuit_tid: str | None = Field(default=None, sa_type=Text)
    resolved_at: datetime | None = Field(default=None, sa_type=_TIME)


class Lease(SQLModel, table=True):
    """Who may write for a company. Every ledger and token transaction locks this row with its own fencing token."""

    __tablename__ = "leases"
    __table_args__ = ({"schema": SCHEMA},)

    realm: str = Field(sa_type=Text, primary_key=True)
    holder: str = Field(sa_type=Text)
    fencing_token: int = Field(sa_type=BigInteger)
    expires_at: datetime = Field(sa_type=_TIME)


class Realm(SQLModel, table=True):
    """A company: whether it is halted, what is proven, its pace, plan and preferences."""

    __tablename__ = "realms"
    __table_args__ = (Index("ix_realms_told_at", "told_at"), {"schema": SCHEMA})

    realm: str = Field(sa_type=Text, primary_key=True)
    halted_code: str | None = Field(default=None, sa_type=Text)
    halted_reason: str | None = Field(default=None, sa_type=Text)
    halted_since: datetime | None = Field(default=None, sa_type=_TIME)
    operator_halt: dict[str, Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True))  # an operator's: by, why, at
    trial: dict[str, Any] | None = Field(default=None, sa_type=JSONB(none_as_null=True))  # requested by an operator: by, why, at
    token_failing_since: datetime | None = Field(default=None, sa_type=_TIME)  # the token endpoint is not answering
    token_error: str | None = Field(default=None, sa_type=Text)
    requestid_proven: bool = Field(default=False, sa_type=Boolean, sa_column_kwargs=_FALSE)
    batch_proven: bool = Field(default=False, sa_type=Boolean, sa_column_kwargs=_FALSE)
    bounds_unreliable: bool = Field(default=False, sa_type=Boolean, sa_column_kwargs=_FALSE)  # hold requests without an answer
    probe: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'::jsonb")})
    pace: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'::jsonb")})
    company: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'::jsonb")})
    names_read: dict[str, Any] = Field(  # how far each list of names was read: the cache has all names up to there
        default_factory=dict, sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'::jsonb")}
    )
    feed_position: datetime | None = Field(default=None, sa_type=_TIME)
    feed_paging: dict[str, Any] = Field(  # beyond the feed's cap: each entity's next page
        default_factory=dict, sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'::jsonb")}
    )
    feed_refusals: dict[str, Any] = Field(  # entities that the feed is refused for: why, since when, when to retry
        default_factory=dict, sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'::jsonb")}
    )
    feed_asked_at: datetime | None = Field(default=None, sa_type=_TIME)  # a writer was notified of changes
    feed_failures: int = Field(default=0, sa_type=Integer, sa_column_kwargs=_ZERO)  # in a row
    feed_failing_since: datetime | None = Field(default=None, sa_type=_TIME)
    feed_error: str | None = Field(default=None, sa_type=Text)
    swept_at: datetime | None = Field(default=None, sa_type=_TIME)  # when QuickBooks and the ledger were last compared
    sweep_refusals: dict[str, Any] = Field(  # entities that the sweep was refused for: why, since when
        default_factory=dict, sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'::jsonb")}
    )
    log_anchor: str | None = Field(default=None, sa_type=Text)  # hash of the last pruned entry of the attempts log
    recover_since: datetime | None = Field(default=None, sa_type=_TIME)  # the database was restored: nothing leaves until
    # what QuickBooks has seen since then is compared
    told_at: datetime | None = Field(default=None, sa_type=_TIME)  # when somebody changed this row for the lease's holder to see
    updated_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)


class Unserved(SQLModel, table=True):
    """A company that commands name but no writer serves, once published; the row's deletion publishes the end."""

    __tablename__ = "unserved"
    __table_args__ = ({"schema": SCHEMA},)

    realm: str = Field(sa_type=Text, primary_key=True)
    told_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)


class ProcessProblem(SQLModel, table=True):
    """Problems that only a running writer knows: rewritten every few seconds; `holder` is the lease's."""

    __tablename__ = "process_problems"
    __table_args__ = ({"schema": SCHEMA},)

    holder: str = Field(sa_type=Text, primary_key=True)
    number: int = Field(sa_type=Integer, primary_key=True)
    what: str = Field(sa_type=Text)
    since: datetime | None = Field(default=None, sa_type=_TIME)
    seen_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)
    reason: str = Field(sa_type=Text)
    fix: str = Field(sa_type=Text)
    details: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'::jsonb")})


class Token(SQLModel, table=True):
    """A company's OAuth tokens, encrypted (Fernet)."""

    __tablename__ = "tokens"
    __table_args__ = ({"schema": SCHEMA},)

    realm: str = Field(sa_type=Text, primary_key=True)
    access_token: str = Field(sa_type=Text)
    access_expires_at: datetime = Field(sa_type=_TIME)
    refresh_token: str = Field(sa_type=Text)
    refresh_expires_at: datetime = Field(sa_type=_TIME)
    hard_expires_at: datetime | None = Field(default=None, sa_type=_TIME)
    state: str = Field(default="connected", sa_type=Text, sa_column_kwargs={"server_default": text("'connected'")})
    reason: str | None = Field(default=None, sa_type=Text)
    refreshed_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)


class TokenHistory(SQLModel, table=True):
    """Earlier refresh tokens, encrypted: the fallback if an answer was lost after a rotation."""

    __tablename__ = "token_history"
    __table_args__ = (Index("ix_token_history_realm", "realm", "replaced_at"), {"schema": SCHEMA})

    id: int | None = Field(default=None, sa_type=BigInteger, primary_key=True)
    realm: str = Field(sa_type=Text)
    refresh_token: str = Field(sa_type=Text)
    replaced_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)


class ReferenceRow(SQLModel, table=True):
    """A cache of QuickBooks' lists: names, items, accounts, terms, classes, departments, tax codes."""

    __tablename__ = "references"
    __table_args__ = (Index("ix_references_name", "realm", "entity", "name_folded"), {"schema": SCHEMA})

    realm: str = Field(sa_type=Text, primary_key=True)
    entity: str = Field(sa_type=Text, primary_key=True)
    qbo_id: str = Field(sa_type=Text, primary_key=True)
    name: str = Field(sa_type=Text)
    name_folded: str = Field(sa_type=Text)
    active: bool = Field(default=True, sa_type=Boolean, sa_column_kwargs={"server_default": text("true")})
    details: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB, sa_column_kwargs={"server_default": text("'{}'::jsonb")})
    seen_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)


class MergeRow(SQLModel, table=True):
    """A merge of two list entries in QuickBooks: references to the loser mean the winner. Kept for ever."""

    __tablename__ = "merges"
    __table_args__ = ({"schema": SCHEMA},)

    realm: str = Field(sa_type=Text, primary_key=True)
    entity: str = Field(sa_type=Text, primary_key=True)
    loser: str = Field(sa_type=Text, primary_key=True)
    winner: str = Field(sa_type=Text)
    name_folded: str | None = Field(default=None, sa_type=Text)  # the loser's; null: unknown
    told_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)
    applied_at: datetime | None = Field(default=None, sa_type=_TIME)  # null: reported by a webhook, not yet applied


class AttemptLog(SQLModel, table=True):
    """What was sent and answered, append-only and hash-chained for each company."""

    __tablename__ = "attempt_log"
    __table_args__ = (
        Index("ix_attempt_log_realm", "realm", "id"),
        Index("ix_attempt_log_attempt", "attempt_id"),
        {"schema": SCHEMA},
    )

    id: int | None = Field(default=None, sa_type=BigInteger, primary_key=True)
    realm: str = Field(sa_type=Text)
    attempt_id: int | None = Field(default=None, sa_type=BigInteger)
    at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)
    entry: dict[str, Any] = Field(sa_type=JSONB)
    previous_hash: str = Field(sa_type=Text)
    hash: str = Field(sa_type=Text)


class DecisionLog(SQLModel, table=True):
    """Operators' decisions, append-only and hash-chained for each company."""

    __tablename__ = "decision_log"
    __table_args__ = (Index("ix_decision_log_realm", "realm", "id"), {"schema": SCHEMA})

    id: int | None = Field(default=None, sa_type=BigInteger, primary_key=True)
    realm: str = Field(sa_type=Text)
    document_id: int | None = Field(default=None, sa_type=BigInteger)
    entry: dict[str, Any] = Field(sa_type=JSONB)  # including its time, so that the hash covers it
    previous_hash: str = Field(sa_type=Text)
    hash: str = Field(sa_type=Text)


class Discrepancy(SQLModel, table=True):
    """QuickBooks and the ledger disagree about what exists, or an answer differs from its command. Kept after it is resolved."""

    __tablename__ = "discrepancies"
    __table_args__ = (
        Index("ix_discrepancies_open", "realm", postgresql_where=text("resolved_at IS NULL")),
        Index("ix_discrepancies_marker", "realm", "marker", postgresql_where=text("marker IS NOT NULL AND resolved_at IS NULL")),
        {"schema": SCHEMA},
    )

    realm: str = Field(sa_type=Text, primary_key=True)
    entity: str = Field(sa_type=Text, primary_key=True)
    qbo_id: str = Field(sa_type=Text, primary_key=True)
    what: str = Field(sa_type=Text, primary_key=True)  # unknown_marker | not_expected | double | missing | not_as_asked
    document_id: int | None = Field(default=None, sa_type=BigInteger)
    doc_number: str | None = Field(default=None, sa_type=Text)
    reason: str = Field(sa_type=Text)
    fix: str = Field(sa_type=Text)
    marker: str | None = Field(default=None, sa_type=Text)  # unknown_marker: the command with this marker adopts the document
    amount: Decimal | None = Field(default=None, sa_type=Numeric(15, 2))  # not_as_asked: QuickBooks' total less the command's own
    asked: dict[str, Any] | None = Field(
        default=None, sa_type=JSONB(none_as_null=True)
    )  # not_as_asked: the fields that differ, as requested
    found_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)
    last_found_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)
    resolved_at: datetime | None = Field(default=None, sa_type=_TIME)


class FeedTold(SQLModel, table=True):
    """Changes published to books.changes that the feed may show again, because its reads overlap."""

    __tablename__ = "feed_told"
    __table_args__ = (Index("ix_feed_told_at", "realm", "told_at"), {"schema": SCHEMA})

    realm: str = Field(sa_type=Text, primary_key=True)
    entity: str = Field(sa_type=Text, primary_key=True)
    qbo_id: str = Field(sa_type=Text, primary_key=True)
    state: str = Field(sa_type=Text)  # SyncToken and time of the published change
    told_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)


class Outbox(OutboxRow, table=True):
    """Events waiting to be published."""

    __tablename__ = "outbox"
    __table_args__ = (
        pending_index(SCHEMA),
        # Reporting checks for parked events every few seconds.
        Index(f"ix_{SCHEMA}_outbox_parked", "id", postgresql_where=text("parked_at IS NOT NULL AND published_at IS NULL")),
        {"schema": SCHEMA},
    )
