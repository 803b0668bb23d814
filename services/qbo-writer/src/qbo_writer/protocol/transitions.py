"""The states of an attempt as data: protocol.md's table, row by row. Pure; a transition that the table lacks cannot be made."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from qbo_writer.domain import AnswerKind, AttemptState, Operation
from qbo_writer.ledger.records import Sent


class Trigger(StrEnum):
    """What happens to an attempt. A conflict and a found marker are read by Id first; (a) to (d) say what was read."""

    DUE = "the newest recorded version is due and needs a request"
    SUCCESS = "success"
    REFUSAL = "refusal: nothing was done"
    REFUSAL_AFTER_SILENCE = "refusal after an earlier silence: only the latest copy is known to have done nothing"
    ERROR = "error, and every earlier send was answered"
    ERROR_AFTER_SILENCE = "error after an earlier silence"
    SILENCE = "silence"
    LOST = "found sending by a new lease holder"
    READ_OWN = "(a) read by Id: the content is the attempt's"
    READ_KNOWN = "(b) read by Id: the content is what we knew"
    READ_OTHER = "(c) read by Id: neither, or without our marker"
    READ_GONE = "(d) read by Id: gone"
    RESEND_REFUSED = "its latest send was refused and no earlier one was silent"
    RESEND_SAFE = "within W: an update or delete, or a create whose requestid is proven"
    ABSENT_IN_WINDOW = "within W: 'absent' after the wait"
    ABSENT_BATCH_ITEM = "within W: an item of a batch, 'absent' after the wait"
    ABSENT_AFTER_WINDOW = "after W: 'absent', or by Id still as we knew it, after the wait"
    LOOKS_REFUSED = "QuickBooks refused the look-ups for it too often"
    UNBOUNDED = "the bounds cannot be relied on in this realm"
    REFUSED_ITEM = "an item of a batch was refused alone: nothing was done for it, and the batch cannot be repeated for it"
    BATCH_ERROR = "a definitive error for a whole batch, and every earlier send was answered: nothing was done"
    OPERATOR_ABSENT = "a person says that it had no effect, after the wait"


class Action(StrEnum):
    """What stands in the same commit."""

    JOURNAL = "journal the attempt"
    SETTLE = "document, end, event"
    REJECT = "end rejected (or as its disposition says), event"
    NOTE_REFUSAL = "note that the latest send was answered"
    NOTE_SILENCE = "silent_at, ambiguous"
    NOTE_LOST = "lost, ambiguous"
    RESEND = "last_sent_at, before it leaves again"
    CLAIM_AFRESH = "attempt closed without an end; the newest version is claimed anew"
    HOLD_DIVERGED = "end held, document diverged, event"
    GONE = "a delete or void: retracted; an update: held; a create: as silence"
    HOLD_STUCK = "end held, event; the attempt stays open until a person decides"


@dataclass(frozen=True)
class Transition:
    """One row: the state that follows, and what is committed with it."""

    to: AttemptState
    action: Action


_SENDING, _UNKNOWN, _RESOLVED = AttemptState.SENDING, AttemptState.UNKNOWN, AttemptState.RESOLVED
_READ: Mapping[Trigger, Transition] = {
    Trigger.READ_OWN: Transition(_RESOLVED, Action.SETTLE),
    Trigger.READ_KNOWN: Transition(_RESOLVED, Action.CLAIM_AFRESH),
    Trigger.READ_OTHER: Transition(_RESOLVED, Action.HOLD_DIVERGED),
    Trigger.READ_GONE: Transition(_RESOLVED, Action.GONE),
}

TRANSITIONS: Mapping[tuple[AttemptState | None, Trigger], Transition] = {
    (None, Trigger.DUE): Transition(_SENDING, Action.JOURNAL),
    (_SENDING, Trigger.SUCCESS): Transition(_RESOLVED, Action.SETTLE),
    (_SENDING, Trigger.REFUSAL): Transition(_SENDING, Action.NOTE_REFUSAL),
    # The model resolves a refused, ambiguous attempt as it does an unknown one; here it is one.
    (_SENDING, Trigger.REFUSAL_AFTER_SILENCE): Transition(_UNKNOWN, Action.NOTE_SILENCE),
    (_SENDING, Trigger.RESEND_REFUSED): Transition(_SENDING, Action.RESEND),
    (_SENDING, Trigger.ERROR): Transition(_RESOLVED, Action.REJECT),
    **{(_SENDING, trigger): transition for trigger, transition in _READ.items()},
    (_SENDING, Trigger.SILENCE): Transition(_UNKNOWN, Action.NOTE_SILENCE),
    (_SENDING, Trigger.ERROR_AFTER_SILENCE): Transition(_UNKNOWN, Action.NOTE_SILENCE),
    (_SENDING, Trigger.LOST): Transition(_UNKNOWN, Action.NOTE_LOST),
    **{(_UNKNOWN, trigger): transition for trigger, transition in _READ.items()},
    (_SENDING, Trigger.REFUSED_ITEM): Transition(_RESOLVED, Action.CLAIM_AFRESH),
    (_SENDING, Trigger.BATCH_ERROR): Transition(_RESOLVED, Action.CLAIM_AFRESH),
    (_UNKNOWN, Trigger.RESEND_SAFE): Transition(_SENDING, Action.RESEND),
    (_UNKNOWN, Trigger.ABSENT_IN_WINDOW): Transition(_SENDING, Action.RESEND),
    (_UNKNOWN, Trigger.ABSENT_BATCH_ITEM): Transition(_RESOLVED, Action.CLAIM_AFRESH),
    (_UNKNOWN, Trigger.ABSENT_AFTER_WINDOW): Transition(_RESOLVED, Action.CLAIM_AFRESH),
    (_UNKNOWN, Trigger.UNBOUNDED): Transition(_UNKNOWN, Action.HOLD_STUCK),
    (_UNKNOWN, Trigger.LOOKS_REFUSED): Transition(_UNKNOWN, Action.HOLD_STUCK),
    (_UNKNOWN, Trigger.OPERATOR_ABSENT): Transition(_RESOLVED, Action.CLAIM_AFRESH),
}


class NoSuchTransition(Exception):  # noqa: N818
    """The protocol's table has no such row: a defect in the writer, never a state of the books."""


