"""One number or name that a firewall or QuickBooks' parser refuses stood in a query with thirty: all of them were held."""

from datetime import datetime
from typing import Any

import pytest
from qbo_writer.domain import AccessToken, LookupFailed, LookupUnreadable, UpdatedPage
from qbo_writer.halving import READS_MOST, in_halves
from qbo_writer.quickbooks.transport import ADDRESS_MOST
from test_names_that_look_alike import make
from writer_support import Desk, QboSandbox, desk, invoice, numbered, running

pytestmark = pytest.mark.postgres
POISON = "poison select"


class NoLists:
    """QuickBooks, where no list of names can be read: names are asked for by themselves."""

    async def updated(self, realm: str, entity: str, since: datetime, start: int, token: AccessToken) -> UpdatedPage:
        raise LookupUnreadable("the list fails")


def refuse(d: Desk) -> list[str]:
    """What stands before QuickBooks refuses every query with this text; returns the list that they are noted in."""
    client: Any = d.writer.references._books
    refused, query = [], client.query

    async def guarded(realm: str, statement: str, token: AccessToken) -> list[dict[str, Any]]:
        if POISON in statement:
            refused.append(statement)
            raise LookupUnreadable("forbidden (HTTP 403)")
        return list(await query(realm, statement, token))

    client.query = guarded
    return refused


async def hurried(d: Desk) -> dict[tuple[str, int], str]:
    async def ended() -> bool:
        await d.hurry()
        return not set((await d.states()).values()) & {"due", "received"}

    async with running(d.writer):
        await d.until(ended)
    return await d.states()


@pytest.mark.parametrize("what", ["number", "name"])
async def test_what_is_refused_holds_its_document_alone(database_url: str, sandbox: QboSandbox, what: str) -> None:
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company, run=False) as d:
        d.writer.references.names.lists._books = NoLists()
        refused = refuse(d)
        texts = [POISON, *(f"fine {at}" for at in range(29))]
        if what == "number":
            await make(d, company, "Customer", DisplayName="There")
            told = [numbered(invoice(d.realm, f"Q-{at}", customer="There"), text) for at, text in enumerate(texts)]
        else:
            for text in texts:
                await make(d, company, "Customer", DisplayName=text)
            told = [invoice(d.realm, f"Q-{at}", customer=text) for at, text in enumerate(texts)]
        await d.tell(*told)
        states = await hurried(d)
        assert states.pop(("Q-0", 1)) == "held"
        assert set(states.values()) == {"posted"}
        assert not await d.pool.fetchval(
            "SELECT count(*) FROM qbo_writer.commands c JOIN qbo_writer.documents d ON d.id = c.document_id "
            "WHERE d.source_key <> 'Q-0' AND c.failures > 0"
        )
        assert len(refused) <= 25, "two rounds of halves, then alone"


async def test_where_every_query_is_refused_the_reads_are_bounded() -> None:
    reads = 0

    async def ask(part: Any) -> list[str]:
        nonlocal reads
        reads += 1
        raise LookupUnreadable("no")

    found, failed = await in_halves(ask, [str(at) for at in range(30)])
    assert (found, len(failed)) == ([], 30)
    assert reads <= READS_MOST

    async def silent(part: Any) -> list[str]:
        nonlocal reads
        reads += 1
        raise LookupFailed("no answer")

    reads = 0
    _, failed = await in_halves(silent, [str(at) for at in range(30)])
    assert (reads, len(failed)) == (1, 30)


async def test_thirty_names_in_cyrillic_are_posted(database_url: str, sandbox: QboSandbox) -> None:
    """A query for names with a long address is posted, as one for numbers is; else a firewall answers with 414."""
    company = sandbox.company()
    async with desk(database_url, sandbox, company=company, run=False) as d:
        d.writer.references.names.lists._books = NoLists()
        names = [f"{chr(0x410 + at)}ндреева Мария {at:02}" for at in range(30)]
        ids = {await make(d, company, "Customer", DisplayName=name) for name in names}
        sandbox.control("POST", "modes", {"longest_address": ADDRESS_MOST})
        try:
            await d.tell(*(invoice(d.realm, f"Q-{at}", customer=name) for at, name in enumerate(names)))
            async with running(d.writer):
                assert set((await d.until_ended()).values()) == {"posted"}
        finally:
            sandbox.control("POST", "modes", {"longest_address": 0})
        queries = sandbox.requests(d.realm, operation="query")
        assert {r["status"] for r in queries} == {200}
        assert "POST" in {r["method"] for r in queries}
        mine = [b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]
        assert {b["CustomerRef"]["value"] for b in mine} == ids
