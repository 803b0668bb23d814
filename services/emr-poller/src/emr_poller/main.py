"""The EMR poller as a process: settings, parts, loops."""

from bookrelay import service
from bookrelay.service import Service

from emr_poller.emr_client import EmrClient
from emr_poller.polling import Polling
from emr_poller.settings import Settings
from emr_poller.store import Store

NAME = "emr-poller"


def build_app(settings: Settings) -> Service:
    """Return the service, not yet started."""

    async def prepare(app: Service) -> None:
        client = EmrClient(settings)
        app.add_cleanup(client.close)
        store = Store(app.pool, settings.qbo_realm_id, settings.emr_source, settings.emr_retry_seconds)
        await store.position()  # the tables must be there before the loop starts
        polling = Polling(settings, client, store, app.publisher, app.stopping.is_set)
        app.add_ready_check(polling.not_ready_because)
        app.add_loop("polling", polling.step, stall_seconds=1800)  # 500 details, each of which may time out

    return Service(NAME, settings, prepare)


def main() -> None:
    """Entry point."""
    service.main(NAME, lambda: build_app(Settings.load()))
