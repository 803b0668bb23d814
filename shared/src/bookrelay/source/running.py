"""Adds a source to its service: two loops and a readiness check."""

from bookrelay.service import Service
from bookrelay.source.outgoing import Outgoing
from bookrelay.source.schedule import Schedule


def add_source(app: Service, schedule: Schedule, outgoing: Outgoing, *, stall_seconds: float = 300) -> None:
    """Add the loops that poll the source on its schedule and publish its outbox.

    If a poll takes longer than `stall_seconds`, the service is not live.
    """
    app.add_ready_check(schedule.not_ready_because)
    app.add_loop("polling", schedule.step, stall_seconds=stall_seconds)
    app.add_loop("relay", outgoing.step)
