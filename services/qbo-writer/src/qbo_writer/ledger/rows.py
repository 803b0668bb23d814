"""How rows are read: the columns of documents and commands, and the values that they become."""

from typing import Any

from bookrelay.messages import Difference

from qbo_writer.domain import CommandState, DocumentStatus, LedgerKind
from qbo_writer.ledger.records import Command, DocumentState

KNOWN = (
    "d.id AS d_id, d.realm AS d_realm, d.kind AS d_kind, d.source AS d_source, d.source_key AS d_key, d.marker AS d_marker, "
    "d.doc_number AS d_number, d.number_of AS d_number_of, d.status AS d_status, d.qbo_id AS d_qbo_id, "
    "d.sync_token AS d_sync_token, d.content_hash AS d_hash, d.fields AS d_fields, d.total AS d_total, "
    "d.balance AS d_balance, d.diverged AS d_diverged, d.emailed AS d_emailed, "
    "d.differences AS d_differences, d.attempts AS d_attempts, d.newest_version AS d_version"
)


ASKED = (
    "c.id AS c_id, c.operation AS c_operation, c.version AS c_version, c.modified_at AS c_modified_at, c.content AS c_content, "
    "c.content_hash AS c_hash, c.state AS c_state, c.forced AS c_forced, c.shown_sync_token AS c_shown, "
    "c.dropped AS c_dropped, c.failures AS c_failures, "
    "c.occurrence AS c_occurrence, c.priority AS c_priority, c.recorded_at AS c_recorded_at, c.due_at AS c_due_at, "
    "c.headers->>'traceparent' AS c_traceparent, c.reason AS c_reason, c.waiting_since AS c_waiting_since, c.total AS c_total"
)


# Of a bill and its payment one at a time. A payment waits for what is asked of its bill. A bill waits for a payment on its way
# where it is to be withdrawn, or where the payment can be. What a person must decide about keeps nobody waiting.
_IN_TURN = """(c.kind NOT IN ('bill', 'bill_payment') OR c.kind = 'bill_payment' AND c.operation = 'retract'
  OR c.kind = 'bill' AND c.operation = 'upsert' AND NOT {unpays} OR NOT EXISTS (
  SELECT 1 FROM qbo_writer.documents m JOIN qbo_writer.documents o ON o.realm = m.realm AND o.source = m.source
    AND o.source_key = m.source_key AND o.kind = CASE c.kind WHEN 'bill' THEN 'bill_payment' ELSE 'bill' END
  WHERE m.id = c.document_id AND (
    EXISTS (SELECT 1 FROM qbo_writer.attempts t WHERE t.document_id = o.id AND t.state <> 'resolved' AND NOT t.stuck)
    OR o.kind = 'bill' AND EXISTS (SELECT 1 FROM qbo_writer.commands k WHERE k.document_id = o.id AND k.state = 'due'))))"""
NEWEST_FIRST = "version DESC, modified_at DESC, recorded_at DESC, id::text DESC"


def in_turn(unpays: str) -> str:
    """Return the condition under which a due command of `c` may be claimed; `unpays`: the parameter for that, payments can be."""
    return _IN_TURN.format(unpays=unpays)


def known_of(row: Any) -> DocumentState:
    """Read a document's columns (d_...)."""
    return DocumentState(
        id=row["d_id"], realm=row["d_realm"], kind=LedgerKind(row["d_kind"]), source=row["d_source"], source_key=row["d_key"],
        marker=row["d_marker"], doc_number=row["d_number"], number_of=row["d_number_of"],
        status=DocumentStatus(row["d_status"]), qbo_id=row["d_qbo_id"], sync_token=row["d_sync_token"],
        content_hash=row["d_hash"], fields=row["d_fields"], total=row["d_total"], balance=row["d_balance"],
        emailed=row["d_emailed"], diverged=row["d_diverged"],
        differences=tuple(Difference.model_validate(d) for d in row["d_differences"] or ()), attempts=row["d_attempts"],
        newest_version=row["d_version"],
    )  # fmt: skip


def asked_of(row: Any) -> Command:
    """Read a command's columns (c_...)."""
    return Command(
        id=row["c_id"], operation=row["c_operation"], version=row["c_version"], modified_at=row["c_modified_at"],
        content=row["c_content"], content_hash=row["c_hash"], state=CommandState(row["c_state"]),
        forced=row["c_forced"], shown_sync_token=row["c_shown"], dropped=row["c_dropped"],
        failures=row["c_failures"], occurrence=row["c_occurrence"], priority=row["c_priority"],
        recorded_at=row["c_recorded_at"], due_at=row["c_due_at"], traceparent=row["c_traceparent"],
        last_reason=row["c_reason"], waiting_since=row["c_waiting_since"], total=row["c_total"],
    )  # fmt: skip
