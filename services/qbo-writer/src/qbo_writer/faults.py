"""What an answer of Intuit means: a table keyed by code, and parsers for JSON, lower-case, XML and HTML bodies. Never by text."""

from collections.abc import Mapping

from qbo_writer.domain import Answer, Operation


def classify(status: int, headers: Mapping[str, str], body: str, operation: Operation | None) -> Answer:
    """Classify an answer to a write. Success is returned without `seen`: the client fills it from the body."""
    raise NotImplementedError
