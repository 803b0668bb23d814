"""The client against the stand-in: every operation, every way of not being answered, look-ups that find what is there."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from bookrelay.errors import Code, Disposition, HaltError
from bookrelay.messages import CustomField, InvoiceLine
from qbo_parts import POLICY, Company, bill, ids_of, invoice, request_for, settings_for, wanted_of
from qbo_writer import comparing, identity
from qbo_writer.domain import (
    AccessToken,
    Answer,
    AnswerKind,
    BatchItem,
    BatchRequest,
    BooksEntity,
    Deleted,
    DesiredDocument,
    FeedFull,
    LedgerKind,
    LookupFailed,
    Operation,
    Request,
)
from qbo_writer.kinds import BillPaymentContent, NameContent
from qbo_writer.quickbooks import mapping
from qbo_writer.quickbooks.client import QboClient
from qbo_writer.quickbooks.transport import ReadRefused

LONG_AGO = datetime.now(UTC) - timedelta(hours=1)


async def create(company: Company, client: QboClient, wanted: DesiredDocument, requestid: str = "r1") -> Answer:
    """Send a create."""
    request = request_for(company, wanted, Operation.CREATE, requestid, mapping.create_body(wanted))
    return await client.send(request, company.token)


async def created(company: Company, client: QboClient, wanted: DesiredDocument, requestid: str = "r1") -> BooksEntity:
    """Send a create that succeeds."""
    answer = await create(company, client, wanted, requestid)
    assert answer.kind is AnswerKind.SUCCESS, answer
    assert answer.seen
    return answer.seen


async def change(
    company: Company, client: QboClient, seen: BooksEntity, operation: Operation, body: str, requestid: str = "r2"
) -> Answer:
    """Send a change of what was seen."""
    kind = mapping.KIND[seen.entity]
    request = Request(company.realm, kind, seen.entity, operation, requestid, body, seen.qbo_id, seen.sync_token)
    return await client.send(request, company.token)


FULL: dict[str, Any] = {
    "due_date": date(2026, 4, 1),
    "memo": "für Zoë – “quoted”\nsecond line",
    "custom_fields": (CustomField(name="Quote Version", value="3"),),
    "lines": (
        InvoiceLine(quantity=Decimal("128.350"), unit_price=Decimal("14.50"), amount=Decimal("1861.08"), description="half up"),
        InvoiceLine(
            amount=Decimal("0.10"), quantity=Decimal(3), unit_price=Decimal("0.04"), description="product is not the amount"
        ),
        InvoiceLine(amount=Decimal("-5.00"), description="a credit"),
        InvoiceLine(amount=Decimal("10000.00")),
    ),
}


async def test_invoice_created_is_seen_as_wanted(company: Company, client: QboClient) -> None:
    resolved = ids_of(company, term=company.books("Term")[0]["Id"], **{"custom:Quote Version": "1"})
    wanted = wanted_of(company, LedgerKind.INVOICE, invoice(**FULL), "12082", resolved)
    seen = await created(company, client, wanted)
    assert comparing.compare(wanted.fields, seen).differences == ()
    assert (seen.doc_number, seen.total, seen.balance, seen.voided) == (
        "Q-12082",
        Decimal("11856.18"),
        Decimal("11856.18"),
        False,
    )
    assert seen.marker == identity.marker(company.realm, "emr", "12082", LedgerKind.INVOICE)
    assert [row["TotalAmt"] for row in company.books("Invoice") if row["Id"] == seen.qbo_id] == [Decimal("11856.18")]


async def test_bill_and_its_payment_are_seen_as_wanted(company: Company, client: QboClient) -> None:
    resolved = ids_of(company)
    wanted = wanted_of(company, LedgerKind.BILL, bill(memo="m", due_date=date(2026, 5, 1)), "B1", resolved)
    seen = await created(company, client, wanted)
    assert comparing.compare(wanted.fields, seen).equal
    assert not comparing.paid(seen)
    bank = next(row["Id"] for row in company.books("Account") if row["AccountType"] == "Bank")
    content = BillPaymentContent(
        vendor_id=resolved.ids["vendor"], bill_id=seen.qbo_id, txn_date=date(2026, 3, 5), amount=Decimal("55.10")
    )
    payment = wanted_of(company, LedgerKind.BILL_PAYMENT, content, "B1", ids_of(company, bank_account=bank))
    paid = await created(company, client, payment, "r2")
    assert comparing.compare(payment.fields, paid).differences == ()
    after = await client.read(company.realm, "Bill", seen.qbo_id, company.token)
    assert after
    assert comparing.paid(after)
    answer = await change(company, client, paid, Operation.VOID, mapping.void_body(paid.qbo_id, paid.sync_token), "r3")
    assert answer.seen
    assert answer.seen.voided


async def test_update_changes_and_clears_every_owned_field(company: Company, client: QboClient) -> None:
    full = ids_of(company, term=company.books("Term")[0]["Id"], **{"custom:Quote Version": "1"})
    before = await created(company, client, wanted_of(company, LedgerKind.INVOICE, invoice(**FULL), "7", full))
    wanted = wanted_of(company, LedgerKind.INVOICE, invoice(), "7")
    answer = await change(
        company, client, before, Operation.UPDATE, mapping.update_body(wanted, before.qbo_id, before.sync_token)
    )
    assert answer.seen
    assert comparing.compare(wanted.fields, answer.seen).differences == ()
    assert answer.seen.total == Decimal("21.00")
    assert answer.seen.fields["memo"] == ""
    assert "term" not in answer.seen.fields
    assert "custom.1" not in answer.seen.fields
    assert answer.seen.fields["due_date"] != "2026-04-01"


async def test_update_keeps_what_a_person_added(company: Company, client: QboClient) -> None:
    before = await created(company, client, wanted_of(company, LedgerKind.INVOICE, invoice(), "7"))
    company.person("edit", "Invoice", before.qbo_id, CustomerMemo={"value": "thank you"})
    now = await client.read(company.realm, "Invoice", before.qbo_id, company.token)
    assert now
    assert now.sync_token != before.sync_token
    wanted = wanted_of(company, LedgerKind.INVOICE, invoice(memo="new"), "7")
    answer = await change(company, client, now, Operation.UPDATE, mapping.update_body(wanted, now.qbo_id, now.sync_token))
    assert answer.seen
    assert answer.seen.raw["CustomerMemo"] == {"value": "thank you"}


async def test_void_and_restore_keep_id_and_number(company: Company, client: QboClient) -> None:
    wanted = wanted_of(company, LedgerKind.INVOICE, invoice(), "8")
    seen = await created(company, client, wanted)
    void = await change(company, client, seen, Operation.VOID, mapping.void_body(seen.qbo_id, seen.sync_token))
    assert void.seen
    assert (void.seen.voided, void.seen.doc_number, void.seen.marker) == (True, "Q-8", seen.marker)
    back = await change(
        company, client, void.seen, Operation.UPDATE, mapping.update_body(wanted, seen.qbo_id, void.seen.sync_token), "r3"
    )
    assert back.seen
    assert (back.seen.voided, back.seen.qbo_id, back.seen.total) == (False, seen.qbo_id, Decimal("21.00"))
    assert comparing.compare(wanted.fields, back.seen).equal


async def test_delete_is_confirmed_and_read_as_gone(company: Company, client: QboClient) -> None:
    seen = await created(company, client, wanted_of(company, LedgerKind.BILL, bill(), "9"))
    answer = await change(company, client, seen, Operation.DELETE, mapping.delete_body(seen.qbo_id, seen.sync_token))
    assert (answer.kind, answer.deleted, answer.seen) == (AnswerKind.SUCCESS, True, None)
    assert await client.read(company.realm, "Bill", seen.qbo_id, company.token) is None
    again = await change(company, client, seen, Operation.DELETE, mapping.delete_body(seen.qbo_id, seen.sync_token), "r3")
    assert (again.kind, again.intuit_code) == (AnswerKind.CONFLICT, "610")


async def test_same_requestid_gives_the_first_answer_again(company: Company, client: QboClient) -> None:
    wanted = wanted_of(company, LedgerKind.INVOICE, invoice(), "10")
    first, second = await created(company, client, wanted), await created(company, client, wanted)
    assert first.qbo_id == second.qbo_id
    assert sum(row.get("DocNumber") == "Q-10" for row in company.books("Invoice")) == 1


async def test_duplicate_number_names_the_other_document(company: Company, client: QboClient) -> None:
    wanted = wanted_of(company, LedgerKind.INVOICE, invoice(), "11")
    first = await created(company, client, wanted)
    answer = await create(company, client, wanted, "another")
    assert (answer.kind, answer.intuit_code, answer.conflicting_id) == (AnswerKind.CONFLICT, "6140", first.qbo_id)


async def test_stale_sync_token_is_a_conflict(company: Company, client: QboClient) -> None:
    seen = await created(company, client, wanted_of(company, LedgerKind.INVOICE, invoice(), "12"))
    company.person("edit", "Invoice", seen.qbo_id, CustomerMemo={"value": "x"})
    answer = await change(company, client, seen, Operation.VOID, mapping.void_body(seen.qbo_id, seen.sync_token))
    assert (answer.kind, answer.intuit_code) == (AnswerKind.CONFLICT, "5010")


@pytest.mark.parametrize(
    ("fault", "more"),
    [
        ("commit_then_reset", {}), ("commit_then_504", {}), ("reset", {}), ("gateway_timeout", {}), ("server_error", {}),
        ("server_error", {"commit": True}), ("html_503", {}), ("html_503", {"commit": True}),
        ("commit_then_timeout", {"hold": 30}),
        ("drop_before_commit", {"hold": 0}), ("fault", {"code": "10000"}), ("fault", {"code": "6000", "status": 500}),
        ("fault", {"code": "6000", "detail": "An unexpected error occurred. -30003"}), ("fault", {"code": "600"}),
        ("fault", {"code": "1010"}), ("fault", {"code": "150"}),
    ],
)  # fmt: skip
async def test_no_sure_answer_is_silence(company: Company, fault: str, more: dict[str, Any]) -> None:
    client = QboClient(settings_for(company, qbo_request_timeout_seconds=3 if fault == "commit_then_timeout" else 30))
    company.fault(fault, match={"method": "POST"}, **more)
    answer = await create(company, client, wanted_of(company, LedgerKind.INVOICE, invoice(), "13"))
    await client.close()
    assert (answer.kind, answer.seen, answer.halt) == (AnswerKind.SILENCE, None, False)
    assert len(company.requests(operation="create")) == 1, "nothing below the journal retries"


@pytest.mark.parametrize("format_", ["json", "xml"])
async def test_throttle_is_a_refusal(company: Company, client: QboClient, format_: str) -> None:
    company.fault("throttle", format=format_, retry_after=7)
    answer = await create(company, client, wanted_of(company, LedgerKind.INVOICE, invoice(), "14"))
    assert (answer.kind, answer.throttled, answer.code, answer.retry_after) == (AnswerKind.REFUSAL, True, Code.RATE_LIMIT, 7)


async def test_expired_token_is_a_refusal(company: Company, client: QboClient) -> None:
    company.sandbox.control("POST", "tokens", {"expire_access": True, "realm": company.realm})
    answer = await create(company, client, wanted_of(company, LedgerKind.INVOICE, invoice(), "15"))
    assert (answer.kind, answer.unauthorized, answer.throttled) == (AnswerKind.REFUSAL, True, False)
    with pytest.raises(ReadRefused) as refused:
        await client.read(company.realm, "Invoice", "1", company.token)
    assert refused.value.answer.unauthorized


async def test_wrong_company_halts(company: Company, client: QboClient) -> None:
    other = company.sandbox.company()
    wanted = wanted_of(company, LedgerKind.INVOICE, invoice(), "16")
    request = request_for(company, wanted, Operation.CREATE, "r", mapping.create_body(wanted))
    answer = await client.send(request, other.token)
    assert (answer.halt, answer.disposition, answer.intuit_code) == (True, Disposition.HALT, "3100")


@pytest.mark.parametrize(
    ("code", "kind", "disposition"),
    [
        ("6190", AnswerKind.REFUSAL, Disposition.HALT), ("6210", AnswerKind.ERROR, Disposition.HOLD),
        ("5020", AnswerKind.REFUSAL, Disposition.HALT), ("5030", AnswerKind.ERROR, Disposition.REJECT),
        ("120", AnswerKind.REFUSAL, Disposition.HALT), ("6000", AnswerKind.ERROR, Disposition.REJECT),
        ("2050", AnswerKind.ERROR, Disposition.REJECT), ("2500", AnswerKind.ERROR, Disposition.RETRY),
        ("6070", AnswerKind.ERROR, Disposition.HOLD),
    ],
)  # fmt: skip
async def test_codes_are_classified_by_the_table(
    company: Company,
    client: QboClient,
    code: str,
    kind: AnswerKind,
    disposition: Disposition,
) -> None:
    company.fault("fault", code=code, match={"operation": "create"})
    answer = await create(company, client, wanted_of(company, LedgerKind.INVOICE, invoice(), "17"))
    assert (answer.kind, answer.disposition, answer.intuit_code) == (kind, disposition, code)
    assert answer.reason
    assert answer.fix
    assert answer.intuit_tid


async def test_closed_books_hold_and_ended_subscription_halts(company: Company, client: QboClient) -> None:
    company.sandbox.control("POST", "preferences", {"realm": company.realm, "BookCloseDate": "2026-12-31"})
    answer = await create(company, client, wanted_of(company, LedgerKind.INVOICE, invoice(), "18"))
    assert (answer.kind, answer.disposition) == (AnswerKind.ERROR, Disposition.HOLD)
    company.sandbox.control("POST", "companies", {"realm": company.realm, "subscription_ended": True})
    answer = await create(company, client, wanted_of(company, LedgerKind.INVOICE, invoice(), "18"), "r2")
    assert (answer.intuit_code, answer.halt) == ("6190", True)


# ----------------------------------------------------------------------------------------------------------------- batches


def items_of(company: Company, *wanted: DesiredDocument) -> tuple[BatchItem, ...]:
    return tuple(
        BatchItem(f"i{number}", request_for(company, one, Operation.CREATE, f"b{number}", mapping.create_body(one)))
        for number, one in enumerate(wanted)
    )


async def test_batch_answers_item_by_item(company: Company, client: QboClient) -> None:
    good = [wanted_of(company, LedgerKind.INVOICE, invoice(memo=str(n)), f"20{n}") for n in range(3)]
    broken = wanted_of(company, LedgerKind.INVOICE, invoice(), "209", ids_of(company, **{"item:default": "999999"}))
    old = await created(company, client, wanted_of(company, LedgerKind.BILL, bill(), "21"))
    void_me = await created(company, client, wanted_of(company, LedgerKind.INVOICE, invoice(), "22"), "r9")
    items = items_of(company, *good, broken)
    delete = Request(
        company.realm, LedgerKind.BILL, "Bill", Operation.DELETE, "d", mapping.delete_body(old.qbo_id, old.sync_token), old.qbo_id
    )
    void = Request(
        company.realm, LedgerKind.INVOICE, "Invoice", Operation.VOID, "v",
        mapping.void_body(void_me.qbo_id, void_me.sync_token), void_me.qbo_id,
    )  # fmt: skip
    items += (BatchItem("del", delete), BatchItem("void", void))
    batch = BatchRequest(company.realm, "batch-1", mapping.batch_body(items), items)
    answers = await client.send_batch(batch, company.token)
    assert isinstance(answers, dict)
    for number, wanted in enumerate(good):
        seen = answers[f"i{number}"].seen
        assert seen
        assert comparing.compare(wanted.fields, seen).equal
    assert (answers["i3"].kind, answers["i3"].intuit_code) == (AnswerKind.ERROR, "2500")
    assert answers["del"].deleted
    assert answers["void"].seen
    assert answers["void"].seen.voided
    again = await client.send_batch(batch, company.token)
    assert isinstance(again, dict)
    assert {b_id: a.seen and a.seen.qbo_id for b_id, a in again.items()} == {
        b_id: a.seen and a.seen.qbo_id for b_id, a in answers.items()
    }


async def test_batch_item_that_is_missing_or_throttled(company: Company, client: QboClient) -> None:
    items = items_of(company, *(wanted_of(company, LedgerKind.INVOICE, invoice(), f"30{n}") for n in range(2)))
    unknown = replace(items[1], b_id="other")
    batch = BatchRequest(company.realm, "batch-2", mapping.batch_body(items), (items[0], unknown))
    answers = await client.send_batch(batch, company.token)
    assert isinstance(answers, dict)
    assert answers["other"].kind is AnswerKind.SILENCE
    company.fault("item_throttle")
    answers = await client.send_batch(replace(batch, requestid="batch-3", items=items), company.token)
    assert isinstance(answers, dict)
    assert {answer.kind for answer in answers.values()} == {AnswerKind.REFUSAL, AnswerKind.CONFLICT}


async def test_batch_cut_off_is_silence(company: Company, client: QboClient) -> None:
    items = items_of(company, *(wanted_of(company, LedgerKind.INVOICE, invoice(), f"31{n}") for n in range(8)))
    company.fault("batch_cut", after=5)
    answer = await client.send_batch(BatchRequest(company.realm, "b", mapping.batch_body(items), items), company.token)
    assert isinstance(answer, Answer)
    assert answer.kind is AnswerKind.SILENCE


# ---------------------------------------------------------------------------------------------------------------- look-ups


async def find(company: Company, client: QboClient, kind: LedgerKind, key: str, **more: Any) -> list[BooksEntity]:
    arguments: dict[str, Any] = {
        "doc_number": identity.doc_number(POLICY, "emr", key),
        "marker": identity.marker(company.realm, "emr", key, kind),
        "since": LONG_AGO,
        "name": None,
        "token": company.token,
    }
    return await client.find(company.realm, mapping.ENTITY[kind], **{**arguments, **more})


async def test_find_by_number_and_by_time(company: Company, client: QboClient) -> None:
    seen = await created(company, client, wanted_of(company, LedgerKind.INVOICE, invoice(), "40"))
    assert [one.qbo_id for one in await find(company, client, LedgerKind.INVOICE, "40")] == [seen.qbo_id]
    assert [one.qbo_id for one in await find(company, client, LedgerKind.INVOICE, "40", doc_number=None)] == [seen.qbo_id]
    assert await find(company, client, LedgerKind.INVOICE, "41") == []
    later = datetime.now(UTC) + timedelta(hours=1)
    assert await find(company, client, LedgerKind.INVOICE, "40", doc_number=None, since=later) == []


async def test_find_sees_a_document_whose_number_a_person_changed(company: Company, client: QboClient) -> None:
    seen = await created(company, client, wanted_of(company, LedgerKind.INVOICE, invoice(), "42"))
    company.person("edit", "Invoice", seen.qbo_id, DocNumber="X-1")
    assert [one.qbo_id for one in await find(company, client, LedgerKind.INVOICE, "42")] == [seen.qbo_id]


async def test_find_returns_a_stranger_with_our_number(company: Company, client: QboClient) -> None:
    (stranger,) = company.load(
        "Invoice",
        {
            "CustomerRef": {"value": company.books("Customer")[0]["Id"]}, "DocNumber": "Q-43",
            "Line": [{"Amount": 5, "DetailType": "SalesItemLineDetail", "SalesItemLineDetail": {}}],
        },
    )  # fmt: skip
    found = await find(company, client, LedgerKind.INVOICE, "43")
    assert [(one.qbo_id, one.marker) for one in found] == [(stranger, None)]


@pytest.mark.parametrize(
    "name", ["O'Brien & Sons", "D’Angelo “The Best” – Inc…", "100% Wool", "Back\\slash Ltd", "Zoë Ünal", "Smith + Co", "a  b"]
)
async def test_find_name_with_every_sign(company: Company, client: QboClient, name: str) -> None:
    seen = await created(company, client, wanted_of(company, LedgerKind.CUSTOMER, NameContent(name=name), name))
    found = await find(company, client, LedgerKind.CUSTOMER, name, name=name)
    assert [one.qbo_id for one in found] == [seen.qbo_id]
    assert [one.qbo_id for one in await find(company, client, LedgerKind.CUSTOMER, name, name=f" {name.upper()} ")] == [
        seen.qbo_id
    ]
    assert await find(company, client, LedgerKind.VENDOR, name, name=name) == []


async def test_find_name_sees_inactive_ones(company: Company, client: QboClient) -> None:
    seen = await created(company, client, wanted_of(company, LedgerKind.VENDOR, NameContent(name="Gone & Co"), "x"))
    company.person("edit", "Vendor", seen.qbo_id, Active=False)
    found = await find(company, client, LedgerKind.VENDOR, "x", name="gone & co")
    assert [(one.qbo_id, one.raw["Active"]) for one in found] == [(seen.qbo_id, False)]


@pytest.mark.parametrize("fault", ["server_error", "html_503", "gateway_timeout", "reset", "throttle"])
async def test_failed_look_up_is_not_absence(company: Company, client: QboClient, fault: str) -> None:
    company.fault(fault, match={"method": "GET"})
    with pytest.raises(LookupFailed):
        await find(company, client, LedgerKind.INVOICE, "44")
    company.fault(fault, match={"method": "GET"})
    with pytest.raises(LookupFailed):
        await client.read(company.realm, "Invoice", "1", company.token)


async def test_query_reads_every_page(company: Company, client: QboClient) -> None:
    company.load("Customer", *({"DisplayName": f"Many {n}"} for n in range(1203)))
    statement = "select * from Customer where DisplayName like 'Many %'"
    rows = await client.query(company.realm, statement, company.token)
    assert len({row["Id"] for row in rows}) == len(rows) == 1203


async def test_changes_tell_creates_updates_and_deletes(company: Company, client: QboClient) -> None:
    since = datetime.now(UTC) - timedelta(minutes=5)
    kept = await created(company, client, wanted_of(company, LedgerKind.INVOICE, invoice(), "50"))
    gone = await created(company, client, wanted_of(company, LedgerKind.BILL, bill(), "51"), "r2")
    await change(company, client, gone, Operation.DELETE, mapping.delete_body(gone.qbo_id, gone.sync_token), "r3")
    found = await client.changes(company.realm, ["Invoice", "Bill", "BillPayment"], since, company.token)
    assert Deleted("Bill", gone.qbo_id, LedgerKind.BILL) in found
    assert [one.marker for one in found if isinstance(one, BooksEntity) and one.qbo_id == kept.qbo_id] == [kept.marker]


async def test_changes_of_several_entities_are_asked_apart_at_the_cap(company: Company, client: QboClient) -> None:
    company.load("Customer", *({"DisplayName": f"Half {n}"} for n in range(600)))
    company.load("Vendor", *({"DisplayName": f"Other half {n}"} for n in range(600)))
    since = datetime.now(UTC) - timedelta(minutes=5)
    with pytest.raises(FeedFull) as full:
        await client.changes(company.realm, ["Customer", "Vendor"], since, company.token)
    assert len(full.value.changes) == 1000  # the newest
    found = [c for e in ("Customer", "Vendor") for c in await client.changes(company.realm, [e], since, company.token)]
    assert len({(one.entity, one.qbo_id) for one in found}) >= 1200


async def test_reads_that_are_refused_tell_whom_it_concerns(company: Company, client: QboClient) -> None:
    told: list[tuple[str, AccessToken]] = []
    client.transport.on_unauthorized = lambda realm, token: told.append((realm, token))
    token = company.token
    company.fault("unauthorized", match={"method": "GET"})
    with pytest.raises(LookupFailed):
        await client.read(company.realm, "Invoice", "1", token)
    assert told == [(company.realm, token)]
    company.sandbox.control("POST", "companies", {"realm": company.realm, "subscription_ended": True})
    with pytest.raises(HaltError, match="subscription"):
        await client.read(company.realm, "Invoice", "1", token)


async def test_changes_at_the_cap_or_too_far_back_fail(company: Company, client: QboClient) -> None:
    company.load("Customer", *({"DisplayName": f"Cap {n}"} for n in range(1000)))
    with pytest.raises(LookupFailed, match="cap"):
        await client.changes(company.realm, ["Customer"], datetime.now(UTC) - timedelta(minutes=5), company.token)
    with pytest.raises(LookupFailed, match="30 days"):
        await client.changes(company.realm, ["Customer"], datetime.now(UTC) - timedelta(days=40), company.token)


async def test_nobody_listens_is_silence(company: Company) -> None:
    client = QboClient(settings_for(company, qbo_base_url="http://127.0.0.1:9"))
    answer = await create(company, client, wanted_of(company, LedgerKind.INVOICE, invoice(), "60"))
    assert answer.kind is AnswerKind.SILENCE
    with pytest.raises(LookupFailed):
        await client.read(company.realm, "Invoice", "1", AccessToken("x" * 30, LONG_AGO))
    await client.close()


async def test_due_date_that_stays_while_the_date_moves(company: Company, client: QboClient) -> None:
    due = {"due_date": date(2026, 4, 1)}
    before = await created(company, client, wanted_of(company, LedgerKind.INVOICE, invoice(**due), "70"))
    wanted = wanted_of(company, LedgerKind.INVOICE, invoice(**due, txn_date=date(2026, 3, 9)), "70")
    body = mapping.update_body(wanted, before.qbo_id, before.sync_token)
    answer = await change(company, client, before, Operation.UPDATE, body)
    assert answer.seen
    assert comparing.compare(wanted.fields, answer.seen).differences == ()
