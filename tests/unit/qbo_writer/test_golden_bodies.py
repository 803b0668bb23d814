"""What QuickBooks is sent for one document of each kind, and what is compared of its answer. Numbers are kept digit by digit.

A golden file is made once, by hand or by `python tests/unit/qbo_writer/test_golden_bodies.py KIND`, and read before it is kept.
"""

import asyncio
import json
import sys
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bookrelay_deploy.examples import examples
from qbo_writer import kinds
from qbo_writer.domain import LedgerKind, Resolved
from qbo_writer.kinds import BillPaymentContent, NameContent
from qbo_writer.ledger.records import DocumentState
from qbo_writer.policy import Policy
from qbo_writer.quickbooks import documents, mapping

GOLDEN = Path(__file__).parent / "golden"
MARKER = "bookrelay:00000000000000000000000000000000"
OWN: dict[LedgerKind, Any] = {  # contents that no message has
    LedgerKind.BILL_PAYMENT: BillPaymentContent(
        vendor_id="56", bill_id="145", txn_date=date(2026, 11, 2), amount=Decimal("420.00")
    ),
    LedgerKind.CUSTOMER: NameContent(name="4D-20417 J.D.", email="billing@example.org"),
    LedgerKind.VENDOR: NameContent(name="Zahnlabor Müller & Söhne"),
}


class FindsAll:
    """Finds whatever is asked for: the Id says what it is."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}

    async def items(self, keys: Iterable[str]) -> None:
        self.ids |= {f"item:{key}": f"item {key}" for key in keys}

    async def accounts(self, keys: Iterable[str]) -> None:
        self.ids |= {f"account:{key}": f"account {key}" for key in keys}

    async def custom_fields(self, fields: Iterable[Any]) -> None:
        self.ids |= {f"custom:{one.name}": "1" for one in fields}

    async def taxes(self, content: Any) -> None:
        self.ids["tax"] = "NON"

    async def heading(self, *, class_name: str | None, department: str | None, class_per_document: bool = False) -> None:
        self._named({"class" if class_per_document else "line_class": class_name, "department": department})

    async def terms(self, name: str | None) -> None:
        self._named({"term": name})

    async def account(self, place: str) -> None:
        self.ids[place] = "the policy's account"

    async def paying_account(self) -> None:
        self.ids["bank_account"] = "the bank"

    async def deposit(self, account: str | None, method: str | None) -> None:
        self._named({"deposit_account": account, "payment_method": method})

    async def customer(self, party: Any) -> None:
        self.ids["customer"] = party.name

    async def vendor(self, party: Any) -> None:
        self.ids["vendor"] = party.name

    def _named(self, names: dict[str, str | None]) -> None:
        self.ids |= {key: name for key, name in names.items() if name}


def made(kind: LedgerKind) -> dict[str, Any]:
    """What is sent and compared for the kind's example."""
    content = OWN.get(kind)
    if content is None:
        type_ = f"bookrelay.{kind.value.replace('_', '-')}.upsert.v1"
        content = examples()[type_].data.content
    finder = FindsAll()
    asyncio.run(_refer(kind, finder, content))
    document = DocumentState(1, "9341455608740708", kind, "bank", "1", MARKER)
    finder.ids |= {one.place: f"{one.kind} {one.source_key}" for one in kinds.of(kind).names(document, content)}
    wanted = mapping.wanted(kind, content, Resolved(finder.ids), Policy(custom_fields={"quote": "1"}), "N-1", MARKER, "USD")
    return {
        "create": _digits(mapping.create_body(wanted)),
        "update": _digits(mapping.update_body(wanted, "145", "3")),
        "compared": wanted.fields,
    }


def _digits(body: str) -> Any:
    return json.loads(body, parse_float=str, parse_int=str)


async def _refer(kind: LedgerKind, finder: FindsAll, content: Any) -> None:
    await documents.of(kind).refer(finder, content)


@pytest.mark.parametrize("kind", LedgerKind)
def test_what_is_sent_is_the_golden_example(kind: LedgerKind) -> None:
    assert made(kind) == json.loads((GOLDEN / f"{kind.value}.json").read_text("utf-8"))


def test_there_is_a_golden_example_of_every_kind_and_no_other() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.json")) == sorted(one.kind.value for one in kinds.ALL)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        text = json.dumps(made(LedgerKind(name)), indent=1, ensure_ascii=False)
        (GOLDEN / f"{name}.json").write_text(text + "\n", "utf-8")
