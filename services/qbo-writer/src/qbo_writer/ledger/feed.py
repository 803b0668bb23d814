"""What the change feed showed, and how far it has been read."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from bookrelay import outbox, topics
from bookrelay.db import Connection, Pool
from bookrelay.messages import AnyMessage

from qbo_writer.domain import SCHEMA, BooksEntity, LedgerKind
from qbo_writer.ledger.changes import FeedChange
from qbo_writer.ledger.commits import Learns, update_documents
from qbo_writer.ledger.lease import fenced, update_fenced
from qbo_writer.ledger.records import DocumentState
from qbo_writer.ledger.rows import KNOWN, known_of

_REACHED = (
    "UPDATE qbo_writer.realms SET feed_position = coalesce(${}, feed_position), feed_paging = ${}, feed_refusals = ${}, "
    "feed_failures = 0, feed_failing_since = NULL, feed_error = NULL WHERE realm = $1"
)


class Feed:
    """What the change feed showed, and how far it has been read."""

    def __init__(self, pool: Pool, learner: Learns | None = None) -> None:
        self._pool, self._learner = pool, learner

    async def known_by_qbo_id(
        self, realm: str, ids: Sequence[tuple[LedgerKind, str]]
    ) -> dict[tuple[LedgerKind, str], DocumentState]:
        """Read the documents of these entities, by (kind, Id)."""
        rows = await self._pool.fetch(
            f"SELECT {KNOWN} FROM qbo_writer.documents d JOIN unnest($2::text[], $3::text[]) AS t(kind, qbo_id) "  # noqa: S608
            "ON d.kind = t.kind AND d.qbo_id = t.qbo_id WHERE d.realm = $1",
            realm, [kind.value for kind, _ in ids], [qbo_id for _, qbo_id in ids],
        )  # fmt: skip
        return {(document.kind, document.qbo_id or ""): document for document in map(known_of, rows)}

    async def keep(
        self,
        realm: str,
        fencing_token: int,
        changes: Sequence[FeedChange],
        listed: Sequence[BooksEntity],
        reached: tuple[datetime | None, dict[str, Any], dict[str, Any]] | None = None,
        forget: timedelta = timedelta(minutes=15),
    ) -> None:
        """Commit the feed's changes, and how far it was read: position (None: unchanged), pages left, refusals.

        Documents changed meanwhile, or with an open attempt, are skipped. Reads overlap: changes published within `forget` are
        not published again.
        """
        if not changes and not listed and reached is not None:
            # Of every company several times an hour: one round trip. What was published stays until something is shown again.
            await update_fenced(self._pool, realm, fencing_token, _REACHED.format(3, 4, 5), *reached)
            return
        async with fenced(self._pool, realm, fencing_token) as connection:
            rows = await connection.fetch(
                "SELECT d.id FROM qbo_writer.documents d JOIN unnest($1::bigint[], $2::text[]) AS t(id, expected) ON d.id = t.id "
                "WHERE d.sync_token IS NOT DISTINCT FROM t.expected AND NOT EXISTS (SELECT 1 FROM qbo_writer.attempts a "
                "WHERE a.document_id = d.id AND a.state <> 'resolved') ORDER BY d.id FOR NO KEY UPDATE OF d",
                [c.document.id for c in changes if c.document], [c.expected for c in changes if c.document],
            )  # fmt: skip
            free = {row["id"] for row in rows}
            valid = [c for c in changes if c.document is None or c.document.id in free]
            documents = [c.document for c in valid if c.document]
            if documents:
                await update_documents(connection, documents)
            await outbox.add(connection, SCHEMA, topics.EVENTS, [event for c in valid for event in c.events])
            await outbox.add(connection, SCHEMA, topics.CHANGES, await _untold(connection, realm, valid))
            for seen in listed if self._learner else ():
                assert self._learner
                await self._learner.learn(connection, realm, seen.entity, seen)
            if reached is not None:
                await connection.execute(_REACHED.format(2, 3, 4), realm, *reached)
                if reached[0] is not None and not reached[1]:  # read to its end: the next read begins an overlap before that
                    await connection.execute(
                        "DELETE FROM qbo_writer.feed_told WHERE realm = $1 AND told_at < least(now(), $2) - $3::interval",
                        realm, reached[0], forget,
                    )  # fmt: skip

    async def failed(self, realm: str, fencing_token: int, error: str) -> None:
        """Note that the feed could not be read, and why; the next successful page clears it."""
        async with fenced(self._pool, realm, fencing_token) as connection:
            await connection.execute(
                "UPDATE qbo_writer.realms SET feed_failures = feed_failures + 1, feed_error = $2, "
                "feed_failing_since = coalesce(feed_failing_since, clock_timestamp()) WHERE realm = $1",
                realm, error,
            )  # fmt: skip

    async def ask_feed(self, realms: Collection[str]) -> None:
        """Request that the lease holders read the feed of these companies soon. Unfenced: nothing depends on it."""
        await self._pool.execute(
            "UPDATE qbo_writer.realms SET feed_asked_at = clock_timestamp(), told_at = clock_timestamp() "
            "WHERE realm = ANY($1::text[])",
            sorted(realms),
        )


async def _untold(connection: Connection, realm: str, changes: Sequence[FeedChange]) -> list[AnyMessage]:
    """Note what is published, and return the changes that were not published in this state before."""
    latest = {c.state[:2]: c for c in changes if c.changed and c.state}
    rows = await connection.fetch(
        "INSERT INTO qbo_writer.feed_told AS f (realm, entity, qbo_id, state) "
        "SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[]) "
        "ON CONFLICT (realm, entity, qbo_id) DO UPDATE SET state = excluded.state, told_at = now() "
        "WHERE f.state <> excluded.state RETURNING entity, qbo_id",
        realm, [entity for entity, _ in latest], [id_ for _, id_ in latest], [c.state[2] for c in latest.values() if c.state],
    )  # fmt: skip
    fresh = {(row["entity"], row["qbo_id"]) for row in rows}
    told = [c for c in changes if c.changed and (c.state is None or (c.state[:2] in fresh and latest[c.state[:2]] is c))]
    return [c.changed for c in told if c.changed]
