"""A bill and our payment of it are gone from QuickBooks: one sentence about the bill, none about the payment.

After a restored database, too: QuickBooks answered the same requestid with a payment that had been withdrawn since, and its
deletion was told as a person's for ever.
"""

import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
from qbo_writer.protocol import sweeping
from test_posting_operators import ours
from test_unpaying import books, paid, policy
from writer_support import QboSandbox, bill, desk

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("also", [True, False], ids=["with its bill", "alone"])
async def test_a_payment_that_is_gone_is_told_only_where_its_bill_stands(
    database_url: str, sandbox: QboSandbox, tmp_path: Path, also: bool
) -> None:
    async with desk(database_url, sandbox, **policy(tmp_path)) as d:
        await paid(d)
        sandbox.person(d.realm, "delete", "BillPayment", ours(sandbox, d.realm, "BillPayment")[0]["Id"])
        if also:
            sandbox.person(d.realm, "delete", "Bill", ours(sandbox, d.realm, "Bill")[0]["Id"])
        d.writer.posters[d.realm].feeder._next = 0

        async def told() -> bool:
            d.writer.wake([d.realm])
            return bool(await d.pool.fetchval("SELECT count(*) FROM qbo_writer.documents WHERE diverged"))

        await d.until(told)
        assert (await d.event_types("R-1")).count("document.diverged") == 1
        rows = await d.pool.fetch("SELECT kind, status, diverged FROM qbo_writer.documents WHERE source_key = 'R-1'")
        assert {(r["kind"], r["status"], r["diverged"]) for r in rows} == (
            {("bill", "gone", True), ("bill_payment", "nothing", False)}
            if also
            else {("bill", "present", False), ("bill_payment", "gone", True)}
        )
        assert books(d) == (([], []) if also else ([(55.0, 55.0)], []))
        await d.tell(bill(d.realm, "R-1", 2, amount="80.00"))
        assert (await d.until_ended())["R-1", 2] == ("held" if also else "posted")


@pytest.mark.parametrize("also", ["with its bill", "with its bill, which is due another day", "alone"])
async def test_the_daily_sweep_tells_it_so_too(
    database_url: str, sandbox: QboSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, also: str
) -> None:
    with_bill = also != "alone"
    async with desk(database_url, sandbox, **policy(tmp_path)) as d:
        await paid(d)
        poster = d.writer.posters[d.realm]
        poster.feeder._next = poster.sweeper._next = math.inf
        sandbox.person(d.realm, "delete", "BillPayment", ours(sandbox, d.realm, "BillPayment")[0]["Id"])
        if with_bill:
            sandbox.person(d.realm, "delete", "Bill", ours(sandbox, d.realm, "Bill")[0]["Id"])
        assert poster.tenure is not None
        token = await poster.parts.tokens.current(d.realm, poster.tenure.fencing_token)
        await d.pool.execute("UPDATE qbo_writer.documents SET updated_at = updated_at - interval '1 hour'")
        if "another day" in also:
            monkeypatch.setattr(sweeping, "PARTS", datetime.now(UTC).toordinal())  # of the older ones none is due today
            await d.pool.execute("UPDATE qbo_writer.documents SET created_at = now() - interval '90 days' WHERE kind = 'bill'")
        for told in (1, 0):
            fresh = await poster.sweeper.sweep(poster.tenure, token)
            assert [(one.what, one.entity) for one in fresh] == [("missing", "Bill" if with_bill else "BillPayment")][:told]
        assert (await d.event_types("R-1")).count("document.diverged") == 1
        rows = await d.pool.fetch("SELECT kind, status, diverged FROM qbo_writer.documents WHERE source_key = 'R-1'")
        assert {(r["kind"], r["status"], r["diverged"]) for r in rows} == (
            {("bill", "gone", True), ("bill_payment", "nothing", False)}
            if with_bill
            else {("bill", "present", False), ("bill_payment", "gone", True)}
        )
