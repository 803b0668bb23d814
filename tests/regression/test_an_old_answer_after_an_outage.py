"""Postgres was away for longer than the lease: the answer to the first send came to the ledger after the second had left."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from qbo_writer.domain import Answer, AnswerKind, AttemptState
from qbo_writer.protocol.settling import commit_of
from qbo_writer.protocol.transitions import Trigger
from writer_support import QboSandbox, desk, invoice, qbo_sandbox, running

pytestmark = pytest.mark.postgres


@pytest.fixture
def sandbox() -> Iterator[QboSandbox]:
    """A stand-in of its own."""
    with qbo_sandbox("--no-limits") as sandbox:
        yield sandbox


async def test_the_first_sends_error_does_not_end_the_second(database_url: str, sandbox: QboSandbox) -> None:
    waits = {"protocol_transit_seconds": 60, "protocol_staleness_seconds": 60}
    async with desk(database_url, sandbox, run=False, **waits) as d:
        match = {"realm": d.realm, "entity": "Invoice", "operation": "create"}
        sandbox.fault(fault="late_delivery", delay=300, count=1, match=match)
        async with running(d.writer):
            await d.tell(invoice(d.realm, "Q-1"))

            async def unknown() -> bool:
                return bool(await d.pool.fetchval("SELECT state = 'unknown' FROM qbo_writer.attempts WHERE entity = 'Invoice'"))

            await d.until(unknown)
        ledger = d.writer.ledger
        await d.writer.leases.step()
        token = d.writer.leases.holding(d.realm)
        assert token is not None
        (first,) = await ledger.attempts.read_open(d.realm, limit=10, due=False)
        first = replace(first, sent=replace(first.sent, state=AttemptState.SENDING, ambiguous=False))
        expires_at = datetime.now(UTC) + timedelta(hours=1)
        (second,) = await ledger.attempts.resend(d.realm, token, [first], expires_at, absent=True)
        # An old look-up that found nothing says nothing about the second send: it must not leave a third time for it.
        assert await ledger.attempts.resend(d.realm, token, [first], expires_at, absent=True) == []
        error = Answer(AnswerKind.ERROR, http_status=400, intuit_code="2050", reason="too long")
        old = commit_of(first, Trigger.ERROR, d.writer.parts.links, answer=error)
        assert await ledger.commits.commit(d.realm, token, [old]) == []
        assert (await d.states())["Q-1", 1] == "due"
        silence = commit_of(first, Trigger.SILENCE, d.writer.parts.links, answer=error)
        assert await ledger.commits.commit(d.realm, token, [silence]) == []
        assert await d.pool.fetchval("SELECT state FROM qbo_writer.attempts WHERE entity = 'Invoice'") == "sending"
        new = commit_of(second, Trigger.ERROR, d.writer.parts.links, answer=error)
        assert await ledger.commits.commit(d.realm, token, [old, new]) == [new]  # in one commit, too
        assert await d.pool.fetchval("SELECT state FROM qbo_writer.attempts WHERE entity = 'Invoice'") == "resolved"
