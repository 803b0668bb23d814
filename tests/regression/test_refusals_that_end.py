"""Refusals that went on or ended with the wrong remedy: a number of another kind, a tax error, look-ups, long addresses."""

from typing import Any

import pytest
from bookrelay.errors import Disposition
from qbo_writer.domain import AnswerKind, Operation
from qbo_writer.quickbooks.faults import classify
from qbo_writer.quickbooks.transport import ADDRESS_MOST
from writer_support import Desk, QboSandbox, bill, desk, invoice, numbered

pytestmark = [pytest.mark.postgres]


async def held(d: Desk) -> dict[str, Any]:
    """The one event of a held document."""
    (event,) = [e for e in await d.events() if e["type"] == "bookrelay.document.held.v1"]
    return dict(event["data"])


async def test_a_number_of_another_kind_of_document_ends_held_with_both_named(database_url: str, sandbox: QboSandbox) -> None:
    """Q8: 6140 whose TxnId is no invoice was read as an invoice, not found, and asked for again and again."""
    detail = "DocNumber=7 is assigned to TxnType=SalesReceipt with TxnId=9876"
    async with desk(database_url, sandbox) as d:
        sandbox.fault(
            fault="fault", code="6140", detail=detail, match={"realm": d.realm, "operation": "create", "entity": "Invoice"}
        )
        await d.tell(invoice(d.realm, "Q-1"))
        assert (await d.until_ended())["Q-1", 1] == "held"
        data = await held(d)
        assert "SalesReceipt 9876" in data["reason"]
        assert "Invoice Q-1 of source emr" in data["reason"]
        assert data["fix"]
        assert len(sandbox.requests(d.realm, operation="create", entity="Invoice")) == 1


TAX = (
    "QuickBooks encountered an error while calculating tax. Try reselecting the tax rate or reentering the product/service item "
    "and saving the form again."
)


@pytest.mark.parametrize("threshold", [500, 2])
async def test_an_error_of_the_tax_engine_is_tried_again(database_url: str, sandbox: QboSandbox, threshold: int) -> None:
    """Q4: the second try succeeds."""
    async with desk(database_url, sandbox, batch_threshold=threshold) as d:
        await d.tell(invoice(d.realm, "Q-0"))
        await d.until_ended()
        sandbox.fault(fault="fault", code="6000", detail=TAX, count=2, match={"realm": d.realm, "body": "TxnDate"})
        await d.tell(*(invoice(d.realm, f"Q-{n}") for n in (1, 2)))
        assert set((await d.until_ended()).values()) == {"posted"}


