"""The life cycle of a service: start, wait for Postgres and Kafka, run its loops, serve health and metrics, stop gracefully.

A service never stays up without working: it waits for unavailable servers and reports that in /health/ready, and exits with a
reason on any permanent error.
"""

import asyncio
import contextlib
import errno
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from bookrelay import blocked, metrics, telemetry
from bookrelay.errors import BookrelayError, SettingsError
from bookrelay.http_server import HttpServer
from bookrelay.kafka import Publisher, new_broker
from bookrelay.kafka_probe import kafka_server
from bookrelay.loops import Loop, Loops, Step
from bookrelay.retrying import retrying
from bookrelay.servers import Servers, put_in_force
from bookrelay.settings import ServiceSettings
from bookrelay.transient import TRANSIENT, UNMIGRATED, brief

if TYPE_CHECKING:
    from bookrelay.db import Pool

log = telemetry.get_logger(__name__)

START_SECONDS = 30.0  # for starting the producer; then it is retried


class Service:
    """A service's parts and their life cycle. Build it in `build_app(settings)`, run it with `run`.

    `prepare` is called once Postgres and the producer are connected: it opens other resources, adds loops with `add_loop` and
    subscribers with `bookrelay.kafka.consume(service.broker, ...)`.
    """

    def __init__(
        self,
        name: str,
        settings: ServiceSettings,
        prepare: Callable[["Service"], Awaitable[None]],
        *,
        routes: Sequence[BaseRoute] = (),
        needs_database: bool = True,
    ) -> None:
        self.name, self.settings = name, settings
        security = settings.kafka_security()
        self.publisher = Publisher(settings.kafka_bootstrap_servers, name, security)
        self.broker: KafkaBroker = new_broker(settings.kafka_bootstrap_servers, name, security)
        self.stopping = asyncio.Event()
        self.http_port = settings.http_port
        self._prepare, self._routes, self._needs_database = prepare, routes, needs_database
        self._pool: Pool | None = None
        self._waiting_for: str | None = "start"
        self._working = False  # the loops are running
        self._stop_by = 0.0  # monotonic time, set when it stops
        self._cleanups: list[Callable[[], Awaitable[None]]] = []
        self._on_stopping: list[Callable[[], None]] = []
        self._ready_checks: list[Callable[[], str | None]] = []
        self._note_checks: list[Callable[[], Sequence[str]]] = []
        self.blocked = blocked.Blocked()
        blocked.put_in_force(self.blocked)
        self.servers = Servers()
        put_in_force(self.servers)
        self._loops = Loops(self.stopping, self.servers)
        self._kafka, self._kafka_probe = kafka_server(settings, name, security)

    @property
    def pool(self) -> "Pool":
        """The service's pool; available from `prepare` on."""
        assert self._pool is not None
        return self._pool

    def on_stopping(self, call: Callable[[], None]) -> None:
        """Call this as soon as the service stops, before it waits for its loops."""
        self._on_stopping.append(call)

    def add_loop(self, name: str, step: Step, *, stall_seconds: float = 300, vital: bool = True, label: str = "") -> None:
        """Add a supervised loop. While one that is not `vital` fails, the service is ready and notes it.

        `label` stands for it in metrics, where many share one.
        """
        self._loops.add(Loop(name, step, stall_seconds, vital=vital, label=label))

    def seconds_to_stop(self) -> float:
        """Return how long a cleanup may wait for work in progress: the rest of `shutdown_seconds`, at least a second."""
        return max(1.0, self._stop_by - time.monotonic())

    def add_cleanup(self, cleanup: Callable[[], Awaitable[None]]) -> None:
        """Call `cleanup` on shutdown, in reverse order of addition."""
        self._cleanups.append(cleanup)

    def add_ready_check(self, check: Callable[[], str | None]) -> None:
        """Register a check that returns why the service is not ready; None if it is."""
        self._ready_checks.append(check)

    def add_note_check(self, check: Callable[[], Sequence[str]]) -> None:
        """Register a check for problems that need a person while the service is ready: /health/ready shows them with 200."""
        self._note_checks.append(check)

    # ------------------------------------------------------------------------------------------------------------ health

    def not_ready_because(self) -> list[str]:
        """Return all reasons why the service is not ready."""
        reasons = self.servers.sentences()
        if self._waiting_for and not (reasons and any(name in self._waiting_for for name in ("Kafka", "Postgres", "database"))):
            reasons.append(f"waiting for {self._waiting_for}")
        reasons += self._loops.failing(vital=True)
        if not self._working:  # the checks' subjects do not exist yet
            return reasons
        reasons += [reason for check in self._ready_checks if (reason := check())]
        if self.stopping.is_set():
            reasons.append("stopping")
        return reasons

    def notes(self) -> list[str]:
        """Return what needs a person while the service is ready: blocked consumers, failing loops of one company."""
        found = [record.sentence() for record in self.blocked.records()]
        found += self._loops.failing(vital=False)
        return found + [note for check in self._note_checks for note in check()]

    def not_live_because(self) -> list[str]:
        """Return every loop that hangs."""
        return self._loops.hanging()

    def asgi(self) -> Starlette:
        """Return the HTTP application: health, metrics, and the service's own routes."""

        async def live(_: Request) -> Response:
            reasons = self.not_live_because()
            return JSONResponse({"live": not reasons, "reasons": reasons}, 503 if reasons else 200)

        async def ready(_: Request) -> Response:
            reasons, notes = self.not_ready_because(), self.notes()
            metrics.SERVICE_READY.set(0 if reasons else 1)
            body = {"ready": not reasons, "reasons": reasons, "service": self.name} | ({"notes": notes} if notes else {})
            return JSONResponse(body, 503 if reasons else 200)

        async def exposition(_: Request) -> Response:
            return Response(generate_latest(metrics.REGISTRY), media_type=CONTENT_TYPE_LATEST)

        own = [Route("/health/live", live), Route("/health/ready", ready), Route("/metrics", exposition)]
        return Starlette(routes=[*own, *self._routes])

    # -------------------------------------------------------------------------------------------------------------- life

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT; raise permanent errors (it waits for unavailable servers)."""
        listener = bind(self.settings.http_host, self.settings.http_port)
        self.http_port = listener.getsockname()[1]
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        metrics.SERVICE_INFO.labels(self.name, package_version(self.name)).set(1)
        log.info("service.starting", **(self.settings.summary() | {"http_port": self.http_port}))
        server = HttpServer(self.asgi(), shutdown_seconds=5)
        self._know_servers()
        tasks = [
            asyncio.create_task(server.serve(sockets=[listener]), name="http"),
            asyncio.create_task(self._work(), name="work"),
            asyncio.create_task(self.stopping.wait(), name="stop"),
            asyncio.create_task(self.servers.watch(), name="watch"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled():
                    task.result()
        finally:
            self.stopping.set()
            await self._shut_down(server, tasks)
        work = tasks[1]
        if work.done() and not work.cancelled():
            work.result()  # a loop that failed has set `stopping` itself: raise its error

    def _know_servers(self) -> None:
        if self._needs_database:
            from bookrelay.db import postgres_server

            self._postgres = self.servers.add(postgres_server(self.settings, lambda: self._pool))
        self.servers.add(self._kafka)

    async def _work(self) -> None:
        if self._needs_database:
            self._pool = await self._wait_for("Postgres", self._open_pool)
            self._postgres.answered = True  # from now on it is logged as "unavailable", whatever the first check found
        await self._wait_for("Kafka", self._start_publisher)
        await self._wait_for(f"the database of {self.name}", lambda: self._prepare(self))
        self._working = True
        async with asyncio.TaskGroup() as group:
            # The loops do not wait for the consumers: a group with a dead member accepts no one until its session times out.
            consuming = group.create_task(self._consume(), name="consumers")
            for loop in self._loops:
                group.create_task(self._loops.supervise(loop), name=loop.name)
            await self.stopping.wait()
            consuming.cancel()

    async def _consume(self) -> None:
        if self.broker.subscribers:
            await self._wait_for("Kafka to let the consumers join", self._start_broker)
        self._waiting_for = None
        log.info("service.ready", http_port=self.http_port)

    async def _open_pool(self) -> "Pool":
        from bookrelay.db import open_pool

        return await open_pool(self.settings, application_name=self.name)

    async def _start_publisher(self) -> None:
        # aiokafka does not notice a refused token, and its producer would then wait for metadata for ever.
        if not await self._kafka.check():
            raise KafkaError(self._kafka.cause.text)
        async with asyncio.timeout(START_SECONDS):
            await self.publisher.start()

    async def _start_broker(self) -> None:
        try:
            await self.broker.start()
        except BaseException:
            await self.broker.stop()
            raise

    async def _wait_for(self, what: str, start: Callable[[], Awaitable[Any]]) -> Any:
        """Retry until `start` succeeds; meanwhile the service is not ready and says why."""
        self._waiting_for = what

        async def failed(error: Exception) -> None:
            if self.stopping.is_set():  # a library took our cancellation for a failure of its own
                raise asyncio.CancelledError from error
            explained = await self.servers.explain(error)
            self._waiting_for = f"{what}: {brief(error)}" if isinstance(error, UNMIGRATED) else what
            if not explained:
                self.servers.say("service.waiting", what + brief(error), waiting_for=what, error=brief(error))

        started = await retrying(start, passes=lambda error: isinstance(error, TRANSIENT), failed=failed, first=0.2, most=5.0)
        await self.servers.look_again()
        return started

    async def _shut_down(self, server: HttpServer, tasks: list[asyncio.Task[Any]]) -> None:
        log.info("service.stopping")
        for stopping in self._on_stopping:
            stopping()
        started = time.monotonic()
        self._stop_by = started + self.settings.shutdown_seconds
        work = next(task for task in tasks if task.get_name() == "work")
        if not work.done():  # loops finish their unit of work
            await asyncio.wait([work], timeout=self.settings.shutdown_seconds if self._working else 0.1)
        for task in tasks:
            if task.get_name() not in ("http", "watch"):  # log lines of disconnecting clients are still handled by "watch"
                task.cancel()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(15):
                await self.broker.stop()
        for cleanup in reversed(self._cleanups):
            with contextlib.suppress(Exception):
                async with asyncio.timeout(self.seconds_to_stop() + 5):  # time to release resources after waiting
                    await cleanup()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(5):
                await self.publisher.stop()
        if self._pool:
            from bookrelay.db import close_pool

            await close_pool(self._pool)
        watch = next(task for task in tasks if task.get_name() == "watch")
        watch.cancel()
        await asyncio.wait([watch], timeout=5)
        self._kafka_probe.close()
        server.should_exit = True
        await asyncio.wait([task for task in tasks if task.get_name() == "http"], timeout=6)
        log.info("service.stopped", seconds=round(time.monotonic() - started, 2))


def package_version(name: str) -> str:
    """Return the version of service `name`."""
    try:
        return version(f"bookrelay-{name}")
    except PackageNotFoundError:
        return "0"


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise SettingsError with the port if it is in use."""
    # asyncio disables Nagle's algorithm only if the protocol is given; else each response on a keep-alive connection waits 40 ms.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        port_is_wrong = error.errno in (errno.EADDRINUSE, errno.EACCES)
        raise SettingsError(
            f"cannot listen on {host}:{port}: {error.strerror or error}.",
            "Stop the process that uses the port, or set HTTP_PORT to another one."
            if port_is_wrong
            else "Set HTTP_HOST to an address of this machine: 127.0.0.1, or 0.0.0.0 for all interfaces.",
        ) from None
    listener.listen(512)
    listener.setblocking(False)
    return listener


