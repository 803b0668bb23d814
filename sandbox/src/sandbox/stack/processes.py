"""Starts, watches, restarts, kills, pauses and stops the processes of the stack; none outlives its parent."""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import httpx

LAUNCH = Path(__file__).with_name("launch.py")
REPORTED_RESTARTS = 3  # consecutive; later ones are not printed
RESTART_BACKOFF_SECONDS = (0.05, 0.2, 0.5, 1.0, 2.0)


class ProcessFailedError(RuntimeError):
    """A process did not start, or ended; the message contains the end of its log."""


def guarded(command: Sequence[str], death_signal: int = signal.SIGTERM, user: tuple[int, int] | None = None) -> list[str]:
    """Return `command` wrapped so that it gets `death_signal` when this process ends. Call it in a long-lived thread:
    Linux ties the signal to the thread that forked."""
    drop = ["--user", f"{user[0]}:{user[1]}"] if user else []
    options = ["--signal", str(int(death_signal)), "--parent", str(os.getpid()), *drop]
    return [sys.executable, "-I", "-S", str(LAUNCH), *options, "--", *command]


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that was free a moment ago, below the range for outgoing connections."""
    for _ in range(200):
        port = random.randint(15_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port
    raise ProcessFailedError("no free port was found between 15000 and 32000.")


def how_it_ended(status: int | None) -> str:
    """Return an exit status in words."""
    return f"was ended by {signal.Signals(-status).name}" if status and status < 0 else f"ended with exit status {status}"


def tail(path: Path, lines: int = 15) -> str:
    """Return the last lines of a log, or a note if there is none."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


@dataclass
class ManagedProcess:
    """One command under supervision. Its standard output and error go to `log_path`.

    Ready means: `ready_url` answers 200, or (with `first_line`) the first line of its output is a JSON object, kept in `.first`.
    """

    name: str
    command: Sequence[str]
    log_path: Path
    env: Mapping[str, str] = field(default_factory=dict)
    ready_url: str | None = None
    first_line: bool = False
    restart: bool = True
    forward: TextIO | None = None
    report: Callable[[str], None] = lambda _: None  # prints a line for a person: it ended unexpectedly
    first: dict[str, Any] = field(default_factory=dict)
    restarts: int = 0
    exit_status: int | None = None
    _process: asyncio.subprocess.Process | None = None
    _watching: asyncio.Task[None] | None = None
    _forwarding: asyncio.Task[None] | None = None
    _offset: int = 0
    _stopping: bool = False

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    def running(self) -> bool:
        """Whether the process exists, even if paused."""
        return self.pid is not None

    async def start(self, ready_within: float | None = 30.0) -> None:
        """Start and wait until ready (None: do not wait). Raises ProcessFailedError with the end of the log."""
        self._stopping = False
        await self._spawn()
        self._watching = asyncio.create_task(self._watch(), name=f"watch {self.name}")
        if self.forward and not self._forwarding:
            self._forwarding = asyncio.create_task(self._forward(self.forward), name=f"forward {self.name}")
        if ready_within is not None:
            await self.wait_ready(ready_within)

    async def _spawn(self) -> None:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._offset = log.tell()
            self.first = {}
            self._process = await asyncio.create_subprocess_exec(
                *guarded(self.command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.env},
            )

    async def _watch(self) -> None:
        """Restart it when it ends unexpectedly. The wait grows while it keeps failing at start, and is reset after a good run."""
        quick = 0
        while True:
            process, began = self._process, time.monotonic()
            assert process is not None
            self.exit_status = await process.wait()
            if self._stopping:
                return
            quick = 0 if time.monotonic() - began > 10 else quick + 1
            if quick <= REPORTED_RESTARTS:
                again = "restarting it" if self.restart else f"not restarted; see {self.log_path}"
                self.report(f"{self.name} {how_it_ended(self.exit_status)}: {again}")
            if not self.restart:
                return
            await asyncio.sleep(RESTART_BACKOFF_SECONDS[min(quick, len(RESTART_BACKOFF_SECONDS) - 1)])
            if self._stopping:
                return
            self.restarts += 1
            await self._spawn()

    async def _forward(self, target: TextIO) -> None:
        position = self._offset
        while True:
            chunk = await asyncio.to_thread(_read_from, self.log_path, position)
            whole = chunk[: chunk.rfind(b"\n") + 1]
            position += len(whole)
            for line in whole.decode(errors="replace").splitlines():
                print(f"{self.name} | {line}", file=target, flush=True)
            await asyncio.sleep(0.2)

    async def wait_ready(self, within: float = 30.0) -> None:
        """Wait until ready. Fails at once if the process ends and is not restarted; otherwise after `within`."""
        deadline = time.monotonic() + within
        # A client costs 20 ms (certificates), so it is created only if needed.
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) if self.ready_url else contextlib.nullcontext() as client:
            while True:
                if await self._is_ready(client):
                    return
                gone = not self.running and not self.restart
                if gone or time.monotonic() > deadline:
                    what = f"ended with exit status {self.exit_status}" if gone else f"was not ready within {within:.0f} s"
                    raise ProcessFailedError(f"{self.name} {what}; the end of {self.log_path}:\n{tail(self.log_path)}")
                await asyncio.sleep(0.03)

    async def _is_ready(self, client: httpx.AsyncClient | None) -> bool:
        if not self.running:
            return False
        if self.first_line and not self.first:
            self.first = self._read_first()
            if not self.first:
                return False
        if self.ready_url and client:
            with contextlib.suppress(httpx.HTTPError):
                return (await client.get(self.ready_url)).status_code == 200
            return False
        return True

    def _read_first(self) -> dict[str, Any]:
        for line in _read_from(self.log_path, self._offset, 65536).splitlines(keepends=True):
            if line.startswith(b"{") and line.endswith(b"\n"):
                with contextlib.suppress(ValueError):
                    return dict(json.loads(line))
        return {}

    def kill(self, signum: int = signal.SIGKILL) -> None:
        """Send a signal; after SIGKILL it is restarted, as after any unexpected end."""
        if self._process and self._process.returncode is None:
            self._process.send_signal(signum)

    def leaving(self) -> None:
        """Treat its end as intended."""
        self._stopping = True

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and does not respond."""
        self.kill(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after a pause."""
        self.kill(signal.SIGCONT)

    async def stop(self, within: float = 10.0) -> int | None:
        """SIGTERM, then SIGKILL after `within` seconds. Returns the exit status."""
        self._stopping = True
        self.resume()
        self.kill(signal.SIGTERM)
        if self._process:
            try:
                self.exit_status = await asyncio.wait_for(self._process.wait(), within)
            except TimeoutError:
                self.kill(signal.SIGKILL)
                self.exit_status = await self._process.wait()
        if self._watching:
            await asyncio.wait([self._watching])
        if self._forwarding:
            await asyncio.sleep(0.25)  # long enough to read its last lines
            self._forwarding.cancel()
            self._forwarding = None
        return self.exit_status


