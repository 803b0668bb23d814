"""The poller's state on Postgres."""

from datetime import UTC, datetime, timedelta

import pytest
from bookrelay.errors import Code
from emr_poller.domain import ParkedQuote, PublishedQuote
from emr_poller.handlers import Plan
from emr_poller.store import Store
from emr_support import Poller

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def published(version: int) -> PublishedQuote:
    return PublishedQuote(number=1, version=version, modified_at=NOW, content_hash="h", operation="upsert")


async def test_older_revision_never_takes_the_place_of_a_newer_one(poller: Poller) -> None:
    store = Store(poller.outgoing, "r", "s", 60)
    await store.commit(Plan(published=[published(3)]), None)
    await store.commit(Plan(published=[published(2)]), None)
    assert (await store.load([1])).published[1].version == 3
    assert (await Store(poller.outgoing, "another company", "s", 60).load([1])).published == {}


async def test_parked_quote_waits_longer_each_time_and_is_gone_when_it_was_published(poller: Poller) -> None:
    store = Store(poller.outgoing, "r", "s", 60)
    parked = ParkedQuote(number=1, version=1, modified_at=NOW, reason="r", fix="f", code=Code.VALIDATION)
    for attempts, wait in ((1, 60), (2, 120), (3, 240), (30, 6 * 3600)):
        before = await poller.pool.fetchval("SELECT clock_timestamp()")
        await store.commit(Plan(parked=[parked.model_copy(update={"attempts": attempts})]), None)
        due_at, after = await poller.pool.fetchrow("SELECT due_at, clock_timestamp() FROM emr_poller.parked")
        assert before <= due_at - timedelta(seconds=wait) <= after
    assert await store.due(10) == []
    await poller.pool.execute("UPDATE emr_poller.parked SET due_at = now()")
    assert await store.due(10) == [1]
    await store.commit(Plan(published=[published(1)]), None)
    assert (await store.load([1])).parked == {}


async def test_cursor_never_moves_back(poller: Poller) -> None:
    store = Store(poller.outgoing, "r", "s", 60)
    assert await store.position() is None
    for position in (NOW, NOW - timedelta(hours=1)):
        await store.move(position)
        await store.commit(Plan(), position)
    assert await store.position() == NOW
