"""QuickBooks' answer against what was asked: each thing that may differ is told, and what agrees is not."""

from copy import deepcopy
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from bookrelay.messages import InvoiceContent, InvoiceLine, Party
from qbo_writer.domain import CommandState, LedgerKind, Operation, Request, Resolved
from qbo_writer.ledger.changes import Unlike
from qbo_writer.ledger.records import Command, DocumentState
from qbo_writer.policy import Policy
from qbo_writer.protocol.asking import not_as_asked
from qbo_writer.quickbooks import mapping
from test_deciding import START

MARKER = "bookrelay:abcdefghijklmnop"
CONTENT = InvoiceContent(
    customer=Party(name="P-1 A.B."), txn_date=date(2026, 11, 1), memo="Both knees",
    lines=(
        InvoiceLine(description="Treatment", quantity=Decimal(1), unit_price=Decimal(100), amount=Decimal("100.00")),
        InvoiceLine(description="Gauze", amount=Decimal("20.00")),
    ),
)  # fmt: skip
IDS = {"customer": "58", "item:default": "1", "tax": "NON"}
WANTED = mapping.wanted(LedgerKind.INVOICE, CONTENT, Resolved(IDS), Policy(), "12082", MARKER)
ANSWER: dict[str, Any] = {
    **WANTED.body_fields,
    "Id": "130",
    "SyncToken": "0",
    "TotalAmt": Decimal("120.00"),
    "Balance": Decimal("120.00"),
}
KNOWN = DocumentState(1, "r", LedgerKind.INVOICE, "emr", "Q-1", MARKER)


def compared(answer: dict[str, Any], operation: Operation = Operation.UPDATE, **command: Any) -> Unlike | None:
    """Compare an answer with what was asked."""
    request = Request(
        "r", LedgerKind.INVOICE, "Invoice", operation, "br-1", "{}", "130" if operation is Operation.UPDATE else None
    )
    content = CONTENT.model_dump(mode="json")
    command = Command(uuid4(), "upsert", 1, START, "hash", CommandState.DUE, content=content, **command)
    return not_as_asked(KNOWN, command, request, WANTED.fields, mapping.seen("Invoice", answer))


def line(number: int, **detail: Any) -> dict[str, Any]:
    """The answer with a line changed: `Amount` or a part of its detail."""
    lines = deepcopy(ANSWER["Line"])
    if "Amount" in detail:
        lines[number - 1]["Amount"] = detail.pop("Amount")
    lines[number - 1]["SalesItemLineDetail"] |= detail
    return {"Line": lines}


@pytest.mark.parametrize("operation", [Operation.CREATE, Operation.UPDATE])
def test_what_is_as_asked_tells_nothing(operation: Operation) -> None:
    """What QuickBooks fills in by itself is no difference."""
    assert compared({**ANSWER, "DueDate": "2026-12-01", "BillAddr": {"Line1": "x"}} | {"DueDate": ""}, operation) is None


@pytest.mark.parametrize(
    ("changed", "field", "ours", "theirs"),
    [
        ({"Id": "131"}, "id", "130", "131"),
        ({"PrivateNote": "Both knees\nbookrelay:another"}, "marker", MARKER, None),
        ({"PrivateNote": "Both knees"}, "marker", MARKER, None),
        ({"DocNumber": "12083"}, "doc_number", "12082", "12083"),
        ({"CustomerRef": {"value": "59"}}, "customer", "58", "59"),
        ({"TxnDate": "2026-11-02"}, "txn_date", "2026-11-01", "2026-11-02"),
        ({"TotalAmt": Decimal("128.70")}, "total", "120.00", "128.70"),
        ({"Line": ANSWER["Line"][:1]}, "lines", "2", "1"),
        (line(2, Amount=Decimal("21.00")), "line.2.amount", "20.00", "21.00"),
        (line(1, ItemRef={"value": "7"}), "line.1.item", "1", "7"),
        (line(1, TaxCodeRef={"value": "TAX"}), "line.1.tax", "NON", "TAX"),
    ],
)  # fmt: skip
def test_what_differs_is_told(changed: dict[str, Any], field: str, ours: str, theirs: str | None) -> None:
    unlike = compared({**ANSWER, **changed})
    assert unlike is not None
    told = {d.field: (d.ours, d.theirs) for d in unlike.differences}
    assert field in told
    assert told[field][0] == ours
    if theirs:
        assert told[field][1] == theirs
    assert (unlike.amount is None) == (field != "total")


def test_a_create_has_no_id_to_compare_and_a_text_is_not_shown() -> None:
    assert compared({**ANSWER, "Id": "131"}, Operation.CREATE) is None
    lines = deepcopy(ANSWER["Line"])
    lines[0]["Description"] = "Maria Lopez, treatment"
    unlike = compared({**ANSWER, "Line": lines})
    assert unlike is not None
    assert "Maria" not in str(unlike)
    assert "Treatment" not in str(unlike)


def test_the_total_is_the_source_s_own_where_it_states_one() -> None:
    unlike = compared(ANSWER, total=Decimal("119.00"))
    assert unlike is not None
    assert [(d.field, d.ours, d.theirs) for d in unlike.differences] == [("total", "119.00", "120.00")]
    assert unlike.amount == Decimal("1.00")
    assert compared(ANSWER, total=Decimal("119.00"), forced=True) is None
