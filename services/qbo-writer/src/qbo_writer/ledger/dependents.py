"""Documents that others wait for: customers and vendors created first, payments withdrawn first."""

import json
from collections.abc import Sequence
from dataclasses import replace
from uuid import uuid5

from bookrelay.db import Connection, Pool
from bookrelay.messages import NAMESPACE, content_hash

from qbo_writer.crashpoints import Place, reach
from qbo_writer.domain import CommandState, LedgerKind, Named
from qbo_writer.identity import marker
from qbo_writer.ledger.changes import NameFound, NameWish, NewCommand, Requeue
from qbo_writer.ledger.commands import insert_documents, record
from qbo_writer.ledger.commits import requeue
from qbo_writer.ledger.lease import fenced
from qbo_writer.ledger.records import Command, DocumentState, Unpaying
from qbo_writer.ledger.rows import KNOWN, NEWEST_FIRST, known_of
from qbo_writer.tables import CUSTOMER_FOLDED

TOGETHER_SECONDS = 2  # commands recorded this close together count as published together
RIVAL_SECONDS = 600  # how long a vendor's name waits for invoices that may need a customer of this name


class Dependents:
    """Documents that others wait for: customers and vendors created first, payments withdrawn first."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def need_names(self, realm: str, fencing_token: int, wishes: Sequence[NameWish]) -> list[NameFound]:
        """Let commands wait for customers and vendors; create each one's document if there is none. One transaction for all.

        Returns for each wish None if its commands now wait; how the name's command ended, if that was after they became due; the
        name's document if it is already posted. Customers are created before vendors of the same name.
        """
        order = sorted(range(len(wishes)), key=lambda at: wishes[at].wanted.kind is LedgerKind.VENDOR)
        async with fenced(self._pool, realm, fencing_token) as connection:
            rivals = await _rivals(connection, realm, [w for w in wishes if w.wanted.kind is LedgerKind.VENDOR])
            found = {at: await _need_name(connection, realm, wishes[at], rivals) for at in order}
        return [found[at] for at in range(len(wishes))]

    async def named(self, realm: str, some: Sequence[Named]) -> dict[str, DocumentState]:
        """Return the known documents by place; those without a command yet are missing."""
        rows = await self._pool.fetch(
            f"SELECT t.place, {KNOWN} FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) "  # noqa: S608
            "AS t(source, source_key, kind, place) JOIN qbo_writer.documents d ON d.realm = $1 AND d.source = t.source "
            "AND d.source_key = t.source_key AND d.kind = t.kind",
            realm, [one.source for one in some], [one.source_key for one in some], [one.kind.value for one in some],
            [one.place for one in some],
        )  # fmt: skip
        return {row["place"]: known_of(row) for row in rows}

    async def unpay(self, realm: str, fencing_token: int, bill: DocumentState, command: Command) -> "Unpaying":
        """Withdraw our own payment of a bill, as a document of its own, and let the bill's command wait for that.

        Nothing is done if it is already withdrawn, does not cover everything that was paid, or could not be withdrawn
        since the bill became due.
        """
        async with fenced(self._pool, realm, fencing_token) as connection:
            row = await connection.fetchrow(
                f"SELECT {KNOWN} FROM qbo_writer.documents d WHERE realm = $1 AND source = $2 AND source_key = $3 AND kind = $4 "  # noqa: S608
                "FOR NO KEY UPDATE",
                realm, bill.source, bill.source_key, LedgerKind.BILL_PAYMENT.value,
            )  # fmt: skip
            if row is None:
                return Unpaying("not ours")
            payment = known_of(row)
            newest = await connection.fetchrow(
                f"SELECT id, operation, state, reason, ended_at, version FROM qbo_writer.commands WHERE document_id = $1 "  # noqa: S608
                f"ORDER BY {NEWEST_FIRST} LIMIT 1",
                payment.id,
            )
            pending = newest["state"] in ("due", "received")
            if not payment.live and not pending:
                return Unpaying("gone")
            if payment.live and payment.total != (bill.total or 0) - (bill.balance or 0):
                return Unpaying("not ours")  # somebody else paid, too
            if newest["operation"] == "retract" and not pending and command.due_at and newest["ended_at"] >= command.due_at:
                return Unpaying("failed", payment.id, newest["reason"] or newest["state"])
            if newest["operation"] != "retract" or not pending:
                withdrawal = NewCommand(
                    uuid5(NAMESPACE, f"unpay\x1f{newest['id']}"), realm, payment.source, payment.source_key, payment.kind,
                    payment.marker, "retract", max(newest["version"], command.version),
                    await connection.fetchval("SELECT clock_timestamp()"), None, content_hash(None), command.priority,
                    command.traceparent,
                )  # fmt: skip
                await record(connection, [withdrawal])
            await connection.execute(
                "UPDATE qbo_writer.commands SET state = 'received', waits_for = $2 WHERE id = $1 AND state = 'due'",
                command.id, payment.id,
            )  # fmt: skip
            reach(Place.UNPAYING)
            return Unpaying("waits", payment.id)


async def _need_name(connection: Connection, realm: str, wish: NameWish, rivals: set[str]) -> NameFound:
    wanted, waiting, keys = wish.wanted, wish.waiting, wish.keys
    if wanted.kind is LedgerKind.VENDOR and await _customer_first(connection, realm, wish, rivals):
        return None
    kept = await connection.fetchval(
        "SELECT source_key FROM qbo_writer.documents WHERE realm = $1 AND source = $2 AND kind = $3 "
        "AND source_key = ANY($4::text[]) ORDER BY source_key <> $5, id LIMIT 1",
        realm, wanted.source, wanted.kind.value, keys, wanted.source_key,
    )  # fmt: skip
    wanted = replace(wanted, source_key=kept or wanted.source_key)
    new = NewCommand(
        wanted.id(), realm, wanted.source, wanted.source_key, wanted.kind,
        marker(realm, wanted.source, wanted.source_key, wanted.kind), "upsert", wanted.version,
        await connection.fetchval("SELECT now()"), json.dumps(wanted.content), wanted.content_hash, wanted.priority,
    )  # fmt: skip
    await insert_documents(connection, [new])
    document = await connection.fetchrow(
        f"SELECT {KNOWN} FROM qbo_writer.documents d WHERE realm = $1 AND source = $2 AND source_key = $3 AND kind = $4 "  # noqa: S608
        "FOR NO KEY UPDATE",
        *new.document,
    )
    newest = await connection.fetchrow(
        f"SELECT state, code, reason, ended_at, version FROM qbo_writer.commands WHERE document_id = $1 "  # noqa: S608
        f"ORDER BY {NEWEST_FIRST} LIMIT 1",
        document["d_id"],
    )
    due_at = min((w.due_at for w in waiting if w.due_at), default=None)
    if newest and newest["state"] not in ("due", "received"):
        if newest["state"] == "posted" and document["d_status"] == "present":
            return known_of(document)
        since = max((w.due_at for w in waiting if w.due_at), default=None)
        if since and newest["ended_at"] and newest["ended_at"] >= since:
            return CommandState(newest["state"]), newest["code"] or "", newest["reason"] or ""
        new = replace(new, version=newest["version"] + 1, id=replace(wanted, version=newest["version"] + 1).id())
    made = newest is None or newest["state"] not in ("due", "received")
    if made:
        await record(connection, [new])
    # It is queued just before the first command that waits for it: neither behind the backlog nor ahead of all of it.
    await connection.execute(
        "UPDATE qbo_writer.commands SET priority = least(priority, $2), "
        "due_at = CASE WHEN $4 THEN least(due_at, $3::timestamptz - interval '1 millisecond') ELSE due_at END "
        "WHERE document_id = $1 AND state = 'due'",
        document["d_id"], wanted.priority, due_at, made,
    )  # fmt: skip
    await _wait_for(connection, document["d_id"], waiting)
    return None


async def _wait_for(connection: Connection, document_id: int, waiting: Sequence[Command]) -> None:
    await connection.execute(
        "UPDATE qbo_writer.commands SET state = 'received', waits_for = $2 WHERE id = ANY($1::uuid[]) AND state = 'due'",
        [w.id for w in waiting], document_id,
    )  # fmt: skip


async def _rivals(connection: Connection, realm: str, vendors: Sequence[NameWish]) -> set[str]:
    """Return which of the vendors' keys are customer names in undecided documents."""
    if not vendors:
        return set()
    rows = await connection.fetch(
        f"SELECT k.name FROM unnest($2::text[]) AS k(name) WHERE EXISTS (SELECT 1 FROM qbo_writer.commands "  # noqa: S608
        f"WHERE realm = $1 AND state = 'due' AND content ? 'customer' AND {CUSTOMER_FOLDED} = k.name)",
        realm, [key for wish in vendors for key in wish.keys],
    )  # fmt: skip
    return {row["name"] for row in rows}


