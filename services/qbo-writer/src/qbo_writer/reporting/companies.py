"""What needs a person at a configured company: not connected, halted, its change feed or daily comparison refused or late."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bookrelay.db import Pool
from bookrelay.errors import Code

from qbo_writer.ledger import status
from qbo_writer.ledger.tokens import CONNECTED
from qbo_writer.protocol import feed_refusals
from qbo_writer.protocol.feed_paging import Paging
from qbo_writer.protocol.feed_refusals import Refusals
from qbo_writer.reporting.problem import Problem
from qbo_writer.settings import Settings

TOKEN_AWAY = timedelta(minutes=1)
FEED_FAILURES = 3  # in a row
FIX_REFUSED = (
    "Check whether the company's plan has these (bills need Essentials, classes and locations Plus), whether the user who "
    "connected bookrelay may see them, and Intuit's status page."
)
SWEEP_SPARE = timedelta(hours=2)  # a sweep that failed is tried again every 15 minutes
FEED_SPARE = timedelta(minutes=10)  # how far beyond two rounds the feed may be behind


@dataclass(frozen=True)
class Company:
    """A configured company, as far as its state can need a person."""

    realm: str
    halted_code: str | None
    halted_reason: str | None
    halted_since: datetime | None
    operator_halt: dict[str, Any] | None  # a person's own: by, why
    connection: str | None  # the state of its tokens; None: there are none
    connection_reason: str | None
    token_failing_since: datetime | None
    token_error: str | None
    lease_live: bool
    feed_reached: datetime | None
    feed_failures: int
    feed_failing_since: datetime | None
    feed_error: str | None
    now: datetime
    feed_refusals: Refusals
    sweep_refusals: Refusals
    swept_at: datetime | None

    @property
    def feed_lag(self) -> timedelta | None:
        """How far reading the changes is behind; None before the first read."""
        return max(self.now - self.feed_reached, timedelta()) if self.feed_reached else None

    def feed(self) -> dict[str, Any]:
        """Return what `status` shows of the change feed."""
        return {
            "read_until": self.feed_reached, "lag_seconds": round(self.feed_lag.total_seconds()) if self.feed_lag else None,
            "failures": self.feed_failures, "failing_since": self.feed_failing_since, "last_error": self.feed_error,
            "refused": {entity: one.words for entity, one in self.feed_refusals.items()},
        }  # fmt: skip

    def problems(self, settings: Settings) -> list[Problem]:
        """Return what a person must see to."""
        connect = (
            f"Connect it: qbo-writer auth login --realm {self.realm}. Posting then resumes automatically; its commands are kept."
        )
        if self.connection != CONNECTED and not (self.connection is None and settings.qbo_initial_refresh_token):
            why = (
                "was never connected"
                if self.connection is None
                else f"is not connected: {self.connection_reason or 'its grant ended'}"
            )
            return [Problem("disconnected", f"Company {self.realm} {why}", connect, self.halted_since, self.realm)]
        if (by := self.operator_halt) is not None:
            fix = f"When its cause is gone: qbo-writer resume {self.realm} --why TEXT. Its commands wait."
            return [
                Problem(
                    "halted", f"Company {self.realm} was halted by {by.get('by')}: {by.get('why')}", fix, None, self.realm, by
                )
            ]
        if self.halted_code:
            again = connect if self.halted_code in (Code.OAUTH_FAILED, Code.REFRESH_FAILED) else (
                "Do what the reason says. One request is tried every 5 minutes, and posting resumes automatically."
            )  # fmt: skip
            reason = f"Company {self.realm} is halted, {self.halted_code}: {self.halted_reason}"
            return [Problem("halted", reason, again, self.halted_since, self.realm, {"code": self.halted_code})]
        if self.token_failing_since and self.now - self.token_failing_since > TOKEN_AWAY:
            reason = f"Company {self.realm} gets no access token, so nothing is posted: {self.token_error}"
            fix = (
                f"Check whether this host can reach {settings.qbo_token_url} (proxy, firewall, name), and Intuit's status page. "
                "It is retried every minute, and posting resumes automatically."
            )
            return [Problem("token_endpoint", reason, fix, self.token_failing_since, self.realm)]
        return self._feed_problems(settings)

    def _feed_problems(self, settings: Settings) -> list[Problem]:
        behind = self.feed_lag is not None and self.feed_lag > 2 * timedelta(seconds=settings.feed_seconds) + FEED_SPARE
        if not self.lease_live:
            return []
        refused = [*self._refused(), *self._not_swept(), *self._swept_late(settings)]
        if not (behind or self.feed_failures >= FEED_FAILURES):
            return refused
        lag = f"is {round(self.feed_lag.total_seconds())} s behind" if self.feed_lag else "was never read"
        error = f"; it failed {self.feed_failures} times, the last time with: {self.feed_error}" if self.feed_failures else ""
        return [
            *refused,
            Problem(
                "feed_stuck", f"The change feed of company {self.realm} {lag}{error}",
                "Posting continues, but changes that people make in QuickBooks are noticed late. Fix the error shown; if none is "
                "shown, more is changed than is read: raise FEED_READS_PER_RUN.",
                self.feed_failing_since or self.feed_reached, self.realm, self.feed(),
            )
        ]  # fmt: skip

    def _not_swept(self) -> list[Problem]:
        """The kinds that QuickBooks refuses to list for the daily comparison, although the company is served."""
        return [
            Problem(
                "sweep_refused", f"The daily comparison of company {self.realm} is refused for {entity}: {one.words}",
                f"{one.fix or FIX_REFUSED} Posting continues, but extra or missing documents of this kind are not noticed. The "
                "next comparison tries again.",
                one.since, self.realm, {"entity": entity, "times": one.times},
            )
            for entity, one in self.sweep_refusals.items()
        ]  # fmt: skip

    def _swept_late(self, settings: Settings) -> list[Problem]:
        """Report a daily comparison that has not completed for more than a day, although the company is served."""
        most = timedelta(seconds=settings.sweep_seconds) + SWEEP_SPARE
        if self.swept_at is None or self.now - self.swept_at <= most:
            return []
        return [
            Problem(
                "sweep_late",
                f"The daily comparison of company {self.realm} is late: it was last done {self.swept_at:%Y-%m-%d %H:%M} UTC",
                "Look for `sweep.failed` in the writer's log: it names what QuickBooks did not answer. Posting continues, but "
                "extra or missing documents in QuickBooks are not noticed. It is tried again every 15 minutes.",
                self.swept_at, self.realm,
            )
        ]  # fmt: skip

    def _refused(self) -> list[Problem]:
        """What the feed is refused for, although the company is served: one problem for each message of QuickBooks."""
        alike: dict[tuple[str, str], list[str]] = {}
        for entity, one in self.feed_refusals.items():
            alike.setdefault((one.words, one.fix), []).append(entity)
        return [
            Problem(
                "feed_stuck", f"The change feed of company {self.realm} is refused for {', '.join(entities)}: {words}",
                f"{fix or FIX_REFUSED} Posting continues, but changes that people make to these are not noticed. They are tried "
                "again at least every hour, and then read from where they were refused.",
                min(self.feed_refusals[entity].since for entity in entities), self.realm, self.feed() | {"entities": entities},
            )
            for (words, fix), entities in alike.items()
        ]  # fmt: skip


async def companies(pool: Pool, settings: Settings) -> list[Company]:
    """Read the companies of these settings."""
    return [
        Company(
            one.realm, one.halted_code, one.halted_reason, one.halted_since, one.operator_halt, one.state, one.reason,
            one.token_failing_since, one.token_error, one.lease_live, _reached(one.feed_position, one.feed_paging),
            one.feed_failures, one.feed_failing_since, one.feed_error, one.now, feed_refusals.of(one.feed_refusals or {}),
            feed_refusals.of(one.sweep_refusals or {}), one.swept_at,
        )
        for one in await status.states(pool, settings.qbo_realm_ids)
    ]  # fmt: skip


def _reached(position: datetime | None, paging: dict[str, Any] | None) -> datetime | None:
    pages = Paging.of(paging or {})
    return min(position, pages.reached) if position and pages else position
