"""What the model of the posting protocol showed about numbers.

6140 names another document, which is gone when it is read: it passed for the end of our own. A number that was only asked for, or
that an earlier document had, was used without asking who has it now.
"""

from pathlib import Path

import pytest
from bookrelay.messages import Kind
from test_posting_numbers import a_person_uses, numbers, policy, warn
from writer_support import Desk, QboSandbox, bill, desk, invoice, numbered, retract

pytestmark = pytest.mark.postgres

GONE = "DocNumber=V-77 is assigned to TxnType=Invoice with TxnId=999999"  # deleted before we could read it


async def refused_for_a_number_of_one_that_is_gone(d: Desk) -> None:
    """Version 2 is refused once for the number of an invoice that a person deletes at that moment."""
    await d.tell(numbered(invoice(d.realm, "Q-1"), "1"))
    assert (await d.until_ended())["Q-1", 1] == "posted"
    d.sandbox.fault(
        fault="fault", code="6140", detail=GONE, count=1, match={"realm": d.realm, "operation": "update", "entity": "Invoice"}
    )
    await d.tell(numbered(invoice(d.realm, "Q-1", 2, amount="140.00"), "V-77"))
    await d.until_ended()


@pytest.mark.parametrize("proven", [False, True])
async def test_a_number_whose_holder_is_gone_is_asked_for_again(database_url: str, sandbox: QboSandbox, *, proven: bool) -> None:
    async with desk(database_url, sandbox) as d:
        await d.pool.execute("UPDATE qbo_writer.realms SET requestid_proven = $1", proven)
        await refused_for_a_number_of_one_that_is_gone(d)
        assert (await d.states())["Q-1", 2] == "posted"
        assert numbers(sandbox, d.realm) == ["V-77"]
        assert "document.diverged" not in str(await d.event_types("Q-1"))


async def test_the_retraction_after_it_takes_our_own_document_away(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await refused_for_a_number_of_one_that_is_gone(d)
        await d.tell(retract(d.realm, "Q-1", 3))
        assert (await d.until_ended())["Q-1", 3] == "retracted"
        (there,) = [b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        assert there["TotalAmt"] == 0, "void"


async def test_a_number_that_was_refused_with_its_version_is_asked_for_again(database_url: str, sandbox: QboSandbox) -> None:
    """Version 2 was refused, for something else; a person has used its number since, and the company does not check numbers."""
    async with desk(database_url, sandbox) as d:
        warn(sandbox, d.realm, False)
        await d.tell(numbered(invoice(d.realm, "Q-1"), "1"))
        await d.until_ended()
        sandbox.fault(fault="fault", code="2050", count=1, match={"realm": d.realm, "operation": "update", "entity": "Invoice"})
        await d.tell(numbered(invoice(d.realm, "Q-1", 2, amount="140.00"), "V-77"))
        assert (await d.until_ended())["Q-1", 2] == "rejected"
        a_person_uses(sandbox, d.realm, "V-77")
        await d.tell(numbered(invoice(d.realm, "Q-1", 3, amount="150.00"), "V-77"))
        assert (await d.until_ended())["Q-1", 3] == "rejected"
        assert numbers(sandbox, d.realm) == ["1"]


async def test_a_number_of_an_earlier_document_is_not_asked_for(database_url: str, sandbox: QboSandbox, tmp_path: Path) -> None:
    """The bill is gone; for its successor, whose number another one has, QuickBooks chooses. It is sent twice."""
    async with desk(database_url, sandbox, **policy(tmp_path, 'unusable_number = "quickbooks"')) as d:
        await d.tell(numbered(bill(d.realm, "row-1"), "V-1"), numbered(bill(d.realm, "row-2"), "V-2"))
        await d.until_ended()
        await d.tell(retract(d.realm, "row-1", 2, kind=Kind.BILL))
        await d.until_ended()
        tax = "QuickBooks encountered an error while calculating tax."
        match = {"realm": d.realm, "operation": "create", "entity": "Bill"}
        sandbox.fault(fault="fault", code="6000", detail=tax, count=1, match=match)
        await d.tell(numbered(bill(d.realm, "row-1", 3), "V-2"))
        assert (await d.until_ended())["row-1", 3] == "posted"
        assert sorted(numbers(sandbox, d.realm, "Bill")) == ["", "V-2"]
