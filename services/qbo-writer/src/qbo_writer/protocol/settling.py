"""From a row of the protocol's table to what is committed with it: document, attempt, ends and events. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bookrelay import messages as m
from bookrelay.errors import Code, Disposition

from qbo_writer import kinds
from qbo_writer.comparing import veiled
from qbo_writer.domain import SENDER, Answer, BooksEntity, CommandState, DocumentStatus, Operation
from qbo_writer.ledger.changes import AttemptChange, Commit, Decision, DocumentChange, Requeue, Settlement, Unlike, nothing_there
from qbo_writer.ledger.records import WAITING_SECONDS, Attempt, Command, DocumentState
from qbo_writer.protocol.asking import not_as_asked
from qbo_writer.protocol.deciding import FIX_HELD
from qbo_writer.protocol.differing import of_unlike
from qbo_writer.protocol.transitions import Action, Trigger, transition

WAITING_MOST = timedelta(days=30)  # for something in QuickBooks or in the policy; then the source is told that it is rejected


def backoff_seconds(failures: int) -> float:
    """Return how many seconds a failed command waits; no jitter: the pacer spreads requests already."""
    return float(min(300.0, 0.5 * 2 ** min(failures, 10)))


@dataclass(frozen=True)
class Links:
    """What events need to know of the surroundings: links for people, and whether posted bills are paid by us."""

    url: Any  # (kind, qbo_id, realm) -> str
    pay_bills: bool = False


# -------------------------------------------------------------------------------------------------------------------- ends


def _data(document: DocumentState, command: Command) -> dict[str, Any]:
    return {
        "realm": document.realm, "source": document.source, "source_key": document.source_key, "kind": m.Kind(document.kind.value),
        "version": command.version, "command_id": command.id, "occurrence": command.occurrence,
    }  # fmt: skip


def decision_event(
    document: DocumentState, command: Command, decision: Decision, links: Links, now: datetime
) -> m.AnyMessage | None:
    """Return the event of an end that is not `posted` or `retracted`."""
    if kinds.of(document.kind).is_name:
        return None
    data = _data(document, command)
    reason = decision.reason or decision.state.value
    event: m.AnyMessage
    if decision.state is CommandState.UNCHANGED:
        there = document.live
        event = m.DocumentUnchanged.of(
            m.DocumentUnchangedData(
                **data,
                qbo_id=document.qbo_id if there else None,
                doc_number=((document.fields or {}).get("doc_number") or document.doc_number) if there else None,
                url=links.url(document.kind, document.qbo_id, document.realm) if there else None,
                total=document.total if there else None,
            ),
            sender=SENDER, time=now,
        )  # fmt: skip
    elif decision.state is CommandState.SUPERSEDED:
        event = m.DocumentSuperseded.of(
            m.DocumentSupersededData(**data, by_version=decision.by_version or 0), sender=SENDER, time=now
        )
    elif decision.state is CommandState.SKIPPED:
        event = m.DocumentSkipped.of(m.DocumentSkippedData(**data, reason=reason), sender=SENDER, time=now)
    elif decision.state is CommandState.HELD:
        event = m.DocumentHeld.of(
            m.DocumentHeldData(**data, reason=reason, fix=decision.fix, differences=decision.differences), sender=SENDER, time=now
        )
    elif decision.state is CommandState.WAITING:
        waiting = m.DocumentWaitingData(**data, code=decision.code.value, reason=reason, fix=decision.fix)
        event = m.DocumentWaiting.of(waiting, sender=SENDER, time=now)
    elif decision.state is CommandState.REJECTED:
        event = m.DocumentRejected.of(
            m.DocumentRejectedData(
                **data, code=decision.code.value, intuit_code=decision.intuit_code, reason=reason, fix=decision.fix
            ),
            sender=SENDER, time=now,
        )  # fmt: skip
    elif decision.state is CommandState.DEAD_LETTERED:
        event = m.CommandDeadLettered.of(m.CommandDeadLetteredData(**data, reason=reason), sender=SENDER, time=now)
    else:
        raise ValueError(f"{decision.state} is told by its own event")
    return event


def ended(document: DocumentState, command: Command, decision: Decision, links: Links, now: datetime | None = None) -> Commit:
    """Return the effects of an end without a request. Waiting is bounded, and told once for each reason."""
    if decision.state is CommandState.WAITING and command.waiting_since:
        if (now or datetime.now(UTC)) - command.waiting_since > WAITING_MOST:
            state, word = (CommandState.HELD, "held") if decision.awaits else (CommandState.REJECTED, "rejected")
            fix = f"{decision.fix} Then release it (qbo-writer {word} release), or send it again."
            decision = replace(
                decision, state=state, reason=f"{decision.reason} It waited {WAITING_MOST.days} days.", fix=fix, awaits=None
            )
        elif command.last_reason == decision.reason:
            return Commit(requeue=Requeue(command.id, WAITING_SECONDS, waiting=True))
    settlement = Settlement(
        document, command, decision, decision_event(document, command, decision, links, now or datetime.now(UTC))
    )
    row = None
    if decision.forget:
        row = nothing_there(document)
    releases = document.id if kinds.of(document.kind).waited_for else None
    return Commit(settlements=(settlement,), document=row, releases=releases)


# ---------------------------------------------------------------------------------------------------------------- attempts


def _close(attempt: Attempt, trigger: Trigger, answer: Answer | None, outcome: str) -> AttemptChange:
    row = transition(attempt.sent.state, trigger)
    sent = attempt.sent
    return AttemptChange(
        attempt.id, row.to.value, True, sent.ambiguous, sent.lost, outcome=outcome, sends=attempt.sends, **_answer_columns(answer)
    )


def _answer_columns(answer: Answer | None) -> dict[str, Any]:
    if answer is None:
        return {}
    return {
        "http_status": answer.http_status, "intuit_code": answer.intuit_code, "intuit_tid": answer.intuit_tid,
        "answer": answer.reason or None,
    }  # fmt: skip


def commit_of(
    attempt: Attempt,
    trigger: Trigger,
    links: Links,
    *,
    answer: Answer | None = None,
    seen: BooksEntity | None = None,
    differences: Sequence[m.Difference] = (),
    adopted: bool = False,
    due_in: float = 0.0,
    now: datetime | None = None,
) -> Commit:
    """Return what is committed when `when` happens to `attempt`; raises NoSuchTransition where the table has no such row."""
    row, now = transition(attempt.sent.state, trigger), now or datetime.now(UTC)
    if row.action is Action.SETTLE:
        return _settled(attempt, trigger, links, answer, seen or (answer.seen if answer else None), adopted, now)
    if row.action is Action.REJECT:
        return _refused_for_good(attempt, trigger, links, answer, now)
    if row.action is Action.HOLD_DIVERGED:
        return _held_diverged(attempt, trigger, links, answer, seen, tuple(differences), now)
    if row.action is Action.GONE:
        return _gone(attempt, trigger, links, answer, now, due_in)
    if row.action is Action.CLAIM_AFRESH:
        return _claim_afresh(attempt, trigger, answer, seen, due_in)
    if row.action is Action.HOLD_STUCK:
        return _stuck(attempt, links, now, answer)
    sent = attempt.sent
    if row.action is Action.NOTE_REFUSAL:
        change = AttemptChange(
            attempt.id,
            row.to.value,
            True,
            sent.ambiguous,
            sent.lost,
            due_in=due_in,
            sends=attempt.sends,
            **_answer_columns(answer),
        )
        return Commit(attempt=change)
    if row.action is Action.NOTE_SILENCE:
        return Commit(attempt=_silence(attempt, answer, due_in))
    raise ValueError(f"{row.action} is committed by the ledger itself")


def _silence(attempt: Attempt, answer: Answer | None, due_in: float) -> AttemptChange:
    return AttemptChange(
        attempt.id,
        "unknown",
        True,
        True,
        attempt.sent.lost,
        silent=True,
        due_in=due_in,
        sends=attempt.sends,
        **_answer_columns(answer),
    )


def _settled(
    attempt: Attempt,
    trigger: Trigger,
    links: Links,
    answer: Answer | None,
    seen: BooksEntity | None,
    adopted: bool,
    now: datetime,
) -> Commit:
    document, command, operation = attempt.document, attempt.command, attempt.request.operation
    outcome = _outcome(attempt, adopted)
    change = _close(attempt, trigger, answer, outcome)
    if operation is Operation.DELETE:
        return _retracted(attempt, change, "deleted", links, now)
    assert seen is not None, "a success shows the entity"
    if operation is Operation.VOID:
        commit = _retracted(attempt, change, "voided", links, now)
        return replace(commit, document=_row(attempt, seen, DocumentStatus.VOIDED))
    decision = Decision(CommandState.POSTED)
    learned = (attempt.request.entity, seen) if kinds.of(document.kind).is_name else None
    unlike = not_as_asked(document, command, attempt.request, attempt.fields, seen)
    event = _posted_event(attempt, seen, m.Outcome(outcome), links, now, unlike)
    follow_ups = kinds.of(document.kind).follow_ups(attempt, seen) if links.pay_bills else ()
    return Commit(
        attempt=change, document=_row(attempt, seen, DocumentStatus.PRESENT), settlements=(Settlement(document, command, decision, event),),
        learned=learned, releases=document.id if kinds.of(document.kind).is_name else None, follow_ups=follow_ups,
        compared=not kinds.of(document.kind).is_name, differs=of_unlike(document, unlike) if unlike else None,
    )  # fmt: skip


def _outcome(attempt: Attempt, adopted: bool) -> str:
    if attempt.request.operation is Operation.CREATE:
        return "adopted" if adopted else "created"
    if attempt.request.operation is Operation.UPDATE:
        return "restored" if attempt.document.status is DocumentStatus.VOIDED else "updated"
    return attempt.request.operation.value


def _row(attempt: Attempt, seen: BooksEntity, status: DocumentStatus) -> DocumentChange:
    return DocumentChange(
        attempt.document.id, status, seen.qbo_id, seen.sync_token, attempt.content_hash,
        veiled(seen.fields, attempt.fields), seen.total, seen.balance,
        diverged=False, doc_number=seen.doc_number,
        content_of=attempt.command.id if status is DocumentStatus.PRESENT else None, emailed=seen.emailed,
    )  # fmt: skip


def _posted_event(
    attempt: Attempt, seen: BooksEntity, outcome: m.Outcome, links: Links, now: datetime, unlike: Unlike | None
) -> m.AnyMessage | None:
    document = attempt.document
    if kinds.of(document.kind).is_name:
        return None
    data = _data(document, attempt.command) | {
        "outcome": outcome, "qbo_id": seen.qbo_id, "sync_token": seen.sync_token, "doc_number": seen.doc_number or None,
        "url": links.url(document.kind, seen.qbo_id, document.realm), "total": seen.total,
    }  # fmt: skip
    if unlike:
        data |= {"differences": unlike.differences, "discrepancy": unlike.amount}
    return kinds.of(document.kind).event(data, SENDER, now)


def _retracted(attempt: Attempt, change: AttemptChange, how: str, links: Links, now: datetime) -> Commit:
    document, command = attempt.document, attempt.command
    event = None
    if not kinds.of(document.kind).is_name:
        data = m.DocumentRetractedData(**_data(document, command), how=how, qbo_id=document.qbo_id)
        event = m.DocumentRetracted.of(data, sender=SENDER, time=now)
    decision = Decision(CommandState.RETRACTED)
    return Commit(
        attempt=change, document=nothing_there(document), settlements=(Settlement(document, command, decision, event),),
        compared=not kinds.of(document.kind).is_name, releases=document.id if kinds.of(document.kind).waited_for else None,
    )  # fmt: skip


def _refused_for_good(attempt: Attempt, trigger: Trigger, links: Links, answer: Answer | None, now: datetime) -> Commit:
    """A definitive error: nothing was done. The command ends as the error's disposition says."""
    assert answer is not None
    document, command = attempt.document, attempt.command
    change = _close(attempt, trigger, answer, f"error {answer.intuit_code or answer.http_status}")
    if answer.disposition is Disposition.RETRY:
        return Commit(attempt=change, requeue=Requeue(command.id, 0, failed=True, reason=answer.reason))
    if command.failures + 1 < answer.tries:
        return Commit(attempt=change, requeue=Requeue(command.id, 2**command.failures, failed=True, reason=answer.reason))
    hold = answer.disposition is Disposition.HOLD or document.status is DocumentStatus.VOIDED
    state = CommandState.HELD if hold else CommandState.REJECTED
    decision = Decision(state, answer.reason or "QuickBooks refused the document.", answer.fix, answer.code, answer.intuit_code)
    event = decision_event(document, command, decision, links, now)
    releases = document.id if kinds.of(document.kind).waited_for else None
    return Commit(attempt=change, settlements=(Settlement(document, command, decision, event),), releases=releases)


