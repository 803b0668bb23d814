"""What happens to people, under kills: companies that are cut off, messages that nobody can take, customers that are merged."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer
from bookrelay import topics
from bookrelay.messages import Command, InvoiceContent, Kind

from . import workload
from .harness import BATCHES, LATE, Company, Lane, TookTooLong, Writer, until
from .oracle import Verdict, live
from .workload import Key


def _on_items(code: str) -> list[dict[str, Any]]:
    """Batches are answered 200, each item with the code; singles, too: else the trial, a single, would show that all is well."""
    single = [{"fault": "fault", "code": code, "match": {"operation": one}} for one in ("create", "update", "void", "delete")]
    return [{"fault": "item_fault", "code": code}, *single]


# Intuit cuts a company off: how it says so, and on what.
REFUSALS: dict[str, list[dict[str, Any]]] = {
    "401 with 120": [{"fault": "fault", "code": "120", "status": 401, "format": "json"}],
    "403 with 3100": [{"fault": "fault", "code": "3100", "status": 403}],
    "400 with 5020": [{"fault": "fault", "code": "5020", "status": 400}],
    "200 with 6190": [{"fault": "fault", "code": "6190", "status": 200}],
    "503 with 3201": [{"fault": "fault", "code": "3201", "status": 503}],
    "401 without a code": [{"fault": "unauthorized"}],
    "5020 on items of a batch": _on_items("5020"),
    "6190 on items of a batch": _on_items("6190"),
}
DOCUMENTS = 40
CUT_OFF_SECONDS = 12.0
# Until the halt stands in the ledger: what was under way (PACE_IN_FLIGHT; a batch is one call, so batches make no more), and the
# reads that a writer begins with (the company, items, accounts, the names of three kinds, the feed).
UNDER_WAY_MOST, READS_MOST = 10, 7
# From then on only trials, at 0, 5 and 20 s after a writer began to wait. The killed writer waits 5 s from its halt and is killed
# before; its successor tries at once, then after 20 s. One each is allowed, for a machine that kills late.
TRIALS_MOST = 2
ANSWERED_LATE = 2  # calls of before the halt that the stand-in wrote down after it


@dataclass
class Case:
    """One case and what came of it."""

    name: str
    verdict: Verdict = field(default_factory=Verdict)
    problem: str = ""
    halts: int = 0
    calls: int = 0  # to QuickBooks while the company was cut off

    @property
    def good(self) -> bool:
        """Whether everything is as it must be."""
        return not self.problem and self.verdict.good


async def cut_off(lane: Lane, name: str, seed: str) -> Case:
    """A company is cut off with documents due, the writer is killed meanwhile, and it is served again: each is posted once."""
    case, company = Case(f"cut off: {name}"), await lane.company()
    batches = "batch" in name
    writer = await lane.writer([company], BATCHES if batches else {}, restart=True)
    first, *waves = workload.make(f"{seed}:{name}", company.realm, DOCUMENTS, waves=4).waves
    commands = list(first)
    await lane.publish(first)
    await lane.settled(first, 90)
    await lane.faults(company, *REFUSALS[name])
    before = len(await lane.requests(company))
    for wave in waves:
        await lane.publish(wave)
        commands += wave

    async def halted() -> bool:
        return bool(await lane.pool.fetchval("SELECT halted_code FROM qbo_writer.realms WHERE realm = $1", company.realm))

    await until(halted, "halted", 60)
    at_halt = len(await lane.requests(company)) - before
    ends_at = time.monotonic() + CUT_OFF_SECONDS
    writer.process.kill()
    await until(_passed(ends_at), "cut off", CUT_OFF_SECONDS + 5)
    case.calls = len(await lane.requests(company)) - before
    sends = 2 if "without a code" in name else 1  # a token that is refused is renewed once, and the request sent again
    if at_halt > sends * UNDER_WAY_MOST + READS_MOST or case.calls - at_halt > sends * TRIALS_MOST + ANSWERED_LATE:
        case.problem = f"{at_halt} calls until the halt, {case.calls - at_halt} while it held"
    await lane.control("DELETE", "faults")
    await _come_to_rest(lane, case, commands, [company], [writer], 150)
    told = lane.events.realms.get(company.realm, [])
    case.halts = told.count("halted")
    if told != ["halted", "resumed"]:
        case.problem = case.problem or f"told of the company: {told}"
    return case


def _passed(at: float) -> Callable[[], Awaitable[bool]]:
    async def so() -> bool:
        return time.monotonic() > at

    return so


async def merged(lane: Lane, seed: str) -> Case:
    """A person merges two customers between versions, with kills: documents follow, the loser is not made again."""
    case, company = Case("customers are merged"), await lane.company()
    writer = await lane.writer([company], restart=True)
    names = [f"Merge {seed} {which}" for which in ("Loser", "Survivor")]
    keys = [Key(company.realm, f"G{number:03d}x") for number in range(12)]
    commands = [_to(key, 1, names[number % 2]) for number, key in enumerate(keys[:8])]
    await lane.publish(commands)
    await lane.settled(commands, 90)
    ids = {row["DisplayName"]: row["Id"] for row in (await lane.books(company))["Customer"]}
    await lane.person(company, "merge", "Customer", ids[names[0]], {"into": ids[names[1]]})
    writer.process.kill()

    async def followed() -> bool:
        query = "SELECT qbo_id FROM qbo_writer.documents WHERE realm = $1 AND kind = 'customer' AND source_key = $2"
        return bool(await lane.pool.fetchval(query, company.realm, names[0].casefold()) == ids[names[1]])

    try:
        await until(followed, "the merge is followed", 60)
    except TookTooLong as error:
        case.problem = str(error)
    later = [_to(key, 2, names[0]) for key in keys[:8]] + [_to(key, 1, names[0]) for key in keys[8:]]
    await lane.publish(later)
    writer.process.kill()
    commands += later
    await _come_to_rest(lane, case, commands, [], [writer], 120)
    books = await lane.books(company)
    documents = live(books)
    case.verdict.documents += len(keys)
    for key in keys:
        found = documents.get((Kind.INVOICE, key.name), [])
        if len(found) != 1 or found[0]["CustomerRef"]["value"] != ids[names[1]]:
            case.verdict.doubles += max(0, len(found) - 1)
            case.verdict.lost += not found
            case.verdict.problems.append(f"{key.name}: {[(d['Id'], d['CustomerRef']) for d in found]}")
    if again := [row["Id"] for row in books["Customer"] if row["DisplayName"] == names[0]]:
        case.verdict.doubles += 1
        case.verdict.problems.append(f"the loser was made again: {again}")
    if wrong := [command for command in commands if set(lane.events.names(command)) - {"posted", "unchanged"}]:
        case.verdict.wrong_ends += len(wrong)
        case.verdict.problems.append(f"{len(wrong)} ends are not posted: {lane.events.names(wrong[0])}")
    return case


LONG = "abcdefghijklmnopqrstuvwxyz" * 40
POISONS: dict[str, Callable[[dict[str, Any]], bytes | None]] = {
    "version": lambda body: _with(body, version=10**20),
    "long key": lambda body: _with(body, source_key=LONG),
    "NUL in the key": lambda body: _with(body, source_key="a\x00b"),
    "half a character in the key": lambda body: _with(body, source_key="a\ud83d"),
    "year 1": lambda body: _with(body, modified_at="0001-01-01T00:00:00+14:00"),
    "not a number": lambda body: json.dumps(body).replace('"version": 1', '"version": NaN').encode(),
    "deep": lambda _: b"[" * 100_000,
    "cut off": lambda body: json.dumps(body).encode()[:-9],
    "no value": lambda _: None,
}
"""Records that nobody can take: each ends as one dead letter."""


def _with(body: dict[str, Any], **data: Any) -> bytes:
    return json.dumps({**body, "data": {**body["data"], **data}}).encode()


async def poisoned(lane: Lane, seed: str) -> Case:
    """Every partition gets records that nobody can take among a load, with kills: each is one letter, the others end as ever."""
    case, company = Case("messages that nobody can take"), await lane.company()
    writer = await lane.writer([company], restart=True)
    rng = random.Random(seed)
    load = workload.make(f"{seed}:poison", company.realm, DOCUMENTS, waves=3)
    spoilt: set[tuple[str, str]] = set()
    for wave in load.waves:
        for name, spoil in POISONS.items():
            key = Key(company.realm, f"P-{name}")
            value = spoil(json.loads(_to(key, 1, "Poison").encode()))
            for partition in range(topics.COMMANDS.partitions):
                sent = await lane.producer.send_and_wait(topics.COMMANDS.name, value, key=b"poison", partition=partition)
                spoilt.add((str(sent.partition), str(sent.offset)))
            await lane.publish(command for command in wave if rng.random() < 0.2)
        await lane.publish(wave)
        writer.process.kill()
    await _come_to_rest(lane, case, load.commands, [company], [writer], 150)
    letters = await _letters(lane)
    if letters != spoilt:
        case.problem = (
            case.problem or f"letters of {len(letters)} records, {len(spoilt)} were spoilt: {list(letters ^ spoilt)[:5]}"
        )
    return case


async def _letters(lane: Lane) -> set[tuple[str, str]]:
    """The partition and offset of each record of which there is a dead letter; a kill can tell one twice."""
    topic = topics.COMMANDS.dead_letters("qbo-writer")
    consumer = AIOKafkaConsumer(
        topic.name, bootstrap_servers=lane.stack.bootstrap_servers, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    found: set[tuple[str, str]] = set()
    try:
        while records := await consumer.getmany(timeout_ms=3000):
            for record in (record for some in records.values() for record in some):
                headers = dict(record.headers)
                found.add((headers["dlt-partition"].decode(), headers["dlt-offset"].decode()))
    finally:
        await consumer.stop()
    return found


def _to(key: Key, version: int, customer: str) -> Command:
    content = workload.content(key, random.Random(f"{key.name}:{version}"), customer)
    assert isinstance(content, InvoiceContent)
    return workload.upsert(key, version, content)


async def _come_to_rest(
    lane: Lane, case: Case, commands: Sequence[Command], judged: Sequence[Company], writers: Sequence[Writer], seconds: float
) -> None:  # fmt: skip
    try:
        await lane.settled(commands, seconds)
        await asyncio.sleep(LATE)
    except TookTooLong as error:
        case.problem = case.problem or str(error)[:1500]
    for company in judged:
        case.verdict += await lane.judge(company, commands)
    if bad := [line for writer in writers for line in writer.defects()]:
        case.problem = case.problem or bad[0][:800]
    await asyncio.gather(*(writer.stop() for writer in writers))


def all_cases(seed: str) -> list[Callable[[Lane], Awaitable[Case]]]:
    """Every case, to be run in a lane of its own or after others."""

    def of(name: str) -> Callable[[Lane], Awaitable[Case]]:
        return lambda lane: cut_off(lane, name, seed)

    return [*(of(name) for name in REFUSALS), lambda lane: merged(lane, seed), lambda lane: poisoned(lane, seed)]
