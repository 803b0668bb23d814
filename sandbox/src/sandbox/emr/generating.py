"""Synthetic quotes in all states, some invalid on purpose, each with its expected result.

Every name is made up; patients' first names begin with `Zzcanary`, so that a search finds a name that leaked.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

CANARY = "Zzcanary"
STATUS_NAMES = {0: "Inactive", 1: "Active", 2: "Status 2", 3: "Status 3", 4: "Completed", 7: "Status 7"}
SURNAMES = (
    "Abara",
    "Brandt",
    "Castellanos",
    "Dubois",
    "Eriksen",
    "Fontaine",
    "Grabowski",
    "Haddad",
    "Ivanova",
    "Jansen",
    "Kowalczyk",
)
PROCEDURES = (
    ("Blepharoplasty, upper", 3200),
    ("Rhinoplasty", 7400),
    ("Abdominoplasty", 8900),
    ("Breast augmentation", 6100),
    ("Liposuction, two areas", 4300),
    ("Facelift", 9800),
    ("Scar revision", 1250),
    ("Otoplasty – both ears", 3650),
)
SUPPLIES = (("Compression garment", "129.95"), ("Implant pair", "1400.00"), ("Dressing kit", "18.50"), ("Arnica gel", "12.35"))
GROUPS = ("Example Anesthesia", "Harbour Anesthesia Partners")


class Expected(StrEnum):
    """The expected result of a quote."""

    POSTED = "posted"  # a command for an invoice of `amount`; the writer puts it on hold if TotalAmt differs
    ABSENT = "absent"  # no invoice shall exist
    REJECTED = "rejected"  # parked, with a reason for its operator


@dataclass(frozen=True)
class LabelledQuote:
    """A quote as the EMR returns it, and its expected result. `kind` says what is special about it."""

    quote: dict[str, Any]
    kind: str
    expected: Expected
    amount: Decimal = Decimal(0)
    reason: str = ""

    @property
    def number(self) -> int:
        """The quote's number."""
        return int(self.quote["PriceQuoteNo"])


def net_dot(moment: datetime, digits: int) -> str:
    """Format as .NET does, with 0 to 7 fraction digits and a Z."""
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{moment.microsecond:06d}3"[:digits]
    return f"{text}.{fraction}Z" if digits else f"{text}Z"


def amount_of(quote: dict[str, Any]) -> Decimal:
    """The total of a quote's invoice: procedures net, shown supplies, anesthesia and facility fee."""
    zero = Decimal(0)
    total = sum(((p["Amount"] or zero) - (p.get("DiscountAmount") or zero) for p in quote.get("Procedures") or []), zero)
    total += sum((s["UnitCost"] * s["Quantity"] for s in quote.get("Supplies") or [] if s.get("ShowOnQuote")), zero)
    return total + (quote.get("AnesthAmt") or zero) + (quote.get("FacilityAmt") or zero)


def _cents(rng: random.Random, low: int, high: int) -> Decimal:
    return Decimal(rng.randrange(low * 100, high * 100)) / 100


def _procedure(rng: random.Random) -> dict[str, Any]:
    name, base = rng.choice(PROCEDURES)
    amount = Decimal(base) + rng.choice((Decimal(0), Decimal("0.5"), Decimal("49.99"), Decimal("-100")))
    discount = rng.choice((None, Decimal(0), Decimal(100), _cents(rng, 1, 200)))
    return {
        "ProcedureName": name,
        "Amount": amount,
        "DiscountAmount": discount,
        "DiscountPercent": None,
        "DiscountReason": {"Id": 2, "Name": "Cash"} if discount else None,
        "DurationMin": rng.choice((30, 60, 90)),
        "ReportTag": None,
        "ProviderProcedureId": rng.randrange(100, 999),
    }