def _held_diverged(
    attempt: Attempt, trigger: Trigger, links: Links, answer: Answer | None, seen: BooksEntity | None,
    differences: tuple[m.Difference, ...], now: datetime,
) -> Commit:  # fmt: skip
    assert seen is not None
    document, command = attempt.document, attempt.command
    change = _close(attempt, trigger, answer, "diverged")
    foreign = seen.marker != document.marker and attempt.request.operation is Operation.CREATE
    reason, fix = "Changed in QuickBooks since our last write.", FIX_HELD
    if foreign:
        reason = f"QuickBooks already holds a document with this number (Id {seen.qbo_id}) that bookrelay does not know."
    elif command.forced:
        reason = (
            f"Changed in QuickBooks since it was shown (SyncToken {attempt.request.sync_token}, now {seen.sync_token}): "
            "nothing was written."
        )
        fix = "Look at it again (qbo-writer held show), then release, force or drop it."
    decision = Decision(CommandState.HELD, reason, fix, Code.CONFLICT, answer.intuit_code if answer else None, differences)
    event = decision_event(document, command, decision, links, now)
    row: DocumentChange | None = None
    events: tuple[m.AnyMessage, ...] = ()
    if not foreign:
        status = DocumentStatus.VOIDED if seen.voided and document.status is DocumentStatus.VOIDED else DocumentStatus.PRESENT
        row = DocumentChange(
            document.id, status, seen.qbo_id, seen.sync_token, document.content_hash,
            veiled(seen.fields, attempt.fields), seen.total, seen.balance,
            diverged=True, differences=differences, emailed=seen.emailed,
        )  # fmt: skip
        events = _diverged_events(document, command, seen.qbo_id, differences, now)
    releases = document.id if kinds.of(document.kind).waited_for else None
    return Commit(
        attempt=change,
        document=row,
        settlements=(Settlement(document, command, decision, event),),
        events=events,
        releases=releases,
    )


