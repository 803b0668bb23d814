"""What people do: held documents released, forced, dropped, a stuck attempt decided; halts that end; the attempts log."""

import asyncio
import json
import os
import sys

import pytest
from bookrelay import metrics
from bookrelay.messages import Kind
from qbo_writer.ledger import audit, decisions, operating
from qbo_writer.quickbooks.oauth_client import TokenPair
from test_service import environment
from writer_support import Desk, QboSandbox, bill, desk, invoice, retract, running

pytestmark = pytest.mark.postgres


def ours(sandbox: QboSandbox, realm: str, entity: str = "Invoice") -> list[dict]:  # type: ignore[type-arg]
    return [b for b in sandbox.books(realm, entity) if "bookrelay:" in b.get("PrivateNote", "")]


async def held_by_a_persons_edit(d: Desk) -> int:
    """Post v1, let a person change it, send v2; return the held document."""
    await d.tell(invoice(d.realm, "Q-1"))
    await d.until_ended()
    d.sandbox.person(d.realm, "edit", "Invoice", ours(d.sandbox, d.realm)[0]["Id"], TxnDate="2026-11-09")
    await d.tell(invoice(d.realm, "Q-1", 2, amount="140.00"))
    assert (await d.until_ended())["Q-1", 2] == "held"
    (row,) = await operating.held(d.pool)
    return int(row["document"])


