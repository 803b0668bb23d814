"""One commit for everything that arrived meanwhile, and the line that tells each end."""

import asyncio
import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bookrelay import metrics, servers, telemetry
from bookrelay.causes import cause_of
from bookrelay.db import TRANSIENT_POSTGRES

from qbo_writer.crashpoints import Place, reach
from qbo_writer.domain import (
    Answer,
)
from qbo_writer.ledger.changes import Commit
from qbo_writer.ledger.lease import LeaseLost
from qbo_writer.ledger.records import Attempt
from qbo_writer.ports import Forms
from qbo_writer.protocol.parts import Parts, Tenure

log = telemetry.get_logger(__name__)

GATHER_SECONDS = 0.004  # answers this close together share a commit; lanes that become free together, a claim and a journal


@dataclass
class _Waiting:
    commits: list[Commit]
    done: asyncio.Future[None]


class Committer:
    """Commits for one company."""

    def __init__(self, realm: str, parts: Parts) -> None:
        self.realm, self.parts = realm, parts
        self._queue: list[_Waiting] = []
        self._committing: asyncio.Task[None] | None = None
        self.opened = False  # something was committed that the resolver has to take up

    async def settle(self, tenure: Tenure, commits: list[Commit], about: Iterable[tuple[Attempt, Answer]] = ()) -> None:
        pairs = list(about)
        facts = {attempt.id: _facts(self.parts.forms, tenure, attempt, answer) for attempt, answer in pairs}
        commits = [replace(e, log=facts[e.attempt.id]) if e.attempt and e.attempt.id in facts else e for e in commits]
        await self.commit(tenure, commits)
        for commit in commits:
            if commit.attempt and commit.attempt.state == "resolved":
                tenure.sent.pop(commit.attempt.id, None)
        reach(Place.SETTLED)
        self._log(commits, pairs)

    async def commit(self, tenure: Tenure, commits: list[Commit]) -> None:
        """Commit with whatever else waits to be committed; returns when it is in the ledger. Raises LeaseLost."""
        if not commits:
            return
        waiting = _Waiting(commits, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit_all(tenure))
        await waiting.done

    async def _commit_all(self, tenure: Tenure) -> None:
        while self._queue:
            await asyncio.sleep(GATHER_SECONDS)
            group, self._queue = self._queue[:100], self._queue[100:]
            try:
                await self._commit_group(tenure, [e for w in group for e in w.commits])
            except Exception as error:
                if len(group) > 1 and not isinstance(error, LeaseLost):  # one of them is poison: alone it harms nobody
                    for w in group:
                        await self._commit_one(tenure, w)
                    continue
                for w in group:
                    if not w.done.done():
                        w.done.set_exception(error)
                continue
            for w in group:
                if not w.done.done():
                    w.done.set_result(None)
            self.parts.relay.wake()

    async def _commit_one(self, tenure: Tenure, w: _Waiting) -> None:
        try:
            await self._commit_group(tenure, w.commits)
        except Exception as error:
            if not w.done.done():
                w.done.set_exception(error)
        else:
            if not w.done.done():
                w.done.set_result(None)

    async def _commit_group(self, tenure: Tenure, commits: list[Commit]) -> None:
        """Commit; while Postgres is away the answer is kept and tried again: nobody else knows it."""
        wait = 0.05
        while True:
            try:
                await self.parts.ledger.commits.commit(self.realm, tenure.fencing_token, commits)
                self.opened = self.opened or any(e.attempt is not None and e.attempt.state != "resolved" for e in commits)
                return
            except TRANSIENT_POSTGRES as error:
                if not await servers.in_force().explain(error):  # a Postgres that is away has its own line
                    fields = {"realm": self.realm, "error": cause_of(error).text}
                    servers.in_force().say("settle.retrying", str(fields), **fields)
                await asyncio.sleep(wait)
                wait = min(wait * 2, 2.0)

    def _log(self, commits: Sequence[Commit], about: Sequence[tuple[Attempt, Answer]]) -> None:
        answers = {attempt.command.id: (attempt, answer) for attempt, answer in about}
        for commit in commits:
            for settlement in commit.settlements:
                log_settlement(self.realm, settlement, *answers.get(settlement.command.id, (None, None)))


def _facts(forms: Forms, tenure: Tenure, attempt: Attempt, answer: Answer) -> dict[str, Any]:
    """What the attempts log keeps of one send: facts, hashes, and both bodies without their texts."""
    request, seen = attempt.request, answer.seen
    return {
        "requestid": request.requestid, "entity": request.entity, "operation": request.operation.value, "send": attempt.sends,
        "version": attempt.command.version, "command_id": str(attempt.command.id), "fencing_token": tenure.fencing_token,
        "request_sha256": hashlib.sha256(request.body.encode()).hexdigest(), "qbo_id": seen.qbo_id if seen else request.qbo_id,
        "sync_token": request.sync_token, "answered_sync_token": seen.sync_token if seen else None, "answer": answer.kind.value,
        "http_status": answer.http_status, "intuit_code": answer.intuit_code, "intuit_tid": answer.intuit_tid,
        "trace_id": telemetry.trace_id_of(attempt.command.traceparent),
        "response_sha256": hashlib.sha256(answer.body.encode()).hexdigest() if answer.body else None,
        "request": forms.redacted(request.body), "response": forms.redacted(answer.body) if answer.body else None,
    }  # fmt: skip


def log_settlement(realm: str, settlement: Any, attempt: Attempt | None = None, answer: Answer | None = None) -> None:
    """Write the one line for a command's end: never content, never names."""
    recorded = settlement.command.recorded_at
    seconds = None
    if recorded is not None:
        seconds = round(time.time() - recorded.timestamp(), 4)
        metrics.COMMAND_SECONDS.labels(settlement.document.kind.value).observe(max(0.0, seconds))
    log.info(
        "command.settled", realm=realm, command_id=str(settlement.command.id), kind=settlement.document.kind.value, end=settlement.decision.state.value,
        version=settlement.command.version, attempt=attempt.number if attempt else 0, sends=attempt.sends if attempt else 0,
        outcome=attempt.request.operation.value if attempt else None,
        requestid=attempt.request.requestid if attempt else None, intuit_tid=answer.intuit_tid if answer else None,
        intuit_code=answer.intuit_code if answer else None, code=settlement.decision.shown_code, seconds=seconds,
        trace_id=telemetry.trace_id_of(settlement.command.traceparent),
    )  # fmt: skip
