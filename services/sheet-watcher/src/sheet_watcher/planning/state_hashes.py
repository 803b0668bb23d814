"""Detects changed rows by hashes of their content, in the current form and in those of earlier releases."""

import hashlib

from bookrelay.messages import content_hash

from sheet_watcher.mapping import InvalidRow, ValidRow

NUMBERED = "2:"  # prefix of state hashes that include the row's number and total


def state_hash(mapped: ValidRow | InvalidRow) -> str:
    """Return the hash of a row's content, or of its rejection: it changes with either."""
    if isinstance(mapped, ValidRow):
        return f"{NUMBERED}{mapped.kind}:{content_hash(mapped.content)}{_total(mapped)}"
    said = f"{mapped.kind}\x1f{mapped.reason}\x1f{mapped.fix}"
    return f"invalid:{hashlib.sha256(said.encode()).hexdigest()}"


def earlier_hashes(mapped: ValidRow | InvalidRow) -> tuple[str, ...]:
    """Return the hashes that earlier releases stored for the same row, without its number and total.

    A row published by an earlier release has not changed just because we now read more columns: its document keeps its number
    until the next update. Hashes in the current form are not compared this way, or a number entered later would be missed.
    """
    if not isinstance(mapped, ValidRow):
        return ()
    unnumbered = mapped.content.model_copy(update={"number": None})
    return (
        f"{mapped.kind}:{content_hash(unnumbered)}",
        f"{mapped.kind}:{content_hash(mapped.content)}{_total(mapped)}",  # with both, but without the prefix
    )


def _total(valid: ValidRow) -> str:
    return "" if valid.total is None else f":{valid.total}"
