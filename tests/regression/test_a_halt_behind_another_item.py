"""A batch whose first failed item was throttled (3001) or unauthorized (3200) did not halt, whatever stood behind it."""

import pytest
from writer_support import QboSandbox, desk, invoice, running

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("first", ["3001", "3200"])
async def test_a_halting_item_halts_whatever_stands_before_it(database_url: str, sandbox: QboSandbox, first: str) -> None:
    async with desk(database_url, sandbox, run=False, batch_threshold=5) as d:
        await d.tell(*(invoice(d.realm, f"Q-{number}") for number in range(1, 11)))
        match = {"realm": d.realm, "entity": "Invoice"}
        sandbox.fault(fault="item_fault", code=first, count=1, match=match)
        sandbox.fault(fault="item_fault", code="6190", count=10, match=match)
        async with running(d.writer):
            assert set((await d.until_ended(60)).values()) == {"posted"}
        told = [e["type"].split(".")[2] for e in await d.events() if ".realm." in e["type"]]
        assert told == ["halted", "resumed"]
