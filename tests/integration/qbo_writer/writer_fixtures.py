"""The fixtures of the writer's tests, for every directory that has some: one process for the session, a company for each test."""

from collections.abc import Iterator

import pytest
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
