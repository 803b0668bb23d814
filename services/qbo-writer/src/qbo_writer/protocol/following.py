"""Finds the merges that persons made in QuickBooks, and lets ledger and references follow them.

A merge shows in two places, together or apart: an entry is gone (or inactive), and documents name another one in its place. Of
whichever is met first (in the change feed, in the refusal or conflict of a request) the other is looked for: one to three reads.
"""

from collections.abc import Collection, Mapping, Sequence

from bookrelay import telemetry

from qbo_writer.domain import AccessToken, BooksEntity, Deleted, LedgerKind, LookupFailed
from qbo_writer.ledger.ledger import Ledger
from qbo_writer.ledger.records import DocumentState
from qbo_writer.lists import ENTITIES, MOSTLY_REFUSED, Entry, Merge
from qbo_writer.ports import Books, Forms, References
from qbo_writer.protocol.merging import Moves, follow, moved_to, moves, one_act

log = telemetry.get_logger(__name__)

SUSPECTS_MOST = 20  # entries that may have been merged, looked into in one read of the feed


class Follower:
    """Follows the merges of one company."""

    def __init__(self, realm: str, ledger: Ledger, references: References, books: Books, forms: Forms) -> None:
        self.realm, self._ledger, self._references, self._books, self._forms = realm, ledger, references, books, forms

    async def in_feed(
        self,
        fencing_token: int,
        changes: Sequence[BooksEntity | Deleted],
        mine: Mapping[tuple[LedgerKind, str], DocumentState],
        token: AccessToken,
    ) -> bool:
        """Follow what a webhook told and what the feed shows; return whether there was anything. Raises LookupFailed."""
        found = {merge.entry: merge for merge in await self._ledger.merges.pending(self.realm)}
        evidence = moved_to(changes, mine)
        gone: dict[Entry, BooksEntity | None] = {
            (c.entity, c.qbo_id): c if isinstance(c, BooksEntity) else None
            for c in changes
            if c.entity in ENTITIES and (isinstance(c, Deleted) or not c.active)
        }
        suspects = {entry: evidence.get(entry) for entry in (*evidence, *gone) if entry not in found}
        found |= await self._look_into(suspects, gone, changes, token)
        return await self._apply(fencing_token, found)

    async def refused(self, fencing_token: int, named: Collection[Entry], token: AccessToken) -> bool:
        """A request was refused for something that it names: follow, if that was merged into something else."""
        found = {merge.entry: merge for merge in await self._ledger.merges.pending(self.realm)}
        suspects: dict[Entry, set[str] | None] = {
            entry: None for entry in named if entry[0] in MOSTLY_REFUSED and entry not in found
        }
        found |= await self._look_into(suspects, {}, (), token, passing=False)
        return await self._apply(fencing_token, found)

    async def moved(self, fencing_token: int, moves: Moves, token: AccessToken) -> list[Merge]:
        """A document of ours names other entries than we think: return which of these moves are merges. Raises LookupFailed."""
        if not moves.places:
            return []
        survivors = await self._ledger.merges.survivors(self.realm)
        known = [Merge(*entry, *to) for entry, to in moves.places.items() if to == {survivors.get(entry)}]
        followed = {merge.entry for merge in known}
        found = await self._look_into({e: to for e, to in moves.places.items() if e not in followed}, {}, (), token)
        for rivals in moves.rivals:
            if rivals <= found.keys() | followed:  # each of them is gone: which of them it named cannot be said
                found = {entry: merge for entry, merge in found.items() if entry not in rivals}
        await self._apply(fencing_token, found)
        return [*known, *found.values()]

    async def known(self, fencing_token: int, known: DocumentState, there: BooksEntity, token: AccessToken) -> DocumentState:
        """Return what we know of a document after the merges that made it name others. Raises LookupFailed."""
        return follow(known, await self.moved(fencing_token, moves(there, known.fields), token))

    async def _apply(self, fencing_token: int, found: Mapping[Entry, Merge]) -> bool:
        if not found:
            return False
        await self._ledger.merges.apply(self.realm, fencing_token, list(found.values()))
        await self._references.merged(self.realm, list(found))
        for merge in found.values():
            log.info("merge.followed", realm=self.realm, entity=merge.entity, loser=merge.loser, winner=merge.winner)
        return True

    async def _look_into(
        self, suspects: Mapping[Entry, set[str] | None], gone: Mapping[Entry, BooksEntity | None], changes: Sequence[BooksEntity | Deleted],
        token: AccessToken, *, passing: bool = True,
    ) -> dict[Entry, Merge]:  # fmt: skip
        """`passing`: a read without an answer is tried again with the whole; else what cannot be read is no merge for now."""
        found = {}
        for entry, winners in list(suspects.items())[:SUSPECTS_MOST]:
            try:
                if merge := await self._suspect(entry, winners, gone, changes, token):
                    found[entry] = merge
            except LookupFailed as error:
                if passing and not error.definite:
                    raise
                log.info("merge.unread", realm=self.realm, entity=entry[0], error=str(error)[:200])
        return found

    async def _suspect(
        self, entry: Entry, winners: set[str] | None, gone: Mapping[Entry, BooksEntity | None], changes: Sequence[BooksEntity | Deleted],
        token: AccessToken,
    ) -> Merge | None:  # fmt: skip
        entity = entry[0]
        loser = gone[entry] if entry in gone else await self._books.read(self.realm, entity, entry[1], token)
        if loser is not None and loser.active:
            return None
        if winners is None:  # nothing shows yet what our documents name in its place
            known = await self._ledger.merges.naming(self.realm, entry)
            there = known and await self._books.read(self.realm, self._forms.entity_of(known.kind), known.qbo_id or "", token)
            winners = moves(there, known.fields).places.get(entry, set()) if known and there else set()
        if len(winners) != 1:
            return None
        merge = Merge(entity, entry[1], next(iter(winners)))
        if loser is None:
            return merge  # nobody deletes an entry that documents name: it can only have been merged
        seen = next((c for c in changes if isinstance(c, BooksEntity) and (c.entity, c.qbo_id) == (entity, merge.winner)), None)
        winner = seen or await self._books.read(self.realm, entity, merge.winner, token)
        return merge if winner and one_act(loser, winner) else None
