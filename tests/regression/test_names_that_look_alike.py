"""Texts that people read as one name made twins; texts that are no names became customers; a category was taken for an item."""

from typing import Any

import httpx
import pytest
from bookrelay.errors import Code
from bookrelay.messages import InvoiceLine
from qbo_writer.names import fold, no_name, spellings
from qbo_writer.policy import Policy
from qbo_writer.quickbooks import mapping
from writer_support import Desk, QboSandbox, bill, desk, invoice

pytestmark = pytest.mark.postgres
OURS = "bookrelay:"


async def make(d: Desk, company: dict[str, Any], entity: str, **fields: Any) -> str:
    """Make an entry as a person would."""
    async with httpx.AsyncClient() as http:
        response = await http.post(
            f"{d.sandbox.url}/v3/company/{d.realm}/{entity.lower()}", json=fields,
            headers={"Authorization": f"Bearer {company['access_token']}", "Accept": "application/json"},
        )  # fmt: skip
    assert response.status_code == 200, response.text
    return str(response.json()[entity]["Id"])


def customers_of(d: Desk) -> list[str]:
    """The customers of our invoices, in their order."""
    return [b["CustomerRef"]["value"] for b in d.sandbox.books(d.realm, "Invoice") if OURS in b.get("PrivateNote", "")]


async def why(d: Desk, key: str) -> tuple[str, str, str]:
    row = await d.pool.fetchrow(
        "SELECT c.state, c.code, c.reason FROM qbo_writer.commands c JOIN qbo_writer.documents d ON d.id = c.document_id "
        "WHERE d.source_key = $1",
        key,
    )
    return row["state"], row["code"], row["reason"]


@pytest.mark.parametrize(
    "held",
    ["Acme  Corp", "Acme Corp", "Acme\u00a0Corp", "ACME  corp", "Cafe\u0301 Corp", "Ac\u200bme\u200d Corp", "\ufeffAcme Corp"],
)
async def test_blanks_and_accents_make_no_twin(database_url: str, sandbox: QboSandbox, held: str) -> None:
    company = sandbox.company()
    word = "Caf\u00e9" if held.startswith("Caf") else "Acme"
    async with desk(database_url, sandbox, company=company) as d:
        id_ = await make(d, company, "Customer", DisplayName=held)
        before = len(sandbox.books(d.realm, "Customer"))
        texts = (f"{word} Corp", f"{word}  Corp", f"{word}\u00a0Corp", f" {word}\u200b \u2009Corp ", f"\ufeff{word}\tCORP")
        await d.tell(*(invoice(d.realm, f"Q-{at}", customer=text) for at, text in enumerate(texts)))
        assert set((await d.until_ended()).values()) == {"posted"}
        assert customers_of(d) == [id_] * len(texts)
        assert len(sandbox.books(d.realm, "Customer")) == before


