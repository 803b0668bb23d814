"""The model's counterexamples, each with the circumstances that the model printed, against the writer as it is."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from bookrelay.messages import Command, InvoiceContent, InvoiceLine, Party
from qbo_writer.crashpoints import Place

from . import oracle
from .harness import LATE, LEASE, B, Company, Lane, Writer, until
from .oracle import Verdict
from .workload import BEGINNING, SHARED, Key, retract, upsert

CREATE = {"operation": "create", "entity": "Invoice"}
UPDATE = {"operation": "update", "entity": "Invoice"}


@dataclass
class Told:
    """What a scenario led to."""

    verdict: Verdict
    ends: dict[int, list[str]]  # version -> its ends
    document: dict[str, Any] | None
    facts: dict[str, Any] = field(default_factory=dict)


def priced(key: Key, amount: str, number: str | None = None) -> InvoiceContent:
    """An invoice of one line; its customer is in the books already, so that the only create is the invoice's."""
    line = InvoiceLine(description=f"{key.name} one line", amount=Decimal(amount))
    return InvoiceContent(customer=Party(name="Cool Cars"), txn_date=BEGINNING.date(), number=number, lines=(line,))


TAKEN = f"{SHARED}20.02"  # what every second version wants, and another document has


@dataclass
class Scene:
    """One document of one company, and what the scenario does to it."""

    lane: Lane
    company: Company
    key: Key
    commands: list[Command] = field(default_factory=list)
    neighbours: list[Command] = field(default_factory=list)
    numbered: bool = False  # the source's numbers: another one with each amount, the first again with the first amount

    async def publish(self, command: Command) -> Command:
        """Publish and wait until it is recorded."""
        self.commands.append(command)
        await self.lane.publish([command])

        async def recorded() -> bool:
            return await self.lane.recorded([command])

        await until(recorded, "recorded", 60)
        return command

    async def number_is_taken(self) -> None:
        """Post another document of the company under the number that the document changes to."""
        key = Key(self.company.realm, "N" + self.company.realm[-6:] + "x")
        command = upsert(key, 1, priced(key, "33.03", TAKEN))
        self.neighbours.append(command)
        await self.lane.publish([command])
        assert await self.end(command) == "posted"

    async def version(self, number: int, amount: str) -> Command:
        """Publish a version."""
        own = f"{SHARED}{amount}" if self.numbered else None
        return await self.publish(upsert(self.key, number, priced(self.key, amount, own)))

    async def attempt(self, state: str, seconds: float = 60) -> None:
        """Wait until the document's attempt is in this state; unknown may be over in a moment: then, until it was."""

        async def so() -> bool:
            return bool(
                await self.lane.pool.fetchval(
                    "SELECT 1 FROM qbo_writer.attempts a JOIN qbo_writer.documents d ON d.id = a.document_id "
                    "WHERE d.realm = $1 AND d.source_key = $2 "
                    "AND (a.state = $3 OR $3 = 'unknown' AND a.silent_at IS NOT NULL) LIMIT 1",
                    self.company.realm, self.key.name, state,
                )
            )  # fmt: skip

        await until(so, f"attempt {state}", seconds, every=0.02)

    async def end(self, command: Command, seconds: float = 90) -> str:
        """Wait for the end of a command."""

        async def so() -> bool:
            return bool(self.lane.events.names(command))

        await until(so, f"an end of v{command.data.version}", seconds)
        return self.lane.events.names(command)[0]

    async def proven(self) -> None:
        """Let the realm's requestid count as proven, as the probe would; a writer reads it when it takes the lease."""
        await self.lane.pool.execute(
            "INSERT INTO qbo_writer.realms (realm, requestid_proven) VALUES ($1, true) "
            "ON CONFLICT (realm) DO UPDATE SET requestid_proven = true",
            self.company.realm,
        )

    async def told(self, *, frozen: Any = None, **facts: Any) -> Told:
        """Let it come to rest; then books and ends."""
        every = [*self.neighbours, *self.commands]
        await self.lane.settled(every, 120)
        await asyncio.sleep(LATE)
        verdict = await self.lane.judge(self.company, every, frozen=frozen)
        ends = {c.data.version: self.lane.events.names(c) for c in self.commands}
        return Told(verdict, ends, await self.lane.find(self.company, self.key.name), facts)


Play = Callable[[Scene], Awaitable[Told]]
NEEDS_PROOF: set[Any] = set()


def requestid_proven(play: Any) -> Any:
    """Mark a play whose company has a proven requestid, so that a resend leaves at once."""
    NEEDS_PROOF.add(play)
    return play


async def newer_version_while_unknown(scene: Scene) -> Told:
    """drafted: v2 comes while v1 is unknown."""
    await scene.lane.faults(scene.company, {"fault": "late_delivery", "match": CREATE, "count": 1, "delay": LATE})
    await scene.version(1, "10.01")
    await scene.attempt("unknown")
    await scene.version(2, "20.02")
    return await scene.told()