def transition(state: AttemptState | None, trigger: Trigger) -> Transition:
    """Return the row of the table; raise NoSuchTransition where it has none."""
    try:
        return TRANSITIONS[(state, trigger)]
    except KeyError:
        raise NoSuchTransition(f"{state or 'none'} / {trigger.name}") from None


# ------------------------------------------------------------------------------------------------------------------- waits


@dataclass(frozen=True)
class Waits:
    """X, S, W and the ways to treat silence, by protocol.md's letters."""

    transit: timedelta
    staleness: timedelta
    window: timedelta
    window_proven: timedelta

    @property
    def q(self) -> timedelta:
        """Q = X + S."""
        return self.transit + self.staleness


@dataclass(frozen=True)
class Realm:
    """What is known of a company's QuickBooks."""

    requestid_proven: bool = False
    batch_proven: bool = False
    bounds_unreliable: bool = False


class Move(StrEnum):
    """What to do with an open attempt next."""

    RESEND = "resend"
    LOOK = "look up"  # found counts at once, absent does not count yet
    LOOK_COUNTS = "look up, absent counts"
    HOLD = "hold"


def absent_counts_at(sent: Sent, waits: Waits) -> datetime:
    """From when on "absent" counts: Q after the silence, or Q' after the token's end where a sender was lost."""
    silent = sent.silent_at or sent.last_sent_at
    if not sent.lost and sent.silent_at is not None:
        return silent + waits.q
    # A late copy can leave as long as its access token lives.
    return max(silent, sent.token_expires_at) + waits.q


