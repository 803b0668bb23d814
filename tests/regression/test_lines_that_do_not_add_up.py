"""A quote of 75.00 became an invoice of 100.00: its header's discount and credit were nobody's lines, and nobody was told."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bookrelay.messages import InvoiceContent, InvoiceLine, Party, UpsertBill, UpsertInvoice
from qbo_writer.ledger import operating
from writer_support import Desk, QboSandbox, bill, desk, invoice, qbo_sandbox

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def sandbox() -> Iterator[QboSandbox]:
    with qbo_sandbox("--no-limits") as running:
        yield running


def stating(command: Any, total: str | None, **content: Any) -> Any:
    """The command, with the total that its source states."""
    data = command.data.model_copy(
        update={"total": Decimal(total) if total else None, "content": command.data.content.model_copy(update=content)}
    )
    return type(command).of(data, sender="emr-poller")


def lines(*amounts: str) -> tuple[InvoiceLine, ...]:
    return tuple(InvoiceLine(description=f"Line {n}", amount=Decimal(a)) for n, a in enumerate(amounts, 1))


async def told(d: Desk, type_: str) -> list[dict[str, Any]]:
    return [e["data"] for e in await d.events() if e["type"] == f"bookrelay.{type_}.v1"]


def totals(d: Desk, entity: str = "Invoice") -> list[Decimal]:
    return [Decimal(str(b["TotalAmt"])) for b in d.sandbox.books(d.realm, entity) if "bookrelay:" in b.get("PrivateNote", "")]


@pytest.mark.parametrize("threshold", [1000, 2], ids=["singles", "batches"])
async def test_lines_that_do_not_add_up_to_the_sources_total_are_held_with_both_sums(
    sandbox: QboSandbox, database_url: str, threshold: int
) -> None:
    async with desk(database_url, sandbox, batch_threshold=threshold) as d:
        await d.tell(
            stating(invoice(d.realm, "a"), "75.00"), stating(invoice(d.realm, "b"), "100.00"),
            stating(invoice(d.realm, "c"), "100.01"), invoice(d.realm, "d"),
            stating(bill(d.realm, "e"), "54.99"), stating(bill(d.realm, "f"), "55.00"),
        )  # fmt: skip
        assert await d.until_ended() == {
            ("a", 1): "held", ("b", 1): "posted", ("c", 1): "held", ("d", 1): "posted", ("e", 1): "held", ("f", 1): "posted",
        }  # fmt: skip
        held = {e["source_key"]: e for e in await told(d, "document.held")}
        assert "add up to 100.00" in held["a"]["reason"]
        assert "total of 75.00: a difference of 25.00" in held["a"]["reason"]
        assert "no tax is added" in held["c"]["reason"]
        assert "a difference of -0.01" in held["c"]["reason"]
        assert "held force" in held["e"]["fix"]
        assert totals(d) == [Decimal(100)] * 2
        assert totals(d, "Bill") == [Decimal(55)]
        assert not await told(d, "books.discrepancy")
        # The source mends the lines, or the total; a version that mends neither is held again.
        await d.tell(
            stating(invoice(d.realm, "a", 2, amount="75.00"), "75.00"), stating(invoice(d.realm, "c", 2), "100.00"),
            stating(bill(d.realm, "e", 2), "54.98"),
        )  # fmt: skip
        states = await d.until_ended()
        assert (states["a", 2], states["c", 2], states["e", 2]) == ("posted", "posted", "held")


async def test_a_person_may_post_the_lines_as_they_are(sandbox: QboSandbox, database_url: str) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(stating(invoice(d.realm, "a"), "75.00"))
        await d.until_ended()
        (row,) = await operating.held(d.pool, d.realm)
        await operating.force(d.pool, row["document"])
        d.writer.wake(d.realm)
        assert (await d.until_ended())["a", 1] == "posted"
        assert totals(d) == [Decimal(100)]
        assert not await told(d, "books.discrepancy")


async def test_a_total_that_changes_alone_is_not_unchanged(sandbox: QboSandbox, database_url: str) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "a"))
        await d.until_ended()
        for version, (total, state) in enumerate((("100.00", "unchanged"), ("90.00", "held"), (None, "unchanged")), 2):
            await d.tell(stating(invoice(d.realm, "a", version), total))
            assert (await d.until_ended())["a", version] == state
        assert totals(d) == [Decimal(100)]


def test_the_same_command_with_another_total_is_another_message() -> None:
    plain = invoice("9", "a")
    assert len({plain.id, stating(plain, "75.00").id, stating(plain, "75.01").id}) == 3
    assert stating(plain, None).id == plain.id
    assert b"total" not in plain.encode()
    assert UpsertInvoice.model_validate_json(stating(plain, "75.00").encode()).data.total == Decimal("75.00")
    assert UpsertBill.model_validate_json(stating(bill("9", "b"), "55.00").encode()).data.total == Decimal("55.00")


async def test_an_answer_with_another_total_than_the_sources_is_told(
    sandbox: QboSandbox, database_url: str, tmp_path: Path
) -> None:
    """Tax on top: what a source states includes it, so lines below it may be right, and QuickBooks' answer decides."""
    file = tmp_path / "policy.toml"
    file.write_text('[defaults]\ntax_code = "TAX"\n')
    async with desk(database_url, sandbox, company_policy_file=str(file)) as d:
        await d.tell(stating(invoice(d.realm, "probe"), None))
        await d.until_ended()
        (whole,) = totals(d)
        assert whole > 100
        await d.tell(
            stating(invoice(d.realm, "right"), str(whole)), stating(invoice(d.realm, "net"), "100.00"),
            stating(invoice(d.realm, "less"), "99.00"),
        )  # fmt: skip
        states = await d.until_ended()
        assert (states["right", 1], states["net", 1], states["less", 1]) == ("posted", "posted", "held")
        posted = {e["source_key"]: e for e in await told(d, "invoice.posted")}
        assert "discrepancy" not in posted["right"]
        assert "discrepancy" not in posted["probe"]
        assert posted["net"]["discrepancy"] == f"{whole - 100:.2f}"
        assert [(f["source_key"], f["amount"]) for f in await told(d, "books.discrepancy")] == [("net", f"{whole - 100:.2f}")]


