"""A company restored from its snapshot posts everything as it was posted, whatever was made first."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from sandbox.qbo.books.audit import invariants
from sandbox.qbo.company.schema import KINDS
from sandbox.qbo.company.store import Company, Doc, broken_indexes, restore, snapshot
from sandbox.qbo.control.states import MOVED, load_state, save_state
from sandbox.qbo.control.world import Config, Remembered, World
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


def test_a_state_file_of_before_the_folders_is_read(tmp_path: Path) -> None:
    world = World(Config(limits=False))
    world.remembered[world.first_realm]["r1"] = Remembered(200, b"{}", "application/json", 1.0, 2)
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), kind in MOVED.items():  # as they were when the file was written
            patch.setitem(sys.modules, module, sys.modules.get(module) or ModuleType(module))
            patch.setattr(sys.modules[module], name, kind, raising=False)
            patch.setattr(kind, "__module__", module)
        save_state(world, tmp_path / "state")
    again = World(Config(seed=1, limits=False))
    load_state(again, tmp_path / "state")
    assert again.remembered == world.remembered
    assert (again.first_grant, again.oauth.settings) == (world.first_grant, world.oauth.settings)
    assert again.oauth.access == world.oauth.access
