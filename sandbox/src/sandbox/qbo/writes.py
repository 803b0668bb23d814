"""Create, update, sparse update, delete and void: rules, what the server fills in, and what linked documents feel.

Everything here is synchronous and either commits wholly or raises a Fault before anything is stored.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sandbox.qbo.clock import pacific
from sandbox.qbo.faults import Fault
from sandbox.qbo.schema import KINDS, PLANS, Entity
from sandbox.qbo.store import NAME_KINDS, TXN_KINDS, ZERO, Company, Doc, folded
from sandbox.qbo.validation import CLEAR, REQUIRED, cents, clean

SALES_KINDS = ("Invoice", "Estimate", "CreditMemo", "SalesReceipt", "RefundReceipt")
PURCHASE_KINDS = ("Bill", "VendorCredit", "Purchase", "PurchaseOrder")
FORBIDDEN_IN_NAMES = re.compile(r"[:\t\n\r]")
FORBIDDEN_IN_ACCOUNTS = re.compile(r'[:"\t\n\r]')
DELETED = " (deleted)"
PERSON = "Pat Bookkeeper"  # who "finished before you did" in 5010


@dataclass(slots=True)
class Options:
    """What the URL or the batch item says besides the body."""

    include: frozenset[str] = frozenset()
    person: bool = False  # done by a person in the product: the API's gates do not hold


@dataclass(slots=True)
class Change:
    """A write being prepared: the new document and the other documents it moves, stored together at the end."""

    company: Company
    entity: Entity
    old: Doc | None
    doc: Doc
    options: Options
    moved: dict[tuple[str, str], Doc] = field(default_factory=dict)

    def target(self, kind: str, doc_id: str) -> Doc | None:
        """The present state of another document, as this change already left it."""
        return self.moved.get((kind, doc_id)) or self.company.get(kind, doc_id)


# -- entry points ------------------------------------------------------------------------------------------------------


def save(company: Company, entity: Entity, body: Any, options: Options | None = None) -> Doc:
    """Create (no Id) or update (Id and SyncToken); returns the stored document."""
    options = options or Options()
    values = clean(entity, body, company)
    doc_id = values.get("Id")
    if not doc_id or doc_id is CLEAR:
        if entity.kind in ("CompanyInfo", "Preferences"):
            raise Fault("2020", element="Id")
        return _create(company, entity, values, body, options)
    return _update(company, entity, str(doc_id), values, body, options)


def delete(company: Company, entity: Entity, body: Any, options: Options | None = None) -> Doc:
    """Delete by Id and SyncToken; returns the stub `{"status": "Deleted", "domain": "QBO", "Id": ...}`."""
    options = options or Options()
    if not entity.delete and not options.person:
        raise Fault("500", detail=f"Operation delete is not supported for {entity.kind}.")
    old = _existing(company, entity, body, options)
    if entity.kind in TXN_KINDS:
        _check_period(company, old.get("TxnDate"))
        if entity.kind == "Invoice" and old.get("LinkedTxn") and any(t["TxnType"] == "Payment" for t in old["LinkedTxn"]):
            raise Fault("6400")
        if entity.kind in ("Bill", "CreditMemo", "VendorCredit") and old.get("LinkedTxn"):
            raise Fault("6400")
        _check_deposited(old, entity.kind)
    change = Change(company, entity, old, {}, options)
    _apply_links(change, old, None)
    _store_moved(change)
    company.remove(entity.kind, old["Id"])
    return {"status": "Deleted", "domain": "QBO", "Id": old["Id"]}


def void(company: Company, entity: Entity, body: Any, options: Options | None = None) -> Doc:
    """Void: amounts and quantities 0, links gone, "Voided" in PrivateNote, the DocNumber stays."""
    options = options or Options()
    if not entity.void:
        raise Fault("500", detail=f"Operation void is not supported for {entity.kind}.")
    old = _existing(company, entity, body, options)
    _check_period(company, old.get("TxnDate"))
    _check_deposited(old, entity.kind)
    if old.get("TotalAmt") == 0 and str(old.get("PrivateNote", "")).startswith("Voided"):
        return old
    doc = dict(old)
    note = old.get("PrivateNote")
    doc["PrivateNote"] = ("Voided - " + note if note else "Voided")[:4000]
    doc["TotalAmt"] = ZERO
    for name in ("Balance", "UnappliedAmt", "Deposit"):
        if name in doc:
            doc[name] = ZERO
    if "LinkedTxn" in doc:
        doc["LinkedTxn"] = []
    if "TxnTaxDetail" in doc:
        doc["TxnTaxDetail"] = {"TotalTax": ZERO}
    doc["Line"] = [] if entity.kind in ("Payment", "BillPayment") else [_voided_line(line) for line in old.get("Line", ())]
    change = Change(company, entity, old, doc, options)
    if entity.kind == "Invoice":
        _unlink_payments(change, old)
    _apply_links(change, old, None)
    _stamp(change)
    _store_moved(change)
    return company.put(entity.kind, doc, "Void")


# -- create and update -------------------------------------------------------------------------------------------------


def _create(company: Company, entity: Entity, values: Doc, body: Doc, options: Options) -> Doc:
    if not entity.create and not options.person:
        raise Fault("500", detail=f"Operation create is not supported for {entity.kind}.")
    check_plan(company, entity)
    doc = {key: value for key, value in values.items() if value is not CLEAR and (value != "" or key == "DocNumber")}
    for name in ("Id", "SyncToken", "sparse", "domain", "MetaData"):
        doc.pop(name, None)
    _check_required(entity, doc, body)
    change = Change(company, entity, None, doc, options)
    _finish(change)
    doc["domain"] = "QBO"
    doc["sparse"] = False
    doc["Id"] = company.new_id(entity.kind)
    doc["SyncToken"] = "0"
    now = pacific(company.clock.now())
    doc["MetaData"] = {"CreateTime": now, "LastUpdatedTime": now}
    _apply_links(change, None, doc)
    opening = doc.pop("_opening", None)
    company.put(entity.kind, doc)
    _store_moved(change)
    if opening:
        _open_balance(company, entity.kind, doc, opening)
    return doc


def _open_balance(company: Company, kind: str, doc: Doc, amount: Decimal) -> None:
    """An opening balance is a journal entry against Opening Balance Equity."""
    receivable = kind == "Customer"
    entity = {"Type": kind, "EntityRef": {"value": doc["Id"]}}
    control = {"PostingType": "Debit" if receivable else "Credit", "AccountRef": {"value": company.roles["receivable" if receivable else "payable"]},
               "Entity": entity}
    equity = {"PostingType": "Credit" if receivable else "Debit", "AccountRef": {"value": company.roles["opening_balance"]}}
    body = {"TxnDate": doc.get("OpenBalanceDate"), "PrivateNote": "Opening Balance", "Line": [
        {"Amount": amount, "DetailType": "JournalEntryLineDetail", "JournalEntryLineDetail": detail} for detail in (control, equity)]}
    save(company, KINDS["JournalEntry"], body, Options(person=True))


def _update(company: Company, entity: Entity, doc_id: str, values: Doc, body: Doc, options: Options) -> Doc:
    if not entity.update and not options.person:
        raise Fault("500", detail=f"Operation update is not supported for {entity.kind}.")
    old = _existing(company, entity, body, options)
    check_plan(company, entity)
    sparse = str(body.get("sparse", "")).lower() == "true"
    if sparse:
        doc = {**old, **{k: v for k, v in values.items() if v is not CLEAR and v != ""}}
        for name in [k for k, v in values.items() if (v is CLEAR or v == "") and k not in REQUIRED[entity.kind]]:
            if name not in KEPT and name != NAME_OF.get(entity.kind):
                doc.pop(name, None)
    else:
        doc = {key: value for key, value in values.items() if value is not CLEAR and (value != "" or key == "DocNumber")}
        for name in KEPT_ON_FULL.get(entity.group, ()):
            if name not in doc and name in old:
                doc[name] = old[name]
        if entity.kind in ("CompanyInfo", "Preferences"):
            doc = {**old, **doc}
        _check_required(entity, doc, body)
    doc.update(Id=doc_id, SyncToken=old["SyncToken"], domain="QBO", sparse=False, MetaData=old["MetaData"])
    if entity.kind in TXN_KINDS:
        _check_period(company, old.get("TxnDate"))
        if _money_moved(old, doc):
            _check_deposited(old, entity.kind)
    change = Change(company, entity, old, doc, options)
    if doc.get("Line") is not old.get("Line") and "Line" in doc:
        _number_lines(change)
    _finish(change)
    _stamp(change)
    _apply_links(change, old, doc)
    company.put(entity.kind, doc)
    _store_moved(change)
    return doc


KEPT = frozenset({"Id", "SyncToken", "sparse", "domain", "MetaData"})
NAME_OF = {"Customer": "DisplayName", "Vendor": "DisplayName", "Employee": "DisplayName"}
# A full update empties what is left out; what cannot be empty stays as it was.
KEPT_ON_FULL: dict[str, tuple[str, ...]] = {
    "txn": ("TxnDate", "LinkedTxn", "CurrencyRef", "ExchangeRate"),
    "name": ("Active", "CurrencyRef", "PrintOnCheckName"),
    "list": ("Active", "Type", "AccountType", "AccountSubType", "CurrencyRef", "TrackQtyOnHand", "InvStartDate", "QtyOnHand"),
    "other": ("Active", "FileAccessUri", "Size", "ContentType", "FileName"),
}


def _existing(company: Company, entity: Entity, body: Any, options: Options) -> Doc:
    if type(body) is not dict:
        raise Fault("2010", detail="Property Name:failed to parse json object; the request body is no object")
    doc_id = body.get("Id")
    if doc_id is None or doc_id == "":
        raise Fault("2020", element="Id")
    doc_id = str(doc_id)
    if not doc_id.isascii() or not doc_id.isdigit():
        raise Fault("2030", element="Id", value=doc_id)
    old = company.get(entity.kind, doc_id)
    if old is None:
        if doc_id in company.stubs.get(entity.kind, {}):
            raise Fault("610", detail="Object Not Found : Another user has deleted this transaction.")
        raise Fault("610")
    if options.person:
        return old
    token = body.get("SyncToken")
    if token is None or token == "":
        raise Fault("2020", element="SyncToken")
    if str(token) != old["SyncToken"]:
        raise Fault("5010", value=PERSON)
    return old


def _stamp(change: Change) -> None:
    """Next SyncToken and LastUpdatedTime."""
    old = change.old
    assert old is not None
    bump(change.company, old, change.doc)


def bump(company: Company, old: Doc, new: Doc) -> Doc:
    """Give `new` the next SyncToken and LastUpdatedTime after `old`."""
    new["SyncToken"] = str(int(old["SyncToken"]) + 1)
    new["MetaData"] = {**old["MetaData"], "LastUpdatedTime": pacific(company.clock.now())}
    return new


def _check_required(entity: Entity, doc: Doc, body: Doc) -> None:
    for name in REQUIRED[entity.kind]:
        value = doc.get(name)
        if value is None or value == [] or value == "":
            if name == "CustomerRef" and body.get("CustomerRef") is not None and entity.kind in SALES_KINDS:
                raise Fault("6250")
            if name == "Line" and body.get("Line") == []:
                raise Fault("2250")
            raise Fault("2020", element=name)


def check_plan(company: Company, entity: Entity) -> None:
    """5030 where the company's plan lacks the entity."""
    if PLANS.index(company.plan) < PLANS.index(entity.plan):
        raise Fault("5030", value=entity.kind)


