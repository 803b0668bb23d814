"""Whatever stands in a row's cells, the other rows are published: arbitrary Unicode, sizes, numbers, truth values, errors.

A row that cannot become a document says in its own cell what is wrong, and then comes to rest.

POISON_EXAMPLES=300 looks further than the few examples of CI, which are the same each time.
"""

import asyncio
import os
import uuid
from collections import Counter
from typing import Any

import pytest
from any_text import any_text, signs, untakeable
from bookrelay import topics
from bookrelay.db import close_pool, open_pool
from bookrelay.kafka import Publisher
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sheet_support import HEADERS, Book, Watcher, row, watcher_of
from sheet_watcher.domain import OWN_COLUMNS, is_key
from sheet_watcher.settings import Settings

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(900)]
EXAMPLES = int(os.environ.get("POISON_EXAMPLES", "8"))
MARK = "mark"  # a column that is not the watcher's: it says which row is which
MORE = ("end_client", "job_name", "inv_link", "thread", "inv_total", "inv_paid_date")
COLUMNS = (*HEADERS, *MORE, MARK, *OWN_COLUMNS)
NOT_OURS = {"status", "qb_invoice_id", "qb_bill_id"}  # what a row is left alone for

texts = st.one_of(
    any_text,
    st.builds(
        lambda text, length: (text * length)[:length],  # a cell holds 50,000 characters
        st.one_of(untakeable, st.text(signs, min_size=1, max_size=3)), st.sampled_from([101, 501, 2001, 4001, 50_000]),
    ),
    st.sampled_from([
        "#DIV/0!", "#N/A", "#REF!", "#VALUE!", "#NAME?", "=1/0", "=1+1", "+1", "'", "TRUE", "1E400", "1e-400", "NaN",
        "9" * 50_000, "$1,234.50", "(12.00)", "12,50", "\u0661\u0662", "\uff11\uff12", "1_000", "-0", "0.004",
        "9999999999999.995", "3-1", "10:30", "12/31/99",
        "2026-02-30", "9999-12-31", "9/9/9999", "0000-00-00", "br-0123456789abcdef", "https://example.org/1",
        "\u200b", "\u00a0", "\u202e", "\ufeff", "\u2028", "\r\n", "\x0b", "\ufffe",
    ]),
)  # fmt: skip
numbers = st.one_of(
    st.integers(), st.integers(-(10**25), 10**25), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([10**308, -(10**308), 10**15, 2**53 + 1, 46000, 46000.5, 2958466, 0.1 + 0.2, 1e-308, 99999999999999.99]),
    st.just(10**4000),
)  # fmt: skip
cells = st.one_of(texts, texts, numbers, st.booleans())
changes = st.dictionaries(st.sampled_from([name for name in COLUMNS if name != MARK]), cells, min_size=1, max_size=4)
stranges = st.lists(st.tuples(st.sampled_from(["ACD", "xyz"]), changes), min_size=6, max_size=12)
options = st.sampled_from(["RAW", "RAW", "USER_ENTERED"])


def written(book: Book) -> int:
    return len(book.requests("values:batchUpdate"))


def by_mark(book: Book) -> dict[str, dict[str, Any]]:
    return {line[MARK]: line for line in book.rows()}


def is_plain(error: str) -> bool:
    """Whether it is words for the person at the sheet, of a fault that was foreseen."""
    return error.startswith("QB004: ") and error.isprintable() and "by the watcher" not in error and error.endswith((".", "?"))


async def counted(watcher: Watcher) -> tuple[Counter[str], Counter[str]]:
    """Return how many commands and how many refusals there are of each row."""
    commands, events = [await watcher.messages(topic) for topic in (topics.COMMANDS, topics.EVENTS)]
    return Counter(c.data.source_key for c in commands), Counter(e.data.source_key for e in events)


async def carry(watcher: Watcher, book: Book, stranges: list[tuple[str, dict[str, Any]]], option: str) -> None:
    """Let the watcher read good rows with strange ones among them, and once more after another row came: look after each."""
    rows: list[dict[str, Any]] = []
    for number, (direction, changed) in enumerate(stranges):
        rows.append(row(f"G-{number}", **{MARK: f"good {number}"}))
        rows.append({**row(f"S-{number}", inv_from=direction), **changed, MARK: f"strange {number}"})
    rows.append(row("G-last", **{MARK: "good last"}))
    book.begin(headers=COLUMNS)
    book.put("A2", [[line.get(name, "") for name in COLUMNS] for line in rows], option)
    await watcher.settle()
    lines = by_mark(book)
    commands, refusals = await counted(watcher)
    for number, (_, changed) in enumerate(stranges):
        line = lines[f"strange {number}"]
        if not is_key(str(line["qb_row_key"])):
            assert changed.keys() & NOT_OURS, (changed, line)
            continue
        key = line["qb_row_key"]
        if line["qb_sync_status"] == "failed":
            assert is_plain(line["qb_error"]), (changed, line)
            assert (commands[key], refusals[key]) == (0, 1), (changed, line)
        elif not changed.keys() & NOT_OURS:
            assert line["qb_sync_status"] == "pending", (changed, line)
            assert (commands[key], refusals[key]) == (1, 0), (changed, line)
    assert_good(lines, commands)
    assert len(commands + refusals) == sum((commands + refusals).values())

    before = written(book)
    await watcher.polling.poll()
    assert written(book) == before  # every cell says what it should
    book.put(f"A{len(rows) + 2}", [[row("G-new", **{MARK: "good new"}).get(name, "") for name in COLUMNS]])
    await watcher.settle()
    again = await counted(watcher)
    lines = by_mark(book)
    assert again == (commands + Counter([lines["good new"]["qb_row_key"]]), refusals)
    assert_good(lines, again[0])


def assert_good(lines: dict[str, dict[str, Any]], commands: Counter[str]) -> None:
    for mark, line in lines.items():
        if mark.startswith("good"):
            assert line["qb_sync_status"] == "pending", line
            assert commands[line["qb_row_key"]] == 1, line


async def test_whatever_stands_in_a_row_its_neighbours_are_published(environment: dict[str, str], book: Book) -> None:
    loop = asyncio.get_running_loop()
    pool = await open_pool(Settings.load(environment), application_name="test")
    publisher = Publisher(environment["KAFKA_BOOTSTRAP_SERVERS"], "test")
    await publisher.start()

    async def example_in(stranges: list[tuple[str, dict[str, Any]]], option: str) -> None:
        own = {"QBO_REALM_ID": str(uuid.uuid4().int)[:16]}  # nothing is known of it
        async with watcher_of(environment | own, pool, publisher) as watcher:
            await carry(watcher, book, stranges, option)

    @settings(
        max_examples=EXAMPLES, derandomize="POISON_EXAMPLES" not in os.environ, database=None, deadline=None,
        phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(stranges=stranges, option=options)
    def example(stranges: list[tuple[str, dict[str, Any]]], option: str) -> None:
        asyncio.run_coroutine_threadsafe(example_in(stranges, option), loop).result()

    try:
        await asyncio.to_thread(example)
    finally:
        await publisher.stop()
        await close_pool(pool)
