"""Contents to QuickBooks JSON and back. Pure; amounts are written from Decimal, digit by digit, and never pass through float."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

from bookrelay.messages import BillLine, InvoiceContent, InvoiceLine
from bookrelay.money import loads, to_cents

from qbo_writer.comparing import taxed
from qbo_writer.domain import BatchItem, LedgerKind, LookupUnreadable, Operation, Resolved, Seen, Wanted
from qbo_writer.identity import MARKER
from qbo_writer.kinds import AnyContent, BillPaymentContent, NameContent
from qbo_writer.names import fold
from qbo_writer.policy import Policy
from qbo_writer.settings import WriterSettings

ENTITY: dict[LedgerKind, str] = {
    LedgerKind.INVOICE: "Invoice",
    LedgerKind.BILL: "Bill",
    LedgerKind.BILL_PAYMENT: "BillPayment",
    LedgerKind.CUSTOMER: "Customer",
    LedgerKind.VENDOR: "Vendor",
}
KIND: dict[str, LedgerKind] = {entity: kind for kind, entity in ENTITY.items()}
DOCUMENTS = ("Invoice", "Bill", "BillPayment")
NAMES = ("Customer", "Vendor")
LISTS = (*NAMES, "Item", "Account", "Term", "Class", "Department")

NOTE_LENGTH = 4000
_TAX_WORDS = {"TaxInclusive": "gross", "TaxExcluded": "net"}
_AMOUNT_BELOW = Decimal("1E+15")  # what is beyond it is no amount of money
_PLACES = 5  # QuickBooks keeps five digits after the point of quantities and prices
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_UI_PATH = {
    "Invoice": "invoice?txnId={}",
    "Bill": "bill?txnId={}",
    "BillPayment": "billpayment?txnId={}",
    "Customer": "customerdetail?nameId={}",
    "Vendor": "vendordetail?nameId={}",
}
_PARTY = {"Invoice": ("customer", "CustomerRef"), "Bill": ("vendor", "VendorRef"), "BillPayment": ("vendor", "VendorRef")}
_DETAIL = {"Invoice": "SalesItemLineDetail", "Bill": "AccountBasedExpenseLineDetail"}
# Fields of the header that a content may name or not: their key here, QuickBooks' name, whose ids they are.
_HEADER_REFS = (("term", "SalesTermRef"), ("class", "ClassRef"), ("department", "DepartmentRef"), ("ap_account", "APAccountRef"))


# ---------------------------------------------------------------------------------------------------------------- identity


# -------------------------------------------------------------------------------------------------------------- our content


def wanted(
    kind: LedgerKind, content: AnyContent, resolved: Resolved, policy: Policy, doc_number: str | None, marker: str,
    currency: str | None = None,
) -> Wanted:  # fmt: skip
    """Map any content (names included). `doc_number` None lets QuickBooks number the document.

    `currency` is the ISO code of a company that keeps several, else None: there a document must name its own (2020).
    """
    made = _wanted(kind, content, resolved, policy, doc_number, marker)
    if currency:
        made.body_fields["CurrencyRef"] = {"value": currency}
    return made


def _wanted(
    kind: LedgerKind, content: AnyContent, resolved: Resolved, policy: Policy, doc_number: str | None, marker: str
) -> Wanted:
    if isinstance(content, NameContent):
        return _wanted_name(kind, content, marker)
    if isinstance(content, BillPaymentContent):
        return _wanted_payment(content, resolved, doc_number, marker)
    entity, ids = ENTITY[kind], resolved.ids
    key, name = _PARTY[entity]
    memo = _clean(content.memo or "")
    day = content.txn_date.isoformat()
    body: dict[str, Any] = {name: {"value": ids[key]}, "TxnDate": day, "PrivateNote": _note(memo, marker)}
    fields = {key: ids[key], "txn_date": day, "memo": memo}
    cleared: dict[str, Any] = {}
    if content.due_date:
        body["DueDate"] = fields["due_date"] = content.due_date.isoformat()
    else:
        cleared["DueDate"] = None
    if doc_number:
        body["DocNumber"] = fields["doc_number"] = doc_number
    for key, name in _HEADER_REFS:
        if key in ids:
            body[name], fields[key] = {"value": ids[key]}, ids[key]
        elif key in ("term", "department") or (key == "class" and entity == "Invoice"):
            cleared[name] = None
    if isinstance(content, InvoiceContent):
        _custom(content, ids, policy, body, fields, cleared)
    given: Sequence[InvoiceLine | BillLine] = content.lines
    lines = [_line(entity, line, ids, fields, number) for number, line in enumerate(given, 1)]
    body["Line"], fields["lines"] = lines, str(len(lines))
    if isinstance(content, InvoiceContent):
        _discount(content, ids, body, fields)
    if "global_tax" in ids:
        body["GlobalTaxCalculation"] = ids["global_tax"]
        if ids["global_tax"] != "NotApplicable":
            fields["tax_calculation"] = _TAX_WORDS.get(ids["global_tax"], ids["global_tax"])
    if "txn_tax" in ids:
        body["TxnTaxDetail"], fields["txn_tax"] = {"TxnTaxCodeRef": {"value": ids["txn_tax"]}}, ids["txn_tax"]
    return Wanted(kind, entity, body, fields, cleared)


def _custom(
    content: InvoiceContent,
    ids: Mapping[str, str],
    policy: Policy,
    body: dict[str, Any],
    fields: dict[str, str],
    cleared: dict[str, Any],
) -> None:
    """Custom fields: an update names all that the policy maps, the absent ones empty."""
    given = {
        ids[f"custom:{custom.name}"]: _clean(custom.value) for custom in content.custom_fields if f"custom:{custom.name}" in ids
    }
    if given:
        body["CustomField"] = [_custom_field(definition, value) for definition, value in given.items()]
        fields.update({f"custom.{definition}": value for definition, value in given.items()})
    absent = [definition for definition in policy.custom_fields.values() if definition not in given]
    if absent:
        cleared["CustomField"] = [*body.get("CustomField", ()), *(_custom_field(definition, "") for definition in absent)]


def _custom_field(definition: str, value: str) -> dict[str, Any]:
    return {"DefinitionId": definition, "Type": "StringType", "StringValue": value}


def _discount(content: InvoiceContent, ids: Mapping[str, str], body: dict[str, Any], fields: dict[str, str]) -> None:
    """The discount's own line, after all others. None is a field as well: one that a person adds is a difference."""
    discount = content.discount
    amount = discount.of(sum((line.amount for line in content.lines), Decimal(0))) if discount else Decimal(0)
    fields["discount.amount"] = _cents(amount) if amount else ""
    if discount is None or not amount:
        return
    detail: dict[str, Any] = {"PercentBased": discount.percent is not None}
    line: dict[str, Any] = {"DetailType": "DiscountLineDetail", "DiscountLineDetail": detail}
    if discount.percent is not None:
        detail["DiscountPercent"], fields["discount.percent"] = discount.percent, _number(discount.percent)
    else:
        line["Amount"] = amount
    if "discount_account" in ids:
        detail["DiscountAccountRef"] = {"value": ids["discount_account"]}
        fields["discount.account"] = ids["discount_account"]
    body["Line"].append(line)
    body["ApplyTaxAfterDiscount"] = discount.before_tax
    if taxed(fields):  # else QuickBooks may answer what it likes: it changes nothing
        fields["discount.before_tax"] = str(discount.before_tax).lower()


