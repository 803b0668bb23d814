"""Which numbers documents get: their source's own where it fits and is free; else as the policy says. A number is no identity."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from bookrelay.messages import UpsertInvoice
from writer_support import Desk, QboSandbox, bill, desk, invoice, numbered, retract, running

pytestmark = pytest.mark.postgres


def numbers(sandbox: QboSandbox, realm: str, entity: str = "Invoice") -> list[str]:
    """The numbers of what bookrelay made, in order of making."""
    mine = [b for b in sandbox.books(realm, entity) if "bookrelay:" in b.get("PrivateNote", "")]
    return [b.get("DocNumber", "") for b in sorted(mine, key=lambda b: int(b["Id"]))]


async def told(d: Desk, type_: str) -> list[dict[str, Any]]:
    """The events of a type, in order."""
    return [e["data"] for e in await d.events() if e["type"] == f"bookrelay.{type_}.v1"]


def policy(tmp_path: Path, *lines: str) -> dict[str, str]:
    """The setting that names a policy of these lines."""
    path = tmp_path / "policy.toml"
    path.write_text("\n".join(lines))
    return {"company_policy_file": str(path)}


def a_person_uses(sandbox: QboSandbox, realm: str, number: str) -> str:
    """A person makes an invoice with this number; returns its Id."""
    line = {"Amount": 5, "DetailType": "SalesItemLineDetail", "SalesItemLineDetail": {"ItemRef": {"value": "1"}}}
    sandbox.person(realm, "create", "Invoice", "", CustomerRef={"value": "1"}, Line=[line], DocNumber=number)
    return str(next(b["Id"] for b in sandbox.books(realm, "Invoice") if b.get("DocNumber") == number))


def warn(sandbox: QboSandbox, realm: str, on: bool) -> None:
    """Let the company warn of duplicate numbers (6140), or not."""
    sandbox.control("POST", "preferences", {"realm": realm, "warnings": {"WarnDuplicateInvoiceNumber": on}})


async def test_the_sources_number_becomes_the_documents(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(
            numbered(invoice(d.realm, "Q-1"), "12082"), numbered(bill(d.realm, "row-1"), "V-77"), invoice(d.realm, "Q-2")
        )
        await d.until_ended()
        assert numbers(sandbox, d.realm, "Bill") == ["V-77"]
        with_, without = sorted(numbers(sandbox, d.realm))
        assert with_ == "12082"
        assert without.startswith("~")
        assert {e["doc_number"] for e in await told(d, "invoice.posted")} == {with_, without}


async def test_a_number_that_is_too_long_is_rejected_with_the_sentence(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        long = "2026-11-29/CLINIC/0000012"
        await d.tell(numbered(invoice(d.realm, "Q-1"), long), numbered(invoice(d.realm, "Q-2"), "2"))
        states = await d.until_ended()
        assert (states["Q-1", 1], states["Q-2", 1]) == ("rejected", "posted")
        (event,) = await told(d, "document.rejected")
        assert event["reason"] == f"The number '{long}' has 25 characters; QuickBooks accepts at most 21."
        assert "Shorten it at the source" in event["fix"]


@pytest.mark.parametrize("warns", [True, False])
async def test_a_number_that_a_person_uses_is_rejected_and_named(database_url: str, sandbox: QboSandbox, *, warns: bool) -> None:
    async with desk(database_url, sandbox) as d:
        warn(sandbox, d.realm, warns)
        id_ = a_person_uses(sandbox, d.realm, "V-77")
        await d.tell(numbered(invoice(d.realm, "Q-1"), "V-77"), numbered(invoice(d.realm, "Q-2"), "V-78"))
        states = await d.until_ended()
        assert (states["Q-1", 1], states["Q-2", 1]) == ("rejected", "posted")
        (event,) = await told(d, "document.rejected")
        assert f"'V-77' is taken: invoice {id_} in QuickBooks" in event["reason"]
        assert numbers(sandbox, d.realm) == ["V-78"]


async def test_of_two_documents_with_one_number_the_second_names_the_first(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        warn(sandbox, d.realm, False)
        await d.tell(*(numbered(invoice(d.realm, f"row-{i}"), "V-77") for i in range(1, 6)))
        await until_posted(d)
        assert numbers(sandbox, d.realm) == ["V-77"]
        rejected = await told(d, "document.rejected")
        assert len(rejected) == 4
        (posted,) = await told(d, "invoice.posted")
        assert all(f"from key '{posted['source_key']}' of source 'emr'" in e["reason"] for e in rejected)


async def until_posted(d: Desk) -> None:
    """Run the writer until all has ended."""
    async with running(d.writer):
        await d.until_ended()


@pytest.mark.parametrize(("unusable", "expected"), [("derive", "~"), ("quickbooks", "")])
async def test_the_policy_chooses_another_number(
    database_url: str, sandbox: QboSandbox, tmp_path: Path, unusable: str, expected: str
) -> None:
    async with desk(database_url, sandbox, **policy(tmp_path, f'unusable_number = "{unusable}"')) as d:
        warn(sandbox, d.realm, False)
        a_person_uses(sandbox, d.realm, "V-77")
        await d.tell(numbered(invoice(d.realm, "Q-1"), "V-77"), numbered(invoice(d.realm, "Q-2"), "x" * 22))
        await d.until_ended()
        made = numbers(sandbox, d.realm)
        assert len(made) == 2
        assert all(n.startswith(expected) and n not in ("V-77", "x" * 22) and (n or not expected) for n in made)
        # It keeps that number while its source's number stays, also when the other document is gone.
        before = made
        await d.tell(numbered(invoice(d.realm, "Q-1", 2, amount="140.00"), "V-77"))
        await d.until_ended()
        assert numbers(sandbox, d.realm) == before


@pytest.mark.parametrize("threshold", [1000, 2], ids=["singles", "batches"])
async def test_quickbooks_gives_the_numbers_where_the_policy_says_so(
    database_url: str, sandbox: QboSandbox, tmp_path: Path, threshold: int
) -> None:
    """No number is sent: what the sources say may repeat, and after silence the marker alone finds the document."""
    more: dict[str, Any] = {"batch_threshold": threshold}
    async with desk(database_url, sandbox, **policy(tmp_path, 'numbers = "quickbooks"'), **more) as d:
        await d.tell(*(numbered(invoice(d.realm, f"Q-{i}"), "V-77") for i in range(4)), numbered(bill(d.realm, "row-1"), "V-77"))
        assert set((await d.until_ended()).values()) == {"posted"}
        asked = await d.pool.fetch("SELECT body FROM qbo_writer.attempts WHERE entity IN ('Invoice', 'Bill')")
        assert len(asked) == 5
        assert not [row for row in asked if "DocNumber" in str(row["body"])]
        given = numbers(sandbox, d.realm)
        assert "V-77" not in given
        assert not [n for n in given if n.startswith("~")]
        assert sorted(e["doc_number"] or "" for e in await told(d, "invoice.posted")) == sorted(given)
        sandbox.fault(fault="commit_then_reset", count=2, match={"realm": d.realm, "body": "TxnDate"})
        await d.tell(
            numbered(invoice(d.realm, "Q-0", 2, amount="140.00"), "V-78"), numbered(invoice(d.realm, "Q-9"), "V-77"),
            retract(d.realm, "Q-1", 2),
        )  # fmt: skip

        async def ended() -> bool:
            await d.hurry()
            return not {"due", "received"} & set((await d.states()).values())

        await d.until(ended)
        states = await d.until_ended()
        assert (states["Q-0", 2], states["Q-9", 1], states["Q-1", 2]) == ("posted", "posted", "retracted")
        after = numbers(sandbox, d.realm)
        assert (after[:4], len(after)) == (given, 5)  # an update keeps the number that QuickBooks gave


@pytest.mark.parametrize("unusable", ["reject", "derive"])
async def test_a_number_that_is_taken_while_it_is_sent(
    database_url: str, sandbox: QboSandbox, tmp_path: Path, unusable: str
) -> None:
    """The look before showed it free; QuickBooks' own check (6140) says that it is not."""
    async with desk(database_url, sandbox, run=False, **policy(tmp_path, f'unusable_number = "{unusable}"')) as d:
        id_ = a_person_uses(sandbox, d.realm, "V-77")

        async def sees_nothing(*_: object) -> list[Any]:
            return []

        d.writer.posters[d.realm].planner.numbering._books = type("Blind", (), {"numbered": staticmethod(sees_nothing)})()
        await d.tell(numbered(invoice(d.realm, "Q-1"), "V-77"))
        await until_posted(d)
        made = numbers(sandbox, d.realm)
        if unusable == "reject":
            assert made == []
            (event,) = await told(d, "document.rejected")
            assert f"invoice {id_} in QuickBooks" in event["reason"]
        else:
            assert len(made) == 1
            assert made[0].startswith("~")


