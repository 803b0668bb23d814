"""The practice's data, in memory: quotes with their versions, patients, appointments, look-ups."""

import re
from collections.abc import Iterable
from copy import deepcopy
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sandbox.emr.generating import STATUS_NAMES, LabelledQuote, net_dot
from sandbox.standin import Clock

Quote = dict[str, Any]
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,7}))?(?:Z|\+00:00)?)?$")

DURATIONS = [{"Minutes": m, "DisplayText": f"{m // 60} h {m % 60:02d} m"} for m in range(30, 331, 30)]
ANESTHESIA_TYPES = [
    {"Code": "GA", "Description": "General"},
    {"Code": "LA", "Description": "Local"},
    {"Code": "IV", "Description": "Sedation"},
]
DISCOUNT_REASONS = [{"Id": 1, "Name": "Staff"}, {"Id": 2, "Name": "Cash"}, {"Id": 3, "Name": "Returning patient"}]
ANESTHESIA_GROUPS = [{"Id": 5, "Name": "Example Anesthesia"}, {"Id": 6, "Name": "Harbour Anesthesia Partners"}]


def instant(text: str) -> tuple[datetime, int]:
    """Read a .NET time, UTC: the whole second, and its fraction in units of 100 ns. Raises ValueError."""
    match = _TIME.match(text)
    if not match:
        raise ValueError(f"{text!r} is not a time")
    day, clock, fraction = match.groups()
    return datetime.fromisoformat(f"{day}T{clock or '00:00:00'}+00:00"), int((fraction or "").ljust(7, "0"))


