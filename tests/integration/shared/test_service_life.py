"""The life of a service as a process: it waits for what is away, says so, and never is up and dead."""

import contextlib
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from bookrelay.topics import EVENTS
from running import Running, eventually
from sandbox.stack.embedded_broker import EmbeddedBroker
from sandbox.stack.processes import free_port

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]
HERE = Path(__file__).parent


def tiny(database_url: str, servers: str, **more: str) -> Running:
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    environment = {"DATABASE_URL": database_url, "KAFKA_BOOTSTRAP_SERVERS": servers, "PYTHONPATH": path, **more}
    return Running("tiny_service", environment)


class Forwarder:
    """Stands between a service and Postgres: it can be away, come, and cut every connection."""

    def __init__(self, target: str) -> None:
        self._host, self._port = re.findall(r"@([^:/]+):(\d+)/", target)[0]
        self.port = free_port()
        self.url = re.sub(r"@[^/]+/", f"@127.0.0.1:{self.port}/", target)
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []

    def come(self) -> None:
        """Listen and forward."""
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.listen()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection((self._host, int(self._port)))
            except OSError:
                return
            self._open += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while part := source.recv(65536):
                sink.sendall(part)
        except OSError:
            pass
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def go(self) -> None:
        """Refuse new connections and cut the old ones."""
        if self._listener:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()


@pytest.fixture
def forwarder(database_url: str) -> Iterator[Forwarder]:
    made = Forwarder(database_url)
    yield made
    made.go()


def test_it_starts_works_and_says_what_it_is_configured_to_do(database_url: str, kafka_bootstrap: str) -> None:
    with tiny(database_url, kafka_bootstrap, SHUTDOWN_SECONDS="7") as service:
        starting = service.wait_for("service.starting")
        assert (starting["shutdown_seconds"], starting["database_url_configured"]) == (7, True)
        service.wait_for("step.done", number=2)
        assert service.get("/health/live").json() == {"live": True, "reasons": []}
        assert service.get("/health/ready").json() == {"ready": True, "reasons": [], "service": "tiny"}
        metrics = service.get("/metrics").text
        assert 'bookrelay_service_info{service="tiny",version="0"} 1.0' in metrics
        assert re.search(r'bookrelay_loop_last_success_timestamp_seconds\{loop="counting"\} \d', metrics)


def test_postgres_that_is_away_at_the_start_is_waited_for(forwarder: Forwarder, kafka_bootstrap: str) -> None:
    with tiny(forwarder.url, kafka_bootstrap) as service:
        waiting = service.wait_for("service.waiting")
        assert waiting["waiting_for"] == "Postgres"
        answer = service.get("/health/ready")
        assert answer.status_code == 503
        said = rf"Postgres at 127\.0\.0\.1:{forwarder.port} cannot be reached since \d\d:\d\d UTC \(.+\)\. Start it, or correct "
        assert re.match(said + r"DATABASE_URL\. ", answer.json()["reasons"][0])
        assert service.get("/health/live").status_code == 200
        forwarder.come()
        service.wait_for("step.done")
        assert service.get("/health/ready").status_code == 200


def test_kafka_that_is_away_at_the_start_is_waited_for(database_url: str) -> None:
    port = free_port()
    with tiny(database_url, f"127.0.0.1:{port}") as service:
        assert service.wait_for("service.waiting")["waiting_for"] == "Kafka"
        assert service.get("/health/ready").json()["reasons"][0].startswith(f"Kafka at 127.0.0.1:{port} cannot be reached since ")
        broker = EmbeddedBroker(port=port)
        try:
            broker.start()
            service.wait_for("step.done")
            assert service.get("/health/ready").status_code == 200
        finally:
            broker.stop()


LOADING = 14
"""What a coordinator answers that is not ready for a group: clients ask again, and again."""


@pytest.fixture
def deaf_broker(own_broker: EmbeddedBroker) -> EmbeddedBroker:
    """A broker that takes records and lets no consumer join its group."""
    own_broker.create_topic(EVENTS.name, EVENTS.partitions)
    own_broker.push_errors("JoinGroup", [LOADING] * 20_000)
    return own_broker


def test_loops_run_while_the_consumers_cannot_join_and_ready_says_so(database_url: str, deaf_broker: EmbeddedBroker) -> None:
    with tiny(database_url, deaf_broker.bootstrap_servers, TINY="consuming") as service:
        service.wait_for("step.done", number=3)
        answer = service.get("/health/ready")
        assert (answer.status_code, answer.json()["reasons"]) == (503, ["waiting for Kafka to let the consumers join"])
        assert service.get("/health/live").status_code == 200
        deaf_broker.clear_errors("JoinGroup")
        service.wait_for("service.ready")
        assert service.get("/health/ready").status_code == 200


def test_sigterm_while_the_consumers_cannot_join_ends_it(database_url: str, deaf_broker: EmbeddedBroker) -> None:
    with tiny(database_url, deaf_broker.bootstrap_servers, TINY="consuming") as service:
        service.wait_for("step.done")
        assert service.terminate() == 0
        events = _rest(service)
        assert "service.ready" not in events
        assert events.index("service.stopping") < events.index("cleaned.up") < events.index("service.stopped")


