"""What the watcher's tests share: the Sheets stand-in, a person who edits, the watcher's parts, a service as a process."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
from bookrelay.db import Pool
from bookrelay.kafka import Publisher
from bookrelay.messages import (
    AnyMessage,
    BillPosted,
    BillPostedData,
    InvoicePosted,
    InvoicePostedData,
    Outcome,
    UpsertBill,
    UpsertInvoice,
    adapter,
)
from bookrelay.source.outgoing import Outgoing
from bookrelay.topics import Topic
from google.auth.transport.requests import Request
from google.oauth2.service_account import Credentials
from running import read_topic
from sheet_watcher.domain import SCHEMA
from sheet_watcher.polling import Polling, rules_of
from sheet_watcher.settings import Settings
from sheet_watcher.sheets_client import SheetsClient
from sheet_watcher.store import Store

HEADERS = ("invoice", "submitted_date", "to_client", "inv_from", "task_descr", "status", "inv_dollars", "notes")


@dataclass
class Book:
    """The spreadsheet, edited by a person through Google's API; and the stand-in's controls."""

    base_url: str
    control_url: str
    spreadsheet_id: str
    credentials_file: str
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))
    _token: str | None = None

    def _api(self, method: str, path: str, **request: Any) -> Any:
        if self._token is None:
            make: Any = Credentials.from_service_account_file
            credentials = make(self.credentials_file, scopes=["https://www.googleapis.com/auth/spreadsheets"])
            credentials.refresh(Request())
            self._token = str(credentials.token)
        if "json" in request:  # as ASCII: httpx cannot write half a character, and a cell can hold one
            request["content"] = json.dumps(request.pop("json")).encode()
        answer = self.http.request(
            method, f"{self.base_url}/v4/spreadsheets/{self.spreadsheet_id}{path}",
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}, **request,
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        return answer.json()

    def control(self, method: str, what: str, order: Any = None) -> Any:
        answer = self.http.request(method, f"{self.control_url}/{what}", json=order)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def fault(self, **fault: Any) -> None:
        self.control("POST", "faults", fault)

    def begin(self, *rows: dict[str, Any], headers: Sequence[str] = HEADERS) -> None:
        """Make the worksheet hold these rows and nothing else."""
        self._api("POST", "/values/inv_tbl:clear", json={})
        self.put("A1", [list(headers)])
        if rows:
            self.add(*rows)

    def put(self, where: str, values: list[list[Any]], option: str = "RAW") -> None:
        self._api("PUT", f"/values/inv_tbl!{where}", params={"valueInputOption": option}, json={"values": values})

    def type(self, at: int, **cells: str) -> None:
        """Type cells as a person does: Sheets makes numbers and dates of them."""
        names = [str(name).casefold() for name in self.values()[0]]
        for name, text in cells.items():
            self.put(f"{letter(names.index(name))}{at}", [[text]], "USER_ENTERED")

    def add(self, *rows: dict[str, Any]) -> None:
        values = self.values()
        self.put(f"A{len(values) + 1}", [[row.get(name.casefold(), "") for name in values[0]] for row in rows])

    def values(self, option: str = "UNFORMATTED_VALUE") -> list[list[Any]]:
        answer = self._api("GET", "/values/inv_tbl", params={"valueRenderOption": option})
        return [list(row) for row in answer.get("values", [])]

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows by folded header, every header there; `at` is the row's number."""
        header, *rows = self.values()
        names = [str(name).casefold() for name in header]
        return [{"at": n, **{k: (row[i] if i < len(row) else "") for i, k in enumerate(names)}} for n, row in enumerate(rows, 2)]

    def row(self, invoice: str) -> dict[str, Any]:
        (found,) = [row for row in self.rows() if row["invoice"] == invoice]
        return found

    def set(self, at: int, **cells: Any) -> None:
        names = [str(name).casefold() for name in self.values()[0]]
        for name, value in cells.items():
            self.put(f"{letter(names.index(name))}{at}", [[value]])

    def change(self, *requests: dict[str, Any]) -> None:
        """Structural requests on the worksheet; {sheet} is filled in."""
        sheets = self._api("GET", "", params={"fields": "sheets.properties"})["sheets"]
        (sheet,) = [s["properties"]["sheetId"] for s in sheets if s["properties"]["title"] == "inv_tbl"]
        text = json.dumps(list(requests)).replace('"{sheet}"', str(sheet))
        self._api("POST", ":batchUpdate", json={"requests": json.loads(text)})

    def sort(self, column: int, *, descending: bool = False) -> None:
        count, width = len(self.values()), max(len(row) for row in self.values())
        area = {"sheetId": "{sheet}", "startRowIndex": 1, "endRowIndex": count, "startColumnIndex": 0, "endColumnIndex": width}
        order = "DESCENDING" if descending else "ASCENDING"
        self.change({"sortRange": {"range": area, "sortSpecs": [{"dimensionIndex": column, "sortOrder": order}]}})

    def insert(self, before: int, dimension: str = "ROWS") -> None:
        span = {"sheetId": "{sheet}", "dimension": dimension, "startIndex": before - 1, "endIndex": before}
        self.change({"insertDimension": {"range": span, "inheritFromBefore": False}})

    def delete(self, at: int) -> None:
        span = {"sheetId": "{sheet}", "dimension": "ROWS", "startIndex": at - 1, "endIndex": at}
        self.change({"deleteDimension": {"range": span}})

    def copy(self, at: int) -> None:
        """Copy a whole row to the end, as a person does with Ctrl-C and Ctrl-V."""
        values = self.values()
        self.put(f"A{len(values) + 1}", [values[at - 1]])

    def requests(self, path: str) -> list[dict[str, Any]]:
        return [r for r in self.control("GET", "requests") if path in r["path"]]


