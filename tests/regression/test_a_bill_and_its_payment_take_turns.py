"""A bill was withdrawn or changed while its payment was on its way: the payment was refused (620), and held for a person."""

from pathlib import Path
from typing import Any

import pytest
from bookrelay.messages import Kind
from test_posting_operators import ours
from test_unpaying import books, policy
from writer_support import Desk, QboSandbox, bill, desk, retract, running

pytestmark = pytest.mark.postgres


async def payments(d: Desk) -> list[tuple[int, str]]:
    """Versions and states of what was asked of the bill's payment."""
    rows = await d.pool.fetch("SELECT version, state FROM qbo_writer.commands WHERE kind = 'bill_payment' ORDER BY version")
    return [(row["version"], row["state"]) for row in rows]


async def posted_and_not_paid(d: Desk) -> None:
    """The bill is in QuickBooks; its payment is asked for, and not sent yet."""
    await d.tell(bill(d.realm, "R-1"))
    await d.writer.leases.step()
    for _ in range(200):
        await d.writer.posters[d.realm].step()
        if await payments(d):
            break
    assert await payments(d) == [(1, "due")]


@pytest.mark.parametrize("then", ["withdrawn", "changed"])
async def test_what_is_asked_of_a_bill_comes_before_its_payment(
    database_url: str, sandbox: QboSandbox, tmp_path: Path, then: str
) -> None:
    async with desk(database_url, sandbox, run=False, **policy(tmp_path)) as d:
        await posted_and_not_paid(d)
        await d.tell(retract(d.realm, "R-1", 2, Kind.BILL) if then == "withdrawn" else bill(d.realm, "R-1", 2, amount="80.00"))
        async with running(d.writer):
            ends = await d.until_ended()
        assert ends["R-1", 2] == ("retracted" if then == "withdrawn" else "posted")
        assert books(d) == (([], []) if then == "withdrawn" else ([(80.0, 0.0)], [80.0]))
        assert await payments(d) == ([(1, "superseded")] if then == "withdrawn" else [(1, "superseded"), (2, "posted")])
        assert "document.held" not in await d.event_types("R-1")


async def test_a_bill_waits_for_its_payment_that_is_on_its_way(database_url: str, sandbox: QboSandbox, tmp_path: Path) -> None:
    async with desk(database_url, sandbox, run=False, **policy(tmp_path)) as d:
        rule: dict[str, Any] = {"realm": d.realm, "entity": "BillPayment"}
        sandbox.fault(fault="commit_then_reset", match=rule, count=1)
        await posted_and_not_paid(d)
        poster = d.writer.posters[d.realm]
        for _ in range(200):
            await poster.step()
            if await d.pool.fetchval("SELECT count(*) FROM qbo_writer.attempts WHERE entity = 'BillPayment'"):
                break
        await d.tell(bill(d.realm, "R-1", 2, amount="80.00"))
        async with running(d.writer):
            ends = await d.until_ended()
        assert ends["R-1", 2] == "posted"
        assert books(d) == ([(80.0, 0.0)], [80.0])
        assert len(ours(sandbox, d.realm, "BillPayment")) == 1
        assert "document.held" not in await d.event_types("R-1")
