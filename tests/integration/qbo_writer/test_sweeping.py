"""The daily sweep: in the books and not in the ledger, in the ledger and not in the books; and what is forgotten."""

import json
from typing import Any

import pytest
from bookrelay import metrics
from qbo_writer.ledger import attempts, audit
from qbo_writer.ledger.records import Discrepancy
from test_posting_operators import command
from test_service import environment
from writer_support import Desk, QboSandbox, desk, invoice, retract

pytestmark = pytest.mark.postgres


def ours(d: Desk) -> dict[str, dict[str, Any]]:
    """Our invoices in the books, by Id."""
    return {b["Id"]: b for b in d.sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")}


async def document(d: Desk, key: str) -> dict[str, Any]:
    row = await d.pool.fetchrow("SELECT * FROM qbo_writer.documents WHERE kind = 'invoice' AND source_key = $1", key)
    return dict(row)


async def posted(d: Desk, *keys: str) -> None:
    await d.tell(*(invoice(d.realm, key) for key in keys))
    assert set((await d.until_ended()).values()) == {"posted"}
    # As if it were long ago: what has just been written is not looked for.
    await d.pool.execute("UPDATE qbo_writer.documents SET updated_at = now() - interval '1 hour'")


async def sweep(d: Desk) -> list[Discrepancy]:
    poster = d.writer.posters[d.realm]
    assert poster.tenure
    return await poster.sweeper.sweep(poster.tenure, await d.writer.tokens.current(d.realm, poster.tenure.fencing_token))


def copied(d: Desk, id_: str, marker: str | None = None) -> str:
    """A second document with the memo of another one, as when a person copies it; with another marker if one is given."""
    original = ours(d)[id_]
    note = f"bookrelay:{marker}" if marker else original["PrivateNote"]
    copy = {
        "CustomerRef": original["CustomerRef"], "Line": original["Line"][:1], "PrivateNote": note, "DocNumber": "COPY-1",
    }  # fmt: skip
    made = d.sandbox.control("POST", "entities", {"realm": d.realm, "entities": {"Invoice": [copy]}})
    return str(made["created"]["Invoice"][0])


async def told(d: Desk) -> list[dict[str, Any]]:
    return [e["data"] for e in await d.events() if e["type"] == "bookrelay.books.discrepancy.v1"]


def gauge(d: Desk, what: str) -> float:
    return float(metrics.DISCREPANCIES.labels(d.realm, what)._value.get())


async def test_books_and_ledger_agree_and_nothing_is_told(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await posted(d, "Q-1", "Q-2", "Q-3")
        await d.tell(retract(d.realm, "Q-3", 2))
        await d.until_ended()
        reads = len(sandbox.requests(d.realm, operation="read"))
        assert await sweep(d) == []
        assert await told(d) == []
        assert len(sandbox.requests(d.realm, operation="read")) == reads  # a few queries, no reads by Id


async def test_a_marker_that_the_ledger_does_not_know_is_told_once_and_until_it_is_gone(
    database_url: str, sandbox: QboSandbox
) -> None:
    async with desk(database_url, sandbox) as d:
        await posted(d, "Q-1")
        foreign = copied(d, (await document(d, "Q-1"))["qbo_id"], marker="a" * 16)
        (found,) = await sweep(d)
        assert (found.what, found.entity, found.qbo_id) == ("unknown_marker", "Invoice", foreign)
        assert await sweep(d) == []
        (event,) = await told(d)
        assert (event["code"], event["what"], event["entity_id"], event["source_key"]) == (
            "QB007",
            "unknown_marker",
            foreign,
            None,
        )
        assert gauge(d, "unknown_marker") == 1
        sandbox.person(d.realm, "delete", "Invoice", foreign)
        assert await sweep(d) == []
        assert gauge(d, "unknown_marker") == 0
        assert await d.writer.ledger.sweeps.discrepancies(d.realm) == []


async def test_a_double_is_found_whichever_of_the_two_the_ledger_knows(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await posted(d, "Q-1", "Q-2")
        first, second = (await document(d, "Q-1"))["qbo_id"], (await document(d, "Q-2"))["qbo_id"]
        later = copied(d, first)
        earlier = copied(d, second)
        await d.pool.execute("UPDATE qbo_writer.documents SET qbo_id = $1 WHERE qbo_id = $2", earlier, second)
        found = {f.qbo_id: (f.what, f.source_key) for f in await sweep(d)}
        assert found == {later: ("double", "Q-1"), second: ("double", "Q-2")}
        await d.pool.execute("UPDATE qbo_writer.documents SET qbo_id = $1 WHERE qbo_id = $2", second, earlier)
        sandbox.person(d.realm, "delete", "Invoice", later)
        assert {f.qbo_id for f in await sweep(d)} == {earlier}
        assert [x.qbo_id for x in await d.writer.ledger.sweeps.discrepancies(d.realm)] == [earlier]


async def test_an_error_although_quickbooks_committed_is_found(database_url: str, sandbox: QboSandbox) -> None:
    """What protocol.md leaves: told `rejected`, yet in the books. Sent again, it is adopted, and the question is closed."""
    async with desk(database_url, sandbox) as d:
        await posted(d, "Q-1")
        await d.pool.execute(
            "UPDATE qbo_writer.documents SET status = 'nothing', qbo_id = NULL, sync_token = NULL, fields = NULL, "
            "content_hash = NULL WHERE kind = 'invoice'"
        )
        await d.pool.execute("UPDATE qbo_writer.commands SET state = 'rejected' WHERE kind = 'invoice'")
        (found,) = await sweep(d)
        assert (found.what, found.source_key) == ("not_expected", "Q-1")
        await d.tell(invoice(d.realm, "Q-1", 2))
        assert (await d.until_ended())["Q-1", 2] == "posted"
        assert [e["data"]["outcome"] for e in await d.events() if e["type"] == "bookrelay.invoice.posted.v1"][-1] == "adopted"
        assert len(ours(d)) == 1
        assert await sweep(d) == []
        assert await d.writer.ledger.sweeps.discrepancies(d.realm) == []


async def test_a_create_that_is_under_way_is_no_discrepancy(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, protocol_transit_seconds=60, protocol_staleness_seconds=60) as d:
        await posted(d, "Q-0")
        sandbox.fault(fault="commit_then_reset", count=1, match={"realm": d.realm, "entity": "Invoice", "operation": "create"})
        sandbox.fault(fault="drop_before_commit", match={"realm": d.realm, "operation": "query"}, count=3)
        await d.tell(invoice(d.realm, "Q-1"))

        async def unknown() -> bool:
            return bool(await d.pool.fetchval("SELECT count(*) FROM qbo_writer.attempts WHERE state = 'unknown'"))

        await d.until(unknown)
        sandbox.control("DELETE", "faults")
        assert len(ours(d)) == 2
        assert await sweep(d) == []


@pytest.mark.parametrize("age", ["1 hour", "300 days"])
async def test_a_document_that_quickbooks_no_longer_has_is_told(database_url: str, sandbox: QboSandbox, age: str) -> None:
    """Also an old one, in its turn: each is looked for once in four weeks."""
    async with desk(database_url, sandbox) as d:
        await posted(d, "Q-1", "Q-2")
        lost = await document(d, "Q-1")
        sandbox.person(d.realm, "delete", "Invoice", lost["qbo_id"])
        await d.pool.execute(f"UPDATE qbo_writer.documents SET created_at = now() - interval '{age}'")
        if age == "300 days":  # today's turn
            day = await d.pool.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date - date '0001-01-01' + 1")
            for key in ("Q-1", "Q-2"):
                row = await document(d, key)
                id_ = (row["id"] + 1) * 28 * 10 + day % 28
                async with d.pool.acquire() as connection, connection.transaction():
                    await connection.execute("SET LOCAL session_replication_role = replica")
                    await connection.execute(
                        "UPDATE qbo_writer.commands SET document_id = $2 WHERE document_id = $1", row["id"], id_
                    )
                    await connection.execute(
                        "UPDATE qbo_writer.attempts SET document_id = $2 WHERE document_id = $1", row["id"], id_
                    )
                    await connection.execute("UPDATE qbo_writer.documents SET id = $2 WHERE id = $1", row["id"], id_)
        (found,) = await sweep(d)
        assert (found.what, found.qbo_id, found.source_key) == ("missing", lost["qbo_id"], "Q-1")
        assert (await document(d, "Q-1"))["status"] == "gone"
        assert await d.event_types("Q-1") == ["invoice.posted", "books.discrepancy", "document.diverged"]
        assert gauge(d, "missing") == 1
        assert await sweep(d) == []
        await d.tell(invoice(d.realm, "Q-1", 2, amount="120.00"))
        assert (await d.until_ended())["Q-1", 2] == "held"
        env = environment(database_url, "127.0.0.1:1", sandbox, {"realm_id": d.realm, "refresh_token": "none"})
        status, output = await command(env, "audit", "discrepancies")
        assert (status, json.loads(output)["qbo_id"]) == (1, lost["qbo_id"])
        _, output = await command(env, "status")
        (realm,) = json.loads(output)["realms"]
        assert realm["discrepancies"] == {"missing": 1}
        assert realm["swept_at"]
        assert (await command(env, "held", "drop", str((await document(d, "Q-1"))["id"])))[0] == 0
        d.writer.wake([d.realm])
        assert (await d.until_ended())["Q-1", 2] == "skipped"
        assert await sweep(d) == []
        status, output = await command(env, "audit", "discrepancies")
        assert (status, "QuickBooks and the ledger agreed" in output) == (0, True)


async def test_it_runs_by_itself_a_day_after_the_last_one_of_any_writer(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, sweep_seconds=3600) as d:
        await posted(d, "Q-1")
        poster = d.writer.posters[d.realm]
        copied(d, (await document(d, "Q-1"))["qbo_id"])

        async def begun() -> bool:
            poster.sweeper.soon()
            d.writer.wake([d.realm])
            return (await d.writer.ledger.realms.read(d.realm)).swept_at is not None

        await d.until(begun)
        assert await told(d) == []  # nothing is compared at the first start
        await d.pool.execute("UPDATE qbo_writer.realms SET swept_at = now() - interval '61 minutes'")

        async def swept() -> bool:
            poster.sweeper.soon()
            d.writer.wake([d.realm])
            return len(await told(d)) == 1

        await d.until(swept)


# ------------------------------------------------------------------------------------------------------------------ retention


@pytest.mark.parametrize("at_once", [1000, 3, 2])
async def test_retention_keeps_commands_and_a_chain_that_can_be_verified(
    database_url: str, sandbox: QboSandbox, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """In slices: of several, the last one empty, partly filled, or the only one."""
    for module in (attempts, audit):
        monkeypatch.setattr(module, "PRUNED_AT_ONCE", at_once)
    async with desk(database_url, sandbox, run=True, batch_threshold=3) as d:
        await posted(d, *(f"Q-{i}" for i in range(6)))
        old = [invoice(d.realm, f"Q-{i}") for i in range(6)]
        head = (await audit.verify(d.pool, d.realm)).head
        assert await d.pool.fetchval("SELECT count(*) FROM qbo_writer.batches") >= 1
        await d.pool.execute("UPDATE qbo_writer.attempt_log SET at = at - interval '401 days'")
        await d.pool.execute("UPDATE qbo_writer.attempts SET resolved_at = resolved_at - interval '91 days'")
        await d.pool.execute("UPDATE qbo_writer.batches SET created_at = created_at - interval '91 days'")
        await d.tell(invoice(d.realm, "Q-new"))
        await d.until_ended()
        poster = d.writer.posters[d.realm]
        assert poster.tenure
        await poster.sweeper.prune(poster.tenure)
        left = await audit.verify(d.pool, d.realm)
        assert (left.broken_at, left.entries) == (None, 1)
        assert left.head != head
        assert await d.pool.fetchval("SELECT count(*) FROM qbo_writer.attempts") == 1
        assert await d.pool.fetchval("SELECT count(*) FROM qbo_writer.batches") == 0
        creates = len(sandbox.requests(d.realm, operation="create")) + len(sandbox.requests(d.realm, operation="batch"))
        await d.tell(*old)  # the whole topic is replayed
        assert len(await d.until_ended()) == 7
        await d.tell(invoice(d.realm, "Q-1", 2, amount="130.00"))
        assert (await d.until_ended())["Q-1", 2] == "posted"
        after = len(sandbox.requests(d.realm, operation="create")) + len(sandbox.requests(d.realm, operation="batch"))
        assert after == creates
        assert (await audit.verify(d.pool, d.realm)).broken_at is None


async def test_taking_out_the_old_end_without_pruning_is_seen(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await posted(d, "Q-1", "Q-2")
        ids = [r["id"] for r in await d.pool.fetch("SELECT id FROM qbo_writer.attempt_log ORDER BY id")]
        await d.pool.execute("DELETE FROM qbo_writer.attempt_log WHERE id = $1", ids[0])
        assert (await audit.verify(d.pool, d.realm)).broken_at == ids[1]
