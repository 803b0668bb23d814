"""Nothing goes on for ever: every cycle of (state x answer) ends held, rejected, posted, or waits under a counter."""

import os

import pytest
from qbo_writer.transitions import When

from .conftest import Lanes
from .cycles import ELSEWHERE, Walk, cases, cyclic, shapes_known, shapes_walked, unbounded_cycles
from .machine import Loop

PARTS = 12


def test_every_shape_of_answer_has_a_case() -> None:
    assert shapes_known() <= shapes_walked()


@pytest.fixture(scope="session")
def walked() -> Walk:
    """What the parts of the walk showed together."""
    return Walk()


@pytest.mark.timeout(600)  # each has deadlines of its own; a busy machine takes minutes
@pytest.mark.parametrize("part", range(PARTS))
def test_every_cycle_is_bounded(faults_loop: Loop, lanes: Lanes, walked: Walk, part: int) -> None:
    walk = faults_loop.run(unbounded_cycles(lanes[0], only=cases()[part::PARTS]), 590)
    walked += walk
    if os.environ.get("CYCLES_SHOW"):
        print(part, walk.calls_most, walk.ends)  # noqa: T201
    assert walk.unbounded == []
    assert len(walk.ends) == walk.cases


def test_every_row_of_the_table_that_lies_on_a_cycle_was_walked(walked: Walk) -> None:
    """A new row without a case fails here (whoever adds one gives it an answer in cycles.py, or says why none drives it)."""
    rows = {when for _, when in cyclic()}
    missing = {when.name for when in rows - set(ELSEWHERE)} - {row.upper() for row in walked.rows}
    if walked.cases < len(cases()):
        pytest.skip("only a part of the walk ran in this process")
    assert missing == set()
    assert When.RESEND_REFUSED in rows
