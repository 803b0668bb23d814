"""Every kind of document lives the same life: made once, changed, left alone, held where a person changed it, withdrawn."""

from decimal import Decimal

import pytest
from bookrelay.messages import Kind
from document_kinds import ENTITY, KINDS, SALES, command, withdrawal
from qbo_writer import kinds
from qbo_writer.domain import LedgerKind
from writer_support import Desk, QboSandbox, desk

pytestmark = [pytest.mark.postgres, pytest.mark.parametrize("kind", KINDS)]


def there(d: Desk, kind: Kind) -> list[tuple[str, Decimal]]:
    """Number and total of what is in the books and not voided."""
    found = [one for one in d.sandbox.books(d.realm, ENTITY[kind]) if one["TotalAmt"]]
    number = "PaymentRefNum" if kind is Kind.PAYMENT else "DocNumber"
    return [(str(one.get(number)), Decimal(str(one["TotalAmt"]))) for one in found]


async def ends(d: Desk) -> list[str]:
    await d.until_ended()
    rows = await d.pool.fetch(
        "SELECT c.state FROM qbo_writer.commands c JOIN qbo_writer.documents d ON d.id = c.document_id "
        "WHERE d.source = 'till' ORDER BY c.recorded_at, c.version"
    )
    return [row["state"] for row in rows]


async def test_made_changed_left_alone_and_withdrawn(database_url: str, sandbox: QboSandbox, kind: Kind) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(command(d.realm, kind, number="N-17"))
        assert await ends(d) == ["posted"]
        assert there(d, kind) == [("N-17", Decimal("100.00"))]
        await d.tell(command(d.realm, kind, version=2, number="N-17", amount="80.00", memo="one less"))
        assert (await ends(d))[-1] == "posted"
        await d.tell(command(d.realm, kind, version=3, number="N-17", amount="80.00", memo="one less"))
        assert (await ends(d))[-1] == "unchanged"
        assert there(d, kind) == [("N-17", Decimal("80.00"))]
        await d.tell(withdrawal(d.realm, kind, version=4))
        assert (await ends(d))[-1] == "retracted"
        assert there(d, kind) == []
        await d.tell(command(d.realm, kind, version=5, number="N-17", amount="75.00"))
        assert (await ends(d))[-1] == "posted"
        assert there(d, kind) == [("N-17", Decimal("75.00"))]
        told = await d.event_types("D-1")
        word = kind.value.replace("_", "-")
        assert (told[0], told[-1]) == (f"{word}.posted", f"{word}.posted")
        assert [e["data"]["url"] for e in await d.events() if e["type"].endswith(f"{word}.posted.v1")]


@pytest.mark.parametrize("fault", ["commit_then_reset", "drop_before_commit"])
async def test_an_answer_that_is_lost_doubles_nothing(database_url: str, sandbox: QboSandbox, kind: Kind, fault: str) -> None:
    async with desk(database_url, sandbox) as d:
        sandbox.fault(fault=fault, match={"realm": d.realm, "entity": ENTITY[kind]}, count=1)
        await d.tell(command(d.realm, kind))
        assert await ends(d) == ["posted"]
        sandbox.fault(fault=fault, match={"realm": d.realm, "entity": ENTITY[kind]}, count=1)
        await d.tell(command(d.realm, kind, version=2, amount="80.00"))
        assert (await ends(d))[-1] == "posted"
        sandbox.fault(fault=fault, match={"realm": d.realm, "entity": ENTITY[kind]}, count=1)
        assert [total for _, total in there(d, kind)] == [Decimal("80.00")]
        await d.tell(withdrawal(d.realm, kind, version=3))
        assert (await ends(d))[-1] == "retracted"
        assert there(d, kind) == []


async def test_a_person_changed_it(database_url: str, sandbox: QboSandbox, kind: Kind) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(command(d.realm, kind))
        assert await ends(d) == ["posted"]
        (document,) = sandbox.books(d.realm, ENTITY[kind])
        sandbox.person(d.realm, "edit", ENTITY[kind], document["Id"], TxnDate="2026-12-30")
        await d.tell(command(d.realm, kind, version=2, amount="80.00"))
        assert (await ends(d))[-1] == "held"
        held = next(e for e in await d.events() if e["type"].endswith("document.held.v1"))
        assert ("txn_date", "2026-12-30") in [(one["field"], one["theirs"]) for one in held["data"]["differences"]]
        assert sandbox.books(d.realm, ENTITY[kind])[0]["TxnDate"] == "2026-12-30"


async def test_what_is_used_up_is_not_changed_by_itself(database_url: str, sandbox: QboSandbox, kind: Kind) -> None:
    used_up = kinds.of(LedgerKind(kind.value)).used_up
    async with desk(database_url, sandbox) as d:
        await d.tell(command(d.realm, kind))
        assert await ends(d) == ["posted"]
        if used_up is None:
            await d.tell(command(d.realm, kind, version=2, amount="80.00"))
            assert (await ends(d))[-1] == "posted"
            return
        use_up(d, kind)
        await d.tell(command(d.realm, kind, version=2, amount="80.00"))
        assert (await ends(d))[-1] == "held"
        held = next(e for e in await d.events() if e["type"].endswith("document.held.v1"))
        assert used_up.done in held["data"]["reason"]
        assert held["data"]["fix"].startswith(used_up.fix)


async def test_it_names_a_party_that_is_made_once(database_url: str, sandbox: QboSandbox, kind: Kind) -> None:
    entity = "Customer" if kind in SALES else "Vendor"
    async with desk(database_url, sandbox) as d:
        await d.tell(*(command(d.realm, kind, f"D-{i}", party="Nobody Yet") for i in range(5)))
        assert set(await ends(d)) == {"posted"}
        assert [one["DisplayName"] for one in sandbox.books(d.realm, entity)].count("Nobody Yet") == 1
        assert len(there(d, kind)) == 5


def use_up(d: Desk, kind: Kind) -> None:
    """A person pays a part of the document, or applies it to another one."""
    (document,) = d.sandbox.books(d.realm, ENTITY[kind])
    person, party = d.sandbox.person, "CustomerRef" if kind in SALES else "VendorRef"
    if kind in (Kind.INVOICE, Kind.BILL):
        person(d.realm, "pay", ENTITY[kind], document["Id"], Amount=30)
        return
    of, payment, line = ("Invoice", "Payment", "SalesItemLineDetail") if kind in SALES else (
        "Bill", "BillPayment", "AccountBasedExpenseLineDetail"
    )  # fmt: skip
    whose, detail = document[party], document["Line"][0][line]
    lines = [{"Amount": 30, "DetailType": line, line: detail}]
    other = person(d.realm, "create", of, "", **{party: whose, "Line": lines})["entity"]
    linked = [
        {"Amount": 30, "LinkedTxn": [{"TxnId": one["Id"], "TxnType": type_}]}
        for one, type_ in ((other, of), (document, ENTITY[kind]))
    ]
    how = {} if kind in SALES else {"PayType": "Check", "CheckPayment": {"BankAccountRef": {"value": "35"}}}
    person(d.realm, "create", payment, "", **{party: whose, "TotalAmt": 0, "Line": linked, **how})
