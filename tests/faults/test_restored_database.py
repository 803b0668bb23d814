"""The database was restored from a backup taken in the middle of a run: no double, nothing lost, no person's edit overwritten."""

import pytest
from qbo_writer.crashpoints import Place

from . import restoring
from .conftest import Lanes
from .machine import Loop

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(300)]

CASES: list[tuple[restoring.Kafka, Place | None]] = [
    ("ahead", None),
    ("ahead", Place.RECOVERY_BEGUN),
    ("ahead", Place.RECOVERY_REPLAYED),
    ("behind", None),
]
"""A few of restoring.CASES; `make faults` runs all."""


@pytest.mark.parametrize(("kafka", "crash"), CASES, ids=[f"kafka-{k}-{c or 'no-crash'}" for k, c in CASES])
def test_what_was_posted_since_the_backup_is_taken_over(
    faults_loop: Loop, lanes: Lanes, kafka: restoring.Kafka, crash: Place | None
) -> None:
    result = faults_loop.run(restoring.run(lanes[0], f"restored-{kafka}-{crash}", kafka, crash), 280)
    assert (result.verdict.doubles, result.verdict.lost) == (0, 0)
    assert result.problems() == []
