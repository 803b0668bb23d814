"""The decisions about quotes: choose which to read, decide what to publish, plan what to commit. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from bookrelay import blame, limits
from bookrelay.errors import Code
from bookrelay.messages import AnyMessage, Command, DocumentRejected, Kind, RetractDocument, UpsertInvoice, content_hash
from bookrelay.source.documents import Origin, Rejection
from bookrelay.source.errors import RejectedError
from pydantic import ValidationError

from emr_poller.domain import ListedQuote, ParkedQuote, PublishedQuote, Quote, State
from emr_poller.mapping import command_of, total_finding

HEADROOM_BYTES = 2_000  # of a record, for its key and headers
FIX = "Correct it in 4D; if it looks right there, report it to the developers."
PUBLISH_UNAVAILABLE_AFTER = 3  # failed tries: a short outage of the EMR is not worth an event
UNREAD = datetime(1970, 1, 1, tzinfo=UTC)  # the time of a quote that could not be read at all


@dataclass(frozen=True)
class FailedQuote:
    """A quote that could not be read or used. `transient`: the cause is not the quote, so a retry may succeed."""

    number: int
    version: int
    modified_at: datetime
    reason: str
    fix: str
    code: Code
    transient: bool


@dataclass(frozen=True)
class DecidedQuote:
    """A quote and its command; `finding` is set if the EMR's own total differs from the invoice's."""

    quote: Quote
    command: Command
    finding: Mapping[str, str] | None


QuoteOutcome = DecidedQuote | FailedQuote


@dataclass(frozen=True)
class Plan:
    """What a poll commits, in one transaction: messages to publish, and the new state of their quotes."""

    messages: Sequence[AnyMessage] = ()
    published: Sequence[PublishedQuote] = ()
    parked: Sequence[ParkedQuote] = ()


def choose(rows: Sequence[ListedQuote], unreadable: Collection[int], state: State, due: Collection[int]) -> list[ListedQuote]:
    """Return the quotes to read in detail: new, changed, due for a retry, or unreadable in the list. Oldest change first."""
    chosen = {row.number: row for row in rows if _is_news(row, state)}
    for number in (*unreadable, *due):
        parked = state.parked.get(number)
        if number in chosen or (parked and number not in due):
            continue
        stamp = (parked.version, parked.modified_at) if parked else (0, UNREAD)
        chosen[number] = ListedQuote(number=number, version=stamp[0], modified_at=stamp[1])
    return sorted(chosen.values(), key=lambda row: (row.modified_at, row.number))


def _is_news(row: ListedQuote, state: State) -> bool:
    published, parked = state.published.get(row.number), state.parked.get(row.number)
    if parked and row.stamp <= parked.stamp:
        return False
    return published is None or row.stamp > published.stamp


def decide(listed: ListedQuote, quote: Quote, *, origin: Origin, time_zone: ZoneInfo) -> QuoteOutcome:
    """Return the quote's command, or why it has none."""
    if quote.stamp < listed.stamp:
        return failed(listed, f"4D EMR lists a newer version of quote {quote.number} than its detail has.", transient=True)
    try:
        command = command_of(quote, origin=origin, time_zone=time_zone)
        _check_size(quote, command)
    except RejectedError as error:
        return FailedQuote(quote.number, quote.version, quote.modified_at, error.reason, error.fix, error.code, False)
    except ValidationError as error:
        reason = f"Quote {quote.number} cannot become an invoice: {blame.describe(error)}."
        return FailedQuote(quote.number, quote.version, quote.modified_at, reason, FIX, Code.VALIDATION, False)
    finding = total_finding(quote, command.data.content) if isinstance(command, UpsertInvoice) else None
    return DecidedQuote(quote, command, finding)


def _check_size(quote: Quote, command: Command) -> None:
    size, most = len(command.encode()), limits.RECORD_BYTES - HEADROOM_BYTES
    if size > most:
        raise RejectedError(
            f"The invoice of quote {quote.number} would be {size:,} bytes; the limit is {most:,}.",
            "Shorten the names of its procedures and supplies in 4D, or split the quote.",
        )


def failed(
    listed: ListedQuote, reason: str, fix: str = "", code: Code = Code.AUTOMATION_FAILED, *, transient: bool
) -> FailedQuote:
    """Return the failure of a quote whose detail could not be read."""
    return FailedQuote(listed.number, listed.version, listed.modified_at, reason, fix, code, transient)


def unstorable(outcome: QuoteOutcome, reason: str) -> FailedQuote:
    """Return the failure of a quote that the database refuses."""
    about = outcome.quote if isinstance(outcome, DecidedQuote) else outcome
    reason = f"Quote {about.number} cannot be published: {reason}"
    return FailedQuote(about.number, about.version, about.modified_at, reason, FIX, Code.VALIDATION, False)


def plan(outcomes: Sequence[QuoteOutcome], state: State, *, origin: Origin, now: datetime) -> Plan:
    """Return what to commit for these quotes."""
    decided = [o for o in outcomes if isinstance(o, DecidedQuote) and _newer(o.quote, state)]
    known = [state.published[o.quote.number] for o in outcomes if isinstance(o, DecidedQuote) and not _newer(o.quote, state)]
    parked, events = [], []
    for outcome in outcomes:
        if isinstance(outcome, FailedQuote):
            row, event = park(outcome, state.parked.get(outcome.number), origin=origin, now=now)
            parked.append(row)
            events += [event] if event else []
    return Plan([*(o.command for o in decided), *events], [*(_published(o) for o in decided), *known], parked)


def park(
    failure: FailedQuote, before: ParkedQuote | None, *, origin: Origin, now: datetime
) -> tuple[ParkedQuote, DocumentRejected | None]:
    """Return the parked quote and its rejection event, which is published once for each reason and version."""
    attempts = before.attempts + 1 if before else 1
    events, published_reason = (before.events, before.published_reason) if before else (0, None)
    news = before is None or published_reason != failure.reason or before.version != failure.version
    event = None
    if news and (not failure.transient or attempts >= PUBLISH_UNAVAILABLE_AFTER):
        rejection = Rejection(failure.reason, failure.fix, failure.code)
        event = origin.reject(
            rejection, kind=Kind.INVOICE, key=str(failure.number), version=failure.version, occurrence=events, at=now
        )
        events, published_reason = events + 1, failure.reason
    row = ParkedQuote(
        number=failure.number, version=failure.version, modified_at=failure.modified_at, reason=failure.reason,
        fix=failure.fix, code=failure.code, attempts=attempts, events=events,
        published_reason=published_reason,
    )  # fmt: skip
    return row, event


def _newer(quote: Quote, state: State) -> bool:
    published = state.published.get(quote.number)
    return published is None or quote.stamp > published.stamp


def _published(decided: DecidedQuote) -> PublishedQuote:
    retracts = isinstance(decided.command, RetractDocument)
    content = None if isinstance(decided.command, RetractDocument) else decided.command.data.content
    return PublishedQuote(
        number=decided.quote.number, version=decided.quote.version, modified_at=decided.quote.modified_at,
        content_hash=content_hash(content), operation="retract" if retracts else "upsert",
    )  # fmt: skip
