"""Kafka was killed: a minute later every process still said "ready", after up to 153 error lines a second with tracebacks."""

import os
import signal
from pathlib import Path

import httpx
import pytest
from bookrelay.topics import EVENTS, WEBHOOKS
from running import Running, eventually
from sandbox.stack.embedded_broker import EmbeddedBroker
from sandbox.stack.processes import free_port

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]
TINY = Path(__file__).parents[1] / "integration" / "shared"


def reasons(service: Running) -> list[str]:
    """Why it is not ready; empty if it is."""
    return [str(reason) for reason in service.get("/health/ready").json()["reasons"]]


def test_a_consumer_and_producer_says_so_in_one_line_and_comes_back(database_url: str) -> None:
    port = free_port()
    path = os.pathsep.join([str(TINY), os.environ.get("PYTHONPATH", "")])
    given = {"DATABASE_URL": database_url, "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{port}", "PYTHONPATH": path}
    topics = [(EVENTS.name, EVENTS.partitions)]
    broker = EmbeddedBroker(topics, port=port)
    broker.start()
    with Running("tiny_service", given | {"TINY": "consuming"}) as service:
        try:
            service.wait_for("service.ready")
            before = len(service.lines)
            assert reasons(service) == []
            os.kill(broker.pid or 0, signal.SIGKILL)
            broker.stop()
            eventually(lambda: reasons(service) != [], within=10)
            assert len(reasons(service)) == 1
            said = reasons(service)[0]
            assert said.startswith(f"Kafka at 127.0.0.1:{port} cannot be reached since "), said
            assert "connection refused" in said or "closes the connection" in said
            assert "KAFKA_BOOTSTRAP_SERVERS" in said
            number = service.wait_for("step.done")["number"]  # 10 seconds of an outage
            service.wait_until(lambda line: line["event"] == "step.done" and line["number"] > number + 150)
            lines = [line for line in service.lines[before:] if line.get("level") in ("warning", "error", "critical")]
            assert {line["event"] for line in lines} == {"server.unavailable"}, lines
            assert 1 <= len(lines) <= 2, lines  # each cause once: it closed the connection, it refuses
            assert "Traceback" not in str(service.lines)
            assert "ConnectionRefusedError" not in str(service.lines)
            broker = EmbeddedBroker(topics, port=port)
            broker.start()
            back = service.wait_for("server.available")
            assert (back["server"], back["address"]) == ("Kafka", f"127.0.0.1:{port}")
            eventually(lambda: reasons(service) == [])
        finally:
            broker.stop()


def test_the_gateway_is_not_ready_while_it_would_answer_503(own_broker: EmbeddedBroker) -> None:
    own_broker.create_topic(WEBHOOKS.name, 1)
    given = {"KAFKA_BOOTSTRAP_SERVERS": own_broker.bootstrap_servers, "QBO_WEBHOOK_VERIFIER_TOKENS": "verifier-1"}
    with Running("webhook_gateway.main", {**given, "DATABASE_URL": "postgresql://u:p@127.0.0.1:1/unused"}) as gateway:
        gateway.wait_for("service.ready")
        own_broker.set_down()
        eventually(lambda: gateway.get("/health/ready").status_code == 503, within=10)
        assert reasons(gateway)[0].startswith(f"Kafka at {own_broker.bootstrap_servers} cannot be reached since ")
        assert gateway.get("/health/live").status_code == 200
        own_broker.set_up()
        eventually(lambda: gateway.get("/health/ready").status_code == 200)


def test_readiness_answers_at_once_while_a_server_is_frozen(database_url: str, own_broker: EmbeddedBroker) -> None:
    path = os.pathsep.join([str(TINY), os.environ.get("PYTHONPATH", "")])
    given = {"DATABASE_URL": database_url, "KAFKA_BOOTSTRAP_SERVERS": own_broker.bootstrap_servers, "PYTHONPATH": path}
    with Running("tiny_service", given) as service:
        service.wait_for("service.ready")
        own_broker.set_rtt(60_000)
        eventually(lambda: bool(reasons(service)), within=20)
        assert "no answer in time" in reasons(service)[0]
        assert httpx.get(service.url + "/health/live", timeout=30, trust_env=False).status_code == 200
