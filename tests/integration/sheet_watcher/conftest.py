"""The Sheets stand-in in a process of its own, a migrated database, the topics, and the watcher in process or as a process."""

import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from bookrelay import topics
from bookrelay.db import close_pool, open_pool
from bookrelay.kafka import Publisher
from bookrelay.outbox import Relay
from bookrelay_deploy.migrating import migrate
from sheet_support import Book, ServiceProcess, Watcher
from sheet_watcher.polling import Polling, rules_of
from sheet_watcher.settings import Settings
from sheet_watcher.sheets_client import SheetsClient
from sheet_watcher.store import Store
from sheet_watcher.tables import SCHEMA


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """A spreadsheet with the headers and no rows, without Google's quotas."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox.main", "sheets", "--rows", "1", "--no-limits",
         "--credentials", str(tmp_path / "account.json")],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        made = Book(facts["base_url"], facts["control_url"], facts["spreadsheet_id"], facts["credentials_file"])
        made.begin()
        yield made
        made.http.close()
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout:
            process.stdout.close()


@pytest.fixture
def bus(kafka_bootstrap: str, create_topic: Callable[[str, int], None]) -> str:
    """The session's broker with bookrelay's topics."""
    for topic in topics.all_topics():
        create_topic(topic.name, topic.partitions)
    return kafka_bootstrap


@pytest.fixture
async def migrated(database_url: str) -> str:
    """An own database with the watcher's tables."""
    await migrate(database_url, ["sheet_watcher"])
    return database_url


@pytest.fixture
def environment(book: Book, bus: str, migrated: str, tmp_path: Path) -> dict[str, str]:
    """The watcher's settings; each test has a company of its own, for the topics are shared."""
    directions = tmp_path / "directions.json"
    directions.write_text(json.dumps({"money_in": ["ACD"], "money_out": ["VendorXYZ"], "aliases": {"xyz": "VendorXYZ"}}))
    return {
        "DATABASE_URL": migrated, "KAFKA_BOOTSTRAP_SERVERS": bus, "QBO_REALM_ID": f"realm-{uuid.uuid4().hex[:12]}",
        "SHEETS_BASE_URL": book.base_url, "SHEETS_SPREADSHEET_ID": book.spreadsheet_id,
        "GOOGLE_CREDENTIALS_FILE": book.credentials_file, "QB_DIRECTIONS_FILE": str(directions), "SHEETS_POLL_SECONDS": "0.5",
        "SHEETS_MISSING_SECONDS": "0.5", "SHEETS_REQUESTS_PER_MINUTE": "300",
    }  # fmt: skip


@pytest.fixture
async def watcher(environment: dict[str, str]) -> AsyncIterator[Watcher]:
    """The watcher in process."""
    settings = Settings.load(environment)
    pool = await open_pool(settings, application_name="test")
    publisher = Publisher(settings.kafka_bootstrap_servers, "test")
    await publisher.start()
    client = SheetsClient(settings, settings.service_account())
    store = Store(pool, settings.qbo_realm_id, settings.sheets_source, settings.sheets_spreadsheet_id)
    relay = Relay(pool, SCHEMA, publisher)
    yield Watcher(settings, Polling(settings, rules_of(settings), client, store), store, relay, pool)
    await client.close()
    await publisher.stop()
    await close_pool(pool)


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., ServiceProcess]]:
    """`start(**settings)` runs the watcher as a process; all of them end with the test."""
    started: list[ServiceProcess] = []

    def begin(**settings: str) -> ServiceProcess:
        service = ServiceProcess(environment | settings, tmp_path / f"watcher-{len(started)}.log")
        started.append(service)
        return service

    yield begin
    for service in started:
        if service.process.poll() is None:
            service.kill()
