"""Parts for tests of the writer: the QuickBooks stand-in in a process, the ledger's tables, a writer that runs in the test."""

import asyncio
import json
import math
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import httpx
from bookrelay.db import Pool, open_pool
from bookrelay.kafka import Received
from bookrelay.messages import (
    BillContent,
    BillLine,
    InvoiceContent,
    InvoiceLine,
    Kind,
    Party,
    RetractDocument,
    RetractDocumentData,
    UpsertBill,
    UpsertBillData,
    UpsertInvoice,
    UpsertInvoiceData,
)
from bookrelay.transient import TRANSIENT
from cryptography.fernet import Fernet
from qbo_writer import handlers, tables
from qbo_writer.domain import SCHEMA
from qbo_writer.settings import Settings
from qbo_writer.writer import Writer
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlmodel import SQLModel

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
KEY = Fernet.generate_key().decode()


async def create_schema(url: str) -> None:
    """Make the writer's tables in an empty database."""
    assert tables.Document  # imported for its effect: the tables register themselves
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"CREATE SCHEMA {SCHEMA}")
        for table in SQLModel.metadata.sorted_tables:
            if table.schema == SCHEMA:
                await connection.execute(str(CreateTable(table).compile(dialect=dialect)))
                for index in table.indexes:
                    await connection.execute(str(CreateIndex(index).compile(dialect=dialect)))
    finally:
        await connection.close()


@dataclass
class QboSandbox:
    """The stand-in, with its control API."""

    greeting: dict[str, Any]
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))

    @property
    def url(self) -> str:
        return str(self.greeting["base_url"])

    def control(self, method: str, name: str, body: Any = None, **params: Any) -> Any:
        """Call the control API."""
        response = self.http.request(method, f"{self.greeting['control_url']}/{name}", json=body, params=params)
        response.raise_for_status()
        return response.json()

    def company(self, **settings: Any) -> dict[str, Any]:
        """Make a company of one test's own; returns realm_id and tokens."""
        return dict(self.control("POST", "companies", settings))

    def books(self, realm: str, entity: str) -> list[dict[str, Any]]:
        """Every document of a kind."""
        return list(self.control("GET", f"books/{entity}", realm=realm))

    def requests(self, realm: str, **match: str) -> list[dict[str, Any]]:
        """The request log of a company."""
        return list(self.control("GET", "requests", realm=realm, **match)["requests"])

    def fault(self, **rule: Any) -> None:
        """Inject a fault."""
        self.control("POST", "faults", rule)

    def person(self, realm: str, operation: str, entity: str, id_: str, **changes: Any) -> Any:
        """Somebody works in the product."""
        return self.control(
            "POST", "person", {"realm": realm, "operation": operation, "entity": entity, "Id": id_, "changes": changes}
        )


