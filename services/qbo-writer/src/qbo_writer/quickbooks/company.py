"""A company's facts: its plan and preferences, cached; read again after a day, or because of a refusal."""

import asyncio
import contextlib
import re
import time
from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from typing import Any, Protocol

from bookrelay import telemetry

from qbo_writer.domain import AccessToken, CompanyFacts, LookupFailed, LookupUnreadable
from qbo_writer.ledger.companies import CompanyRows

log = telemetry.get_logger(__name__)

_AGAIN_SECONDS = 10.0  # between two reads caused by refusals
_CHANGED_SECONDS = 120.0  # how long a request prepared by older facts may be on its way
_CURRENCY = re.compile(r"[A-Z]{3}")
_PLANS = {"simple start": "simple_start", "essentials": "essentials", "plus": "plus", "advanced": "advanced"}


class Reads(Protocol):
    """The part of the client that is needed."""

    async def get(self, realm: str, path: str, params: Mapping[str, str], token: AccessToken) -> Any:
        """Read one address."""


class Companies:
    """The facts of each company."""

    def __init__(self, rows: CompanyRows, books: Reads, max_age_seconds: float) -> None:
        self._rows, self._books, self._max_age = rows, books, max_age_seconds
        self._facts: dict[str, tuple[CompanyFacts, float]] = {}  # and when they were read, by the monotonic clock
        self._changed: dict[str, float] = {}  # when they were last read as others than before
        self._again: dict[str, float] = {}  # when a refusal may make them be read again
        self._failed: dict[str, tuple[LookupFailed, float]] = {}  # and when
        self._locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    def forget(self, realm: str) -> None:
        """Read it again when it is next needed."""
        self._facts.pop(realm, None)

    async def facts(self, realm: str, token: AccessToken, *, max_age: float | None = None) -> CompanyFacts:
        """Return plan and preferences, cached in realms.company; read again after a day or `max_age` seconds."""
        age = self._max_age
        age = age if max_age is None else min(age, max_age)
        cached, began = self._facts.get(realm), time.monotonic()
        if cached and began < cached[1] + age:
            return cached[0]
        async with self._locks[(realm, "company")]:
            cached = self._facts.get(realm)
            if cached and time.monotonic() < cached[1] + age:
                return cached[0]
            if (failed := self._failed.get(realm)) and began <= failed[1]:
                raise failed[0]  # whoever waited behind that read does not ask the same again
            kept = await self._rows.read(realm)
            facts, old = None, 0.0
            if kept and kept.company.get("info") and kept.age is not None and kept.age < age:
                with contextlib.suppress(LookupUnreadable):  # an earlier release kept what cannot be read: it is read again
                    facts, old = facts_of(kept.company["info"], kept.company["preferences"]), kept.age
            if facts is None:
                try:
                    facts = await self._read_company(realm, token)
                except LookupFailed as error:
                    self._failed[realm] = (error, time.monotonic())
                    raise
            if (before := self._facts.get(realm)) and before[0] != facts:
                self._changed[realm] = time.monotonic()
                log.info("company.changed", realm=realm)
            self._facts[realm] = (facts, time.monotonic() - old)
            return facts

    async def changed(self, realm: str, token: AccessToken) -> bool:
        """Read the facts again, because of a refusal; return whether they changed lately. Raises LookupFailed."""
        async with self._locks[(realm, "changed")]:
            if time.monotonic() >= self._again.get(realm, 0.0):
                self._again[realm] = time.monotonic() + _AGAIN_SECONDS
                await self.facts(realm, token, max_age=0.0)
        return time.monotonic() < self._changed.get(realm, float("-inf")) + _CHANGED_SECONDS

    async def _read_company(self, realm: str, token: AccessToken) -> CompanyFacts:
        """Read plan and preferences; they are stored only if they are readable."""
        info = await self._books.get(realm, f"/companyinfo/{realm}", {}, token)
        preferences = await self._books.get(realm, "/preferences", {}, token)
        if not isinstance(info.get("CompanyInfo"), dict) or not isinstance(preferences.get("Preferences"), dict):
            raise LookupUnreadable("CompanyInfo or Preferences could not be read")
        kept = ("AccountingInfoPrefs", "SalesFormsPrefs", "CurrencyPrefs", "TaxPrefs")
        raw = {
            "info": {"NameValue": info["CompanyInfo"].get("NameValue") or [], "Country": info["CompanyInfo"].get("Country")},
            "preferences": {name: _json(preferences["Preferences"].get(name) or {}) for name in kept},
        }
        try:
            facts = facts_of(raw["info"], raw["preferences"])
        except LookupUnreadable as error:
            log.warning("company.unreadable", realm=realm, error=str(error))
            raise
        await self._rows.keep(realm, raw)
        return facts


def facts_of(info: Mapping[str, Any], preferences: Mapping[str, Any]) -> CompanyFacts:
    """Parse plan and preferences; what is missing is treated as allowed: QuickBooks refuses what is not.

    Raises LookupUnreadable with the name of an unreadable property, if there is no safe assumption.
    """
    pairs = info.get("NameValue")
    values = {str(p.get("Name")): str(p.get("Value")) for p in (pairs if isinstance(pairs, list) else ()) if isinstance(p, dict)}
    sku = values.get("OfferingSku", "").casefold()
    accounting, sales = _group(preferences, "AccountingInfoPrefs"), _group(preferences, "SalesFormsPrefs")
    per_line, per_transaction = accounting.get("ClassTrackingPerTxnLine"), accounting.get("ClassTrackingPerTxn")
    class_per = "line" if true(per_line) else "transaction" if true(per_transaction) else None
    if per_line is None and per_transaction is None:
        class_per = "line"
    return CompanyFacts(
        plan=next((plan for word, plan in _PLANS.items() if word in sku), "unknown"),
        class_per=class_per,
        departments=true(accounting.get("TrackDepartments", True)),
        custom_numbers=true(sales.get("CustomTxnNumbers", True)),
        sales_tax=true(_group(preferences, "TaxPrefs").get("UsingSalesTax", True)),
        discounts=true(sales.get("AllowDiscount", True)),
        closing_date=_closing_date(accounting),
        currency=_currency(_group(preferences, "CurrencyPrefs")),
        country=str(info.get("Country") or ""),
    )


def _group(preferences: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    group = preferences.get(name) or {}
    if not isinstance(group, dict):
        raise LookupUnreadable(f"Preferences.{name} could not be read")
    return group


def _closing_date(accounting: Mapping[str, Any]) -> date | None:
    """Return the date up to which the books are closed. An unreadable one is not treated as none."""
    text = str(accounting.get("BookCloseDate") or "")[:10]
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise LookupUnreadable("Preferences.AccountingInfoPrefs.BookCloseDate could not be read") from None


def _currency(currencies: Mapping[str, Any]) -> str | None:
    """Return the company's home currency if it uses several."""
    if not true(currencies.get("MultiCurrencyEnabled")):
        return None
    home = currencies.get("HomeCurrency")
    code = str((home.get("value") if isinstance(home, dict) else home) or "")
    if not _CURRENCY.fullmatch(code):
        raise LookupUnreadable("Preferences.CurrencyPrefs.HomeCurrency could not be read")
    return code


def true(value: object) -> bool:
    """Whether a switch is on: QuickBooks writes true and "true"."""
    return str(value).lower() == "true"


def _json(value: Any) -> Any:
    """Drop what JSONB cannot store as it is (Decimals): only words and switches are needed."""
    if not isinstance(value, dict):
        return value
    return {key: _json(item) for key, item in value.items() if isinstance(item, str | bool | int | dict) or item is None}
