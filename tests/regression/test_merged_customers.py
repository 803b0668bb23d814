"""A person merged two customers: every invoice of the loser was called a person's edit, and the loser was made again."""

import pytest
from writer_support import Desk, QboSandbox, desk, invoice

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
