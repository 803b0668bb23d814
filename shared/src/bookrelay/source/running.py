"""A source's part of its service: two loops, and what /health/ready says."""

from bookrelay.service import Service
from bookrelay.source.outgoing import Outgoing
from bookrelay.source.schedule import Schedule


def add_source(app: Service, schedule: Schedule, outgoing: Outgoing, *, stall_seconds: float = 300) -> None:
    """Let the service read the source by its schedule and publish what its outbox holds.

    A turn that takes longer than `stall_seconds` makes the service not live.
    """
    app.add_ready_check(schedule.not_ready_because)
    app.add_loop("polling", schedule.step, stall_seconds=stall_seconds)
    app.add_loop("relay", outgoing.step)
