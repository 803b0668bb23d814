"""Whatever stands in a record, its neighbours end: arbitrary Unicode, sizes and numbers through every topic that somebody reads.

What is put aside says why in a plain sentence, and repeats nothing of the record: it may be a patient's.

POISON_EXAMPLES=500 looks further than the few dozen examples of CI, which are the same each time.
"""

import asyncio
import json
import os
import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from any_text import any_text, signs, untakeable
from bookrelay import dead_letters, messages, topics
from bookrelay.db import close_pool, open_pool
from bookrelay.kafka import Publisher, new_broker
from bookrelay.settings import ServiceSettings
from bookrelay.source.outgoing import Outgoing
from bookrelay.topics import Topic
from bookrelay_deploy.migrating import migrate
from document_kinds import KINDS, command
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from running import until
from sandbox.stack.embedded_broker import EmbeddedBroker
from sheet_watcher import consumers
from sheet_watcher.domain import SCHEMA
from sheet_watcher.store import Store
from test_service import create_topics, environment, writer_process
from writer_support import QboSandbox, create_schema

pytestmark = [pytest.mark.postgres, pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(900)]
EXAMPLES = int(os.environ.get("POISON_EXAMPLES", "25"))
AT = datetime(2026, 11, 1, tzinfo=UTC)

NAME, DIGITS = "Zzcanary", "424242"  # a patient's name and number: they stand in most records, and in no reason

