"""A quote with a NUL stopped forty other documents, also after a restart: Postgres refuses such JSON, and the batch came again
for ever. So did a version of 10^20, a key of 900 characters, a header that was no number, a content beyond the broker's limit."""

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from bookrelay import topics
from sandbox.stack.embedded_broker import EmbeddedBroker
from test_service import create_topics, environment, writer_process
from writer_support import QboSandbox, create_schema, invoice

pytestmark = [pytest.mark.postgres, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]
MANY = "".join(random.Random(7).choices("abcdefghijklmnopqrstuvwxyz", k=2000))  # does not compress to nothing


NAMED = {"600 lines", "amount", "quantity", "nan", "first year", "year 9999"}


@dataclass
class Poison:
    """What is sent, and what its dead letter says; `reason` None: it is cleaned, and posted."""

    value: bytes | None
    reason: str | None
    key: bytes = b"same"  # so: one partition
    headers: tuple[tuple[str, bytes | None], ...] = ()


def changed(realm: str, key: str, change: Callable[[dict[str, Any]], Any] = lambda _: None) -> bytes:
    body = json.loads(invoice(realm, key).encode())
    change(body["data"])
    return json.dumps(body).encode()


def line(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data["content"]["lines"][0].update(values)


def of(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda data: data.update(values)


def poisons(realm: str) -> dict[str, Poison]:
    fine = json.dumps(json.loads(invoice(realm, "fine").encode()))
    return {
        "nul": Poison(changed(realm, "nul", line(description="be\x00fore")), None),
        "controls": Poison(changed(realm, "controls", lambda d: d["content"]["customer"].update(name="A\x01 B\x0bC")), None),
        "half a character": Poison(changed(realm, "half a character", line(description="smile \ud83d")), None),
        "no trace": Poison(changed(realm, "no trace"), None, headers=(("traceparent", b"\x00" * 100), ("x", None))),
        "long header": Poison(changed(realm, "long header"), None, headers=(("traceparent", b"0" * 300_000),)),
        "version": Poison(changed(realm, "version", of(version=10**20)), "version"),
        "long key": Poison(changed(realm, "long key", of(source_key=MANY[:900])), "source_key"),
        "nul in the key": Poison(changed(realm, "nul in the key", of(source_key="a\x00b")), "source_key"),
        "half a character in the key": Poison(changed(realm, "half key", of(source_key="a\ud83d")), "source_key"),
        "600 lines": Poison(
            changed(realm, "600 lines", lambda d: d["content"].update(
                lines=[{"description": f"{n}{MANY}"[:2000], "amount": "1.00"} for n in range(600)])),
            "bytes; the limit is",
        ),
        "two megabytes": Poison(b'{"x": "' + b"a" * 2_000_000 + b'"}', "bytes; the limit is"),
        "amount": Poison(changed(realm, "amount", line(amount="1E9999999")), "amount"),
        "quantity": Poison(changed(realm, "quantity", line(quantity="1E-999999")), "quantity"),
        "nan": Poison(changed(realm, "nan", line(amount="NaN")), "amount"),
        "infinity": Poison(changed(realm, "infinity", of(version=float("inf"))), "version"),
        "first year": Poison(changed(realm, "first year", of(modified_at="0001-01-01T00:00:00+14:00")), "modified_at"),
        "year 9999": Poison(changed(realm, "year 9999", lambda d: d["content"].update(txn_date="9999-01-01")), "txn_date"),
        "deep": Poison(b"[" * 100_000, "recursion limit"),
        "digits": Poison(fine.replace('"version": 1', '"version": ' + "9" * 6000).encode(), "number out of range"),
        "utf-16": Poison(fine.encode("utf-16"), "Invalid JSON"),
        "latin-1": Poison(fine.replace("Treatment", "Tr\xe9").encode("latin-1"), "Invalid JSON"),
        "tombstone": Poison(None, "no value"),
        "no number": Poison(b"{", "Invalid JSON", headers=(("dlt-attempts", b"many"),)),
        "headers": Poison(b"{", "Invalid JSON", headers=tuple((f"h{n}", b"v" * 100_000) for n in range(8))),
        "record key": Poison(b"{", "Invalid JSON", key=b"same" * 100_000),
    }  # fmt: skip


async def send(servers: str, realm: str, wanted: dict[str, Poison], *, first: int = 0) -> tuple[dict[int, str], set[str]]:
    """Publish each poison with a good command before and after it; return the offsets, and the keys of the good ones."""
    producer = AIOKafkaProducer(
        bootstrap_servers=servers, acks="all", max_request_size=20_000_000, compression_type="gzip", max_batch_size=20_000_000
    )
    await producer.start()
    offsets, good = {}, set()
    try:
        for number, (name, poison) in enumerate(wanted.items(), first):
            key = f"N-{number}"
            good.add(key)
            await producer.send_and_wait(topics.COMMANDS.name, invoice(realm, key).encode(), key=b"same", partition=0)
            sent = await producer.send_and_wait(
                topics.COMMANDS.name, poison.value, key=poison.key, partition=0, headers=list(poison.headers)
            )
            offsets[sent.offset] = name
        good.add("last")
        await producer.send_and_wait(topics.COMMANDS.name, invoice(realm, "last").encode(), key=b"same", partition=0)
    finally:
        await producer.stop()
    return offsets, good


async def events(servers: str, keys: set[str]) -> list[dict[str, Any]]:
    """Read events until there is one for each of these documents, whatever else is told."""
    return [
        json.loads(record["value"])
        for record in await read(
            servers, topics.EVENTS.name, lambda found: keys <= {json.loads(r["value"])["data"].get("source_key") for r in found}
        )
    ]


async def read(servers: str, name: str, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Read a topic from its beginning until it is enough, or five minutes have passed."""
    consumer = AIOKafkaConsumer(name, bootstrap_servers=servers, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    found: list[dict[str, Any]] = []
    deadline = time.monotonic() + 300
    try:
        while not enough(found) and time.monotonic() < deadline:
            for records in (await consumer.getmany(timeout_ms=300)).values():
                found += [{"key": r.key, "value": r.value, **{k: v.decode() for k, v in r.headers}} for r in records]
    finally:
        await consumer.stop()
    return found


async def test_every_neighbour_is_posted_and_every_poison_has_its_reason(
    database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox
) -> None:
    await create_schema(database_url)
    servers = own_broker.bootstrap_servers
    create_topics(own_broker)
    company = sandbox.company()
    realm = company["realm_id"]
    wanted = poisons(realm)
    env = environment(database_url, servers, sandbox, company)
    with writer_process(env) as (process, log):
        offsets, good = await send(servers, realm, wanted)
        cleaned = {name for name, poison in wanted.items() if poison.reason is None}
        told = await events(servers, good | cleaned | NAMED)
        refused = {e["data"]["source_key"]: e for e in told if e["type"] == "bookrelay.command.dead-lettered.v1"}
        assert set(refused) >= NAMED, "its source is told of a command that says whose it is"
        posted = {e["data"]["source_key"] for e in told if e["type"] == "bookrelay.invoice.posted.v1"}
        assert posted == good | cleaned, log.read_text()[-3000:]
        letters = await read(
            servers,
            topics.COMMANDS.dead_letters(topics.WRITER_GROUP).name,
            lambda found: len(found) >= len(wanted) - len(cleaned),
        )
        found = {offsets[int(letter["dlt-offset"])]: letter for letter in letters}
        assert set(found) == set(wanted) - cleaned, log.read_text()[-3000:]
        for name, letter in found.items():
            assert str(wanted[name].reason) in letter["dlt-reason"], letter["dlt-reason"]
            assert letter["dlt-partition"] == "0"
            assert letter["dlt-attempts"] == "1"
        cut = found["two megabytes"]
        assert (len(cut["value"]), cut["dlt-value-bytes"]) == (900_000, "2000009")
        assert found["record key"]["dlt-key-bytes"] == "400000"
        assert found["headers"]["dlt-headers-left-out"] == "8"
        process.kill()
        await asyncio.to_thread(process.wait)
    with writer_process(env) as (_, log):  # nothing of it is left to stop the next one
        _, more = await send(servers, realm, {}, first=1000)
        assert {e["data"]["source_key"] for e in await events(servers, more)} >= more, log.read_text()[-3000:]
    descriptions = {i["Line"][0]["Description"].strip() for i in sandbox.books(realm, "Invoice")}
    assert {"before", "smile"} <= descriptions
