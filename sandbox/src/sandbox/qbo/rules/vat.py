"""Companies outside of the US: a tax code on every line, rates by code, amounts without tax or with it (TaxInclusive).

In every case a line's Amount is net. An amount with tax is TaxInclusiveAmt beside it: GlobalTaxCalculation alone changes only how
a document is shown (quickbooks-ruby #346), so that prices with VAT sent as Amount are taxed again.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

from sandbox.qbo.company.store import ZERO, Company, Doc
from sandbox.qbo.rules.changes import Change
from sandbox.qbo.rules.faults import Fault
from sandbox.qbo.rules.validation import cents

SALES, PURCHASES = "SalesTaxRateList", "PurchaseTaxRateList"
# Country -> currency, how its refusal calls the tax, codes (Id, name, rates in per cent).
COUNTRIES: dict[str, tuple[tuple[str, str], str, tuple[tuple[str, str, tuple[int, ...]], ...]]] = {
    "GB": (
        ("GBP", "British Pound Sterling"),
        "VAT",
        (("2", "20.0% S", (20,)), ("3", "5.0% R", (5,)), ("4", "0.0% Z", (0,)), ("5", "Exempt", (0,)), ("6", "No VAT", (0,))),
    ),
    "CA": (
        ("CAD", "Canadian Dollar"),
        "GST/HST",
        (
            ("2", "HST ON", (13,)),
            ("3", "GST", (5,)),
            ("4", "GST/PST BC", (5, 7)),
            ("5", "Zero-rated", (0,)),
            ("6", "Exempt", (0,)),
        ),
    ),
}


def home(company: Company) -> Doc:
    """The company's own currency."""
    code, name = COUNTRIES[company.country][0] if company.country in COUNTRIES else ("USD", "United States Dollar")
    return {"value": code, "name": name}


def lists(company: Company, add: Any) -> None:
    """The agency, codes and rates of a new company: each code has rates for sales and for purchases."""
    add("TaxAgency", "1", DisplayName="Revenue", TaxTrackedOnSales=True, TaxTrackedOnPurchases=True)
    number = 0
    for code_id, name, percents in COUNTRIES[company.country][2]:
        found: dict[str, list[Doc]] = {SALES: [], PURCHASES: []}
        for side, word in ((SALES, "Sales"), (PURCHASES, "Purchases")):
            for order, percent in enumerate(percents):
                number += 1
                add(
                    "TaxRate",
                    str(number),
                    Name=f"{name} {percent}% ({word})",
                    Description=name,
                    Active=True,
                    RateValue=Decimal(percent),
                    AgencyRef={"value": "1"},
                    SpecialTaxType="NONE" if percent else "ZERO_RATE",
                    DisplayType="ReadOnly",
                )
                rate = {"TaxRateRef": {"value": str(number)}, "TaxTypeApplicable": "TaxOnAmount", "TaxOrder": order}
                found[side].append(rate)
        add(
            "TaxCode",
            code_id,
            Name=name,
            Description=name,
            Active=True,
            Taxable=True,
            TaxGroup=True,
            Hidden=False,
            **{side: {"TaxRateDetail": rates} for side, rates in found.items()},
        )


def applies(company: Company) -> bool:
    """Whether lines need codes here."""
    return company.country in COUNTRIES and bool(company.preference("TaxPrefs", "UsingSalesTax"))


def line(change: Change, line: Doc, detail: Doc, side: str) -> None:
    """Check the code of a line; with TaxInclusiveAmt the net Amount follows from it."""
    company, doc = change.company, change.doc
    if not applies(company):
        return
    code = (detail.get("TaxCodeRef") or {}).get("value")
    if not code:
        named = COUNTRIES[company.country][1]
        raise Fault(
            "6000",
            detail=f"Business Validation Error: Make sure all your transactions have a {named} rate before you save.",
        )
    if company.get("TaxCode", code) is None:  # TAX and NON are words of the US
        raise Fault("2500", element="TaxCodeRef", value=code, target="TaxCode")
    if doc.get("GlobalTaxCalculation") == "TaxInclusive" and "TaxInclusiveAmt" in detail:
        gross = cents(detail["TaxInclusiveAmt"])
        percent = sum((rate["RateValue"] for rate in _rates(company, code, side)), ZERO)
        detail["TaxInclusiveAmt"], line["Amount"] = gross, cents(gross * 100 / (100 + percent))


def total(change: Change, lines: list[tuple[Doc, Doc]], side: str, off: Decimal = ZERO) -> Decimal:
    """Write TxnTaxDetail and return the tax of lines (with their details); `off` is what a discount takes from what is taxed."""
    company, doc = change.company, change.doc
    inclusive = doc.setdefault("GlobalTaxCalculation", "TaxExcluded") == "TaxInclusive"
    whole = sum((line["Amount"] for line, _ in lines), ZERO)
    net: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
    gross: defaultdict[str, Decimal | None] = defaultdict(lambda: ZERO)
    for line, detail in lines:
        code = detail["TaxCodeRef"]["value"]
        net[code] += line["Amount"]
        said, known = detail.get("TaxInclusiveAmt"), gross[code]
        gross[code] = known + said if said is not None and known is not None else None
    shown, tax = [], ZERO
    for code, amount in net.items():
        base = amount - (cents(off * amount / whole) if off and whole else ZERO)
        rates = _rates(company, code, side)
        parts = [cents(base * rate["RateValue"] / 100) for rate in rates]
        known = gross[code]
        if inclusive and known is not None and not off:  # what was said with tax is what is due
            parts[-1] += known - base - sum(parts, ZERO)
        for rate, part in zip(rates, parts, strict=True):
            tax += part
            shown.append(
                {
                    "Amount": part,
                    "DetailType": "TaxLineDetail",
                    "TaxLineDetail": {
                        "TaxRateRef": {"value": rate["Id"]},
                        "PercentBased": True,
                        "TaxPercent": rate["RateValue"],
                        "NetAmountTaxable": base,
                    },
                }
            )
    doc["TxnTaxDetail"] = {"TotalTax": tax, "TaxLine": shown}
    return tax


def _rates(company: Company, code: str, side: str) -> list[Doc]:
    found = ((company.get("TaxCode", code) or {}).get(side) or {}).get("TaxRateDetail") or ()
    rates = [company.get("TaxRate", entry["TaxRateRef"]["value"]) for entry in found]
    if not rates or any(rate is None for rate in rates):
        raise Fault("6470")
    return [rate for rate in rates if rate is not None]
