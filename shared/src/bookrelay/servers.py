"""The servers that a process needs (Kafka, Postgres): whether they answer, since when not and why, said once a minute.

What the clients' libraries log while a server is away is folded into that line; the rest of it comes once a minute, and
without their tracebacks.
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
SETTLE_SECONDS = 15.0  # after a server is back, what its clients say and fail with comes of that: they connect, and join anew
SOON_SECONDS = 0.3  # a client's line makes us look at once, but not more often than that
LIBRARIES = ("aiokafka", "faststream", "bookrelay.faststream", "asyncpg")


class Server:
    """One server: `check` looks now, `sentence` says what is wrong. `fixes` says what to do about each kind of cause."""

    def __init__(self, name: str, address: str, fixes: Mapping[str, str], probe: Callable[[], Awaitable[object]]) -> None:
        self.name, self.address, self._fixes, self._probe = name, address, fixes, probe
        self.since: datetime | None = None
        self.cause = Cause("")
        self.folded = 0  # lines of its clients since the last line of ours
        self.answered = False  # at least once
        self._went = 0.0
        self._back = float("-inf")
        self._began = float("-inf")
        self._said: dict[str, float] = {}
        self._lock = asyncio.Lock()

    @property
    def away(self) -> bool:
        """Whether it did not answer when it was last asked."""
        return self.since is not None

    @property
    def settling(self) -> bool:
        """Whether it is back, but not for long: its clients connect again and join their groups."""
        return not self.away and time.monotonic() - self._back < SETTLE_SECONDS

    def sentence(self) -> str | None:
        """Return which server is away, since when, why, and what to do; None while it answers."""
        if self.since is None:
            return None
        return (
            f"{self.name} at {self.address} cannot be {self._what()} since {self.since:%H:%M} UTC ({self.cause.text}). "
            f"{self._fix()}; what waits is kept, and the service goes on by itself when it is back."
        )

    def _what(self) -> str:
        return "reached" if self.cause.kind == "address" else "used"

    def _fix(self) -> str:
        return self._fixes.get(self.cause.kind, self._fixes["address"])

    async def why_not(self) -> BookrelayError | None:
        """Look once, for a command that ends: return why the server cannot be used and what to do; None if it can."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._probe()
        except Exception as error:  # whatever it is
            self.cause = cause_of(error)
            return BookrelayError(
                f"{self.name} at {self.address} cannot be {self._what()}: {self.cause.text}.", f"{self._fix()}."
            )
        return None

    async def check(self) -> bool:
        """Look now and return whether it answers; callers at the same time share one look."""
        asked = time.monotonic()
        async with self._lock:
            if self._began < asked:
                await self._look()
            return not self.away

    async def _look(self) -> None:
        self._began = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._probe()
        except Exception as error:  # whatever it is: the server cannot be used as it is
            self._is_away(error)
        else:
            self._answers()

    def _is_away(self, error: BaseException) -> None:
        now, self.cause = time.monotonic(), cause_of(error)
        if self.since is None:
            self.since, self._went = datetime.now(UTC), now
        if now - self._said.get(self.cause.text, float("-inf")) < SAY_SECONDS:
            return
        self._said[self.cause.text] = now
        event = "server.away" if self.answered else "service.waiting"
        log.warning(event, waiting_for=self.name, reason=self.sentence(), lines_folded=self.folded)
        self.folded = 0

    def _answers(self) -> None:
        self.answered = True
        if self.since is not None:
            self._back = time.monotonic()
            seconds = round(self._back - self._went)
            log.info("server.back", server=self.name, address=self.address, away_seconds=seconds, lines_folded=self.folded)
        self.since, self.folded = None, 0
        self._said.clear()


