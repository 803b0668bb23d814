"""The errors that people see (QB001...) and the exceptions that tell a loop or consumer what to do next."""

from enum import StrEnum


class Code(StrEnum):
    """User-facing codes. Each stands in events, in the sheet and in the logs."""

    OAUTH_FAILED = "QB001"
    REFRESH_FAILED = "QB002"
    RATE_LIMIT = "QB003"
    VALIDATION = "QB004"
    CONFLICT = "QB005"
    MAPPING_MISSING = "QB006"
    DISCREPANCY = "QB007"
    AUTOMATION_FAILED = "QB008"


class Disposition(StrEnum):
    """What becomes of a failed piece of work."""

    RETRY = "retry"  # again, later, with backoff
    REJECT = "reject"  # the document is wrong: tell its source
    HOLD = "hold"  # a person decides
    HALT = "halt"  # we are wrong or cut off: stop the realm and page


class BookrelayError(Exception):
    """An error with a sentence for the operator: what is wrong, and what to do."""

    def __init__(self, reason: str, fix: str = "", code: Code = Code.AUTOMATION_FAILED) -> None:
        super().__init__(reason)
        self.reason, self.fix, self.code = reason, fix, code

    def sentence(self) -> str:
        """Return reason and remedy as one line."""
        return f"{self.code}: {self.reason}" + (f" {self.fix}" if self.fix else "")


class TransientError(BookrelayError):
    """The same work may succeed later: keep it and try again with backoff."""


class PermanentError(BookrelayError):
    """The same work can never succeed as it is: reject or dead-letter it."""


class RecordRefusedError(PermanentError):
    """A record that no broker would take: too large, or refused for what it is. Nothing of its neighbours is at fault."""


class HaltError(BookrelayError):
    """We are cut off (a revoked grant, an ended subscription): stop this realm and tell an operator."""


class SettingsError(BookrelayError):
    """A setting is missing or wrong; the service cannot start."""
