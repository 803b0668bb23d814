"""What needs a person: gathered from the tables for `qbo-writer status`, /health/ready and metrics; unserved companies are told.

A running writer keeps here, too, what only it knows (`keep_own`); of a process that ended it is forgotten after a minute.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from bookrelay import metrics, outbox, telemetry, topics
from bookrelay.blocked import FIX, Blocked, BlockedRecord
from bookrelay.db import Pool, transaction
from bookrelay.errors import Code
from bookrelay.messages import RealmData, RealmServed, RealmUnserved

from qbo_writer.domain import SCHEMA, SENDER
from qbo_writer.ledger.tokens import CONNECTED
from qbo_writer.policy_watching import PolicyFile
from qbo_writer.protocol import feed_refusals
from qbo_writer.protocol.feed_paging import Paging
from qbo_writer.protocol.feed_refusals import Refusals
from qbo_writer.settings import WriterSettings

log = telemetry.get_logger(__name__)

What = Literal[
    "blocked_consumer", "policy_wrong", "halted", "disconnected", "token_endpoint", "feed_stuck", "sweep_refused",
    "unserved", "events_waiting",
    "events_parked",
]  # fmt: skip
OWN: tuple[What, ...] = ("blocked_consumer", "policy_wrong")  # kept by the process that knows it
FORGET_SECONDS = 60.0  # what a process kept counts no longer: it writes every few seconds
TOKEN_AWAY = timedelta(minutes=1)
FEED_FAILURES = 3  # in a row
FIX_REFUSED = (
    "See whether the company's plan has these (bills need Essentials, classes and locations Plus), whether the user who "
    "connected bookrelay may see them, and Intuit's status page."
)
FEED_SPARE = timedelta(minutes=10)  # how far beyond two rounds the feed may be behind
EVENTS_WAIT = timedelta(minutes=5)
UNSERVED_SHOWN = 50  # as metrics: a source may name any number of companies


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


# --------------------------------------------------------------------------------------------------------- this process's own


def of_blocked(records: Sequence[BlockedRecord]) -> list[Problem]:
    """Return a problem for each record that a consumer cannot get past."""
    return [
        Problem(
            "blocked_consumer", record.what, FIX, record.since,
            details={
                "topic": record.topic, "group": record.group, "partition": record.partition, "offset": record.offset,
                "key": record.key, "failures": record.failures,
            },
        )
        for record in records
    ]  # fmt: skip


def of_policy(policy: PolicyFile) -> list[Problem]:
    """Return what is wrong with the policy on disk."""
    if policy.wrong is None:
        return []
    reason = f"{policy.wrong.reason.rstrip('.')}; the policy that was read before stays in force"
    return [Problem("policy_wrong", reason, policy.wrong.fix, policy.wrong_since)]


async def keep_own(pool: Pool, holder: str, problems: Sequence[Problem]) -> None:
    """Keep what this process alone knows, in place of what it kept before; forget what others kept long ago."""
    async with transaction(pool) as connection:
        await connection.execute(
            "DELETE FROM qbo_writer.process_problems WHERE holder = $1 OR seen_at < now() - interval '1 hour'", holder
        )
        await connection.executemany(
            "INSERT INTO qbo_writer.process_problems (holder, number, what, since, reason, fix, details) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7)",
            [(holder, n, p.what, p.since, p.reason, p.fix, p.details) for n, p in enumerate(problems)],
        )


async def _kept(pool: Pool) -> list[Problem]:
    rows = await pool.fetch(
        "SELECT what, since, reason, fix, details || jsonb_build_object('process', holder) AS details "
        "FROM qbo_writer.process_problems WHERE seen_at > now() - make_interval(secs => $1) ORDER BY since, holder, number",
        FORGET_SECONDS,
    )
    return [Problem(row["what"], row["reason"], row["fix"], row["since"], details=row["details"]) for row in rows]


class Reporter:
    """Looks at what needs a person in a running writer: for /health/ready, metrics, events. `step` is a loop's unit of work."""

    def __init__(
        self, pool: Pool, settings: WriterSettings, holder: str, policy: PolicyFile, blocked: Blocked, told: Callable[[], None]
    ) -> None:
        self._pool, self._settings, self._holder = pool, settings, holder
        self._policy, self._blocked, self._told = policy, blocked, told
        self._found: list[Problem] = []
        self._unserved: set[str] = set()

    def notes(self) -> list[str]:
        """Return a sentence for each; blocked records of this process are noted by the service itself."""
        own = of_policy(self._policy)
        return [problem.sentence() for problem in (*own, *self._found)]

    async def step(self) -> float:
        """Keep what this process knows, look, tell; return how long to wait."""
        await keep_own(self._pool, self._holder, [*of_blocked(self._blocked.records()), *of_policy(self._policy)])
        found = await problems(self._pool, self._settings)
        fresh, over = await tell_unserved(self._pool, [p for p in found if p.what == "unserved"])
        for problem in fresh:
            log.error("realm.unserved", realm=problem.realm, reason=problem.reason, fix=problem.fix)
        for realm in over:
            log.info("realm.served", realm=realm)
        if fresh or over:
            self._told()
        self._found = [problem for problem in found if problem.what not in OWN]
        self._show(found)
        return self._settings.report_seconds

    def _show(self, found: Sequence[Problem]) -> None:
        for what in get_args(What):
            metrics.PROBLEMS.labels(what).set(sum(problem.what == what for problem in found))
        named = {p.realm: p.details["commands"] for p in found if p.what == "unserved" and p.realm}
        shown = set(sorted(named)[:UNSERVED_SHOWN])
        for realm in self._unserved - shown:
            metrics.REALM_UNSERVED.remove(realm)
        for realm in shown:
            metrics.REALM_UNSERVED.labels(realm).set(named[realm])
        self._unserved = shown


