"""The demo's data: quotes and sheet rows with their expected results, computed here and not by the services.

Every document carries a token in the description of a line ("#12082", "#R017"), by which it is found in the books.
"""

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

CANARY = "Zzcanary"  # every patient's first name: it must appear only in the EMR
SURNAMES = ("Abara", "Brandt", "Castillo", "Dubois", "Eriksen", "Fontana", "Grieg", "Haddad", "Ivanova", "Jansen")
PROCEDURES = ("Septoplasty", "Rhinoplasty", "Blepharoplasty", "Otoplasty", "Facelift", "Scar revision", "Brow lift")
CLIENTS = ("Northwind Learning", "O'Hara & Sons", "Contoso Training", "Fabrikam Ltd.", "Adatum GmbH", "Tailspin Académie")
COURSES = ("Python basics", "Kafka in practice", "Data modelling", "Terraform", "Statistics")
OUR_COMPANY = "ACD"
VENDORS = ("Accelebrate", "BHanalytics", "VendorXYZ")


@dataclass(frozen=True)
class Expectation:
    """The expected result. `outcome`: posted, retracted, rejected, held, or left out (there is no command)."""

    source: str  # "4D EMR" | "sheet" | "till"
    token: str
    kind: str  # as messages name it
    outcome: str
    amount: Decimal | None = None
    why: str = ""


@dataclass
class Quote:
    """A quote as stored in the EMR, and its expected result."""

    body: dict[str, Any]
    expect: Expectation

    @property
    def number(self) -> int:
        """The quote's number."""
        return int(self.body["PriceQuoteNo"])


@dataclass
class Row:
    """A sheet row by header name, and its expected result."""

    cells: dict[str, Any]
    expect: Expectation


@dataclass
class Dataset:
    """The demo's data. `edits` lists the changes made while it runs."""

    quotes: list[Quote]
    rows: list[Row]
    edits: dict[str, list[int]] = field(default_factory=dict)


def cents(rng: random.Random, low: int, high: int) -> Decimal:
    """Return a random amount with cents."""
    return Decimal(rng.randint(low * 100, high * 100)) / 100


def quote_total(body: dict[str, Any]) -> Decimal:
    """Return the expected amount of a quote's invoice (4d.qbo's rule)."""
    total = Decimal(0)
    for procedure in body.get("Procedures") or []:
        total += (procedure["Amount"] or Decimal(0)) - (procedure.get("DiscountAmount") or Decimal(0))
    for supply in body.get("Supplies") or []:
        if supply["ShowOnQuote"]:
            total += supply["UnitCost"] * supply["Quantity"]
    return total + (body.get("AnesthAmt") or Decimal(0)) + (body.get("FacilityAmt") or Decimal(0))


def _quote_body(rng: random.Random, number: int, status: int, modified: datetime) -> dict[str, Any]:
    token = f"#{number}"
    names = {0: "Inactive", 1: "Active", 4: "Completed", 7: "Under review"}
    body: dict[str, Any] = {
        "PriceQuoteId": 80_000 + number, "PriceQuoteNo": number, "Version": rng.randint(1, 3), "ExternalId": None,
        "ModifiedDate": stamp(modified, rng.choice((0, 3, 7))), "PriceQuoteDate": stamp(modified - timedelta(days=1), 0),
        "PriceQuoteStatus": {"Id": status, "Name": names.get(status, "?")},
        "Patient": {"Id": 3000 + number, "Name": f"{CANARY} {rng.choice('QRST')} {rng.choice(SURNAMES)}"},
        "Provider": {"Id": 2, "Name": "Dr Example"}, "CreatedBy": {"Id": 7, "Name": "Pat Coordinator"},
        "Duration": {"Minutes": 90, "DisplayText": "1 h 30 m"}, "ProcedureDescription": "see lines",
        "Discount": Decimal("0.0"), "CreditAmount": None, "AnesthesiaGroup": {"Id": 5, "Name": "Example Anesthesia"},
        "AnesthAmt": rng.choice((None, Decimal("0.0"), Decimal("1600.0"))), "FacilityAmt": rng.choice((None, Decimal("950.5"))),
        "Procedures": [
            {"ProcedureName": f"{rng.choice(PROCEDURES)} {token}", "Amount": cents(rng, 500, 6000),
             "DiscountAmount": rng.choice((None, Decimal("100.0")))}
        ],
        "Supplies": rng.choice((
            None, [],
            [{"ItemTitle": "Dressing set", "UnitCost": cents(rng, 5, 40), "Quantity": rng.randint(1, 6), "ShowOnQuote": True},
             {"ItemTitle": "Internal", "UnitCost": Decimal("9.99"), "Quantity": 1, "ShowOnQuote": False, "Tax": None}],
        )),
    }  # fmt: skip
    body["TotalAmt"] = quote_total(body)
    return body


def stamp(moment: datetime, digits: int) -> str:
    """Write a time as the EMR does: UTC with Z and 0 to 7 fraction digits."""
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{(f'{moment.microsecond:06d}' + '0')[:digits]}Z" if digits else f"{text}Z"


