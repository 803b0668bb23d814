"""A writer was killed in the pause after a 429: the next one knew nothing of it, and 246 requests left before its end."""

from collections.abc import Iterator

import pytest
from qbo_writer.domain import LookupFailed
from qbo_writer.writer import Writer
from writer_support import QboSandbox, desk, invoice, qbo_sandbox, running

pytestmark = [pytest.mark.postgres]
PAUSE = 6.0


@pytest.fixture
def own_sandbox() -> Iterator[QboSandbox]:
    """A stand-in of this test's own."""
    with qbo_sandbox("--no-limits") as sandbox:
        yield sandbox


async def test_the_next_writer_keeps_the_pause(database_url: str, own_sandbox: QboSandbox) -> None:
    async with desk(database_url, own_sandbox, run=False, pace_throttle_wait_seconds=PAUSE) as d:
        first = d.writer
        while first.leases.holding(d.realm) is None:
            await first.leases.step()
        fencing_token = first.leases.holding(d.realm)
        assert fencing_token
        token = await first.tokens.current(d.realm, fencing_token)
        await first.ledger.realms.read(d.realm)  # as taking over does: the row is there
        own_sandbox.fault(fault="throttle", count=1, match={"realm": d.realm})
        with pytest.raises(LookupFailed):
            await first.client.get(d.realm, f"/companyinfo/{d.realm}", {}, token)
        # Killed now, before any of its loops has taken another step, it leaves this behind.
        until = await d.pool.fetchval("SELECT (pace->>'frozen_until')::float FROM qbo_writer.realms WHERE realm = $1", d.realm)
        assert until
        before = len(own_sandbox.requests(d.realm))
        await d.pool.execute("UPDATE qbo_writer.leases SET expires_at = now() - interval '1 second'")
        second = Writer(d.settings, d.pool)
        d.writer = second
        async with running(second):
            await d.tell(*[invoice(d.realm, f"Q-{i}") for i in range(20)])
            await d.until_ended(40)
        later = own_sandbox.requests(d.realm)[before:]
        assert later
        assert not [request for request in later if float(request["time"]) < until - 0.1]
