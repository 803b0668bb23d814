"""Create, update, sparse update, delete and void.

Everything here is synchronous and either commits wholly or raises a Fault before anything is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from sandbox.qbo.company.clock import pacific
from sandbox.qbo.company.schema import KINDS, Entity
from sandbox.qbo.company.store import NAME_KINDS, TXN_KINDS, ZERO, Company, Doc
from sandbox.qbo.documents.addresses import settle_addresses
from sandbox.qbo.documents.credits import payment_for
from sandbox.qbo.documents.journals import finish_journal, finish_time, finish_transfer
from sandbox.qbo.documents.lists import (
    finish_account,
    finish_agency,
    finish_attachable,
    finish_budget,
    finish_currency,
    finish_item,
    finish_list,
    finish_name,
    finish_term,
)
from sandbox.qbo.documents.purchases import finish_purchase
from sandbox.qbo.documents.sales import finish_sales
from sandbox.qbo.documents.settlements import apply_links, finish_bill_payment, finish_deposit, finish_payment, unlink_payments
from sandbox.qbo.rules.changes import (
    PERSON,
    PURCHASE_KINDS,
    SALES_KINDS,
    Change,
    Options,
    bump,
    check_deposited,
    check_period,
    check_plan,
    check_settled,
    finish_txn,
)
from sandbox.qbo.rules.faults import Fault
from sandbox.qbo.rules.validation import CLEAR, REQUIRED, clean


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
        check_settled(company, old, "delete", options)
        check_period(company, old.get("TxnDate"))
        if entity.kind == "Invoice" and old.get("LinkedTxn") and any(t["TxnType"] == "Payment" for t in old["LinkedTxn"]):
            raise Fault("6400")
        if entity.kind in ("Bill", "CreditMemo", "VendorCredit") and old.get("LinkedTxn"):
            raise Fault("6400")
        check_deposited(old)
        _check_dependants(company, entity.kind, old)
    change = Change(company, entity, old, {}, options)
    apply_links(change, old, None)
    _store_moved(change)
    company.remove(entity.kind, old["Id"])
    return {"status": "Deleted", "domain": "QBO", "Id": old["Id"]}


def _check_dependants(company: Company, kind: str, doc: Doc) -> None:
    """800 for what other documents were made from or pay: an estimate, an order, hours, a journal entry."""
    if kind in ("Estimate", "JournalEntry"):
        named = {"BillPaymentCheck": "BillPayment"}
        if any(company.get(named.get(t["TxnType"], t["TxnType"]), t["TxnId"]) for t in doc.get("LinkedTxn", ())):
            raise Fault("800")
    users = {"PurchaseOrder": ("Bill", "VendorCredit"), "TimeActivity": ("Invoice",)}.get(kind, ())
    link = (kind, doc["Id"])
    if any(link == (t["TxnType"], t["TxnId"]) for user in users for row in company.rows(user) for t in row.get("LinkedTxn", ())):
        raise Fault("800")


VOIDED_BY_PERSONS = ("CreditMemo", "RefundReceipt")  # webhooks tell of their voids; the API has no operation for it


def void(company: Company, entity: Entity, body: Any, options: Options | None = None) -> Doc:
    """Void: amounts and quantities 0, links gone, "Voided" in PrivateNote, the DocNumber stays."""
    options = options or Options()
    if not entity.void and not (options.person and entity.kind in VOIDED_BY_PERSONS):
        raise Fault("500", detail=f"Operation void is not supported for {entity.kind}.")
    old = _existing(company, entity, body, options)
    check_settled(company, old, "void", options)
    check_period(company, old.get("TxnDate"))
    check_deposited(old)
    if entity.kind == "CreditMemo" and old.get("LinkedTxn"):  # its payment would cover less than it pays
        raise Fault("6450")
    if old.get("TotalAmt") == 0 and str(old.get("PrivateNote", "")).startswith("Voided"):
        return old
    doc = dict(old)
    note = old.get("PrivateNote")
    doc["PrivateNote"] = ("Voided - " + note if note else "Voided")[:4000]
    doc["TotalAmt"] = ZERO
    for name in ("Balance", "UnappliedAmt", "RemainingCredit", "Deposit"):
        if name in doc:
            doc[name] = ZERO
    if "LinkedTxn" in doc:
        doc["LinkedTxn"] = []
    if "TxnTaxDetail" in doc:
        doc["TxnTaxDetail"] = {"TotalTax": ZERO}
    doc["Line"] = [] if entity.kind in ("Payment", "BillPayment") else [_voided_line(line) for line in old.get("Line", ())]
    change = Change(company, entity, old, doc, options)
    if entity.kind == "Invoice":
        unlink_payments(change, old)
    apply_links(change, old, None)
    _stamp(change)
    _store_moved(change)
    return company.put(entity.kind, doc, "Void")


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
    apply_links(change, None, doc)
    opening = doc.pop("_opening", None)
    company.put(entity.kind, doc)
    _store_moved(change)
    if opening:
        _open_balance(company, entity.kind, doc, opening)
    if (applied := payment_for(company, entity.kind, doc)) is not None:
        save(company, KINDS["Payment"], applied, Options(person=True))
    return doc


def _open_balance(company: Company, kind: str, doc: Doc, amount: Decimal) -> None:
    """An opening balance is a journal entry against Opening Balance Equity."""
    receivable = kind == "Customer"
    entity = {"Type": kind, "EntityRef": {"value": doc["Id"]}}
    control = {
        "PostingType": "Debit" if receivable else "Credit",
        "AccountRef": {"value": company.roles["receivable" if receivable else "payable"]},
        "Entity": entity,
    }
    equity = {"PostingType": "Credit" if receivable else "Debit", "AccountRef": {"value": company.roles["opening_balance"]}}
    body = {
        "TxnDate": doc.get("OpenBalanceDate"),
        "PrivateNote": "Opening Balance",
        "Line": [
            {"Amount": amount, "DetailType": "JournalEntryLineDetail", "JournalEntryLineDetail": detail}
            for detail in (control, equity)
        ],
    }
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
        if doc.get("Line") == [] and "Line" in REQUIRED[entity.kind]:
            raise Fault("2250")
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
        check_settled(company, old, "update", options)
        check_period(company, old.get("TxnDate"))
    sent = frozenset(name for name, value in values.items() if value is not CLEAR and value != "") if sparse else frozenset()
    change = Change(company, entity, old, doc, options, sent=sent)
    if doc.get("Line") is not old.get("Line") and "Line" in doc:
        _number_lines(change)
    _finish(change)
    if _money(old) != _money(doc):
        check_deposited(old)
    _stamp(change)
    apply_links(change, old, doc)
    company.put(entity.kind, doc)
    _store_moved(change)
    return doc


KEPT = frozenset({"Id", "SyncToken", "sparse", "domain", "MetaData"})


NAME_OF = {"Customer": "DisplayName", "Vendor": "DisplayName", "Employee": "DisplayName"}


# A full update clears omitted properties; those that cannot be empty are kept.
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
            raise Fault("610", detail="Object Not Found: Another user has deleted this transaction.")
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


def _check_required(entity: Entity, doc: Doc, body: Doc) -> None:
    for name in REQUIRED[entity.kind]:
        value = doc.get(name)
        if value is None or value in ([], ""):
            if name == "CustomerRef" and body.get("CustomerRef") is not None and entity.kind in SALES_KINDS:
                raise Fault("6250")
            if name == "Line" and body.get("Line") == []:
                raise Fault("2250")
            raise Fault("2020", element=name)


def _money(doc: Doc) -> list[Any]:
    """How much goes where: what may not change while the document sits in a deposit."""
    lines = [(line.get("Amount"), line.get("LinkedTxn")) for line in doc.get("Line", ())]
    return [doc.get("TotalAmt"), lines, *((doc.get(name) or {}).get("value") for name in ("DepositToAccountRef", "CustomerRef"))]


def _voided_line(line: Doc) -> Doc:
    line = dict(line)
    if "Amount" in line:
        line["Amount"] = ZERO
    detail_type = line.get("DetailType")
    detail = line.get(detail_type) if detail_type else None
    if detail_type and isinstance(detail, dict):
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


def _finish(change: Change) -> None:
    kind = change.entity.kind
    if change.entity.group == "txn" and kind != "TimeActivity":
        finish_txn(change)
    FINISHERS.get(kind, _nothing)(change)
    settle_addresses(change.company, kind, change.doc, change.old)


def _nothing(change: Change) -> None:
    return


FINISHERS: dict[str, Callable[[Change], None]] = {
    **dict.fromkeys(SALES_KINDS, finish_sales),
    **dict.fromkeys(PURCHASE_KINDS, finish_purchase),
    **dict.fromkeys(NAME_KINDS, finish_name),
    **dict.fromkeys(("Class", "Department", "PaymentMethod", "CustomerType", "TaxCode", "TaxRate"), finish_list),
    "Payment": finish_payment,
    "BillPayment": finish_bill_payment,
    "Deposit": finish_deposit,
    "Transfer": finish_transfer,
    "JournalEntry": finish_journal,
    "TimeActivity": finish_time,
    "Account": finish_account,
    "Item": finish_item,
    "Term": finish_term,
    "CompanyCurrency": finish_currency,
    "TaxAgency": finish_agency,
    "Budget": finish_budget,
    "Attachable": finish_attachable,
}


def _store_moved(change: Change) -> None:
    for (kind, _), doc in change.moved.items():
        change.company.put(kind, doc)
