"""Every subscriber of every service is at-least-once: the apps are built as in production, and their brokers walked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bookrelay import topics
from bookrelay.db import close_pool, open_pool
from bookrelay.kafka import Publisher, consume, new_broker
from bookrelay.service import Service
from bookrelay_deploy.env_example import settings_classes
from bookrelay_deploy.migrating import migrate
from bookrelay_deploy.schemas import owners
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from faststream import AckPolicy
from sources import SERVICES, placeholders

pytestmark = pytest.mark.postgres


def environment(database_url: str, folder: Path) -> dict[str, str]:
    """Return what all services need to be built."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {"client_email": "a@b.test", "private_key": key.decode(), "token_uri": "http://127.0.0.1:1/token"}
    (folder / "google.json").write_text(json.dumps(account))
    (folder / "directions.json").write_text(json.dumps({"money_in": ["ACD"], "money_out": ["VendorXYZ"]}))
    return {
        "DATABASE_URL": database_url,
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "QBO_REALM_ID": "123",
        "QBO_TOKEN_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "QBO_CLIENT_ID": "x",
        "QBO_CLIENT_SECRET": "x",
        "QBO_WEBHOOK_VERIFIER_TOKENS": "x",
        "EMR_CLIENT_ID": "x",
        "EMR_CLIENT_SECRET": "x",
        "SHEETS_SPREADSHEET_ID": "x",
        "GOOGLE_CREDENTIALS_FILE": str(folder / "google.json"),
        "QB_DIRECTIONS_FILE": str(folder / "directions.json"),
    }


async def built(name: str, given: dict[str, str]) -> Service:
    """Build a service and let it prepare, without starting its broker, loops or HTTP side."""
    from importlib import import_module

    build: Callable[[Any], Service] = import_module(f"{SERVICES[name].name}.main").build_app
    service = build(settings_classes()[name].load(placeholders(settings_classes()[name]) | given))
    assert service.name == name
    if service._needs_database:
        service._pool = await open_pool(service.settings, application_name="test")
    await service._prepare(service)
    return service


async def test_every_subscriber_is_at_least_once_and_declared(database_url: str, tmp_path: Path) -> None:
    await migrate(database_url, owners())
    given = environment(database_url, tmp_path)
    found: list[tuple[str, str]] = []
    for name in SERVICES:
        service = await built(name, given)
        try:
            for subscriber in service.broker.subscribers:
                assert subscriber.ack_policy is AckPolicy.NACK_ON_ERROR, f"{name}: {subscriber}"
                assert subscriber.group_id, f"{name} reads without a group"
                found += [(topic.name, subscriber.group_id) for topic in subscriber.topics]
        finally:
            for cleanup in reversed(service._cleanups):
                await cleanup()
            if service._pool:
                await close_pool(service._pool)
    assert sorted(found) == sorted((topic.name, group) for topic, group in topics.SUBSCRIPTIONS)


async def test_consume_makes_the_safe_subscriber_and_faststream_s_default_is_not_safe() -> None:
    """If FastStream's default becomes safe, or the helper's policy no longer reaches the subscriber, this shows it."""
    broker = new_broker("127.0.0.1:1", "test")

    async def handler(_: Any) -> None:
        """Does nothing."""

    consume(broker, topics.COMMANDS, "g", handler, Publisher("127.0.0.1:1", "test"))
    (safe,) = broker.subscribers
    assert safe.ack_policy is AckPolicy.NACK_ON_ERROR
    broker.subscriber("plain", group_id="g")(handler)
    assert [s.ack_policy for s in broker.subscribers if s is not safe] == [AckPolicy.ACK_FIRST]
