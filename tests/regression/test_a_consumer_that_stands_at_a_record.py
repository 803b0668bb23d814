"""A batch was handed over again for hours, and nothing said at which record: no log line, no metric, and readiness neither."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bookrelay.kafka import Publisher
from bookrelay.messages import DocumentSkipped, DocumentSkippedData, Kind
from bookrelay.topics import EVENTS
from running import Running, eventually
from sandbox.stack.embedded_broker import EmbeddedBroker

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]
TINY = Path(__file__).parents[1] / "integration" / "shared"


def skipped(key: str) -> DocumentSkipped:
    data = DocumentSkippedData(realm="1", source="emr", source_key=key, kind=Kind.INVOICE, version=1, reason="left out")
    return DocumentSkipped.of(data, sender="test", time=datetime(2026, 11, 1, tzinfo=UTC))


async def test_the_record_is_named_and_readiness_is_kept(database_url: str, own_broker: EmbeddedBroker, tmp_path: Path) -> None:
    servers = own_broker.bootstrap_servers
    own_broker.create_topic(EVENTS.name, 1)
    fails_at = tmp_path / "key"
    fails_at.write_text("Q-3")
    publisher = Publisher(servers, "test")
    await publisher.start()
    await publisher.publish(EVENTS, [skipped(f"Q-{number}") for number in range(1, 6)])
    given = {
        "DATABASE_URL": database_url, "KAFKA_BOOTSTRAP_SERVERS": servers, "TINY": "consuming", "TINY_FAILS_AT": str(fails_at),
        "PYTHONPATH": os.pathsep.join([str(TINY), os.environ.get("PYTHONPATH", "")]),
    }  # fmt: skip
    with Running("tiny_service", given) as service:
        line = service.wait_for("batch.retrying")
        assert (line["topic"], line["group"], line["partition"], line["offset"]) == (EVENTS.name, "tiny", 0, 2)
        assert line["key"] == "1:emr:Q-3"
        assert line["error"] == "QB008: the books are locked. Unlock them."
        eventually(lambda: 'bookrelay_consumer_retries_total{group="tiny"' in service.get("/metrics").text)

        def retries() -> float:
            lines = service.get("/metrics").text.splitlines()
            return float(next(text for text in lines if text.startswith("bookrelay_consumer_retries_total{")).split()[-1])

        eventually(lambda: retries() >= 4)
        answer = service.get("/health/ready")
        assert answer.status_code == 200
        (note,) = answer.json()["notes"]
        for part in (f"offset 2 of {EVENTS.name}, partition 0", "'1:emr:Q-3'", "the books are locked. Unlock them.", "since"):
            assert part in note
        labels = f'{{group="tiny",partition="0",topic="{EVENTS.name}"}}'
        assert f"bookrelay_consumer_blocked_offset{labels} 2.0" in service.get("/metrics").text
        fails_at.unlink()
        service.wait_for("consumer.resumed", offset=2, partition=0)
        assert len([line for line in service.lines if line["event"] == "batch.retrying"]) == 1, "one line a minute"
        assert "notes" not in service.get("/health/ready").json()
        assert "bookrelay_consumer_blocked_offset{" not in service.get("/metrics").text
        keys = [key for line in service.lines if line["event"] == "records.received" for key in line["keys"]]
        assert set(keys) == {f"Q-{number}" for number in range(1, 6)}
    await publisher.stop()
