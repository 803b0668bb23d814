"""Update, delete, void, links, names and numbers: what one write does to the document and to its neighbours."""

from __future__ import annotations

import pytest

from .bodies import bill, bill_payment, deposit, expense, inventory, invoice, line, payment, purchase
from .conftest import Books, code_of


def test_sparse_keeps_and_full_update_empties(books: Books) -> None:
    made = books.make("Invoice", invoice(PrivateNote="keep", DocNumber="N1"))
    sparse = books.make("Invoice", {"Id": made["Id"], "SyncToken": "0", "sparse": True, "CustomerMemo": {"value": "hi"}})
    assert (sparse["PrivateNote"], sparse["SyncToken"], sparse["DocNumber"]) == ("keep", "1", "N1")
    full = books.make("Invoice", {**invoice(), "Id": made["Id"], "SyncToken": "1"})
    assert "PrivateNote" not in full
    assert "CustomerMemo" not in full
    assert full["SyncToken"] == "2"
    stale = books.post("invoice", {**invoice(), "Id": made["Id"], "SyncToken": "1"})
    assert (stale.status_code, code_of(stale)) == (400, "5010")


def test_line_ids_known_stay_unknown_are_new_left_out_are_gone(books: Books) -> None:
    made = books.make("Invoice", invoice(line(1), line(2)))
    kept = {**line(5), "Id": "2"}
    changed = books.make("Invoice", {"Id": made["Id"], "SyncToken": "0", "sparse": True, "Line": [kept, {**line(6), "Id": "77"}]})
    items = [entry for entry in changed["Line"] if entry["DetailType"] == "SalesItemLineDetail"]
    assert [(entry["Id"], entry["Amount"]) for entry in items] == [("2", 5), ("3", 6)]
    assert changed["TotalAmt"] == 11


def test_delete_frees_the_number_and_void_keeps_it(books: Books) -> None:
    first = books.make("Invoice", invoice(DocNumber="N1", PrivateNote="note"))
    gone = books.post("invoice", {"Id": first["Id"], "SyncToken": "0"}, operation="delete")
    assert gone.json()["Invoice"] == {"status": "Deleted", "domain": "QBO", "Id": first["Id"]}
    assert code_of(books.call("GET", f"invoice/{first['Id']}")) == "610"
    assert code_of(books.post("invoice", {**invoice(), "Id": first["Id"], "SyncToken": "0"})) == "610"
    second = books.make("Invoice", invoice(line(10, Qty=2, UnitPrice=5), DocNumber="N1", PrivateNote="note"))
    void = books.make("Invoice", {"Id": second["Id"], "SyncToken": "0"}, operation="void")
    assert (void["TotalAmt"], void["Balance"], void["DocNumber"], void["SyncToken"]) == (0, 0, "N1", "1")
    assert void["PrivateNote"].startswith("Voided")
    assert void["Line"][0]["SalesItemLineDetail"]["Qty"] == 0
    assert code_of(books.post("invoice", invoice(DocNumber="N1"))) == "6140"


def test_name_lists_and_some_kinds_cannot_be_deleted_or_voided(books: Books) -> None:
    assert code_of(books.post("customer", {"Id": "1", "SyncToken": "0"}, operation="delete")) == "500"
    made = books.make("Bill", bill())
    assert code_of(books.post("bill", {"Id": made["Id"], "SyncToken": "0"}, operation="void")) == "500"
    assert books.post("bill", {"Id": made["Id"], "SyncToken": "0"}, operation="delete").status_code == 200


