"""Payment, CreditMemo, SalesReceipt and VendorCredit over their whole life: what they do to themselves and to what they touch."""

from __future__ import annotations

from typing import Any

import pytest

from .acts import delete, edit, void
from .bodies import bill, bill_payment, deposit, expense, invoice, line, payment
from .conftest import Books, code_of


def customer_balance(books: Books) -> Any:
    return books.get("Customer", "1")["Balance"]


def vendor_balance(books: Books) -> Any:
    return books.get("Vendor", "51")["Balance"]


def seen_by_capture(books: Books, kind: str, doc_id: str) -> dict[str, Any]:
    since = books.query("select * from CompanyInfo")["CompanyInfo"][0]["MetaData"]["CreateTime"]
    answer = books.call("GET", "cdc", params={"entities": kind, "changedSince": since}).json()
    rows = answer["CDCResponse"][0]["QueryResponse"][0].get(kind, [])
    found: dict[str, Any] = next(row for row in rows if row["Id"] == doc_id)
    return found


# -- payment -----------------------------------------------------------------------------------------------------------


def test_a_payment_over_two_invoices_with_a_rest(books: Books) -> None:
    first, second = books.make("Invoice", invoice()), books.make("Invoice", invoice(line(40)))
    paid = books.make("Payment", payment(150, ("Invoice", first["Id"], 100), ("Invoice", second["Id"], 30), PaymentRefNum="C1"))
    assert (paid["TotalAmt"], paid["UnappliedAmt"], paid["SyncToken"]) == (150, 20, "0")
    assert (paid["DepositToAccountRef"]["value"], paid["ProcessPayment"], paid["PaymentRefNum"]) == ("4", False, "C1")
    assert "DocNumber" not in paid
    assert [books.get("Invoice", doc["Id"])["Balance"] for doc in (first, second)] == [0, 10]
    assert customer_balance(books) == -10
    assert books.query("select * from Invoice where Balance = '0'")["Invoice"][0]["Id"] == first["Id"]
    found = books.query("select Id, UnappliedAmt from Payment where UnappliedAmt > '0'")["Payment"]
    assert [(row["Id"], row["UnappliedAmt"]) for row in found] == [(paid["Id"], 20)]
    assert books.query("select * from Payment where PaymentRefNum = 'C1'")["Payment"][0]["Id"] == paid["Id"]


def test_a_sparse_update_of_a_payment_keeps_its_lines(books: Books) -> None:
    owed = books.make("Invoice", invoice())
    paid = books.make("Payment", payment(70, ("Invoice", owed["Id"], 60)))
    noted = edit(books, "Payment", paid, PrivateNote="n").json()["Payment"]
    assert (noted["Line"], noted["UnappliedAmt"], noted["SyncToken"]) == (paid["Line"], 10, "1")
    assert books.get("Invoice", owed["Id"])["SyncToken"] == "1"  # of the payment, not of the note
    more = edit(books, "Payment", noted, TotalAmt=100).json()["Payment"]
    assert (more["UnappliedAmt"], books.get("Invoice", owed["Id"])["Balance"]) == (40, 40)
    assert code_of(edit(books, "Payment", more, TotalAmt=59)) == "6000"
    assert code_of(edit(books, "Payment", noted, PrivateNote="late")) == "5010"


def test_a_payment_moves_from_one_invoice_to_another(books: Books) -> None:
    first, second = books.make("Invoice", invoice()), books.make("Invoice", invoice())
    paid = books.make("Payment", payment(60, ("Invoice", first["Id"], 60)))
    moved = edit(books, "Payment", paid, Line=payment(0, ("Invoice", second["Id"], 50))["Line"]).json()["Payment"]
    assert moved["UnappliedAmt"] == 10
    now = [books.get("Invoice", doc["Id"]) for doc in (first, second)]
    assert [(doc["Balance"], len(doc["LinkedTxn"])) for doc in now] == [(100, 0), (50, 1)]
    freed = edit(books, "Payment", moved, Line=[]).json()["Payment"]
    assert (freed["UnappliedAmt"], books.get("Invoice", second["Id"])["Balance"]) == (60, 100)
    assert customer_balance(books) == 140


def test_a_full_update_without_lines_unapplies(books: Books) -> None:
    owed = books.make("Invoice", invoice())
    paid = books.make("Payment", payment(60, ("Invoice", owed["Id"], 60)))
    body = {"Id": paid["Id"], "SyncToken": "0", "CustomerRef": {"value": "1"}, "TotalAmt": 60}
    assert books.make("Payment", body)["UnappliedAmt"] == 60
    assert books.get("Invoice", owed["Id"])["Balance"] == 100


