"""What the writer needs before it starts."""

import pytest
from bookrelay.errors import SettingsError
from cryptography.fernet import Fernet
from qbo_writer.settings import Settings

CONNECTED = {
    "DATABASE_URL": "postgresql://u:p@127.0.0.1:5432/b",
    "QBO_REALM_ID": "1",
    "QBO_CLIENT_ID": "id",
    "QBO_CLIENT_SECRET": "secret",
    "QBO_TOKEN_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
}


def test_a_connected_company_is_enough() -> None:
    settings = Settings.load(CONNECTED)
    settings.require_companies()
    assert settings.qbo_realm_ids == ("1",)


@pytest.mark.parametrize("name", ["QBO_REALM_ID", "QBO_CLIENT_ID", "QBO_CLIENT_SECRET", "QBO_TOKEN_ENCRYPTION_KEYS"])
def test_each_missing_setting_is_named(name: str) -> None:
    settings = Settings.load({**CONNECTED, name: ""})
    with pytest.raises(SettingsError, match=name):
        settings.require_companies()