class Store:
    """The practice's data."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.versions: dict[int, dict[int, Quote]] = {}  # number -> version -> quote
        self.labels: dict[int, LabelledQuote] = {}
        self.appointments: list[dict[str, Any]] = []
        self.charges: list[dict[str, Any]] = []
        self.patients: dict[int, dict[str, Any]] = {}
        self.notes: list[dict[str, Any]] = []

    def load(self, quotes: Iterable[Quote | LabelledQuote]) -> None:
        """Add quotes; one with the same (number, version) is replaced."""
        for item in quotes:
            quote = deepcopy(item.quote if isinstance(item, LabelledQuote) else item)
            number = int(quote["PriceQuoteNo"])
            if isinstance(item, LabelledQuote):
                self.labels[number] = item
            quote.setdefault("PriceQuoteId", 78000 + number)
            quote.setdefault("Version", 1)
            quote.setdefault("ModifiedDate", self._stamp())
            version = int(quote["Version"])  # before storing anything, in case it is invalid
            self.versions.setdefault(number, {})[version] = quote
            self._know_patient(quote.get("Patient"))

    def _stamp(self) -> str:
        return net_dot(self.clock.now(), 7)

    def _know_patient(self, patient: dict[str, Any] | None) -> None:
        if not patient or patient.get("Id") in self.patients:
            return
        first, _, last = (patient.get("Name") or "").partition(" ")
        self.patients[int(patient["Id"])] = {
            "PatientId": patient["Id"],
            "FirstName": first,
            "LastName": last,
            "AccountNumber": f"A{patient['Id']}",
            "DOB": "1980-01-01T00:00:00",
            "Gender": None,
            "PhonePrimary": "555-0100",
            "Email": f"patient{patient['Id']}@example.invalid",
            "Address1": None,
            "City": None,
            "State": None,
            "ZipCode": None,
            "Country": None,
            "Status": "Active",
            "Providers": [{"Id": 2, "Name": "Dr Example"}],
            "ReferralCategory": None,
            "MarketingSource": None,
            "CreatedDate": self._stamp(),
            "ModifiedDate": self._stamp(),
        }

    def current(self, number: int) -> Quote | None:
        """The newest version of a quote."""
        versions = self.versions.get(number)
        return versions[max(versions)] if versions else None

    def find(self, *, number: int | None = None, quote_id: int | None = None, external_id: str | None = None) -> Quote | None:
        """The newest version of a quote by number, id or external id."""
        if number is not None:
            return self.current(number)
        for known in self.versions:
            quote = self.current(known)
            assert quote is not None
            if quote_id is not None and quote["PriceQuoteId"] == quote_id:
                return quote
            if external_id is not None and quote.get("ExternalId") == external_id:
                return quote
        return None

    def listed(self, *, since: tuple[datetime, int] | None, patient: int | None, every_version: bool) -> list[Quote]:
        """Return the quotes modified at or after `since`, or of a patient, oldest change first."""
        found = []
        for number, versions in self.versions.items():
            for quote in versions.values() if every_version else [self.current(number)]:
                assert quote is not None
                if since is not None and _when(quote) < since:
                    continue
                if patient is not None and (quote.get("Patient") or {}).get("Id") != patient:
                    continue
                found.append(quote)
        return sorted(found, key=lambda quote: (_when(quote), quote["PriceQuoteNo"], quote["Version"]))

    def edit(self, number: int, changes: dict[str, Any], *, bump: bool = True, modified: str | None = None) -> Quote:
        """Change a quote as a person in the practice would: a new version, modified now. Raises KeyError."""
        old = self.current(number)
        if old is None:
            raise KeyError(number)
        new = deepcopy(old) | changes
        new["ModifiedDate"] = modified or changes.get("ModifiedDate") or self._stamp()
        if bump and "Version" not in changes:
            new["Version"] = int(old["Version"]) + 1
        if not bump:
            self.versions[number].pop(int(old["Version"]))
        self.versions[number][int(new["Version"])] = new
        self._know_patient(new.get("Patient"))
        return new

    def set_status(self, number: int, status: int) -> Quote:
        """Change a quote's status."""
        return self.edit(number, {"PriceQuoteStatus": {"Id": status, "Name": STATUS_NAMES.get(status, f"Status {status}")}})

    def save(self, model: dict[str, Any]) -> Quote:
        """Create or update as `POST /quotes` does, by PriceQuoteId or ExternalId. Raises KeyError for an unknown PriceQuoteId."""
        quote_id, external_id = model.get("PriceQuoteId"), model.get("ExternalId")
        known = self.find(quote_id=quote_id) if quote_id else self.find(external_id=external_id) if external_id else None
        if known:
            return self.edit(int(known["PriceQuoteNo"]), {k: v for k, v in model.items() if k != "PriceQuoteId"})
        if quote_id:
            raise KeyError(quote_id)
        number = max(self.versions, default=12000) + 1
        fresh = {
            **_blank(),
            **model,
            "PriceQuoteNo": number,
            "PriceQuoteId": 78000 + number,
            "Version": 1,
            "PriceQuoteStatus": {"Id": 1, "Name": STATUS_NAMES[1]},
            "PriceQuoteDate": self._stamp(),
            "ModifiedDate": self._stamp(),
        }
        self.load([fresh])
        return fresh

    def delete(self, number: int) -> None:
        """Delete a quote."""
        del self.versions[number]


def _blank() -> Quote:
    money = dict.fromkeys(("Discount", "CreditAmount", "AnesthAmt", "FacilityAmt", "DepositAmount"), Decimal(0))
    return {"ExternalId": None, "Procedures": [], "Supplies": [], "CreatedBy": None, "Note": None, **money}


def _when(quote: Quote) -> tuple[datetime, int]:
    try:
        return instant(str(quote["ModifiedDate"]))
    except ValueError:  # an intentionally invalid date is always listed
        return datetime.max.replace(tzinfo=UTC), 0


def charge(quote: Quote, day: date) -> dict[str, Any]:
    """A charge as shown by `/reports/charges`. Its columns are invented: no public source documents them."""
    patient = quote.get("Patient") or {}
    return {
        "ChargeId": quote["PriceQuoteId"],
        "ChargeDate": day.isoformat(),
        "PatientId": patient.get("Id"),
        "PatientName": patient.get("Name"),
        "PriceQuoteNo": quote["PriceQuoteNo"],
        "Description": quote.get("ProcedureDescription"),
        "Amount": quote.get("TotalAmt"),
    }
