"""Customers' payments: applied by business keys, to what is in the books; what is not there yet is waited for, by name."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from bookrelay.messages import Applied, Kind, PaymentContent
from document_kinds import BEGINNING, command, withdrawal
from pydantic import ValidationError
from writer_support import Desk, QboSandbox, desk

pytestmark = pytest.mark.postgres


def payment(d: Desk, *applied: tuple[str, str], amount: str = "100.00", key: str = "P-1", version: int = 1, **more: Any) -> Any:
    """A payment for invoices of the same source: (key, amount) of each."""
    parts = tuple(Applied(source_key=invoice, amount=Decimal(part)) for invoice, part in applied)
    return command(d.realm, Kind.PAYMENT, key, version, amount=amount, applied=parts, **more)


def credits(*of: tuple[str, str]) -> tuple[Applied, ...]:
    return tuple(Applied(source_key=key, amount=Decimal(part)) for key, part in of)


def open_of(d: Desk, entity: str = "Invoice") -> list[Decimal]:
    return [Decimal(str(one["Balance"])) for one in d.sandbox.books(d.realm, entity)]


def unapplied(d: Desk) -> list[Decimal]:
    return [Decimal(str(one["UnappliedAmt"])) for one in d.sandbox.books(d.realm, "Payment")]


async def state(d: Desk, key: str = "P-1") -> tuple[str, str]:
    row = await d.pool.fetchrow(
        "SELECT c.state, c.reason FROM qbo_writer.commands c JOIN qbo_writer.documents d ON d.id = c.document_id "
        "WHERE d.kind = 'payment' AND d.source_key = $1 ORDER BY c.version DESC LIMIT 1",
        key,
    )
    return row["state"], row["reason"] or ""


async def test_it_pays_invoices_by_their_keys_and_the_rest_stays_with_the_customer(
    database_url: str, sandbox: QboSandbox
) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(command(d.realm, Kind.INVOICE, "I-1"), command(d.realm, Kind.INVOICE, "I-2", amount="50.00"))
        await d.tell(payment(d, ("I-1", "100.00"), ("I-2", "30.00"), amount="145.00", payment_method="Check", payment_ref="8841"))
        await d.until_ended()
        assert (await state(d))[0] == "posted"
        assert sorted(open_of(d)) == [Decimal("0.00"), Decimal("20.00")]
        assert unapplied(d) == [Decimal("15.00")]
        (made,) = sandbox.books(d.realm, "Payment")
        assert made["PaymentRefNum"] == "8841"
        assert made["PaymentMethodRef"]["name"] == "Check"
        # Changed: less of the first, none of the second.
        await d.tell(payment(d, ("I-1", "40.00"), amount="145.00", version=2))
        await d.until_ended()
        assert (await state(d))[0] == "posted"
        assert sorted(open_of(d)) == [Decimal("50.00"), Decimal("60.00")]
        assert unapplied(d) == [Decimal("105.00")]
        await d.tell(withdrawal(d.realm, Kind.PAYMENT, "P-1", 3))
        await d.until_ended()
        assert sorted(open_of(d)) == [Decimal("50.00"), Decimal("100.00")]
        assert sandbox.books(d.realm, "Payment") == []


@pytest.mark.parametrize("first", ["nothing is known of the invoice", "the invoice waits itself"])
async def test_it_waits_for_its_invoice_says_so_once_and_goes_on_by_itself(
    database_url: str, sandbox: QboSandbox, first: str
) -> None:
    async with desk(database_url, sandbox) as d:
        if first == "the invoice waits itself":
            await d.tell(command(d.realm, Kind.INVOICE, "I-1", party="12/31/2025"))  # nobody has such a name
        await d.tell(payment(d, ("I-1", "100.00")))
        await d.until_ended()
        assert await state(d) == ("waiting", "It refers to the invoice 'I-1', which is not in QuickBooks yet.")
        assert sandbox.books(d.realm, "Payment") == []
        (told,) = [e for e in await d.events() if e["type"] == "bookrelay.document.waiting.v1" and e["data"]["kind"] == "payment"]
        assert told["data"]["reason"].startswith("It refers to the invoice 'I-1'")
        assert "Posting resumes automatically when the invoice is posted" in told["data"]["fix"]
        await d.tell(command(d.realm, Kind.INVOICE, "I-1", version=2))
        await d.until_ended()
        assert (await state(d))[0] == "posted"
        assert open_of(d) == [Decimal("0.00")]
        told_ = [t for t in await d.event_types("P-1") if t == "document.waiting"]
        assert len(told_) == 1


async def test_it_waits_for_one_after_the_other(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(payment(d, ("I-1", "60.00"), ("I-2", "40.00")))
        await d.until_ended()
        await d.tell(command(d.realm, Kind.INVOICE, "I-1"))
        await d.until_ended()
        assert await state(d) == ("waiting", "It refers to the invoice 'I-2', which is not in QuickBooks yet.")
        await d.tell(command(d.realm, Kind.INVOICE, "I-2"))
        await d.until_ended()
        assert (await state(d))[0] == "posted"


async def test_after_its_limit_it_is_held(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(payment(d, ("I-1", "100.00")))
        await d.until_ended()
        await d.pool.execute(
            "UPDATE qbo_writer.commands SET waiting_since = waiting_since - $1::interval, due_at = now(), state = 'due' "
            "WHERE state = 'waiting'",
            timedelta(days=31),
        )
        d.writer.wake([d.realm])
        await d.until_ended()
        held, reason = await state(d)
        assert held == "held"
        assert reason == "It refers to the invoice 'I-1', which is not in QuickBooks yet. It waited 30 days."
        told = next(e for e in await d.events() if e["type"] == "bookrelay.document.held.v1")
        assert "qbo-writer held release" in told["data"]["fix"]


async def test_a_withdrawn_invoice_is_named_as_that(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(command(d.realm, Kind.INVOICE, "I-1"))
        await d.until_ended()
        await d.tell(withdrawal(d.realm, Kind.INVOICE, "I-1", 2))
        await d.until_ended()
        await d.tell(payment(d, ("I-1", "100.00")))
        await d.until_ended()
        assert await state(d) == ("waiting", "It refers to the invoice 'I-1', which was withdrawn (voided in QuickBooks).")


async def test_credits_pay_too_and_alone(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(command(d.realm, Kind.INVOICE, "I-1"), command(d.realm, Kind.INVOICE, "I-2"))
        await d.tell(command(d.realm, Kind.CREDIT_MEMO, "C-1", amount="30.00"))
        await d.tell(payment(d, ("I-1", "80.00"), amount="70.00", credits=credits(("C-1", "10.00"))))
        await d.tell(payment(d, ("I-2", "20.00"), amount="0.00", credits=credits(("C-1", "20.00")), key="P-2"))
        await d.until_ended()
        assert [(await state(d, key))[0] for key in ("P-1", "P-2")] == ["posted", "posted"]
        assert sorted(open_of(d)) == [Decimal("20.00"), Decimal("80.00")]
        assert open_of(d, "CreditMemo") == [Decimal("0.00")]
        assert unapplied(d) == [Decimal("0.00"), Decimal("0.00")]


async def test_an_invoice_of_another_source(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        parts = (Applied(source="emr", source_key="12082", amount=Decimal("100.00")),)
        await d.tell(command(d.realm, Kind.PAYMENT, "P-1", applied=parts))
        await d.until_ended()
        assert (await state(d))[1] == "It refers to the invoice '12082' of source 'emr', which is not in QuickBooks yet."


async def test_a_lost_answer_pays_once(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(*(command(d.realm, Kind.INVOICE, f"I-{i}") for i in range(4)))
        await d.until_ended()
        for fault in ("commit_then_reset", "drop_before_commit"):
            sandbox.fault(fault=fault, match={"realm": d.realm, "entity": "Payment", "operation": "create"}, count=1)
        await d.tell(*(payment(d, (f"I-{i}", "100.00"), key=f"P-{i}") for i in range(4)))
        await d.until_ended()
        assert open_of(d) == [Decimal("0.00")] * 4
        assert len(sandbox.books(d.realm, "Payment")) == 4


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"applied": (("I-1", "101.00"),)}, "101.00 is applied, but the payment and its credits come to 100.00"),
        ({"applied": (("I-1", "10.00"), ("I-1", "20.00"))}, "can name each document only once"),
        ({"applied": (("I-1", "10.00"),), "credits": (("C-1", "20.00"),)}, "credits of 20.00 pay more than the 10.00"),
        ({"applied": (("I-1", "0.00"),)}, "greater than 0"),
        ({"amount": "-1.00"}, "greater than or equal to 0"),
    ],
)
def test_a_payment_that_cannot_be_says_why(given: dict[str, Any], why: str) -> None:
    parts = {name: [{"source_key": key, "amount": part} for key, part in given.get(name, ())] for name in ("applied", "credits")}
    whole = {"customer": {"name": "A"}, "txn_date": BEGINNING.date(), "amount": given.get("amount", "100.00"), **parts}
    with pytest.raises(ValidationError, match=why):
        PaymentContent.model_validate(whole)
