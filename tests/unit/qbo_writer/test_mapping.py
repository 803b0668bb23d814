"""Contents to QuickBooks and back: exact amounts, stable identity, and a comparison that neither misses nor invents."""

import base64
import hashlib
import json
import string
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bookrelay.messages import (
    BillContent,
    BillLine,
    CreditMemoContent,
    CustomField,
    InvoiceContent,
    InvoiceLine,
    Party,
    SalesReceiptContent,
    VendorCreditContent,
)
from bookrelay.money import loads, to_cents
from hypothesis import given, settings
from hypothesis import strategies as st
from qbo_writer import comparing, identity, kinds
from qbo_writer.domain import BatchItem, DesiredDocument, LedgerKind, Operation, Request, Resolved
from qbo_writer.kinds import BillPaymentContent, NameContent
from qbo_writer.policy import Policy
from qbo_writer.quickbooks import mapping
from qbo_writer.quickbooks.documents.draft import priced
from qbo_writer.settings import Settings

POLICY = Policy.parse({"prefixes": {"emr": "Q", "sheet": "S1"}, "custom_fields": {"v": "1", "w": "2"}}, Path("p.toml"))
MARKER = identity.marker("1", "emr", "12082", LedgerKind.INVOICE)
IDS = Resolved(
    {
        "customer": "5", "vendor": "6", "item:default": "1", "item:a": "2", "account:default": "7", "account:a": "8",
        "custom:v": "1", "bank_account": "35",
    }
)  # fmt: skip

cents = st.integers(-(10**11), 10**11).map(lambda n: Decimal(n) / 100).map(to_cents)
texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=40)
names = st.text(string.ascii_letters, min_size=1, max_size=10)
numbers = st.decimals(-10000, 10000, places=7, allow_nan=False, allow_infinity=False)


@st.composite
def invoice_lines(draw: Callable[[Any], Any]) -> InvoiceLine:
    quantity, price = draw(st.none() | numbers), draw(st.none() | numbers)
    amount = draw(cents)
    if quantity is not None and price is not None and draw(st.booleans()):
        amount = to_cents(quantity * price)
    return InvoiceLine(
        item=draw(st.sampled_from(["default", "a"])), description=draw(st.none() | texts), quantity=quantity, unit_price=price,
        amount=amount,
    )  # fmt: skip


invoices = st.builds(
    InvoiceContent,
    customer=st.builds(Party, name=names),
    txn_date=st.dates(date(2000, 1, 1), date(2100, 1, 1)),
    due_date=st.none() | st.dates(date(2000, 1, 1), date(2100, 1, 1)),
    memo=st.none() | texts,
    custom_fields=st.lists(st.builds(CustomField, name=st.just("v"), value=texts.filter(lambda t: len(t) <= 31)), max_size=1).map(
        tuple
    ),
    lines=st.lists(invoice_lines(), min_size=1, max_size=6).map(tuple),
)


def _without_due(content: Any) -> dict[str, Any]:
    return {name: getattr(content, name) for name in type(content).model_fields if name not in ("due_date", "terms")}


bills = st.builds(
    BillContent,
    vendor=st.builds(Party, name=names),
    txn_date=st.dates(date(2000, 1, 1), date(2100, 1, 1)),
    memo=st.none() | texts,
    lines=st.lists(
        st.builds(BillLine, account=st.sampled_from(["default", "a"]), description=st.none() | texts, amount=cents),
        min_size=1,
        max_size=6,
    ).map(tuple),
)
receipts = st.builds(
    lambda invoice, ref: SalesReceiptContent(**_without_due(invoice), payment_ref=ref), invoices, st.none() | st.just("114")
)
credits_ = invoices.map(lambda invoice: CreditMemoContent(**_without_due(invoice)))
vendor_credits = bills.map(lambda bill: VendorCreditContent(**_without_due(bill)))
payments = st.builds(
    BillPaymentContent,
    vendor_id=st.just("6"),
    bill_id=st.integers(1, 99).map(str),
    txn_date=st.just(date(2026, 1, 2)),
    amount=cents,
)
refs = st.sampled_from(
    [
        {},
        {"term": "3", "class": "4"},
        {"department": "9", "line_class": "4", "tax": "NON"},
        {"ap_account": "33"},
        {"deposit_account": "35", "payment_method": "2"},
    ]
)


