"""What the poller's tests share: the stand-in, the poller's parts, a service as a process, reading a topic."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from bookrelay.db import Pool
from bookrelay.kafka import Publisher
from bookrelay.messages import AnyMessage, adapter
from bookrelay.topics import Topic
from emr_poller.emr_client import EmrClient
from emr_poller.polling import Polling
from emr_poller.settings import Settings


@dataclass
class Practice:
    """The stand-in, as a test steers it."""

    base_url: str
    control_url: str
    headers: dict[str, str]
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=10))

    def control(self, method: str, what: str, order: Any = None) -> Any:
        answer = self.http.request(method, f"{self.control_url}/{what}", json=order)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def load(self, *quotes: dict[str, Any]) -> None:
        self.control("POST", "quotes", {"quotes": list(quotes)})

    def edit(self, number: int, **changes: Any) -> None:
        self.control("PATCH", f"quotes/{number}", {"set": changes})

    def fault(self, **fault: Any) -> None:
        self.control("POST", "faults", fault)

    def details_read(self) -> list[str]:
        return [r["query"] for r in self.control("GET", "requests") if r["path"].endswith("/quotes") and r["method"] == "GET"]


@dataclass
class Poller:
    """The poller's parts in this process: `step` polls once."""

    settings: Settings
    polling: Polling
    pool: Pool
    publisher: Publisher
    client: EmrClient

    async def messages(self, topic: Topic) -> list[AnyMessage]:
        return await read_topic(self.settings.kafka_bootstrap_servers, topic, self.settings.qbo_realm_id)

    async def parked(self) -> dict[int, str]:
        rows = await self.pool.fetch("SELECT number, reason FROM emr_poller.parked")
        return {row["number"]: row["reason"] for row in rows}


async def read_topic(bootstrap: str, topic: Topic, realm: str) -> list[AnyMessage]:
    """Return everything that stands in a topic now about one company, each partition in order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[AnyMessage] = []
        deadline = time.monotonic() + 20
        while any([await consumer.position(p) < ends[p] for p in partitions]):
            assert time.monotonic() < deadline, "the topic cannot be read to its end"
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [adapter(topic.carries).validate_json(r.value) for r in records if realm.encode() in (r.value or b"")]
        return found
    finally:
        await consumer.stop()


class ServiceProcess:
    """A service as a process, its log lines read from a file."""

    def __init__(self, module: str, environment: dict[str, str], log: Any) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", f"from {module}.main import main; main()"],
                env={**os.environ, **environment}, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def port(self) -> int | None:
        return next((int(line["http_port"]) for line in reversed(self.lines()) if line["event"] == "service.ready"), None)

    async def ready(self) -> tuple[int, dict[str, Any]]:
        port = await until(self.port)
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"http://127.0.0.1:{port}/health/ready")
        return answer.status_code, answer.json()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


async def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait for a condition (a function or a coroutine function) and return what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < deadline, f"{getattr(condition, '__name__', condition)} did not come true in {seconds} s"
        await asyncio.sleep(0.05)


async def rows_as_text(database_url: str, schema: str) -> str:
    """Return every row of every table of a schema as one text, to search in."""
    connection = await asyncpg.connect(database_url)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
        found = [await connection.fetch(f'SELECT t::text FROM {schema}."{table[0]}" t') for table in tables]
        return "\n".join(row[0] for rows in found for row in rows)
    finally:
        await connection.close()
