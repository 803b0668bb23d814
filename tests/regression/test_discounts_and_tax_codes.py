"""A header's discount and the tax codes of lines are contents: sent, compared, and seen where a person changes them."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bookrelay.messages import Discount, InvoiceLine
from pydantic import ValidationError
from qbo_writer.quickbooks import mapping
from writer_support import Desk, QboSandbox, bill, desk, invoice, qbo_sandbox

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def sandbox() -> Iterator[QboSandbox]:
    with qbo_sandbox("--no-limits") as running:
        yield running


def having(command: Any, *lines: tuple[str, str | None], total: str | None = None, **discount: Any) -> Any:
    """The command with these lines (amount, tax code), total and discount."""
    made = tuple(InvoiceLine(description=f"Line {n}", amount=Decimal(a), tax_code=code) for n, (a, code) in enumerate(lines, 1))
    update = {"lines": made or command.data.content.lines, "discount": Discount(**discount) if discount else None}
    data = {"content": command.data.content.model_copy(update=update), "total": Decimal(total) if total else None}
    return type(command).of(command.data.model_copy(update=data), sender="emr-poller")


async def told(d: Desk, type_: str) -> dict[str, dict[str, Any]]:
    return {e["data"]["source_key"]: e["data"] for e in await d.events() if e["type"] == f"bookrelay.{type_}.v1"}


def books(d: Desk) -> list[dict[str, Any]]:
    return [b for b in d.sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]


def shown(entity: dict[str, Any]) -> dict[str, str]:
    return mapping.seen("Invoice", entity).fields


@pytest.mark.parametrize("threshold", [1000, 2], ids=["singles", "batches"])
async def test_a_discount_is_a_line_of_its_own_and_comes_off_the_total(
    sandbox: QboSandbox, database_url: str, threshold: int
) -> None:
    async with desk(database_url, sandbox, batch_threshold=threshold) as d:
        await d.tell(
            having(invoice(d.realm, "amount"), total="75.00", amount="25.00"),
            having(invoice(d.realm, "percent"), ("33.33", None), ("0.05", None), total="30.54", percent="8.5"),
            having(invoice(d.realm, "wrong"), total="75.01", amount="25.00"),
            having(invoice(d.realm, "too much"), amount="100.01"),
        )
        assert await d.until_ended() == {
            ("amount", 1): "posted", ("percent", 1): "posted", ("wrong", 1): "held", ("too much", 1): "rejected",
        }  # fmt: skip
        assert not await told(d, "books.discrepancy")
        found = {Decimal(str(b["TotalAmt"])): shown(b) for b in books(d)}
        assert set(found) == {Decimal("75.00"), Decimal("30.54")}
        assert found[Decimal("75.00")]["discount.amount"] == "25.00"
        assert (found[Decimal("30.54")]["discount.amount"], found[Decimal("30.54")]["discount.percent"]) == ("2.84", "8.5")
        assert found[Decimal("30.54")]["lines"] == "2"
        # Another discount is another content; the same one is unchanged; one that goes away goes away in QuickBooks.
        await d.tell(having(invoice(d.realm, "amount", 2), total="75.00", amount="25.00"))
        assert (await d.until_ended())["amount", 2] == "unchanged"
        await d.tell(having(invoice(d.realm, "amount", 3), total="90.00", percent="10"))
        assert (await d.until_ended())["amount", 3] == "posted"
        await d.tell(having(invoice(d.realm, "amount", 4), total="100.00"))
        assert (await d.until_ended())["amount", 4] == "posted"
        assert {Decimal(str(b["TotalAmt"])) for b in books(d)} == {Decimal(100), Decimal("30.54")}
        assert not await told(d, "books.discrepancy")


@pytest.mark.parametrize("before_tax", [True, False])
async def test_a_discount_lowers_what_is_taxed_or_does_not(sandbox: QboSandbox, database_url: str, before_tax: bool) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(having(invoice(d.realm, "plain"), ("100.00", "TAX")))
        await d.until_ended()
        tax = Decimal(str(books(d)[0]["TxnTaxDetail"]["TotalTax"]))
        assert tax > 0
        less = having(invoice(d.realm, "less"), ("100.00", "TAX"), ("100.00", "NON"), percent="50", before_tax=before_tax)
        await d.tell(less)
        assert (await d.until_ended())["less", 1] == "posted"
        (entity,) = (b for b in books(d) if len(b["Line"]) > 3)
        assert entity["ApplyTaxAfterDiscount"] is before_tax
        expected = tax / 2 if before_tax else tax
        assert abs(Decimal(str(entity["TxnTaxDetail"]["TotalTax"])) - expected) <= Decimal("0.01")
        assert Decimal(str(entity["TotalAmt"])) == 100 + Decimal(str(entity["TxnTaxDetail"]["TotalTax"]))
        assert [shown(entity)[f"line.{n}.tax"] for n in (1, 2)] == ["TAX", "NON"]
        assert not await told(d, "books.discrepancy")


async def test_a_discount_that_a_person_adds_is_a_difference(sandbox: QboSandbox, database_url: str) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "a"))
        await d.until_ended()
        (entity,) = books(d)
        line = {"DetailType": "DiscountLineDetail", "Amount": 10, "DiscountLineDetail": {"PercentBased": False}}
        d.sandbox.person(d.realm, "edit", "Invoice", entity["Id"], Line=[*entity["Line"], line])
        await d.tell(invoice(d.realm, "a", 2, amount="110.00"))
        assert (await d.until_ended())["a", 2] == "held"
        differences = {x["field"]: x["theirs"] for x in (await told(d, "document.held"))["a"]["differences"]}
        assert differences["discount.amount"] == "10.00"


async def test_a_company_without_discounts_is_told_where_to_turn_them_on(sandbox: QboSandbox, database_url: str) -> None:
    company = sandbox.company()
    sandbox.control("POST", "preferences", {"realm": company["realm_id"], "SalesFormsPrefs": {"AllowDiscount": False}})
    async with desk(database_url, sandbox, company=company) as d:
        await d.tell(having(invoice(d.realm, "a"), amount="25.00"), invoice(d.realm, "b"))
        assert await d.until_ended() == {("a", 1): "waiting", ("b", 1): "posted"}
        waiting = (await told(d, "document.waiting"))["a"]
        assert "does not use discounts" in waiting["reason"]
        assert "Turn on discounts" in waiting["fix"]


async def test_a_us_invoice_has_one_sales_tax_that_its_lines_may_name(
    sandbox: QboSandbox, database_url: str, tmp_path: Path
) -> None:
    company = sandbox.company()
    realm = company["realm_id"]
    codes = {code["Name"]: code["Id"] for code in sandbox.books(realm, "TaxCode") if code["Id"] not in ("TAX", "NON")}
    name, id_ = next(iter(codes.items()))
    async with desk(database_url, sandbox, company=company) as d:
        await d.tell(
            having(invoice(realm, "a"), ("100.00", name), ("50.00", None)),
            having(invoice(realm, "b"), ("100.00", "Atlantis VAT")),
        )
        assert await d.until_ended() == {("a", 1): "posted", ("b", 1): "waiting"}
        (entity,) = books(d)
        fields = shown(entity)
        assert (fields["line.1.tax"], fields["line.2.tax"], fields["txn_tax"]) == ("TAX", "NON", id_)
        assert not await told(d, "books.discrepancy")
        assert "Atlantis VAT" in (await told(d, "document.waiting"))["b"]["reason"]
        line = bill(realm, "c").data.content.lines[0].model_copy(update={"tax_code": name})
        command = bill(realm, "c")
        data = command.data.model_copy(update={"content": command.data.content.model_copy(update={"lines": (line,)})})
        await d.tell(type(command).of(data, sender="sheet-watcher"))
        assert (await d.until_ended())["c", 1] == "rejected"


@pytest.mark.parametrize(
    "wrong", [{}, {"amount": "1.00", "percent": "1"}, {"amount": "-1.00"}, {"percent": "-1"}, {"percent": "100.5"}]
)
def test_a_discount_is_either_an_amount_or_a_percentage(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Discount.model_validate(wrong)
