"""A company with VAT: every document was refused one by one, and amounts that held the tax already were taxed again."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bookrelay.messages import BillLine, Discount, InvoiceLine
from writer_support import Desk, QboSandbox, bill, desk, invoice, qbo_sandbox

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def sandbox() -> Iterator[QboSandbox]:
    with qbo_sandbox("--no-limits") as running:
        yield running


def policy(path: Path, text: str) -> str:
    file = path / "policy.toml"
    file.write_text(text)
    return str(file)


def stating(command: Any, total: str | None = None, **content: Any) -> Any:
    update = {"total": Decimal(total) if total else None, "content": command.data.content.model_copy(update=content)}
    return type(command).of(command.data.model_copy(update=update), sender="emr-poller")


async def told(d: Desk, type_: str) -> dict[str, dict[str, Any]]:
    return {e["data"]["source_key"]: e["data"] for e in await d.events() if e["type"] == f"bookrelay.{type_}.v1"}


def books(d: Desk, entity: str = "Invoice") -> list[dict[str, Any]]:
    return [b for b in d.sandbox.books(d.realm, entity) if "bookrelay:" in b.get("PrivateNote", "")]


def amounts(entity: dict[str, Any]) -> tuple[str, str]:
    """Total and tax."""
    return f"{Decimal(str(entity['TotalAmt'])):.2f}", f"{Decimal(str(entity['TxnTaxDetail']['TotalTax'])):.2f}"


NET = 'amounts = "net"\n[defaults]\ntax_code = "20.0% S"\n'
GROSS = NET.replace("net", "gross")


@pytest.mark.parametrize("threshold", [1000, 2], ids=["singles", "batches"])
async def test_a_company_that_must_name_taxes_waits_for_the_setting_and_goes_on_by_itself(
    sandbox: QboSandbox, database_url: str, tmp_path: Path, threshold: int
) -> None:
    company = sandbox.company(country="GB")
    realm = company["realm_id"]
    async with desk(database_url, sandbox, company=company, batch_threshold=threshold) as d:
        await d.tell(*(invoice(realm, key) for key in "abc"), bill(realm, "d"))
        assert set((await d.until_ended()).values()) == {"held"}
        assert not [r for r in sandbox.requests(realm) if r.get("operation") in ("create", "batch")]
        held = await told(d, "document.held")
        assert set(held) == set("abcd")
        for event in held.values():
            assert "VAT" in event["reason"]
            assert 'amounts = "net" or "gross" and tax_code under [defaults]' in event["fix"]
    file = policy(tmp_path, NET)
    async with desk(database_url, sandbox, company=company, batch_threshold=threshold, company_policy_file=file, keep=True) as d:

        async def all_posted() -> bool:
            return set((await d.states()).values()) == {"posted"}

        await d.until(all_posted)
        assert [amounts(b) for b in books(d)] == [("120.00", "20.00")] * 3
        assert [amounts(b) for b in books(d, "Bill")] == [("66.00", "11.00")]
        assert not await told(d, "books.discrepancy")


@pytest.mark.parametrize("threshold", [1000, 2], ids=["singles", "batches"])
async def test_gross_amounts_are_not_taxed_again(sandbox: QboSandbox, database_url: str, tmp_path: Path, threshold: int) -> None:
    file = policy(tmp_path, GROSS)
    async with desk(
        database_url, sandbox, company=sandbox.company(country="GB"), company_policy_file=file, batch_threshold=threshold
    ) as d:
        odd = tuple(InvoiceLine(description="x", amount=Decimal("0.99")) for _ in range(3))
        await d.tell(
            stating(invoice(d.realm, "a", amount="120.00"), "120.00"), stating(invoice(d.realm, "b"), "2.97", lines=odd),
            bill(d.realm, "c", amount="59.99"), stating(invoice(d.realm, "d", amount="120.00"), "144.00"),
        )  # fmt: skip
        assert await d.until_ended() == {("a", 1): "posted", ("b", 1): "posted", ("c", 1): "posted", ("d", 1): "held"}
        assert {amounts(b)[0] for b in books(d)} == {"120.00", "2.97"}
        assert ("120.00", "20.00") in {amounts(b) for b in books(d)}
        assert amounts(books(d, "Bill")[0]) == ("59.99", "10.00")
        assert not await told(d, "books.discrepancy")
        assert (await told(d, "document.held"))["d"]["reason"].count("120.00") == 1
        await d.tell(stating(invoice(d.realm, "a", 2, amount="60.00"), "60.00"))
        assert (await d.until_ended())["a", 2] == "posted"
        assert ("60.00", "10.00") in {amounts(b) for b in books(d)}
        assert not await told(d, "books.discrepancy")


async def test_prices_with_tax_that_a_policy_calls_net_are_told_where_the_source_knows_its_total(
    sandbox: QboSandbox, database_url: str, tmp_path: Path
) -> None:
    file = policy(tmp_path, NET)
    async with desk(database_url, sandbox, company=sandbox.company(country="GB"), company_policy_file=file) as d:
        await d.tell(stating(invoice(d.realm, "a", amount="120.00"), "120.00"), stating(invoice(d.realm, "b"), "120.00"))
        assert set((await d.until_ended()).values()) == {"posted"}
        found = await told(d, "books.discrepancy")
        assert {key: f["amount"] for key, f in found.items()} == {"a": "24.00"}


async def test_lines_name_their_own_tax_codes(sandbox: QboSandbox, database_url: str, tmp_path: Path) -> None:
    file = policy(tmp_path, 'amounts = "net"\n')
    async with desk(database_url, sandbox, company=sandbox.company(country="CA"), company_policy_file=file) as d:
        codes = ("HST ON", "GST/PST BC", "Exempt")
        lines = tuple(InvoiceLine(description=code, amount=Decimal(100), tax_code=code) for code in codes)
        bills = (BillLine(amount=Decimal(100), tax_code="GST"),)
        await d.tell(
            stating(invoice(d.realm, "a"), "325.00", lines=lines), stating(bill(d.realm, "b"), "105.00", lines=bills),
            stating(invoice(d.realm, "c"), lines=(*lines, InvoiceLine(amount=Decimal(1)))),
        )  # fmt: skip
        assert await d.until_ended() == {("a", 1): "posted", ("b", 1): "posted", ("c", 1): "held"}
        assert "tax_code under [defaults]" in (await told(d, "document.held"))["c"]["fix"]
        assert [amounts(b) for b in books(d)] == [("325.00", "25.00")]
        assert [amounts(b) for b in books(d, "Bill")] == [("105.00", "5.00")]
        assert not await told(d, "books.discrepancy")


async def test_a_discount_before_tax_with_net_amounts(sandbox: QboSandbox, database_url: str, tmp_path: Path) -> None:
    file = policy(tmp_path, NET)
    async with desk(database_url, sandbox, company=sandbox.company(country="GB"), company_policy_file=file) as d:
        await d.tell(stating(invoice(d.realm, "a"), "108.00", discount=Discount(percent=Decimal(10))))
        await d.until_ended()
        assert [amounts(b) for b in books(d)] == [("108.00", "18.00")]
        assert not await told(d, "books.discrepancy")


@pytest.mark.parametrize(
    ("country", "text", "content", "state", "words"),
    [
        ("GB", GROSS, {"discount": Discount(amount=Decimal(10))}, "rejected", "negative line"),
        ("US", 'amounts = "gross"\n[defaults]\ntax_code = "TAX"\n', {}, "held", "Remove amounts"),
        ("US", 'amounts = "gross"\n', {}, "posted", ""),
        ("GB", NET.replace("20.0% S", "17.5% S"), {}, "waiting", "17.5% S"),
    ],
)
async def test_what_cannot_be_reckoned_is_said(
    sandbox: QboSandbox,
    database_url: str,
    tmp_path: Path,
    country: str,
    text: str,
    content: dict[str, Any],
    state: str,
    words: str,
) -> None:
    company = sandbox.company(country=country)
    async with desk(database_url, sandbox, company=company, company_policy_file=policy(tmp_path, text)) as d:
        await d.tell(stating(invoice(d.realm, "a"), **content))
        assert (await d.until_ended())["a", 1] == state
        said: dict[str, Any] = {}
        for end in ("held", "waiting", "rejected"):
            said = said or (await told(d, f"document.{end}")).get("a", {})
        assert words in f"{said.get('reason', '')} {said.get('fix', '')}"


async def test_quickbooks_own_refusal_names_the_setting(sandbox: QboSandbox, database_url: str) -> None:
    """Q7: a company whose preferences do not show it: held, with the setting's name and QuickBooks' words."""
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        detail = "Business Validation Error: Make sure all your transactions have a GST/HST rate before you save."
        sandbox.fault(fault="fault", code="6000", detail=detail, count=1, match={"realm": d.realm, "entity": "Invoice"})
        await d.tell(invoice(d.realm, "a"))
        assert (await d.until_ended())["a", 1] == "held"
        held = (await told(d, "document.held"))["a"]
        assert "GST/HST rate" in held["reason"]
        assert "tax_code under [defaults]" in held["fix"]
