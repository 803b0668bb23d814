"""Kafka is killed under every service at work: each says so in readiness and in a line a minute, and goes on when it is back."""

import asyncio
import base64
import hmac
import json
import re
import uuid
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from bookrelay import topics
from running import until
from sandbox.stack.processes import ManagedProcess, free_port
from sandbox.stack.stack import Stack
from sandbox.system import SERVICES, System

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(600)]
PATIENT = 180
TOPICS = [(topic.name, topic.partitions, topic.config()) for topic in topics.all_topics()]
STAND_INS = {"emr": ("--quotes", "8"), "sheets": ("--rows", "8", "--no-limits"), "qbo": ("--no-limits",)}
SETTINGS = {"EMR_POLL_SECONDS": "0.5", "SHEETS_POLL_SECONDS": "0.5", "EMR_START_FROM": "2020-01-01T00:00:00Z"}
CREATES = {"entity": "Invoice", "operation": "create"}


@dataclass
class Watched:
    """A process: its readiness and its log."""

    name: str
    url: str
    process: ManagedProcess

    def log(self) -> str:
        return self.process.log_path.read_text()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def bad(self, after: int = 0) -> list[dict[str, Any]]:
        """The lines of which an operator is told, from a number of lines on."""
        return [line for line in self.lines()[after:] if line["level"] in ("warning", "error", "critical")]

    async def ask(self, path: str) -> tuple[int, list[str]]:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            answer = await http.get(f"{self.url}/health/{path}")
        return answer.status_code, answer.json()["reasons"]

    async def is_ready(self) -> bool:
        return await self.ask("ready") == (200, [])

    async def is_not_ready(self) -> bool:
        return (await self.ask("ready"))[0] == 503

    def minutes_of_it(self, after: int) -> bool:
        """Whether a minute has passed, by its own lines: it says the same cause again."""
        reasons = [line["reason"] for line in self.bad(after) if line["event"] == "server.unavailable"]
        return len(reasons) > len(set(reasons))


async def deliver(system: System) -> int:
    """Post a webhook as Intuit does; return the status."""
    event = {
        "specversion": "1.0", "id": str(uuid.uuid4()), "source": "intuit.x", "type": "qbo.invoice.updated.v1",
        "time": "2026-09-10T21:31:25Z", "intuitentityid": "1", "intuitaccountid": "310687", "data": {},
    }  # fmt: skip
    body, key = json.dumps([event]).encode(), system.first["qbo"]["webhook_verifier_token"].encode()
    signed = base64.b64encode(hmac.digest(key, body, "sha256")).decode()
    address = f"{system.url('webhook-gateway')}/webhooks/intuit"
    return (await system.http.post(address, content=body, headers={"intuit-signature": signed})).status_code


async def test_each_says_so_once_a_minute_and_goes_on(database_url: str, tmp_path: Path) -> None:
    async with Stack(database_url=database_url, topics=TOPICS, broker_port=free_port()) as stack:
        system = System(stack, tmp_path, environment=SETTINGS, standin_options=STAND_INS)
        connection = await asyncpg.connect(database_url)
        try:
            await asyncio.gather(system.start_standins(), system.migrate())
            await system.control("qbo", "POST", "/faults", {"fault": "latency", "seconds": 3600, "match": CREATES})
            await system.start_services(ready_within=PATIENT)
            services = [Watched(name, system.url(name), system.supervisor[name]) for name in SERVICES]
            assert await deliver(system) == 200

            async def in_flight() -> bool:
                return bool((await system.control("qbo", "GET", "/faults"))["held"])

            await until(in_flight, PATIENT)
            before = {one.name: len(one.lines()) for one in services}
            await kafka_is_killed(stack, system, services, before)
            await kafka_is_back(stack, system, services, connection)
        finally:
            await connection.close()
            await system.close()
        for one in services:
            log, lines = one.log(), one.lines()[before[one.name] :]
            assert (one.process.exit_status, one.process.restarts) == (0, 0), one.name
            assert "Traceback" not in log
            assert "ConnectionRefusedError" not in log
            assert {line["address"] for line in lines if line["event"] == "server.available"} == {stack.bootstrap_servers}
            told = {line["event"] for line in one.bad(before[one.name])}
            expected = {"server.unavailable", "delivery.rejected"} if one.name == "webhook-gateway" else {"server.unavailable"}
            assert told == expected, [line for line in one.bad(before[one.name]) if line["event"] not in expected]


async def kafka_is_killed(stack: Stack, system: System, services: list[Watched], before: dict[str, int]) -> None:
    """Every service has something to publish; for more than a minute it cannot."""
    assert stack.embedded
    stack.embedded.kill()
    await system.control("qbo", "DELETE", "/faults")
    await system.control("qbo", "POST", "/release")  # the writer has events to publish
    await system.control("emr", "PATCH", "/quotes/12001", {"set": {"ProcedureNotes": "another"}})
    await system.control("sheets", "POST", "/rows", {"generate": {"count": 3, "seed": 99}})
    said = (
        rf"Kafka at {re.escape(stack.bootstrap_servers)} cannot be reached since \d\d:\d\d UTC \((.+)\)\. "
        r"Start it, or correct KAFKA_BOOTSTRAP_SERVERS\. "
        r"Nothing is lost; the service resumes automatically when the server is back\."
    )
    for one in services:
        await until(one.is_not_ready, PATIENT)
        status, reasons = await one.ask("ready")
        assert (status, len(reasons)) == (503, 1), (one.name, reasons)
        assert re.fullmatch(said, reasons[0]), (one.name, reasons)
    assert await deliver(system) == 503
    for one in services:
        await until(lambda one=one: one.minutes_of_it(before[one.name]), PATIENT)
        assert await one.ask("live") == (200, [])
        assert (await one.ask("ready"))[0] == 503
        causes: defaultdict[tuple[str, str], list[datetime]] = defaultdict(list)
        for line in one.bad(before[one.name]):
            cause = re.fullmatch(said, line["reason"])
            causes[line["event"], cause[1] if cause else line["reason"]].append(datetime.fromisoformat(line["time"]))
        away = [cause for event, cause in causes if event == "server.unavailable"]
        assert "connection refused" in away
        assert len(away) <= 2, away  # at first it may have closed the connection
        for cause, times in causes.items():
            assert all(later - earlier >= timedelta(seconds=59) for earlier, later in pairwise(times)), (one.name, cause, times)


async def kafka_is_back(stack: Stack, system: System, services: list[Watched], connection: asyncpg.Connection) -> None:
    """On the same address, and empty: the embedded broker keeps nothing. What waited is published."""
    assert stack.embedded
    recorded = (
        "SELECT d.source, count(*) FROM qbo_writer.commands c JOIN qbo_writer.documents d ON d.id = c.document_id "
        "WHERE d.kind IN ('invoice', 'bill') GROUP BY 1"
    )
    commands = dict(await connection.fetch(recorded))
    stack.embedded.start()
    for one in services:
        await until(one.is_ready, PATIENT)

    async def goes_on() -> bool:
        waiting = [
            await connection.fetchval(f"SELECT count(*) FROM {schema}.outbox WHERE published_at IS NULL")
            for schema in ("qbo_writer", "sheet_watcher")
        ]
        now = dict(await connection.fetch(recorded))
        return waiting == [0, 0] and all(now[source] > count for source, count in commands.items())

    async def delivered() -> bool:
        return await deliver(system) == 200

    assert len(commands) == 2, commands  # of the EMR and of the sheet
    await until(goes_on, PATIENT)
    await until(delivered, PATIENT)
