"""The writer's process is killed at a named place, another one goes on: each document is in the books once, each end is told."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from bookrelay import topics
from qbo_writer.crashpoints import Place
from sandbox.stack.embedded_broker import EmbeddedBroker
from test_service import create_topics, environment, events, publisher, writer_process
from writer_support import QboSandbox, bill, create_schema, invoice

pytestmark = [pytest.mark.postgres, pytest.mark.kafka, pytest.mark.slow]

SINGLES = {"BATCH_THRESHOLD": "1000"}
SHORT_LEASE = {"LEASE_SECONDS": "2"}  # the successor waits for it; what a loaded machine loses is taken up by the protocol
BATCHES = {"BATCH_THRESHOLD": "5", "PACE_BATCH_ITEMS": "10"}


async def post_with_a_crash(
    database_url: str, broker: EmbeddedBroker, sandbox: QboSandbox, crash: str, documents: int, *, customers: int = 2,
    **more: str,
) -> None:  # fmt: skip
    """Publish commands, run a writer that crashes and then one that does not; check books, ledger and events."""
    await create_schema(database_url)
    for topic in topics.all_topics():
        broker.create_topic(topic.name, topic.partitions)
    company = sandbox.company()
    realm, servers = company["realm_id"], broker.bootstrap_servers
    env = environment(database_url, servers, sandbox, company, TOKEN_REFRESH_BEFORE_SECONDS="1", **SHORT_LEASE, **more)
    commands = [invoice(realm, f"Q-{i}", customer=f"P-{i % customers}") for i in range(documents - 2)]
    commands += [bill(realm, "R-1"), bill(realm, "R-2")]  # type: ignore[list-item]
    async with publisher(servers) as p:
        await p.publish(topics.COMMANDS, commands)
    connection = await asyncpg.connect(database_url)
    ended = "SELECT count(*) = $1 FROM qbo_writer.commands WHERE kind IN ('invoice', 'bill') AND state = 'posted'"
    try:
        with contextlib.ExitStack() as first:
            process, first_log = first.enter_context(writer_process(env | {"BOOKRELAY_CRASH_POINT": crash}))
            deadline = time.monotonic() + 90
            while process.poll() is None and time.monotonic() < deadline:
                if ":hang" in crash and "crash_point.reached" in first_log.read_text():
                    break
                if ":exception" in crash and await connection.fetchval(ended, documents):
                    break  # it has survived its own exception
                await asyncio.sleep(0.05)
            if ":kill" in crash:
                assert process.poll() is not None, f"the place was never passed: {crash}\n{first_log.read_text()[-3000:]}"
            hung = process
            if ":hang" in crash:
                assert "crash_point.reached" in first_log.read_text()
            else:
                first.close()
            process, log = first.enter_context(writer_process(env))
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and not await connection.fetchval(ended, documents):
                assert process.poll() is None, log.read_text()[-3000:]
                await asyncio.sleep(0.05)
            told = await events(servers, {c.data.source_key for c in commands}, 90)
            rows = await connection.fetch("SELECT kind, state, failures, reason FROM qbo_writer.commands WHERE state <> 'posted'")
            opened = await connection.fetch("SELECT * FROM qbo_writer.attempts WHERE state <> 'resolved'")
            if ":hang" in crash:
                await says(first_log, "lease.lost", 90)
                await lets_go(hung, first_log)
            if customers > 2:
                assert await connection.fetchval(
                    "SELECT count(*) > 0 FROM qbo_writer.attempts WHERE entity = 'Customer' AND batch_id IS NOT NULL"
                )
            assert not rows, ([dict(r) for r in rows], [dict(r) for r in opened], log.read_text()[-3000:])
    finally:
        await connection.close()
    mine = [b for kind in ("Invoice", "Bill") for b in sandbox.books(realm, kind) if "bookrelay:" in b.get("PrivateNote", "")]
    numbers = [b["DocNumber"] for b in mine]
    assert len(numbers) == len(set(numbers)) == documents
    names = [c["DisplayName"] for c in sandbox.books(realm, "Customer")]
    assert len(names) == len(set(names))
    assert {f"P-{i}" for i in range(customers)} <= set(names)
    assert {e["data"]["source_key"] for e in told} == {c.data.source_key for c in commands}
    assert {e["type"] for e in told} == {"bookrelay.invoice.posted.v1", "bookrelay.bill.posted.v1"}


@contextlib.contextmanager
def short_tokens(sandbox: QboSandbox):  # type: ignore[no-untyped-def]
    """Access tokens that live for seconds keep Q' short: what a lost sender has in its hands is dead when its token is."""
    before = sandbox.control("GET", "tokens")["settings"]
    name = next(n for n in before if "access" in n and isinstance(before[n], int | float))
    sandbox.control("POST", "tokens", {name: 3})
    try:
        yield
    finally:
        sandbox.control("POST", "tokens", {name: before[name]})