# ----------------------------------------------------------------------------------------------------------------- companies


async def problems(pool: Pool, settings: WriterSettings) -> list[Problem]:
    """Return all that needs a person: of the companies of these settings, of every one that nobody serves, of every process."""
    found = await _kept(pool)
    for company in await companies(pool, settings):
        found += company.problems(settings)
    found += await unserved(pool, settings)
    oldest = await pool.fetchrow(
        "SELECT count(*) AS n, min(created_at) AS since FROM qbo_writer.outbox WHERE published_at IS NULL AND parked_at IS NULL"
    )
    if oldest["since"] and datetime.now(UTC) - oldest["since"] > EVENTS_WAIT:
        found.append(
            Problem(
                "events_waiting", f"{oldest['n']} events are not published", "See whether a writer runs and Kafka answers; they "
                "leave in order as soon as it does.", oldest["since"], details={"events": oldest["n"]},
            )
        )  # fmt: skip
    if parked := await outbox.parked(pool, SCHEMA):
        found.append(
            Problem(
                "events_parked", f"{len(parked)} events are taken by no broker: {parked[0]['reason']}", "Remove the cause, then "
                "`qbo-writer dead-letters redrive outbox:ID` for each that `dead-letters list` shows.", parked[0]["parked_at"],
                details={"events": len(parked)},
            )
        )  # fmt: skip
    return found


