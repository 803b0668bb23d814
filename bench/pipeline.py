"""`make bench`: documents a second, commands recorded a second, latency from a sheet row to its write-back, cost of a webhook
delivery, start-up time, memory.

The whole system on the embedded stack and the stand-ins, without QuickBooks' limits. The last line is one JSON object.
"""

import argparse
import asyncio
import base64
import hmac
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil
from aiokafka import AIOKafkaProducer
from bookrelay import topics
from bookrelay.messages import Command
from sandbox.stack.stack import Stack
from sandbox.system import SERVICES, System

from bench.writer import commands

FAST = {
    "EMR_POLL_SECONDS": "0.5", "SHEETS_POLL_SECONDS": "0.5", "SHEETS_REQUESTS_PER_MINUTE": "300",
    # High enough; after a restart the pacer counts seconds at the full rate as used, one by one.
    "PACE_REQUESTS_PER_MINUTE": "120000", "PACE_REQUESTS_PER_SECOND": "2000", "PACE_BATCHES_PER_MINUTE": "6000",
    "PACE_MARGIN_SECONDS": "0",
}  # fmt: skip
STANDINS = {"qbo": ("--no-limits",), "emr": ("--quotes", "0"), "sheets": ("--rows", "0", "--no-limits")}
NOBODY = "9999999999999999"  # a company that no writer serves: its commands are recorded, but not posted


def tell(text: str) -> None:
    """Print at once."""
    print(text, flush=True)


