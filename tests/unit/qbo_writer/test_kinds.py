"""Every kind of document is described once, and whatever is told of it on the wire has its message."""

from datetime import date
from pathlib import Path

import pytest
from bookrelay import messages as m
from qbo_writer import domain, kinds
from qbo_writer.domain import LedgerKind, Operation
from qbo_writer.policy import Policy
from qbo_writer.quickbooks import documents, mapping
from sandbox.demo import books as demo_books
from sandbox.demo import till
from sandbox.qbo.company.schema import KINDS as STAND_IN

POLICY_PAGE = Path(__file__).resolve().parents[3] / "docs" / "company-policy.md"


def test_every_kind_has_its_module() -> None:
    assert sorted(one.kind for one in kinds.ALL) == sorted(LedgerKind)
    assert {one.kind for one in kinds.ALL if one.is_name} == set(domain.PARTY_KINDS)


def test_every_kind_of_the_wire_is_one_of_the_ledger_and_told_when_it_is_posted() -> None:
    assert {kind.value for kind in m.Kind} == {one.kind.value for one in kinds.ALL if not one.is_name}
    assert all((one.posted is None) == one.is_name for one in kinds.ALL)


@pytest.mark.parametrize("kind", LedgerKind)
def test_quickbooks_knows_every_kind(kind: LedgerKind) -> None:
    entity = mapping.ENTITY[kind]
    assert (entity in mapping.PARTY_KINDS) == kinds.of(kind).is_name
    assert (entity in mapping.DOCUMENTS) == (not kinds.of(kind).is_name)
    assert mapping.KIND[entity] is kind
    assert documents.of(kind).kind is kind


def test_a_company_takes_every_kind_that_sources_ask_for_unless_its_policy_says_otherwise() -> None:
    assert Policy().kinds == kinds.OPTIONAL
    assert {upsert.TYPE for upsert in m.UPSERTS} == {
        f"bookrelay.{kind.value.replace('_', '-')}.upsert.v1" for kind in kinds.OPTIONAL
    }


@pytest.mark.parametrize("kind", [one.kind for one in kinds.ALL])
def test_the_stand_in_has_every_kind(kind: LedgerKind) -> None:
    assert mapping.ENTITY[kind] in STAND_IN


@pytest.mark.parametrize("kind", kinds.OPTIONAL)
def test_the_demo_and_the_policy_page_have_every_kind_that_sources_ask_for(kind: LedgerKind) -> None:
    of_till = {till.kind_of(slip.content).value for slip in till.slips(len(till.KINDS), 0, date(2026, 11, 1))}
    assert kind in of_till | {"invoice", "bill", "payment"}
    assert kind in demo_books.WORD
    assert f'"{kind}"' in POLICY_PAGE.read_text("utf-8")


def test_only_what_can_be_voided_is_voided() -> None:
    taken_away = {one.kind: one.takes_away(void=True) for one in kinds.ALL}
    assert [kind for kind, operation in taken_away.items() if operation is Operation.VOID] == [
        LedgerKind.INVOICE,
        LedgerKind.SALES_RECEIPT,
    ]
    assert {one.takes_away(void=False) for one in kinds.ALL} == {Operation.DELETE}
