"""The writer's process: starts loops and consumers, or runs a command."""

import sys

from bookrelay import metrics, outbox, service
from bookrelay.service import Service

from qbo_writer import consumers
from qbo_writer.crashpoints import Place, reach
from qbo_writer.domain import SCHEMA
from qbo_writer.operations import cli
from qbo_writer.policy import Policy
from qbo_writer.reporting.reporter import Reporter
from qbo_writer.settings import Settings
from qbo_writer.writer import Announcer, Writer


def build_app(settings: Settings) -> Service:
    """Build the service. Raises SettingsError for a missing setting or an invalid policy file before anything starts."""
    settings.require_companies()
    Policy.load(settings.company_policy_file)

    async def prepare(app: Service) -> None:
        relay = outbox.Relay(app.pool, SCHEMA, Announcer(app.publisher))
        writer = Writer(settings, app.pool, relay)
        consumers.subscribe(app, writer.ledger, writer.wake, writer.feed_soon)
        app.add_cleanup(lambda: writer.close(app.seconds_to_stop()))
        app.add_loop("lease", writer.leases.step, stall_seconds=max(60.0, settings.lease_seconds * 6))
        for realm, poster in writer.posters.items():
            label = f"posting {metrics.COMPANIES.label(realm)}"
            app.add_loop(f"posting {realm}", poster.step, vital=False, label=label)
        app.add_loop("turns", writer.turns.step)
        writer.turns.begin()
        app.on_stopping(writer.stop_resting)
        app.add_loop("policy", writer.policy_file.step, vital=False)
        reporter = Reporter(app.pool, settings, writer.leases.holder, writer.policy_file, app.blocked, relay.wake)
        app.add_loop("reporting", reporter.step, vital=False)
        app.add_note_check(reporter.notes)

        async def relay_step() -> float:
            pause = await relay.step()
            reach(Place.MARKED)
            return pause

        app.add_loop("relay", relay_step)

    return Service("qbo-writer", settings, prepare)


def main() -> None:
    """Run the service, or a command."""
    if len(sys.argv) > 1:
        sys.exit(cli.run(sys.argv[1:]))
    service.main("qbo-writer", lambda: build_app(Settings.load()))


if __name__ == "__main__":
    main()
