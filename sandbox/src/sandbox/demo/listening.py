"""Consumes the topics like any other subscriber, with plain aiokafka: how, when and why each command was settled."""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from bookrelay import topics
from bookrelay.messages import UPSERTS

COMMANDS, EVENTS = topics.COMMANDS.name, topics.EVENTS.name
ENDS = {
    **{upsert.TYPE.replace("upsert", "posted"): "posted" for upsert in UPSERTS}, "bookrelay.document.unchanged.v1": "unchanged",
    "bookrelay.document.retracted.v1": "retracted", "bookrelay.document.rejected.v1": "rejected",
    "bookrelay.document.skipped.v1": "skipped", "bookrelay.document.held.v1": "held",
    "bookrelay.document.superseded.v1": "superseded", "bookrelay.document.waiting.v1": "waiting",
}  # fmt: skip


@dataclass
class ReceivedMessages:
    """The messages received so far."""

    asked_at: dict[str, int] = field(default_factory=dict)  # command id -> milliseconds
    latencies: list[int] = field(default_factory=list)  # milliseconds from a command to its posted event
    ended: set[str] = field(default_factory=set)
    ends: Counter[str] = field(default_factory=Counter)
    events: dict[str, dict[str, Any]] = field(default_factory=dict)  # event id -> data of the rejected and held
    seen: set[str] = field(default_factory=set)
    traces: dict[str, set[str]] = field(default_factory=dict)  # command id -> trace ids; a source that was killed publishes again
    outcomes: list[tuple[str, str]] = field(default_factory=list)  # command id and trace id of each outcome
    text: list[bytes] = field(default_factory=list)  # every value, for the search for canaries

    def add(self, topic: str, timestamp: int, value: bytes, traceparent: bytes = b"") -> None:
        """Process one record."""
        trace = "".join(traceparent.decode().split("-")[1:2])
        self.text.append(value)
        message = json.loads(value)
        if topic == COMMANDS:
            self.asked_at.setdefault(message["id"], timestamp)
            self.traces.setdefault(message["id"], set()).add(trace)
        elif message["id"] not in self.seen and (end := ENDS.get(message["type"])):
            self.seen.add(message["id"])
            self.ends[end] += 1
            command = message["data"].get("command_id")
            if command:
                self.ended.add(command)
                self.outcomes.append((command, trace))
            if end == "posted" and command in self.asked_at:
                self.latencies.append(max(0, timestamp - self.asked_at[command]))
            if end in ("rejected", "held"):
                self.events[message["id"]] = {"end": end, **message["data"]}

    @property
    def off_trace(self) -> int:
        """How many outcomes do not continue the trace started by the command's source."""
        return sum(not trace or trace not in self.traces.get(command, ()) for command, trace in self.outcomes)

    @property
    def open(self) -> int:
        """How many commands are not settled yet."""
        return len(set(self.asked_at) - self.ended)


async def listen(bootstrap_servers: str, received: ReceivedMessages) -> None:
    """Read both topics from the beginning until cancelled."""
    while True:
        consumer = AIOKafkaConsumer(
            COMMANDS, EVENTS, bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest", enable_auto_commit=False
        )
        try:
            await consumer.start()
            async for record in consumer:
                headers = dict(record.headers)
                received.add(record.topic, record.timestamp, record.value or b"{}", headers.get("traceparent") or b"")
        except KafkaError:
            await asyncio.sleep(0.2)
        finally:
            await consumer.stop()