def wanted_of(content: Any, more: dict[str, str] | None = None) -> DesiredDocument:
    kind = next(one.kind for one in kinds.ALL if one.content is type(content))
    return mapping.wanted(kind, content, Resolved({**IDS.ids, **(more or {})}), POLICY, "Q-12082", MARKER)


def echo(entity: str, body: str, *, sloppy: bool) -> dict[str, Any]:
    """What QuickBooks shows after a create: what was sent, its own additions, and, sloppy, its other ways of writing it."""
    raw: dict[str, Any] = loads(body)
    total = sum((Decimal(str(line["Amount"])) for line in raw["Line"]), Decimal(0))
    raw.update(Id="238", SyncToken="0", domain="QBO", sparse=False, TotalAmt=total, Balance=total, LinkedTxn=[], MetaData={})
    raw.setdefault("DueDate", "2030-01-01")
    for number, line in enumerate(raw["Line"], 1):
        line.update(Id=str(number), LineNum=number)
    if entity == "Invoice":
        raw["Line"].append({"DetailType": "SubTotalLineDetail", "Amount": total, "SubTotalLineDetail": {}})
        raw.update(EmailStatus="NotSet", PrintStatus="NeedToPrint", Deposit=0, ApplyTaxAfterDiscount=False)
    if sloppy:
        raw["EmailStatus"] = "NOT_SET"
        raw.setdefault("CustomField", []).append({"DefinitionId": "3", "Type": "StringType", "Name": "Crew #"})
        for line in raw["Line"]:
            line["Amount"] = Decimal(f"{line['Amount']}0") if isinstance(line["Amount"], Decimal) else str(line["Amount"])
            if line.get("DetailType") == "SalesItemLineDetail":
                line["DetailType"] = "SALES_ITEM_LINE_DETAIL"
                line["SalesItemLineDetail"]["ItemRef"]["name"] = "Services"
                line["SalesItemLineDetail"].setdefault("TaxCodeRef", {"value": "NON"})
                for name in ("Qty", "UnitPrice"):
                    if name in line["SalesItemLineDetail"]:
                        line["SalesItemLineDetail"][name] = Decimal(str(line["SalesItemLineDetail"][name])).normalize()
            if line.get("DetailType") == "SubTotalLineDetail":
                line["DetailType"] = "SUB_TOTAL_LINE_DETAIL"
    return raw


@settings(max_examples=300, deadline=None)
@given(invoices | receipts | credits_ | bills | vendor_credits | payments, refs, st.booleans())
def test_what_is_created_is_seen_as_wanted(content: Any, more: dict[str, str], sloppy: bool) -> None:
    wanted = wanted_of(content, more)
    raw = echo(wanted.entity, mapping.create_body(wanted), sloppy=sloppy)
    seen = mapping.seen(wanted.entity, raw)
    assert comparing.compare(wanted.fields, seen).differences == ()
    assert (seen.marker, seen.doc_number, seen.voided) == (MARKER, "Q-12082", False)
    assert seen.total == to_cents(sum((line["Amount"] for line in loads(mapping.create_body(wanted))["Line"]), Decimal(0)))
    assert comparing.compare(seen.fields, mapping.seen(wanted.entity, raw)).equal


@settings(max_examples=200, deadline=None)
@given(invoices, invoices)
def test_another_content_is_a_difference(one: InvoiceContent, other: InvoiceContent) -> None:
    wanted = wanted_of(one)
    seen = mapping.seen("Invoice", echo("Invoice", mapping.create_body(wanted_of(other)), sloppy=False))
    same = comparing.compare(wanted.fields, seen).equal
    if [line.amount for line in one.lines] != [line.amount for line in other.lines] or one.txn_date != other.txn_date:
        assert not same
    if same:
        assert len(one.lines) == len(other.lines)


@settings(max_examples=200, deadline=None)
@given(invoices)
def test_bodies_hold_the_exact_amounts_and_no_float(content: InvoiceContent) -> None:
    body = json.loads(mapping.create_body(wanted_of(content)), parse_float=str, parse_int=str)
    assert [Decimal(line["Amount"]) for line in body["Line"]] == [line.amount for line in content.lines]
    for line in body["Line"]:
        detail = line["SalesItemLineDetail"]
        assert ("Qty" in detail) == ("UnitPrice" in detail)
        if "Qty" in detail:  # else QuickBooks refuses it with 6070
            assert to_cents(Decimal(detail["Qty"]) * Decimal(detail["UnitPrice"])) == Decimal(line["Amount"])
    assert "e+" not in mapping.create_body(wanted_of(content)).lower().replace('"', "").split("privatenote")[0]


