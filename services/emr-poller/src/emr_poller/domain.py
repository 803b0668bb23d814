"""The poller's own words: quotes as the EMR's boundary hands them on, and what becomes of them.

Pure. No patient name fits into these types: a patient is an id and initials.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from enum import IntEnum

from bookrelay.errors import Code
from pydantic import BaseModel, ConfigDict

NAME = "emr-poller"
SCHEMA = "emr_poller"  # of this service's tables in Postgres


class QuoteStatus(IntEnum):
    """The statuses whose meaning is known. 2 and 3 exist, but nobody has said what they mean: such quotes are parked."""

    INACTIVE = 0
    ACTIVE = 1
    COMPLETED = 4


class Value(BaseModel):
    """A frozen value."""

    model_config = ConfigDict(frozen=True)


class ListedQuote(Value):
    """One row of the list: just enough to know whether the detail must be read."""

    number: int
    version: int
    modified_at: datetime

    @property
    def stamp(self) -> tuple[int, datetime]:
        """What orders the revisions of one quote: newer is greater."""
        return self.version, self.modified_at


class Procedure(Value):
    """A procedure of a quote. The amount is None where the EMR gave none."""

    name: str | None
    amount: Decimal | None
    discount: Decimal = Decimal(0)


class Supply(Value):
    """A supply of a quote; `shown` as the EMR shows it to the patient: only these are charged."""

    title: str | None
    unit_cost: Decimal | None
    quantity: Decimal | None
    shown: bool
    tax: Decimal = Decimal(0)


class Quote(Value):
    """A quote's detail, reduced to what the books may know."""

    number: int
    version: int
    modified_at: datetime
    status_id: int | None
    quoted_at: datetime | None
    patient_id: str | None
    patient_initials: str
    quoted_by: str  # initials
    procedures: tuple[Procedure, ...] = ()
    supplies: tuple[Supply, ...] = ()
    anesthesia_amount: Decimal = Decimal(0)
    anesthesia_group: str | None = None
    facility_amount: Decimal = Decimal(0)
    discount: Decimal = Decimal(0)
    credit: Decimal = Decimal(0)
    total: Decimal | None = None

    @property
    def stamp(self) -> tuple[int, datetime]:
        """What orders the revisions of one quote: newer is greater."""
        return self.version, self.modified_at


class ParkedQuote(Value):
    """A quote that is put aside, with the reason; it is tried again, and told once for each reason."""

    number: int
    version: int
    modified_at: datetime
    reason: str
    fix: str
    code: Code
    attempts: int = 1
    told: int = 0  # how many events have told about it
    told_reason: str | None = None  # what the latest one said

    @property
    def stamp(self) -> tuple[int, datetime]:
        """The revision that was tried."""
        return self.version, self.modified_at


class PublishedQuote(Value):
    """The newest revision of a quote whose command was committed; the outbox publishes it."""

    number: int
    version: int
    modified_at: datetime
    content_hash: str
    operation: str  # upsert | retract

    @property
    def stamp(self) -> tuple[int, datetime]:
        """The revision that was published."""
        return self.version, self.modified_at


def fold(rows: Iterable[ListedQuote]) -> list[ListedQuote]:
    """Keep the newest row of each quote, oldest change first.

    The list may hold one row for each version: an old "inactive" row must not win over the newer "completed" one.
    """
    newest: dict[int, ListedQuote] = {}
    for row in rows:
        if row.number not in newest or newest[row.number].stamp < row.stamp:
            newest[row.number] = row
    return sorted(newest.values(), key=lambda row: (row.modified_at, row.number))
