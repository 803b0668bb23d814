"""Silence and conflicts: whatever is cut, late or done by a person: one document for each key, nothing overwritten."""

import pytest
from writer_support import Desk, QboSandbox, desk, invoice, retract, running

pytestmark = pytest.mark.postgres


def ours(sandbox: QboSandbox, realm: str, entity: str = "Invoice") -> list[dict]:  # type: ignore[type-arg]
    """The documents that carry a marker of ours."""
    return [b for b in sandbox.books(realm, entity) if "bookrelay:" in b.get("PrivateNote", "")]


async def attempts(d: Desk) -> list[dict]:  # type: ignore[type-arg]
    rows = await d.pool.fetch("SELECT * FROM qbo_writer.attempts WHERE entity = 'Invoice' ORDER BY id")
    return [dict(row) for row in rows]


async def test_done_but_never_answered_is_found_and_not_sent_again(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        sandbox.fault(fault="commit_then_reset", count=1, match={"realm": d.realm, "entity": "Invoice", "operation": "create"})
        await d.tell(invoice(d.realm, "Q-1"))
        assert await d.until_ended() == {("Q-1", 1): "posted"}
        assert len(ours(sandbox, d.realm)) == 1
        assert len(sandbox.requests(d.realm, operation="create", entity="Invoice")) == 1
        (attempt,) = await attempts(d)
        assert attempt["ambiguous"]
        assert attempt["sends"] == 1


async def test_never_done_is_sent_again_as_it_was_after_the_wait(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        sandbox.fault(fault="drop_before_commit", count=1, match={"realm": d.realm, "entity": "Invoice", "operation": "create"})
        await d.tell(invoice(d.realm, "Q-1"))
        assert await d.until_ended() == {("Q-1", 1): "posted"}
        assert len(ours(sandbox, d.realm)) == 1
        (attempt,) = await attempts(d)
        assert attempt["sends"] == 2
        waited = (attempt["last_sent_at"] - attempt["first_sent_at"]).total_seconds()
        assert waited >= 1.5  # Q = X + S
        requestids = {r["requestid"] for r in sandbox.requests(d.realm, operation="create", entity="Invoice")}
        assert requestids == {attempt["requestid"]}


async def test_a_late_delivery_makes_no_second_document(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, protocol_transit_seconds=5) as d:  # X must hold on a loaded machine, too
        sandbox.fault(
            fault="late_delivery", delay=0.9, count=1, match={"realm": d.realm, "entity": "Invoice", "operation": "create"}
        )
        sandbox.fault(fault="ignore_requestid", match={"realm": d.realm})
        await d.tell(invoice(d.realm, "Q-1"))
        assert await d.until_ended() == {("Q-1", 1): "posted"}
        assert len(ours(sandbox, d.realm)) == 1


async def test_a_newer_version_waits_for_the_open_attempt(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, protocol_transit_seconds=5) as d:  # X must hold on a loaded machine, too
        sandbox.fault(fault="late_delivery", delay=0.8, count=1, match={"realm": d.realm, "entity": "Invoice"})
        await d.tell(invoice(d.realm, "Q-1"))
        await d.tell(invoice(d.realm, "Q-1", 2, amount="150.00"))
        assert (await d.until_ended())["Q-1", 2] == "posted"
        assert [b["TotalAmt"] for b in ours(sandbox, d.realm)] == [150.0]


async def test_an_update_after_silence_is_sent_again_at_once(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        sandbox.fault(fault="commit_then_504", count=1, match={"realm": d.realm, "entity": "Invoice", "operation": "update"})
        await d.tell(invoice(d.realm, "Q-1", 2, amount="140.00"))
        assert (await d.until_ended())["Q-1", 2] == "posted"
        assert [b["TotalAmt"] for b in ours(sandbox, d.realm)] == [140.0]
        update = (await attempts(d))[-1]
        assert (update["operation"], update["ambiguous"], update["sends"]) == ("update", True, 2)


async def test_an_update_whose_requestid_is_forgotten_reads_its_own_write(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        sandbox.fault(fault="ignore_requestid", match={"realm": d.realm})
        sandbox.fault(fault="commit_then_reset", count=1, match={"realm": d.realm, "entity": "Invoice", "operation": "update"})
        await d.tell(invoice(d.realm, "Q-1", 2, amount="140.00"))
        assert (await d.until_ended())["Q-1", 2] == "posted"  # 5010, read by Id: (a) the attempt's content
        assert [(b["TotalAmt"], b["SyncToken"]) for b in ours(sandbox, d.realm)] == [(140.0, "1")]


async def test_an_error_after_silence_is_silence(database_url: str, sandbox: QboSandbox) -> None:
    """The resend of an update fails with a definitive code although the first copy was committed."""
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        match = {"realm": d.realm, "entity": "Invoice", "operation": "update"}
        sandbox.fault(fault="commit_then_reset", count=1, match=match)
        sandbox.fault(fault="fault", code="6070", skip=1, count=1, match=match)
        await d.tell(invoice(d.realm, "Q-1", 2, amount="140.00"))
        assert (await d.until_ended())["Q-1", 2] == "posted"
        assert [b["TotalAmt"] for b in ours(sandbox, d.realm)] == [140.0]


async def test_a_persons_edit_is_held_and_not_overwritten(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        (document,) = ours(sandbox, d.realm)
        lines = [{**line, "Amount": 90.0} for line in document["Line"] if line["DetailType"] == "SalesItemLineDetail"]
        for line in lines:
            line["SalesItemLineDetail"] = {**line["SalesItemLineDetail"], "UnitPrice": 90.0, "Qty": 1}
        sandbox.person(d.realm, "edit", "Invoice", document["Id"], Line=lines)
        await d.tell(invoice(d.realm, "Q-1", 2, amount="140.00"))
        assert (await d.until_ended())["Q-1", 2] == "held"
        assert [b["TotalAmt"] for b in ours(sandbox, d.realm)] == [90.0]
        held = next(e for e in await d.events() if e["type"] == "bookrelay.document.held.v1")
        assert held["data"]["differences"]
        assert "document.diverged" in await d.event_types("Q-1")
        before = len(sandbox.requests(d.realm, entity="Invoice"))
        await d.tell(invoice(d.realm, "Q-1", 3, amount="141.00"))  # decided from the ledger; one read: is it what is there?
        assert (await d.until_ended())["Q-1", 3] == "held"
        assert [r["method"] for r in sandbox.requests(d.realm, entity="Invoice")[before:]] == ["GET"]


async def test_a_moved_sync_token_with_known_content_is_applied_again(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        (document,) = ours(sandbox, d.realm)
        sandbox.person(d.realm, "edit", "Invoice", document["Id"], CustomerMemo={"value": "thank you"})
        await d.tell(invoice(d.realm, "Q-1", 2, amount="140.00"))
        assert (await d.until_ended())["Q-1", 2] == "posted"
        first, conflicted, again = await attempts(d)
        assert conflicted["outcome"] == "read_known"
        assert len({first["requestid"], conflicted["requestid"], again["requestid"]}) == 3


async def test_a_paid_invoice_is_held(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        (document,) = ours(sandbox, d.realm)
        sandbox.person(d.realm, "pay", "Invoice", document["Id"])
        await d.tell(invoice(d.realm, "Q-1", 2, amount="140.00"))
        assert (await d.until_ended())["Q-1", 2] == "held"
        await d.tell(retract(d.realm, "Q-1", 3))
        assert (await d.until_ended())["Q-1", 3] == "held"
        assert [b["TotalAmt"] for b in ours(sandbox, d.realm)] == [100.0]


async def test_a_document_that_a_person_deleted_is_held_then_a_retraction_is_unchanged(
    database_url: str, sandbox: QboSandbox
) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        (document,) = ours(sandbox, d.realm)
        sandbox.person(d.realm, "delete", "Invoice", document["Id"])
        await d.tell(invoice(d.realm, "Q-1", 2, amount="140.00"))
        assert (await d.until_ended())["Q-1", 2] == "held"
        await d.tell(retract(d.realm, "Q-1", 3))
        assert (await d.until_ended())["Q-1", 3] == "unchanged"
        await d.tell(invoice(d.realm, "Q-1", 4, amount="141.00"))
        assert (await d.until_ended())["Q-1", 4] == "posted"
        assert [b["TotalAmt"] for b in ours(sandbox, d.realm)] == [141.0]


async def test_a_lost_ledger_adopts_what_it_posted(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        await d.pool.execute("DELETE FROM qbo_writer.attempts")
        await d.pool.execute("DELETE FROM qbo_writer.commands")
        await d.pool.execute("DELETE FROM qbo_writer.documents")
        sandbox.fault(fault="ignore_requestid", match={"realm": d.realm})
        await d.tell(invoice(d.realm, "Q-1"))
        assert await d.until_ended() == {("Q-1", 1): "posted"}
        assert len(ours(sandbox, d.realm)) == 1
        assert [e["data"]["outcome"] for e in await d.events() if e["type"] == "bookrelay.invoice.posted.v1"] == [
            "created",
            "adopted",
        ]


async def test_throttled_and_unauthorized_leave_again_under_the_same_requestid(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        match = {"realm": d.realm, "entity": "Invoice"}
        sandbox.fault(fault="throttle", count=1, match=match)
        sandbox.fault(fault="unauthorized", skip=1, count=1, match=match)
        await d.tell(invoice(d.realm, "Q-1"))
        assert await d.until_ended() == {("Q-1", 1): "posted"}
        (attempt,) = await attempts(d)
        assert (attempt["sends"], attempt["ambiguous"]) == (3, False)


async def test_a_batch_that_is_cut_off_half_way_makes_no_double(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        sandbox.fault(fault="batch_cut", after=5, count=1, match={"realm": d.realm, "operation": "batch"})
        await d.tell(*(invoice(d.realm, f"Q-{i}", customer="P-1") for i in range(60)))
        async with running(d.writer):
            assert set((await d.until_ended()).values()) == {"posted"}
        keys = [b["DocNumber"] for b in ours(sandbox, d.realm)]
        assert len(keys) == len(set(keys)) == 60


async def test_items_of_a_batch_fail_alone(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        sandbox.fault(fault="item_throttle", count=3, match={"realm": d.realm})
        sandbox.fault(fault="item_fault", code="10000", skip=3, count=2, match={"realm": d.realm})
        sandbox.fault(fault="item_fault", code="2020", skip=5, count=1, match={"realm": d.realm})
        await d.tell(*(invoice(d.realm, f"Q-{i}", customer="P-1") for i in range(60)))
        async with running(d.writer):
            states = list((await d.until_ended()).values())
        codes = [a["intuit_code"] for a in await attempts(d) if a["intuit_code"]]
        assert sorted(codes) == ["10000", "10000", "2020", "3001", "3001", "3001"]
        assert sorted(set(states)) == ["held", "posted"]
        assert states.count("held") == 1
        assert len(ours(sandbox, d.realm)) == 59