def _supply(rng: random.Random) -> dict[str, Any]:
    title, cost = rng.choice(SUPPLIES)
    return {
        "ItemTitle": title,
        "UnitCost": Decimal(cost),
        "Quantity": rng.randrange(1, 5),
        "ShowOnQuote": rng.random() < 0.8,
        "Tax": Decimal(0),
        "Inventory": None,
        "Package": None,
        "PaidToFacility": False,
        "IsToDoItem": False,
        "CommissionAmount": None,
        "CommissionPercentage": None,
        "WhenToAddPackageToPatientRegister": None,
        "CreditToStaffId": None,
        "ConfirmedAvailable": True,
        "ReportTag": None,
    }


def _quote(rng: random.Random, number: int, modified: datetime, status: int) -> dict[str, Any]:
    patient = rng.randrange(3000, 3999)
    anesthesia = rng.choice((Decimal(0), Decimal(1600), _cents(rng, 400, 1800)))
    quote: dict[str, Any] = {
        "PriceQuoteId": 78000 + number,
        "PriceQuoteNo": number,
        "Version": rng.randrange(1, 5),
        "ExternalId": None,
        "Title": None,
        "Template": None,
        "Patient": {"Id": patient, "Name": f"{CANARY}{number} {chr(65 + patient % 26)} {rng.choice(SURNAMES)}"},
        "Provider": {"Id": 2, "Name": "Dr Example"},
        "CreatedBy": {"Id": 7, "Name": rng.choice(("Pat Coordinator", "Robin Q Desk", "Sam Front2"))},
        "FacilityLocation": {"Id": 1, "Name": "Main operating room"},
        "PriceQuoteStatus": {"Id": status, "Name": STATUS_NAMES[status]},
        "ModifiedDate": net_dot(modified, rng.randrange(0, 8)),
        "PriceQuoteDate": net_dot(
            modified - timedelta(days=rng.randrange(0, 20), hours=rng.randrange(24)), rng.choice((0, 3, 7))
        ),
        "ExpirationDays": 30,
        "IsSigned": status == 4,
        "IsPaidInFull": False,
        "DocumentId": None,
        "Discount": Decimal(0),
        "DiscountReason": None,
        "CreditAmount": Decimal(0),
        "AnesthAmt": anesthesia,
        "FacilityAmt": rng.choice((Decimal(0), Decimal(1000), _cents(rng, 500, 1500))),
        "DepositPercent": 10,
        "DepositAmount": Decimal(0),
        "OfficePayableAmount": None,
        "AnesthesiaPayable": None,
        "FacilityPayable": None,
        "OfficePayTo": None,
        "FacilityPayTo": None,
        "AnesthPayTo": None,
        "Duration": {"Minutes": 90, "DisplayText": "1 h 30 m"},
        "ProcedureDescription": "As discussed",
        "AnesthesiaType": {"Code": "GA", "Description": "General"},
        "AnesthesiaGroup": {"Id": 5, "Name": rng.choice(GROUPS)} if anesthesia else None,
        "Note": None,
        "HideItemPricing": False,
        "ShowSummaryLine": False,
        "ShowDepositAmount": False,
        "ShowItemizedPayable": False,
        "AllSupplyItemsAvailable": True,
        "DisplayFacilityAnesthIfZero": 0,
        "DisplayConsultationCreditIfZero": 0,
        "IsAnesthAmtSetManually": False,
        "IsFacilityAmtSetManually": False,
        "IsDurationMinSetManually": False,
        "Procedures": [_procedure(rng) for _ in range(rng.randrange(1, 4))],
        "Supplies": [_supply(rng) for _ in range(rng.randrange(0, 3))],
    }
    quote["TotalAmt"] = amount_of(quote)
    return quote


Change = Callable[[dict[str, Any]], None]


def _nulls(quote: dict[str, Any]) -> None:
    for name in ("Supplies", "AnesthAmt", "FacilityAmt", "AnesthesiaGroup", "CreatedBy", "CreditAmount", "Discount", "Duration"):
        quote[name] = None


def _no_lines(quote: dict[str, Any]) -> None:
    quote.update(Procedures=[], Supplies=None, AnesthAmt=Decimal(0), FacilityAmt=None, TotalAmt=Decimal(0))


def _negative_line(quote: dict[str, Any]) -> None:
    quote["Procedures"][0].update(Amount=Decimal(100), DiscountAmount=Decimal("250.25"))


