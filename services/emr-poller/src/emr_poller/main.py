"""The EMR poller as a process: settings, parts, loops."""

from bookrelay import service
from bookrelay.service import Service
from bookrelay.source.outgoing import Outgoing
from bookrelay.source.running import add_source
from bookrelay.source.schedule import Schedule

from emr_poller.domain import NAME, SCHEMA
from emr_poller.emr_client import EmrClient
from emr_poller.polling import Polling
from emr_poller.settings import Settings
from emr_poller.store import Store


def build_app(settings: Settings) -> Service:
    """Return the service, not yet started."""

    async def prepare(app: Service) -> None:
        client = EmrClient(settings)
        app.add_cleanup(client.close)
        outgoing = Outgoing(app.pool, SCHEMA, app.publisher)
        store = Store(outgoing, settings.qbo_realm_id, settings.emr_source, settings.emr_retry_seconds)
        await store.position()  # the tables must be there before the loops start
        polling = Polling(settings, client, store, app.stopping.is_set)
        add_source(app, schedule_of(settings, polling), outgoing, stall_seconds=1800)  # 500 details, each of which may time out

    return Service(NAME, settings, prepare)


def schedule_of(settings: Settings, polling: Polling) -> Schedule:
    """Return when quotes are read."""
    return Schedule(
        settings.emr_source, polling.poll, every_seconds=settings.emr_poll_seconds, paused_seconds=settings.emr_paused_seconds
    )


def main() -> None:
    """Entry point."""
    service.main(NAME, lambda: build_app(Settings.load()))
