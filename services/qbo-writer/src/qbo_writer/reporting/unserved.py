"""Companies that commands name and no writer serves: found, and published once each, as is when they are served."""

from collections.abc import Sequence
from datetime import UTC, datetime

from bookrelay.db import Pool
from bookrelay.errors import Code
from bookrelay.messages import AnyMessage, RealmData, RealmServed, RealmUnserved

from qbo_writer.domain import SENDER
from qbo_writer.ledger import unserved as rows
from qbo_writer.ledger.unserved import Over
from qbo_writer.reporting.problem import Problem
from qbo_writer.settings import Settings


async def unserved(pool: Pool, settings: Settings) -> list[Problem]:
    """Return each company that due commands name and for which no writer has held the lease for `unserved_seconds`.

    Cheap while all are served: the companies are found by skipping along an index.
    """
    return [
        _unserved(one.realm, one.commands, one.sources, one.since, settings)
        for one in await rows.named(pool, settings.unserved_seconds)
    ]


def _unserved(realm: str, commands: int, sources: Sequence[str], since: datetime, settings: Settings) -> Problem:
    sources_named = ", ".join(sources)
    if realm in settings.qbo_realm_ids:
        fix = "Start the qbo-writer that has it in QBO_REALM_IDS."
    elif realm.isascii() and realm.isdigit() and len(realm) <= 32:
        fix = (
            f"If it is yours: add {realm} to QBO_REALM_IDS of a qbo-writer, restart that, and connect the company with "
            f"qbo-writer auth login --realm {realm}; its commands are then posted. If not: correct the company's id in "
            f"the settings of {sources_named}, then drop its commands: qbo-writer unserved drop {realm} --why TEXT."
        )
    else:
        fix = (
            f"This is not a company id (digits only): correct it in the settings of {sources_named}, then drop its commands: "
            f"qbo-writer unserved drop {realm!r} --why TEXT."
        )
    noun = "command waits" if commands == 1 else "commands wait"
    reason = f"No writer serves company {realm}, for which {commands} {noun} (from {sources_named})"
    return Problem("unserved", reason, fix, since, realm, {"commands": commands, "sources": list(sources)})


async def publish_unserved(pool: Pool, now_unserved: Sequence[Problem]) -> tuple[list[Problem], list[str]]:
    """Publish each company without a writer once, and when that is over, whatever number of writers look. Return both."""
    named = {problem.realm: problem for problem in now_unserved if problem.realm}

    def published(fresh: Sequence[str], over: Sequence[Over]) -> list[AnyMessage]:
        now = datetime.now(UTC)
        return [*(_begins(named[realm], now) for realm in fresh), *(_ends(one, now) for one in over)]

    fresh, over = await rows.note(pool, sorted(named), published)
    return [named[realm] for realm in fresh], [one.realm for one in over]


def _begins(p: Problem, now: datetime) -> RealmUnserved:
    data = RealmData(realm=p.realm or "", code=Code.OAUTH_FAILED.value, reason=f"{p.reason}. {p.fix}", since=p.since or now)
    return RealmUnserved.of(data, sender=SENDER, time=now)


def _ends(over: Over, now: datetime) -> RealmServed:
    reason = "A writer serves this company now: its commands are posted." if over.served else "No command is due for it any more."
    data = RealmData(realm=over.realm, code=Code.OAUTH_FAILED.value, reason=reason, since=now)
    return RealmServed.of(data, sender=SENDER, time=now)