async def test_a_policy_may_tell_instead_of_hold(sandbox: QboSandbox, database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text('on_total = "tell"\n')
    async with desk(database_url, sandbox, company_policy_file=str(file)) as d:
        await d.tell(stating(invoice(d.realm, "a"), "75.00"))
        assert (await d.until_ended())["a", 1] == "posted"
        (found,) = await told(d, "books.discrepancy")
        assert (found["what"], found["amount"]) == ("not_as_asked", "25.00")


async def test_negative_lines_pass_while_the_total_is_not_negative(sandbox: QboSandbox, database_url: str) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(
            stating(invoice(d.realm, "a"), "80.00", lines=lines("100.00", "-20.00")),
            stating(invoice(d.realm, "b"), "0.00", lines=lines("20.00", "-20.00")),
            stating(invoice(d.realm, "c"), "-20.00", lines=lines("100.00", "-120.00")),
        )  # fmt: skip
        assert await d.until_ended() == {("a", 1): "posted", ("b", 1): "posted", ("c", 1): "rejected"}
        assert sorted(totals(d)) == [Decimal(0), Decimal(80)]
        (rejected,) = await told(d, "document.rejected")
        assert "add up to -20.00" in rejected["reason"]
        assert "credit memo" in rejected["fix"]
        assert not await told(d, "books.discrepancy")


def test_a_total_is_an_amount_in_whole_cents() -> None:
    content = InvoiceContent(customer=Party(name="x"), txn_date=invoice("9", "a").data.content.txn_date, lines=lines("1.00"))
    data = invoice("9", "a").data.model_dump() | {"content": content, "total": "1.005"}
    with pytest.raises(ValueError, match="more than two decimal places"):
        type(invoice("9", "a").data).model_validate(data)
