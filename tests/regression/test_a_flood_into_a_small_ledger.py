"""A flood into a ledger that was small: foreign keys were checked by scans of the whole table, by plans made for a few rows.

Autovacuum notices growth once a minute; 50,000 commands are recorded in less, and each cost more than the one before.
"""

import pytest
from bookrelay.kafka import Received
from bookrelay.messages import Kind
from document_kinds import command
from ledger_load import connect, fill
from qbo_writer.handlers import new_command
from qbo_writer.ledger.commands import Commands

pytestmark = pytest.mark.postgres
COUNT, BATCH = 6000, 200


async def test_recording_scans_no_table_that_has_grown(database_url: str) -> None:
    pool = await connect(database_url)
    await fill(pool, 10)  # and analyzed
    commands = Commands(pool)
    new = [
        new_command(Received(command("7" * 16, Kind.INVOICE, f"F-{number}"), "billing.commands.v1", 0, number))
        for number in range(COUNT)
    ]
    for first in range(0, COUNT, BATCH):
        assert await commands.record(new[first : first + BATCH]) == BATCH
    await pool.execute("SELECT pg_stat_force_next_flush()")
    read = await pool.fetchval("SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE schemaname = 'qbo_writer'")
    assert read < COUNT * COUNT / 20, f"{read} rows were read by scans for {COUNT} commands"