@pytest.mark.parametrize("end", [void, delete])
def test_a_payment_that_ends_lets_go_of_invoice_and_credit(books: Books, end: Any) -> None:
    owed, credit = books.make("Invoice", invoice()), books.make("CreditMemo", invoice(line(30)))
    paid = books.make("Payment", payment(50, ("Invoice", owed["Id"], 80), ("CreditMemo", credit["Id"], 30)))
    assert (paid["UnappliedAmt"], customer_balance(books)) == (0, 20)
    assert end(books, "Payment", paid).status_code == 200
    now, memo = books.get("Invoice", owed["Id"]), books.get("CreditMemo", credit["Id"])
    assert (now["Balance"], now["LinkedTxn"], now["SyncToken"]) == (100, [], "2")
    assert (memo["RemainingCredit"], memo["Balance"], memo["LinkedTxn"]) == (30, 30, [])
    assert customer_balance(books) == 70
    seen = seen_by_capture(books, "Payment", paid["Id"])
    if end is delete:
        assert seen["status"] == "Deleted"
    else:
        assert (seen["TotalAmt"], seen["UnappliedAmt"], seen["Line"], seen["PrivateNote"]) == (0, 0, [], "Voided")


def test_a_payment_is_voided_by_include_and_not_by_operation(books: Books) -> None:
    paid = books.make("Payment", payment(5, PrivateNote="n"))
    small = {"Id": paid["Id"], "SyncToken": "0"}
    assert code_of(books.post("payment", small, operation="void")) == "500"
    item = {"bId": "1", "operation": "void", "Payment": small}
    reply = books.post("batch", {"BatchItemRequest": [item]}).json()["BatchItemResponse"][0]
    assert reply["Fault"]["Error"][0]["code"] == "500"
    gone = books.post("payment", {**small, "sparse": True}, operation="update", include="void").json()["Payment"]
    assert (gone["TotalAmt"], gone["PrivateNote"], gone["SyncToken"]) == (0, "Voided - n", "1")


def test_a_payment_names_whose_documents_and_how_much(books: Books) -> None:
    owed, memo = books.make("Invoice", invoice()), books.make("CreditMemo", invoice(line(30)))
    gone = books.make("Invoice", invoice())
    void(books, "Invoice", gone)
    refused = [
        payment(50, ("Invoice", owed["Id"], 101)),
        payment(200, ("Invoice", owed["Id"], 101)),  # more than is open
        payment(0, ("Invoice", owed["Id"], 31), ("CreditMemo", memo["Id"], 31)),  # more than is left of the credit
        payment(0, ("Invoice", owed["Id"], 20), ("CreditMemo", memo["Id"], 10)),  # more than credit and money together
        payment(5, ("Invoice", gone["Id"], 5)),
    ]
    assert [code_of(books.post("payment", body)) for body in refused] == ["6000"] * len(refused)
    assert code_of(books.post("payment", payment(5, ("Invoice", "99999", 5)))) == "620"
    assert code_of(books.post("payment", payment(-5))) == "2140"
    assert books.get("Invoice", owed["Id"])["SyncToken"] == "0"


def test_payments_in_a_batch_stand_each_for_itself(books: Books) -> None:
    owed = books.make("Invoice", invoice())
    items = [{"bId": str(n), "operation": "create", "Payment": payment(60, ("Invoice", owed["Id"], 60))} for n in range(2)]
    replies = books.post("batch", {"BatchItemRequest": items}).json()["BatchItemResponse"]
    assert sorted("Fault" in reply for reply in replies) == [False, True]
    assert books.get("Invoice", owed["Id"])["Balance"] == 40


def test_the_same_request_of_a_payment_pays_once(books: Books) -> None:
    owed = books.make("Invoice", invoice())
    first, second = (books.make("Payment", payment(60, ("Invoice", owed["Id"], 60)), requestid="p1") for _ in range(2))
    assert first["Id"] == second["Id"]
    assert books.get("Invoice", owed["Id"])["Balance"] == 40


# -- credit memo -------------------------------------------------------------------------------------------------------


