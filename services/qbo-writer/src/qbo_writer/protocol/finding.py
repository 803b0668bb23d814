"""Settles the creates without an answer whose marker the books show: in the change feed, after a takeover and ever after."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from bookrelay import telemetry
from bookrelay.errors import HaltError

from qbo_writer.domain import (
    AccessToken,
    AttemptState,
    BooksEntity,
    Deleted,
    FeedFull,
    LookupFailed,
    Operation,
)
from qbo_writer.protocol.parts import Parts, Tenure
from qbo_writer.protocol.sending import Sender

log = telemetry.get_logger(__name__)


class Finder:
    """Settles what is found for one company."""

    def __init__(self, realm: str, parts: Parts, sender: Sender) -> None:
        self.realm, self.parts, self.sender = realm, parts, sender

    async def read_feed(self, tenure: Tenure, token: AccessToken) -> None:
        """Step 4 after taking the lease: settle the creates whose marker the change feed shows."""
        attempts = [
            a
            for a in await self.parts.ledger.attempts.read_open(self.realm, limit=1000, without=list(tenure.in_flight), due=False)
            if a.sent.state is AttemptState.UNKNOWN and a.request.operation is Operation.CREATE
        ]
        if not attempts:
            return
        since = min(a.sent.first_sent_at for a in attempts)
        entities = sorted({a.request.entity for a in attempts})
        try:
            changes = await self._shown(entities, since, token)
        except LookupFailed as error:
            log.info("feed.failed", realm=self.realm, error=repr(error))
            return
        by_marker = {(s.entity, s.marker): s for s in changes if not isinstance(s, Deleted) and s.marker}
        found = await self.settle_found(tenure, by_marker, token)
        log.info("lease.feed_read", realm=self.realm, open_creates=len(attempts), found=found)

    async def _shown(self, entities: Sequence[str], since: datetime, token: AccessToken) -> list[BooksEntity | Deleted]:
        """What the feed shows; at its cap the newest: what it leaves out is looked up."""
        found: list[BooksEntity | Deleted] = []
        for entity in entities:
            try:
                found += await self.parts.books.changes(self.realm, (entity,), since, token)
            except FeedFull as full:
                found += full.changes
            except HaltError as error:
                raise await self.sender.serving.refused_alone(error, token) from None
        return found

    async def settle_found(self, tenure: Tenure, by_marker: Mapping[tuple[str, str], BooksEntity], token: AccessToken) -> int:
        """Settle the unknown creates whose marker was seen, be it in the feed."""
        found = 0
        for attempt in await self.parts.ledger.attempts.read_open(
            self.realm, limit=1000, without=list(tenure.in_flight), due=False
        ):
            seen = by_marker.get((attempt.request.entity, attempt.document.marker))
            create = attempt.request.operation is Operation.CREATE
            if seen is None or not create or attempt.sent.state is not AttemptState.UNKNOWN or attempt.id in tenure.in_flight:
                continue
            try:
                attempt = await self.sender.looker.followed(tenure.fencing_token, attempt, seen, token)  # noqa: PLW2901
            except LookupFailed as error:  # it is looked for by itself
                log.info("lookup.failed", realm=self.realm, requestid=attempt.request.requestid, error=repr(error))
                continue
            await self.sender.committer.commit(tenure, [self.sender.looker.read(attempt, seen)])
            found += 1
        return found
