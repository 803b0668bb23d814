"""What a source's client and mapping raise: each says what to do next."""

from bookrelay.errors import BookrelayError, Code, PermanentError, TransientError


class PausedError(BookrelayError):
    """Only an operator can make this go on: credentials, sharing, addresses, a layout that cannot be read."""


class ThrottledError(TransientError):
    """The system that is read asks us to wait."""

    def __init__(self, who: str, seconds: float) -> None:
        super().__init__(f"{who} asks for a pause of {seconds:.0f} s.", code=Code.RATE_LIMIT)
        self.seconds = seconds


class RefusedError(PermanentError):
    """This one document cannot become a command as it is: its operator is told why, and what to do."""

    def __init__(self, reason: str, fix: str, code: Code = Code.VALIDATION) -> None:
        super().__init__(reason, fix, code)
