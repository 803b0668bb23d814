"""What follows from an answer: document, attempt, ends, events and follow-ups, in one transaction."""

import json
from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID

from bookrelay import metrics, outbox, topics
from bookrelay.db import Connection, Pool
from bookrelay.messages import AnyMessage

from qbo_writer.crashpoints import Place, reach
from qbo_writer.domain import SCHEMA, BooksEntity, CommandState, DocumentStatus, Named
from qbo_writer.identity import marker
from qbo_writer.ledger import audit, discrepancies
from qbo_writer.ledger.changes import AttemptChange, Commit, DocumentChange, FollowUp, NewCommand, Numbered, Requeue, Settlement
from qbo_writer.ledger.commands import record
from qbo_writer.ledger.lease import fenced
from qbo_writer.ledger.records import WAITING_SECONDS


class Learns(Protocol):
    """The reference cache, as far as the ledger's commits need it."""

    async def learn(self, connection: Connection, realm: str, entity: str, seen: BooksEntity) -> None:
        """Take a created name into the cache, in the ledger's transaction."""


class Commits:
    """What follows from an answer: document, attempt, ends, events and follow-ups, in one transaction."""

    def __init__(self, pool: Pool, learner: Learns | None = None) -> None:
        self._pool, self._learner = pool, learner
        self._log_heads: dict[tuple[str, int], str] = {}  # of the attempts log, by company and fencing token

    async def commit(self, realm: str, fencing_token: int, commits: Sequence[Commit]) -> list[Commit]:
        """Commit document, attempt, ends and events of all effects together; return those that were not committed before."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            fresh = await _apply(connection, commits)
            entries = [(e.attempt.id, e.log) for e in fresh if e.attempt and e.log]
            # Known again only when this is committed; under another fencing token somebody else may have written.
            head = await audit.append(connection, realm, entries, self._log_heads.pop((realm, fencing_token), None))
            for commit in fresh:
                if commit.learned and self._learner:
                    await self._learner.learn(connection, realm, *commit.learned)
            reach(Place.SETTLING)
        if head:
            self._log_heads = {key: document for key, document in self._log_heads.items() if key[0] != realm}
            self._log_heads[(realm, fencing_token)] = head
        for commit in fresh:
            for settlement in commit.settlements:
                metrics.COMMANDS_ENDED.labels(realm, settlement.document.kind.value, settlement.decision.state.value).inc()
        return fresh


async def _apply(connection: Connection, commits: Sequence[Commit]) -> list[Commit]:
    """Write all effects; those whose attempt is resolved already, or whose command has this end already, are left out."""
    commits = one_for_each_attempt(commits)
    closed = await _update_attempts(connection, [e.attempt for e in commits if e.attempt])
    fresh = [e for e in commits if e.attempt is None or e.attempt.about in closed]
    settlements = [settlement for e in fresh for settlement in e.settlements]
    shown = [
        e.document.sync_token if e.document else settlement.document.sync_token for e in fresh for settlement in e.settlements
    ]
    written = await _update_commands(connection, settlements, shown) if settlements else set()
    fresh = [
        e
        for e in fresh
        if not e.settlements or e.attempt or any(settlement.command.id in written for settlement in e.settlements)
    ]
    documents = [e.document for e in fresh if e.document]
    if documents:
        await update_documents(connection, documents)
        await _release_waiting(connection, [d.id for d in documents if d.status is DocumentStatus.PRESENT])
    await _renumber(connection, [e.numbered for e in fresh if e.numbered])
    requeued = [e.requeue for e in fresh if e.requeue]
    if requeued:
        await requeue(connection, requeued)
        await _there_already(connection, [one.command_id for one in requeued if one.waiting])
    releases = [e.releases for e in fresh if e.releases is not None]
    if releases:
        await connection.execute(
            "UPDATE qbo_writer.commands SET state = 'due', waits_for = NULL "
            "WHERE waits_for = ANY($1::bigint[]) AND state = 'received'",
            releases,
        )
    for commit in fresh:
        for follow_up in commit.follow_ups:
            await record(connection, [await _as_command(connection, follow_up, _trace_of(commit))])
    events = [
        (settlement.event, settlement.command.traceparent)
        for settlement in settlements
        if settlement.event is not None and settlement.command.id in written
    ]
    events += [(event, _trace_of(e)) for e in fresh for event in e.events]
    events += await _compared(connection, [e for e in fresh if e.compared])
    await outbox.add(connection, SCHEMA, topics.EVENTS, [event for event, _ in events], [trace for _, trace in events])
    return fresh


async def _compared(connection: Connection, commits: Sequence[Commit]) -> list[tuple[AnyMessage, str | None]]:
    """Keep what is not as asked, mend what was so before; return what is to be told, each with its trace."""
    events: list[tuple[AnyMessage, str | None]] = []
    by_realm: dict[str, list[Commit]] = {}
    for commit in commits:
        by_realm.setdefault(commit.settlements[0].document.realm, []).append(commit)
    for realm, some in by_realm.items():
        traces = {e.settlements[0].document.id: _trace_of(e) for e in some}
        found = [e.differs for e in some if e.differs]
        for fresh in await discrepancies.keep(connection, realm, found):
            events.append((discrepancies.told(realm, fresh), traces.get(fresh.document_id or 0)))
        await discrepancies.as_asked(connection, realm, [e.settlements[0].document.id for e in some if not e.differs])
    return events


def one_for_each_attempt(commits: Sequence[Commit]) -> list[Commit]:
    """Leave out what would not count if the effects were committed one after another: after the one that resolves, none does.

    The change feed can find a document in the moment in which its send falls silent; both are committed together.
    """
    counts: dict[tuple[int, int | None], Commit] = {}
    for commit in commits:
        if commit.attempt is None:
            continue
        before = counts.get(commit.attempt.about)
        if before is None or before.attempt is None or before.attempt.state != "resolved":
            counts[commit.attempt.about] = commit
    return [e for e in commits if e.attempt is None or counts[e.attempt.about] is e]


def _trace_of(commit: Commit) -> str | None:
    """The trace of the document that the effect is about."""
    return commit.settlements[0].command.traceparent if commit.settlements else None


async def _as_command(connection: Connection, f: FollowUp, traceparent: str | None) -> NewCommand:
    return NewCommand(
        f.id(), f.realm, f.source, f.source_key, f.kind, marker(f.realm, f.source, f.source_key, f.kind), "upsert",
        f.version, await connection.fetchval("SELECT now()"), json.dumps(f.content), f.content_hash, f.priority, traceparent,
    )  # fmt: skip


async def _update_attempts(connection: Connection, changes: Sequence[AttemptChange]) -> set[tuple[int, int | None]]:
    """Write the rows; an answer to an earlier send than the attempt's latest writes nothing. Return what was written.

    The lease does not tell: after an outage of Postgres that was longer its holder takes over from itself, with the same token.
    """
    if not changes:
        return set()
    rows = await connection.fetch(
        """
        UPDATE qbo_writer.attempts a SET state = t.state, answered = t.answered, ambiguous = t.ambiguous, lost = t.lost,
          stuck = t.stuck, silent_at = CASE WHEN t.silent THEN clock_timestamp() ELSE a.silent_at END,
          due_at = clock_timestamp() + make_interval(secs => t.due_in), outcome = t.outcome,
          http_status = coalesce(t.http_status, a.http_status), intuit_code = coalesce(t.intuit_code, a.intuit_code),
          intuit_tid = coalesce(t.intuit_tid, a.intuit_tid), answer = coalesce(t.answer, a.answer),
          resolved_at = CASE WHEN t.state = 'resolved' THEN clock_timestamp() END
        FROM unnest($1::bigint[], $2::text[], $3::bool[], $4::bool[], $5::bool[], $6::bool[], $7::bool[], $8::float8[],
          $9::text[], $10::int[], $11::text[], $12::text[], $13::int[], $14::text[])
          AS t(id, state, answered, ambiguous, lost, stuck, silent, due_in, outcome, http_status, intuit_code, intuit_tid, sends,
               answer)
        WHERE a.id = t.id AND a.state <> 'resolved' AND (t.sends IS NULL OR t.sends = a.sends) RETURNING a.id, t.sends
        """,
        [c.id for c in changes], [c.state for c in changes], [c.answered for c in changes], [c.ambiguous for c in changes],
        [c.lost for c in changes], [c.stuck for c in changes], [c.silent for c in changes], [c.due_in for c in changes],
        [c.outcome for c in changes], [c.http_status for c in changes], [c.intuit_code for c in changes],
        [c.intuit_tid for c in changes], [c.sends for c in changes], [c.answer for c in changes],
    )  # fmt: skip
    return {(row["id"], row["sends"]) for row in rows}


async def _update_commands(connection: Connection, settlements: Sequence[Settlement], shown: Sequence[str | None]) -> set[Any]:
    """Write the ends; a document is held if its latest end is. Returns the ids of the commands that had not this end yet.

    `shown`: the SyncToken of the state in QuickBooks that each end speaks of: what a force writes over.
    """
    latest = {
        e.document.id: e.decision.state is CommandState.HELD
        for e in settlements
        if e.decision.state is not CommandState.SUPERSEDED
    }
    rows = await connection.fetch(
        """
        WITH held AS (
        UPDATE qbo_writer.documents d SET held = t.held FROM unnest($7::bigint[], $8::bool[]) AS t(id, held)
        WHERE d.id = t.id AND d.held <> t.held)
        UPDATE qbo_writer.commands c SET state = t.state, code = t.code, reason = t.reason, differences = t.differences::jsonb,
          occurrence = t.occurrence + 1, ended_at = clock_timestamp(), forced = false, dropped = false, waits_for = NULL,
          awaits = t.awaits,
          shown_sync_token = t.shown,
          waiting_since = CASE WHEN t.state = 'waiting' THEN coalesce(c.waiting_since, clock_timestamp()) END,
          due_at = CASE WHEN t.state = 'waiting' THEN clock_timestamp() + make_interval(secs => $10) ELSE c.due_at END
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $9::text[],
          $11::text[]) AS t(id, state, code, reason, differences, occurrence, shown, awaits)
        WHERE c.id = t.id AND c.occurrence = t.occurrence RETURNING c.id
        """,
        [e.command.id for e in settlements], [e.decision.state.value for e in settlements],
        [e.decision.shown_code for e in settlements], [e.decision.reason or None for e in settlements],
        [json.dumps([d.model_dump(mode="json") for d in e.decision.differences]) if e.decision.differences else None for e in settlements],
        [e.command.occurrence for e in settlements], list(latest), list(latest.values()), list(shown), WAITING_SECONDS,
        [_marker(e.document.realm, e.decision.awaits) for e in settlements],
    )  # fmt: skip
    await _there_already(connection, [settlement.command.id for settlement in settlements if settlement.decision.awaits])
    return {row["id"] for row in rows}


def _marker(realm: str, named: Named | None) -> str | None:
    return marker(realm, named.source, named.source_key, named.kind) if named else None


async def _release_waiting(connection: Connection, documents: Sequence[int]) -> None:
    """What waits for one of these documents is decided again."""
    if documents:
        await connection.execute(
            "UPDATE qbo_writer.commands c SET state = 'due', due_at = clock_timestamp() FROM qbo_writer.documents d "
            "WHERE d.id = ANY($1::bigint[]) AND c.awaits = d.marker AND c.state = 'waiting'",
            list(documents),
        )


async def _there_already(connection: Connection, commands: Sequence[UUID]) -> None:
    """What these commands wait for may have been posted since they were decided: the lock orders this before that, or after."""
    if not commands:
        return
    rows = await connection.fetch(
        "SELECT c.id, d.status FROM qbo_writer.commands c "
        "JOIN qbo_writer.documents d ON d.realm = c.realm AND d.marker = c.awaits "
        "WHERE c.id = ANY($1::uuid[]) AND c.state = 'waiting' FOR SHARE OF d",
        list(commands),
    )
    there = [row["id"] for row in rows if row["status"] == DocumentStatus.PRESENT]
    if there:
        await connection.execute(
            "UPDATE qbo_writer.commands SET state = 'due', due_at = clock_timestamp() WHERE id = ANY($1::uuid[])", there
        )


async def update_documents(connection: Connection, changes: Sequence[DocumentChange]) -> None:
    await connection.execute(
        """
        UPDATE qbo_writer.documents d SET status = t.status, qbo_id = t.qbo_id, sync_token = t.sync_token,
          content_hash = t.content_hash, fields = t.fields::jsonb, total = t.total, balance = t.balance, diverged = t.diverged,
          differences = t.differences::jsonb, emailed = t.emailed, updated_at = clock_timestamp(),
          doc_number = coalesce(t.doc_number, d.doc_number),
          content = CASE WHEN t.content_of IS NULL THEN d.content ELSE c.content END
        FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::numeric[], $8::numeric[],
          $9::bool[], $10::text[], $11::uuid[], $12::bool[], $13::text[])
          AS t(id, status, qbo_id, sync_token, content_hash, fields, total, balance, diverged, differences, content_of, emailed,
               doc_number)
        LEFT JOIN qbo_writer.commands c ON c.id = t.content_of
        WHERE d.id = t.id
        """,
        [c.id for c in changes], [c.status.value for c in changes], [c.qbo_id for c in changes],
        [c.sync_token for c in changes], [c.content_hash for c in changes],
        [json.dumps(c.fields) if c.fields is not None else None for c in changes], [c.total for c in changes],
        [c.balance for c in changes], [c.diverged for c in changes],
        [json.dumps([d.model_dump(mode="json") for d in c.differences]) if c.differences else None for c in changes],
        [c.content_of for c in changes], [c.emailed for c in changes], [c.doc_number for c in changes],
    )  # fmt: skip


async def _renumber(connection: Connection, numbered: Sequence[Numbered]) -> None:
    if numbered:
        await connection.execute(
            "UPDATE qbo_writer.documents d SET doc_number = t.doc_number, number_of = t.number_of "
            "FROM unnest($1::bigint[], $2::text[], $3::text[]) AS t(id, doc_number, number_of) WHERE d.id = t.id",
            [n.document_id for n in numbered], [n.doc_number for n in numbered], [n.number_of for n in numbered],
        )  # fmt: skip


async def requeue(connection: Connection, requeued: Sequence[Requeue]) -> None:
    await connection.execute(
        """
        UPDATE qbo_writer.commands c SET state = CASE WHEN t.waiting THEN 'waiting' ELSE 'due' END,
          due_at = clock_timestamp() + make_interval(secs => t.seconds),
          failures = c.failures + CASE WHEN t.failed THEN 1 ELSE 0 END, reason = coalesce(t.reason, c.reason)
        FROM unnest($1::uuid[], $2::float8[], $3::bool[], $4::text[], $5::bool[]) AS t(id, seconds, failed, reason, waiting)
        WHERE c.id = t.id
        """,
        [r.command_id for r in requeued], [r.seconds for r in requeued], [r.failed for r in requeued],
        [r.reason for r in requeued], [r.waiting for r in requeued],
    )  # fmt: skip
