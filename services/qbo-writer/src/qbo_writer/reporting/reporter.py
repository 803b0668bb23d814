"""Looking at what needs a person while a writer runs: for /health/ready, metrics, events."""

from collections.abc import Callable, Sequence
from typing import get_args

from bookrelay import metrics, telemetry
from bookrelay.blocked import Blocked
from bookrelay.db import Pool

from qbo_writer.policy_watching import PolicyFile
from qbo_writer.reporting.gathering import problems
from qbo_writer.reporting.problem import Problem, What
from qbo_writer.reporting.processes import OWN, keep_own, of_blocked, of_policy
from qbo_writer.reporting.unserved import publish_unserved
from qbo_writer.settings import Settings

log = telemetry.get_logger(__name__)

UNSERVED_SHOWN = 50  # as metrics: a source may name any number of companies


class Reporter:
    """Looks at what needs a person in a running writer: for /health/ready, metrics, events. `step` is a loop's unit of work."""

    def __init__(
        self, pool: Pool, settings: Settings, holder: str, policy: PolicyFile, blocked: Blocked, told: Callable[[], None]
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
        fresh, over = await publish_unserved(self._pool, [p for p in found if p.what == "unserved"])
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