def _check_period(company: Company, day: str | None) -> None:
    closing = company.closing_date
    if closing and day and day <= closing:
        raise Fault("6210")


def _check_deposited(doc: Doc, kind: str) -> None:
    if kind in ("Payment", "SalesReceipt") and any(t["TxnType"] == "Deposit" for t in doc.get("LinkedTxn", ())):
        raise Fault("6540")


def _money_moved(old: Doc, new: Doc) -> bool:
    return any(old.get(name) != new.get(name) for name in ("TotalAmt", "Line", "DepositToAccountRef", "CustomerRef"))


def _voided_line(line: Doc) -> Doc:
    line = dict(line)
    if "Amount" in line:
        line["Amount"] = ZERO
    detail_type = line.get("DetailType")
    detail = line.get(detail_type) if detail_type else None
    if isinstance(detail, dict):
        detail = dict(detail)
        for name in ("Qty", "UnitPrice", "TaxAmount", "Quantity"):
            if name in detail:
                detail[name] = ZERO
        line[detail_type] = detail
    return line


def _number_lines(change: Change) -> None:
    """Line Ids: known ones stay, anything else is a new line."""
    old_ids = {str(line["Id"]) for line in (change.old or {}).get("Line", ()) if "Id" in line}
    top = max((int(i) for i in old_ids if i.isdigit()), default=0)
    for line in change.doc["Line"]:
        line_id = str(line.get("Id", ""))
        if line_id in old_ids:
            line["Id"] = line_id
            old_ids.discard(line_id)
        elif line.get("DetailType") != "SubTotalLineDetail":
            top += 1
            line["Id"] = str(top)


# -- what each kind fills in and refuses -------------------------------------------------------------------------------


def _finish(change: Change) -> None:
    kind = change.entity.kind
    if change.entity.group == "txn" and kind != "TimeActivity":
        _finish_txn(change)
    FINISHERS.get(kind, _nothing)(change)


def _nothing(change: Change) -> None:
    return


def _finish_txn(change: Change) -> None:
    company, doc, kind = change.company, change.doc, change.entity.kind
    if "TxnDate" not in doc:
        doc["TxnDate"] = company.today()
    _check_period(company, doc["TxnDate"])
    _check_tracking(change)
    _currency(change)
    if kind != "Payment":
        _doc_number(change)
    lines = doc.get("Line")
    if lines is not None and change.old is None:
        for index, line in enumerate(lines, 1):
            line["Id"] = str(index)
    _custom_fields(change)


def _custom_fields(change: Change) -> None:
    for custom in change.doc.get("CustomField", ()):
        definition = str(custom.get("DefinitionId", ""))
        if definition not in ("1", "2", "3"):
            raise Fault("3000", element="CustomField", value=definition)
        custom["DefinitionId"] = definition
        custom.setdefault("Type", "StringType")


def _check_tracking(change: Change) -> None:
    company, doc = change.company, change.doc
    if doc.get("DepartmentRef") and PLANS.index(company.plan) < PLANS.index("essentials"):
        raise Fault("5030", value="Location")
    if PLANS.index(company.plan) >= PLANS.index("plus"):
        return
    if doc.get("ClassRef") or any(
        isinstance(detail := line.get(line.get("DetailType", "")), dict) and detail.get("ClassRef") for line in doc.get("Line", ())
    ):
        raise Fault("5030", value="Class")


def _currency(change: Change) -> None:
    company, doc = change.company, change.doc
    currency = doc.get("CurrencyRef")
    home = company.preference("CurrencyPrefs", "HomeCurrency")["value"]
    if not currency:
        return
    code = currency["value"]
    if code == home:
        doc["CurrencyRef"] = {"value": home, "name": currency.get("name", home)}
        return
    if not company.preference("CurrencyPrefs", "MultiCurrencyEnabled"):
        raise Fault("2220", element="CurrencyRef", value=code)
    if not any(row["Code"] == code and row.get("Active", True) for row in company.rows("CompanyCurrency")):
        raise Fault("2220", element="CurrencyRef", value=code)
    doc.setdefault("ExchangeRate", Decimal(1))


