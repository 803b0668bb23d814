"""`make demo`: start everything, load and edit data, optionally kill services, check the books. Exit status 0 only if correct."""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from bookrelay import topics
from rich.console import Console

from sandbox.demo import report, till
from sandbox.demo.books import Verdict, judge, live_by_token
from sandbox.demo.dataset import CANARY, Dataset, Expectation, build, quote_total, stamp
from sandbox.demo.listening import ReceivedMessages, listen
from sandbox.stack.processes import ProcessFailedError
from sandbox.stack.stack import Stack
from sandbox.system import SERVICES, System

FAST = {  # sources are polled every second; settings that protect the books keep their defaults
    "EMR_POLL_SECONDS": "0.5", "SHEETS_POLL_SECONDS": "0.5", "EMR_OVERLAP_SECONDS": "5", "SHEETS_MISSING_SECONDS": "2",
}  # fmt: skip
SHORT_WAITS = {  # with kills: the protocol's waits, shortened together with the stand-in's limits that they depend on
    "PROTOCOL_TRANSIT_SECONDS": "2", "PROTOCOL_STALENESS_SECONDS": "1", "PROTOCOL_RESEND_WINDOW_SECONDS": "60",
    "PROTOCOL_TOKEN_LIFE_SECONDS": "6", "LEASE_SECONDS": "3", "LEASE_RENEW_SECONDS": "1", "QBO_REQUEST_TIMEOUT_SECONDS": "3",
    "TOKEN_REFRESH_BEFORE_SECONDS": "3",
}  # fmt: skip


