"""The broker inside librdkafka, in a separate process: Kafka's real protocol over TCP, in memory, for one machine.

`python -m sandbox.stack.embedded_broker --topic name:partitions ...` prints `{"bootstrap_servers": ...}` and then obeys
JSON lines on standard input: `{"do": "down"|"up"|"rtt"|"errors"|"clear_errors"|"topic", ...}`, each answered
by one JSON line. It ends when that input ends. It keeps at most 5 MiB or 100,000 messages a partition, and loses
everything when it ends.
"""

import argparse
import asyncio
import contextlib
import ctypes
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from sandbox.stack.processes import ProcessFailedError, guarded, tail

BROKER_ID = 1
# Kafka's request numbers, for `errors`.
API_KEYS = {
    "Produce": 0,
    "Fetch": 1,
    "ListOffsets": 2,
    "Metadata": 3,
    "OffsetCommit": 8,
    "OffsetFetch": 9,
    "FindCoordinator": 10,
    "JoinGroup": 11,
    "Heartbeat": 12,
    "LeaveGroup": 13,
    "SyncGroup": 14,
    "InitProducerId": 22,
}


class MockCluster:
    """librdkafka's mock cluster of one broker, through ctypes on the library bundled with confluent-kafka."""

    def __init__(self) -> None:
        lib = self._lib = ctypes.CDLL(_library())
        lib.rd_kafka_conf_new.restype = ctypes.c_void_p
        lib.rd_kafka_new.restype = ctypes.c_void_p
        lib.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
        lib.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        lib.rd_kafka_err2str.restype = ctypes.c_char_p
        reason = ctypes.create_string_buffer(512)
        conf = ctypes.c_void_p(lib.rd_kafka_conf_new())
        handle = lib.rd_kafka_new(0, conf, reason, ctypes.c_size_t(512))
        if not handle:
            raise ProcessFailedError(f"librdkafka did not start: {reason.value.decode()}")
        self._rk = ctypes.c_void_p(handle)
        self._cluster = ctypes.c_void_p(lib.rd_kafka_mock_cluster_new(self._rk, 1))
        if not self._cluster:
            raise ProcessFailedError("librdkafka's mock cluster did not start")
        lib.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, ctypes.c_int32(0))
        lib.rd_kafka_mock_set_controller_id(self._cluster, ctypes.c_int32(BROKER_ID))

    @property
    def address(self) -> tuple[str, int]:
        """The broker's own address."""
        host, port = self._lib.rd_kafka_mock_cluster_bootstraps(self._cluster).decode().split(",")[0].rsplit(":", 1)
        return host, int(port)

    def topic(self, name: str, partitions: int) -> None:
        """Create a topic; an existing one is not changed."""
        self._check(self._lib.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1), tolerate=(-2, 36))

    def advertise(self, host: str, port: int) -> None:
        """Advertise another address to clients."""
        self._check(self._lib.rd_kafka_mock_broker_set_host_port(self._cluster, ctypes.c_int32(BROKER_ID), host.encode(), port))

    def down(self) -> None:
        """Refuse and drop all connections."""
        self._check(self._lib.rd_kafka_mock_broker_set_down(self._cluster, ctypes.c_int32(BROKER_ID)))

    def up(self) -> None:
        """Accept connections again, with the stored data."""
        self._check(self._lib.rd_kafka_mock_broker_set_up(self._cluster, ctypes.c_int32(BROKER_ID)))

    def rtt(self, milliseconds: int) -> None:
        """Delay every response."""
        self._check(self._lib.rd_kafka_mock_broker_set_rtt(self._cluster, ctypes.c_int32(BROKER_ID), milliseconds))

    def errors(self, api: str, codes: list[int]) -> None:
        """Answer the next requests of a kind with these Kafka error codes, in order (-195: drop the connection, 0: let
        one pass).
        """
        array = (ctypes.c_int * len(codes))(*codes)
        call = self._lib.rd_kafka_mock_push_request_errors_array
        call.restype = None
        call(self._cluster, ctypes.c_int16(API_KEYS[api]), ctypes.c_size_t(len(codes)), array)

    def clear_errors(self, api: str) -> None:
        """Remove the pending errors of a kind of request."""
        self._lib.rd_kafka_mock_clear_request_errors.restype = None
        self._lib.rd_kafka_mock_clear_request_errors(self._cluster, ctypes.c_int16(API_KEYS[api]))

    def _check(self, code: int, tolerate: tuple[int, ...] = ()) -> None:
        if code and code not in tolerate:
            raise ProcessFailedError(f"librdkafka's mock cluster refused: {self._lib.rd_kafka_err2str(code).decode()} ({code})")


def _library() -> str:
    """The librdkafka inside the confluent-kafka wheel, under whatever hashed name this version has."""
    import confluent_kafka  # loads the library, so that its own dependencies are found

    package = Path(confluent_kafka.__file__).parent
    candidates = [
        p for d in (package.parent / "confluent_kafka.libs", package / ".dylibs") for p in sorted(d.glob("librdkafka*"))
    ]
    if not candidates:
        raise ProcessFailedError(f"librdkafka was not found beside {package}; reinstall confluent-kafka from its wheel.")
    return str(candidates[0])


