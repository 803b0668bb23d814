"""Reads the change feed: one call for all entities; if it reaches its cap or is refused, entity by entity.

It decides nothing about documents. The caller stores which entities are refused.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from bookrelay import telemetry
from bookrelay.errors import HaltError

from qbo_writer.domain import AccessToken, BooksEntity, Deleted, FeedFull, LookupFailed
from qbo_writer.halving import in_halves
from qbo_writer.protocol import feed_refusals
from qbo_writer.protocol.feed_refusals import Refusal
from qbo_writer.protocol.parts import Parts
from qbo_writer.protocol.sending import Sender

log = telemetry.get_logger(__name__)

OVERLAP = timedelta(minutes=5)  # the feed uses QuickBooks' clock and lags a little
FURTHEST = timedelta(days=29)  # the feed looks back 30 days


class FeedReader:
    """Reads the change feed of one company."""

    def __init__(self, realm: str, parts: Parts, sender: Sender) -> None:
        self.realm, self.parts, self.sender = realm, parts, sender
        self._entities = (*parts.forms.documents, *parts.forms.lists)

    async def read(
        self, since: datetime, refused: dict[str, Refusal], now: datetime, token: AccessToken
    ) -> tuple[list[BooksEntity | Deleted], dict[str, datetime]]:
        """Read the feed for all entities; refused ones separately when a retry is due, from where they were refused.

        Return the changes, and the entities to read by queries, with start times. Updates `refused`.
        """
        others = [entity for entity in self._entities if entity not in refused]
        due = sorted((one.again_at, entity) for entity, one in refused.items() if one.again_at <= now)
        parts = [(others, since)] if others else []
        # If everything is refused, only one entity is tried: while that is refused, so are the others.
        parts += [([entity], refused[entity].since - OVERLAP) for _, entity in (due if others else due[:1])]
        found: list[BooksEntity | Deleted] = []
        by_queries: dict[str, datetime] = {}
        for entities, from_ in parts:
            changes, full, failed = await self._changes(entities, max(from_, now - FURTHEST), token)
            found += changes
            for entity in entities:
                if error := failed.get(entity):
                    self.refuse(refused, entity, from_, now, error)
                    continue
                if entity in full or from_ < now - FURTHEST:  # too far back for the feed, not for queries
                    by_queries[entity] = from_
                if refused.pop(entity, None):
                    log.info("feed.served", realm=self.realm, entity=entity, since=from_.isoformat())
        return found, by_queries

    def refuse(self, refused: dict[str, Refusal], entity: str, since: datetime, now: datetime, error: LookupFailed) -> None:
        """The feed is refused for one entity: note it, retry later, read the others."""
        one = refused[entity] = feed_refusals.again(refused.get(entity), since, now, error.words, error.fix)
        log.warning("feed.refused", realm=self.realm, entity=entity, times=one.times, error=one.words)

    async def _changes(
        self, entities: Sequence[str], since: datetime, token: AccessToken
    ) -> tuple[list[BooksEntity | Deleted], set[str], dict[str, LookupFailed]]:
        """One call for all; one for each entity at its cap; if it is refused, halves, until the refused entity is alone.

        Return the changes, the entities that reach the cap alone, and those refused although the company is served.
        """
        full: set[str] = set()
        alone = False

        async def ask(part: Sequence[str]) -> list[BooksEntity | Deleted]:
            nonlocal alone
            try:
                return await self.parts.books.changes(self.realm, part, since, token)
            except FeedFull as error:
                if len(part) == 1:
                    full.add(part[0])
                    return list(error.changes)
                return [change for entity in part for change in await ask([entity])]
            except (HaltError, LookupFailed) as error:
                refusal = error if isinstance(error, LookupFailed) else error.__cause__
                if not alone or not isinstance(refusal, LookupFailed):
                    refusal = await self.sender.serving.refused_alone(error, token)
                alone = True
                raise refusal from None

        found, failed = await in_halves(ask, entities)
        for error in failed.values():
            if not error.definite:
                raise error
        return found, full, failed