async def test_spellings_of_a_new_name_make_one_customer(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(*(invoice(d.realm, f"Q-{at}", customer=t) for at, t in enumerate(("New Co", "new  co", "New\u00a0Co "))))
        assert set((await d.until_ended()).values()) == {"posted"}
        assert len([c for c in sandbox.books(d.realm, "Customer") if fold(c["DisplayName"]) == "new co"]) == 1
        assert len(set(customers_of(d))) == 1


async def test_a_name_document_of_before_keeps_its_key(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.pool.execute(
            "INSERT INTO qbo_writer.documents (realm, source, source_key, kind, marker) "
            "VALUES ($1, 'names', 'old\u00a0co', 'customer', 'bookrelay:old')",
            d.realm,
        )
        await d.tell(invoice(d.realm, "Q-1", customer="Old\u00a0Co"))
        assert set((await d.until_ended()).values()) == {"posted"}
        keys = await d.pool.fetch("SELECT source_key, qbo_id FROM qbo_writer.documents WHERE kind = 'customer'")
        assert [(row["source_key"], bool(row["qbo_id"])) for row in keys] == [("old\u00a0co", True)]


async def test_a_full_name_finds_the_sub_customer(database_url: str, sandbox: QboSandbox) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        parent = await make(d, company, "Customer", DisplayName="Smith")
        child = await make(d, company, "Customer", DisplayName="Roof job", ParentRef={"value": parent}, Job=True)
        d.writer.references._policy = Policy.model_validate({"customers": {"The roof": "Smith:Roof job"}})
        texts = ("Smith:Roof job", "smith : roof  job", "The roof")
        await d.tell(*(invoice(d.realm, f"Q-{at}", customer=text) for at, text in enumerate(texts)))
        await d.tell(invoice(d.realm, "Q-no", customer="Smith:Garage"), invoice(d.realm, "Q-other", customer="Jones:Roof job"))
        states = await d.until_ended()
        assert [states[f"Q-{at}", 1] for at in range(3)] == ["posted"] * 3
        assert customers_of(d) == [child] * 3
        for key in ("Q-no", "Q-other"):
            state, code, reason = await why(d, key)
            assert (state, code) == ("waiting", Code.VALIDATION)
            assert "full name" in reason


@pytest.mark.parametrize(
    "text",
    ["#N/A", "#REF!", "#ERROR!", "#DIV/0!", "#NAME?", "Loading...", "?", "-", "\u2014",
     "TBD", "nan", "NaN", "None", "null", "0", "undefined",
     "2026-03-01", "3/1/2026", "Jan 5, 2024", "5 Jan 2024", "2026-03-01T10:00:00Z", "#n/a "],
)  # fmt: skip
def test_an_error_text_or_a_date_is_no_name(text: str) -> None:
    assert no_name(text)


@pytest.mark.parametrize(
    "text", ["Null & Sons", "7-11", "3M", "1001", "A.B.", "P-1 A.B.", "Mar 2026", "May", "Na", "#1 Plumbing", "株式会社"]
)
def test_a_name_is_a_name(text: str) -> None:
    assert no_name(text) is None


async def test_nobody_is_made_of_an_error_text(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        before = [len(sandbox.books(d.realm, entity)) for entity in ("Customer", "Vendor")]
        await d.tell(invoice(d.realm, "Q-1", customer="#N/A"), bill(d.realm, "R-1", vendor="Loading..."))
        await d.tell(invoice(d.realm, "Q-2", customer="2026-03-01"))
        assert set((await d.until_ended()).values()) == {"rejected"}
        assert (await why(d, "Q-1"))[:2] == ("rejected", Code.VALIDATION)
        assert "date" in (await why(d, "Q-2"))[2]
        assert [len(sandbox.books(d.realm, entity)) for entity in ("Customer", "Vendor")] == before


@pytest.mark.parametrize("unmapped", ["reject", "default"])
@pytest.mark.parametrize(("type_", "word"), [("Category", "category"), ("Group", "bundle")])
async def test_a_category_or_bundle_is_no_item(
    database_url: str, sandbox: QboSandbox, unmapped: str, type_: str, word: str
) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        category = d.sandbox.control(
            "POST", "entities", {"realm": d.realm, "entities": {"Item": [{"Name": "Supply", "Type": type_}]}}
        )["created"]["Item"][0]
        d.writer.references._policy = Policy.model_validate({"unmapped": unmapped})
        asked = invoice(d.realm, "Q-1")
        line = InvoiceLine(item="Supply", description="Gauze", amount=asked.data.content.lines[0].amount)
        content = asked.data.content.model_copy(update={"lines": (line,)})
        await d.tell(asked.model_copy(update={"data": asked.data.model_copy(update={"content": content})}))
        state = (await d.until_ended())["Q-1", 1]
        if unmapped == "default":
            assert state == "posted"
            (made,) = [b for b in sandbox.books(d.realm, "Invoice") if OURS in b.get("PrivateNote", "")]
            assert made["Line"][0]["SalesItemLineDetail"]["ItemRef"]["value"] not in (category,)
        else:
            state, code, reason = await why(d, "Q-1")
            assert (state, code) == ("waiting", Code.MAPPING_MISSING)
            assert f"'Supply' is a {word} in QuickBooks" in reason


def test_a_refusal_names_what_it_is_about() -> None:
    body = (
        '{"CustomerRef":{"value":"58"},"SalesTermRef":{"value":"3"},"Line":[{"SalesItemLineDetail":{"ItemRef":{"value":"7"},'
        '"TaxCodeRef":{"value":"NON"}}}]}'
    )
    assert {("Customer", "58"), ("Term", "3"), ("Item", "7")} <= mapping.named(body)


async def test_a_refusal_forgets_only_what_it_names(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1", customer="One"), invoice(d.realm, "Q-2", customer="Two"))
        await d.until_ended()
        one, two = customers_of(d)
        await d.writer.references.forget(d.realm, {("Customer", one)})
        query = "SELECT qbo_id FROM qbo_writer.references WHERE entity = 'Customer' AND active"
        kept = {row["qbo_id"] for row in await d.pool.fetch(query)}
        assert one not in kept
        assert two in kept
        assert {held.qbo_id for held in d.writer.references.names._names.values()} == {two}


def test_queries_ask_for_each_spelling() -> None:
    assert {"Acme Corp", "Acme  Corp", "Acme\u00a0Corp"} <= set(spellings("Acme\u00a0 Corp"))


async def test_all_names_are_read_once_then_what_is_new(database_url: str, sandbox: QboSandbox) -> None:
    """A sign that nobody sees is found by no query: names are compared with all that there are, for a bounded number of reads."""
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        ids = [await make(d, company, "Customer", DisplayName=f"Pa\u200btient {at}") for at in range(5)]
        await d.tell(*(invoice(d.realm, f"Q-{at}", customer=f"Patient {at}") for at in range(5)))
        await d.tell(*(invoice(d.realm, f"N-{at}", customer=f"Nobody {at}") for at in range(20)))
        assert set((await d.until_ended()).values()) == {"posted"}
        assert set(ids) <= set(customers_of(d))
        queries = [r for r in sandbox.requests(d.realm, operation="query") if "Item" not in str(r)]
        assert len(queries) <= 6, "25 names: three lists, perhaps once more"
