"""Does what a form asks for. Changes go through `World.person` only."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from sandbox.qbo.company.store import TXN_KINDS, ZERO, Company, Doc
from sandbox.qbo.control.world import World
from sandbox.qbo.door.pages.frame import amount_text


class RefusedError(Exception):
    """What a person typed cannot be done; the message is for the person."""


def perform(world: World, company: Company, operation: str, kind: str, doc_id: str, form: dict[str, str]) -> tuple[str, str, str]:
    """Do it; returns what to say and which document to show."""
    doc = company.get(kind, doc_id)
    if doc is None:
        raise RefusedError("The document is gone.")
    if operation == "edit":
        changes = _changes(kind, doc, form)
        if not changes:
            return "Nothing was changed.", kind, doc_id
        world.person(company.realm_id, "edit", kind, doc_id, changes)
        return "Saved.", kind, doc_id
    if operation == "pay" and kind in {"Invoice", "Bill"}:
        amount = _decimal(form.get("amount", ""))
        if amount <= 0:
            raise RefusedError("The amount to pay must be more than 0.")
        world.person(company.realm_id, "pay", kind, doc_id, {"amount": amount})
        return f"Paid {amount_text(amount)}.", kind, doc_id
    if operation in {"void", "delete", "activate", "deactivate"} and (kind in TXN_KINDS or kind in {"Customer", "Vendor"}):
        world.person(company.realm_id, operation, kind, doc_id)
        gone = company.get(kind, doc_id) is None
        said = {"void": "Voided.", "activate": "It is active again.", "deactivate": "It is inactive now."}.get(
            operation, "Deleted."
        )
        return said if not gone else f"{kind} {doc_id} is deleted.", kind, doc_id
    raise RefusedError(f"{operation or 'Nothing'} is not possible here.")


def _decimal(typed: str) -> Decimal:
    try:
        value = Decimal(typed.replace(",", "").strip())
    except InvalidOperation:
        raise RefusedError(f"{typed!r} is not an amount.") from None
    if not value.is_finite() or abs(value) >= 10**13:
        raise RefusedError(f"{typed!r} is not an amount.")
    if value != round(value, 2):
        raise RefusedError(f"{typed!r} has more than two decimals.")
    return value


def _changes(kind: str, doc: Doc, form: dict[str, str]) -> dict[str, Any]:
    """Only what the person really changed."""
    changes: dict[str, Any] = {}
    for field in ("PrivateNote", "DueDate", "DisplayName"):
        if field in form and form[field] != str(doc.get(field) or ""):
            changes[field] = form[field]
    if "email" in form and form["email"] != (doc.get("PrimaryEmailAddr") or {}).get("Address", ""):
        changes["PrimaryEmailAddr"] = {"Address": form["email"]}
    if form.get("total") and _decimal(form["total"]) != doc.get("TotalAmt"):
        changes["TotalAmt"] = _decimal(form["total"])
    lines = _changed_lines(doc, form)
    if lines is not None:
        changes["Line"] = lines
    return changes


def _changed_lines(doc: Doc, form: dict[str, str]) -> list[Doc] | None:
    """The whole list of lines with new amounts and descriptions, or None when they are as they were."""
    lines: list[Doc] = []
    changed = False
    for index, line in enumerate(doc.get("Line") or ()):
        if line.get("DetailType") == "SubTotalLineDetail":
            continue
        new = dict(line)
        about = form.get(f"description_{index}")
        if about is not None and about != str(line.get("Description") or ""):
            new["Description"] = about
            changed = True
        typed = form.get(f"amount_{index}")
        if typed is not None and _decimal(typed) != line.get("Amount", ZERO):
            new["Amount"] = _decimal(typed)
            detail = str(line["DetailType"])
            new[detail] = _repriced(line.get(detail) or {}, new["Amount"])
            changed = True
        lines.append(new)
    return lines if changed else None


def _repriced(detail: Doc, amount: Decimal) -> Doc:
    """Qty and price that fit a new amount: Amount = Qty x UnitPrice must hold."""
    if "UnitPrice" not in detail and "Qty" not in detail:
        return detail
    return {**detail, "Qty": Decimal(1), "UnitPrice": amount}
