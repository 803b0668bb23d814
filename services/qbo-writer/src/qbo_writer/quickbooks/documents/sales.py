"""What all customer documents share: items, custom fields, a discount, taxes."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from bookrelay.messages import SalesContent

from qbo_writer.quickbooks.documents.draft import Draft
from qbo_writer.quickbooks.documents.form import Finder, Raw
from qbo_writer.quickbooks.values import cents, decimal_of, detail, is_a, number, part, ref, text


def write_lines(draft: Draft, content: SalesContent) -> None:
    """Write everything after the header."""
    draft.custom_fields(content.custom_fields)
    draft.lines(content.lines)
    draft.discount(content.discount, content.lines)
    draft.taxes()


async def refer(finder: Finder, content: SalesContent) -> None:
    """Find what every customer document refers to, except the customer."""
    await finder.items(line.item for line in content.lines)
    await finder.custom_fields(content.custom_fields)
    await finder.taxes(content)
    await finder.heading(class_name=content.class_name, department=content.department, class_per_document=True)


def read(raw: Raw, lines: Sequence[Raw]) -> tuple[dict[str, str], Sequence[Raw]]:
    """Read the discount and the document-level tax."""
    fields = _discount(raw, [line for line in lines if is_a(line, "discountlinedetail")])
    if rate := ref(part(raw, "TxnTaxDetail").get("TxnTaxCodeRef")):
        fields["txn_tax"] = rate
    return fields, [line for line in lines if not is_a(line, "discountlinedetail")]


def _discount(raw: Mapping[str, Any], lines: Sequence[Raw]) -> dict[str, str]:
    """Read the discount. A zero line, which QuickBooks may keep, is none."""
    amount = sum((decimal_of(line.get("Amount")) for line in lines), Decimal(0))
    if not amount:
        return {"discount.amount": ""}
    found = detail(lines[0])
    fields = {"discount.amount": cents(amount), "discount.account": ref(found.get("DiscountAccountRef"))}
    fields["discount.before_tax"] = text(raw.get("ApplyTaxAfterDiscount") or False).lower()
    if text(found.get("PercentBased")).lower() == "true":
        fields["discount.percent"] = number(decimal_of(found.get("DiscountPercent")))
    return fields