def test_a_credit_memo_is_used_bit_by_bit(books: Books) -> None:
    owed, memo = books.make("Invoice", invoice()), books.make("CreditMemo", invoice(line(50), DocNumber="CM1"))
    assert (memo["RemainingCredit"], memo["Balance"], memo["LinkedTxn"], memo["DocNumber"]) == (50, 50, [], "CM1")
    assert customer_balance(books) == 50
    paid = books.make("Payment", payment(0, ("Invoice", owed["Id"], 20), ("CreditMemo", memo["Id"], 20)))
    now = books.get("CreditMemo", memo["Id"])
    assert (now["RemainingCredit"], now["SyncToken"]) == (30, "1")
    assert now["LinkedTxn"] == [{"TxnId": paid["Id"], "TxnType": "Payment"}]
    assert books.query("select * from CreditMemo where RemainingCredit > '0'")["CreditMemo"][0]["Id"] == memo["Id"]
    assert code_of(edit(books, "CreditMemo", now, Line=[line(19)])) == "6000"  # less than what is used
    smaller = edit(books, "CreditMemo", now, Line=[line(25)]).json()["CreditMemo"]
    assert (smaller["RemainingCredit"], smaller["TotalAmt"]) == (5, 25)
    assert code_of(edit(books, "CreditMemo", smaller, CustomerRef={"value": "2"})) == "6000"
    assert code_of(delete(books, "CreditMemo", smaller)) == "6400"
    assert delete(books, "Payment", paid).status_code == 200
    assert delete(books, "CreditMemo", smaller).status_code == 200
    assert seen_by_capture(books, "CreditMemo", memo["Id"])["status"] == "Deleted"
    assert customer_balance(books) == 100


def test_a_credit_memo_has_numbers_like_an_invoice(books: Books) -> None:
    books.make("Invoice", invoice(DocNumber="N"))
    made = books.make("CreditMemo", invoice(DocNumber="N"))  # unique for each kind
    assert code_of(books.post("creditmemo", invoice(DocNumber="N"))) == "6140"
    assert books.make("CreditMemo", invoice(DocNumber="N"), include="allowduplicatedocnum")["DocNumber"] == "N"
    assert books.query("select * from CreditMemo where DocNumber = 'N'")["CreditMemo"][0]["Id"] == made["Id"]
    assert "DocNumber" not in books.make("CreditMemo", invoice())
    books.prefer(SalesFormsPrefs={"CustomTxnNumbers": False})
    numbers = [int(books.make(kind, invoice())["DocNumber"]) for kind in ("Invoice", "CreditMemo", "SalesReceipt")]
    assert numbers == list(range(numbers[0], numbers[0] + 3))  # one sequence for the sales forms


def test_a_credit_memo_is_voided_by_a_person_alone(books: Books) -> None:
    memo = books.make("CreditMemo", invoice(line(50), DocNumber="CM1"))
    small = {"Id": memo["Id"], "SyncToken": "0", "sparse": True}
    assert code_of(books.post("creditmemo", small, operation="void")) == "500"
    assert code_of(books.post("creditmemo", small, operation="update", include="void")) == "500"
    gone = books.person("void", "CreditMemo", memo["Id"])
    assert (gone["TotalAmt"], gone["RemainingCredit"], gone["Balance"], gone["DocNumber"]) == (0, 0, 0, "CM1")
    assert (gone["PrivateNote"], gone["SyncToken"], customer_balance(books)) == ("Voided", "1", 0)


def test_credits_are_applied_by_themselves_where_the_company_wants_it(books: Books) -> None:
    books.prefer(SalesFormsPrefs={"AutoApplyCredit": True})
    late = books.make("Invoice", invoice(TxnDate="2026-02-02"))
    early = books.make("Invoice", invoice(line(20), TxnDate="2026-01-01"))
    other = books.make("Invoice", invoice(CustomerRef={"value": "2"}))
    memo = books.make("CreditMemo", invoice(line(50)))
    assert (memo["RemainingCredit"], memo["SyncToken"]) == (50, "0")  # the answer comes first
    assert books.get("CreditMemo", memo["Id"])["RemainingCredit"] == 0
    assert [books.get("Invoice", doc["Id"])["Balance"] for doc in (early, late, other)] == [0, 70, 100]  # the oldest first
    made = books.query("select * from Payment")["Payment"]
    assert [(row["TotalAmt"], row["UnappliedAmt"], row["PrivateNote"]) for row in made] == [
        (0, 0, "Created by QB Online to link credits to charges.")
    ]
    books.make("CreditMemo", invoice(line(100)))
    assert books.get("Invoice", late["Id"])["Balance"] == 0
    new = books.make("Invoice", invoice(line(12)))  # 30 of the second credit are left
    assert (new["Balance"], books.get("Invoice", new["Id"])["Balance"]) == (12, 0)
    assert customer_balance(books) == -18


