"""A consumer that was paused for longer than its session rejoins: for an operator that is no alarm, but it was a `critical`."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from bookrelay.kafka import Publisher
from bookrelay.topics import EVENTS
from running import Running
from sandbox.stack.embedded_broker import EmbeddedBroker

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]
ROOT = Path(__file__).parents[1]
TINY = ROOT / "integration" / "shared"
RECORD = (ROOT / "contract" / "golden" / "bookrelay.invoice.posted.v1.json").read_bytes()


def publish(servers: str) -> None:
    """One record into every partition."""

    async def all_of_it() -> None:
        publisher = Publisher(servers, "test")
        await publisher.start()
        await publisher.publish_encoded(EVENTS.name, [(str(number).encode(), RECORD, {}) for number in range(40)])
        await publisher.stop()

    asyncio.run(all_of_it())


def alarms(service: Running) -> list[dict[str, Any]]:
    return [line for line in service.lines if line.get("level") in ("error", "critical")]


def test_it_rejoins_without_an_alarm(database_url: str, own_broker: EmbeddedBroker) -> None:
    own_broker.create_topic(EVENTS.name, EVENTS.partitions)
    path = os.pathsep.join([str(TINY), os.environ.get("PYTHONPATH", "")])
    given = {
        "DATABASE_URL": database_url, "KAFKA_BOOTSTRAP_SERVERS": own_broker.bootstrap_servers, "PYTHONPATH": path,
        "TINY": "consuming",
    }  # fmt: skip
    with Running("tiny_service", given) as paused:
        paused.wait_for("service.ready")
        publish(own_broker.bootstrap_servers)
        paused.wait_for("records.received")
        paused.process.send_signal(signal.SIGSTOP)
        try:
            with Running("tiny_service", given) as other:  # joins once the paused one's session has ended
                other.wait_for("service.ready", within=120)
                publish(own_broker.bootstrap_servers)
                other.wait_for("records.received", within=120)
                paused.process.send_signal(signal.SIGCONT)
                number = paused.wait_for("step.done")["number"]
                paused.wait_until(
                    lambda line: line["event"] == "step.done" and line["number"] > number + 60
                )  # 3 s: it has rejoined
                assert other.terminate() == 0
            publish(own_broker.bootstrap_servers)
            paused.wait_for("records.received", within=120)
        finally:
            paused.process.send_signal(signal.SIGCONT)
        assert paused.terminate() == 0
        paused.lines += list(iter(lambda: paused._new.get(timeout=30), None))
        assert alarms(paused) == []
        assert "Traceback" not in str(paused.lines)
        assert "Traceback" not in str(other.lines)
