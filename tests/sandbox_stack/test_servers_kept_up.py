"""`make up` starts a Postgres or a broker that died again, and names it, as it does with services."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from sandbox.stack.postgres import Postgres
from sandbox.stack.stack import Stack

pytestmark = [pytest.mark.postgres, pytest.mark.kafka]


async def eventually(condition: Callable[[], bool], within: float = 60) -> None:
    """Return when the condition holds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "broker", ["embedded", pytest.param("kafka", marks=pytest.mark.skipif(os.environ.get("BROKER") != "kafka", reason="BROKER"))]
)
async def test_killed_servers_come_back_where_they_were_and_are_named(broker: str, stack_directory: Path) -> None:
    told: list[str] = []
    async with Stack(broker=broker, directory=stack_directory / f"up-{broker}", topics=[("a.v1", 1, {})]) as stack:  # type: ignore[arg-type]
        keeping = asyncio.create_task(stack.keep_up(told.append))
        url, servers = stack.database_url, stack.bootstrap_servers
        assert stack.postgres
        server = stack.kafka or stack.embedded
        assert server
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
        os.kill(stack.postgres.pid or 0, signal.SIGKILL)
        os.kill(server.pid or 0, signal.SIGKILL)
        await eventually(lambda: sum(line.endswith("is back") for line in told) == 2)
        assert any(line.startswith("Postgres was ended by SIGKILL: restarting it") for line in told), told
        name = "Apache Kafka" if broker == "kafka" else "the embedded broker"
        assert any(line.startswith(f"{name} was ended by SIGKILL: restarting it") for line in told), told
        assert (stack.database_url, stack.bootstrap_servers) == (url, servers)
        again = await asyncpg.connect(url)
        assert await again.fetchval("SELECT n FROM kept") == 42
        await again.close()
        keeping.cancel()


def test_a_lock_file_with_the_number_of_another_postgres_is_stale(stack_directory: Path) -> None:
    other, killed = Postgres(stack_directory / "other", ephemeral=True), Postgres(stack_directory / "mine", ephemeral=True)
    try:
        other.start()
        killed.start()
        killed.kill()
        lock = killed.data / "postmaster.pid"
        lock.write_text("\n".join([str(other.pid), *lock.read_text().splitlines()[1:]]) + "\n")
        killed.start()
        assert killed.pid
    finally:
        other.stop()
        killed.stop()
