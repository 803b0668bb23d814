"""The errors of a source's client and mapping; each class says what to do next."""

from bookrelay.errors import BookrelayError, Code, PermanentError, TransientError


class PausedError(BookrelayError):
    """The source cannot be read until an operator acts: credentials, sharing, addresses, an unreadable layout."""


class ThrottledError(TransientError):
    """The source system asks us to wait."""

    def __init__(self, who: str, seconds: float) -> None:
        super().__init__(f"{who} asks us to wait {seconds:.0f} s.", code=Code.RATE_LIMIT)
        self.seconds = seconds


class RejectedError(PermanentError):
    """This document cannot become a command; its operator is shown the reason and the fix."""

    def __init__(self, reason: str, fix: str, code: Code = Code.VALIDATION) -> None:
        super().__init__(reason, fix, code)