def letter(column: int) -> str:
    return chr(65 + column) if column < 26 else letter(column // 26 - 1) + chr(65 + column % 26)


def row(invoice: str, **cells: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "invoice": invoice, "submitted_date": "2026-04-01", "to_client": "Northwind", "inv_from": "ACD",
        "task_descr": f"Work {invoice}",
        "status": "submitted", "inv_dollars": 100.5, "notes": "PO 7",
    }  # fmt: skip
    return base | cells


@dataclass
class Watcher:
    """The watcher's parts in this process: `poll` reads once, `settle` until nothing follows."""

    settings: Settings
    polling: Polling
    store: Store
    relay: Outgoing
    pool: Pool

    async def settle(self) -> None:
        for _ in range(10):
            if not await self.polling.poll():
                break
        else:
            raise AssertionError("the sheet does not come to rest")
        await self.relay.step()

    async def let_time_pass(self) -> None:
        """What is missing from the sheet has been missing for an hour."""
        await self.pool.execute("UPDATE sheet_watcher.rows SET missing_since = missing_since - interval '1 hour'")

    async def messages(self, topic: Topic) -> list[AnyMessage]:
        return await read_topic(self.settings.kafka_bootstrap_servers, topic, self.settings.qbo_realm_id)

    async def answer_all(self) -> None:
        """Store the end of every upsert in the outbox, as the consumer would."""
        values = await self.pool.fetch("SELECT value FROM sheet_watcher.outbox WHERE topic = 'billing.commands.v1' ORDER BY id")
        commands = [adapter((UpsertInvoice, UpsertBill)).validate_json(v[0]) for v in values if "upsert" in v[0]]
        from sheet_watcher.handlers import on_event

        ends = [on_event(posted(c), realm=self.settings.qbo_realm_id, source="sheet") for c in commands]
        await self.store.record([end for end in ends if end])


@asynccontextmanager
async def watcher_of(environment: Mapping[str, str], pool: Pool, publisher: Publisher) -> AsyncIterator[Watcher]:
    """The watcher in this process."""
    settings = Settings.load(environment)
    client = SheetsClient(settings, settings.service_account())
    outgoing = Outgoing(pool, SCHEMA, publisher)
    store = Store(outgoing, settings.qbo_realm_id, settings.sheets_source, settings.sheets_spreadsheet_id)
    polling = Polling(settings, rules_of(settings), client, store)
    try:
        yield Watcher(settings, polling, store, outgoing, pool)
    finally:
        await client.close()


def posted(command: AnyMessage) -> AnyMessage:
    """Return the writer's answer to an upsert; the QuickBooks id can be worked out from the content."""
    data = command.data
    common: dict[str, Any] = {
        "realm": data.realm, "source": data.source, "source_key": data.source_key, "version": data.version,
        "command_id": command.id,
        "outcome": Outcome.CREATED, "qbo_id": qbo_id(data.content.lines[0].description), "sync_token": "0",
        "url": f"https://qbo.example/{data.source_key}", "total": Decimal(data.content.total),
    }  # fmt: skip
    if isinstance(command, UpsertBill):
        return BillPosted.of(BillPostedData(**common), sender="qbo-writer", time=datetime.now(UTC))
    return InvoicePosted.of(InvoicePostedData(**common), sender="qbo-writer", time=datetime.now(UTC))


def qbo_id(description: str | None) -> str:
    """A made-up QuickBooks id that follows from the row's content: a result in the wrong row is seen at once."""
    return f"id of {description}"
