"""The servers that a process depends on (Kafka, Postgres): whether they answer, and if not, since when and why.

An unavailable server is logged once a minute. Log lines of the client libraries are suppressed meanwhile, and are otherwise
logged once a minute without tracebacks.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from aiokafka.errors import KafkaError

from bookrelay import telemetry
from bookrelay.causes import Cause, cause_of
from bookrelay.errors import BookrelayError

log = telemetry.get_logger(__name__)

LOOK_SECONDS = 2.0
ANSWER_SECONDS = 3.0
SAY_SECONDS = 60.0
SETTLE_SECONDS = 15.0  # after a server is back its clients reconnect and rejoin; their errors are still due to the outage
SOON_SECONDS = 0.3  # a log line of a client triggers a check, at most this often
LIBRARIES = ("aiokafka", "faststream", "bookrelay.faststream", "asyncpg")


class Server:
    """One server: `check` probes it, `sentence` describes the problem. `fixes` has a remedy for each kind of cause."""

    def __init__(self, name: str, address: str, fixes: Mapping[str, str], probe: Callable[[], Awaitable[object]]) -> None:
        self.name, self.address, self._fixes, self._probe = name, address, fixes, probe
        self.since: datetime | None = None
        self.cause = Cause("")
        self.suppressed = 0  # log lines of its clients since our last one
        self.answered = False  # at least once
        self._lost_at = 0.0
        self._back_at = float("-inf")
        self._began = float("-inf")
        self._logged: dict[str, float] = {}
        self._lock = asyncio.Lock()

    @property
    def unavailable(self) -> bool:
        """Whether the latest check failed."""
        return self.since is not None

    @property
    def settling(self) -> bool:
        """Whether it has been back only briefly, so that its clients are still reconnecting and rejoining."""
        return not self.unavailable and time.monotonic() - self._back_at < SETTLE_SECONDS

    def sentence(self) -> str | None:
        """Return which server is unavailable, since when, why, and what to do; None while it answers."""
        if self.since is None:
            return None
        return (
            f"{self.name} at {self.address} cannot be {self._what()} since {self.since:%H:%M} UTC ({self.cause.text}). "
            f"{self._fix()}. Nothing is lost; the service resumes automatically when the server is back."
        )

    def _what(self) -> str:
        return "reached" if self.cause.kind == "address" else "used"

    def _fix(self) -> str:
        return self._fixes.get(self.cause.kind, self._fixes["address"])

    async def why_not(self) -> BookrelayError | None:
        """Probe once, for a command-line tool: return why the server cannot be used and what to do; None if it can."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._probe()
        except Exception as error:  # any
            self.cause = cause_of(error)
            return BookrelayError(
                f"{self.name} at {self.address} cannot be {self._what()}: {self.cause.text}.", f"{self._fix()}."
            )
        return None

    async def check(self) -> bool:
        """Probe and return whether it answers; concurrent callers share one probe."""
        asked = time.monotonic()
        async with self._lock:
            if self._began < asked:
                await self._look()
            return not self.unavailable

    async def _look(self) -> None:
        self._began = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._probe()
        except Exception as error:  # any: the server cannot be used
            self._set_unavailable(error)
        else:
            self._set_available()

    def _set_unavailable(self, error: BaseException) -> None:
        now, self.cause = time.monotonic(), cause_of(error)
        if self.since is None:
            self.since, self._lost_at = datetime.now(UTC), now
        if now - self._logged.get(self.cause.text, float("-inf")) < SAY_SECONDS:
            return
        self._logged[self.cause.text] = now
        event = "server.unavailable" if self.answered else "service.waiting"
        log.warning(event, waiting_for=self.name, reason=self.sentence(), lines_suppressed=self.suppressed)
        self.suppressed = 0

    def _set_available(self) -> None:
        self.answered = True
        if self.since is not None:
            self._back_at = time.monotonic()
            seconds = round(self._back_at - self._lost_at)
            log.info(
                "server.available",
                server=self.name,
                address=self.address,
                unavailable_seconds=seconds,
                lines_suppressed=self.suppressed,
            )
        self.since, self.suppressed = None, 0
        self._logged.clear()


