"""Row types that several services declare as tables in their own schemas. Only migrations and tests import tables: SQLAlchemy
costs a service a second at start and 25 MB."""

from datetime import datetime

from sqlalchemy import BigInteger, DateTime, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class OutboxRow(SQLModel):
    """A message that is pending, published or parked. `id` gives the order."""

    id: int | None = Field(default=None, sa_type=BigInteger, primary_key=True)
    topic: str = Field(sa_type=Text)
    key: str = Field(sa_type=Text)
    value: str = Field(sa_type=Text)
    headers: dict[str, str] = Field(default_factory=dict, sa_type=JSONB)
    created_at: datetime = Field(sa_type=DateTime(timezone=True), sa_column_kwargs={"server_default": text("now()")})
    published_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    parked_at: datetime | None = Field(
        default=None, sa_type=DateTime(timezone=True)
    )  # the broker refused it; other messages are published
    parked_reason: str | None = Field(default=None, sa_type=Text)


def pending_index(schema: str) -> Index:
    """Return the relay's index; add it to the table's `__table_args__`."""
    return Index(f"ix_{schema}_outbox_pending", "id", postgresql_where=text("published_at IS NULL AND parked_at IS NULL"))


class CursorRow(SQLModel):
    """A cursor. Declare a table from it in the service's own schema."""

    name: str = Field(sa_type=Text, primary_key=True)
    position: datetime = Field(sa_type=DateTime(timezone=True))
    moved_at: datetime = Field(sa_type=DateTime(timezone=True), sa_column_kwargs={"server_default": text("now()")})
