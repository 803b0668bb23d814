"""The 4D EMR's API: list and detail of quotes. The only place that sees a patient's name: it leaves as initials.

What it raises says what to do next: PausedError (an operator is needed), ThrottledError (wait so long), TransientError (again
later), RefusedError (this quote alone is wrong). Answers' bodies are never logged: they hold names.
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
from bookrelay.source.errors import PausedError, RefusedError, ThrottledError
from bookrelay.texts import clean, without_depths

from emr_poller.domain import ListedQuote, Procedure, Quote, Supply
from emr_poller.settings import Settings

VENDOR = "4D EMR"
THROTTLED_SECONDS = 60.0  # where the EMR does not say how long
MAX_PAGES = 1000
DEEPEST = 50  # levels of an answer that are read; a quote has four
LARGEST_READ = (
    100 * money.LARGEST
)  # what is larger than QuickBooks takes is refused where it is used, as long as sums can be made
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d+))?\s*(Z|[+-]\d\d:?\d\d)?", re.IGNORECASE)


class QuoteUnavailableError(TransientError):
    """This detail could not be read now, while the EMR as a whole may be well."""


@dataclass(frozen=True)
class Listing:
    """What the list held: rows that could be read, and the reason for each that could not, by number where it has one."""

    rows: tuple[ListedQuote, ...] = ()
    unreadable: Mapping[int, str] = field(default_factory=dict)
    nameless: int = 0  # rows without a usable number: nobody can be told which


class EmrClient:
    """Reads quotes. One httpx client, no retries below the loop."""

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
        """Return the quotes modified at or after `since`. The API wants UTC without zone and fraction."""
        parameters = {"fromDate": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")}
        items: list[Any] = []
        for _ in range(MAX_PAGES):  # no paging was ever seen; the same vendor's other lists have it, so follow it if it comes
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
            raise RefusedError(
                f"4D lists quote {number} but answers 404 for it.",
                "Look whether the quote was deleted in 4D; if it was, nothing is left to do here.",
            ) from None
        except _BadRequestError as error:
            raise RefusedError(
                f"4D refuses to show quote {number} (HTTP {error.status}).", "Open the quote in 4D and save it again."
            ) from None
        except (ThrottledError, PausedError):
            raise
        except (TransientError, httpx.TransportError) as error:
            reason = error.reason if isinstance(error, TransientError) else f"the connection failed ({type(error).__name__})"
            raise QuoteUnavailableError(f"Quote {number} could not be read: {reason}") from None
        quote = quote_of(raw, number)
        if quote.number != number:
            raise QuoteUnavailableError(f"4D answered with quote {quote.number} when asked for quote {number}.")
        return quote

    async def _get(self, path: str, parameters: Mapping[str, str]) -> Any:
        response = await self._http.get(path, params=parameters)
        status = response.status_code
        if status == 200:
            try:
                return _json(response.content)
            except json.JSONDecodeError:
                raise TransientError("4D EMR answered 200 with something that is not JSON.") from None
        if status == 401:
            raise PausedError(
                "4D EMR refuses the credentials (401).",
                "Set EMR_CLIENT_ID and EMR_CLIENT_SECRET to the practice's current ones "
                "(4D: Practice > Settings > Integrations), then restart.",
                Code.OAUTH_FAILED,
            )
        if status == 429 or (status == 503 and "retry-after" in response.headers):
            raise ThrottledError(VENDOR, retry_after(response.headers.get("retry-after")) or THROTTLED_SECONDS)
        if status == 403:
            raise PausedError(
                "4D EMR forbids the access (403): the subscription is missing, ended or its quota is used up.",
                "Check EMR_SUBSCRIPTION_KEY and the subscription at the vendor.",
                Code.OAUTH_FAILED,
            )
        if status >= 500 or status == 408:
            raise TransientError(f"4D EMR answers {status}.")
        if path == "/quotes":
            raise _NotFoundError if status == 404 else _BadRequestError(status)
        raise PausedError(f"4D EMR answers {status} for its list of quotes.", "Check EMR_BASE_URL; it ends in /api/public.")


class _NotFoundError(Exception):
    pass


class _BadRequestError(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


# --------------------------------------------------------------------------------------------------------------- reading


def listing_of(items: list[Any]) -> Listing:
    """Read the rows of a list; a row that cannot be read does not spoil the others."""
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
            unreadable[number] = f"The list of 4D shows quote {number} with a {what} that cannot be read."
        else:
            rows.append(ListedQuote(number=number, version=version, modified_at=modified_at))
    return Listing(tuple(rows), unreadable, nameless)


def quote_of(raw: Any, asked: int) -> Quote:
    """Reduce the EMR's answer to a Quote: nulls normalised, names to initials. Raises RefusedError."""
    if not isinstance(raw, dict):
        raise RefusedError(f"4D's answer for quote {asked} is not a quote.", "Open the quote in 4D and save it again.")
    number, version, modified_at = (
        _whole(raw.get("PriceQuoteNo")),
        _whole(raw.get("Version")),
        parse_time(raw.get("ModifiedDate")),
    )
    if number is None or version is None or version < 0 or modified_at is None:
        missing = "PriceQuoteNo" if number is None else "ModifiedDate" if modified_at is None else "Version"
        raise RefusedError(f"Quote {asked} has a {missing} that cannot be read.", "Open the quote in 4D and save it again.")
    patient = _object(raw, "Patient")
    where = f"quote {number}"
    name = _text(patient.get("Name"))
    if name and len(name) > limits.NAME:  # it could not be looked for in the descriptions: a pattern of it takes all the memory
        raise RefusedError(
            f"The patient's name of {where} has {len(name):,} characters; at most {limits.NAME} are taken.",
            "Enter the patient's name again in 4D.",
        )
    patient_id = patient.get("Id")
    if isinstance(patient_id, str) and ("\N{REPLACEMENT CHARACTER}" in patient_id or clean(patient_id) != patient_id):
        raise RefusedError(  # two patients' ids could become one
            f"The patient's Id of {where} holds characters that cannot be read.", "Correct the patient's Id in 4D."
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
    """Return the first letter of each word, upper-case; words that hold a digit are dropped, as 4d.qbo did."""
    words = [word for word in (name or "").split() if not any(c.isdigit() for c in word)]
    letters = (next((c for c in word if c.isalpha()), "") for word in words)
    return "".join(letters).upper()


def parse_time(value: Any) -> datetime | None:
    """Read a .NET time: 0 to 7 digits of fraction (finer than a microsecond is cut), Z, an offset, or nothing (UTC)."""
    match = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        return None
    day, clock, fraction, zone = match.groups()
    offset = "+00:00" if zone in (None, "Z", "z") else zone
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0')[:6].ljust(6, '0')}{offset}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if limits.EARLIEST <= moment.date() <= limits.LATEST else None  # .NET says "no time" with the year 1


class _Hiding:
    """Replaces the patient's full name, in either order, where a person typed it into a description."""

    def __init__(self, name: str | None) -> None:
        self._initials = initials(name) or "patient"
        family, _, given = (name or "").partition(",")  # "Sample, Jane Q", if it is written so
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
    """Part a name at blanks and commas, as its patterns do: a comma within a word would make them try without end."""
    return [word for word in re.split(r"[\s,]+", name) if word]


def _json(body: bytes) -> Any:
    """Read an answer; raises JSONDecodeError. In a list one quote must not spoil the others.

    So bytes that are no characters, a control character without its escape and a value that is nested too deeply spoil the value
    in which they stand.
    """
    text = body.decode(json.detect_encoding(body), "replace")
    try:
        return money.loads(text, strict=False)
    except json.JSONDecodeError:
        return money.loads(without_depths(text, DEEPEST), strict=False)


def _items(raw: Any) -> tuple[list[Any], int | None]:
    """Accept a bare array (as seen in 2025) and {"Items": [...]} (as the vendor's paged lists are), with its total if any."""
    if isinstance(raw, list):
        return raw, None
    if isinstance(raw, dict) and isinstance(raw.get("Items"), list):
        total = next((t for name in ("TotalCount", "Total", "total") if (t := _whole(raw.get(name))) is not None), None)
        return raw["Items"], total
    raise TransientError("4D EMR answered its list of quotes with something that is not a list.")


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
        raise RefusedError(f"The date of {where} cannot be read.", "Enter the date of the quote again in 4D.")
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
            raise RefusedError(f"{name} of {where} is larger than QuickBooks takes ({money.LARGEST}).", "Correct it in 4D.")
        if number.is_finite():
            return number
    raise RefusedError(f"{name} of {where} is not a number.", "Enter it again in 4D.")


def _whole(value: Any) -> int | None:
    """Read a whole number that can be stored: a quote's number or version beyond that is as good as none."""
    if (isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value.strip())) or (
        isinstance(value, Decimal) and value.is_finite() and value.copy_abs() <= limits.LARGEST_VERSION and value == int(value)
    ):
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and abs(value) <= limits.LARGEST_VERSION else None


def _text(value: Any) -> str | None:
    if isinstance(value, Decimal) and not value.is_finite():
        return None  # a number that nobody can hold: two patients' ids must not become one "NaN"
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(value)
    return (clean(value).strip() or None) if isinstance(value, str) else None


def _object(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name)
    return value if isinstance(value, dict) else {}


def _list(raw: Mapping[str, Any], name: str) -> list[Any]:
    value = raw.get(name)
    return value if isinstance(value, list) else []
