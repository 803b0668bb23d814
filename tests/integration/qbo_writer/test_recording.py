"""Recording: one short transaction for a batch, a redelivery is harmless."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from bookrelay.db import Connection, Pool
from bookrelay.kafka import Received
from bookrelay.messages import Command
from qbo_writer import handlers
from qbo_writer.handlers import new_command
from qbo_writer.ledger import changes
from qbo_writer.ledger.ledger import Ledger
from writer_support import QboSandbox, bill, desk, invoice, retract

pytestmark = pytest.mark.postgres


async def test_versions_are_recorded_in_any_order_and_the_newest_is_kept(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        await d.tell(invoice(d.realm, "Q-1", 2), invoice(d.realm, "Q-1", 1), bill(d.realm, "Q-1"), retract("other", "Q-1", 7))
        await d.tell(invoice(d.realm, "Q-1", 5), invoice(d.realm, "Q-1", 4), invoice(d.realm, "Q-1", 2))
        rows = await d.pool.fetch("SELECT realm, kind, newest_version FROM qbo_writer.documents ORDER BY newest_version")
        assert [(r["realm"] == d.realm, r["kind"], r["newest_version"]) for r in rows] == [
            (True, "bill", 1), (True, "invoice", 5), (False, "invoice", 7)
        ]  # fmt: skip
        assert await d.pool.fetchval("SELECT count(*) FROM qbo_writer.commands") == 6


async def test_a_redelivery_does_not_touch_what_is_there(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        command = invoice(d.realm, "Q-1")
        received = [new_command(Received(command, "t", 0, 0))]
        assert await d.writer.ledger.commands.record(received) == 1
        await d.pool.execute("UPDATE qbo_writer.commands SET state = 'posted'")
        assert await d.writer.ledger.commands.record(received * 3) == 0
        assert await d.states() == {("Q-1", 1): "posted"}


async def test_two_recorders_of_the_same_documents_do_not_deadlock(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:

        def batch(version: int) -> list[changes.NewCommand]:
            commands = [new_command(Received(invoice(d.realm, f"Q-{i}", version), "t", 0, 0)) for i in range(200)]
            return commands if version % 2 else commands[::-1]

        await asyncio.gather(*(d.writer.ledger.commands.record(batch(version)) for version in range(1, 7)))
        assert await d.pool.fetchval("SELECT count(*) FROM qbo_writer.commands") == 1200
        assert await d.pool.fetchval("SELECT min(newest_version) FROM qbo_writer.documents") == 6


@pytest.mark.parametrize("versions", [1, 3], ids=["new documents", "several versions of each"])
async def test_a_batch_takes_as_many_statements_as_a_single_command(
    database_url: str, sandbox: QboSandbox, versions: int
) -> None:
    """Nothing goes row by row. How fast it is stands in `make bench`: commands_recorded_per_second."""
    async with desk(database_url, sandbox, run=False) as d:

        async def statements(prefix: str, count: int) -> list[str]:
            messages = [invoice(d.realm, f"{prefix}-{i}", v) for i in range(count) for v in range(1, versions + 1)]
            batch: list[Received[Command]] = [Received(one, "t", 0, 0) for one in messages]
            seen: list[str] = []
            ledger = Ledger(Listening(d.pool, seen), d.writer.references)
            await handlers.record(batch, ledger.commands, d.writer.wake)
            return seen

        await statements("warm", 1)  # types are looked up once for each connection
        one, many = await statements("one", 1), await statements("many", 500)
        assert 2 < len(one) == len(many) <= 6, many
        assert await d.pool.fetchval("SELECT count(*) FROM qbo_writer.commands") == 502 * versions


class Listening:
    """A pool that notes every statement that goes over it."""

    def __init__(self, pool: Pool, seen: list[str]) -> None:
        self._pool, self._seen = pool, seen

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        async with self._pool.acquire() as connection:
            with connection.query_logger(lambda record: self._seen.append(record.query)):
                yield connection

    async def execute(self, statement: str) -> None:
        """What is done after so many commands, not for each batch."""
        assert statement.startswith("ANALYZE ")
        await self._pool.execute(statement)
