"""Every reason that people read has a fix, and the fix fits its cause: whose hands it names is where the fault can be mended."""

import ast
import re
from pathlib import Path

import pytest
import qbo_writer
from bookrelay.errors import Disposition
from qbo_writer.domain import AnswerKind, Reference
from qbo_writer.quickbooks import faults, missing, taxes

ROOM = Path(qbo_writer.__file__).parent
SOURCE = re.compile(r"at the source|at its source")
BOOKS = re.compile(r"QuickBooks|company policy|plan|bookrelay|qbo-writer")
ACTS = re.compile(r"release|drop|QuickBooks|mapping|map ")

ITEM, ACCOUNT = Reference("Item", "5", "Supply", True, "category"), Reference("Account", "9", "Rent", False)

# reason -> (what is there, whether only the source can mend it)
UNMAPPED = {
    "missing item": (missing.unmapped("Item", "Surgery"), False),
    "missing account": (missing.unmapped("Account", "Rent"), False),
    "missing tax code": (missing.unmapped("TaxCode", "VAT"), False),
    "named by the policy": (missing.named_but_missing("Item", "with Id 7"), False),
    "nobody may be created": (missing.not_to_be_created("Customer", "Ann"), False),
    "a category": (missing.unfit(ITEM), False),
    "inactive": (missing.unfit(ACCOUNT), False),
    "name of another kind": (missing.taken("Customer", "Ann", Reference("Vendor", "3", "Ann")), False),
    "name of an inactive one": (missing.taken("Customer", "Ann", Reference("Customer", "3", "Ann", False)), False),
    "no discounts": (missing.NO_DISCOUNTS, False),
    "taxes on taxes": (taxes.TAX_ON_TAX, False),
    "no such sub-customer": (missing.wrong_name("Smith:Garage", "Customer"), False),
    "an error text": (missing.wrong_name("#N/A", "Customer"), True),
    "a date": (missing.wrong_name("2026-03-01", "Vendor"), True),
    "empty": (missing.wrong_name(" ", "Vendor"), True),
}


@pytest.mark.parametrize("name", sorted(UNMAPPED))
def test_what_waits_is_mended_in_quickbooks_or_in_the_policy_and_what_is_rejected_at_its_source(name: str) -> None:
    unmapped, at_source = UNMAPPED[name]
    assert unmapped is not None
    assert unmapped.at_source is at_source
    assert unmapped.reason.endswith(".")
    assert unmapped.fix.endswith(".")
    if at_source:
        assert SOURCE.search(unmapped.fix), unmapped.fix
    else:
        assert BOOKS.search(unmapped.fix), unmapped.fix
        assert "again" not in unmapped.fix  # it goes on by itself


@pytest.mark.parametrize("code", sorted(faults.TABLE))
def test_each_fault_has_a_fix_that_fits_its_cause(code: str) -> None:
    entry = faults.TABLE[code]
    if entry.kind not in (AnswerKind.ERROR, AnswerKind.REFUSAL) or entry.throttled or entry.unauthorized:
        return  # what is looked up or tried again needs nobody
    assert entry.fix.endswith("."), code
    assert BOOKS.search(entry.fix) or SOURCE.search(entry.fix), (code, entry.fix)
    if entry.disposition is Disposition.HOLD:
        assert not SOURCE.search(entry.fix) or "QuickBooks" in entry.fix, code  # a person decides here
    if re.match(r"(An account|An inventory item|The date is before the start of the item)", entry.sentence):
        assert "QuickBooks" in entry.fix or "company policy" in entry.fix, (code, entry.fix)  # not wrong in the document


def _calls(name: str) -> list[tuple[str, ast.Call]]:
    return [
        (f"{path.name}:{node.lineno}", node)
        for path in sorted(ROOM.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == name
    ]


def test_no_end_that_needs_somebody_is_without_a_fix() -> None:
    needs = ("CommandState.HELD", "CommandState.REJECTED", "CommandState.WAITING")
    ends = [(at, call) for at, call in _calls("Decision") if call.args and ast.unparse(call.args[0]) in needs]
    assert len(ends) >= 10
    without = [at for at, call in ends if len(call.args) < 3 and not any(k.arg == "fix" for k in call.keywords)]
    assert without == []
    empty = [at for at, call in ends if len(call.args) > 2 and ast.unparse(call.args[2]) in ("''", '""')]
    assert empty == []


def test_nothing_that_is_mended_in_quickbooks_or_in_the_policy_is_rejected_by_hand() -> None:
    """`rejected` comes from the fault table, from what the source alone can mend, or after the longest wait."""
    by_hand = {
        at.split(":")[0] for at, call in _calls("Decision") if call.args and ast.unparse(call.args[0]) == "CommandState.REJECTED"
    }
    assert by_hand <= {"preparing.py", "totals.py", "numbering.py"}  # a total below zero, a number: they are their source's
