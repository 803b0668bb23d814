"""Journal entry, transfer, time activity."""

from __future__ import annotations

from sandbox.qbo.company.clock import epoch_of
from sandbox.qbo.company.store import ZERO, Company, Doc
from sandbox.qbo.rules.changes import Change, check_period, no_control_account
from sandbox.qbo.rules.faults import Fault
from sandbox.qbo.rules.validation import cents


def finish_transfer(change: Change) -> None:
    doc = change.doc
    amount = doc["Amount"] = cents(doc["Amount"])
    if amount < 0:
        raise Fault("2140", element="Amount", value=amount)
    if doc["FromAccountRef"]["value"] == doc["ToAccountRef"]["value"]:
        raise Fault("6000", detail="Business Validation Error: The two accounts of a transfer must differ.")
    for name in ("FromAccountRef", "ToAccountRef"):
        no_control_account(change.company, doc[name])


def finish_journal(change: Change) -> None:
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
        if detail.get("TaxCodeRef", {}).get("value", "NON") != "NON" and "TaxAmount" not in detail:
            raise Fault("2280", element="TaxAmount")
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
        raise Fault(
            "6000",
            detail=f"Business Validation Error: When you use {account['AccountType']}, you must choose a {wanted.lower()} "
            "in the Name field.",
        )


def finish_time(change: Change) -> None:
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
    check_period(company, doc["TxnDate"])
    doc.setdefault("BillableStatus", "NotBillable")


def _time_range(doc: Doc) -> None:
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