@dataclass(frozen=True)
class Company:
    """A company of the settings, as far as its own state can need a person."""

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

    def problems(self, settings: WriterSettings) -> list[Problem]:
        """Return what a person must see to."""
        connect = f"Connect it: qbo-writer auth login --realm {self.realm}. Posting then goes on by itself; the queue is kept."
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
                "Do what the reason says. One request is tried every 5 minutes, and posting goes on by itself."
            )  # fmt: skip
            reason = f"Company {self.realm} is halted, {self.halted_code}: {self.halted_reason}"
            return [Problem("halted", reason, again, self.halted_since, self.realm, {"code": self.halted_code})]
        if self.token_failing_since and self.now - self.token_failing_since > TOKEN_AWAY:
            reason = f"Company {self.realm} gets no access token, nothing is posted: {self.token_error}"
            fix = (
                f"See whether this host reaches {settings.qbo_token_url} (proxy, firewall, name), and Intuit's status page. "
                "It is asked again every minute, and posting goes on by itself."
            )
            return [Problem("token_endpoint", reason, fix, self.token_failing_since, self.realm)]
        return self._feed_problems(settings)

    def _feed_problems(self, settings: WriterSettings) -> list[Problem]:
        behind = self.feed_lag is not None and self.feed_lag > 2 * timedelta(seconds=settings.feed_seconds) + FEED_SPARE
        if not self.lease_live:
            return []
        refused = [*self._refused(), *self._not_swept()]
        if not (behind or self.feed_failures >= FEED_FAILURES):
            return refused
        lag = f"is {round(self.feed_lag.total_seconds())} s behind" if self.feed_lag else "was never read"
        error = f"; it failed {self.feed_failures} times, the last time with: {self.feed_error}" if self.feed_failures else ""
        return [
            *refused,
            Problem(
                "feed_stuck", f"The change feed of company {self.realm} {lag}{error}",
                "Posting goes on; what people change in QuickBooks is seen late. See to the error that is named; without one, "
                "more changed than is read: raise FEED_READS_PER_RUN.",
                self.feed_failing_since or self.feed_reached, self.realm, self.feed(),
            )
        ]  # fmt: skip

    def _not_swept(self) -> list[Problem]:
        """What the daily comparison is refused for, though the company is served."""
        return [
            Problem(
                "sweep_refused", f"The daily comparison of company {self.realm} is refused for {entity}: {one.words}",
                f"{one.fix or FIX_REFUSED} Posting goes on; what is too much or missing among these is not noticed. The next "
                "comparison asks again.",
                one.since, self.realm, {"entity": entity, "times": one.times},
            )
            for entity, one in self.sweep_refusals.items()
        ]  # fmt: skip

    def _refused(self) -> list[Problem]:
        """What the feed is refused for, though the company is served: one problem for the same words."""
        alike: dict[tuple[str, str], list[str]] = {}
        for entity, one in self.feed_refusals.items():
            alike.setdefault((one.words, one.fix), []).append(entity)
        return [
            Problem(
                "feed_stuck", f"The change feed of company {self.realm} is refused for {', '.join(entities)}: {words}",
                f"{fix or FIX_REFUSED} Posting goes on; what people change in these is not seen. They are asked for again every "
                "hour at the latest, and read from where they were refused.",
                min(self.feed_refusals[entity].since for entity in entities), self.realm, self.feed() | {"entities": entities},
            )
            for (words, fix), entities in alike.items()
        ]  # fmt: skip


async def companies(pool: Pool, settings: WriterSettings) -> list[Company]:
    """Read the companies of these settings."""
    rows = await pool.fetch(
        """
        SELECT n.realm, r.halted_code, r.halted_reason, r.halted_since, t.state, t.reason,
          r.operator_halt, r.token_failing_since, r.token_error,
          coalesce(l.expires_at > clock_timestamp(), false) AS lease_live, r.feed_position, r.feed_paging,
          coalesce(r.feed_failures, 0) AS feed_failures, r.feed_failing_since, r.feed_error, r.feed_refusals, r.sweep_refusals,
          clock_timestamp() AS now
        FROM unnest($1::text[]) AS n(realm) LEFT JOIN qbo_writer.realms r USING (realm)
        LEFT JOIN qbo_writer.leases l USING (realm) LEFT JOIN qbo_writer.tokens t USING (realm) ORDER BY 1
        """,
        list(settings.qbo_realm_ids),
    )
    return [
        Company(
            row["realm"], row["halted_code"], row["halted_reason"], row["halted_since"], row["operator_halt"], row["state"],
            row["reason"], row["token_failing_since"], row["token_error"],
            row["lease_live"], _reached(row["feed_position"], row["feed_paging"]), row["feed_failures"],
            row["feed_failing_since"], row["feed_error"], row["now"], feed_refusals.of(row["feed_refusals"] or {}),
            feed_refusals.of(row["sweep_refusals"] or {}),
        )
        for row in rows
    ]  # fmt: skip


def _reached(position: datetime | None, paging: dict[str, Any] | None) -> datetime | None:
    pages = Paging.of(paging or {})
    return min(position, pages.reached) if position and pages else position


# ------------------------------------------------------------------------------------------------- companies nobody serves


