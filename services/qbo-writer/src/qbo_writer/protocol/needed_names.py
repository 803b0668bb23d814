"""Customers and vendors that documents need: each is a document of its own, made once, whoever needs it."""

from collections.abc import Sequence

from bookrelay.errors import Code

from qbo_writer import kinds
from qbo_writer.domain import (
    NAMES_SOURCE,
    CommandState,
    NameNeeded,
    Unmapped,
)
from qbo_writer.kinds import hash_of
from qbo_writer.ledger.changes import Commit, Decision, FollowUp, NameWish, Requeue
from qbo_writer.ledger.records import Candidate, DocumentState
from qbo_writer.names import alike, spellings
from qbo_writer.protocol.parts import Parts, Tenure
from qbo_writer.protocol.sending import Sender
from qbo_writer.protocol.settling import backoff_seconds, ended


class NeededNames:
    """Lets the documents of one company wait for names, and says what became of them."""

    def __init__(self, realm: str, parts: Parts, sender: Sender) -> None:
        self.realm, self.parts, self.sender = realm, parts, sender

    async def need_names(self, tenure: Tenure, names: Sequence[tuple[NameNeeded, list[Candidate]]]) -> None:
        """A customer or vendor is a document of its own: created once, however many commands need it."""
        if not names:
            return
        wishes = []
        for needed, waiting in names:
            content = {"name": needed.name} | ({"email": needed.email} if needed.email else {})
            wanted = FollowUp(
                self.realm, NAMES_SOURCE, alike(needed.name), needed.kind, 0, content, hash_of(content),
                min(c.newest.priority for c in waiting),
            )  # fmt: skip
            before = [text.casefold() for text in spellings(needed.name)]
            wishes.append(NameWish(wanted, [c.newest for c in waiting], before))
        found = await self.parts.ledger.dependents.need_names(self.realm, tenure.fencing_token, wishes)
        self.sender.wake()
        for (needed, waiting), outcome in zip(names, found, strict=True):
            if isinstance(outcome, DocumentState):
                await self._name_is_there(tenure, needed, outcome, waiting)
            elif outcome is not None:
                await self._name_was_refused(tenure, needed, outcome, waiting)

    async def _name_was_refused(
        self, tenure: Tenure, needed: NameNeeded, outcome: tuple[CommandState, str, str], waiting: Sequence[Candidate]
    ) -> None:
        state, code, reason = outcome
        kind = kinds.of(needed.kind).word
        decision = Decision(
            state if state in (CommandState.HELD, CommandState.REJECTED) else CommandState.HELD,
            f"Its {kind} could not be created in QuickBooks: {reason or state.value}",
            f"Create or map the {kind} in QuickBooks, then send or release the document again.",
            Code(code) if code in set(Code) else Code.MAPPING_MISSING,
        )
        await self.sender.committer.commit(tenure, [ended(c.document, c.newest, decision, self.parts.links) for c in waiting])

    async def _name_is_there(
        self, tenure: Tenure, needed: NameNeeded, document: DocumentState, waiting: Sequence[Candidate]
    ) -> None:
        """We created it, the cache has forgotten it, and a query does not show it (yet): what the ledger knows is enough."""
        name = (document.fields or {}).get("name") or needed.name
        made = self.parts.references.made(needed, document.qbo_id or "", document.sync_token or "0", name, document.marker)
        if isinstance(made, Unmapped):
            decision = Decision(CommandState.WAITING, made.reason, made.fix, made.code)
            await self.sender.committer.commit(tenure, [ended(c.document, c.newest, decision, self.parts.links) for c in waiting])
            return
        again = [Commit(requeue=Requeue(c.newest.id, backoff_seconds(c.newest.failures), failed=True)) for c in waiting]
        again[0] = Commit(requeue=again[0].requeue, learned=(made.entity, made))
        await self.sender.committer.commit(tenure, again)
