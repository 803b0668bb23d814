"""What the poller's tests share: the stand-in, the poller's parts, a schema's rows."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
from bookrelay.db import Pool
from bookrelay.kafka import Publisher
from bookrelay.messages import AnyMessage
from bookrelay.source.outgoing import Outgoing
from bookrelay.source.schedule import Schedule
from bookrelay.topics import Topic
from emr_poller.domain import SCHEMA
from emr_poller.emr_client import EmrClient
from emr_poller.main import schedule_of
from emr_poller.polling import Polling
from emr_poller.settings import Settings
from emr_poller.store import Store
from running import read_topic


@dataclass
class Practice:
    """The stand-in, as a test steers it."""

    base_url: str
    control_url: str
    headers: dict[str, str]
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))

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
    """The poller's parts in this process: `step` polls once and publishes what that committed."""

    settings: Settings
    schedule: Schedule
    outgoing: Outgoing
    pool: Pool
    publisher: Publisher
    client: EmrClient

    async def step(self) -> float:
        """Return in how many seconds the next poll is due."""
        try:
            return await self.schedule.poll_now()
        finally:
            await self.outgoing.step()

    async def messages(self, topic: Topic) -> list[AnyMessage]:
        return await read_topic(self.settings.kafka_bootstrap_servers, topic, self.settings.qbo_realm_id)

    async def parked(self) -> dict[int, str]:
        rows = await self.pool.fetch("SELECT number, reason FROM emr_poller.parked WHERE realm = $1", self.settings.qbo_realm_id)
        return {row["number"]: row["reason"] for row in rows}

    async def published(self) -> set[int]:
        rows = await self.pool.fetch("SELECT number FROM emr_poller.quotes WHERE realm = $1", self.settings.qbo_realm_id)
        return {row["number"] for row in rows}


@asynccontextmanager
async def poller_of(environment: Mapping[str, str], pool: Pool, publisher: Publisher) -> AsyncIterator[Poller]:
    """The poller in this process."""
    settings = Settings.load(environment)
    client = EmrClient(settings)
    outgoing = Outgoing(pool, SCHEMA, publisher)
    store = Store(outgoing, settings.qbo_realm_id, settings.emr_source, settings.emr_retry_seconds)
    schedule = schedule_of(settings, Polling(settings, client, store))
    try:
        yield Poller(settings, schedule, outgoing, pool, publisher, client)
    finally:
        await client.close()


async def rows_as_text(database_url: str, schema: str) -> str:
    """Return every row of every table of a schema as one text, to search in."""
    connection = await asyncpg.connect(database_url)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
        found = [await connection.fetch(f'SELECT t::text FROM {schema}."{table[0]}" t') for table in tables]
        return "\n".join(row[0] for rows in found for row in rows)
    finally:
        await connection.close()
