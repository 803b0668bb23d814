"""A force was applied to whatever QuickBooks held when it arrived: a person's edit made after the look was overwritten."""

import json
import math
import signal

import pytest
from qbo_writer.ledger import operating
from qbo_writer.operations import showing
from qbo_writer.writer import Writer
from test_posting_operators import command
from test_service import environment
from writer_support import Desk, QboSandbox, desk, invoice, retract, running

pytestmark = pytest.mark.postgres


def ours(d: Desk) -> dict:  # type: ignore[type-arg]
    (found,) = [b for b in d.sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
    return found


def edit(d: Desk, day: str) -> None:
    d.sandbox.person(d.realm, "edit", "Invoice", ours(d)["Id"], TxnDate=day)


async def held(d: Desk) -> int:
    """A person changed what we posted; version 2 waits for a person."""
    await d.tell(invoice(d.realm, "Q-1"))
    await d.until_ended()
    edit(d, "2026-11-09")
    await d.tell(invoice(d.realm, "Q-1", 2, amount="140.00"))
    assert (await d.until_ended())["Q-1", 2] == "held"
    (row,) = await operating.held(d.pool)
    return int(row["document"])


async def force(d: Desk, document: int, sync_token: str | None = None) -> str:
    await operating.force(d.pool, document, sync_token)
    d.writer.wake([d.realm])
    return (await d.until_ended())["Q-1", 2]


async def look(d: Desk, document: int) -> dict:  # type: ignore[type-arg]
    return await showing.in_quickbooks(d.pool, d.writer.posters[d.realm], document)


async def test_an_edit_after_the_look_survives_and_is_shown(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        document = await held(d)
        shown = await look(d, document)
        assert {"field": "txn_date", "ours": "2026-11-01", "theirs": "2026-11-09"} in shown["differences"]
        assert {"field": "line.1.amount", "ours": "140.00", "theirs": "100.00"} in shown["differences"]
        edit(d, "2026-11-10")
        assert await force(d, document) == "held"
        assert (ours(d)["TxnDate"], ours(d)["TotalAmt"]) == ("2026-11-10", 100.0)
        (row,) = await operating.held(d.pool)
        assert row["reason"].startswith(f"Changed in QuickBooks since it was shown (SyncToken {shown['sync_token']}")
        assert {"field": "txn_date", "ours": "2026-11-01", "theirs": "2026-11-10"} in row["differences"]
        # What is shown now can be forced.
        assert (await look(d, document))["sync_token"] == ours(d)["SyncToken"] != shown["sync_token"]
        assert await force(d, document) == "posted"
        assert (ours(d)["TxnDate"], ours(d)["TotalAmt"]) == ("2026-11-01", 140.0)


async def test_an_edit_after_the_hold_survives_a_force_that_looked_at_nothing_else(
    database_url: str, sandbox: QboSandbox
) -> None:
    async with desk(database_url, sandbox) as d:
        document = await held(d)
        edit(d, "2026-11-10")
        assert await force(d, document) == "held"
        assert ours(d)["TxnDate"] == "2026-11-10"


async def test_a_force_by_an_old_sync_token_writes_nothing(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        document = await held(d)
        before = ours(d)["SyncToken"]
        edit(d, "2026-11-10")
        await look(d, document)
        assert await force(d, document, before) == "held"
        assert ours(d)["TxnDate"] == "2026-11-10"
        assert await force(d, document, ours(d)["SyncToken"]) == "posted"


async def test_a_conflict_that_is_none_costs_the_force_nothing(database_url: str, sandbox: QboSandbox) -> None:
    """5010 although nobody changed anything: the state that was shown is still there."""
    async with desk(database_url, sandbox) as d:
        document = await held(d)
        sandbox.fault(fault="fault", code="5010", status=400, count=2, match={"realm": d.realm, "operation": "update"})
        assert await force(d, document) == "posted"
        assert (ours(d)["TxnDate"], ours(d)["TotalAmt"]) == ("2026-11-01", 140.0)


async def test_a_conflict_that_never_ends_is_bounded(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        document = await held(d)
        sandbox.fault(fault="fault", code="5010", status=400, count=50, match={"realm": d.realm, "operation": "update"})
        assert await force(d, document) == "held"
        (row,) = await operating.held(d.pool)
        assert row["reason"].startswith("Posting failed 8 times: ")


@pytest.mark.parametrize("fault", ["drop_before_commit", "commit_then_reset"])
async def test_an_edit_during_the_silence_after_a_force_survives(database_url: str, sandbox: QboSandbox, fault: str) -> None:
    """The request is lost on its way or its answer is; the person edits before it leaves again."""
    async with desk(database_url, sandbox) as d:
        document = await held(d)
        sandbox.fault(fault=fault, count=1, match={"realm": d.realm, "operation": "update"})
        sandbox.fault(fault="fault", code="10000", status=500, count=1000, match={"realm": d.realm, "operation": "update"})
        await operating.force(d.pool, document)
        d.writer.wake([d.realm])

        async def silent() -> bool:
            return bool(await d.pool.fetchval("SELECT EXISTS (SELECT 1 FROM qbo_writer.attempts WHERE state = 'unknown')"))

        await d.until(silent)
        edit(d, "2026-11-10")
        sandbox.control("DELETE", "faults")
        # Where the request took effect it may have been found before the edit.
        assert (await d.until_ended())["Q-1", 2] in ("held", "posted" if fault == "commit_then_reset" else "held")
        assert ours(d)["TxnDate"] == "2026-11-10"


async def test_a_newer_version_is_not_forced_with_the_old_one(database_url: str, sandbox: QboSandbox) -> None:
    """A force that came to nothing leaves the difference in place for what comes after it."""
    async with desk(database_url, sandbox) as d:
        document = await held(d)
        sandbox.fault(fault="fault", code="5010", status=400, count=3, match={"realm": d.realm, "operation": "update"})
        await operating.force(d.pool, document)
        await d.tell(invoice(d.realm, "Q-1", 3, amount="150.00"))
        assert (await d.until_ended())["Q-1", 3] == "held"
        assert ours(d)["TxnDate"] == "2026-11-09"


async def test_a_forced_retraction_spares_what_changed_since(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        edit(d, "2026-11-09")
        await d.tell(retract(d.realm, "Q-1", 2))
        assert (await d.until_ended())["Q-1", 2] == "held"
        (row,) = await operating.held(d.pool)
        edit(d, "2026-11-10")
        assert await force(d, row["document"]) == "held"
        assert ours(d)["TotalAmt"] == 100.0
        await look(d, row["document"])
        assert await force(d, row["document"]) == "retracted"
        assert ours(d)["TotalAmt"] == 0.0


@pytest.mark.parametrize(("place", "end"), [("journalled", "held"), ("sent", "posted")])
async def test_an_edit_survives_a_kill_in_the_middle_of_a_force(
    database_url: str, sandbox: QboSandbox, place: str, end: str
) -> None:
    """Killed before the request left, and after it had arrived: then its answer is replayed, and the edit comes after it."""
    async with desk(database_url, sandbox, run=False) as d:
        async with running(d.writer):
            document = await held(d)
        await operating.force(d.pool, document)
        assert d.settings.qbo_initial_refresh_token
        company = {"realm_id": d.realm, "refresh_token": d.settings.qbo_initial_refresh_token.get_secret_value()}
        env = environment(database_url, "127.0.0.1:1", sandbox, company, LEASE_SECONDS="2")
        status, output = await command(env | {"BOOKRELAY_CRASH_POINT": f"{place}:kill"}, "run-once")
        assert status == -signal.SIGKILL, output
        edit(d, "2026-11-10")
        d.writer = Writer(d.settings, d.pool)
        d.writer.posters[d.realm].feeder._next = d.writer.posters[d.realm].sweeper._next = math.inf
        async with running(d.writer):
            assert (await d.until_ended())["Q-1", 2] == end
        assert ours(d)["TxnDate"] == "2026-11-10"


async def test_held_show_and_force_from_the_command_line(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        async with running(d.writer):
            document = await held(d)
            edit(d, "2026-11-10")
            env = environment(database_url, "127.0.0.1:1", sandbox, {"realm_id": d.realm, "refresh_token": "unused"})
            status, output = await command(env, "held", "show", str(document))
            shown, _ = json.JSONDecoder().raw_decode(output)
            assert status == 0, output
            assert shown["quickbooks"]["sync_token"] == ours(d)["SyncToken"]
            assert {"field": "txn_date", "ours": "2026-11-01", "theirs": "2026-11-10"} in shown["quickbooks"]["differences"]
            assert f"--sync-token {ours(d)['SyncToken']}" in output.splitlines()[-1]
            edit(d, "2026-11-11")
            status, output = await command(env, "held", "force", str(document), "--sync-token", shown["quickbooks"]["sync_token"])
            assert status == 0, output
            assert f"over SyncToken {shown['quickbooks']['sync_token']}, and no other" in output
            assert (await d.until_ended())["Q-1", 2] == "held"
            assert ours(d)["TxnDate"] == "2026-11-11"
        sandbox.control("POST", "tokens", {"realm": d.realm, "revoke": True})
        _, output = await command(env, "held", "show", str(document))
        shown, _ = json.JSONDecoder().raw_decode(output)
        assert shown["quickbooks"]["state"] == "not asked"
        assert shown["commands"][-1]["state"] == "held"