def test_payment_moves_balance_links_and_sync_token(books: Books) -> None:
    made = books.make("Invoice", invoice())
    paid = books.make("Payment", payment(70, ("Invoice", made["Id"], 60)))
    assert paid["UnappliedAmt"] == 10
    now = books.get("Invoice", made["Id"])
    assert (now["Balance"], now["SyncToken"]) == (40, "1")
    assert now["LinkedTxn"] == [{"TxnId": paid["Id"], "TxnType": "Payment"}]
    assert code_of(books.post("invoice", {"Id": made["Id"], "SyncToken": "1"}, operation="delete")) == "6400"
    assert code_of(books.post("payment", payment(60, ("Invoice", made["Id"], 60)))) == "6000"
    body = {"Id": paid["Id"], "SyncToken": "0", "sparse": True}
    void = books.post("payment", body, operation="update", include="void").json()["Payment"]
    assert (void["TotalAmt"], void["Line"]) == (0, [])
    now = books.get("Invoice", made["Id"])
    assert (now["Balance"], now["LinkedTxn"]) == (100, [])


def test_void_of_a_paid_invoice_frees_the_money(books: Books) -> None:
    made = books.make("Invoice", invoice())
    paid = books.make("Payment", payment(100, ("Invoice", made["Id"], 100)))
    books.make("Invoice", {"Id": made["Id"], "SyncToken": "1"}, operation="void")
    assert books.get("Payment", paid["Id"])["UnappliedAmt"] == 100
    assert books.get("Customer", "1")["Balance"] == -100


def test_credit_memo_pays_an_invoice_with_a_payment_of_zero(books: Books) -> None:
    made = books.make("Invoice", invoice())
    credit = books.make("CreditMemo", invoice(line(30)))
    books.make("Payment", payment(0, ("Invoice", made["Id"], 30), ("CreditMemo", credit["Id"], 30)))
    assert books.get("Invoice", made["Id"])["Balance"] == 70
    assert books.get("CreditMemo", credit["Id"])["RemainingCredit"] == 0
    assert books.get("Customer", "1")["Balance"] == 70


def test_bill_payment_settles_the_bill_and_guards_it(books: Books) -> None:
    made = books.make("Bill", bill(SalesTermRef={"value": "3"}, TxnDate="2026-01-31"))
    assert (made["DueDate"], made["Balance"]) == ("2026-03-02", 50)
    assert code_of(books.post("billpayment", bill_payment(60, ("Bill", made["Id"], 60)))) == "6000"
    books.make("BillPayment", bill_payment(50, ("Bill", made["Id"], 50)))
    now = books.get("Bill", made["Id"])
    assert (now["Balance"], now["LinkedTxn"][0]["TxnType"]) == (0, "BillPaymentCheck")
    assert code_of(books.post("bill", {"Id": made["Id"], "SyncToken": now["SyncToken"]}, operation="delete")) == "6400"


def test_deposited_payment_cannot_change(books: Books) -> None:
    paid = books.make("Payment", payment(20))
    link = {"Amount": 20, "LinkedTxn": [{"TxnId": paid["Id"], "TxnType": "Payment", "TxnLineId": "0"}]}
    wrong = {**link, "Amount": 19}
    assert code_of(books.post("deposit", {**deposit(), "Line": [wrong]})) == "6460"
    made = books.make("Deposit", {**deposit(), "Line": [link]})
    assert made["TotalAmt"] == 20
    token = books.get("Payment", paid["Id"])["SyncToken"]
    assert code_of(books.post("payment", {"Id": paid["Id"], "SyncToken": token}, operation="delete")) == "6540"
    books.post("deposit", {"Id": made["Id"], "SyncToken": "0"}, operation="delete")
    token = books.get("Payment", paid["Id"])["SyncToken"]
    assert books.post("payment", {"Id": paid["Id"], "SyncToken": token}, operation="delete").status_code == 200


