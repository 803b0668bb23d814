"""The forms of a document: edit, pay, void, delete."""

from __future__ import annotations

from sandbox.qbo.company.schema import KINDS
from sandbox.qbo.company.store import TXN_KINDS, Company, Doc
from sandbox.qbo.documents.writes import VOIDED_BY_PERSONS
from sandbox.qbo.door.pages.frame import card
from sandbox.qbo.door.pages.markup import Html, tag

EDITABLE = frozenset(TXN_KINDS) - {"Deposit", "Transfer", "JournalEntry", "TimeActivity"}
VOIDABLE = frozenset(kind for kind, entity in KINDS.items() if entity.void) | set(VOIDED_BY_PERSONS)
PRICED_LINES = ("SalesItemLineDetail", "AccountBasedExpenseLineDetail", "ItemBasedExpenseLineDetail")


def _hidden(company: Company, kind: str, doc: Doc, operation: str) -> list[Html]:
    values = {"realm": company.realm_id, "kind": kind, "id": doc["Id"], "op": operation}
    return [tag("input", type_="hidden", name_=name, value=value) for name, value in values.items()]


def forms_card(company: Company, kind: str, doc: Doc, typed: dict[str, str]) -> Html:
    """Edit, pay, void and delete, as far as they fit the document. Refused input is shown again for correction."""
    fields: list[Html] = []

    def field(label: str, name: str, value: object, kind: str = "text", **more: object) -> Html:
        value = typed.get(name, value)
        return tag("label", label, tag("input", type_=kind, name_=name, value="" if value is None else value, **more))

    if kind in EDITABLE:
        for index, line in enumerate(doc.get("Line") or ()):
            if line.get("DetailType") in PRICED_LINES:
                about = field(f"Line {index + 1}", f"description_{index}", line.get("Description", ""))
                fields.append(
                    tag("div", about, field("Amount", f"amount_{index}", line.get("Amount"), inputmode="decimal"), cls="row")
                )
        if kind == "Payment":
            fields.append(field("Amount", "total", doc.get("TotalAmt"), inputmode="decimal"))
        if kind in {"Invoice", "Bill"}:
            fields.append(field("Due date", "DueDate", doc.get("DueDate"), "date"))
        fields.append(field("Memo", "PrivateNote", doc.get("PrivateNote"), maxlength=4000))
    elif kind in {"Customer", "Vendor"}:
        fields.append(field("Name", "DisplayName", doc.get("DisplayName"), maxlength=500))
        fields.append(field("E-mail", "email", (doc.get("PrimaryEmailAddr") or {}).get("Address", "")))
    blocks: list[Html] = []
    if fields:
        save = tag("button", "Save changes", cls="main", data_once=True)
        blocks.append(
            tag(
                "form",
                _hidden(company, kind, doc, "edit"),
                fields,
                tag("div", save),
                cls="fields",
                method="post",
                action="/ui/act",
            )
        )
    buttons = []
    if kind in {"Invoice", "Bill"} and doc.get("Balance"):
        amount = tag(
            "input",
            name_="amount",
            value=typed.get("amount", doc["Balance"]),
            inputmode="decimal",
            aria_label="Amount to pay",
            size=10,
        )
        pay = tag("button", "Receive payment" if kind == "Invoice" else "Pay bill", cls="main", data_once=True)
        blocks.append(
            tag("form", _hidden(company, kind, doc, "pay"), amount, pay, cls="line actions", method="post", action="/ui/act")
        )
    if kind in VOIDABLE and doc.get("TotalAmt"):
        buttons.append(_button(company, kind, doc, "void", "Void", "Void this document? Its amounts become 0."))
    if kind in TXN_KINDS:
        buttons.append(_button(company, kind, doc, "delete", "Delete", "Delete this document for good?"))
    elif kind in {"Customer", "Vendor"}:
        operation = "deactivate" if doc.get("Active", True) else "activate"
        buttons.append(_button(company, kind, doc, operation, f"Make {'in' if operation == 'deactivate' else ''}active", ""))
    if buttons:
        blocks.append(tag("div", buttons, cls="actions"))
    return card("Play the bookkeeper", blocks) if blocks else Html("")


def _button(company: Company, kind: str, doc: Doc, operation: str, label: str, ask: str) -> Html:
    return tag(
        "form",
        _hidden(company, kind, doc, operation),
        tag("button", label, cls="danger", data_ask=ask or None),
        method="post",
        action="/ui/act",
    )
