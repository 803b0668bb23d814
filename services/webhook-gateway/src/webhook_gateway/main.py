"""webhook-gateway: Intuit's webhooks, verified, split and republished. No tables, no Intuit API: it only listens."""

from bookrelay import service
from bookrelay.service import Service
from starlette.routing import BaseRoute

from webhook_gateway.handlers import Receiving
from webhook_gateway.routes import webhook_routes
from webhook_gateway.settings import Settings

NAME = "webhook-gateway"


def build_app(settings: Settings) -> Service:
    """Build the service; nothing is connected yet."""

    async def prepare(_: Service) -> None:
        """The producer is all that it needs, and the service has started that."""

    routes: list[BaseRoute] = []  # filled below: the route needs the service's producer
    app = Service(NAME, settings, prepare, routes=routes, needs_database=False)
    keys = [token.get_secret_value().encode() for token in settings.qbo_webhook_verifier_tokens]
    routes.extend(webhook_routes(settings, Receiving(keys, app.publisher)))
    return app


def main() -> None:
    """Run the service as a process."""
    service.main(NAME, lambda: build_app(Settings.load()))
