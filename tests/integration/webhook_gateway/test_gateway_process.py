"""The gateway as a process on a broker: the 200 comes after the acknowledgement, and not otherwise."""

import asyncio
import base64
import hmac
import json
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer
from bookrelay.topics import WEBHOOKS, all_topics
from running import Running, eventually
from sandbox.stack.embedded_broker import EmbeddedBroker
from sandbox.stack.processes import free_port

pytestmark = pytest.mark.kafka
TOKEN = "verifier-of-this-test"
DEAD = "intuit.webhooks.v1.webhook-gateway.dlt"


def environment(servers: str, **more: str) -> dict[str, str]:
    return {"KAFKA_BOOTSTRAP_SERVERS": servers, "QBO_WEBHOOK_VERIFIER_TOKENS": f"old-one, {TOKEN}", "DATABASE_URL": "", **more}


def event(entity_id: str = "1", **changes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0", "id": str(uuid.uuid4()), "source": "intuit.x", "type": "qbo.invoice.updated.v1",
        "time": "2025-09-10T21:31:25.179550Z", "intuitentityid": entity_id, "intuitaccountid": "310687", "data": {}, **changes,
    }  # fmt: skip


def sign(body: bytes, token: str = TOKEN) -> str:
    return base64.b64encode(hmac.digest(token.encode(), body, "sha256")).decode()


def post(
    gateway: Running, content: Any, *, token: str = TOKEN, seconds: float = 60, path: str = "/webhooks/intuit", **headers: str
) -> httpx.Response:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    headers = {"intuit-signature": sign(body, token), **headers}
    return httpx.post(f"{gateway.url}{path}", content=body, headers=headers, timeout=seconds, trust_env=False)


def stored(servers: str, topic: str) -> list[dict[str, Any]]:
    """Return everything that stands in a topic, in the order of its offsets."""

    async def read() -> list[dict[str, Any]]:
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False)
        await consumer.start()  # without a group it reads every partition
        try:
            parts = sorted(consumer.assignment())
            assert parts, f"there is no topic {topic}"
            ends = await consumer.end_offsets(parts)
            found: list[dict[str, Any]] = []
            for part in parts:
                while await consumer.position(part) < ends[part]:
                    for record in (await consumer.getmany(part, timeout_ms=500)).get(part, []):
                        headers = {name: value.decode() for name, value in record.headers}
                        found.append({"key": record.key, "value": json.loads(record.value), "headers": headers})
            return found
        finally:
            await consumer.stop()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(read())).result()


@pytest.fixture
def servers(kafka_bootstrap: str, create_topic: Any) -> str:
    for topic in all_topics():
        create_topic(topic.name, topic.partitions)
    return kafka_bootstrap


@pytest.fixture
def gateway(servers: str) -> Iterator[Running]:
    with Running("webhook_gateway.main", environment(servers)) as service:
        service.wait_for("service.ready")
        yield service


def ids(servers: str) -> list[str]:
    return [record["value"]["data"]["notification_id"] for record in stored(servers, WEBHOOKS.name)]


def test_a_delivery_stands_in_the_topic_when_the_200_comes(gateway: Running, servers: str) -> None:
    one, other = event("1"), event("2", intuitaccountid="777")
    answer = post(gateway, [one, other])
    assert (answer.status_code, answer.content) == (200, b"")
    found = {record["value"]["data"]["notification_id"]: record for record in stored(servers, WEBHOOKS.name)}
    assert found[one["id"]]["key"] == b"310687:Invoice:1"
    assert found[other["id"]]["key"] == b"777:Invoice:2"
    assert found[one["id"]]["headers"]["content-type"] == "application/cloudevents+json"
    assert found[one["id"]]["headers"]["traceparent"].startswith("00-")


def test_an_address_registered_with_a_final_slash_is_the_same(gateway: Running, servers: str) -> None:
    """A redirect would lose the delivery: who sends webhooks follows none."""
    one = event()
    answer = post(gateway, [one], path="/webhooks/intuit/")
    assert (answer.status_code, answer.content) == (200, b"")
    assert one["id"] in ids(servers)
    assert post(gateway, [event()], token="wrong", path="/webhooks/intuit/").status_code == 401


def test_the_same_delivery_again_is_the_same_message(gateway: Running, servers: str) -> None:
    again = event()
    assert [post(gateway, [again]).status_code for _ in range(2)] == [200, 200]
    values = [r["value"] for r in stored(servers, WEBHOOKS.name) if r["value"]["data"]["notification_id"] == again["id"]]
    assert len(values) == 2
    assert values[0] == values[1]


@pytest.mark.parametrize(
    ("content", "token", "status", "outcome"),
    [
        ([event()], "wrong", 401, "bad_signature"),
        (b"{", TOKEN, 400, "unreadable"),
        (b" " * 1_000_001, TOKEN, 413, "too_large"),
    ],
)
def test_what_cannot_be_taken_has_a_status_a_reason_and_a_count(
    gateway: Running, content: Any, token: str, status: int, outcome: str
) -> None:
    answer = post(gateway, content, token=token)
    assert answer.status_code == status
    assert answer.json()["error"] == outcome
    assert answer.json()["reason"]
    assert f'bookrelay_webhook_deliveries_total{{outcome="{outcome}"}} 1.0' in gateway.get("/metrics").text
    assert gateway.wait_for("delivery.rejected")["outcome"] == outcome


