"""An update that only takes a field away was judged done before it had happened: what it leaves was there all along."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from qbo_writer.domain import AttemptState, BooksEntity, CommandState, DocumentStatus, LedgerKind, Operation, Request
from qbo_writer.ledger.records import Attempt, Command, DocumentState, Sent
from qbo_writer.protocol.looking import Looker
from qbo_writer.protocol.transitions import Trigger

NOW = datetime(2026, 11, 21, tzinfo=UTC)
BEFORE = {"TxnDate": "2026-11-01", "DueDate": "2026-12-01"}
AFTER = {"TxnDate": "2026-11-01"}
KNOWN = DocumentState(
    1, "r", LedgerKind.INVOICE, "sheet", "k", "bookrelay:m", status=DocumentStatus.PRESENT, qbo_id="7", sync_token="0",
    fields=BEFORE, total=Decimal("1.00"), balance=Decimal("1.00"),
)  # fmt: skip
ATTEMPT = Attempt(
    1, KNOWN, Command(UUID(int=1), "upsert", 2, NOW, "h", CommandState.DUE),
    Request("r", LedgerKind.INVOICE, "Invoice", Operation.UPDATE, "br-1", "{}", "7", "0"),
    Sent(Operation.UPDATE, AttemptState.UNKNOWN, True, True, False, False, False, NOW, NOW, NOW, NOW), AFTER, "h", 2, 1, 1,
)  # fmt: skip
SEEN = BooksEntity("Invoice", "7", "0", None, "bookrelay:m", Decimal("1.00"), Decimal("1.00"), False, BEFORE)


def case(seen: BooksEntity) -> Trigger:
    looker = Looker("r", cast(Any, SimpleNamespace(ledger=None, references=None, books=None, forms=None)))
    return looker.compare(ATTEMPT, seen)[0]


def test_the_old_sync_token_says_that_it_has_not_happened() -> None:
    assert case(SEEN) is Trigger.READ_KNOWN


def test_a_new_sync_token_with_its_content_says_that_it_has() -> None:
    assert case(replace(SEEN, sync_token="1", fields=AFTER)) is Trigger.READ_OWN