class Demo:
    """One run: the system, the data, and the result so far."""

    def __init__(self, system: System, data: Dataset, console: Console, *, seed: int) -> None:
        self.system, self.data, self.console = system, data, console
        self.received = ReceivedMessages()
        self.verdict = Verdict()
        self.rng = random.Random(seed)
        self.kills: dict[str, int] = {}
        self.sheet: dict[str, dict[str, Any]] = {}
        self.slips: list[till.Slip] = []
        self.started = time.monotonic()

    @property
    def expectations(self) -> list[Expectation]:
        """The expected result, after the edits made so far."""
        return (
            [quote.expect for quote in self.data.quotes]
            + [row.expect for row in self.data.rows]
            + [slip.expect for slip in self.slips]
        )

    def say(self, text: str) -> None:
        """Print a line of progress."""
        self.console.print(f"[dim]{time.monotonic() - self.started:5.1f} s[/dim]  {text}")

    # ------------------------------------------------------------------------------------------------------------- feeding

    async def feed(self, slices: int = 1, pause: float = 0.0) -> None:
        """Load the quotes and the rows, optionally in slices over time."""
        for part in range(slices):
            for quote in self.data.quotes[part::slices] if part else ():  # later slices have later times
                quote.body["ModifiedDate"] = stamp(datetime.now(UTC), 7)
            quotes = [plain(q.body) for q in self.data.quotes[part::slices]]
            filled = [{k: plain(v) for k, v in row.cells.items() if v != ""} for row in self.data.rows[part::slices]]
            await self.system.control("emr", "POST", "/quotes", {"quotes": quotes})
            await self.system.control("sheets", "POST", "/rows", {"rows": filled})
            await asyncio.sleep(pause)

    async def feed_till(self, count: int, seed: int) -> None:
        """Publish the messages of a third source."""
        self.slips = till.slips(count, seed, datetime.now(UTC).date())
        await till.publish(self.system.stack.bootstrap_servers, self.realm, self.slips)

    async def pay(self, count: int) -> None:
        """Publish customers' payments of invoices that no longer change, by the keys of their quotes."""
        quotes = [self.data.quotes[i].expect for i in self.data.edits["quote paid"][:count]]
        found = live_by_token(await self.books(), {quote.token for quote in quotes})
        paying = till.paying(quotes, [found["invoice", quote.token][0] for quote in quotes], datetime.now(UTC).date())
        self.slips += paying
        await till.publish(self.system.stack.bootstrap_servers, self.realm, paying)

    async def save_quote(self, index: int, **changes: Any) -> None:
        """Change a quote as a coordinator does: a new version with a new time."""
        quote = self.data.quotes[index]
        quote.body |= changes
        quote.body["Version"] += 1
        quote.body["ModifiedDate"] = stamp(datetime.now(UTC), 7)
        quote.body["TotalAmt"] = quote_total(quote.body)
        await self.system.control("emr", "POST", "/quotes", {"quotes": [plain(quote.body)]})

    async def reprice(self, index: int) -> None:
        """Change the price of a quote's first procedure."""
        body = self.data.quotes[index].body
        procedure = dict(body["Procedures"][0])
        procedure["Amount"] += Decimal("123.45")
        await self.save_quote(index, Procedures=[procedure, *body["Procedures"][1:]])

    async def edit_row(self, index: int, **cells: Any) -> None:
        """Change cells of a row as its owner does, wherever the row is now."""
        row = self.data.rows[index]
        row.cells |= cells
        order = {"where": {"task_descr": row.cells["task_descr"]}, "set": plain(cells), "raw": True}
        await self.system.control("sheets", "POST", "/cells", order)

    async def edit(self) -> None:
        """Simulate people's edits while it runs: prices, withdrawals, completions, corrections, sorting the sheet."""
        edits, quotes, rows = self.data.edits, self.data.quotes, self.data.rows
        for i in edits["quote changes"]:
            await self.reprice(i)
            quotes[i].expect = replace(quotes[i].expect, amount=quote_total(quotes[i].body))
        for i in edits["quote withdrawn"]:
            await self.save_quote(i, PriceQuoteStatus={"Id": 0, "Name": "Inactive"})
            quotes[i].expect = replace(quotes[i].expect, outcome="retracted", amount=None)
        for i in [*edits["quote completed"], *edits["quote repaired"]]:
            await self.save_quote(i, PriceQuoteStatus={"Id": 4, "Name": "Completed"})
            quotes[i].expect = replace(quotes[i].expect, outcome="posted", amount=quote_total(quotes[i].body), why="")
        await self.system.control("sheets", "POST", "/sort", {"column": "inv_dollars"})
        for i in edits["row changes"]:
            amount = (rows[i].expect.amount or Decimal(0)) + Decimal("10.10")
            await self.edit_row(i, inv_dollars=amount)
            rows[i].expect = replace(rows[i].expect, amount=amount)
        changed, withdrawn = self.slips[: len(till.KINDS)], self.slips[len(till.KINDS) : 2 * len(till.KINDS)]
        for slip in changed:
            till.change(slip, (slip.expect.amount or Decimal(0)) + Decimal("1.05"))
        for slip in withdrawn:
            till.withdraw(slip)
        await till.publish(self.system.stack.bootstrap_servers, self.realm, [*changed, *withdrawn])
        for i in edits["row repaired"]:
            amount = Decimal("777.70")
            await self.edit_row(i, inv_dollars=amount, inv_from="ACD", to_client="Northwind Learning")
            rows[i].expect = replace(rows[i].expect, outcome="posted", kind="invoice", amount=amount, why="")

    async def edit_as_bookkeeper(self) -> None:
        """A person changes an invoice in QuickBooks, then its source changes: bookrelay must put it on hold, not overwrite it."""
        for i in self.data.edits["quote changed after a person's edit"]:
            quote = self.data.quotes[i]
            found = live_by_token(await self.books(), {quote.expect.token})[quote.expect.kind, quote.expect.token]
            await self.system.control(
                "qbo", "POST", "/person",
                {"realm": self.realm, "operation": "edit", "entity": "Invoice", "Id": found[0]["Id"],
                 "changes": {"TxnDate": "2026-01-15"}},
            )  # fmt: skip
            await self.reprice(i)
            quote.expect = replace(quote.expect, outcome="held", amount=None, why="a person changed it in QuickBooks")

    # ------------------------------------------------------------------------------------------------------------- looking

    @property
    def realm(self) -> str:
        """The company."""
        return str(self.system.first["qbo"]["realm_id"])

    async def books(self) -> dict[str, Any]:
        """Return the documents in QuickBooks."""
        answer = await self.system.control("qbo", "GET", f"/books?realm={self.realm}")
        return dict(answer.get("entities", answer))

    async def look(self) -> list[str]:
        """Compare everything; return a list of what is missing."""
        self.verdict = judge(self.expectations, await self.books())
        missing = list(self.verdict.lost) + self.verdict.wrong
        missing += [f"{self.verdict.doubles} duplicate documents in QuickBooks"] if self.verdict.doubles else []
        if not missing and self.verdict.difference:
            missing.append(f"the amounts differ by {self.verdict.difference}")
        missing += await self.look_at_sheet()
        rejected = {(e["source"], e["source_key"]) for e in self.received.events.values() if e["end"] == "rejected"}
        for quote in self.data.quotes:
            if quote.expect.outcome == "rejected" and ("4d-emr", str(quote.number)) not in rejected:
                missing.append(f"4D EMR {quote.expect.token}: no reason published")
            if quote.expect.outcome == "held" and not any(
                e["end"] == "held" and e["source_key"] == str(quote.number) for e in self.received.events.values()
            ):
                missing.append(f"4D EMR {quote.expect.token}: not held")
        if self.received.open:
            missing.append(f"{self.received.open} commands not settled")
        return missing

    async def look_at_sheet(self) -> list[str]:
        """Read the sheet as its owner sees it: every row must show its result."""
        grid = (await self.system.control("sheets", "GET", "/grid"))["inv_tbl"]["values"]
        headers = [str(h).lower() for h in grid[0]]
        self.sheet = {}
        for values in grid[1:]:
            cells = dict(zip(headers, values, strict=False))
            if token := next((w for w in str(cells.get("task_descr", "")).split() if w.startswith("#R")), None):
                self.sheet[token] = cells
        missing = []
        for row in self.data.rows:
            expect, cells = row.expect, self.sheet.get(row.expect.token, {})
            prefix = "qb_bill" if expect.kind == "bill" else "qb_invoice"
            status = str(
                cells.get("qb_bill_status" if expect.kind == "bill" else "qb_sync_status", "") or cells.get("qb_sync_status", "")
            )
            if expect.outcome == "posted" and not (
                cells.get(f"{prefix}_id") and cells.get(f"{prefix}_url") and status == "synced"
            ):
                missing.append(f"sheet {expect.token}: id, link or status not written back (status {status or 'empty'})")
            elif expect.outcome == "rejected" and not (
                status == "failed" and (cells.get("qb_error") or cells.get("qb_bill_error"))
            ):
                missing.append(f"sheet {expect.token}: no reason in the row")
        return missing

    async def until_right(self, what: str, seconds: float) -> bool:
        """Check until everything is correct; print the progress."""
        deadline, told = time.monotonic() + seconds, ""
        while True:
            missing = await self.look()
            line = f"{self.received.ends['posted']} posted, {self.received.ends['rejected']} rejected, {len(missing)} to go"
            if line != told:
                self.say(f"{what}: {line}")
                told = line
            if not missing:
                return True
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.3)

    # ------------------------------------------------------------------------------------------------------------- killing

    async def kill_at_random(self, each: int) -> None:
        """SIGKILL every service `each` times, at random moments of its work."""
        await asyncio.gather(*(self._kill(name, each) for name in SERVICES))

    async def _kill(self, name: str, times: int) -> None:
        for _ in range(times):
            await self.system.supervisor[name].wait_ready(60)
            if name == "qbo-writer":  # not at a random time, but in the middle of its requests
                await self._until_requests(await self._requests() + self.rng.randint(1, 25), 20)
            else:
                await asyncio.sleep(self.rng.uniform(0.1, 3.0))
            self.system.supervisor.kill(name)
            self.kills[name] = self.kills.get(name, 0) + 1
            self.say(f"killed {name} ({self.kills[name]})")

    async def _requests(self) -> int:
        return int((await self.system.control("qbo", "GET", "/counters"))["requests"])

    async def _until_requests(self, count: int, seconds: float) -> None:
        """Wait for this many requests to QuickBooks, or until the time is up."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and await self._requests() < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    def leaks(self) -> list[str]:
        """Search every topic's text and every log for a patient's name."""
        found = ["a topic"] if any(CANARY.encode() in text for text in self.received.text) else []
        for path in (self.system.stack.directory / "logs").glob("*.log"):
            if path.name != "standin-emr.log" and CANARY in path.read_text(errors="replace"):
                found.append(path.name)
        return found


def plain(value: Any) -> Any:
    """Convert a value for JSON; amounts keep their digits."""
    if isinstance(value, Decimal):
        return float(value)  # the EMR and the sheet store doubles, which keep two decimal places
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return value


async def run(options: argparse.Namespace, console: Console) -> int:
    """Run the demo; return the exit status."""
    began = time.monotonic()
    specs = [(t.name, t.partitions, t.config()) for t in topics.all_topics()]
    environment = FAST | (SHORT_WAITS if options.kills else {}) | dict(pair.split("=", 1) for pair in options.set)
    with tempfile.TemporaryDirectory(prefix="bookrelay-demo-") as scratch:
        async with Stack(broker=options.broker, topics=specs) as stack:
            now = datetime.now(UTC)
            environment.setdefault("EMR_START_FROM", (now - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ"))
            # The sources start empty; the sheet is polled every half second, more often than Google's quotas allow.
            standin_options = {"emr": ("--quotes", "0"), "sheets": ("--rows", "0", "--no-limits")}
            system = System(stack, Path(scratch), environment=environment, standin_options=standin_options, seed=options.seed)
            demo = Demo(system, build(options.quotes, options.rows, options.seed, now), console, seed=options.seed)
            demo.started = began
            demo.say(f"Postgres and the broker ({options.broker}) are up")
            try:
                return await _run(demo, options)
            except ProcessFailedError as error:
                console.print(f"[red]{error}[/red]")
                return 1
            finally:
                if options.keep_logs:
                    copy_logs(stack.directory / "logs", Path(options.keep_logs))
                await system.close()


async def _run(demo: Demo, options: argparse.Namespace) -> int:
    system = demo.system
    await asyncio.gather(system.start_standins(), system.migrate())
    if options.kills:  # the token's lifetime limits how late a lost sender can send (B), so it is shortened with the waits
        await system.control("qbo", "POST", "/tokens", {"access_seconds": 6})
    if not options.kills:
        await demo.feed()
    await system.register_webhooks()
    demo.say("the stand-ins are up")
    listener = asyncio.create_task(listen(system.stack.bootstrap_servers, demo.received))
    await system.start_services()
    demo.say("the four services are ready")
    killer = asyncio.create_task(demo.kill_at_random(options.kills)) if options.kills else None
    if killer:
        await demo.feed(slices=12, pause=2.0)
    await demo.feed_till(options.slips, options.seed)
    demo.say(f"{options.quotes} quotes, {options.rows} sheet rows and {options.slips} till slips are loaded")
    good = await demo.until_right("first round", options.seconds)
    if good:
        demo.say("people edit: prices, states, corrections, sorting the sheet")
        await demo.edit()
        good = await demo.until_right("after the edits", options.seconds)
    if good:
        demo.say("customers pay")
        await demo.pay(3)
        good = await demo.until_right("after the payments", options.seconds)
    if good:
        demo.say("a bookkeeper changes an invoice in QuickBooks, then its quote changes")
        await demo.edit_as_bookkeeper()
        good = await demo.until_right("after the bookkeeper's edit", options.seconds)
    if killer:
        await killer
        good = await demo.until_right("after the last kill", options.seconds) and good
    missing = await demo.look()
    listener.cancel()
    with suppress(asyncio.CancelledError):
        await listener
    leaks = demo.leaks()
    missing += [f"a patient's name leaked into {place}" for place in leaks]
    figures = summary(demo)
    report.show(demo.console, demo.expectations, demo.verdict, demo.received, demo.sheet, missing, figures)
    print(json.dumps(figures), flush=True)
    return 0 if good and not missing else 1


def summary(demo: Demo) -> dict[str, Any]:
    """Return the figures for the last line."""
    latencies = sorted(demo.received.latencies)
    outcomes = [e.outcome for e in demo.expectations]
    figures: dict[str, Any] = {
        "documents": len(outcomes),
        "posted": outcomes.count("posted") - len(demo.verdict.lost),
        "rejected": outcomes.count("rejected"),
        "held": outcomes.count("held"),
        "doubles": demo.verdict.doubles,
        "lost": len(demo.verdict.lost),
        "off_trace": demo.received.off_trace,
        "difference": str(demo.verdict.difference),
        "latency_ms_p50": percentile(latencies, 50),
        "latency_ms_p95": percentile(latencies, 95),
        "seconds": round(time.monotonic() - demo.started, 1),
    }
    if demo.kills:
        figures["kills"] = demo.kills
        figures["restarts"] = {name: demo.system.supervisor[name].restarts for name in SERVICES}
    return figures


def percentile(values: list[int], share: int) -> int | None:
    """Return a percentile of sorted values; None without values."""
    if len(values) < 2:
        return values[0] if values else None
    return round(statistics.quantiles(values, n=100, method="inclusive")[share - 1])


def copy_logs(source: Path, target: Path) -> None:
    """Keep the logs of a run."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.glob("*.log"):
        (target / path.name).write_bytes(path.read_bytes())


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make demo", description="The whole flow once, end to end, checked against the books.")
    parser.add_argument("--broker", choices=("embedded", "kafka"), default="embedded")
    parser.add_argument("--quotes", type=int, default=60)
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--slips", type=int, default=12, help="sales receipts, credit memos and vendor credits")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--kills", type=int, default=0, help="number of SIGKILLs for each service, at random moments")
    parser.add_argument("--seconds", type=float, default=60, help="time limit of each part")
    parser.add_argument("--keep-logs", metavar="DIRECTORY", help="copy the logs there")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting for all services")
    return parser.parse_args(arguments)


def main() -> None:
    """Run and exit."""
    options = parse()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 130)
    try:
        status = asyncio.run(run(options, console))
    except KeyboardInterrupt:
        status = 130
    except ProcessFailedError as error:
        print(f"demo: {error}", file=sys.stderr)
        status = 1
    sys.exit(status)


if __name__ == "__main__":
    main()