def _diverged_events(
    document: DocumentState, command: Command, qbo_id: str, differences: tuple[m.Difference, ...], now: datetime
) -> tuple[m.AnyMessage, ...]:
    if kinds.of(document.kind).is_name or document.diverged:
        return ()
    data = m.DocumentDivergedData(**_data(document, command), qbo_id=qbo_id, differences=differences)
    return (m.DocumentDiverged.of(data, sender=SENDER, time=now),)


def _gone(attempt: Attempt, trigger: Trigger, links: Links, answer: Answer | None, now: datetime, due_in: float) -> Commit:
    document, command, operation = attempt.document, attempt.command, attempt.request.operation
    if operation in (Operation.DELETE, Operation.VOID):
        return _retracted(attempt, _close(attempt, trigger, answer, "gone"), "gone", links, now)
    if operation is Operation.CREATE:  # what was found is no more: it stays unknown
        return Commit(attempt=_silence(attempt, answer, due_in))
    decision = Decision(CommandState.HELD, "A person deleted the document in QuickBooks.", FIX_HELD, Code.CONFLICT)
    row = DocumentChange(
        document.id, DocumentStatus.GONE, document.qbo_id, document.sync_token, None, None, None, None, diverged=True,
    )  # fmt: skip
    event = decision_event(document, command, decision, links, now)
    events = _diverged_events(document, command, document.qbo_id or "", (), now)
    change = _close(attempt, trigger, answer, "gone")
    return Commit(attempt=change, document=row, settlements=(Settlement(document, command, decision, event),), events=events)


