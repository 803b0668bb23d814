"""A 429 on a document's send delays its next version by the pause, and by nothing more."""

import time
from collections.abc import Iterator

import pytest
from writer_support import QboSandbox, desk, invoice, qbo_sandbox, running

pytestmark = [pytest.mark.postgres]
PAUSE = 1.0


@pytest.fixture
def own_sandbox() -> Iterator[QboSandbox]:
    """A stand-in of this test's own."""
    with qbo_sandbox("--no-limits") as sandbox:
        yield sandbox


@pytest.mark.parametrize("refused", ["create", "update", "look-up of the customer", "batch"])
async def test_the_next_version_leaves_when_the_pause_ends(database_url: str, own_sandbox: QboSandbox, refused: str) -> None:
    async with desk(database_url, own_sandbox, run=False, pace_throttle_wait_seconds=PAUSE) as d:
        async with running(d.writer):
            versions = 2
            if refused == "update":
                await d.tell(invoice(d.realm, "Q-1", 1))
                await d.until_ended(1)
                versions = 3
            match = {"realm": d.realm, "entity": "Invoice", "operation": "create" if versions == 2 else "update"}
            if refused == "look-up of the customer":
                match = {"realm": d.realm}
            if refused == "batch":
                match = {"realm": d.realm, "operation": "batch"}
                await d.tell(*[invoice(d.realm, f"Q-9{i}") for i in range(60)])
            own_sandbox.fault(fault="throttle", count=1, match=match)
            await d.tell(invoice(d.realm, "Q-1", versions - 1, "101.00"))

            async def throttled() -> bool:
                return any(request["status"] == 429 for request in own_sandbox.requests(d.realm))

            await d.until(throttled)
            began = time.monotonic()
            await d.tell(invoice(d.realm, "Q-1", versions, "102.00"))

            async def ended() -> bool:
                states = await d.states()
                return states.get(("Q-1", versions)) in ("posted", "unchanged")

            await d.until(ended)
            took = time.monotonic() - began
        assert took < PAUSE + 8