async def test_force_goes_over_the_difference(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        document = await held_by_a_persons_edit(d)
        await operating.force(d.pool, document)
        d.writer.wake([d.realm])
        assert (await d.until_ended())["Q-1", 2] == "posted"
        assert [(b["TotalAmt"], b["TxnDate"]) for b in ours(sandbox, d.realm)] == [(140.0, "2026-11-01")]
        assert (await d.event_types("Q-1"))[-1] == "invoice.posted"
        assert not await operating.held(d.pool)


async def test_release_decides_again_and_drop_leaves_it(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        document = await held_by_a_persons_edit(d)
        await operating.release(d.pool, document)
        d.writer.wake([d.realm])
        assert (await d.until_ended())["Q-1", 2] == "held"
        await operating.drop(d.pool, document)
        d.writer.wake([d.realm])
        assert (await d.until_ended())["Q-1", 2] == "skipped"
        assert [b["TxnDate"] for b in ours(sandbox, d.realm)] == ["2026-11-09"]
        told = [e for e in await d.events() if e["data"].get("version") == 2]
        assert len({e["id"] for e in told}) == len(told)  # held twice, then skipped: three different events


async def test_where_nothing_is_bounded_silence_is_held_until_a_person_decides(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, protocol_transit_seconds=2) as d:
        await d.tell(invoice(d.realm, "Q-0"))
        await d.until_ended()
        await d.pool.execute("UPDATE qbo_writer.realms SET bounds_unreliable = true")
        sandbox.fault(fault="drop_before_commit", count=1, match={"realm": d.realm, "entity": "Invoice", "operation": "create"})
        poster = d.writer.posters[d.realm]
        poster.halts.row = await d.writer.ledger.realms.read(d.realm)
        await d.tell(invoice(d.realm, "Q-1"))

        async def held() -> bool:
            return (await d.states()).get(("Q-1", 1)) == "held"

        await d.until(held)
        await d.tell(invoice(d.realm, "Q-1", 2, amount="150.00"))

        async def both() -> bool:
            return (await d.states()).get(("Q-1", 2)) == "held"

        await d.until(both)
        (row,) = await operating.held(d.pool)
        assert row["stuck"]
        await operating.force(d.pool, row["document"])
        d.writer.wake([d.realm])

        async def decided() -> bool:
            return await d.states() == {("Q-0", 1): "posted", ("Q-1", 1): "superseded", ("Q-1", 2): "posted"}

        await d.until(decided)
        waited = await d.pool.fetchval(
            "SELECT min(resolved_at - silent_at) FROM qbo_writer.attempts WHERE outcome = 'operator_absent'"
        )
        assert waited.total_seconds() >= 2  # X: no late copy can take effect any more
        assert [b["TotalAmt"] for b in ours(sandbox, d.realm)] == [100.0, 150.0]


async def test_a_revoked_grant_halts_keeps_the_queue_and_resumes_by_itself(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        sandbox.control("POST", "tokens", {"realm": d.realm, "revoke": True})
        await d.tell(invoice(d.realm, "Q-2"), invoice(d.realm, "Q-3"))

        async def halted() -> bool:
            return bool(await d.pool.fetchval("SELECT halted_code IS NOT NULL FROM qbo_writer.realms"))

        async def shown() -> bool:
            return halts_shown(d.realm) == {"QB002": 1}

        await d.until(halted)
        await d.until(shown)
        assert (await d.states())["Q-2", 1] == "due"
        fresh = sandbox.control("POST", "tokens", {"realm": d.realm, "new": True})
        await reconnect(d, fresh)
        assert (await d.until_ended())["Q-3", 1] == "posted"
        types = [e["type"] for e in await d.events() if "realm." in e["type"]]
        assert types == ["bookrelay.realm.halted.v1", "bookrelay.realm.resumed.v1"]
        assert len(ours(sandbox, d.realm)) == 3
        assert not halts_shown(d.realm)


def halts_shown(realm: str) -> dict[str, float]:
    """The metric: code -> value."""
    samples = [sample for family in metrics.REALM_HALTED.collect() for sample in family.samples]
    return {s.labels["code"]: s.value for s in samples if s.labels["realm"] == realm}


async def reconnect(d: Desk, fresh: dict) -> None:  # type: ignore[type-arg]
    """As `qbo-writer auth login` does after a person's consent."""
    pair = TokenPair(fresh["access_token"], 3600, fresh["refresh_token"], 100 * 86400)
    await d.writer.tokens.connect(d.realm, pair)


async def test_a_posted_bill_is_paid_by_a_document_of_its_own(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, qb_auto_mark_bill_paid=True) as d:
        await d.tell(bill(d.realm, "R-1"))
        assert (await d.until_ended())["R-1", 1] == "posted"
        (payment,) = ours(sandbox, d.realm, "BillPayment")
        assert payment["TotalAmt"] == 55.0
        assert [b["Balance"] for b in ours(sandbox, d.realm, "Bill")] == [0.0]
        assert await d.event_types("R-1") == ["bill.posted", "bill-payment.posted"]
        await d.tell(retract(d.realm, "R-1", 2, Kind.BILL))
        states = await d.until_ended()
        assert states["R-1", 2] == "held"


async def test_a_bill_that_changes_while_its_payment_is_under_way_is_paid_whole(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, qb_auto_mark_bill_paid=True) as d:
        sandbox.fault(fault="latency", seconds=5, count=1, match={"realm": d.realm, "entity": "BillPayment"})
        await d.tell(bill(d.realm, "R-1"))

        async def under_way() -> bool:
            query = "SELECT EXISTS (SELECT 1 FROM qbo_writer.attempts WHERE entity = 'BillPayment' AND state = 'sending')"
            return bool(await d.pool.fetchval(query))

        await d.until(under_way)
        await d.tell(bill(d.realm, "R-1", version=2, amount="80.00"))
        assert (await d.until_ended())["R-1", 2] == "posted"
        assert [p["TotalAmt"] for p in ours(sandbox, d.realm, "BillPayment")] == [80.0]
        assert [(b["TotalAmt"], b["Balance"]) for b in ours(sandbox, d.realm, "Bill")] == [(80.0, 0.0)]


async def test_the_attempts_log_is_a_chain_that_shows_tampering(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(*(invoice(d.realm, f"Q-{i}") for i in range(5)))
        await d.until_ended()
        good = await audit.verify(d.pool, d.realm)
        assert good.broken_at is None
        assert good.entries == 6
        await d.pool.execute("UPDATE qbo_writer.attempt_log SET at = now() - interval '500 days' WHERE id <= 2")
        assert await audit.prune(d.pool, d.realm, 400) == 2
        pruned = await audit.verify(d.pool, d.realm)
        assert (pruned.broken_at, pruned.entries, pruned.head) == (None, 4, good.head)
        await d.pool.execute("UPDATE qbo_writer.attempt_log SET entry = entry || '{\"http_status\": 500}' WHERE id = 4")
        assert (await audit.verify(d.pool, d.realm)).broken_at == 4
        await d.pool.execute("DELETE FROM qbo_writer.attempt_log WHERE id = 4")
        assert (await audit.verify(d.pool, d.realm)).broken_at == 5


async def command(env: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Run `qbo-writer` with arguments."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "qbo_writer.main",
        *arguments,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 180)
    return process.returncode or 0, output.decode()


async def test_dry_run_changes_nothing_and_run_once_posts_so_many(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        await d.tell(*(invoice(d.realm, f"Q-{i}", customer="P-1") for i in range(5)))
        refresh_token = d.settings.qbo_initial_refresh_token
        assert refresh_token
        company = {"realm_id": d.realm, "refresh_token": refresh_token.get_secret_value()}
        env = environment(database_url, "127.0.0.1:1", sandbox, company)
        status, output = await command(env, "--dry-run")
        lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        assert (status, len(lines)) == (0, 5), output
        assert not sandbox.requests(d.realm)
        assert await d.pool.fetchval("SELECT count(*) FROM qbo_writer.attempts") == 0
        assert await d.pool.fetchval("SELECT count(*) FROM qbo_writer.leases") == 0
        status, output = await command(env, "run-once", "--limit", "3")
        assert status == 0, output
        assert json.loads(output.splitlines()[-1])["answered"] == 3, output
        assert sorted((await d.states()).values()).count("posted") in (2, 3)  # its customer counts as a document
        status, output = await command(env, "--dry-run")
        lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        assert {line["would"] for line in lines} == {"create"}
        assert all("P-1" not in line["body"] for line in lines)
        status, output = await command(env, "run-once")
        assert set((await d.states()).values()) == {"posted"}, output
        status, output = await command(env, "status")
        assert status == 0
        assert json.loads(output)["realms"][0]["commands"]["posted"] == 6
        status, output = await command(env, "audit", "verify")
        assert (status, json.loads(output.splitlines()[0])["entries"]) == (0, 6)


async def test_bounds_are_set_and_shown(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        env = os.environ | {"DATABASE_URL": database_url, "QBO_REALM_IDS": d.realm}
        for word in ("unreliable", "reliable"):
            assert (await command(env, "bounds", word, d.realm, "--why", "a proxy buffers"))[0] == 0
            _, output = await command(env, "status")
            shown, _ = json.JSONDecoder().raw_decode(output)  # behind it, in words, what needs a person
            assert shown["realms"][0]["bounds_unreliable"] is (word == "unreliable")
            assert (await d.writer.ledger.realms.read(d.realm)).bounds_unreliable is (word == "unreliable")
        assert (await command(env, "bounds", "unreliable", "another"))[0] == 1
        decided = [(one["decision"], one["bounds"], one["why"]) for one in await decisions.made(d.pool, d.realm)]
        assert decided == [("bounds", word, "a proxy buffers") for word in ("unreliable", "reliable")]


async def test_held_from_the_command_line(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        async with running(d.writer):
            document = await held_by_a_persons_edit(d)
        env = os.environ | {"DATABASE_URL": database_url, "QBO_REALM_IDS": d.realm}
        status, output = await command(env, "held", "list")
        assert json.loads(output)["document"] == document
        status, output = await command(env, "held", "show", str(document))
        assert [c["state"] for c in json.loads(output)["commands"]] == ["posted", "held"]
        assert (await command(env, "held", "drop", str(document)))[0] == 0
        status, output = await command(env, "held", "drop", str(document))
        assert status == 1
        assert "there is nothing to decide" in output


async def test_ten_answers_that_nobody_understands_to_everything_halt_and_it_tries_again_by_itself(
    database_url: str, sandbox: QboSandbox
) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-0"))
        await d.until_ended()
        for count, match in ((11, {"entity": "Invoice"}), (1, {"path": "companyinfo"})):
            sandbox.fault(fault="fault", code="600", status=400, count=count, match={"realm": d.realm, **match})
        await d.tell(*(invoice(d.realm, f"Q-{i}") for i in range(1, 15)))

        async def halted() -> bool:
            return any(e["type"] == "bookrelay.realm.halted.v1" for e in await d.events())

        await d.until(halted)
        assert set((await d.until_ended()).values()) == {"posted"}

        async def resumed() -> bool:
            return any(e["type"] == "bookrelay.realm.resumed.v1" for e in await d.events())

        await d.until(resumed)
        numbers = [b["DocNumber"] for b in ours(sandbox, d.realm)]
        assert len(numbers) == len(set(numbers)) == 15


async def test_ten_strange_answers_about_ten_documents_halt_nobody(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-0"))
        await d.until_ended()
        sandbox.fault(fault="html", status=403, count=14, match={"realm": d.realm, "entity": "Invoice"})
        await d.tell(*(invoice(d.realm, f"Q-{i}") for i in range(1, 15)))
        assert set((await d.until_ended()).values()) == {"posted"}
        assert not [e for e in await d.events() if "realm." in e["type"]]
