"""Every row of design.md's table "What the writer does", and every policy that changes one."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qbo_writer.domain import CommandState, DocumentStatus, LedgerKind, Operation
from qbo_writer.ledger.changes import Decision
from qbo_writer.ledger.records import Command, DocumentState
from qbo_writer.protocol.deciding import Rules, Unpay, Write, decide, in_closed_period, newest, superseded

START = datetime(2026, 11, 1, tzinfo=UTC)
NOTHING = DocumentState(1, "r", LedgerKind.INVOICE, "emr", "Q-1", "bookrelay:m")
PRESENT = replace(
    NOTHING, status=DocumentStatus.PRESENT, qbo_id="9", sync_token="0", content_hash="same", total=Decimal("100.00"),
    balance=Decimal("100.00"),
)  # fmt: skip
PAID = replace(PRESENT, balance=Decimal("0.00"))
PARTLY_PAID = replace(PRESENT, balance=Decimal("99.99"))
FREE_OF_CHARGE = replace(PRESENT, total=Decimal("0.00"), balance=Decimal("0.00"))
VOIDED = replace(PRESENT, status=DocumentStatus.VOIDED, total=Decimal(0), balance=Decimal(0))
CHANGED = replace(PRESENT, diverged=True)
DELETED = replace(NOTHING, status=DocumentStatus.GONE, qbo_id="9", diverged=True)
BILL = replace(PRESENT, kind=LedgerKind.BILL)
HOLD, SOURCE, QBO = Rules(), Rules(changed_by_person="source_wins"), Rules(changed_by_person="qbo_wins")
DELETE_BY_POLICY, UPDATE_PAID = Rules(retract_invoice_by="delete"), Rules(update_paid="update")
EMAILED, HOLD_EMAILED = replace(PRESENT, emailed=True), Rules(update_emailed="hold")
NO_BILLS = Rules(skipped_kinds={LedgerKind.BILL: "no bills"})


def command(operation: Any, content_hash: str = "same", **more: Any) -> Command:
    return Command(uuid4(), operation, 2, START, content_hash, CommandState.DUE, **more)


SAME, OTHER, ABSENT = command("upsert"), command("upsert", "other"), command("retract", "")
FORCED, FORCED_ABSENT = replace(OTHER, forced=True), replace(ABSENT, forced=True)

TABLE: list[tuple[str, DocumentState, Command, Rules, CommandState | Operation]] = [
    ("present / nothing: create", NOTHING, OTHER, HOLD, Operation.CREATE),
    ("present / the same content: unchanged, no call", PRESENT, SAME, HOLD, CommandState.UNCHANGED),
    ("present / other content, unpaid: update", PRESENT, OTHER, HOLD, Operation.UPDATE),
    ("present / other content, total of zero is not paid", FREE_OF_CHARGE, OTHER, HOLD, Operation.UPDATE),
    ("present / the same content, paid: unchanged", PAID, SAME, HOLD, CommandState.UNCHANGED),
    ("present / other content, paid: held", PAID, OTHER, HOLD, CommandState.HELD),
    ("present / other content, partly paid: held", PARTLY_PAID, OTHER, HOLD, CommandState.HELD),
    ("present / other content, paid, policy says update", PAID, OTHER, UPDATE_PAID, Operation.UPDATE),
    ("present / other content, paid, forced", PAID, FORCED, HOLD, Operation.UPDATE),
    ("present / other content, e-mailed: update", EMAILED, OTHER, HOLD, Operation.UPDATE),
    ("present / other content, e-mailed, policy says hold", EMAILED, OTHER, HOLD_EMAILED, CommandState.HELD),
    ("present / other content, e-mailed, policy says hold, forced", EMAILED, FORCED, HOLD_EMAILED, Operation.UPDATE),
    ("present / the same content, e-mailed, policy says hold: unchanged", EMAILED, SAME, HOLD_EMAILED, CommandState.UNCHANGED),
    ("present / voided by us, the same content: update it back", VOIDED, SAME, HOLD, Operation.UPDATE),
    ("present / voided by us, other content: update it back", VOIDED, OTHER, HOLD, Operation.UPDATE),
    ("present / changed by a person: held", CHANGED, OTHER, HOLD, CommandState.HELD),
    ("present / changed by a person, the same content: held", CHANGED, SAME, HOLD, CommandState.HELD),
    ("present / changed by a person, source wins", CHANGED, SAME, SOURCE, Operation.UPDATE),
    ("present / changed by a person, QuickBooks wins", CHANGED, OTHER, QBO, CommandState.SKIPPED),
    ("present / changed by a person, forced", CHANGED, FORCED, HOLD, Operation.UPDATE),
    ("present / deleted by a person: held", DELETED, OTHER, HOLD, CommandState.HELD),
    ("present / deleted by a person, source wins: created again", DELETED, OTHER, SOURCE, Operation.CREATE),
    ("present / deleted by a person, forced: created again", DELETED, FORCED, HOLD, Operation.CREATE),
    ("absent / nothing: unchanged", NOTHING, ABSENT, HOLD, CommandState.UNCHANGED),
    ("absent / voided by us: unchanged", VOIDED, ABSENT, HOLD, CommandState.UNCHANGED),
    ("absent / unpaid invoice: void", PRESENT, ABSENT, HOLD, Operation.VOID),
    ("absent / unpaid invoice, policy says delete", PRESENT, ABSENT, DELETE_BY_POLICY, Operation.DELETE),
    ("absent / unpaid bill: delete, QuickBooks has no void for it", BILL, ABSENT, HOLD, Operation.DELETE),
    ("absent / paid: held, never deleted silently", PAID, ABSENT, HOLD, CommandState.HELD),
    ("absent / partly paid: held", PARTLY_PAID, ABSENT, HOLD, CommandState.HELD),
    ("absent / paid, policy to update paid ones does not delete them", PAID, ABSENT, UPDATE_PAID, CommandState.HELD),
    ("absent / paid, forced", PAID, FORCED_ABSENT, HOLD, Operation.VOID),
    ("absent / changed by a person: held", CHANGED, ABSENT, HOLD, CommandState.HELD),
    ("absent / deleted by a person: unchanged", DELETED, ABSENT, HOLD, CommandState.UNCHANGED),
    ("a bill where the mode leaves bills out", replace(NOTHING, kind=LedgerKind.BILL), OTHER, NO_BILLS, CommandState.SKIPPED),
    ("an invoice where the mode leaves bills out", NOTHING, OTHER, NO_BILLS, Operation.CREATE),
]  # fmt: skip


@pytest.mark.parametrize(("document", "command", "rules", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_table(document: DocumentState, command: Command, rules: Rules, expected: CommandState | Operation) -> None:
    decided = decide(document, command, rules)
    if isinstance(expected, Operation):
        assert decided == Write(expected, restores=document.status is DocumentStatus.VOIDED and expected is Operation.UPDATE)
    else:
        assert isinstance(decided, Decision)
        assert decided.state is expected
        if expected in (CommandState.HELD, CommandState.SKIPPED):
            assert decided.reason


def test_a_held_document_shows_the_difference() -> None:
    decided = decide(PARTLY_PAID, OTHER, HOLD)
    assert isinstance(decided, Decision)
    assert [(d.field, d.ours, d.theirs) for d in decided.differences] == [("balance", "100.00", "99.99")]


@pytest.mark.parametrize(
    ("there", "wanted", "rules", "held"),
    [
        ("2026-10-31", "2026-11-02", HOLD, True),
        ("2026-11-02", "2026-10-31", HOLD, True),
        ("2026-11-01", "2026-11-01", HOLD, False),
        ("2026-10-31", "2026-10-31", Rules(closed_period="update"), False),
    ],
)
def test_a_document_of_a_closed_period_is_held(there: str, wanted: str, rules: Rules, held: bool) -> None:
    document, command = replace(PRESENT, fields={"txn_date": there}), replace(OTHER, content={"txn_date": wanted})
    assert (in_closed_period(document, command, rules, date(2026, 10, 31)) is not None) == held
    assert in_closed_period(document, command, rules, None) is None
    assert in_closed_period(document, replace(command, forced=True), rules, date(2026, 10, 31)) is None


def test_a_retraction_of_what_a_person_deleted_forgets_it() -> None:
    decided = decide(DELETED, ABSENT, HOLD)
    assert isinstance(decided, Decision)
    assert decided.forget


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=6), st.randoms())
def test_the_newest_recorded_version_wins_in_any_order(pairs: list[tuple[int, int]], random: Any) -> None:
    commands = [
        Command(UUID(int=i), "upsert", version, START + timedelta(minutes=minute), "h", random.choice(list(CommandState)))
        for i, (version, minute) in enumerate(pairs)
    ]
    best = newest(commands)
    random.shuffle(commands)
    assert newest(commands) == best
    assert (best.version, best.modified_at) == max((c.version, c.modified_at) for c in commands)
    assert superseded(best).by_version == best.version


@pytest.mark.parametrize(("command", "what"), [(OTHER, "changed"), (ABSENT, "withdrawn")])
def test_a_paid_bill_is_unpaid_first_where_the_policy_says_so(command: Command, what: str) -> None:
    """Whether the payment is ours the ledger knows; if not, it is held as ever."""
    unpays, paid = Rules(paid_by_us="unpay"), replace(PAID, kind=LedgerKind.BILL)
    result = decide(paid, command, unpays)
    assert isinstance(result, Unpay)
    assert result.otherwise == decide(paid, command, HOLD)
    assert what in result.otherwise.reason
    assert isinstance(decide(PAID, command, unpays), Decision)  # an invoice is paid by its customer
    assert isinstance(decide(replace(paid, diverged=True), command, unpays), Decision)
    assert isinstance(decide(paid, replace(command, forced=True), unpays), Write)
