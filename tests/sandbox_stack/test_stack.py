"""The embedded stack: what starts comes up, what is killed comes back, what has a parent dies with it."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError
from sandbox.stack.embedded_broker import EmbeddedBroker
from sandbox.stack.postgres import Postgres
from sandbox.stack.processes import ProcessFailedError, Supervisor, free_port
from sandbox.stack.stack import Stack

SERVER = """
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
server.serve_forever()
"""
TALKER = "import json,time;print(json.dumps({'here':1}),flush=True);time.sleep(100)"


async def eventually(condition, within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.02)


async def test_postgres_is_version_18_and_databases_are_apart(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    assert (await connection.fetchval("SHOW server_version")).startswith("18")
    await connection.execute("CREATE TABLE here (n int)")
    await connection.close()


async def test_each_test_has_an_empty_database(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("SELECT to_regclass('here')") is None
    await connection.close()


def test_ephemeral_mode_outside_a_temporary_directory_is_refused() -> None:
    with pytest.raises(ValueError, match="temporary"):
        Postgres(Path("/var/lib/bookrelay-never"), ephemeral=True)


async def test_durable_postgres_killed_keeps_what_was_committed(stack_directory: Path) -> None:
    server = Postgres(stack_directory / "durable")
    try:
        connection = await asyncpg.connect(server.start())
        await connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
        server.kill()
        first_url = server.url
        again = Postgres(stack_directory / "durable")
        try:
            assert again.start() == first_url
            connection = await asyncpg.connect(again.url)
            assert await connection.fetchval("SELECT n FROM kept") == 42
            assert await connection.fetchval("SHOW fsync") == "on"
            await connection.close()
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(f"postgresql://bookrelay:wrong@127.0.0.1:{again.port}/bookrelay")
        finally:
            again.stop()
    finally:
        server.stop()


def test_postgres_on_a_taken_port_says_so(stack_directory: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = Postgres(stack_directory / "taken", port=taken.getsockname()[1], ephemeral=True)
        with pytest.raises(ProcessFailedError, match=f"port {server.port}"):
            server.start()


@pytest.mark.skipif(sys.platform != "linux", reason="counts processes through /proc")
async def test_parent_killed_postgres_and_broker_end_too(stack_directory: Path) -> None:
    code = """
