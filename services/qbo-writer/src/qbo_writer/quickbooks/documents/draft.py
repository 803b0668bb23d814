"""A document as it is written for QuickBooks: the JSON of its owned fields, and beside it the same in comparable form. Pure."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from bookrelay.messages import BillLine, CustomField, Discount, InvoiceLine
from bookrelay.money import to_cents

from qbo_writer.comparing import taxed
from qbo_writer.domain import DesiredDocument, LedgerKind
from qbo_writer.policy import Policy
from qbo_writer.quickbooks.values import cents, clean, number

NOTE_LENGTH = 4000
PARTIES = {"customer": "CustomerRef", "vendor": "VendorRef"}
TAX_WORDS = {"TaxInclusive": "gross", "TaxExcluded": "net"}
# Fields of the header that a content may name or not: their key here, and QuickBooks' name.
HEADING = {
    "term": "SalesTermRef", "class": "ClassRef", "department": "DepartmentRef", "ap_account": "APAccountRef",
    "deposit_account": "DepositToAccountRef", "payment_method": "PaymentMethodRef",
}  # fmt: skip
_PLACES = 5  # QuickBooks keeps five digits after the point of quantities and prices


class Draft:
    """One document. `ids`: what its content refers to, resolved; `body` and `fields` grow as its kind writes it.

    `cleared`: what an update sends besides, so that what the content no longer names is taken away.
    """

    def __init__(
        self, kind: LedgerKind, entity: str, ids: Mapping[str, str], policy: Policy, doc_number: str | None, marker: str
    ) -> None:
        self.kind, self.entity, self.ids, self.policy = kind, entity, ids, policy
        self.doc_number, self.marker = doc_number, marker
        self.body: dict[str, Any] = {}
        self.fields: dict[str, str] = {}
        self.cleared: dict[str, Any] = {}

    def wanted(self) -> DesiredDocument:
        """Return what was written."""
        return DesiredDocument(self.kind, self.entity, self.body, self.fields, self.cleared)

    # ---------------------------------------------------------------------------------------------------------- header

    def head(self, party: str, qbo_id: str, day: date, memo: str | None) -> None:
        """Write whose it is, its day, and the memo with the marker."""
        text = clean(memo or "")
        self.body |= {PARTIES[party]: {"value": qbo_id}, "TxnDate": day.isoformat(), "PrivateNote": _note(text, self.marker)}
        self.fields |= {party: qbo_id, "txn_date": day.isoformat(), "memo": text}

    def due(self, day: date | None) -> None:
        """Write when it is due."""
        if day is None:
            self.cleared["DueDate"] = None
        else:
            self.body["DueDate"] = self.fields["due_date"] = day.isoformat()

    def numbered(self) -> None:
        """Write its number, where the company's documents have ours."""
        if self.doc_number:
            self.body["DocNumber"] = self.fields["doc_number"] = self.doc_number

    def heading(self, *keys: str, kept: Collection[str] = ()) -> None:
        """Write these fields of the header; an update takes away those that are not named, but for what is `kept`."""
        for key in keys:
            if key in self.ids:
                self.body[HEADING[key]], self.fields[key] = {"value": self.ids[key]}, self.ids[key]
            elif key not in kept:
                self.cleared[HEADING[key]] = None

    def reference(self, text: str | None) -> None:
        """Write the number of a check or card transaction."""
        if text:
            self.body["PaymentRefNum"] = self.fields["payment_ref"] = clean(text)
        else:
            self.cleared["PaymentRefNum"] = ""

    def custom_fields(self, given: Sequence[CustomField]) -> None:
        """Write the custom fields: an update names all that the policy maps, the absent ones empty."""
        ids = self.ids
        values = {ids[f"custom:{one.name}"]: clean(one.value) for one in given if f"custom:{one.name}" in ids}
        if values:
            self.body["CustomField"] = [_custom_field(definition, value) for definition, value in values.items()]
            self.fields.update({f"custom.{definition}": value for definition, value in values.items()})
        absent = [definition for definition in self.policy.custom_fields.values() if definition not in values]
        if absent:
            empty = [_custom_field(definition, "") for definition in absent]
            self.cleared["CustomField"] = [*self.body.get("CustomField", ()), *empty]

    # ----------------------------------------------------------------------------------------------------------- lines

    def lines(self, given: Sequence[InvoiceLine | BillLine]) -> None:
        """Write the lines: of items or of accounts."""
        self.body["Line"] = [self._line(line, f"line.{at}.") for at, line in enumerate(given, 1)]
        self.fields["lines"] = str(len(given))

    def _line(self, line: InvoiceLine | BillLine, at: str) -> dict[str, Any]:
        ids, fields, detail = self.ids, self.fields, dict[str, Any]()
        tax = tax_of(line, ids)
        amount = net_of(line.amount, Decimal(ids[f"rate:{tax}"])) if f"rate:{tax}" in ids else line.amount
        if isinstance(line, InvoiceLine):
            type_ = "SalesItemLineDetail"
            detail["ItemRef"] = {"value": ids[f"item:{line.item}"]}
            fields[at + "item"] = ids[f"item:{line.item}"]
            if priced(line) and amount == line.amount:
                detail["Qty"], detail["UnitPrice"] = line.quantity, line.unit_price
                fields[at + "quantity"], fields[at + "unit_price"] = number(line.quantity), number(line.unit_price)
        else:
            type_ = "AccountBasedExpenseLineDetail"
            detail["AccountRef"] = {"value": ids[f"account:{line.account}"]}
            fields[at + "account"] = ids[f"account:{line.account}"]
        if tax:
            tax = "TAX" if tax == ids.get("txn_tax") else tax  # US: the lines say whether, the document says which
            detail["TaxCodeRef"], fields[at + "tax"] = {"value": tax}, tax
        if ids.get("global_tax") == "TaxInclusive":
            detail["TaxInclusiveAmt"] = line.amount
        if "line_class" in ids:
            detail["ClassRef"], fields[at + "class"] = {"value": ids["line_class"]}, ids["line_class"]
        fields[at + "amount"] = cents(amount)
        result: dict[str, Any] = {"Amount": amount, "DetailType": type_, type_: detail}
        description = clean(line.description or "")
        if description:
            result["Description"] = fields[at + "description"] = description
        return result

    def discount(self, discount: Discount | None, lines: Sequence[InvoiceLine]) -> None:
        """Write the discount's own line, after all others. None is a field as well: one that a person adds is a difference."""
        amount = discount.of(sum((line.amount for line in lines), Decimal(0))) if discount else Decimal(0)
        self.fields["discount.amount"] = cents(amount) if amount else ""
        if discount is None or not amount:
            return
        detail: dict[str, Any] = {"PercentBased": discount.percent is not None}
        line: dict[str, Any] = {"DetailType": "DiscountLineDetail", "DiscountLineDetail": detail}
        if discount.percent is not None:
            detail["DiscountPercent"], self.fields["discount.percent"] = discount.percent, number(discount.percent)
        else:
            line["Amount"] = amount
        if "discount_account" in self.ids:
            detail["DiscountAccountRef"] = {"value": self.ids["discount_account"]}
            self.fields["discount.account"] = self.ids["discount_account"]
        self.body["Line"].append(line)
        self.body["ApplyTaxAfterDiscount"] = discount.before_tax
        if taxed(self.fields):  # else QuickBooks may answer what it likes: it changes nothing
            self.fields["discount.before_tax"] = str(discount.before_tax).lower()

    def taxes(self) -> None:
        """Write what the whole document says of taxes."""
        ids = self.ids
        if "global_tax" in ids:
            self.body["GlobalTaxCalculation"] = ids["global_tax"]
            if ids["global_tax"] != "NotApplicable":
                self.fields["tax_calculation"] = TAX_WORDS.get(ids["global_tax"], ids["global_tax"])
        if "txn_tax" in ids:
            self.body["TxnTaxDetail"] = {"TxnTaxCodeRef": {"value": ids["txn_tax"]}}
            self.fields["txn_tax"] = ids["txn_tax"]


def net_of(gross: Decimal, percent: Decimal) -> Decimal:
    """Return what is left of a gross amount without its tax, rounded half up to cents."""
    return to_cents(gross * 100 / (100 + percent))


def tax_of(line: InvoiceLine | BillLine, ids: Mapping[str, str]) -> str | None:
    """Return a line's tax code: its own, else its item's, else the company's."""
    if line.tax_code:
        return ids[f"tax_code:{line.tax_code}"]
    return (ids.get(f"tax:{line.item}") if isinstance(line, InvoiceLine) else None) or ids.get("tax")


def priced(line: InvoiceLine) -> bool:
    """Whether quantity and price can be sent: both given, within QuickBooks' digits, their product the amount (else 6070)."""
    if line.quantity is None or line.unit_price is None:
        return False
    exact = all(value == round(value, _PLACES) for value in (line.quantity, line.unit_price))
    return exact and to_cents(line.quantity * line.unit_price) == line.amount


def _note(memo: str, marker: str) -> str:
    return f"{memo[: NOTE_LENGTH - len(marker) - 1]}\n{marker}" if memo else marker


def _custom_field(definition: str, value: str) -> dict[str, Any]:
    return {"DefinitionId": definition, "Type": "StringType", "StringValue": value}
