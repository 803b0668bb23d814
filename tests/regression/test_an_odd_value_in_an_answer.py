"""One odd value in Preferences ended the posting loop and the process, was kept for a day, and ended the next process, too."""

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
from qbo_writer.domain import LookupUnreadable
from qbo_writer.quickbooks import mapping, taxes
from qbo_writer.quickbooks.company import facts_of
from writer_support import Desk, QboSandbox, desk, invoice, running

pytestmark = pytest.mark.postgres
Alter = Callable[[str, Any], None]

ODD_PREFERENCES: list[tuple[dict[str, Any], str]] = [
    ({"AccountingInfoPrefs": {"BookCloseDate": "11/30/2025"}}, "AccountingInfoPrefs.BookCloseDate"),
    ({"AccountingInfoPrefs": {"BookCloseDate": {"value": "2025-11-30"}}}, "AccountingInfoPrefs.BookCloseDate"),
    ({"AccountingInfoPrefs": "x"}, "AccountingInfoPrefs"),
    ({"SalesFormsPrefs": ["x"]}, "SalesFormsPrefs"),
    ({"TaxPrefs": 1}, "TaxPrefs"),
    ({"CurrencyPrefs": {"MultiCurrencyEnabled": True, "HomeCurrency": {"value": 1}}}, "CurrencyPrefs.HomeCurrency"),
    ({"CurrencyPrefs": {"MultiCurrencyEnabled": True, "HomeCurrency": None}}, "CurrencyPrefs.HomeCurrency"),
]


class Altered(httpx.AsyncBaseTransport):
    """The way to QuickBooks; `alter` changes the JSON of its answers."""

    def __init__(self, alter: Alter) -> None:
        self.alter, self._way = alter, httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._way.handle_async_request(request)
        body = json.loads(await response.aread())
        self.alter(request.url.path, body)
        return httpx.Response(response.status_code, content=json.dumps(body).encode())


def through(d: Desk, alter: Alter) -> None:
    d.writer.client.transport._client._transport = Altered(alter)


@pytest.mark.parametrize(("odd", "name"), ODD_PREFERENCES, ids=[json.dumps(odd) for odd, _ in ODD_PREFERENCES])
async def test_what_cannot_be_read_of_the_company_ends_no_loop_and_is_not_kept(
    database_url: str, sandbox: QboSandbox, odd: dict[str, Any], name: str
) -> None:
    def alter(path: str, body: Any) -> None:
        if path.endswith("/preferences"):
            for group, value in odd.items():
                before = body["Preferences"].get(group)
                body["Preferences"][group] = {**before, **value} if isinstance(value, dict) and before else value

    async with desk(database_url, sandbox, run=False) as d:
        through(d, alter)
        async with running(d.writer):
            await d.tell(invoice(d.realm, "Q-1"))

            async def counted() -> bool:
                await d.hurry()
                return bool(await d.pool.fetchval("SELECT max(failures) >= 2 FROM qbo_writer.commands"))

            await d.until(counted, 20)
            assert f"Preferences.{name} could not be read" in await d.pool.fetchval("SELECT reason FROM qbo_writer.commands")
            assert await d.pool.fetchval("SELECT NOT company ? 'info' FROM qbo_writer.realms")
            through(d, lambda path, body: None)

            async def posted() -> bool:
                await d.hurry()
                return set((await d.states()).values()) == {"posted"}

            await d.until(posted, 20)


async def test_what_an_earlier_release_kept_and_cannot_be_read_is_read_again(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox, run=False) as d:
        kept = {"info": {"Country": "US"}, "preferences": {"AccountingInfoPrefs": {"BookCloseDate": "11/30/2025"}}}
        await d.pool.execute(
            "INSERT INTO qbo_writer.realms AS r (realm, company) VALUES ($1, $2 || jsonb_build_object('read_at', now())) "
            "ON CONFLICT (realm) DO UPDATE SET company = excluded.company",
            d.realm, kept,
        )  # fmt: skip
        async with running(d.writer):
            await d.tell(invoice(d.realm, "Q-1"))
            assert set((await d.until_ended(20)).values()) == {"posted"}


