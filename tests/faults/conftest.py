"""One stage for the fault tests of a session: its processes are started from a thread that lives as long as they do."""

from collections.abc import Iterator
from typing import Any

import pytest

from .harness import Lane, Stage, stage
from .machine import Loop


@pytest.fixture(scope="session")
def faults_loop() -> Loop:
    """The event loop of everything here."""
    return Loop()


@pytest.fixture(scope="session")
def faults_stage(faults_loop: Loop) -> Iterator[Stage]:
    """Postgres with a migrated template."""
    context: Any = stage()
    yield faults_loop.run(context.__aenter__(), 120)
    faults_loop.run(context.__aexit__(None, None, None), 120)


@pytest.fixture(scope="session")
def lanes(faults_loop: Loop, faults_stage: Stage) -> list[Lane]:
    """Lanes for tests that run side by side."""

    async def open_lanes() -> list[Lane]:
        return [await faults_stage.lane(seed=number) for number in range(3)]

    return faults_loop.run(open_lanes(), 120)
