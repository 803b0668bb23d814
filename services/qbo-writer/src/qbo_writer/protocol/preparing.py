"""What becomes of claimed documents before anything is sent: ends, waits for others, attempts to journal."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from bookrelay import telemetry
from bookrelay.errors import Code, HaltError, PermanentError

from qbo_writer import kinds
from qbo_writer.domain import (
    AccessToken,
    CommandState,
    LedgerKind,
    LookupFailed,
    NameNeeded,
    Skipped,
)
from qbo_writer.ledger.changes import Commit, Decision, NewAttempt, Requeue
from qbo_writer.ledger.lease import LeaseLost
from qbo_writer.ledger.records import Candidate, Command
from qbo_writer.names import alike
from qbo_writer.protocol import numbering
from qbo_writer.protocol.adopting import Adopter
from qbo_writer.protocol.committing import log_settlement
from qbo_writer.protocol.deciding import Unpay, superseded
from qbo_writer.protocol.feeding import Feeder
from qbo_writer.protocol.halts import Halts
from qbo_writer.protocol.needed_names import NeededNames
from qbo_writer.protocol.parts import NO_ANSWER, PASSING, STRANGE_TO_HALT, Parts, Tenure
from qbo_writer.protocol.planning import FAILURES, Numbers, Planner
from qbo_writer.protocol.sending import Sender
from qbo_writer.protocol.settling import backoff_seconds, ended
from qbo_writer.redacting import names_in, veiled

log = telemetry.get_logger(__name__)

REASON_LENGTH = 1000
UNANSWERED_MOST = 10_000  # commands that are remembered for a read without an answer


@dataclass
class Prepared:
    """What came of preparing candidates: attempts to journal, effects to commit, names that are needed."""

    attempts: list[NewAttempt] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    paid: list[tuple[Candidate, Unpay]] = field(default_factory=list)  # our payment is to be removed first
    names: dict[tuple[LedgerKind, str], tuple[NameNeeded, list[Candidate]]] = field(default_factory=dict)
    unanswered: bool = False  # a read had no answer: nobody's fault, it is asked again after a pause
    refused: LookupFailed | None = None  # a read was refused
    last_try: bool = False  # it was the last one of a document that is held now


class Preparer:
    """Prepares the documents of one company."""

    def __init__(self, realm: str, parts: Parts, sender: Sender, feeder: Feeder, planner: Planner, halts: Halts) -> None:
        self.realm, self.parts, self.sender, self._feeder, self.planner, self.halts = realm, parts, sender, feeder, planner, halts
        self.adopter = Adopter(sender, planner.fields_of)
        self.dependents = NeededNames(realm, parts, sender)
        self._unanswered: dict[UUID, tuple[int, int]] = {}  # command -> answers to anybody when its read had none, how often
        self._refused = 0  # documents whose reads were refused since a harmless read was served

    async def prepare(
        self, tenure: Tenure, candidates: Sequence[Candidate], token: AccessToken, promised: numbering.Promised | None = None
    ) -> Prepared:
        """Decide every candidate; commit the ends, let what needs a name wait for it, and return what is to be journalled.

        `promised`: the numbers that were given since the journal was last written.
        """
        prepared = Prepared()
        for candidate in candidates:
            for command in candidate.older:
                prepared.commits.append(ended(candidate.document, command, superseded(candidate.newest), self.parts.links))
        promised = {} if promised is None else promised
        numbers = await self._all_numbers(candidates, token, promised)
        await asyncio.gather(*(self._prepare_one(c, token, prepared, numbers, promised) for c in candidates))
        if prepared.unanswered:
            self.sender.health.heard(NO_ANSWER)
        await self.halt_if_refused_to_all(prepared, token)
        if prepared.commits:
            await self.sender.committer.commit(tenure, prepared.commits)
            for commit in prepared.commits:
                for decision in commit.settlements:
                    log_settlement(self.realm, decision)
        await self.dependents.need_names(tenure, list(prepared.names.values()))
        for candidate, unpay in prepared.paid:
            await self._unpay(tenure, candidate, unpay, token)
        return prepared

    async def _all_numbers(
        self, candidates: Sequence[Candidate], token: AccessToken, promised: numbering.Promised
    ) -> Numbers | None:
        """Give the numbers of a round; None where one document's defect stops them all: then each asks for its own."""
        try:
            return await self.planner.numbers(candidates, token, promised)
        except (HaltError, LeaseLost):
            raise
        except PASSING:
            raise
        except Exception as error:
            log.error("numbers.failed", realm=self.realm, error=repr(error), exc_info=True)
            return None

    async def _prepare_one(
        self, candidate: Candidate, token: AccessToken, prepared: Prepared, numbers: Numbers | None, promised: numbering.Promised
    ) -> None:
        document, command = candidate.document, candidate.newest
        if command.state is not CommandState.DUE:
            return  # it has ended, or waits for a name: only the older ones were due
        try:
            if numbers is None:
                numbers = await self.planner.numbers([candidate], token, promised)
            if candidate.stray and command.operation == "upsert" and not command.dropped:
                adopted = await self._adopt(candidate, candidate.stray, token)
                if adopted:
                    prepared.commits.append(adopted)
                    return
            with telemetry.step(
                "decide command", command.traceparent, {"command_id": str(command.id), "kind": document.kind.value}
            ):
                result = await self.planner.plan(candidate, token, numbers)
            if isinstance(result, Decision) and document.diverged and document.live and not command.dropped:
                explained = await self._explained(candidate, token)
                if explained:
                    prepared.commits.append(explained)
                    return
            self._unanswered.pop(command.id, None)
        except LookupFailed as error:
            prepared.commits.append(self.unread(command, error, prepared))
            return
        except (HaltError, LeaseLost):
            raise
        except Skipped as skipped:
            result = Decision(CommandState.SKIPPED, skipped.reason)
        except PermanentError as error:
            result = Decision(CommandState.REJECTED, error.reason, error.fix, error.code)
        except Exception as error:  # a defect of ours in one document must not stop the others
            log.error("prepare.failed", realm=self.realm, command_id=str(command.id), error=repr(error), exc_info=True)
            if command.failures < FAILURES:
                prepared.commits.append(Commit(requeue=Requeue(command.id, backoff_seconds(command.failures), failed=True)))
                return
            result = Decision(CommandState.DEAD_LETTERED, f"The writer cannot prepare this document: {type(error).__name__}.")
        if isinstance(result, Decision):
            commit = ended(document, command, result, self.parts.links)
            stays = result.state is CommandState.UNCHANGED or (command.dropped and not document.diverged)
            if stays and self.parts.links.pay_bills:
                commit = replace(commit, follow_ups=kinds.of(document.kind).missing(candidate))
            prepared.commits.append(commit)
        elif isinstance(result, Unpay):
            prepared.paid.append((candidate, result))
        elif isinstance(result, NameNeeded):
            key = (result.kind, alike(result.name))
            prepared.names.setdefault(key, (result, []))[1].append(candidate)
        else:
            prepared.attempts.append(result)

    async def _adopt(self, candidate: Candidate, qbo_id: str, token: AccessToken) -> Commit | None:
        """A document stood in QuickBooks before the ledger knew its marker: take it over as the version that it is.

        None if it is gone, or no longer carries the marker. Where no version explains it, a source that sends all again may
        bring the right one yet; X + S after this one was recorded it is a person's.
        """
        document, command = candidate.document, candidate.newest
        seen = await self.parts.books.read(self.realm, self.parts.forms.entity_of(document.kind), qbo_id, token)
        if seen is None or seen.marker != document.marker:
            return None
        versions = (await self.parts.ledger.commands.versions([document.id]))[document.id]
        found = await self.adopter.version_there(seen, document, versions, token)
        if found is not None:
            commit = self.adopter.take_over(seen, document, *found, versions[0])
        elif command.forced:
            commit = self.adopter.over(seen, document)
        elif decision := await self.planner.waits(document, command, token):
            return ended(document, command, decision, self.parts.links)  # which version that is shows when what it names is there
        else:
            q, waited = self.parts.waits.q, await self.parts.ledger.commands.now() - (command.recorded_at or command.modified_at)
            if waited < q:
                return Commit(requeue=Requeue(command.id, q.total_seconds() / 5))
            commit = self.adopter.hold(seen, document, command, await self.planner.fields_of(document, command, token) or {})
        return commit if commit.settlements else replace(commit, requeue=Requeue(command.id))

    async def _explained(self, candidate: Candidate, token: AccessToken) -> Commit | None:
        """A document was taken for changed by a person, and a version that came since is just what QuickBooks holds: it is ours.

        After a restore the version may have been lost with its command, until its source sent it again.
        """
        document = candidate.document
        seen = await self.parts.books.read(self.realm, self.parts.forms.entity_of(document.kind), document.qbo_id or "", token)
        versions = (await self.parts.ledger.commands.versions([document.id]))[document.id]
        found = await self.adopter.version_there(seen, document, versions, token) if seen else None
        if seen is None or found is None:
            return None
        commit = self.adopter.take_over(seen, document, *found, versions[0])
        return commit if commit.settlements else replace(commit, requeue=Requeue(candidate.newest.id))

    def unread(self, command: Command, error: LookupFailed, prepared: Prepared) -> Commit:
        """A read that a document needs failed: it is decided again later. While the company is halted that is not its fault."""
        why = veiled(str(error), names_in(command.content))
        log.info("references.failed", realm=self.realm, command_id=str(command.id), error=why)
        halted = self.halts.halted
        if error.definite and not halted:
            self._refused, prepared.refused = self._refused + 1, error
            prepared.last_try = prepared.last_try or command.failures + 1 >= FAILURES
        prepared.unanswered = prepared.unanswered or not error.definite
        failed = not halted and (error.definite or self._others_are_served(command.id))
        pause = backoff_seconds(max(command.failures, self._unanswered.get(command.id, (0, 0))[1]))
        return Commit(requeue=Requeue(command.id, pause, failed=failed, reason=why[:REASON_LENGTH]))

    async def halt_if_refused_to_all(self, prepared: Prepared, token: AccessToken) -> None:
        """Before reads that were refused count against their documents: where a harmless one is refused, too, we are cut off."""
        if prepared.refused is None or not (prepared.last_try or self._refused >= STRANGE_TO_HALT):
            return
        self._refused = 0
        if await self.sender.serving.strange_to_all(token, of_reads=True):
            raise self.sender.serving.refused_to_all(prepared.refused)

    def _others_are_served(self, command: UUID) -> bool:
        """Whether QuickBooks has answered somebody since a read for this command had no answer last.

        Then the silence is about this document, and counts against it; in an outage nobody is answered, and nobody is held.
        """
        answered = self.sender.health.answered
        before, times = self._unanswered.get(command, (answered, 0))
        if command not in self._unanswered and len(self._unanswered) >= UNANSWERED_MOST:
            self._unanswered.clear()
        self._unanswered[command] = (answered, times + 1)
        return answered > before

    async def _unpay(self, tenure: Tenure, candidate: Candidate, unpay: Unpay, token: AccessToken) -> None:
        """Our payment of a bill is a document of its own: it is withdrawn first, and the bill is decided again when it is."""
        document, command = candidate.document, candidate.newest
        step = await self.parts.ledger.dependents.unpay(self.realm, tenure.fencing_token, document, command)
        if step.state == "waits":
            self.sender.wake()
            return
        decision = unpay.otherwise
        if step.state == "failed":
            decision = Decision(
                CommandState.HELD,
                f"The document is paid, and its payment could not be removed: {step.reason}",
                f"Look at it (qbo-writer commands show {step.payment}), remove it in QuickBooks, then release this document.",
                Code.CONFLICT,
            )  # fmt: skip
        elif step.state == "gone":  # the ledger has the bill as it was before: read what is open now
            try:
                seen = await self.parts.books.read(
                    self.realm, self.parts.forms.entity_of(document.kind), document.qbo_id or "", token
                )
                moved = seen is None or (seen.balance, seen.sync_token) != (document.balance, document.sync_token)
                if moved:
                    await self._feeder.saw(tenure, document, seen, token)
            except LookupFailed as error:
                prepared = Prepared()
                again = self.unread(command, error, prepared)
                await self.halt_if_refused_to_all(prepared, token)
                await self.sender.committer.commit(tenure, [again])
                return
            if moved:
                await self.sender.committer.commit(tenure, [Commit(requeue=Requeue(command.id, failed=True))])
                return
        await self.sender.committer.commit(tenure, [ended(document, command, decision, self.parts.links)])
