"""Synthetic rows of `inv_tbl` in both directions, some invalid on purpose, each with its expected result."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

# The 36 headers of the real sheet, in its order and mixed case.
HEADERS = (
    "invoice", "inv_link", "submitted_date", "year", "Inv_paid_date", "inv_paid_link", "job_start", "Job_end", "to_client",
    "broker_chain", "inv_from", "end_client", "job_name", "task_descr", "worker", "status", "inv_dollars", "net_pay",
    "payment_total", "ACD_Account_delta", "ACD_Acct_date", "owed2acd", "owed2workers", "Employer_taxes", "total_taxes",
    "payment_fees", "thread", "follow_up", "notes", "eteam_id", "reggie_id", "qb_invoice_id", "qb_invoice_url",
    "qb_sync_status", "qb_synced_at", "qb_error",
)  # fmt: skip
# What the directions file should say for these rows.
DIRECTIONS: dict[str, Any] = {
    "money_in": ["ACD"],
    "money_out": ["Accelebrate", "BHanalytics", "VendorXYZ"],
    "aliases": {"acd inc": "ACD"},
}
CLIENTS = ("Harbour Legal LLP", "City Museum", "Ünlü & Söhne GmbH", "Orchard Health", "Lakeside Schools")
JOBS = ("Interpreting, two days", "Site survey", "Deposition", "Conference booth", "Translation of 40 pages")


@dataclass(frozen=True)
class SerialDate:
    """A date as stored in a sheet: a number displayed as a date."""

    day: date


class Expected(StrEnum):
    """The expected result of a row."""

    POSTED = "posted"  # an invoice (money in) or a bill (money out) of `amount`
    REJECTED = "rejected"  # a reason in the row
    IGNORED = "ignored"  # its status is not eligible


@dataclass(frozen=True)
class LabelledRow:
    """A row by header, and its expected result. `tag` is unique, and is in its `eteam_id`."""

    tag: str
    values: dict[str, Any]
    kind: str
    expected: Expected
    document: str = "invoice"  # or bill
    amount: Decimal = Decimal(0)
    reason: str = ""

    def cells(self, headers: tuple[str, ...] | list[str] = HEADERS) -> list[Any]:
        """The row's cells in the order of `headers`, None where empty."""
        return [self.values.get(header) for header in headers]


def _shown_amount(rng: random.Random, amount: Decimal, turn: int) -> Any:
    return (amount, f"${amount:,.2f}", f"{amount:,.2f}", f" ${amount:.2f} ", amount)[turn % 5]


def _shown_date(day: date, turn: int) -> Any:
    forms = (day.isoformat(), f"{day:%m/%d/%Y}", f"{day:%m/%d/%y}", SerialDate(day), f"{day.month}/{day.day}/{day.year}")
    return forms[turn % len(forms)]


def _row(rng: random.Random, index: int, tag: str, today: date) -> LabelledRow:
    out = index % 3 == 2
    amount = Decimal(rng.randrange(5_000, 900_000)) / 100
    submitted = today - timedelta(days=rng.randrange(1, 90))
    values: dict[str, Any] = {
        "invoice": f"INV-{tag}",
        "inv_link": f"https://docs.example.invalid/invoices/{tag}",
        "submitted_date": _shown_date(submitted, index),
        "year": submitted.year,
        "Inv_paid_date": _shown_date(submitted + timedelta(days=30), index + 1) if index % 2 else None,
        "job_start": (submitted - timedelta(days=9)).isoformat(),
        "Job_end": (submitted - timedelta(days=7)).isoformat(),
        "to_client": CLIENTS[rng.randrange(len(CLIENTS))] if index % 4 else None,
        "end_client": CLIENTS[rng.randrange(len(CLIENTS))],
        "broker_chain": "ACD > client" if rng.random() < 0.3 else None,
        "inv_from": rng.choice(DIRECTIONS["money_out" if out else "money_in"]),
        "job_name": f"{rng.choice(JOBS)} {tag}",
        "task_descr": rng.choice((None, "As agreed", "=not a formula")),
        "worker": "Worker One",
        "status": ("submitted", "pending", "Submitted")[index % 3],
        "inv_dollars": _shown_amount(rng, amount, index),
        "net_pay": amount * Decimal("0.8"),
        "notes": rng.choice((None, "Thank you", "Net 30")),
        "thread": None,
        "eteam_id": tag,
    }
    return LabelledRow(tag, values, "plain", Expected.POSTED, "bill" if out else "invoice", amount)


Change = Callable[[dict[str, Any]], None]
# Special rows: name, the change, the expected result, the reason.
SPECIAL: tuple[tuple[str, Change, Expected, str], ...] = (
    ("no_amount", lambda v: v.update(inv_dollars=None), Expected.REJECTED, "inv_dollars is empty"),
    ("unknown_direction", lambda v: v.update(inv_from="Somebody Else"), Expected.REJECTED, "inv_from is not known"),
    ("unreadable_date", lambda v: v.update(submitted_date="the 5th of May"), Expected.REJECTED, "submitted_date is not a date"),
    ("no_key", lambda v: v.update(invoice=None, inv_link=None), Expected.POSTED, ""),
    ("link_as_key", lambda v: v.update(invoice=None), Expected.POSTED, ""),
    ("duplicate_key", lambda v: v.update(invoice="INV-same"), Expected.POSTED, ""),
    ("paid", lambda v: v.update(status="paid"), Expected.IGNORED, "its status asks for no document"),
    ("blank_direction", lambda v: v.update(inv_from=None), Expected.REJECTED, "inv_from is empty"),
    ("amount_is_words", lambda v: v.update(inv_dollars="TBD"), Expected.REJECTED, "inv_dollars is not an amount"),
    ("duplicate_key", lambda v: v.update(invoice="INV-same"), Expected.POSTED, ""),
    ("unsubmitted", lambda v: v.update(status="unsubmitted"), Expected.IGNORED, "its status asks for no document"),
    ("alias_direction", lambda v: v.update(inv_from="Acd INC"), Expected.POSTED, ""),
    ("negative_amount", lambda v: v.update(inv_dollars="-$120.00"), Expected.REJECTED, "inv_dollars is less than zero"),
    ("no_client", lambda v: v.update(to_client=None, end_client=None, inv_from="ACD"), Expected.REJECTED, "there is no customer"),
)


def generate(count: int, seed: int, *, today: date | None = None, broken: bool = True, tag: str = "S") -> list[LabelledRow]:
    """Return `count` rows, one in three money out. Every fourth is special (see SPECIAL, in turn) unless `broken` is False.

    The same seed and `today` give the same rows.
    """
    rng = random.Random(seed)
    today = today or datetime.now(UTC).date()
    rows = []
    special = 0
    for index in range(count):
        row = _row(rng, index, f"{tag}{seed}-{index + 1:04d}", today)
        if broken and index % 4 == 3:
            kind, change, expected, reason = SPECIAL[special % len(SPECIAL)]
            special += 1
            change(row.values)
            document = "bill" if row.values["inv_from"] in DIRECTIONS["money_out"] else "invoice"
            amount = row.amount if expected is Expected.POSTED else Decimal(0)
            row = LabelledRow(row.tag, row.values, kind, expected, document, amount, reason)
        rows.append(row)
    return rows