async def retraction_while_unknown(scene: Scene) -> Told:
    """drafted: a retraction comes while v1 is unknown."""
    await scene.lane.faults(scene.company, {"fault": "late_delivery", "match": CREATE, "count": 1, "delay": LATE})
    await scene.version(1, "10.01")
    await scene.attempt("unknown")
    await scene.publish(retract(scene.key, 2))
    return await scene.told()


@requestid_proven
async def both_sends_late(scene: Scene) -> Told:
    """drafted: both sends are late. Proven, so that the second send leaves while the first is still on its way."""
    await scene.lane.faults(scene.company, {"fault": "late_delivery", "match": CREATE, "count": 2, "delay": LATE})
    await scene.version(1, "10.01")
    return await scene.told(creates=len([r for r in await scene.lane.requests(scene.company) if r["operation"] == "create"]))


async def stale_look_up(scene: Scene) -> Told:
    """drafted: a stale look-up. The first send never arrives, the second commits unheard; a look-up does not show it at first."""
    await scene.lane.faults(
        scene.company,
        {"fault": "drop_before_commit", "match": CREATE, "count": 1},
        {"fault": "commit_then_reset", "match": CREATE, "skip": 1, "count": 1},
    )
    await scene.version(1, "10.01")
    return await scene.told()


@requestid_proven
async def error_on_the_resend(scene: Scene) -> Told:
    """drafted: an error on the resend while the first send is late."""
    await scene.lane.faults(
        scene.company,
        {"fault": "late_delivery", "match": CREATE, "count": 1, "delay": LATE},
        {"fault": "fault", "code": "6000", "detail": "Business Validation Error", "match": CREATE, "skip": 1, "count": 2},
        {"fault": "fault", "code": "2020", "match": CREATE, "skip": 1, "count": 2},
    )
    await scene.version(1, "10.01")
    return await scene.told()


async def conflict_over_a_persons_edit(scene: Scene) -> Told:
    """drafted: 5010, re-applied over a person's edit."""
    await scene.end(await scene.version(1, "10.01"))
    document = await scene.lane.find(scene.company, scene.key.name)
    assert document is not None
    lines = [{**document["Line"][0], "Amount": 77.77}]
    lines[0].pop("Id", None)
    detail = dict(lines[0].get("SalesItemLineDetail") or {})
    lines[0]["SalesItemLineDetail"] = {k: v for k, v in detail.items() if k not in ("UnitPrice", "Qty")}
    plain = _plain(lines)
    await scene.lane.person(scene.company, "edit", "Invoice", document["Id"], {"Line": plain})
    edited = await scene.lane.find(scene.company, scene.key.name)
    assert edited is not None
    assert edited["TotalAmt"] == Decimal("77.77")
    await scene.version(2, "20.02")
    return await scene.told(frozen={scene.key: oracle.shape(edited)})


