"""PgBouncer in transaction mode, with several server connections: every transaction may meet another session of Postgres."""

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from bookrelay.db import open_pool
from qbo_writer.writer import Writer
from sandbox.stack.processes import free_port
from writer_support import Desk, QboSandbox, bill, create_schema, invoice, retract, running, settings_for

pytestmark = pytest.mark.postgres
FOUND = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
PROGRAM = FOUND and os.path.realpath(FOUND)  # another user runs it, who may not enter the directory of a link
CONFIG = """
[databases]
* = host={host} port={port} user={user} pool_size=6
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 100
server_round_robin = 1
admin_users = {user}
ignore_startup_parameters = extra_float_digits
"""


@contextmanager
def pgbouncer(url: str) -> Iterator[str]:
    """Run it in front of a database; the URL through it. Round robin: each transaction goes to the session used longest ago."""
    assert PROGRAM is not None
    parts = urlsplit(url)
    listen = free_port()
    with tempfile.TemporaryDirectory(prefix="pgbouncer-") as directory:
        file = Path(directory) / "pgbouncer.ini"
        file.write_text(CONFIG.format(host=parts.hostname, port=parts.port, user=parts.username, listen=listen))
        who: dict[str, str] = {}
        if os.geteuid() == 0:  # it refuses to run as root
            Path(directory).chmod(0o755)
            who = {"user": pwd.getpwnam("nobody").pw_name}
        with (Path(directory) / "log").open("wb") as log:
            process = subprocess.Popen([PROGRAM, str(file)], stdout=log, stderr=log, **who)
            try:
                deadline = time.monotonic() + 60
                while not _accepts(listen):
                    assert process.poll() is None, (Path(directory) / "log").read_text()
                    assert time.monotonic() < deadline, (Path(directory) / "log").read_text()
                    time.sleep(0.02)
                yield f"postgresql://{parts.username}@127.0.0.1:{listen}{parts.path}"
            finally:
                process.kill()
                process.wait()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(PROGRAM is None and not os.environ.get("CI"), reason="pgbouncer is not installed: apt-get install pgbouncer")
async def test_two_writers_over_a_transaction_pool_post_each_document_once(database_url: str, sandbox: QboSandbox) -> None:
    assert PROGRAM is not None, "pgbouncer is not installed: apt-get install pgbouncer"
    await create_schema(database_url)
    company = sandbox.company()
    realm = company["realm_id"]
    with pgbouncer(database_url) as pooled:
        settings = settings_for(pooled, sandbox, company, database_prepared_statements=False, batch_threshold=8)
        pools = [await open_pool(settings, application_name=f"writer {i}") for i in (1, 2)]
        try:
            desks = [Desk(pool, sandbox, settings, realm, Writer(settings, pool)) for pool in pools]
            async with running(desks[0].writer), running(desks[1].writer):
                commands = [invoice(realm, f"Q-{i}", customer=f"P-{i % 3}") for i in range(22)]
                commands += [bill(realm, f"R-{i}") for i in range(4)]  # type: ignore[list-item]
                await asyncio.gather(*(desks[i % 2].tell(c) for i, c in enumerate(commands)))
                await desks[0].until_ended()
                assert await _sessions(pooled) >= 3  # several server connections were in use, else this test shows nothing
                await desks[1].tell(*(invoice(realm, f"Q-{i}", 2, amount="150.00") for i in range(4)), retract(realm, "Q-5", 2))
                states = await desks[1].until_ended()
        finally:
            for pool in pools:
                pool.terminate()
    assert {state for (key, version), state in states.items() if version == 1} == {"posted"}
    assert [states[f"Q-{i}", 2] for i in range(4)] == ["posted"] * 4
    assert states["Q-5", 2] == "retracted"
    books = [b for kind in ("Invoice", "Bill") for b in sandbox.books(realm, kind) if "bookrelay:" in b.get("PrivateNote", "")]
    numbers = [b["DocNumber"] for b in books]
    assert len(numbers) == len(set(numbers)) == 26
    assert sorted(b["TotalAmt"] for b in books if b["TotalAmt"] == 150) == [150] * 4


async def _sessions(pooled: str) -> int:
    """How many connections to Postgres PgBouncer holds for the test's database."""
    connection = await asyncpg.connect(pooled, statement_cache_size=0)
    try:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND client_port IS NOT NULL"
        )
    finally:
        await connection.close()
    return count