async def test_a_lasting_error_of_the_tax_engine_is_held_with_a_remedy(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        sandbox.fault(
            fault="fault", code="6000", detail=TAX, match={"realm": d.realm, "operation": "create", "entity": "Invoice"}
        )
        await d.tell(invoice(d.realm, "Q-1"))
        assert (await d.until_ended())["Q-1", 1] == "held"
        data = await held(d)
        assert "calculating tax" in data["reason"]
        assert "source" not in data["fix"].lower()
        assert len(sandbox.requests(d.realm, operation="create", entity="Invoice")) == 3


def test_an_unexpected_error_while_saving_does_not_say_that_nothing_was_saved() -> None:
    text = "An unexpected error occurred while accessing or saving your data. Please wait a few minutes and try again."
    body = f'{{"Fault":{{"Error":[{{"Message":"m","Detail":"{text}","code":"6000"}}],"type":"ValidationFault"}}}}'
    assert classify(400, {}, body, Operation.CREATE).kind is AnswerKind.SILENCE
    rule = body.replace(text, "You must set a transaction amount.")
    answer = classify(400, {}, rule, Operation.CREATE)
    assert (answer.kind, answer.disposition) == (AnswerKind.ERROR, Disposition.REJECT)
    assert "company policy" in answer.fix


@pytest.mark.parametrize("committed", [False, True], ids=["nothing was saved", "it was saved"])
async def test_after_an_unexpected_error_while_saving_it_is_posted_once(
    database_url: str, sandbox: QboSandbox, *, committed: bool
) -> None:
    """Q4's second text: it is looked for, and where it is not there the next try posts it."""
    text = "An unexpected error occurred while accessing or saving your data. Please wait a few minutes and try again."
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-0"))
        await d.until_ended()
        match = {"realm": d.realm, "operation": "create", "entity": "Invoice"}
        sandbox.fault(fault="fault", code="6000", detail=text, count=1, match=match, commit=committed)
        await d.tell(invoice(d.realm, "Q-1"))

        async def ended() -> bool:
            await d.hurry()
            return (await d.states())["Q-1", 1] not in ("due", "received")

        await d.until(ended)
        assert (await d.states())["Q-1", 1] == "posted"
        assert await d.event_types("Q-1") == ["invoice.posted"]
        assert len([b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]) == 2


async def test_look_ups_that_are_refused_for_good_end_before_a_person(database_url: str, sandbox: QboSandbox) -> None:
    """After silence nobody could say what became of the document: it was looked for for ever."""
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-0"))
        await d.until_ended()
        sandbox.control("DELETE", "requests")
        sandbox.fault(fault="commit_then_reset", count=1, match={"realm": d.realm, "operation": "create", "entity": "Invoice"})
        sandbox.fault(fault="fault", code="4000", detail="QueryParserError", match={"realm": d.realm, "operation": "query"})
        await d.tell(invoice(d.realm, "Q-1"), invoice(d.realm, "Q-2"))

        async def ended() -> bool:
            await d.hurry()
            return sorted((await d.states()).values()) == ["held", "posted", "posted"]

        await d.until(ended)
        data = await held(d)
        assert "QueryParserError" in data["reason"] or "query" in data["reason"]
        assert "held force" in data["fix"]
        assert len(sandbox.requests(d.realm, operation="query")) <= 10


async def test_an_address_that_a_firewall_refuses_holds_its_document_alone(database_url: str, sandbox: QboSandbox) -> None:
    """Q17: 404 without JSON for the bills, for good: they end held, and the company is neither halted nor resumed."""
    async with desk(database_url, sandbox) as d:
        sandbox.fault(fault="html", status=404, text="Not Found", match={"realm": d.realm, "path": "/bill", "method": "POST"})
        await d.tell(bill(d.realm, "B-1"), *(invoice(d.realm, f"Q-{n}") for n in range(20)))

        async def ended() -> bool:
            await d.hurry()
            return set((await d.states()).values()) == {"held", "posted"}

        await d.until(ended)
        assert (await d.states())["B-1", 1] == "held"
        assert "failed 8 times" in (await held(d))["reason"]
        assert not [e for e in await d.events() if ".realm." in e["type"]]


async def test_ten_lasting_strange_answers_hold_ten_documents_and_halt_nothing(database_url: str, sandbox: QboSandbox) -> None:
    """Ten in a row about different documents look like an outage; a harmless read that is answered shows that it is none."""
    async with desk(database_url, sandbox) as d:
        sandbox.fault(fault="html", status=404, text="Not Found", match={"realm": d.realm, "path": "/bill", "method": "POST"})
        await d.tell(*(bill(d.realm, f"B-{n}") for n in range(10)), *(invoice(d.realm, f"Q-{n}") for n in range(20)))

        async def ended() -> bool:
            await d.hurry()
            return set((await d.states()).values()) == {"held", "posted"}

        await d.until(ended)
        states = await d.states()
        assert {key for (key, _), state in states.items() if state == "held"} == {f"B-{n}" for n in range(10)}
        assert {key for (key, _), state in states.items() if state == "posted"} == {f"Q-{n}" for n in range(20)}
        assert not [e for e in await d.events() if ".realm." in e["type"]]
        assert [b for b in sandbox.books(d.realm, "Bill") if "bookrelay:" in b.get("PrivateNote", "")] == []


async def test_queries_with_long_addresses_are_posted(database_url: str, sandbox: QboSandbox) -> None:
    """Q11: thirty names in Cyrillic made an address of 14 kB, which a firewall answers with 414. Numbers do as names did."""
    sandbox.control("POST", "modes", {"longest_address": ADDRESS_MOST})
    try:
        async with desk(database_url, sandbox) as d:
            given = [f"{chr(0x410 + n)}нтикварный счёт {n:02}" for n in range(30)]
            await d.tell(*(numbered(invoice(d.realm, f"Q-{n}"), number) for n, number in enumerate(given)))
            assert set((await d.until_ended()).values()) == {"posted"}
            queries = sandbox.requests(d.realm, operation="query")
            assert {r["status"] for r in queries} == {200}
            assert "POST" in {r["method"] for r in queries}
            assert {i.get("DocNumber") for i in sandbox.books(d.realm, "Invoice")} >= set(given)
    finally:
        sandbox.control("POST", "modes", {"longest_address": 0})
