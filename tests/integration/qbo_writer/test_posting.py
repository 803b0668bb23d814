"""Commands become documents in the books: the whole way from the ledger to QuickBooks' stand-in and back, over HTTP."""

import pytest
from bookrelay.messages import Kind
from writer_support import QboSandbox, bill, desk, invoice, retract, running

pytestmark = pytest.mark.postgres


async def test_an_invoice_and_a_bill_are_posted_once_and_told(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"), bill(d.realm, "R-1"))
        assert await d.until_ended() == {("Q-1", 1): "posted", ("R-1", 1): "posted"}
        assert [b["TotalAmt"] for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")] == [100.0]
        assert [b["TotalAmt"] for b in sandbox.books(d.realm, "Bill") if "bookrelay:" in b.get("PrivateNote", "")] == [55.0]
        assert await d.event_types("Q-1") == ["invoice.posted"]
        assert await d.event_types("R-1") == ["bill.posted"]
        event = (await d.events())[0]["data"]
        assert event["outcome"] == "created"
        assert event["url"].startswith("http")


async def test_redelivery_changes_nothing(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        command = invoice(d.realm, "Q-1")
        await d.tell(command, command)
        await d.until_ended()
        await d.tell(command)
        await d.until_ended()
        assert len(sandbox.requests(d.realm, operation="create", entity="Invoice")) == 1
        assert await d.event_types("Q-1") == ["invoice.posted"]


async def test_edit_then_same_content_then_older_version(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1", 1))
        await d.until_ended()
        await d.tell(invoice(d.realm, "Q-1", 3, amount="120.00"))
        await d.until_ended()
        await d.tell(invoice(d.realm, "Q-1", 4, amount="120.00"))
        await d.tell(invoice(d.realm, "Q-1", 2, amount="1.00"))
        assert await d.until_ended() == {
            ("Q-1", 1): "posted", ("Q-1", 3): "posted", ("Q-1", 4): "unchanged", ("Q-1", 2): "superseded"
        }  # fmt: skip
        mine = [b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        assert [b["TotalAmt"] for b in mine] == [120.0]
        types = await d.event_types("Q-1")
        assert types[:2] == ["invoice.posted", "invoice.posted"]
        assert sorted(types[2:]) == ["document.superseded", "document.unchanged"]


async def test_retraction_voids_an_invoice_deletes_a_bill_and_restores(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"), bill(d.realm, "R-1"))
        await d.until_ended()
        await d.tell(retract(d.realm, "Q-1", 2), retract(d.realm, "R-1", 2, Kind.BILL), retract(d.realm, "Q-none", 1))
        states = await d.until_ended()
        assert states["Q-1", 2] == states["R-1", 2] == "retracted"
        assert states["Q-none", 1] == "unchanged"
        mine = [b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        assert [b["TotalAmt"] for b in mine] == [0.0]
        assert not [b for b in sandbox.books(d.realm, "Bill") if "bookrelay:" in b.get("PrivateNote", "")]
        await d.tell(invoice(d.realm, "Q-1", 3, amount="70.00"), bill(d.realm, "R-1", 3))
        states = await d.until_ended()
        assert states["Q-1", 3] == states["R-1", 3] == "posted"
        restored = [b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        assert [(b["Id"], b["TotalAmt"]) for b in restored] == [(mine[0]["Id"], 70.0)]
        outcomes = [e["data"].get("outcome") for e in await d.events() if e["data"].get("source_key") == "Q-1"]
        assert outcomes[-1] == "restored"


async def test_thirty_commands_need_one_new_customer(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(*(invoice(d.realm, f"Q-{i}", customer="P-77 N.N.") for i in range(30)))
        assert set((await d.until_ended()).values()) == {"posted"}
        assert len([c for c in sandbox.books(d.realm, "Customer") if c["DisplayName"] == "P-77 N.N."]) == 1
        assert len(sandbox.requests(d.realm, operation="create", entity="Customer")) == 1


async def test_a_backlog_goes_in_batches(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        commands = [invoice(d.realm, f"Q-{i}", customer=f"P-{i % 3}") for i in range(150)]
        async with running(d.writer):
            await d.tell(*commands[:3])  # the customers are there, then comes the backlog, all at once
            await d.until_ended()
            await d.tell(*commands[3:])
            assert set((await d.until_ended()).values()) == {"posted"}
        mine = [b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        assert len(mine) == 150
        assert len(sandbox.requests(d.realm, operation="batch")) >= 2
        tenure = d.writer.posters[d.realm].tenure
        assert tenure is not None
        assert not tenure.sent  # what is resolved is forgotten: memory stays flat over a backlog
