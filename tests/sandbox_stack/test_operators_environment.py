"""`make up` leaves what its writer was given, for the operator's commands, readable by its owner only."""

import stat
import subprocess
from pathlib import Path

from sandbox.stack.stack import Stack
from sandbox.system import System
from sandbox.up import write_environment


async def test_a_shell_reads_what_the_writer_was_given(tmp_path: Path) -> None:
    stack = Stack(directory=tmp_path, database_url="postgresql://u:p'w@127.0.0.1:1/b", kafka_bootstrap_servers="127.0.0.1:1")
    system = System(stack, tmp_path, environment={"QBO_REALM_ID": "17", "QB_DEFAULT_BANK_ACCOUNT": "Bank & $Sons"})
    try:
        write_environment(system, tmp_path)
    finally:
        await system.http.aclose()
    path = tmp_path / "qbo-writer.env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    script = f"set -a; . {path}; env"
    told = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.splitlines()  # noqa: ASYNC221
    for line in ("DATABASE_URL=postgresql://u:p'w@127.0.0.1:1/b", "QBO_REALM_ID=17", "QB_DEFAULT_BANK_ACCOUNT=Bank & $Sons"):
        assert line in told
