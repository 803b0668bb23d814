"""Sales tax outside of the US: what the company policy must say, and the rates by which gross amounts become net ones.

QuickBooks takes a line's net amount and, beside it, its gross one (TaxInclusiveAmt): the net one is reckoned here, from the
company's own rates.
"""

import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from bookrelay.errors import Code

from qbo_writer.domain import AccessToken, Unmapped
from qbo_writer.quickbooks.values import decimal_of, part, rows

GROSS_IN_US = Unmapped(
    'The company policy says amounts = "gross", but QuickBooks knows no gross amounts in the US.',
    "Take amounts out of the company policy and send net amounts, or untaxed lines (tax_code NON).",
    Code.MAPPING_MISSING,
    holds=True,
)
GROSS_DISCOUNT = Unmapped(
    "The document has gross amounts and a discount: nobody knows whether QuickBooks takes it off before or after the tax.",
    "Send the discount as a negative line with the tax code of what it is taken off.",
    Code.VALIDATION,
    at_source=True,
)
TAX_ON_TAX = Unmapped(
    "The document has gross amounts, and the tax code of a line has no rates here, or taxes on taxes.",
    'Choose another tax code, or send net amounts (amounts = "net" in the company policy).',
    Code.VALIDATION,
)

Query = Callable[[str, str, AccessToken], Awaitable[list[dict[str, Any]]]]


class Rates:
    """The percentages of a company's tax codes: two metered reads a day, only where amounts are gross."""

    def __init__(self, query: Query, max_age_seconds: float) -> None:
        self._query, self._max_age = query, max_age_seconds
        self._kept: dict[str, tuple[dict[tuple[str, bool], Decimal], float]] = {}

    async def percent(self, realm: str, code: str, token: AccessToken, *, sales: bool) -> Decimal | None:
        """Return what a tax code adds, in per cent; None where that cannot be said. Raises LookupFailed."""
        kept = self._kept.get(realm)
        if kept is None or time.monotonic() > kept[1] + self._max_age:
            rates = await self._query(realm, "select * from TaxRate", token)
            codes = await self._query(realm, "select * from TaxCode", token)
            kept = self._kept[realm] = (percentages(codes, rates), time.monotonic())
        return kept[0].get((code, sales))


def percentages(codes: list[dict[str, Any]], rates: list[dict[str, Any]]) -> dict[tuple[str, bool], Decimal]:
    """Return (id of a code, whether for sales) -> the sum of its rates; a code that taxes a tax is left out,
    and so is one whose rates cannot be read."""
    values = {str(rate.get("Id")): value for rate in rates if (value := decimal_of(rate.get("RateValue"))).is_finite()}
    found = {}
    for code in codes:
        for name, sales in (("SalesTaxRateList", True), ("PurchaseTaxRateList", False)):
            details = rows(part(code, name).get("TaxRateDetail"))
            ids = [str(part(detail, "TaxRateRef").get("value")) for detail in details]
            plain = all(detail.get("TaxTypeApplicable", "TaxOnAmount") == "TaxOnAmount" for detail in details)
            if ids and plain and all(id_ in values for id_ in ids):
                found[(str(code.get("Id")), sales)] = sum((values[id_] for id_ in ids), Decimal(0))
    return found
