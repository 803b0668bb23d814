"""The ledger took a number for a document's that it does not have: others were rejected for it, and the remedy led nowhere.

It kept what a request asked for, also when QuickBooks refused the request or a person changed the number there. And a 6140 about
a number that nobody is seen to have was looked into for hours, and ended with "QuickBooks did not say why".
"""

import pytest
from qbo_writer.ledger import operating
from qbo_writer.quickbooks import faults
from test_posting_numbers import numbers, told, warn
from writer_support import Desk, QboSandbox, bill, desk, invoice, numbered

pytestmark = pytest.mark.postgres


async def shown_by_the_feed(d: Desk, number: str) -> None:
    """Wait until the ledger has heard of a number that a person gave."""
    d.writer.posters[d.realm].feeder.soon()

    async def heard() -> bool:
        d.writer.posters[d.realm].wake()
        query = "SELECT count(*) FROM qbo_writer.documents WHERE realm = $1 AND fields->>'doc_number' = $2"
        return bool(await d.pool.fetchval(query, d.realm, number))

    await d.until(heard)


async def released(d: Desk) -> None:
    for row in await operating.held(d.pool, state="rejected"):
        await operating.release(d.pool, row["document"])
    d.writer.wake(d.realm)


async def test_a_number_is_free_when_a_person_gave_its_document_another(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(numbered(invoice(d.realm, "a"), "N-1"))
        await d.until_ended()
        await d.tell(numbered(invoice(d.realm, "b"), "N-1"))
        assert (await d.until_ended())["b", 1] == "rejected"
        (first,) = sandbox.books(d.realm, "Invoice")
        sandbox.person(d.realm, "edit", "Invoice", first["Id"], DocNumber="OTHER")  # as the remedy says
        await shown_by_the_feed(d, "OTHER")
        await released(d)
        assert (await d.until_ended())["b", 1] == "posted"
        assert sorted(numbers(sandbox, d.realm)) == ["N-1", "OTHER"]
        await d.tell(numbered(invoice(d.realm, "c"), "OTHER"))
        assert (await d.until_ended())["c", 1] == "rejected", "a number that a person gave is had, too"


async def test_a_number_is_free_when_its_update_was_refused(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(numbered(bill(d.realm, "a"), "N-1"))
        await d.until_ended()
        sandbox.fault(fault="fault", code="2050", count=1, match={"realm": d.realm, "operation": "update", "entity": "Bill"})
        await d.tell(numbered(bill(d.realm, "a", 2, amount="140.00"), "N-9"))
        assert (await d.until_ended())["a", 2] == "rejected"
        await d.tell(numbered(bill(d.realm, "b"), "N-9"), numbered(bill(d.realm, "c"), "N-1"))
        assert await d.until_ended() == {("a", 1): "posted", ("a", 2): "rejected", ("b", 1): "posted", ("c", 1): "rejected"}
        assert sorted(numbers(sandbox, d.realm, "Bill")) == ["N-1", "N-9"]


@pytest.mark.parametrize("detail", ["This number has already been used.", "TxnType=Rechnung TxnId=999999"])
async def test_a_number_that_nobody_is_seen_to_have_is_held_with_what_quickbooks_says(
    database_url: str, sandbox: QboSandbox, detail: str
) -> None:
    async with desk(database_url, sandbox) as d:
        warn(sandbox, d.realm, True)
        sandbox.fault(
            fault="fault", code="6140", detail=detail, match={"realm": d.realm, "entity": "Invoice", "operation": "create"}
        )
        await d.tell(numbered(invoice(d.realm, "a"), "N-1"), bill(d.realm, "b"))
        assert await d.until_ended() == {("a", 1): "held", ("b", 1): "posted"}
        (held,) = await told(d, "document.held")
        assert "N-1" in held["reason"]
        assert "shows no document" in held["reason"] or "Document 999999, which had the number" in held["reason"]
        creates = [r for r in sandbox.requests(d.realm) if (r["entity"], r["operation"]) == ("Invoice", "create")]
        assert len(creates) == 8, "one for each failure"
        sandbox.control("DELETE", "faults")
        await operating.release(d.pool, (await operating.held(d.pool))[0]["document"])
        d.writer.wake(d.realm)
        assert (await d.until_ended())["a", 1] == "posted"


def test_a_kind_in_another_language_is_no_other_kind() -> None:
    def meant(detail: str) -> tuple[str | None, str | None]:
        error = {"code": "6140", "Message": "M", "Detail": detail}
        answer = faults.item({"Fault": {"Error": [error], "type": "ValidationFault"}}, None)
        return answer.conflicting_kind, answer.conflicting_id

    assert meant("DocNumber=1 TxnType=Rechnung TxnId=7") == (None, "7")
    assert meant("DocNumber=1 is assigned to TxnType=SalesReceipt with TxnId=7") == ("SalesReceipt", "7")