def test_a_currency_that_is_a_text_is_read() -> None:
    assert facts_of({}, {"CurrencyPrefs": {"MultiCurrencyEnabled": True, "HomeCurrency": "USD"}}).currency == "USD"
    assert facts_of({}, {"CurrencyPrefs": {"MultiCurrencyEnabled": False, "HomeCurrency": 5}}).currency is None
    assert facts_of({"NameValue": 5, "Country": ["US"]}, {}).plan == "unknown"


ODD: list[Any] = [None, 5, "text", True, [], ["text"], {}, {"value": {}}, Decimal("1E+9999"), "Infinity", "sNaN", "²"]
PLACES = ("PrivateNote", "DocNumber", "TxnDate", "CustomerRef", "Line", "CustomField", "TxnTaxDetail", "CheckPayment", "MetaData",
          "SyncToken", "EmailStatus", "status")  # fmt: skip


@pytest.mark.parametrize("entity", ["Invoice", "Bill", "BillPayment", "Customer", "Item"])
def test_an_entity_with_odd_values_is_read_as_far_as_it_can_be(entity: str) -> None:
    for odd in ODD:
        for place in PLACES:
            mapping.seen(entity, {"Id": "1", "SyncToken": "0", place: odd})
        line = {"Id": "1", "Line": [{"Amount": odd, "LinkedTxn": odd, "SalesItemLineDetail": {"Qty": odd, "ItemRef": odd}}] * 2}
        mapping.seen(entity, line)
        mapping.seen(entity, {"Id": "1", "Line": [{"DetailType": "DiscountLineDetail", "Amount": odd}] * 2})
        taxes.percentages([{"Id": "1", "SalesTaxRateList": odd}], [{"Id": "1", "RateValue": odd}])
        for place in ("TotalAmt", "Balance"):
            seen, wrong = mapping.readable(entity, [{"Id": "1", place: odd}, {"Id": "2"}])
            assert len(seen) + len(wrong) == 2
            assert all(one.total.is_finite() and one.balance.is_finite() for one in seen)
    for name in ("Customer", "Item"):  # nobody is overlooked for his balance: he would be made again
        assert not mapping.readable(name, [{"Id": "1", "Balance": "much"}])[1]
    with pytest.raises(LookupUnreadable, match="TotalAmt of Invoice 1"):
        mapping.seen("Invoice", {"Id": "1", "TotalAmt": "much"})


async def test_a_document_of_somebody_else_that_cannot_be_read_jams_no_feed(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        ours = next(b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", ""))

        def alter(path: str, body: Any) -> None:
            if path.endswith("/cdc"):
                for part in body["CDCResponse"][0]["QueryResponse"]:
                    part.setdefault("Invoice", []).insert(0, {"Id": "999", "SyncToken": "0", "TotalAmt": "much"})

        through(d, alter)
        sandbox.person(d.realm, "edit", "Invoice", ours["Id"], TxnDate="2026-11-02")
        d.writer.feed_soon([d.realm])

        async def diverged() -> bool:
            d.writer.posters[d.realm].feeder._next = 0.0
            d.writer.wake([d.realm])
            await asyncio.sleep(0.05)
            return bool(await d.pool.fetchval("SELECT bool_or(diverged) FROM qbo_writer.documents"))

        await d.until(diverged, 20)


async def test_a_success_whose_total_cannot_be_read_is_looked_up(database_url: str, sandbox: QboSandbox) -> None:
    async with desk(database_url, sandbox) as d:
        await d.tell(invoice(d.realm, "Q-1"))
        await d.until_ended()
        odd = 1

        def alter(path: str, body: Any) -> None:
            nonlocal odd
            if path.endswith("/invoice") and odd:
                odd -= 1
                body["Invoice"]["TotalAmt"] = "much"

        through(d, alter)
        await d.tell(invoice(d.realm, "Q-2"))

        async def posted() -> bool:
            await d.hurry()
            return set((await d.states()).values()) == {"posted"}

        await d.until(posted, 30)
        assert len([b for b in sandbox.books(d.realm, "Invoice") if "bookrelay:" in b.get("PrivateNote", "")]) == 2
