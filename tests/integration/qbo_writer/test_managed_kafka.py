"""A whole writer on a managed Kafka, configured as docs/managed-services.md says: from the commands to the events."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from bookrelay import topics
from running import Running, eventually, read_topic, until
from sandbox.stack.apache_kafka import ApacheKafka
from secured import CLIENT_SECRET, KEY_PASSWORD, PASSWORD, Managed
from test_service import environment, publisher
from writer_support import QboSandbox, create_schema, invoice

pytestmark = [
    pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow,
    pytest.mark.skipif(os.environ.get("BROKER") != "kafka", reason="a real Kafka: BROKER=kafka"),
]  # fmt: skip
WRONG = "wrong-horse-8"
SECRETS = (WRONG, PASSWORD, CLIENT_SECRET, KEY_PASSWORD)


@pytest.fixture
def kafka(apache_kafka: ApacheKafka, create_topic: Callable[[str, int], None]) -> ApacheKafka:
    """The real Kafka with every topic."""
    for topic in topics.all_topics():
        create_topic(topic.name, topic.partitions)
    return apache_kafka


def password_in_a_file(given: dict[str, str], directory: Path) -> dict[str, str]:
    """KAFKA_SASL_PASSWORD_FILE stands for KAFKA_SASL_PASSWORD."""
    file = directory / "kafka-password"
    file.write_text(given.pop("KAFKA_SASL_PASSWORD") + "\n")
    return given | {"KAFKA_SASL_PASSWORD_FILE": str(file)}


def everything_said(writer: Running, *answers: str) -> str:
    """All that has left the ended process: its log, standard error, and what it answered."""
    writer.lines += list(iter(lambda: writer._new.get(timeout=60), None))
    assert writer.process.stderr
    return "\n".join([json.dumps(writer.lines), writer.process.stderr.read(), *answers])


@pytest.mark.parametrize("how", ["PLAIN", "SCRAM-SHA-512", "OAUTHBEARER", "mutual"])
async def test_a_command_is_posted_and_its_event_published(
    database_url: str, kafka: ApacheKafka, managed_parts: Managed, sandbox: QboSandbox, tmp_path: Path, how: str
) -> None:
    await create_schema(database_url)
    company = sandbox.company()
    realm, given = company["realm_id"], managed_parts.environment(how)
    if how == "SCRAM-SHA-512":
        given = password_in_a_file(given, tmp_path)
    listener = f"127.0.0.1:{kafka.port_of('MUTUAL' if how == 'mutual' else 'SASL')}"
    async with publisher(kafka.bootstrap_servers) as p:
        await p.publish(topics.COMMANDS, [invoice(realm, "Q-1")])
    with Running("qbo_writer.main", environment(database_url, listener, sandbox, company, **given)) as writer:
        starting = writer.wait_for("service.starting", within=120)
        assert starting["kafka_security_protocol"] == ("SSL" if how == "mutual" else "SASL_SSL")
        writer.wait_for("service.ready", within=120)

        async def posted() -> list[Any]:
            told = await read_topic(kafka.bootstrap_servers, topics.EVENTS, realm)
            return [event for event in told if event.type == "bookrelay.invoice.posted.v1"]

        (event, *_) = await until(posted, 120)
        (booked,) = [one for one in sandbox.books(realm, "Invoice") if "bookrelay:" in one.get("PrivateNote", "")]
        assert (event.data.source_key, event.data.qbo_id) == ("Q-1", booked["Id"])
        answers = [writer.get(path).text for path in ("/health/ready", "/health/live", "/metrics")]
        assert json.loads(answers[0])["reasons"] == []
        assert writer.terminate(120) == 0
        said = everything_said(writer, *answers)
        assert [secret for secret in SECRETS if secret in said] == []
        assert [line for line in writer.lines if line.get("level") in ("error", "critical")] == []


@pytest.mark.parametrize("how", ["PLAIN", "SCRAM-SHA-512"])
async def test_a_wrong_password_is_said_plainly_and_never_shown(
    database_url: str, kafka: ApacheKafka, managed_parts: Managed, sandbox: QboSandbox, tmp_path: Path, how: str
) -> None:
    await create_schema(database_url)
    company = sandbox.company()
    given = managed_parts.environment(how) | {"KAFKA_SASL_PASSWORD": WRONG}
    if how == "SCRAM-SHA-512":
        given = password_in_a_file(given, tmp_path)
    listener = f"127.0.0.1:{kafka.port_of('SASL')}"
    async with publisher(kafka.bootstrap_servers) as p:
        await p.publish(topics.COMMANDS, [invoice(company["realm_id"], "Q-1")])
    sentence = (
        rf"Kafka at {re.escape(listener)} cannot be used since \d\d:\d\d UTC \(it refuses the user or the password \(SASL\)\)\. "
        r"Correct KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD\. Nothing is lost; the service resumes automatically when the "
        r"server is back\."
    )
    with Running("qbo_writer.main", environment(database_url, listener, sandbox, company, **given)) as writer:
        waiting = writer.wait_for("service.waiting", within=120)
        assert (waiting["level"], waiting["waiting_for"]) == ("warning", "Kafka")
        assert re.fullmatch(sentence, waiting["reason"]), waiting
        eventually(lambda: "it refuses" in writer.get("/health/ready").text)
        ready = writer.get("/health/ready")
        (reason,) = ready.json()["reasons"]
        assert ready.status_code == 503
        assert re.fullmatch(sentence, reason), reason
        assert writer.get("/health/live").status_code == 200
        answers = [writer.get(path).text for path in ("/health/ready", "/health/live", "/metrics")]
        assert writer.terminate(120) == 0
        said = everything_said(writer, *answers)
    assert [secret for secret in SECRETS if secret in said] == []
    assert "Traceback" not in said
    bad = [line["event"] for line in writer.lines if line.get("level") in ("warning", "error", "critical")]
    assert bad == ["service.waiting"]
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM qbo_writer.commands") == 0
    finally:
        await connection.close()