def _line(
    entity: str, line: InvoiceLine | BillLine, ids: Mapping[str, str], fields: dict[str, str], number: int
) -> dict[str, Any]:
    at = f"line.{number}."
    detail: dict[str, Any] = {}
    tax = tax_of(line, ids)
    amount = net_of(line.amount, Decimal(ids[f"rate:{tax}"])) if f"rate:{tax}" in ids else line.amount
    if isinstance(line, InvoiceLine):
        detail["ItemRef"] = {"value": ids[f"item:{line.item}"]}
        fields[at + "item"] = ids[f"item:{line.item}"]
        if priced(line) and amount == line.amount:
            detail["Qty"], detail["UnitPrice"] = line.quantity, line.unit_price
            fields[at + "quantity"], fields[at + "unit_price"] = _number(line.quantity), _number(line.unit_price)
    else:
        detail["AccountRef"] = {"value": ids[f"account:{line.account}"]}
        fields[at + "account"] = ids[f"account:{line.account}"]
    if tax:
        tax = "TAX" if tax == ids.get("txn_tax") else tax  # US: the lines say whether, the invoice says which
        detail["TaxCodeRef"], fields[at + "tax"] = {"value": tax}, tax
    if ids.get("global_tax") == "TaxInclusive":
        detail["TaxInclusiveAmt"] = line.amount
    if "line_class" in ids:
        detail["ClassRef"], fields[at + "class"] = {"value": ids["line_class"]}, ids["line_class"]
    fields[at + "amount"] = _cents(amount)
    result: dict[str, Any] = {"Amount": amount, "DetailType": _DETAIL[entity], _DETAIL[entity]: detail}
    description = _clean(line.description or "")
    if description:
        result["Description"] = fields[at + "description"] = description
    return result


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


