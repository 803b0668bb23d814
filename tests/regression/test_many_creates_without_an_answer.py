"""A batch without an answer: each of its thirty creates looked for itself, and read all that was made since."""

import pytest
from writer_support import Desk, QboSandbox, desk, invoice

pytestmark = pytest.mark.postgres
MANY = 30


def looked(d: Desk) -> int:
    """How many queries for invoices there were."""
    return len(d.sandbox.requests(d.realm, operation="query", entity="Invoice"))


async def play(database_url: str, sandbox: QboSandbox, fault: str) -> int:
    async with desk(database_url, sandbox, run=True) as d:
        await d.tell(invoice(d.realm, "Q-0"))  # the customer is there, and single calls are under way no more
        await d.until_ended()
        sandbox.fault(fault=fault, count=1, match={"realm": d.realm, "operation": "batch"})
        before = looked(d)
        await d.tell(*[invoice(d.realm, f"Q-{number}") for number in range(1, MANY + 1)])
        states = await d.until_ended()
        assert set(states.values()) == {"posted"}
        made = [b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        assert len(made) == MANY + 1
        silent = await d.pool.fetchval("SELECT count(*) FROM qbo_writer.attempts WHERE ambiguous AND batch_id IS NOT NULL")
        assert silent >= MANY // 2
        return looked(d) - before


async def test_what_was_done_is_found_by_a_few_queries_for_all(database_url: str, sandbox: QboSandbox) -> None:
    assert await play(database_url, sandbox, "commit_then_reset") <= 6


async def test_what_was_not_done_is_looked_for_by_a_few_queries_for_all(database_url: str, sandbox: QboSandbox) -> None:
    assert await play(database_url, sandbox, "drop_before_commit") <= 24
