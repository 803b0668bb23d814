"""Amounts and lines."""

from __future__ import annotations

from typing import Any

from ..acts import discount, post
from ..bodies import (
    bill,
    expense,
    invoice,
    line,
    payment,
)
from .writing import (
    TAXED,
    Rule,
    gives,
    made,
    no,
    ok,
    percent,
    refused,
    updated,
)


def ids(doc: dict[str, Any]) -> list[tuple[str, Any]]:
    """Ids and amounts of the item lines."""
    return [(row["Id"], row["Amount"]) for row in doc["Line"] if row["DetailType"] == "SalesItemLineDetail"]


RULES: tuple[Rule, ...] = (
    # 9.4: 6070, half up
    refused(
        "amounts",
        "Qty x UnitPrice",
        "Invoice",
        "6070",
        invoice(line(7, Qty=2, UnitPrice=3.5)),
        invoice(line(7, Qty=2, UnitPrice=3)),
    ),
    refused(
        "amounts",
        "rounded half up",
        "Invoice",
        "6070",
        invoice(line(0.13, Qty=0.125, UnitPrice=1)),
        invoice(line(0.12, Qty=0.125, UnitPrice=1)),
    ),
    refused(
        "amounts",
        "on a bill's item line",
        "Bill",
        "6070",
        bill(
            {
                "DetailType": "ItemBasedExpenseLineDetail",
                "Amount": 6,
                "ItemBasedExpenseLineDetail": {"ItemRef": {"value": "1"}, "Qty": 2, "UnitPrice": 3},
            }
        ),
        bill(
            {
                "DetailType": "ItemBasedExpenseLineDetail",
                "Amount": 5,
                "ItemBasedExpenseLineDetail": {"ItemRef": {"value": "1"}, "Qty": 2, "UnitPrice": 3},
            }
        ),
    ),
    refused(
        "amounts",
        "nothing times nothing keeps its amount",
        "Invoice",
        "6070",
        invoice(line(7, Qty=0, UnitPrice=0)),
        invoice(line(7, Qty=1, UnitPrice=0)),
    ),
    refused(
        "amounts",
        "taken as it is without a quantity",
        "Invoice",
        "6070",
        invoice(line(7, UnitPrice=3)),
        invoice(line(7, UnitPrice=3, Qty=1)),
    ),
    Rule(
        "amounts",
        "made of Qty and UnitPrice where it is left out",
        gives(
            7,
            made(
                "Invoice",
                invoice({k: v for k, v in line(0, Qty=2, UnitPrice=3.5).items() if k != "Amount"}),
                lambda d: d["TotalAmt"],
            ),
        ),
        no("2020", post("Invoice", invoice({k: v for k, v in line(0, Qty=2).items() if k != "Amount"}))),
    ),
    refused(
        "amounts", "documents are not below nothing", "Invoice", "6000", invoice(line(5), line(-5)), invoice(line(5), line(-6))
    ),
    refused("amounts", "payments are not below nothing", "Payment", "2140", payment(0), payment(-1)),
    # lines
    Rule(
        "lines",
        "known Ids stay, others are new",
        gives([("2", 5)], updated(invoice(line(1), line(2)), {"sparse": True, "Line": [{**line(5), "Id": "2"}]}, ids)),
        gives([("3", 5)], updated(invoice(line(1), line(2)), {"sparse": True, "Line": [{**line(5), "Id": "77"}]}, ids)),
    ),
    Rule(
        "lines",
        "a sparse update replaces them all",
        gives(2, updated(invoice(line(1), line(2)), {"sparse": True, "PrivateNote": "x"}, lambda d: len(ids(d)))),
        gives(1, updated(invoice(line(1), line(2)), {"sparse": True, "Line": [line(3)]}, lambda d: len(ids(d)))),
    ),
    Rule(
        "lines",
        "750 of them on a taxed invoice",
        ok(post("Invoice", invoice(*[TAXED] * 750))),
        no("6000", post("Invoice", invoice(*[TAXED] * 751))),
    ),
    Rule(
        "lines",
        "10,000 of them in all",
        ok(post("Bill", bill(*[expense(1)] * 1000))),
        no("6000", post("Bill", bill(*[{}] * 10_001))),
    ),
    refused(
        "lines",
        "an expense names its account",
        "Bill",
        "6440",
        bill(),
        bill({"Amount": 5, "DetailType": "AccountBasedExpenseLineDetail"}),
    ),
    refused("lines", "receivables are no expense", "Bill", "6430", bill(expense(5, "7")), bill(expense(5, "84"))),
    refused(
        "lines",
        "discounts need an amount or a percent",
        "Invoice",
        "6090",
        invoice(line(), {**discount(), "Amount": 5}),
        invoice(line(), discount()),
    ),
    refused(
        "lines",
        "discounts are positive",
        "Invoice",
        "2290",
        invoice(line(), {**discount(), "Amount": 5}),
        invoice(line(), {**discount(), "Amount": -5}),
    ),
    Rule(
        "lines",
        "discounts may be switched off",
        ok(post("Invoice", invoice(line(), percent(5)))),
        no(
            "6000",
            lambda b: (b.prefer(SalesFormsPrefs={"AllowDiscount": False}), b.post("invoice", invoice(line(), percent(5))))[1],
        ),
    ),
    Rule(
        "lines",
        "a text line takes no part in the total",
        gives(
            100, made("Invoice", invoice(line(), {"DetailType": "DescriptionOnly", "Description": "t"}), lambda d: d["TotalAmt"])
        ),
        gives(105, made("Invoice", invoice(line(), line(5)), lambda d: d["TotalAmt"])),
    ),
)
