"""From a row of the protocol's table to what is committed with it: document, attempt, ends and events. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bookrelay import messages as m
from bookrelay.errors import Code, Disposition

from qbo_writer import kinds
from qbo_writer.comparing import veiled
from qbo_writer.domain import SENDER, Answer, CommandState, DocumentStatus, Operation, Seen
from qbo_writer.ledger.changes import AttemptChange, CommandEnd, DocumentChange, Effects, End, Requeue, Unlike, nothing_there
from qbo_writer.ledger.records import WAITING_SECONDS, Asked, Attempt, Known
from qbo_writer.protocol.asking import not_as_asked
from qbo_writer.protocol.deciding import FIX_HELD
from qbo_writer.protocol.differing import of_unlike
from qbo_writer.protocol.transitions import Effect, When, transition

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


def _data(known: Known, asked: Asked) -> dict[str, Any]:
    return {
        "realm": known.realm, "source": known.source, "source_key": known.source_key, "kind": m.Kind(known.kind.value),
        "version": asked.version, "command_id": asked.id, "occurrence": asked.occurrence,
    }  # fmt: skip


def end_event(known: Known, asked: Asked, end: End, links: Links, now: datetime) -> m.AnyMessage | None:
    """Return the event of an end that is not `posted` or `retracted`."""
    if kinds.of(known.kind).is_name:
        return None
    data = _data(known, asked)
    reason = end.reason or end.state.value
    event: m.AnyMessage
    if end.state is CommandState.UNCHANGED:
        there = known.live
        event = m.DocumentUnchanged.of(
            m.DocumentUnchangedData(
                **data,
                qbo_id=known.qbo_id if there else None,
                doc_number=((known.fields or {}).get("doc_number") or known.doc_number) if there else None,
                url=links.url(known.kind, known.qbo_id, known.realm) if there else None,
                total=known.total if there else None,
            ),
            sender=SENDER, time=now,
        )  # fmt: skip
    elif end.state is CommandState.SUPERSEDED:
        event = m.DocumentSuperseded.of(m.DocumentSupersededData(**data, by_version=end.by_version or 0), sender=SENDER, time=now)
    elif end.state is CommandState.SKIPPED:
        event = m.DocumentSkipped.of(m.DocumentSkippedData(**data, reason=reason), sender=SENDER, time=now)
    elif end.state is CommandState.HELD:
        event = m.DocumentHeld.of(
            m.DocumentHeldData(**data, reason=reason, fix=end.fix, differences=end.differences), sender=SENDER, time=now
        )
    elif end.state is CommandState.WAITING:
        waiting = m.DocumentWaitingData(**data, code=end.code.value, reason=reason, fix=end.fix)
        event = m.DocumentWaiting.of(waiting, sender=SENDER, time=now)
    elif end.state is CommandState.REJECTED:
        event = m.DocumentRejected.of(
            m.DocumentRejectedData(
                **data, code=end.code.value, intuit_code=end.intuit_code, reason=reason, fix=end.fix
            ),
            sender=SENDER, time=now,
        )  # fmt: skip
    elif end.state is CommandState.DEAD_LETTERED:
        event = m.CommandDeadLettered.of(m.CommandDeadLetteredData(**data, reason=reason), sender=SENDER, time=now)
    else:
        raise ValueError(f"{end.state} is told by its own event")
    return event


def ended(known: Known, asked: Asked, end: End, links: Links, now: datetime | None = None) -> Effects:
    """Return the effects of an end without a request. Waiting is bounded, and told once for each reason."""
    if end.state is CommandState.WAITING and asked.waiting_since:
        if (now or datetime.now(UTC)) - asked.waiting_since > WAITING_MOST:
            state, word = (CommandState.HELD, "held") if end.awaits else (CommandState.REJECTED, "rejected")
            fix = f"{end.fix} Then release it (qbo-writer {word} release), or send it again."
            end = replace(end, state=state, reason=f"{end.reason} It waited {WAITING_MOST.days} days.", fix=fix, awaits=None)
        elif asked.last_reason == end.reason:
            return Effects(requeue=Requeue(asked.id, WAITING_SECONDS, waiting=True))
    command_end = CommandEnd(known, asked, end, end_event(known, asked, end, links, now or datetime.now(UTC)))
    document = None
    if end.forget:
        document = nothing_there(known)
    releases = known.id if kinds.of(known.kind).waited_for else None
    return Effects(ends=(command_end,), document=document, releases=releases)


# ---------------------------------------------------------------------------------------------------------------- attempts


def _close(attempt: Attempt, when: When, answer: Answer | None, outcome: str) -> AttemptChange:
    row = transition(attempt.sent.state, when)
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


def effects_of(
    attempt: Attempt,
    when: When,
    links: Links,
    *,
    answer: Answer | None = None,
    seen: Seen | None = None,
    differences: Sequence[m.Difference] = (),
    adopted: bool = False,
    due_in: float = 0.0,
    now: datetime | None = None,
) -> Effects:
    """Return what is committed when `when` happens to `attempt`; raises NoSuchTransition where the table has no such row."""
    row, now = transition(attempt.sent.state, when), now or datetime.now(UTC)
    if row.effect is Effect.SETTLE:
        return _settled(attempt, when, links, answer, seen or (answer.seen if answer else None), adopted, now)
    if row.effect is Effect.REJECT:
        return _refused_for_good(attempt, when, links, answer, now)
    if row.effect is Effect.HOLD_DIVERGED:
        return _held_diverged(attempt, when, links, answer, seen, tuple(differences), now)
    if row.effect is Effect.GONE:
        return _gone(attempt, when, links, answer, now, due_in)
    if row.effect is Effect.CLAIM_AFRESH:
        return _claim_afresh(attempt, when, answer, seen, due_in)
    if row.effect is Effect.HOLD_STUCK:
        return _stuck(attempt, links, now, answer)
    sent = attempt.sent
    if row.effect is Effect.NOTE_REFUSAL:
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
        return Effects(attempt=change)
    if row.effect is Effect.NOTE_SILENCE:
        return Effects(attempt=_silence(attempt, answer, due_in))
    raise ValueError(f"{row.effect} is committed by the ledger itself")


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
    attempt: Attempt, when: When, links: Links, answer: Answer | None, seen: Seen | None, adopted: bool, now: datetime
) -> Effects:
    known, asked, operation = attempt.known, attempt.asked, attempt.request.operation
    outcome = _outcome(attempt, adopted)
    change = _close(attempt, when, answer, outcome)
    if operation is Operation.DELETE:
        return _retracted(attempt, change, "deleted", links, now)
    assert seen is not None, "a success shows the entity"
    if operation is Operation.VOID:
        effects = _retracted(attempt, change, "voided", links, now)
        return replace(effects, document=_row(attempt, seen, DocumentStatus.VOIDED))
    end = End(CommandState.POSTED)
    learned = (attempt.request.entity, seen) if kinds.of(known.kind).is_name else None
    unlike = not_as_asked(known, asked, attempt.request, attempt.fields, seen)
    event = _posted_event(attempt, seen, m.Outcome(outcome), links, now, unlike)
    follow_ups = kinds.of(known.kind).follow_ups(attempt, seen) if links.pay_bills else ()
    return Effects(
        attempt=change, document=_row(attempt, seen, DocumentStatus.PRESENT), ends=(CommandEnd(known, asked, end, event),),
        learned=learned, releases=known.id if kinds.of(known.kind).is_name else None, follow_ups=follow_ups,
        compared=not kinds.of(known.kind).is_name, differs=of_unlike(known, unlike) if unlike else None,
    )  # fmt: skip


def _outcome(attempt: Attempt, adopted: bool) -> str:
    if attempt.request.operation is Operation.CREATE:
        return "adopted" if adopted else "created"
    if attempt.request.operation is Operation.UPDATE:
        return "restored" if attempt.known.status is DocumentStatus.VOIDED else "updated"
    return attempt.request.operation.value


def _row(attempt: Attempt, seen: Seen, status: DocumentStatus) -> DocumentChange:
    return DocumentChange(
        attempt.known.id, status, seen.qbo_id, seen.sync_token, attempt.content_hash,
        veiled(seen.fields, attempt.fields), seen.total, seen.balance,
        diverged=False, doc_number=seen.doc_number,
        content_of=attempt.asked.id if status is DocumentStatus.PRESENT else None, emailed=seen.emailed,
    )  # fmt: skip


def _posted_event(
    attempt: Attempt, seen: Seen, outcome: m.Outcome, links: Links, now: datetime, unlike: Unlike | None
) -> m.AnyMessage | None:
    known = attempt.known
    if kinds.of(known.kind).is_name:
        return None
    data = _data(known, attempt.asked) | {
        "outcome": outcome, "qbo_id": seen.qbo_id, "sync_token": seen.sync_token, "doc_number": seen.doc_number or None,
        "url": links.url(known.kind, seen.qbo_id, known.realm), "total": seen.total,
    }  # fmt: skip
    if unlike:
        data |= {"differences": unlike.differences, "discrepancy": unlike.amount}
    return kinds.of(known.kind).event(data, SENDER, now)


def _retracted(attempt: Attempt, change: AttemptChange, how: str, links: Links, now: datetime) -> Effects:
    known, asked = attempt.known, attempt.asked
    event = None
    if not kinds.of(known.kind).is_name:
        data = m.DocumentRetractedData(**_data(known, asked), how=how, qbo_id=known.qbo_id)
        event = m.DocumentRetracted.of(data, sender=SENDER, time=now)
    end = End(CommandState.RETRACTED)
    return Effects(
        attempt=change, document=nothing_there(known), ends=(CommandEnd(known, asked, end, event),),
        compared=not kinds.of(known.kind).is_name, releases=known.id if kinds.of(known.kind).waited_for else None,
    )  # fmt: skip


def _refused_for_good(attempt: Attempt, when: When, links: Links, answer: Answer | None, now: datetime) -> Effects:
    """A definitive error: nothing was done. The command ends as the error's disposition says."""
    assert answer is not None
    known, asked = attempt.known, attempt.asked
    change = _close(attempt, when, answer, f"error {answer.intuit_code or answer.http_status}")
    if answer.disposition is Disposition.RETRY:
        return Effects(attempt=change, requeue=Requeue(asked.id, 0, failed=True, reason=answer.reason))
    if asked.failures + 1 < answer.tries:
        return Effects(attempt=change, requeue=Requeue(asked.id, 2**asked.failures, failed=True, reason=answer.reason))
    hold = answer.disposition is Disposition.HOLD or known.status is DocumentStatus.VOIDED
    state = CommandState.HELD if hold else CommandState.REJECTED
    end = End(state, answer.reason or "QuickBooks refused the document.", answer.fix, answer.code, answer.intuit_code)
    event = end_event(known, asked, end, links, now)
    releases = known.id if kinds.of(known.kind).waited_for else None
    return Effects(attempt=change, ends=(CommandEnd(known, asked, end, event),), releases=releases)