def main(name: str, build: Callable[[], Service]) -> None:
    """Run a service as a process: exit status 0 after a graceful stop, else 1 with the reason on stderr's first line."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(f"usage: {name}\n\nRuns the service until SIGTERM or SIGINT. Settings are environment variables; see .env.example.")  # noqa: T201
        return
    if sys.argv[1:]:
        what = f"{name} takes no arguments ({sys.argv[1]!r}): settings are environment variables; see .env.example."
        print(what, file=sys.stderr)  # noqa: T201
        sys.exit(2)
    try:
        import uvloop

        run: Callable[..., Any] = uvloop.run
    except ImportError:
        run = asyncio.run

    async def body() -> None:
        service = build()
        telemetry.setup_logging(name, service.settings.log_level)
        telemetry.setup_tracing(name, service.settings.otel_exporter_otlp_endpoint)
        await service.run()

    try:
        run(body())
    except* BookrelayError as group:
        for error in flatten(group):
            print(f"{name}: {error.sentence() if isinstance(error, BookrelayError) else error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except* Exception as group:
        telemetry.setup_logging(name)
        log.error("service.failed", exc_info=group)
        first = next(iter(flatten(group)))
        print(f"{name}: stopped by an unexpected error: {brief(first)}", file=sys.stderr)  # noqa: T201
        sys.exit(1)


def flatten(group: BaseException) -> list[BaseException]:
    """Return the individual errors of an exception group."""
    if isinstance(group, BaseExceptionGroup):
        return [leaf for error in group.exceptions for leaf in flatten(error)]
    return [group]
