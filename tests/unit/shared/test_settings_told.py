"""What a person can get wrong in a setting is told with what to do, before anything is connected."""

import pytest
from bookrelay.errors import SettingsError
from bookrelay.settings import ServiceSettings
from bookrelay_deploy.env_example import COMPOSE, settings_classes

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
GIVEN = {
    "DATABASE_URL": "postgresql://u:p@127.0.0.1:5432/b", "QBO_REALM_ID": "1", "EMR_CLIENT_ID": "id",
    "EMR_CLIENT_SECRET": "secret",
    "SHEETS_SPREADSHEET_ID": "id", "GOOGLE_CREDENTIALS_FILE": "key.json", "QBO_WEBHOOK_VERIFIER_TOKENS": "token",
    "QBO_CLIENT_ID": "id", "QBO_CLIENT_SECRET": "secret", "QBO_TOKEN_ENCRYPTION_KEYS": KEY,
}  # fmt: skip
CLASSES = settings_classes()
EVERY = "emr-poller sheet-watcher qbo-writer webhook-gateway"


@pytest.mark.parametrize(
    ("services", "name", "value", "told"),
    [
        ("emr-poller sheet-watcher qbo-writer", "QBO_REALM_ID", "abc", "QBO_REALM_ID is wrong: .*consists of digits"),
        ("qbo-writer", "QBO_REALM_IDS", "12,abc", "QBO_REALM_IDS is wrong: .*consists of digits"),
        ("qbo-writer", "QBO_TOKEN_ENCRYPTION_KEYS", "short-key", "key 1 is not a Fernet key .*generate_key"),
        ("qbo-writer", "QBO_TOKEN_ENCRYPTION_KEYS", f"{KEY},short-key", "key 2 is not a Fernet key"),
        ("qbo-writer", "QBO_TOKEN_ENCRYPTION_KEYS", ",", "key 1 is not a Fernet key"),
        ("qbo-writer", "QBO_TOKEN_URL", "nonsense", "QBO_TOKEN_URL is wrong: .*https://"),
        ("qbo-writer", "QBO_BASE_URL", "nonsense", "QBO_BASE_URL is wrong: .*https://"),
        ("qbo-writer", "QBO_ENVIRONMENT", "moon", "QBO_ENVIRONMENT is wrong: .*'sandbox' or 'production'"),
        ("qbo-writer", "QB_SYNC_MODE", "x", "QB_SYNC_MODE is wrong: .*'invoice_only' or 'dual'"),
        ("qbo-writer", "LEASE_RENEW_SECONDS", "20", "^LEASE_RENEW_SECONDS must be less than LEASE_SECONDS"),
        ("webhook-gateway", "QBO_WEBHOOK_VERIFIER_TOKENS", ",", "QBO_WEBHOOK_VERIFIER_TOKENS is wrong: it is empty"),
        ("emr-poller", "EMR_CLIENT_ID", "a\nb", "EMR_CLIENT_ID is wrong: .*copy it again"),
        ("emr-poller", "EMR_CLIENT_SECRET", "schlüssel", "EMR_CLIENT_SECRET is wrong: .*copy it again"),
        (EVERY, "KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:abc", "KAFKA_BOOTSTRAP_SERVERS is wrong: write host:port"),
        (EVERY, "KAFKA_BOOTSTRAP_SERVERS", "nonsense", "KAFKA_BOOTSTRAP_SERVERS is wrong: write host:port"),
        (EVERY, "OTEL_EXPORTER_OTLP_ENDPOINT", "nonsense", "OTEL_EXPORTER_OTLP_ENDPOINT is wrong"),
        (EVERY, "KAFKA_BOOTSTRAP_SERVER", "kafka:9092", "KAFKA_BOOTSTRAP_SERVER is not .* did you mean KAFKA_BOOTSTRAP_SERVERS"),
        ("qbo-writer", "QB_SYNC_MOD", "invoice_only", "QB_SYNC_MOD is not a setting; did you mean QB_SYNC_MODE?"),
        ("emr-poller", "EMR_POLL_SECOND", "5", "did you mean EMR_POLL_SECONDS?"),
        ("sheet-watcher", "SHEETS_RETRACT_LIMITS", "5", "did you mean SHEETS_RETRACT_LIMIT?"),
    ],
)
def test_a_wrong_setting_is_told_with_what_to_do(services: str, name: str, value: str, told: str) -> None:
    for service in services.split():
        with pytest.raises(SettingsError, match=told) as caught:
            CLASSES[service].load({**GIVEN, name: value})
        assert "short-key" not in caught.value.sentence()
        assert "\n" not in caught.value.sentence()


@pytest.mark.parametrize("service", sorted(CLASSES))
def test_one_env_file_serves_all_services(service: str) -> None:
    """No service takes another's setting, compose's or a platform's variable for a misspelt one of its own."""
    others = {name.upper() for settings in CLASSES.values() for name in settings.model_fields} | set(COMPOSE)
    platform = {"HTTP_PROXY", "OTEL_EXPORTER_OTLP_HEADERS", "WEBHOOK_GATEWAY_PORT", "QBO_WRITER_SERVICE_HOST", "EMR_POLLER_PORT"}
    mine = {name.upper() for name in CLASSES[service].model_fields}
    CLASSES[service].load({**dict.fromkeys((others | platform) - mine, "1"), **GIVEN})


def test_several_brokers_and_ipv6_are_taken() -> None:
    given = {"DATABASE_URL": GIVEN["DATABASE_URL"], "KAFKA_BOOTSTRAP_SERVERS": "a:9092, [::1]:9093"}
    assert ServiceSettings.load(given).kafka_bootstrap_servers == "a:9092, [::1]:9093"


def test_a_company_that_is_named_twice_is_served_once() -> None:
    settings = CLASSES["qbo-writer"].load({**GIVEN, "QBO_REALM_IDS": "12, 12,13"})
    assert settings.model_dump()["qbo_realm_ids"] == ("12", "13")
