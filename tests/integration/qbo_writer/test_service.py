"""The writer as a process: from the commands' topic to the events' topic."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer
from bookrelay import topics
from bookrelay.kafka import Publisher
from sandbox.stack.embedded_broker import EmbeddedBroker
from writer_support import KEY, QboSandbox, bill, create_schema, invoice

pytestmark = [pytest.mark.postgres, pytest.mark.kafka]


def environment(database_url: str, broker: str, sandbox: QboSandbox, company: dict[str, Any], **more: str) -> dict[str, str]:
    """What a writer's process gets."""
    return os.environ | {
        "DATABASE_URL": database_url, "KAFKA_BOOTSTRAP_SERVERS": broker, "QBO_REALM_IDS": company["realm_id"],
        "QBO_BASE_URL": sandbox.url, "QBO_TOKEN_URL": sandbox.greeting["token_url"],
        "QBO_CLIENT_ID": sandbox.greeting["client_id"], "QBO_CLIENT_SECRET": sandbox.greeting["client_secret"],
        "QBO_TOKEN_ENCRYPTION_KEYS": KEY, "QBO_INITIAL_REFRESH_TOKEN": company["refresh_token"], "QBO_DEFAULT_ITEM_ID": "1",
        "QB_DEFAULT_EXPENSE_ACCOUNT": "20", "LEASE_SECONDS": "20", "LEASE_RENEW_SECONDS": "0.5",
        "PROTOCOL_TRANSIT_SECONDS": "1", "PROTOCOL_STALENESS_SECONDS": "0.5", "QBO_REQUEST_TIMEOUT_SECONDS": "20",
        "PACE_REQUESTS_PER_SECOND": "1000", "PACE_REQUESTS_PER_MINUTE": "100000",
    } | more  # fmt: skip


def create_topics(broker: EmbeddedBroker) -> None:
    """Every topic, as a deployment has them."""
    for topic in topics.all_topics():
        broker.create_topic(topic.name, topic.partitions)


@contextmanager
def writer_process(env: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run a writer; killed at the end if it still runs."""
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        process = subprocess.Popen([sys.executable, "-m", "qbo_writer.main"], env=env, stdout=log, stderr=log)
        try:
            yield process, Path(log.name)
        finally:
            process.kill()
            process.wait()


@asynccontextmanager
async def publisher(broker: str) -> AsyncIterator[Publisher]:
    made = Publisher(broker, "test")
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def events(broker: str, keys: set[str], seconds: float = 120) -> list[dict[str, Any]]:
    """Read events until there is one for each document, whatever was published twice."""
    consumer = AIOKafkaConsumer(topics.EVENTS.name, bootstrap_servers=broker, auto_offset_reset="earliest")
    await consumer.start()
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + seconds
    try:
        while {e["data"].get("source_key") for e in found} < keys and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                found.append(json.loads((await asyncio.wait_for(consumer.getone(), 1)).value))
    finally:
        await consumer.stop()
    return found


async def test_from_topic_to_books_to_topic_and_a_graceful_stop(
    database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox
) -> None:
    await create_schema(database_url)
    servers = own_broker.bootstrap_servers
    create_topics(own_broker)
    company = sandbox.company()
    realm = company["realm_id"]
    with writer_process(environment(database_url, servers, sandbox, company)) as (process, log):
        async with publisher(servers) as p:
            await p.publish(topics.COMMANDS, [invoice(realm, "Q-1"), bill(realm, "R-1"), invoice("another realm", "Q-2")])
            told = await events(servers, {"Q-1", "R-1"})
        assert {e["type"] for e in told} == {"bookrelay.invoice.posted.v1", "bookrelay.bill.posted.v1"}, log.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
        settled = [json.loads(line) for line in log.read_text().splitlines() if "command.settled" in line]
        assert {line["end"] for line in settled} == {"posted"}
        assert "Supplies Ltd" not in log.read_text()
    connection = await asyncpg.connect(database_url)
    try:  # commands of a company that this writer does not serve wait for one that does
        assert await connection.fetchval("SELECT state FROM qbo_writer.commands WHERE realm = 'another realm'") == "due"
        assert await connection.fetchval("SELECT expires_at < now() FROM qbo_writer.leases")
    finally:
        await connection.close()
