"""The source of docs/adding-a-source.md is taken out of the page and run: Postgres, a broker, HTTP on the other side."""

import json
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from bookrelay import topics
from bookrelay.db import close_pool, open_pool
from bookrelay.messages import RetractDocument, UpsertInvoice
from bookrelay_deploy import migrating
from running import read_topic

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]
PAGE = (Path(__file__).parents[3] / "docs/adding-a-source.md").read_text()
FILE = re.compile(r"^```\w+\n# (services/\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Path]:
    """The page's files in a folder, and its package importable."""
    for name, text in FILE.findall(PAGE):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    folder = tmp_path / "services/rent-poller/src/rent_poller"
    folder.joinpath("__init__.py").touch()
    sys.path.insert(0, str(folder.parent))
    yield folder
    sys.path.remove(str(folder.parent))


class Manager:
    """The property manager: what it answers, and what it was asked."""

    def __init__(self) -> None:
        self.status, self.headers, self.charges = 200, {}, []  # type: ignore[var-annotated]
        self.asked: list[str] = []
        manager = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                manager.asked.append(self.path)
                body = json.dumps({"charges": manager.charges}).encode()
                self.send_response(manager.status)
                for name, value in {"Content-Length": str(len(body)), **manager.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def manager() -> Iterator[Manager]:
    made = Manager()
    yield made
    made.server.shutdown()
    made.server.server_close()


def charge(id_: str, version: int = 1, **changes: Any) -> dict[str, Any]:
    at = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    base = {"id": id_, "version": version, "changedAt": at, "unit": "7B", "what": "Rent", "amount": "900.00", "due": "2026-05-05"}
    return base | changes


async def test_the_page_s_source_says_what_the_property_manager_has(
    package: Path,
    manager: Manager,
    database_url: str,
    kafka_bootstrap: str,
    create_topic: Callable[[str, int], None],
    tmp_path: Path,
) -> None:
    for topic in topics.all_topics():
        create_topic(topic.name, topic.partitions)
    home = tmp_path / "migrations"
    shutil.copytree(migrating.HERE, home, ignore=shutil.ignore_patterns("versions", "__pycache__"))
    migrating.squash_initial("rent_poller", home)
    await migrating.migrate(database_url, ["rent_poller"], home)
    settings = import_module("rent_poller.settings").Settings.load(
        {
            "DATABASE_URL": database_url, "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap, "QBO_REALM_ID": str(uuid.uuid4().int)[:16],
            "RENTS_BASE_URL": f"http://127.0.0.1:{manager.server.server_port}", "RENTS_API_KEY": "key",
        }
    )  # fmt: skip
    app = import_module("rent_poller.main").build_app(settings)
    app._pool = await open_pool(settings, application_name="test")
    await app.publisher.start()
    try:
        await app._prepare(app)
        schedule, outgoing = (loop.step.__self__ for loop in app._loops)

        async def said(topic: topics.Topic) -> list[Any]:
            await outgoing.step()
            return await read_topic(kafka_bootstrap, topic, settings.qbo_realm_id)

        manager.charges = [charge("c-1"), charge("c-2", amount="lots"), charge("c-3", unit=None), {"id": None}]
        assert await schedule.poll_now() == settings.rents_poll_seconds
        (command,) = await said(topics.COMMANDS)
        assert isinstance(command, UpsertInvoice)
        assert (command.data.source_key, str(command.data.content.total)) == ("c-1", "900.00")
        rejected = {event.data.source_key: event.data for event in await said(topics.EVENTS)}
        assert set(rejected) == {"c-2", "c-3"}
        assert all(data.reason and data.fix for data in rejected.values())

        await schedule.poll_now()  # the same again says nothing
        manager.charges = [charge("c-1", version=2, deleted=True), charge("c-2", version=2)]
        await schedule.poll_now()
        commands = await said(topics.COMMANDS)
        assert sorted((c.data.source_key, type(c)) for c in commands if c.data.version == 2) == [
            ("c-1", RetractDocument), ("c-2", UpsertInvoice),
        ]  # fmt: skip
        assert len(commands) == 3

        manager.charges = [charge(f"d-{n}") for n in range(150)]
        assert await schedule.poll_now() == 0
        assert await schedule.poll_now() == settings.rents_poll_seconds
        assert len(await said(topics.COMMANDS)) == 153

        manager.status, manager.headers = 429, {"Retry-After": "17"}
        assert await schedule.poll_now() == 17
        manager.status = 401
        await schedule.poll_now()
        assert "RENTS_API_KEY" in (schedule.not_ready_because() or "")
    finally:
        for cleanup in app._cleanups:
            await cleanup()
        await app.publisher.stop()
        await close_pool(app._pool)