def test_half_up_product_is_sent_with_its_quantity() -> None:
    line = InvoiceLine(quantity=Decimal("128.350"), unit_price=Decimal("14.50"), amount=Decimal("1861.08"))
    assert priced(line)
    assert not priced(line.model_copy(update={"amount": Decimal("1861.07")}))
    assert not priced(line.model_copy(update={"unit_price": None}))
    assert not priced(InvoiceLine(quantity=Decimal("0.333333"), unit_price=Decimal(3), amount=Decimal("1.00")))


def test_a_float_is_refused() -> None:
    with pytest.raises(TypeError, match="float"):
        mapping.dumps({"Amount": 1.1})


def test_update_names_every_owned_field() -> None:
    content = InvoiceContent(customer=Party(name="x"), txn_date=date(2026, 1, 1), lines=(InvoiceLine(amount=Decimal("1.00")),))
    body = json.loads(mapping.update_body(wanted_of(content), "17", "3"))
    assert (body["Id"], body["SyncToken"], body["sparse"]) == ("17", "3", True)
    assert {name: body[name] for name in ("DueDate", "SalesTermRef", "ClassRef", "DepartmentRef")} == dict.fromkeys(
        ("DueDate", "SalesTermRef", "ClassRef", "DepartmentRef")
    )
    assert [(c["DefinitionId"], c["StringValue"]) for c in body["CustomField"]] == [("1", ""), ("2", "")]
    assert body["PrivateNote"] == MARKER


def test_a_change_is_named_with_both_values() -> None:
    content = InvoiceContent(
        customer=Party(name="x"), txn_date=date(2026, 1, 1), lines=(InvoiceLine(amount=Decimal("1.00")),) * 10
    )
    wanted = wanted_of(content)
    raw = echo("Invoice", mapping.create_body(wanted), sloppy=False)
    raw["Line"][9]["Amount"] = Decimal("2.00")
    raw["TxnDate"] = "2026-01-02"
    del raw["Line"][1]["SalesItemLineDetail"]["ItemRef"]
    differences = comparing.compare(wanted.fields, mapping.seen("Invoice", raw)).differences
    assert [(d.field, d.ours, d.theirs) for d in differences] == [
        ("line.2.item", "1", None), ("line.10.amount", "1.00", "2.00"), ("txn_date", "2026-01-01", "2026-01-02")
    ]  # fmt: skip


def test_a_line_more_or_less_is_a_difference() -> None:
    content = InvoiceContent(customer=Party(name="x"), txn_date=date(2026, 1, 1), lines=(InvoiceLine(amount=Decimal("0.00")),))
    wanted = wanted_of(content)
    raw = echo("Invoice", mapping.create_body(wanted), sloppy=False)
    raw["Line"].insert(0, {"DetailType": "DescriptionOnly", "Description": "hi", "DescriptionLineDetail": {}})
    assert not comparing.compare(wanted.fields, mapping.seen("Invoice", raw)).equal


def test_void_keeps_the_marker_and_is_seen() -> None:
    content = InvoiceContent(
        customer=Party(name="x"), txn_date=date(2026, 1, 1), memo="m", lines=(InvoiceLine(amount=Decimal("5.00")),)
    )
    raw = echo("Invoice", mapping.create_body(wanted_of(content)), sloppy=False)
    raw.update(PrivateNote="Voided - " + raw["PrivateNote"], TotalAmt=Decimal(0), Balance=0)
    seen = mapping.seen("Invoice", raw)
    assert (seen.voided, seen.marker) == (True, MARKER)


def test_paid_and_emailed() -> None:
    raw = {"Id": "1", "SyncToken": "2", "TotalAmt": 10, "Balance": 4, "EmailStatus": "EMAIL_SENT"}
    assert comparing.paid(mapping.seen("Invoice", raw))
    assert mapping.seen("Invoice", raw).emailed
    assert not comparing.paid(mapping.seen("Invoice", {**raw, "Balance": Decimal("10.00")}))
    assert not mapping.seen("Invoice", {**raw, "EmailStatus": "NotSet"}).emailed


# ---------------------------------------------------------------------------------------------------------------- identity


@settings(max_examples=300)
@given(st.sets(st.tuples(st.sampled_from(["emr", "sheet", "other"]), st.text(max_size=25)), max_size=30))
def test_document_numbers_are_short_stable_and_unique(keys: set[tuple[str, str]]) -> None:
    numbers = {identity.doc_number(POLICY, source, key) for source, key in keys}
    assert len({number.casefold() for number in numbers}) == len(keys)
    assert all(0 < len(number) <= 21 and number.isascii() for number in numbers)