ALWAYS = [
    Place.POLLED, Place.RECORDING, Place.RECORDED, Place.LEASE_TAKEN, Place.LOST_MARKED, Place.CLAIMED, Place.JOURNALLING,
    Place.JOURNALLED, Place.SENT, Place.ANSWERED, Place.SETTLING, Place.SETTLED, Place.PUBLISHED, Place.MARKED,
]  # fmt: skip


@pytest.mark.parametrize("place", ALWAYS)
async def test_killed_once_in_single_calls(
    database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox, place: Place
) -> None:
    with short_tokens(sandbox):
        await post_with_a_crash(database_url, own_broker, sandbox, f"{place}:kill:1", 6, **SINGLES)


@pytest.mark.parametrize("place", [Place.BATCH_JOURNALLED, Place.BATCH_ANSWERED, Place.SETTLING])
async def test_killed_once_in_batches(database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox, place: Place) -> None:
    with short_tokens(sandbox):
        await post_with_a_crash(database_url, own_broker, sandbox, f"{place}:kill:1", 24, **BATCHES)


@pytest.mark.parametrize(("place", "k"), [(Place.BATCH_JOURNALLED, 1), (Place.BATCH_ANSWERED, 1), (Place.BATCH_ANSWERED, 2)])
async def test_killed_while_new_customers_leave_in_batches(
    database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox, place: Place, k: int
) -> None:
    """Nobody is made twice, whether QuickBooks has made the customers of the batch or not."""
    with short_tokens(sandbox):
        often = {**BATCHES, "PACE_BATCHES_PER_MINUTE": "60000"}
        await post_with_a_crash(database_url, own_broker, sandbox, f"{place}:kill:{k}", 26, customers=24, **often)


@pytest.mark.parametrize("place", [Place.SENT, Place.SETTLING, Place.SETTLED, Place.JOURNALLED])
async def test_killed_later(database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox, place: Place) -> None:
    with short_tokens(sandbox):
        await post_with_a_crash(database_url, own_broker, sandbox, f"{place}:kill:4", 10, PACE_IN_FLIGHT="2", **SINGLES)


@pytest.mark.parametrize("place", [Place.RECORDING, Place.CLAIMED, Place.JOURNALLED, Place.SENT, Place.SETTLING, Place.SETTLED])
async def test_an_exception_of_ours(database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox, place: Place) -> None:
    with short_tokens(sandbox):
        await post_with_a_crash(database_url, own_broker, sandbox, f"{place}:exception:2", 8, **SINGLES)


@pytest.mark.parametrize("place", [Place.TOKEN_REFRESHED, Place.TOKEN_PERSISTED])
async def test_killed_while_the_token_is_refreshed(
    database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox, place: Place
) -> None:
    """The first passage is the first pair; a refreshed pair that nobody stored does not cost the grant."""
    with short_tokens(sandbox):
        await post_with_a_crash(database_url, own_broker, sandbox, f"{place}:kill:1", 6, **SINGLES)


