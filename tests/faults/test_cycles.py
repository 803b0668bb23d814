"""Nothing goes on for ever: every cycle of (state x answer) ends held, rejected, posted, or waits under a counter."""

import pytest
from qbo_writer.protocol.transitions import Trigger

from .conftest import Lanes
from .cycles import ELSEWHERE, cyclic, shapes_known, shapes_walked, unbounded_cycles
from .machine import Loop


def test_every_shape_of_answer_has_a_case() -> None:
    assert shapes_known() <= shapes_walked()


@pytest.mark.timeout(900)  # it has deadlines of its own; a busy machine takes minutes
def test_every_cycle_is_bounded(faults_loop: Loop, lanes: Lanes) -> None:
    """A new row of the table without a case fails here: give it an answer in cycles.py, or say there why none drives it."""
    walk = faults_loop.run(unbounded_cycles(lanes[0]), 880)
    assert walk.unbounded == []
    assert len(walk.ends) == walk.cases
    rows = {when for _, when in cyclic()}
    assert {when.name for when in rows - set(ELSEWHERE)} - {row.upper() for row in walk.rows} == set()
    assert Trigger.RESEND_REFUSED in rows