def _held_diverged(
    attempt: Attempt, when: When, links: Links, answer: Answer | None, seen: Seen | None,
    differences: tuple[m.Difference, ...], now: datetime,
) -> Effects:  # fmt: skip
    assert seen is not None
    known, asked = attempt.known, attempt.asked
    change = _close(attempt, when, answer, "diverged")
    foreign = seen.marker != known.marker and attempt.request.operation is Operation.CREATE
    reason, fix = "Changed in QuickBooks since our last write.", FIX_HELD
    if foreign:
        reason = f"QuickBooks already holds a document with this number (Id {seen.qbo_id}) that bookrelay does not know."
    elif asked.forced:
        reason = (
            f"Changed in QuickBooks since it was shown (SyncToken {attempt.request.sync_token}, now {seen.sync_token}): "
            "nothing was written."
        )
        fix = "Look at it again (qbo-writer held show), then release, force or drop it."
    end = End(CommandState.HELD, reason, fix, Code.CONFLICT, answer.intuit_code if answer else None, differences)
    event = end_event(known, asked, end, links, now)
    document: DocumentChange | None = None
    events: tuple[m.AnyMessage, ...] = ()
    if not foreign:
        status = DocumentStatus.VOIDED if seen.voided and known.status is DocumentStatus.VOIDED else DocumentStatus.PRESENT
        document = DocumentChange(
            known.id, status, seen.qbo_id, seen.sync_token, known.content_hash,
            veiled(seen.fields, attempt.fields), seen.total, seen.balance,
            diverged=True, differences=differences, emailed=seen.emailed,
        )  # fmt: skip
        events = _diverged_events(known, asked, seen.qbo_id, differences, now)
    releases = known.id if kinds.of(known.kind).waited_for else None
    return Effects(
        attempt=change, document=document, ends=(CommandEnd(known, asked, end, event),), events=events, releases=releases
    )