@pytest.mark.parametrize(("place", "k"), [(Place.JOURNALLED, 1)])
async def test_hangs_beyond_the_lease_and_the_tokens_life(
    database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox, place: Place, k: int
) -> None:
    """The lease lives 2 s, the access token 3 s: a successor goes on, then the first wakes up with what it had in its hands."""
    with short_tokens(sandbox):
        await post_with_a_crash(database_url, own_broker, sandbox, f"{place}:hang:{k}:8", 6, **SINGLES)


TAKES_OVER_SECONDS = 15  # promised


async def test_a_standby_takes_over_in_time_after_sigkill(
    database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox
) -> None:
    """With the lease as it is delivered, by timestamps: the kill, the standby's lease. A new document waits for no token's end.

    How long it is until that is posted: see `make bench`.
    """
    await create_schema(database_url)
    create_topics(own_broker)
    company = sandbox.company()
    realm, servers = company["realm_id"], own_broker.bootstrap_servers
    env = environment(database_url, servers, sandbox, company, **SINGLES)
    del env["LEASE_SECONDS"], env["LEASE_RENEW_SECONDS"]
    sandbox.fault(fault="latency", seconds=0.3, match={"realm": realm, "entity": "Invoice"})
    connection = await asyncpg.connect(database_url)
    posted = "SELECT count(*) FROM qbo_writer.commands WHERE kind = 'invoice' AND state = 'posted'"
    try:
        with writer_process(env) as one, writer_process(env) as two:
            for _, log in (one, two):
                await beats(log, "lease", 2)
            async with publisher(servers) as p:
                await p.publish(topics.COMMANDS, [invoice(realm, f"Q-{i}", customer="P-1") for i in range(20)])
            await reaches(connection, posted, 5, 90)
            holder, fencing_token = await lease(connection)
            (killed, _), (_, log) = (one, two) if f":{one[0].pid}:" in holder else (two, one)
            before = datetime.now(UTC)
            killed.kill()
            async with publisher(servers) as p:  # documents without an open attempt
                await p.publish(topics.COMMANDS, [invoice(realm, f"N-{i}", customer="P-1") for i in range(5)])
            new = (
                "SELECT count(*) FROM qbo_writer.commands c JOIN qbo_writer.documents d ON d.id = c.document_id "
                "WHERE d.source_key LIKE 'N-%' AND c.state = 'posted'"
            )
            await reaches(connection, new, 1, 90)  # the others wait until Kafka misses the killed member
            taken = (taken_at(log, fencing_token + 1) - before).total_seconds()
            assert taken < TAKES_OVER_SECONDS
    finally:
        await connection.close()


