"""What one company's loops share: settings and ports, the lease tenure, the health of recent sends."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Protocol

from bookrelay.db import TRANSIENT_POSTGRES
from bookrelay.errors import Code, HaltError, TransientError

from qbo_writer.domain import (
    Answer,
    AnswerKind,
    LookupFailed,
)
from qbo_writer.ledger.lease import Leases
from qbo_writer.ledger.ledger import Ledger
from qbo_writer.policy import Policy
from qbo_writer.ports import Books, Forms, Pace, References, Tokens
from qbo_writer.protocol.deciding import Rules
from qbo_writer.protocol.settling import Links
from qbo_writer.protocol.transitions import Waits
from qbo_writer.settings import Settings

SILENCES_TO_BACK_OFF = 10  # in a row: QuickBooks is down, or the fault is ours; each silence costs a document its wait
STRANGE_TO_HALT = 10  # in a row, neither time-outs nor 5xx: the fault is ours, or a proxy is in between
PASSING: tuple[type[BaseException], ...] = (TransientError, *TRANSIENT_POSTGRES)
UNREAD: tuple[type[BaseException], ...] = (LookupFailed, HaltError, *PASSING)

EXPIRED = Answer(AnswerKind.REFUSAL, code=Code.OAUTH_FAILED, reason="the journalled access token has expired", unauthorized=True)
KEPT_BACK = Answer(AnswerKind.REFUSAL, reason="the company is halted: the request was not sent")
NO_ANSWER = Answer(AnswerKind.SILENCE, reason="no answer")
MISSING = Answer(AnswerKind.SILENCE, reason="the item is missing from the reply")


class Wakes(Protocol):
    """A loop to wake after a commit."""

    def wake(self) -> None:
        """Run now."""


@dataclass
class Watched:
    """Whether somebody looks for all companies at once and wakes those that have something to do (`turns`).

    While nobody does, each company looks on its own.
    """

    until: float = 0.0  # by the monotonic clock

    @property
    def alive(self) -> bool:
        """Whether a company may rely on being woken."""
        return time.monotonic() < self.until


@dataclass
class Parts:
    """What a company's loops share."""

    settings: Settings
    policy: Policy
    rules: Rules
    waits: Waits
    links: Links
    ledger: Ledger
    leases: Leases
    tokens: Tokens
    pacer: Pace
    books: Books
    forms: Forms
    references: References
    relay: Wakes
    watched: Watched = field(default_factory=Watched)


@dataclass
class Health:
    """The health of recent sends; in memory only."""

    silences: int = 0  # in a row
    paused_until: float = 0.0
    halted: HaltError | None = None
    closed: bool = False  # the company is halted: requests waiting for a slot are not sent
    strange: int = 0  # answers in a row that are not in the fault table
    answered: int = 0  # successful answers so far

    def heard(self, answer: Answer) -> None:
        """Count an answer."""
        if answer.kind is AnswerKind.SILENCE:
            self.silences += 1
            self.strange = self.strange + 1 if answer.http_status is not None and answer.http_status < 500 else 0
            if self.silences >= SILENCES_TO_BACK_OFF:
                self.paused_until = time.monotonic() + min(60.0, 2.0 ** (self.silences - SILENCES_TO_BACK_OFF))
        elif not answer.halt and not answer.unauthorized and not answer.throttled and answer is not KEPT_BACK:
            self.silences, self.strange, self.paused_until = 0, 0, 0.0
            self.answered += 1


@dataclass
class Tenure:
    """One period of holding the lease; everything in it is fenced by its token."""

    fencing_token: int
    in_flight: dict[int, "asyncio.Task[None]"] = field(default_factory=dict)  # attempt id -> the task that sends it
    feed_read: bool = False  # step 4 after taking the lease has begun
    sent: dict[int, int] = field(default_factory=dict)  # open attempt -> its latest send that left, or may have
