"""Companies outside of the US: codes on every line, rates for sales and purchases, amounts without and with tax."""

from __future__ import annotations

from typing import Any

import pytest
from sandbox.qbo.books.audit import invariants
from sandbox.qbo.company.store import broken_indexes

from .bodies import bill, expense, invoice, line
from .conftest import Books, StandIn, code_of


def coded(amount: float, code: str, **detail: Any) -> dict[str, Any]:
    return line(amount, TaxCodeRef={"value": code}, **detail)


def assert_sound(books: Books) -> None:
    found = books.standin.app.world.companies[books.realm]
    assert invariants(found) + broken_indexes(found) == [], "the books do not add up"


@pytest.fixture
def british(standin: StandIn) -> Books:
    return Books(standin, country="GB")


@pytest.mark.parametrize(("country", "word", "currency"), [("GB", "VAT", "GBP"), ("CA", "GST/HST", "CAD")])
def test_a_line_without_a_code_is_refused_with_quickbooks_words(standin: StandIn, country: str, word: str, currency: str) -> None:
    books = Books(standin, country=country)
    for kind, body in (("invoice", invoice()), ("bill", bill())):
        answer = books.post(kind, body)
        assert (answer.status_code, code_of(answer)) == (400, "6000")
        said = answer.json()["Fault"]["Error"][0]["Detail"]
        assert said == f"Business Validation Error: Make sure all your transactions have a {word} rate before you save."
    assert code_of(books.post("invoice", invoice(coded(100, "TAX")))) == "2500"
    shown = books.call("GET", "preferences").json()["Preferences"]
    assert (shown["TaxPrefs"]["UsingSalesTax"], shown["CurrencyPrefs"]["HomeCurrency"]["value"]) == (True, currency)
    assert books.call("GET", f"companyinfo/{books.realm}").json()["CompanyInfo"]["Country"] == country
    assert_sound(books)


def test_net_amounts_get_their_tax_on_top(british: Books) -> None:
    made = british.make("Invoice", invoice(coded(100, "2"), coded(50, "3"), coded(10, "5")))
    assert (made["TotalAmt"], made["TxnTaxDetail"]["TotalTax"], made["GlobalTaxCalculation"]) == (182.5, 22.5, "TaxExcluded")
    shown = [(tax["Amount"], tax["TaxLineDetail"]["NetAmountTaxable"]) for tax in made["TxnTaxDetail"]["TaxLine"]]
    assert shown == [(20, 100), (2.5, 50), (0, 10)]
    less = british.make("Invoice", {"Id": made["Id"], "SyncToken": "0", "sparse": True, "Line": [coded(10, "2")]})
    assert (less["TotalAmt"], less["Balance"]) == (12, 12)
    assert_sound(british)


def test_gross_amounts_hold_their_tax_and_amounts_alone_are_taxed_again(british: Books) -> None:
    gross = british.make("Invoice", invoice(coded(100, "2", TaxInclusiveAmt=120), GlobalTaxCalculation="TaxInclusive"))
    assert (gross["TotalAmt"], gross["TxnTaxDetail"]["TotalTax"], gross["Line"][0]["Amount"]) == (120, 20, 100)
    odd = [coded(0.83, "2", TaxInclusiveAmt=0.99)] * 3
    three = british.make("Invoice", invoice(*odd, GlobalTaxCalculation="TaxInclusive"))
    assert three["TotalAmt"] == 2.97
    trap = british.make("Invoice", invoice(coded(120, "2"), GlobalTaxCalculation="TaxInclusive"))
    assert trap["TotalAmt"] == 144
    assert_sound(british)


def test_purchases_have_rates_of_their_own_and_reach_the_books(british: Books) -> None:
    made = british.make("Bill", bill(expense(100, TaxCodeRef={"value": "2"})))
    assert (made["TotalAmt"], made["Balance"], made["TxnTaxDetail"]["TotalTax"]) == (120, 120, 20)
    code = british.call("GET", "taxcode/2").json()["TaxCode"]
    used = made["TxnTaxDetail"]["TaxLine"][0]["TaxLineDetail"]["TaxRateRef"]
    assert used == code["PurchaseTaxRateList"]["TaxRateDetail"][0]["TaxRateRef"]
    assert used != code["SalesTaxRateList"]["TaxRateDetail"][0]["TaxRateRef"]
    assert_sound(british)


def test_a_code_of_several_rates_and_a_discount_before_tax(standin: StandIn) -> None:
    books = Books(standin, country="CA")
    made = books.make("Invoice", invoice(coded(100, "4")))
    assert (made["TotalAmt"], [tax["Amount"] for tax in made["TxnTaxDetail"]["TaxLine"]]) == (112, [5, 7])
    percent = {"DetailType": "DiscountLineDetail", "DiscountLineDetail": {"PercentBased": True, "DiscountPercent": 50}}
    made = books.make("Invoice", invoice(coded(100, "4"), percent, ApplyTaxAfterDiscount=True))
    assert made["TotalAmt"] == 56
    assert_sound(books)


def test_a_company_that_uses_no_tax_wants_no_codes(british: Books) -> None:
    british.prefer(TaxPrefs={"UsingSalesTax": False})
    made = british.make("Invoice", invoice(line(100), GlobalTaxCalculation="NotApplicable"))
    assert (made["TotalAmt"], made["TxnTaxDetail"]["TotalTax"]) == (100, 0)
