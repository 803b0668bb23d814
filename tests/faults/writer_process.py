"""The production writer as a process of the fault tests: `python -m tests.faults.writer_process <defect or "none">`.

For the test of the test one rule of the protocol is switched off by replacing a part in this process; nothing of this is
reachable from the product. With "none" the only change is a shorter session of the consumer groups, which no setting has: the
embedded broker waits for almost a whole session at each rebalance.
"""

import sys
from collections.abc import Callable
from typing import Any


def none() -> None:
    """Nothing is broken."""


def quick_groups() -> None:
    """Consumer groups notice a dead member after 3 s."""
    from faststream.kafka import KafkaBroker

    broker: Any = KafkaBroker
    original = broker.subscriber

    def subscriber(self: Any, *topics: Any, **more: Any) -> Any:
        return original(self, *topics, **{**more, "session_timeout_ms": 3000, "heartbeat_interval_ms": 500})

    broker.subscriber = subscriber


def no_requestid() -> None:
    """Requests leave without their requestid."""
    import httpx

    client: Any = httpx.AsyncClient
    build = client.build_request

    def without(self: Any, method: str, url: Any, **more: Any) -> Any:
        request = build(self, method, url, **more)
        request.url = request.url.copy_remove_param("requestid")
        return request

    client.build_request = without


def acknowledge_first() -> None:
    """The offset is committed when the batch was polled, before it is recorded."""
    from bookrelay import kafka as module

    kafka: Any = module
    original = kafka._parse

    async def parse(message: Any, parser: Any = None) -> Any:
        parsed = await original(message, parser)
        await parsed.consumer.commit()
        return parsed

    kafka._parse = parse


def fence_off() -> None:
    """Ledger transactions check no lease, neither in the database nor in memory, nor that an answer is of the latest send.

    The last is a line of its own behind the fence: it alone stops what a writer without a lease would do here.
    """
    import contextlib
    import dataclasses

    from bookrelay.db import transaction
    from qbo_writer.ledger import attempts, commands, commits, dependents, feed, merges, realms, sweeps
    from qbo_writer.protocol import sending

    @contextlib.asynccontextmanager
    async def unfenced(pool: Any, realm: str, fencing_token: int) -> Any:
        async with transaction(pool) as connection:
            yield connection

    update = commits._update_attempts

    async def update_whatever_was_sent_since(connection: Any, changes: Any) -> Any:
        sends = {change.id: change.sends for change in changes}
        done = await update(connection, [dataclasses.replace(change, sends=None) for change in changes])
        return {(id_, sends[id_]) for id_, _ in done}

    for module in (attempts, commands, commits, dependents, feed, merges, realms, sweeps):
        part: Any = module
        part.fenced = unfenced
    commits._update_attempts = update_whatever_was_sent_since
    sending.Sender.may_send = lambda self, tenure: True  # type: ignore[method-assign]


def journal_after_send() -> None:
    """The request leaves first; its attempt is committed with the answer. A crash between leaves no trace."""
    import uuid

    from qbo_writer import crashpoints
    from qbo_writer.protocol import claiming, planning

    def fresh(*_: Any) -> str:
        return "br-" + uuid.uuid4().hex  # what was not journalled cannot be repeated

    planning.requestid_of = fresh  # type: ignore[assignment]

    async def send_then_journal(self: Any, tenure: Any, attempts: Any, token: Any) -> None:
        for new in attempts:
            answer = await self.parts.books.send(new.request, token)
            crashpoints.reach("sent")
            journalled = await self.parts.ledger.attempts.journal(self.realm, tenure.fencing_token, [new])
            for attempt in journalled:
                effects = await self.sender.answerer.single(attempt, answer, token)
                await self.sender.committer.settle(tenure, effects, [(attempt, answer)])

    poster: Any = claiming.Claimer
    poster._singles = send_then_journal


def new_requestid_on_resend() -> None:
    """A resend carries another requestid than the journalled one."""
    import dataclasses
    import uuid

    from qbo_writer.protocol import sending

    original = sending.Sender.single

    async def single(self: Any, tenure: Any, attempt: Any, token: Any) -> None:
        if attempt.sends > 1:
            request = dataclasses.replace(attempt.request, requestid="br-" + uuid.uuid4().hex)
            attempt = dataclasses.replace(attempt, request=request)
        await original(self, tenure, attempt, token)

    sending.Sender.single = single  # type: ignore[method-assign]


def absent_at_once() -> None:
    """ "Absent" counts without the wait."""
    from qbo_writer.protocol import look_times, resolving, transitions

    def at_once(sent: Any, waits: Any) -> Any:
        return sent.silent_at or sent.last_sent_at

    for module in (transitions, resolving, look_times):
        part: Any = module
        part.absent_counts_at = at_once


def _rewrite(*pairs: tuple[str, str]) -> None:
    """Let statements leave the process changed."""
    import asyncpg

    connection: Any = asyncpg.connection.Connection
    original = connection._execute

    async def execute(self: Any, query: str, *more: Any, **named: Any) -> Any:
        for old, new in pairs:
            query = query.replace(old, new)
        return await original(self, query, *more, **named)

    connection._execute = execute


def many_open_attempts() -> None:
    """A newer version is claimed while the attempt of an older one is open. The database's index must be dropped for it."""
    _rewrite(
        (
            "a WHERE a.document_id = c.document_id AND a.state <> 'resolved')",
            "a WHERE a.command_id = c.id AND a.state <> 'resolved')",
        ),
        ("ON CONFLICT (document_id) WHERE state <> 'resolved' DO NOTHING", ""),
    )


def older_version_wins() -> None:
    """What came last is posted, though a newer version was recorded before."""
    from qbo_writer.ledger import commands

    commands.NEWEST_FIRST = "recorded_at DESC, id::text DESC"
    _rewrite(("AND (n.version, n.modified_at) > (c.version, c.modified_at))", "AND false)"))


def overwrite_people() -> None:
    """After 5010 the update is applied again, whatever a person made of the document."""
    from qbo_writer.protocol import looking
    from qbo_writer.protocol.transitions import Trigger

    original = looking.Looker.compare

    def compare(self: Any, attempt: Any, seen: Any) -> Any:
        when, differences = original(self, attempt, seen)
        return (Trigger.READ_KNOWN, ()) if when is Trigger.READ_OTHER else (when, differences)

    looking.Looker.compare = compare  # type: ignore[method-assign]


def check_before_send_off() -> None:
    """No defect by the protocol: a request leaves although the lease may be gone and the token may have ended."""
    import dataclasses
    from datetime import timedelta

    from qbo_writer.protocol import sending

    sender: Any = sending.Sender
    single = sender.single

    async def unchecked(self: Any, tenure: Any, attempt: Any, token: Any) -> None:
        await single(self, tenure, attempt, dataclasses.replace(token, expires_at=token.expires_at + timedelta(days=1)))

    sender.may_send = lambda self, tenure: True
    sender.single = unchecked


DEFECTS: dict[str, Callable[[], None]] = {
    f.__name__: f
    for f in (
        none, no_requestid, acknowledge_first, fence_off, journal_after_send, new_requestid_on_resend, absent_at_once,
        many_open_attempts, older_version_wins, overwrite_people, check_before_send_off,
    )
}  # fmt: skip


def main() -> None:
    """Break the named part, then run the writer as always."""
    quick_groups()
    DEFECTS[sys.argv[1]]()
    del sys.argv[1:]
    from qbo_writer.main import main as run

    run()


if __name__ == "__main__":
    main()
