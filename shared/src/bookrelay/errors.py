"""The user-facing error codes (QB001...), and the exceptions whose class tells a loop or consumer what to do next."""

from enum import StrEnum


class Code(StrEnum):
    """User-facing codes, as shown in events, in the sheet and in the logs."""

    OAUTH_FAILED = "QB001"
    REFRESH_FAILED = "QB002"
    RATE_LIMIT = "QB003"
    VALIDATION = "QB004"
    CONFLICT = "QB005"
    MAPPING_MISSING = "QB006"
    DISCREPANCY = "QB007"
    AUTOMATION_FAILED = "QB008"


class Disposition(StrEnum):
    """What to do with work that failed."""

    RETRY = "retry"  # later, with backoff
    REJECT = "reject"  # the document is wrong: report it to its source
    HOLD = "hold"  # a person must decide
    HALT = "halt"  # our fault, or access was withdrawn: stop the company and alert an operator


class BookrelayError(Exception):
    """An error for the operator: what is wrong (`reason`), and what to do (`fix`)."""

    def __init__(self, reason: str, fix: str = "", code: Code = Code.AUTOMATION_FAILED) -> None:
        super().__init__(reason)
        self.reason, self.fix, self.code = reason, fix, code

    def sentence(self) -> str:
        """Return reason and fix as one line."""
        return f"{self.code}: {self.reason}" + (f" {self.fix}" if self.fix else "")


class TransientError(BookrelayError):
    """The same work may succeed later: keep it and retry with backoff."""


class PermanentError(BookrelayError):
    """The same work can never succeed as it is: reject or dead-letter it."""


class RecordRefusedError(PermanentError):
    """A broker refuses this record, for its size or content. Other records are not affected."""


class HaltError(BookrelayError):
    """Access was withdrawn (a revoked grant, an ended subscription): stop posting for this company and alert an operator."""


class SettingsError(BookrelayError):
    """A setting is missing or wrong; the service cannot start."""
