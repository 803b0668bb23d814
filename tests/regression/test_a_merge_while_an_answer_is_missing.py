"""A person merged a customer, a vendor or an item while the answer to a request was missing: it was called a person's edit."""

from typing import Any

import pytest
from bookrelay.messages import Kind
from qbo_writer import lists
from qbo_writer.domain import AccessToken, Answer, BooksEntity, Operation, Request
from qbo_writer.protocol import merging
from qbo_writer.quickbooks import faults
from qbo_writer.quickbooks.mapping import seen
from writer_support import Desk, QboSandbox, bill, desk, invoice

pytestmark = pytest.mark.postgres


def silent_once(d: Desk, operation: Operation, entity: str, loser: str, winner: str, *, arrives: bool) -> None:
    """Nobody answers the next such request; a person merges before it is looked for. `arrives`: it was done all the same."""
    books = d.writer.posters[d.realm].parts.books
    send, left = books.send, [True]

    async def lost(request: Request, token: AccessToken) -> Answer:
        if not left or request.operation is not operation or request.entity not in ("Invoice", "Bill"):
            return await send(request, token)
        left.clear()
        if arrives:
            await send(request, token)
        d.sandbox.person(d.realm, "merge", entity, loser, into=winner)
        return faults.silence("ReadTimeout")

    books.send = lost  # type: ignore[method-assign]


def ids(d: Desk, entity: str, name: str = "DisplayName") -> dict[str, str]:
    return {one[name]: one["Id"] for one in d.sandbox.books(d.realm, entity)}


def ours(d: Desk, entity: str) -> list[dict[str, Any]]:
    return [b for b in d.sandbox.books(d.realm, entity) if "bookrelay:" in b.get("PrivateNote", "")]


async def edits(d: Desk) -> list[str]:
    """What was called a person's edit."""
    rows = await d.pool.fetch("SELECT source_key FROM qbo_writer.documents WHERE diverged OR status <> 'present'")
    told = ("bookrelay.document.diverged.v1", "bookrelay.document.held.v1")
    return [row["source_key"] for row in rows] + [e["type"] for e in await d.events() if e["type"] in told]


@pytest.mark.parametrize("kind", [Kind.INVOICE, Kind.BILL])
@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("operation", [Operation.CREATE, Operation.UPDATE])
async def test_a_merged_party(database_url: str, sandbox: QboSandbox, kind: Kind, arrives: bool, operation: Operation) -> None:
    entity, party, document = ("Customer", "customer", "Invoice") if kind is Kind.INVOICE else ("Vendor", "vendor", "Bill")

    def asked(key: str, version: int, amount: str, name: str) -> Any:
        return (invoice if kind is Kind.INVOICE else bill)(d.realm, key, version, amount, name)

    async with desk(database_url, sandbox) as d:
        await d.tell(asked("old", 1, "100.00", "Loser"), asked("w", 1, "100.00", "Winner"))
        await d.until_ended()
        loser, winner = ids(d, entity)["Loser"], ids(d, entity)["Winner"]
        silent_once(d, operation, entity, loser, winner, arrives=arrives)
        key, version = ("new", 1) if operation is Operation.CREATE else ("old", 2)
        await d.tell(asked(key, version, "120.00", "Loser"))
        assert (await d.until_ended())[key, version] == "posted"
        assert await edits(d) == []
        await d.tell(asked("next", 1, "100.00", "Loser"), asked(key, version + 1, "130.00", "Loser"))
        assert set((await d.until_ended()).values()) <= {"posted", "superseded"}
        assert "Loser" not in ids(d, entity), "it is not made again"
        assert await edits(d) == []
        assert {b[f"{party.capitalize()}Ref"]["value"] for b in ours(d, document)} == {winner}
        assert len(ours(d, document)) == (4 if operation is Operation.CREATE else 3)


async def test_a_merged_item(database_url: str, sandbox: QboSandbox) -> None:
    def with_item(key: str) -> Any:
        command = invoice(d.realm, key)
        lines = tuple(line.model_copy(update={"item": "Old care"}) for line in command.data.content.lines)
        content = command.data.content.model_copy(update={"lines": lines})
        return type(command).of(command.data.model_copy(update={"content": content}), sender="emr-poller")

    async with desk(database_url, sandbox) as d:
        for name in ("Old care", "Care"):
            person = {"Name": name, "Type": "Service", "IncomeAccountRef": {"value": "1"}}
            sandbox.control("POST", "person", {"realm": d.realm, "operation": "create", "entity": "Item", "changes": person})
        items = ids(d, "Item", "Name")
        silent_once(d, Operation.CREATE, "Item", items["Old care"], items["Care"], arrives=True)
        await d.tell(with_item("Q-1"))
        assert (await d.until_ended())["Q-1", 1] == "posted"
        await d.tell(with_item("Q-2"))
        assert (await d.until_ended())["Q-2", 1] == "posted"
        assert await edits(d) == []
        assert {b["Line"][0]["SalesItemLineDetail"]["ItemRef"]["value"] for b in ours(d, "Invoice")} == {items["Care"]}


async def test_a_merge_that_was_told_counts_for_the_request_that_it_refuses(database_url: str, sandbox: QboSandbox) -> None:
    """Looked up, named by no document of ours, merged before the request arrives; Intuit told of it, the feed is not read yet."""
    async with desk(database_url, sandbox) as d:
        for name in ("Loser", "Winner"):
            person = {"DisplayName": name}
            sandbox.control("POST", "person", {"realm": d.realm, "operation": "create", "entity": "Customer", "changes": person})
        customers = ids(d, "Customer")
        books = d.writer.posters[d.realm].parts.books
        send, left = books.send, [True]

        async def merged_before(request: Request, token: AccessToken) -> Answer:
            if left:
                left.clear()
                sandbox.person(d.realm, "merge", "Customer", customers["Loser"], into=customers["Winner"])
                merge = lists.Merge("Customer", customers["Loser"], customers["Winner"])
                await d.writer.ledger.merges.record_merges([(d.realm, merge)])
            return await send(request, token)

        books.send = merged_before  # type: ignore[method-assign]
        await d.tell(invoice(d.realm, "Q-1", customer="Loser"))
        assert (await d.until_ended())["Q-1", 1] == "posted"
        assert "Loser" not in ids(d, "Customer")
        assert [b["CustomerRef"]["value"] for b in ours(d, "Invoice")] == [customers["Winner"]]


def there(customer: str) -> BooksEntity:
    return seen("Invoice", {"Id": "7", "SyncToken": "2", "CustomerRef": {"value": customer}, "Line": []})


def test_what_a_request_asked_for_is_no_move() -> None:
    assert merging.moves(there("2"), {"customer": "1"}, {"customer": "2"}).places == {}
    assert merging.moves(there("1"), {"customer": "1"}, {"customer": "2"}).places == {}


def test_of_two_that_it_may_have_named_nobody_knows_which() -> None:
    moves = merging.moves(there("3"), {"customer": "1"}, {"customer": "2"})
    assert moves.places == {("Customer", "1"): {"3"}, ("Customer", "2"): {"3"}}
    assert moves.rivals == (frozenset({("Customer", "1"), ("Customer", "2")}),)