WARNINGS = {
    "Invoice": "WarnDuplicateInvoiceNumber",
    "Estimate": "WarnDuplicateInvoiceNumber",
    "CreditMemo": "WarnDuplicateInvoiceNumber",
    "SalesReceipt": "WarnDuplicateInvoiceNumber",
    "RefundReceipt": "WarnDuplicateInvoiceNumber",
    "Bill": "WarnDuplicateBillNumber",
    "VendorCredit": "WarnDuplicateBillNumber",
    "Purchase": "WarnDuplicateCheckNumber",
    "BillPayment": "WarnDuplicateCheckNumber",
    "JournalEntry": "WarnDuplicateJournalNumber",
    "PurchaseOrder": "WarnDuplicateBillNumber",
}


def _doc_number(change: Change) -> None:
    """DocNumber by preference: given or empty with custom numbers, last + 1 without; 6140 for a duplicate."""
    company, doc, old, kind = change.company, change.doc, change.old, change.entity.kind
    given = doc.get("DocNumber")
    if given is None:
        if change.old is not None and not _custom_numbers(company, kind) and old:
            if old.get("DocNumber"):
                doc["DocNumber"] = old["DocNumber"]
        elif change.old is None and (
            (kind in (*SALES_KINDS, "PurchaseOrder") and not _custom_numbers(company, kind))
            or (kind == "JournalEntry" and "allowautodocnum" in change.options.include)
        ):
            number = company.last_number.get("sales" if kind in SALES_KINDS else kind, 1036) + 1
            company.last_number["sales" if kind in SALES_KINDS else kind] = number
            doc["DocNumber"] = str(number)
        return
    if given == "":
        del doc["DocNumber"]  # empty is not "omitted": the document gets no number
        return
    if old is not None and old.get("DocNumber") == given:
        return
    if "allowduplicatedocnum" in change.options.include or not company.warns(WARNINGS.get(kind, "")):
        return
    if kind in SALES_KINDS and not _custom_numbers(company, kind):
        return  # without custom numbers a number sent is kept and may be a duplicate
    taken = company.doc_numbers.get(kind, {}).get(given)
    if taken:
        raise Fault("6140", value=given, kind=kind, id=taken[0])


def _custom_numbers(company: Company, kind: str) -> bool:
    if kind == "PurchaseOrder":
        return company.warns("VendorAndPurchasesPrefs.UseCustomTxnNumbers")
    return bool(company.preference("SalesFormsPrefs", "CustomTxnNumbers"))


def _finish_sales(change: Change) -> None:
    company, doc, kind = change.company, change.doc, change.entity.kind
    customer_ref = doc.get("CustomerRef")
    customer = company.get("Customer", customer_ref["value"]) if customer_ref else None
    if customer:
        for name in ("BillAddr", "ShipAddr"):
            if name not in doc and name in customer:
                doc[name] = customer[name]
    subtotal, taxable, discount = _sales_lines(change)
    tax = _tax(change, taxable)
    doc["TotalAmt"] = total = subtotal - discount + tax
    if total < 0:
        raise Fault("6000", detail="Business Validation Error: Transaction amount must be 0 or greater.")
    doc.setdefault("ApplyTaxAfterDiscount", False)
    doc.setdefault("PrintStatus", "NeedToPrint")
    status = doc.setdefault("EmailStatus", "NotSet")
    if status == "NeedToSend" and not (doc.get("BillEmail") or {}).get("Address"):
        raise Fault("6420", element="BillEmail")
    doc.setdefault("CustomField", [])
    doc.setdefault("LinkedTxn", [])
    if kind == "Invoice":
        _finish_invoice(change, customer, total)
    elif kind == "CreditMemo":
        used = _applied(change.old)
        doc["RemainingCredit"] = total - used
        doc["Balance"] = total - used
        if total < used:
            raise Fault("6000", detail="Business Validation Error: The credit memo is applied already for more than this amount.")
    elif kind == "Estimate":
        doc.setdefault("TxnStatus", "Pending")
    else:
        doc["Balance"] = ZERO
        if "DepositToAccountRef" not in doc:
            doc["DepositToAccountRef"] = _role_ref(company, "undeposited")


def _finish_invoice(change: Change, customer: Doc | None, total: Decimal) -> None:
    company, doc = change.company, change.doc
    if "DueDate" not in doc or (change.old is not None and _term_moved(change.old, doc)):
        term = doc.get("SalesTermRef") or (customer or {}).get("SalesTermRef")
        if term and "SalesTermRef" not in doc:
            doc["SalesTermRef"] = term
        doc["DueDate"] = due_date(company, doc["TxnDate"], term)
    deposit = doc.get("Deposit", ZERO)
    doc["Deposit"] = deposit
    if deposit < 0 or deposit > total:
        raise Fault("6000", detail="Business Validation Error: The deposit must be between 0 and the total.")
    if change.old is None:
        doc["LinkedTxn"] = _estimate_links(change)
        doc["Balance"] = total - deposit
        return
    doc["LinkedTxn"] = change.old.get("LinkedTxn", [])
    paid = _paid(change.old)
    if total - deposit < paid:
        _reduce_payments(change, paid - (total - deposit))
        paid = total - deposit
    doc["Balance"] = total - deposit - paid


def _term_moved(old: Doc, new: Doc) -> bool:
    return old.get("DueDate") == new.get("DueDate") and (
        old.get("SalesTermRef") != new.get("SalesTermRef") or old.get("TxnDate") != new.get("TxnDate")
    )


def _estimate_links(change: Change) -> list[Doc]:
    """An invoice may be linked to one estimate and to time activities; other links sent are read-only and ignored."""
    links = []
    for link in change.doc.get("LinkedTxn", ()):
        kind = link.get("TxnType")
        if kind in ("Estimate", "TimeActivity"):
            if change.company.get(kind, str(link.get("TxnId"))) is None:
                raise Fault("620", element="LinkedTxn", value=link.get("TxnId"))
            links.append({"TxnId": str(link["TxnId"]), "TxnType": kind})
    if sum(link["TxnType"] == "Estimate" for link in links) > 1:
        raise Fault("2600", element="LinkedTxn")
    return links


