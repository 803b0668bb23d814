"""Which quotes are read in detail, and what is told about those that are put aside, in memory."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from bookrelay.errors import Code
from bookrelay.source.documents import Origin
from emr_poller.domain import ListedQuote, ParkedQuote, PublishedQuote, State
from emr_poller.handlers import FailedQuote, choose, park, plan

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ORIGIN = Origin("r", "s", "emr-poller")


def listed(number: int, version: int = 1, minute: int = 0) -> ListedQuote:
    return ListedQuote(number=number, version=version, modified_at=NOW + timedelta(minutes=minute))


def published(number: int, version: int = 1, minute: int = 0) -> PublishedQuote:
    at = NOW + timedelta(minutes=minute)
    return PublishedQuote(number=number, version=version, modified_at=at, content_hash="h", operation="upsert")


def parked(number: int, version: int = 1, minute: int = 0) -> ParkedQuote:
    at = NOW + timedelta(minutes=minute)
    return ParkedQuote(number=number, version=version, modified_at=at, reason="r", fix="f", code=Code.VALIDATION)


@pytest.mark.parametrize(
    ("row", "state", "due", "read"),
    [
        (listed(1), State(), (), True),
        (listed(1), State(published={1: published(1)}), (), False),
        (listed(1, version=2), State(published={1: published(1)}), (), True),
        (listed(1, minute=1), State(published={1: published(1)}), (), True),
        (listed(1, version=1, minute=9), State(published={1: published(1, version=2)}), (), False),
        (listed(1), State(parked={1: parked(1)}), (), False),
        (listed(1), State(parked={1: parked(1)}), (1,), True),
        (listed(1, version=2), State(parked={1: parked(1)}), (), True),
        (listed(1, version=2), State(published={1: published(1)}, parked={1: parked(1, version=2)}), (), False),
    ],
)
def test_only_news_and_what_is_due_again_is_read(row: ListedQuote, state: State, due: Sequence[int], read: bool) -> None:
    assert [q.number for q in choose([row], (), state, due)] == ([1] if read else [])


def test_quote_whose_list_row_says_nothing_is_read_unless_it_is_parked_and_not_due() -> None:
    state = State(parked={2: parked(2), 3: parked(3)})
    assert [q.number for q in choose([], [1, 2, 3], state, [3])] == [1, 3]


def failure(version: int = 1, reason: str = "wrong", *, transient: bool = False) -> FailedQuote:
    return FailedQuote(1, version, NOW, reason, "fix", Code.VALIDATION, transient)


def told(failures: Sequence[FailedQuote]) -> list[tuple[int, int]]:
    """Park the same quote again and again; return (version, occurrence) of each event."""
    before, events = None, []
    for one in failures:
        before, event = park(one, before, origin=ORIGIN, now=NOW)
        events += [(event.data.version, event.data.occurrence)] if event else []
    return events


def test_each_reason_of_each_version_is_told_once() -> None:
    assert told([failure(), failure(), failure()]) == [(1, 0)]
    assert told([failure(), failure(reason="other"), failure(reason="other")]) == [(1, 0), (1, 1)]
    assert told([failure(), failure(version=2), failure(version=2)]) == [(1, 0), (2, 1)]


def test_passing_failure_is_told_at_the_third_try() -> None:
    assert told([failure(transient=True)] * 2) == []
    assert told([failure(transient=True)] * 5) == [(1, 0)]


def test_what_is_said_and_what_is_remembered_of_it_come_together() -> None:
    settled = plan([failure()], State(), origin=ORIGIN, now=NOW)
    assert [event.data.reason for event in settled.messages] == ["wrong"]
    assert [(row.number, row.events) for row in settled.parked] == [(1, 1)]
    again = plan([failure()], State(parked={1: settled.parked[0]}), origin=ORIGIN, now=NOW)
    assert (list(again.messages), [row.attempts for row in again.parked]) == ([], [2])
