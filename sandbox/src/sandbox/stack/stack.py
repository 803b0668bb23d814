"""Starts Postgres and a broker in parallel, in one directory; or uses existing ones whose addresses are given."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from sandbox.stack.apache_kafka import ApacheKafka, create_topics
from sandbox.stack.embedded_broker import EmbeddedBroker
from sandbox.stack.postgres import Postgres
from sandbox.stack.processes import REPORTED_RESTARTS, RESTART_BACKOFF_SECONDS, Supervisor, how_it_ended

Broker = Literal["embedded", "kafka"]
TopicSpec = tuple[str, int, Mapping[str, str]]  # name, partitions, settings (ignored by the embedded broker)


class Stack:
    """`async with Stack(broker=..., topics=...) as stack:` gives `.database_url`, `.bootstrap_servers`, `.supervisor`.

    Without a directory it is temporary, fast and deleted at the end. With one it is durable (except for the embedded broker).
    Migrations and services are started by the caller, through the supervisor; they are stopped before what they run on.
    """

    def __init__(
        self,
        broker: Broker = "embedded",
        directory: Path | None = None,
        database_url: str | None = None,
        kafka_bootstrap_servers: str | None = None,
        topics: Iterable[TopicSpec] = (),
        broker_port: int = 0,
        kafka_security: Mapping[str, Any] | None = None,
    ) -> None:
        self._temporary = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="bookrelay-"))
        self.topics = list(topics)
        self.supervisor = Supervisor(self.directory / "logs")
        self.postgres = None if database_url else Postgres(self.directory / "postgres", ephemeral=self._temporary)
        self.embedded: EmbeddedBroker | None = None
        self.kafka: ApacheKafka | None = None
        if kafka_bootstrap_servers is None and broker == "embedded":
            self.embedded = EmbeddedBroker(
                [(name, partitions) for name, partitions, _ in self.topics],
                port=broker_port,
                log_path=self.directory / "logs" / "broker.log",
            )
        elif kafka_bootstrap_servers is None:
            self.kafka = ApacheKafka(self.directory / "kafka", port=broker_port or None)
        self.database_url = database_url or ""
        self.bootstrap_servers = kafka_bootstrap_servers or ""
        self._kafka_security = kafka_security

    async def __aenter__(self) -> Self:
        if self._temporary:
            self.directory.chmod(0o755)  # Postgres may run as another user
        (self.directory / "logs").mkdir(parents=True, exist_ok=True)
        try:
            started = await asyncio.gather(self._start_postgres(), self._start_broker(), return_exceptions=True)
            for result in started:
                if isinstance(result, BaseException):
                    raise result
        except BaseException:
            await self.stop()
            raise
        return self

    # Processes are spawned in this thread, not in a worker: they end with the thread that forked them.
    async def _start_postgres(self) -> None:
        if self.postgres:
            await asyncio.to_thread(self.postgres.initialise)
            self.postgres.spawn()
            await asyncio.to_thread(self.postgres.wait_ready)
            self.database_url = self.postgres.url

    async def _start_broker(self) -> None:
        if self.embedded:
            self.embedded.spawn()
            self.bootstrap_servers = await asyncio.to_thread(self.embedded.wait_ready)
            self.embedded.port = int(self.bootstrap_servers.rpartition(":")[2])  # it restarts on the same port
        elif self.kafka:
            await asyncio.to_thread(self.kafka.prepare)
            self.kafka.spawn()
            await self.kafka.wait_ready(self.topics)
            self.bootstrap_servers = self.kafka.bootstrap_servers
        else:
            await create_topics(self.bootstrap_servers, self.topics, self._kafka_security)

    async def keep_up(self, report: Callable[[str], None]) -> None:
        """Restart Postgres or the broker when it ends unexpectedly, and report it; runs until cancelled."""
        parts: list[tuple[str, Postgres | ApacheKafka | EmbeddedBroker | None, Callable[[], Awaitable[None]]]] = [
            ("Postgres", self.postgres, self._start_postgres),
            ("Apache Kafka", self.kafka, self._start_broker),
            ("the embedded broker", self.embedded, self._start_broker),
        ]
        await asyncio.gather(*(_keep_up(name, part, start, report) for name, part, start in parts if part))

    async def stop(self) -> None:
        """Stop the supervisor's processes, then the broker and Postgres; a temporary directory is removed."""
        await self.supervisor.stop_all()
        parts = [part for part in (self.embedded, self.kafka, self.postgres) if part]
        await asyncio.gather(*(asyncio.to_thread(part.stop) for part in parts))
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()


async def _keep_up(
    name: str,
    part: Postgres | ApacheKafka | EmbeddedBroker,
    start: Callable[[], Awaitable[None]],
    report: Callable[[str], None],
) -> None:
    lost = " (its data is lost: it is kept in memory only)" if isinstance(part, EmbeddedBroker) else ""
    quick, began = 0, time.monotonic()
    while True:
        await asyncio.sleep(0.2)
        if part.pid is not None:
            continue
        quick = 0 if time.monotonic() - began > 10 else quick + 1
        reported = quick <= REPORTED_RESTARTS
        if reported:
            report(f"{name} {how_it_ended(part.exit_status)}: restarting it{lost}")
        await asyncio.sleep(RESTART_BACKOFF_SECONDS[min(quick, len(RESTART_BACKOFF_SECONDS) - 1)])
        began = time.monotonic()
        try:
            await start()
        except Exception as error:  # the port is in use, or the previous one's children still hold shared memory
            if reported:
                report(f"{name} did not restart, retrying: {str(error).splitlines()[0] if str(error) else error!r}")
        else:
            report(f"{name} is back")
