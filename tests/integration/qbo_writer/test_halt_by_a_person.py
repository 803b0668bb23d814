"""A person halts and resumes a company: it holds across writers, keeps the queue, and is told once with who and why."""

import json
import subprocess
import sys
from typing import Any

import pytest
from qbo_writer.ledger import decisions, halting
from qbo_writer.writer import Writer
from test_service import environment
from writer_support import Desk, QboSandbox, desk, invoice, running

pytestmark = pytest.mark.postgres


async def told(d: Desk) -> list[tuple[str, str, str]]:
    return [(e["type"].split(".")[2], e["data"]["code"], e["data"]["reason"]) for e in await d.events() if ".realm." in e["type"]]


def still(d: Desk) -> bool:
    """Whether the writer keeps to a person's halt, and nothing of it is under way."""
    poster = d.writer.posters[d.realm]
    return poster.idle() and poster.halts.row is not None and poster.halts.row.operator_halt is not None


async def until_still(d: Desk) -> None:
    async def kept() -> bool:
        return still(d)

    await d.until(kept)


async def rounds(d: Desk, count: int = 3) -> None:
    """Let the posting loop of a running writer take so many turns."""
    poster = d.writer.posters[d.realm]
    for _ in range(count):
        before = poster.rounds

        async def turned(before: int = before) -> bool:
            poster.wake()
            return poster.rounds > before

        await d.until(turned)


async def test_a_halt_by_a_person_stops_reads_and_sends_and_keeps_the_queue(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-0"))
        await d.until_ended()
        assert await halting.halt(d.pool, d.realm, "anna", "year-end closing") is None
        await until_still(d)
        before = len(sandbox.requests(d.realm))
        d.writer.posters[d.realm].feeder.soon()
        d.writer.posters[d.realm].sweeper.soon()
        await d.tell(*(invoice(d.realm, f"Q-{n}", customer=f"P-{n} X.Y.") for n in range(1, 31)))
        await rounds(d)
        assert len(sandbox.requests(d.realm)) == before
        states = await d.states()
        assert sum(state == "due" for state in states.values()) == 30
        again = await halting.halt(d.pool, d.realm, "ben", "me, too")
        assert again is not None
        assert (again.by, again.why) == ("anna", "year-end closing")
        assert await halting.resume(d.pool, d.realm, "ben", "closed") is halting.Resumed.RESUMED
        assert set((await d.until_ended()).values()) == {"posted"}
        assert await told(d) == [
            ("halted", "operator", "Halted by anna: year-end closing"), ("resumed", "operator", "Resumed by ben: closed"),
        ]  # fmt: skip
        assert await halting.resume(d.pool, d.realm, "ben", "once more") is halting.Resumed.NOTHING
        decided = [(one["decision"], one["by"], one["why"]) for one in await decisions.made(d.pool, d.realm)]
        assert decided == [("halt", "anna", "year-end closing"), ("resume", "ben", "closed")]


async def test_a_halt_by_a_person_holds_for_the_next_writer(database_url: str, sandbox: QboSandbox) -> None:
    """A restart, and a takeover of somebody's lease: no request, no token request."""
    async with desk(database_url, sandbox, run=False) as d:
        await d.tell(*(invoice(d.realm, f"Q-{n}") for n in range(5)))
        await halting.halt(d.pool, d.realm, "anna", "audit")
        for _ in range(2):
            d.writer = Writer(d.settings, d.pool)
            async with running(d.writer):
                await until_still(d)
                await rounds(d)
            assert sandbox.requests(d.realm) == []
            assert await d.pool.fetchval("SELECT count(*) FROM qbo_writer.tokens") == 0
        await halting.resume(d.pool, d.realm, "anna", "done")
        d.writer = Writer(d.settings, d.pool)
        async with running(d.writer):
            assert set((await d.until_ended()).values()) == {"posted"}
        assert [kind for kind, _, _ in await told(d)] == ["halted", "resumed"]


async def test_resume_of_a_halt_by_quickbooks_is_a_trial_at_once(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        poster = d.writer.posters[d.realm]
        poster.halts.clock = lambda: 1000.0  # by itself no trial comes
        sandbox.fault(fault="fault", code="6190", status=400, match={"realm": d.realm})
        await d.tell(*(invoice(d.realm, f"Q-{n}") for n in range(3)))
        async with running(d.writer):

            async def halted() -> bool:
                return poster.halts.row is not None and poster.halts.row.halted_code is not None and poster.sender.flying() == 0

            await d.until(halted)
            before = len(sandbox.requests(d.realm))
            await rounds(d)
            assert len(sandbox.requests(d.realm)) == before
            assert await halting.resume(d.pool, d.realm, "anna", "paid the bill") is halting.Resumed.TRIAL

            async def tried() -> bool:
                return len(sandbox.requests(d.realm)) > before and await halted()

            await d.until(tried)
            await rounds(d)
            assert len(sandbox.requests(d.realm)) == before + 1, "one request is the trial"
            assert [kind for kind, _, _ in await told(d)] == ["halted"], "only service resumes"
            # A person's halt on top stops the trials, too; its end is a trial, no more.
            await halting.halt(d.pool, d.realm, "ben", "wait for the bank")
            await until_still(d)
            sandbox.control("DELETE", "faults")
            assert await halting.resume(d.pool, d.realm, "ben", "the bank says yes") is halting.Resumed.TRIAL
            assert set((await d.until_ended()).values()) == {"posted"}
        assert [(kind, code) for kind, code, _ in await told(d)] == [
            ("halted", "QB008"),
            ("halted", "operator"),
            ("resumed", "QB008"),
        ]
        assert "ben: the bank says yes" in (await told(d))[-1][2]


async def test_the_commands_tell_who_and_why(database_url: str, sandbox: QboSandbox) -> None:
    company = sandbox.company()
    env = environment(database_url, "127.0.0.1:1", sandbox, company)

    def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
        ours = [sys.executable, "-m", "qbo_writer", *arguments]
        return subprocess.run(ours, env=env, capture_output=True, text=True, timeout=120, check=False)

    async with desk(database_url, sandbox, run=False, company=company) as d:
        no_reason = command("halt", d.realm)
        assert (no_reason.returncode, "--why" in no_reason.stderr) == (2, True)
        foreign = command("halt", "12", "--why", "x")
        assert (foreign.returncode, "does not serve company 12" in foreign.stderr) == (1, True)
        done = command("halt", d.realm, "--why", "year-end\nclosing", "--by", "anna")
        assert json.loads(done.stdout) == {"realm": d.realm, "halted": True, "by": "anna"}
        twice = command("halt", d.realm, "--why", "x", "--by", "ben")
        assert "is already halted, by anna" in twice.stderr
        status = command("status")
        (company,) = json.loads(status.stdout)["realms"]
        shown: dict[str, Any] = company["operator_halt"]
        assert (status.returncode, shown["by"], shown["why"]) == (1, "anna", "year-end closing")
        once = command("run-once", "--seconds", "20")
        assert "halted by anna: year-end closing" in once.stderr
        assert json.loads(once.stdout)["seconds"] < 15
        assert json.loads(command("resume", d.realm, "--why", "ok").stdout)["resumed"] == "resumed"
        assert command("resume", d.realm, "--why", "ok").returncode == 1
