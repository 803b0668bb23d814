"""Migrations: a folder and a version table for each service's schema, forward only, one transaction for each schema.

A transaction-level advisory lock serialises concurrent migrations, also through a pooler in transaction mode.
"""

import hashlib
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from alembic import command
from alembic.autogenerate import compare_metadata, render_python_code
from alembic.config import Config
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from bookrelay.db import TRANSIENT_POSTGRES, refused
from bookrelay.errors import BookrelayError
from sqlalchemy import MetaData, text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from bookrelay_deploy.schemas import metadata_of

HERE = Path(__file__).parent / "migrations"
Declared = Callable[[str], MetaData]
LOCK = 7_306_512_001  # any number not used elsewhere in the database


@asynccontextmanager
async def _engine(dsn: str) -> AsyncIterator[AsyncEngine]:
    """Open an engine for a few statements: no pool, no prepared statements (PgBouncer), with the same DSN as the services.

    Raises asyncpg's own error if it is transient, BookrelayError if an operator must act.
    """
    engine = create_async_engine(
        "postgresql+asyncpg://",  # SQLAlchemy's own DSN does not accept sslmode
        async_creator=lambda: asyncpg.connect(dsn, statement_cache_size=0, timeout=10),
        connect_args={"prepared_statement_cache_size": 0},
        poolclass=NullPool,
    )
    try:
        yield engine
    except DBAPIError as error:
        cause = error.orig.__cause__ if error.orig else None
        if isinstance(cause, TRANSIENT_POSTGRES):
            raise cause from None
        raise refused(cause or error.orig or error) from None
    except asyncpg.PostgresError as error:
        if isinstance(error, TRANSIENT_POSTGRES):
            raise
        raise refused(error) from None
    finally:
        await engine.dispose()


async def migrate(dsn: str, services: Iterable[str], home: Path = HERE) -> dict[str, str]:
    """Upgrade the schemas to the latest revision; return what was done, by service."""
    done: dict[str, str] = {}
    async with _engine(dsn) as engine:
        for service in services:
            async with engine.begin() as connection:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
                # A DDL statement that waits for a long transaction blocks every later reader of the table.
                await connection.execute(text("SET LOCAL lock_timeout = '10s'"))
                done[service] = await connection.run_sync(_upgrade, service, home)
    return done


def _upgrade(connection: Connection, service: str, home: Path) -> str:
    metadata = metadata_of(service)
    connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{metadata.schema}"'))
    config = _config(service, metadata, home, connection)
    before, newest = _current(connection, metadata), ScriptDirectory.from_config(config).get_current_head()
    if before == newest:
        return f"{newest} (up to date)"
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise BookrelayError(
            f"The schema {metadata.schema} is at revision {before}, which is unknown to this version ({error}).",
            "Use the newer version that made it; if it is from before the first release, `make reset` deletes it.",
        ) from None
    return f"{before or 'nothing'} -> {newest}"


def _current(connection: Connection, metadata: MetaData) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table_schema": metadata.schema})
    return context.get_current_revision()


def _config(service: str, metadata: MetaData, home: Path, connection: Connection | None = None) -> Config:
    config = Config(cmd_opts=Namespace(quiet=True))
    config.set_main_option("script_location", str(home))
    config.set_main_option("version_locations", str(home / "versions" / service))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes.update(connection=connection, metadata=metadata, schema=metadata.schema)
    return config


async def drift(dsn: str, services: Iterable[str], declared: Declared = metadata_of) -> dict[str, list[str]]:
    """Return how the database differs from the declared tables, by service; an empty list means no difference."""
    async with _engine(dsn) as engine, engine.connect() as connection:
        return {service: await connection.run_sync(_differences, declared(service)) for service in services}


def _differences(connection: Connection, metadata: MetaData) -> list[str]:
    def include_name(name: str | None, type_: str, _: Any) -> bool:
        return name == metadata.schema if type_ == "schema" else True

    context = MigrationContext.configure(
        connection,
        opts={
            "version_table_schema": metadata.schema, "include_schemas": True, "include_name": include_name,
            "compare_type": True, "compare_server_default": True,
        },
    )  # fmt: skip
    return [_say(difference) for difference in compare_metadata(context, metadata)]


def _say(difference: Any) -> str:
    """Format one of Alembic's difference tuples (or a list of them, for one column) as one line."""
    if isinstance(difference, list):
        return "; ".join(_say(part) for part in difference)
    what, *about = difference
    return f"{what}: " + " ".join(str(part) for part in about if part is not None and not isinstance(part, dict))


async def new_migration(dsn: str, service: str, message: str, home: Path = HERE, declared: Declared = metadata_of) -> Path:
    """Generate a migration from the difference between a migrated database and the declared tables; return its path."""
    folder = home / "versions" / service
    number = len(list(folder.glob("[0-9]*.py"))) + 1
    revision = f"{number:04d}_{hashlib.sha256(message.encode()).hexdigest()[:8]}"
    async with _engine(dsn) as engine, engine.connect() as connection:
        await connection.run_sync(_autogenerate, _Target(service, declared(service), home), message, revision)
    return next(folder.glob(f"{revision}_*.py"))


@dataclass(frozen=True)
class _Target:
    service: str
    metadata: MetaData
    home: Path


def _autogenerate(connection: Connection, target: _Target, message: str, revision: str) -> None:
    config = _config(target.service, target.metadata, target.home, connection)
    command.revision(config, message, autogenerate=True, rev_id=revision)


def squash_initial(service: str, home: Path = HERE) -> Path:
    """Regenerate a schema's only migration from the declared tables, without a database. Only before the first release.

    The revision id is derived from the content, so that a database made from an earlier state is refused, not left different.
    """
    folder = home / "versions" / service
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.py"):
        path.unlink()
    body = _creation(metadata_of(service))
    revision = f"0001_{hashlib.sha256(body.encode()).hexdigest()[:8]}"
    script = ScriptDirectory.from_config(_config(service, MetaData(), home))
    script.generate_revision(revision, "initial", version_path=str(folder), upgrades=body)
    return next(folder.glob(f"{revision}_*.py"))


def _creation(metadata: MetaData) -> str:
    """Return the Python statements that create all tables and their indexes."""
    creates: list[ops.MigrateOperation] = []
    for table in metadata.sorted_tables:
        creates.append(ops.CreateTableOp.from_table(table))
        creates += [ops.CreateIndexOp.from_index(index) for index in sorted(table.indexes, key=lambda index: str(index.name))]
    context = MigrationContext.configure(dialect_name="postgresql")
    return render_python_code(ops.UpgradeOps(ops=creates), migration_context=context)