class Bench:
    """One run."""

    def __init__(self, system: System, pool: asyncpg.Pool, producer: AIOKafkaProducer) -> None:
        self.system, self.pool, self.producer = system, pool, producer
        self.figures: dict[str, Any] = {}

    async def start_services(self) -> None:
        """Start the services one after another, so that each has the machine to itself."""
        self.figures["startup_seconds"] = {}
        for name in SERVICES:
            began = time.monotonic()
            await self.system.start_services((name,))
            self.figures["startup_seconds"][name] = round(time.monotonic() - began, 2)

    async def publish(self, stream: Iterator[Command]) -> int:
        """Publish as fast as the broker accepts."""
        count, pending = 0, []
        for command in stream:
            pending.append(await self.producer.send(topics.COMMANDS.name, command.encode(), key=command.key()))
            count += 1
            if len(pending) >= 2000:
                await asyncio.gather(*pending)
                pending = []
        await asyncio.gather(*pending)
        return count

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str, seconds: float, every: float = 0.05) -> None:
        """Wait with a deadline."""
        deadline = time.monotonic() + seconds
        while not await condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {seconds:.0f} s")
            await asyncio.sleep(every)

    async def invoices(self) -> int:
        """The number of invoices in the books."""
        rows = await self.system.control("qbo", "GET", "/companies")
        return sum(int(row["documents"].get("Invoice", 0)) for row in rows)

    async def documents(self, count: int) -> None:
        """Measure commands to documents in QuickBooks, as fast as possible."""
        realm, before = str(self.system.first["qbo"]["realm_id"]), await self.invoices()

        async def there(wanted: int) -> bool:
            return await self.invoices() >= before + wanted

        await self.publish(commands(realm, 200, prefix="D"))  # warm: references cached, connections open
        await self.until(lambda: there(200), "the first documents", 90)
        began = time.monotonic()
        await self.publish(commands(realm, count, prefix="D", start=200))
        await self.until(lambda: there(count + 200), "all documents", 60 + count / 5, every=0.2)
        self.figures["documents"] = count
        self.figures["documents_per_second"] = round(count / (time.monotonic() - began), 1)

    async def recording(self, count: int) -> None:
        """Measure recording alone: commands are published while no service runs."""
        self.memory(SERVICES)
        await self.system.supervisor.stop(*SERVICES)
        await self.publish(commands(NOBODY, count, prefix="R"))
        await self.system.start_services(("qbo-writer",))

        async def all_there() -> bool:
            return bool(await self.pool.fetchval("SELECT count(*) FROM qbo_writer.commands WHERE realm = $1", NOBODY) >= count)

        await self.until(all_there, "all commands recorded", 60 + count / 500, every=0.5)
        # By the ledger's timestamps; the first batch marks the start and is not counted.
        row = await self.pool.fetchrow(
            "WITH f AS MATERIALIZED (SELECT min(recorded_at) AS first FROM qbo_writer.commands WHERE realm = $1) "
            "SELECT count(*) FILTER (WHERE recorded_at > first) AS count, "
            "extract(epoch FROM max(recorded_at) - min(first)) AS seconds FROM qbo_writer.commands, f WHERE realm = $1",
            NOBODY,
        )  # fmt: skip
        self.figures["commands_recorded"] = count
        self.figures["commands_recorded_per_second"] = round(row["count"] / max(float(row["seconds"]), 0.001))

    async def takeover(self, kills: int) -> None:
        """Kill the lease holder in the middle of a backlog and measure the time until the next document; the slowest counts."""
        realm, seconds, backlog = str(self.system.first["qbo"]["realm_id"]), [], 3000 * (kills + 1)
        await self.publish(commands(realm, backlog, prefix="T"))
        await self.until(lambda: self._recorded(realm, backlog), "the backlog recorded", 60)
        await asyncio.gather(*(self.system.start_standby("qbo-writer", f"qbo-writer-standby-{n}") for n in range(kills)))
        for _ in range(kills):
            await self._kill_holder(realm)
            began = time.monotonic()
            await asyncio.sleep(0.5)  # requests in flight complete
            before = await self.invoices()
            await self.until(lambda n=before: self._grown(n), "the standby's first document", 60)  # type: ignore[misc]
            seconds.append(time.monotonic() - began)
        self.figures["takeover_seconds"] = round(max(seconds), 2)

    async def _recorded(self, realm: str, count: int) -> bool:
        query = "SELECT count(*) FROM qbo_writer.documents WHERE realm = $1 AND source_key LIKE 'T%'"
        return bool(await self.pool.fetchval(query, realm) >= count)

    async def _kill_holder(self, realm: str) -> None:
        holder = await self.pool.fetchval("SELECT holder FROM qbo_writer.leases WHERE realm = $1", realm)
        (process,) = (p for p in self.system.supervisor.processes.values() if f":{p.pid}:" in holder)
        process.restart = False
        process.kill()

    async def _grown(self, invoices: int) -> bool:
        return await self.invoices() > invoices

    async def latency(self, rows: int) -> None:
        """Measure sheet rows one at a time: from entering a row to the id in that row."""
        seconds = []
        for number in range(rows):
            token = f"#B{number:04d}"
            cells = {
                "invoice": f"INV-{number}", "submitted_date": "2026-05-04", "year": 2026, "to_client": "Cool Cars",
                "inv_from": "ACD", "job_name": "Delivery", "task_descr": f"Course {token}", "worker": "W. Example",
                "status": "submitted", "inv_dollars": 100 + number,
            }  # fmt: skip
            await self.system.control("sheets", "POST", "/rows", {"rows": [cells]})
            began = time.monotonic()
            await self.until(lambda token=token: self._written_back(token), f"row {token} written back", 60, every=0.02)  # type: ignore[misc]
            seconds.append(time.monotonic() - began)
        cuts = statistics.quantiles(seconds, n=20, method="inclusive")
        self.figures["latency_ms_p50"] = round(statistics.median(seconds) * 1000)
        self.figures["latency_ms_p95"] = round(cuts[18] * 1000)
        self.figures["sheet_poll_ms"] = round(float(FAST["SHEETS_POLL_SECONDS"]) * 1000)

    async def _written_back(self, token: str) -> bool:
        grid = (await self.system.control("sheets", "GET", "/grid"))["inv_tbl"]["values"]
        headers = [str(header).lower() for header in grid[0]]
        for values in reversed(grid[1:]):
            cells = dict(zip(headers, values, strict=False))
            if token in str(cells.get("task_descr", "")):
                return bool(cells.get("qb_invoice_id"))
        return False

    async def deliveries(self, count: int) -> None:
        """Measure signed webhooks of three entities each, sixteen concurrently: rate and the gateway's CPU time."""
        time_, kept = "2026-05-04T12:00:00Z", {"intuitaccountid": NOBODY, "specversion": "1.0", "source": "intuit.bench"}
        events = [
            {**kept, "id": str(n), "type": "qbo.invoice.updated.v1", "time": time_, "intuitentityid": str(n)} for n in range(3)
        ]
        body = json.dumps(events).encode()
        key = str(self.system.first["qbo"]["webhook_verifier_token"]).encode()
        headers = {"intuit-signature": base64.b64encode(hmac.digest(key, body, "sha256")).decode()}
        url = f"{self.system.url('webhook-gateway')}/webhooks/intuit"
        gateway = psutil.Process(self.system.supervisor["webhook-gateway"].pid)

        async def some(number: int) -> None:
            for _ in range(number):
                (await http.post(url, content=body, headers=headers)).raise_for_status()

        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            await some(20)  # warm
            began, before = time.monotonic(), gateway.cpu_times()
            await asyncio.gather(*(some(count // 16) for _ in range(16)))
        after, made = gateway.cpu_times(), count // 16 * 16
        self.figures["webhook_deliveries_per_second"] = round(made / (time.monotonic() - began))
        processor = after.user + after.system - before.user - before.system
        self.figures["webhook_cpu_ms_per_delivery"] = round(processor / made * 1000, 2)

    def memory(self, names: tuple[str, ...]) -> None:
        """Measure the resident memory of these services; the writer's is measured again after the recording."""
        for name in names:
            if pid := self.system.supervisor[name].pid:
                self.figures.setdefault("megabytes", {})[name] = round(psutil.Process(pid).memory_info().rss / 1e6, 1)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure."""
    documents, recorded, rows, kills = (800, 20_000, 8, 1)
    if not options.quick:
        documents, recorded, rows, kills = options.documents, options.commands, options.rows, options.kills
    delivered = 800 if options.quick else 4000
    specs = [(t.name, t.partitions, t.config()) for t in topics.all_topics()]
    with tempfile.TemporaryDirectory(prefix="bookrelay-bench-") as scratch:
        async with Stack(broker=options.broker, topics=specs) as stack:
            system = System(stack, Path(scratch), environment=FAST, standin_options=STANDINS)
            await asyncio.gather(system.start_standins(), system.migrate())
            producer = AIOKafkaProducer(
                bootstrap_servers=stack.bootstrap_servers, acks="all", linger_ms=5, compression_type="lz4", max_batch_size=131_072
            )
            pool = await asyncpg.create_pool(stack.database_url, min_size=1, max_size=2)
            await producer.start()
            bench = Bench(system, pool, producer)
            try:
                tell("start-up, one service after another")
                await bench.start_services()
                tell(f"latency over {rows} rows")
                await bench.latency(rows)
                tell(f"{documents} documents")
                await bench.documents(documents)
                tell(f"{delivered} webhook deliveries")
                await bench.deliveries(delivered)
                tell(f"{recorded} commands to record")
                await bench.recording(recorded)
                bench.memory(("qbo-writer",))
                tell(f"take-over, {kills} times")
                await bench.takeover(kills)
            finally:
                await producer.stop()
                await pool.close()
                await system.close()
    return bench.figures


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="half a minute")
    parser.add_argument("--broker", choices=("embedded", "kafka"), default="embedded")
    parser.add_argument("--documents", type=int, default=5000)
    parser.add_argument("--commands", type=int, default=50_000)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--kills", type=int, default=3)
    figures = asyncio.run(run(parser.parse_args()))
    for name, value in figures.items():
        for part, number in value.items() if isinstance(value, dict) else [("", value)]:
            tell(f"  {name + (' ' + part if part else ''):<44}{number}")
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
