"""The 4D EMR's API: list and detail of quotes. Only this module sees patients' names; it returns initials.

The error class says what to do next: PausedError (an operator is needed), ThrottledError (wait that long), TransientError (retry
later), RejectedError (only this quote is wrong). Response bodies are never logged: they contain names.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import httpx
from bookrelay import limits, money
from bookrelay.errors import Code, TransientError
from bookrelay.source.answers import retry_after
from bookrelay.source.errors import PausedError, RejectedError, ThrottledError
from bookrelay.texts import clean, without_depths

from emr_poller.domain import ListedQuote, Procedure, Quote, Supply
from emr_poller.settings import Settings

VENDOR = "4D EMR"
THROTTLED_SECONDS = 60.0  # if the EMR does not say how long to wait
MAX_PAGES = 1000
DEEPEST = 50  # nesting levels that are read; a quote has four
LARGEST_READ = 100 * money.LARGEST  # an amount above QuickBooks' limit is rejected where it is used; up to here sums are exact
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d+))?\s*(Z|[+-]\d\d:?\d\d)?", re.IGNORECASE)


class QuoteUnavailableError(TransientError):
    """This quote's detail could not be read; the EMR as a whole may be available."""


@dataclass(frozen=True)
class Listing:
    """The content of the list: the readable rows, and by quote number the reason why a row could not be read."""

    rows: tuple[ListedQuote, ...] = ()
    unreadable: Mapping[int, str] = field(default_factory=dict)
    nameless: int = 0  # rows without a usable number, so they cannot be identified


