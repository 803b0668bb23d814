"""The Sheets stand-in in a process of its own, a migrated database, the topics, and the watcher in process or as a process."""

import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bookrelay import topics
from bookrelay.db import close_pool, open_pool
from bookrelay.kafka import Publisher
from bookrelay_deploy.migrating import migrate
from running import ServiceProcess
from sheet_support import Book, Watcher, watcher_of
from sheet_watcher.settings import Settings


@contextmanager
def stand_in(tmp_path: Path, *options: str) -> Iterator[Book]:
    """Run the Sheets stand-in."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox.main", "sheets", "--credentials", str(tmp_path / "account.json"), *options],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        made = Book(facts["base_url"], facts["control_url"], facts["spreadsheet_id"], facts["credentials_file"])
        yield made
        made.http.close()
    finally:
        process.terminate()
        process.wait(60)
        if process.stdout:
            process.stdout.close()


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """A spreadsheet with the headers and no rows, without Google's quotas."""
    with stand_in(tmp_path, "--rows", "1", "--no-limits") as made:
        made.begin()
        yield made


@pytest.fixture
def labelled(tmp_path: Path) -> Iterator[Book]:
    """A spreadsheet as it really is: 36 columns, 60 rows, some of them wrong, and Google's quotas."""
    with stand_in(tmp_path, "--rows", "60", "--seed", "3") as made:
        yield made


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


def settings_for(book: Book, bus: str, database_url: str, tmp_path: Path) -> dict[str, str]:
    """Return the watcher's settings; each test has a company of its own, for the topics are shared."""
    directions = tmp_path / "directions.json"
    directions.write_text(
        json.dumps(
            {
                "money_in": ["ACD"],
                "money_out": ["VendorXYZ", "Accelebrate", "BHanalytics"],
                "aliases": {"xyz": "VendorXYZ", "acd inc": "ACD"},
            }
        )
    )
    return {
        "DATABASE_URL": database_url, "KAFKA_BOOTSTRAP_SERVERS": bus, "QBO_REALM_ID": str(uuid.uuid4().int)[:16],
        "SHEETS_BASE_URL": book.base_url, "SHEETS_SPREADSHEET_ID": book.spreadsheet_id,
        "GOOGLE_CREDENTIALS_FILE": book.credentials_file, "QB_DIRECTIONS_FILE": str(directions), "SHEETS_POLL_SECONDS": "0.5",
    }  # fmt: skip


@pytest.fixture
def environment(book: Book, bus: str, migrated: str, tmp_path: Path) -> dict[str, str]:
    """The settings for the empty book, without our own pace."""
    return settings_for(book, bus, migrated, tmp_path) | {"SHEETS_REQUESTS_PER_MINUTE": "300"}


@pytest.fixture
def real_environment(labelled: Book, bus: str, migrated: str, tmp_path: Path) -> dict[str, str]:
    """The settings for the labelled book, with our own pace."""
    return settings_for(labelled, bus, migrated, tmp_path)


@pytest.fixture
async def watcher(environment: dict[str, str]) -> AsyncIterator[Watcher]:
    """The watcher in process."""
    settings = Settings.load(environment)
    pool = await open_pool(settings, application_name="test")
    publisher = Publisher(settings.kafka_bootstrap_servers, "test")
    await publisher.start()
    async with watcher_of(environment, pool, publisher) as made:
        yield made
    await publisher.stop()
    await close_pool(pool)


@pytest.fixture
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., ServiceProcess]]:
    """`start(**settings)` runs the watcher as a process; all of them end with the test."""
    started: list[ServiceProcess] = []
    real = "real_environment" in request.fixturenames
    environment: dict[str, str] = request.getfixturevalue("real_environment" if real else "environment")

    def begin(**settings: str) -> ServiceProcess:
        service = ServiceProcess("sheet_watcher", environment | settings, tmp_path / f"watcher-{len(started)}.log")
        started.append(service)
        return service

    yield begin
    for service in started:
        if service.process.poll() is None:
            service.kill()
