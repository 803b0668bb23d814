"""The database was restored, and our payment of a bill is gone: withdrawn by the writer after the backup, or deleted by a person?

`recover` told each as a person's deletion, and the bill's next payment was held. So was one that was on its way at the backup,
and that the writer had made anew since.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bookrelay.messages import Kind
from qbo_writer.protocol.parts import Tenure
from qbo_writer.protocol.recovering import Recoverer
from test_a_bill_and_its_payment_take_turns import posted_and_not_paid
from test_posting_operators import ours
from test_unpaying import books, paid, policy
from writer_support import Desk, QboSandbox, bill, desk, retract, running

pytestmark = pytest.mark.postgres

TABLES = ("documents", "commands", "batches", "attempts")


async def backup(d: Desk) -> dict[str, str]:
    """Rows of the ledger as they are now."""
    return {
        table: await d.pool.fetchval(f"SELECT coalesce(json_agg(t), '[]')::text FROM qbo_writer.{table} t") for table in TABLES
    }


async def restore(d: Desk, rows: dict[str, str]) -> None:
    await d.pool.execute("TRUNCATE qbo_writer.attempts, qbo_writer.batches, qbo_writer.commands, qbo_writer.documents CASCADE")
    for table in TABLES:
        await d.pool.execute(
            f"INSERT INTO qbo_writer.{table} OVERRIDING SYSTEM VALUE "
            f"SELECT * FROM json_populate_recordset(NULL::qbo_writer.{table}, $1::json)",
            rows[table],
        )


async def recover(d: Desk, minutes: int = 10) -> Any:
    since = await d.writer.ledger.commands.now() - timedelta(minutes=minutes)
    await d.writer.leases.step()
    token = d.writer.leases.holding(d.realm)
    assert token is not None
    return await Recoverer(d.writer.posters[d.realm], d.pool, Tenure(token)).run(since)


async def told_of_payments(d: Desk) -> list[str]:
    types = [e["type"] for e in await d.events() if e["data"].get("kind") == "bill_payment"]
    return [t.removeprefix("bookrelay.").removesuffix(".v1") for t in types]


async def restored_is_the_same(d: Desk, rows: dict[str, str], payment: dict[str, Any], second: Any, kafka: str) -> None:
    """After the restore the payment that was there before it is ours, and nobody is told of it or holds it."""
    await restore(d, rows)
    if kafka == "ahead":
        await d.tell(second)
    before = len(await told_of_payments(d))
    await recover(d)
    if kafka == "behind":
        await d.tell(second)
    async with running(d.writer):
        assert (await d.until_ended())["R-1", 2] == "posted"
    assert ours(d.sandbox, d.realm, "BillPayment") == [payment]
    assert books(d) == ([(80.0, 0.0)], [80.0])
    row = await d.pool.fetchrow("SELECT qbo_id, diverged, held FROM qbo_writer.documents WHERE kind = 'bill_payment'")
    assert (row["qbo_id"], row["diverged"], row["held"]) == (payment["Id"], False, False)
    assert not {"document.diverged", "document.held"} & set((await told_of_payments(d))[before:])


@pytest.mark.parametrize("kafka", ["ahead", "behind"])
async def test_a_payment_that_we_withdrew_and_made_anew_is_the_new_one(
    database_url: str, sandbox: QboSandbox, tmp_path: Path, kafka: str
) -> None:
    company = sandbox.company()
    second = bill(str(company["realm_id"]), "R-1", 2, amount="80.00")
    async with desk(database_url, sandbox, company=company, **policy(tmp_path)) as d:
        await paid(d)
        rows = await backup(d)
        await d.tell(second)
        await d.until_ended()
        (payment,) = ours(sandbox, d.realm, "BillPayment")
    async with desk(database_url, sandbox, company=company, keep=True, run=False, **policy(tmp_path)) as d:
        await restored_is_the_same(d, rows, payment, second, kafka)
    async with desk(database_url, sandbox, company=company, keep=True, **policy(tmp_path)) as d:
        await d.tell(retract(d.realm, "R-1", 3, Kind.BILL))
        assert (await d.until_ended())["R-1", 3] == "retracted"
        assert books(d) == ([], [])


@pytest.mark.parametrize("kafka", ["ahead", "behind"])
async def test_a_payment_that_was_on_its_way_at_the_backup_and_was_made_anew_since(
    database_url: str, sandbox: QboSandbox, tmp_path: Path, kafka: str
) -> None:
    company = sandbox.company()
    second = bill(str(company["realm_id"]), "R-1", 2, amount="80.00")
    async with desk(database_url, sandbox, company=company, run=False, **policy(tmp_path)) as d:
        await posted_and_not_paid(d)
        rule: dict[str, Any] = {"realm": d.realm, "entity": "BillPayment"}
        sandbox.fault(fault="commit_then_reset", match=rule, count=1)
        async with running(d.writer):
            await d.until(lambda: d.pool.fetchval("SELECT count(*) FROM qbo_writer.attempts WHERE entity = 'BillPayment'"))
            rows = await backup(d)
            await d.tell(second)
            await d.until_ended()
        assert '"entity":"BillPayment"' in rows["attempts"]
        (payment,) = ours(sandbox, d.realm, "BillPayment")
        assert books(d) == ([(80.0, 0.0)], [80.0])
    async with desk(database_url, sandbox, company=company, keep=True, run=False, **policy(tmp_path)) as d:
        await restored_is_the_same(d, rows, payment, second, kafka)


async def test_a_payment_that_was_on_its_way_at_the_backup_and_that_a_person_has_changed_since_is_told(
    database_url: str, sandbox: QboSandbox, tmp_path: Path
) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company, run=False, **policy(tmp_path)) as d:
        await posted_and_not_paid(d)
        rule: dict[str, Any] = {"realm": d.realm, "entity": "BillPayment"}
        sandbox.fault(fault="commit_then_reset", match=rule, count=1)
        async with running(d.writer):
            await d.until(lambda: d.pool.fetchval("SELECT count(*) FROM qbo_writer.attempts WHERE entity = 'BillPayment'"))
            rows = await backup(d)
            await d.until_ended()
        (payment,) = ours(sandbox, d.realm, "BillPayment")
        sandbox.person(d.realm, "edit", "BillPayment", payment["Id"], TxnDate="2026-12-30")
    async with desk(database_url, sandbox, company=company, keep=True, run=False, **policy(tmp_path)) as d:
        await restore(d, rows)
        await recover(d)
        async with running(d.writer):
            await d.until_ended()
        assert await d.pool.fetchval("SELECT diverged FROM qbo_writer.documents WHERE kind = 'bill_payment'")
        assert ours(sandbox, d.realm, "BillPayment")[0]["TxnDate"] == "2026-12-30"


async def test_a_payment_that_we_withdrew_for_a_version_that_is_not_posted_yet(
    database_url: str, sandbox: QboSandbox, tmp_path: Path
) -> None:
    company = sandbox.company()
    second = bill(str(company["realm_id"]), "R-1", 2, amount="80.00")
    async with desk(database_url, sandbox, company=company, **policy(tmp_path)) as d:
        await paid(d)
        sandbox.person(d.realm, "delete", "BillPayment", ours(sandbox, d.realm, "BillPayment")[0]["Id"])  # as we had it done
    async with desk(database_url, sandbox, company=company, keep=True, run=False, **policy(tmp_path)) as d:
        await d.tell(second)
        await recover(d)
        async with running(d.writer):
            assert (await d.until_ended())["R-1", 2] == "posted"
        assert books(d) == ([(80.0, 0.0)], [80.0])
        assert "document.diverged" not in await told_of_payments(d)


async def test_a_payment_that_a_person_deleted_is_told_so(database_url: str, sandbox: QboSandbox, tmp_path: Path) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company, **policy(tmp_path)) as d:
        await paid(d)
        sandbox.person(d.realm, "delete", "BillPayment", ours(sandbox, d.realm, "BillPayment")[0]["Id"])
    async with desk(database_url, sandbox, company=company, keep=True, run=False, **policy(tmp_path)) as d:
        await recover(d)
        assert (await told_of_payments(d))[-1] == "document.diverged"
        async with running(d.writer):
            await d.until_ended()
        assert books(d) == ([(55.0, 55.0)], [])
