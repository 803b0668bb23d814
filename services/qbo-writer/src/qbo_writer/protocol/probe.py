"""Measures whether this company's QuickBooks honours a requestid, and for how long ("Proven is measured", protocol.md).

It repeats a just-answered update under its requestid. Its SyncToken is used up, so the repetition changes nothing: the
same answer means honoured, 5010 ignored. Pure except `repeat` and `repeat_in_batch`; the poster stores `Probe` in realms.probe.
"""

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Self

from bookrelay import telemetry

from qbo_writer.domain import AccessToken, Answer, AnswerKind, BatchItem, BatchRequest, Cause, Operation
from qbo_writer.ledger.records import Sample
from qbo_writer.ports import Books, Forms
from qbo_writer.settings import Settings

log = telemetry.get_logger(__name__)

_AGAIN_SECONDS = 60.0  # after an inconclusive repetition
_TRIES = 5


class Verdict(StrEnum):
    """The result of one repetition."""

    HONOURED = "honoured"
    IGNORED = "ignored"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Probe:
    """One measurement, of singles or of batches. `proven`: from an honoured late repetition until one that is not."""

    proven: bool = False
    measured_at: float | None = None
    sample: Sample | None = None
    early: bool = False  # the repetition right after the answer was honoured
    tries: int = 0
    next_at: float = 0.0
    last: str | None = None  # the latest verdict

    def plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**asdict(self), "sample": self.sample.plain() if self.sample else None}

    @classmethod
    def of(cls, value: dict[str, Any] | None) -> Self:
        """Read what `plain` returned; None: a new probe."""
        if not value:
            return cls()
        sample = value.get("sample")
        return cls(**{**value, "sample": Sample.of(sample) if sample else None})


def late_seconds(settings: Settings) -> float:
    """Return the age of the late repetition: T, but at least W + B + X, which QuickBooks must remember."""
    least = (
        settings.protocol_resend_window_proven_seconds + settings.protocol_token_life_seconds + settings.protocol_transit_seconds
    )
    return max(least, settings.protocol_requestid_memory_seconds)


def offer(probe: Probe, sample: Sample, settings: Settings) -> Probe:
    """Use an answered update as the sample, if no measurement is running and the last one is old. Only updates qualify."""
    fresh = probe.measured_at is not None and sample.answered_at - probe.measured_at < settings.probe_seconds
    if probe.sample or fresh or sample.request.operation is not Operation.UPDATE:
        return probe
    return replace(probe, sample=sample, early=False, tries=0, next_at=sample.answered_at)


def due(probe: Probe, now: float) -> bool:
    """Whether a repetition is due."""
    return probe.sample is not None and now >= probe.next_at


def conclude(probe: Probe, verdict: Verdict, now: float, settings: Settings) -> Probe:
    """Apply a verdict. "Ignored", early or late, makes the company look first again; "unclear" is tried again."""
    assert probe.sample is not None
    if verdict is Verdict.IGNORED:
        return Probe(proven=False, measured_at=now, last=verdict)
    if verdict is Verdict.UNCLEAR:
        if probe.tries + 1 >= _TRIES:
            return replace(probe, sample=None, last=verdict)
        return replace(probe, tries=probe.tries + 1, next_at=now + _AGAIN_SECONDS, last=verdict)
    late_at = probe.sample.answered_at + late_seconds(settings)
    if now < late_at:
        return replace(probe, early=True, tries=0, next_at=late_at, last=verdict)
    return Probe(proven=True, measured_at=now, last=verdict)


async def repeat(books: Books, sample: Sample, token: AccessToken) -> Verdict:
    """Send a single update again, as it was."""
    return _verdict(await books.send(sample.request, token), sample)


async def repeat_in_batch(books: Books, forms: Forms, sample: Sample, token: AccessToken) -> Verdict:
    """Send the update again under its batch's requestid, with a second item.

    Honoured means that each item is remembered: the update's answer is repeated and the second item is executed. If whole
    answers are remembered instead, the second item is missing: a batch cut off half-way would not be remembered.
    """
    assert sample.batch_requestid
    assert sample.b_id
    item = BatchItem(sample.b_id, sample.request)
    body, witness = forms.witnessed(item)
    answers = await books.send_batch(BatchRequest(sample.request.realm, sample.batch_requestid, body, (item, witness)), token)
    if isinstance(answers, Answer):
        return Verdict.IGNORED if answers.kind is AnswerKind.ERROR and not answers.halt else Verdict.UNCLEAR
    verdict = _verdict(answers[sample.b_id], sample)
    if verdict is Verdict.HONOURED and not forms.was_executed(answers[witness.b_id]):
        return Verdict.IGNORED
    return verdict


async def step(
    books: Books, forms: Forms, single: Probe, batch: Probe, token: AccessToken, now: float, settings: Settings
) -> tuple[Probe, Probe]:
    """Send the repetitions that are due; the caller paces (as sweep) and stores the result."""
    if due(single, now) and single.sample:
        verdict = await repeat(books, single.sample, token)
        log.info("probe.repeated", realm=single.sample.request.realm, envelope="single", verdict=verdict, late=single.early)
        single = conclude(single, verdict, now, settings)
    if due(batch, now) and batch.sample:
        verdict = await repeat_in_batch(books, forms, batch.sample, token)
        log.info("probe.repeated", realm=batch.sample.request.realm, envelope="batch", verdict=verdict, late=batch.early)
        batch = conclude(batch, verdict, now, settings)
    return single, batch


def _verdict(answer: Answer, sample: Sample) -> Verdict:
    if answer.kind is AnswerKind.SUCCESS and answer.seen:
        same = (answer.seen.qbo_id, answer.seen.sync_token) == (sample.request.qbo_id, sample.answered_sync_token)
        return Verdict.HONOURED if same else Verdict.IGNORED
    used_up = answer.kind is AnswerKind.CONFLICT and answer.cause is not Cause.NUMBER_TAKEN
    return Verdict.IGNORED if used_up else Verdict.UNCLEAR
