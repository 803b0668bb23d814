"""Consumes the outcomes of commands and stores them; the polling loop writes them into the sheet."""

from collections.abc import Callable, Sequence
from typing import Any

from bookrelay import kafka, topics
from bookrelay.kafka import Publisher, Received
from faststream.kafka import KafkaBroker

from sheet_watcher.handlers import on_event
from sheet_watcher.store import Store


def subscribe(
    broker: KafkaBroker, dead_letter: Publisher, store: Store, *, realm: str, source: str, wake: Callable[[], None]
) -> None:
    """Subscribe to the events of this company and source; `wake` is called after a commit."""

    async def on_events(batch: Sequence[Received[Any]]) -> None:
        results = [result for received in batch if (result := on_event(received.message, realm=realm, source=source))]
        if results:
            await store.record(results)
            wake()

    kafka.consume(broker, topics.EVENTS, topics.SHEET_GROUP, on_events, dead_letter)
