"""The policy in force: a changed file is validated, then applied without a restart; while it is invalid the old one applies.

Checked by stat, following symbolic links: it detects files replaced in place or by rename, and a Kubernetes ConfigMap's
swapped link. A file that is being written is not read until two checks see the same.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bookrelay import metrics, telemetry
from bookrelay.errors import Code, SettingsError

from qbo_writer.policy import Policy

log = telemetry.get_logger(__name__)

SETTLE_SECONDS = 0.3  # between two checks of a file that has just changed
_Mark = tuple[tuple[str, int, int, int, int] | tuple[str], ...]


class PolicyFile:
    """The policy of all companies, from the file or directory of COMPANY_POLICY_FILE. `step` is a loop's unit of work."""

    def __init__(self, path: Path | None, realms: Sequence[str], seconds: float) -> None:
        """Read it; raises SettingsError if it is invalid."""
        self._path, self._realms, self._seconds = path, tuple(realms), seconds
        self._taken = self._changing = _mark(path)
        self.current = Policy.load(path)
        self._in_force = self._taken
        self.wrong: SettingsError | None = None
        self.wrong_since: datetime | None = None
        self.on_change: Callable[[Policy], None] = lambda policy: None
        metrics.POLICY_LOADED.set_to_current_time()
        metrics.POLICY_WRONG.set(0)

    async def step(self) -> float:
        """Check whether it changed; return how long to wait."""
        mark = await asyncio.to_thread(_mark, self._path)
        if mark == self._taken:
            self._changing = mark
            return self._seconds
        if mark != self._changing:
            self._changing = mark
            return min(SETTLE_SECONDS, self._seconds)
        try:
            policy = await asyncio.to_thread(self._load, mark)
        except SettingsError as error:
            self._refuse(error)
        else:
            if policy is None:  # it changed while being read
                return min(SETTLE_SECONDS, self._seconds)
            self._take(policy, mark)
        self._taken = mark
        return self._seconds

    def _load(self, mark: _Mark) -> Policy | None:
        try:
            policy = Policy.load(self._path)
        except OSError as error:
            raise _wrong(self._path, f"cannot be read: {error.strerror or error}", "Check COMPANY_POLICY_FILE.") from None
        if gone := sorted({entry[0] for entry in self._in_force} - {entry[0] for entry in mark}):
            # Its companies would silently fall back to other decisions.
            raise _wrong(gone[0], "is gone", "Restore it; if it was removed on purpose, restart the writer.")
        return policy if _mark(self._path) == mark else None

    def _refuse(self, error: SettingsError) -> None:
        self.wrong, self.wrong_since = error, self.wrong_since or datetime.now(UTC)
        metrics.POLICY_WRONG.set(1)
        log.error("policy.wrong", reason=error.reason, fix=error.fix, in_force="the policy that was read before")

    def _take(self, policy: Policy, mark: _Mark) -> None:
        before, self.current, self._in_force = self.current, policy, mark
        self.wrong = self.wrong_since = None
        metrics.POLICY_WRONG.set(0)
        metrics.POLICY_LOADED.set_to_current_time()
        changed = {
            realm: keys for realm in self._realms if (keys := _differences(before.for_realm(realm), policy.for_realm(realm)))
        }
        log.info("policy.reloaded", file=str(self._path), changed=changed)
        self.on_change(policy)


def _mark(path: Path | None) -> _Mark:
    """Return what identifies the file's (or the directory's files') version; contents are not compared."""
    if path is None:
        return ()
    try:
        files = sorted(path.glob("*.toml")) if path.is_dir() else [path]
    except OSError:
        files = [path]
    return tuple(_mark_of(file) for file in files)


def _mark_of(path: Path) -> tuple[str, int, int, int, int] | tuple[str]:
    try:
        found = path.stat()
    except OSError:
        return (str(path),)
    return (str(path), found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _differences(before: Policy, after: Policy) -> list[str]:
    """Return the keys that differ; their values may be names of people."""
    old, new = before.model_dump(), after.model_dump()
    return [key for key in new if new[key] != old[key]]


def _wrong(path: Path | str | None, what: str, fix: str) -> SettingsError:
    return SettingsError(f"The company policy {path} {what}.", fix, Code.VALIDATION)
