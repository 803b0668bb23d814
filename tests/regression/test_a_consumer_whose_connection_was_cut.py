"""Kafka was killed: uvloop's RuntimeError ended a consumer's heartbeat, and it failed 250 times a second, but was "ready"."""

import asyncio
import threading
from typing import Any

import bookrelay.kafka
import pytest
import uvloop
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import ApiVersionRequest
from sandbox.stack.embedded_broker import EmbeddedBroker

pytestmark = pytest.mark.kafka


def on_uvloop(work: Any) -> BaseException | None:
    """Run on the event loop that services run on; return what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            uvloop.run(work())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    return raised[0] if raised else None


def test_a_request_on_a_closed_connection_is_an_error_of_kafka(own_broker: EmbeddedBroker) -> None:
    host, port = own_broker.bootstrap_servers.split(":")

    async def work() -> None:
        connection = await create_conn(host, int(port), request_timeout_ms=3000)
        connection._writer.transport.close()
        await asyncio.sleep(0)  # closed, and not yet told
        await connection.send(ApiVersionRequest())

    assert bookrelay.kafka.Publisher
    raised = on_uvloop(work)
    assert isinstance(raised, KafkaConnectionError), raised  # it was RuntimeError


def test_uvloop_says_it_in_its_own_way(own_broker: EmbeddedBroker) -> None:
    """What the mending is for; when this fails, it may go."""
    host, port = own_broker.bootstrap_servers.split(":")

    async def work() -> None:
        connection = await create_conn(host, int(port), request_timeout_ms=3000)
        connection._writer.transport.close()
        await asyncio.sleep(0)
        connection._writer.write(b"x")

    assert isinstance(on_uvloop(work), RuntimeError)