import json, sys, time
from pathlib import Path
from sandbox.stack.embedded_broker import EmbeddedBroker
from sandbox.stack.postgres import Postgres
postgres, broker = Postgres(Path(sys.argv[1]), ephemeral=True), EmbeddedBroker()
postgres.start(), broker.start()
print(json.dumps([postgres.pid, broker.pid]), flush=True)
time.sleep(100)
"""
    parent = subprocess.Popen([sys.executable, "-c", code, str(stack_directory / "orphan")], stdout=subprocess.PIPE)  # noqa: ASYNC220
    assert parent.stdout
    pids = json.loads(parent.stdout.readline())
    assert all(psutil.pid_exists(pid) for pid in pids)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    await eventually(lambda: not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids))


async def test_broker_keeps_groups_offsets_and_partitions(kafka_bootstrap: str, unique_topic: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_bootstrap, acks="all", enable_idempotence=True, compression_type="lz4")
    await producer.start()
    assert len(await producer.partitions_for(unique_topic)) == 3
    first, later = [str(n).encode() for n in range(30)], [b"30"]
    for wanted, begins_at in ((first, None), (later, 30)):  # the second time only what is new: the offsets were kept
        for value in wanted:
            await producer.send_and_wait(unique_topic, value, key=value)
        consumer = AIOKafkaConsumer(
            unique_topic,
            bootstrap_servers=kafka_bootstrap,
            group_id=f"g-{unique_topic}",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=2000,  # the embedded broker answers a second join only near its end
            heartbeat_interval_ms=500,
        )
        await consumer.start()
        if begins_at is not None:
            assert sum([await consumer.committed(TopicPartition(unique_topic, number)) or 0 for number in range(3)]) == begins_at
        got: list[bytes] = []
        deadline = time.monotonic() + 60
        while len(got) < len(wanted) and time.monotonic() < deadline:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                got += [record.value for record in records]
        await consumer.commit()
        await consumer.stop()
        assert sorted(got) == sorted(wanted)
    await producer.stop()


async def test_broker_down_refuses_and_up_again_still_knows(own_broker: EmbeddedBroker) -> None:
    own_broker.create_topic("t", 1)
    producer = AIOKafkaProducer(bootstrap_servers=own_broker.bootstrap_servers, acks="all")
    await producer.start()
    await producer.send_and_wait("t", b"before")
    own_broker.set_down()
    with pytest.raises(KafkaConnectionError):
        await AIOKafkaProducer(bootstrap_servers=own_broker.bootstrap_servers).start()
    own_broker.set_up()
    record = await producer.send_and_wait("t", b"after")
    assert record.offset == 1
    await producer.stop()


async def test_broker_errors_are_answered_in_turn(own_broker: EmbeddedBroker) -> None:
    from aiokafka.errors import MessageSizeTooLargeError

    own_broker.create_topic("t", 1)
    producer = AIOKafkaProducer(bootstrap_servers=own_broker.bootstrap_servers, acks="all")
    await producer.start()
    own_broker.push_errors("Produce", [10])
    with pytest.raises(MessageSizeTooLargeError):
        await producer.send_and_wait("t", b"x")
    await producer.send_and_wait("t", b"x")
    await producer.stop()


async def test_broker_started_again_on_its_port_is_found_again() -> None:
    port = free_port()
    for _ in range(2):
        broker = EmbeddedBroker([("t", 2)], port=port)
        try:
            assert broker.start() == f"127.0.0.1:{port}"
            producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)
            await producer.start()
            assert (await producer.send_and_wait("t", b"x", partition=1)).offset == 0
            await producer.stop()
        finally:
            broker.stop()


@pytest.fixture
async def supervisor(tmp_path: Path):
    supervisor = Supervisor(tmp_path)
    yield supervisor
    await supervisor.stop_all()


async def test_killed_process_is_started_again_and_counted(supervisor: Supervisor) -> None:
    process = await supervisor.start("talker", [sys.executable, "-c", TALKER], first_line=True)
    assert process.first == {"here": 1}
    for n in range(1, 4):
        before = process.pid
        supervisor.kill("talker")
        await eventually(lambda n=n, before=before: process.restarts == n and process.pid not in (None, before))
    await process.wait_ready()


async def test_ready_means_the_address_answers_and_pause_holds_it(supervisor: Supervisor) -> None:
    import httpx

    port = free_port()
    url = f"http://127.0.0.1:{port}/health/ready"
    process = await supervisor.start("web", [sys.executable, "-c", SERVER, str(port)], ready_url=url)
    supervisor.pause("web")
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.TimeoutException):
            await client.get(url, timeout=0.3)
        supervisor.resume("web")
        assert (await client.get(url, timeout=5)).status_code == 200
    supervisor.pause("web")
    assert await process.stop() == -signal.SIGTERM  # a paused process is stopped too


async def test_process_that_cannot_start_fails_with_its_log(supervisor: Supervisor) -> None:
    with pytest.raises(ProcessFailedError, match="the reason"):
        await supervisor.start("broken", [sys.executable, "-c", "raise SystemExit('the reason')"], first_line=True, restart=False)


async def test_deaf_process_is_killed_after_the_deadline(supervisor: Supervisor) -> None:
    code = "import signal;signal.signal(signal.SIGTERM,signal.SIG_IGN);" + TALKER
    process = await supervisor.start("deaf", [sys.executable, "-c", code], first_line=True)
    assert await process.stop(within=0.2) == -signal.SIGKILL


async def test_whole_stack_starts_and_leaves_nothing() -> None:
    async with Stack(topics=[("a.v1", 6, {}), ("b.v1", 1, {})]) as stack:
        connection = await asyncpg.connect(stack.database_url)
        await connection.close()
        producer = AIOKafkaProducer(bootstrap_servers=stack.bootstrap_servers)
        await producer.start()
        assert len(await producer.partitions_for("a.v1")) == 6
        await producer.stop()
        pids = [stack.postgres.pid, stack.embedded.pid]
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not stack.directory.exists()
