"""HTTP responses, for the clients of all sources."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 3600.0


def retry_after(header: str | None) -> float | None:
    """Return the seconds that a Retry-After header (seconds or a date) asks for, 1 to 3600; None if it cannot be parsed."""
    try:
        seconds = float(header or "")
    except ValueError:
        try:
            moment = parsedate_to_datetime(header or "")
        except (ValueError, TypeError):
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    return min(max(SHORTEST_SECONDS, seconds), LONGEST_SECONDS)  # this order maps NaN to 1
