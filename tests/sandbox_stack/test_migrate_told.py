"""`make up` on a Postgres that is away says so in its first line, and a Ctrl-C meanwhile leaves no process behind."""

import asyncio
from pathlib import Path

import psutil
import pytest
from sandbox.stack.processes import ProcessFailedError
from sandbox.stack.stack import Stack
from sandbox.system import System


def away(directory: Path) -> System:
    return System(
        Stack(directory=directory, database_url="postgresql://u@127.0.0.1:1/b", kafka_bootstrap_servers="a:1"), directory
    )


async def test_postgres_that_is_away_is_told_in_the_first_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOY_WAIT_SECONDS", "0.2")
    with pytest.raises(
        ProcessFailedError, match=r"^migrate ended with exit status 1: bookrelay-deploy: .*cannot be reached"
    ) as caught:
        await away(tmp_path).migrate()
    assert "\n" not in str(caught.value)


async def test_a_migration_that_is_waited_for_no_longer_is_ended(tmp_path: Path) -> None:
    def children() -> set[int]:
        return {child.pid for child in psutil.Process().children()}

    before = children()
    migrating = asyncio.create_task(away(tmp_path).migrate())
    async with asyncio.timeout(60):
        while not children() - before:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    migrating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await migrating
    assert children() == before
