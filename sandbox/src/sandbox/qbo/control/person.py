"""A person's actions in QuickBooks' user interface: edit, pay, void, delete, merge. No API gates, same books and webhooks."""

from __future__ import annotations

from typing import Any

from sandbox.qbo.company.clock import pacific
from sandbox.qbo.company.schema import KINDS
from sandbox.qbo.company.store import NAME_KINDS, Company, Doc
from sandbox.qbo.documents import writes
from sandbox.qbo.rules.changes import Options, bump
from sandbox.qbo.rules.faults import Fault

REF_FIELDS = {
    "Customer": ("CustomerRef", "ParentRef", "EntityRef"),
    "Vendor": ("VendorRef", "EntityRef", "PrefVendorRef"),
    "Item": ("ItemRef", "ParentRef"),
    "Class": ("ClassRef", "ParentRef"),
    "Account": ("AccountRef",),
    "Employee": ("EmployeeRef", "EntityRef"),
}


def act(company: Company, operation: str, kind: str, doc_id: str, changes: dict[str, Any]) -> Doc | None:
    """Perform one operation; returns the resulting document, None if deleted. Raises Fault, or KeyError for unknown names."""
    entity = KINDS[kind]
    options = Options(person=True)
    body = {"Id": doc_id, **{k: v for k, v in changes.items() if k != "Id"}}
    if operation == "create":
        return writes.save(company, entity, {k: v for k, v in changes.items() if k != "Id"}, options)
    if operation == "edit":
        return writes.save(company, entity, {**body, "sparse": True}, options)
    if operation == "void":
        return writes.void(company, entity, {"Id": doc_id}, options)
    if operation == "delete":
        if entity.group in ("name", "list"):
            return _deactivate(company, kind, doc_id, options)
        writes.delete(company, entity, {"Id": doc_id}, options)
        return None
    if operation == "activate":
        return writes.save(company, entity, {"Id": doc_id, "sparse": True, "Active": True}, options)
    if operation == "deactivate":
        return _deactivate(company, kind, doc_id, options)
    if operation in ("match", "unmatch"):
        if company.get(kind, doc_id) is None:
            raise Fault("610")
        (company.matched.add if operation == "match" else company.matched.discard)(doc_id)
        return company.get(kind, doc_id)
    if operation == "pay":
        return _pay(company, kind, doc_id, changes)
    if operation == "merge":
        return _merge(company, kind, doc_id, str(changes["into"]))
    raise KeyError(operation)


def _deactivate(company: Company, kind: str, doc_id: str, options: Options) -> Doc:
    """Made inactive in the product: a customer who owes gets a balancing credit memo, without a word."""
    owed = company.open_balance.get((kind, doc_id), 0)
    if kind == "Customer" and owed > 0 and not company.close_balance:
        line: Doc = {"DetailType": "SalesItemLineDetail", "Amount": owed, "SalesItemLineDetail": {}}
        body = {"CustomerRef": {"value": doc_id}, "Line": [line], "PrivateNote": "Balance adjusted"}
        writes.save(company, KINDS["CreditMemo"], body, options)
    return writes.save(company, KINDS[kind], {"Id": doc_id, "sparse": True, "Active": False}, options)


def _pay(company: Company, kind: str, doc_id: str, changes: dict[str, Any]) -> Doc:
    doc = company.get(kind, doc_id)
    if doc is None:
        raise Fault("610")
    amount = changes.get("amount", changes.get("Amount", doc.get("Balance", 0)))
    line = {"Amount": amount, "LinkedTxn": [{"TxnId": doc_id, "TxnType": kind}]}
    extra = {k: v for k, v in changes.items() if k not in ("amount", "Amount")}
    options = Options(person=True)
    if kind == "Invoice":
        body = {"CustomerRef": {"value": doc["CustomerRef"]["value"]}, "TotalAmt": amount, "Line": [line], **extra}
        return writes.save(company, KINDS["Payment"], body, options)
    if kind == "Bill":
        body = {
            "VendorRef": {"value": doc["VendorRef"]["value"]},
            "TotalAmt": amount,
            "PayType": "Check",
            "CheckPayment": {"BankAccountRef": {"value": company.roles["checking"]}},
            "Line": [line],
            **extra,
        }
        return writes.save(company, KINDS["BillPayment"], body, options)
    raise KeyError(f"pay {kind}")


def _merge(company: Company, kind: str, loser_id: str, winner_id: str) -> Doc:
    """The merged entry disappears, and all references to it become references to the survivor."""
    loser, winner = company.get(kind, loser_id), company.get(kind, winner_id)
    if loser is None or winner is None or loser_id == winner_id:
        raise Fault("610")
    if kind not in NAME_KINDS and kind not in ("Item", "Class"):
        raise KeyError(f"merge {kind}")
    target = company.reference(kind, winner_id, winner)
    now = pacific(company.clock.now())
    for other_kind, rows in list(company.entities.items()):
        for doc in list(rows.values()):
            moved = _repointed(doc, frozenset(REF_FIELDS[kind]), loser_id, target)
            if moved is not doc:
                moved["SyncToken"] = str(int(doc["SyncToken"]) + 1)
                moved["MetaData"] = {**doc["MetaData"], "LastUpdatedTime": now}
                company.put(other_kind, moved, quiet=True)
    if kind == "Customer":  # a payment is posted to whose documents it pays: post it again, though it has not changed itself
        for doc in list(company.rows("Payment")):
            company.on_change("Payment", None, doc)
    sinks, company.event_sinks = company.event_sinks, []
    company.remove(kind, loser_id)
    company.event_sinks = sinks
    merged = bump(company, winner, dict(winner))
    company.put(kind, merged, quiet=True)
    company.emit(kind, winner_id, "Merge", loser_id)
    return merged


def _repointed(value: Any, names: frozenset[str], loser_id: str, target: dict[str, str]) -> Any:
    """`value` with references to the loser replaced; the same object if there are none."""
    if isinstance(value, dict):
        changed = {}
        for key, item in value.items():
            if key in names and isinstance(item, dict) and item.get("value") == loser_id:
                changed[key] = {**item, **target}
            elif isinstance(item, dict | list):
                new = _repointed(item, names, loser_id, target)
                if new is not item:
                    changed[key] = new
        return {**value, **changed} if changed else value
    if isinstance(value, list):
        new_items = [_repointed(item, names, loser_id, target) for item in value]
        return new_items if any(a is not b for a, b in zip(value, new_items, strict=True)) else value
    return value
