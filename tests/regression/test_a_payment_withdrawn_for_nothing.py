"""A bill was to be changed, our payment was withdrawn for it, and the change came to nothing: the bill stayed unpaid.

The next version took the change back; or QuickBooks refused it, and a person dropped it.
"""

from pathlib import Path
from typing import Any

import pytest
from bookrelay.messages import Kind
from qbo_writer.ledger import operating
from test_unpaying import books, known_as_paid, policy
from writer_support import QboSandbox, bill, desk, retract, running

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("withdrawn", [True, False], ids=["withdrawn", "to be withdrawn"])
async def test_a_bill_that_stays_as_it_was_is_paid_again(
    database_url: str, sandbox: QboSandbox, tmp_path: Path, withdrawn: bool
) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company, **policy(tmp_path)) as d:
        await known_as_paid(d)
    async with desk(database_url, sandbox, company=company, keep=True, run=False, **policy(tmp_path)) as d:
        await d.tell(bill(d.realm, "R-1", 2, amount="80.00"))
        await d.writer.leases.step()
        poster = d.writer.posters[d.realm]
        wanted = "resolved" if withdrawn else None
        for _ in range(500):
            await poster.step()
            state = await d.pool.fetchval("SELECT state FROM qbo_writer.attempts WHERE operation = 'delete'")
            asked = await d.pool.fetchval("SELECT count(*) FROM qbo_writer.commands WHERE operation = 'retract'")
            if asked and state == wanted:
                break
        assert books(d)[1] == ([] if withdrawn else [55.0])
        await d.tell(bill(d.realm, "R-1", 3))
        async with running(d.writer):
            ends = await d.until_ended()
        assert (ends["R-1", 2], ends["R-1", 3]) == ("superseded", "unchanged")
        assert books(d) == ([(55.0, 0.0)], [55.0])


@pytest.mark.parametrize("change", ["another amount", "withdrawn"])
async def test_a_bill_whose_change_was_refused_and_dropped_is_paid_again(
    database_url: str, sandbox: QboSandbox, tmp_path: Path, change: str
) -> None:
    async with desk(database_url, sandbox, **policy(tmp_path)) as d:
        await known_as_paid(d)
        rule: dict[str, Any] = {"realm": d.realm, "entity": "Bill", "operation": ["update", "delete"]}
        sandbox.fault(fault="fault", code="6540", match=rule)
        await d.tell(
            bill(d.realm, "R-1", 2, amount="80.00") if change == "another amount" else retract(d.realm, "R-1", 2, Kind.BILL)
        )
        assert (await d.until_ended())["R-1", 2] in ("held", "rejected")
        assert books(d) == ([(55.0, 55.0)], [])
        document = await d.pool.fetchval("SELECT id FROM qbo_writer.documents WHERE kind = 'bill'")
        await operating.drop(d.pool, document)
        d.writer.wake([d.realm])
        assert (await d.until_ended())["R-1", 2] == "skipped"
        assert books(d) == ([(55.0, 0.0)], [55.0])