def _wanted_payment(content: BillPaymentContent, resolved: Resolved, doc_number: str | None, marker: str) -> Wanted:
    memo, bank = _clean(content.memo or ""), resolved.ids["bank_account"]
    link = {"TxnId": content.bill_id, "TxnType": "Bill"}
    body: dict[str, Any] = {
        "VendorRef": {"value": content.vendor_id},
        "TxnDate": content.txn_date.isoformat(),
        "TotalAmt": content.amount,
        "PayType": "Check",
        "CheckPayment": {"BankAccountRef": {"value": bank}},
        "PrivateNote": _note(memo, marker),
        "Line": [{"Amount": content.amount, "LinkedTxn": [link]}],
    }
    fields = {
        "vendor": content.vendor_id,
        "txn_date": content.txn_date.isoformat(),
        "memo": memo,
        "amount": _cents(content.amount),
        "bank_account": bank,
        "lines": "1",
        "line.1.amount": _cents(content.amount),
        "line.1.bill": content.bill_id,
    }
    if doc_number:
        body["DocNumber"] = fields["doc_number"] = doc_number
    if "ap_account" in resolved.ids:
        body["APAccountRef"] = {"value": resolved.ids["ap_account"]}
        fields["ap_account"] = resolved.ids["ap_account"]
    return Wanted(LedgerKind.BILL_PAYMENT, "BillPayment", body, fields)


def _wanted_name(kind: LedgerKind, content: NameContent, marker: str) -> Wanted:
    body: dict[str, Any] = {"DisplayName": _clean(content.name), "Notes": marker}
    if content.email:
        body["PrimaryEmailAddr"] = {"Address": _clean(content.email)}
    return Wanted(kind, ENTITY[kind], body, {"name": fold(_clean(content.name))})


# ------------------------------------------------------------------------------------------------------------------ bodies


def create_body(wanted: Wanted) -> str:
    """Return the body of a create."""
    return dumps(wanted.body_fields)


def update_body(wanted: Wanted, qbo_id: str, sync_token: str) -> str:
    """Return the body of a sparse update that names every owned field, so that what was removed is cleared."""
    head = {"Id": qbo_id, "SyncToken": sync_token, "sparse": True}
    return dumps({**head, **wanted.body_fields, **wanted.cleared})


def void_body(qbo_id: str, sync_token: str) -> str:
    """Return the body of a void."""
    return dumps({"Id": qbo_id, "SyncToken": sync_token, "sparse": True})


def delete_body(qbo_id: str, sync_token: str) -> str:
    """Return the body of a delete."""
    return dumps({"Id": qbo_id, "SyncToken": sync_token})


def name_body(kind: LedgerKind, name: str, email: str | None, marker: str) -> str:
    """Return the body that creates a customer or vendor."""
    return create_body(_wanted_name(kind, NameContent(name=name, email=email), marker))


def batch_body(items: Sequence[BatchItem]) -> str:
    """Return the body of a batch that embeds each item's exact body text."""
    return '{"BatchItemRequest":[' + ",".join(_batch_item(item) for item in items) + "]}"


def _batch_item(item: BatchItem) -> str:
    request = item.request
    voids = request.operation is Operation.VOID
    operation = "update" if voids else request.operation.value
    options = ',"optionsData":"void"' if voids else ""
    return f'{{"bId":{json.dumps(item.b_id)},"operation":"{operation}"{options},{json.dumps(request.entity)}:{request.body}}}'


def dumps(value: Any) -> str:
    """Write JSON with Decimals as the numbers they are. A float is refused."""
    if isinstance(value, str):
        return encode_basestring(value)
    if isinstance(value, dict):
        return "{" + ",".join([f"{encode_basestring_ascii(key)}:{dumps(item)}" for key, item in value.items()]) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join([dumps(item) for item in value]) + "]"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float):
        raise TypeError("a float must not reach QuickBooks")
    return json.dumps(value)


def named(body: str) -> set[tuple[str, str]]:
    """Return the list entries (entity, Id) that a request's body names."""
    found: set[tuple[str, str]] = set()

    def walk(value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, dict):
            for key, item in value.items():
                entity = _REFS.get(key.removesuffix("Ref")) if key.endswith("Ref") and isinstance(item, dict) else None
                if entity and item.get("value"):
                    found.add((entity, str(item["value"])))
                walk(item)

    walk(loads(body))
    return found