async def test_a_paused_holder_wakes_up_and_can_write_nothing(
    database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox
) -> None:
    """SIGSTOP while it posts; a standby takes over in time; then SIGCONT: no second document, no end changes."""
    await create_schema(database_url)
    create_topics(own_broker)
    company = sandbox.company()
    realm, servers = company["realm_id"], own_broker.bootstrap_servers
    with short_tokens(sandbox):
        env = environment(database_url, servers, sandbox, company, TOKEN_REFRESH_BEFORE_SECONDS="1", **SHORT_LEASE, **SINGLES)
        sandbox.fault(fault="latency", seconds=0.6, match={"realm": realm, "entity": "Invoice"})
        commands = [invoice(realm, f"Q-{i}", customer="P-1") for i in range(40)]
        async with publisher(servers) as p:
            await p.publish(topics.COMMANDS, commands)
        connection = await asyncpg.connect(database_url)
        posted = "SELECT count(*) FROM qbo_writer.commands WHERE kind = 'invoice' AND state = 'posted'"
        ends = "SELECT id, state, occurrence, ended_at FROM qbo_writer.commands ORDER BY id"
        try:
            with writer_process(env) as one, writer_process(env) as two:
                for _, log in (one, two):
                    await beats(log, "lease", 2)
                await reaches(connection, posted, 5, 90)
                (paused, log), (standby, standby_log), fencing_token, stopped = await stop_the_holder(connection, one, two)
                async with publisher(servers) as p:  # there is work for the standby, however much was posted already
                    await p.publish(topics.COMMANDS, [invoice(realm, f"Q-{i}", customer="P-1") for i in range(40, 50)])
                await reaches(connection, posted, 50, 120)
                assert (taken_at(standby_log, fencing_token + 1) - stopped).total_seconds() < TAKES_OVER_SECONDS
                told = await connection.fetch(ends)
                os.kill(paused.pid, signal.SIGCONT)
                await says(log, "lease.lost", 90)
                await lets_go(paused, log)
                assert await connection.fetch(ends) == told
                assert standby.poll() is None
        finally:
            await connection.close()
    numbers = [b["DocNumber"] for b in sandbox.books(realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
    assert len(numbers) == len(set(numbers)) == 50


Process = tuple["subprocess.Popen[bytes]", Path]


async def lease(connection: asyncpg.Connection) -> tuple[str, int]:
    """Who holds the lease, under which token."""
    row = await connection.fetchrow("SELECT holder, fencing_token FROM qbo_writer.leases")
    return row["holder"], row["fencing_token"]


async def stop_the_holder(connection: asyncpg.Connection, one: Process, two: Process) -> tuple[Process, Process, int, datetime]:
    """SIGSTOP for whoever holds the lease; on a busy machine it may have changed hands in that moment, then once more."""
    while True:
        before = await lease(connection)
        paused, standby = (one, two) if f":{one[0].pid}:" in before[0] else (two, one)
        stopped = datetime.now(UTC)
        os.kill(paused[0].pid, signal.SIGSTOP)
        if await lease(connection) == before:
            return paused, standby, before[1], stopped
        os.kill(paused[0].pid, signal.SIGCONT)


def logged(log: Path) -> list[dict[str, Any]]:
    """The lines of a log."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def taken_at(log: Path, fencing_token: int) -> datetime:
    """When a writer took the lease, by its own log."""
    (line,) = [one for one in logged(log) if one["event"] == "lease.taken" and one["fencing_token"] == fencing_token]
    return datetime.fromisoformat(line["time"])


async def beats(log: Path, loop: str, times: int) -> None:
    """Wait until a loop of a process has finished so many units of work."""
    await says(log, "service.starting", 90)
    port = next(line["http_port"] for line in logged(log) if line["event"] == "service.starting")
    seen: set[str] = set()
    deadline = time.monotonic() + 90
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        while len(seen) < times:
            assert time.monotonic() < deadline, (seen, logged(log)[-20:])
            text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
            seen |= {line for line in text.splitlines() if f'last_success_timestamp_seconds{{loop="{loop}"}}' in line}
            await asyncio.sleep(0.05)


async def lets_go(process: "subprocess.Popen[bytes]", log: Path) -> None:
    """It lives on without the lease, then ends gracefully: whatever it still held in its hands has had its end."""
    await beats(log, "lease", 4)  # a company whose lease is another's rests: its posting loop makes no rounds
    assert process.poll() is None
    process.terminate()
    assert await asyncio.to_thread(process.wait, 90) == 0


async def says(log: Path, text: str, seconds: float) -> None:
    """Wait until a log has a text."""
    deadline = time.monotonic() + seconds
    while text not in log.read_text():  # noqa: ASYNC240
        assert time.monotonic() < deadline, f"not in {seconds} s: {text}\n{log.read_text()[-3000:]}"  # noqa: ASYNC240
        await asyncio.sleep(0.05)


async def reaches(connection: asyncpg.Connection, query: str, least: int, seconds: float) -> None:
    """Wait until a count is reached."""
    deadline = time.monotonic() + seconds
    while await connection.fetchval(query) < least:
        assert time.monotonic() < deadline, f"not in {seconds} s: {query} >= {least}"
        await asyncio.sleep(0.02)
