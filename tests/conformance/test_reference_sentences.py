"""Sentences of the reference that no client happened to touch, each tried over the write rules of a seeded company."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sandbox.qbo.company.schema import KINDS
from sandbox.qbo.control.webhooks import NAMES
from sandbox.qbo.door.server import bind, build

Doc = dict[str, Any]
LINE = {"DetailType": "SalesItemLineDetail", "Amount": 100, "SalesItemLineDetail": {"ItemRef": {"value": "1"}}}
DISCOUNT = {"DetailType": "DiscountLineDetail", "Amount": 10, "DiscountLineDetail": {"PercentBased": False}}


class Books:
    """A company of its own, through the whole application without a socket."""

    def __init__(self) -> None:
        listener = bind("127.0.0.1", 0)
        self.app = build(listener, limits=False)
        listener.close()
        self.world = self.app.world
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app),
            base_url="http://sandbox",
            headers={"authorization": f"Bearer {self.world.first_access}", "accept": "application/json"},
        )
        self.base = f"/v3/company/{self.world.first_realm}"

    async def post(self, path: str, body: Any, **params: Any) -> tuple[str, Doc]:
        """(fault code or "", the answer's content)."""
        return _taken(await self.http.post(f"{self.base}/{path}", json=body, params=params))

    async def get(self, path: str, **params: Any) -> tuple[str, Doc]:
        return _taken(await self.http.get(f"{self.base}/{path}", params=params))

    async def control(self, path: str, body: Any) -> Doc:
        answer = await self.http.post(f"/control/{path}", json=body)
        answer.raise_for_status()
        found: Doc = answer.json()
        return found


def _taken(answer: httpx.Response) -> tuple[str, Doc]:
    body = json.loads(answer.content)
    if "Fault" in body:
        return str(body["Fault"]["Error"][0]["code"]), body
    (name,) = (key for key in body if key != "time")
    return "", body[name]


@pytest.fixture
def books() -> Iterator[Books]:
    made = Books()
    yield made
    assert made.world.internal_errors == 0
    assert not any(made.world.invariants().values())


def invoice(*lines: Doc, **more: Any) -> Doc:
    return {"CustomerRef": {"value": "1"}, "Line": list(lines) or [LINE], **more}


# 5.0: "Country as ISO-3 code and no longer Lat/Long"; 5.2: "address objects carry their own Id"


@pytest.mark.parametrize(
    ("written", "shown"),
    [("US", "USA"), ("United States", "USA"), ("usa", "USA"), ("Canada", "CAN"), ("GBR", "GBR"), ("Freedonia", "Freedonia")],
)
async def test_countries_are_shown_by_their_iso_code(books: Books, written: str, shown: str) -> None:
    _, made = await books.post("invoice", invoice(ShipAddr={"Line1": "1 Way", "Country": written, "Lat": "37.1", "Long": "-1"}))
    assert made["ShipAddr"].pop("Id")
    assert made["ShipAddr"] == {"Line1": "1 Way", "Country": shown}


async def test_an_address_keeps_its_id_when_the_document_changes(books: Books) -> None:
    _, made = await books.post("invoice", invoice(BillAddr={"Line1": "a"}, ShipAddr={"Line1": "b"}))
    assert made["BillAddr"]["Id"] != made["ShipAddr"]["Id"]
    _, changed = await books.post("invoice", {**made, "BillAddr": {"Line1": "c"}, "PrivateNote": "x"})
    assert changed["BillAddr"] == {"Id": made["BillAddr"]["Id"], "Line1": "c"}
    assert changed["ShipAddr"] == made["ShipAddr"]


# 5.0: "Read preferences at connect": classes, locations; 5.1: AllowDiscount, AllowDeposit


async def test_what_the_company_does_not_track_is_left_out(books: Books) -> None:
    with_class = {**LINE, "SalesItemLineDetail": {"ItemRef": {"value": "1"}, "ClassRef": {"value": "1"}}}
    body = invoice(with_class, ClassRef={"value": "1"}, DepartmentRef={"value": "1"})
    _, made = await books.post("invoice", body)
    assert ("ClassRef" in made, "DepartmentRef" in made, "ClassRef" in made["Line"][0]["SalesItemLineDetail"]) == (
        False,
        True,
        True,
    )
    await books.control(
        "preferences",
        {"AccountingInfoPrefs": {"ClassTrackingPerTxn": True, "ClassTrackingPerTxnLine": False, "TrackDepartments": False}},
    )
    _, made = await books.post("invoice", body)
    assert ("ClassRef" in made, "DepartmentRef" in made, "ClassRef" in made["Line"][0]["SalesItemLineDetail"]) == (
        True,
        False,
        False,
    )


@pytest.mark.parametrize(("switch", "body"), [("AllowDiscount", invoice(LINE, DISCOUNT)), ("AllowDeposit", invoice(Deposit=5))])
async def test_discounts_and_deposits_need_their_preference(books: Books, switch: str, body: Doc) -> None:
    assert (await books.post("invoice", body))[0] == ""
    await books.control("preferences", {"SalesFormsPrefs": {switch: False}})
    assert (await books.post("invoice", body))[0] == "6000"
    assert (await books.post("invoice", invoice()))[0] == ""


# 5.0: "Multicurrency on: CurrencyRef needed"


async def test_with_several_currencies_a_document_names_its_own(books: Books) -> None:
    assert (await books.post("invoice", invoice()))[0] == ""
    await books.control("preferences", {"CurrencyPrefs": {"MultiCurrencyEnabled": True}})
    assert (await books.post("invoice", invoice()))[0] == "2020"
    code, made = await books.post("invoice", invoice(CurrencyRef={"value": "USD"}))
    assert code == ""
    sparse = {"Id": made["Id"], "SyncToken": "0", "sparse": True, "PrivateNote": "x"}
    assert (await books.post("invoice", sparse))[0] == ""
    assert (await books.post("customer", {"DisplayName": "New"}))[1]["CurrencyRef"]["value"] == "USD"


# 5.5: "TaxIdentifier 20 (masked on read)"


async def test_tax_numbers_are_masked_and_an_echo_does_not_spoil_them(books: Books) -> None:
    code, made = await books.post("vendor", {"DisplayName": "Taxed", "TaxIdentifier": "123-45-6789"})
    assert (code, made["TaxIdentifier"]) == ("", "XXXXXXX6789")
    _, echoed = await books.post("vendor", {**made, "PrintOnCheckName": "T"})
    assert echoed["TaxIdentifier"] == "XXXXXXX6789"
    stored = books.world.companies[books.world.first_realm].get("Vendor", made["Id"])
    assert stored is not None
    assert stored["TaxIdentifier"] == "123-45-6789"
    _, changed = await books.post("vendor", {**echoed, "TaxIdentifier": "98-7654321"})
    assert changed["TaxIdentifier"] == "XXXXXX4321"


# 5.5: "Making a customer with balance inactive: UI posts a balancing CreditMemo"


async def test_a_person_who_makes_a_debtor_inactive_gets_a_credit_memo(books: Books) -> None:
    for customer_id in ("1", "2"):
        assert (await books.post("invoice", invoice(CustomerRef={"value": customer_id})))[0] == ""
    await books.control("person", {"operation": "deactivate", "entity": "Customer", "Id": "1"})
    _, found = await books.get("query", query="select * from CreditMemo")
    assert [(memo["CustomerRef"]["value"], memo["TotalAmt"]) for memo in found["CreditMemo"]] == [("1", 100)]
    _, customer = await books.get("customer/1")
    assert (customer["Active"], customer["Balance"]) == (False, 0)
    _, second = await books.get("customer/2")
    sparse = {"Id": "2", "SyncToken": second["SyncToken"], "sparse": True, "Active": False}
    assert (await books.post("customer", sparse))[1]["Balance"] == 100, "the API posts nothing by itself"


# 7: "Pre-flight at connect: CompanyInfo.NameValue(OfferingSku)"


@pytest.mark.parametrize("plan", ["simple_start", "essentials", "plus", "advanced"])
async def test_the_offering_follows_the_plan(books: Books, plan: str) -> None:
    await books.control("companies", {"realm": books.world.first_realm, "plan": plan})
    _, info = await books.get("companyinfo/1")
    sku = next(pair["Value"] for pair in info["NameValue"] if pair["Name"] == "OfferingSku")
    assert sku == f"QuickBooks Online {plan.replace('_', ' ').title()}"


# 1.7: "item kinds ReportQuery, CDCQuery"


async def test_a_batch_takes_reports(books: Books) -> None:
    await books.post("invoice", invoice())
    items = [
        {"bId": "1", "ReportQuery": "/reports/ProfitAndLoss?start_date=2020-01-01&end_date=2040-12-31"},
        {"bId": "2", "ReportQuery": "TrialBalance"},
        {"bId": "3", "ReportQuery": "Nonsense"},
        {"bId": "4", "ReportQuery": 5},
    ]
    before = books.world.limits.metered
    _, answers = await books.post("batch", {"BatchItemRequest": items})
    found = {answer["bId"]: answer for answer in answers}
    assert found["1"]["Report"]["Header"]["ReportName"] == "ProfitAndLoss"
    assert found["1"]["Report"]["Header"]["StartPeriod"] == "2020-01-01"
    assert found["2"]["Report"]["Header"]["ReportName"] == "TrialBalance"
    assert [found[n]["Fault"]["Error"][0]["code"] for n in "34"] == ["500", "2120"]
    assert books.world.limits.metered - before == 4


# 11: "empty text for ... amounts"


async def test_an_empty_amount_is_nought_or_what_quantity_and_price_say(books: Books) -> None:
    priced = {**LINE, "Amount": "", "SalesItemLineDetail": {"ItemRef": {"value": "1"}, "Qty": 2, "UnitPrice": 3}}
    code, made = await books.post("invoice", invoice(LINE, {**LINE, "Amount": ""}, priced))
    assert (code, [line["Amount"] for line in made["Line"][:3]], made["TotalAmt"]) == ("", [100, 0, 6], 106)
    missing = {key: value for key, value in LINE.items() if key != "Amount"}
    assert (await books.post("invoice", invoice(missing)))[0] == "2020"


# 6.2: which operations webhooks tell of which entity; "'Delete' on a name list really means made inactive"

TOLD = (
    "account CUD|bill CUD|billpayment CUDV|budget CU|class CUDM|creditmemo CUDVE|currency CUD|customer CUDM|"
    "department CUM|deposit CUD|employee CUDM|estimate CUDE|invoice CUDVE|item CUDM|journalentry CUD|payment CUDVE|"
    "paymentmethod CUM|preferences U|purchase CUDV|purchaseorder CUDE|refundreceipt CUDVE|salesreceipt CUDVE|"
    "taxagency CU|term CU|timeactivity CUD|transfer CUDV|vendor CUDM|vendorcredit CUD|attachable |taxcode |companyinfo "
)


def test_webhooks_tell_of_each_entity_what_the_reference_lists() -> None:
    listed = dict(entry.split(" ") for entry in TOLD.split("|"))
    told = {NAMES.get(kind, kind).lower(): entity.webhook for kind, entity in KINDS.items()}
    assert {name: "".join(sorted(letters)) for name, letters in listed.items()} == {
        name: "".join(sorted(told[name])) for name in listed
    }
    assert [name for name in told if name not in listed and told[name]] == []


async def test_a_name_made_inactive_is_told_as_deleted(books: Books) -> None:
    events: list[tuple[str, str]] = []
    books.world.companies[books.world.first_realm].event_sinks.append(lambda event: events.append((event.kind, event.op)))
    sparse = {"Id": "3", "SyncToken": "0", "sparse": True}
    assert (await books.post("customer", {**sparse, "Active": False}))[0] == ""
    assert (await books.post("customer", {**sparse, "SyncToken": "1", "Notes": "still"}))[0] == ""
    assert (await books.post("customer", {**sparse, "SyncToken": "2", "Active": True}))[0] == ""
    assert events == [("Customer", "Delete"), ("Customer", "Update"), ("Customer", "Update")]


# 1.1: "Send Accept: application/json (otherwise XML can come back)"


async def test_faults_are_xml_for_those_who_ask_for_xml(books: Books) -> None:
    path = f"{books.base}/invoice/99999"
    answer = await books.http.get(path, headers={"accept": "application/xml"})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/xml;charset=UTF-8")
    assert 'code="610"' in answer.text
    refused = await books.http.get(path, headers={"accept": "application/xml", "authorization": "Bearer " + "x" * 40})
    assert (refused.status_code, 'code="3200"' in refused.text) == (401, True)
    assert refused.headers["www-authenticate"] == 'Bearer realm="Intuit", error="invalid_token"'
