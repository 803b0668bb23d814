"""What comes again and again is one line a minute for each cause, with how often it came, and not one line each time."""

import base64
import hmac
import json

import asyncpg
import httpx
import pytest
from bookrelay import topics
from running import Running, until
from sandbox.stack.embedded_broker import EmbeddedBroker
from test_service import create_topics, environment, publisher, writer_process
from writer_support import QboSandbox, create_schema, invoice

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]
# A commit that Postgres refuses as passing, and a sequence, which survives the rollback, to count how often.
REFUSED = """
CREATE SEQUENCE public.refusals;
CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM nextval('public.refusals'); RAISE EXCEPTION 'again, please' USING ERRCODE = 'serialization_failure'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON qbo_writer.attempts FOR EACH ROW
WHEN (NEW.state = 'resolved') EXECUTE FUNCTION public.refuse();
"""


async def test_an_answer_that_cannot_be_committed(database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox) -> None:
    await create_schema(database_url)
    create_topics(own_broker)
    company = sandbox.company()
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(REFUSED)
        with writer_process(environment(database_url, own_broker.bootstrap_servers, sandbox, company)) as (_, log):
            async with publisher(own_broker.bootstrap_servers) as p:
                await p.publish(topics.COMMANDS, [invoice(company["realm_id"], "Q-1")])

            async def refused_five_times() -> bool:
                return bool(await connection.fetchval("SELECT is_called AND last_value >= 5 FROM public.refusals"))

            async def posted() -> bool:
                return bool(await connection.fetchval("SELECT state = 'posted' FROM qbo_writer.commands"))

            await until(refused_five_times, 120)
            await connection.execute("DROP TRIGGER refuse ON qbo_writer.attempts")
            await until(posted, 120)
            lines = [json.loads(line) for line in log.read_text().splitlines() if "settle.retrying" in line]
    finally:
        await connection.close()
    assert [(line["level"], line["error"]) for line in lines] == [("warning", "again, please")]
    assert "SerializationError" not in str(lines)


def test_deliveries_that_are_refused(own_broker: EmbeddedBroker) -> None:
    own_broker.create_topic(topics.WEBHOOKS.name, 1)
    given = {
        "KAFKA_BOOTSTRAP_SERVERS": own_broker.bootstrap_servers, "QBO_WEBHOOK_VERIFIER_TOKENS": "verifier-1", "DATABASE_URL": ""
    }  # fmt: skip
    with Running("webhook_gateway.main", given) as gateway:
        gateway.wait_for("service.ready")
        address = f"{gateway.url}/webhooks/intuit"
        with httpx.Client(timeout=60, trust_env=False) as http:
            for number in range(200):
                body = b"{" + str(number).encode()
                signed = base64.b64encode(hmac.digest(b"verifier-1", body, "sha256")).decode()
                assert http.post(address, content=body, headers={"intuit-signature": "stranger"}).status_code == 401
                assert http.post(address, content=body, headers={"intuit-signature": signed}).status_code == 400
        assert 'bookrelay_webhook_deliveries_total{outcome="bad_signature"} 200.0' in gateway.get("/metrics").text
        assert gateway.terminate() == 0
        gateway.lines += list(iter(lambda: gateway._new.get(timeout=30), None))
    refused = [line["outcome"] for line in gateway.lines if line["event"] == "delivery.rejected"]
    assert refused == ["bad_signature", "unreadable"]
