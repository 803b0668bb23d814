"""The watcher's tables, schema `sheet_watcher`."""

from datetime import date, datetime
from typing import Any

from bookrelay.tables import OutboxRow, pending_index
from sqlalchemy import BigInteger, Boolean, Date, DateTime, Integer, Text, text
from sqlmodel import Field, SQLModel

from sheet_watcher.domain import SCHEMA

_NOW: dict[str, Any] = {"server_default": text("now()")}
_TIME = DateTime(timezone=True)


class RowRow(SQLModel, table=True):
    """A row of the sheet, by its key."""

    __tablename__ = "rows"
    __table_args__ = ({"schema": SCHEMA},)

    realm: str = Field(sa_type=Text, primary_key=True)
    spreadsheet: str = Field(sa_type=Text, primary_key=True)
    key: str = Field(sa_type=Text, primary_key=True)
    version: int = Field(sa_type=BigInteger)  # of the latest command or rejection
    kind: str = Field(sa_type=Text)
    state_hash: str = Field(sa_type=Text)
    in_force: str | None = Field(default=None, sa_type=Text)  # the kind last published as an upsert and not retracted since
    modified_at: datetime = Field(sa_type=_TIME)
    fingerprint: str = Field(sa_type=Text)
    position: int = Field(sa_type=Integer)  # where it was last seen: breaks ties between copies
    eligible: bool = Field(default=True, sa_type=Boolean, sa_column_kwargs={"server_default": text("true")})
    default_date: date | None = Field(default=None, sa_type=Date)
    missing_since: datetime | None = Field(default=None, sa_type=_TIME)
    shown_status: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)


class ResultRow(SQLModel, table=True):
    """The result of a row's document, from its newest event; the cells are derived from it."""

    __tablename__ = "results"
    __table_args__ = ({"schema": SCHEMA},)

    realm: str = Field(sa_type=Text, primary_key=True)
    source: str = Field(sa_type=Text, primary_key=True)
    key: str = Field(sa_type=Text, primary_key=True)
    kind: str = Field(sa_type=Text, primary_key=True)
    version: int = Field(sa_type=BigInteger)
    occurrence: int = Field(sa_type=Integer)
    status: str = Field(sa_type=Text)
    qbo_id: str | None = Field(default=None, sa_type=Text)
    url: str | None = Field(default=None, sa_type=Text)
    error: str | None = Field(default=None, sa_type=Text)
    synced_at: datetime | None = Field(default=None, sa_type=_TIME)
    told_at: datetime = Field(sa_type=_TIME, sa_column_kwargs=_NOW)


class Outbox(OutboxRow, table=True):
    """Commands and rejections to be published."""

    __tablename__ = "outbox"
    __table_args__ = (pending_index(SCHEMA), {"schema": SCHEMA})
