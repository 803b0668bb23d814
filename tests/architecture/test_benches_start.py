"""Each benchmark can at least be started: nothing else in the suite imports them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
MADE = re.findall(r"^\t@PYTHONPATH=tests \$\(RUN\) -m (bench\.\w+) \$\(ARGS\)$", (REPOSITORY / "Makefile").read_text(), re.M)


def test_every_benchmark_has_a_target() -> None:
    modules = {f"bench.{path.stem}" for path in (REPOSITORY / "bench").glob("*.py") if "__main__" in path.read_text()}
    assert modules == set(MADE)


@pytest.mark.parametrize("module", MADE)
def test_a_benchmark_starts(module: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": "tests"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "usage:" in ended.stdout
