"""The QuickBooks stand-in in its own process, one company of its own for each test, and the writer's adapters on it."""

import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from bookrelay.db import Pool, close_pool, open_pool
from bookrelay.messages import BillContent, BillLine, InvoiceContent, InvoiceLine, Party
from cryptography.fernet import Fernet
from qbo_writer import identity
from qbo_writer.domain import AccessToken, DesiredDocument, LedgerKind, Operation, Request, Resolved
from qbo_writer.policy import Policy
from qbo_writer.quickbooks import mapping
from qbo_writer.quickbooks.client import QboClient
from qbo_writer.settings import Settings
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

KEY = Fernet.generate_key().decode()


@dataclass
class Sandbox:
    """A running stand-in: what it told at start, and its control API."""

    told: dict[str, Any]

    def control(self, method: str, path: str, body: Any = None, **params: Any) -> Any:
        """Call the control API; fails the test for anything but 200."""
        answer = httpx.request(method, f"{self.told['control_url']}/{path}", json=body, params=params, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json(parse_float=Decimal)

    def company(self, **settings: Any) -> "Company":
        """Make a company."""
        return Company(self, self.control("POST", "companies", {"realm_id": str(uuid.uuid4().int)[:16], **settings}))


@dataclass
class Company:
    """One company of the stand-in, with its tokens."""

    sandbox: Sandbox
    told: dict[str, Any]

    @property
    def realm(self) -> str:
        """The realm id."""
        return str(self.told["realm_id"])

    @property
    def token(self) -> AccessToken:
        """A valid access token."""
        return AccessToken(str(self.told["access_token"]), datetime.now(UTC) + timedelta(hours=1))

    def books(self, entity: str) -> list[dict[str, Any]]:
        """What the books hold, read past the API."""
        rows: list[dict[str, Any]] = self.sandbox.control("GET", f"books/{entity}", realm=self.realm)
        return rows

    def load(self, entity: str, *documents: dict[str, Any]) -> list[str]:
        """Put documents into the books; returns their ids."""
        made = self.sandbox.control("POST", "entities", {"realm": self.realm, "entities": {entity: list(documents)}})
        return [str(id_) for id_ in made["created"][entity]]

    def person(self, operation: str, entity: str, id_: str, **changes: Any) -> Any:
        """Let a person work in QuickBooks."""
        body = {"realm": self.realm, "operation": operation, "entity": entity, "Id": id_, "changes": changes}
        return self.sandbox.control("POST", "person", body)

    def fault(self, name: str, **spec: Any) -> None:
        """Let something go wrong for this company, once unless `count` says otherwise."""
        match = {"realm": self.realm, **spec.pop("match", {})}
        if name in ("slow_token", "token_answer_lost", "token_server_error"):
            match.pop("realm")
        self.sandbox.control("POST", "faults", {"fault": name, "count": 1, **spec, "match": match})

    def requests(self, **match: str) -> list[dict[str, Any]]:
        """The request log of this company."""
        rows: list[dict[str, Any]] = self.sandbox.control("GET", "requests", realm=self.realm, **match)["requests"]
        return rows


def _start(*arguments: str) -> Iterator[Sandbox]:
    command = [sys.executable, "-m", "sandbox.qbo", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield Sandbox(json.loads(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """The stand-in, without limits."""
    yield from _start("--no-limits")


@pytest.fixture(scope="module")
def limited_sandbox() -> Iterator[Sandbox]:
    """The stand-in with Intuit's limits."""
    yield from _start()


@pytest.fixture
def company(sandbox: Sandbox) -> Iterator[Company]:
    """A company on the plan Plus, of this test's own."""
    yield sandbox.company()
    sandbox.control("DELETE", "faults")


def settings_for(company: Company, database_url: str = "postgresql://nobody@127.0.0.1:1/none", **more: Any) -> Settings:
    """The writer's settings for a company of the stand-in."""
    told = company.sandbox.told
    values: dict[str, Any] = {
        "database_url": database_url,
        "qbo_realm_ids": company.realm,
        "qbo_base_url": told["base_url"],
        "qbo_token_url": told["token_url"],
        "qbo_revoke_url": told["revoke_url"],
        "qbo_authorize_url": told["authorize_url"],
        "qbo_client_id": told["client_id"],
        "qbo_client_secret": told["client_secret"],
        "qbo_token_encryption_keys": KEY,
        "qbo_request_timeout_seconds": 10,
    }
    return Settings.model_validate({**values, **more})


@pytest_asyncio.fixture
async def client(company: Company) -> AsyncIterator[QboClient]:
    """The client, unpaced."""
    client = QboClient(settings_for(company))
    yield client
    await client.close()


async def make_tables(database_url: str) -> None:
    """Create the schema qbo_writer in an empty database."""
    from qbo_writer import tables

    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://", 1))
    try:
        async with engine.begin() as connection:
            await connection.execute(text("CREATE SCHEMA IF NOT EXISTS qbo_writer"))
            await connection.run_sync(
                lambda sync: tables.SQLModel.metadata.create_all(
                    sync, [table for table in tables.SQLModel.metadata.sorted_tables if table.schema == tables.SCHEMA]
                )
            )
    finally:
        await engine.dispose()


@pytest_asyncio.fixture
async def pool(company: Company, database_url: str) -> AsyncIterator[Pool]:
    """A pool on an empty schema."""
    await make_tables(database_url)
    pool = await open_pool(settings_for(company, database_url), application_name="test", size=5)
    yield pool
    await close_pool(pool)


# ------------------------------------------------------------------------------------------------------------- documents

POLICY = Policy.parse({"prefixes": {"emr": "Q"}, "custom_fields": {"Quote Version": "1"}}, path=Path("policy.toml"))


def invoice(**more: Any) -> InvoiceContent:
    """An invoice of one line, 2 x 10.50."""
    values: dict[str, Any] = {
        "customer": Party(name="Amy's Bird Sanctuary"),
        "txn_date": date(2026, 3, 4),
        "lines": (InvoiceLine(quantity=Decimal(2), unit_price=Decimal("10.50"), amount=Decimal("21.00"), description="Work"),),
    }
    return InvoiceContent(**{**values, **more})


def bill(**more: Any) -> BillContent:
    """A bill of one line."""
    values: dict[str, Any] = {
        "vendor": Party(name="Norton Lumber"),
        "txn_date": date(2026, 3, 4),
        "lines": (BillLine(amount=Decimal("55.10"), description="Wood"),),
    }
    return BillContent(**{**values, **more})


def ids_of(company: Company, **more: str) -> Resolved:
    """References of the contents above, looked up in the books."""
    expense = next(row["Id"] for row in company.books("Account") if row["AccountType"] == "Expense")
    return Resolved(
        {
            "customer": company.books("Customer")[0]["Id"],
            "vendor": company.books("Vendor")[0]["Id"],
            "item:default": company.books("Item")[0]["Id"],
            "account:default": expense,
            **more,
        }
    )


def request_for(
    company: Company, wanted: DesiredDocument, operation: Operation, requestid: str, body: str, *, qbo_id: str | None = None
) -> Request:
    """A journalled request."""
    return Request(company.realm, wanted.kind, wanted.entity, operation, requestid, body, qbo_id)


def wanted_of(company: Company, kind: LedgerKind, content: Any, key: str, resolved: Resolved | None = None) -> DesiredDocument:
    """What a document with `key` shall be."""
    return mapping.wanted(
        kind, content, resolved or ids_of(company), POLICY, identity.doc_number(POLICY, "emr", key),
        identity.marker(company.realm, "emr", key, kind),
    )  # fmt: skip
