"""A company restored from its snapshot posts everything as it was posted, whatever was made first."""

from __future__ import annotations

from typing import Any

from sandbox.qbo.books.ledger import invariants
from sandbox.qbo.company.schema import KINDS
from sandbox.qbo.company.store import Company, Doc, broken_indexes, restore, snapshot
from sandbox.qbo.control.world import Config, World
from sandbox.qbo.documents.writes import save


def make(company: Company, kind: str, **body: Any) -> Doc:
    return save(company, KINDS[kind], body)


def test_payments_come_after_what_they_pay() -> None:
    world = World(Config(limits=False))
    company = world.companies[world.first_realm]
    make(company, "Payment", CustomerRef={"value": "1"}, TotalAmt=5)  # the kind is there before any invoice
    job = make(company, "Customer", DisplayName="job", Job=True, ParentRef={"value": "1"})
    line = {"DetailType": "SalesItemLineDetail", "Amount": 100, "SalesItemLineDetail": {"ItemRef": {"value": "1"}}}
    owed = make(company, "Invoice", CustomerRef={"value": job["Id"]}, Line=[line])
    link = {"Amount": 60, "LinkedTxn": [{"TxnId": owed["Id"], "TxnType": "Invoice"}]}
    make(company, "Payment", CustomerRef={"value": "1"}, TotalAmt=60, Line=[link])
    again = world.new_company("1", "plus")
    restore(again, snapshot(company))
    assert invariants(again) + broken_indexes(again) == []
    assert again.open_balance == company.open_balance