_REFS = {"Customer": "Customer", "Vendor": "Vendor", "Item": "Item", "Account": "Account", "APAccount": "Account",
         "BankAccount": "Account", "SalesTerm": "Term", "Class": "Class", "Department": "Department", "TaxCode": "TaxCode",
         "TxnTaxCode": "TaxCode"}  # fmt: skip


# -------------------------------------------------------------------------------------------------------- what QuickBooks has


def marker_of(entity: str, raw: Mapping[str, Any]) -> str | None:
    """Return the marker that an entity carries, as `seen` reads it; much cheaper."""
    markers = _marked(entity, raw)[1]
    return markers[-1] if markers else None


def _marked(entity: str, raw: Mapping[str, Any]) -> tuple[str, list[str]]:
    note = _text(raw.get("PrivateNote") if entity not in ("Customer", "Vendor") else raw.get("Notes"))
    return note, MARKER.findall(note)


def seen(entity: str, raw: Mapping[str, Any]) -> Seen:
    """Read an entity as QuickBooks shows it. Lines that the server adds (SubTotal) are ignored.

    Whatever is odd in it is read as text or left out, and so differs from ours; raises LookupUnreadable for an odd amount.
    """
    note, markers = _marked(entity, raw)
    total, balance = _amount(entity, raw, "TotalAmt", raw), _amount(entity, raw, "Balance", raw)
    tax = _amount(entity, raw, "TotalTax", part(raw, "TxnTaxDetail"))
    if entity in ("Customer", "Vendor"):
        fields = {"name": fold(_clean(_text(raw.get("DisplayName"))))}
    else:
        fields = _fields(entity, raw, _memo(note, markers))
    return Seen(
        entity=entity,
        qbo_id=_text(raw.get("Id")),
        sync_token=_text(raw.get("SyncToken")),
        doc_number=_text(raw.get("DocNumber")) or None,
        marker=markers[-1] if markers else None,
        total=to_cents(total),
        balance=to_cents(balance),
        voided=entity in _PARTY and total == 0 and note.lstrip().lower().startswith("voided"),
        fields=fields,
        raw=dict(raw),
        emailed=_enum(raw.get("EmailStatus")) == "emailsent",
        kind=KIND.get(entity),
        tax=to_cents(tax),
        active=_text(raw.get("Active", True)).lower() == "true",
        updated_at=_text(part(raw, "MetaData").get("LastUpdatedTime")),
    )


def readable(entity: str, rows: Iterable[Mapping[str, Any]]) -> tuple[list[Seen], list[str]]:
    """Read many; return beside them what is wrong with each that cannot be read."""
    found, odd = list[Seen](), list[str]()
    for raw in rows:
        try:
            found.append(seen(entity, raw))
        except LookupUnreadable as error:
            odd.append(str(error))
    return found, odd


def _fields(entity: str, raw: Mapping[str, Any], memo: str) -> dict[str, str]:
    key, name = _PARTY.get(entity, ("customer", "CustomerRef"))
    fields = {key: _ref(raw.get(name)), "memo": memo, "doc_number": _text(raw.get("DocNumber"))}
    fields["txn_date"], fields["due_date"] = _text(raw.get("TxnDate"))[:10], _text(raw.get("DueDate"))[:10]
    fields.update({key: value for key, name in _HEADER_REFS if (value := _ref(raw.get(name)))})
    if calculation := _text(raw.get("GlobalTaxCalculation")):
        fields["tax_calculation"] = _TAX_WORDS.get(calculation, calculation)
    for custom in rows(raw.get("CustomField")):
        if custom.get("StringValue"):
            fields[f"custom.{custom.get('DefinitionId')}"] = _clean(_text(custom["StringValue"]))
    if entity == "BillPayment":
        fields["amount"] = _cents(decimal_of(raw.get("TotalAmt")))
        fields["bank_account"] = _ref(part(raw, "CheckPayment").get("BankAccountRef"))
    lines = [line for line in rows(raw.get("Line")) if not _is(line, "subtotallinedetail")]
    if entity == "Invoice":
        fields |= _discount_fields(raw, [line for line in lines if _is(line, "discountlinedetail")])
        lines = [line for line in lines if not _is(line, "discountlinedetail")]
        if rate := _ref(part(raw, "TxnTaxDetail").get("TxnTaxCodeRef")):
            fields["txn_tax"] = rate
    fields["lines"] = str(len(lines))
    for number, line in enumerate(lines, 1):
        fields.update({f"line.{number}.{key}": value for key, value in _line_fields(line) if value})
    return fields


