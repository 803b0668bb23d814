"""The sheet watcher as a process: settings, parts, loops."""

from bookrelay import service
from bookrelay.outbox import Relay
from bookrelay.service import Service

from sheet_watcher import consumers
from sheet_watcher.domain import SCHEMA
from sheet_watcher.polling import Polling, rules_of
from sheet_watcher.settings import Settings
from sheet_watcher.sheets_client import SheetsClient
from sheet_watcher.store import Store

NAME = "sheet-watcher"


def build_app(settings: Settings) -> Service:
    """Return the service, not yet started; raises SettingsError if a file that a setting names is wrong."""
    rules, account = rules_of(settings), settings.service_account()

    async def prepare(app: Service) -> None:
        store = Store(app.pool, settings.qbo_realm_id, settings.sheets_source, settings.sheets_spreadsheet_id)
        await store.load()  # the tables must be there before anything starts
        client = SheetsClient(settings, account)
        app.add_cleanup(client.close)
        relay = Relay(app.pool, SCHEMA, app.publisher)
        polling = Polling(settings, rules, client, store, committed=relay.wake)
        app.add_ready_check(polling.not_ready_because)
        app.add_loop("polling", polling.step)
        app.add_loop("relay", relay.step)
        consumers.subscribe(
            app.broker, app.publisher, store, realm=settings.qbo_realm_id, source=settings.sheets_source, wake=polling.wake
        )

    return Service(NAME, settings, prepare)


def main() -> None:
    """Entry point."""
    service.main(NAME, lambda: build_app(Settings.load()))
