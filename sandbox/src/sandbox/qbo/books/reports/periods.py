"""Report dates: macros ("This Fiscal Year-to-date") and the columns that a range is split into."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import date, timedelta

from sandbox.qbo.rules.faults import Fault

MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Period:
    """A closed range of days with the title of its column."""

    start: date
    end: date
    title: str


def parse_day(text: str, name: str) -> date:
    """A `YYYY-MM-DD` parameter; Fault 2060 for anything else."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise Fault("2060", element=name, value=text) from None


def month_end(day: date) -> date:
    """Last day of the month."""
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


def add_months(day: date, months: int) -> date:
    """The same day of another month; the last day where it has no such day."""
    index = day.year * 12 + day.month - 1 + months
    year, month = divmod(index, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def fiscal_start(day: date, first_month: int) -> date:
    """First day of the fiscal year that holds a day."""
    year = day.year if day.month >= first_month else day.year - 1
    return date(year, first_month, 1)


def _unit(unit: str, today: date, first_month: int) -> tuple[date, date]:
    """The running week (Sunday to Saturday), month, quarter or year."""
    if unit == "day":
        return today, today
    if unit == "week":
        start = today - timedelta(days=(today.weekday() + 1) % 7)
        return start, start + timedelta(days=6)
    if unit == "month":
        return today.replace(day=1), month_end(today)
    origin = fiscal_start(today, first_month if unit.startswith("fiscal") else 1)
    if unit.endswith("quarter"):
        months = (today.year - origin.year) * 12 + today.month - origin.month
        start = add_months(origin, months // 3 * 3)
        return start, month_end(add_months(start, 2))
    return origin, month_end(add_months(origin, 11))


def _shift(unit: str, today: date, count: int) -> date:
    if unit == "day":
        return today + count * DAY
    if unit == "week":
        return today + timedelta(days=7 * count)
    return add_months(today, count * (1 if unit == "month" else 3 if unit.endswith("quarter") else 12))


def macro(text: str, today: date, first_month: int) -> tuple[date, date]:
    """Range of a date macro, compared without regard to case and blanks; Fault 2170 for an unknown one."""
    plain = re.sub(r"[\s_-]+", "", text.lower())
    if plain in {"all", "alldates"}:
        return date(1970, 1, 1), today
    if plain in {"today", "yesterday"}:
        day = today if plain == "today" else today - DAY
        return day, day
    match = re.fullmatch(
        r"(this|last|next)(4?)(week|month|fiscalquarter|calendarquarter|quarter|fiscalyear|calendaryear|year)s?(todate)?", plain
    )
    if match is None:
        raise Fault("2170", element="date_macro", value=text)
    which, four, unit, to_date = match.groups()
    moment = _shift(unit, today, {"this": 0, "last": -1, "next": 1}[which])
    start, end = _unit(unit, moment, first_month)
    if four:  # "Next 4 Weeks"
        end = start + timedelta(days=27)
    if to_date:
        end = min(moment, end)
    return start, end


SPLITS = {
    "total": "total",
    "day": "day",
    "days": "day",
    "week": "week",
    "weeks": "week",
    "month": "month",
    "months": "month",
    "quarter": "fiscalquarter",
    "quarters": "fiscalquarter",
    "year": "fiscalyear",
    "years": "fiscalyear",
}


def split(start: date, end: date, unit: str, first_month: int) -> list[Period]:
    """The columns of a range: whole weeks, months, quarters or years, cut off at its ends. At most 1,500 columns."""
    out: list[Period] = []
    cursor = start
    while cursor <= end:
        last = min(_unit(unit, cursor, first_month)[1], end)
        out.append(Period(cursor, last, _title(unit, cursor, last)))
        cursor = last + DAY
        if len(out) > 1500:  # the ceiling of about 400,000 cells shows as a gateway time-out
            raise Fault("6002")
    return out


def _title(unit: str, start: date, end: date) -> str:
    short = MONTHS[start.month - 1][:3]
    if unit == "day":
        return f"{short} {start.day}, {start.year}"
    if unit == "month" and start.day == 1 and end == month_end(start):
        return f"{short} {start.year}"
    if unit in {"month", "week"}:
        if (start.year, start.month) == (end.year, end.month):
            return f"{short} {start.day} - {end.day}, {start.year}"
        return f"{short} {start.day} - {MONTHS[end.month - 1][:3]} {end.day}, {end.year}"
    return f"{short} - {MONTHS[end.month - 1][:3]}, {end.year}"