def late_copies_dead_at(sent: Sent, waits: Waits) -> datetime:
    """From when on no copy of the request can take effect: before that an operator's "nothing there" does not count."""
    return absent_counts_at(sent, waits) - waits.staleness


def window_ends_at(sent: Sent, realm: Realm, waits: Waits) -> datetime:
    """When resends end: W after the first send."""
    return sent.first_sent_at + (waits.window_proven if proven(sent, realm) else waits.window)


def proven(sent: Sent, realm: Realm) -> bool:
    """Whether the envelope of this attempt can be repeated at once."""
    return realm.requestid_proven and (realm.batch_proven or not sent.in_batch)


def next_move(sent: Sent, realm: Realm, waits: Waits, now: datetime, *, repeat: bool = True) -> tuple[Move, Trigger | None]:
    """What the protocol says about an open attempt that nobody is sending now; with the row if it is a resend.

    `repeat` False: it was sent often enough; from now on it is only looked for, as after W.
    """
    if sent.refused and not sent.ambiguous:
        return Move.RESEND, Trigger.RESEND_REFUSED
    in_window = repeat and now <= window_ends_at(sent, realm, waits)
    # An update of a batch leaves its batch only when absent counts: other items of it may be there.
    repeatable = sent.operation is not Operation.CREATE and not sent.in_batch
    if in_window and (repeatable or proven(sent, realm)):
        return Move.RESEND, Trigger.RESEND_SAFE
    if realm.bounds_unreliable:
        return Move.HOLD, Trigger.UNBOUNDED
    counts = now >= absent_counts_at(sent, waits)
    return (Move.LOOK_COUNTS if counts else Move.LOOK), None


def trigger_when_absent(sent: Sent, realm: Realm, waits: Waits, now: datetime, *, repeat: bool = True) -> Trigger:
    """Which row "absent" leads to, once it counts; `repeat` False: it was sent often enough."""
    if not repeat or now > window_ends_at(sent, realm, waits):
        return Trigger.ABSENT_AFTER_WINDOW
    return Trigger.ABSENT_BATCH_ITEM if sent.in_batch else Trigger.ABSENT_IN_WINDOW


class Envelope(StrEnum):
    """What an answer is about."""

    SINGLE = "a request of its own"
    ITEM = "an item of a batch"
    BATCH = "a whole batch"


def trigger_of_answer(kind: AnswerKind, *, ambiguous: bool, envelope: Envelope = Envelope.SINGLE) -> Trigger | None:
    """Which row an answer leads to; None for a conflict: it is read by Id first.

    A batch can be repeated as a whole only, so an item that is refused alone is claimed afresh. An error for a whole batch says
    that nothing was done, but nothing about its single items; a conflict for a whole batch says nothing.
    """
    if envelope is Envelope.BATCH and kind is AnswerKind.CONFLICT:
        return Trigger.SILENCE
    trigger = _trigger_alone(kind, ambiguous=ambiguous)
    if envelope is Envelope.BATCH and trigger is Trigger.ERROR:
        return Trigger.BATCH_ERROR
    if envelope is Envelope.ITEM and trigger is Trigger.REFUSAL:
        return Trigger.REFUSED_ITEM
    return trigger


def _trigger_alone(kind: AnswerKind, *, ambiguous: bool) -> Trigger | None:
    if kind is AnswerKind.SUCCESS:
        return Trigger.SUCCESS
    if kind is AnswerKind.REFUSAL:
        return Trigger.REFUSAL_AFTER_SILENCE if ambiguous else Trigger.REFUSAL
    if kind is AnswerKind.ERROR:
        return Trigger.ERROR_AFTER_SILENCE if ambiguous else Trigger.ERROR
    return None if kind is AnswerKind.CONFLICT else Trigger.SILENCE
