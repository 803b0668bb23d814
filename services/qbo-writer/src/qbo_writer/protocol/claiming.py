"""Claims what is due, has it prepared, journals it and hands it to the sender: singles for latency, batches for a backlog."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from qbo_writer.crashpoints import Place, reach
from qbo_writer.domain import (
    AccessToken,
    BatchItem,
    Operation,
)
from qbo_writer.ledger.attempts import BatchChanged
from qbo_writer.ledger.changes import NewAttempt
from qbo_writer.ledger.records import BatchRow, Candidate
from qbo_writer.protocol import numbering
from qbo_writer.protocol.parts import Parts, Tenure
from qbo_writer.protocol.preparing import Prepared, Preparer
from qbo_writer.protocol.sending import Sender

THRESHOLD_AT_MOST = 500  # a backlog is read as far as it matters, not counted
BATCH_LANES = 4  # 40 batches a minute of 2 to 5 seconds each
FILLS = 4  # times that a batch is filled up before it leaves


def batch_requestid_of(requestids: Sequence[str]) -> str:
    """Return a batch's requestid: at most 36 characters, of the requestids of its items."""
    return "bb-" + hashlib.sha256("\x1f".join(requestids).encode()).hexdigest()[:32]


class Claimer:
    """Claims for one company."""

    def __init__(self, realm: str, parts: Parts, sender: Sender, preparer: Preparer) -> None:
        self.realm, self.parts, self.sender, self.preparer = realm, parts, sender, preparer
        self.limit: int | None = None  # run-once: how many documents may still be claimed
        self.backlog = False  # more waits than single calls should carry

    async def claim(self, tenure: Tenure, token: AccessToken, free: int, *, batches: bool) -> int:
        """Claim by priority, then age: few go as singles, for latency; from a backlog a batch is filled first."""
        settings = self.parts.settings
        batches = batches and settings.pace_batches_per_minute > 0 and self.sender.batches < BATCH_LANES
        if batches and (done := await self._half(tenure, token)):
            return done
        may_batch = batches and self.parts.pacer.batch_now(self.realm)
        threshold = min(settings.batch_threshold, THRESHOLD_AT_MOST)
        # While a backlog lasts, some lanes are kept for batches: singles would take every one of them.
        singles = free - (BATCH_LANES - self.sender.batches if self.backlog and settings.pace_in_flight > BATCH_LANES else 0)
        wanted = max(threshold, settings.pace_batch_items + free) if may_batch else singles
        if wanted <= 0:
            return 0
        candidates = await self.parts.ledger.commands.candidates(
            self.realm, wanted, without=self.sender.halving, unpays=self.parts.rules.unpays
        )
        if may_batch or not candidates:
            self.backlog = len(candidates) >= threshold
        size = settings.pace_batch_items if may_batch and self.backlog else 0
        candidates = candidates[: size + max(0, min(singles, free - 1) if size else singles)]
        if not candidates:
            return 0
        promised: numbering.Promised = {}
        prepared = await self.preparer.prepare(tenure, candidates, token, promised)
        if size:
            prepared = await self._filled(tenure, prepared, candidates, token, promised)
        # What failed before goes alone: one poisonous item must not cost the others their batch.
        suited = [a for a in prepared.attempts if _fits_batch(a) and a.candidate.newest.failures == 0][:size]
        await self._journal(tenure, prepared.attempts, suited, token)
        return len(candidates)

    async def _half(self, tenure: Tenure, token: AccessToken) -> int:
        """Claim one half of a batch that was refused whole, until what QuickBooks refuses is alone; return how much was claimed.

        Each half is a batch of its own, journalled anew under another requestid: nothing was done for the one before.
        """
        candidates: list[Candidate] = []
        while self.sender.halves and not candidates:
            documents = self.sender.halves.popleft()
            try:
                # A document can have several due versions.
                candidates = await self.parts.ledger.commands.candidates(
                    self.realm, THRESHOLD_AT_MOST, only=documents, unpays=self.parts.rules.unpays
                )
                prepared = await self.preparer.prepare(tenure, candidates, token)
                await self._journal(tenure, prepared.attempts, [a for a in prepared.attempts if _fits_batch(a)], token)
            finally:
                self.sender.halving.difference_update(documents)
        return len(candidates)

    async def _journal(
        self, tenure: Tenure, attempts: Sequence[NewAttempt], together: Sequence[NewAttempt], token: AccessToken
    ) -> None:
        """Journal what was prepared, and send it: `together` as a batch, the others alone."""
        if len(together) < 2:
            together = []
        batched = {a.candidate.document.id for a in together}
        alone = [a for a in attempts if a.candidate.document.id not in batched]
        if attempts:
            reach(Place.CLAIMED)
        if together:
            await self._batch(tenure, together, token)
        if alone:
            await self._singles(tenure, alone, token)

    async def _filled(
        self, tenure: Tenure, prepared: Prepared, candidates: Sequence[Candidate], token: AccessToken,
        promised: numbering.Promised,
    ) -> Prepared:  # fmt: skip
        """Claim in place of what ended or waits now for its customer: a batch that leaves half empty costs as much as a full one.

        The customers themselves come first: they are due since a moment ago.
        """
        wanted, known = len(candidates), [c.document.id for c in candidates]
        for _ in range(FILLS):
            more = await self.parts.ledger.commands.candidates(
                self.realm, max(0, wanted - len(prepared.attempts)), without=known, unpays=self.parts.rules.unpays
            )
            if not more:
                break
            known += [c.document.id for c in more]
            prepared.attempts += (await self.preparer.prepare(tenure, more, token, promised)).attempts
        return prepared

    async def _singles(self, tenure: Tenure, attempts: Sequence[NewAttempt], token: AccessToken) -> None:
        journalled = await self.parts.ledger.attempts.journal(self.realm, tenure.fencing_token, attempts)
        reach(Place.JOURNALLED)
        if self.limit is not None:
            self.limit -= len(journalled)
        for attempt in journalled:
            self.sender.spawn(tenure, [attempt], self.sender.single(tenure, attempt, token))

    async def _batch(self, tenure: Tenure, attempts: Sequence[NewAttempt], token: AccessToken) -> None:
        numbered = [replace(a, b_id=str(i)) for i, a in enumerate(attempts, 1)]
        body = self.parts.forms.batch([BatchItem(a.b_id or "", a.request) for a in numbered])
        requestid = batch_requestid_of([a.request.requestid for a in numbered])
        try:
            journalled = await self.parts.ledger.attempts.journal(self.realm, tenure.fencing_token, numbered, (requestid, body))
        except BatchChanged:
            return
        reach(Place.BATCH_JOURNALLED)
        row = BatchRow(journalled[0].batch_id or 0, requestid, body)
        self.sender.spawn(tenure, journalled, self.sender.batch(tenure, journalled, row, token), batch=True)


def _fits_batch(attempt: NewAttempt) -> bool:
    return attempt.request.operation in (Operation.CREATE, Operation.UPDATE)