def _sales_lines(change: Change) -> tuple[Decimal, Decimal, Decimal]:
    """Cleans the lines; returns sum of the items, taxable part, discount. Appends the SubTotal line."""
    company, doc = change.company, change.doc
    lines, discounts, subtotal, taxable = [], [], ZERO, ZERO
    for line in doc.get("Line", ()):
        detail_type = line.get("DetailType")
        if detail_type == "SubTotalLineDetail":
            continue  # the server makes its own
        if detail_type == "DiscountLineDetail":
            discounts.append(line)
            continue
        if detail_type in ("DescriptionOnly", "DescriptionLineDetail"):
            line["DetailType"] = "DescriptionOnly"
            line.setdefault("DescriptionLineDetail", {})
            lines.append(line)
            continue
        if detail_type is None:
            raise Fault("2020", element="Line.DetailType")
        if detail_type == "GroupLineDetail":
            amount = line["Amount"] = cents(line.get("Amount", ZERO))
        else:
            amount = _sales_item(change, line)
            if _is_taxed(company, line["SalesItemLineDetail"]):
                taxable += amount
        subtotal += amount
        lines.append(line)
    if not lines and change.entity.kind != "Estimate":
        raise Fault("2250" if doc.get("Line") else "2020", element="Line")
    if taxable and len(lines) > 750:
        raise Fault("6000", detail="Business Validation Error: a taxable transaction can have at most 750 lines.")
    for index, line in enumerate(lines, 1):
        line["LineNum"] = index
        if not line.get("LinkedTxn", True):
            del line["LinkedTxn"]
        if not line.get("CustomField", True):
            del line["CustomField"]
    discount = ZERO
    for line in discounts:
        discount += _discount(change, line, subtotal)
    doc["Line"] = [*lines, {"Amount": subtotal, "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}}, *discounts]
    if discount and doc.get("ApplyTaxAfterDiscount") and subtotal:
        taxable -= cents(discount * taxable / subtotal)
    return subtotal, taxable, discount


def _sales_item(change: Change, line: Doc) -> Decimal:
    company, doc = change.company, change.doc
    detail = line.setdefault("SalesItemLineDetail", {})
    amount = _line_amount(line, detail)
    if "ItemRef" not in detail:
        default = company.get("Item", "1")
        if default is None:
            raise Fault("6440")
        detail["ItemRef"] = company.reference("Item", "1", default)
    item = company.get("Item", detail["ItemRef"]["value"])
    if item is not None:
        if item.get("Type") == "Category":
            raise Fault("2500", element="ItemRef", value=item["Id"], target="Items")
        if item.get("Type") == "Inventory" and item.get("InvStartDate", "") > doc["TxnDate"] and change.entity.kind != "Estimate":
            raise Fault("6270", value=item["Name"])
    if "TaxCodeRef" not in detail:
        detail["TaxCodeRef"] = {"value": "TAX" if item and item.get("Taxable") else "NON"}
    elif detail["TaxCodeRef"]["value"] == "CustomSalesTax":
        raise Fault("6160", element="TaxCodeRef")
    elif company.country == "US" and detail["TaxCodeRef"]["value"] not in ("TAX", "NON"):
        raise Fault("6100", element="TaxCodeRef", value=detail["TaxCodeRef"]["value"])
    return amount


def _line_amount(line: Doc, detail: Doc) -> Decimal:
    """Amount of a line, which must be Qty x UnitPrice, half up; a line of Qty 0 and UnitPrice 0 keeps its Amount."""
    quantity, price, amount = detail.get("Qty"), detail.get("UnitPrice"), line.get("Amount")
    product = cents(quantity * price) if quantity is not None and price is not None else None
    if amount is None:
        if product is None:
            raise Fault("2020", element="Line.Amount")
        amount = product
    elif product is not None and amount != product and (quantity or price):
        raise Fault("6070", element="Line.Amount", value=f"{amount.normalize():,f}")
    amount = cents(amount)
    line["Amount"] = amount
    return amount


def _discount(change: Change, line: Doc, subtotal: Decimal) -> Decimal:
    company = change.company
    detail = line.setdefault("DiscountLineDetail", {})
    amount = line.get("Amount")
    if detail.get("PercentBased"):
        if "DiscountPercent" not in detail:
            raise Fault("6090")
        amount = cents(subtotal * detail["DiscountPercent"] / 100)
    elif amount is None:
        raise Fault("6090")
    if amount < 0:
        raise Fault("2290", element="Line.Amount", value=amount)
    if amount and company.preference("SalesFormsPrefs", "AllowDiscount") is False:
        raise Fault("6000", detail="Business Validation Error: discounts are switched off for this company.")
    line["Amount"] = cents(amount)
    detail.setdefault("PercentBased", False)
    if "DiscountAccountRef" not in detail:
        detail["DiscountAccountRef"] = _role_ref(company, "discounts")
    line.pop("Id", None)
    return cents(amount)


def _is_taxed(company: Company, detail: Doc) -> bool:
    code = detail.get("TaxCodeRef", {}).get("value")
    return bool(code and code != "NON")


def _tax(change: Change, taxable: Decimal) -> Decimal:
    """Sales tax by the rates of TxnTaxCodeRef; without sales tax in the company the detail is ignored."""
    company, doc = change.company, change.doc
    given = doc.get("TxnTaxDetail") or {}
    if doc.get("GlobalTaxCalculation") == "NotApplicable" and given.get("TxnTaxCodeRef"):
        raise Fault("6230" if change.old else "6170", element="TxnTaxDetail")
    doc.pop("GlobalTaxCalculation", None) if company.country == "US" else None
    if not company.preference("TaxPrefs", "UsingSalesTax"):
        doc["TxnTaxDetail"] = {"TotalTax": ZERO}
        return ZERO
    code_ref = given.get("TxnTaxCodeRef") or (company.preference("TaxPrefs", "TaxGroupCodeRef") if taxable else None)
    if not code_ref or not taxable:
        doc["TxnTaxDetail"] = {**({"TxnTaxCodeRef": code_ref} if code_ref else {}), "TotalTax": ZERO}
        return ZERO
    code = company.get("TaxCode", code_ref["value"])
    lines, total = [], ZERO
    for entry in ((code or {}).get("SalesTaxRateList") or {}).get("TaxRateDetail", ()):
        rate = company.get("TaxRate", entry["TaxRateRef"]["value"])
        if rate is None:
            raise Fault("6470")
        percent = rate["RateValue"]
        amount = cents(taxable * percent / 100)
        total += amount
        lines.append({"Amount": amount, "DetailType": "TaxLineDetail", "TaxLineDetail": {
            "TaxRateRef": {"value": rate["Id"]}, "PercentBased": True, "TaxPercent": percent, "NetAmountTaxable": taxable}})
    doc["TxnTaxDetail"] = {"TxnTaxCodeRef": {"value": code_ref["value"]}, "TotalTax": total, "TaxLine": lines}
    return total


def due_date(company: Company, day: str, term_ref: Doc | None) -> str:
    """TxnDate plus the term's days, or the term's day of the month; without a term the same day."""
    term = company.get("Term", term_ref["value"]) if term_ref else None
    if term is None:
        return day
    start = date.fromisoformat(day)
    if "DayOfMonthDue" in term:
        month_end = calendar.monthrange(start.year, start.month)[1]
        due = start.replace(day=min(term["DayOfMonthDue"], month_end))
        if due < start or (due - start).days < term.get("DueNextMonthDays", 0):
            year, month = (start.year + 1, 1) if start.month == 12 else (start.year, start.month + 1)
            due = date(year, month, min(term["DayOfMonthDue"], calendar.monthrange(year, month)[1]))
        return due.isoformat()
    return (start + timedelta(days=term.get("DueDays", 0))).isoformat()


def _role_ref(company: Company, role: str) -> dict[str, str]:
    account_id = company.roles[role]
    account = company.get("Account", account_id)
    assert account is not None
    return company.reference("Account", account_id, account)


def _finish_purchase(change: Change) -> None:
    company, doc, kind = change.company, change.doc, change.entity.kind
    total = ZERO
    kept = []
    for line in doc["Line"]:
        detail_type = line.get("DetailType")
        if detail_type == "SubTotalLineDetail":
            continue
        if detail_type == "DescriptionOnly":
            kept.append(line)
            continue
        if detail_type is None:
            raise Fault("2020", element="Line.DetailType")
        detail = line.get(detail_type)
        if detail_type == "AccountBasedExpenseLineDetail":
            if not isinstance(detail, dict) or "AccountRef" not in detail:
                raise Fault("6440", element="AccountRef")
            _no_control_account(company, detail["AccountRef"])
            if "Amount" not in line:
                raise Fault("2020", element="Line.Amount")
            line["Amount"] = cents(line["Amount"])
        elif detail_type == "ItemBasedExpenseLineDetail":
            if not isinstance(detail, dict) or "ItemRef" not in detail:
                raise Fault("6440", element="ItemRef")
            _line_amount(line, detail)
        else:
            line["Amount"] = cents(line.get("Amount", ZERO))
        if isinstance(detail, dict) and detail_type != "GroupLineDetail":
            detail.setdefault("TaxCodeRef", {"value": "NON"})
            detail.setdefault("BillableStatus", "NotBillable")
        total += line["Amount"]
        kept.append(line)
        if not line.get("LinkedTxn", True):
            del line["LinkedTxn"]
        if not line.get("CustomField", True):
            del line["CustomField"]
    if not kept:
        raise Fault("2250")
    for index, line in enumerate(kept, 1):
        line["LineNum"] = index
    doc["Line"] = kept
    doc["TotalAmt"] = total
    if total < 0 and kind != "Purchase":
        raise Fault("6000", detail="Business Validation Error: Transaction amount must be 0 or greater.")
    doc.pop("GlobalTaxCalculation", None) if company.country == "US" else None
    if kind == "Purchase":
        _finish_expense(change)
        return
    if "APAccountRef" not in doc:
        doc["APAccountRef"] = _role_ref(company, "payable")
    _account_type(company, doc["APAccountRef"], ("Accounts Payable",))
    if kind == "PurchaseOrder":
        doc.setdefault("POStatus", "Open")
        doc.setdefault("EmailStatus", "NotSet")
        return
    old = change.old
    doc["LinkedTxn"] = old.get("LinkedTxn", []) if old else _order_links(change)
    if kind == "Bill" and ("DueDate" not in doc or (old is not None and _term_moved(old, doc))):
        vendor = company.get("Vendor", doc["VendorRef"]["value"]) or {}
        term = doc.get("SalesTermRef") or vendor.get("TermRef")
        if term:
            doc.setdefault("SalesTermRef", term)
        doc["DueDate"] = due_date(company, doc["TxnDate"], term)
    paid = _applied(old)
    if total < paid:
        raise Fault("6000", detail="Business Validation Error: The amount paid is more than the new total.")
    doc["Balance"] = total - paid


def _order_links(change: Change) -> list[Doc]:
    links = []
    for link in change.doc.get("LinkedTxn", ()):
        if link.get("TxnType") == "PurchaseOrder":
            if change.company.get("PurchaseOrder", str(link.get("TxnId"))) is None:
                raise Fault("620", element="LinkedTxn", value=link.get("TxnId"))
            links.append({"TxnId": str(link["TxnId"]), "TxnType": "PurchaseOrder"})
    return links


def _finish_expense(change: Change) -> None:
    company, doc = change.company, change.doc
    wanted = {"Check": ("Bank",), "CreditCard": ("Credit Card",), "Cash": ("Bank", "Other Current Asset")}[doc["PaymentType"]]
    _account_type(company, doc["AccountRef"], wanted)
    doc.setdefault("Credit", False)
    if doc["PaymentType"] == "Check":
        doc.setdefault("PrintStatus", "NotSet")


def _account_type(company: Company, reference: Doc, wanted: tuple[str, ...]) -> None:
    account = company.get("Account", reference["value"])
    if account is None or account.get("AccountType") not in wanted:
        raise Fault("6430", value=f"Expected one of: {', '.join(wanted)}.")


def _no_control_account(company: Company, reference: Doc) -> None:
    """Only invoices, bills, payments and journals with a name may post to receivables and payables."""
    account = company.get("Account", reference["value"])
    if account is not None and account.get("AccountType") in ("Accounts Receivable", "Accounts Payable"):
        raise Fault("6430", value="Accounts Receivable and Accounts Payable cannot be used here.")


def _finish_payment(change: Change) -> None:
    company, doc = change.company, change.doc
    total = doc["TotalAmt"] = cents(doc["TotalAmt"])
    if total < 0:
        raise Fault("2140", element="TotalAmt", value=total)
    if "DepositToAccountRef" not in doc:
        doc["DepositToAccountRef"] = _role_ref(company, "undeposited")
    _account_type(company, doc["DepositToAccountRef"], ("Bank", "Other Current Asset"))
    doc.setdefault("ProcessPayment", False)
    doc.setdefault("LinkedTxn", [])
    if change.old is not None:
        doc["LinkedTxn"] = change.old.get("LinkedTxn", [])
    charges, credits = _link_sums(change, {"Invoice", "JournalEntry", "Expense", "Check"}, {"CreditMemo", "CreditCardCredit"})
    if charges - credits > total:
        raise Fault("6000", detail="Business Validation Error: The amount applied is more than the payment.")
    doc["UnappliedAmt"] = total - (charges - credits)
    doc.setdefault("Line", [])


def _finish_bill_payment(change: Change) -> None:
    company, doc = change.company, change.doc
    total = doc["TotalAmt"] = cents(doc["TotalAmt"])
    if total < 0:
        raise Fault("2140", element="TotalAmt", value=total)
    if doc["PayType"] == "Check":
        account = (doc.get("CheckPayment") or {}).get("BankAccountRef")
        if not account:
            raise Fault("2020", element="CheckPayment.BankAccountRef")
        _account_type(company, account, ("Bank",))
        doc["CheckPayment"].setdefault("PrintStatus", "NotSet")
    else:
        account = (doc.get("CreditCardPayment") or {}).get("CCAccountRef")
        if not account:
            raise Fault("2020", element="CreditCardPayment.CCAccountRef")
        _account_type(company, account, ("Credit Card",))
    charges, credits = _link_sums(change, {"Bill", "JournalEntry"}, {"VendorCredit"})
    if charges - credits != total:
        raise Fault("6000", detail="Business Validation Error: The payment amount does not match the bills and credits it pays.")


def _link_sums(change: Change, charge_kinds: set[str], credit_kinds: set[str]) -> tuple[Decimal, Decimal]:
    """Sums of the lines against charges and against credits; each line names exactly one transaction."""
    charges = credits = ZERO
    for line in change.doc.get("Line", ()):
        if "Amount" not in line:
            raise Fault("2020", element="Line.Amount")
        amount = line["Amount"] = cents(line["Amount"])
        if amount < 0:
            raise Fault("2290", element="Line.Amount", value=amount)
        links = line.get("LinkedTxn") or []
        if len(links) != 1:
            raise Fault("2020", element="Line.LinkedTxn")
        kind, txn_id = links[0].get("TxnType"), str(links[0].get("TxnId"))
        links[0]["TxnId"] = txn_id
        if kind in charge_kinds:
            charges += amount
        elif kind in credit_kinds:
            credits += amount
        else:
            raise Fault("2170", element="LinkedTxn.TxnType", value=kind)
        stored = {"Expense": "Purchase", "Check": "Purchase", "CreditCardCredit": "Purchase"}.get(kind, kind)
        if change.company.get(stored, txn_id) is None:
            raise Fault("620", element="LinkedTxn", value=txn_id)
    return charges, credits


def _finish_deposit(change: Change) -> None:
    company, doc = change.company, change.doc
    _account_type(company, doc["DepositToAccountRef"], ("Bank", "Other Current Asset", "Credit Card", "Other Current Liability"))
    total = ZERO
    for line in doc["Line"]:
        if "Amount" not in line:
            raise Fault("2020", element="Line.Amount")
        amount = line["Amount"] = cents(line["Amount"])
        links = line.get("LinkedTxn") or []
        if links:
            link = links[0]
            kind, txn_id = link.get("TxnType"), str(link.get("TxnId"))
            link["TxnId"] = txn_id
            if kind not in ("Payment", "SalesReceipt", "RefundReceipt", "JournalEntry", "Transfer"):
                raise Fault("2170", element="LinkedTxn.TxnType", value=kind)
            source = company.get(kind, txn_id)
            if source is None:
                raise Fault("620", element="LinkedTxn", value=txn_id)
            own = (change.old or {}).get("Id")
            if any(t["TxnType"] == "Deposit" and t["TxnId"] != own for t in source.get("LinkedTxn", ())):
                raise Fault("620", element="LinkedTxn", value=txn_id)
            if kind in ("Payment", "SalesReceipt"):
                if amount != source["TotalAmt"]:
                    raise Fault("6460")
                if source.get("DepositToAccountRef", {}).get("value") != company.roles["undeposited"]:
                    raise Fault("620", element="LinkedTxn", value=txn_id)
        elif "AccountRef" not in (line.get("DepositLineDetail") or {}):
            raise Fault("6440", element="AccountRef")
        else:
            _no_control_account(company, line["DepositLineDetail"]["AccountRef"])
            line.setdefault("DetailType", "DepositLineDetail")
        total += amount
    back = doc.get("CashBack")
    if back:
        if "AccountRef" not in back or "Amount" not in back:
            raise Fault("2020", element="CashBack.AccountRef" if "AccountRef" not in back else "CashBack.Amount")
        total -= cents(back["Amount"])
    doc["TotalAmt"] = total


def _finish_transfer(change: Change) -> None:
    doc = change.doc
    amount = doc["Amount"] = cents(doc["Amount"])
    if amount < 0:
        raise Fault("2140", element="Amount", value=amount)
    if doc["FromAccountRef"]["value"] == doc["ToAccountRef"]["value"]:
        raise Fault("6000", detail="Business Validation Error: The two accounts of a transfer must differ.")
    for name in ("FromAccountRef", "ToAccountRef"):
        _no_control_account(change.company, doc[name])


def _finish_journal(change: Change) -> None:
    company, doc = change.company, change.doc
    debits = credits = ZERO
    sides = set()
    for line in doc["Line"]:
        if line.get("DetailType") == "DescriptionOnly":
            continue
        detail = line.get("JournalEntryLineDetail") or {}
        side = detail.get("PostingType")
        if side is None:
            raise Fault("2260")
        if "AccountRef" not in detail:
            raise Fault("6440", element="AccountRef")
        if "Amount" not in line:
            raise Fault("2020", element="Line.Amount")
        amount = line["Amount"] = cents(line["Amount"])
        if amount < 0:
            raise Fault("2290", element="Line.Amount", value=amount)
        if detail.get("TaxCodeRef") and not detail.get("TaxApplicableOn"):
            raise Fault("2270")
        _journal_entity(company, detail)
        sides.add(side)
        if side == "Debit":
            debits += amount
        else:
            credits += amount
        line["DetailType"] = "JournalEntryLineDetail"
    if debits != credits:
        raise Fault("2300", debits=debits, credits=credits)
    if sides != {"Debit", "Credit"}:
        raise Fault("6000", detail="Business Validation Error: a journal entry needs at least one debit and one credit line.")
    doc["TotalAmt"] = ZERO
    doc.setdefault("Adjustment", False)


def _journal_entity(company: Company, detail: Doc) -> None:
    account = company.get("Account", detail["AccountRef"]["value"]) or {}
    wanted = {"Accounts Receivable": "Customer", "Accounts Payable": "Vendor"}.get(account.get("AccountType", ""))
    entity = detail.get("Entity") or {}
    kind, reference = entity.get("Type"), entity.get("EntityRef")
    if reference and not kind:
        raise Fault("2020", element="Entity.Type")
    if kind and reference:
        known = company.get(kind, reference["value"])
        if known is None:
            raise Fault("2500", element="EntityRef", value=reference["value"], target="Names")
        entity["EntityRef"] = company.reference(kind, reference["value"], known)
    if wanted and (kind != wanted or not reference):
        raise Fault("6000", detail=f"Business Validation Error: When you use {account['AccountType']}, you must choose a {wanted.lower()} "
                                   "in the Name field.")


def _finish_time(change: Change) -> None:
    company, doc = change.company, change.doc
    who = doc["NameOf"]
    if doc.get("EmployeeRef") and doc.get("VendorRef"):
        raise Fault("6310")
    if who == "Employee" and not doc.get("EmployeeRef"):
        raise Fault("6290", element="EmployeeRef")
    if who == "Vendor" and not doc.get("VendorRef"):
        raise Fault("6300", element="VendorRef")
    if doc.get("BillableStatus") == "Billable":
        for name, code in (("CustomerRef", "6320"), ("ItemRef", "6330"), ("HourlyRate", "6340")):
            if not doc.get(name):
                raise Fault(code, element=name)
    _time_range(doc)
    if "TxnDate" not in doc:
        doc["TxnDate"] = company.today()
    _check_period(company, doc["TxnDate"])
    doc.setdefault("BillableStatus", "NotBillable")


def _time_range(doc: Doc) -> None:
    from sandbox.qbo.clock import epoch_of

    start, end = doc.get("StartTime"), doc.get("EndTime")
    hours, minutes = doc.get("Hours"), doc.get("Minutes")
    if start and end:
        span = epoch_of(end) - epoch_of(start)
        if span <= 0:
            raise Fault("6360")
        pause = float(doc.get("BreakHours", 0)) * 3600 + float(doc.get("BreakMinutes", 0)) * 60
        if pause >= span:
            raise Fault("6390")
        return
    if hours is None and minutes is None:
        raise Fault("6350")
    if hours is not None and not 0 <= hours <= 8760:
        raise Fault("6370", element="Hours")
    if minutes is not None and not 0 <= minutes <= 59:
        raise Fault("6380", element="Minutes")


# -- name lists --------------------------------------------------------------------------------------------------------


def _finish_name(change: Change) -> None:
    company, doc, old, kind = change.company, change.doc, change.old, change.entity.kind
    name = str(doc.get("DisplayName") or "").strip()
    if not name:
        parts = [str(doc.get(p) or "").strip() for p in ("Title", "GivenName", "MiddleName", "FamilyName", "Suffix")]
        name = " ".join(part for part in parts if part) or (old["DisplayName"] if old else "")
    if not name and doc.get("CompanyName"):
        name = str(doc["CompanyName"]).strip()
    if not name:
        raise Fault("6080")
    if FORBIDDEN_IN_NAMES.search(name):
        raise Fault("2040", element="DisplayName", value=name)
    active = doc.setdefault("Active", True)
    name = _active_name(company, kind, name, active, old)
    if active and (old is None or folded(old["DisplayName"]) != folded(name)):
        taken = company.names.get(folded(name))
        if taken and (old is None or taken != (kind, old["Id"])):
            raise Fault("6240", value="Another customer, vendor or employee is already using this name. Please use a different name. "
                                      f"Id={taken[1]}" if company.random.random() < company.name_detail else "null")
    if old is not None and old.get("CurrencyRef", {}).get("value") != doc.get("CurrencyRef", {}).get("value"):
        raise Fault("6000", detail="Business Validation Error: The currency of a name cannot be changed.")
    if not active and (old is None or old.get("Active", True)):
        _check_closing_name(company, kind, old)
    doc["DisplayName"] = name
    _finish_open_balance(change)
    _currency(change)
    home = company.preference("CurrencyPrefs", "HomeCurrency")
    doc.setdefault("CurrencyRef", {"value": home["value"], "name": home.get("name", home["value"])})
    doc["PrintOnCheckName"] = doc.get("PrintOnCheckName") or name.removesuffix(DELETED)[:110]
    if kind == "Customer":
        _finish_customer(change)
    elif kind == "Vendor":
        doc.setdefault("Vendor1099", False)
    else:
        doc.setdefault("BillableTime", False)


def _active_name(company: Company, kind: str, name: str, active: bool, old: Doc | None) -> str:
    """Inactive names carry " (deleted)"; taking one back into use strips it."""
    if active:
        if old is not None and not old.get("Active", True) and name.endswith(DELETED):
            return name.removesuffix(DELETED)
        return name
    if name.endswith(DELETED) or "(deleted-" in name:
        return name
    candidate, number = name + DELETED, 0
    while (taken := company.names.get(folded(candidate))) and (old is None or taken != (kind, old["Id"])):
        number += 1
        candidate = f"{name} (deleted-{number})"
    return candidate


def _check_closing_name(company: Company, kind: str, old: Doc | None) -> None:
    if old is None:
        return
    if kind == "Customer":
        if any(a.get("BillableStatus") == "Billable" and a.get("CustomerRef", {}).get("value") == old["Id"] for a in company.rows("TimeActivity")):
            raise Fault("6280")
        if company.close_balance and company.open_balance.get((kind, old["Id"])):
            raise Fault("6220")


def _finish_open_balance(change: Change) -> None:
    doc, old = change.doc, change.old
    opening = doc.pop("Balance", None)
    if old is None and opening:
        if "OpenBalanceDate" not in doc:
            raise Fault("6060", element="OpenBalanceDate")
        doc["_opening"] = cents(opening)
    doc.pop("OpenBalanceDate", None) if old is not None else None


def _finish_customer(change: Change) -> None:
    company, doc, old = change.company, change.doc, change.old
    parent_ref = doc.get("ParentRef")
    if doc.get("Job") and not parent_ref:
        raise Fault("6150", element="ParentRef")
    name = doc["DisplayName"]
    doc["Level"], doc["FullyQualifiedName"] = 0, name
    if parent_ref:
        parent = _parent(change, "Customer", parent_ref["value"])
        doc["Level"] = parent.get("Level", 0) + 1
        if doc["Level"] >= 5:
            raise Fault("6180")
        doc["FullyQualifiedName"] = f"{parent['FullyQualifiedName']}:{name}"
        doc["Job"] = True
        doc.setdefault("BillWithParent", False)
    elif doc.get("BillWithParent"):
        raise Fault("6150", element="ParentRef")
    doc.setdefault("Job", False)
    doc.setdefault("BillWithParent", False)
    doc.setdefault("Taxable", False)
    doc.setdefault("PreferredDeliveryMethod", "Print")
    if old is not None and old.get("BillWithParent") and not doc.get("BillWithParent") and old.get("ParentRef") == parent_ref:
        raise Fault("6130", element="BillWithParent")


def _parent(change: Change, kind: str, parent_id: str) -> Doc:
    own = (change.old or {}).get("Id")
    if parent_id == own:
        raise Fault("900", element="ParentRef")
    parent = change.company.get(kind, parent_id)
    if parent is None:
        raise Fault("700", element="ParentRef", value=parent_id)
    above: Doc | None = parent
    for _ in range(10):
        above_ref = above.get("ParentRef") if above else None
        if not above_ref:
            break
        if above_ref["value"] == own:
            raise Fault("700", element="ParentRef", value=parent_id)
        above = change.company.get(kind, above_ref["value"])
    return parent


def _finish_list(change: Change) -> None:
    """Name, tree and uniqueness for lists with Name: Item, Account, Class, Department, Term, PaymentMethod, ..."""
    company, doc, old, kind = change.company, change.doc, change.old, change.entity.kind
    name = str(doc.get("Name") or "").strip()
    if not name:
        raise Fault("2020", element="Name")
    if (FORBIDDEN_IN_ACCOUNTS if kind == "Account" else FORBIDDEN_IN_NAMES).search(name) and not (old and old["Name"] == name):
        raise Fault("2040", element="Name", value=name)
    active = doc.setdefault("Active", True)
    if not active and not name.endswith(DELETED):
        name += DELETED
    elif active and old is not None and not old.get("Active", True):
        name = name.removesuffix(DELETED)
    full, level = name, 0
    flag = {"Item": "SubItem", "Account": "SubAccount", "Class": "SubClass", "Department": "SubDepartment"}.get(kind)
    parent_ref = doc.get("ParentRef")
    if flag:
        if doc.get(flag) and not parent_ref:
            raise Fault("6150", element="ParentRef")
        doc[flag] = bool(parent_ref)
        if parent_ref:
            parent = _parent(change, kind, parent_ref["value"])
            level = parent.get("FullyQualifiedName", "").count(":") + 1
            if level >= 5:
                raise Fault("6180")
            full = f"{parent['FullyQualifiedName']}:{name}"
    doc["Name"] = name
    if flag:
        doc["FullyQualifiedName"] = full
    taken = company.list_names.get(kind, {}).get(folded(full))
    if active and taken and (old is None or taken != old["Id"]):
        raise Fault("6240", value=f"Another {kind.lower()} is already using this name. Please use a different name. Id={taken}")
    if kind in ("Class", "Department") and old is None and company.plan != "advanced":
        used = sum(1 for k in ("Class", "Department") for row in company.rows(k) if row.get("Active", True))
        if used >= 40:
            raise Fault("6000", detail="Business Validation Error: the usage limit of 40 classes and locations is reached.")


CLASSIFICATION = {
    **dict.fromkeys(("Bank", "Accounts Receivable", "Other Current Asset", "Fixed Asset", "Other Asset"), "Asset"),
    **dict.fromkeys(("Accounts Payable", "Credit Card", "Other Current Liability", "Long Term Liability"), "Liability"),
    "Equity": "Equity",
    **dict.fromkeys(("Income", "Other Income"), "Revenue"),
    **dict.fromkeys(("Cost of Goods Sold", "Expense", "Other Expense"), "Expense"),
    "Non-Posting": "Non-Posting",
}
DEFAULT_SUBTYPE = {
    "Bank": "Checking", "Accounts Receivable": "AccountsReceivable", "Other Current Asset": "OtherCurrentAssets", "Fixed Asset": "OtherFixedAssets",
    "Other Asset": "OtherLongTermAssets", "Accounts Payable": "AccountsPayable", "Credit Card": "CreditCard",
    "Other Current Liability": "OtherCurrentLiabilities", "Long Term Liability": "OtherLongTermLiabilities", "Equity": "OpeningBalanceEquity",
    "Income": "ServiceFeeIncome", "Cost of Goods Sold": "SuppliesMaterialsCogs", "Expense": "OtherMiscellaneousServiceCost",
    "Other Income": "OtherMiscellaneousIncome", "Other Expense": "OtherMiscellaneousExpense",
}


def _finish_account(change: Change) -> None:
    company, doc = change.company, change.doc
    kind = doc.get("AccountType")
    if not kind and not doc.get("AccountSubType"):
        raise Fault("6010", element="AccountType")
    if not kind:
        kind = next((t for t, s in DEFAULT_SUBTYPE.items() if s == doc["AccountSubType"]), None)
        if kind is None:
            raise Fault("6430", value=str(doc["AccountSubType"]))
        doc["AccountType"] = kind
    _finish_list(change)
    doc["Classification"] = CLASSIFICATION[kind]
    doc.setdefault("AccountSubType", DEFAULT_SUBTYPE.get(kind, "OtherCurrentAssets"))
    home = company.preference("CurrencyPrefs", "HomeCurrency")
    doc.setdefault("CurrencyRef", {"value": home["value"], "name": home.get("name", home["value"])})
    doc.setdefault("CurrentBalance", ZERO)
    doc.setdefault("CurrentBalanceWithSubAccounts", ZERO)
    if change.old is None and company.plan != "advanced" and sum(1 for a in company.rows("Account") if a.get("Active", True)) >= 250:
        raise Fault("6000", detail="Business Validation Error: the usage limit of 250 accounts is reached.")


def _finish_item(change: Change) -> None:
    company, doc, old = change.company, change.doc, change.old
    kind = doc["Type"]
    _finish_list(change)
    if kind == "Service" and "IncomeAccountRef" not in doc:
        raise Fault("2020", element="IncomeAccountRef")
    if kind == "NonInventory" and "IncomeAccountRef" not in doc and "ExpenseAccountRef" not in doc:
        raise Fault("2020", element="IncomeAccountRef")
    if old is not None and old.get("TrackQtyOnHand") and doc.get("TrackQtyOnHand") is False:
        raise Fault("6000", detail="Business Validation Error: TrackQtyOnHand cannot be switched off again.")
    if kind == "Inventory":
        _finish_inventory(change)
    if "IncomeAccountRef" in doc:
        _account_type(company, doc["IncomeAccountRef"], ("Income", "Other Income"))
    if "ExpenseAccountRef" in doc and kind == "Inventory":
        _account_type(company, doc["ExpenseAccountRef"], ("Cost of Goods Sold",))
    doc.setdefault("Taxable", False)
    doc.setdefault("TrackQtyOnHand", False)
    if kind != "Category":
        doc.setdefault("UnitPrice", ZERO)
        doc.setdefault("PurchaseCost", ZERO)


def _finish_inventory(change: Change) -> None:
    company, doc = change.company, change.doc
    if PLANS.index(company.plan) < PLANS.index("plus"):
        raise Fault("5030", value="Inventory")
    for name in ("IncomeAccountRef", "ExpenseAccountRef", "AssetAccountRef"):
        if name not in doc:
            raise Fault("2020", element=name)
    if not doc.get("TrackQtyOnHand"):
        raise Fault("2020", element="TrackQtyOnHand")
    if "QtyOnHand" not in doc or "InvStartDate" not in doc:
        raise Fault("6520", element="QtyOnHand")
    _account_type(company, doc["AssetAccountRef"], ("Other Current Asset",))


def _finish_term(change: Change) -> None:
    doc = change.doc
    _finish_list(change)
    if "DueDays" in doc and "DayOfMonthDue" in doc:
        raise Fault("2600", element="DueDays and DayOfMonthDue")
    if "DueDays" not in doc and "DayOfMonthDue" not in doc:
        raise Fault("2020", element="DueDays")
    doc["Type"] = "DATE_DRIVEN" if "DayOfMonthDue" in doc else "STANDARD"


def _finish_currency(change: Change) -> None:
    doc = change.doc
    if not re.fullmatch(r"[A-Z]{3}", doc["Code"]):
        raise Fault("2220", element="Code", value=doc["Code"])
    doc.setdefault("Name", doc["Code"])
    doc.setdefault("Active", True)


def _finish_budget(change: Change) -> None:
    doc = change.doc
    if not doc.get("BudgetDetail"):
        raise Fault("6490", element="BudgetDetail")
    for line in doc["BudgetDetail"]:
        if not doc["StartDate"] <= line.get("BudgetDate", doc["StartDate"]) <= doc["EndDate"]:
            raise Fault("6500", element="BudgetDate")
        if "AccountRef" not in line:
            raise Fault("6510", element="AccountRef")
    doc.setdefault("Active", True)


def _finish_attachable(change: Change) -> None:
    doc, company = change.doc, change.company
    if not doc.get("Note") and not doc.get("FileName") and change.old is None:
        raise Fault("2020", element="Note")
    for reference in doc.get("AttachableRef", ()):
        target = reference.get("EntityRef")
        if not target:
            continue
        kind = next((k for k in KINDS if k.lower() == str(target.get("type", "")).lower()), None)
        if kind is None or kind in ("CompanyInfo", "Preferences", "Attachable", "TaxCode", "TaxRate"):
            raise Fault("6050", element="EntityRef", value=target.get("type"))
        if company.get(kind, str(target["value"])) is None:
            raise Fault("2500", element="EntityRef", value=target["value"], target=kind + "s")
        target["type"] = kind


FINISHERS: dict[str, Callable[[Change], None]] = {
    **dict.fromkeys(SALES_KINDS, _finish_sales),
    **dict.fromkeys(PURCHASE_KINDS, _finish_purchase),
    **dict.fromkeys(NAME_KINDS, _finish_name),
    **dict.fromkeys(("Class", "Department", "PaymentMethod", "CustomerType", "TaxCode", "TaxRate"), _finish_list),
    "Payment": _finish_payment,
    "BillPayment": _finish_bill_payment,
    "Deposit": _finish_deposit,
    "Transfer": _finish_transfer,
    "JournalEntry": _finish_journal,
    "TimeActivity": _finish_time,
    "Account": _finish_account,
    "Item": _finish_item,
    "Term": _finish_term,
    "CompanyCurrency": _finish_currency,
    "Budget": _finish_budget,
    "Attachable": _finish_attachable,
}


# -- links: payments and what they pay ---------------------------------------------------------------------------------


def _applied(doc: Doc | None) -> Decimal:
    """How much of a bill, vendor credit or credit memo is used up."""
    if doc is None:
        return ZERO
    rest: Decimal = doc.get("RemainingCredit", doc.get("Balance", doc["TotalAmt"]))
    return Decimal(doc["TotalAmt"] - rest)


def _paid(invoice: Doc) -> Decimal:
    return Decimal(invoice["TotalAmt"] - invoice.get("Deposit", ZERO) - invoice["Balance"])


def _link_amounts(doc: Doc | None) -> dict[tuple[str, str], Decimal]:
    """(kind, Id) -> amount for the lines of a payment, bill payment or deposit."""
    amounts: dict[tuple[str, str], Decimal] = {}
    for line in (doc or {}).get("Line", ()):
        for link in line.get("LinkedTxn") or ():
            key = (link["TxnType"], link["TxnId"])
            amounts[key] = amounts.get(key, ZERO) + line.get("Amount", ZERO)
    return amounts


LINKING = {"Payment": "Payment", "BillPayment": "BillPaymentCheck", "Deposit": "Deposit"}


def _apply_links(change: Change, before: Doc | None, after: Doc | None) -> None:
    """Move Balance and LinkedTxn of the documents that a payment or deposit names; refuses what would overpay."""
    kind = change.entity.kind
    if kind == "Invoice" and before is None and after is not None:
        _mark_estimate(change, after)
    if kind not in LINKING:
        return
    own = (after or before or {})["Id"]
    old_amounts, new_amounts = _link_amounts(before), _link_amounts(after)
    for key in {**old_amounts, **new_amounts}:
        delta = new_amounts.get(key, ZERO) - old_amounts.get(key, ZERO)
        if delta == 0 and (key in old_amounts) == (key in new_amounts):
            continue
        target = change.target(*key)
        if target is None:
            continue
        moved = _settle(key[0], target, delta) if kind != "Deposit" else dict(target)
        link = {"TxnId": own, "TxnType": LINKING[kind]}
        links = [entry for entry in target.get("LinkedTxn", ()) if entry["TxnId"] != own]
        if key in new_amounts:
            links.append(link)
        moved["LinkedTxn"] = links
        change.moved[key] = bump(change.company, target, moved)


def _settle(kind: str, target: Doc, delta: Decimal) -> Doc:
    """The target with `delta` more applied to it."""
    moved = dict(target)
    if kind in ("Invoice", "Bill", "VendorCredit"):
        moved["Balance"] = target["Balance"] - delta
    elif kind == "CreditMemo":
        moved["RemainingCredit"] = target["RemainingCredit"] - delta
        moved["Balance"] = moved["RemainingCredit"]
    else:
        return moved
    if moved["Balance"] < 0:
        raise Fault("6000", detail="Business Validation Error: The amount applied is more than the open balance of "
                                   f"{kind} {target['Id']}.")
    return moved


def _mark_estimate(change: Change, invoice: Doc) -> None:
    for link in invoice.get("LinkedTxn", ()):
        estimate = change.target("Estimate", link["TxnId"]) if link["TxnType"] == "Estimate" else None
        if estimate is not None:
            moved = {**estimate, "TxnStatus": "Closed", "LinkedTxn": [*estimate.get("LinkedTxn", ()), {"TxnId": invoice["Id"], "TxnType": "Invoice"}]}
            change.moved[("Estimate", estimate["Id"])] = bump(change.company, estimate, moved)


def _unlink_payments(change: Change, invoice: Doc) -> None:
    """A voided invoice lets go of its payments: their money is unapplied."""
    _reduce_payments(change, _paid(invoice), keep_link=False)


def _reduce_payments(change: Change, excess: Decimal, *, keep_link: bool = True) -> None:
    """Take `excess` back from the payments on `change.old`, newest first."""
    invoice = change.old
    assert invoice is not None
    for link in reversed(invoice.get("LinkedTxn", ())):
        if link["TxnType"] != "Payment":
            continue
        payment = change.target("Payment", link["TxnId"])
        if payment is None:
            continue
        lines, freed = [], ZERO
        for line in payment.get("Line", ()):
            target = (line.get("LinkedTxn") or [{}])[0]
            if target.get("TxnType") == "Invoice" and target.get("TxnId") == invoice["Id"] and (freed < excess or not keep_link):
                take = min(line["Amount"], excess - freed) if keep_link else line["Amount"]
                freed += take
                if line["Amount"] - take > 0:
                    lines.append({**line, "Amount": line["Amount"] - take})
            else:
                lines.append(line)
        if freed or not keep_link:
            moved = {**payment, "Line": lines, "UnappliedAmt": payment["UnappliedAmt"] + freed}
            change.moved[("Payment", payment["Id"])] = bump(change.company, payment, moved)
        excess -= freed


def _store_moved(change: Change) -> None:
    for (kind, _), doc in change.moved.items():
        change.company.put(kind, doc)