texts = st.one_of(
    any_text,
    st.builds(
        lambda text, count: text * count,
        st.one_of(untakeable, st.text(signs, min_size=1, max_size=2)),
        st.sampled_from([401, 4001, 300_000]),
    ),
    st.builds(lambda before, after: f"{before}{NAME}{after}", st.text(signs, max_size=3), st.text(signs, max_size=400)),
)
numbers = st.one_of(
    st.integers(), st.integers(-(10**25), 10**25), st.floats(), st.decimals().map(str),
    st.sampled_from(["1E9999999", "1E-999999", "-0.00", "9" * 5000, DIGITS + ".999", int(DIGITS * 4), DIGITS * 3]),
)  # fmt: skip
dates = st.sampled_from(["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-02-30", "9999-12-31", 10**20, -1])
anything = st.recursive(
    st.one_of(texts, numbers, dates, st.none(), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)
PATHS = {
    topics.COMMANDS: [
        "data.source_key", "data.source", "data.realm", "data.version", "data.modified_at", "data.priority", "data.content",
        "data.content.customer.name", "data.content.customer.email", "data.content.memo", "data.content.txn_date",
        "data.content.due_date", "data.content.terms", "data.content.class_name", "data.content.custom_fields",
        "data.content.lines", "data.content.lines.0.amount", "data.content.lines.0.quantity", "data.content.lines.0.description",
        "data.content.lines.0.item", "data.content.vendor.name", "data.content.lines.0.account", "data.content.amount",
        "data.content.applied", "data.content.applied.0.source_key", "data.content.applied.0.amount", "data.content.credits",
        "data.content.deposit_to", "data.content.payment_method", "data.content.payment_ref",
        "time", "subject", "type", "source", "unknown",
    ],
    topics.EVENTS: [
        "data.source_key", "data.version", "data.occurrence", "data.qbo_id", "data.url", "data.total", "data.differences", "time",
        "data.sync_token", "data.doc_number", "unknown",
    ],
    topics.WEBHOOKS: [
        "data.realm", "data.entity", "data.entity_id", "data.changed_at", "data.deleted_id", "data.notification_id", "time",
    ],
}  # fmt: skip
# The kinds of fault that a dead letter may name. "Handling it failed" names none: that would be a defect of ours.
REASONS = re.compile(
    r"QB008: The record has no value \(a tombstone\), [a-z ]+\."
    r"|QB008: The record is [\d,]+ bytes; the limit is [\d,]+\."
    r"|(1 error|\d+ errors); first at (the message|[a-z0-9_.-]+): [A-Za-z].{8,}"
    r"|Postgres cannot store it( \(\w+\))?: [a-z].{8,}"
)
headers = st.lists(
    st.tuples(
        st.sampled_from(["traceparent", "dlt-attempts", "content-type", "x"]),
        st.one_of(st.none(), st.binary(max_size=60), st.sampled_from([b"9" * 200_000, NAME.encode()])),
    ),
    max_size=2,
)


@dataclass
class Strange:
    """A record: what is put in which place of a good message, or bytes that are no message at all."""

    changes: dict[str, Any] = field(default_factory=dict)
    raw: bytes | None = None
    is_raw: bool = False
    kind: messages.Kind = messages.Kind.INVOICE
    headers: list[tuple[str, bytes | None]] = field(default_factory=list)


raws = st.one_of(
    st.binary(max_size=50),
    st.sampled_from([f'{{"type": "{NAME}"}}', f'{{"{NAME}": ', f'"{NAME}"', '{"x": "' + NAME * 150_000 + '"}']).map(str.encode),
)


def strange(topic: Topic) -> st.SearchStrategy[list[Strange]]:
    changes = st.dictionaries(st.sampled_from(PATHS[topic]), anything, min_size=1, max_size=2)
    one = st.one_of(
        st.builds(Strange, changes=changes, kind=st.sampled_from(KINDS), headers=headers),
        st.builds(Strange, raw=st.one_of(st.none(), raws), is_raw=st.just(True), headers=headers),
    )
    return st.lists(one, min_size=1, max_size=4)


def put(body: Any, path: str, value: Any) -> None:
    *way, last = path.split(".")
    for step in way:
        body = body[int(step)] if isinstance(body, list) and body else body.get(step) if isinstance(body, dict) else None
    if isinstance(body, dict):
        body[last] = value


@dataclass
class Bench:
    """A running writer and a running reader of its events, on one broker and one database."""

    servers: str
    realm: str
    producer: AIOKafkaProducer
    connection: asyncpg.Connection
    ends: dict[Topic, int] = field(default_factory=dict)
    strange: dict[tuple[str, str], Strange] = field(default_factory=dict)  # by topic and offset
    number: int = 0

    async def example(self, records: dict[Topic, list[Strange]]) -> None:
        """Send strange records with a good one behind them; return when that one has ended, and all before it were passed."""
        last: dict[Topic, str] = {}
        for topic, some in records.items():
            for one in some:
                self.number += 1
                body = json.loads(good(topic, self.realm, f"S-{self.number}", one.kind).encode())
                for path, value in one.changes.items():
                    put(body, path, value)
                offset = await self._send(topic, one.raw if one.is_raw else json.dumps(body).encode(), one.headers)
                self.strange[topic.name, str(offset)] = one
            self.number += 1
            last[topic] = f"G-{self.number}"
            await self._send(topic, good(topic, self.realm, last[topic]).encode(), [])
        await until(lambda: self._posted(last[topics.COMMANDS]), 120)
        await until(lambda: self._told(last[topics.EVENTS]), 120)
        for topic in records:
            await until(partial(self._passed, topic), 120)

    async def _send(self, topic: Topic, value: bytes | None, more: list[tuple[str, bytes | None]]) -> int:
        sent = await self.producer.send_and_wait(topic.name, value, key=b"same", partition=0, headers=more)
        self.ends[topic] = sent.offset + 1
        return int(sent.offset)

    async def letters(self) -> dict[tuple[str, str], str]:
        """Return the reason of every dead letter, by topic and offset of its record."""
        found = [record for topic, group in topics.SUBSCRIPTIONS for record in await self.read(topic.dead_letters(group))]
        told = [{name: value.decode() for name, value in record.headers} for record in found]
        return {(letter["dlt-topic"], letter["dlt-offset"]): letter["dlt-reason"] for letter in told}

    async def read(self, topic: Topic) -> list[Any]:
        """Return the records that stand in a topic now."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.servers, enable_auto_commit=False)
        await consumer.start()
        try:
            partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
            consumer.assign(partitions)
            await consumer.seek_to_beginning(*partitions)
            ends = await consumer.end_offsets(partitions)
            found: list[Any] = []
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                found += [record for some in (await consumer.getmany(timeout_ms=200)).values() for record in some]
            return found
        finally:
            await consumer.stop()

    async def _posted(self, key: str) -> bool:
        return bool(
            await self.connection.fetchval(
                "SELECT c.state = 'posted' FROM qbo_writer.commands c JOIN qbo_writer.documents d ON d.id = c.document_id "
                "WHERE d.realm = $1 AND d.source_key = $2",
                self.realm, key,
            )
        )  # fmt: skip

    async def _told(self, key: str) -> bool:
        return bool(await self.connection.fetchval("SELECT status = 'synced' FROM sheet_watcher.results WHERE key = $1", key))

    async def _passed(self, topic: Topic) -> bool:
        (group,) = [group for read, group in topics.SUBSCRIPTIONS if read is topic]
        consumer = AIOKafkaConsumer(bootstrap_servers=self.servers, group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            return (await consumer.committed(TopicPartition(topic.name, 0)) or 0) >= self.ends[topic]
        finally:
            await consumer.stop()


def good(topic: Topic, realm: str, key: str, kind: messages.Kind = messages.Kind.INVOICE) -> messages.AnyMessage:
    """A message of the topic that everybody can handle."""
    if topic is topics.COMMANDS:
        more = {"applied": (messages.Applied(source_key="G-0", amount=Decimal(1)),)} if kind is messages.Kind.PAYMENT else {}
        return command(realm, kind, key, party=f"P-1 {NAME}", **more)
    if topic is topics.EVENTS:
        data = messages.InvoicePostedData(
            realm=realm, source="sheet", source_key=key, version=1, command_id=uuid.uuid4(), outcome=messages.Outcome.CREATED,
            qbo_id="1", sync_token="0", url="https://qbo.example/1", total=Decimal("1.00"),
        )  # fmt: skip
        return messages.InvoicePosted.of(data, sender="qbo-writer", time=AT)
    changed = messages.EntityChangedData(
        realm=realm, entity="Invoice", entity_id="1", operation="updated", changed_at=AT, notification_id=key, format="classic"
    )
    return messages.EntityChanged.of(changed, sender="webhook-gateway", time=AT)


def told_of_dead_letters(records: list[Any]) -> set[str]:
    """Return the reasons that the source of a command is told, where the command says whose it is."""
    said = [json.loads(record.value) for record in records if messages.CommandDeadLettered.TYPE.encode() in (record.value or b"")]
    return {event["data"]["reason"] for event in said if event["type"] == messages.CommandDeadLettered.TYPE}


def is_plain(reason: str) -> bool:
    """Whether a reason is one sentence that names the kind of fault and holds nothing of the record."""
    whole = len(reason) < dead_letters.REASON_CHARACTERS  # not cut
    plain = reason.isascii() and reason.isprintable() and bool(REASONS.fullmatch(reason))
    return whole and plain and NAME.casefold() not in reason.casefold() and DIGITS not in reason


@asynccontextmanager
async def reader_of_events(servers: str, database_url: str, realm: str) -> AsyncIterator[None]:
    """The sheet watcher's reading of events, without its sheet."""
    pool = await open_pool(ServiceSettings.load({"DATABASE_URL": database_url}), application_name="test")
    publisher, broker = Publisher(servers, "test-sheet"), new_broker(servers, "test-sheet")
    await publisher.start()
    store = Store(Outgoing(pool, SCHEMA, publisher), realm, "sheet", "book")
    consumers.subscribe(broker, publisher, store, realm=realm, source="sheet", wake=lambda: None)
    await broker.start()
    try:
        yield
    finally:
        await broker.stop()
        await publisher.stop()
        await close_pool(pool)


async def test_whatever_stands_in_a_record_its_neighbours_end(
    database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox
) -> None:
    await create_schema(database_url)
    await migrate(database_url, ["sheet_watcher"])
    servers = own_broker.bootstrap_servers
    create_topics(own_broker)
    company = sandbox.company()
    realm, loop = company["realm_id"], asyncio.get_running_loop()
    producer = AIOKafkaProducer(bootstrap_servers=servers, max_request_size=20_000_000, compression_type="gzip")
    connection = await asyncpg.connect(database_url)
    await producer.start()
    bench = Bench(servers, realm, producer, connection)

    @settings(
        max_examples=EXAMPLES, derandomize="POISON_EXAMPLES" not in os.environ, database=None, deadline=None,
        phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(commands=strange(topics.COMMANDS), events=strange(topics.EVENTS), notices=strange(topics.WEBHOOKS))
    def example(commands: list[Strange], events: list[Strange], notices: list[Strange]) -> None:
        records = {topics.COMMANDS: commands, topics.EVENTS: events, topics.WEBHOOKS: notices}
        asyncio.run_coroutine_threadsafe(bench.example(records), loop).result()

    try:
        with writer_process(environment(database_url, servers, sandbox, company)) as (process, log):
            async with reader_of_events(servers, database_url, realm):
                await asyncio.to_thread(example)
            assert process.poll() is None, log.read_text()[-3000:]
            # The strange ones that could be recorded have an end, too, each with its own reason.
            ended = "SELECT NOT EXISTS (SELECT 1 FROM qbo_writer.commands WHERE realm = $1 AND state IN ('due', 'received'))"
            await until(lambda: connection.fetchval(ended, realm), 180)
            silent = await connection.fetch(
                "SELECT state FROM qbo_writer.commands WHERE realm = $1 AND state IN ('rejected', 'held') AND reason IS NULL",
                realm,
            )
            assert silent == []
            assert "batch.retrying" not in log.read_text()
            letters = await bench.letters()
            assert set(letters) >= {place for place, one in bench.strange.items() if one.is_raw}
            assert set(letters) <= set(bench.strange)
            reasons = {*letters.values(), *told_of_dead_letters(await bench.read(topics.EVENTS))}
            assert [reason for reason in sorted(reasons) if not is_plain(reason)] == []
    finally:
        await producer.stop()
        await connection.close()
