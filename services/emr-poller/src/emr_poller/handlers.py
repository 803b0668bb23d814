"""What is done with quotes: choose which to read, decide what each means, work out what is said and remembered. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from bookrelay import blame, limits
from bookrelay.errors import Code
from bookrelay.messages import AnyMessage, Command, DocumentRejected, Kind, RetractDocument, UpsertInvoice, content_hash
from bookrelay.source.documents import Origin, Rejection
from bookrelay.source.errors import RefusedError
from pydantic import ValidationError

from emr_poller.domain import ListedQuote, ParkedQuote, PublishedQuote, Quote
from emr_poller.mapping import command_of, total_finding

HEADROOM_BYTES = 2_000  # of a record, for its key and headers
FIX = "Correct it in 4D; if it looks right there, tell the developers."
TELL_UNAVAILABLE_AFTER = 3  # tries: a blip of the EMR is not worth an event
UNREAD = datetime(1970, 1, 1, tzinfo=UTC)  # stands for the time of a quote that could not be read at all


@dataclass(frozen=True)
class Memory:
    """What is remembered of some quotes."""

    published: Mapping[int, PublishedQuote] = field(default_factory=dict)
    parked: Mapping[int, ParkedQuote] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """A quote that could not be read or used. `passing`: it may be well next time, whatever the quote is."""

    number: int
    version: int
    modified_at: datetime
    reason: str
    fix: str
    code: Code
    passing: bool


@dataclass(frozen=True)
class Decided:
    """A quote and the command it became; `finding` where the EMR's own total differs from the invoice."""

    quote: Quote
    command: Command
    finding: Mapping[str, str] | None


Outcome = Decided | Failed


@dataclass(frozen=True)
class Settled:
    """What outcomes lead to: what is said, and what is remembered of it. All of it is committed together, or nothing."""

    messages: Sequence[AnyMessage] = ()
    published: Sequence[PublishedQuote] = ()
    parked: Sequence[ParkedQuote] = ()


def choose(rows: Sequence[ListedQuote], unreadable: Collection[int], memory: Memory, due: Collection[int]) -> list[ListedQuote]:
    """Return what must be read in detail: new, changed, due again, or listed in a way that says nothing. Oldest change first."""
    chosen = {row.number: row for row in rows if _is_news(row, memory)}
    for number in (*unreadable, *due):
        parked = memory.parked.get(number)
        if number in chosen or (parked and number not in due):
            continue
        stamp = (parked.version, parked.modified_at) if parked else (0, UNREAD)
        chosen[number] = ListedQuote(number=number, version=stamp[0], modified_at=stamp[1])
    return sorted(chosen.values(), key=lambda row: (row.modified_at, row.number))


def _is_news(row: ListedQuote, memory: Memory) -> bool:
    published, parked = memory.published.get(row.number), memory.parked.get(row.number)
    if parked and row.stamp <= parked.stamp:
        return False
    return published is None or row.stamp > published.stamp


def decide(listed: ListedQuote, quote: Quote, *, origin: Origin, time_zone: ZoneInfo) -> Outcome:
    """Say what the quote means for the books."""
    if quote.stamp < listed.stamp:
        return failed(listed, f"4D listed a newer version of quote {quote.number} than it shows.", passing=True)
    try:
        command = command_of(quote, origin=origin, time_zone=time_zone)
        _check_size(quote, command)
    except RefusedError as error:
        return Failed(quote.number, quote.version, quote.modified_at, error.reason, error.fix, error.code, False)
    except ValidationError as error:
        reason = f"Quote {quote.number} cannot become an invoice: {blame.describe(error)}."
        return Failed(quote.number, quote.version, quote.modified_at, reason, FIX, Code.VALIDATION, False)
    finding = total_finding(quote, command.data.content) if isinstance(command, UpsertInvoice) else None
    return Decided(quote, command, finding)


def _check_size(quote: Quote, command: Command) -> None:
    size, most = len(command.encode()), limits.RECORD_BYTES - HEADROOM_BYTES
    if size > most:
        raise RefusedError(
            f"Quote {quote.number} has {size:,} bytes as an invoice; at most {most:,} are taken.",
            "Shorten the names of its procedures and supplies in 4D, or split the quote.",
        )


def failed(listed: ListedQuote, reason: str, fix: str = "", code: Code = Code.AUTOMATION_FAILED, *, passing: bool) -> Failed:
    """Return the failure of a quote whose detail says nothing."""
    return Failed(listed.number, listed.version, listed.modified_at, reason, fix, code, passing)


def refused(outcome: Outcome, reason: str) -> Failed:
    """Return what becomes of a quote that the database refuses."""
    about = outcome.quote if isinstance(outcome, Decided) else outcome
    said = f"Quote {about.number} cannot be sent on: {reason}"
    return Failed(about.number, about.version, about.modified_at, said, FIX, Code.VALIDATION, False)


def settle(outcomes: Sequence[Outcome], memory: Memory, *, origin: Origin, now: datetime) -> Settled:
    """Work out what is said about these quotes and remembered of them."""
    decided = [o for o in outcomes if isinstance(o, Decided) and _newer(o.quote, memory)]
    known = [memory.published[o.quote.number] for o in outcomes if isinstance(o, Decided) and not _newer(o.quote, memory)]
    parked, events = [], []
    for outcome in outcomes:
        if isinstance(outcome, Failed):
            row, event = park(outcome, memory.parked.get(outcome.number), origin=origin, now=now)
            parked.append(row)
            events += [event] if event else []
    return Settled([*(o.command for o in decided), *events], [*(_published(o) for o in decided), *known], parked)


def park(
    failure: Failed, before: ParkedQuote | None, *, origin: Origin, now: datetime
) -> tuple[ParkedQuote, DocumentRejected | None]:
    """Return the parked quote, and the event that tells about it: once for each reason and version."""
    attempts = before.attempts + 1 if before else 1
    told, told_reason = (before.told, before.told_reason) if before else (0, None)
    news = before is None or told_reason != failure.reason or before.version != failure.version
    event = None
    if news and (not failure.passing or attempts >= TELL_UNAVAILABLE_AFTER):
        rejection = Rejection(failure.reason, failure.fix, failure.code)
        event = origin.reject(
            rejection, kind=Kind.INVOICE, key=str(failure.number), version=failure.version, occurrence=told, at=now
        )
        told, told_reason = told + 1, failure.reason
    row = ParkedQuote(
        number=failure.number, version=failure.version, modified_at=failure.modified_at, reason=failure.reason,
        fix=failure.fix, code=failure.code, attempts=attempts, told=told, told_reason=told_reason,
    )  # fmt: skip
    return row, event


def _newer(quote: Quote, memory: Memory) -> bool:
    published = memory.published.get(quote.number)
    return published is None or quote.stamp > published.stamp


def _published(decided: Decided) -> PublishedQuote:
    retracts = isinstance(decided.command, RetractDocument)
    content = None if isinstance(decided.command, RetractDocument) else decided.command.data.content
    return PublishedQuote(
        number=decided.quote.number, version=decided.quote.version, modified_at=decided.quote.modified_at,
        content_hash=content_hash(content), operation="retract" if retracts else "upsert",
    )  # fmt: skip