class EmrClient:
    """Reads quotes. It never retries: that is the loop's task."""

    def __init__(self, settings: Settings) -> None:
        headers = {
            "client-id": settings.emr_client_id,
            "client-secret": settings.emr_client_secret.get_secret_value(),
            "Accept": "application/json",
        }
        if settings.emr_subscription_key:
            headers["subscription-key"] = settings.emr_subscription_key.get_secret_value()
        self._http = httpx.AsyncClient(
            base_url=settings.emr_base_url.rstrip("/"),
            headers=headers,
            timeout=httpx.Timeout(settings.emr_timeout_seconds, connect=10),
            limits=httpx.Limits(max_connections=settings.emr_detail_concurrency + 1),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def list_since(self, since: datetime) -> Listing:
        """Return the quotes modified at or after `since`. The API expects UTC without zone and fraction."""
        parameters = {"fromDate": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")}
        items: list[Any] = []
        for _ in range(MAX_PAGES):  # paging was never observed here, but the vendor's other lists use it
            page = parameters | ({"page.skip": str(len(items))} if items else {})
            try:
                got, total = _items(await self._get("/quotes/list", page))
            except httpx.TransportError as error:
                raise TransientError(
                    f"4D EMR cannot be reached ({type(error).__name__}).", "Check EMR_BASE_URL and the network."
                ) from None
            items += got
            if total is None or len(items) >= total or not got:
                break
        return listing_of(items)

    async def detail(self, number: int) -> Quote:
        """Return one quote, without its patient's name."""
        try:
            raw = await self._get("/quotes", {"quoteNumber": str(number)})
        except _NotFoundError:
            raise RejectedError(
                f"4D EMR lists quote {number} but returns 404 for it.",
                "Check whether the quote was deleted in 4D; if it was, there is nothing else to do.",
            ) from None
        except _BadRequestError as error:
            raise RejectedError(
                f"4D EMR refuses to return quote {number} (HTTP {error.status}).", "Open the quote in 4D and save it again."
            ) from None
        except (ThrottledError, PausedError):
            raise
        except (TransientError, httpx.TransportError) as error:
            reason = error.reason if isinstance(error, TransientError) else f"the connection failed ({type(error).__name__})"
            raise QuoteUnavailableError(f"Quote {number} could not be read: {reason}") from None
        quote = quote_of(raw, number)
        if quote.number != number:
            raise QuoteUnavailableError(f"4D EMR returned quote {quote.number} instead of quote {number}.")
        return quote

    async def _get(self, path: str, parameters: Mapping[str, str]) -> Any:
        response = await self._http.get(path, params=parameters)
        status = response.status_code
        if status == 200:
            try:
                return _json(response.content)
            except json.JSONDecodeError:
                raise TransientError("4D EMR's response (200) is not JSON.") from None
        if status == 401:
            raise PausedError(
                "4D EMR refuses the credentials (401).",
                "Set EMR_CLIENT_ID and EMR_CLIENT_SECRET to the practice's current credentials "
                "(4D: Practice > Settings > Integrations), then restart.",
                Code.OAUTH_FAILED,
            )
        if status == 429 or (status == 503 and "retry-after" in response.headers):
            raise ThrottledError(VENDOR, retry_after(response.headers.get("retry-after")) or THROTTLED_SECONDS)
        if status == 403:
            raise PausedError(
                "4D EMR denies access (403): the subscription is missing, has ended, or its quota is exhausted.",
                "Check EMR_SUBSCRIPTION_KEY and the subscription with the vendor.",
                Code.OAUTH_FAILED,
            )
        if status >= 500 or status == 408:
            raise TransientError(f"4D EMR returned {status}.")
        if path == "/quotes":
            raise _NotFoundError if status == 404 else _BadRequestError(status)
        raise PausedError(f"4D EMR returned {status} for the list of quotes.", "Check EMR_BASE_URL; it ends in /api/public.")


class _NotFoundError(Exception):
    pass


class _BadRequestError(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


# --------------------------------------------------------------------------------------------------------------- reading


def listing_of(items: list[Any]) -> Listing:
    """Read the rows of a list; an unreadable row does not affect the others."""
    rows, unreadable, nameless = [], {}, 0
    for item in items:
        raw = item if isinstance(item, dict) else {}
        number = _whole(raw.get("PriceQuoteNo"))
        if number is None:
            nameless += 1
            continue
        version, modified_at = _whole(raw.get("Version")), parse_time(raw.get("ModifiedDate"))
        if version is None or version < 0 or modified_at is None:
            what = "ModifiedDate" if modified_at is None else "Version"
            unreadable[number] = f"4D EMR lists quote {number} with an unreadable {what}."
        else:
            rows.append(ListedQuote(number=number, version=version, modified_at=modified_at))
    return Listing(tuple(rows), unreadable, nameless)


def quote_of(raw: Any, asked: int) -> Quote:
    """Convert the EMR's response to a Quote, with nulls normalised and names reduced to initials. Raises RejectedError."""
    if not isinstance(raw, dict):
        raise RejectedError(f"4D EMR's response for quote {asked} is not a quote.", "Open the quote in 4D and save it again.")
    number, version, modified_at = (
        _whole(raw.get("PriceQuoteNo")),
        _whole(raw.get("Version")),
        parse_time(raw.get("ModifiedDate")),
    )
    if number is None or version is None or version < 0 or modified_at is None:
        missing = "PriceQuoteNo" if number is None else "ModifiedDate" if modified_at is None else "Version"
        raise RejectedError(f"The {missing} of quote {asked} is unreadable.", "Open the quote in 4D and save it again.")
    patient = _object(raw, "Patient")
    where = f"quote {number}"
    name = _text(patient.get("Name"))
    if name and len(name) > limits.NAME:  # too long to search for in descriptions: its pattern would exhaust the memory
        raise RejectedError(
            f"The patient's name of {where} has {len(name):,} characters; the limit is {limits.NAME}.",
            "Enter the patient's name again in 4D.",
        )
    patient_id = patient.get("Id")
    if isinstance(patient_id, str) and ("\N{REPLACEMENT CHARACTER}" in patient_id or clean(patient_id) != patient_id):
        raise RejectedError(  # two patients' ids could become one
            f"The patient's Id of {where} contains invalid characters.", "Correct the patient's Id in 4D."
        )
    hide = _Hiding(name)
    return Quote(
        number=number,
        version=version,
        modified_at=modified_at,
        status_id=_whole(_object(raw, "PriceQuoteStatus").get("Id")),
        quoted_at=_quoted_at(raw, where),
        patient_id=_text(patient_id),
        patient_initials=initials(name),
        quoted_by=initials(_text(_object(raw, "CreatedBy").get("Name"))),
        procedures=tuple(
            _procedure(item, f"procedure {n} of {where}", hide) for n, item in enumerate(_list(raw, "Procedures"), 1)
        ),
        supplies=tuple(_supply(item, f"supply {n} of {where}", hide) for n, item in enumerate(_list(raw, "Supplies"), 1)),
        anesthesia_amount=_amount(raw, "AnesthAmt", where) or Decimal(0),
        anesthesia_group=hide(_text(_object(raw, "AnesthesiaGroup").get("Name"))),
        facility_amount=_amount(raw, "FacilityAmt", where) or Decimal(0),
        discount=_amount(raw, "Discount", where) or Decimal(0),
        credit=_amount(raw, "CreditAmount", where) or Decimal(0),
        total=_amount(raw, "TotalAmt", where),
    )


def initials(name: str | None) -> str:
    """Return the first letter of each word in upper case; words with a digit are dropped, as 4d.qbo did."""
    words = [word for word in (name or "").split() if not any(c.isdigit() for c in word)]
    letters = (next((c for c in word if c.isalpha()), "") for word in words)
    return "".join(letters).upper()


def parse_time(value: Any) -> datetime | None:
    """Parse a .NET time: 0 to 7 fraction digits (truncated to microseconds), with Z, an offset, or neither (UTC)."""
    match = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        return None
    day, clock, fraction, zone = match.groups()
    offset = "+00:00" if zone in (None, "Z", "z") else zone
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0')[:6].ljust(6, '0')}{offset}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if limits.EARLIEST <= moment.date() <= limits.LATEST else None  # .NET writes "no time" as year 1


class _Hiding:
    """Replaces the patient's full name, in either order, in descriptions typed by people."""

    def __init__(self, name: str | None) -> None:
        self._initials = initials(name) or "patient"
        family, _, given = (name or "").partition(",")  # as in "Sample, Jane Q"
        orders: list[list[str]] = []
        for words in ([*_words(given), *_words(family)], [*_words(family), *_words(given)]):
            if len(words) > 1:
                orders += [words, [words[-1], *words[:-1]], [words[0], words[-1]], [words[-1], words[0]]]
        longest_first = sorted(orders, key=len, reverse=True)
        self._forms = [re.compile(r"[\s,]+".join(map(re.escape, order)), re.IGNORECASE) for order in longest_first]

    def __call__(self, text: str | None) -> str | None:
        for form in self._forms:
            text = form.sub(self._initials, text) if text else text
        return text


def _words(name: str) -> list[str]:
    """Split a name at blanks and commas, as its patterns do: a comma within a word would make them backtrack endlessly."""
    return [word for word in re.split(r"[\s,]+", name) if word]


def _json(body: bytes) -> Any:
    """Parse a response; raises JSONDecodeError. In a list one quote must not affect the others.

    So invalid UTF-8, an unescaped control character and a value nested too deeply affect only the value that contains them.
    """
    text = body.decode(json.detect_encoding(body), "replace")
    try:
        return money.loads(text, strict=False)
    except json.JSONDecodeError:
        return money.loads(without_depths(text, DEEPEST), strict=False)


def _items(raw: Any) -> tuple[list[Any], int | None]:
    """Accept a bare array (observed in 2025) or {"Items": [...]} (the vendor's paged lists), with the total if present."""
    if isinstance(raw, list):
        return raw, None
    if isinstance(raw, dict) and isinstance(raw.get("Items"), list):
        total = next((t for name in ("TotalCount", "Total", "total") if (t := _whole(raw.get(name))) is not None), None)
        return raw["Items"], total
    raise TransientError("4D EMR's response for the list of quotes is not a list.")


def _procedure(raw: Any, where: str, hide: _Hiding) -> Procedure:
    item = raw if isinstance(raw, dict) else {}
    return Procedure(
        name=hide(_text(item.get("ProcedureName"))),
        amount=_amount(item, "Amount", where),
        discount=_amount(item, "DiscountAmount", where) or Decimal(0),
    )


def _supply(raw: Any, where: str, hide: _Hiding) -> Supply:
    item = raw if isinstance(raw, dict) else {}
    return Supply(
        title=hide(_text(item.get("ItemTitle"))),
        unit_cost=_amount(item, "UnitCost", where),
        quantity=_amount(item, "Quantity", where),
        shown=item.get("ShowOnQuote") is True,
        tax=_amount(item, "Tax", where) or Decimal(0),
    )


def _quoted_at(raw: Mapping[str, Any], where: str) -> datetime | None:
    value = raw.get("PriceQuoteDate")
    if value in (None, ""):
        return None
    moment = parse_time(value)
    if moment is None:
        raise RejectedError(f"The date of {where} is unreadable.", "Enter the date of the quote again in 4D.")
    return moment


def _amount(raw: Mapping[str, Any], name: str, where: str) -> Decimal | None:
    value = raw.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, int | str | Decimal) and not isinstance(value, bool):
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = Decimal("NaN")
        if number.is_finite() and number.copy_abs() > LARGEST_READ:
            raise RejectedError(f"{name} of {where} exceeds QuickBooks' limit of {money.LARGEST}.", "Correct it in 4D.")
        if number.is_finite():
            return number
    raise RejectedError(f"{name} of {where} is not a number.", "Enter it again in 4D.")


def _whole(value: Any) -> int | None:
    """Return a whole number that can be stored, else None."""
    if (isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value.strip())) or (
        isinstance(value, Decimal) and value.is_finite() and value.copy_abs() <= limits.LARGEST_VERSION and value == int(value)
    ):
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and abs(value) <= limits.LARGEST_VERSION else None


def _text(value: Any) -> str | None:
    if isinstance(value, Decimal) and not value.is_finite():
        return None  # an unrepresentable number: two patients' ids must not both become "NaN"
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(value)
    return (clean(value).strip() or None) if isinstance(value, str) else None


def _object(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name)
    return value if isinstance(value, dict) else {}


def _list(raw: Mapping[str, Any], name: str) -> list[Any]:
    value = raw.get(name)
    return value if isinstance(value, list) else []