class _Lines(logging.Handler):
    """Buffers the libraries' log lines until it is known whether a server is unavailable."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.kept: list[logging.LogRecord] = []
        self.came = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith("Auto create topics is disabled"):
            return  # intended
        if len(self.kept) < 1000:
            self.kept.append(record)
        self.came.set()


def _cause(record: logging.LogRecord) -> dict[str, object]:
    """Return the error of a log line such as "Kafka error occurred"."""
    error = record.exc_info[1] if record.exc_info else None
    return {"error": cause_of(error).text} if error else {}


def _defect(record: logging.LogRecord) -> dict[str, object]:
    """Return the traceback of an error that no server can have caused: it is a bug of ours."""
    error = record.exc_info[1] if record.exc_info else None
    transient = error is None or isinstance(error, (KafkaError, OSError)) or type(error).__module__.startswith("asyncpg")
    return {} if transient else {"exc_info": record.exc_info}


class Servers:
    """All servers of a process. `watch` checks them until it is cancelled."""

    def __init__(self) -> None:
        self._all: list[Server] = []
        self._logged: dict[tuple[str, str], float] = {}
        self._repeated: dict[tuple[str, str], int] = {}

    def add(self, server: Server) -> Server:
        """Watch this server as well."""
        self._all.append(server)
        return server

    def sentences(self) -> list[str]:
        """Return a sentence for each unavailable server."""
        return [sentence for server in self._all if (sentence := server.sentence())]

    async def explain(self, error: BaseException) -> bool:
        """Whether `error` is due to a server that is unavailable (checked now), or was until just now.

        That server's own log line then covers it.
        """
        concerned = [s for s in self._all if (s.name == "Kafka") == isinstance(error, KafkaError)] or self._all
        answers = [await server.check() for server in concerned]
        for server in concerned:
            server.suppressed += server.unavailable
        return not all(answers) or any(server.settling for server in concerned)

    async def look_again(self) -> None:
        """Check the servers that were unavailable, after something has succeeded."""
        for server in self._all:
            if server.unavailable:
                await server.check()

    def say(self, event: str, key: str, level: int = logging.WARNING, /, **fields: object) -> None:
        """Log a line the first time, then once a minute with the number of repetitions."""
        now, what = time.monotonic(), (event, key)
        if now - self._logged.get(what, float("-inf")) < SAY_SECONDS:
            self._repeated[what] = self._repeated.get(what, 0) + 1
            return
        self._logged[what] = now
        repeated = self._repeated.pop(what, 0)
        log.log(level, event, **fields, **({"repeated": repeated} if repeated else {}))

    async def watch(self) -> None:
        """Check every two seconds, and at once when a client library logs something."""
        lines = _Lines()
        loggers = [logging.getLogger(name) for name in LIBRARIES]
        for logger in loggers:
            logger.addHandler(lines)
            logger.propagate = False
        try:
            while True:
                lines.came.clear()
                await asyncio.gather(*(server.check() for server in self._all))
                self._log_lines(lines)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await lines.came.wait()
                        await asyncio.sleep(SOON_SECONDS)
        finally:
            for logger in loggers:
                logger.removeHandler(lines)
                logger.propagate = True

    def _log_lines(self, lines: _Lines) -> None:
        kept, lines.kept = lines.kept, []
        for record in kept:
            name = "Postgres" if record.name.startswith("asyncpg") else "Kafka"
            server = next((server for server in self._all if server.name == name), None)
            if server and server.unavailable:
                server.suppressed += 1
            else:  # for developers; operators have the line about the unavailable server
                message = record.getMessage().splitlines()[0][:300] if record.getMessage() else ""
                fields = {"client": record.name, "message": message, **_cause(record), **_defect(record)}
                level = logging.INFO if server and server.settling and "exc_info" not in fields else logging.WARNING
                self.say("client.logged", f"{level} {record.name} {record.msg}", level, **fields)


_servers: Servers | None = None


def in_force() -> Servers:
    """Return the servers of this process; a process without a service (a command, a test) has none."""
    return _servers or Servers()


def put_in_force(servers: Servers) -> None:
    """Make these the servers of this process."""
    global _servers  # noqa: PLW0603
    _servers = servers
