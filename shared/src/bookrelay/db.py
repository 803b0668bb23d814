"""Postgres through asyncpg: the pool, transactions, and which errors are transient.

Each service owns one schema, declared as SQLModel classes in its `tables.py`; `bookrelay-deploy migrate` creates it.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

import asyncpg

from bookrelay import telemetry
from bookrelay.causes import cause_of
from bookrelay.errors import SettingsError
from bookrelay.servers import Server
from bookrelay.settings import ServiceSettings

log = telemetry.get_logger(__name__)

Connection: TypeAlias = asyncpg.Connection
Pool: TypeAlias = asyncpg.Pool

# `bookrelay-deploy migrate` has not run, or is still running.
UNMIGRATED_POSTGRES: tuple[type[BaseException], ...] = (
    asyncpg.UndefinedTableError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.UndefinedColumnError,
)

# Raised on a restart of Postgres, a failover or pg_terminate_backend: the same work succeeds on a new connection.
TRANSIENT_POSTGRES: tuple[type[BaseException], ...] = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # seen on a pooled connection that the server had just cut
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    *UNMIGRATED_POSTGRES,
    ConnectionError,
    OSError,
    TimeoutError,
)

# Permanent: the address names a database or user that Postgres does not accept, or an unknown option.
_WRONG_ADDRESS: tuple[type[BaseException], ...] = (
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,  # includes a wrong password
    asyncpg.InsufficientPrivilegeError,
    asyncpg.exceptions.ClientConfigurationError,
)

FIXES = {
    "address": "Start it, or correct DATABASE_URL",
    "authority": "Set DATABASE_SSL_CA_FILE to the certificate (PEM) of the authority that signed it",
    "host name": "Use the host name in the certificate in DATABASE_URL (verify-ca skips this check)",
    "tls": "Enable TLS on the server, or correct DATABASE_SSL_MODE",
    "user": "Correct user and password in DATABASE_URL (or DATABASE_PASSWORD)",
    "certificate": "Set DATABASE_SSL_CERTIFICATE_FILE and DATABASE_SSL_KEY_FILE to a certificate that it accepts",
    "entry": "Allow the user in pg_hba.conf; if the entry requires TLS or a certificate, set DATABASE_SSL_MODE",
}

IDLE_SECONDS = 5


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def _nothing_to_reset(_: Any) -> None:
    """Skip asyncpg's RESET ALL at every release, one round trip in six: our sessions hold no state (no LISTEN, no SET other than
    SET LOCAL, no session advisory lock). An open transaction is still rolled back."""


async def open_pool(settings: ServiceSettings, *, application_name: str, size: int | None = None) -> Pool:
    """Open a pool. Raises an error of TRANSIENT_POSTGRES while the server is unavailable, SettingsError for a wrong address."""
    options: dict[str, Any] = {} if settings.database_prepared_statements else {"statement_cache_size": 0}
    try:
        return await _open(settings.postgres_dsn(), settings, application_name, size or settings.database_pool_size, options)
    except _WRONG_ADDRESS as error:
        raise refused(error) from None


def refused(error: BaseException) -> SettingsError:
    """Return an error for what Postgres refuses permanently: its own message, and the setting to correct."""
    kind = cause_of(error).kind
    fix = FIXES[kind] if kind != "address" else "Check database, user and password in DATABASE_URL, and the user's privileges"
    return SettingsError(f"Postgres cannot be used: {error}.", f"{fix}.")


def postgres_server(settings: ServiceSettings, pool: Callable[[], Pool | None] = lambda: None) -> Server:
    """Return Postgres as a server to watch; `pool` returns the pool once it is open."""
    dsn = settings.postgres_dsn()
    return Server("Postgres", address_of(dsn), FIXES, lambda: probe(pool(), dsn))


def address_of(dsn: str) -> str:
    """Return host:port of a database address, without user and password."""
    place = urlsplit(dsn).netloc.rpartition("@")[2]
    return place if ":" in place.rpartition("]")[2] else f"{place or 'this machine'}:5432"


async def probe(pool: Pool | None, dsn: str) -> None:
    """Return if the server answers, raise otherwise. A pool with no free connection is not treated as a failure."""
    if pool is not None and (pool.get_idle_size() or pool.get_size() < pool.get_max_size()):
        async with pool.acquire(timeout=3) as connection:
            await connection.execute("SELECT 1", timeout=3)
        return
    connection = await asyncpg.connect(dsn, timeout=3)
    await connection.close(timeout=1)


async def _open(dsn: str, settings: ServiceSettings, application_name: str, size: int, options: dict[str, Any]) -> Pool:
    pool = await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size,
        command_timeout=30,
        timeout=10,
        max_inactive_connection_lifetime=60,
        server_settings={"application_name": application_name} if settings.database_prepared_statements else {},
        init=_prepare,
        reset=_nothing_to_reset,
        **options,
    )
    return cast(Pool, pool)


class NoRow(Exception):  # noqa: N818
    """The query that a transaction depends on returned no row."""


@contextlib.asynccontextmanager
async def transaction(pool: Pool, *, only_if: str | None = None, idle_seconds: int = IDLE_SECONDS) -> AsyncIterator[Connection]:
    """Open a transaction on one connection; committed at the end of the block, rolled back on an exception.

    `only_if` is a query sent together with BEGIN; NoRow is raised if it returns no row. A process that is paused or disconnected
    inside the block loses its locks after `idle_seconds` without a statement.
    """
    # One round trip, and correct behind PgBouncer as well.
    begin = f"BEGIN; SET LOCAL idle_in_transaction_session_timeout = '{idle_seconds:d}s'"
    async with pool.acquire() as connection:
        try:
            status = await connection.execute(f"{begin}; {only_if}" if only_if else begin)
            if only_if and status == "SELECT 0":
                raise NoRow
            yield connection
        except BaseException:
            with contextlib.suppress(*TRANSIENT_POSTGRES):  # the connection is gone, and the transaction with it
                await connection.execute("ROLLBACK")
            raise
        await connection.execute("COMMIT")


async def close_pool(pool: Pool, seconds: float = 5) -> None:
    """Close the pool; connections that do not close in time are terminated."""
    try:
        async with asyncio.timeout(seconds):
            await pool.close()
    except (TimeoutError, asyncpg.InterfaceError):
        pool.terminate()