def test_what_the_server_fills_in(books: Books) -> None:
    made = books.make("Invoice", invoice(SalesTermRef={"value": "3"}, TxnDate="2026-01-10"))
    assert made["DueDate"] == "2026-02-09"
    assert (made["EmailStatus"], made["PrintStatus"], made["LinkedTxn"], made["Deposit"]) == ("NotSet", "NeedToPrint", [], 0)
    assert made["CustomerRef"]["name"]
    assert made["Line"][-1] == {"Amount": 100.0, "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}}
    assert made["MetaData"]["CreateTime"][-6:] in ("-07:00", "-08:00")
    assert made["BillAddr"]["City"] == "Mountain View"
    assert (made["domain"], made["sparse"], made["SyncToken"]) == ("QBO", False, "0")
    echoed = books.make("Invoice", {**made, "sparse": False})
    assert (echoed["TotalAmt"], len(echoed["Line"])) == (100, 2)


def test_tax_and_discount(books: Books) -> None:
    percent = {"DetailType": "DiscountLineDetail", "DiscountLineDetail": {"PercentBased": True, "DiscountPercent": 10}}
    made = books.make(
        "Invoice",
        invoice(line(100, TaxCodeRef={"value": "TAX"}), line(50), percent, TxnTaxDetail={"TxnTaxCodeRef": {"value": "2"}}),
    )
    assert made["TxnTaxDetail"]["TotalTax"] == 8
    assert made["TotalAmt"] == 100 + 50 - 15 + 8
    books.prefer(TaxPrefs={"UsingSalesTax": False})
    made = books.make("Invoice", invoice(line(100, TaxCodeRef={"value": "TAX"}), TxnTaxDetail={"TxnTaxCodeRef": {"value": "2"}}))
    assert made["TotalAmt"] == 100
    books.prefer(SalesFormsPrefs={"AllowDiscount": False})
    assert code_of(books.post("invoice", invoice(line(), percent))) == "6000"


def test_document_numbers_by_preference(books: Books) -> None:
    assert "DocNumber" not in books.make("Invoice", invoice())
    assert "DocNumber" not in books.make("Invoice", invoice(DocNumber=""))
    assert books.make("Invoice", invoice(DocNumber=77))["DocNumber"] == "77"
    assert books.post("invoice", invoice(DocNumber="77"), include="allowduplicatedocnum").status_code == 200
    books.prefer(warnings={"WarnDuplicateInvoiceNumber": False})
    assert books.post("invoice", invoice(DocNumber="77")).status_code == 200
    books.prefer(SalesFormsPrefs={"CustomTxnNumbers": False}, warnings={"WarnDuplicateInvoiceNumber": True})
    first, second = (int(books.make("Invoice", invoice())["DocNumber"]) for _ in range(2))
    assert second == first + 1
    assert books.post("invoice", invoice(DocNumber=str(first))).status_code == 200
    assert "DocNumber" not in books.make("Invoice", invoice(DocNumber=""))
    books.make("Bill", bill(DocNumber="B1"))
    assert code_of(books.post("bill", bill(DocNumber="B1"))) == "6140"
    books.prefer(warnings={"WarnDuplicateBillNumber": False})
    assert books.post("bill", bill(DocNumber="B1")).status_code == 200


def test_closed_books_refuse_every_write_in_the_period(books: Books) -> None:
    old = books.make("Invoice", invoice(TxnDate="2026-01-15"))
    books.prefer(BookCloseDate="2026-01-31")
    body = {"Id": old["Id"], "SyncToken": "0"}
    assert code_of(books.post("invoice", invoice(TxnDate="2026-01-31"))) == "6210"
    assert code_of(books.post("invoice", {**body, "sparse": True, "PrivateNote": "x"})) == "6210"
    assert code_of(books.post("invoice", body, operation="delete")) == "6210"
    assert code_of(books.post("invoice", body, operation="void")) == "6210"
    assert books.post("invoice", invoice(TxnDate="2026-02-01")).status_code == 200


@pytest.mark.parametrize(
    ("plan", "kind", "body", "allowed"),
    [
        ("simple_start", "Bill", bill(), False),
        ("essentials", "Bill", bill(), True),
        ("essentials", "Class", {"Name": "c"}, False),
        ("plus", "Class", {"Name": "c"}, True),
        ("simple_start", "Department", {"Name": "d"}, False),
        ("essentials", "Department", {"Name": "d"}, True),
        ("essentials", "PurchaseOrder", bill(), False),
        ("plus", "PurchaseOrder", bill(), True),
        ("essentials", "Item", inventory(), False),
        ("plus", "Item", inventory(), True),
        ("simple_start", "Invoice", invoice(), True),
    ],
)
def test_plans_refuse_what_they_lack(standin, plan: str, kind: str, body: dict, allowed: bool) -> None:
    books = Books(standin, plan=plan)
    answer = books.post(kind.lower(), body)
    assert code_of(answer) == ("" if allowed else "5030"), answer.text
    if kind not in ("Item", "Invoice"):
        found = books.call("GET", "query", params={"query": f"select * from {kind}"})
        assert code_of(found) == ("" if allowed else "5030")
    info = books.query("select * from CompanyInfo")["CompanyInfo"][0]
    assert any(pair["Name"] == "OfferingSku" for pair in info["NameValue"])


def test_inactive_names_are_marked_hidden_and_unusable(books: Books) -> None:
    made = books.make("Customer", {"DisplayName": "Gone Soon"})
    off = books.make("Customer", {"Id": made["Id"], "SyncToken": "0", "sparse": True, "Active": False})
    assert off["DisplayName"] == "Gone Soon (deleted)"
    assert books.query("select * from Customer where DisplayName like 'Gone%'") == {}
    assert len(books.query("select * from Customer where DisplayName like 'Gone%' and Active in (true, false)")["Customer"]) == 1
    assert code_of(books.post("invoice", invoice(CustomerRef={"value": made["Id"]}))) == "6250"
    assert code_of(books.post("payment", payment(5, CustomerRef={"value": made["Id"]}))) == "2500"
    again = books.make("Customer", {"DisplayName": "Gone Soon"})
    assert again["Id"] != made["Id"]
    back = books.post("customer", {"Id": made["Id"], "SyncToken": "1", "sparse": True, "Active": True})
    assert code_of(back) == "6240"


def test_trees_of_names(books: Books) -> None:
    parent = "1"
    for level in range(1, 5):
        made = books.make("Customer", {"DisplayName": f"job {level}", "Job": True, "ParentRef": {"value": parent}})
        assert made["Level"] == level
        parent = made["Id"]
    assert made["FullyQualifiedName"].endswith(":job 1:job 2:job 3:job 4")
    assert code_of(books.post("customer", {"DisplayName": "job 5", "Job": True, "ParentRef": {"value": parent}})) == "6180"
    own = {"Id": parent, "SyncToken": "0", "sparse": True, "ParentRef": {"value": parent}}
    assert code_of(books.post("customer", own)) == "900"
    circle = {"Id": "1", "SyncToken": "0", "sparse": True, "ParentRef": {"value": parent}}
    assert code_of(books.post("customer", circle)) == "700"


def test_inventory_item_dates_and_tracking(books: Books) -> None:
    made = books.make("Item", inventory())
    assert code_of(books.post("invoice", invoice(line(5, ItemRef={"value": made["Id"]}), TxnDate="2025-12-31"))) == "6270"
    assert books.post("invoice", invoice(line(5, ItemRef={"value": made["Id"]}), TxnDate="2026-01-02")).status_code == 200
    off = {"Id": made["Id"], "SyncToken": "0", "sparse": True, "TrackQtyOnHand": False}
    assert code_of(books.post("item", off)) in ("6000", "2020")


def test_open_balances_and_closing_a_name(books: Books) -> None:
    made = books.make("Customer", {"DisplayName": "Debtor", "Balance": 12.5, "OpenBalanceDate": "2026-01-01"})
    assert books.get("Customer", made["Id"])["Balance"] == 12.5
    off = {"Id": made["Id"], "SyncToken": "0", "sparse": True, "Active": False}
    books.set(close_balance=True)
    assert code_of(books.post("customer", off)) == "6220"
    books.set(close_balance=False)
    assert books.post("customer", off).status_code == 200


def test_a_person_edits_pays_voids_merges_and_deletes(books: Books) -> None:
    made = books.make("Invoice", invoice())
    assert books.person("edit", "Invoice", made["Id"], PrivateNote="by hand")["SyncToken"] == "1"
    assert books.person("pay", "Invoice", made["Id"], amount=40)["TotalAmt"] == 40
    assert books.get("Invoice", made["Id"])["Balance"] == 60
    voided = books.person("void", "Invoice", books.make("Invoice", invoice())["Id"])
    assert voided["TotalAmt"] == 0
    other = books.make("Invoice", invoice())
    assert books.person("delete", "Invoice", other["Id"]) is None
    winner = books.make("Customer", {"DisplayName": "Winner"})
    books.person("merge", "Customer", "1", into=winner["Id"])
    assert books.get("Invoice", made["Id"])["CustomerRef"]["value"] == winner["Id"]
    assert code_of(books.call("GET", "customer/1")) == "610"
    assert books.get("Customer", winner["Id"])["Balance"] == 60


def test_purchases_and_credits(books: Books) -> None:
    made = books.make("Purchase", purchase())
    assert made["TotalAmt"] == 50
    credit = books.make("VendorCredit", bill(expense(20)))
    owed = books.make("Bill", bill())
    books.make("BillPayment", bill_payment(30, ("Bill", owed["Id"], 50), ("VendorCredit", credit["Id"], 20)))
    assert books.get("VendorCredit", credit["Id"])["Balance"] == 0
    assert books.get("Vendor", "51")["Balance"] == 0


def test_references_to_itself_and_wrong_ids(books: Books) -> None:
    assert code_of(books.call("GET", "invoice/abc")) == "2030"
    assert code_of(books.call("GET", "invoice/4242")) == "610"
    assert books.call("GET", "invoice/4242").status_code == 400
    assert code_of(books.call("GET", "gadget/1")) == "2000"
    assert code_of(books.post("invoice", {**invoice(), "Id": "abc", "SyncToken": "0"})) == "2030"
    assert code_of(books.post("invoice", {"Id": "1"}, operation="delete")) in ("610", "2020")
    assert code_of(books.post("taxcode", {"Name": "x"})) == "500"
    assert code_of(books.call("POST", "invoice", content=b"{", headers={"content-type": "application/json"})) == "2010"
    assert code_of(books.call("POST", "invoice", content=b'{"a": "\xff"}', headers={"content-type": "application/json"})) == "500"
    assert code_of(books.call("POST", "invoice", content=b"<a/>", headers={"content-type": "application/xml"})) == "1050"


def test_what_real_clients_send_on_create_passes(books: Books) -> None:
    body = {
        **invoice(
            {**line("12.00"), "Id": "1", "LineNum": 1, "CustomField": [], "LinkedTxn": [], "Description": None},
            {"DetailType": "SubTotalLineDetail", "Amount": 12, "SubTotalLineDetail": {}},
            {"DetailType": "DiscountLineDetail", "Amount": 0, "DiscountLineDetail": {"PercentBased": False}},
        ),
        "SyncToken": "0",
        "sparse": False,
        "domain": "QBO",
        "MetaData": {"CreateTime": "2020-01-01T00:00:00Z"},
        "LinkedTxn": [],
        "FreeFormAddress": True,
        "HomeBalance": 0,
        "HomeTotalAmt": 0,
        "InvoiceLink": "",
        "AllowIPNPayment": False,
        "TxnDate": "",
        "DueDate": None,
        "GlobalTaxCalculation": "TaxExcluded",
        "DocNumber": 12345,
        "CustomerMemo": None,
        "TotalAmt": "9",
        "Balance": 3,
        "DepartmentRef": None,
        "CustomField": [
            {"DefinitionId": "1", "Name": "Crew #", "Type": "StringType", "StringValue": "a"},
            {"DefinitionId": "2", "Type": "StringType"},
        ],
    }
    body["Line"][0]["SalesItemLineDetail"]["ItemRef"]["name"] = "unlike the item's"
    answer = books.post("invoice", body, operation="update" if False else "create", format="json", minorversion="4")
    assert answer.status_code == 200, answer.text
    made = answer.json()["Invoice"]
    assert (made["TotalAmt"], made["Balance"], made["DocNumber"]) == (12, 12, "12345")
    assert [field["DefinitionId"] for field in made["CustomField"]] == ["1", "2"]
    assert "LinkedTxn" not in made["Line"][0]
    whole = books.post("invoice", made, operation="void")
    assert whole.status_code == 200, whole.text
    assert books.post("invoice", whole.json()["Invoice"], operation="delete").status_code == 200


def test_matched_and_processed_transactions_are_guarded(books: Books) -> None:
    made = books.make("BillPayment", bill_payment(50, ("Bill", books.make("Bill", bill())["Id"], 50)))
    books.person("match", "BillPayment", made["Id"])
    body = {"Id": made["Id"], "SyncToken": "0"}
    assert code_of(books.post("billpayment", body, operation="delete")) == "6480"
    assert code_of(books.post("billpayment", {**body, "sparse": True}, operation="update", include="void")) == "6450"
    books.person("unmatch", "BillPayment", made["Id"])
    assert books.post("billpayment", body, operation="delete").status_code == 200
    card = books.make("Payment", payment(5, ProcessPayment=True))
    body = {"Id": card["Id"], "SyncToken": "0", "sparse": True}
    assert code_of(books.post("payment", {**body, "PrivateNote": "x"})) == "6110"
    assert code_of(books.post("payment", body, operation="delete")) == "6120"
    number = {"CreditChargeInfo": {"Number": "4111 1111 1111 1111"}}
    assert code_of(books.post("payment", payment(5, CreditCardPayment=number))) == "6530"
    assert books.post("payment", payment(5, CreditCardPayment={"CreditChargeInfo": {"Number": "xxxx1111"}})).status_code == 200


@pytest.mark.parametrize(
    ("code", "status"), [("120", 403), ("130", 400), ("140", 400), ("150", 400), ("10200", 400), ("5020", 400)]
)
def test_a_company_can_be_shut(books: Books, code: str, status: int) -> None:
    books.set(gate=code)
    answer = books.post("invoice", invoice())
    assert (answer.status_code, code_of(answer)) == (status, code)
    assert code_of(books.call("GET", "companyinfo/1")) == ("" if code == "5020" else code)
    books.set(gate="")
    assert books.post("invoice", invoice()).status_code == 200


def test_what_a_parent_pays_for_its_job_is_the_jobs(books: Books) -> None:
    job = books.make("Customer", {"DisplayName": "job", "Job": True, "ParentRef": {"value": "1"}})
    owed = books.make("Invoice", invoice(CustomerRef={"value": job["Id"]}))
    books.make("Payment", payment(70, ("Invoice", owed["Id"], 60)))
    assert books.get("Customer", job["Id"])["Balance"] == 40
    assert books.get("Customer", "1")["Balance"] == -10
    books.person("merge", "Customer", job["Id"], into="1")
    assert books.get("Customer", "1")["Balance"] == 30


def test_empty_lists_of_a_deposits_line_are_left_out(books: Books) -> None:
    line = {**deposit()["Line"][0], "LinkedTxn": [], "CustomField": []}
    kept = books.make("Deposit", deposit(Line=[line]))["Line"][0]
    assert not {"LinkedTxn", "CustomField"} & set(kept)
    assert kept["DepositLineDetail"]["AccountRef"]["value"] == "79"
