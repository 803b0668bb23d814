"""The webhook gateway as a process: Intuit's webhooks, verified, split and republished. No tables, no calls to Intuit's API."""

from bookrelay import service
from bookrelay.service import Service
from starlette.routing import BaseRoute

from webhook_gateway.handlers import Receiving
from webhook_gateway.routes import webhook_routes
from webhook_gateway.settings import Settings

NAME = "webhook-gateway"


def build_app(settings: Settings) -> Service:
    """Return the service, not yet started."""

    async def prepare(_: Service) -> None:
        """Nothing to prepare: the service has started the producer already."""

    routes: list[BaseRoute] = []  # filled below: the route needs the service's producer
    app = Service(NAME, settings, prepare, routes=routes, needs_database=False)
    keys = [token.get_secret_value().encode() for token in settings.qbo_webhook_verifier_tokens]
    routes.extend(webhook_routes(settings, Receiving(keys, app.publisher)))
    return app


def main() -> None:
    """Entry point."""
    service.main(NAME, lambda: build_app(Settings.load()))
