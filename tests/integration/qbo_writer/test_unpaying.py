"""A bill that we paid is changed or withdrawn (policy paid_by_us = "unpay"): our payment goes first, as a document of its own."""

import math
import signal
from pathlib import Path
from typing import Any

import pytest
from bookrelay.messages import Kind
from qbo_writer.ledger import operating
from qbo_writer.writer import Writer
from test_posting_operators import command, ours
from test_service import environment
from writer_support import Desk, QboSandbox, bill, desk, retract, running

pytestmark = pytest.mark.postgres


def policy(tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "policy.toml"
    file.write_text('paid_by_us = "unpay"\n')
    return {"company_policy_file": file, "qb_auto_mark_bill_paid": True}


async def paid(d: Desk) -> None:
    await d.tell(bill(d.realm, "R-1"))
    assert (await d.until_ended())["R-1", 1] == "posted"
    assert [p["TotalAmt"] for p in ours(d.sandbox, d.realm, "BillPayment")] == [55.0]


def books(d: Desk) -> tuple[list[Any], list[Any]]:
    """Totals and open amounts of the bills, totals of their payments."""
    bills, payments = ours(d.sandbox, d.realm, "Bill"), ours(d.sandbox, d.realm, "BillPayment")
    return [(b["TotalAmt"], b["Balance"]) for b in bills], [p["TotalAmt"] for p in payments]


async def test_a_bill_that_we_paid_is_changed_and_paid_again(database_url: str, sandbox: QboSandbox, tmp_path: Path) -> None:
    async with desk(database_url, sandbox, **policy(tmp_path)) as d:
        await paid(d)
        await d.tell(bill(d.realm, "R-1", 2, amount="80.00"))
        assert (await d.until_ended())["R-1", 2] == "posted"
        assert books(d) == ([(80.0, 0.0)], [80.0])
        assert await d.event_types("R-1") == [
            "bill.posted", "bill-payment.posted", "document.retracted", "bill.posted", "bill-payment.posted",
        ]  # fmt: skip
        assert not await d.pool.fetchval("SELECT count(*) FROM qbo_writer.attempts WHERE state <> 'resolved'")


async def test_a_bill_that_we_paid_is_withdrawn(database_url: str, sandbox: QboSandbox, tmp_path: Path) -> None:
    async with desk(database_url, sandbox, **policy(tmp_path)) as d:
        await paid(d)
        await d.tell(retract(d.realm, "R-1", 2, Kind.BILL))
        assert (await d.until_ended())["R-1", 2] == "retracted"
        assert books(d) == ([], [])


async def test_what_somebody_else_paid_stays_held(database_url: str, sandbox: QboSandbox, tmp_path: Path) -> None:
    """Paid by a person, not by us: nothing of it is touched."""
    async with desk(database_url, sandbox, **{**policy(tmp_path), "qb_auto_mark_bill_paid": False}) as d:
        await d.tell(bill(d.realm, "R-1"))
        await d.until_ended()
        sandbox.person(d.realm, "pay", "Bill", ours(sandbox, d.realm, "Bill")[0]["Id"])
        await d.tell(retract(d.realm, "R-1", 2, Kind.BILL))
        assert (await d.until_ended())["R-1", 2] == "held"
        assert books(d)[0] == [(55.0, 0.0)]
        (row,) = await operating.held(d.pool)
        assert "paid" in row["reason"]


async def test_a_payment_that_cannot_be_removed_holds_the_bill(database_url: str, sandbox: QboSandbox, tmp_path: Path) -> None:
    async with desk(database_url, sandbox, **policy(tmp_path)) as d:
        await paid(d)
        sandbox.fault(
            fault="fault", code="6480", status=400, count=1,
            match={"realm": d.realm, "entity": "BillPayment", "operation": "delete"},
        )  # fmt: skip
        await d.tell(retract(d.realm, "R-1", 2, Kind.BILL))
        assert (await d.until_ended())["R-1", 2] == "held"
        assert books(d) == ([(55.0, 0.0)], [55.0])
        rows = {row["kind"]: row for row in await operating.held(d.pool)}
        assert "its payment could not be withdrawn" in rows["bill"]["reason"]
        assert set(rows) == {"bill", "bill_payment"}
        await operating.release(d.pool, rows["bill"]["document"])
        d.writer.wake([d.realm])
        assert (await d.until_ended())["R-1", 2] == "retracted"
        assert books(d) == ([], [])


async def known_as_paid(d: Desk) -> None:
    """The bill is paid, and the change feed has shown that."""
    await paid(d)
    d.writer.posters[d.realm].feeder._next = 0

    async def known() -> bool:
        d.writer.wake([d.realm])
        return bool(await d.pool.fetchval("SELECT balance = 0 FROM qbo_writer.documents WHERE kind = 'bill'"))

    await d.until(known)


@pytest.mark.parametrize("place", ["unpaying:kill", "journalled:kill:1", "sent:kill:1", "settling:kill:1", "sent:kill:2"])
async def test_killed_in_the_middle_it_is_withdrawn_once(
    database_url: str, sandbox: QboSandbox, tmp_path: Path, place: str
) -> None:
    async with desk(database_url, sandbox, run=False, **policy(tmp_path)) as d:
        async with running(d.writer):
            await known_as_paid(d)
        await d.tell(retract(d.realm, "R-1", 2, Kind.BILL))
        assert d.settings.qbo_initial_refresh_token
        company = {"realm_id": d.realm, "refresh_token": d.settings.qbo_initial_refresh_token.get_secret_value()}
        more = {"LEASE_SECONDS": "2", "COMPANY_POLICY_FILE": str(tmp_path / "policy.toml"), "QB_AUTO_MARK_BILL_PAID": "true"}
        env = environment(database_url, "127.0.0.1:1", sandbox, company, **more)
        status, output = await command(env | {"BOOKRELAY_CRASH_POINT": place}, "run-once")
        assert status == -signal.SIGKILL, output
        d.writer = Writer(d.settings, d.pool)
        d.writer.posters[d.realm].feeder._next = d.writer.posters[d.realm].sweeper._next = math.inf
        async with running(d.writer):
            assert (await d.until_ended())["R-1", 2] == "retracted"
        assert books(d) == ([], [])
