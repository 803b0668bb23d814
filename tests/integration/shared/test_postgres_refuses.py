"""Postgres over TLS, as a managed one has it: every mode, for services and migrations, and plain words where it refuses us.

The embedded Postgres is built without TLS: it is the server that offers none. The one with TLS is the system's.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from bookrelay.db import close_pool, open_pool, postgres_server
from bookrelay.errors import SettingsError
from bookrelay.settings import ServiceSettings
from running import Running, eventually
from sandbox.stack.postgres import Postgres
from secured import KEY_PASSWORD, Authority, Managed

pytestmark = [pytest.mark.postgres]
TINY = Path(__file__).parent


def programs() -> Path | None:
    """A Postgres that was built with TLS."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    there = found[-1] if found else Path(shutil.which("postgres") or "/nowhere").resolve()
    return there.parent if there.exists() and (there.parent / "initdb").exists() else None


@pytest.fixture(scope="module")
def tls_postgres(stack_directory: Path, managed_parts: Managed) -> Iterator[Postgres]:
    """Postgres with ssl=on: `plain` may come without TLS, everybody else not, and `shown` must show a certificate."""
    if (found := programs()) is None:
        if os.environ.get("CI"):
            pytest.fail("no Postgres with TLS: apt install postgresql")
        pytest.skip("no Postgres with TLS on this machine")
    directory = stack_directory / "tls-postgres"
    certificate, key = managed_parts.authority.issue("postgres")
    on = ("ssl=on", f"ssl_cert_file={certificate}", f"ssl_key_file={key}", f"ssl_ca_file={managed_parts.authority.file}")
    server = Postgres(directory, ephemeral=True, settings=on, programs=found)
    server.initialise()
    key.chmod(0o600)
    if os.geteuid() == 0:
        shutil.chown(key, "nobody")
    (server.data / "pg_hba.conf").write_text(
        "host all bookrelay all trust\nhostssl all shown all cert\nhostssl all relay all scram-sha-256\n"
    )
    server.spawn()
    server.wait_ready()
    users = "CREATE USER relay PASSWORD 'right-horse-7'; CREATE USER shown; ALTER DATABASE bookrelay OWNER TO relay"
    subprocess.run([found / "psql", server.url, "-qc", users], check=True, capture_output=True)
    yield server
    server.stop()


def address(server: Postgres, user: str = "relay", host: str = "127.0.0.1") -> str:
    return f"postgresql://{user}@{host}:{server.port}/bookrelay"


def given_for(server: Postgres, managed: Managed, **more: str) -> dict[str, str]:
    given = {
        "DATABASE_URL": address(server), "DATABASE_PASSWORD": "right-horse-7", "DATABASE_SSL_MODE": "verify-full",
        "DATABASE_SSL_CA_FILE": str(managed.authority.file), **more,
    }  # fmt: skip
    return {name: value for name, value in given.items() if value}


