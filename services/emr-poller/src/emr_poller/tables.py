"""The poller's tables, schema `emr_poller`. They identify quotes by number and hold nothing about patients."""

from datetime import datetime
from typing import Any

from bookrelay.tables import CursorRow, OutboxRow, pending_index
from sqlalchemy import BigInteger, DateTime, Index, Integer, Text, text
from sqlmodel import Field, SQLModel

from emr_poller.domain import SCHEMA

_NOW: dict[str, Any] = {"server_default": text("now()")}
_TIME = DateTime(timezone=True)


class Cursor(CursorRow, table=True):
    """The position up to which the list of quotes was read."""

    __tablename__ = "cursor"
    __table_args__ = ({"schema": SCHEMA},)


class QuoteRow(SQLModel, table=True):
    """The newest revision of a quote whose command was committed, so that overlapping polls read and publish nothing again."""

    __tablename__ = "quotes"
    __table_args__ = ({"schema": SCHEMA},)

    realm: str = Field(sa_type=Text, primary_key=True)
    source: str = Field(sa_type=Text, primary_key=True)
    number: int = Field(sa_type=BigInteger, primary_key=True)
    version: int = Field(sa_type=BigInteger)
    modified_at: datetime = Field(sa_type=_TIME)
    content_hash: str = Field(sa_type=Text)
    operation: str = Field(sa_type=Text)  # upsert | retract
    published_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)


class ParkedRow(SQLModel, table=True):
    """A quote parked with its reason; it is retried at `due_at`, or when it changes in the EMR."""

    __tablename__ = "parked"
    __table_args__ = (Index("ix_parked_due", "realm", "source", "due_at"), {"schema": SCHEMA})

    realm: str = Field(sa_type=Text, primary_key=True)
    source: str = Field(sa_type=Text, primary_key=True)
    number: int = Field(sa_type=BigInteger, primary_key=True)
    version: int = Field(sa_type=BigInteger)
    modified_at: datetime = Field(sa_type=_TIME)
    code: str = Field(sa_type=Text)
    reason: str = Field(sa_type=Text)
    fix: str = Field(sa_type=Text)
    attempts: int = Field(sa_type=Integer)
    told: int = Field(sa_type=Integer)
    told_reason: str | None = Field(default=None, sa_type=Text)
    due_at: datetime = Field(sa_type=_TIME)
    parked_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)


class Outbox(OutboxRow, table=True):
    """Commands and rejections to be published."""

    __tablename__ = "outbox"
    __table_args__ = (pending_index(SCHEMA), {"schema": SCHEMA})
