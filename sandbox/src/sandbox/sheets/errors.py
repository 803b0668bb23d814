"""Google's errors."""


class SheetsError(Exception):
    """Google's error: HTTP code, status word, message."""

    def __init__(self, message: str, code: int = 400, status: str = "INVALID_ARGUMENT") -> None:
        super().__init__(message)
        self.code, self.status, self.message = code, status, message