def _is(line: Mapping[str, Any], detail_type: str) -> bool:
    return _enum(line.get("DetailType")) == detail_type


def _discount_fields(raw: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Read the discount. A line of nothing, which QuickBooks may keep, is none."""
    amount = sum((decimal_of(line.get("Amount")) for line in lines), Decimal(0))
    if not amount:
        return {"discount.amount": ""}
    detail = _detail(lines[0])
    fields = {"discount.amount": _cents(amount), "discount.account": _ref(detail.get("DiscountAccountRef"))}
    fields["discount.before_tax"] = _text(raw.get("ApplyTaxAfterDiscount") or False).lower()
    if _text(detail.get("PercentBased")).lower() == "true":
        fields["discount.percent"] = _number(decimal_of(detail.get("DiscountPercent")))
    return fields


def _line_fields(line: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    detail = _detail(line)
    yield "amount", _cents(decimal_of(line.get("Amount")))
    yield "description", _clean(_text(line.get("Description")))
    yield "item", _ref(detail.get("ItemRef"))
    yield "account", _ref(detail.get("AccountRef"))
    yield "class", _ref(detail.get("ClassRef"))
    yield "tax", _ref(detail.get("TaxCodeRef"))
    for key, name in (("quantity", "Qty"), ("unit_price", "UnitPrice")):
        if detail.get(name) not in (None, ""):
            yield key, _number(decimal_of(detail[name]))
    for link in rows(line.get("LinkedTxn")):
        if _enum(link.get("TxnType")) == "bill":
            yield "bill", _text(link.get("TxnId"))


def _detail(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the detail of a line, whichever kind it is: the DetailType may be spelled SALES_ITEM_LINE_DETAIL."""
    return next((value for key, value in line.items() if key.endswith("LineDetail") and isinstance(value, dict)), {})


def url(settings: WriterSettings, kind: LedgerKind, qbo_id: str, realm: str) -> str:
    """Return the link to the document for people."""
    return f"{settings.ui_url}/app/{_UI_PATH[ENTITY[kind]].format(qbo_id)}&companyId={realm}"


# ----------------------------------------------------------------------------------------------------------------- details


def _note(memo: str, marker: str) -> str:
    return f"{memo[: NOTE_LENGTH - len(marker) - 1]}\n{marker}" if memo else marker


def _memo(note: str, markers: Sequence[str]) -> str:
    if not markers:
        return _clean(note)
    at = note.rindex(markers[-1])
    return _clean(note[:at] + note[at + len(markers[-1]) :])


def _clean(text: str) -> str:
    """Take out what QuickBooks refuses (control characters), unify line ends, trim."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def part(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a part of an entity that is an object; nothing where it is missing or anything else."""
    value = raw.get(name)
    return value if isinstance(value, dict) else {}


def rows(value: object) -> list[Mapping[str, Any]]:
    """Return the objects of a list; none where it is missing or anything else."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _amount(entity: str, raw: Mapping[str, Any], name: str, of: Mapping[str, Any]) -> Decimal:
    """Return a total. Of a document nothing safe can be assumed for one that cannot be read: what was paid is decided by it."""
    value = decimal_of(of.get(name))
    if value.is_finite():
        return value
    if entity in _PARTY:
        raise LookupUnreadable(f"{name} of {entity} {_text(raw.get('Id'))[:40]} could not be read")
    return Decimal(0)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _ref(value: object) -> str:
    return _text(value.get("value")) if isinstance(value, dict) else ""


def _enum(value: object) -> str:
    """Return an enum as letters only: Intuit prints EmailSent and EMAIL_SENT."""
    return _text(value).replace("_", "").replace(" ", "").lower()


def decimal_of(value: object) -> Decimal:
    """Read an amount of an entity: 0 where there is none, NaN where it cannot be read."""
    if value is None or value == "":
        return Decimal(0)
    try:
        found = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        return Decimal("NaN")
    return found if found.is_finite() and abs(found) < _AMOUNT_BELOW else Decimal("NaN")


def _cents(value: Decimal) -> str:
    return format(to_cents(value), "f") if value.is_finite() else "?"


def _number(value: Decimal | None) -> str:
    """Write a number in one form: 1.50 and 1.5 are equal, also 100 and 1E+2."""
    if value is None or not value.is_finite():
        return "?"
    text = format(value, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"
