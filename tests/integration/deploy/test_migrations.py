"""Migrations on a real Postgres: they make what the tables declare, twice at once, again, and refuse what they do not know."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest
from bookrelay.errors import BookrelayError
from bookrelay_deploy import migrating
from bookrelay_deploy.schemas import metadata_of, owners

pytestmark = pytest.mark.postgres


def deploy(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from bookrelay_deploy.main import main; main()", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=180, check=False)


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_a_migrated_database_is_what_the_tables_declare(database_url: str) -> None:
    done = await migrating.migrate(database_url, owners())
    assert set(done) == set(owners()) >= {"qbo_writer", "emr_poller", "sheet_watcher"}
    assert await migrating.drift(database_url, owners()) == {service: [] for service in owners()}


async def test_migrating_again_changes_nothing(database_url: str) -> None:
    await migrating.migrate(database_url, owners())
    again = await migrating.migrate(database_url, owners())
    assert all(what.endswith("(up to date)") for what in again.values())


async def test_two_migrators_at_once_do_not_collide(database_url: str) -> None:
    results = await asyncio.gather(*(migrating.migrate(database_url, owners()) for _ in range(4)))
    made = [service for done in results for service, what in done.items() if what.startswith("nothing")]
    assert sorted(made) == sorted(owners())
    assert await migrating.drift(database_url, owners()) == {service: [] for service in owners()}


async def test_a_migrator_waits_while_another_holds_the_lock(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("SELECT pg_advisory_xact_lock($1)", migrating.LOCK)
    waiting = asyncio.create_task(migrating.migrate(database_url, owners()))
    blocked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    deadline = time.monotonic() + 60
    while not await connection.fetchval(blocked):
        assert time.monotonic() < deadline
        assert not waiting.done()
        await asyncio.sleep(0.02)
    await transaction.rollback()
    await connection.close()
    assert set(await waiting) == set(owners())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER TABLE qbo_writer.commands ADD COLUMN surplus text", "remove_column"),
        ("ALTER TABLE qbo_writer.commands DROP COLUMN reason", "add_column"),
        ("DROP INDEX qbo_writer.ix_commands_due", "add_index"),
        ("ALTER TABLE qbo_writer.commands ALTER COLUMN failures TYPE bigint", "modify_type"),
        ("ALTER TABLE qbo_writer.commands ALTER COLUMN state SET DEFAULT 'posted'", "modify_default"),
        ("ALTER TABLE qbo_writer.commands ALTER COLUMN headers DROP NOT NULL", "modify_nullable"),
        ("CREATE TABLE qbo_writer.surplus (id int)", "remove_table"),
    ],
)
async def test_drift_is_seen(database_url: str, change: str, said: str) -> None:
    await migrating.migrate(database_url, owners())
    await execute(database_url, change)
    found = await migrating.drift(database_url, owners())
    assert any(said in difference for difference in found.pop("qbo_writer"))
    assert not any(found.values())


async def test_drift_looks_at_no_schema_of_others(database_url: str) -> None:
    await migrating.migrate(database_url, owners())
    await execute(database_url, "CREATE TABLE public.somebody_elses (id int)")
    assert await migrating.drift(database_url, owners()) == {service: [] for service in owners()}


async def test_a_database_of_another_history_is_refused_with_what_to_do(database_url: str) -> None:
    await migrating.migrate(database_url, ["qbo_writer"])
    await execute(database_url, "UPDATE qbo_writer.alembic_version SET version_num = '0009_unknown'")
    with pytest.raises(BookrelayError, match="0009_unknown, which is unknown to this version") as caught:
        await migrating.migrate(database_url, ["qbo_writer"])
    assert "reset" in caught.value.fix


async def test_a_failed_migration_leaves_nothing_behind(database_url: str) -> None:
    await execute(database_url, "CREATE SCHEMA qbo_writer; CREATE TABLE qbo_writer.outbox (id int)")
    with pytest.raises(BookrelayError, match="already exists"):
        await migrating.migrate(database_url, ["qbo_writer"])
    connection = await asyncpg.connect(database_url)
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'qbo_writer'")
    await connection.close()
    assert [row["tablename"] for row in tables] == ["outbox"]


def test_each_schema_has_its_own_history(database_url: str) -> None:
    done = deploy("migrate", "qbo-writer", DATABASE_URL=database_url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("qbo_writer: nothing -> 0001_")
    rest = deploy("migrate", DATABASE_URL=database_url)
    assert rest.returncode == 0, rest.stderr
    assert sum("up to date" in line for line in rest.stdout.splitlines()) == 1
    checked = deploy("check-drift", DATABASE_URL=database_url)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_check_drift_exits_1_and_shows_the_difference(database_url: str) -> None:
    assert deploy("migrate", DATABASE_URL=database_url).returncode == 0
    asyncio.run(execute(database_url, "ALTER TABLE qbo_writer.commands ADD COLUMN surplus text"))
    checked = deploy("check-drift", DATABASE_URL=database_url)
    assert checked.returncode == 1
    assert "qbo_writer: remove_column: qbo_writer commands" in checked.stderr
    assert "surplus" in checked.stderr


def test_a_missing_setting_is_one_line() -> None:
    done = deploy("migrate", DATABASE_URL="")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "DATABASE_URL is missing" in done.stderr


def test_a_postgres_that_does_not_come_ends_with_a_reason() -> None:
    done = deploy("migrate", DATABASE_URL="postgresql://x:secret@127.0.0.1:1/x", DEPLOY_WAIT_SECONDS="0.3")
    assert done.returncode == 1
    assert (
        "Postgres at 127.0.0.1:1 cannot be reached: connection refused. Gave up after 0.3 s. Start it"
        in done.stderr.splitlines()[-1]
    )
    assert "secret" not in done.stderr


def test_a_database_that_is_not_there_ends_at_once(postgres_url: str) -> None:
    done = deploy("migrate", DATABASE_URL=postgres_url.rpartition("/")[0] + "/nowhere")
    assert done.returncode == 1
    assert 'database "nowhere" does not exist' in done.stderr
    assert done.stderr.count("\n") == 1


async def test_a_new_migration_holds_what_changed(database_url: str, tmp_path: Path) -> None:
    import shutil

    from sqlalchemy import Column, Text

    await migrating.migrate(database_url, ["qbo_writer"])
    home = tmp_path / "migrations"
    shutil.copytree(migrating.HERE, home)
    changed = metadata_of("qbo_writer")
    changed.tables["qbo_writer.leases"].append_column(Column("note", Text, nullable=True))
    path = await migrating.new_migration(database_url, "qbo_writer", "leases have a note", home, lambda _: changed)
    assert path.name.startswith("0002_")
    assert "op.add_column('leases', sa.Column('note', sa.Text(), nullable=True), schema='qbo_writer')" in path.read_text()
    done = await migrating.migrate(database_url, ["qbo_writer"], home)
    assert done["qbo_writer"].endswith(path.name[:13])
    assert await migrating.drift(database_url, ["qbo_writer"], lambda _: changed) == {"qbo_writer": []}


def test_squashing_writes_the_same_initial_migration_again(tmp_path: Path) -> None:
    """Before the first release there is one migration for each schema; this says when it must be written again."""
    import shutil

    shutil.copytree(migrating.HERE, tmp_path / "migrations")
    committed = {service: sorted((migrating.HERE / "versions" / service).glob("*.py")) for service in owners()}
    for service in owners():
        again = migrating.squash_initial(service, tmp_path / "migrations")
        assert [path.name for path in committed[service]] == [again.name], "run `bookrelay-deploy squash-initial`"
        assert again.read_text() == committed[service][0].read_text()
