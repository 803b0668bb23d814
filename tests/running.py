"""Run a service as a process of its own in a test: its environment, its log lines, its end."""

import asyncio
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from bookrelay.messages import AnyMessage, adapter
from bookrelay.topics import Topic


class Running:
    """`with Running("webhook_gateway.main", {...}) as service:` starts it; the end of the block kills it if it still runs."""

    def __init__(self, module: str, environment: Mapping[str, str], *arguments: str) -> None:
        self.module, self.arguments = module, arguments
        self.environment = {**os.environ, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": "0", **environment}
        self.lines: list[dict[str, Any]] = []
        self._new: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.process: subprocess.Popen[str]

    def __enter__(self) -> Self:
        command = [sys.executable, "-c", f"from {self.module} import main; main()", *self.arguments]
        self.process = subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._new.put(json.loads(line) if line.startswith("{") else {"event": line.strip()})
        self._new.put(None)

    def wait_for(self, event: str, within: float = 60, **fields: Any) -> dict[str, Any]:
        """Return the next log line of this event with these fields."""
        return self.wait_until(lambda line: line["event"] == event and all(line.get(k) == v for k, v in fields.items()), within)

    def wait_until(self, wanted: Callable[[dict[str, Any]], bool], within: float = 60) -> dict[str, Any]:
        """Return the next log line that is wanted; lines before it are kept in `lines`."""
        deadline = time.monotonic() + within
        while True:
            try:
                line = self._new.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no such line within {within} s; the log so far: {self.lines}") from None
            if line is None:
                assert self.process.stderr
                raise AssertionError(f"{self.module} ended; its log: {self.lines}; stderr: {self.process.stderr.read()}")
            self.lines.append(line)
            if wanted(line):
                return line

    @property
    def url(self) -> str:
        """The address of its HTTP side; there once it has said service.starting."""
        starting = [line for line in self.lines if line["event"] == "service.starting"]
        return f"http://127.0.0.1:{(starting or [self.wait_for('service.starting')])[0]['http_port']}"

    def get(self, path: str) -> httpx.Response:
        """GET a path of its HTTP side."""
        return httpx.get(self.url + path, timeout=30, trust_env=False)

    def terminate(self, within: float = 60) -> int:
        """SIGTERM; return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)

    def ended(self, within: float = 60) -> tuple[int, str]:
        """Wait until it has ended by itself; return its exit status and stderr."""
        status = self.process.wait(within)
        assert self.process.stderr
        return status, self.process.stderr.read()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe and not pipe.closed and pipe is self.process.stderr:
                pipe.close()


def eventually(check: Callable[[], bool], within: float = 60, what: str = "the condition") -> None:
    """Return when `check` holds; fail after `within` seconds."""
    deadline = time.monotonic() + within
    while not check():
        assert time.monotonic() < deadline, f"{what} did not come within {within} s"
        time.sleep(0.02)


async def read_topic(bootstrap: str, topic: Topic, realm: str) -> list[AnyMessage]:
    """Return everything that stands in a topic now about one company, each partition in order."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[AnyMessage] = []
        deadline = time.monotonic() + 60
        while any([await consumer.position(p) < ends[p] for p in partitions]):
            assert time.monotonic() < deadline, "the topic cannot be read to its end"
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [adapter(topic.carries).validate_json(r.value) for r in records if realm.encode() in (r.value or b"")]
        return found
    finally:
        await consumer.stop()


class ServiceProcess:
    """A service as a process whose log lines are read from a file: it can be killed and started again without losing them."""

    def __init__(self, module: str, environment: dict[str, str], log: Path) -> None:
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
        self.process.wait(30)

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


async def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
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
