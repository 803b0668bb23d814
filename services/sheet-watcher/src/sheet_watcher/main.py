"""The sheet watcher as a process: settings, parts, loops."""

from bookrelay import service
from bookrelay.service import Service
from bookrelay.source.outgoing import Outgoing
from bookrelay.source.running import add_source
from bookrelay.source.schedule import Schedule

from sheet_watcher import consumers
from sheet_watcher.domain import NAME, SCHEMA
from sheet_watcher.polling import Polling, rules_of
from sheet_watcher.settings import Settings
from sheet_watcher.sheets_client import SheetsClient
from sheet_watcher.store import Store

PAUSED_SECONDS = 30.0  # between polls while an operator is needed


def build_app(settings: Settings) -> Service:
    """Return the service, not yet started; raises SettingsError if a file named by a setting is invalid."""
    rules, account = rules_of(settings), settings.service_account()

    async def prepare(app: Service) -> None:
        outgoing = Outgoing(app.pool, SCHEMA, app.publisher)
        store = Store(outgoing, settings.qbo_realm_id, settings.sheets_source, settings.sheets_spreadsheet_id)
        await store.load()  # the tables must be there before anything starts
        client = SheetsClient(settings, account)
        app.add_cleanup(client.close)
        polling = Polling(settings, rules, client, store)
        schedule = Schedule(
            settings.sheets_source, polling.poll, every_seconds=settings.sheets_poll_seconds, paused_seconds=PAUSED_SECONDS
        )
        app.add_ready_check(polling.not_ready_because)
        add_source(app, schedule, outgoing)
        consumers.subscribe(
            app.broker, app.publisher, store, realm=settings.qbo_realm_id, source=settings.sheets_source, wake=schedule.wake
        )

    return Service(NAME, settings, prepare)


def main() -> None:
    """Entry point."""
    service.main(NAME, lambda: build_app(Settings.load()))