def _claim_afresh(attempt: Attempt, trigger: Trigger, answer: Answer | None, seen: BooksEntity | None, due_in: float) -> Commit:
    """The attempt ends without an end of the command; the newest version is claimed again, with another requestid."""
    change = _close(attempt, trigger, answer, trigger.name.lower())
    row = None
    if seen is not None and trigger is Trigger.READ_KNOWN and not attempt.command.forced:
        # (A force goes by what was shown to a person: the difference that is there stays until it is written over.)
        document = attempt.document
        row = DocumentChange(
            document.id, document.status, document.qbo_id, seen.sync_token, document.content_hash, document.fields, seen.total, seen.balance,
            diverged=document.diverged, differences=document.differences, emailed=seen.emailed,
        )  # fmt: skip
    # Held by a person's question until now (stuck): due again.
    # What was refused for the company (its pace, its token) does not count against the document; all else does.
    failed = trigger not in (Trigger.REFUSED_ITEM, Trigger.OPERATOR_ABSENT)
    again = Requeue(attempt.command.id, due_in, failed=failed, reason=answer.reason if answer and answer.reason else None)
    return Commit(attempt=change, document=row, requeue=again)


def _stuck(attempt: Attempt, links: Links, now: datetime, answer: Answer | None) -> Commit:
    document, command, sent = attempt.document, attempt.command, attempt.sent
    change = AttemptChange(attempt.id, "unknown", True, sent.ambiguous, sent.lost, stuck=True, due_in=3600, sends=attempt.sends)
    if command.state is CommandState.HELD:
        return Commit(attempt=change)
    decision = Decision(
        CommandState.HELD,
        f"QuickBooks did not answer, and it cannot be known here whether request {attempt.request.requestid} had an effect."
        + (f" The look-ups for it failed {attempt.looks_refused + 1} times. {answer.reason}" if answer else ""),
        "Look for the document in QuickBooks: if it is not there, `qbo-writer held force`; if it is, it is found by itself.",
        Code.CONFLICT,
    )
    releases = document.id if kinds.of(document.kind).waited_for else None
    return Commit(
        attempt=change,
        settlements=(Settlement(document, command, decision, decision_event(document, command, decision, links, now)),),
        releases=releases,
    )