def _diverged_events(
    known: Known, asked: Asked, qbo_id: str, differences: tuple[m.Difference, ...], now: datetime
) -> tuple[m.AnyMessage, ...]:
    if kinds.of(known.kind).is_name or known.diverged:
        return ()
    data = m.DocumentDivergedData(**_data(known, asked), qbo_id=qbo_id, differences=differences)
    return (m.DocumentDiverged.of(data, sender=SENDER, time=now),)


def _gone(attempt: Attempt, when: When, links: Links, answer: Answer | None, now: datetime, due_in: float) -> Effects:
    known, asked, operation = attempt.known, attempt.asked, attempt.request.operation
    if operation in (Operation.DELETE, Operation.VOID):
        return _retracted(attempt, _close(attempt, when, answer, "gone"), "gone", links, now)
    if operation is Operation.CREATE:  # what was found is no more: it stays unknown
        return Effects(attempt=_silence(attempt, answer, due_in))
    end = End(CommandState.HELD, "A person deleted the document in QuickBooks.", FIX_HELD, Code.CONFLICT)
    document = DocumentChange(
        known.id, DocumentStatus.GONE, known.qbo_id, known.sync_token, None, None, None, None, diverged=True,
    )  # fmt: skip
    event = end_event(known, asked, end, links, now)
    events = _diverged_events(known, asked, known.qbo_id or "", (), now)
    change = _close(attempt, when, answer, "gone")
    return Effects(attempt=change, document=document, ends=(CommandEnd(known, asked, end, event),), events=events)


