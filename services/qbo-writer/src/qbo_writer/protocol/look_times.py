"""When to look again for a request without an answer, and when looking ends before a person."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from qbo_writer.domain import (
    AccessToken,
    Answer,
    AnswerKind,
    LookupFailed,
)
from qbo_writer.ledger.changes import Commit
from qbo_writer.ledger.records import Attempt
from qbo_writer.protocol.parts import Parts, Tenure
from qbo_writer.protocol.sending import Sender
from qbo_writer.protocol.transitions import (
    Trigger,
    absent_counts_at,
)

LOOKS_REFUSED_MOST = 8  # of one attempt: QuickBooks will not say whether it is there; a person looks
LOOK_AGAIN_MOST = 300.0  # seconds between two look-ups for one attempt, while they fail
UNANSWERED_MOST = 10_000  # attempts that are remembered for a look-up that failed
REASON_LENGTH = 1000
LOOKS = (0.02, 0.1, 0.3, 0.6)  # shares of the wait at which to look while "absent" does not count yet: reads cost money


class LookTimes:
    """Notes for one company when its open attempts are looked for."""

    def __init__(self, realm: str, parts: Parts, sender: Sender) -> None:
        self.realm, self.parts, self.sender = realm, parts, sender
        # attempt -> answers to anybody when its look-up failed last, and how often it did
        self._unanswered: dict[int, tuple[int, int]] = {}

    async def failed(
        self, tenure: Tenure, attempts: Sequence[Attempt], now: datetime, error: LookupFailed, token: AccessToken
    ) -> None:
        """Look again later; what is refused, or never answered while others are served, ends before a person.

        Where a harmless read is refused as well, it is not about these: the company is halted, and they are looked for after it.
        """
        last = any(attempt.looks_refused + 1 >= LOOKS_REFUSED_MOST for attempt in attempts)
        if error.definite and last and await self.sender.serving.strange_to_all(token):
            raise self.sender.serving.refused_to_all(error)
        answered, refused = self.sender.health.answered, set[int]()
        at, commits = dict[int, datetime](), list[Commit]()
        for attempt in attempts:
            before, times = self._unanswered.get(attempt.id, (answered, 0))
            if len(self._unanswered) > UNANSWERED_MOST:
                self._unanswered.clear()
            self._unanswered[attempt.id] = (answered, times + 1)
            if error.definite or answered > before:
                refused.add(attempt.id)
            if attempt.id in refused and attempt.looks_refused + 1 >= LOOKS_REFUSED_MOST:
                answer = Answer(AnswerKind.SILENCE, reason=str(error)[:REASON_LENGTH])
                commits.append(self.sender.looker.commit_for(attempt, Trigger.LOOKS_REFUSED, answer=answer))
            else:
                at[attempt.id] = self._at_next(attempt, now, failed=times + 1)
        if commits:
            await self.sender.committer.commit(tenure, commits)
        if at:
            await self.parts.ledger.attempts.look_again_at(self.realm, tenure.fencing_token, at, refused)

    async def later(self, tenure: Tenure, attempts: Sequence[Attempt], now: datetime) -> None:
        """Look again at the next share of the wait, and when absent counts."""
        at = {attempt.id: self._at_next(attempt, now) for attempt in attempts}
        await self.parts.ledger.attempts.look_again_at(self.realm, tenure.fencing_token, at)

    def _at_next(self, attempt: Attempt, now: datetime, failed: int = 0) -> datetime:
        sent, counts_at = attempt.sent, absent_counts_at(attempt.sent, self.parts.waits)
        start = sent.silent_at or sent.last_sent_at
        shares = [start + (counts_at - start) * share for share in LOOKS]
        soon = max(0.2, min(5.0, self.parts.waits.q.total_seconds() * 0.1))
        again = now + timedelta(seconds=min(LOOK_AGAIN_MOST, soon * 2 ** min(failed, 10)))
        at = next((at for at in shares if at > now), counts_at)
        return max(at, again) if failed or at <= now else at
