"""`qbo-writer dead-letters list | show | redrive`: what could not be processed, in topics, ledger and outbox."""

import argparse
import json
from typing import Any

from aiokafka import AIOKafkaConsumer
from bookrelay import outbox, topics
from bookrelay.db import Pool
from bookrelay.dead_letters import CUT, headers_of
from bookrelay.errors import BookrelayError
from bookrelay.kafka import Publisher

from qbo_writer.domain import SCHEMA
from qbo_writer.ledger import operating
from qbo_writer.ledger.decisions import Person
from qbo_writer.operations.cli_support import kafka_why_not, person_arguments, remark
from qbo_writer.settings import Settings

REDRIVES = 3  # a record that was dead-lettered again this often needs a fix, not another redrive


def register(subparsers: Any) -> None:
    """Add `dead-letters` to the command line."""
    group = subparsers.add_parser("dead-letters", help="dead letters: records, commands and events that could not be processed")
    letters = group.add_subparsers(dest="decision", required=True)
    letters.add_parser("list", help="list them, one per line").set_defaults(action=dead_letters)
    for name, text in (("show", "show key, value and headers"), ("redrive", "send it back to where it came from")):
        one = letters.add_parser(name, help=text)
        one.add_argument("id", help="as in the list, or all")
        if name == "redrive":
            one.add_argument("--over-limit", action="store_true", help=f"also what was dead-lettered again {REDRIVES} times")
            person_arguments(one)
        one.set_defaults(action=dead_letters)


async def dead_letters(arguments: argparse.Namespace, settings: Settings, pool: Pool) -> int:
    """List, show or redrive dead letters: records of the dead-letter topics, commands and parked events."""
    if why := await kafka_why_not(settings):  # first, because a client that cannot start does not say why
        raise why
    letters = await read_dead_letters(_reading(settings))
    ledger = await operating.held(pool, None, "dead_lettered")
    events = await outbox.parked(pool, SCHEMA)
    if arguments.decision == "list":
        for letter in letters:
            print(json.dumps({k: letter[k] for k in ("id", "topic", "reason", "attempts")}))
        for row in ledger:
            print(json.dumps({"id": f"document:{row['document']}", "topic": None, "reason": row["reason"], "attempts": None}))
        for event in events:
            print(
                json.dumps({"id": f"outbox:{event['id']}", "topic": event["topic"], "reason": event["reason"], "attempts": None})
            )
        if not letters and not ledger and not events:
            remark("there are no dead letters.")
        return 0
    chosen = [letter for letter in letters if letter["id"] == arguments.id or arguments.id == "all"]
    documents = [row for row in ledger if f"document:{row['document']}" == arguments.id or arguments.id == "all"]
    events = [event for event in events if f"outbox:{event['id']}" == arguments.id or arguments.id == "all"]
    if not chosen and not documents and not events and arguments.id != "all":
        raise BookrelayError(f"There is no dead letter {arguments.id}.", "See `qbo-writer dead-letters list`.")
    if arguments.decision == "show":
        print(
            json.dumps(
                [*chosen, *documents, *events], default=lambda v: v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v)
            )
        )
        return 0
    cut = [letter for letter in chosen if letter["cut"]]
    spent = [letter for letter in chosen if int(letter["attempts"] or 0) > REDRIVES and not arguments.over_limit]
    chosen = [letter for letter in chosen if letter not in spent and letter not in cut]
    publisher = Publisher(settings.kafka_bootstrap_servers, "qbo-writer-redrive", settings.kafka_security())
    await publisher.start()
    try:
        for letter in chosen:
            await publisher.publish_encoded(letter["topic"], [(letter["key"], letter["value"], letter["headers"])])
    finally:
        await publisher.stop()
    for row in documents:
        await operating.release(pool, row["document"], Person(arguments.by, arguments.why))
    released = await outbox.release(pool, SCHEMA, [event["id"] for event in events])
    print(f"sent back: {len(chosen)} records, {len(documents)} commands" + (f", {released} events" if released else ""))
    for letter in cut:
        print(f"not sent back: {letter['id']} was truncated (it had {letter['cut']} bytes); let its source send it in parts")
    for letter in spent:
        print(f"not sent back: {letter['id']} was dead-lettered again {REDRIVES} times; correct the cause, then add --over-limit")
    return 1 if spent or cut else 0


def _reading(settings: Settings) -> dict[str, Any]:
    """Return the options of a consumer without a group that reads from the beginning."""
    reach = {**settings.kafka_security(), "bootstrap_servers": settings.kafka_bootstrap_servers}
    return {**reach, "enable_auto_commit": False, "auto_offset_reset": "earliest"}


async def read_dead_letters(reading: dict[str, Any]) -> list[dict[str, Any]]:
    """Read the writer's dead-letter topics up to their present end. A record that came back is listed once, at its last place."""
    groups = (topics.WRITER_GROUP, topics.WRITER_NOTICES_GROUP)
    sources = {topic.dead_letters(group).name: topic.name for topic, group in topics.SUBSCRIPTIONS if group in groups}
    there = await _existing(reading)
    names = [name for name in sources if name in there]
    if not names:
        return []
    # Subscribed, though without a group: the client fetches metadata only for subscribed topics.
    consumer = AIOKafkaConsumer(*names, **reading)
    await consumer.start()
    letters: dict[tuple[str, bytes | None, bytes | None], dict[str, Any]] = {}
    try:
        partitions = sorted(consumer.assignment())
        ends = await consumer.end_offsets(partitions)
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                for records in (await consumer.getmany(partition, timeout_ms=1000)).values():
                    for record in records:
                        letter = _letter(record, sources[record.topic])
                        letters.pop((record.topic, record.key, record.value), None)
                        letters[record.topic, record.key, record.value] = letter
    finally:
        await consumer.stop()
    return list(letters.values())


async def _existing(reading: dict[str, Any]) -> set[str]:
    consumer = AIOKafkaConsumer(**reading)
    await consumer.start()
    try:
        return set(await consumer.topics())
    finally:
        await consumer.stop()


def _letter(record: Any, source: str) -> dict[str, Any]:
    headers = headers_of(record)
    return {
        "id": f"{record.topic}:{record.partition}:{record.offset}", "topic": source, "reason": headers.get("dlt-reason"),
        "attempts": headers.get("dlt-attempts"), "key": record.key, "value": record.value,
        "headers": {k: v for k, v in headers.items() if k in ("traceparent", "dlt-attempts")}, "cut": headers.get(CUT),
    }  # fmt: skip