def test_credits_are_applied_on_the_day_of_the_new_document(books: Books) -> None:
    books.make("CreditMemo", invoice(line(50), TxnDate="2026-01-01"))
    books.prefer(SalesFormsPrefs={"AutoApplyCredit": True}, BookCloseDate="2198-12-31")  # today is closed, too
    owed = books.make("Invoice", invoice(TxnDate="2199-01-01"))
    assert books.get("Invoice", owed["Id"])["Balance"] == 50
    assert books.query("select * from Payment")["Payment"][0]["TxnDate"] == "2199-01-01"


def test_credits_stay_where_they_are_otherwise(books: Books) -> None:
    books.make("CreditMemo", invoice(line(50)))
    assert books.get("Invoice", books.make("Invoice", invoice())["Id"])["Balance"] == 100
    assert books.query("select * from Payment") == {}


# -- sales receipt -----------------------------------------------------------------------------------------------------


def test_a_sales_receipt_is_paid_at_once(books: Books) -> None:
    made = books.make("SalesReceipt", invoice(line(10, Qty=2, UnitPrice=5), PaymentRefNum="C7", DocNumber="SR1"))
    assert (made["TotalAmt"], made["Balance"], made["PaymentRefNum"]) == (10, 0, "C7")
    assert (made["DepositToAccountRef"]["value"], customer_balance(books)) == ("4", 0)
    changed = edit(books, "SalesReceipt", made, Line=[line(12)]).json()["SalesReceipt"]
    assert (changed["TotalAmt"], changed["DocNumber"], changed["SyncToken"]) == (12, "SR1", "1")
    assert code_of(edit(books, "SalesReceipt", made, PrivateNote="late")) == "5010"
    assert code_of(books.post("salesreceipt", invoice(DocNumber="SR1"))) == "6140"
    assert books.query("select * from SalesReceipt where PaymentRefNum = 'C7'")["SalesReceipt"][0]["TotalAmt"] == 12


def test_a_sales_receipt_is_voided_by_include_and_deleted(books: Books) -> None:
    made = books.make("SalesReceipt", invoice(line(10, Qty=2, UnitPrice=5), DocNumber="SR1"))
    small = {"Id": made["Id"], "SyncToken": "0", "sparse": True}
    assert code_of(books.post("salesreceipt", small, operation="void")) == "500"
    gone = books.post("salesreceipt", small, operation="update", include="void").json()["SalesReceipt"]
    assert (gone["TotalAmt"], gone["Balance"], gone["DocNumber"], gone["PrivateNote"]) == (0, 0, "SR1", "Voided")
    assert (gone["Line"][0]["Amount"], gone["Line"][0]["SalesItemLineDetail"]["Qty"], gone["LinkedTxn"]) == (0, 0, [])
    assert seen_by_capture(books, "SalesReceipt", made["Id"])["TotalAmt"] == 0
    assert code_of(books.post("salesreceipt", invoice(DocNumber="SR1"))) == "6140"  # a void keeps its number
    assert delete(books, "SalesReceipt", gone).status_code == 200
    assert books.make("SalesReceipt", invoice(DocNumber="SR1"))["DocNumber"] == "SR1"


def test_a_deposited_sales_receipt_stands(books: Books) -> None:
    made = books.make("SalesReceipt", invoice(line(10)))
    link = {"Amount": 10, "LinkedTxn": [{"TxnId": made["Id"], "TxnType": "SalesReceipt", "TxnLineId": "0"}]}
    held = books.make("Deposit", {**deposit(), "Line": [link]})
    assert books.get("SalesReceipt", made["Id"])["LinkedTxn"] == [{"TxnId": held["Id"], "TxnType": "Deposit"}]
    assert [code_of(end(books, "SalesReceipt", made)) for end in (void, delete)] == ["6540", "6540"]
    assert delete(books, "Deposit", held).status_code == 200
    assert void(books, "SalesReceipt", made).status_code == 200


# -- vendor credit -----------------------------------------------------------------------------------------------------