def quotes(count: int, seed: int, now: datetime) -> list[Quote]:
    """Return `count` quotes in all states: of 60 about 36 completed, 10 active, 6 inactive, 8 broken or odd."""
    rng, result = random.Random(seed), []
    for i in range(count):
        number, slot = 12_000 + i, i % 20
        status = 4 if slot < 12 else 1 if slot < 15 else 0 if slot < 17 else 4
        body = _quote_body(rng, number, status, now - timedelta(minutes=30) + timedelta(seconds=i))
        made = Expectation("4D EMR", f"#{number}", "invoice", "posted" if status == 4 else "left out", quote_total(body))
        if slot == 17:
            body |= {"Procedures": [], "Supplies": None, "AnesthAmt": None, "FacilityAmt": Decimal("0.0")}
            made = replace(made, outcome="rejected", why="no lines")
        elif slot == 18:
            body["PriceQuoteStatus"] = {"Id": 7, "Name": "Under review"}
            made = replace(made, outcome="rejected", why="unknown status")
        elif slot == 19 and i % 40 == 19:
            body["Procedures"][0]["Amount"] = None
            made = replace(made, outcome="rejected", why="a procedure without an amount")
        elif slot == 19:  # unusual but valid: nulls wherever they are allowed, 7 fraction digits
            body |= {"Supplies": None, "AnesthAmt": None, "FacilityAmt": None, "AnesthesiaGroup": None, "Discount": None}
            body["ModifiedDate"] = stamp(now - timedelta(minutes=20), 7)
            body["TotalAmt"] = quote_total(body)
            made = replace(made, amount=quote_total(body))
        if made.outcome == "left out":
            made = replace(made, amount=None)
        result.append(Quote(body, made))
    return result


def rows(count: int, seed: int, today: date) -> list[Row]:
    """Return `count` sheet rows in both directions: of 60 about 27 invoices, 18 bills, 9 broken, 6 not for us."""
    rng, result = random.Random(seed + 1), []
    for i in range(count):
        token, slot = f"#R{i:03d}", i % 20
        bill = slot in (9, 10, 11, 12, 13, 14)
        amount = cents(rng, 200, 9000)
        submitted = today - timedelta(days=rng.randint(1, 60))
        cells: dict[str, Any] = {
            "invoice": f"INV-{2000 + i}" if slot % 3 else f"https://docs.example.com/invoices/{2000 + i}/view?usp=sharing",
            "submitted_date": rng.choice((submitted.isoformat(), submitted.strftime("%m/%d/%Y"), submitted.strftime("%m/%d/%y"))),
            "year": submitted.year, "to_client": "" if bill else rng.choice(CLIENTS), "end_client": rng.choice(CLIENTS),
            "inv_from": rng.choice(VENDORS) if bill else OUR_COMPANY, "job_name": "Delivery",
            "task_descr": f"{rng.choice(COURSES)} {token}", "worker": "W. Example",
            "status": rng.choice(("submitted", "pending", "Submitted")), "notes": f"PO {7000 + i}",
            "inv_dollars": rng.choice((amount, f"${amount:,.2f}", f"{amount:.2f}")),
        }  # fmt: skip
        made = Expectation("sheet", token, "bill" if bill else "invoice", "posted", amount)
        if slot == 15:
            cells["inv_dollars"] = ""
            made = replace(made, outcome="rejected", amount=None, why="no amount")
        elif slot == 16:
            cells["inv_from"] = "Somebody New"
            made = replace(made, outcome="rejected", amount=None, why="unknown direction")
        elif slot == 17:
            cells["submitted_date"] = "sometime in May"
            made = replace(made, outcome="rejected", amount=None, why="unreadable date")
        elif slot in (18, 19):
            cells["status"] = "unsubmitted" if slot == 18 else "paid"
            made = replace(made, outcome="left out", amount=None)
        result.append(Row(cells, made))
    return result


def build(quote_count: int, row_count: int, seed: int, now: datetime) -> Dataset:
    """Return the dataset, including which documents are edited while the demo runs."""
    made = Dataset(quotes(quote_count, seed, now), rows(row_count, seed, now.date()))
    completed = [i for i, q in enumerate(made.quotes) if q.expect.outcome == "posted"]
    active = [i for i, q in enumerate(made.quotes) if q.body["PriceQuoteStatus"]["Id"] == 1]
    unknown = [i for i, q in enumerate(made.quotes) if q.expect.why == "unknown status"]
    posted = [i for i, r in enumerate(made.rows) if r.expect.outcome == "posted"]
    broken = [i for i, r in enumerate(made.rows) if r.expect.outcome == "rejected"]
    made.edits = {
        "quote changes": completed[:4], "quote withdrawn": completed[4:7], "quote completed": active[:3],
        "quote repaired": unknown[:1],
        "quote changed after a person's edit": completed[7:8], "quote paid": completed[8:11],
        "row changes": posted[:3], "row repaired": broken[:2],
    }  # fmt: skip
    return made
