"""python-quickbooks from PyPI, unchanged, against the QuickBooks stand-in over HTTP: create, read, update, void, delete, query,
batch, changes, reports, PDF, send."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from conformance_parts import Qbo
from quickbooks import QuickBooks
from quickbooks.batch import batch_create, batch_delete, batch_update
from quickbooks.cdc import change_data_capture
from quickbooks.exceptions import (
    ObjectNotFoundException,
    QuickbooksException,
    SevereException,
    ValidationException,
)
from quickbooks.objects import (
    Account,
    Bill,
    BillPayment,
    Budget,
    CheckPayment,
    Class,
    CompanyInfo,
    CreditMemo,
    Customer,
    Department,
    Deposit,
    DepositLine,
    DepositLineDetail,
    DiscountLine,
    DiscountLineDetail,
    EmailAddress,
    Employee,
    Estimate,
    Invoice,
    Item,
    JournalEntry,
    JournalEntryLine,
    JournalEntryLineDetail,
    LinkedTxn,
    Payment,
    PaymentMethod,
    Preferences,
    Purchase,
    PurchaseOrder,
    RefundReceipt,
    SalesReceipt,
    TaxAgency,
    TaxCode,
    TaxRate,
    TaxRateDetails,
    TaxService,
    Term,
    TimeActivity,
    Transfer,
    Vendor,
    VendorCredit,
)
from quickbooks.objects.companycurrency import CompanyCurrency
from quickbooks.objects.customertype import CustomerType
from quickbooks_objects import applied, bill, bought, customer, fill, invoice, paid, ref, sold, spent, vendor


def test_invoice_is_created_as_the_library_sends_it_and_read_back(qb: QuickBooks) -> None:
    made = invoice(qb, Decimal("128.35"), "1038")
    read = Invoice.get(made.Id, qb=qb)
    assert (read.DocNumber, read.TotalAmt, read.Balance, read.SyncToken) == ("1038", 128.35, 128.35, "0")
    assert read.CustomerRef.name
    assert read.DueDate
    assert read.EmailStatus == "NotSet"
    assert read.MetaData.LastUpdatedTime
    assert [line.DetailType for line in read.Line] == ["SalesItemLineDetail", "SubTotalLineDetail"]
    assert (read.Line[0].Id, read.Line[0].LineNum, read.Line[0].SalesItemLineDetail.ItemRef.name) == ("1", 1, "Services")
    assert made.to_json() == read.to_json()


def test_decimal_reading_is_exact(qbo: Qbo, qb: QuickBooks) -> None:
    exact = qbo.client(use_decimal=True)
    made = invoice(exact, Decimal("1861.08"), None)
    assert Invoice.get(made.Id, qb=exact).TotalAmt == Decimal("1861.08")


def test_full_update_echoes_all_and_clears_what_is_left_out(qb: QuickBooks) -> None:
    made = invoice(qb, 100, "A-1", PrivateNote="to be cleared")
    made.PrivateNote = None  # the library leaves a None out: a full update then empties the property
    made.Line[0].Amount = 150
    changed = made.save(qb=qb)
    assert (changed.SyncToken, changed.TotalAmt, changed.DocNumber) == ("1", 150.0, "A-1")
    assert not Invoice.get(made.Id, qb=qb).PrivateNote
    assert len(changed.Line) == 2, "the SubTotal line that was echoed is not taken for another line"


def test_sparse_update_touches_the_named_fields_only(qb: QuickBooks) -> None:
    made = invoice(qb, 100, "A-2", PrivateNote="stays")
    answer = qb.update_object("Invoice", json.dumps({"Id": made.Id, "SyncToken": "0", "sparse": True, "DocNumber": "A-3"}))
    read = Invoice.from_json(answer["Invoice"])
    assert (read.DocNumber, read.PrivateNote, read.TotalAmt, read.SyncToken) == ("A-3", "stays", 100.0, "1")


def test_stale_token_is_5010(qb: QuickBooks) -> None:
    made = invoice(qb)
    old = Invoice.get(made.Id, qb=qb)
    made.PrivateNote = "first"
    made.save(qb=qb)
    with pytest.raises(QuickbooksException) as stale:
        old.save(qb=qb)
    assert stale.value.error_code == 5010
    assert stale.value.message == "Stale Object Error"


def test_delete_then_read_is_610(qb: QuickBooks) -> None:
    made = invoice(qb)
    answer = made.delete(qb=qb)
    assert {k: answer["Invoice"][k] for k in ("status", "domain", "Id")} == {"status": "Deleted", "domain": "QBO", "Id": made.Id}
    with pytest.raises(ObjectNotFoundException):
        Invoice.get(made.Id, qb=qb)
    assert Invoice.filter(Id=made.Id, qb=qb) == []


def test_void_of_each_kind_that_the_library_voids(qb: QuickBooks) -> None:
    owed = invoice(qb, 80)
    payment = paid(qb, 50, owed)
    assert Invoice.get(owed.Id, qb=qb).Balance == 30.0
    payment.void(qb=qb)
    voided = Payment.get(payment.Id, qb=qb)
    assert (voided.TotalAmt, voided.Line) == (0, [])
    assert voided.PrivateNote.startswith("Voided")
    owed = Invoice.get(owed.Id, qb=qb)
    assert (owed.Balance, owed.LinkedTxn) == (80.0, [])
    owed.void(qb=qb)
    voided = Invoice.get(owed.Id, qb=qb)
    assert (voided.TotalAmt, voided.Balance) == (0, 0)
    assert voided.PrivateNote.startswith("Voided")
    assert voided.Line[0].Amount == 0

    receipt = fill(SalesReceipt(), CustomerRef=ref("1"), Line=[sold(20)]).save(qb=qb)
    receipt.void(qb=qb)
    assert SalesReceipt.get(receipt.Id, qb=qb).TotalAmt == 0

    due = bill(qb, 70)
    check = fill(CheckPayment(), BankAccountRef=ref("35"))
    settled = fill(
        BillPayment(), VendorRef=ref("51"), PayType="Check", TotalAmt=70, CheckPayment=check, Line=[applied(70, due)]
    ).save(qb=qb)
    assert Bill.get(due.Id, qb=qb).Balance == 0
    settled.void(qb=qb)
    assert BillPayment.get(settled.Id, qb=qb).TotalAmt == 0
    assert Bill.get(due.Id, qb=qb).Balance == 70.0


def test_equal_request_id_gives_the_first_answer_again(qb: QuickBooks) -> None:
    key = str(uuid.uuid4())
    first = fill(Invoice(), CustomerRef=ref("1"), Line=[sold(10)]).save(qb=qb, request_id=key)
    again = fill(Invoice(), CustomerRef=ref("1"), Line=[sold(10)]).save(qb=qb, request_id=key)
    assert first.Id == again.Id
    assert Invoice.count(qb=qb) == 1


def test_duplicate_number_is_6140_and_can_be_allowed(qb: QuickBooks) -> None:
    first = invoice(qb, 1, "D-1")
    with pytest.raises(QuickbooksException) as refused:
        invoice(qb, 1, "D-1")
    assert refused.value.error_code == 6140
    assert f"TxnId={first.Id}" in refused.value.detail
    second = fill(Invoice(), CustomerRef=ref("1"), Line=[sold(1)], DocNumber="D-1")
    assert second.save(qb=qb, params={"include": "allowduplicatedocnum"}).Id != first.Id


def test_name_of_a_vendor_is_taken_for_a_customer_too(qb: QuickBooks) -> None:
    vendor(qb, "Taken")
    with pytest.raises(QuickbooksException) as refused:
        customer(qb, "taken")
    assert refused.value.error_code == 6240
    assert "Duplicate Name Exists Error" in refused.value.message


def test_wrapped_body_and_unknown_property_are_refused(qb: QuickBooks) -> None:
    for body in ({"Customer": {"DisplayName": "Wrapped"}}, {"DisplayName": "Right", "Nickname": "No"}):
        with pytest.raises(ValidationException) as refused:
            qb.create_object("Customer", json.dumps(body))
        assert refused.value.error_code == 2010


def test_amount_unlike_quantity_times_price_is_6070(qb: QuickBooks) -> None:
    line = sold(Decimal("1861.08"), Qty=Decimal("128.350"), UnitPrice=Decimal("14.50"))
    assert fill(Invoice(), CustomerRef=ref("1"), Line=[line]).save(qb=qb).TotalAmt == 1861.08
    line.Amount = Decimal("1861.07")
    with pytest.raises(QuickbooksException) as refused:
        fill(Invoice(), CustomerRef=ref("1"), Line=[line]).save(qb=qb)
    assert refused.value.error_code == 6070


# ---------------------------------------------------------------------------------------------------------------- queries


def test_pages_cover_everything_once(qb: QuickBooks) -> None:
    before = Customer.count(qb=qb)
    made = batch_create([fill(Customer(), DisplayName=f"Paged {n:03}") for n in range(130)], qb=qb)
    assert not made.faults
    pages = [Customer.all(start_position=start, max_results=50, order_by="DisplayName", qb=qb) for start in (1, 51, 101)]
    assert [len(page) for page in pages] == [50, 50, before + 30]
    names = [c.DisplayName for page in pages for c in page]
    assert names == sorted(names, key=str.lower)
    assert len(set(names)) == before + 130
    assert len(Customer.all(qb=qb)) == 100
    assert Customer.all(start_position=1000, qb=qb) == []
    assert Customer.count("DisplayName LIKE 'Paged 1%'", qb=qb) == 30


def test_where_filter_choose_order_and_limits(qb: QuickBooks) -> None:
    for name in ("O'Neil & Sons", "100% Beef", "Plain, Inc."):
        customer(qb, name)
    assert [c.DisplayName for c in Customer.filter(DisplayName="O'Neil & Sons", qb=qb)] == ["O'Neil & Sons"]
    chosen = Customer.choose(["O'Neil & Sons", "Plain, Inc.", "Nobody"], field="DisplayName", qb=qb)
    assert {c.DisplayName for c in chosen} == {"O'Neil & Sons", "Plain, Inc."}
    found = Customer.where("Active = true AND DisplayName LIKE 'P%'", order_by="DisplayName DESC", max_results=1, qb=qb)
    assert [c.DisplayName for c in found] == ["Plain, Inc."]
    assert len(Customer.filter(Active=True, start_position=2, max_results=3, qb=qb)) == 3
    ids = [c.Id for c in found]
    assert [c.Id for c in Customer.choose(ids, qb=qb)] == ids
    assert Customer.where("DisplayName = 'nobody at all'", qb=qb) == []
    assert Customer.query("SELECT Id, DisplayName FROM Customer STARTPOSITION 1 MAXRESULTS 2", qb=qb)[1].DisplayName


def test_items_come_with_their_sku(qb: QuickBooks) -> None:
    fields = {
        "Name": "Gauze",
        "Type": "NonInventory",
        "Sku": "G-1",
        "IncomeAccountRef": ref("79"),
        "ExpenseAccountRef": ref("20"),
    }
    fill(Item(), **fields).save(qb=qb)
    assert {i.Sku for i in Item.all(qb=qb)} >= {"G-1", None}
    assert Item.filter(Name="Gauze", qb=qb)[0].Type == "NonInventory"


def test_inactive_names_are_hidden_unless_asked_for(qb: QuickBooks) -> None:
    gone = customer(qb, "Gone Soon")
    gone.Active = False
    gone = gone.save(qb=qb)
    assert gone.DisplayName == "Gone Soon (deleted)"
    assert Customer.where("DisplayName LIKE 'Gone%'", qb=qb) == []
    assert [c.Id for c in Customer.where("Active IN (true, false) AND DisplayName LIKE 'Gone%'", qb=qb)] == [gone.Id]


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("SELECT * FROM Customer WHERE DisplayName == 'x'", 4000),
        ("SELECT * FROM Customer WHERE AcctNum = 'x'", 4001),
        ("SELECT * FROM Customer WHERE DisplayName = 'O''Neil'", 4000),
        ("SELECT * FROM Customer WHERE DisplayName = 'a' OR Id = '1'", 4000),
        ("SELECT * FROM Nothing", 4001),
        ("SELECT * FROM Customer MAXRESULTS 1001", 4001),
    ],
)
def test_bad_queries_are_validation_exceptions(qb: QuickBooks, statement: str, code: int) -> None:
    with pytest.raises(ValidationException) as refused:
        Customer.query(statement, qb=qb)
    assert refused.value.error_code == code


def test_non_ascii_statement_in_a_post_body(qb: QuickBooks) -> None:
    made = customer(qb, "Zoë Müller 名")
    assert made.DisplayName == "Zoë Müller 名"
    assert [c.Id for c in Customer.filter(DisplayName="Zoë Müller 名", qb=qb)] == [made.Id]


LISTED: tuple[Any, ...] = (
    Account, Bill, BillPayment, Budget, Class, CompanyCurrency, CreditMemo, Customer, CustomerType, Department, Deposit, Employee,
    Estimate, Invoice, Item, JournalEntry, Payment, PaymentMethod, Purchase, PurchaseOrder, RefundReceipt, SalesReceipt,
    TaxAgency, TaxCode, TaxRate, Term, TimeActivity, Transfer, Vendor, VendorCredit,
)  # fmt: skip


@pytest.mark.parametrize("kind", LISTED, ids=lambda kind: str(kind.__name__))
def test_every_kind_is_listed_filtered_by_time_and_counted(qb: QuickBooks, kind: Any) -> None:
    rows = kind.all(qb=qb)
    assert len(kind.where("MetaData.LastUpdatedTime >= '2015-01-01T00:00:00-08:00'", qb=qb)) == len(rows)
    assert kind.where("MetaData.LastUpdatedTime >= '2099-01-01'", qb=qb) == []
    assert kind.count(qb=qb) == len(rows)
    for row in rows[:2]:
        assert kind.get(row.Id, qb=qb).SyncToken == "0"


def test_company_info_and_preferences(qbo: Qbo, qb: QuickBooks) -> None:
    company = CompanyInfo.get(qbo.realm, qb=qb)
    assert company.CompanyAddr.City
    assert CompanyInfo.all(qb=qb)[0].CompanyName == company.CompanyName
    preferences = Preferences.get(qb=qb)
    assert preferences.SalesFormsPrefs.CustomTxnNumbers is True
    assert preferences.CurrencyPrefs.HomeCurrency.value == "USD"
    assert preferences.AccountingInfoPrefs.ClassTrackingPerTxnLine is True


# ------------------------------------------------------------------------------------------------- batch, changes, documents


def test_batch_create_update_delete_across_the_limit_of_thirty(qb: QuickBooks) -> None:
    wanted = [fill(Invoice(), CustomerRef=ref("1"), Line=[sold(n)], DocNumber=f"B-{n}") for n in range(1, 41)]
    made = batch_create(wanted, qb=qb)
    assert (len(made.successes), made.faults) == (40, [])
    for one in made.successes:
        one.PrivateNote = f"was {one.DocNumber}"
    changed = batch_update(made.successes, qb=qb)
    assert {one.PrivateNote for one in changed.successes} == {f"was B-{n}" for n in range(1, 41)}
    assert {one.SyncToken for one in changed.successes} == {"1"}
    gone = batch_delete(changed.successes, qb=qb)  # whole documents
    assert {one.status for one in gone.successes} == {"Deleted"}
    assert Invoice.count(qb=qb) == 0


def test_batch_faults_belong_to_their_items(qb: QuickBooks) -> None:
    good, bad = (fill(Customer(), DisplayName=name) for name in ("Good", "Bad:Name"))
    done = batch_create([good, bad], qb=qb)
    assert [c.DisplayName for c in done.successes] == ["Good"]
    (fault,) = done.faults
    assert fault.original_object is bad
    assert fault.Error[0].code == "2040"
    assert fault.Error[0].Message


def test_batch_of_queries_only(qb: QuickBooks) -> None:
    items = [{"bId": str(uuid.uuid4()), "Query": f"select * from {kind.qbo_object_name}"} for kind in LISTED[:29]]
    answers = qb.batch_operation(json.dumps({"BatchItemRequest": items}))["BatchItemResponse"]
    assert {a["bId"] for a in answers} == {i["bId"] for i in items}
    assert all("QueryResponse" in a for a in answers)


def test_changes_since_a_time_with_deleted_stubs(qb: QuickBooks) -> None:
    since = datetime.now(UTC) - timedelta(seconds=5)
    kept, gone = invoice(qb, 5), invoice(qb, 6)
    gone.delete(qb=qb)
    named = customer(qb, "Changed")
    changes = change_data_capture([Invoice, Customer, Bill], since.isoformat(timespec="seconds"), qb=qb)
    assert {i.Id: getattr(i, "status", None) for i in changes.Invoice} == {kept.Id: None, gone.Id: "Deleted"}
    assert [c.DisplayName for c in changes.Customer] == [named.DisplayName]
    assert not hasattr(changes, "Bill")
    assert next(i for i in changes.Invoice if i.Id == gone.Id).MetaData.LastUpdatedTime


def test_changes_take_a_datetime_without_offset(qb: QuickBooks) -> None:
    made = customer(qb, "Changed")
    changes = change_data_capture([Customer], datetime.now(UTC).replace(tzinfo=None) - timedelta(days=2), qb=qb)
    assert made.Id in {c.Id for c in changes.Customer}


@pytest.mark.parametrize("kinds", ["TaxCode", "TimeActivity", "Customer,TaxRate", ""])
def test_changes_of_kinds_without_change_data_are_refused(qb: QuickBooks, kinds: str) -> None:
    with pytest.raises(ValidationException):
        qb.change_data_capture(kinds, datetime.now(UTC).isoformat())


REPORTS = (
    "ProfitAndLoss", "ProfitAndLossDetail", "BalanceSheet", "CashFlow", "GeneralLedger", "TrialBalance", "AgedReceivables",
    "AgedPayables", "CustomerBalance", "CustomerSales", "VendorBalance", "VendorExpenses", "TransactionList",
)  # fmt: skip


@pytest.mark.parametrize("name", REPORTS)
def test_reports_have_intuits_shape(qb: QuickBooks, name: str) -> None:
    invoice(qb, 120)
    bill(qb, 45)
    today = datetime.now(UTC).date()
    report = qb.get_report(name, {"start_date": str(today - timedelta(days=60)), "end_date": str(today + timedelta(days=1))})
    assert report["Header"]["ReportName"]
    assert report["Header"]["Time"]
    columns = report["Columns"]["Column"]
    assert all({"ColTitle", "ColType"} <= set(column) for column in columns)

    def cells(rows: Any) -> Any:
        for row in rows.get("Row", []):
            for part in (row, row.get("Header", {}), row.get("Summary", {})):
                if "ColData" in part:
                    yield part["ColData"]
            yield from cells(row.get("Rows", {}))

    found = list(cells(report["Rows"]))
    assert found
    assert all(len(line) <= len(columns) for line in found)


def test_profit_and_loss_by_days_adds_up(qb: QuickBooks) -> None:
    invoice(qb, 120, TxnDate="2026-03-02")
    invoice(qb, 30, TxnDate="2026-03-03")
    asked = {"start_date": "2026-03-01", "end_date": "2026-03-04", "summarize_column_by": "Days"}
    report = qb.get_report("ProfitAndLoss", asked)
    columns = report["Columns"]["Column"]
    days = [{m["Name"]: m["Value"] for m in column["MetaData"]} for column in columns[1:-1]]
    assert [(day["StartDate"], day["EndDate"]) for day in days] == [(f"2026-03-0{n}", f"2026-03-0{n}") for n in range(1, 5)]
    net = next(row for row in report["Rows"]["Row"] if row.get("group") == "NetIncome")["Summary"]["ColData"]
    assert [cell["value"] or "0.00" for cell in net[1:]] == ["0.00", "120.00", "30.00", "0.00", "150.00"]


@pytest.mark.parametrize("kind", [Invoice, Estimate, SalesReceipt])
def test_pdf_of_the_kinds_that_the_library_knows(qb: QuickBooks, kind: Any) -> None:
    made = fill(kind(), CustomerRef=ref("1"), Line=[sold(10)]).save(qb=qb)
    pdf = made.download_pdf(qb)
    assert pdf.startswith(b"%PDF-")
    assert b"%%EOF" in pdf[-16:]


def test_pdf_of_nothing_is_610(qb: QuickBooks) -> None:
    with pytest.raises(ObjectNotFoundException):
        fill(Invoice(), Id="999999").download_pdf(qb)


def test_send_marks_the_document_and_replaces_the_address(qb: QuickBooks) -> None:
    made = invoice(qb, 10, BillEmail=fill(EmailAddress(), Address="first@example.com"))
    answer = made.send(qb=qb)
    assert answer["Invoice"]["EmailStatus"] == "EmailSent"
    assert answer["Invoice"]["DeliveryInfo"]["DeliveryType"] == "Email"
    made.send(qb=qb, send_to="pat+books@example.com")
    sent = Invoice.get(made.Id, qb=qb)
    assert sent.email_sent
    assert sent.BillEmail.Address == "pat+books@example.com"
    without = invoice(qb, 10, to=customer(qb, "No Address").Id)
    with pytest.raises(QuickbooksException) as refused:
        without.send(qb=qb)
    assert refused.value.error_code == 6420


def test_invoice_link_only_when_asked_for_and_payable_online(qbo: Qbo, qb: QuickBooks) -> None:
    made = invoice(qb, 10, BillEmail=fill(EmailAddress(), Address="first@example.com"))
    assert not Invoice.get(made.Id, qb=qb, params={"include": "invoiceLink"}).InvoiceLink
    qbo.control("POST", "/companies", {"realm_id": qbo.realm, "online_payments": True})
    assert Invoice.get(made.Id, qb=qb, params={"include": "invoiceLink"}).InvoiceLink.startswith("http")
    assert not Invoice.get(made.Id, qb=qb).InvoiceLink


# --------------------------------------------------------------------------------------------- every other kind, once over


def test_names_with_parents_and_terms(qb: QuickBooks) -> None:
    parent = customer(qb, "Parent")
    child = customer(qb, "Child", ParentRef=ref(parent.Id), Job=True)
    assert Customer.get(child.Id, qb=qb).FullyQualifiedName == "Parent:Child"
    for kind in (Class, Department):
        made = fill(kind(), Name="North").save(qb=qb)
        assert kind.get(made.Id, qb=qb).FullyQualifiedName == "North"
    term = fill(Term(), Name="Net 7", DueDays=7).save(qb=qb)
    due = invoice(qb, 1, TxnDate="2026-02-25", SalesTermRef=ref(term.Id)).DueDate
    assert due == "2026-03-04"
    account = fill(Account(), Name="Lasers", AccountType="Fixed Asset", AccountSubType="MachineryAndEquipment").save(qb=qb)
    assert Account.get(account.Id, qb=qb).Classification == "Asset"
    assert fill(Employee(), GivenName="Jo", FamilyName="Ng").save(qb=qb).DisplayName == "Jo Ng"
    assert fill(PaymentMethod(), Name="Barter").save(qb=qb).Active is True


def test_money_in(qb: QuickBooks) -> None:
    estimate = fill(Estimate(), CustomerRef=ref("1"), Line=[sold(10)]).save(qb=qb)
    assert estimate.TotalAmt == 10.0
    credit = fill(CreditMemo(), CustomerRef=ref("1"), Line=[sold(30)]).save(qb=qb)
    owed = invoice(qb, 100)
    zero = fill(Payment(), CustomerRef=ref("1"), TotalAmt=0, Line=[applied(30, owed), applied(30, credit)]).save(qb=qb)
    assert Invoice.get(owed.Id, qb=qb).Balance == 70.0
    assert CreditMemo.get(credit.Id, qb=qb).RemainingCredit == 0
    rest = paid(qb, 70, owed)
    assert {link.TxnId for link in Invoice.get(owed.Id, qb=qb).LinkedTxn} == {zero.Id, rest.Id}
    line = fill(DepositLine(), Amount=70, LinkedTxn=[fill(LinkedTxn(), TxnId=rest.Id, TxnType="Payment", TxnLineId="0")])
    del line.DetailType
    banked = fill(Deposit(), DepositToAccountRef=ref("35"), Line=[line]).save(qb=qb)
    assert banked.TotalAmt == 70.0
    refund = fill(RefundReceipt(), CustomerRef=ref("1"), Line=[sold(5)], DepositToAccountRef=ref("35")).save(qb=qb)
    assert refund.TotalAmt == 5.0
    for made in (banked, rest, refund, zero, estimate):
        type(made).get(made.Id, qb=qb).delete(qb=qb)  # as read now: each deletion moves the documents that it lets go
    assert Invoice.get(owed.Id, qb=qb).Balance == 100.0


def test_money_out(qb: QuickBooks) -> None:
    item = {"Name": "Brace", "Type": "NonInventory", "IncomeAccountRef": ref("79"), "ExpenseAccountRef": ref("20")}
    brace = fill(Item(), **item).save(qb=qb)
    due = fill(Bill(), VendorRef=ref("51"), Line=[spent(40), bought(60, brace.Id)]).save(qb=qb)
    assert (due.TotalAmt, due.Balance) == (100.0, 100.0)
    credit = fill(VendorCredit(), VendorRef=ref("51"), Line=[spent(25)]).save(qb=qb)
    settled = fill(
        BillPayment(),
        VendorRef=ref("51"),
        PayType="Check",
        TotalAmt=75,
        CheckPayment=fill(CheckPayment(), BankAccountRef=ref("35")),
        Line=[applied(100, due), applied(25, credit)],
    ).save(qb=qb)
    assert settled.TotalAmt == 75.0
    assert Bill.get(due.Id, qb=qb).Balance == 0
    order = fill(PurchaseOrder(), VendorRef=ref("51"), APAccountRef=ref("33"), Line=[bought(60, brace.Id)]).save(qb=qb)
    assert order.POStatus == "Open"
    cash = fill(Purchase(), PaymentType="Cash", AccountRef=ref("35"), Line=[spent(12)]).save(qb=qb)
    assert cash.TotalAmt == 12.0
    moved = fill(Transfer(), Amount=50, FromAccountRef=ref("35"), ToAccountRef=ref("36")).save(qb=qb)
    assert Transfer.get(moved.Id, qb=qb).Amount == 50.0
    for made in (moved, cash, order, settled, credit, due):
        type(made).get(made.Id, qb=qb).delete(qb=qb)


def _posting(kind: str, amount: Any, account: str) -> JournalEntryLine:
    line = fill(JournalEntryLine(), Amount=amount)
    line.JournalEntryLineDetail = fill(JournalEntryLineDetail(), PostingType=kind, AccountRef=ref(account))
    return line


def test_journals_balance_or_are_2300(qb: QuickBooks) -> None:
    lines = [_posting("Debit", 10, "15"), _posting("Credit", 10, "35")]
    made = fill(JournalEntry(), Line=lines).save(qb=qb)
    assert JournalEntry.get(made.Id, qb=qb).TotalAmt == 0
    lines[0].Amount = 11
    with pytest.raises(ValidationException) as refused:
        fill(JournalEntry(), Line=lines).save(qb=qb)
    assert refused.value.error_code == 2300


def test_other_deposit_discount_and_time(qb: QuickBooks) -> None:
    detail = fill(DepositLineDetail(), AccountRef=ref("25"))
    banked = fill(Deposit(), DepositToAccountRef=ref("35"), Line=[fill(DepositLine(), Amount=9, DepositLineDetail=detail)])
    assert banked.save(qb=qb).TotalAmt == 9.0
    discount = fill(DiscountLine(), DiscountLineDetail=fill(DiscountLineDetail(), PercentBased=True, DiscountPercent=10))
    assert fill(Invoice(), CustomerRef=ref("1"), Line=[sold(200), discount]).save(qb=qb).TotalAmt == 180.0
    fields = {"NameOf": "Employee", "EmployeeRef": ref("61"), "CustomerRef": ref("1"), "ItemRef": ref("2")}
    hours = fill(TimeActivity(), **fields, Hours=1, Minutes=30, HourlyRate=80, BillableStatus="Billable").save(qb=qb)
    assert (TimeActivity.get(hours.Id, qb=qb).Hours, hours.Minutes) == (1, 30)


def test_tax_code_through_the_tax_service(qb: QuickBooks) -> None:
    rate = fill(TaxRateDetails(), TaxRateName="County", RateValue="7.5", TaxAgencyId="1", TaxApplicableOn="Sales")
    fill(TaxService(), TaxCode="County", TaxRateDetails=[rate]).save(qb=qb)
    (code,) = TaxCode.where("Name = 'County'", qb=qb)
    taxed = fill(Invoice(), CustomerRef=ref("1"), Line=[sold(100, TaxCodeRef=ref("TAX"))])
    taxed.TxnTaxDetail = {"TxnTaxCodeRef": {"value": code.Id}}
    made = taxed.save(qb=qb)
    assert (made.TxnTaxDetail.TotalTax, made.TotalAmt) == (7.5, 107.5)


# --------------------------------------------------------------------------------------------------------------- bad days


def test_throttling_reaches_the_program_as_3001(qbo: Qbo, qb: QuickBooks) -> None:
    qbo.control("POST", "/faults", {"fault": "throttle", "count": 1})
    with pytest.raises(ValidationException) as refused:
        Customer.all(qb=qb)
    assert refused.value.error_code == 3001
    assert "ThrottleExceeded" in refused.value.message
    assert Customer.all(qb=qb)


def test_throttling_as_xml_and_503_as_html_are_no_json(qbo: Qbo, qb: QuickBooks) -> None:
    rules: list[dict[str, Any]] = [{"fault": "throttle", "format": "xml", "count": 1}, {"fault": "html_503", "count": 1}]
    for rule, text in zip(rules, ("<IntuitResponse", "<html"), strict=True):
        qbo.control("POST", "/faults", rule)
        with pytest.raises(QuickbooksException, match="Error reading json response") as refused:
            Customer.all(qb=qb)
        assert text in refused.value.message


def test_server_error_is_10000(qbo: Qbo, qb: QuickBooks) -> None:
    qbo.control("POST", "/faults", {"fault": "server_error", "count": 1})
    with pytest.raises(SevereException):
        Customer.all(qb=qb)


def test_another_companys_realm_is_403(qbo: Qbo, qb: QuickBooks) -> None:
    qb.company_id = "1234567890"
    with pytest.raises(QuickbooksException, match="403"):
        Customer.all(qb=qb)


def test_webhook_signature_is_the_librarys(qbo: Qbo, qb: QuickBooks) -> None:
    import base64
    import hashlib
    import hmac

    body = '{"eventNotifications":[]}'
    token = qbo.facts["webhook_verifier_token"]
    signature = base64.b64encode(hmac.new(token.encode(), body.encode(), hashlib.sha256).digest()).decode()
    assert qb.validate_webhook_signature(body, signature, token)
