"""One row that nobody can store or send stops no other, and says in its own cell what is wrong."""

import pytest
from bookrelay import topics
from sheet_support import Book, Watcher, row

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]


async def test_every_neighbour_is_published_and_every_poison_says_why_in_its_row(watcher: Watcher, book: Book) -> None:
    book.begin(
        row("good-1"),
        row("nul", task_descr="be\x00fore", notes="a\x01b"),
        row("long", notes="\U0001f600" * 20_000, task_descr="x" * 49_000),
        row("digits", inv_dollars="-" + "9" * 40_000),
        row("name", to_client="n" * 40_000),
        row("direction", inv_from="\x00"),
        row("date", submitted_date=10**15),
        row("good-2"),
    )
    await watcher.settle()
    commands = [c.data.content for c in await watcher.messages(topics.COMMANDS)]
    assert sorted(c.lines[0].description[:9] for c in commands) == ["Work good", "Work good", "before", "x" * 9]
    rejected = {e.data.source_key: e.data.reason for e in await watcher.messages(topics.EVENTS)}
    cells = {r["invoice"]: (r["qb_sync_status"], r["qb_error"]) for r in book.rows()}
    for name, reason in (("digits", "inv_dollars is -999"), ("name", "40000 characters"), ("direction", "inv_from is empty"),
                         ("date", "submitted_date")):  # fmt: skip
        status, error = cells[name]
        assert status == "failed"
        assert reason in error
        assert any(reason in said for said in rejected.values())
    assert {cells[name][0] for name in ("good-1", "nul", "long", "good-2")} == {"pending"}