def test_sigterm_while_kafka_is_away_and_the_consumers_wait_ends_it(database_url: str, deaf_broker: EmbeddedBroker) -> None:
    with tiny(database_url, deaf_broker.bootstrap_servers, TINY="consuming") as service:
        service.wait_for("step.done")
        deaf_broker.set_down()
        service.wait_for("step.done")
        assert service.terminate() == 0


def test_postgres_that_goes_and_returns_interrupts_the_work_only_so_long(forwarder: Forwarder, kafka_bootstrap: str) -> None:
    forwarder.come()
    with tiny(forwarder.url, kafka_bootstrap) as service:
        service.wait_for("step.done")
        forwarder.go()
        away = service.wait_for("server.unavailable")
        assert away["reason"].startswith(f"Postgres at 127.0.0.1:{forwarder.port} cannot be reached since ")
        eventually(lambda: service.get("/health/ready").status_code == 503)
        (reason,) = service.get("/health/ready").json()["reasons"]  # by now it may be refused, and not closed any more
        assert reason.partition("(")[0] == away["reason"].partition("(")[0]
        assert service.get("/health/live").status_code == 200
        forwarder.come()
        eventually(lambda: service.get("/health/ready").status_code == 200)
        number = service.wait_for("step.done")["number"]
        service.wait_until(lambda line: line["event"] == "step.done" and line["number"] > number)


def test_sigterm_lets_a_step_end_and_cleans_up(database_url: str, kafka_bootstrap: str) -> None:
    with tiny(database_url, kafka_bootstrap, TINY="slow") as service:
        service.wait_for("service.ready")
        service.wait_for("step.begun")
        assert service.terminate() == 0
        events = _rest(service)
        assert (
            events.index("service.stopping")
            < events.index("step.done")
            < events.index("cleaned.up")
            < events.index("service.stopped")
        )


def _rest(service: Running) -> list[str]:
    service.wait_for("service.stopped")
    return [line["event"] for line in service.lines]


def test_a_step_that_does_not_end_is_cut_after_the_time_given(database_url: str, kafka_bootstrap: str) -> None:
    with tiny(database_url, kafka_bootstrap, TINY="hanging", SHUTDOWN_SECONDS="0.5") as service:
        service.wait_for("step.begun")
        assert service.terminate() == 0


def test_a_loop_that_hangs_is_not_live(database_url: str, kafka_bootstrap: str) -> None:
    with tiny(database_url, kafka_bootstrap, TINY="hanging", SHUTDOWN_SECONDS="0.2") as service:
        service.wait_for("step.begun")
        eventually(lambda: service.get("/health/live").status_code == 503)
        assert re.match(r"counting hangs for \d+ s", service.get("/health/live").json()["reasons"][0])


def test_a_bug_ends_the_process_with_a_reason(database_url: str, kafka_bootstrap: str) -> None:
    with tiny(database_url, kafka_bootstrap, TINY="broken") as service:
        status, stderr = service.ended()
    assert (status, stderr) == (1, "tiny: stopped by an unexpected error: RuntimeError: a bug\n")


def test_sigint_while_waiting_ends_it() -> None:
    with tiny("postgresql://x:y@127.0.0.1:1/z", "127.0.0.1:1") as service:
        service.wait_for("service.waiting")
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(60) == 0


def test_a_taken_port_is_one_line(database_url: str, kafka_bootstrap: str) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with tiny(database_url, kafka_bootstrap, HTTP_PORT=str(port)) as service:
            status, stderr = service.ended()
    assert status == 1
    assert len(stderr.splitlines()) == 1
    assert stderr.startswith(f"tiny: QB008: cannot listen on 127.0.0.1:{port}: ")
    assert "HTTP_PORT" in stderr


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL is missing"),
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL is not a Postgres address"),
        ({"HTTP_PORT": "99999"}, "HTTP_PORT is wrong"),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL is wrong"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_one_line(
    database_url: str, kafka_bootstrap: str, environment: dict[str, str], said: str
) -> None:
    given = {"DATABASE_URL": database_url, **environment}
    with tiny(given.pop("DATABASE_URL"), kafka_bootstrap, **given) as service:
        status, stderr = service.ended()
    assert status == 1
    assert len(stderr.splitlines()) == 1
    assert said in stderr


def test_a_postgres_that_refuses_for_good_ends_it_with_a_reason(database_url: str, kafka_bootstrap: str) -> None:
    """A database that does not exist will not come by waiting."""
    url = re.sub(r"/[^/]*$", "/nowhere", database_url)
    with tiny(url, kafka_bootstrap) as service:
        status, stderr = service.ended()
    assert status == 1
    assert "nowhere" in stderr.splitlines()[0]


def test_its_http_side_refuses_what_it_does_not_know(database_url: str, kafka_bootstrap: str) -> None:
    with tiny(database_url, kafka_bootstrap) as service:
        service.wait_for("service.ready")
        assert service.get("/nothing").status_code == 404
        assert httpx.post(f"{service.url}/health/live", timeout=30, trust_env=False).status_code == 405
