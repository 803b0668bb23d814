"""One trace for each document, from the source's message to the event: through consumer, decision and QuickBooks call."""

import asyncio
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer
from bookrelay import topics
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from running import until
from sandbox.stack.embedded_broker import EmbeddedBroker
from test_service import create_topics, environment, publisher, writer_process
from writer_support import QboSandbox, bill, create_schema, invoice

pytestmark = [pytest.mark.postgres, pytest.mark.kafka]


class Collector:
    """What an OpenTelemetry collector is sent: every span, by trace id."""

    def __init__(self) -> None:
        self.spans: dict[str, list[Any]] = {}

    def take(self, body: bytes) -> None:
        """Keep the spans of one export."""
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.setdefault(span.trace_id.hex(), []).append(span)

    def names(self, trace_id: str) -> set[str]:
        """The names of a trace's spans."""
        return {span.name for span in self.spans.get(trace_id, ())}


@contextmanager
def collector() -> Iterator[tuple[Collector, str]]:
    """Receive OTLP over HTTP."""
    kept = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kept.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield kept, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


async def event_traces(servers: str, keys: set[str]) -> dict[str, str]:
    """The trace id in the headers of each document's `posted` event."""
    consumer = AIOKafkaConsumer(topics.EVENTS.name, bootstrap_servers=servers, auto_offset_reset="earliest")
    await consumer.start()
    found: dict[str, str] = {}
    try:
        async with asyncio.timeout(120):
            while not keys <= set(found):
                record = await consumer.getone()
                headers = {name: value.decode() for name, value in record.headers}
                found[json.loads(record.value)["data"]["source_key"]] = headers["traceparent"].split("-")[1]
    finally:
        await consumer.stop()
    return found


@pytest.mark.parametrize("batched", [False, True])
async def test_a_document_is_one_trace_from_source_to_event(
    database_url: str, own_broker: EmbeddedBroker, sandbox: QboSandbox, batched: bool
) -> None:
    await create_schema(database_url)
    servers = own_broker.bootstrap_servers
    create_topics(own_broker)
    company = sandbox.company()
    realm = company["realm_id"]
    commands = [invoice(realm, f"Q-{number}") for number in range(4)] + [bill(realm, "R-1")]
    traces = {command.data.source_key: secrets.token_hex(16) for command in commands}
    with collector() as (kept, endpoint):
        more = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "BATCH_THRESHOLD": "2" if batched else "500"}
        async with publisher(servers) as p:  # before the writer starts: there is a backlog
            parents = [f"00-{traces[c.data.source_key]}-{secrets.token_hex(8)}-01" for c in commands]
            records = [(c.key(), c.encode(), {"traceparent": t}) for c, t in zip(commands, parents, strict=True)]
            await p.publish_encoded(topics.COMMANDS.name, records)
        with writer_process(environment(database_url, servers, sandbox, company, **more)) as (process, log):
            assert await event_traces(servers, set(traces)) == traces
            process.terminate()
            assert process.wait(60) == 0, log.read_text()
            settled = [json.loads(line) for line in log.read_text().splitlines() if "command.settled" in line]
        calls = {"create Invoice", "create Bill", "batch"}
        await until(lambda: all(kept.names(t) & calls for t in traces.values()), 30)
        for trace_id in traces.values():
            names = kept.names(trace_id)
            assert {"record command", "decide command", "create billing.events.v1"} <= names, names
            assert names & calls, names
        assert any("batch" in kept.names(t) for t in traces.values()) == batched
        told = "".join(str(span) for spans in kept.spans.values() for span in spans)
        assert "P-1 A.B." not in told
        assert "Supplies Ltd" not in told
    assert set(traces.values()) <= {line.get("trace_id") for line in settled}
    connection = await asyncpg.connect(database_url)
    try:
        kept_traces = await connection.fetch(
            "SELECT headers->>'traceparent' AS t FROM qbo_writer.commands WHERE kind <> 'customer'"
        )
        assert set(traces.values()) <= {row["t"].split("-")[1] for row in kept_traces if row["t"]}
        logged = await connection.fetch("SELECT entry->>'trace_id' AS t FROM qbo_writer.attempt_log")
        assert set(traces.values()) <= {row["t"] for row in logged}
    finally:
        await connection.close()
