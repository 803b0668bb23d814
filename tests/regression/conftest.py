"""What regression tests of the writer run on: the same parts as its integration tests."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration" / "qbo_writer"))

from writer_support import QboSandbox, qbo_sandbox


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[QboSandbox]:
    """The stand-in, limits off."""
    with qbo_sandbox("--no-limits") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_process: QboSandbox) -> Iterator[QboSandbox]:
    """The stand-in without faults."""
    yield sandbox_process
    sandbox_process.control("DELETE", "faults")