class _Lines(logging.Handler):
    """Keeps what libraries log until it is known whether a server is away."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.kept: list[logging.LogRecord] = []
        self.came = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith("Auto create topics is disabled"):
            return  # as it has to be
        if len(self.kept) < 1000:
            self.kept.append(record)
        self.came.set()


def _cause(record: logging.LogRecord) -> dict[str, object]:
    """Say what error it was: "Kafka error occurred" says nothing."""
    error = record.exc_info[1] if record.exc_info else None
    return {"error": cause_of(error).text} if error else {}


def _defect(record: logging.LogRecord) -> dict[str, object]:
    """Keep the traceback of what no server can be the cause of: it is a defect of ours."""
    error = record.exc_info[1] if record.exc_info else None
    passing = error is None or isinstance(error, (KafkaError, OSError)) or type(error).__module__.startswith("asyncpg")
    return {} if passing else {"exc_info": record.exc_info}


class Servers:
    """All servers of a process. `watch` looks at them until it is cancelled."""

    def __init__(self) -> None:
        self._all: list[Server] = []
        self._said: dict[tuple[str, str], float] = {}
        self._repeated: dict[tuple[str, str], int] = {}

    def add(self, server: Server) -> Server:
        """Watch this one, too."""
        self._all.append(server)
        return server

    def sentences(self) -> list[str]:
        """Return a sentence for each server that is away."""
        return [sentence for server in self._all if (sentence := server.sentence())]

    async def explain(self, error: BaseException) -> bool:
        """Whether `error` comes of a server that is away, which is looked at now: its own line then says all there is.

        Or of one that is just back: it was away when what has failed began.
        """
        concerned = [s for s in self._all if (s.name == "Kafka") == isinstance(error, KafkaError)] or self._all
        answers = [await server.check() for server in concerned]
        for server in concerned:
            server.folded += server.away
        return not all(answers) or any(server.settling for server in concerned)

    async def look_again(self) -> None:
        """Look at what was away: something has just worked."""
        for server in self._all:
            if server.away:
                await server.check()

    def say(self, event: str, key: str, level: int = logging.WARNING, /, **fields: object) -> None:
        """Log a line (a warning) the first time, then once a minute with how often it came meanwhile."""
        now, what = time.monotonic(), (event, key)
        if now - self._said.get(what, float("-inf")) < SAY_SECONDS:
            self._repeated[what] = self._repeated.get(what, 0) + 1
            return
        self._said[what] = now
        repeated = self._repeated.pop(what, 0)
        log.log(level, event, **fields, **({"repeated": repeated} if repeated else {}))

    async def watch(self) -> None:
        """Look every two seconds, and at once when a client's library has something to say."""
        lines = _Lines()
        loggers = [logging.getLogger(name) for name in LIBRARIES]
        for logger in loggers:
            logger.addHandler(lines)
            logger.propagate = False
        try:
            while True:
                lines.came.clear()
                await asyncio.gather(*(server.check() for server in self._all))
                self._tell(lines)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await lines.came.wait()
                        await asyncio.sleep(SOON_SECONDS)
        finally:
            for logger in loggers:
                logger.removeHandler(lines)
                logger.propagate = True

    def _tell(self, lines: _Lines) -> None:
        kept, lines.kept = lines.kept, []
        for record in kept:
            name = "Postgres" if record.name.startswith("asyncpg") else "Kafka"
            server = next((server for server in self._all if server.name == name), None)
            if server and server.away:
                server.folded += 1
            else:  # what it says is for developers; an operator has the one line of a server that is away
                said = record.getMessage().splitlines()[0][:300] if record.getMessage() else ""
                fields = {"client": record.name, "said": said, **_cause(record), **_defect(record)}
                level = logging.INFO if server and server.settling and "exc_info" not in fields else logging.WARNING
                self.say("client.said", f"{level} {record.name} {record.msg}", level, **fields)


_servers: Servers | None = None


def in_force() -> Servers:
    """Return the servers of this process; a process without a service (a command, a test) has none, and nothing is explained."""
    return _servers or Servers()


def put_in_force(servers: Servers) -> None:
    """Make these the servers of this process."""
    global _servers  # noqa: PLW0603
    _servers = servers
