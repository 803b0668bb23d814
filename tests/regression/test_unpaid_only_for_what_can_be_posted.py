"""Policy paid_by_us = "unpay": our payment was removed for a version that then ended waiting or rejected."""

import math
from pathlib import Path
from typing import Any

import pytest
from bookrelay.messages import BillLine, Kind
from qbo_writer.ledger import operating
from writer_support import Desk, QboSandbox, bill, desk, numbered, retract

pytestmark = pytest.mark.postgres


async def paid(d: Desk) -> None:
    """A bill that we paid, and the ledger knows it."""
    await d.tell(bill(d.realm, "R-1"))
    assert (await d.until_ended())["R-1", 1] == "posted"
    d.writer.posters[d.realm].feeder._next = 0

    async def known() -> bool:
        d.writer.wake([d.realm])
        return bool(await d.pool.fetchval("SELECT balance = 0 FROM qbo_writer.documents WHERE kind = 'bill'"))

    await d.until(known)
    d.writer.posters[d.realm].feeder._next = math.inf


def names(command: Any, **line: str) -> Any:
    """The bill with one line that names these."""
    lines = (BillLine(description="Gauze", amount=command.data.content.lines[0].amount, **line),)
    content = command.data.content.model_copy(update={"lines": lines})
    return type(command).of(command.data.model_copy(update={"content": content}), sender="sheet-watcher")


@pytest.mark.parametrize(
    ("what", "ends"), [("account", "waiting"), ("tax_code", "waiting"), ("number", "rejected"), ("vendor", "rejected")]
)
async def test_our_payment_stays_where_the_next_version_cannot_be_posted(
    database_url: str, sandbox: QboSandbox, tmp_path: Path, what: str, ends: str
) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('paid_by_us = "unpay"\nunmapped = "reject"\n')
    async with desk(database_url, sandbox, company_policy_file=file, qb_auto_mark_bill_paid=True) as d:
        await paid(d)
        second = bill(d.realm, "R-1", 2, amount="80.00")
        if what == "number":
            await d.tell(numbered(bill(d.realm, "R-2"), "V-77"))
            await d.until_ended()
            second = numbered(second, "V-77")
        elif what == "vendor":
            second = bill(d.realm, "R-1", 2, amount="80.00", vendor="#REF!")
        else:
            second = names(second, **{what: "No such entry"})
        payments = len(sandbox.books(d.realm, "BillPayment"))
        await d.tell(second)
        assert (await d.until_ended())["R-1", 2] == ends
        assert len(sandbox.books(d.realm, "BillPayment")) == payments
        qbo_id = await d.pool.fetchval("SELECT qbo_id FROM qbo_writer.documents WHERE kind = 'bill' AND source_key = 'R-1'")
        (kept,) = [b for b in sandbox.books(d.realm, "Bill") if b["Id"] == qbo_id]
        assert (kept["TotalAmt"], kept["Balance"]) == (55.0, 0.0)
        withdrawn = "SELECT count(*) FROM qbo_writer.commands WHERE kind = 'bill_payment' AND operation = 'retract'"
        assert not await d.pool.fetchval(withdrawn)


async def test_a_withdrawal_that_gets_stuck_holds_its_bill(database_url: str, sandbox: QboSandbox, tmp_path: Path) -> None:
    """Nobody could say what became of the payment's removal: it was held, and its bill waited for it, untold."""
    file = tmp_path / "policy.toml"
    file.write_text('paid_by_us = "unpay"\n')
    async with desk(database_url, sandbox, company_policy_file=file, qb_auto_mark_bill_paid=True) as d:
        await paid(d)
        sandbox.fault(fault="drop_before_commit", match={"realm": d.realm, "entity": "BillPayment", "operation": "delete"})
        match = {"realm": d.realm, "entity": "BillPayment", "operation": "get"}
        sandbox.fault(fault="fault", code="4000", detail="QueryParserError", match=match)
        await d.tell(retract(d.realm, "R-1", 2, Kind.BILL))

        async def stuck() -> bool:
            await d.hurry()
            return bool(await d.pool.fetchval("SELECT count(*) FROM qbo_writer.attempts WHERE stuck"))

        await d.until(stuck)

        async def ended() -> bool:
            d.writer.wake([d.realm])
            return (await d.states())["R-1", 2] not in ("received", "due")

        await d.until(ended, 10)
        assert (await d.states())["R-1", 2] == "held"
        rows = {row["kind"]: row for row in await operating.held(d.pool)}
        assert "its payment could not be withdrawn" in rows["bill"]["reason"]
        # Which of the two is said depends on what the bill's decision meets: the payment's end, or its open request.
        assert any(words in rows["bill"]["reason"] for words in ("it is unknown whether", "is on hold"))
        assert set(rows) == {"bill", "bill_payment"}