async def with_tls(given: Mapping[str, str]) -> bool:
    """Connect as a service does; return whether the connection has TLS."""
    pool = await open_pool(ServiceSettings.load(given), application_name="test")
    try:
        return bool(await pool.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
    finally:
        await close_pool(pool)


@pytest.mark.parametrize("mode", ["prefer", "require", "verify-ca", "verify-full"])
async def test_a_service_connects_in_every_mode(tls_postgres: Postgres, managed_parts: Managed, mode: str) -> None:
    ca_file = str(managed_parts.authority.file) if mode.startswith("verify") else ""
    given = given_for(tls_postgres, managed_parts, DATABASE_SSL_MODE=mode, DATABASE_SSL_CA_FILE=ca_file)
    assert await with_tls(given)


async def test_disable_and_prefer_do_without_tls(tls_postgres: Postgres, managed_parts: Managed, database_url: str) -> None:
    without = {"DATABASE_URL": address(tls_postgres, "bookrelay"), "DATABASE_SSL_MODE": "disable"}
    assert not await with_tls(without)
    assert not await with_tls({"DATABASE_URL": database_url, "DATABASE_SSL_MODE": "prefer"})


async def test_a_client_certificate_lets_us_in(tls_postgres: Postgres, managed_parts: Managed) -> None:
    certificate, key = managed_parts.authority.issue("shown", password=KEY_PASSWORD)
    shown = {
        "DATABASE_SSL_CERTIFICATE_FILE": str(certificate), "DATABASE_SSL_KEY_FILE": str(key),
        "DATABASE_SSL_KEY_PASSWORD": KEY_PASSWORD,
    }  # fmt: skip
    given = given_for(tls_postgres, managed_parts, DATABASE_URL=address(tls_postgres, "shown"), DATABASE_PASSWORD="", **shown)
    assert await with_tls(given)


@pytest.mark.parametrize("way", ["settings", "address"])
def test_migrations_connect_as_the_services_do(tls_postgres: Postgres, managed_parts: Managed, tmp_path: Path, way: str) -> None:
    """SQLAlchemy took no sslmode from the address: what the runbook told services ended migrations with a TypeError."""
    file = tmp_path / "password"
    file.write_text("right-horse-7\n")
    given = given_for(tls_postgres, managed_parts, DATABASE_PASSWORD="") | {"DATABASE_PASSWORD_FILE": str(file)}
    if way == "address":
        query = f"?sslmode=verify-full&sslrootcert={managed_parts.authority.file}"
        given = {"DATABASE_URL": address(tls_postgres) + query, "DATABASE_PASSWORD_FILE": str(file)}
    with Running("bookrelay_deploy.main", given, "migrate", "emr-poller") as command:
        status, stderr = command.ended()
    assert (status, stderr) == (0, "")


Case = tuple[dict[str, str], str]
CASES: dict[str, Case] = {
    "wrong host name": (
        {"DATABASE_URL": "localhost"}, "its TLS certificate is for a different host name). Use the host name in",
    ),
    "unknown authority": (
        {"DATABASE_SSL_CA_FILE": "stranger"},
        "its TLS certificate is not trusted: self-signed certificate in certificate chain). Set DATABASE_SSL_CA_FILE",
    ),
    "no TLS on the server": ({"DATABASE_URL": "embedded"}, "it does not offer TLS). Enable TLS on the server, or correct DATA"),
    "wrong password": ({"DATABASE_PASSWORD": "wrong"}, "it refuses the user or the password). Correct user and password in"),
    "TLS wanted there": (
        {"DATABASE_SSL_MODE": "disable", "DATABASE_SSL_CA_FILE": ""},
        "no encryption). Allow the user in pg_hba.conf; if the entry requires TLS or a certificate, set DATABASE_SSL_MODE",
    ),
}  # fmt: skip


def case_for(case: str, server: Postgres, managed: Managed, embedded: str) -> dict[str, str]:
    changed = dict(CASES[case][0])
    if changed.get("DATABASE_URL") == "localhost":
        changed["DATABASE_URL"] = address(server, host="localhost")
    if changed.get("DATABASE_URL") == "embedded":
        changed["DATABASE_URL"] = embedded
    if changed.get("DATABASE_SSL_CA_FILE") == "stranger":
        changed["DATABASE_SSL_CA_FILE"] = str(Authority(managed.authority.directory, "strange").file)
    return given_for(server, managed, **changed)


@pytest.mark.parametrize("case", CASES)
async def test_each_cause_is_one_sentence_with_the_setting(
    tls_postgres: Postgres, managed_parts: Managed, database_url: str, case: str
) -> None:
    given = case_for(case, tls_postgres, managed_parts, database_url)
    server = postgres_server(ServiceSettings.load(given))
    assert not await server.check()
    sentence = server.sentence() or ""
    assert CASES[case][1] in sentence
    assert sentence.startswith("Postgres at ")
    assert " cannot be used since " in sentence
    assert "right-horse" not in sentence


@pytest.mark.kafka
@pytest.mark.parametrize("case", ["unknown authority", "no TLS on the server"])
def test_a_service_says_it_in_readiness_and_in_one_line(
    tls_postgres: Postgres, managed_parts: Managed, database_url: str, kafka_bootstrap: str, case: str
) -> None:
    path = os.pathsep.join([str(TINY), os.environ.get("PYTHONPATH", "")])
    given = case_for(case, tls_postgres, managed_parts, database_url)
    with Running("tiny_service", {**given, "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap, "PYTHONPATH": path}) as service:
        line = service.wait_for("service.waiting")
        assert CASES[case][1] in line["reason"]
        eventually(lambda: CASES[case][1] in str(service.get("/health/ready").json()["reasons"]))
        assert service.terminate() == 0
        lines = [one for one in service.lines if one.get("level") in ("warning", "error", "critical")]
        assert {one["event"] for one in lines} == {"service.waiting"}, lines
        assert "Traceback" not in str(service.lines)


async def test_a_wrong_password_ends_a_service_with_the_setting(tls_postgres: Postgres, managed_parts: Managed) -> None:
    settings = ServiceSettings.load(given_for(tls_postgres, managed_parts, DATABASE_PASSWORD="wrong"))
    with pytest.raises(SettingsError, match="password authentication failed") as caught:
        await open_pool(settings, application_name="test")
    assert caught.value.fix == "Correct user and password in DATABASE_URL (or DATABASE_PASSWORD)."


async def test_a_password_that_changes_while_it_runs_is_named(tls_postgres: Postgres, managed_parts: Managed) -> None:
    admin: Any = await asyncpg.connect(address(tls_postgres, "bookrelay"))
    server = postgres_server(ServiceSettings.load(given_for(tls_postgres, managed_parts)))
    try:
        assert await server.check()
        await admin.execute("ALTER USER relay PASSWORD 'another'")
        assert not await server.check()
        assert "it refuses the user or the password" in (server.sentence() or "")
    finally:
        await admin.execute("ALTER USER relay PASSWORD 'right-horse-7'")
        await admin.close()
