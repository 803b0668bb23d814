"""The poller's types: quotes as the EMR client returns them, and their state. Pure.

None of these types can hold a patient's name: a patient is an id and initials.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import IntEnum

from bookrelay.errors import Code
from pydantic import BaseModel, ConfigDict

NAME = "emr-poller"
SCHEMA = "emr_poller"  # of this service's tables in Postgres


class QuoteStatus(IntEnum):
    """The statuses whose meaning is known. 2 and 3 exist, but their meaning is undocumented: such quotes are parked."""

    INACTIVE = 0
    ACTIVE = 1
    COMPLETED = 4


class Value(BaseModel):
    """A frozen value."""

    model_config = ConfigDict(frozen=True)


class ListedQuote(Value):
    """One row of the list: enough to decide whether to read the detail."""

    number: int
    version: int
    modified_at: datetime

    @property
    def stamp(self) -> tuple[int, datetime]:
        """The sort key of a quote's revisions: newer is greater."""
        return self.version, self.modified_at


class Procedure(Value):
    """A procedure of a quote. The amount is None if the EMR has none."""

    name: str | None
    amount: Decimal | None
    discount: Decimal = Decimal(0)


class Supply(Value):
    """A supply of a quote. `shown`: it is listed on the patient's quote; only these supplies are charged."""

    title: str | None
    unit_cost: Decimal | None
    quantity: Decimal | None
    shown: bool
    tax: Decimal = Decimal(0)


class Quote(Value):
    """A quote's detail, reduced to what may be sent to the books."""

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
        """The sort key of a quote's revisions: newer is greater."""
        return self.version, self.modified_at


class ParkedQuote(Value):
    """A quote that is parked, with the reason; it is retried, and an event is published once for each reason."""

    number: int
    version: int
    modified_at: datetime
    reason: str
    fix: str
    code: Code
    attempts: int = 1
    events: int = 0  # published about it
    published_reason: str | None = None  # in the latest of them

    @property
    def stamp(self) -> tuple[int, datetime]:
        """The sort key of the revision that failed."""
        return self.version, self.modified_at


class PublishedQuote(Value):
    """The newest revision of a quote whose command was committed to the outbox."""

    number: int
    version: int
    modified_at: datetime
    content_hash: str
    operation: str  # upsert | retract

    @property
    def stamp(self) -> tuple[int, datetime]:
        """The sort key of the published revision."""
        return self.version, self.modified_at


@dataclass(frozen=True)
class State:
    """The stored state of some quotes."""

    published: Mapping[int, PublishedQuote] = field(default_factory=dict)
    parked: Mapping[int, ParkedQuote] = field(default_factory=dict)


def newest_revisions(rows: Iterable[ListedQuote]) -> list[ListedQuote]:
    """Return the newest row of each quote, oldest change first.

    The list may have a row for each version: an old "inactive" row must not replace the newer "completed" one.
    """
    newest: dict[int, ListedQuote] = {}
    for row in rows:
        if row.number not in newest or newest[row.number].stamp < row.stamp:
            newest[row.number] = row
    return sorted(newest.values(), key=lambda row: (row.modified_at, row.number))
