"""The gateway's settings: what would make it deaf is refused at the start."""

import pytest
from bookrelay.errors import SettingsError
from bookrelay.kafka import Publisher
from webhook_gateway.handlers import Receiving
from webhook_gateway.routes import webhook_routes
from webhook_gateway.settings import Settings


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/metrics/"])
def test_the_webhooks_path_is_not_one_of_the_service_itself(path: str) -> None:
    with pytest.raises(SettingsError, match=f"WEBHOOK_PATH is wrong: .*{path} is reserved by the service"):
        Settings.load({"QBO_WEBHOOK_VERIFIER_TOKENS": "token", "WEBHOOK_PATH": path})


@pytest.mark.parametrize("path", ["/hooks", "/hooks/"])
def test_a_final_slash_does_not_matter(path: str) -> None:
    settings = Settings.load({"QBO_WEBHOOK_VERIFIER_TOKENS": "token", "WEBHOOK_PATH": path})
    assert {route.path for route in webhook_routes(settings, Receiving([b"token"], Publisher("nowhere:1", "test")))} == {
        "/hooks",
        "/hooks/",
    }


def test_another_path_is_taken() -> None:
    assert Settings.load({"QBO_WEBHOOK_VERIFIER_TOKENS": "token", "WEBHOOK_PATH": "/hooks"}).webhook_path == "/hooks"
