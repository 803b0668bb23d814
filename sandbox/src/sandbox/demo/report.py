"""The table at the end of the demo."""

from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from sandbox.demo.books import Verdict
from sandbox.demo.dataset import Expectation
from sandbox.demo.listening import ReceivedMessages

OUTCOMES = ("posted", "retracted", "held", "rejected", "left out")


def show(
    console: Console,
    expectations: list[Expectation],
    verdict: Verdict,
    received: ReceivedMessages,
    sheet: dict[str, dict[str, Any]],
    missing: list[str],
    figures: dict[str, Any],
) -> None:
    """Print documents, amounts, latencies, invalid rows with their reasons, and what is missing."""
    console.print()
    console.print(documents(expectations, verdict))
    console.print(reasons(expectations, received, sheet))
    console.print(
        f"From a command to its document in QuickBooks: p50 {figures['latency_ms_p50']} ms, p95 {figures['latency_ms_p95']} ms. "
        f"Commands ended: " + ", ".join(f"{n} {end}" for end, n in sorted(received.ends.items())) + "."
    )
    if missing:
        console.print(f"[red]Missing or wrong ({len(missing)}):[/red]")
        for line in missing[:30]:
            console.print(f"  [red]{line}[/red]")
    else:
        console.print("[green]The books are correct: no duplicates, nothing lost, difference 0.00.[/green]")


def documents(expectations: list[Expectation], verdict: Verdict) -> Table:
    """Return documents by source, kind and outcome, with the amounts at both ends."""
    table = Table(title="Documents, and the amounts at the source and in QuickBooks", title_justify="left")
    table.add_column("source")
    table.add_column("kind")
    for outcome in OUTCOMES:
        table.add_column(outcome, justify="right")
    for column in ("at the source", "in QuickBooks", "difference"):
        table.add_column(column, justify="right")
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for expected in expectations:
        counts[expected.source, expected.kind][expected.outcome] += 1
    for where in sorted(counts):
        source, books = verdict.at_source[where], verdict.in_books[where]
        numbers = [str(counts[where][outcome]) for outcome in OUTCOMES]
        table.add_row(where[0], where[1].replace("_", " "), *numbers, f"{source:,.2f}", f"{books:,.2f}", f"{source - books:,.2f}")
    source, books = sum(verdict.at_source.values(), Decimal(0)), sum(verdict.in_books.values(), Decimal(0))
    totals = [str(sum(c[outcome] for c in counts.values())) for outcome in OUTCOMES]
    table.add_section()
    table.add_row("all", "", *totals, f"{source:,.2f}", f"{books:,.2f}", f"{source - books:,.2f}")
    return table


def reasons(expectations: list[Expectation], received: ReceivedMessages, sheet: dict[str, dict[str, Any]]) -> Table:
    """Return every document that was not posted, with the reason that its operator sees, and where."""
    table = Table(title="Documents that were not posted, as their operators see them", title_justify="left")
    for column in ("document", "outcome", "problem", "reason shown", "where"):
        table.add_column(column, overflow="fold")
    told = {e["source_key"]: e for e in received.events.values()}
    for expected in expectations:
        if expected.outcome not in ("rejected", "held"):
            continue
        cells, event = sheet.get(expected.token, {}), told.get(expected.token.removeprefix("#"), {})
        in_row = str(cells.get("qb_error") or cells.get("qb_bill_error") or "")
        in_event = f"{event.get('code', '')} {event.get('reason', '')} {event.get('fix', '')}".strip()
        where = "row" if in_row else "event" if in_event else "-"
        table.add_row(f"{expected.source} {expected.token}", expected.outcome, expected.why, in_row or in_event or "-", where)
    return table