def test_document_numbers_of_plain_keys_are_readable_and_no_hash_equals_one() -> None:
    assert identity.doc_number(POLICY, "emr", "12082") == "Q-12082"
    hashed = identity.doc_number(POLICY, "emr", "a patient's note")
    assert hashed.startswith("Q~")
    assert identity.doc_number(POLICY, "emr", hashed) != hashed
    assert identity.doc_number(POLICY, "unheard", "12082").startswith("~")
    assert "patient" not in hashed


def test_markers_differ_by_everything_and_say_nothing() -> None:
    keys = [("1", "emr", "5", LedgerKind.INVOICE), ("2", "emr", "5", LedgerKind.INVOICE), ("1", "x", "5", LedgerKind.INVOICE),
            ("1", "emr", "6", LedgerKind.INVOICE), ("1", "emr", "5", LedgerKind.BILL)]  # fmt: skip
    markers = {identity.marker(*key) for key in keys}
    assert len(markers) == 5
    assert all(len(marker) == 26 for marker in markers)


def test_numbers_and_markers_are_the_base32_of_the_hash() -> None:
    """They stand in the books for ever: a faster way to write them must write the same."""
    for key in ("5", "a patient's note", "\u00e9", "x" * 400):
        digest = base64.b32encode(hashlib.sha256(f"sheet\x1f{key}~".encode()).digest()).decode()
        assert identity.doc_number(POLICY, "sheet", key + "~") == "S1~" + digest[:18]
        digest = base64.b32encode(hashlib.sha256(f"marker\x1f1\x1femr\x1f{key}\x1finvoice".encode()).digest()).decode()
        assert identity.marker("1", "emr", key, LedgerKind.INVOICE) == "bookrelay:" + digest[:16].lower()


@given(texts)
def test_our_marker_is_found_whatever_the_memo_says(memo: str) -> None:
    other = identity.marker("9", "x", "y", LedgerKind.BILL)
    content = BillContent(
        vendor=Party(name="x"), txn_date=date(2026, 1, 1), memo=memo + other, lines=(BillLine(amount=Decimal("1.00")),)
    )
    wanted = wanted_of(content)
    seen = mapping.seen("Bill", echo("Bill", mapping.create_body(wanted), sloppy=False))
    assert seen.marker == MARKER
    assert comparing.compare(wanted.fields, seen).equal


# ------------------------------------------------------------------------------------------------------------------ bodies


def test_batch_embeds_each_body_as_it_was_journalled() -> None:
    def item(b_id: str, operation: Operation, body: str) -> BatchItem:
        return BatchItem(b_id, Request("1", LedgerKind.INVOICE, "Invoice", operation, b_id, body))

    create = '{"Amount":  1.10,"x":"\u00fc"}'
    text = mapping.batch_body(
        [item("1", Operation.CREATE, create), item("2", Operation.VOID, '{"Id":"2"}'), item("3", Operation.DELETE, '{"Id":"3"}')]
    )
    assert create in text
    parsed = json.loads(text)["BatchItemRequest"]
    assert [(one["bId"], one["operation"], one.get("optionsData")) for one in parsed] == [
        ("1", "create", None), ("2", "update", "void"), ("3", "delete", None)
    ]  # fmt: skip


def test_names_carry_name_email_and_marker() -> None:
    body = json.loads(mapping.name_body(LedgerKind.CUSTOMER, " O'Neil \r\n", "a@b.c", MARKER))
    assert body == {"DisplayName": "O'Neil", "Notes": MARKER, "PrimaryEmailAddr": {"Address": "a@b.c"}}
    wanted = mapping.wanted(LedgerKind.VENDOR, NameContent(name="Big CO"), Resolved({}), POLICY, None, MARKER)
    seen = mapping.seen("Vendor", {"Id": "1", "SyncToken": "0", "DisplayName": "big co ", "Notes": MARKER})
    assert comparing.compare(wanted.fields, seen).equal
    assert (seen.voided, seen.marker) == (False, MARKER)


def test_links_open_the_right_company() -> None:
    values = {"database_url": "postgresql://a@b/c", "qbo_environment": "production"}
    assert (
        mapping.url(Settings.model_validate(values), LedgerKind.INVOICE, "17", "93")
        == "https://app.qbo.intuit.com/app/invoice?txnId=17&companyId=93"
    )
