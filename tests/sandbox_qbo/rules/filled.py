"""What the server fills in: defaults, tax, due dates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..acts import post
from ..bodies import (
    bill,
    invoice,
    line,
    payment,
)
from ..conftest import Books
from .writing import (
    TAXED,
    Rule,
    gives,
    made,
    no,
    percent,
    refused,
    updated,
)

TAX_CODE = {"TxnTaxCodeRef": {"value": "2"}}


def tax_of(*lines: dict[str, Any], sales_tax: bool = True, **body: Any) -> Callable[[Books], Any]:
    def go(books: Books) -> Any:
        books.prefer(TaxPrefs={"UsingSalesTax": sales_tax})
        doc = books.make("Invoice", invoice(*lines, TxnTaxDetail=TAX_CODE, **body))
        return doc["TxnTaxDetail"]["TotalTax"], doc["TotalAmt"]

    return go


def by_day(books: Books, day: int, of: str) -> Any:
    term = books.make("Term", {"Name": "by day", "DayOfMonthDue": day})
    return books.make("Invoice", invoice(TxnDate=of, SalesTermRef={"value": term["Id"]}))["DueDate"]


RULES: tuple[Rule, ...] = (
    # 9.5: what the server fills in
    Rule(
        "server fills",
        "Id, SyncToken, domain, sparse, MetaData",
        gives(
            ("0", "QBO", False, True),
            made(
                "Invoice",
                invoice(SyncToken="7", domain="X"),
                lambda d: (
                    d["SyncToken"],
                    d["domain"],
                    d["sparse"],
                    d["MetaData"]["CreateTime"] == d["MetaData"]["LastUpdatedTime"],
                ),
            ),
        ),
        gives(
            ("1", "QBO", False),
            updated(invoice(), {"sparse": True, "PrivateNote": "x"}, lambda d: (d["SyncToken"], d["domain"], d["sparse"])),
        ),
    ),
    Rule(
        "server fills",
        "times have the Pacific offset",
        gives(True, made("Invoice", invoice(), lambda d: d["MetaData"]["CreateTime"][-6:] in ("-07:00", "-08:00"))),
        gives(
            False,
            made(
                "Invoice",
                invoice(MetaData={"CreateTime": "2020-01-01T00:00:00Z"}),
                lambda d: d["MetaData"]["CreateTime"].endswith("Z"),
            ),
        ),
    ),
    Rule(
        "server fills",
        "the SubTotal line",
        gives(
            {"Amount": 100, "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}},
            made("Invoice", invoice(), lambda d: d["Line"][-1]),
        ),
        gives("AccountBasedExpenseLineDetail", made("Bill", bill(), lambda d: d["Line"][-1]["DetailType"])),
    ),
    Rule(
        "server fills",
        "a SubTotal line sent is dropped",
        gives(
            2,
            made(
                "Invoice",
                invoice(line(), {"DetailType": "SubTotalLineDetail", "Amount": 100, "SubTotalLineDetail": {}}),
                lambda d: len(d["Line"]),
            ),
        ),
        gives(3, made("Invoice", invoice(line(), line()), lambda d: len(d["Line"]))),
    ),
    Rule(
        "server fills",
        "items, SubTotal, discount in this order",
        gives(
            ["SalesItemLineDetail", "SubTotalLineDetail", "DiscountLineDetail"],
            made("Invoice", invoice(percent(5), line()), lambda d: [e["DetailType"] for e in d["Line"]]),
        ),
        gives(
            ["SalesItemLineDetail", "SubTotalLineDetail"],
            made("Invoice", invoice(), lambda d: [e["DetailType"] for e in d["Line"]]),
        ),
    ),
    Rule(
        "server fills",
        "EmailStatus and PrintStatus",
        gives(("NotSet", "NeedToPrint"), made("Invoice", invoice(), lambda d: (d["EmailStatus"], d["PrintStatus"]))),
        gives(
            ("NotSet", "NotSet"), made("Invoice", invoice(PrintStatus="NotSet"), lambda d: (d["EmailStatus"], d["PrintStatus"]))
        ),
    ),
    Rule(
        "server fills",
        "the customer's address",
        gives("Mountain View", made("Invoice", invoice(), lambda d: d["BillAddr"]["City"])),
        gives("Tucson", made("Invoice", invoice(BillAddr={"City": "Tucson"}), lambda d: d["BillAddr"]["City"])),
    ),
    Rule(
        "server fills",
        "the name of the customer",
        gives(True, made("Invoice", invoice(), lambda d: bool(d["CustomerRef"]["name"]))),
        gives(
            False, made("Invoice", invoice(CustomerRef={"value": "1", "name": "x"}), lambda d: d["CustomerRef"]["name"] == "x")
        ),
    ),
    Rule(
        "server fills",
        "custom fields 1 to 3 are kept",
        gives(
            "a",
            made(
                "Invoice",
                invoice(CustomField=[{"DefinitionId": "2", "Type": "StringType", "StringValue": "a"}]),
                lambda d: d["CustomField"][0]["StringValue"],
            ),
        ),
        no("3000", post("Invoice", invoice(CustomField=[{"DefinitionId": "4", "StringValue": "a"}]))),
    ),
    Rule(
        "server fills",
        "undeposited funds",
        gives("4", made("Payment", payment(5), lambda d: d["DepositToAccountRef"]["value"])),
        gives(
            "35", made("Payment", payment(5, DepositToAccountRef={"value": "35"}), lambda d: d["DepositToAccountRef"]["value"])
        ),
    ),
    # tax
    Rule(
        "tax",
        "by the code's rate, on what is taxed",
        gives((8, 158), tax_of(TAXED, line(50))),
        gives((0, 150), tax_of(line(100), line(50))),
    ),
    Rule("tax", "nothing without sales tax", gives((8, 108), tax_of(TAXED)), gives((0, 100), tax_of(TAXED, sales_tax=False))),
    Rule(
        "tax",
        "after the discount, if asked",
        gives((8, 98), tax_of(TAXED, percent(10))),
        gives((7.2, 97.2), tax_of(TAXED, percent(10), ApplyTaxAfterDiscount=True)),
    ),
    refused("tax", "a US line says TAX or NON", "Invoice", "6100", invoice(TAXED), invoice(line(1, TaxCodeRef={"value": "3"}))),
    refused(
        "tax",
        "NotApplicable takes no tax code",
        "Invoice",
        "6170",
        invoice(GlobalTaxCalculation="TaxExcluded", TxnTaxDetail=TAX_CODE),
        invoice(GlobalTaxCalculation="NotApplicable", TxnTaxDetail=TAX_CODE),
    ),
    # due date
    Rule(
        "due date",
        "the term's days",
        gives("2026-02-09", made("Invoice", invoice(SalesTermRef={"value": "3"}, TxnDate="2026-01-10"), lambda d: d["DueDate"])),
        gives("2026-01-10", made("Invoice", invoice(TxnDate="2026-01-10"), lambda d: d["DueDate"])),
    ),
    Rule(
        "due date",
        "what is sent wins",
        gives("2026-01-11", made("Invoice", invoice(SalesTermRef={"value": "3"}, DueDate="2026-01-11"), lambda d: d["DueDate"])),
        gives("2026-01-25", made("Invoice", invoice(SalesTermRef={"value": "2"}, TxnDate="2026-01-10"), lambda d: d["DueDate"])),
    ),
    Rule(
        "due date",
        "the vendor's term on a bill",
        gives("2026-03-02", made("Bill", bill(SalesTermRef={"value": "3"}, TxnDate="2026-01-31"), lambda d: d["DueDate"])),
        gives("2026-01-31", made("Bill", bill(TxnDate="2026-01-31"), lambda d: d["DueDate"])),
    ),
    Rule(
        "due date",
        "moves with the term",
        gives(
            "2026-02-09",
            updated(invoice(TxnDate="2026-01-10"), {"sparse": True, "SalesTermRef": {"value": "3"}}, lambda d: d["DueDate"]),
        ),
        gives("2026-01-10", updated(invoice(TxnDate="2026-01-10"), {"sparse": True, "PrivateNote": "x"}, lambda d: d["DueDate"])),
    ),
    Rule(
        "due date",
        "a term by the day of the month",
        gives("2026-02-15", lambda b: by_day(b, 15, "2026-01-20")),
        gives("2026-01-25", lambda b: by_day(b, 25, "2026-01-20")),
    ),
)
