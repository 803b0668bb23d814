"""Reading the change feed: one call for all entities; where it is at its cap or refused, entity by entity.

It decides nothing about documents. Which entities are refused is the caller's to keep.
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

OVERLAP = timedelta(minutes=5)  # the feed's clock is QuickBooks', and it shows a change a little late
FURTHEST = timedelta(days=29)  # the feed looks back 30 days


class FeedReader:
    """Reads the change feed of one company."""

    def __init__(self, realm: str, parts: Parts, sender: Sender) -> None:
        self.realm, self.parts, self.sender = realm, parts, sender
        self._entities = (*parts.forms.documents, *parts.forms.lists)

    async def read(
        self, since: datetime, refused: dict[str, Refusal], now: datetime, token: AccessToken
    ) -> tuple[list[BooksEntity | Deleted], dict[str, datetime]]:
        """Read the feed for all entities; what it was refused for by itself, when it is time, from where it was refused.

        Return what it shows, and from when on which entities are to be read by queries. `refused` is brought up to date.
        """
        others = [entity for entity in self._entities if entity not in refused]
        due = sorted((one.again_at, entity) for entity, one in refused.items() if one.again_at <= now)
        parts = [(others, since)] if others else []
        # Where it is refused for everything, one of them is asked: while that is refused, the others are, too.
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
                if entity in full or from_ < now - FURTHEST:  # the feed looks back too short, queries do not
                    by_queries[entity] = from_
                if refused.pop(entity, None):
                    log.info("feed.served", realm=self.realm, entity=entity, since=from_.isoformat())
        return found, by_queries

    def refuse(self, refused: dict[str, Refusal], entity: str, since: datetime, now: datetime, error: LookupFailed) -> None:
        """The feed is refused for an entity alone: remember it, ask again later, read the others."""
        one = refused[entity] = feed_refusals.again(refused.get(entity), since, now, error.words, error.fix)
        log.warning("feed.refused", realm=self.realm, entity=entity, times=one.times, error=one.words)

    async def _changes(
        self, entities: Sequence[str], since: datetime, token: AccessToken
    ) -> tuple[list[BooksEntity | Deleted], set[str], dict[str, LookupFailed]]:
        """One call for all; at its cap, one for each entity; where it is refused, halves, until what is refused is alone.

        Return what they show, which are at the cap alone, and which the feed is refused for, though the company is served.
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
