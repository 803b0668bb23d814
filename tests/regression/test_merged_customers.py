"""A person merged two customers, vendors or items: the loser's documents were called a person's edit, the loser was made again.

Also where a webhook tells it first, where loser and documents show in two reads, and where a person had made the loser.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from bookrelay.kafka import Received
from bookrelay.messages import EntityChanged, EntityChangedData
from qbo_writer import handlers
from qbo_writer.domain import BooksEntity, Deleted
from qbo_writer.protocol import merging
from qbo_writer.quickbooks.mapping import DOCUMENTS, LISTS, seen
from writer_support import Desk, QboSandbox, bill, desk, invoice

pytestmark = pytest.mark.postgres


async def fed(d: Desk) -> None:
    """The feed was read and what it shows is in the ledger."""
    query = "SELECT feed_position FROM qbo_writer.realms"
    before = await d.pool.fetchval(query)
    d.writer.feed_soon([d.realm])
    d.writer.wake([d.realm])

    async def moved() -> bool:
        return bool(await d.pool.fetchval(query) != before)

    await d.until(moved)


async def test_documents_and_name_follow_to_the_survivor(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1", customer="Old Name"), invoice(d.realm, "Q-2", customer="Survivor"))
        assert set((await d.until_ended()).values()) == {"posted"}
        ids = {c["DisplayName"]: c["Id"] for c in sandbox.books(d.realm, "Customer")}
        loser, winner = ids["Old Name"], ids["Survivor"]
        sandbox.person(d.realm, "merge", "Customer", loser, into=winner)
        await fed(d)
        await fed(d)
        rows = await d.pool.fetch("SELECT source_key, kind, status, qbo_id, fields, diverged FROM qbo_writer.documents")
        assert not [row["source_key"] for row in rows if row["diverged"] or row["status"] != "present"]
        assert {row["fields"]["customer"] for row in rows if row["kind"] == "invoice"} == {winner}
        assert {row["qbo_id"] for row in rows if row["kind"] == "customer"} == {winner}
        assert not [e for e in await d.events() if e["type"] == "bookrelay.document.diverged.v1"]

        await d.tell(
            invoice(d.realm, "Q-3", customer="Old Name"), invoice(d.realm, "Q-1", 2, amount="140.00", customer="Old Name")
        )
        states = await d.until_ended()
        assert (states["Q-3", 1], states["Q-1", 2]) == ("posted", "posted")
        assert "Old Name" not in {c["DisplayName"] for c in sandbox.books(d.realm, "Customer")}
        ours = [b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        assert [b["CustomerRef"]["value"] for b in ours] == [winner] * 3
        assert len({b["Id"] for b in ours}) == 3


async def test_another_customer_without_a_merge_is_a_persons_edit(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1", customer="One"), invoice(d.realm, "Q-2", customer="Two"))
        await d.until_ended()
        ids = {c["DisplayName"]: c["Id"] for c in sandbox.books(d.realm, "Customer")}
        qbo_id = await d.pool.fetchval("SELECT qbo_id FROM qbo_writer.documents WHERE source_key = 'Q-1'")
        sandbox.person(d.realm, "edit", "Invoice", qbo_id, CustomerRef={"value": ids["Two"]})
        await fed(d)
        assert await d.pool.fetchval("SELECT diverged FROM qbo_writer.documents WHERE source_key = 'Q-1'")


async def make(d: Desk, company: dict[str, Any], entity: str, **fields: Any) -> str:
    """Make an entry as a person would."""
    async with httpx.AsyncClient() as http:
        response = await http.post(
            f"{d.sandbox.url}/v3/company/{d.realm}/{entity.lower()}", json=fields,
            headers={"Authorization": f"Bearer {company['access_token']}", "Accept": "application/json"},
        )  # fmt: skip
    assert response.status_code == 200, response.text
    return str(response.json()[entity]["Id"])


async def changes(d: Desk) -> list[BooksEntity | Deleted]:
    """What the change feed shows of the last minutes."""
    tenure = d.writer.posters[d.realm].tenure
    assert tenure
    token = await d.writer.tokens.current(d.realm, tenure.fencing_token)
    return await d.writer.client.changes(d.realm, (*DOCUMENTS, *LISTS), datetime.now(UTC) - timedelta(minutes=30), token)


async def take(d: Desk, some: list[BooksEntity | Deleted]) -> None:
    """Let the feed have shown these changes, and no others."""
    poster = d.writer.posters[d.realm]
    assert poster.tenure
    token = await d.writer.tokens.current(d.realm, poster.tenure.fencing_token)
    await poster.feeder._take(poster.tenure, some, (datetime.now(UTC), None, {}), token)


def is_loser(change: BooksEntity | Deleted, entity: str, loser: str) -> bool:
    return (change.entity, change.qbo_id) == (entity, loser)


async def diverged(d: Desk) -> list[str]:
    rows = await d.pool.fetch("SELECT source_key FROM qbo_writer.documents WHERE diverged OR status <> 'present'")
    return [row["source_key"] for row in rows] + [
        e["type"] for e in await d.events() if e["type"] == "bookrelay.document.diverged.v1"
    ]


@pytest.mark.parametrize("first", ["loser", "documents"])
@pytest.mark.parametrize("made_by", ["us", "a person"])
async def test_a_merge_that_shows_in_two_reads(database_url: str, sandbox: QboSandbox, first: str, made_by: str) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        if made_by == "a person":
            await make(d, company, "Customer", DisplayName="Old Name")
        await d.tell(invoice(d.realm, "Q-1", customer="Old Name"), invoice(d.realm, "Q-2", customer="Survivor"))
        await d.until_ended()
        ids = {c["DisplayName"]: c["Id"] for c in sandbox.books(d.realm, "Customer")}
        loser, winner = ids["Old Name"], ids["Survivor"]
        sandbox.person(d.realm, "merge", "Customer", loser, into=winner)
        shown = await changes(d)
        parts = [[c for c in shown if is_loser(c, "Customer", loser)], [c for c in shown if not is_loser(c, "Customer", loser)]]
        assert parts[0]
        for part in parts if first == "loser" else reversed(parts):
            await take(d, part)
        assert await diverged(d) == []
        names = await d.pool.fetch("SELECT fields->>'customer' AS id FROM qbo_writer.documents WHERE kind = 'invoice'")
        assert {row["id"] for row in names} == {winner}
        await d.tell(
            invoice(d.realm, "Q-3", customer="Old  name"), invoice(d.realm, "Q-1", 2, amount="140.00", customer="Old Name")
        )
        states = await d.until_ended()
        assert (states["Q-3", 1], states["Q-1", 2]) == ("posted", "posted")
        assert "Old Name" not in {c["DisplayName"] for c in sandbox.books(d.realm, "Customer")}
        mine = [b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        assert [b["CustomerRef"]["value"] for b in mine] == [winner] * 3


def told(d: Desk, entity: str, loser: str, winner: str) -> Received[EntityChanged]:
    data = EntityChangedData(
        realm=d.realm, entity=entity, entity_id=winner, operation="merged", changed_at=datetime.now(UTC), deleted_id=loser,
        notification_id="n-1", format="cloudevents",
    )  # fmt: skip
    return Received(EntityChanged.of(data, sender="webhook-gateway", time=datetime.now(UTC)), "intuit.webhooks.v1", 0, 0)


async def test_a_merge_that_a_webhook_tells(database_url: str, sandbox: QboSandbox) -> None:
    """Nothing else shows: no document of ours names the loser, which a person has made, and the feed shows nothing."""
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        loser = await make(d, company, "Customer", DisplayName="Old Name")
        await d.tell(invoice(d.realm, "Q-1", customer="Old Name"), invoice(d.realm, "Q-2", customer="Survivor"))
        await d.until_ended()
        winner = {c["DisplayName"]: c["Id"] for c in sandbox.books(d.realm, "Customer")}["Survivor"]
        sandbox.person(d.realm, "merge", "Customer", loser, into=winner)
        for _ in range(2):  # Intuit tells some things twice
            await handlers.note_changes(
                [told(d, "Customer", loser, winner)], d.writer.ledger.feed, d.writer.ledger.merges, d.writer.feed_soon
            )
        await take(d, [])
        await d.tell(
            invoice(d.realm, "Q-3", customer="old name"), invoice(d.realm, "Q-1", 2, amount="140.00", customer="Old Name")
        )
        states = await d.until_ended()
        assert (states["Q-3", 1], states["Q-1", 2]) == ("posted", "posted")
        assert "Old Name" not in {c["DisplayName"] for c in sandbox.books(d.realm, "Customer")}
        assert await diverged(d) == []


@pytest.mark.parametrize("made_by", ["us", "a person"])
async def test_merged_vendors(database_url: str, sandbox: QboSandbox, made_by: str) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        if made_by == "a person":
            await make(d, company, "Vendor", DisplayName="Old Firm")
        await d.tell(bill(d.realm, "R-1", vendor="Old Firm"), bill(d.realm, "R-2", vendor="New Firm"))
        await d.until_ended()
        ids = {c["DisplayName"]: c["Id"] for c in sandbox.books(d.realm, "Vendor")}
        sandbox.person(d.realm, "merge", "Vendor", ids["Old Firm"], into=ids["New Firm"])
        await take(d, await changes(d))
        await d.tell(bill(d.realm, "R-3", vendor="Old Firm"), bill(d.realm, "R-1", 2, amount="77.00", vendor="Old Firm"))
        states = await d.until_ended()
        assert (states["R-3", 1], states["R-1", 2]) == ("posted", "posted")
        assert await diverged(d) == []
        assert "Old Firm" not in {c["DisplayName"] for c in sandbox.books(d.realm, "Vendor")}
        mine = [b for b in sandbox.books(d.realm, "Bill") if "bookrelay:" in b.get("PrivateNote", "")]
        assert {b["VendorRef"]["value"] for b in mine} == {ids["New Firm"]}


async def test_merged_items(database_url: str, sandbox: QboSandbox) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        income = {"value": next(a["Id"] for a in sandbox.books(d.realm, "Account") if a["AccountType"] == "Income")}
        old, new = [
            await make(d, company, "Item", Name=name, Type="Service", IncomeAccountRef=income) for name in ("Old care", "Care")
        ]

        def asked(key: str, version: int, amount: str) -> Any:
            command = invoice(d.realm, key, version, amount=amount)
            lines = tuple(line.model_copy(update={"item": "Old care"}) for line in command.data.content.lines)
            content = command.data.content.model_copy(update={"lines": lines})
            return command.model_copy(update={"data": command.data.model_copy(update={"content": content})})

        await d.tell(asked("Q-1", 1, "100.00"))
        await d.until_ended()
        sandbox.person(d.realm, "merge", "Item", old, into=new)
        await take(d, await changes(d))
        await d.tell(asked("Q-2", 1, "50.00"), asked("Q-1", 2, "140.00"))
        states = await d.until_ended()
        assert (states["Q-2", 1], states["Q-1", 2]) == ("posted", "posted")
        assert await diverged(d) == []
        mine = [b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        assert {b["Line"][0]["SalesItemLineDetail"]["ItemRef"]["value"] for b in mine} == {new}


async def test_a_chain_of_merges_ends_at_the_last_survivor(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(*(invoice(d.realm, f"Q-{name}", customer=f"{name} Ltd") for name in "ABC"))
        await d.until_ended()
        ids = {c["DisplayName"]: c["Id"] for c in sandbox.books(d.realm, "Customer")}
        for loser, winner in (("A", "B"), ("B", "C")):
            sandbox.person(d.realm, "merge", "Customer", ids[f"{loser} Ltd"], into=ids[f"{winner} Ltd"])
            await take(d, await changes(d))
        await d.tell(invoice(d.realm, "Q-4", customer="A Ltd"))
        assert (await d.until_ended())["Q-4", 1] == "posted"
        mine = [b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        assert {b["CustomerRef"]["value"] for b in mine} == {ids["C Ltd"]}


async def test_a_loser_that_stays_as_an_inactive_entry(database_url: str, sandbox: QboSandbox) -> None:
    """As some companies show a merge: the loser inactive, the survivor changed in the same moment."""
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1", customer="Old Name"), invoice(d.realm, "Q-2", customer="Survivor"))
        await d.until_ended()
        ids = {c["DisplayName"]: c["Id"] for c in sandbox.books(d.realm, "Customer")}
        qbo_id = await d.pool.fetchval("SELECT qbo_id FROM qbo_writer.documents WHERE source_key = 'Q-1'")
        sandbox.person(d.realm, "edit", "Invoice", qbo_id, CustomerRef={"value": ids["Survivor"]})
        sandbox.person(d.realm, "deactivate", "Customer", ids["Old Name"])
        sandbox.person(d.realm, "edit", "Customer", ids["Survivor"], CompanyName="Both")
        await take(d, await changes(d))
        await d.tell(invoice(d.realm, "Q-3", customer="Old Name"))
        assert (await d.until_ended())["Q-3", 1] == "posted"
        assert await diverged(d) == []


def test_who_tidies_up_later_has_not_merged() -> None:
    def entry(id_: str, at: str) -> BooksEntity:
        return seen("Customer", {"Id": id_, "DisplayName": id_, "MetaData": {"LastUpdatedTime": at}})

    loser = entry("1", "2026-11-01T10:00:00-08:00")
    assert merging.one_act(loser, entry("2", "2026-11-01T10:00:30-08:00"))
    assert not merging.one_act(loser, entry("2", "2026-11-01T09:30:00-08:00"))
    assert not merging.one_act(loser, entry("2", ""))


@pytest.mark.parametrize("made_by", ["us", "a person"])
async def test_a_merge_that_nothing_has_told_yet(database_url: str, sandbox: QboSandbox, made_by: str) -> None:
    """The next document for the loser and the edit of an old one come before the feed is read."""
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company) as d:
        if made_by == "a person":
            await make(d, company, "Customer", DisplayName="Old Name")
        await d.tell(
            invoice(d.realm, "Q-1", customer="Old Name"), invoice(d.realm, "Q-2", customer="Survivor"),
            invoice(d.realm, "Q-3", customer="Old Name"),
        )  # fmt: skip
        await d.until_ended()
        ids = {c["DisplayName"]: c["Id"] for c in sandbox.books(d.realm, "Customer")}
        sandbox.person(d.realm, "merge", "Customer", ids["Old Name"], into=ids["Survivor"])
        await d.tell(invoice(d.realm, "Q-1", 2, amount="140.00", customer="Old Name"))
        assert (await d.until_ended())["Q-1", 2] == "posted"
        await d.tell(invoice(d.realm, "Q-4", customer="Old Name"))
        assert (await d.until_ended())["Q-4", 1] == "posted"
        assert "Old Name" not in {c["DisplayName"] for c in sandbox.books(d.realm, "Customer")}
        mine = [b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        assert {b["CustomerRef"]["value"] for b in mine} == {ids["Survivor"]}
        assert await diverged(d) == []


async def test_a_new_document_meets_a_merge_first(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1", customer="Old Name"), invoice(d.realm, "Q-2", customer="Survivor"))
        await d.until_ended()
        ids = {c["DisplayName"]: c["Id"] for c in sandbox.books(d.realm, "Customer")}
        sandbox.person(d.realm, "merge", "Customer", ids["Old Name"], into=ids["Survivor"])
        await d.tell(invoice(d.realm, "Q-3", customer="Old Name"))
        assert (await d.until_ended())["Q-3", 1] == "posted"
        assert "Old Name" not in {c["DisplayName"] for c in sandbox.books(d.realm, "Customer")}
        await take(d, await changes(d))
        assert await diverged(d) == []