def _claim_afresh(attempt: Attempt, when: When, answer: Answer | None, seen: Seen | None, due_in: float) -> Effects:
    """The attempt ends without an end of the command; the newest version is claimed again, with another requestid."""
    change = _close(attempt, when, answer, when.name.lower())
    document = None
    if seen is not None and when is When.READ_KNOWN and not attempt.asked.forced:
        # (A force goes by what was shown to a person: the difference that is there stays until it is written over.)
        known = attempt.known
        document = DocumentChange(
            known.id, known.status, known.qbo_id, seen.sync_token, known.content_hash, known.fields, seen.total, seen.balance,
            diverged=known.diverged, differences=known.differences, emailed=seen.emailed,
        )  # fmt: skip
    # Held by a person's question until now (stuck): due again.
    # What was refused for the company (its pace, its token) does not count against the document; all else does.
    failed = when not in (When.REFUSED_ITEM, When.OPERATOR_ABSENT)
    again = Requeue(attempt.asked.id, due_in, failed=failed, reason=answer.reason if answer and answer.reason else None)
    return Effects(attempt=change, document=document, requeue=again)


def _stuck(attempt: Attempt, links: Links, now: datetime, answer: Answer | None) -> Effects:
    known, asked, sent = attempt.known, attempt.asked, attempt.sent
    change = AttemptChange(attempt.id, "unknown", True, sent.ambiguous, sent.lost, stuck=True, due_in=3600, sends=attempt.sends)
    if asked.state is CommandState.HELD:
        return Effects(attempt=change)
    end = End(
        CommandState.HELD,
        f"QuickBooks did not answer, and it cannot be known here whether request {attempt.request.requestid} had an effect."
        + (f" The look-ups for it failed {attempt.looks_refused + 1} times. {answer.reason}" if answer else ""),
        "Look for the document in QuickBooks: if it is not there, `qbo-writer held force`; if it is, it is found by itself.",
        Code.CONFLICT,
    )
    releases = known.id if kinds.of(known.kind).waited_for else None
    return Effects(
        attempt=change, ends=(CommandEnd(known, asked, end, end_event(known, asked, end, links, now)),), releases=releases
    )
