"""The protocol's table of states: walked row by row; what the table lacks cannot happen; the waits by the page's letters."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from bookrelay.errors import Code, Disposition
from hypothesis import given
from hypothesis import strategies as st
from qbo_writer.domain import (
    Answer,
    AnswerKind,
    AttemptState,
    BooksEntity,
    CommandState,
    DocumentStatus,
    LedgerKind,
    Operation,
    Request,
)
from qbo_writer.ledger.changes import Commit
from qbo_writer.ledger.records import Attempt, Command, DocumentState, Sent
from qbo_writer.protocol.settling import Links, commit_of
from qbo_writer.protocol.transitions import (
    TRANSITIONS,
    Action,
    Move,
    NoSuchTransition,
    Realm,
    Trigger,
    Waits,
    absent_counts_at,
    late_copies_dead_at,
    next_move,
    transition,
    trigger_of_answer,
    trigger_when_absent,
)

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
WAITS = Waits(timedelta(seconds=150), timedelta(seconds=120), timedelta(hours=2), timedelta(minutes=30))
SENDING, UNKNOWN, RESOLVED = AttemptState.SENDING, AttemptState.UNKNOWN, AttemptState.RESOLVED
LINKS = Links(lambda kind, qbo_id, realm: f"https://qbo/{qbo_id}")

PAGE = Path(__file__).parents[3] / "docs/protocol.md"
_ROW = re.compile(r"^\| (none|sending|unknown|resolved) \| (\w+) \| (\w+) \| (\w+) \| .+ \|$", re.M)


def _read() -> dict[tuple[AttemptState | None, Trigger], tuple[AttemptState, Action]]:
    """The table of docs/protocol.md, "States of an attempt"."""
    found: dict[tuple[AttemptState | None, Trigger], tuple[AttemptState, Action]] = {}
    for from_, trigger, to, effect in _ROW.findall(PAGE.read_text("utf-8")):
        key = (None if from_ == "none" else AttemptState(from_), Trigger[trigger])
        assert key not in found, f"the page has two rows for {key}"
        found[key] = (AttemptState(to), Action[effect])
    return found


ROWS = _read()


def test_the_table_is_the_pages() -> None:
    assert {key: (t.to, t.action) for key, t in TRANSITIONS.items()} == ROWS
    assert {trigger for _, trigger in ROWS} == set(Trigger)


@pytest.mark.parametrize("state", [None, *AttemptState])
@pytest.mark.parametrize("trigger", list(Trigger))
def test_what_the_table_lacks_cannot_happen(state: AttemptState | None, trigger: Trigger) -> None:
    if (state, trigger) in ROWS:
        assert transition(state, trigger).to is ROWS[state, trigger][0]
    else:
        with pytest.raises(NoSuchTransition):
            transition(state, trigger)


def test_nothing_leaves_resolved() -> None:
    assert not [key for key in TRANSITIONS if key[0] is RESOLVED]


# --------------------------------------------------------------------------------------------------- effects of each row

KNOWN = DocumentState(
    7, "r", LedgerKind.INVOICE, "emr", "Q-1", "bookrelay:m", "Q-1", DocumentStatus.PRESENT, "9", "0", "old", {"total": "1.00"},
    Decimal("1.00"), Decimal("1.00"),
)  # fmt: skip
ASKED = Command(uuid4(), "upsert", 2, NOW, "new", CommandState.DUE)
SEEN = BooksEntity("Invoice", "9", "1", "Q-1", "bookrelay:m", Decimal("2.00"), Decimal("2.00"), False, {"total": "2.00"})


def sent(state: AttemptState = SENDING, **more: Any) -> Sent:
    values: dict[str, Any] = {
        "operation": Operation.UPDATE, "state": state, "answered": False, "ambiguous": False, "lost": False, "stuck": False,
        "in_batch": False, "first_sent_at": NOW, "last_sent_at": NOW, "silent_at": None,
        "token_expires_at": NOW + timedelta(hours=1),
    }  # fmt: skip
    return Sent(**{**values, **more})


def attempt(
    state: AttemptState, operation: Operation = Operation.UPDATE, document: DocumentState = KNOWN, **more: Any
) -> Attempt:
    request = Request("r", document.kind, "Invoice", operation, "br-1", "{}", document.qbo_id, document.sync_token)
    return Attempt(1, document, ASKED, request, sent(state, operation=operation, **more), {"total": "2.00"}, "new", 1, 1, 1)


SETTLED_BY_LEDGER = (Action.JOURNAL, Action.RESEND, Action.NOTE_LOST)


@pytest.mark.parametrize(
    ("state", "trigger"),
    [key for key, row in ROWS.items() if row[1] not in SETTLED_BY_LEDGER],
    ids=lambda v: getattr(v, "name", v),
)
def test_each_row_commits_what_it_says(state: AttemptState, trigger: Trigger) -> None:
    answer = Answer(AnswerKind.ERROR, 400, "6000", Disposition.REJECT, Code.VALIDATION, "no", seen=SEEN)
    commit = commit_of(attempt(state, ambiguous=state is UNKNOWN), trigger, LINKS, answer=answer, seen=SEEN, now=NOW)
    to, effect = ROWS[state, trigger]
    assert commit.attempt is not None
    assert commit.attempt.state == to.value
    ends = [end.decision.state for end in commit.settlements]
    told = [end.event for end in commit.settlements if end.event]
    assert len(told) == len(ends)  # an end and its event are one commit
    if effect is Action.SETTLE:
        assert ends == [CommandState.POSTED]
        assert commit.document
        assert (commit.document.sync_token, commit.document.content_hash) == ("1", "new")
    elif effect is Action.REJECT:
        assert ends == [CommandState.REJECTED]
        assert commit.document is None
    elif effect is Action.HOLD_DIVERGED:
        assert ends == [CommandState.HELD]
        assert commit.document
        assert commit.document.diverged
    elif effect is Action.GONE:
        assert ends == [CommandState.HELD]
        assert commit.document
        assert commit.document.status is DocumentStatus.GONE
    elif effect is Action.CLAIM_AFRESH:
        assert ends == []
        assert commit.requeue
        assert commit.requeue.command_id == ASKED.id
    elif effect is Action.NOTE_SILENCE:
        assert ends == []
        assert (commit.attempt.ambiguous, commit.attempt.silent) == (True, True)
    elif effect is Action.HOLD_STUCK:
        assert ends == [CommandState.HELD]
        assert commit.attempt.stuck
    else:
        assert effect is Action.NOTE_REFUSAL
        assert (commit.attempt.answered, commit.attempt.ambiguous) == (True, False)


def test_gone_is_success_for_a_retraction_and_silence_for_a_create() -> None:
    def gone(operation: Operation, document: DocumentState = KNOWN) -> Commit:
        return commit_of(attempt(SENDING, operation, document), Trigger.READ_GONE, LINKS, now=NOW)

    assert [e.decision.state for e in gone(Operation.DELETE).settlements] == [CommandState.RETRACTED]
    assert [e.decision.state for e in gone(Operation.VOID).settlements] == [CommandState.RETRACTED]
    create = gone(Operation.CREATE, replace(KNOWN, status=DocumentStatus.NOTHING, qbo_id=None, sync_token=None))
    assert create.attempt
    assert create.attempt.state == "unknown"
    assert not create.settlements


def test_a_foreign_document_with_our_number_is_held_and_not_taken_over() -> None:
    nothing = replace(KNOWN, status=DocumentStatus.NOTHING, qbo_id=None, sync_token=None, fields=None, content_hash=None)
    commit = commit_of(
        attempt(SENDING, Operation.CREATE, nothing),
        Trigger.READ_OTHER,
        LINKS,
        seen=replace(SEEN, marker="bookrelay:other"),
        now=NOW,
    )
    assert [e.decision.state for e in commit.settlements] == [CommandState.HELD]
    assert commit.document is None


def test_an_error_while_restoring_a_voided_document_is_held() -> None:
    voided = replace(KNOWN, status=DocumentStatus.VOIDED)
    answer = Answer(AnswerKind.ERROR, 400, "6000", Disposition.REJECT, Code.VALIDATION, "no")
    commit = commit_of(attempt(SENDING, Operation.UPDATE, voided), Trigger.ERROR, LINKS, answer=answer, now=NOW)
    assert [e.decision.state for e in commit.settlements] == [CommandState.HELD]


# ------------------------------------------------------------------------------------------------------------------ waits


def test_q_counts_from_the_silence() -> None:
    silent = sent(UNKNOWN, silent_at=NOW, ambiguous=True)
    assert absent_counts_at(silent, WAITS) == NOW + timedelta(seconds=270)
    assert late_copies_dead_at(silent, WAITS) == NOW + timedelta(seconds=150)


def test_q_dash_counts_from_the_end_of_the_token_where_a_sender_was_lost() -> None:
    lost = sent(UNKNOWN, lost=True, ambiguous=True)
    assert absent_counts_at(lost, WAITS) == NOW + timedelta(hours=1, seconds=270)
    resent = sent(UNKNOWN, lost=True, ambiguous=True, silent_at=NOW + timedelta(minutes=90))
    assert absent_counts_at(resent, WAITS) == NOW + timedelta(minutes=90, seconds=270)


def test_look_first_fits_the_wait_of_a_lost_sender_into_its_window() -> None:
    lost = sent(UNKNOWN, lost=True, ambiguous=True, operation=Operation.CREATE)
    counts_at = absent_counts_at(lost, WAITS)
    assert next_move(lost, Realm(), WAITS, counts_at) == (Move.LOOK_COUNTS, None)
    assert trigger_when_absent(lost, Realm(), WAITS, counts_at) is Trigger.ABSENT_IN_WINDOW


LATER = NOW + timedelta(seconds=271)
AFTER = NOW + timedelta(hours=3)
CREATE_SILENT = sent(UNKNOWN, operation=Operation.CREATE, ambiguous=True, silent_at=NOW)
UPDATE_SILENT = replace(CREATE_SILENT, operation=Operation.UPDATE)
PROVEN = Realm(requestid_proven=True)
MOVES: list[tuple[str, Sent, Realm, datetime, Move, Trigger | None]] = [
    ("refused, never silent", sent(SENDING, answered=True), Realm(), AFTER, Move.RESEND, Trigger.RESEND_REFUSED),
    ("an update within W", UPDATE_SILENT, Realm(), NOW, Move.RESEND, Trigger.RESEND_SAFE),
    ("an update within W, even where nothing is bounded", UPDATE_SILENT, Realm(bounds_unreliable=True), NOW, Move.RESEND,
     Trigger.RESEND_SAFE),
    ("an update after W is read by Id", UPDATE_SILENT, Realm(), AFTER, Move.LOOK_COUNTS, None),
    ("a delete within W", replace(CREATE_SILENT, operation=Operation.DELETE), Realm(), NOW, Move.RESEND, Trigger.RESEND_SAFE),
    ("a create that is not proven looks first", CREATE_SILENT, Realm(), NOW, Move.LOOK, None),
    ("... and absent counts after the wait", CREATE_SILENT, Realm(), LATER, Move.LOOK_COUNTS, None),
    ("a proven create within W", CREATE_SILENT, PROVEN, NOW, Move.RESEND, Trigger.RESEND_SAFE),
    ("a proven create after its W", CREATE_SILENT, PROVEN, NOW + timedelta(minutes=31), Move.LOOK_COUNTS, None),
    ("an item of a batch where only singles are proven", replace(CREATE_SILENT, in_batch=True), PROVEN, NOW, Move.LOOK, None),
    ("an item of a proven batch", replace(CREATE_SILENT, in_batch=True), Realm(True, True), NOW, Move.RESEND, Trigger.RESEND_SAFE),
    ("an update of a batch waits in it", replace(UPDATE_SILENT, in_batch=True), Realm(), NOW, Move.LOOK, None),
    ("a create where nothing is bounded", CREATE_SILENT, Realm(bounds_unreliable=True), NOW, Move.HOLD, Trigger.UNBOUNDED),
]  # fmt: skip


@pytest.mark.parametrize(("attempt_", "realm", "now", "move", "trigger"), [m[1:] for m in MOVES], ids=[m[0] for m in MOVES])
def test_the_next_move(attempt_: Sent, realm: Realm, now: datetime, move: Move, trigger: Trigger | None) -> None:
    assert next_move(attempt_, realm, WAITS, now) == (move, trigger)


def test_absent_leads_to_the_row_of_its_envelope_and_window() -> None:
    assert trigger_when_absent(CREATE_SILENT, Realm(), WAITS, LATER) is Trigger.ABSENT_IN_WINDOW
    assert trigger_when_absent(replace(CREATE_SILENT, in_batch=True), Realm(), WAITS, LATER) is Trigger.ABSENT_BATCH_ITEM
    assert trigger_when_absent(CREATE_SILENT, Realm(), WAITS, AFTER) is Trigger.ABSENT_AFTER_WINDOW


@given(
    st.sampled_from(list(Operation)), st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.booleans(),
    st.integers(0, 20_000), st.sampled_from([None, 0, 100, 4000]),
)  # fmt: skip
def test_whatever_is_open_has_a_move_that_the_table_knows(
    operation: Operation,
    ambiguous: bool,
    lost: bool,
    in_batch: bool,
    proven: bool,
    bounded: bool,
    seconds: int,
    silent: int | None,
) -> None:
    """And a create is never sent again before absent counts, unless its envelope is proven."""
    state = UNKNOWN if ambiguous or lost else SENDING
    one = sent(
        state, operation=operation, answered=state is SENDING, ambiguous=state is UNKNOWN, lost=lost, in_batch=in_batch,
        silent_at=None if silent is None else NOW + timedelta(seconds=silent),
    )  # fmt: skip
    realm, now = Realm(proven, False, not bounded), NOW + timedelta(seconds=seconds)
    move, trigger = next_move(one, realm, WAITS, now)
    if trigger is not None:
        assert (one.state, trigger) in TRANSITIONS
    if move is Move.RESEND and operation is Operation.CREATE and state is UNKNOWN:
        assert proven
        assert not in_batch
    if move is Move.LOOK_COUNTS:
        assert now >= absent_counts_at(one, WAITS)
        assert (UNKNOWN, trigger_when_absent(one, realm, WAITS, now)) in TRANSITIONS


@pytest.mark.parametrize("kind", list(AnswerKind))
@pytest.mark.parametrize("ambiguous", [False, True])
def test_every_answer_has_a_row(kind: AnswerKind, ambiguous: bool) -> None:
    trigger = trigger_of_answer(kind, ambiguous=ambiguous)
    if kind is AnswerKind.CONFLICT:
        assert trigger is None
    else:
        assert (SENDING, trigger) in TRANSITIONS


def test_after_silence_an_error_resolves_nothing() -> None:
    assert trigger_of_answer(AnswerKind.ERROR, ambiguous=True) is Trigger.ERROR_AFTER_SILENCE
    assert TRANSITIONS[SENDING, Trigger.ERROR_AFTER_SILENCE].to is UNKNOWN