async def unserved(pool: Pool, settings: WriterSettings) -> list[Problem]:
    """Return each company that due commands name and for which no writer has held the lease for `unserved_seconds`.

    Cheap while all are served: the companies are found by skipping along an index.
    """
    rows = await pool.fetch(
        """
        WITH RECURSIVE named AS (
          (SELECT realm FROM qbo_writer.commands WHERE state = 'due' ORDER BY realm LIMIT 1)
          UNION ALL
          SELECT (
            SELECT c.realm FROM qbo_writer.commands c WHERE c.state = 'due' AND c.realm > named.realm ORDER BY c.realm LIMIT 1)
          FROM named WHERE named.realm IS NOT NULL
        ), lonely AS MATERIALIZED (  -- before what waits is counted: a backlog of a company that is served is none of this
          SELECT n.realm, l.expires_at FROM named n LEFT JOIN qbo_writer.leases l USING (realm)
          WHERE n.realm IS NOT NULL AND (l.realm IS NULL OR l.expires_at < clock_timestamp() - make_interval(secs => $1))
        )
        SELECT n.realm, w.commands, w.sources, greatest(n.expires_at, w.oldest) AS since FROM lonely n
        CROSS JOIN LATERAL (
          SELECT count(*) AS commands, min(c.recorded_at) AS oldest, array_agg(DISTINCT d.source ORDER BY d.source) AS sources
          FROM qbo_writer.commands c JOIN qbo_writer.documents d ON d.id = c.document_id
          WHERE c.realm = n.realm AND c.state = 'due'
        ) w
        WHERE w.oldest < clock_timestamp() - make_interval(secs => $1) ORDER BY 1
        """,
        settings.unserved_seconds,
    )
    return [_unserved(row["realm"], row["commands"], row["sources"], row["since"], settings) for row in rows]


def _unserved(realm: str, commands: int, sources: Sequence[str], since: datetime, settings: WriterSettings) -> Problem:
    told_by = ", ".join(sources)
    if realm in settings.qbo_realm_ids:
        fix = "Start the qbo-writer that has it in QBO_REALM_IDS."
    elif realm.isascii() and realm.isdigit() and len(realm) <= 32:
        fix = (
            f"If it is yours: add {realm} to QBO_REALM_IDS of a qbo-writer, restart that, and connect the company with "
            f"qbo-writer auth login --realm {realm}; its commands then go on by themselves. If not: correct the company's id in "
            f"the settings of {told_by}, then end what waits: qbo-writer unserved drop {realm} --why TEXT."
        )
    else:
        fix = (
            f"This is no company id (digits only): correct it in the settings of {told_by}, then end what waits: "
            f"qbo-writer unserved drop {realm!r} --why TEXT."
        )
    noun = "command waits" if commands == 1 else "commands wait"
    reason = f"No writer serves company {realm}, for which {commands} {noun} (from {told_by})"
    return Problem("unserved", reason, fix, since, realm, {"commands": commands, "sources": list(sources)})


async def tell_unserved(pool: Pool, now_unserved: Sequence[Problem]) -> tuple[list[Problem], list[str]]:
    """Tell each company that nobody serves once, and its end; several writers tell it once together. Return what was told."""
    async with transaction(pool) as connection:
        named = {problem.realm: problem for problem in now_unserved if problem.realm}
        rows = await connection.fetch(
            "INSERT INTO qbo_writer.unserved (realm) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING RETURNING realm",
            sorted(named),
        )
        over = await connection.fetch(
            """
            DELETE FROM qbo_writer.unserved u USING (
              SELECT n.realm, coalesce(l.expires_at > clock_timestamp(), false) AS served,
                EXISTS (SELECT 1 FROM qbo_writer.commands c WHERE c.realm = n.realm AND c.state = 'due') AS named
              FROM qbo_writer.unserved n LEFT JOIN qbo_writer.leases l USING (realm)) t
            WHERE u.realm = t.realm AND (t.served OR NOT t.named) RETURNING u.realm, t.served
            """
        )
        now = datetime.now(UTC)
        fresh = [named[row["realm"]] for row in rows]
        events: list[RealmUnserved | RealmServed] = [
            RealmUnserved.of(
                RealmData(realm=p.realm or "", code=Code.OAUTH_FAILED.value, reason=f"{p.reason}. {p.fix}", since=p.since or now),
                sender=SENDER, time=now,
            )
            for p in fresh
        ]  # fmt: skip
        for row in over:
            reason = (
                "A writer serves this company now: its commands go on." if row["served"] else "No command waits for it any more."
            )
            data = RealmData(realm=row["realm"], code=Code.OAUTH_FAILED.value, reason=reason, since=now)
            events.append(RealmServed.of(data, sender=SENDER, time=now))
        await outbox.add(connection, SCHEMA, topics.EVENTS, events)
    return fresh, [row["realm"] for row in over]
