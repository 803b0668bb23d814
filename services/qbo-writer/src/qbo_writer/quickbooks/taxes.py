"""Sales tax outside the US: what the company policy must set, and the rates that convert gross amounts to net.

QuickBooks needs a line's net amount and its gross amount (TaxInclusiveAmt): the net one is calculated here, from the
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
    'The company policy says amounts = "gross", but QuickBooks does not support gross amounts in the US.',
    "Remove amounts from the company policy and send net amounts, or untaxed lines (tax_code NON).",
    Code.MAPPING_MISSING,
    holds=True,
)
GROSS_DISCOUNT = Unmapped(
    "The document has gross amounts and a discount, and it is unknown whether QuickBooks subtracts it before or after tax.",
    "Send the discount as a negative line with the tax code of the discounted line.",
    Code.VALIDATION,
    at_source=True,
)
TAX_ON_TAX = Unmapped(
    "The document has gross amounts, and a line's tax code has no rates here, or taxes a tax.",
    'Choose another tax code, or send net amounts (amounts = "net" in the company policy).',
    Code.VALIDATION,
)

Query = Callable[[str, str, AccessToken], Awaitable[list[dict[str, Any]]]]


class Rates:
    """The percentages of a company's tax codes: two metered reads a day, only if amounts are gross."""

    def __init__(self, query: Query, max_age_seconds: float) -> None:
        self._query, self._max_age = query, max_age_seconds
        self._kept: dict[str, tuple[dict[tuple[str, bool], Decimal], float]] = {}

    async def percent(self, realm: str, code: str, token: AccessToken, *, sales: bool) -> Decimal | None:
        """Return a tax code's total percentage; None if it is unknown. Raises LookupFailed."""
        kept = self._kept.get(realm)
        if kept is None or time.monotonic() > kept[1] + self._max_age:
            rates = await self._query(realm, "select * from TaxRate", token)
            codes = await self._query(realm, "select * from TaxCode", token)
            kept = self._kept[realm] = (percentages(codes, rates), time.monotonic())
        return kept[0].get((code, sales))


def percentages(codes: list[dict[str, Any]], rates: list[dict[str, Any]]) -> dict[tuple[str, bool], Decimal]:
    """Return (id of a code, whether for sales) -> the sum of its rates, without codes that tax a tax
    or whose rates cannot be read."""
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
