"""Each counterexample that the protocol's model prints for "as drafted", as a test of the writer in real processes."""

import pytest

from . import scenarios
from .conftest import Lanes
from .machine import Loop
from .scenarios import Told

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module", params=[False, True], ids=["no numbers", "numbers that repeat and change"])
def told(request: pytest.FixtureRequest, faults_loop: Loop, lanes: Lanes) -> dict[str, Told | Exception]:
    """All plays at the same time, each in a company of its own; look-ups are stale for up to S."""
    lane = lanes[0]

    async def play() -> dict[str, Told | Exception]:
        await lane.control("POST", "modes", {"stale_seconds": 0.7})
        try:
            return await scenarios.play_all(lane, numbered=request.param)
        finally:
            await lane.control("POST", "modes", {"stale_seconds": 0.0})

    return faults_loop.run(play(), 200)


def sound(told: dict[str, Told | Exception], name: str) -> Told:
    """Return what a play led to; the books are right and every command was told one end."""
    one = told[name]
    if isinstance(one, Exception):
        raise one
    assert one.verdict.problems == []
    return one


def test_v2_comes_while_v1_is_unknown(told: dict[str, Told | Exception]) -> None:
    one = sound(told, "newer_version_while_unknown")
    assert one.ends[2] == ["posted"]
    assert one.document is not None
    assert one.document["DocNumber"] != scenarios.TAKEN, "another document has this number"


def test_a_retraction_comes_while_v1_is_unknown(told: dict[str, Told | Exception]) -> None:
    one = sound(told, "retraction_while_unknown")
    assert one.document is None
    assert one.ends[2] in (["retracted"], ["unchanged"])


def test_both_sends_are_late(told: dict[str, Told | Exception]) -> None:
    one = sound(told, "both_sends_late")
    assert one.ends == {1: ["posted"]}


def test_a_stale_look_up(told: dict[str, Told | Exception]) -> None:
    one = sound(told, "stale_look_up")
    assert one.ends == {1: ["posted"]}


def test_an_error_on_the_resend_while_the_first_send_is_late(told: dict[str, Told | Exception]) -> None:
    one = sound(told, "error_on_the_resend")
    assert one.ends == {1: ["posted"]}


def test_5010_is_not_reapplied_over_a_persons_edit(told: dict[str, Told | Exception]) -> None:
    one = sound(told, "conflict_over_a_persons_edit")
    assert one.ends[2] == ["held"]


def test_an_older_version_after_a_rejected_newer_one(told: dict[str, Told | Exception]) -> None:
    one = sound(told, "older_after_a_rejected_newer")
    assert one.document is None
    assert one.ends[1] == ["superseded"]
    assert one.ends[2] in (["rejected"], ["held"])


def test_6140_finds_our_own_older_version(told: dict[str, Told | Exception]) -> None:
    one = sound(told, "number_taken_by_our_own")
    assert one.ends[2] == ["posted"]
    assert one.verdict.held == 0


def test_unchanged_while_an_update_is_unknown(told: dict[str, Told | Exception]) -> None:
    one = sound(told, "unchanged_while_an_update_is_unknown")
    assert one.document is not None
    assert str(one.document["TotalAmt"]) == "10.01"


def test_the_requestid_is_ignored(told: dict[str, Told | Exception]) -> None:
    assert sound(told, "requestid_ignored").ends == {1: ["posted"]}


def test_the_requestid_is_forgotten_before_the_resend(faults_loop: Loop, lanes: Lanes) -> None:
    lane = lanes[0]

    async def play() -> dict[str, Told | Exception]:
        await lane.control("POST", "modes", {"requestid_seconds": 0.2})
        try:
            return await scenarios.play_all(lane, [scenarios.requestid_forgotten])
        finally:
            await lane.control("POST", "modes", {"requestid_seconds": None})

    assert sound(faults_loop.run(play(), 200), "requestid_forgotten").ends == {1: ["posted"]}


def test_each_counterexample_of_the_model_is_played() -> None:
    # What the model prints after "drafted: ", copied from its output: each has its play.
    printed = {
        "v2 comes while v1 is unknown", "a retraction comes while v1 is unknown", "both sends are late",
        "a paused writer wakes up", "a stale look-up", "an error on the resend while the first send is late",
        "5010, re-applied over a person's edit", "an older version after a rejected newer one",
        "6140 finds our own older version", "'unchanged' while an update is unknown",
        "the requestid is forgotten before the resend", "the requestid is ignored",
    }  # fmt: skip
    assert set(scenarios.COUNTEREXAMPLES) == printed
    apart = {scenarios.paused_writer_wakes_up, scenarios.requestid_forgotten}  # in circumstances of their own
    assert {*scenarios.PLAYS, *apart} == set(scenarios.COUNTEREXAMPLES.values())


@pytest.mark.parametrize("ignored", [False, True], ids=["honoured", "ignored"])
def test_a_paused_writer_wakes_up(faults_loop: Loop, lanes: Lanes, ignored: bool) -> None:
    # Without the writer's own check before a send: nothing relies on it.
    one = faults_loop.run(scenarios.paused_writer_wakes_up(lanes[0], ignored=ignored, defect="check_before_send_off"), 200)
    assert one.verdict.problems == []
    assert one.ends == {1: ["posted"]}