class _Relay(asyncio.Protocol):
    """One direction of a relayed connection; mock brokers cannot choose their port, so a wanted port is relayed to it."""

    def __init__(self, upstream: tuple[str, int] | None) -> None:
        self.upstream = upstream
        self.other: _Relay | None = None
        self.transport: asyncio.Transport | None = None
        self.waiting: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.upstream:
            self.connecting = asyncio.get_running_loop().create_task(self._connect(self.upstream))

    async def _connect(self, address: tuple[str, int]) -> None:
        try:
            _, other = await asyncio.get_running_loop().create_connection(lambda: _Relay(None), *address)
        except OSError:
            if self.transport:
                self.transport.abort()
            return
        self.other, other.other = other, self
        for data in self.waiting:
            assert other.transport
            other.transport.write(data)

    def data_received(self, data: bytes) -> None:
        if self.other and self.other.transport:
            self.other.transport.write(data)
        else:
            self.waiting.append(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self.other and self.other.transport:
            self.other.transport.close()

    def pause_writing(self) -> None:
        if self.other and self.other.transport:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other and self.other.transport:
            self.other.transport.resume_reading()


async def _relay(listener: socket.socket, upstream: tuple[str, int]) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Relay(upstream), sock=listener)
    async with server:
        await server.serve_forever()


def _obey(cluster: MockCluster, order: dict[str, Any]) -> dict[str, Any]:
    match order.pop("do", None):
        case "down" | "up" | "rtt" | "errors" | "clear_errors" | "topic" as name:
            getattr(cluster, name)(**order)
            return {"ok": True}
        case other:
            return {"ok": False, "error": f"unknown order {other!r}"}


def _serve(cluster: MockCluster) -> None:
    for line in sys.stdin:
        try:
            answer = _obey(cluster, json.loads(line))
        except Exception as error:
            answer = {"ok": False, "error": repr(error)}
        print(json.dumps(answer), flush=True)


def main() -> None:
    """Run until standard input ends."""
    parser = argparse.ArgumentParser(prog="embedded_broker", description=__doc__)
    parser.add_argument("--topic", action="append", default=[], metavar="NAME:PARTITIONS")
    parser.add_argument("--port", type=int, default=0, help="relay this port to the broker (it cannot choose its own)")
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; our parent ends us when the others are down
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    cluster = MockCluster()
    for topic in options.topic:
        name, _, partitions = topic.rpartition(":")
        cluster.topic(name, int(partitions))
    host, port = cluster.address
    if options.port:
        upstream = (host, port)
        cluster.advertise(options.host, options.port)
        host, port = options.host, options.port
        listener = socket.create_server((host, port))  # before its address is printed
        threading.Thread(target=lambda: asyncio.run(_relay(listener, upstream)), daemon=True).start()
    print(json.dumps({"bootstrap_servers": f"{host}:{port}"}), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        _serve(cluster)


class EmbeddedBroker:
    """The broker as a child process of ours. `start` and `stop` block for less than a second."""

    def __init__(self, topics: Iterable[tuple[str, int]] = (), *, port: int = 0, log_path: Path | None = None) -> None:
        self.topics = list(topics)
        self.port = port
        self.log_path = log_path
        self.bootstrap_servers = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def start(self) -> str:
        """Start with its topics. Returns the bootstrap servers."""
        self.spawn()
        return self.wait_ready()

    def spawn(self) -> None:
        """Start the process; call it in a thread that outlives the broker."""
        command = [sys.executable, "-m", "sandbox.stack.embedded_broker", "--port", str(self.port)]
        for name, partitions in self.topics:
            command += ["--topic", f"{name}:{partitions}"]
        with contextlib.ExitStack() as stack:
            log: IO[bytes] | int = stack.enter_context(self.log_path.open("ab")) if self.log_path else subprocess.DEVNULL
            self._process = subprocess.Popen(guarded(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)

    def wait_ready(self) -> str:
        """Wait for its address."""
        self.bootstrap_servers = str(self._read_line()["bootstrap_servers"])
        return self.bootstrap_servers

    def _read_line(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            log = tail(self.log_path) if self.log_path else "(not kept)"
            raise ProcessFailedError(f"The embedded broker ended; its log:\n{log}")
        return dict(json.loads(line))

    def _order(self, **order: Any) -> None:
        with self._lock:
            assert self._process is not None
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            answer = self._read_line()
        if not answer["ok"]:
            raise ProcessFailedError(f"the embedded broker refused {order}: {answer['error']}")

    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic."""
        self._order(do="topic", name=name, partitions=partitions)

    def set_down(self) -> None:
        """Make the broker unavailable: connections break and new ones are refused. Its data is kept."""
        self._order(do="down")

    def set_up(self) -> None:
        """Make the broker available again."""
        self._order(do="up")

    def set_rtt(self, milliseconds: int) -> None:
        """Delay every response."""
        self._order(do="rtt", milliseconds=milliseconds)

    def push_errors(self, api: str, codes: list[int]) -> None:
        """Answer the next `api` requests (see API_KEYS) with Kafka error codes."""
        self._order(do="errors", api=api, codes=codes)

    def clear_errors(self, api: str) -> None:
        """Remove the pending errors of `api` requests."""
        self._order(do="clear_errors", api=api)

    def kill(self) -> None:
        """SIGKILL: its data is lost."""
        if self._process:
            self._process.kill()
        self.stop()

    def stop(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            process.wait(5)
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


if __name__ == "__main__":
    main()