def _seven_digits(quote: dict[str, Any]) -> None:
    quote["ModifiedDate"] = quote["ModifiedDate"][:19] + ".1234567Z"
    quote["PriceQuoteDate"] = quote["PriceQuoteDate"][:19] + ".7654321Z"


def _no_zone(quote: dict[str, Any]) -> None:
    quote["PriceQuoteDate"] = quote["PriceQuoteDate"][:10] + "T01:10:00Z"  # the day before in New York


def _wrong_total(quote: dict[str, Any]) -> None:
    quote["TotalAmt"] += Decimal("10.01")


def _hidden_supplies(quote: dict[str, Any]) -> None:
    quote["Supplies"] = [
        {"ItemTitle": "Kept from the patient", "UnitCost": Decimal("99.99"), "Quantity": 2, "ShowOnQuote": False, "Tax": None},
        {"ItemTitle": "Item X", "UnitCost": Decimal("33.33"), "Quantity": 3, "ShowOnQuote": True, "Tax": Decimal(0)},
    ]


def _status(number: int) -> Change:
    return lambda quote: quote.update(PriceQuoteStatus={"Id": number, "Name": STATUS_NAMES[number]})


# Special completed quotes: name, the change, the expected result, the reason.
SPECIAL: tuple[tuple[str, Change, Expected, str], ...] = (
    ("nulls", _nulls, Expected.POSTED, ""),
    ("unknown_status_2", _status(2), Expected.REJECTED, "its status 2 is not known"),
    ("no_lines", _no_lines, Expected.REJECTED, "completed, but nothing is charged"),
    ("seven_fraction_digits", _seven_digits, Expected.POSTED, ""),
    ("missing_total", lambda quote: quote.update(TotalAmt=None), Expected.POSTED, ""),
    ("negative_line", _negative_line, Expected.REJECTED, "a procedure has a negative amount"),
    ("unknown_status_7", _status(7), Expected.REJECTED, "its status 7 is not known"),
    ("day_before_in_new_york", _no_zone, Expected.POSTED, ""),
    ("wrong_total", _wrong_total, Expected.POSTED, ""),
    ("no_patient", lambda quote: quote.update(Patient=None), Expected.REJECTED, "it has no patient"),
    ("hidden_supplies", _hidden_supplies, Expected.POSTED, ""),
    ("no_status", lambda quote: quote.update(PriceQuoteStatus=None), Expected.REJECTED, "it has no status"),
    ("no_amount", lambda quote: quote["Procedures"][0].update(Amount=None), Expected.REJECTED, "a procedure has no amount"),
)


def generate(count: int, seed: int, *, now: datetime | None = None, first_number: int = 12001) -> list[LabelledQuote]:
    """Return `count` quotes, modified in the hour before `now`, oldest first. The same seed and `now` give the same quotes.

    Of ten, six are completed as they should be, one active, one inactive, and two special (see SPECIAL, in turn).
    """
    rng = random.Random(seed)
    now = now or datetime.now(UTC)
    made: list[LabelledQuote] = []
    special = 0
    for index in range(count):
        modified = now - timedelta(seconds=3600 * (count - index) / max(count, 1), microseconds=rng.randrange(1_000_000))
        slot = index % 10
        quote = _quote(rng, first_number + index, modified, {2: 1, 6: 0}.get(slot, 4))
        if slot in (2, 6):
            made.append(LabelledQuote(quote, "active" if slot == 2 else "inactive", Expected.ABSENT))
        elif slot in (4, 8):
            kind, change, expected, reason = SPECIAL[special % len(SPECIAL)]
            special += 1
            change(quote)
            amount = amount_of(quote) if expected == Expected.POSTED else Decimal(0)
            if kind not in ("missing_total", "wrong_total") and expected == Expected.POSTED:
                quote["TotalAmt"] = amount
            made.append(LabelledQuote(quote, kind, expected, amount, reason))
        else:
            made.append(LabelledQuote(quote, "completed", Expected.POSTED, amount_of(quote)))
    return made