async def test_an_edit_of_the_number_is_an_update(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(numbered(invoice(d.realm, "Q-1"), "12082"), numbered(invoice(d.realm, "Q-2"), "12083"))
        await d.until_ended()
        await d.tell(numbered(invoice(d.realm, "Q-1", 2), "12082-A"))
        assert (await d.until_ended())["Q-1", 2] == "posted"
        assert sorted(numbers(sandbox, d.realm)) == ["12082-A", "12083"]
        # The number that it left is free; the one that another has is not, and the document stays as it is.
        await d.tell(numbered(invoice(d.realm, "Q-2", 2), "12082"))
        assert (await d.until_ended())["Q-2", 2] == "posted"
        await d.tell(numbered(invoice(d.realm, "Q-2", 3), "12082-A"))
        assert (await d.until_ended())["Q-2", 3] == "rejected"
        assert sorted(numbers(sandbox, d.realm)) == ["12082", "12082-A"]


async def test_an_edit_to_a_number_that_quickbooks_refuses_touches_no_other_document(
    database_url: str, sandbox: QboSandbox
) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        id_ = a_person_uses(sandbox, d.realm, "V-77")

        async def sees_nothing(*_: object) -> list[Any]:
            return []

        d.writer.posters[d.realm].planner.numbering._books = type("Blind", (), {"numbered": staticmethod(sees_nothing)})()
        async with running(d.writer):
            await d.tell(numbered(invoice(d.realm, "Q-1"), "1"))
            await d.until_ended()
            before = await d.pool.fetchrow("SELECT qbo_id, sync_token, diverged FROM qbo_writer.documents WHERE kind = 'invoice'")
            await d.tell(numbered(invoice(d.realm, "Q-1", 2), "V-77"))
            assert (await d.until_ended())["Q-1", 2] == "rejected"
            after = await d.pool.fetchrow("SELECT qbo_id, sync_token, diverged FROM qbo_writer.documents WHERE kind = 'invoice'")
            assert before == after
            assert after["qbo_id"] != id_
            await d.tell(numbered(invoice(d.realm, "Q-1", 3, amount="140.00"), "2"))
            assert (await d.until_ended())["Q-1", 3] == "posted"
        assert numbers(sandbox, d.realm) == ["2"]


async def test_the_number_of_a_deleted_document_is_free_and_of_a_void_one_is_not(
    database_url: str, sandbox: QboSandbox, tmp_path: Path
) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(numbered(invoice(d.realm, "Q-1"), "V-1"), numbered(bill(d.realm, "row-1"), "V-2"))
        await d.until_ended()
        await d.tell(retract(d.realm, "Q-1", 2), retract(d.realm, "row-1", 2, kind=bill(d.realm, "x").data.kind))
        await d.until_ended()
        await d.tell(numbered(invoice(d.realm, "Q-2"), "V-1"), numbered(bill(d.realm, "row-2"), "V-2"))
        states = await d.until_ended()
        assert (states["Q-2", 1], states["row-2", 1]) == ("rejected", "posted")


async def test_old_hashed_numbers_stay_until_the_next_update(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        old = numbers(sandbox, d.realm)
        assert old[0].startswith("~")
        await d.tell(invoice(d.realm, "Q-1", 2, amount="140.00"))  # its source still gives none
        await d.until_ended()
        assert numbers(sandbox, d.realm) == old
        await d.tell(numbered(invoice(d.realm, "Q-1", 3, amount="150.00"), "12082"))
        await d.until_ended()
        assert numbers(sandbox, d.realm) == ["12082"]


async def test_the_company_that_numbers_by_itself_is_not_disturbed(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        sandbox.control("POST", "preferences", {"realm": d.realm, "SalesFormsPrefs": {"CustomTxnNumbers": False}})
        await d.tell(numbered(invoice(d.realm, "Q-1"), "V-77"))
        await d.until_ended()
        (number,) = numbers(sandbox, d.realm)
        assert number.isdigit()
        (event,) = await told(d, "invoice.posted")
        assert event["doc_number"] == number


async def test_policy_derived_pays_no_heed_to_the_sources_number(database_url: str, sandbox: QboSandbox, tmp_path: Path) -> None:
    async with desk(database_url, sandbox, **policy(tmp_path, 'numbers = "derived"', "[prefixes]", 'emr = "Q"')) as d:
        await d.tell(numbered(invoice(d.realm, "12082"), "V-77"))
        await d.until_ended()
        assert numbers(sandbox, d.realm) == ["Q-12082"]


async def test_two_derived_numbers_that_are_equal(database_url: str, sandbox: QboSandbox, tmp_path: Path) -> None:
    """A source's own number is another's derived one: the second takes its spare number."""
    async with desk(database_url, sandbox, **policy(tmp_path, "[prefixes]", 'emr = "Q"')) as d:
        await d.tell(numbered(invoice(d.realm, "a"), "Q-12082"))
        await d.until_ended()
        await d.tell(invoice(d.realm, "12082"))
        await d.until_ended()
        assert [n[:2] for n in numbers(sandbox, d.realm)] == ["Q-", "BX"]


async def test_thirty_numbers_are_asked_for_in_one_query(database_url: str, sandbox: QboSandbox) -> None:
    def many(realm: str) -> Iterable[UpsertInvoice]:
        return (numbered(invoice(realm, f"Q-{i}"), f"1200{i}") for i in range(1, 31))

    async with desk(database_url, sandbox, batch_threshold=5) as d:
        await d.tell(invoice(d.realm, "Q-0"))  # the customer and the item are known from here on
        await d.until_ended()
        before = len(sandbox.requests(d.realm, operation="query"))
        await d.tell(*many(d.realm))
        await d.until_ended()
        assert len(numbers(sandbox, d.realm)) == 31
        assert (
            1 <= len(sandbox.requests(d.realm, operation="query")) - before <= 4
        )  # a question for each round, not for each document
