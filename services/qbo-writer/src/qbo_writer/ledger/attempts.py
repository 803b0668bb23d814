"""Attempts: journalled before they are sent, read while they are open, pruned when they are old."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from bookrelay import metrics
from bookrelay.db import Pool

from qbo_writer.crashpoints import Place, reach
from qbo_writer.domain import AttemptState, LedgerKind, Operation, Request
from qbo_writer.ledger import audit
from qbo_writer.ledger.changes import NewAttempt
from qbo_writer.ledger.lease import fenced
from qbo_writer.ledger.records import Attempt, BatchRow, Sample, Sent
from qbo_writer.ledger.rows import ASKED, KNOWN, asked_of, known_of

PRUNED_AT_ONCE = 1000


class BatchChanged(Exception):  # noqa: N818
    """An item of a batch changed before it was journalled: the batch must be built again."""


class Attempts:
    """Attempts: journalled before they are sent, read while they are open, pruned when they are old."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def journal(
        self, realm: str, fencing_token: int, attempts: Sequence[NewAttempt], batch: tuple[str, str] | None = None
    ) -> list[Attempt]:
        """Commit the attempts before they are sent, except for documents that changed meanwhile or have an open attempt."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            batch_id = None
            if batch:
                batch_id = await connection.fetchval(
                    "INSERT INTO qbo_writer.batches (realm, requestid, body) VALUES ($1, $2, $3) RETURNING id", realm, *batch
                )
            rows = await connection.fetch(
                """
                WITH journalled AS (
                INSERT INTO qbo_writer.attempts (realm, document_id, command_id, version, number, entity, operation, requestid,
                  body, qbo_id, sync_token, content_hash, fields, batch_id, b_id, state, fencing_token, token_expires_at,
                  first_sent_at, last_sent_at)
                SELECT $1, t.document_id, t.command_id, t.version, t.number, t.entity, t.operation, t.requestid, t.body, t.qbo_id,
                  t.sync_token, t.content_hash, t.fields::jsonb, $16, t.b_id, 'sending', $2, t.token_expires_at,
                  clock_timestamp(), clock_timestamp()
                FROM unnest($3::bigint[], $4::uuid[], $5::bigint[], $6::int[], $7::text[], $8::text[], $9::text[], $10::text[],
                  $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $17::timestamptz[])
                  AS t(document_id, command_id, version, number, entity, operation, requestid, body, qbo_id, sync_token,
                       content_hash, fields, b_id, token_expires_at)
                JOIN qbo_writer.documents d ON d.id = t.document_id AND d.attempts = t.number - 1
                JOIN qbo_writer.commands c ON c.id = t.command_id AND c.state = 'due'
                WHERE NOT EXISTS (
                  SELECT 1 FROM qbo_writer.commands n WHERE n.document_id = t.document_id
                    AND (n.version, n.modified_at) > (c.version, c.modified_at))
                ON CONFLICT (document_id) WHERE state <> 'resolved' DO NOTHING
                RETURNING id, document_id, first_sent_at
                ), counted AS (
                UPDATE qbo_writer.documents d SET attempts = d.attempts + 1, updated_at = now(),
                  doc_number = CASE WHEN n.anew THEN n.doc_number ELSE coalesce(n.doc_number, d.doc_number) END,
                  number_of = CASE WHEN n.numbered THEN n.number_of ELSE d.number_of END
                FROM journalled j JOIN unnest($3::bigint[], $18::bool[], $19::text[], $20::text[], $21::bool[])
                  AS n(document_id, numbered, doc_number, number_of, anew) USING (document_id)
                WHERE d.id = j.document_id)
                SELECT id, document_id, first_sent_at FROM journalled
                """,
                realm, fencing_token,
                [a.candidate.document.id for a in attempts], [a.candidate.newest.id for a in attempts],
                [a.candidate.newest.version for a in attempts], [a.number for a in attempts],
                [a.request.entity for a in attempts], [a.request.operation.value for a in attempts],
                [a.request.requestid for a in attempts], [a.request.body for a in attempts],
                [a.request.qbo_id for a in attempts], [a.request.sync_token for a in attempts],
                [a.content_hash for a in attempts], [json.dumps(a.fields) for a in attempts], [a.b_id for a in attempts],
                batch_id, [a.token_expires_at for a in attempts], [a.numbered is not None for a in attempts],
                [a.numbered.text if a.numbered else None for a in attempts],
                [a.numbered.given if a.numbered else None for a in attempts],
                # A created document does not inherit the number of an earlier one that is gone.
                [a.numbered is not None and a.request.operation is Operation.CREATE for a in attempts],
            )  # fmt: skip
            if batch and len(rows) != len(attempts):
                raise BatchChanged  # the body has items that must not be sent: nothing is committed
            reach(Place.JOURNALLING)
        metrics.ATTEMPT_TRANSITIONS.labels(realm, "due").inc(len(rows))
        by_document = {a.candidate.document.id: a for a in attempts}
        return [
            self._journalled(by_document[r["document_id"]], r["id"], r["first_sent_at"], fencing_token, batch_id) for r in rows
        ]

    @staticmethod
    def _journalled(a: NewAttempt, id_: int, at: datetime, fencing_token: int, batch_id: int | None) -> Attempt:
        sent = Sent(
            a.request.operation, AttemptState.SENDING, False, False, False, False, batch_id is not None, at, at, None,
            a.token_expires_at,
        )  # fmt: skip
        return Attempt(
            id_, a.candidate.document, a.candidate.newest, a.request, sent, a.fields, a.content_hash, a.number, 1, fencing_token,
            batch_id, a.b_id,
        )  # fmt: skip

    async def resend(
        self, realm: str, fencing_token: int, attempts: Sequence[Attempt], token_expires_at: datetime, *, absent: bool
    ) -> list[Attempt]:
        """Journal that the attempts are sent again. `absent`: looked up after the wait, so no earlier copy can take effect.

        Attempts that were sent again since they were read are left out: an old look-up says nothing about the later send.
        """
        async with fenced(self._pool, realm, fencing_token) as connection:
            rows = await connection.fetch(
                """
                UPDATE qbo_writer.attempts a SET state = 'sending', answered = false, sends = a.sends + 1,
                  last_sent_at = clock_timestamp(), fencing_token = $2, operator_says = NULL,
                  -- A lost sender's copy can take effect as long as its longest-lived token is valid.
                  token_expires_at = CASE WHEN $4 THEN $3 ELSE greatest(token_expires_at, $3) END,
                  lost = CASE WHEN $4 THEN false ELSE lost OR (ambiguous AND silent_at IS NULL) END,
                  first_sent_at = CASE WHEN ambiguous THEN first_sent_at ELSE clock_timestamp() END,
                  silent_at = NULL
                FROM unnest($1::bigint[], $5::int[]) AS t(id, sends)
                WHERE a.id = t.id AND a.sends = t.sends AND state <> 'resolved' RETURNING a.*
                """,
                [a.id for a in attempts], fencing_token, token_expires_at, absent, [a.sends for a in attempts],
            )  # fmt: skip
        by_id = {a.id: a for a in attempts}
        return [replace(by_id[row["id"]], sent=_sent(row), sends=row["sends"], fencing_token=fencing_token) for row in rows]

    async def mark_lost(self, realm: str, fencing_token: int) -> int:
        """Step 3 after taking the lease: what was sent without a recorded answer becomes unknown and lost."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            status: str = await connection.execute(
                "UPDATE qbo_writer.attempts SET state = 'unknown', lost = true, ambiguous = true, due_at = clock_timestamp() "
                "WHERE realm = $1 AND state = 'sending' AND NOT answered",
                realm,
            )
            # A command that waits for a name without a pending command is due.
            await connection.execute(
                "UPDATE qbo_writer.commands c SET state = 'due', waits_for = NULL WHERE c.realm = $1 AND c.state = 'received' "
                "AND NOT EXISTS (SELECT 1 FROM qbo_writer.commands n WHERE n.document_id = c.waits_for "
                "AND n.state IN ('due', 'received'))",
                realm,
            )
            reach(Place.LOST_MARKED)
        lost = int(status.rsplit(maxsplit=1)[-1])
        metrics.ATTEMPT_TRANSITIONS.labels(realm, "lost").inc(lost)
        return lost

    async def read_open(
        self, realm: str, *, limit: int, without: Collection[int] = (), ids: Collection[int] | None = None,
        batch_id: int | None = None, due: bool = True, documents: Collection[int] | None = None,
    ) -> list[Attempt]:  # fmt: skip
        """Read open attempts that this process is not sending, due ones first."""
        rows = await self._pool.fetch(
            f"""
            SELECT {KNOWN}, {ASKED}, a.* FROM qbo_writer.attempts a
            JOIN qbo_writer.documents d ON d.id = a.document_id JOIN qbo_writer.commands c ON c.id = a.command_id
            WHERE a.realm = $1 AND a.state <> 'resolved' AND NOT a.id = ANY($2::bigint[])
              AND ($3::bigint[] IS NULL OR a.id = ANY($3)) AND ($4::bigint IS NULL OR a.batch_id = $4)
              AND (NOT $6 OR a.due_at <= clock_timestamp() OR a.operator_says IS NOT NULL)
              AND ($7::bigint[] IS NULL OR a.document_id = ANY($7))
            ORDER BY a.due_at LIMIT $5
            """,  # noqa: S608
            realm, list(without), None if ids is None else list(ids), batch_id, limit, due,
            None if documents is None else list(documents),
        )  # fmt: skip
        return [_attempt_of(row) for row in rows]

    async def batch(self, batch_id: int) -> BatchRow:
        """Read a batch as it was journalled."""
        row = await self._pool.fetchrow("SELECT id, requestid, body FROM qbo_writer.batches WHERE id = $1", batch_id)
        return BatchRow(row["id"], row["requestid"], row["body"])

    async def last_fields(self, command: UUID) -> dict[str, str] | None:
        """Return the fields that the latest attempt of a command was to set."""
        fields: dict[str, str] | None = await self._pool.fetchval(
            "SELECT fields FROM qbo_writer.attempts WHERE command_id = $1 ORDER BY id DESC LIMIT 1", command
        )
        return fields

    async def look_again(self, realm: str, fencing_token: int, attempt_id: int, at: datetime) -> None:
        """Note when to look up an unknown attempt again."""
        await self.look_again_at(realm, fencing_token, {attempt_id: at})

    async def look_again_at(
        self, realm: str, fencing_token: int, at: Mapping[int, datetime], refused: Collection[int] = ()
    ) -> None:  # fmt: skip
        """Note for several unknown attempts when to look them up again, and whose look-up was refused."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            await connection.execute(
                "UPDATE qbo_writer.attempts a SET due_at = t.at, "
                "looks_refused = looks_refused + CASE WHEN t.id = ANY($3::bigint[]) THEN 1 ELSE 0 END "
                "FROM unnest($1::bigint[], $2::timestamptz[]) AS t(id, at) WHERE a.id = t.id",
                list(at), list(at.values()), list(refused),
            )  # fmt: skip

    async def samples(self, realm: str) -> list[Sample]:
        """Read the latest answered update, single and batched: samples that the probe may repeat."""
        rows = await self._pool.fetch(
            """
            SELECT DISTINCT ON (a.batch_id IS NULL) a.*, d.kind, d.sync_token AS answered, b.requestid AS batch_requestid,
              extract(epoch FROM a.resolved_at)::float8 AS answered_at
            FROM qbo_writer.attempts a JOIN qbo_writer.documents d ON d.id = a.document_id
            LEFT JOIN qbo_writer.batches b ON b.id = a.batch_id
            WHERE a.realm = $1 AND a.state = 'resolved' AND a.operation = 'update' AND a.outcome = 'updated' AND NOT a.ambiguous
              AND a.resolved_at > now() - interval '5 minutes' AND a.number = d.attempts
            ORDER BY a.batch_id IS NULL, a.resolved_at DESC
            """,
            realm,
        )
        return [
            Sample(
                Request(
                    r["realm"], LedgerKind(r["kind"]), r["entity"], Operation(r["operation"]), r["requestid"], r["body"],
                    r["qbo_id"], r["sync_token"],
                ),
                r["answered"], r["answered_at"], r["batch_requestid"], r["b_id"],
            )
            for r in rows
        ]  # fmt: skip

    async def prune_log(self, realm: str, days: int) -> int:
        """Prune the oldest entries of the attempts log; the rest stays verifiable."""
        return await audit.prune(self._pool, realm, days)

    async def prune_attempts(self, realm: str, fencing_token: int, days: int) -> int:
        """Forget ended attempts and batches that are older; commands stay: they make a replay of the whole topic harmless."""
        old = "realm = $1 AND {} < now() - make_interval(days => $2)"
        attempts = (
            "DELETE FROM qbo_writer.attempts WHERE id IN (SELECT id FROM qbo_writer.attempts "  # noqa: S608
            f"WHERE {old.format('resolved_at')} AND state = 'resolved' ORDER BY resolved_at LIMIT $3)"
        )
        batches = (
            "DELETE FROM qbo_writer.batches WHERE id IN (SELECT id FROM qbo_writer.batches b "  # noqa: S608
            f"WHERE {old.format('created_at')} AND NOT EXISTS (SELECT 1 FROM qbo_writer.attempts a WHERE a.batch_id = b.id) "
            "ORDER BY id LIMIT $3)"
        )
        pruned = 0
        for statement in (attempts, batches):
            count = PRUNED_AT_ONCE
            while count == PRUNED_AT_ONCE:  # in slices: no transaction of ours has the lease's row for long
                async with fenced(self._pool, realm, fencing_token) as connection:
                    status: str = await connection.execute(statement, realm, days, PRUNED_AT_ONCE)
                count = int(status.rpartition(" ")[2])
                pruned += count if statement is attempts else 0
        return pruned


def _sent(row: Any) -> Sent:
    return Sent(
        Operation(row["operation"]), AttemptState(row["state"]), row["answered"], row["ambiguous"], row["lost"], row["stuck"],
        row["batch_id"] is not None, row["first_sent_at"], row["last_sent_at"], row["silent_at"], row["token_expires_at"],
    )  # fmt: skip


def _attempt_of(row: Any) -> Attempt:
    document = known_of(row)
    request = Request(
        row["realm"], document.kind, row["entity"], Operation(row["operation"]), row["requestid"], row["body"], row["qbo_id"],
        row["sync_token"],
    )  # fmt: skip
    return Attempt(
        row["id"], document, asked_of(row), request, _sent(row), row["fields"] or {}, row["content_hash"], row["number"],
        row["sends"], row["fencing_token"], row["batch_id"], row["b_id"], row["operator_says"],
        row["looks_refused"],
    )  # fmt: skip
