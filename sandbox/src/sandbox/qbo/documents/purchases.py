"""Bill, vendor credit, purchase, purchase order: expense lines and totals."""

from __future__ import annotations

from sandbox.qbo.company.store import ZERO, Doc
from sandbox.qbo.rules import vat
from sandbox.qbo.rules.changes import (
    Change,
    account_type,
    amount_applied,
    due_date,
    line_amount,
    no_control_account,
    role_ref,
    term_moved,
)
from sandbox.qbo.rules.faults import Fault
from sandbox.qbo.rules.validation import cents

_CODED = ("AccountBasedExpenseLineDetail", "ItemBasedExpenseLineDetail")


def finish_purchase(change: Change) -> None:
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
        if isinstance(detail, dict) and detail_type != "GroupLineDetail":
            vat.line(change, line, detail, vat.PURCHASES)
        if detail_type == "AccountBasedExpenseLineDetail":
            if not isinstance(detail, dict) or "AccountRef" not in detail:
                raise Fault("6440", element="AccountRef")
            no_control_account(company, detail["AccountRef"])
            if "Amount" not in line:
                raise Fault("2020", element="Line.Amount")
            line["Amount"] = cents(line["Amount"])
        elif detail_type == "ItemBasedExpenseLineDetail":
            if not isinstance(detail, dict) or "ItemRef" not in detail:
                raise Fault("6440", element="ItemRef")
            line_amount(line, detail)
        else:
            line["Amount"] = cents(line.get("Amount", ZERO))
        if isinstance(detail, dict) and detail_type != "GroupLineDetail":
            if company.country not in vat.COUNTRIES:
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
    if vat.applies(company) and doc.get("GlobalTaxCalculation") != "NotApplicable":
        coded = [(line, line[line["DetailType"]]) for line in kept if line["DetailType"] in _CODED]
        total += vat.total(change, coded, vat.PURCHASES)
    elif company.country in vat.COUNTRIES:
        doc["TxnTaxDetail"] = {"TotalTax": ZERO}
    doc["TotalAmt"] = total
    if total < 0 and kind != "Purchase":
        raise Fault("6000", detail="Business Validation Error: Transaction amount must be 0 or greater.")
    doc.pop("GlobalTaxCalculation", None) if company.country == "US" else None
    if kind == "Purchase":
        _finish_expense(change)
        return
    if "APAccountRef" not in doc:
        doc["APAccountRef"] = role_ref(company, "payable")
    account_type(company, doc["APAccountRef"], ("Accounts Payable",))
    if kind == "PurchaseOrder":
        doc.setdefault("POStatus", "Open")
        doc.setdefault("EmailStatus", "NotSet")
        return
    old = change.old
    doc["LinkedTxn"] = old.get("LinkedTxn", []) if old else _order_links(change)
    if kind == "Bill" and ("DueDate" not in doc or term_moved(change)):
        vendor = company.get("Vendor", doc["VendorRef"]["value"]) or {}
        term = doc.get("SalesTermRef") or vendor.get("TermRef")
        if term:
            doc.setdefault("SalesTermRef", term)
        doc["DueDate"] = due_date(company, doc["TxnDate"], term)
    paid = amount_applied(old)
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
    account_type(company, doc["AccountRef"], wanted)
    doc.setdefault("Credit", False)
    if doc["PaymentType"] == "Check":
        doc.setdefault("PrintStatus", "NotSet")
