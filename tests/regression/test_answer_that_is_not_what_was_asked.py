"""A taxable item made 1,072.50 of an invoice of 1,000.00, and nobody was told: what is posted is what was asked, or is told."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from qbo_writer.ledger import decisions, discrepancies, listing
from qbo_writer.ledger.decisions import Person
from writer_support import Desk, QboSandbox, bill, desk, invoice, qbo_sandbox

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def sandbox() -> Iterator[QboSandbox]:
    with qbo_sandbox("--no-limits") as running:
        yield running


def taxable(sandbox: QboSandbox, **settings: Any) -> dict[str, Any]:
    """A company with sales tax, whose default item is taxable."""
    company = sandbox.company(**settings)
    (item,) = (item for item in sandbox.books(company["realm_id"], "Item") if item["Id"] == "1")
    sandbox.control("POST", "entities", {"realm": company["realm_id"], "entities": {"Item": [{**item, "Taxable": True}]}})
    return company


def books(d: Desk) -> list[tuple[Decimal, list[str]]]:
    """Total and tax codes of our invoices."""
    return [
        (
            Decimal(str(b["TotalAmt"])),
            [line["SalesItemLineDetail"]["TaxCodeRef"]["value"] for line in b["Line"] if "SalesItemLineDetail" in line],
        )
        for b in d.sandbox.books(d.realm, "Invoice")
        if "bookrelay:" in b.get("PrivateNote", "")
    ]


async def told(d: Desk, type_: str) -> list[dict[str, Any]]:
    return [e["data"] for e in await d.events() if e["type"] == f"bookrelay.{type_}.v1"]


def policy(path: Path, text: str) -> str:
    file = path / "policy.toml"
    file.write_text(text)
    return str(file)


@pytest.mark.parametrize("threshold", [1000, 2], ids=["singles", "batches"])
async def test_a_taxable_item_adds_nothing(sandbox: QboSandbox, database_url: str, threshold: int) -> None:
    async with desk(database_url, sandbox, company=taxable(sandbox), batch_threshold=threshold) as d:
        await d.tell(*(invoice(d.realm, key, amount="1000.00") for key in "abc"))
        assert set((await d.until_ended()).values()) == {"posted"}
        await d.tell(*(invoice(d.realm, key, 2, amount="1200.00") for key in "abc"))
        assert set((await d.until_ended()).values()) == {"posted"}
        assert books(d) == [(Decimal("1200.00"), ["NON"])] * 3
        assert not await told(d, "books.discrepancy")
        assert ["differences" in e for e in await told(d, "invoice.posted")] == [False] * 6


async def test_a_policy_that_asks_for_tax_gets_it_and_nothing_is_wrong(
    sandbox: QboSandbox, database_url: str, tmp_path: Path
) -> None:
    file = policy(tmp_path, '[defaults]\ntax_code = "TAX"\n')
    async with desk(database_url, sandbox, company=taxable(sandbox), company_policy_file=file) as d:
        await d.tell(invoice(d.realm, "a", amount="1000.00"))
        await d.until_ended()
        ((total, codes),) = books(d)
        assert total > 1000
        assert codes == ["TAX"]
        assert not await told(d, "books.discrepancy")


@pytest.mark.parametrize("threshold", [1000, 2], ids=["singles", "batches"])
async def test_a_tax_that_nobody_asked_for_is_told_with_its_amount(
    sandbox: QboSandbox, database_url: str, threshold: int
) -> None:
    company = taxable(sandbox, automated_tax=True)
    async with desk(database_url, sandbox, company=company, batch_threshold=threshold) as d:
        await d.tell(*(invoice(d.realm, key, amount="1000.00") for key in "abc"))
        assert set((await d.until_ended()).values()) == {"posted"}
        total = books(d)[0][0]
        off = f"{total - 1000:.2f}"
        for posted in await told(d, "invoice.posted"):
            assert posted["discrepancy"] == off
            shown = {x["field"]: (x["ours"], x["theirs"]) for x in posted["differences"]}
            assert shown == {"total": ("1000.00", f"{total:.2f}"), "line.1.tax": ("NON", "TAX")}
        found = await told(d, "books.discrepancy")
        assert [(f["what"], f["code"], f["amount"]) for f in found] == [("not_as_asked", "QB007", off)] * 3
        # An update that differs as well is one discrepancy still; one that is as asked ends it.
        await d.tell(invoice(d.realm, "a", 2, amount="1000.00", customer="Another"))
        await d.until_ended()
        assert len(await d.writer.ledger.sweeps.discrepancies(d.realm)) == 3
        sandbox.control("POST", "companies", {"realm_id": d.realm, "automated_tax": False})
        await d.tell(invoice(d.realm, "a", 3, amount="900.00"))
        await d.until_ended()
        assert len(await d.writer.ledger.sweeps.discrepancies(d.realm)) == 2


async def test_the_next_of_its_kind_are_held_until_a_person_has_looked(
    sandbox: QboSandbox, database_url: str, tmp_path: Path
) -> None:
    company = taxable(sandbox, automated_tax=True)
    file = policy(tmp_path, 'on_difference = "hold"\n')
    async with desk(database_url, sandbox, company=company, company_policy_file=file) as d:
        await d.tell(invoice(d.realm, "a"))
        await d.until_ended()
        await d.tell(invoice(d.realm, "b"), bill(d.realm, "c"))
        assert await d.until_ended() == {("a", 1): "posted", ("b", 1): "held", ("c", 1): "posted"}
        (held,) = await told(d, "document.held")
        (open_,) = await d.writer.ledger.sweeps.discrepancies(d.realm)
        assert f"qbo-writer audit accept {d.realm} Invoice {open_.qbo_id}" in held["fix"]
        sandbox.control("POST", "companies", {"realm_id": d.realm, "automated_tax": False})
        assert await discrepancies.accept(d.pool, d.realm, "Invoice", open_.qbo_id, Person("anna", "the tax is right")) == 1
        (decided,) = await decisions.made(d.pool, d.realm)
        assert (decided["decision"], decided["by"], decided["qbo_id"]) == ("accept", "anna", open_.qbo_id)
        shown = await listing.everything(d.pool, decided["document"])
        assert [one["decision"] for one in shown["decisions"]] == ["accept"]
        d.writer.wake(d.realm)
        await d.until_ended()
        assert (await d.states())[("b", 1)] == "posted"
        assert [total for total, _ in books(d)][-1] == Decimal("100.00")
        # The document that differs may be sent again at any time: that is how its source corrects it.
        await d.tell(invoice(d.realm, "a", 2, amount="90.00"))
        assert (await d.until_ended())[("a", 2)] == "posted"


async def test_a_difference_that_a_person_corrected_ends_with_the_sweep(sandbox: QboSandbox, database_url: str) -> None:
    async with desk(database_url, sandbox, company=taxable(sandbox, automated_tax=True)) as d:
        await d.tell(invoice(d.realm, "a"))
        await d.until_ended()
        (open_,) = await d.writer.ledger.sweeps.discrepancies(d.realm)
        poster = d.writer.posters[d.realm]
        assert poster.tenure
        token = await d.writer.tokens.current(d.realm, poster.tenure.fencing_token)
        await poster.sweeper.sweep(poster.tenure, token)
        assert await d.writer.ledger.sweeps.discrepancies(d.realm)
        sandbox.control("POST", "companies", {"realm_id": d.realm, "automated_tax": False})
        entity = next(b for b in sandbox.books(d.realm, "Invoice") if b["Id"] == open_.qbo_id)
        line = next(line for line in entity["Line"] if "SalesItemLineDetail" in line)
        line["SalesItemLineDetail"]["TaxCodeRef"] = {"value": "NON"}
        sandbox.person(d.realm, "edit", "Invoice", open_.qbo_id, Line=[line])
        await poster.sweeper.sweep(poster.tenure, token)
        assert not await d.writer.ledger.sweeps.discrepancies(d.realm)


async def test_a_class_that_quickbooks_drops_is_told(sandbox: QboSandbox, database_url: str, tmp_path: Path) -> None:
    company = sandbox.company()
    realm = company["realm_id"]
    on, off = ({"realm": realm, "AccountingInfoPrefs": {"ClassTrackingPerTxnLine": value}} for value in (True, False))
    sandbox.control("POST", "preferences", on)
    sandbox.control("POST", "entities", {"realm": realm, "entities": {"Class": [{"Name": "Clinic"}]}})
    file = policy(tmp_path, '[defaults]\nclass = "Clinic"\n')
    async with desk(database_url, sandbox, company=company, company_policy_file=file) as d:
        await d.tell(invoice(realm, "a"), bill(realm, "b"))
        await d.until_ended()
        assert not await told(d, "books.discrepancy")
        sandbox.control("POST", "preferences", off)
        await d.tell(invoice(realm, "c"), bill(realm, "e"))
        await d.until_ended()
        fields = {f["entity"]: f["reason"] for f in await told(d, "books.discrepancy")}
        assert set(fields) == {"Invoice", "Bill"}
        assert all("line.1.class" in reason for reason in fields.values())
