"""Google's quotas: how many requests a minute the project and each user may make."""

import time
from collections import deque

from sandbox.sheets.errors import SheetsError

PROJECT_LIMIT, USER_LIMIT = 300, 60


class Quotas:
    """Requests of the last 60 s by quota ("Read", "Write") and user, "" for the project. Nothing is counted unless `enforced`."""

    def __init__(self, *, enforced: bool) -> None:
        self.enforced = enforced
        self._used: dict[tuple[str, str], deque[float]] = {}

    def clear(self) -> None:
        """Forget what was used."""
        self._used.clear()

    def count(self, quota: str, email: str) -> None:
        """Count one request, for the project and for the user. Real time: quotas do not follow the moved clock.

        Raises SheetsError (429) where one of the two is used up.
        """
        if not self.enforced:
            return
        now = time.monotonic()
        both = ((quota, ""), PROJECT_LIMIT, "minute"), ((quota, email), USER_LIMIT, "minute per user")
        for key, limit, words in both:
            used = self._used.setdefault(key, deque())
            while used and used[0] <= now - 60:
                used.popleft()
            if len(used) >= limit:
                metric = f"{quota} requests"
                raise SheetsError(
                    f"Quota exceeded for quota metric '{metric}' and limit '{metric} per {words}' of service "
                    "'sheets.googleapis.com' for consumer 'project_number:123456789012'.",
                    429,
                    "RESOURCE_EXHAUSTED",
                )
        for key, _, _ in both:
            self._used[key].append(now)
