"""Whether a row says something new: hashes of what it said, in the form of today and in those of earlier releases."""

import hashlib

from bookrelay.messages import content_hash

from sheet_watcher.mapping import Invalid, Valid

NUMBERED = "2:"  # begins a state hash that counts the row's number and total


def state_hash(mapped: Valid | Invalid) -> str:
    """Return what is stored for what a row says: other content, or another refusal, has another hash."""
    if isinstance(mapped, Valid):
        return f"{NUMBERED}{mapped.kind}:{content_hash(mapped.content)}{_total(mapped)}"
    said = f"{mapped.kind}\x1f{mapped.reason}\x1f{mapped.fix}"
    return f"invalid:{hashlib.sha256(said.encode()).hexdigest()}"


def earlier_hashes(mapped: Valid | Invalid) -> tuple[str, ...]:
    """Return what an earlier release stored for the same row: it knew neither its number nor its total.

    A row that it published has not changed because we read more of it: its document keeps its number until its next update.
    What is marked as of today is never compared so, or a number that a person fills in later would be passed over.
    """
    if not isinstance(mapped, Valid):
        return ()
    unnumbered = mapped.content.model_copy(update={"number": None})
    return (
        f"{mapped.kind}:{content_hash(unnumbered)}",
        f"{mapped.kind}:{content_hash(mapped.content)}{_total(mapped)}",  # with both, but not marked yet
    )


def _total(valid: Valid) -> str:
    return "" if valid.total is None else f":{valid.total}"
