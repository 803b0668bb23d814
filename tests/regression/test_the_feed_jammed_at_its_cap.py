"""More than 1,000 changes of one kind, and the change feed never moved again; what a standby was told was lost."""

import json
import math
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import pytest
from bookrelay import metrics
from bookrelay.kafka import Received
from bookrelay.messages import EntityChanged, EntityChangedData
from qbo_writer import handlers
from qbo_writer.writer import Writer
from writer_support import Desk, QboSandbox, desk, invoice, qbo_sandbox

pytestmark = pytest.mark.postgres
MANY, FEW = 1300, 1100


@pytest.fixture
def sandbox() -> Iterator[QboSandbox]:
    """A stand-in of its own."""
    with qbo_sandbox("--no-limits") as sandbox:
        yield sandbox


def feed(d: Desk) -> None:
    d.writer.feed_soon([d.realm])
    d.writer.wake([d.realm])


def foreign(d: Desk, bills: int, customers: int) -> set[tuple[str, str]]:
    """Somebody imports."""
    vendor = d.sandbox.books(d.realm, "Vendor")[0]["Id"]
    line = {
        "Amount": 5,
        "DetailType": "AccountBasedExpenseLineDetail",
        "AccountBasedExpenseLineDetail": {"AccountRef": {"value": "20"}},
    }
    made = d.sandbox.control("POST", "entities", {"realm": d.realm, "entities": {
        "Bill": [{"VendorRef": {"value": vendor}, "Line": [line]} for _ in range(bills)],
        "Customer": [{"DisplayName": f"Import {n}"} for n in range(customers)],
    }})  # fmt: skip
    return {(entity, id_) for entity, ids in made["created"].items() for id_ in ids}


async def told(d: Desk) -> set[tuple[str, str]]:
    rows = await d.pool.fetch("SELECT value FROM qbo_writer.outbox WHERE topic = 'books.changes.v1'")
    data = [json.loads(r["value"])["data"] for r in rows]
    return {(c["entity"], c["entity_id"]) for c in data}


def gauge(metric: Any, d: Desk) -> float:
    return float(metric.labels(d.realm)._value.get())


def metered(d: Desk) -> float:
    """The reads that the writer has counted for this company."""
    (family,) = metrics.QBO_METERED_READS.collect()
    return sum(s.value for s in family.samples if s.name.endswith("_total") and s.labels["realm"] == d.realm)


def pages_of_runs(d: Desk) -> list[int]:
    """How many pages each run of the feed has read; grows while the writer runs."""
    feeder, runs = d.writer.posters[d.realm].feeder, list[int]()
    run, updated, within = feeder.run, feeder.parts.books.updated, ContextVar("within", default=False)

    async def counted_run(*arguments: Any) -> None:
        within.set(True)
        runs.append(0)
        await run(*arguments)

    async def counted_page(*arguments: Any) -> Any:
        if within.get():
            runs[-1] += 1
        return await updated(*arguments)

    feeder.run, feeder.parts.books.updated = counted_run, counted_page  # type: ignore[method-assign]
    return runs


async def paging(d: Desk) -> dict[str, Any]:
    return dict(await d.pool.fetchval("SELECT feed_paging FROM qbo_writer.realms WHERE realm = $1", d.realm))


async def test_two_kinds_beyond_the_cap_in_one_second_are_read_to_the_end(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, feed_reads_per_run=2) as d:
        pages, gaps, counted = pages_of_runs(d), gauge(metrics.QBO_FEED_GAPS, d), metered(d)  # other tests count, too
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        number = sandbox.books(d.realm, "Invoice")[0]["Id"]
        sandbox.person(d.realm, "edit", "Invoice", number, TxnDate="2026-11-09")  # older than all of the import
        made = foreign(d, MANY, FEW)
        feed(d)

        async def begun() -> bool:
            return bool(await paging(d))

        await d.until(begun)  # two pages in a run: what was read is kept
        assert gauge(metrics.QBO_FEED_GAPS, d) - gaps == 1, "what the feed did not show is told once"
        behind = gauge(metrics.QBO_FEED_LAG, d)
        await d.tell(invoice(d.realm, "Q-2"))
        assert (await d.until_ended())["Q-2", 1] == "posted"  # posting goes on meanwhile

        async def read() -> bool:
            if not await paging(d):
                return True
            d.writer.posters[d.realm].feeder._next = 0
            d.writer.wake([d.realm])
            return False

        await d.until(read)
        assert await d.pool.fetchval("SELECT feed_position FROM qbo_writer.realms") is not None
        assert max(pages) == 2, pages
        assert sum(pages) >= 4, "1,300 and 1,100 changes have two pages each"
        assert made - await told(d) == set()
        # The pages overlap, and the next read begins before the end of this one: nothing of it is told a second time.
        count = "SELECT count(*) FROM qbo_writer.outbox WHERE topic = 'books.changes.v1'"
        assert await d.pool.fetchval(count) == len(await told(d))
        before = await d.pool.fetchval("SELECT feed_position FROM qbo_writer.realms")

        async def read_again() -> bool:
            d.writer.posters[d.realm].feeder._next = 0
            d.writer.wake([d.realm])
            return not await paging(d) and bool(await d.pool.fetchval("SELECT feed_position > $1 FROM qbo_writer.realms", before))

        await d.until(read_again)
        assert await d.pool.fetchval(count) == len(await told(d))
        assert await d.pool.fetchval("SELECT diverged FROM qbo_writer.documents WHERE source_key = 'Q-1'")
        assert max(pages) == 2, pages
        position = await d.pool.fetchval("SELECT feed_position FROM qbo_writer.realms")

        feeder = d.writer.posters[d.realm].feeder
        feeder._next = math.inf

        async def shown() -> bool:
            return bool(gauge(metrics.QBO_FEED_POSITION, d) >= position.timestamp()) and not feeder.busy

        await d.until(shown)
        age = datetime.now(UTC).timestamp() - gauge(metrics.QBO_FEED_POSITION, d)
        assert gauge(metrics.QBO_FEED_LAG, d) == pytest.approx(age, abs=30)
        assert behind >= 0
        reads = [r for r in sandbox.requests(d.realm) if r["method"] == "GET" or r["path"].endswith("/query")]
        assert metered(d) - counted == len(reads), "Intuit meters every one"


async def test_what_a_standby_is_told_is_read_by_the_holder(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        number = next(b["Id"] for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", ""))
        sandbox.person(d.realm, "pay", "Invoice", number)
        standby = Writer(d.settings, d.pool)
        notice = EntityChanged.of(
            EntityChangedData(
                realm=d.realm,
                entity="Invoice",
                entity_id=number,
                operation="updated",
                changed_at=datetime.now(UTC),
                notification_id="n-1",
                format="cloudevents",
            ),
            sender="webhook-gateway",
            time=datetime.now(UTC),
        )
        await handlers.note_changes(
            [Received(notice, "intuit.webhooks.v1", 0, 0)], standby.ledger.feed, standby.ledger.merges, standby.feed_soon
        )

        async def paid() -> bool:
            return bool(await d.pool.fetchval("SELECT balance = 0 FROM qbo_writer.documents WHERE kind = 'invoice'"))

        await d.until(paid)
        await standby.client.close()
        await standby.oauth.close()
