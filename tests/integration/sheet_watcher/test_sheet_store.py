"""What events leave in Postgres: older ones never win, ids stay known, a lost version is caught up with."""

from typing import Any

import pytest
from bookrelay import topics
from bookrelay.errors import TransientError
from bookrelay.messages import Kind
from sheet_support import Book, Watcher, row
from sheet_watcher.domain import Result
from sheet_watcher.planning.plan import Plan, RowChange
from sheet_watcher.planning.results import Superseded

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]


def result(version: int, status: str, **more: Any) -> Result:
    return Result(key="br-1", kind=Kind.INVOICE, version=version, status=status, **more)


@pytest.mark.parametrize(
    ("ends", "status", "qbo_id"),
    [
        ([result(1, "synced", qbo_id="7"), result(2, "held", error="x")], "held", "7"),
        ([result(2, "synced", qbo_id="7"), result(1, "failed", error="x")], "synced", "7"),
        ([result(2, "held", occurrence=1), result(2, "held", occurrence=0, error="late")], "held", None),
        ([result(2, "held"), result(2, "synced", occurrence=1, qbo_id="7"), result(2, "held")], "synced", "7"),
        ([result(1, "synced", qbo_id="7"), result(2, "voided", in_books=False)], "voided", None),
        ([result(1, "synced", qbo_id="7"), result(2, "voided", in_books=False), result(3, "failed")], "failed", None),
    ],
)
async def test_newest_version_and_occurrence_decide(
    watcher: Watcher, ends: list[Result], status: str, qbo_id: str | None
) -> None:
    await watcher.store.record(ends)
    stored = (await watcher.store.load()).results[("br-1", Kind.INVOICE)]
    assert (stored.status, stored.qbo_id) == (status, qbo_id)
    assert stored.error != "late"
    for end in ends:  # the same events once more, one by one, as a redelivery brings them
        await watcher.store.record([end])
    again = (await watcher.store.load()).results[("br-1", Kind.INVOICE)]
    assert (again.status, again.qbo_id) == (status, qbo_id)


async def test_version_that_the_books_know_and_we_lost_is_caught_up_with_once(watcher: Watcher, book: Book) -> None:
    book.begin(row("INV-1"))
    await watcher.settle()
    key = book.row("INV-1")["qb_row_key"]
    await watcher.store.record([Superseded(key, 9)])
    await watcher.settle()
    await watcher.store.record([Superseded(key, 9)])  # redelivered
    await watcher.settle()
    assert [m.data.version for m in await watcher.messages(topics.COMMANDS)] == [1, 10]


async def test_plan_made_from_a_state_that_moved_on_is_not_committed(watcher: Watcher, book: Book) -> None:
    book.begin(row("INV-1"))
    await watcher.settle()
    (known,) = (await watcher.store.load()).rows.values()
    await watcher.store.record([Superseded(known.key, 5)])
    stale = Plan(changes={known.key: RowChange(known, known.model_copy(update={"version": 2}))})
    with pytest.raises(TransientError):
        await watcher.store.commit(stale)
    assert (await watcher.store.load()).rows[known.key].version == 5
