"""The change feed found a document while its own send fell silent. Both were committed at once, and the end was told twice."""

from qbo_writer.ledger.changes import AttemptChange, Commit
from qbo_writer.ledger.commits import one_for_each_attempt

FOUND = Commit(AttemptChange(1, "resolved", True, True, False, outcome="created"))
SILENT = Commit(AttemptChange(1, "unknown", True, True, False, silent=True))
LATER = Commit(AttemptChange(1, "sending", True, True, False))
OTHER = Commit(AttemptChange(2, "unknown", True, True, False, silent=True))
WITHOUT = Commit()


def test_nothing_counts_after_what_resolves() -> None:
    assert one_for_each_attempt([FOUND, OTHER, SILENT, WITHOUT, WITHOUT]) == [FOUND, OTHER, WITHOUT, WITHOUT]


def test_what_resolves_counts_after_silence() -> None:
    assert one_for_each_attempt([SILENT, OTHER, FOUND]) == [OTHER, FOUND]


def test_the_last_counts_where_nothing_resolves() -> None:
    assert one_for_each_attempt([SILENT, LATER]) == [LATER]
