"""All that needs a person: of companies, of processes, of events that are not published."""

from datetime import UTC, datetime, timedelta

from bookrelay import outbox
from bookrelay.db import Pool

from qbo_writer.domain import SCHEMA
from qbo_writer.ledger import events
from qbo_writer.reporting.companies import companies
from qbo_writer.reporting.problem import Problem
from qbo_writer.reporting.processes import kept
from qbo_writer.reporting.unserved import unserved
from qbo_writer.settings import Settings

EVENTS_WAIT = timedelta(minutes=5)


async def problems(pool: Pool, settings: Settings) -> list[Problem]:
    """Return all that needs a person: of the companies of these settings, of every one that nobody serves, of every process."""
    found = await kept(pool)
    for company in await companies(pool, settings):
        found += company.problems(settings)
    found += await unserved(pool, settings)
    late = await events.waiting(pool)
    if late.since and datetime.now(UTC) - late.since > EVENTS_WAIT:
        found.append(
            Problem(
                "events_waiting", f"{late.events} events are not published", "Check that a writer runs and Kafka is "
                "reachable; they are then published in order.", late.since, details={"events": late.events},
            )
        )  # fmt: skip
    if parked := await outbox.parked(pool, SCHEMA):
        found.append(
            Problem(
                "events_parked", f"{len(parked)} events were refused by the broker: {parked[0]['reason']}", "Remove the cause, "
                "then `qbo-writer dead-letters redrive outbox:ID` for each in `dead-letters list`.", parked[0]["parked_at"],
                details={"events": len(parked)},
            )
        )  # fmt: skip
    return found