def _plain(value: Any) -> Any:
    """Decimals as JSON takes them."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return float(value) if isinstance(value, Decimal) else value


async def older_after_a_rejected_newer(scene: Scene) -> Told:
    """drafted: an older version after a rejected newer one."""
    await scene.lane.faults(scene.company, {"fault": "fault", "code": "2020", "match": CREATE, "count": 1})
    await scene.end(await scene.version(2, "20.02"))
    await scene.version(1, "10.01")
    return await scene.told(frozen={scene.key: None})


@requestid_proven
async def number_taken_by_our_own(scene: Scene) -> Told:
    """drafted: 6140 finds our own older version. Document numbers are checked here."""
    await scene.lane.control(
        "POST", "preferences", {"realm": scene.company.realm, "warnings": {"WarnDuplicateInvoiceNumber": True}}
    )
    await scene.lane.faults(scene.company, {"fault": "late_delivery", "match": CREATE, "count": 1, "delay": LATE},
                            {"fault": "ignore_requestid", "match": CREATE})  # fmt: skip
    await scene.version(1, "10.01")
    await scene.attempt("unknown")
    await scene.version(2, "20.02")
    return await scene.told()


async def unchanged_while_an_update_is_unknown(scene: Scene) -> Told:
    """drafted: 'unchanged' while an update is unknown."""
    await scene.end(await scene.version(1, "10.01"))
    await scene.lane.faults(scene.company, {"fault": "late_delivery", "match": UPDATE, "count": 1, "delay": LATE})
    await scene.version(2, "20.02")
    await scene.attempt("unknown")
    await scene.version(3, "10.01")
    return await scene.told()


async def requestid_forgotten(scene: Scene) -> Told:
    """drafted: the requestid is forgotten before the resend (the stand-in forgets after 0.2 s)."""
    await scene.lane.faults(scene.company, {"fault": "commit_then_reset", "match": CREATE, "count": 1})
    await scene.version(1, "10.01")
    return await scene.told()


async def requestid_ignored(scene: Scene) -> Told:
    """drafted: the requestid is ignored."""
    await scene.lane.faults(
        scene.company, {"fault": "commit_then_reset", "match": CREATE, "count": 1}, {"fault": "ignore_requestid"}
    )
    await scene.version(1, "10.01")
    return await scene.told()


PLAYS: tuple[Play, ...] = (
    newer_version_while_unknown, retraction_while_unknown, both_sends_late, stale_look_up, error_on_the_resend,
    conflict_over_a_persons_edit, older_after_a_rejected_newer, number_taken_by_our_own, unchanged_while_an_update_is_unknown,
    requestid_ignored,
)  # fmt: skip


async def play(lane: Lane, play: Play, company: Company, *, numbered: bool = False) -> Told:
    """Run one play in a company that a writer serves."""
    scene = scene_of(lane, company, numbered=numbered)
    if numbered:
        await scene.number_is_taken()
    return await play(scene)


def scene_of(lane: Lane, company: Company, *, numbered: bool = False) -> Scene:
    """The stage of one document."""
    return Scene(lane, company, Key(company.realm, "C" + company.realm[-6:] + "x"), numbered=numbered)


async def play_all(
    lane: Lane, plays: Sequence[Play] = PLAYS, *, defect: str | None = None, numbered: bool = False
) -> dict[str, Told | Exception]:
    """Run plays at the same time, each in its own company, all served by one writer.

    `numbered`: with numbers of the source's that change from version to version, come back, and are another document's already.
    """
    companies = [await lane.company() for _ in plays]
    for one, company in zip(plays, companies, strict=True):
        # Its requestids count as proven and are ignored: only one and the same number stops the late create there. Where numbers
        # change, none of ours does, and without proof the writer must do without them.
        if one in NEEDS_PROOF and not (numbered and one is number_taken_by_our_own):
            await scene_of(lane, company).proven()
    writer = await lane.writer(companies, defect=defect)
    results = await asyncio.gather(
        *(play(lane, one, company, numbered=numbered) for one, company in zip(plays, companies, strict=True)),
        return_exceptions=True,
    )
    await writer.stop()
    await lane.control("DELETE", "faults")
    named = {}
    for one, result in zip(plays, results, strict=True):
        if isinstance(result, BaseException) and not isinstance(result, Exception):
            raise result
        named[one.__name__] = result
    return named


async def paused_writer_wakes_up(
    lane: Lane, *, ignored: bool, defect: str | None = None, place: Place = Place.RESEND_JOURNALLED
) -> Told:
    """drafted: a paused writer wakes up. It has journalled, sleeps beyond its lease but not its token, then sends.

    As the model printed it, it pauses before a resend, for its first request never arrived; `place` makes it pause earlier.
    `defect="check_before_send_off"` takes away the writer's check of its lease before a send: nothing relies on it.
    """
    company = await lane.company()
    scene = Scene(lane, company, Key(company.realm, "P" + company.realm[-6:] + "x"))
    if ignored:
        await lane.faults(company, {"fault": "ignore_requestid"})
    else:
        await scene.proven()
    if place is Place.RESEND_JOURNALLED:
        await lane.faults(company, {"fault": "drop_before_commit", "match": CREATE, "count": 1})
    hang = LEASE + 1.0
    assert hang < B
    first = await lane.writer([company], {"BOOKRELAY_CRASH_POINT": f"{place}:hang:1:{hang}"}, defect=defect)
    second = await lane.writer([company], wait=False)
    command = upsert(scene.key, 1, priced(scene.key, "10.01"))
    scene.commands.append(command)
    await lane.publish([command])

    async def slept() -> bool:
        return "crash_point.reached" in first.log()

    await until(slept, "the first writer pauses", 60)
    told = await scene.told()
    await until(first.answers, "it wakes", hang + 10)
    told = await scene.told(sends=[r for r in await lane.requests(company) if r["operation"] == "create"])
    await asyncio.gather(first.stop(), second.stop())
    return told


# What the protocol's model prints for "as drafted", in its words, and what plays it here.
COUNTEREXAMPLES: dict[str, Callable[..., Awaitable[Told]]] = {
    "v2 comes while v1 is unknown": newer_version_while_unknown,
    "a retraction comes while v1 is unknown": retraction_while_unknown,
    "both sends are late": both_sends_late,
    "a paused writer wakes up": paused_writer_wakes_up,
    "a stale look-up": stale_look_up,
    "an error on the resend while the first send is late": error_on_the_resend,
    "5010, re-applied over a person's edit": conflict_over_a_persons_edit,
    "an older version after a rejected newer one": older_after_a_rejected_newer,
    "6140 finds our own older version": number_taken_by_our_own,
    "'unchanged' while an update is unknown": unchanged_while_an_update_is_unknown,
    "the requestid is forgotten before the resend": requestid_forgotten,
    "the requestid is ignored": requestid_ignored,
}

__all__ = [
    "COUNTEREXAMPLES",
    "PLAYS",
    "Scene",
    "Told",
    "Writer",
    "paused_writer_wakes_up",
    "play",
    "play_all",
    "requestid_forgotten",
]
