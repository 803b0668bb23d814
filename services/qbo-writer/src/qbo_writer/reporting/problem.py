"""One thing that a person must see to, and what kinds of such things there are."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

What = Literal[
    "blocked_consumer", "policy_wrong", "halted", "disconnected", "token_endpoint", "feed_stuck", "sweep_refused", "sweep_late",
    "unserved", "events_waiting",
    "events_parked",
]  # fmt: skip


@dataclass(frozen=True)
class Problem:
    """One thing that a person must see to. `details` are plain values."""

    what: What
    reason: str
    fix: str
    since: datetime | None = None
    realm: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def sentence(self) -> str:
        """Return it as one line."""
        since = f" (since {self.since:%Y-%m-%d %H:%M} UTC)" if self.since else ""
        return f"{self.reason.rstrip('.')}{since}. {self.fix}".strip()

    def plain(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)
