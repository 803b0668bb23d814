"""One stage for the fault tests of a session: its processes are started from a thread that lives as long as they do."""

import asyncio
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


class Lanes:
    """Lanes for tests that run side by side, each opened when it is first used: most workers of a run need one."""

    def __init__(self, loop: Loop, stage_: Stage) -> None:
        self._loop, self._stage = loop, stage_
        self._open: dict[int, Lane] = {}

    def __getitem__(self, number: int) -> Lane:
        return self.several(number)[0]

    def several(self, *numbers: int) -> list[Lane]:
        """Return these lanes; what is missing is opened."""

        async def open_lanes(missing: list[int]) -> list[Lane]:
            return list(await asyncio.gather(*(self._stage.lane(seed=number) for number in missing)))

        missing = [number for number in numbers if number not in self._open]
        self._open |= dict(zip(missing, self._loop.run(open_lanes(missing), 120), strict=True))
        return [self._open[number] for number in numbers]


@pytest.fixture(scope="session")
def lanes(faults_loop: Loop, faults_stage: Stage) -> Lanes:
    """Lanes of this worker."""
    return Lanes(faults_loop, faults_stage)
