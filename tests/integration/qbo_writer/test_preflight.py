"""`qbo-writer preflight`: what waiting commands need and the company lacks, before anything is sent."""

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bookrelay.messages import Discount, InvoiceContent, UpsertInvoice
from bookrelay.money import loads
from qbo_writer.policy import Policy
from writer_support import Desk, QboSandbox, bill, desk, invoice

pytestmark = pytest.mark.postgres


def preflight(d: Desk, *arguments: str, **more: str) -> tuple[int, str]:
    """Run the command as an operator does; return its exit status and stdout."""
    given = d.settings.model_dump(mode="python")
    plain = {
        name.upper(): ",".join(value) if isinstance(value, tuple) else str(getattr(value, "get_secret_value", lambda: value)())  # noqa: B023
        for name, value in given.items()
        if value not in (None, "")
    }
    done = subprocess.run(
        [sys.executable, "-m", "qbo_writer.main", "preflight", *arguments],
        env=os.environ | plain | more, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, done.stdout


def wanting(realm: str, key: str, item: str, customer: str = "P-1 A.B.", **header: Any) -> UpsertInvoice:
    """An invoice for an item, with more in its header."""
    made = invoice(realm, key, customer=customer)
    content: InvoiceContent = made.data.content
    line = content.lines[0].model_copy(update={"item": item})
    changed = content.model_copy(update={"lines": (line,), **header})
    return UpsertInvoice.of(made.data.model_copy(update={"content": changed}), sender="emr-poller")


def booked(command: Any, **line: Any) -> Any:
    """The command with one line changed."""
    content = command.data.content
    changed = content.model_copy(update={"lines": (content.lines[0].model_copy(update=line),)})
    return type(command).of(command.data.model_copy(update={"content": changed}), sender="emr-poller")


def taxed(realm: str, key: str, code: str) -> Any:
    """An invoice whose line has a tax code."""
    return booked(invoice(realm, key), tax_code=code)


async def test_what_lacks_is_listed_with_counts_samples_and_what_to_do(
    database_url: str, sandbox: QboSandbox, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'unmapped = "reject"\ncreate_vendors = false\n[items]\n"knee" = "Gone Forever"\n[customers]\n"ACME" = { id = "99999" }\n'
    )
    async with desk(database_url, sandbox, run=False, company_policy_file=policy, qbo_default_item_id=None) as d:
        realm = d.realm
        (service,) = [one for one in sandbox.books(realm, "Item") if one["Id"] == "1"]
        await d.tell(
            *(wanting(realm, f"Q-{number}", "Unheard of") for number in range(7)),
            wanting(realm, "Q-knee", "knee"),
            wanting(realm, "Q-there", service["Name"]),
            wanting(realm, "Q-term", service["Name"], terms="Net 77"),
            wanting(realm, "Q-acme", service["Name"], customer="ACME"),
            bill(realm, "R-1", vendor="Nobody & Sons"),
        )
        code, text = preflight(d, "--json")
        assert code == 1, text
        shown = loads(text)
        (company,) = shown["companies"]
        lacks = {(lack["what"], lack["name"]): lack for lack in company["lacks"]}
        unheard = lacks["item", "Unheard of"]
        assert (unheard["documents"], unheard["code"], len(unheard["samples"])) == (7, "QB006", 5)
        assert set(unheard["samples"]) <= {f"emr:Q-{number}" for number in range(7)}
        assert "[items] in the company policy" in unheard["fix"]
        assert "Gone Forever" in lacks["item", "knee"]["reason"]
        assert lacks["term", "Net 77"]["samples"] == ["emr:Q-term"]
        assert "99999, which QuickBooks does not have" in lacks["customer", "ACME"]["reason"]
        assert lacks["vendor", "Nobody & Sons"]["documents"] == 1
        assert lacks.keys() >= {("item", "Unheard of"), ("item", "knee"), ("term", "Net 77"), ("customer", "ACME")}
        assert ("item", service["Name"]) not in lacks
        assert company["created"] == {"customer": 1}
        assert (company["documents"], shown["ok"]) == (12, False)
        assert company["unchecked"] == []
        sent = sandbox.requests(realm)
        assert [one for one in sent if one["method"] == "POST"] == []  # nothing was sent
        assert company["reads"] == len(sent) <= 15
        code, text = preflight(d, "--realm", realm)
        assert code == 1
        assert "QB006 item: There is no product or service 'Unheard of' in QuickBooks" in text
        assert "7 documents: emr:Q-" in text


async def test_accounts_tax_codes_and_discounts_are_looked_for(database_url: str, sandbox: QboSandbox, tmp_path: Path) -> None:
    """Each of them keeps a document waiting: by them, too, posting would be surprised."""
    policy = tmp_path / "policy.toml"
    policy.write_text('unmapped = "reject"\n[defaults]\nitem = { id = "1" }\ndiscount_account = "Generosity"\n')
    company = sandbox.company()
    async with desk(database_url, sandbox, run=False, company=company, company_policy_file=policy) as d:
        known = next(code["Name"] for code in sandbox.books(d.realm, "TaxCode") if code["Id"] not in ("TAX", "NON"))
        await d.tell(
            taxed(d.realm, "Q-1", "Atlantis VAT"), taxed(d.realm, "Q-2", "Atlantis VAT"), taxed(d.realm, "Q-3", known),
            taxed(d.realm, "Q-4", "NON"), wanting(d.realm, "Q-5", "default", discount=Discount(amount=Decimal("5.00"))),
            booked(bill(d.realm, "R-1"), account="Gauze and more"),
        )  # fmt: skip
        code, text = preflight(d, "--json")
        (found,) = loads(text)["companies"]
        lacks = {(lack["what"], lack["name"]): lack for lack in found["lacks"]}
        assert lacks.keys() == {("account", "Gauze and more"), ("tax code", "Atlantis VAT"), ("discount", "")}, text
        assert (lacks["tax code", "Atlantis VAT"]["documents"], code) == (2, 1)
        assert "Atlantis VAT" in lacks["tax code", "Atlantis VAT"]["reason"]
        assert lacks["account", "Gauze and more"]["samples"] == ["sheet:R-1"]
        assert "Generosity" in lacks["discount", ""]["reason"]
        sandbox.control("POST", "preferences", {"realm": d.realm, "SalesFormsPrefs": {"AllowDiscount": False}})
        await d.pool.execute("UPDATE qbo_writer.realms SET company = '{}'")
        code, text = preflight(d)
        assert "does not use discounts" in text
        assert [one for one in sandbox.requests(d.realm) if one["method"] == "POST"] == []


async def test_a_document_that_waits_already_is_listed_with_what_it_waits_for(database_url: str, sandbox: QboSandbox) -> None:
    """What posting met is no longer due: it is what lacks, all the same."""
    async with desk(database_url, sandbox) as d:
        d.writer.references._policy = Policy.model_validate({"unmapped": "reject"})
        await d.tell(wanting(d.realm, "Q-1", "Unheard of"), invoice(d.realm, "Q-2"))
        assert await d.until_ended() == {("Q-1", 1): "waiting", ("Q-2", 1): "posted"}
        code, text = preflight(d, "--json", QBO_DEFAULT_ITEM_ID="")
        (found,) = loads(text)["companies"]
        assert [(lack["what"], lack["name"], lack["samples"]) for lack in found["lacks"] if lack["name"] != "invoice"] == [
            ("item", "Unheard of", ["emr:Q-1"])
        ], text
        assert (found["documents"], code) == (1, 1)


async def test_an_inactive_item_is_listed(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False, qbo_default_item_id=None) as d:
        (item,) = [one for one in sandbox.books(d.realm, "Item") if one["Id"] == "1"]
        sandbox.person(d.realm, "deactivate", "Item", "1")
        await d.tell(wanting(d.realm, "Q-1", item["Name"]), wanting(d.realm, "Q-2", item["Name"] + " (deleted)"))
        code, text = preflight(d)
        assert code == 1
        assert "is inactive in QuickBooks" in text


async def test_when_all_is_there_it_says_so_and_the_reads_are_bounded(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        await d.tell(invoice(d.realm, "Q-1"), invoice(d.realm, "Q-2", customer="Somebody else"))
        code, text = preflight(d)
        assert code == 0, text
        assert "Nothing is missing." in text
        assert "2 customers will be created when posting." in text
        await d.pool.execute("DELETE FROM qbo_writer.references")
        await d.pool.execute("UPDATE qbo_writer.realms SET company = '{}'")
        before = len(sandbox.requests(d.realm))
        code, text = preflight(d, "--reads", "3", "--json")
        assert code == 1
        (company,) = loads(text)["companies"]
        assert company["reads"] == len(sandbox.requests(d.realm)) - before == 3
        assert company["unchecked"] or company["error"]
        assert "the 3 allowed reads are used up (--reads)" in text


async def test_a_running_writer_keeps_its_lease_and_its_tokens(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        assert await d.until_ended() == {("Q-1", 1): "posted"}
        before = await d.pool.fetchrow("SELECT holder, fencing_token FROM qbo_writer.leases")
        tokens = await d.pool.fetchval("SELECT refresh_token FROM qbo_writer.tokens")
        code, text = preflight(d)
        assert (code, "0 documents waiting" in text) == (0, True), text
        assert await d.pool.fetchrow("SELECT holder, fencing_token FROM qbo_writer.leases") == before
        assert await d.pool.fetchval("SELECT refresh_token FROM qbo_writer.tokens") == tokens