def test_a_vendor_credit_pays_a_bill_with_a_bill_payment_of_zero(books: Books) -> None:
    owed, credit = books.make("Bill", bill()), books.make("VendorCredit", bill(expense(30), DocNumber="VC1"))
    assert (credit["TotalAmt"], credit["Balance"], credit["LinkedTxn"], credit["DocNumber"]) == (30, 30, [], "VC1")
    assert vendor_balance(books) == 20
    paid = books.make("BillPayment", bill_payment(0, ("Bill", owed["Id"], 20), ("VendorCredit", credit["Id"], 20)))
    now = books.get("VendorCredit", credit["Id"])
    assert (now["Balance"], now["SyncToken"], now["LinkedTxn"]) == (
        10,
        "1",
        [{"TxnId": paid["Id"], "TxnType": "BillPaymentCheck"}],
    )
    assert (books.get("Bill", owed["Id"])["Balance"], vendor_balance(books)) == (30, 20)
    assert books.query("select * from VendorCredit where Balance > '0'")["VendorCredit"][0]["Id"] == credit["Id"]
    assert code_of(edit(books, "VendorCredit", now, Line=[expense(19)])) == "6000"
    assert edit(books, "VendorCredit", now, Line=[expense(25)]).json()["VendorCredit"]["Balance"] == 5
    assert code_of(edit(books, "VendorCredit", books.get("VendorCredit", credit["Id"]), VendorRef={"value": "52"})) == "6000"
    assert code_of(delete(books, "VendorCredit", credit)) == "6400"
    assert delete(books, "BillPayment", paid).status_code == 200
    assert (books.get("VendorCredit", credit["Id"])["Balance"], books.get("Bill", owed["Id"])["Balance"]) == (25, 50)
    assert delete(books, "VendorCredit", credit).status_code == 200
    assert seen_by_capture(books, "VendorCredit", credit["Id"])["status"] == "Deleted"
    assert vendor_balance(books) == 50


def test_a_vendor_credit_cannot_be_voided_and_has_no_number_of_its_own(books: Books) -> None:
    credit = books.make("VendorCredit", bill(PrivateNote="n"))
    assert "DocNumber" not in credit
    small = {"Id": credit["Id"], "SyncToken": "0", "sparse": True}
    assert code_of(books.post("vendorcredit", small, operation="void")) == "500"
    assert code_of(books.post("vendorcredit", small, operation="update", include="void")) == "500"
    noted = edit(books, "VendorCredit", credit, DocNumber="V1").json()["VendorCredit"]
    assert (noted["DocNumber"], noted["PrivateNote"], noted["SyncToken"]) == ("V1", "n", "1")
    full = books.make("VendorCredit", {**bill(expense(7)), "Id": credit["Id"], "SyncToken": "1"})
    assert (full["TotalAmt"], full["Balance"], full.get("PrivateNote"), full.get("DocNumber")) == (7, 7, None, None)
    books.prefer(warnings={"WarnDuplicateBillNumber": True})
    books.make("VendorCredit", bill(DocNumber="V1"))
    assert code_of(books.post("vendorcredit", bill(DocNumber="V1"))) == "6140"


def test_the_four_in_one_batch_and_in_one_capture(books: Books) -> None:
    bodies = {"Payment": payment(5), "CreditMemo": invoice(), "SalesReceipt": invoice(), "VendorCredit": bill()}
    items = [{"bId": kind, "operation": "create", kind: body} for kind, body in bodies.items()]
    replies = {reply["bId"]: reply for reply in books.post("batch", {"BatchItemRequest": items}).json()["BatchItemResponse"]}
    changes = [
        {
            "bId": kind,
            "operation": "update",
            kind: {"Id": replies[kind][kind]["Id"], "SyncToken": "0", "sparse": True, "PrivateNote": "n"},
        }
        for kind in bodies
    ]
    answers = books.post("batch", {"BatchItemRequest": changes}).json()["BatchItemResponse"]
    assert {reply[reply["bId"]]["SyncToken"] for reply in answers} == {"1"}
    for kind in bodies:
        assert seen_by_capture(books, kind, replies[kind][kind]["Id"])["PrivateNote"] == "n"
    gone = [{"bId": kind, "operation": "delete", kind: {"Id": replies[kind][kind]["Id"], "SyncToken": "1"}} for kind in bodies]
    answers = books.post("batch", {"BatchItemRequest": gone}).json()["BatchItemResponse"]
    assert {reply[reply["bId"]]["status"] for reply in answers} == {"Deleted"}
    assert (customer_balance(books), vendor_balance(books)) == (0, 0)