def test_a_large_body_without_a_length_is_cut_off(gateway: Running) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 100_000

    answer = httpx.post(f"{gateway.url}/webhooks/intuit", content=parts(), timeout=60, trust_env=False)
    assert answer.status_code == 413


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_only_post_is_taken(gateway: Running, method: str) -> None:
    answer = httpx.request(method, f"{gateway.url}/webhooks/intuit", timeout=60, trust_env=False)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_bad_record_goes_to_the_dead_letters_and_the_rest_goes_on(gateway: Running, servers: str) -> None:
    good, bad = event(), {"id": str(uuid.uuid4()), "type": "qbo"}
    assert post(gateway, [bad, good]).status_code == 200
    assert good["id"] in ids(servers)
    (dead,) = [record for record in stored(servers, DEAD) if record["value"] == bad]
    assert dead["headers"]["dlt-reason"] == "type is not qbo.<entity>.<operation>.v1"
    line = gateway.wait_for("delivery.published")
    assert (line["entities"], line["dead_lettered"], line["level"]) == (1, 1, "warning")


def test_a_body_that_does_not_come_is_answered_408(servers: str) -> None:
    with Running("webhook_gateway.main", environment(servers, WEBHOOK_DEADLINE_SECONDS="0.5")) as gateway:
        gateway.wait_for("service.ready")
        host, port = gateway.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"POST /webhooks/intuit HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\npartial")
            connection.settimeout(60)
            assert b" 408 " in connection.recv(1000).split(b"\r\n")[0]


def test_no_content_and_no_secret_stands_in_the_log(gateway: Running) -> None:
    canary = "MariaCanary"
    post(gateway, [event(canary), event(type=canary), {"x": canary}], **{"intuit-t-id": "1-abc"})
    post(gateway, canary.encode())
    post(gateway, [event(canary)], token="wrong")
    gateway.wait_for("delivery.rejected", outcome="bad_signature")
    assert any(line.get("intuit_tid") == "1-abc" for line in gateway.lines)
    assert canary not in json.dumps(gateway.lines)
    assert TOKEN not in json.dumps(gateway.lines)
    assert gateway.lines[0]["qbo_webhook_verifier_tokens_configured"] is True


def test_a_broker_that_goes_away_means_503_and_nothing_is_lost_when_it_returns(own_broker: EmbeddedBroker) -> None:
    own_broker.create_topic(WEBHOOKS.name, 2)
    with Running("webhook_gateway.main", environment(own_broker.bootstrap_servers, WEBHOOK_DEADLINE_SECONDS="1")) as gateway:
        gateway.wait_for("service.ready")
        first, second = event(), event()
        assert post(gateway, [first]).status_code == 200
        own_broker.set_down()
        answer = post(gateway, [second], seconds=15)  # by the deadline: the broker stays away
        assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")
        own_broker.set_up()
        eventually(lambda: post(gateway, [second]).status_code == 200, what="the broker's return")
        assert {first["id"], second["id"]} <= set(ids(own_broker.bootstrap_servers))


def test_a_slow_broker_means_503_within_the_deadline(own_broker: EmbeddedBroker) -> None:
    own_broker.create_topic(WEBHOOKS.name, 1)
    with Running("webhook_gateway.main", environment(own_broker.bootstrap_servers, WEBHOOK_DEADLINE_SECONDS="0.7")) as gateway:
        gateway.wait_for("service.ready")
        own_broker.set_rtt(60_000)
        answer = post(gateway, [event()], seconds=15)  # by the deadline: long before the broker's answer
        assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")


def test_a_gateway_that_starts_before_its_broker_answers_503_and_then_200() -> None:
    port = free_port()
    with Running("webhook_gateway.main", environment(f"127.0.0.1:{port}")) as gateway:
        gateway.wait_for("service.waiting")
        assert post(gateway, [event()]).status_code == 503
        assert gateway.get("/health/ready").json()["reasons"][0].startswith(f"Kafka at 127.0.0.1:{port} cannot be reached since ")
        assert gateway.get("/health/live").status_code == 200
        broker = EmbeddedBroker([(WEBHOOKS.name, 2)], port=port)
        try:
            broker.start()
            gateway.wait_for("service.ready")
            eventually(lambda: post(gateway, [event()]).status_code == 200)
            assert gateway.get("/health/ready").status_code == 200
        finally:
            broker.stop()


def test_a_graceful_stop_answers_what_was_begun(gateway: Running, servers: str) -> None:
    sent = [event(str(number)) for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(post, gateway, [one]) for one in sent]
        eventually(lambda: any(answer.done() for answer in answers))
        status = gateway.terminate()
        confirmed = []
        for one, answer in zip(sent, answers, strict=True):
            try:
                if answer.result().status_code == 200:
                    confirmed.append(one["id"])
            except httpx.TransportError:
                pass
    assert status == 0
    assert confirmed
    assert set(confirmed) <= set(ids(servers))


def test_a_missing_verifier_token_is_one_line(servers: str) -> None:
    with Running("webhook_gateway.main", {**environment(servers), "QBO_WEBHOOK_VERIFIER_TOKENS": ""}) as gateway:
        status, stderr = gateway.ended()
    assert status == 1
    assert stderr.splitlines()[0].startswith("webhook-gateway: QB004: QBO_WEBHOOK_VERIFIER_TOKENS is missing")
    assert len(stderr.splitlines()) == 1