@contextmanager
def qbo_sandbox(*arguments: str) -> Iterator[QboSandbox]:
    """Run the stand-in in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox.qbo", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield QboSandbox(json.loads(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()


def settings_for(database_url: str, sandbox: QboSandbox, company: dict[str, Any], **more: Any) -> Settings:
    """The settings of a writer for one company: waits of seconds, but a lease that a stalled machine does not lose."""
    values: dict[str, Any] = {
        "database_url": database_url, "database_pool_size": 8, "qbo_realm_ids": company["realm_id"], "qbo_base_url": sandbox.url,
        "qbo_token_url": sandbox.greeting["token_url"], "qbo_revoke_url": sandbox.greeting["revoke_url"],
        "qbo_client_id": sandbox.greeting["client_id"], "qbo_client_secret": sandbox.greeting["client_secret"],
        "qbo_token_encryption_keys": KEY, "qbo_initial_refresh_token": company["refresh_token"], "lease_seconds": 30,
        "lease_renew_seconds": 0.5, "qbo_request_timeout_seconds": 20, "protocol_transit_seconds": 1.0,
        "protocol_staleness_seconds": 0.5, "protocol_resend_window_seconds": 20, "protocol_resend_window_proven_seconds": 10,
        "qbo_default_item_id": "1", "qb_default_expense_account": "20", "qb_default_bank_account": "35",
        "pace_requests_per_minute": 100_000, "pace_requests_per_second": 1000, "pace_batches_per_minute": 1000,
        "pace_margin_seconds": 0, "pace_throttle_wait_seconds": 0.3,
    }  # fmt: skip
    return Settings.model_validate({**values, **more})


# ---------------------------------------------------------------------------------------------------------------- commands


def invoice(
    realm: str, key: str, version: int = 1, amount: str = "100.00", customer: str = "P-1 A.B.", **data: Any
) -> UpsertInvoice:
    """An invoice command."""
    content = InvoiceContent(
        customer=Party(name=customer), txn_date=date(2026, 11, 1),
        lines=(InvoiceLine(description="Treatment", quantity=Decimal(1), unit_price=Decimal(amount), amount=Decimal(amount)),),
    )  # fmt: skip
    return UpsertInvoice.of(
        UpsertInvoiceData(
            realm=realm, source="emr", source_key=key, version=version, modified_at=START + timedelta(minutes=version),
            content=content, **data,
        ),
        sender="emr-poller",
    )  # fmt: skip


def bill(realm: str, key: str, version: int = 1, amount: str = "55.00", vendor: str = "Supplies Ltd") -> UpsertBill:
    """A bill command."""
    content = BillContent(
        vendor=Party(name=vendor), txn_date=date(2026, 11, 1), lines=(BillLine(description="Gauze", amount=Decimal(amount)),)
    )
    return UpsertBill.of(
        UpsertBillData(
            realm=realm, source="sheet", source_key=key, version=version, modified_at=START + timedelta(minutes=version),
            content=content,
        ),
        sender="sheet-watcher",
    )  # fmt: skip


def numbered(command: Any, number: str | None) -> Any:
    """The command with this number; its id follows from the content."""
    content = command.data.content.model_copy(update={"number": number})
    return type(command).of(command.data.model_copy(update={"content": content}), sender="emr-poller")


def retract(realm: str, key: str, version: int, kind: Kind = Kind.INVOICE) -> RetractDocument:
    """A retraction."""
    return RetractDocument.of(
        RetractDocumentData(
            realm=realm, source="emr" if kind is Kind.INVOICE else "sheet", source_key=key, kind=kind, version=version,
            modified_at=START + timedelta(minutes=version), reason="cancelled",
        ),
        sender="emr-poller",
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------------------ writer


@dataclass
class Desk:
    """A writer that runs in the test, its database and its QuickBooks."""

    pool: Pool
    sandbox: QboSandbox
    settings: Settings
    realm: str
    writer: Writer

    async def tell(self, *commands: Any) -> None:
        """Record commands as the consumer does."""
        received = [Received(command, "billing.commands.v1", 0, i) for i, command in enumerate(commands)]
        await handlers.record(received, self.writer.ledger.commands, self.writer.wake)

    async def states(self) -> dict[tuple[str, int], str]:
        """The state of every command by key and version, names left out."""
        rows = await self.pool.fetch(
            "SELECT d.source_key, c.version, c.state FROM qbo_writer.commands c "
            "JOIN qbo_writer.documents d ON d.id = c.document_id WHERE d.kind IN ('invoice', 'bill')"
        )
        return {(row["source_key"], row["version"]): row["state"] for row in rows}

    async def hurry(self) -> None:
        """Make due what is due later, and the next look-ups; what the writer has locked is left for the next time."""
        for table, which in (("commands", "state = 'due'"), ("attempts", "state = 'unknown' AND NOT stuck")):
            await self.pool.execute(
                f"UPDATE qbo_writer.{table} SET due_at = now() WHERE id IN "
                f"(SELECT id FROM qbo_writer.{table} WHERE {which} FOR NO KEY UPDATE SKIP LOCKED)"
            )

    async def until(self, condition: Callable[[], Awaitable[bool]], seconds: float = 90) -> None:
        """Wait for a condition; show the ledger if it does not come."""
        deadline = time.monotonic() + seconds
        while not await condition():
            if time.monotonic() > deadline:
                attempts = await self.pool.fetch(
                    "SELECT entity, operation, state, ambiguous, lost, stuck, sends, intuit_code, http_status, outcome "
                    "FROM qbo_writer.attempts"
                )
                commands = await self.pool.fetch("SELECT kind, version, state, reason, failures FROM qbo_writer.commands")
                raise AssertionError(f"not in time: {[dict(r) for r in commands]} {[dict(r) for r in attempts]}")
            await asyncio.sleep(0.02)

    async def until_ended(self, seconds: float = 90) -> dict[tuple[str, int], str]:
        """Wait until no command is due or waits, and no attempt is open."""

        async def ended() -> bool:
            return bool(
                await self.pool.fetchval(
                    "SELECT NOT EXISTS (SELECT 1 FROM qbo_writer.commands WHERE state IN ('due', 'received'))"
                    " AND NOT EXISTS (SELECT 1 FROM qbo_writer.attempts WHERE state <> 'resolved' AND NOT stuck)"
                )
            )

        await self.until(ended, seconds)
        return await self.states()

    async def events(self) -> list[dict[str, Any]]:
        """The events in the outbox, in order."""
        return [json.loads(r["value"]) for r in await self.pool.fetch("SELECT value FROM qbo_writer.outbox ORDER BY id")]

    async def event_types(self, key: str) -> list[str]:
        """The types of a document's events, in order."""
        return [
            e["type"].removeprefix("bookrelay.").removesuffix(".v1")
            for e in await self.events()
            if e["data"].get("source_key") == key
        ]


@asynccontextmanager
async def running(writer: Writer) -> AsyncIterator[None]:
    """Run a writer's loops as the service does: at a stop each finishes its unit of work."""
    stopping = asyncio.Event()

    async def loop(step: Callable[[], Awaitable[float]]) -> None:
        while not stopping.is_set():
            try:
                pause = await step()
            except TRANSIENT:
                pause = 0.1
            with suppress(TimeoutError):
                async with asyncio.timeout(max(pause, 0.001)):
                    await stopping.wait()

    tasks = [asyncio.create_task(loop(step)) for step in (writer.leases.step, writer.turns.step)]
    tasks += [asyncio.create_task(loop(poster.step)) for poster in writer.posters.values()]
    try:
        yield
    finally:
        stopping.set()
        writer.stop_resting()
        await asyncio.wait(tasks, timeout=30)
        for task in tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(*TRANSIENT):
            await writer.close()


@asynccontextmanager
async def desk(
    database_url: str, sandbox: QboSandbox, *, run: bool = True, company: dict[str, Any] | None = None, keep: bool = False,
    **more: Any,
) -> AsyncIterator[Desk]:  # fmt: skip
    """A writer for a company of its own, over an empty ledger; `keep`: over the one that is there."""
    if not keep:
        await create_schema(database_url)
    company = company or sandbox.company()
    settings = settings_for(database_url, sandbox, company, **more)
    pool = await open_pool(settings, application_name="test")
    try:
        writer = Writer(settings, pool)
        made = Desk(pool, sandbox, settings, company["realm_id"], writer)
        for poster in writer.posters.values():  # by themselves they begin after 5 s: whatever a slow machine is doing then
            poster.feeder._next = poster.sweeper._next = poster.policy_check.next_at = math.inf
        if run:
            async with running(writer):
                yield made
        else:
            yield made
    finally:
        await asyncio.wait_for(pool.close(), 60)