async def _customer_first(connection: Connection, realm: str, wish: NameWish, rivals: set[str]) -> bool:
    """Let a vendor's name wait where a customer of that name may be created: of two published together, the customer is first.

    QuickBooks has one name space for both, and the winner must not depend on the order in which messages arrive. It waits
    for the customer's command; up to RIVAL_SECONDS for undecided invoices that name it; and for messages published
    together with it.
    """
    pending = await connection.fetchval(
        "SELECT d.id FROM qbo_writer.documents d WHERE d.realm = $1 AND d.source = $3 AND d.kind = 'customer' "
        "AND d.source_key = ANY($2::text[]) "
        "AND EXISTS (SELECT 1 FROM qbo_writer.commands c WHERE c.document_id = d.id AND c.state IN ('due', 'received')) LIMIT 1",
        realm, wish.keys, wish.wanted.source,
    )  # fmt: skip
    if pending:
        await _wait_for(connection, pending, wish.waiting)
        return True
    age = await connection.fetchval(
        "SELECT extract(epoch FROM now() - min(recorded_at))::float8 FROM qbo_writer.commands WHERE id = ANY($1::uuid[])",
        [w.id for w in wish.waiting],
    )
    seconds = TOGETHER_SECONDS - age
    if seconds <= 0 and age < RIVAL_SECONDS and not rivals.isdisjoint(wish.keys):
        seconds = 1
    if seconds <= 0:
        return False
    await requeue(connection, [Requeue(w.id, seconds) for w in wish.waiting])
    return True