def _read_from(path: Path, position: int, limit: int = -1) -> bytes:
    with path.open("rb") as file:
        file.seek(position)
        return file.read(limit)


class Supervisor:
    """Named processes of one run."""

    def __init__(self, log_directory: Path) -> None:
        self.log_directory = log_directory
        self.processes: dict[str, ManagedProcess] = {}
        self.report: Callable[[str], None] = lambda _: None
        """Called with a line when a process ends unexpectedly."""

    def __getitem__(self, name: str) -> ManagedProcess:
        return self.processes[name]

    async def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        ready_url: str | None = None,
        first_line: bool = False,
        restart: bool = True,
        forward: TextIO | None = None,
        ready_within: float | None = 30.0,
    ) -> ManagedProcess:
        """Start a command and wait until it is ready; see ManagedProcess. A second start of a name replaces the first."""
        if name in self.processes:
            await self.processes[name].stop()
        process = ManagedProcess(
            name, command, self.log_directory / f"{name}.log", env or {}, ready_url, first_line, restart, forward, self.report
        )
        self.processes[name] = process
        await process.start(ready_within)
        return process

    def kill(self, name: str, signum: int = signal.SIGKILL) -> None:
        """Send a signal to one process."""
        self.processes[name].kill(signum)

    def pause(self, name: str) -> None:
        """SIGSTOP one process."""
        self.processes[name].pause()

    def resume(self, name: str) -> None:
        """SIGCONT one process."""
        self.processes[name].resume()

    def expect_the_end(self) -> None:
        """From now on processes that end are neither reported nor restarted: Ctrl-C in a terminal reaches all of them at once."""
        for process in self.processes.values():
            process.leaving()

    async def stop(self, *names: str, within: float = 10.0) -> None:
        """Stop these processes, all at once."""
        await asyncio.gather(*(self.processes[name].stop(within) for name in names))

    async def stop_all(self, within: float = 10.0) -> dict[str, int | None]:
        """Stop everything at once. Returns the exit status of each."""
        results = await asyncio.gather(*(process.stop(within) for process in self.processes.values()))
        return dict(zip(self.processes, results, strict=True))
